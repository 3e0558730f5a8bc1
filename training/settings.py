"""What a recipe can be told, and what each setting is: read from its dataclasses and their docstrings."""

import inspect
import json
import re
from collections.abc import Mapping
from dataclasses import fields, is_dataclass


def settings_of(recipe):
    """List what `calzoo.training.recipes.changed` can change.

    Parameters
    ----------
    recipe : dataclass
        Its docstring, and those of the dataclasses in it, describe the fields under "Attributes".

    Returns
    -------
    list of (str, object, str)
        Setting, such as ``"schedule.epochs"``, its value, and what it is. Of a mapping each key is a
        setting, and what it is that of the mapping; an empty one is a setting itself.
    """
    found = []
    texts = _descriptions(type(recipe))
    for field in fields(recipe):
        value, text = getattr(recipe, field.name), texts.get(field.name, "")
        if is_dataclass(value):
            found += [(f"{field.name}.{name}", *rest) for name, *rest in settings_of(value)]
        elif field.name != "name":  # by which commands know what to do with a run
            found += [(name, one, text) for name, one in _leaves(field.name, value)]
    return found


def listed(recipe):
    """Return the settings of a recipe as lines of text: each as ``--set`` takes it, and what it is.

    Parameters
    ----------
    recipe : dataclass

    Returns
    -------
    str
    """
    pairs = [
        (f"{name}={value if isinstance(value, str) else json.dumps(value, separators=(',', ':'))}", text)
        for name, value, text in settings_of(recipe)
    ]
    width = min(max(len(setting) for setting, _ in pairs), 40)
    return "\n".join(f"{setting:<{width}}  {text}".rstrip() for setting, text in pairs)


def _leaves(name, value):
    """Yield (setting, value) of all that is in a mapping, or of a value that is none."""
    if not (isinstance(value, Mapping) and value):
        yield name, value
        return
    for key, one in value.items():
        yield from _leaves(f"{name}.{key}", one)


def _descriptions(kind):
    """Return what each field of a dataclass is, from the docstrings of its classes: one line of text each."""
    texts = {}
    for one in reversed(kind.__mro__):
        section = inspect.cleandoc(one.__doc__ or "").partition("\nAttributes\n")[2]
        for names, text in re.findall(
            r"^(\w[\w, ]*)(?: :.*)?\n((?: +.*\n?|\n(?= ))*)", section, re.MULTILINE
        ):
            texts |= dict.fromkeys(names.split(", "), " ".join(text.split()))
    return texts
