"""How a run begins or goes on: its folder must hold the same recipe, first weights and data."""

from calzoo.errors import CalzooError
from calzoo.imaging.outputs import output_file
from calzoo.training import recipes
from calzoo.training.checkpoints import has_checkpoint, read_json, write_json


def check_recipe(run, recipe):
    """Refuse a folder that holds a run of another recipe, or the mean of runs, which cannot go on.

    Parameters
    ----------
    run : pathlib.Path
        The run's folder, which need not be there.
    recipe : dataclass

    Raises
    ------
    CalzooError
        If it does, or the seed is negative.
    """
    if recipe.seed < 0:
        message = f"recipe {recipe.name!r}: seed must be 0 or more, got {recipe.seed}."
        raise CalzooError(message)
    ledger = run / "ledger.json"
    if ledger.exists() and "averaged" in read_json(ledger):
        message = f"{run} is the mean of other runs; give a new folder, and begin from it with --init {run}."
        raise CalzooError(message)
    path = run / "recipe.json"
    # As texts: lists that Python was given are tuples once they are read again.
    if path.exists() and recipes.to_json(
        recipes.from_json(path.read_text(encoding="utf-8"))
    ) != recipes.to_json(recipe):
        message = (
            f"{run} holds a run of another recipe (recipe.json differs). Go on with that one by leaving the "
            "settings away, or give a new folder."
        )
        raise CalzooError(message)


def check_first_weights(run, weights):
    """Refuse to go on from other weights than the run began with.

    Parameters
    ----------
    run : pathlib.Path
    weights : calzoo.training.first_weights.FirstWeights or None

    Raises
    ------
    CalzooError
        If they are others, or none where the run has yet to load its own.
    """
    path = run / "init.json"
    before = read_json(path) if path.exists() else {}
    if weights is None and before and not has_checkpoint(run):
        message = (
            f"{run} began from the weights of {before['name']!r}, but was stopped before its first "
            "checkpoint; give --init again, or a new folder."
        )
        raise CalzooError(message)
    if weights is not None and has_checkpoint(run) and before.get("sha256") != weights.sha256():
        message = (
            f"{run} began from {before.get('name', 'random weights')!r}, not from {weights.path.name!r}; "
            "leave --init away to go on with it, or give a new folder."
        )
        raise CalzooError(message)


def check_fingerprint(run, fingerprint):
    """Refuse to go on with other data than the run began with.

    Parameters
    ----------
    run : pathlib.Path
    fingerprint : dict
        What the data are, by name.

    Raises
    ------
    CalzooError
        If they are others.
    """
    path = run / "fingerprint.json"
    before = read_json(path) if path.exists() else fingerprint
    if before != fingerprint:
        names = sorted(n for n in before.keys() | fingerprint.keys() if before.get(n) != fingerprint.get(n))
        message = (
            f"{run}: the data are not those that the run began with ({', '.join(names)} changed, see "
            "fingerprint.json). Give the same folders and version, or start in a new folder."
        )
        raise CalzooError(message)


def begin(run, recipe, fingerprint, weights):
    """Write what the run is, now that nothing can keep it from beginning: a later command goes by it.

    Parameters
    ----------
    run : pathlib.Path
    recipe : dataclass
    fingerprint : dict
    weights : calzoo.training.first_weights.FirstWeights or None
    """
    run.mkdir(parents=True, exist_ok=True)
    if weights is not None and not has_checkpoint(run):
        facts = {"name": weights.path.name, "sha256": weights.sha256(), "sources": weights.sources}
        write_json(run / "init.json", facts)
    if not (run / "fingerprint.json").exists():
        write_json(run / "fingerprint.json", fingerprint)
    if not (run / "recipe.json").exists():
        with output_file(run / "recipe.json") as part:
            part.write_text(recipes.to_json(recipe) + "\n", encoding="utf-8")
