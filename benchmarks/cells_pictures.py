"""Score cells on the labelled pictures of the Allen Brain Observatory and of Neurofinder.

    python benchmarks/cells_pictures.py --data ../shared/data --preset cells-2p
    python benchmarks/cells_pictures.py --data ../shared/data --folds RUNS

With --folds each picture is scored by the networks that were not trained on its field of view:
RUNS/fold0/proposal.onnx and instance.onnx, to fold3, as benchmarks/cells_research.py writes them.
Beside it LoG + watershed, with the best settings per source, chosen on the very pictures (an upper bound).
F1 of masks at IoU 0.5, and of centres at most half a median diameter apart; mean over pictures.
"""

import argparse
import itertools
from pathlib import Path

import numpy as np
from scipy import ndimage

from calzoo.imaging.masks import Masks
from calzoo.inference.cell_networks import CellNetworks
from calzoo.inference.cells import find_cells
from calzoo.training.cells_data import FOLDS, held_out
from calzoo.training.cells_scores import score_cells
from calzoo.training.cells_sources import read_cell_pictures
from calzoo.training.runs import load_run, save_scores
from calzoo.weights.card import Score

SETS = {"abo": "abo20_summary", "neurofinder": "neurofinder_summary"}


def log_watershed(picture, *, sigma, threshold, smallest):
    """Outline bright blobs: maxima of the Laplacian of Gaussian grow down to a part of their height."""
    from skimage.segmentation import watershed

    response = -ndimage.gaussian_laplace(picture.astype(float), sigma)
    level = np.percentile(response, threshold)
    peaks = (response == ndimage.maximum_filter(response, int(2 * sigma) | 1)) & (response > level)
    seeds, count = ndimage.label(peaks)
    labels = watershed(-response, seeds, mask=response > 0.25 * level)
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    labels[sizes[labels] < smallest] = 0
    return Masks.from_labels(labels)


def baseline(pictures):
    """Return the best mean F1 of the classical way over a grid of settings."""
    best = (0.0, 0.0, None)
    for sigma, threshold in itertools.product((2, 2.5, 3, 4, 5), (85, 90, 93, 96, 98)):
        scores = []
        for p in pictures:
            masks = log_watershed(brightness(p), sigma=sigma, threshold=threshold, smallest=3 * sigma**2)
            scores.append(score_cells(p.masks, masks, region=p.known))
        f1 = float(np.mean([s.f1 for s in scores]))
        if f1 > best[0]:
            best = (f1, float(np.mean([s.center_f1 for s in scores])), scores)
    return best


def brightness(picture):
    return picture.pictures["mean"]


def networks_of(args):
    """Return a function from a picture to the networks that score it."""
    load = {"provider": "cpu", "threads": args.threads}
    if args.folds:
        folds = [
            CellNetworks.load(
                {role: args.folds / f"fold{k}" / f"{role}.onnx" for role in ("proposal", "instance")},
                None,
                **load,
            )
            for k in range(FOLDS)
        ]
        return lambda picture, fold: folds[fold]
    if args.model:
        roles = dict(text.split("=", 1) for text in args.model)
        one = CellNetworks.load(roles, None, **load)
    else:
        one = CellNetworks.load(None, args.preset, **load)
    return lambda picture, fold: one


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the real recordings")
    parser.add_argument("--preset", default="cells-2p")
    parser.add_argument("--model", action="append", default=[], metavar="ROLE=FILE.onnx")
    parser.add_argument("--folds", type=Path, metavar="RUNS")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--score", type=float, help="least score of a cell")
    parser.add_argument("--known-diameter", action="store_true", help="give the true median diameter")
    parser.add_argument("--no-baseline", action="store_true")
    parser.add_argument(
        "--save", action="append", default=[], type=Path, metavar="RUN", help="write the scores into a run"
    )
    args = parser.parse_args()
    networks = networks_of(args)
    kept = []
    for source, folder in SETS.items():
        pictures = read_cell_pictures(args.data / folder)
        fold_of = {name: k for k in range(FOLDS) for name in held_out(pictures, k, 0)}
        rows = []
        for p in pictures:
            diameter = p.diameter() if args.known_diameter else None
            found = find_cells(
                summary=brightness(p), model=networks(p, fold_of[p.name]), diameter=diameter, score=args.score
            )
            scores = score_cells(p.masks, found.masks, region=p.known)
            rows.append(scores)
            print(
                f"{p.name:20} fold {fold_of[p.name]}  F1 {scores.f1:.3f}  centre {scores.center_f1:.3f}  "
                f"precision {scores.precision:.3f} recall {scores.recall:.3f}  "
                f"diameter {found.diameter:5.1f} (true {p.diameter():.1f})"
            )
        f1, center = (np.array([getattr(r, name) for r in rows]) for name in ("f1", "center_f1"))
        print(
            f"{source}: F1 {f1.mean():.3f} [{f1.min():.3f}, {f1.max():.3f}], "
            f"centre {center.mean():.3f} [{center.min():.3f}, {center.max():.3f}], {len(rows)} pictures"
        )
        best, best_center = None, None
        if not args.no_baseline:
            best, best_center, each = baseline(pictures)
            print(f"{source}: LoG + watershed F1 {best:.3f}, centre {best_center:.3f}")
            for p, ours, theirs in zip(pictures, rows, each, strict=True):
                print(f"  {p.name:20} ours {ours.f1:.3f}  LoG + watershed {theirs.f1:.3f}")

        protocol = f"{len(rows)} pictures" + (", 4 folds by field of view" if args.folds else "")
        kept += [
            score_of(source, "F1 at IoU 0.5", f1, protocol, best),
            score_of(source, "F1 by centre", center, protocol, best_center),
        ]
    for run in args.save:
        save_scores(load_run(run), kept)


def score_of(source, metric, values, protocol, baseline_value):
    """Return what a card says of one number."""
    return Score(
        data={"abo": "Allen Brain Observatory", "neurofinder": "Neurofinder"}[source],
        metric=metric,
        value=round(float(values.mean()), 4),
        protocol=f"{protocol}, diameter estimated",
        spread=(round(float(values.min()), 4), round(float(values.max()), 4)),
        baseline=None if baseline_value is None else round(baseline_value, 4),
        baseline_name="LoG + watershed, best settings per source",
    )


if __name__ == "__main__":
    main()
