"""Seconds for the centres of 1,000 frames of 200 x 200 pixels, by a network, and of fitting one session.

    python benchmarks/centers_speed.py network NETWORK [--threads 2]
    python benchmarks/centers_speed.py fit MOVIE [--init NETWORK] [--threads 2]

NETWORK is a preset or an .onnx file. Frames come from an array, so reading does not count. Cells are some
11 pixels wide; with cells half as wide the same frames take up to four times as long.
"""

import argparse
import statistics
import time

import numpy as np


def blinking_spots():
    """Draw 120 spots that light up now and then over noise, (1000, 200, 200) uint8."""
    rng = np.random.default_rng(0)
    frames = rng.integers(40, 90, (1000, 200, 200)).astype(np.uint8)
    rows, columns = np.mgrid[:200, :200]
    for y, x in rng.uniform(10, 190, (120, 2)):
        spot = 60 * np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / 32)  # some 11 pixels wide
        for start in rng.integers(0, 990, 6):
            frames[start : start + 6] += spot.astype(np.uint8)
    return frames


def network(args):
    """Print the median of three runs, with and without measuring the diameter."""
    from calzoo.inference.centers import find_centers
    from calzoo.inference.models import load_model

    model = load_model(args.network, provider="cpu", threads=args.threads)
    frames = blinking_spots()
    for diameter in (11.0, None):
        seconds = []
        for _ in range(3):
            began = time.perf_counter()
            found = find_centers(frames, model=model, threads=args.threads, diameter=diameter)
            seconds.append(time.perf_counter() - began)
        how = "given" if diameter else "measured"
        print(
            f"diameter {how}: {statistics.median(seconds):.2f} s, {found.count} cells, {args.threads} threads"
        )


def fit(args):
    """Print how long a fit takes, with its tables and pictures."""
    import tempfile

    from calzoo.cli import main as calzoo

    with tempfile.TemporaryDirectory() as folder:
        words = ["train", "centers", "--movie", args.movie, "-o", folder + "/run"]
        words += ["--threads", str(args.threads), *(["--init", args.init] if args.init else [])]
        began = time.perf_counter()
        if calzoo(words):
            raise SystemExit(1)
        print(f"{args.movie}: {time.perf_counter() - began:.0f} s, {args.threads} threads")


def main(argv=None):
    """Time one of the two."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="what", required=True)
    commands.add_parser("network").add_argument("network")
    fitting = commands.add_parser("fit")
    fitting.add_argument("movie")
    fitting.add_argument("--init")
    for command in commands.choices.values():
        command.add_argument("--threads", type=int, default=2)
    args = parser.parse_args(argv)
    {"network": network, "fit": fit}[args.what](args)


if __name__ == "__main__":
    main()
