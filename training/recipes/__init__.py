"""Recipes: everything that decides what a training run does, as frozen dataclasses saved as JSON.

The trainer knows a recipe by its attributes `name`, `seed` and `schedule` and by these methods:

=========================== ==============================================================================
``build()``                 the untrained `keras.Model`
``loss()``                  what `keras.Model.compile` takes
``data(folders)``           the data: ``prepare(epoch)``, ``batch(epoch, step) -> (x, y)``,
                            ``fingerprint()``, ``close()``; a sample depends on (seed, epoch, index) only
``score(model, data)``      scores on validation data, a dict whose best ``"score"`` is kept (empty where
                            there are no such data: the last weights are kept), and a list of previews
                            (title, picture, truth, prediction), each (Y, X)
``card_fields(model)``      keyword arguments of a `calzoo.weights.card.Card`
``fitted(folders)``         optional: the recipe with what the data decide, such as the number of cells
``graph(model)``            optional: what is exported in place of the trained network
=========================== ==============================================================================
"""

import difflib
import inspect
import json
import pkgutil
import sys
import typing
from collections.abc import Mapping
from dataclasses import asdict, fields, is_dataclass

from calzoo.errors import CalzooError

#: Name of a recipe -> "module:object", a recipe or a function without arguments that returns one.
RECIPES = {
    "axons": "calzoo.training.recipes.axons:AxonsRecipe",
    "axons-octa": "calzoo.training.recipes.axons:octa_recipe",
    "axons-vgg16": "calzoo.training.recipes.axons:vgg16_recipe",
    "cells-instance": "calzoo.training.recipes.cells_instance:CellsInstanceRecipe",
    "cells-instance-research": "calzoo.training.recipes.cells_instance:research_recipe",
    "cells-proposal": "calzoo.training.recipes.cells_proposal:CellsProposalRecipe",
    "cells-proposal-research": "calzoo.training.recipes.cells_proposal:research_recipe",
    "centers": "calzoo.training.recipes.centers:CentersRecipe",
    "registration": "calzoo.training.recipes.registration:RegistrationRecipe",
    "registration-movie": "calzoo.training.recipes.registration:movie_recipe",
    "stimulus": "calzoo.training.recipes.stimulus:StimulusRecipe",
    "stimulus-demo": "calzoo.training.recipes.stimulus:demo_recipe",
    "stimulus-seed": "calzoo.training.recipes.stimulus:seed_recipe",
    "stimulus-temporal": "calzoo.training.recipes.stimulus:temporal_recipe",
    "stimulus-thesis": "calzoo.training.recipes.stimulus:thesis_recipe",
}


def recipe(name):
    """Return a recipe by name, with its default settings.

    Raises
    ------
    CalzooError
        If there is none of this name.
    """
    if name not in RECIPES:
        near = difflib.get_close_matches(name, RECIPES, 1)
        # What fits one movie has a name of its own in here, and is asked for with --movie.
        names = ", ".join(known for known in RECIPES if not known.endswith("-movie"))
        hint = (
            f"did you mean {near[0]!r}?" if near else f"choose from {names}; with --movie also centers-seed"
        )
        message = f"no recipe is called {name!r}; {hint}"
        raise CalzooError(message)
    return pkgutil.resolve_name(RECIPES[name])()


#: Kinds of fields, what JSON makes of their values, and how they are called.
_WORDS = (
    (bool, bool, "true or false"),
    (int, (int, float), "a number"),
    (float, (int, float), "a number"),
    (str, str, "a text"),
    (tuple, list, "a list"),
    (Mapping, dict, "fields with their values"),
)


def to_json(recipe):
    """Return a recipe as JSON text, its class included."""
    kind = f"{type(recipe).__module__}:{type(recipe).__qualname__}"
    return json.dumps({"kind": kind, **asdict(recipe)}, indent=1)


def from_json(text):
    """Return the recipe that `to_json` wrote.

    Raises
    ------
    CalzooError
        If the text is no recipe of this version.
    """
    try:
        return _parse(text)
    except (KeyError, TypeError, ValueError, AttributeError, ImportError) as error:
        message = f"expected a recipe (recipe.json of a run), got one that cannot be read: {error}."
        raise CalzooError(message) from error


