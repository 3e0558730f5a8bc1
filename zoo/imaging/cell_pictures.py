"""Pictures of cells at the size that the cell networks expect: resampling there and back, and crops."""

import numpy as np

from calzoo.imaging.masks import Masks
from calzoo.imaging.resampling import Taps

#: Channels of the networks' input; "brightness" is the mean of a movie, or any one picture.
KINDS = ("correlation", "brightness", "deviation")


def scaled_shape(shape, factors):
    """Return the shape (Y, X) of a picture that is `factors` times as large, one number or (y, x)."""
    factors = np.broadcast_to(factors, 2).tolist()
    return tuple(max(round(side * factor), 1) for side, factor in zip(shape, factors, strict=True))


def resize(picture, shape):
    """Resample a picture.

    Parameters
    ----------
    picture : ndarray, (..., Y, X)
    shape : tuple of int
        The new (Y, X). The picture's corners stay corners: pixel i lies at (i + 0.5) / Y of the way.

    Returns
    -------
    ndarray of float32, (..., Y', X')
        Interpolated linearly; averaged where it becomes smaller.
    """
    picture = np.asarray(picture, np.float32)
    for axis, side in zip((-2, -1), shape, strict=True):
        if picture.shape[axis] != side:
            picture = Taps(picture.shape[axis], side).apply(picture, axis)
    return picture


def rescale_places(places, shape, new_shape):
    """Return where places (N, 2) of a picture lie after `resize`."""
    factors = np.array(new_shape, float) / np.array(shape, float)
    return (np.asarray(places, float).reshape(-1, 2) + 0.5) * factors - 0.5


def resize_masks(masks, shape):
    """Resample masks.

    Parameters
    ----------
    masks : Masks
    shape : tuple of int
        The new frame, (Y, X).

    Returns
    -------
    Masks
        Pixels that lie in a mask by half at least; a mask that loses all its pixels keeps the nearest one.
    """
    taps = [Taps(side, new) for side, new in zip(masks.shape, shape, strict=True)]
    found = []
    for rows, cols in masks:
        if not len(rows):
            found.append((rows, cols))
            continue
        spans = [_span(t, places) for t, places in zip(taps, (rows, cols), strict=True)]
        patch = np.zeros([last - first for _, _, first, last in spans], np.float32)
        patch[rows - spans[0][2], cols - spans[1][2]] = 1
        for axis, (t, (start, stop, first, _)) in enumerate(zip(taps, spans, strict=True)):
            patch = t.apply(patch, axis, start, stop, first)
        inside = np.argwhere(patch >= min(0.5, patch.max()))
        found.append((inside[:, 0] + spans[0][0], inside[:, 1] + spans[1][0]))
    return Masks.from_pixels(shape, found)


def _span(taps, places):
    """Return which new samples may touch the old ones `places`, and which old ones these need."""
    touched = np.flatnonzero(
        (taps.places.max(axis=1) >= places.min()) & (taps.places.min(axis=1) <= places.max())
    )
    start, stop = int(touched[0]), int(touched[-1]) + 1
    return start, stop, *taps_range(taps, start, stop, places)


def taps_range(taps, start, stop, places):
    """Return the range of old samples that hold both `places` and what new samples `start` to `stop` need."""
    first, last = taps.needs(start, stop)
    return min(first, int(places.min())), max(last, int(places.max()) + 1)


def crops(pictures, places, side):
    """Cut squares around places; beyond the edge pictures go on as in a mirror.

    Parameters
    ----------
    pictures : ndarray of float32, (C, Y, X)
    places : ndarray, (N, 2)
        (y, x), rounded to whole pixels; they become pixel ``side // 2`` of their crop.
    side : int

    Returns
    -------
    ndarray of float32, (N, side, side, C)
    """
    corners = np.rint(np.asarray(places, float)).astype(int).reshape(-1, 2) - side // 2
    reach = np.arange(side)
    y = mirrored(corners[:, :1] + reach, pictures.shape[1])
    x = mirrored(corners[:, 1:] + reach, pictures.shape[2])
    cut = pictures[:, y[:, :, None], x[:, None, :]]
    return np.moveaxis(cut, 0, -1)


def mirrored(index, size):
    """Return which sample stands for each index, also beyond the ends of an axis."""
    index = np.mod(index, 2 * size)
    return np.where(index < size, index, 2 * size - 1 - index)


def median_diameter(masks):
    """Return the median diameter of masks in pixels, that of a disk of the same area; NaN of none."""
    areas = masks.areas[masks.areas > 0]
    return float(2 * np.sqrt(np.median(areas) / np.pi)) if len(areas) else float("nan")
