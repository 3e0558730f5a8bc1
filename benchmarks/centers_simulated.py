"""Centres on simulated movies that no recipe trains on, beside chance and the classical ways; and speed.

    python benchmarks/centers_simulated.py score NETWORK [--seeds 9]
    python benchmarks/centers_simulated.py speed NETWORK [--threads 2]

NETWORK is a preset, an .onnx file or the folder of a run, whose scores are then kept for its card.
"speed" times 1,000 frames of 200 x 200 pixels from an array.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from calzoo.inference.centers import find_centers
from calzoo.inference.models import load_model
from calzoo.training.centers_evaluate import SEEDS, score_simulated


def model_of(name, threads, folder):
    """Return the network of a preset, a file or a run, which is exported first."""
    if Path(name).is_dir():
        from calzoo.export.run import export_run

        export_run(name, Path(folder) / "centers.onnx", timing=False)
        name = Path(folder) / "centers.onnx"
    return load_model(name, provider="cpu", threads=threads)


def score(args, model):
    """Print the scores; keep them in the folder of a run."""
    found = score_simulated(
        lambda frames: find_centers(frames, model=model, threads=args.threads),
        SEEDS[: args.seeds],
        report=print,
    )
    for s in found:
        baseline = (
            "" if s.baseline is None else f", {s.baseline_name} {s.baseline:.3f}, chance {s.chance:.3f}"
        )
        print(f"{s.metric}: {s.value:.3f} [{s.spread[0]:.2f}, {s.spread[1]:.2f}]{baseline}")
    if Path(args.network).is_dir():
        from calzoo.training.runs import load_run, save_scores

        save_scores(load_run(args.network), found)


def speed(args, model):
    """Print the seconds for 1,000 frames, with and without measuring the diameter."""
    rng = np.random.default_rng(0)
    frames = rng.integers(40, 90, (1000, 200, 200)).astype(np.uint8)
    rows, columns = np.mgrid[:200, :200]
    for y, x in rng.uniform(10, 190, (120, 2)):
        spot = 60 * np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / 18)
        for start in rng.integers(0, 990, 6):
            frames[start : start + 6] += spot.astype(np.uint8)
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


def main(argv=None):
    """Score or time."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("score", "speed"))
    parser.add_argument("network")
    parser.add_argument("--seeds", type=int, default=len(SEEDS))
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        model = model_of(args.network, args.threads, folder)
        (score if args.what == "score" else speed)(args, model)


if __name__ == "__main__":
    main()
