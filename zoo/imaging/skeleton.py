"""Thinning of masks to curves one voxel wide, in NumPy, and the length of such curves.

A voxel may go if its removal changes no connection: it is *simple* [1]_. Whether it is can
be read from its 26 neighbours alone. They are kept as a number of 26 bits, so that the test
runs on all candidates at once, by flooding within each number.
"""

from itertools import product

import numpy as np

from calzoo.errors import CalzooError

_OFFSETS = [step for step in product((-1, 0, 1), repeat=3) if any(step)]  # bit k: neighbour k
_BITS = np.uint32(1) << np.arange(26, dtype=np.uint32)
_CHUNK = 1 << 16  # candidates tested at once: they stay in the cache


def skeletonize(mask):
    """Thin a mask to its centre lines.

    Layers are removed from the six sides in turn (four in a plane) [2]_. Within a side, voxels
    go in eight groups of which no two members are neighbours [3]_, so that all of a group
    can go at once and the result still has the components, tunnels and cavities of the
    mask. End points of curves stay.

    Parameters
    ----------
    mask : ndarray, (Z, Y, X) or (Y, X)
        Nonzero is foreground.

    Returns
    -------
    ndarray of bool, the shape of `mask`
        The skeleton, connected through 26 neighbours (8 in a plane).

    Raises
    ------
    CalzooError
        If `mask` has neither two nor three axes.

    References
    ----------
    .. [1] Bertrand and Malandain, "A new characterization of three-dimensional simple
       points", Pattern Recognition Letters 15 (1994).
    .. [2] Lee, Kashyap and Chu, "Building skeleton models via 3-D medial surface/axis
       thinning algorithms", CVGIP 56 (1994).
    .. [3] Bertrand and Aktouf, "A three-dimensional thinning algorithm using subfields",
       Vision Geometry III (1994).

    Examples
    --------
    >>> import numpy as np
    >>> bar = np.zeros((5, 9), bool)
    >>> bar[1:4, 1:8] = True
    >>> skeletonize(bar)[2].astype(int)
    array([0, 0, 1, 1, 1, 1, 1, 0, 0])
    """
    mask = np.asarray(mask)
    if mask.ndim not in (2, 3):
        message = f"a mask to be thinned needs the axes (Z, Y, X) or (Y, X), got shape {mask.shape}"
        raise CalzooError(message)
    volume = mask.astype(bool).reshape((1,) * (3 - mask.ndim) + mask.shape)
    padded = np.pad(volume, 1).astype(np.uint8)
    _thin(padded, flat_picture=mask.ndim == 2)
    return padded[1:-1, 1:-1, 1:-1].astype(bool).reshape(mask.shape)


def skeleton_length(skeleton, voxel=(1.0, 1.0, 1.0)):
    """Measure the curves of a skeleton.

    The sum of the steps between neighbouring voxels. A diagonal step counts only where
    no shorter steps make the same connection.

    Parameters
    ----------
    skeleton : ndarray of bool, (Z, Y, X) or (Y, X)
    voxel : tuple of float, optional
        Size of a voxel along z, y and x; of a picture the last two count.

    Returns
    -------
    float
        In the unit of `voxel`.

    Examples
    --------
    >>> import numpy as np
    >>> skeleton_length(np.ones((1, 1, 4)), voxel=(2.0, 0.5, 0.5))
    1.5
    """
    skeleton = np.asarray(skeleton).astype(bool)
    padded = np.pad(skeleton.reshape((1,) * (3 - skeleton.ndim) + skeleton.shape), 1)
    flat, jumps = padded.reshape(-1), _jumps(padded.shape)
    here = np.flatnonzero(flat)
    total = 0.0
    for step, jump in zip(_OFFSETS, jumps, strict=True):
        if step < (0, 0, 0):  # the other half of the pairs
            continue
        linked = flat[here + jump]
        for detour in _between(step):
            linked &= ~flat[here + _jump(detour, padded.shape)]
        total += linked.sum() * float(np.linalg.norm(np.multiply(step, voxel)))
    return float(total)


def _between(step):
    """Return the steps to the voxels between the two ends of a diagonal `step`."""
    inner = product(*((0, s) if s else (0,) for s in step))
    return [part for part in inner if any(part) and part != step]


