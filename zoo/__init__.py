"""Trained networks for calcium imaging, run by ONNX Runtime without TensorFlow.

The names below are imported when they are first used, so that ``import calzoo``
costs next to nothing.
"""

import importlib

if __name__ != "calzoo":
    _MESSAGE = (
        f"this folder is the package 'calzoo', but it was imported as {__name__!r}. "
        "Install the project (pip install -e .) and write 'import calzoo'."
    )
    raise ImportError(_MESSAGE)

__version__ = "0.1.0"

_WHERE = {
    "CalzooError": "calzoo.errors",
    "Registrar": "calzoo.inference.registration",
    "analyse_stimuli": "calzoo.stimulus.analysis",
    "decode_stimuli": "calzoo.inference.stimulus",
    "explain": "calzoo.inference.explain",
    "find_cells": "calzoo.inference.cells",
    "find_centers": "calzoo.inference.centers",
    "load_model": "calzoo.inference.models",
    "open_movie": "calzoo.imaging.movies",
    "read_volume": "calzoo.imaging.images",
    "register_movie": "calzoo.inference.registration",
    "segment_axons": "calzoo.inference.axons",
    "summary_images": "calzoo.imaging.summary",
}

__all__ = ["__version__", *sorted(_WHERE)]


def __getattr__(name):
    """Import a public name from the module that defines it."""
    if name not in _WHERE:
        message = f"module 'calzoo' has no attribute {name!r}"
        raise AttributeError(message)
    value = getattr(importlib.import_module(_WHERE[name]), name)
    globals()[name] = value
    return value


def __dir__():
    """List the public names, imported or not."""
    return sorted(__all__)
