"""Make recordings with their ground truth: the same seed gives the same files.

'calzoo simulate axons -o DIR' writes, of each stack, NNN_volume.tif, NNN_instances.tif
(0 background, 1 to N one axon each) and NNN_semantic.tif (0 background, 1 axon, 2
border). 'calzoo axons DIR/*_volume.tif' segments them, 'calzoo train axons --data DIR'
trains on them.

'calzoo simulate cells | registration | centers -o DIR' writes, of each movie,
NNN_movie.tif, NNN_masks.npz (pixels of each cell), NNN_centers.csv, NNN_traces.csv
(photons per frame at the brightest point of each cell) and NNN_spikes.csv;
registration also NNN_flow.npy, (T, H, W, 2) float32: registered(y, x) = movie(y + dy,
x + dx), and NNN_template.tif, the mean without motion.

'calzoo simulate stimulus -o DIR' writes a recording of photostimulation: frames.tif,
stimuli.csv, masks.npz and coupling.csv; with --session 1 the same field again, with
--factor its connections stronger. 'calzoo train stimulus --data DIR' trains on it.

What was drawn goes into run.json. A folder that holds recordings or a result already
is refused.
"""

import functools
from pathlib import Path

from calzoo.commands import _options

GROUP = "recordings"

_MOVIES = {
    "cells": ("two-photon movies of neurons", (500, 256, 256), "cortex, hippocampus, ..."),
    "registration": ("two-photon movies that move", (200, 256, 256), "cortex, hippocampus, ..."),
    "centers": ("one-photon movies of neurons", (500, 256, 256), "raw, df or background_removed"),
}


def add_arguments(parser):
    """Add the tasks, each with its own options."""
    tasks = parser.add_subparsers(dest="task", required=True, metavar="TASK")
    axons = tasks.add_parser("axons", help="stacks of fluorescent axons", description=__doc__)
    _add_drawing(axons, "stack", "Z,Y,X", (32, 256, 256), "confocal, lightsheet, ...")
    for task, (what, shape, styles) in _MOVIES.items():
        movies = tasks.add_parser(task, help=what, description=__doc__)
        _add_drawing(movies, "movie", "T,Y,X", shape, styles)
    _add_stimulus(tasks.add_parser("stimulus", help="photostimulation of neurons", description=__doc__))


def _add_stimulus(parser):
    parser.add_argument("-o", "--output", required=True, type=Path, metavar="DIR")
    parser.add_argument("--seed", type=_options.seed, default=0, help="of the field (default: 0)")
    parser.add_argument(
        "--session", type=_options.seed, default=0, help="another one is another recording of the field"
    )
    parser.add_argument(
        "--factor", type=float, default=1.0, help="multiplies the connections between cells (default: 1)"
    )
    parser.add_argument("--cells", type=_options.positive, default=12, help="stimulated cells (default: 12)")
    parser.add_argument("--groups", type=_options.positive, default=2, help="that are paired (default: 2)")
    parser.add_argument("--trials", type=_options.positive, default=10, help="repetitions (default: 10)")
    parser.add_argument("--size", type=_options.positive, default=128, help="pixels (default: 128)")
    parser.set_defaults(count=1)


def _add_drawing(parser, noun, axes, shape, styles):
    default = ",".join(map(str, shape))
    parser.add_argument("-o", "--output", required=True, type=Path, metavar="DIR")
    parser.add_argument(
        "--seed", type=_options.seed, default=0, help=f"{noun} i is made from (seed, i) (default: 0)"
    )
    parser.add_argument(
        "-n", "--count", type=_options.positive, default=1, help=f"how many {noun}s (default: 1)"
    )
    parser.add_argument("--style", help=f"{styles} (default: drawn for each {noun})")
    parser.add_argument(
        "--shape",
        type=functools.partial(_options.shape, axes=axes, example=default),
        default=shape,
        metavar=axes,
        help=f"{'voxels' if noun == 'stack' else 'frames, rows and columns'} (default: {default})",
    )


def run(args):
    """Write the data set; its folder appears when it is complete."""
    from tqdm import tqdm

    from calzoo.imaging.outputs import output_folder, refuse_result, write_run_json

    _refuse_recordings(args.output)
    refuse_result(args.output, "give another -o")
    if args.task == "stimulus":
        return _stimulus(args)
    write, noun = (_write_axons, "stack") if args.task == "axons" else (_write_movie, "movie")
    with output_folder(args.output) as folder:
        with tqdm(range(args.count), unit=noun, disable=args.count == 1 or None) as counted:
            drawn = [write(folder, args, index) for index in counted]
        facts = {"command": f"simulate {args.task}", "seed": args.seed, "shape": args.shape}
        write_run_json(folder, **facts, **{f"{noun}s": drawn})
    print(args.output)


def _refuse_recordings(folder):
    """Refuse a folder with recordings: those that are not written over would pass for some of this seed."""
    from calzoo.errors import CalzooError

    for pattern in ("*_volume.tif", "*_movie.tif", "frames.tif"):
        found = sorted(folder.glob(pattern))
        if found:
            message = (
                f"{folder}: expected a folder without recordings, got one with {found[0].name}, which would "
                "be mixed with what is simulated; give another folder, or remove it."
            )
            raise CalzooError(message)


def _write_axons(folder, args, index):
    from calzoo.imaging.borders import semantic_from_instances
    from calzoo.imaging.writers import write_volume
    from calzoo.simulation.axons import simulate_axons

    stack = simulate_axons((args.seed, index), args.shape, style=args.style)
    arrays = {
        "volume": stack.volume,
        "instances": stack.instances,
        "semantic": semantic_from_instances(stack.instances),
    }
    for kind, array in arrays.items():
        write_volume(folder / f"{index:03d}_{kind}.tif", array, voxel_um=stack.voxel_um)
    return {"seed": (args.seed, index), "voxel_um": stack.voxel_um, "style": stack.style}


def _write_movie(folder, args, index):
    from calzoo.simulation.files import SIMULATORS, write_recording

    recording = SIMULATORS[args.task]((args.seed, index), args.shape, style=args.style)
    return write_recording(folder, recording, prefix=f"{index:03d}_", flow=args.task == "registration")


def _stimulus(args):
    from calzoo.imaging.outputs import output_folder, write_run_json
    from calzoo.simulation.stimulus import simulate_stimulus
    from calzoo.simulation.stimulus_files import write_stimulation

    names = ("session", "factor", "cells", "groups", "trials", "size")
    settings = {name: getattr(args, name) for name in names}
    with output_folder(args.output) as folder:
        drawn = write_stimulation(folder, simulate_stimulus(args.seed, **settings))
        write_run_json(folder, command="simulate stimulus", seed=args.seed, **settings, **drawn)
    print(args.output)
