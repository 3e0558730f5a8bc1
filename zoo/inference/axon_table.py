"""The measures of every axon, as columns."""

import math
from itertools import product

import numpy as np

_HALO = 8  # planes on each side of a slab that is thinned: more than the radius of an axon
_DEPTH = 32  # planes at a time, at least: the halo is thinned twice
# One of each pair of opposite neighbours.
_STEPS = [step for step in product((-1, 0, 1), repeat=3) if step > (0, 0, 0)]


def lengths_of(labels, names, depth, voxel_um=None):
    """Measure the skeleton of every axon, slab by slab.

    Parameters
    ----------
    labels : Scratch
        Preliminary labels of the axon class.
    names : ndarray of int32
        Preliminary label to axon, 0 for none.
    depth : int
        Planes at a time, if more than a few; each slab is thinned with some planes more on both sides.
    voxel_um : tuple of (float or None) or None
        (z, y, x).

    Returns
    -------
    tuple of (ndarray of float64, ndarray of float64 or None), (axons + 1,)
        Lengths in voxels and in micrometres.
    """
    from calzoo.imaging.skeleton import skeletonize

    known = voxel_um is not None and None not in voxel_um
    size, count = labels.shape[0], int(names.max(initial=0)) + 1
    depth = max(depth, _DEPTH)
    voxels, um = np.zeros(count), np.zeros(count)
    for start in range(0, size, depth):
        stop = min(start + depth, size)
        first, last = max(start - _HALO, 0), min(stop + _HALO, size)
        planes = names[labels.planes(first, last)]
        if not planes.any():
            continue
        planes[~skeletonize(_apart(planes))] = 0
        for step, linked in _links(planes, start - first, stop - first):
            counts = np.bincount(linked, minlength=count)
            voxels += counts * math.hypot(*step)
            if known:
                um += counts * math.hypot(*(s * side for s, side in zip(step, voxel_um, strict=True)))
    return voxels, um if known else None


def _apart(labels):
    """Return where there are labels, less the voxels that touch a smaller label: no two are connected."""
    padded = np.pad(labels, 1)
    flat = padded.reshape(-1)
    along = (padded.shape[1] * padded.shape[2], padded.shape[2], 1)
    here = np.flatnonzero(flat)
    names, touching = flat[here], np.zeros(len(here), bool)
    for step in _STEPS:
        for jump in (np.dot(step, along), -np.dot(step, along)):
            beside = flat[here + jump]
            touching |= (beside > 0) & (beside < names)
    mask = padded > 0
    mask.reshape(-1)[here[touching]] = False
    return mask[1:-1, 1:-1, 1:-1]


def _links(skeleton, start, stop):
    """Yield (step, label of every link along it) of the links that start in planes `start` to `stop`.

    A diagonal link counts only where no shorter ones make the same connection.
    """
    padded = np.pad(skeleton, 1)
    flat = padded.reshape(-1)
    along = (padded.shape[1] * padded.shape[2], padded.shape[2], 1)
    here = np.flatnonzero(padded[1 + start : 1 + stop]) + (1 + start) * along[0]
    names = flat[here]
    for step in _STEPS:
        linked = flat[here + np.dot(step, along)] == names
        for detour in product(*((0, s) if s else (0,) for s in step)):
            if detour != step and any(detour):
                linked &= flat[here + np.dot(detour, along)] != names
        yield step, names[linked]


def table_of(measures, names, lengths, shape, voxel_um=None):
    """Put the measures of axons into columns.

    Parameters
    ----------
    measures : Measures
        Of preliminary components.
    names : ndarray of int32
        Component to axon, 0 for those that are left out.
    lengths : tuple of (ndarray, ndarray or None)
        From `lengths_of`.
    shape : tuple of int
        (Z, Y, X) of the stack.
    voxel_um : tuple of (float or None) or None
        (z, y, x).

    Returns
    -------
    dict of str to list
        Columns of axons.csv; in micrometres None where the voxel size is not known.
        The radius is that of a cylinder of the axon's volume and length.
    """
    order = np.argsort(names, kind="stable")[np.sum(names == 0) :]
    voxels, low, high = measures.voxels[order], measures.low[order], measures.high[order]
    known = voxel_um is not None and None not in voxel_um
    volume = voxels * float(np.prod(voxel_um)) if known else None
    length_um = None if lengths[1] is None else lengths[1][1:]
    empty = [None] * len(order)
    table = {
        "id": list(range(1, len(order) + 1)),
        "voxels": voxels.tolist(),
        "volume_um3": empty if volume is None else volume.tolist(),
        "length_voxels": lengths[0][1:].tolist(),
        "length_um": empty if length_um is None else length_um.tolist(),
        "radius_voxels": _radius(voxels, lengths[0][1:]),
        "radius_um": empty if length_um is None else _radius(volume, length_um),
    }
    several = len(measures.sums) > 1
    for number, sums in enumerate(measures.sums[:, order]):
        suffix = f"_{number}" if several else ""
        table[f"mean_intensity{suffix}"] = (sums / np.maximum(voxels, 1)).tolist()
        table[f"summed_intensity{suffix}"] = sums.tolist()
    for axis, name in enumerate("zyx"):
        table[f"{name}_first"] = low[:, axis].tolist()
        table[f"{name}_last"] = high[:, axis].tolist()
    at_edge = (low == 0) | (high == np.array(shape) - 1)
    table["touches_edge"] = at_edge.any(axis=1).tolist()
    return table


def _radius(volume, length):
    """Return sqrt(volume / (pi length)), None for what has no length."""
    return [math.sqrt(v / (math.pi * n)) if n > 0 else None for v, n in zip(volume, length, strict=True)]
