"""Random numbers and smooth random fields that every simulator may use."""

import numpy as np
from scipy import ndimage

_TRUNCATE = 2.5  # where Gaussian kernels end, in sigma


def log_uniform(rng, low, high):
    """Draw a number whose logarithm is uniform between those of `low` and `high`."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def smooth_field(rng, shape, correlation):
    """Draw a random field without preferred directions.

    Independent normal values on a coarse grid are blurred and then interpolated along each
    axis in turn, which takes some milliseconds for two million voxels.

    Parameters
    ----------
    rng : numpy.random.Generator
    shape : tuple of int
        Size of the field in voxels.
    correlation : float or tuple of float
        Distance in voxels at which the correlation has fallen to 1 / e, per axis or for
        all. At 1, and below, neighbours are independent.

    Returns
    -------
    ndarray of float32, `shape`
        Mean 0 and standard deviation 1 at every voxel, over many draws.

    Examples
    --------
    >>> smooth_field(np.random.default_rng(0), (4, 64), (2, 16)).shape
    (4, 64)
    """
    lengths = np.broadcast_to(np.asarray(correlation, float), (len(shape),))
    sigmas = np.where(lengths > 1, lengths / 2, 0)
    steps = np.maximum(sigmas, 1.0)  # voxels between two nodes
    weights = [
        _interpolation(rng, side, step, sigma / step)
        for side, step, sigma in zip(shape, steps, sigmas, strict=True)
    ]
    field = rng.standard_normal([w.shape[1] for w in weights], dtype=np.float32)
    # Round the corner, so that the edges are like any other place.
    field = ndimage.gaussian_filter(field, sigmas / steps, mode="wrap", truncate=_TRUNCATE)
    # The last axis is enlarged first, while the others are still coarse.
    for axis in reversed(range(len(shape))):
        field = np.moveaxis(np.tensordot(weights[axis], field, axes=(1, axis)), 0, axis)
    return np.ascontiguousarray(field)


def _interpolation(rng, side, step, sigma):
    """Return the matrix (side, nodes) that interpolates blurred nodes to unit variance.

    `step` is the distance of the nodes in voxels, `sigma` their blur in nodes.
    """
    if not sigma:
        return np.eye(side, dtype=np.float32)
    pulse = np.zeros(15)
    pulse[7] = 1
    kernel = ndimage.gaussian_filter1d(pulse, sigma, truncate=_TRUNCATE)
    variance, covariance = kernel @ kernel, kernel[1:] @ kernel[:-1]
    position = (np.arange(side) + rng.uniform(0, step)) / step
    left = position.astype(int)
    t = (position - left).astype(np.float32)
    spread = np.sqrt((t**2 + (1 - t) ** 2) * variance + 2 * t * (1 - t) * covariance)
    weights = np.zeros((side, left[-1] + 8), np.float32)  # nodes to spare for the corner
    rows = np.arange(side)
    weights[rows, left] = (1 - t) / spread
    weights[rows, left + 1] = t / spread
    return weights


def linear_weights(fine, coarse, step):
    """Return the matrix (fine, coarse) that interpolates samples `step` apart, the first at 0."""
    distance = np.abs(np.minimum(np.arange(fine) / step, coarse - 1)[:, None] - np.arange(coarse))
    return np.clip(1 - distance, 0, None).astype(np.float32)


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
