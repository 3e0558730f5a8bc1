"""How 'calzoo evaluate' and 'calzoo release' score the networks of each task."""

import importlib
from pathlib import Path

from calzoo.errors import CalzooError


def task_of(network):
    """Tell the task of a run, a preset or a file.

    Parameters
    ----------
    network : str or path
        Folder of a run, name of a preset, or an .onnx file.

    Returns
    -------
    str

    Raises
    ------
    CalzooError
        If there is none of that name; which is told before anything heavy is imported.
    """
    if Path(network).is_dir():
        if not (Path(network) / "recipe.json").is_file():
            message = f"{network}: expected the folder of a run (with recipe.json); 'calzoo train' makes one."
            raise CalzooError(message)
        from calzoo.training.runs import load_run

        return task_of_recipe(load_run(network).recipe)
    if Path(network).suffix == ".onnx":
        from calzoo.inference.models import load_model

        return load_model(network, provider="cpu", threads=1).card.task
    from calzoo.weights import registry

    return registry.preset(str(network)).task


def check_data(paths):
    """Refuse data that no task is scored on, before anything heavy is imported."""
    for path in paths:
        if not (path.is_dir() or (path.is_file() and path.suffix == ".py")):
            got = "neither" if path.exists() else "a path where nothing is"
            message = f"--data {path}: expected a folder of labelled recordings, or a .py file; got {got}."
            raise CalzooError(message)


def task_of_recipe(recipe):
    """Return the task of a recipe, which its name begins with."""
    return recipe.name.split("-")[0]


def scorer(task):
    """Return the module that scores the networks of a task.

    Parameters
    ----------
    task : str

    Returns
    -------
    module
        With ``score_run(trained, paths)`` and ``score_file(model, paths)``, and where a task needs several
        networks ``load(network, provider, threads)``, which returns what `score_file` takes.
    """
    return importlib.import_module(f"calzoo.commands._{task}")
