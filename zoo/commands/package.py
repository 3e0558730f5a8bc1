"""Pack a network for programs that do without calzoo.

The zip archive holds the .onnx files, their cards as JSON, a golden input with its output, licence and
terms, and run.py, which needs NumPy and onnxruntime alone. A run is exported first (calzoo export).
"""

from pathlib import Path

GROUP = "presets"


def add_arguments(parser):
    """Add the network and the archive."""
    parser.add_argument(
        "network", metavar="PRESET|FILE.onnx", help="a preset (see: calzoo list), or a file with a card"
    )
    parser.add_argument("-o", "--output", required=True, type=Path, metavar="FILE.zip")
    parser.add_argument("--overwrite", action="store_true", help="replace a file of that name")


def run(args):
    """Write the archive, and print its name and what it holds."""
    from calzoo.commands._messages import tell
    from calzoo.inference.packages import write_package

    names = write_package(args.network, args.output, overwrite=args.overwrite)
    tell(f"{args.output}: {', '.join(names)}")
    print(args.output)
