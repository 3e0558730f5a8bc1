"""What the command line says on stderr."""

import sys


def tell(error):
    """Write an error or a message as one line."""
    text = " ".join(str(error).split()) or type(error).__name__
    print(f"calzoo: {text}", file=sys.stderr)
