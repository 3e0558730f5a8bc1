"""How long every axon is: the length of its centre line, up to where the axon ends or leaves the stack."""

from itertools import product

import numpy as np

from calzoo.inference.holes import without_holes

_HALO = 10  # planes on each side of a slab that is thinned: more than the radius of an axon
_DEPTH = 32  # planes at a time, at least: the halo is thinned twice
# One of each pair of opposite neighbours.
_STEPS = [step for step in product((-1, 0, 1), repeat=3) if step > (0, 0, 0)]
_ROUNDS = 3  # of averaging, after which the steps of a staircase are a slope
_END_ROUNDS = 8  # after which the end of a line has moved some voxels back along it
_STRIDE = 0.25  # voxels, on the way from the end of a line to the end of its axon


def lengths_of(labels, names, depth, voxel_um=None):
    """Measure the centre line of every axon, slab by slab.

    Axons are thinned to lines, once their holes are filled. As thinning also eats the
    ends, by about a radius, the faces of the stack go on for some voxels while it works,
    and a line that ends within the stack is drawn on, straight, to where its axon ends. As
    its steps lead from voxel to voxel, a line is smoothed before it is measured.

    Parameters
    ----------
    labels : GrownLabels or Scratch
        Labels with the border between axons given back; read by ``planes(start, stop)``.
    names : ndarray of int32
        Label to axon, 0 for none.
    depth : int
        Planes at a time, if more than a few; each slab is thinned with some planes more on both sides.
    voxel_um : tuple of (float or None) or None
        (z, y, x).

    Returns
    -------
    tuple of (ndarray of float64, ndarray of float64 or None), (axons + 1,)
        Lengths in voxels and in micrometres. 0 of what is thinned to a single voxel, which has no direction.
    """
    known = voxel_um is not None and None not in voxel_um
    size, count = labels.shape[0], int(names.max(initial=0)) + 1
    depth = max(depth, _DEPTH)
    depth += depth % 2  # thinning tells odd planes from even ones: they stay so in every slab
    scales = [(1.0, 1.0, 1.0), voxel_um] if known else [(1.0, 1.0, 1.0)]
    totals = np.zeros((len(scales), count))
    for start in range(0, size, depth):
        stop = min(start + depth, size)
        first, last = max(start - _HALO, 0), min(stop + _HALO, size)
        planes = names[labels.planes(first, last)]
        if not planes.any():
            continue
        margins = np.array([[_HALO * (first == 0), _HALO * (last == size)], [_HALO] * 2, [_HALO] * 2])
        owners, pieces = _pieces(planes, margins, start - first, stop - first)
        for total, scale in zip(totals, scales, strict=True):
            total += np.bincount(owners, np.linalg.norm(pieces * scale, axis=1), minlength=count)
    return totals[0], totals[1] if known else None


def _pieces(planes, margins, start, stop):
    """Return (axon, vector in voxels) of all pieces of centre lines in planes `start` to `stop`.

    Parameters
    ----------
    planes : ndarray of int32, (n, Y, X)
    margins : ndarray of int, (3, 2)
        Voxels by which each face goes on while the planes are thinned, 0 where the stack goes on itself.
    start, stop : int
        Where the planes begin and end that are measured; the others are there to be thinned with them.
    """
    low = margins[:, 0] + [start, 0, 0]
    high = low + [stop - start, *planes.shape[1:]]
    faces = margins[:, 0] - 0.5, margins[:, 0] + planes.shape - 0.5
    planes = without_holes(np.pad(planes, margins, mode="edge"))
    points, owners, links = _lines(planes)
    ends = np.bincount(links.ravel(), minlength=len(points)) == 1
    smooth = np.where(ends[:, None], points, _averaged(points, links, _ROUNDS, ends))
    # What runs beyond a face is laid onto it: of an axon that leaves the stack nothing is left there, of
    # one that is cut open lengthwise its length.
    smooth = np.clip(smooth, *faces)
    # Each end of a link brings half of it into its plane.
    measured = np.ones(len(points), bool)
    if start > 0:
        measured &= points[:, 0] >= low[0]
    if high[0] + margins[0, 1] < len(planes):
        measured &= points[:, 0] < high[0]
    share = measured[links].mean(axis=1)
    vectors = (smooth[links[:, 1]] - smooth[links[:, 0]]) * share[:, None]
    tips = _tips(planes, points[ends], points[ends] - _averaged(points, links, _END_ROUNDS)[ends], low, high)
    return np.concatenate([owners[links[:, 0]], owners[ends]]), np.concatenate([vectors, tips])


def _lines(labels):
    """Thin labels to lines: return their points (N, 3), the label of each, and links (L, 2) between them.

    A diagonal link counts only where no shorter ones make the same connection.
    """
    from calzoo.imaging.skeleton import skeletonize

    padded = np.pad(np.where(skeletonize(_apart(labels)), labels, 0), 1)
    flat = padded.reshape(-1)
    along = (padded.shape[1] * padded.shape[2], padded.shape[2], 1)
    here = np.flatnonzero(flat)
    names, links = flat[here], []
    for step in _STEPS:
        there = here + np.dot(step, along)
        linked = flat[there] == names
        for detour in product(*({0, s} for s in step)):
            if detour != step and any(detour):
                linked &= flat[here + np.dot(detour, along)] != names
        first = np.flatnonzero(linked)
        links.append(np.stack([first, np.searchsorted(here, there[first])], axis=1))
    points = np.stack(np.unravel_index(here, padded.shape), axis=1) - 1.0
    return points, names, np.concatenate(links)


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


def _averaged(points, links, rounds, fixed=None):
    """Return points (N, 3), averaged `rounds` times with those that they are linked with."""
    near = np.concatenate([links, links[:, ::-1]])
    number = 1 + np.bincount(near[:, 0], minlength=len(points))
    moved = points
    for _ in range(rounds):
        sums = [np.bincount(near[:, 0], axis[near[:, 1]], minlength=len(points)) for axis in moved.T]
        moved = (moved + np.stack(sums, axis=1)) / number[:, None]
        if fixed is not None:
            moved[fixed] = points[fixed]
    return moved


def _tips(labels, ends, headings, low, high):
    """Return the vectors (K, 3) from ends of lines straight on to where their labels end.

    Only what lies in the box from `low` to `high` counts. None is longer than the halo along
    an axis, which a slab beside this one can follow as well.
    """
    largest = np.abs(headings).max(axis=1, initial=0)
    headings = headings / np.where(largest > 0, largest, 1)[:, None]
    owners = labels[tuple(ends.astype(int).T)]
    going, strides = largest > 0, np.zeros(len(ends))
    for distance in np.arange(_STRIDE, _HALO, _STRIDE):
        places = np.rint(ends + distance * headings).astype(int)
        going &= ((places >= 0) & (places < labels.shape)).all(axis=1)
        going[going] = labels[tuple(places[going].T)] == owners[going]
        strides += going & ((places >= low) & (places < high)).all(axis=1)
    return headings * (strides * _STRIDE)[:, None]
