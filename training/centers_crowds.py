"""Crowded tissue from windows of simulated recordings: light adds up, so windows can be laid on each other.

Simulating tissue in which cells lie over cells, most of them out of focus, takes long. What a
window shows of the sum of recordings follows nearly from what it shows of each: the highest
level is that of the brightest, variances and noise add. `tile` cuts, turns and stretches
what is laid; `crowd` lays it.
"""

import numpy as np

from calzoo.imaging.center_channels import (
    CHANNELS,
    HEIGHTS,
    compressed,
    compressed_votes,
    expanded,
    expanded_votes,
    over_floor,
)
from calzoo.training.centers_visibility import CLEAR, DOUBTFUL, SHARE
from calzoo.training.centers_windows import Window

_MEAN, _CORRELATION, _VOTES = (CHANNELS.index(name) for name in ("mean", "correlation", "votes"))
_HIGHEST = [CHANNELS.index(name) for name in HEIGHTS if name != "deviation"]
_PEAK, _DEVIATION = CHANNELS.index("peak to noise"), CHANNELS.index("deviation")
_HIDDEN = 3.5  # pixels: of two cells as near as this, the fainter may be missed


def tile(rng, window, side, stretch=1.0):
    """Cut a square out of a window, turned, mirrored and stretched at random.

    Parameters
    ----------
    rng : numpy.random.Generator
    window : Window
    side : int
        Of the tile, in pixels; not longer than those of the window.
    stretch : float, optional
        Largest factor along one of the axes.

    Returns
    -------
    Window
        With all cells of the window; some lie outside.
    """
    shape = np.array(window.labels.shape)
    if stretch > 1:
        factors = rng.permutation([np.exp(rng.uniform(0, np.log(stretch))), rng.uniform(0.87, 1.1)])
        factors = np.maximum(factors, side / shape)  # what is cut out must lie inside the window
        start = rng.uniform(0, 1, 2) * (shape - side / factors)
        places = [s + (np.arange(side) + 0.5) / f - 0.5 for s, f in zip(start, factors, strict=True)]
        pictures, labels = _sampled(window, places)
    else:
        factors, start = np.ones(2), rng.integers(0, shape - side + 1)
        inside = tuple(slice(s, s + side) for s in start)
        pictures, labels = window.channels[inside].astype(np.float32), window.labels[inside]
    centers = (window.centers - start + 0.5) * factors - 0.5
    radii = window.radii * np.sqrt(factors.prod())
    turns, flip = rng.integers(4), rng.random() < 0.5
    for _ in range(turns):
        centers = np.stack([side - 1 - centers[:, 1], centers[:, 0]], axis=1)
    if flip:
        centers = centers * (1, -1) + (0, side - 1)
    pictures, labels = (_turned(array, turns, flip) for array in (pictures, labels))
    return Window(pictures, centers, radii, window.clear, labels, window.frames)


def _sampled(window, places):
    """Return pictures and labels at positions along each axis, between pixels."""
    low = [
        np.clip(np.floor(p).astype(int), 0, n - 2) for p, n in zip(places, window.labels.shape, strict=True)
    ]
    share = [np.clip(p - at, 0, 1)[:, None].astype(np.float32) for p, at in zip(places, low, strict=True)]
    pictures = window.channels.astype(np.float32)
    pictures = pictures[low[0]] * (1 - share[0][..., None]) + pictures[low[0] + 1] * share[0][..., None]
    pictures = pictures[:, low[1]] * (1 - share[1]) + pictures[:, low[1] + 1] * share[1]
    nearest = [
        np.clip(np.round(p).astype(int), 0, n - 1) for p, n in zip(places, window.labels.shape, strict=True)
    ]
    return pictures, window.labels[np.ix_(*nearest)]


def _turned(array, turns, flip):
    array = np.rot90(array, turns)
    return array[:, ::-1] if flip else array


def crowd(layers, brightness):
    """Lay windows over one another.

    Parameters
    ----------
    layers : sequence of Window
        Of one shape.
    brightness : sequence of float
        What the light of each, noise included, is multiplied by.

    Returns
    -------
    Window
        What the sum of the recordings would show, about. Cells that others outshine there may be
        missed, or do not count.
    """
    brightness = np.asarray(brightness, float)
    noise = np.sqrt((brightness**2).sum())
    factors = brightness / noise
    stack = np.stack([layer.channels.astype(np.float32) for layer in layers])
    heights = expanded(stack) * factors[:, None, None, None].astype(np.float32)
    variance = heights[..., _DEVIATION] ** 2
    result = np.empty_like(stack[0])
    for channel in _HIGHEST:
        result[..., channel] = compressed(heights[..., channel].max(axis=0))
    result[..., _DEVIATION] = compressed(np.sqrt(variance.sum(axis=0)))
    result[..., _MEAN] = np.arcsinh(heights[..., _MEAN].sum(axis=0) / 2) / 2
    weighted = (variance * stack[..., _CORRELATION]).sum(axis=0)
    result[..., _CORRELATION] = weighted / np.maximum(variance.sum(axis=0), 1e-9)
    votes = expanded_votes(stack[..., _VOTES]) * factors[:, None, None]
    result[..., _VOTES] = compressed_votes(votes.sum(axis=0))
    return _told(layers, heights, over_floor(result))


def _told(layers, heights, pictures):
    """Return the window of `pictures` with the cells of all layers that can still be told."""
    shape = pictures.shape[:2]
    deviation = heights[..., _DEVIATION] / 2  # the picture holds twice the standard deviation
    centers, radii, clear, heads, labels = [], [], [], [], np.zeros(shape, np.int16)
    for number, layer in enumerate(layers):
        rows, columns = np.clip(np.round(layer.centers), 0, np.array(shape) - 1).astype(int).T
        own = heights[number, rows, columns, _PEAK]
        others = np.sqrt((np.delete(deviation[:, rows, columns], number, axis=0) ** 2).sum(axis=0))
        share = own / np.maximum(own + others, 1e-9)
        seen = np.flatnonzero((own >= DOUBTFUL) & (share >= 0.5 * SHARE))
        sure = layer.clear & (own >= CLEAR) & (share >= SHARE)
        _paint(labels, layer.labels, seen, sum(map(len, centers)))
        for all_, one in zip(
            (centers, radii, clear, heads), (layer.centers, layer.radii, sure, own), strict=True
        ):
            all_.append(one[seen])
    centers, radii, clear, heads = (np.concatenate(part) for part in (centers, radii, clear, heads))
    return Window(pictures, centers, radii, clear & ~_hidden(centers, heads), labels, layers[0].frames)


def _paint(labels, own, seen, before):
    """Paint the bodies of the cells `seen` of a layer over those of the layers before."""
    numbers = np.zeros(own.max(initial=0) + 1, np.int16)
    known = seen[seen + 1 < len(numbers)]
    numbers[known + 1] = before + 1 + np.searchsorted(seen, known)
    painted = numbers[own]
    labels[painted > 0] = painted[painted > 0]


def _hidden(centers, heights):
    """Return which cells lie so near a brighter one that they may be missed."""
    if len(centers) < 2:
        return np.zeros(len(centers), bool)
    away = np.linalg.norm(centers[:, None] - centers[None], axis=-1)
    return ((away < _HIDDEN) & (heights[None] > heights[:, None])).any(axis=1)
