"""A training run to an .onnx file."""

import dataclasses

from calzoo.export import WORTH_A_FILE
from calzoo.export.models import export_model
from calzoo.training.runs import build_model, load_run
from calzoo.weights.card import Card


def card_of(run, model, name=None):
    """Return the card of a run.

    Parameters
    ----------
    run : calzoo.training.runs.Run
    model : keras.Model
        Of `build_model`.
    name : str, optional
        By default that of the recipe.

    Returns
    -------
    calzoo.weights.card.Card
    """
    card = Card(**run.card_fields(model))
    return card if name is None else dataclasses.replace(card, name=name)


def export_run(run, path, *, name=None, timing=True, speed_up=WORTH_A_FILE):
    """Write the network of a training run, with its best weights, as an .onnx file with its card.

    Parameters
    ----------
    run : path-like
        Folder of ``calzoo train``; scores of ``calzoo evaluate`` go into the card.
    path : path-like
        Ends in ``.onnx``.
    name : str, optional
        Name in the card, by default that of the recipe.
    timing, speed_up : optional
        See `calzoo.export.models.export_model`.

    Returns
    -------
    dict
        The report of `calzoo.export.models.export_model`.

    Raises
    ------
    CalzooError
        If the folder is no run with weights, or the network fails a check; nothing is
        written then.
    """
    run = load_run(run)
    model = build_model(run)
    card = card_of(run, model, name)
    if hasattr(run.recipe, "graph"):  # what runs is more than what was trained
        model = run.recipe.graph(model)
    return export_model(model, card, path, timing=timing, speed_up=speed_up)
