"""Cells without a network: the classical way, and chance."""

import itertools

import numpy as np
from scipy import ndimage

from calzoo.imaging.masks import Masks

#: Sigma of the Laplacian in diameters, and percentile of its maxima, that are tried.
SIGMAS = (0.15, 0.2, 0.25, 0.3)
THRESHOLDS = (85, 90, 93, 96, 98)
_FOOT = 0.25  # of the threshold: how far down a cell reaches


def log_watershed(picture, *, sigma, threshold):
    """Outline bright blobs: maxima of the Laplacian of Gaussian grow by watershed to a part of their height.

    Parameters
    ----------
    picture : ndarray, (Y, X)
    sigma : float
        Of the Gaussian, in pixels.
    threshold : float
        Percentile of the Laplacian that a maximum must reach.

    Returns
    -------
    Masks
        None smaller than ``3 * sigma**2`` pixels.
    """
    response = -ndimage.gaussian_laplace(np.asarray(picture, float), sigma)
    level = max(np.percentile(response, threshold), 1e-12)
    highest = ndimage.maximum_filter(response, int(2 * sigma) | 1)
    markers = ndimage.label((response == highest) & (response > level))[0].astype(np.int32)
    markers[(response <= _FOOT * level) & (markers == 0)] = -1
    height = np.clip(response / max(response.max(), 1e-12), 0, 1)
    labels = np.maximum(ndimage.watershed_ift(np.uint16(65535 * (1 - height)), markers), 0)
    sizes = np.bincount(labels.ravel())
    labels[sizes[labels] < 3 * sigma**2] = 0
    return Masks.from_labels(labels)


def best_log_watershed(pictures, score):
    """Try all settings of `log_watershed`, the same for all pictures, and return the best.

    Told the true diameters, and the settings chosen on the very pictures, it does better than on new ones.

    Parameters
    ----------
    pictures : sequence of (ndarray, float)
        Each picture (Y, X) with the median diameter of its cells.
    score : callable
        ``score(number, masks)``: what the masks of a picture are worth; `CellScores`.

    Returns
    -------
    list of CellScores
        One for each picture, of the settings with the largest mean F1.
    """
    best, highest = [], -1.0
    for sigma, threshold in itertools.product(SIGMAS, THRESHOLDS):
        scores = [
            score(i, log_watershed(picture, sigma=sigma * diameter, threshold=threshold))
            for i, (picture, diameter) in enumerate(pictures)
        ]
        mean = float(np.mean([s.f1 for s in scores]))
        if mean > highest:
            best, highest = scores, mean
    return best


def random_disks(shape, count, diameter, rng):
    """Return disks at random places.

    Parameters
    ----------
    shape : tuple of int
        Of the frame, (Y, X).
    count : int
    diameter : float
        In pixels.
    rng : numpy.random.Generator

    Returns
    -------
    Masks
    """
    reach = int(np.ceil(diameter / 2))
    y, x = np.indices((2 * reach + 1,) * 2) - reach
    dy, dx = (axis[np.hypot(y, x) <= diameter / 2] for axis in (y, x))
    found = []
    for top, left in rng.uniform(0, shape, (count, 2)).astype(int):
        rows, cols = dy + top, dx + left
        inside = (rows >= 0) & (rows < shape[0]) & (cols >= 0) & (cols < shape[1])
        found.append((rows[inside], cols[inside]))
    return Masks.from_pixels(shape, found)
