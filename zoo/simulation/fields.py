"""Smooth random fields and small drawing helpers that every simulator may use."""

import numpy as np


def smooth_field(rng, shape, correlation):
    """Draw a smooth random field.

    A coarse grid of independent normal values is interpolated by smooth steps along each
    axis in turn: a few milliseconds for two million voxels.

    Parameters
    ----------
    rng : numpy.random.Generator
    shape : tuple of int
        Size of the field in voxels.
    correlation : float or tuple of float
        Distance in voxels between the nodes of the coarse grid, per axis or for all.

    Returns
    -------
    ndarray of float32, `shape`
        Mean 0 and a standard deviation of about 1 over many draws.
    """
    steps = np.broadcast_to(np.asarray(correlation, float), (len(shape),))
    counts = [int(np.ceil(side / step)) + 2 for side, step in zip(shape, steps, strict=True)]
    field = rng.standard_normal(counts, dtype=np.float32)
    for axis, (side, step, count) in enumerate(zip(shape, steps, counts, strict=True)):
        weights = _interpolation(rng, side, step, count)  # (side, count)
        field = np.moveaxis(np.tensordot(weights, field, axes=(1, axis)), 0, axis)
    return np.ascontiguousarray(field, dtype=np.float32)


def _interpolation(rng, side, step, count):
    """Return the matrix (side, count) that interpolates `count` nodes at `side` voxels."""
    position = (np.arange(side) + rng.uniform(0, step)) / step
    left = np.minimum(position.astype(int), count - 2)
    t = position - left
    t = t * t * (3 - 2 * t)
    weights = np.zeros((side, count), np.float32)
    rows = np.arange(side)
    # The two weights are scaled to unit power, or the field would be weak between nodes.
    power = np.sqrt(t**2 + (1 - t) ** 2)
    weights[rows, left] = (1 - t) / power
    weights[rows, left + 1] = t / power
    return weights
