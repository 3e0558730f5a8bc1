"""One label per axon, from classes that come slab by slab: the same as from the whole volume.

Voxels of the axon class that share a face are one axon. The border class keeps
neighbours apart; of it, the voxels that lie between axons come back to the axon
that they belong to (`calzoo.imaging.growth`).
"""

from dataclasses import dataclass

import numpy as np

from calzoo.imaging.growth import GROWTH, grow

# 6: shared faces. Training draws the border within (z, y) planes, so that axons that touch may still meet
# at an edge or a corner. Given the true classes of simulated stacks, the F1 of axons is .95 with faces
# alone, and .76 with edges and corners.
CONNECTIVITY = 6
_REACHES = {4: (0, -1, -1, -1), 6: (0, -1, 0, -1), 18: (1, 0, 1, 0), 26: (1, 1, 1, 1)}  # see `components`


def components(mask, connectivity=CONNECTIVITY):
    """Label the connected components of a mask.

    It works on runs of voxels along x, so that its cost follows what there is and
    not the volume; and importing `scipy.ndimage` would take longer than labelling
    a small stack.

    Parameters
    ----------
    mask : ndarray of bool, (Z, Y, X)
    connectivity : {4, 6, 18, 26}, optional
        Voxels connect at faces (4: within a plane), also at edges, or also at corners.

    Returns
    -------
    labels : ndarray of int32, (Z, Y, X)
        0 outside the mask; components count from 1 in the order of their first voxels.
    count : int
    """
    labels = np.zeros(mask.shape, np.int32)
    starts, ends, pieces = runs_of(mask, connectivity)
    labels[mask] = np.repeat(pieces + 1, ends - starts)
    return labels, int(pieces.max(initial=-1)) + 1


def runs_of(mask, connectivity=CONNECTIVITY):
    """Return the runs of a mask along x, and which connected component each is in.

    Parameters
    ----------
    mask, connectivity
        As for `components`.

    Returns
    -------
    starts, ends : ndarray of int, (runs,)
        First voxel, and the one after the last, counted through a volume of shape (Z, Y + 1, X + 1).
    pieces : ndarray of int32, (runs,)
        Components count from 0 in the order of their first voxels.
    """
    # One empty row and column more, so that no run reaches into the next row or plane.
    padded = np.pad(mask, ((0, 0), (0, 1), (0, 1)))
    rows, width = padded.shape[1:]
    edges = np.flatnonzero(np.diff(padded.reshape(-1), prepend=False))
    starts, ends = np.ascontiguousarray(edges.reshape(-1, 2).T)
    if not len(starts):
        return starts, ends, np.zeros(0, np.int32)
    # The rows that come before: in the same plane, and in the plane before three of them. Along x, runs
    # must overlap (reach 0), or may be one voxel beside each other (1).
    neighbours = zip((1, rows - 1, rows, rows + 1), _REACHES[connectivity], strict=True)
    pairs = [_touching_runs(starts, ends, back * width, reach) for back, reach in neighbours if reach >= 0]
    roots = _unite(len(starts), *np.concatenate(pairs, axis=1))
    numbers = np.cumsum(roots == np.arange(len(roots)), dtype=np.int32) - 1  # a root is its piece's first run
    return starts, ends, numbers[roots]


def _touching_runs(starts, ends, back, reach):
    """Return pairs (run, earlier run) that touch when the run is moved `back` voxels."""
    first = np.searchsorted(ends, starts - back - reach, side="right")
    count = np.searchsorted(starts, ends - back + reach) - first
    run = np.repeat(np.arange(len(starts)), count)
    within = np.arange(len(run)) - np.repeat(np.cumsum(count) - count, count)
    return np.stack([run, first[run] + within])


def _unite(count, one, other):
    """Return, for each of `count` items, the smallest that pairs connect it with."""
    parents = np.arange(count)
    while True:
        a, b = parents[one], parents[other]
        if np.array_equal(a, b):
            return parents
        np.minimum.at(parents, np.maximum(a, b), np.minimum(a, b))
        while not np.array_equal(parents[parents], parents):
            parents = parents[parents]


