"""Keras to ONNX: trace, rewrite, name, verify, embed the card (heavy half: tensorflow, tf2onnx, onnx)."""

import importlib

if __name__ != "calzoo.export":
    _MESSAGE = (
        f"this folder is the package 'calzoo.export', but it was imported as {__name__!r}. "
        "Install the project (pip install -e .) and write 'import calzoo.export'."
    )
    raise ImportError(_MESSAGE)

#: The form for processors is written beside a network only if it is this much faster on two threads.
#: It stands here because the help of ``calzoo release`` says it, and `calzoo.export.models` imports Keras.
WORTH_A_FILE = 1.3

_WHERE = {
    "export_keras": "calzoo.export.from_keras",
    "export_model": "calzoo.export.models",
    "export_run": "calzoo.export.run",
}

__all__ = sorted(_WHERE)


def __getattr__(name):
    """Import a public name from the module that defines it."""
    if name not in _WHERE:
        message = f"module 'calzoo.export' has no attribute {name!r}"
        raise AttributeError(message)
    return getattr(importlib.import_module(_WHERE[name]), name)
