"""Holes in axons, filled before axons are thinned: thinning would keep a closed sheet around each."""

import numpy as np

from calzoo.inference.instances import runs_of

# Pixels, a circle 14 wide: holes in thick axons are smaller, most meshes between branches are larger.
_LARGEST = 150


def without_holes(labels):
    """Fill what an axon encloses: small holes in its sections across each axis, and cavities.

    A tunnel is a small hole in the sections that it crosses. What several axons enclose
    together stays.

    Parameters
    ----------
    labels : ndarray of int, (Z, Y, X)
        0 background. Never changed.

    Returns
    -------
    ndarray of int, (Z, Y, X)
        Also a cavity that the first or the last plane cuts open is filled.
    """
    labels = labels.copy(order="C")
    flat = labels.reshape(-1)
    for axis in range(3):
        sections = np.moveaxis(labels, axis, 0)
        _fill(flat, _holes(sections, 4, _LARGEST), _strides(sections)[1:])
    _fill(flat, _holes(labels, 6, labels.size), _strides(labels))
    return labels


def _strides(labels):
    return np.array(labels.strides) // labels.itemsize


def _holes(labels, connectivity, largest):
    """Return (flat index, hole) of the voxels of all holes: pieces of background that reach no side."""
    background = labels == 0
    starts, ends, pieces = runs_of(background, connectivity)
    lengths = ends - starts
    row, column = np.divmod(starts, labels.shape[2] + 1)
    plane, row = np.divmod(row, labels.shape[1] + 1)
    outside = (row == 0) | (row == labels.shape[1] - 1)
    outside |= (column == 0) | (column + lengths == labels.shape[2])
    if connectivity == 6:
        # An axon that the first or the last plane cuts is closed there: as far as its section is.
        for end in (0, labels.shape[0] - 1):
            here = plane == end
            section = runs_of(background[end : end + 1], 4)[2]
            outside[here] = np.isin(section, section[outside[here]])
    inside = (np.bincount(pieces, lengths) <= largest) & (np.bincount(pieces, outside) == 0)
    inside = inside[pieces]
    lengths, pieces = lengths[inside], pieces[inside]
    along = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    strides = _strides(labels)
    first = np.stack([plane, row, column], axis=1)[inside] @ strides
    return np.repeat(first, lengths) + along * strides[2], np.repeat(pieces, lengths)


def _fill(flat, holes, strides):
    """Give each hole the label around it, in place, if there is only one."""
    places, pieces = holes
    if not len(places):
        return
    low, high = np.full(pieces.max() + 1, np.iinfo(flat.dtype).max), np.zeros(pieces.max() + 1, flat.dtype)
    for jump in (*strides, *-strides):
        there = places + jump
        # Beyond the first or last plane there is nothing.
        beside = flat[np.where((there >= 0) & (there < len(flat)), there, places)]
        found = beside > 0
        np.maximum.at(high, pieces[found], beside[found])
        np.minimum.at(low, pieces[found], beside[found])
    alone = (low == high)[pieces]
    flat[places[alone]] = high[pieces[alone]]
