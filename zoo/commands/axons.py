"""Segment axons in 3-D image stacks.

Of each stack: semantic.tif (0 background, 1 axon, 2 border), instances.tif (0
background, 1 to N one axon each), axons.csv, overlay.png and run.json.
"""

from calzoo.commands import _options

GROUP = "recordings"


def add_arguments(parser):
    """Add stacks, reading and network."""
    _options.add_inputs(parser, "VOLUME", "image stacks: TIFF, OME-TIFF, ImageJ hyperstack or .npy")
    parser.add_argument(
        "--diameter",
        type=_options.positive_number,
        metavar="PIXELS",
        help="thickness of the axons; scales the stack to what the network expects (default: as it is)",
    )
    _options.add_reading(parser)
    _options.add_network(parser)


def run(args):
    """Segment one stack after the other."""
    from calzoo.commands._batch import run_each
    from calzoo.inference.axons import run_axons

    models = _options.models(args)

    def segment(path, folder):
        run_axons(
            path,
            folder,
            preset=args.preset or "axons",
            model=models.get("model"),
            provider=args.provider,
            threads=args.threads,
            axes=args.axes,
            channel=args.channel,
            voxel_um=args.voxel,
            axon_diameter=args.diameter,
        )
        print(folder)

    return run_each(args.inputs, args.output, segment, overwrite=args.overwrite)
