"""Score the research networks on labelled pictures, each by those that never saw its field of view.

    python benchmarks/cells_pictures.py --data ../shared/data --folds RUNS
    python benchmarks/cells_pictures.py --data ../shared/data --preset cells-2p --overlays DIR

RUNS/fold0/proposal.onnx and instance.onnx, to fold3, are what benchmarks/cells_research.py writes. Without
--folds one pair of networks is scored, as ``calzoo evaluate PRESET --data FOLDER`` does, and --overlays draws
what was found: true cells in one picture, found ones in the other. Beside it LoG + watershed, told the
diameter, with the best settings per source, chosen on the very pictures (an upper bound). F1 of masks at IoU
0.5, and of centres at most half a median diameter apart; mean over pictures.
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from calzoo.imaging.contours import contour_picture
from calzoo.inference.cell_networks import ROLES, CellNetworks
from calzoo.inference.cells import detect
from calzoo.training.cells_data import FOLDS, held_out
from calzoo.training.cells_evaluate import score_pictures
from calzoo.training.cells_sources import read_cell_pictures
from calzoo.training.runs import load_run, save_scores
from calzoo.training.scores import report

SETS = ("abo20_summary", "neurofinder_summary")


def networks_of(args, pictures):
    """Return a function from a picture to the networks that score it."""
    load = {"provider": "cpu", "threads": args.threads}
    if args.folds:
        folds = [
            CellNetworks.load(
                {role: args.folds / f"fold{k}" / f"{role}.onnx" for role in ROLES}, None, **load
            )
            for k in range(FOLDS)
            if (args.folds / f"fold{k}").is_dir()
        ]
        fold_of = {name: k for k in range(len(folds)) for name in held_out(pictures, k, 0)}
        return lambda picture: folds[fold_of[picture.name]] if picture.name in fold_of else None
    roles = dict(text.split("=", 1) for text in args.model) or None
    one = CellNetworks.load(roles, args.preset, **load)
    return lambda picture: one


def draw(folder, picture, networks, args):
    """Draw the true and the found cells of a picture, one beside the other."""
    shown = {"brightness": picture.pictures["mean"]}
    diameter = picture.diameter() if args.known_diameter else None
    found = detect(networks, shown, diameter=diameter, score=args.score)
    both = [contour_picture(shown["brightness"], masks, zoom=2) for masks in (picture.masks, found.masks)]
    Image.fromarray(np.hstack(both)).save(folder / f"{picture.source}_{picture.name}.png")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the real recordings")
    parser.add_argument("--preset", default="cells-2p")
    parser.add_argument("--model", action="append", default=[], metavar="ROLE=FILE.onnx")
    parser.add_argument("--folds", type=Path, metavar="RUNS", help="those that are there are scored")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--score", type=float, help="least score of a cell")
    parser.add_argument("--known-diameter", action="store_true", help="give the true median diameter")
    parser.add_argument("--overlays", type=Path, metavar="DIR")
    parser.add_argument(
        "--save", action="append", default=[], type=Path, metavar="RUN", help="write the scores into a run"
    )
    args = parser.parse_args()
    pictures = [p for name in SETS for p in read_cell_pictures(args.data / name)]
    networks = networks_of(args, pictures)
    pictures = [p for p in pictures if networks(p) is not None]
    scores = score_pictures(
        lambda picture, shown, diameter: detect(
            networks(picture), shown, diameter=diameter, score=args.score
        ),
        pictures,
        told=args.known_diameter,
        folds=", folds by field of view" if args.folds else "",
        report=lambda line: print(line, flush=True),
    )
    print(report(scores))
    for run in args.save:
        save_scores(load_run(run), scores)
    if args.overlays:
        args.overlays.mkdir(parents=True, exist_ok=True)
        for picture in pictures:
            draw(args.overlays, picture, networks(picture), args)


if __name__ == "__main__":
    main()