def changed(recipe, settings):
    """Return a recipe with some fields changed.

    Parameters
    ----------
    recipe : dataclass
    settings : mapping of str to object
        Field, or ``"schedule.epochs"`` for a field of a field, -> JSON-able value.

    Raises
    ------
    CalzooError
        If a field does not exist or cannot take the value.
    """
    plain = json.loads(to_json(recipe))
    for path, value in settings.items():
        if path == "name":
            message = f"recipe {recipe.name!r} keeps its name: commands know by it what to do with a run."
            raise CalzooError(message)
        *outer, last = path.split(".")
        place = plain
        for key in outer:
            place = place.get(key) if isinstance(place, dict) else None
        place = place if isinstance(place, dict) else {}
        if last not in place:
            near = difflib.get_close_matches(last, place, 1)
            message = f"recipe {recipe.name!r} has no setting {path!r}" + (
                f"; did you mean {near[0]!r}?"
                if near
                else "; 'calzoo train RECIPE --list-settings' lists them."
            )
            raise CalzooError(message)
        place[last] = value
    try:
        new = _parse(json.dumps(plain))
        _check_network(new)
    except (TypeError, ValueError, OverflowError) as error:
        given = ", ".join(f"{path}={value!r}" for path, value in settings.items())
        message = f"recipe {recipe.name!r} cannot take {given}: {error}"
        raise CalzooError(message) from error
    return new


def sources_of(recipe, card):
    """Return what a recipe calls the data that a card names.

    Parameters
    ----------
    recipe : dataclass
    card : calzoo.weights.card.Card

    Returns
    -------
    list of str
        In the order of the recipe's terms; empty where it knows none of them.
    """
    modules = (sys.modules[kind.__module__] for kind in type(recipe).__mro__)
    terms = next((module.TERMS for module in modules if hasattr(module, "TERMS")), {})
    names = {data.name for data in card.data}
    return [source for source, data in terms.items() if data.name in names]


def _check_network(recipe):
    """Raise TypeError if the builder of a recipe's network lacks one of the arguments."""
    if hasattr(recipe, "network"):
        known = inspect.signature(pkgutil.resolve_name(recipe.builder)).parameters
        unknown = sorted(set(recipe.network) - set(known))
        if unknown:
            names = ", ".join(unknown)
            message = f"{recipe.builder} has no argument {names}; choose from {', '.join(known)}."
            raise TypeError(message)


def _parse(text):
    """Return the recipe of a JSON text, or raise what went wrong."""
    plain = json.loads(text)
    kind = plain.pop("kind")
    if not kind.startswith("calzoo.training.recipes."):
        message = f"unknown kind {kind!r}"
        raise ValueError(message)
    return _build(pkgutil.resolve_name(kind), plain)


def _build(kind, plain):
    """Build a dataclass from JSON values: lists become tuples, mappings the dataclasses of their fields."""
    kinds = typing.get_type_hints(kind)
    unknown = set(plain) - {f.name for f in fields(kind)}
    if unknown:
        message = f"{kind.__name__} has no field {', '.join(sorted(unknown))}"
        raise ValueError(message)
    return kind(**{name: _value(kinds[name], value) for name, value in plain.items()})


def _value(kind, value):
    fielded = is_dataclass(kind) and isinstance(kind, type)
    for wanted, kinds, word in _WORDS:
        asked = kind is wanted or (fielded and wanted is Mapping)
        if asked and (not isinstance(value, kinds) or isinstance(value, bool) != (wanted is bool)):
            message = f"expected {word}, got {value!r}"
            raise ValueError(message)
    if fielded:
        return _build(kind, value)
    if typing.get_origin(kind) is tuple:
        return _tuple(typing.get_args(kind), value)
    if isinstance(value, list):
        return tuple(_value(object, item) for item in value)
    if isinstance(value, dict):
        return {key: _value(object, item) for key, item in value.items()}
    if kind is int and value != int(value):
        message = f"expected a whole number, got {value!r}"
        raise ValueError(message)
    return kind(value) if kind in (int, float) else value


def _tuple(kinds, value):
    """Build a tuple of so many items of these kinds, or of any number if the second is "..."."""
    anything = kinds[-1] is Ellipsis
    if not isinstance(value, list) or not (anything or len(value) == len(kinds)):
        message = f"expected a list{'' if anything else f' of {len(kinds)}'}, got {value!r}"
        raise ValueError(message)
    kinds = kinds[:1] * len(value) if anything else kinds
    return tuple(_value(kind, item) for kind, item in zip(kinds, value, strict=True))
