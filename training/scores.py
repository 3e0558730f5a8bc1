"""What every task's scoring needs: scores as a table, and laws from their files."""

import importlib.util
import sys
from pathlib import Path

from calzoo.errors import CalzooError


def report(scores):
    """Return scores as a table in plain text, one line each."""
    heads = f"{'score':>7}  {'range':<15}{'baseline':>9}{'chance':>9}  protocol"
    data = max([22, *(len(s.data) + 2 for s in scores)])
    metric = max([32, *(len(s.metric) + 2 for s in scores)])
    lines = [f"{'data':<{data}}{'metric':<{metric}}{heads}"]
    for s in scores:
        spread = f"[{s.spread[0]:.3f}, {s.spread[1]:.3f}]" if s.spread else ""
        beside = "".join(f"{n:>9.3f}" if n is not None else " " * 9 for n in (s.baseline, s.chance))
        lines.append(
            f"{s.data:<{data}}{s.metric:<{metric}}{s.value:>7.3f}  {spread:<15}{beside}  {s.protocol}"
        )
    return "\n".join(lines)


def load_law(path, function):
    """Import the Python file of a law: simulated data that are no part of this project.

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
