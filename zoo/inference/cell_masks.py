"""From soft masks of candidates to cells: one piece each, no cell twice, in the pixels of the recording."""

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from calzoo.imaging.masks import Masks
from calzoo.imaging.pieces import one_piece


def binarised(masks, threshold):
    """Turn soft masks into one piece each, without holes.

    Parameters
    ----------
    masks : ndarray of float32, (N, side, side)
        The cell's centre lies at pixel ``side // 2``.
    threshold : float

    Returns
    -------
    ndarray of bool, (N, side, side)
        The component that holds the middle, or lies nearest to it.
    """
    solid = masks >= threshold
    for mask in solid:
        mask[...] = one_piece(mask, np.array(mask.shape) // 2)
    return solid


def suppressed(masks, corners, scores, *, overlap, contained=0.75):
    """Choose candidates, the best first, so that no two are the same cell.

    Parameters
    ----------
    masks : ndarray of bool, (N, side, side)
    corners : ndarray of int, (N, 2)
        Where the first pixel of each lies, (y, x).
    scores : ndarray, (N,)
    overlap : float
        Largest intersection over union of two cells.
    contained : float, optional
        Largest part of the smaller of two cells that may lie inside the other.

    Returns
    -------
    ndarray of int
        Which candidates are kept, the best first. Cells that overlap less keep their overlap.
    """
    side = masks.shape[-1]
    areas = masks.sum(axis=(1, 2))
    tree = cKDTree(corners) if len(corners) else None
    low, high = _boxes(masks, corners)
    free = areas > 0
    kept = []
    for index in np.argsort(-scores, kind="stable"):
        if not free[index]:
            continue
        kept.append(index)
        near = np.array(tree.query_ball_point(corners[index], side, p=np.inf), int)
        near = near[free[near] & (near != index)]
        touching = ((low[near] <= high[index]) & (high[near] >= low[index])).all(axis=1)
        for other in near[touching]:
            common = _common(masks, corners, index, other, side)
            union = areas[index] + areas[other] - common
            if common > overlap * union or common > contained * min(areas[index], areas[other]):
                free[other] = False
    return np.array(kept, int)


def _boxes(masks, corners):
    """Return the first and the last row and column of each mask, two (N, 2)."""
    low, high = np.empty((2, len(masks), 2), int)
    for axis, other in ((0, 2), (1, 1)):
        lines = masks.any(axis=other)
        low[:, axis] = corners[:, axis] + lines.argmax(axis=1)
        high[:, axis] = corners[:, axis] + masks.shape[-1] - 1 - lines[:, ::-1].argmax(axis=1)
    return low, high


def _common(masks, corners, a, b, side):
    """Return how many pixels two masks share."""
    shift = corners[b] - corners[a]
    if (np.abs(shift) >= side).any():
        return 0
    in_a = tuple(slice(max(s, 0), side + min(s, 0)) for s in shift)
    in_b = tuple(slice(max(-s, 0), side + min(-s, 0)) for s in shift)
    return int(np.count_nonzero(masks[a][in_a] & masks[b][in_b]))


def with_prior(masks, scores):
    """Multiply soft masks by the mean of all, enlarged by a half: the way the authors suppress neighbours.

    Parameters
    ----------
    masks : ndarray of float32, (N, side, side)
    scores : ndarray, (N,)
        Only cells that score at least 0.5 make the mean, if there are any.

    Returns
    -------
    ndarray of float32, (N, side, side)
    """
    if not len(masks):
        return masks
    sure = scores >= 0.5
    mean = masks[sure if sure.any() else slice(None)].mean(axis=0)
    side = mean.shape[0]
    place = (np.indices(mean.shape) - side // 2) / 1.5 + side // 2
    prior = ndimage.map_coordinates(mean, place, order=1, mode="nearest")
    prior -= prior.min()
    return masks * (prior / max(prior.max(), 1e-6))


def pasted(masks, corners, threshold, shape, network_shape, recorded=None):
    """Bring soft masks into the pixels of the recording.

    Parameters
    ----------
    masks : ndarray of float32, (N, side, side)
        At the networks' scale.
    corners : ndarray of int, (N, 2)
        Where the first pixel of each lies in the picture at that scale.
    threshold : float
    shape, network_shape : tuple of int
        Of the recording and of the picture, (Y, X).
    recorded : ndarray of bool, (Y, X), optional
        Where the recording has data.

    Returns
    -------
    Masks
        In the order of `masks`. Pixels beyond the edge, and what was not recorded, are cut off, so a mask
        may be empty.
    """
    side = masks.shape[-1] if len(masks) else 0
    factors = [new / old for new, old in zip(network_shape, shape, strict=True)]
    found = []
    for mask, corner in zip(masks, corners, strict=True):
        spans = []
        for start, factor, size in zip(corner, factors, shape, strict=True):
            first = int(np.floor((start + 0.5) / factor - 0.5)) - 1
            last = int(np.ceil((start + side - 0.5) / factor - 0.5)) + 2
            spans.append(np.arange(max(first, 0), min(last, size)))
        # Pixel i of the recording lies at (i + 0.5) * factor - 0.5 of the picture.
        places = [(s + 0.5) * f - 0.5 - c for s, f, c in zip(spans, factors, corner, strict=True)]
        soft = _bilinear(mask, *places)
        middle = [np.abs(p - side // 2).argmin() if len(p) else 0 for p in places]
        solid = soft >= threshold
        if recorded is not None:
            solid &= recorded[np.ix_(*spans)]
        rows, cols = np.nonzero(one_piece(solid, np.array(middle)))
        found.append((spans[0][rows], spans[1][cols]))
    return Masks.from_pixels(shape, found)


def _bilinear(mask, y, x):
    """Interpolate a mask at rows `y` and columns `x`; 0 outside."""
    for axis, places in ((0, y), (1, x)):
        size = mask.shape[axis]
        low = np.floor(places).astype(int)
        part = (places - low).astype(np.float32)
        rows = [np.where((i >= 0) & (i < size), w, 0) for i, w in ((low, 1 - part), (low + 1, part))]
        shape = (-1, 1) if axis == 0 else (1, -1)
        mask = sum(
            np.take(mask, np.clip(i, 0, size - 1), axis=axis) * w.reshape(shape)
            for i, w in zip((low, low + 1), rows, strict=True)
        )
    return mask
