"""Random numbers and smooth random fields that every simulator may use."""

import numpy as np


def log_uniform(rng, low, high):
    """Draw a number whose logarithm is uniform between those of `low` and `high`."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def smooth_field(rng, shape, correlation):
    """Draw a smooth random field.

    A coarse grid of independent normal values is interpolated along each axis in turn,
    which takes a few milliseconds for two million voxels.

    Parameters
    ----------
    rng : numpy.random.Generator
    shape : tuple of int
        Size of the field in voxels.
    correlation : float or tuple of float
        Distance in voxels between the nodes of the coarse grid, per axis or for all.
        At 1, and below, neighbours are independent.

    Returns
    -------
    ndarray of float32, `shape`
        Mean 0 and standard deviation 1 at every voxel, over many draws.

    Examples
    --------
    >>> smooth_field(np.random.default_rng(0), (4, 64), (2, 16)).shape
    (4, 64)
    """
    steps = np.maximum(np.broadcast_to(np.asarray(correlation, float), (len(shape),)), 1.0)
    weights = [_interpolation(rng, side, step) for side, step in zip(shape, steps, strict=True)]
    field = rng.standard_normal([w.shape[1] for w in weights], dtype=np.float32)
    # The last axis is done first, while the others are still coarse.
    for axis in reversed(range(len(shape))):
        field = np.moveaxis(np.tensordot(weights[axis], field, axes=(1, axis)), 0, axis)
    return np.ascontiguousarray(field)


def _interpolation(rng, side, step):
    """Return the matrix (side, nodes) that interpolates nodes `step` voxels apart."""
    if step == 1:
        return np.eye(side, dtype=np.float32)
    position = (np.arange(side) + rng.uniform(0, step)) / step
    left = position.astype(int)
    t = (position - left).astype(np.float32)
    t = t * t * (3 - 2 * t)
    # Weights of unit power: else the field would be weaker between the nodes.
    power = np.sqrt(t**2 + (1 - t) ** 2)
    weights = np.zeros((side, left[-1] + 2), np.float32)
    rows = np.arange(side)
    weights[rows, left] = (1 - t) / power
    weights[rows, left + 1] = t / power
    return weights


def enlarge(coarse, shape):
    """Interpolate a coarse volume linearly, so that its ends become the ends of the result.

    Parameters
    ----------
    coarse : ndarray of float32
    shape : tuple of int
        Wanted size, one per axis.

    Returns
    -------
    ndarray of float32, `shape`
    """
    for axis, side in enumerate(shape):
        have = coarse.shape[axis]
        if have == side:
            continue
        position = np.linspace(0, have - 1, side)
        left = np.minimum(position.astype(int), max(have - 2, 0))
        weights = np.zeros((side, have), np.float32)
        rows = np.arange(side)
        weights[rows, left] = 1 - (position - left)
        weights[rows, np.minimum(left + 1, have - 1)] += position - left
        coarse = np.moveaxis(np.tensordot(weights, coarse, axes=(1, axis)), 0, axis)
    return np.ascontiguousarray(coarse)
