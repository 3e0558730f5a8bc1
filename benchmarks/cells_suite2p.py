"""Open a result's suite2p folder with the loader of Suite2p's own window.

    python benchmarks/cells_suite2p.py DIR/suite2p --suite2p /path/to/venv/bin/python

DIR is what ``calzoo cells`` wrote of a movie. The environment holds suite2p with its window
(PyPI suite2p[gui]); no screen is needed.
"""

import argparse
import os
import subprocess
from pathlib import Path

_LOAD = """
import sys
from suite2p.gui import io
loaded = io.load_files(sys.argv[1])
assert loaded is not None, "the loader found files missing"
stat, ops, F, Fneu, spks, iscell = loaded[:6]
assert len(stat) == len(F) == len(Fneu) == len(spks) == len(iscell)
print(len(stat), "cells,", F.shape[1], "frames of", ops["Ly"], "x", ops["Lx"], "pixels")
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--suite2p", required=True, metavar="PYTHON")
    args = parser.parse_args()
    stat = args.folder / "plane0" / "stat.npy"
    environment = os.environ | {"QT_QPA_PLATFORM": "offscreen"}
    raise SystemExit(subprocess.call([args.suite2p, "-c", _LOAD, str(stat)], env=environment))


if __name__ == "__main__":
    main()
