"""Laws: simulated data that are no part of this project, from their files."""

import importlib.util
import sys
from pathlib import Path

from calzoo.errors import CalzooError


def load_law(path, function):
    """Import the Python file of a law.

    Parameters
    ----------
    path : path-like
    function : str
        What the file must define, as it is called: ``"make_stack(seed)"``.

    Returns
    -------
    module

    Raises
    ------
    CalzooError
        If there is no such file, or it lacks the function.
    """
    path = Path(path)
    spec = importlib.util.spec_from_file_location(path.stem, path) if path.is_file() else None
    if spec is None:
        message = f"expected the Python file of a law, got {path}; give its path, ending in .py."
        raise CalzooError(message)
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module  # its dataclasses look themselves up there
    spec.loader.exec_module(module)
    if not hasattr(module, function.partition("(")[0]):
        message = f"{path}: expected a function {function}, found none; this is another law, or none."
        raise CalzooError(message)
    return module
