"""Score cells on simulated movies of a law kept apart, beside Suite2p's detection on the same movies.

    python benchmarks/cells_simulated.py --preset cells-2p --suite2p /path/to/venv/bin/python

The movies are drawn from seeds that no pool uses, with densities, light and rates drawn more widely than in
training. Suite2p (PyPI suite2p 1.1, torch for CPU) runs in an environment of its own, in the same run, with
its defaults and the true median diameter; where it is not given only our own numbers are printed. Truth:
cells that are active, or seen in the mean picture. F1 of masks at IoU 0.5, of centres half a diameter apart,
and the median correlation of the traces of matched cells with the truth: of all that a way found, and
of those that both found, as who finds cells that hardly fire has them among the traces too.
"""

import argparse
import json
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from calzoo.imaging.cell_pictures import median_diameter
from calzoo.imaging.masks import Masks
from calzoo.imaging.movies import open_movie
from calzoo.imaging.traces import extract_traces
from calzoo.imaging.writers import write_movie
from calzoo.inference.cell_networks import CellNetworks
from calzoo.inference.cells import find_cells
from calzoo.simulation.fields import log_uniform
from calzoo.simulation.two_photon import simulate_two_photon
from calzoo.simulation.two_photon_style import draw_two_photon_style
from calzoo.training.cells_scores import match_masks, score_cells

#: Pools use pairs (0, number); these have a first word of their own.
LAW = 770_001
SHAPE = (600, 256, 256)

_SUITE2P = """
import json, sys, numpy as np
from pathlib import Path
movie, out, diameter, rate = sys.argv[1], Path(sys.argv[2]), float(sys.argv[3]), float(sys.argv[4])
import tifffile
from suite2p import default_settings
import torch
frames = tifffile.imread(movie)
settings = default_settings()
from suite2p.detection import detection_wrapper
frames = np.clip(frames, 0, 32767).astype(np.int16)
try:
    result = detection_wrapper(
        frames, yrange=[0, frames.shape[1]], xrange=[0, frames.shape[2]], settings=settings["detection"],
        tau=1.0, fs=rate, diameter=[diameter, diameter], device=torch.device("cpu"))
except ValueError as error:
    if "no ROIs" not in str(error):
        raise
    result = ()
lists = (r for r in result if isinstance(r, (list, np.ndarray)) and len(r) and isinstance(r[0], dict))
stat = next(lists, [])
pixels = {f"y{i}": s["ypix"] for i, s in enumerate(stat)} | {f"x{i}": s["xpix"] for i, s in enumerate(stat)}
np.savez(out, **pixels)
print(json.dumps({"cells": len(stat)}))
"""


def draw(number):
    """Return a movie of the law."""
    rng = np.random.default_rng([LAW, number])
    style = draw_two_photon_style(rng, str(rng.choice(["cortex", "cortex", "hippocampus", "sparse"])))
    changes = {
        "pixel_um": style.soma_um / rng.uniform(9, 18),
        "frame_rate_hz": rng.uniform(5, 30),
        "neuropil_photons": log_uniform(rng, 0.5, 30),
        "rate_hz": log_uniform(rng, 0.03, 0.4),
    }
    if not style.packed:
        changes["density"] = log_uniform(rng, 20_000, 400_000)
    style = draw_two_photon_style(np.random.default_rng([LAW, number, 1]), None, **changes)
    return simulate_two_photon([LAW, number], SHAPE, style=style)


def truth_of(recording):
    """Return the masks that can be found, and all others."""
    cells = recording.cells
    seen = cells.visible & cells.in_focus
    return cells.masks.select(seen), cells.traces[seen]


def suite2p_masks(python, movie, shape, diameter, rate):
    """Run Suite2p's detection in its own environment."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "found.npz"
        command = [python, "-c", _SUITE2P, str(movie), str(out), str(diameter), str(rate)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(done.stderr[-2000:])
        with np.load(out) as file:
            count = json.loads(done.stdout.splitlines()[-1])["cells"]
            return Masks.from_pixels(shape, [(file[f"y{i}"], file[f"x{i}"]) for i in range(count)])


def trace_correlations(truth, traces, found, measured):
    """Return the correlation of each matched cell with the truth, by the number of the true cell."""
    matching = match_masks(truth, found)
    return {
        int(t): float(np.corrcoef(traces[t], measured[f])[0, 1])
        for t, f in zip(matching.true, matching.found, strict=True)
    }


def median(values):
    """Return the median of what is defined, NaN where nothing is."""
    known = [value for value in values if np.isfinite(value)]
    return float(np.median(known)) if known else float("nan")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", default="cells-2p")
    parser.add_argument("--model", action="append", default=[], metavar="ROLE=FILE.onnx")
    parser.add_argument("--suite2p", metavar="PYTHON", help="interpreter of an environment with suite2p")
    parser.add_argument("--movies", type=int, default=8)
    args = parser.parse_args()
    roles = dict(text.split("=", 1) for text in args.model) or None
    networks = CellNetworks.load(roles, args.preset, provider="cpu", threads=2)
    rows = {"calzoo": [], "suite2p": []}
    for number in range(args.movies):
        recording = draw(number)
        truth, traces = truth_of(recording)
        if not len(truth):
            continue
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "movie.tif"
            write_movie(path, recording)
            with open_movie(path, frame_rate_hz=recording.frame_rate_hz) as movie:
                found = find_cells(movie, model=networks, traces=False)
                results = {"calzoo": found.masks}
                if args.suite2p:
                    results["suite2p"] = suite2p_masks(
                        args.suite2p, path, truth.shape, median_diameter(truth), recording.frame_rate_hz
                    )
                scores = {name: score_cells(truth, masks) for name, masks in results.items()}
                matched = {}
                for name, masks in results.items():
                    measured = extract_traces(movie, masks).corrected() if len(masks) else np.empty((0, 0))
                    matched[name] = trace_correlations(truth, traces, masks, measured)
        common = set.intersection(*map(set, matched.values()))
        for name, found in matched.items():
            all_cells, same_cells = median(found.values()), median(found[t] for t in common)
            rows[name].append((scores[name].f1, scores[name].center_f1, all_cells, same_cells))
            print(
                f"{number:3} {name:8} {len(truth):4} true {len(results[name]):4} found  "
                f"F1 {scores[name].f1:.3f}  centre {scores[name].center_f1:.3f}  traces {all_cells:.3f}, "
                f"of the {len(common)} cells that all ways found {same_cells:.3f}",
                flush=True,
            )
    for name, values in rows.items():
        if values:
            f1, center, all_cells, same_cells = np.nanmean(np.array(values), axis=0)
            print(
                f"{name}: F1 {f1:.3f}, centre {center:.3f}, traces {all_cells:.3f}, of the same cells "
                f"{same_cells:.3f}, {len(values)} movies"
            )


if __name__ == "__main__":
    main()
