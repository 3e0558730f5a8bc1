"""Local maxima of maps."""

import numpy as np
from scipy import ndimage


def summits(picture, distance):
    """Return which pixels no other exceeds within a distance, bool (Y, X).

    Parameters
    ----------
    picture : ndarray, (Y, X)
    distance : float
        In pixels.
    """
    reach = int(distance)
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    disk = y**2 + x**2 <= distance**2
    return picture == ndimage.maximum_filter(picture, footprint=disk, mode="nearest")


def local_maxima(heat, *, distance, threshold):
    """Find the places where a map is higher than all around.

    Parameters
    ----------
    heat : ndarray of float, (Y, X)
    distance : float
        Radius in pixels of the disk in which a maximum is the highest.
    threshold : float
        Lowest value of a maximum.

    Returns
    -------
    places : ndarray of float64, (N, 2)
        (y, x) in pixels; of several neighbouring pixels with the same value their mean. The highest first.
    values : ndarray, (N,)

    Examples
    --------
    >>> import numpy as np
    >>> heat = np.zeros((5, 6))
    >>> heat[1, 2:4], heat[4, 5] = 0.5, 0.9
    >>> places, values = local_maxima(heat, distance=2, threshold=0.1)
    >>> places.tolist(), values.tolist()
    ([[4.0, 5.0], [1.0, 2.5]], [0.9, 0.5])
    """
    labels, count = ndimage.label(summits(heat, distance) & (heat >= threshold), np.ones((3, 3)))
    if not count:
        return np.empty((0, 2)), np.empty(0, heat.dtype)
    numbers = np.arange(1, count + 1)
    places = np.array(ndimage.center_of_mass(labels > 0, labels, numbers)).reshape(-1, 2)
    values = ndimage.maximum(heat, labels, numbers)
    order = np.argsort(-values, kind="stable")
    return places[order], np.asarray(values)[order]
