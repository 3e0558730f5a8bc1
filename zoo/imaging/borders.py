"""From instance labels to background, axon and border."""

from itertools import product

import numpy as np

from calzoo.errors import CalzooError

_CROSS_ZY = [(1, 0, 0), (0, 1, 0)]
_PLANE_ZY = [(1, 0, 0), (0, 1, 0), (1, 1, 0), (1, -1, 0)]
# One of each pair of opposite neighbours: the first nonzero step is positive.
_SPACE = [step for step in product((-1, 0, 1), repeat=3) if step > (0, 0, 0)]


def semantic_from_instances(instances, *, recipe=3, thickness=1):
    """Turn labelled axons into three classes.

    Parameters
    ----------
    instances : ndarray of int, (Z, Y, X)
        0 is background, any other value one axon. Never changed.
    recipe : {1, 2, 3}, optional
        1: a halo of 26 neighbours around all axons, and axon voxels with another axon
        among their 26 neighbours. 2: every 2 x 2 window, in the (y, x) and in the (z, y)
        planes, that holds more than one axon; no halo. 3: a halo of 4 neighbours within
        each (z, y) plane, and axon voxels with another axon among their 8 neighbours in
        that plane.
    thickness : int, optional
        How many voxels the halo is wide. Recipe 2 has none.

    Returns
    -------
    ndarray of uint8, (Z, Y, X)
        0 background, 1 axon, 2 border.

    Raises
    ------
    CalzooError
        If `instances` is no volume of integers, or `recipe` or `thickness` is unknown.

    Examples
    --------
    >>> import numpy as np
    >>> line = np.array([0, 0, 7, 0, 0]).reshape(1, 5, 1)
    >>> semantic_from_instances(line).ravel()
    array([0, 2, 1, 2, 0], dtype=uint8)
    """
    instances = _checked(instances, recipe, thickness)
    axon = instances != 0
    semantic = axon.astype(np.uint8)
    if recipe == 2:
        semantic[_crowded_windows(instances)] = 2
        return semantic
    semantic[_halo(axon, thickness, space=recipe == 1)] = 2
    semantic[_touching(instances, _SPACE if recipe == 1 else _PLANE_ZY)] = 2
    return semantic


def _checked(instances, recipe, thickness):
    """Return `instances` as an array, or say what is wrong."""
    instances = np.asarray(instances)
    if instances.ndim != 3 or instances.dtype.kind not in "iub":
        message = (
            f"instances must be a volume (Z, Y, X) of integers, got {instances.ndim} axes of "
            f"{instances.dtype}. Give one integer per axon, 0 for background."
        )
        raise CalzooError(message)
    if recipe not in (1, 2, 3):
        message = f"border recipe must be 1, 2 or 3, got {recipe!r}"
        raise CalzooError(message)
    if thickness < 1 or int(thickness) != thickness:
        message = f"border thickness must be a whole number of voxels from 1, got {thickness!r}"
        raise CalzooError(message)
    return instances.astype(np.uint8) if instances.dtype == bool else instances


def _pair(array, step):
    """Return two views of `array`, voxel by voxel the two ends of `step`."""
    ahead = tuple(slice(max(s, 0), n + min(s, 0)) for s, n in zip(step, array.shape, strict=True))
    behind = tuple(slice(max(-s, 0), n + min(-s, 0)) for s, n in zip(step, array.shape, strict=True))
    return array[behind], array[ahead]


def _halo(axon, thickness, *, space):
    """Return the background voxels within `thickness` dilations of an axon."""
    grown = axon
    for _ in range(thickness):
        if space:  # a 3 x 3 x 3 box is three lines, one after another
            for axis in np.eye(3, dtype=int):
                grown = _dilated(grown, [axis])
        else:
            grown = _dilated(grown, _CROSS_ZY)
    return grown & ~axon


def _dilated(mask, steps):
    """Return `mask` grown by one voxel along both directions of each step."""
    grown = mask.copy()
    for step in steps:
        (here, there), (grown_here, grown_there) = _pair(mask, step), _pair(grown, step)
        grown_here |= there
        grown_there |= here
    return grown


def _touching(instances, steps):
    """Return the axon voxels with another axon one step away, in either direction."""
    touching = np.zeros(instances.shape, bool)
    for step in steps:
        here, there = _pair(instances, step)
        both = (here != there) & (here != 0) & (there != 0)
        for end in _pair(touching, step):
            end |= both
    return touching


def _crowded_windows(instances):
    """Return the voxels of 2 x 2 windows with two axons, in (y, x) and in (z, y) planes."""
    crowded = np.zeros(instances.shape, bool)
    for first, second in [(1, 2), (0, 1)]:
        low, high = [], []
        corners = []
        for i, j in product((0, 1), repeat=2):
            window = [slice(None)] * 3
            for axis, offset in ((first, i), (second, j)):
                window[axis] = slice(offset, instances.shape[axis] - 1 + offset)
            corners.append(tuple(window))
            label = instances[corners[-1]]
            high.append(np.where(label == 0, np.iinfo(label.dtype).min, label))
            low.append(np.where(label == 0, np.iinfo(label.dtype).max, label))
        several = np.minimum.reduce(low) < np.maximum.reduce(high)
        for corner in corners:
            crowded[corner] |= several
    return crowded
