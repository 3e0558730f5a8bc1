"""Keras to ONNX: trace, rewrite, name, verify, embed the card (heavy half: tensorflow, tf2onnx, onnx)."""

if __name__ != "calzoo.export":
    _MESSAGE = (
        f"this folder is the package 'calzoo.export', but it was imported as {__name__!r}. "
        "Install the project (pip install -e .) and write 'import calzoo.export'."
    )
    raise ImportError(_MESSAGE)
