"""What registration does to the traces of cells: dF/F of simulated movies against the truth.

    python benchmarks/registration_traces.py NETWORK [--seeds 0-2] [--frames 300]

The mean fluorescence within the true mask of each active cell is taken from the movie as recorded, from it
registered along the true flow, and from it registered by the network to the same template;
dF/F of each is correlated with that of the cell's light without noise.
"""

import argparse

import numpy as np

from calzoo.imaging.warping import warp
from calzoo.inference.registration import register_movie
from calzoo.simulation.two_photon import simulate_registration


def relative(traces):
    """Return dF/F over the 20th percentile."""
    base = np.percentile(traces, 20, axis=1, keepdims=True)
    return (traces - base) / np.maximum(base, 1e-6)


def main():
    """Print the mean correlation of each way."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("network")
    parser.add_argument("--seeds", default="0-2")
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    first, last = map(int, args.seeds.split("-"))
    for seed in range(first, last + 1):
        recording = simulate_registration(seed, (args.frames, 256, 256), style="cortex")
        frames = recording.frames().astype(np.float32)
        aligned = warp(frames, recording.flow())
        template = aligned.mean(axis=0)
        ours = register_movie(
            frames, model=args.network, provider="cpu", threads=args.threads, template=template
        )
        cells = recording.cells
        chosen = np.flatnonzero(cells.active & (cells.snr > 3))
        if not len(chosen):
            print(f"seed {seed}: no cell is active; give more --frames")
            continue
        truth = relative(cells.traces[chosen])
        found = {}
        for name, movie in (("raw", frames), ("true flow", aligned), ("calzoo", ours.movie)):
            places = [cells.masks[cell] for cell in chosen]
            traces = np.stack([movie[:, rows, columns].mean(axis=1) for rows, columns in places])
            values = relative(traces)
            found[name] = np.mean([np.corrcoef(a, b)[0, 1] for a, b in zip(values, truth, strict=True)])
        line = "  ".join(f"{name} {value:.4f}" for name, value in found.items())
        print(f"seed {seed}, {len(chosen)} cells: {line}", flush=True)


if __name__ == "__main__":
    main()
