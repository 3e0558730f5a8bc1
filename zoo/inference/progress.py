"""Progress of long work on a terminal, and nothing elsewhere."""

import sys


def progress_bar(unit, *, total, done=0):
    """Return a bar that is updated by hand, and removed where a ``with`` ends.

    Parameters
    ----------
    unit : str
    total, done : int
        Units in all, and finished before.

    Returns
    -------
    tqdm.tqdm
    """
    from tqdm import tqdm

    # Programs without a console have no stderr at all, which tqdm does not know.
    nowhere = sys.stderr is None or not sys.stderr.isatty()
    return tqdm(total=total, initial=done, unit=unit, leave=False, disable=nowhere)
