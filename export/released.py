"""The run of a released preset, written again from its card and weights.

    python -m calzoo.export.released axons -o RUN

What is decided after training, as thresholds or the operators of the file, can so be changed, scored and
released with the same weights: the folders of runs are not kept with a release. A preset of
several networks gets one folder each, named by their roles. Scores are not written: they were those of
what is to be changed.
"""

import argparse
import json
import shutil
from pathlib import Path

from calzoo.errors import CalzooError
from calzoo.inference.models import load_model
from calzoo.training import recipes
from calzoo.training.checkpoints import write_json
from calzoo.training.runs import WEIGHTS
from calzoo.weights.card import Card
from calzoo.weights.registry import preset as find_preset
from calzoo.weights.registry import resolve, sha256


def unpack(name, out):
    """Write the run, or the runs, of a preset.

    Parameters
    ----------
    name : str
        Of the preset.
    out : path-like
        The run, or the folder that gets a run for each role.

    Returns
    -------
    list of pathlib.Path
        The runs.

    Raises
    ------
    CalzooError
        If there is no such preset, or a run is there already.
    """
    roles = list(find_preset(name).networks)
    places = {role: Path(out) / role if len(roles) > 1 else Path(out) for role in roles}
    for run in places.values():
        if (run / "recipe.json").exists():
            message = f"{run} holds a run already; name another folder."
            raise CalzooError(message)
    for role, run in places.items():
        _unpack(name, role, run)
    return list(places.values())


def _unpack(name, role, run):
    card = load_model(resolve(name, role), provider="cpu").card
    facts = dict(card.training)
    schedule = {f"schedule.{key}": value for key, value in facts.pop("schedule").items()}
    recipe = recipes.recipe(card.recipe)
    kept = {"network": {key: value for key, value in card.config.items() if key != "cam"}}
    if hasattr(recipe, "postprocessing"):
        kept["postprocessing"] = dict(card.postprocessing)
    recipe = recipes.changed(recipe, {**kept, **schedule, "seed": facts.get("seed", recipe.seed)})
    found = recipes.sources_of(recipe, card) or ["simulation"]
    _check_settings(recipe, card, found)
    weights = resolve(name, role, kind="safetensors")
    run.mkdir(parents=True, exist_ok=True)
    (run / "recipe.json").write_text(recipes.to_json(recipe) + "\n", encoding="utf-8")
    if "init" in facts:
        write_json(run / "init.json", facts.pop("init"))
    write_json(run / "ledger.json", facts | {"sessions": [], "versions": dict(card.versions)})
    shutil.copy(weights, run / WEIGHTS)
    released = {"preset": name, "weights": sha256(weights)}
    write_json(run / "fingerprint.json", {f"{source}/released": released for source in found})


def _check_settings(recipe, card, sources):
    """Refuse a preset whose file was written with settings that its recipe does not have by itself."""
    again = json.loads(Card(**recipe.card_fields(recipe.build(), sources)).to_json())
    now = json.loads(card.to_json())
    # Cards of earlier versions lack some settings.
    other = [
        f"{name}.{key}"
        for name in ("normalisation", "divisor", "tile", "postprocessing", "scale")
        for key, value in now.get(name, {}).items()
        if again.get(name, {}).get(key, value) != value
    ]
    if other:
        message = (
            f"{card.name}: its {', '.join(other)} are not those of the recipe {card.recipe!r}, so its run "
            "cannot be written again; export and release the run that it was trained in."
        )
        raise CalzooError(message)


def main(argv=None):
    """Write runs from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("preset")
    parser.add_argument("-o", "--output", required=True, type=Path, metavar="RUN")
    args = parser.parse_args(argv)
    for run in unpack(args.preset, args.output):
        print(run)


if __name__ == "__main__":
    main()
