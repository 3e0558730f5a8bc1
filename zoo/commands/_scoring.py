"""How 'calzoo evaluate' and 'calzoo release' score the networks of each task."""

import importlib
from pathlib import Path

#: Task -> module with ``score_run(trained, paths)`` and ``score_file(model, paths)``, and where a task
#: needs several networks ``load(network, provider, threads)``, which returns what `score_file` takes.
_SCORERS = {
    "cells": "calzoo.commands._cells",
    "centers": "calzoo.commands._centers",
    "registration": "calzoo.commands._registration",
    "stimulus": "calzoo.commands._stimulus",
}


def task_of(network):
    """Tell the task of a run, a preset or a file.

    Parameters
    ----------
    network : str or path
        Folder of a run, name of a preset, or an .onnx file.

    Returns
    -------
    str
    """
    if Path(network).is_dir():
        from calzoo.training.runs import load_run

        return task_of_recipe(load_run(network).recipe)
    if Path(network).suffix == ".onnx":
        from calzoo.inference.models import load_model

        return load_model(network, provider="cpu", threads=1).card.task
    from calzoo.weights import registry

    return registry.preset(str(network)).task


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
    module or None
        With ``score_run(trained, paths)`` and ``score_file(model, paths)``; None of axons, whose confusion
        matrices are drawn too.
    """
    return importlib.import_module(_SCORERS[task]) if task in _SCORERS else None
