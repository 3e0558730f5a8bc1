"""What is too small for an axon is background."""

import numpy as np


def without_specks(classes, axons):
    """Return the classes without what was too small for an axon, so that they agree with the labels.

    Parameters
    ----------
    classes : ndarray of uint8, (Z, Y, X)
        0 background, 1 axon, 2 border. Never changed.
    axons : ndarray of int, (Z, Y, X)
        Labels of the axons that are kept.

    Returns
    -------
    ndarray of uint8, (Z, Y, X)
        `classes`, but 0 where they say axon and `axons` is 0.

    Examples
    --------
    >>> import numpy as np
    >>> classes = np.uint8([1, 0, 2, 1, 1, 2]).reshape(1, 1, 6)
    >>> axons = np.int32([0, 0, 0, 1, 1, 1]).reshape(1, 1, 6)
    >>> without_specks(classes, axons).ravel()
    array([0, 0, 2, 1, 1, 2], dtype=uint8)
    """
    return np.where((classes == 1) & (axons == 0), np.uint8(0), classes)
