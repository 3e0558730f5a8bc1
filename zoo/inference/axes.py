"""Arrays of pipelines and of networks: the same axes, in another order."""

import numpy as np


def in_order(array, axes, wanted):
    """Return an array with its axes in another order.

    Parameters
    ----------
    array : ndarray
    axes, wanted : str
        One letter for each axis, such as "bczyx": those of `array`, and of what is returned.

    Returns
    -------
    ndarray
        Contiguous; `array` itself where nothing changes.

    Examples
    --------
    >>> in_order(np.zeros((2, 3, 5)), "cyx", "yxc").shape
    (3, 5, 2)
    """
    if axes == wanted:
        return array
    return np.ascontiguousarray(array.transpose([axes.index(axis) for axis in wanted]))
