"""What is too small for an axon is background, and so is its border."""

import numpy as np

WIDTH = 2  # voxels from face to face: a border voxel that is farther from all axons is none of theirs


def without_specks(classes, axons, near):
    """Return the classes without what was too small for an axon, so that they agree with the labels.

    Parameters
    ----------
    classes : ndarray of uint8, (Z, Y, X)
        0 background, 1 axon, 2 border. Never changed.
    axons : ndarray of int, (Z, Y, X)
        Labels of the axons that are kept.
    near : ndarray of bool, (Z, Y, X)
        From `surroundings` of these axons.

    Returns
    -------
    ndarray of uint8, (Z, Y, X)
        `classes`, but 0 where they say axon and `axons` is 0, or border and neither is there.

    Examples
    --------
    >>> import numpy as np
    >>> classes = np.uint8([2, 1, 2, 0, 0, 2, 1, 1, 2]).reshape(1, 1, 9)
    >>> axons = np.int32([0, 0, 0, 0, 0, 0, 1, 1, 1]).reshape(1, 1, 9)
    >>> without_specks(classes, axons, surroundings(axons > 0)).ravel()
    array([0, 0, 0, 0, 0, 2, 1, 1, 2], dtype=uint8)
    """
    speck = (axons == 0) & ((classes == 1) | ~near)
    return np.where(speck, np.uint8(0), classes)


def surroundings(mask, steps=WIDTH):
    """Return a mask grown by some voxels through their faces.

    As `scipy.ndimage.binary_dilation` does, whose import takes longer than a small stack.

    Parameters
    ----------
    mask : ndarray of bool, (Z, Y, X)
        Never changed.
    steps : int, optional

    Returns
    -------
    ndarray of bool, (Z, Y, X)
    """
    for _ in range(steps):
        grown = mask.copy()
        for axis in range(3):
            here, there = np.moveaxis(mask, axis, 0), np.moveaxis(grown, axis, 0)
            there[1:] |= here[:-1]
            there[:-1] |= here[1:]
        mask = grown
    return mask


def numbering(voxels, least):
    """Return new labels: the largest axon is 1, those below `least` voxels are 0.

    Parameters
    ----------
    voxels : ndarray of int, (N + 1,)
        Voxels of each label; the first entry is not looked at.
    least : float
        Voxels that an axon has at least.

    Returns
    -------
    ndarray of int32, (N + 1,)
        Old label to new label, 1 to the number of axons that are kept.
    """
    kept = np.flatnonzero(voxels[1:] >= max(least, 1)) + 1
    ordered = kept[np.argsort(-voxels[kept], kind="stable")]
    names = np.zeros(len(voxels), np.int32)
    names[ordered] = np.arange(1, len(ordered) + 1)
    return names
