"""How long the summary images take, against reading the movie and computing its standard deviation.

    python benchmarks/summary.py [--frames 1200] [--side 512] [--rounds 5]

The aim: no longer than reading and standard deviation, twice. The runs alternate (A B C A B C ...), the
medians count. "numpy" is ``movie.std(axis=0)`` on the whole array, "streamed" the fastest way that
plain NumPy offers: frame by frame in float32.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import tifffile

from calzoo.imaging.movies import open_movie
from calzoo.imaging.summary import summary_images


def write_movie(path, n_frames, side):
    rng = np.random.default_rng(0)
    frames = rng.poisson(200, size=(50, side, side)).astype(np.uint16)
    with tifffile.TiffWriter(path) as writer:
        for index in range(n_frames):
            writer.write(frames[index % 50], contiguous=True)


def numpy_deviation(path):
    with open_movie(path) as movie:
        return movie.frames(0, movie.shape[0]).std(axis=0)


def streamed_deviation(path):
    with open_movie(path) as movie:
        total, squares = np.zeros((2, *movie.shape[1:]), np.float32)
        for start in range(0, movie.shape[0], 64):
            for frame in movie.frames(start, min(start + 64, movie.shape[0])):
                x = frame.astype(np.float32)
                total += x
                squares += x * x
        return np.sqrt(squares / movie.shape[0] - (total / movie.shape[0]) ** 2)


def summary(path):
    with open_movie(path) as movie:
        return summary_images(movie)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=1200)
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    seconds = {numpy_deviation: [], streamed_deviation: [], summary: []}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "movie.tif"
        write_movie(path, args.frames, args.side)
        for round_ in range(args.rounds + 1):
            for work, taken in seconds.items():
                start = time.perf_counter()
                work(path)
                if round_:  # the first round warms up the file cache
                    taken.append(time.perf_counter() - start)
    medians = {work: statistics.median(taken) for work, taken in seconds.items()}
    for work, median in medians.items():
        print(f"{work.__name__:20} {median:6.2f} s")
    print(f"ratio to twice numpy    {medians[summary] / (2 * medians[numpy_deviation]):.2f}")
    print(f"ratio to twice streamed {medians[summary] / (2 * medians[streamed_deviation]):.2f}")


if __name__ == "__main__":
    main()
