"""Score the research networks on labelled pictures, each by those that never saw its field of view.

    python benchmarks/cells_pictures.py --data ../shared/data --folds RUNS --choose
    python benchmarks/cells_pictures.py --data ../shared/data --preset cells-2p --overlays DIR
    python benchmarks/cells_pictures.py --preset cells-2p

RUNS/fold0/proposal.onnx and instance.onnx, to fold3, are what benchmarks/cells_research.py writes. With
--choose the thresholds of each fold, and the weight of the heat map in the scores, are those with the best F1
on the pictures of the three others, each by the networks that never saw it, and those of all four go into the
runs of --save, beside the scores. Without --folds one pair of networks is scored, as ``calzoo evaluate PRESET
--data FOLDER`` does, and --overlays draws what was found: true cells in one picture, found ones in the other;
without --data the pictures are the simulated ones of ``calzoo evaluate``. Beside it LoG + watershed, told the
diameter, with the best settings per source, chosen on the very pictures (an upper bound). F1 of masks at IoU
0.5, and of centres at most half a median diameter apart; mean over pictures.
"""

import argparse
import json
import pickle
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
from PIL import Image

from calzoo.imaging.contours import contour_picture
from calzoo.inference.cell_networks import ROLES, CellNetworks
from calzoo.inference.cells import detect, network_hash
from calzoo.training.cells_data import FOLDS, held_out
from calzoo.training.cells_evaluate import Case, pictures_of, score_pictures
from calzoo.training.cells_samples import shown_pictures
from calzoo.training.runs import load_run, save_scores
from calzoo.training.scores import report

SETS = ("abo20_summary", "neurofinder_summary")
#: To choose from: thresholds of the maxima of the heat map, its weight in the scores, thresholds of these.
HEATS = (0.05, 0.12)
WEIGHTS = (0.3, 0.6, 0.9)
SCORES = tuple(np.round(np.arange(0.3, 0.91, 0.05), 2))


def networks_of(args, pictures):
    """Return a function from a picture to the networks that score it, and the fold of each field of view."""
    load = {"provider": "cpu", "threads": args.threads}
    if args.folds:
        folds = [
            CellNetworks.load(
                {role: args.folds / f"fold{k}" / f"{role}.onnx" for role in ROLES}, None, **load
            )
            for k in range(FOLDS)
            if (args.folds / f"fold{k}").is_dir()
        ]
        fold_of = {field: k for k in range(len(folds)) for field in held_out(pictures, k, 0)}
        return lambda picture: folds[fold_of[picture.field]] if picture.field in fold_of else None, fold_of
    roles = dict(text.split("=", 1) for text in args.model) or None
    one = CellNetworks.load(roles, args.preset, **load)
    return lambda picture: one, {}


def kept(path, make):
    """Return what a file holds, or make and keep it; without a path make it."""
    if path is not None and path.is_file():
        return pickle.loads(path.read_bytes())
    made = make()
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(pickle.dumps(made))
    return made


class Choice:
    """What networks find in pictures with any thresholds, and the best ones for some of the pictures.

    Parameters
    ----------
    networks : callable
        From a CellPicture to CellNetworks.
    pictures : sequence of CellPicture
    told : bool
        Whether the networks are told the true median diameter.
    keep : path, optional
        Folder for what was found, by the networks' hash: an interrupted command goes on.
    """

    def __init__(self, networks, pictures, told, keep=None):
        self.found, self.quality, self.source = {}, {}, {}
        for picture in pictures:
            ((group, chosen),) = shown_pictures(picture)
            case, own = Case(picture, chosen), networks(picture)
            diameter = picture.diameter() if told else None
            for heat, weight in product(HEATS, WEIGHTS):
                own.options |= {"heat_threshold": heat, "heat_weight": weight}
                way = f"{heat}_{weight}_{'told' if told else 'estimated'}"
                found = kept(
                    keep and keep / f"{network_hash(own)[:16]}_{picture.name}_{way}.pkl",
                    partial(detect, own, case.shown, diameter=diameter, score=SCORES[0]),
                )
                self.found[picture.name, heat, weight] = found
                for score in SCORES:
                    scores = case.score(found.masks.select(found.scores >= score))
                    self.quality[picture.name, heat, weight, score] = (scores.f1 + scores.center_f1) / 2
            self.source[picture.name] = group

    def best(self, names):
        """Return (F1, heat, weight, score): what is best for pictures, where every source weighs the same."""
        groups = {}
        for name in names:
            groups.setdefault(self.source[name], []).append(name)
        options = [
            (np.mean([np.mean([self.quality[n, *way] for n in g]) for g in groups.values()]), *way)
            for way in product(HEATS, WEIGHTS, SCORES)
        ]
        return max(options)

    def detection(self, name, heat, weight, score):
        """Return the CellDetection of a picture with some thresholds."""
        found = self.found[name, heat, weight]
        good = found.scores >= score
        return replace(found, masks=found.masks.select(good), scores=found.scores[good])


