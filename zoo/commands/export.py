"""Write a run's network as an .onnx file that explains itself.

The file is checked and compared with Keras on two sizes; on failure nothing is
written. Beside NAME.onnx stands a report, NAME.json, and NAME-cpu.onnx, the same
network for processors, where that is faster. With --from-keras the network is a
VGG16 U-Net that was trained with segmentation-models-3D, or its weights.
"""

from pathlib import Path

GROUP = "networks"


def add_arguments(parser):
    """Add run or Keras file, file and name."""
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("run", nargs="?", type=Path, metavar="RUN", help="folder of 'calzoo train'")
    source.add_argument(
        "--from-keras", type=Path, metavar="FILE", help=".keras, .weights.h5 or .h5 of segmentation-models-3D"
    )
    parser.add_argument(
        "--normalisation",
        choices=("none", "percentile", "zscore"),
        help="with --from-keras: what the network was trained on; percentiles 1 and 99.8 (default: none)",
    )
    parser.add_argument("-o", "--output", required=True, type=Path, metavar="FILE.onnx")
    parser.add_argument("--name", help="in the card (default: that of the recipe or file)")
    parser.add_argument(
        "--no-timing", action="store_true", help="do not time it, and write no file for processors"
    )


def run(args):
    """Export, and print what was written with its largest difference from Keras."""
    from calzoo.errors import CalzooError

    if args.output.suffix != ".onnx":
        message = f"-o: expected the name of an .onnx file, got {args.output}."
        raise CalzooError(message)
    options = {"name": args.name, "timing": not args.no_timing}
    if args.from_keras:
        from calzoo.export import export_keras

        options["normalisation"] = args.normalisation or "none"
        report = export_keras(args.from_keras, args.output, **options)
    elif args.normalisation:
        message = "--normalisation goes with --from-keras; a run knows how its data were normalised."
        raise CalzooError(message)
    else:
        from calzoo.export import export_run

        report = export_run(args.run, args.output, **options)
    for name in report["written"]:
        facts = report["files"][name]
        size = facts["bytes"] / 2**20
        difference = max(entry["largest_difference"] for entry in facts["parity"])
        print(f"{args.output.with_name(name)}  {size:.1f} MB, differs from Keras by {difference:.1e}")
