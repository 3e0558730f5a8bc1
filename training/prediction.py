"""Predict whole volumes with a Keras network, to score it while it trains.

Released networks run through `calzoo.inference`, which streams; this holds the volume in memory.
"""

import itertools

import keras
import numpy as np


def predicted(model, inputs):
    """Return what a model makes of one batch, as arrays.

    In the scope of a strategy of several devices Keras gives the results of each, one behind the other.

    Parameters
    ----------
    model : keras.Model
    inputs : ndarray, or dict of str to ndarray

    Returns
    -------
    ndarray, or a structure of them
    """
    count = len(keras.tree.flatten(inputs)[0])
    return keras.tree.map_structure(lambda array: np.asarray(array)[:count], model.predict_on_batch(inputs))


def predict_volume(model, volume, *, tile, divisor, overlap=0.25):
    """Predict a volume by overlapping tiles, blended with Gaussian weights.

    Parameters
    ----------
    model : keras.Model
        (1, z, y, x, 1) -> (1, z, y, x, C).
    volume : ndarray of float32, (Z, Y, X)
        Normalised intensities; padded by reflection where it is smaller than a tile.
    tile, divisor : tuple of int
        (z, y, x) of the largest tile, and what its sides must be multiples of.
    overlap : float, optional
        Share of a tile that its neighbour covers again.

    Returns
    -------
    ndarray of float32, (Z, Y, X, C)
        Probabilities.
    """
    # An axis a little longer than the tile is one tile: two would compute it twice.
    sides = [
        -(-size // d) * d if size <= 1.25 * t else t
        for size, t, d in zip(volume.shape, tile, divisor, strict=True)
    ]
    short = [max(side - size, 0) for side, size in zip(sides, volume.shape, strict=True)]
    padded = np.pad(volume, [(0, n) for n in short], mode="reflect")
    weight = gaussian_window(sides)[..., None]
    total, covered = 0.0, np.zeros((*padded.shape, 1), np.float32)
    for start in itertools.product(
        *(_starts(*axis, overlap) for axis in zip(padded.shape, sides, strict=True))
    ):
        place = tuple(slice(a, a + side) for a, side in zip(start, sides, strict=True))
        probability = predicted(model, padded[place][None, ..., None])[0]
        if np.isscalar(total):
            total = np.zeros((*padded.shape, probability.shape[-1]), np.float32)
        total[place] += weight * probability
        covered[place] += weight
    return (total / covered)[tuple(slice(size) for size in volume.shape)]


def gaussian_window(tile):
    """Return the weight of each voxel of a tile: a Gaussian, sigma an eighth of the side, at least 1e-3."""
    axes = [np.exp(-0.5 * ((np.arange(side) - (side - 1) / 2) / (side / 8)) ** 2) for side in tile]
    window = axes[0][:, None, None] * axes[1][:, None] * axes[2]
    return np.maximum(window, 1e-3).astype(np.float32)


def _starts(size, side, overlap):
    """Return the first voxels of tiles along one axis; the last tile is shifted back."""
    count = 1 + int(np.ceil((size - side) / max(int(side * (1 - overlap)), 1)))
    return [0] if count == 1 else [round(i * (size - side) / (count - 1)) for i in range(count)]
