"""Score cells on one real movie whose cells are labelled, beside Suite2p's detection on the same frames.

    python benchmarks/cells_movie.py ../shared/data/nf0000_movie/movie_avg4_sqrt8.tif \
        ../shared/data/nf0000_movie/label.tif --rate 1.75 --squared --suite2p /path/to/venv/bin/python

F1 of masks at IoU 0.5 and of centres half a median diameter apart. Suite2p is told the median diameter of the
labels, calzoo is not; of squared frames it gets halves, which its 16 bits hold.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import tifffile
from cells_simulated import suite2p_masks

from calzoo.imaging.cell_pictures import median_diameter
from calzoo.imaging.masks import Masks
from calzoo.inference.cells import find_cells
from calzoo.training.cells_scores import score_cells


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("movie", type=Path)
    parser.add_argument("labels", type=Path, help="label image: one integer per cell")
    parser.add_argument("--rate", type=float, required=True, metavar="HZ")
    parser.add_argument("--squared", action="store_true", help="the file holds square roots")
    parser.add_argument("--preset", default="cells-2p")
    parser.add_argument("--suite2p", metavar="PYTHON", help="interpreter of an environment with suite2p")
    args = parser.parse_args()
    frames = tifffile.imread(args.movie).astype(np.float32)
    frames = frames**2 / 2 if args.squared else frames
    truth = Masks.from_labels(tifffile.imread(args.labels))
    found = find_cells(frames, preset=args.preset, provider="cpu", threads=2, traces=False)
    results = {"calzoo": found.masks}
    if args.suite2p:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "movie.tif"
            tifffile.imwrite(path, frames.astype(np.uint16))
            results["suite2p"] = suite2p_masks(
                args.suite2p, path, truth.shape, median_diameter(truth), args.rate
            )
    for name, masks in results.items():
        scores = score_cells(truth, masks)
        print(
            f"{name}: {len(truth)} labelled, {len(masks)} found, F1 {scores.f1:.3f}, "
            f"centres {scores.center_f1:.3f}"
        )


if __name__ == "__main__":
    main()
