"""The classical way to find axons: background removed by a top-hat, one threshold, no specks."""

import numpy as np
from scipy import ndimage

_SIDE = 21  # of the square of the top-hat, in voxels; wider than an axon is thick
_BINS = 256  # of the histogram that Otsu's threshold is chosen in


def top_hat(volume):
    """Return what is brighter than its surroundings (Z, Y, X): white top-hat with a square in every plane."""
    return ndimage.white_tophat(volume, size=(1, _SIDE, _SIDE))


def otsu_threshold(values):
    """Return the threshold that parts values into two classes of least variance.

    Parameters
    ----------
    values : ndarray of float

    Returns
    -------
    float
        The middle of the last bin of the lower class.

    References
    ----------
    .. [1] Otsu, IEEE Trans. Syst. Man Cybern. 9, 62 (1979). doi:10.1109/TSMC.1979.4310076
    """
    counts, edges = np.histogram(values, bins=_BINS)
    middles = (edges[:-1] + edges[1:]) / 2
    below, above = np.cumsum(counts), np.cumsum(counts[::-1])[::-1]
    sums = counts * middles
    mean_below = np.cumsum(sums) / np.maximum(below, 1)
    mean_above = np.cumsum(sums[::-1])[::-1] / np.maximum(above, 1)
    between = below[:-1] * above[1:].astype(float) * (mean_below[:-1] - mean_above[1:]) ** 2
    return float(middles[np.argmax(between)])


def classical_axons(volume, *, smooth=(0, 0, 0), smallest=30, where=None):
    """Find axons by top-hat (21 x 21 in every plane), Otsu's threshold and connected components.

    Parameters
    ----------
    volume : ndarray, (Z, Y, X)
        Intensities.
    smooth : tuple of float, optional
        Sigma of a Gaussian that comes first, (z, y, x) in voxels.
    smallest : int, optional
        Voxels of the smallest component (26 neighbours) that is kept.
    where : ndarray of bool, broadcastable to (Z, Y, X), optional
        The field of view: the threshold is chosen within, nothing is found outside.

    Returns
    -------
    ndarray of int32, (Z, Y, X)
        Labelled components, 0 background.
    """
    image = volume.astype(np.float32)
    ridge = top_hat(ndimage.gaussian_filter(image, smooth) if any(smooth) else image)
    inside = np.ones(volume.shape, bool) if where is None else np.broadcast_to(where, volume.shape)
    return components((ridge > otsu_threshold(ridge[inside])) & inside, smallest=smallest)


def components(mask, *, smallest=30, neighbours=26):
    """Label the connected parts of a mask that have at least `smallest` voxels.

    Parameters
    ----------
    mask : ndarray of bool, (Z, Y, X)
    smallest : int, optional
    neighbours : {6, 18, 26}, optional
        Of a voxel.

    Returns
    -------
    ndarray of int32, (Z, Y, X)
        1, 2, ... without gaps.
    """
    structure = ndimage.generate_binary_structure(3, {6: 1, 18: 2, 26: 3}[neighbours])
    labels, count = ndimage.label(mask, structure)
    large = np.bincount(labels.ravel(), minlength=count + 1) >= smallest
    large[0] = False
    return np.where(large, np.cumsum(large), 0)[labels].astype(np.int32)
