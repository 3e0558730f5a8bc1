"""Cells told apart where labels only say how many cover each pixel."""

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from calzoo.imaging.masks import Masks
from calzoo.imaging.peaks import local_maxima

#: Standard deviation in pixels of the Gaussian that takes corners off the distances to the edge.
_SMOOTH_PX = 0.7
#: In diameters: how far apart middles are, and how deep inside a cell its middle lies at least.
_APART, _DEEP = 0.4, 0.15
#: Middles, the nearest ones, that a pixel may go to.
_NEIGHBOURS = 12


def masks_from_cover(cover, *, min_pixels=15):
    """Tell cells apart by their shape.

    The middle of a cell is where the edge is farthest. Each pixel goes to the middle of its
    own piece that is nearest, in radii of that cell; pixels that two cells share go to both.

    Parameters
    ----------
    cover : ndarray of int or bool, (Y, X)
        How many cells cover each pixel; 1 wherever there is a cell, if nothing else is known.
    min_pixels : int, optional
        What is smaller is left out.

    Returns
    -------
    Masks
        From the one whose edge is farthest from its middle to the one whose edge is nearest.

    Examples
    --------
    >>> import numpy as np
    >>> y, x = np.ogrid[:20, :40]
    >>> pair = [(y - 10) ** 2 + (x - middle) ** 2 <= 49 for middle in (12, 25)]
    >>> [len(rows) for rows, _ in masks_from_cover(np.sum(pair, axis=0))]
    [149, 149]
    """
    cover = np.asarray(cover).astype(np.int64)
    alone = cover == 1
    pieces, _ = ndimage.label(alone)
    sizes = np.bincount(pieces.ravel())[1:]
    if not (sizes >= min_pixels).any():
        return Masks.from_pixels(cover.shape, [])
    diameter = 2 * np.sqrt(np.median(sizes[sizes >= min_pixels]) / np.pi)
    depth = np.where(alone, ndimage.gaussian_filter(ndimage.distance_transform_edt(alone), _SMOOTH_PX), 0)
    middles, radii = local_maxima(depth, distance=_APART * diameter, threshold=_DEEP * diameter)
    if not len(middles):
        return Masks.from_pixels(cover.shape, [])
    piece_of_middle = pieces[tuple(np.rint(middles).astype(int).T)]
    y, x = np.nonzero(cover > 0)
    near = np.arange(1, min(_NEIGHBOURS, len(middles)) + 1)
    away, cells = cKDTree(middles).query(np.stack([y, x], axis=1), k=near)
    away /= np.maximum(radii, 1)[cells]
    # Shared pixels are in no piece: they may go to any cell.
    piece = pieces[y, x][:, None]
    away[(piece > 0) & (piece != piece_of_middle[cells])] = np.inf
    order = np.argsort(away, axis=1)[:, :2]
    away, nearest = (np.take_along_axis(of, order, axis=1) for of in (away, cells))
    nearest[np.isinf(away)] = -1
    nearest[cover[y, x] == 1, 1:] = -1
    belongs = [(nearest == cell).any(axis=1) for cell in range(len(middles))]
    return Masks.from_pixels(cover.shape, [(y[own], x[own]) for own in belongs if own.sum() >= min_pixels])
