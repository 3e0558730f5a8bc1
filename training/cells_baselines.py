"""Cells without a network: the classical way, and chance."""

import itertools

import numpy as np
from scipy import ndimage

from calzoo.imaging.masks import Masks

#: Settings that are tried: sigma of the Laplacian in diameters, percentile that a maximum must reach, and
#: how far down a cell reaches, as a part of that.
SIGMAS = (0.2, 0.28, 0.35)
THRESHOLDS = (75, 82, 88, 92, 96)
FEET = (0.3, 0.5)


def log_watershed(picture, *, sigma, threshold, foot=0.3):
    """Outline bright blobs: the watersheds of the Laplacian of Gaussian, down to a part of their height.

    Parameters
    ----------
    picture : ndarray, (Y, X)
    sigma : float
        Of the Gaussian, in pixels.
    threshold : float
        Percentile of the Laplacian that a maximum must reach.
    foot : float, optional
        Part of that which each pixel must reach.

    Returns
    -------
    Masks
        None smaller than ``3 * sigma**2`` pixels.
    """
    response = -ndimage.gaussian_laplace(np.asarray(picture, float), sigma)
    level = max(np.percentile(response, threshold), 1e-12)
    top = summit_of(response)
    inside = (response.ravel()[top] >= level) & (response >= foot * level)
    _, labels = np.unique(np.where(inside, top + 1, 0), return_inverse=True)
    labels = labels.reshape(response.shape) + (0 if not inside.all() else 1)
    sizes = np.bincount(labels.ravel())
    labels[sizes[labels] < 3 * sigma**2] = 0
    return Masks.from_labels(labels)


def summit_of(picture):
    """Return where each pixel arrives that climbs to its highest neighbour, flat indices (Y, X)."""
    height, width = picture.shape
    around = np.pad(picture, 1, constant_values=-np.inf)
    best, target = picture.copy(), np.arange(picture.size).reshape(picture.shape)
    here = target.copy()
    for dy, dx in itertools.product((-1, 0, 1), (-1, 0, 1)):
        neighbour = around[1 + dy : 1 + dy + height, 1 + dx : 1 + dx + width]
        higher = neighbour > best
        best, target = np.where(higher, neighbour, best), np.where(higher, here + dy * width + dx, target)
    target = target.ravel()
    while True:
        further = target[target]
        if np.array_equal(further, target):
            return target.reshape(picture.shape)
        target = further


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
    for sigma, threshold, foot in itertools.product(SIGMAS, THRESHOLDS, FEET):
        scores = [
            score(i, log_watershed(picture, sigma=sigma * diameter, threshold=threshold, foot=foot))
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
