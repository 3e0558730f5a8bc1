"""The registry of presets, their files, download and verification (light half)."""

if __name__ != "calzoo.weights":
    _MESSAGE = (
        f"this folder is the package 'calzoo.weights', but it was imported as {__name__!r}. "
        "Install the project (pip install -e .) and write 'import calzoo.weights'."
    )
    raise ImportError(_MESSAGE)
