"""The border between axons comes back to the axons once they are labelled."""

import numpy as np

BACKGROUND, AXON, BORDER = 0, 1, 2
GROWTH = 2  # voxels; two axons that touch lose one or two to the border, each


def grow(labels, semantic, steps=GROWTH):
    """Give the border voxels between axons back to the axons.

    A border voxel with background at one of its faces is the outer border, which
    training draws around the axon, not in it. The others lie between axons: a
    label spreads over them from face to face; where two arrive in the same step,
    the larger one wins.

    Parameters
    ----------
    labels : ndarray of int, (n, Y, X)
        Labels of the axon class, 0 elsewhere. Never changed.
    semantic : ndarray of uint8, (n, Y, X)
        0 background, 1 axon, 2 border.
    steps : int, optional
        How many voxels a label spreads. A voxel of the result depends on no plane
        that is farther than `steps` + 1.

    Returns
    -------
    ndarray of int, (n, Y, X)
    """
    labels = np.pad(labels, 1)
    # What lies beyond the volume is not background: an axon may go on there.
    semantic = np.pad(semantic, 1, constant_values=BORDER)
    strides = np.array([labels.shape[1] * labels.shape[2], labels.shape[2], 1])
    faces = np.concatenate([strides, -strides])
    classes, flat = semantic.ravel(), labels.reshape(-1)
    open_voxels = np.flatnonzero(_inside(semantic == BORDER))
    for face in faces:
        open_voxels = open_voxels[classes[open_voxels + face] != BACKGROUND]
    for _ in range(steps):
        arriving = np.zeros(len(open_voxels), labels.dtype)
        for face in faces:
            np.maximum(arriving, flat[open_voxels + face], out=arriving)
        flat[open_voxels] = arriving
        open_voxels = open_voxels[arriving == 0]
    return labels[1:-1, 1:-1, 1:-1]


def _inside(mask):
    """Return a padded mask without its padding, which no label may enter."""
    mask[[0, -1]] = mask[:, [0, -1]] = mask[:, :, [0, -1]] = False
    return mask
