"""Segment axons in 3-D image stacks.

Of each stack: semantic.tif (0 background, 1 axon, 2 border), instances.tif (0
background, 1 to N one axon each), axons.csv, overlay.png and run.json; with --zarr
semantic.zarr and instances.zarr, which are OME-Zarr.
"""

from calzoo.commands import _options
from calzoo.commands._messages import tell

GROUP = "recordings"


def add_arguments(parser):
    """Add stacks, sizes, reading and network."""
    _options.add_inputs(
        parser, "VOLUME", "image stacks: TIFF, OME-TIFF, OME-Zarr or .npy, or a folder of planes"
    )
    parser.add_argument(
        "--axon-diameter",
        metavar="SIZE",
        help="thickness of the axons in pixels (6) or micrometres (1.5um): the network sees the stack "
        "scaled to what it was trained on, results are in the voxels of the stack (default: as it is)",
    )
    smallest = parser.add_mutually_exclusive_group()
    smallest.add_argument(
        "--min-voxels", type=_options.positive, metavar="N", help="smallest axon, in voxels"
    )
    smallest.add_argument(
        "--min-um3", type=_options.positive_number, metavar="V", help="smallest axon, in cubic micrometres"
    )
    parser.add_argument("--zarr", action="store_true", help="write OME-Zarr in place of TIFF")
    parser.add_argument("--view", action="store_true", help="show the results in napari")
    _options.add_reading(parser)
    _options.add_network(parser)


def run(args):
    """Segment one stack after the other, all with one network."""
    from calzoo.commands import _view
    from calzoo.commands._batch import finished, run_each
    from calzoo.inference.axons import run_axons
    from calzoo.inference.models import load_model

    if args.view:
        _view.check()  # before the work, not after it
    name = _options.models(args).get("model", args.preset or "axons")
    model = load_model(name, provider=args.provider, threads=args.threads)

    options = {
        "axes": args.axes,
        "channel": args.channel,
        "voxel_um": args.voxel,
        "axon_diameter": args.axon_diameter,
        "min_voxels": args.min_voxels,
        "min_um3": args.min_um3,
        "zarr": args.zarr,
    }

    def segment(path, folder):
        result = run_axons(path, folder, model=model, **options)
        tell(f"{path}: {result.count} axons, computed on {result.provider}")
        print(folder)

    status = run_each(
        args.inputs,
        args.output,
        segment,
        network=model.sha256,
        options=options,
        overwrite=args.overwrite,
    )
    if args.view:
        _view.show(finished(args.inputs, args.output), axes=args.axes, channel=args.channel)
    return status
