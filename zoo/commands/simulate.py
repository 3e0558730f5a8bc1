"""Make recordings with their ground truth.

The same seed gives the same files. 'calzoo simulate axons -o DIR' writes, of each
stack, NNN_volume.tif, NNN_instances.tif (0 background, 1 to N one axon each) and
NNN_semantic.tif (0 background, 1 axon, 2 border), and what was drawn for it into
run.json. 'calzoo axons DIR/*_volume.tif' segments them, 'calzoo train axons --data
DIR' trains on them.
"""

from pathlib import Path

from calzoo.commands import _options

GROUP = "recordings"


def add_arguments(parser):
    """Add the tasks, each with its own options."""
    tasks = parser.add_subparsers(dest="task", required=True, metavar="TASK")
    axons = tasks.add_parser("axons", help="stacks of fluorescent axons")
    axons.add_argument("-o", "--output", required=True, type=Path, metavar="DIR")
    axons.add_argument("--seed", type=int, default=0, help="stack i is made from (seed, i) (default: 0)")
    axons.add_argument("--count", type=_options.positive, default=1, help="how many stacks (default: 1)")
    axons.add_argument("--style", help="confocal, lightsheet, ... (default: drawn for each stack)")
    axons.add_argument(
        "--shape",
        type=_options.shape,
        default=(32, 256, 256),
        metavar="Z,Y,X",
        help="voxels (default: 32,256,256)",
    )


def run(args):
    """Write the data set; its folder appears when it is complete."""
    from tqdm import tqdm

    from calzoo.imaging.outputs import output_folder, write_run_json

    with output_folder(args.output) as folder:
        with tqdm(range(args.count), unit="stack", disable=args.count == 1) as counted:
            stacks = [_write_axons(folder, args, index) for index in counted]
        write_run_json(folder, command="simulate axons", seed=args.seed, shape=args.shape, stacks=stacks)
    print(args.output)


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
