"""The runs of a released preset for cells, written again from its cards.

    python -m calzoo.training.cells_released cells-2p -o RUNS/sim

Thresholds belong to the cards. To change them alone (``benchmarks/cells_tune.py``), to score them and to
release the same weights with them, the folders of the runs are needed, which are not kept with a release.
Scores are not written: they were those of other thresholds.
"""

import argparse
import shutil
from pathlib import Path

from calzoo.errors import CalzooError
from calzoo.inference.cell_networks import ROLES
from calzoo.inference.models import load_model
from calzoo.training import recipes
from calzoo.training.cells_data import TERMS
from calzoo.training.checkpoints import write_json
from calzoo.training.runs import WEIGHTS
from calzoo.weights.registry import resolve, sha256


def unpack(preset, out):
    """Write the runs of both networks of a preset.

    Parameters
    ----------
    preset : str
    out : path-like
        Gets the folders "proposal" and "instance", which must not be there.

    Raises
    ------
    CalzooError
        If there is no such preset, it is not for cells, or a folder exists.
    """
    for role in ROLES:
        card = load_model(preset, provider="cpu", role=role).card
        run = Path(out) / role
        if run.exists():
            message = f"{run} exists; name a folder without runs."
            raise CalzooError(message)
        run.mkdir(parents=True)
        facts = dict(card.training)
        schedule = {f"schedule.{name}": value for name, value in facts.pop("schedule").items()}
        changes = {"network": dict(card.config), "postprocessing": dict(card.postprocessing), **schedule}
        recipe = recipes.changed(recipes.recipe(card.recipe), changes)
        (run / "recipe.json").write_text(recipes.to_json(recipe) + "\n", encoding="utf-8")
        if "init" in facts:
            write_json(run / "init.json", facts.pop("init"))
        write_json(run / "ledger.json", facts | {"sessions": [], "versions": dict(card.versions)})
        weights = resolve(preset, role, kind="safetensors")
        shutil.copy(weights, run / WEIGHTS)
        names = {data.name for data in card.data}
        sources = [source for source, terms in TERMS.items() if terms.name in names]
        released = {"preset": preset, "weights": sha256(weights)}
        write_json(run / "fingerprint.json", {f"{source}/released": released for source in sources})


def main(argv=None):
    """Write runs from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("preset")
    parser.add_argument("-o", "--output", required=True, type=Path, metavar="RUNS")
    args = parser.parse_args(argv)
    unpack(args.preset, args.output)
    print(args.output)


if __name__ == "__main__":
    main()
