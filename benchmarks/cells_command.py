"""How long it takes from a movie to masks, beside Suite2p's detection in the same run.

    python benchmarks/cells_command.py --preset cells-2p [--suite2p /path/to/venv/bin/python] [--rounds 5]

A simulated movie of 1,200 frames of 512 x 512, int16, memory-mapped; traces excluded; two threads; the runs
alternate (A B A B ...), the medians count. --movie FILE.npy keeps the movie, which takes a minute to draw.
"""

import argparse
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np

from calzoo.imaging.cell_summary import cell_pictures
from calzoo.imaging.picture_files import as_pictures
from calzoo.inference.cell_networks import CellNetworks
from calzoo.inference.cells import detect, find_cells
from calzoo.simulation.two_photon import simulate_two_photon

_SUITE2P = """
import sys, time, numpy as np, torch
torch.set_num_threads(2)
from suite2p import default_settings
from suite2p.detection import detection_wrapper
frames = np.load(sys.argv[1], mmap_mode="r")
settings = default_settings()
shape = frames.shape
def once():
    start = time.perf_counter()
    detection_wrapper(frames, yrange=[0, shape[1]], xrange=[0, shape[2]], settings=settings["detection"],
        tau=1.0, fs=10.0, diameter=[12.0, 12.0], device=torch.device("cpu"))
    return time.perf_counter() - start
for line in sys.stdin:
    print(once(), flush=True)
"""


def draw(path, shape):
    """Simulate a movie of the cortex into a file."""
    recording = simulate_two_photon(5, shape, style="cortex", frame_rate_hz=10.0)
    part = path.with_name("part-" + path.name)
    movie = np.lib.format.open_memmap(part, "w+", np.int16, shape)
    for start in range(0, shape[0], 100):
        movie[start : start + 100] = np.minimum(recording.frames(start, start + 100), 32767)
    movie.flush()
    part.rename(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", default="cells-2p")
    parser.add_argument("--model", action="append", default=[], metavar="ROLE=FILE.onnx")
    parser.add_argument("--suite2p", metavar="PYTHON")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--frames", type=int, default=1200)
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--movie", type=Path, metavar="FILE.npy", help="drawn where it is not there")
    args = parser.parse_args()
    roles = dict(text.split("=", 1) for text in args.model) or None
    networks = CellNetworks.load(roles, args.preset, provider="cpu", threads=2)
    with tempfile.TemporaryDirectory() as folder:
        path = args.movie or Path(folder) / "movie.npy"
        if not path.is_file():
            draw(path, (args.frames, args.side, args.side))
        movie = np.load(path, mmap_mode="r")
        other = None
        if args.suite2p:
            other = subprocess.Popen(
                [args.suite2p, "-c", _SUITE2P, str(path)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        ours, theirs, parts = [], [], []
        for round_ in range(args.rounds + 1):
            start = time.perf_counter()
            summary = cell_pictures(movie, threads=2)
            middle = time.perf_counter()
            found = detect(networks, as_pictures(summary), diameter=12.0)
            end = time.perf_counter()
            if other:
                other.stdin.write("\n")
                other.stdin.flush()
                seconds = float(other.stdout.readline())
            if round_:  # the first round warms up
                ours.append(end - start)
                parts.append((middle - start, end - middle))
                theirs += [seconds] if other else []
        print(f"cells    {statistics.median(ours):6.2f} s, {found.count} cells")
        print("         summary {:.2f} s, networks {:.2f} s".format(*np.median(parts, axis=0)))
        start = time.perf_counter()
        find_cells(movie, model=networks, threads=2, traces=False)
        print(f"         with an estimated diameter {time.perf_counter() - start:.2f} s (once)")
        if other:
            print(f"suite2p  {statistics.median(theirs):6.2f} s")
            print(f"ratio    {statistics.median(ours) / statistics.median(theirs):6.2f}")
            other.stdin.close()
            other.wait()


if __name__ == "__main__":
    main()