class Components:
    """Connected components of a mask that comes slab by slab.

    Each slab is labelled together with the last plane of the slab before it;
    labels that meet in this plane are one.

    Parameters
    ----------
    connectivity : {6, 18, 26}, optional
        As for `components`.
    """

    def __init__(self, connectivity=CONNECTIVITY):
        self._connectivity = connectivity
        self._parents = [0]
        self._plane = None  # labels of the last plane

    def append(self, mask):
        """Label the next slab.

        Parameters
        ----------
        mask : ndarray of bool, (n, Y, X)

        Returns
        -------
        ndarray of int32, (n, Y, X)
            Preliminary labels: `roots` tells which of them are one component.
        """
        shared = 0 if self._plane is None else 1
        if shared:
            mask = np.concatenate([self._plane[None] > 0, mask])
        local, count = components(mask, self._connectivity)
        names = np.zeros(count + 1, np.int32)
        if shared:
            both = local[0] > 0
            pairs = np.unique(local[0][both].astype(np.int64) << 32 | self._plane[both])
            for here, before in zip((pairs >> 32).tolist(), (pairs & 0xFFFFFFFF).tolist(), strict=True):
                names[here] = self._unite(int(names[here]), before) if names[here] else before
        new = np.flatnonzero(names[1:] == 0) + 1
        names[new] = np.arange(len(self._parents), len(self._parents) + len(new))
        self._parents.extend(names[new].tolist())
        labels = names[local[shared:]]
        self._plane = labels[-1]
        return labels

    def roots(self):
        """Return, for each preliminary label, the number of its component.

        Returns
        -------
        ndarray of int32, (labels + 1,)
            0 for 0; components count from 1 in the order of their first voxels.
        """
        roots = np.array([self._root(label) for label in range(len(self._parents))])
        return np.unique(roots, return_inverse=True)[1].astype(np.int32).reshape(-1)

    def _unite(self, one, other):
        # The smaller label is the root, so that components count in the order of their first voxels.
        low, high = sorted((self._root(one), self._root(other)))
        self._parents[high] = low
        return low

    def _root(self, label):
        path = []
        while self._parents[label] != label:
            path.append(label)
            label = self._parents[label]
        for step in path:
            self._parents[step] = label
        return label


class GrownLabels:
    """The grown labels of a volume, of any of its planes: equal to `grow` of the whole.

    Parameters
    ----------
    semantic, labels : Scratch or Volume
        Classes, and the preliminary labels of `Components`; read by ``planes(start, stop)``.
    roots : ndarray of int32
        From `Components.roots`.
    steps : int, optional
        As for `grow`.
    """

    def __init__(self, semantic, labels, roots, steps=GROWTH):
        self._semantic, self._labels, self._roots, self._steps = semantic, labels, roots, steps
        self.shape = semantic.shape

    def planes(self, start, stop):
        """Return the grown labels of planes `start` to `stop` (clipped to what there is), (n, Y, X)."""
        first, last = max(start - self._steps - 1, 0), stop + self._steps + 1
        grown = grow(
            self._roots[self._labels.planes(first, last)], self._semantic.planes(first, last), self._steps
        )
        return grown[start - first :][: stop - start]

    def slabs(self, depth):
        """Yield (first plane, grown labels of `depth` planes from there) through the volume."""
        for start in range(0, self.shape[0], depth):
            yield start, self.planes(start, start + depth)


@dataclass
class Measures:
    """What is measured of labels that come slab by slab; index = label, 0 unused.

    Attributes
    ----------
    voxels : ndarray of int64, (N + 1,)
    low, high : ndarray of int64, (N + 1, 3)
        First and last (z, y, x) that a label reaches.
    sums : ndarray of float64, (channels, N + 1)
        Summed intensity.
    places : ndarray of float64, (N + 1, 3)
        Summed (z, y, x) of the voxels.
    """

    voxels: np.ndarray
    low: np.ndarray
    high: np.ndarray
    sums: np.ndarray
    places: np.ndarray

    @classmethod
    def empty(cls, labels, channels):
        """Return measures of nothing yet, for labels up to `labels`."""
        size = labels + 1
        return cls(
            np.zeros(size, np.int64),
            np.full((size, 3), np.iinfo(np.int64).max),
            np.full((size, 3), -1, np.int64),
            np.zeros((channels, size)),
            np.zeros((size, 3)),
        )

    def add(self, labels, start, intensities):
        """Take in a slab.

        Parameters
        ----------
        labels : ndarray of int, (n, Y, X)
        start : int
            The slab's first plane.
        intensities : sequence of ndarray, (n, Y, X)
            One per channel.
        """
        places = np.flatnonzero(labels)
        if not len(places):
            return
        names = labels.reshape(-1)[places]
        order = np.argsort(names, kind="stable")
        places, names = places[order], names[order]
        firsts = np.flatnonzero(np.diff(names, prepend=-1))
        present = names[firsts]
        self.voxels[present] += np.diff(firsts, append=len(names))
        for axis, position in enumerate(np.unravel_index(places, labels.shape)):
            position = position + (start if axis == 0 else 0)
            lowest = np.minimum.reduceat(position, firsts)
            highest = np.maximum.reduceat(position, firsts)
            self.low[present, axis] = np.minimum(self.low[present, axis], lowest)
            self.high[present, axis] = np.maximum(self.high[present, axis], highest)
            self.places[present, axis] += np.add.reduceat(position.astype(np.float64), firsts)
        for sums, channel in zip(self.sums, intensities, strict=True):
            values = channel.reshape(-1)[places].astype(np.float64)
            sums[present] += np.add.reduceat(values, firsts)
