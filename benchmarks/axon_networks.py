"""Networks for axons side by side, on the same simulated stacks, which no recipe trains on.

    python benchmarks/axon_networks.py RUN... [--seeds 2] [--shape 16,128,128] [--threads 2]

A RUN is a folder of 'calzoo train axons', 'calzoo train axons-vgg16' and the like. Prints for each, as a
row of a table, steps and seconds of training, parameters, F1 of background, axon and border, IoU of
axon, clDice and instance F1 (means over the styles' means), and seconds for a million voxels in Keras,
overlap of tiles included.
"""

import argparse
import os
import time
from pathlib import Path

METRICS = ("F1 background", "F1 axon", "F1 border", "IoU axon", "clDice", "instance F1")


def timed(segment):
    """Return the segmenter, and a list that gets (seconds, voxels) of each call."""
    spent = []

    def measured(volume):
        began = time.perf_counter()
        found = segment(volume)
        spent.append((time.perf_counter() - began, volume.size))
        return found

    return measured, spent


def row(path, seeds, shape):
    """Return the numbers of one run by their names."""
    import numpy as np

    from calzoo.training import axons_evaluate
    from calzoo.training.runs import build_model, load_run

    run = load_run(path)
    segment, spent = timed(axons_evaluate.keras_segmenter(run))
    segment(np.ones(shape, np.float32))  # the first call builds what the others use
    spent.clear()
    scores = axons_evaluate.score_simulated(
        segment, seeds=axons_evaluate.SIMULATED_SEEDS[:seeds], shape=shape
    )
    found = {}
    for name in METRICS:
        values = [score.value for score in scores if score.metric == name]
        found[name] = np.mean(values) if values else np.nan
    seconds, voxels = np.sum(spent, axis=0)
    return {
        "steps": run.ledger["steps"],
        "training, s": round(run.ledger["seconds"]),
        "parameters": build_model(run).count_params(),
        **found,
        "s/Mvoxel": 1e6 * seconds / voxels,
    }


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN")
    parser.add_argument("--seeds", type=int, default=2, help="stacks of each style")
    parser.add_argument("--shape", default="16,128,128", help="(Z, Y, X) of each")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    from calzoo.training import backend

    backend.limit_threads(args.threads)
    for number, path in enumerate(args.runs):
        numbers = row(path, args.seeds, tuple(map(int, args.shape.split(","))))
        if not number:
            print(" | ".join(["run", *numbers]))
        values = [f"{v:.3f}" if isinstance(v, float) else str(v) for v in numbers.values()]
        print(" | ".join([path.name, *values]), flush=True)


if __name__ == "__main__":
    main()
