"""Choose the thresholds of cells, and keep them in the runs: the last step before a network is released.

    python benchmarks/cells_tune.py --runs RUNS/sim --pool POOL [--data ../shared/data/abo20_summary ...]

RUNS/sim holds proposal.onnx and instance.onnx, exported from the runs proposal and instance beside them.
The scenes of the pool that the recipes hold out, as movies and as pictures, and the pictures of --data are
searched with a low threshold; the thresholds of masks and scores, and the share that the heat map has in the
scores, with the best mean F1 at IoU 0.5 go into RUNS/sim/instance/recipe.json, with the diameter of the masks
that are drawn of cells of known diameter, and instance.onnx is exported again. For a network of simulation
alone give no --data: it must not know them. Of a released preset python -m calzoo.export.released
writes the runs; its held-out scenes are those of a pool of another seed.
"""

import argparse
import itertools
import json
import os
from pathlib import Path

import numpy as np

from calzoo.inference.cell_input import network_input
from calzoo.inference.cell_networks import CellNetworks
from calzoo.inference.cell_scale import drawn_diameter
from calzoo.inference.cells import detect
from calzoo.training.cells_data import held_out
from calzoo.training.cells_evaluate import Case, pictures_of
from calzoo.training.cells_samples import shown_pictures
from calzoo.training.cells_sources import read_cell_pictures

LOWEST = 0.05
GRID = np.round(np.arange(0.05, 0.96, 0.05), 2)
MASKS = (0.2, 0.3, 0.4, 0.5)
HEATS = (0.0, 0.3, 0.5, 0.7, 0.9)


def cases(args, scenes):
    """Yield (group, case) of everything that is scored."""
    pool = read_cell_pictures(args.pool, scenes=scenes)
    kept = held_out(pool, -1, args.scenes)
    pictures = [p for p in pool if p.field in kept]
    pictures += pictures_of(args.data) if args.data else []
    for picture in pictures:
        for group, chosen in shown_pictures(picture):
            yield group, Case(picture, chosen)


def curve(networks, case):
    """Return F1 for each threshold of the grid."""
    found = detect(networks, case.shown, diameter=case.picture.diameter(), score=LOWEST)
    return [case.score(found.masks.select(found.scores >= threshold)).f1 for threshold in GRID]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--pool", type=Path, required=True)
    parser.add_argument("--data", type=Path, action="append", default=[])
    parser.add_argument("--scenes", type=int, default=16)
    parser.add_argument("--masks", type=float, nargs="+", default=MASKS, help="thresholds of masks to try")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--dry", action="store_true", help="only print")
    args = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    recipe = json.loads((args.runs / "instance" / "recipe.json").read_text())
    files = {role: args.runs / f"{role}.onnx" for role in ("proposal", "instance")}
    networks = CellNetworks.load(files, None, provider="cpu", threads=args.threads)
    known = list(cases(args, recipe["scenes"]))
    print("least score           ", *(f"{t:6.2f}" for t in GRID))
    best = (0.0, None, None, None)
    for mask_threshold, share in itertools.product(args.masks, HEATS):
        networks.options |= {"mask_threshold": mask_threshold, "heat_weight": share}
        groups = {}
        for group, case in known:
            groups.setdefault(group, []).append(curve(networks, case))
        means = {group: np.nanmean(values, axis=0) for group, values in groups.items()}
        total = np.mean(list(means.values()), axis=0)
        for group, values in {**means, "mean": total}.items():
            print(f"{mask_threshold} {share} {group[:14]:14}", *(f"{v:6.3f}" for v in values), flush=True)
        best = max(best, (float(total.max()), mask_threshold, share, float(GRID[total.argmax()])))
    networks.options["mask_threshold"], networks.options["drawn_diameter"] = best[1], 1.0
    drawn = [
        drawn_diameter(networks, network_input(networks, case.shown), case.picture.diameter())
        for _, case in known
    ]
    tuned = {
        "mask_threshold": best[1],
        "heat_weight": best[2],
        "score_threshold": best[3],
        "drawn_diameter": round(float(np.nanmedian(drawn)), 3),
    }
    print(f"best F1 {best[0]:.3f}: {tuned}")
    if args.dry:
        return
    recipe["postprocessing"] |= tuned
    (args.runs / "instance" / "recipe.json").write_text(json.dumps(recipe, indent=1) + "\n")
    from calzoo.export import export_run

    export_run(args.runs / "instance", files["instance"], timing=False)
    print(files["instance"])


if __name__ == "__main__":
    main()