def choose(networks, pictures, fold_of, args):
    """Choose the thresholds of each fold on the three others; keep those of all in the runs of --save.

    Returns
    -------
    callable
        As `calzoo.training.cells_evaluate.score_pictures` takes it.
    """
    choice = Choice(networks, pictures, args.known_diameter, args.keep)
    used = {}
    for fold in sorted(set(fold_of.values())):
        f1, *used[fold] = choice.best([p.name for p in pictures if fold_of[p.field] != fold])
        heat, weight, score = used[fold]
        print(f"fold {fold}: heat {heat}, its weight {weight}, score {score}, F1 {f1:.3f} on the others")
    f1, heat, weight, score = choice.best([p.name for p in pictures])
    print(f"all: heat {heat}, its weight {weight}, score {score}, F1 {f1:.3f}", flush=True)
    for run in args.save:
        path = run / "recipe.json"
        recipe = json.loads(path.read_text())
        chosen = {"heat_threshold": heat, "heat_weight": weight, "score_threshold": float(score)}
        recipe["postprocessing"] |= {k: v for k, v in chosen.items() if k in recipe["postprocessing"]}
        path.write_text(json.dumps(recipe, indent=1) + "\n")
    return lambda picture, shown, diameter: choice.detection(picture.name, *used[fold_of[picture.field]])


def draw(folder, picture, networks, args):
    """Draw the true and the found cells of a picture, one beside the other."""
    shown = {"brightness": picture.pictures["mean"]}
    diameter = picture.diameter() if args.known_diameter else None
    found = detect(networks, shown, diameter=diameter, score=args.score)
    both = [contour_picture(shown["brightness"], masks, zoom=2) for masks in (picture.masks, found.masks)]
    Image.fromarray(np.hstack(both)).save(folder / f"{picture.source}_{picture.name}.png")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder of the real recordings; absent: simulated ones")
    parser.add_argument("--preset", default="cells-2p")
    parser.add_argument("--model", action="append", default=[], metavar="ROLE=FILE.onnx")
    parser.add_argument("--folds", type=Path, metavar="RUNS", help="those that are there are scored")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--score", type=float, help="least score of a cell")
    parser.add_argument("--choose", action="store_true", help="thresholds of each fold from the others")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="with --choose: keep what was found")
    parser.add_argument("--known-diameter", action="store_true", help="give the true median diameter")
    parser.add_argument("--overlays", type=Path, metavar="DIR")
    parser.add_argument(
        "--save", action="append", default=[], type=Path, metavar="RUN", help="write the scores into a run"
    )
    args = parser.parse_args()
    if args.choose and not args.folds:
        parser.error("--choose needs the networks of --folds.")
    if args.folds and not args.data:
        parser.error("--folds needs the pictures of --data.")
    pictures = pictures_of([args.data / name for name in SETS] if args.data else [])
    networks, fold_of = networks_of(args, pictures)
    pictures = [p for p in pictures if networks(p) is not None]
    if args.choose:
        find = choose(networks, pictures, fold_of, args)
    else:

        def find(picture, shown, diameter):
            return detect(networks(picture), shown, diameter=diameter, score=args.score)

    scores = score_pictures(
        find,
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
