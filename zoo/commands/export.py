"""Write a run's network as an .onnx file that explains itself.

The file is checked and compared with Keras on two sizes; on failure nothing is
written. Beside NAME.onnx stands a report, NAME.json, and NAME-cpu.onnx, the same
network for processors, where that is faster.
"""

import os
from pathlib import Path

GROUP = "networks"


def add_arguments(parser):
    """Add run, file and name."""
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of 'calzoo train'")
    parser.add_argument("-o", "--output", required=True, type=Path, metavar="FILE.onnx")
    parser.add_argument("--name", help="in the card (default: that of the recipe)")
    parser.add_argument(
        "--no-timing", action="store_true", help="do not time it, and write no file for processors"
    )


def run(args):
    """Export, and print what was written with its largest difference from Keras."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    from calzoo.errors import CalzooError
    from calzoo.export import export_run

    if args.output.suffix != ".onnx":
        message = f"-o: expected the name of an .onnx file, got {args.output}."
        raise CalzooError(message)
    report = export_run(args.run, args.output, name=args.name, timing=not args.no_timing)
    for name in report["written"]:
        facts = report["files"][name]
        size = facts["bytes"] / 2**20
        difference = max(entry["largest_difference"] for entry in facts["parity"])
        print(f"{args.output.with_name(name)}  {size:.1f} MB, differs from Keras by {difference:.1e}")
