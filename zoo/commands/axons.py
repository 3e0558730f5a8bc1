"""Segment axons in 3-D image stacks.

Of each stack: semantic.tif (0 background, 1 axon, 2 border), instances.tif (0
background, 1 to N one axon each), axons.csv, overlay.png and run.json.
"""

from calzoo.commands import _options
from calzoo.commands._messages import tell

GROUP = "recordings"


def add_arguments(parser):
    """Add stacks, sizes, reading and network."""
    _options.add_inputs(parser, "VOLUME", "image stacks: TIFF, OME-TIFF, ImageJ hyperstack or .npy")
    parser.add_argument(
        "--diameter",
        metavar="SIZE",
        help="thickness of the axons, such as 6px or 1.5um: the network sees the stack scaled to what "
        "it was trained on (default: as it is)",
    )
    smallest = parser.add_mutually_exclusive_group()
    smallest.add_argument(
        "--min-voxels", type=_options.positive, metavar="N", help="smallest axon, in voxels"
    )
    smallest.add_argument(
        "--min-um3", type=_options.positive_number, metavar="V", help="smallest axon, in cubic micrometres"
    )
    _options.add_reading(parser)
    _options.add_network(parser)


def run(args):
    """Segment one stack after the other, all with one network."""
    from calzoo.commands._batch import run_each
    from calzoo.inference.axons import run_axons
    from calzoo.inference.models import load_model

    name = _options.models(args).get("model", args.preset or "axons")
    model = load_model(name, provider=args.provider, threads=args.threads)

    def segment(path, folder):
        result = run_axons(
            path,
            folder,
            model=model,
            axes=args.axes,
            channel=args.channel,
            voxel_um=args.voxel,
            axon_diameter=args.diameter,
            min_voxels=args.min_voxels,
            min_um3=args.min_um3,
        )
        tell(f"{path}: {result.count} axons, computed on {result.provider}")
        print(folder)

    return run_each(args.inputs, args.output, segment, network=model.sha256, overwrite=args.overwrite)
