"""Training on GPU servers or two CPU cores: tiles, losses, recipes, trainer (heavy half: keras)."""

if __name__ != "calzoo.training":
    _MESSAGE = (
        f"this folder is the package 'calzoo.training', but it was imported as {__name__!r}. "
        "Install the project (pip install -e .) and write 'import calzoo.training'."
    )
    raise ImportError(_MESSAGE)
