"""Train and export the research networks fold by fold, beginning from networks of simulation alone.

    python benchmarks/cells_research.py --data ../shared/data --pool POOL --init cells-2p -o RUNS/research

--init is a preset, or a folder with the runs "proposal" and "instance" of the recipes cells-proposal and
cells-instance; it must not know the pictures. Writes RUNS/research/fold0 ... fold3, each with the runs and
proposal.onnx and instance.onnx, and "all", which holds nothing out. Interrupted, the same command goes on.
--folds 0,2 does some, --roles proposal one network alone; --steps 0.1 a tenth of each epoch, --batch 0.5
half of each batch, --set schedule.epochs=4 and the like change both recipes. The last weights are kept, not
those of the best score: that would choose by the pictures that are held out.
"""

import argparse
import json
import os
from pathlib import Path

ROLES = ("proposal", "instance")


def recipe_of(role, fold, args):
    """Return the recipe of a role, scored once, at the end."""
    from calzoo.training import recipes

    recipe = recipes.recipe(f"cells-{role}-research")
    given = {name: json.loads(value) for name, value in (text.split("=", 1) for text in args.set)}
    recipe = recipes.changed(recipe, given)
    schedule = recipe.schedule
    changes = {
        "fold": fold,
        "schedule.steps": max(round(schedule.steps * args.steps), 1),
        "schedule.batch": max(round(schedule.batch * args.batch), 1),
        "schedule.score_every": schedule.epochs,
    }
    return recipes.changed(recipe, changes)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--pool", type=Path, required=True)
    parser.add_argument("--init", type=Path, metavar="PRESET|RUNS", help="weights to start from")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--folds", default="0,1,2,3,-1", help="-1 is all pictures")
    parser.add_argument("--roles", default=",".join(ROLES))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=float, default=1.0)
    parser.add_argument("--batch", type=float, default=1.0)
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE")
    args = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    from calzoo.export import export_run
    from calzoo.training import backend
    from calzoo.training.trainer import train

    backend.limit_threads(args.threads)
    folders = [args.data / "abo20_summary", args.data / "neurofinder_summary", args.pool]
    runs = args.init is not None and args.init.is_dir()
    for fold in map(int, args.folds.split(",")):
        place = args.output / (f"fold{fold}" if fold >= 0 else "all")
        for role in args.roles.split(","):
            recipe = recipe_of(role, fold, args)
            progress = train(
                recipe,
                place / role,
                folders=folders,
                init=args.init / role if runs else args.init,
                threads=args.threads,
            )
            if progress.step < recipe.schedule.epochs * recipe.schedule.steps:
                message = f"{place / role}: stopped; the same command goes on"
                raise SystemExit(message)
            export_run(place / role, place / f"{role}.onnx", timing=False)
            print(place / f"{role}.onnx", flush=True)


if __name__ == "__main__":
    main()
