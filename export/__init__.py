"""Keras to ONNX: trace, rewrite, name, verify, embed the card (heavy half: tensorflow, tf2onnx, onnx)."""

import importlib

if __name__ != "calzoo.export":
    _MESSAGE = (
        f"this folder is the package 'calzoo.export', but it was imported as {__name__!r}. "
        "Install the project (pip install -e .) and write 'import calzoo.export'."
    )
    raise ImportError(_MESSAGE)

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