def _jump(step, shape):
    """Return how far apart in a flat array the two ends of `step` are."""
    return (step[0] * shape[1] + step[1]) * shape[2] + step[2]


def _jumps(shape):
    """Return the flat distance to each of the 26 neighbours."""
    return [_jump(step, shape) for step in _OFFSETS]


def _thin(padded, *, flat_picture):
    """Remove simple voxels from a padded volume of 0 and 1, in place, until none is left."""
    flat, jumps = padded.reshape(-1), _jumps(padded.shape)
    sides = [k for k, step in enumerate(_OFFSETS) if np.abs(step).sum() == 1]
    if flat_picture:
        sides = [k for k in sides if _OFFSETS[k][0] == 0]
    alive = np.flatnonzero(flat)
    changed = True
    while changed:
        changed = False
        for side in sides:
            outside = alive[flat[alive + jumps[side]] == 0]
            removable = outside[_removable(flat, outside, jumps, ends=False)]
            for group in _apart(removable, padded.shape):
                # The groups before this one may have made a voxel necessary. One that they
                # made an end goes all the same: else every bump would leave a spur.
                gone = group[_removable(flat, group, jumps, ends=True)]
                flat[gone] = 0
                changed |= len(gone) > 0
            alive = alive[flat[alive] == 1]


def _apart(index, shape):
    """Split flat indices into eight groups without neighbours, by the parity of z, y and x."""
    z, y, x = np.unravel_index(index, shape)
    parity = (z & 1) << 2 | (y & 1) << 1 | (x & 1)
    return [index[parity == value] for value in range(8)]


def _removable(flat, index, jumps, *, ends):
    """Return which voxels are simple and, unless `ends` may go, not the end of a curve."""
    removable = np.empty(len(index), bool)
    for start in range(0, len(index), _CHUNK):
        part = index[start : start + _CHUNK]
        code = np.zeros(len(part), np.uint32)
        for bit, jump in enumerate(jumps):
            code |= flat[part + jump].astype(np.uint32) << np.uint32(bit)
        removable[start : start + _CHUNK] = _simple(code) & (ends | (code != _lowest(code)))
    return removable


def _simple(code):
    """Return which neighbourhoods are those of simple voxels.

    One 26-connected piece of foreground, and one 6-connected piece of background that
    touches a face of the voxel, within its 18 neighbours.
    """
    simple = _flood(_lowest(code), code, _NEAR_26) == code
    hole = ~code & _WITHIN_18
    faces = hole & _FACES
    reached = _flood(_lowest(faces), hole, _NEAR_6)
    return simple & (code != 0) & (faces != 0) & (reached & _FACES == faces)


def _lowest(code):
    """Return the lowest set bit of each number."""
    return code & (~code + np.uint32(1))


def _flood(seed, mask, near):
    """Grow `seed` through `mask` until it fills its piece of it."""
    reached = seed
    while True:
        grown = near[0][reached & 511] | near[1][(reached >> 9) & 511] | near[2][reached >> 18]
        grown &= mask
        if np.array_equal(grown, reached):
            return reached
        reached = grown


def _near_tables(most):
    """Return for 9, 9 and 8 bits which neighbours touch any of them, or are one of them.

    Two neighbours touch if their positions differ by 1 along at most `most` axes, and
    not by more along any.
    """
    offsets = np.array(_OFFSETS)
    apart = np.abs(offsets[:, None] - offsets[None])
    touch = (apart.max(2) <= 1) & (apart.sum(2) <= most)
    near = (touch * _BITS).sum(1).astype(np.uint32)  # one number per neighbour
    tables = []
    for first, count in ((0, 9), (9, 9), (18, 8)):
        table = np.zeros(1 << count, np.uint32)
        for bit in range(count):
            table[(np.arange(1 << count) >> bit) & 1 == 1] |= near[first + bit]
        tables.append(table)
    return tables


_NEAR_26 = _near_tables(3)
_NEAR_6 = _near_tables(1)
_DISTANCE = np.abs(_OFFSETS).sum(1)
_FACES = np.bitwise_or.reduce(_BITS[_DISTANCE == 1])
_WITHIN_18 = np.bitwise_or.reduce(_BITS[_DISTANCE <= 2])
