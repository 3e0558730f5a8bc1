"""Bars for what takes long beside the steps of a training: on a terminal, and nothing elsewhere."""

from tqdm import tqdm

_DELAY = 1.0  # seconds: what is ready sooner needs no bar


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
