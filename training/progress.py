"""Bars of what takes long: steps of a training, in logs too, and all else on a terminal alone."""

import sys

from tqdm import tqdm

_DELAY = 1.0  # seconds: what is ready sooner needs no bar


def steps_bar(steps=None, *, total=None, done=0, quiet=False):
    """Return a bar of steps, to be iterated over or updated by hand.

    Parameters
    ----------
    steps : sized iterable, optional
    total, done : int, optional
        Steps in all, where there is no iterable, and those done before.
    quiet : bool, optional
        No bar.

    Returns
    -------
    tqdm.tqdm
    """
    # In the log of a job a bar cannot be drawn over: a line now and then is enough.
    often = sys.stderr is not None and sys.stderr.isatty()
    return tqdm(
        steps,
        total=total,
        initial=done,
        disable=quiet,
        unit="step",
        smoothing=0.05,
        mininterval=0.1 if often else 30,
        maxinterval=10 if often else 60,
    )


def shown(items, unit, title=None):
    """Yield items, and count those that were dealt with.

    Parameters
    ----------
    items : sized iterable
    unit : str
        What an item is.
    title : str, optional

    Returns
    -------
    iterable
    """
    return tqdm(items, unit=unit, desc=title, disable=None, leave=False, delay=_DELAY)
