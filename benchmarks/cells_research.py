"""Train and export the research networks fold by fold, beginning from networks of simulation alone.

    python benchmarks/cells_research.py --data ../shared/data --pool POOL --init RUNS/sim -o RUNS/research

RUNS/sim holds the runs "proposal" and "instance" of the recipes cells-proposal and cells-instance. Writes
RUNS/research/fold0 ... fold3, each with the runs and proposal.onnx and instance.onnx, and "all", which
holds nothing out. Interrupted, the same command goes on. --folds 0,2 does some; --steps 0.1 a tenth of
each epoch.
"""

import argparse
import os
from pathlib import Path

ROLES = ("proposal", "instance")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--pool", type=Path, required=True)
    parser.add_argument("--init", type=Path, help="folder with the runs proposal and instance")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--folds", default="0,1,2,3,-1", help="-1 is all pictures")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=float, default=1.0)
    args = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    from calzoo.export import export_run
    from calzoo.training import distribute, recipes
    from calzoo.training.trainer import train

    distribute.limit_threads(args.threads)
    folders = [args.data / "abo20_summary", args.data / "neurofinder_summary", args.pool]
    for fold in map(int, args.folds.split(",")):
        place = args.output / (f"fold{fold}" if fold >= 0 else "all")
        for role in ROLES:
            recipe = recipes.recipe(f"cells-{role}-research")
            steps = max(round(recipe.schedule.steps * args.steps), 1)
            recipe = recipes.changed(recipe, {"fold": fold, "schedule.steps": steps})
            progress = train(
                recipe,
                place / role,
                folders=folders,
                init=args.init / role if args.init else None,
                threads=args.threads,
            )
            if progress.step < recipe.schedule.epochs * recipe.schedule.steps:
                message = f"{place / role}: stopped; the same command goes on"
                raise SystemExit(message)
            export_run(place / role, place / f"{role}.onnx", timing=False)
            print(place / f"{role}.onnx", flush=True)


if __name__ == "__main__":
    main()
