"""Centre lines of axons, and tubes painted along them.

Positions are (z, y, x) in in-plane pixels: a plane lies `anisotropy` pixels below the one
before it. Only :func:`paint` turns them into voxels.
"""

from dataclasses import dataclass

import numpy as np

_CHUNK = 1_000_000  # (sample, voxel) pairs painted at once: bounds the memory


@dataclass
class Samples:
    """Points along axons, each the centre of a small ellipsoid.

    Attributes
    ----------
    position : ndarray of float32, (P, 3)
        (z, y, x) in pixels.
    radius, brightness : ndarray of float32, (P,)
        In-plane radius in pixels; fluorescence, 1 for a typical axon.
    axon : ndarray of int32, (P,)
        Which axon the point belongs to, from 1.
    labelled : ndarray of bool, (P,)
        False in gaps that no observer could bridge.
    """

    position: np.ndarray
    radius: np.ndarray
    brightness: np.ndarray
    axon: np.ndarray
    labelled: np.ndarray

    def __len__(self):
        return len(self.axon)

    def take(self, where):
        """Return the samples at `where` (indices or a mask)."""
        return Samples(*(value[where] for value in vars(self).values()))

    @staticmethod
    def concatenate(parts):
        """Return all samples of `parts` in one."""
        columns = zip(*(vars(part).values() for part in parts), strict=True)
        return Samples(*(np.concatenate(column) for column in columns))


def walk(rng, start, direction, steps, *, step, tortuosity, flatness, bend=12.0):
    """Let many paths wander at once.

    The direction turns with a curvature that is itself correlated along the path, so
    paths are smooth at the scale of `bend` pixels.

    Parameters
    ----------
    rng : numpy.random.Generator
    start, direction : ndarray of float, (N, 3)
        First point in pixels and unit vector, (z, y, x).
    steps : int
        Number of steps of `step` pixels.
    step : float
    tortuosity : float
        Root mean square turn in radians per 100 pixels.
    flatness : float
        From 0 (turns in space) to 1 (turns in the plane only).
    bend : float, optional
        Correlation length of the curvature in pixels.

    Returns
    -------
    ndarray of float32, (steps + 1, N, 3)
    """
    keep = np.exp(-step / bend)
    # Independent turns of `bend` pixels add up as a random walk over 100 pixels.
    size = tortuosity / np.sqrt(100.0 * 2 * bend) * np.array([1 - flatness, 1, 1])
    curvature = rng.standard_normal(start.shape) * size
    heading = direction.astype(float)
    path = np.empty((steps + 1, *start.shape), np.float32)
    path[0] = position = start.astype(float)
    noise = rng.standard_normal((steps, *start.shape)).astype(np.float32)
    for index in range(steps):
        curvature = keep * curvature + np.sqrt(1 - keep**2) * size * noise[index]
        heading = heading + step * curvature
        heading /= np.linalg.norm(heading, axis=1, keepdims=True)
        position = position + step * heading
        path[index + 1] = position
    return path


def paint(samples, shape, *, anisotropy, axial_stretch=1.0):
    """Paint the ellipsoids of all samples into a volume.

    Parameters
    ----------
    samples : Samples
    shape : tuple of int
        (Z, Y, X).
    anisotropy : float
        Distance of two planes in pixels.
    axial_stretch : float, optional
        How much deeper than wide a tube is, before blurring.

    Returns
    -------
    signal : ndarray of float32, (Z, Y, X)
        Fluorescence; where tubes overlap, the brighter (they cannot share space).
    instances : ndarray of int32, (Z, Y, X)
        The axon whose surface is farthest outside of the voxel's centre; 0 is none.
    """
    signal = np.zeros(shape, np.float32)
    inside = np.zeros(shape, np.float32)  # how deep in a labelled tube: coverage
    instances = np.zeros(shape, np.int32)
    samples = _near(samples, shape, anisotropy, axial_stretch)
    # A tube thinner than a plane would fall between two of them.
    depth = np.maximum(samples.radius * axial_stretch, 0.6 * anisotropy)
    reach = np.ceil(np.stack([(depth + 0.5) / anisotropy, samples.radius + 0.5])).astype(int)
    for reach_z, reach_yx in np.unique(reach, axis=1).T:
        group = np.flatnonzero((reach[0] == reach_z) & (reach[1] == reach_yx))
        template = _template(
            reach_z, reach_yx, depth[group].max() / anisotropy, samples.radius[group].max()
        )
        for part in np.array_split(group, len(group) * len(template) // _CHUNK + 1):
            _stamp(samples.take(part), depth[part], template, anisotropy, signal, inside, instances)
    return signal, instances


def _near(samples, shape, anisotropy, axial_stretch):
    """Drop the samples that reach no voxel of the volume."""
    size = np.array(shape) * [anisotropy, 1, 1]
    reach = samples.radius[:, None] * [axial_stretch, 1, 1] + [1.1 * anisotropy, 1, 1]
    near = np.all((samples.position > -reach) & (samples.position < size + reach), axis=1)
    return samples.take(near)


def _template(reach_z, reach_yx, radius_z, radius_yx):
    """Return the voxel offsets (V, 3) that an ellipsoid at any sub-voxel position can reach."""
    offsets = np.mgrid[
        -reach_z : reach_z + 1, -reach_yx : reach_yx + 1, -reach_yx : reach_yx + 1
    ].reshape(3, -1)
    nearest = np.maximum(np.abs(offsets) - 0.5, 0)  # the centre lies within half a voxel
    limit = np.array([radius_z + 0.5, radius_yx + 0.5, radius_yx + 0.5])[:, None]
    return offsets[:, np.sum((nearest / limit) ** 2, axis=0) <= 1].T


def _stamp(samples, depth, template, anisotropy, signal, inside, instances):
    """Add samples of about one size to the three volumes in place."""
    centre = samples.position / np.float32([anisotropy, 1, 1])
    nearest = np.rint(centre).astype(np.int32)
    delta = (nearest - centre).astype(np.float32)  # (P, 3)
    scale = np.stack([depth / anisotropy, samples.radius, samples.radius], 1).astype(np.float32)
    distance = np.zeros((len(samples), len(template)), np.float32)
    index = np.zeros(distance.shape, np.int64)
    legal = np.ones(distance.shape, bool)
    for axis, side in enumerate(signal.shape):
        offset = template[:, axis]
        distance += ((delta[:, axis, None] + offset) / scale[:, axis, None]) ** 2
        voxel = nearest[:, axis, None] + offset
        legal &= (voxel >= 0) & (voxel < side)
        index = index * side + voxel
    cover = (1 - np.sqrt(distance)) * samples.radius[:, None] + np.float32(0.5)
    hit = legal & (cover > 0)
    row = np.nonzero(hit)[0]
    index, cover = index[hit], np.minimum(cover[hit], 1)
    np.maximum.at(signal.reshape(-1), index, cover * samples.brightness[row])
    # Depth, not coverage, decides who owns a voxel: coverage is 1 in all of the core.
    owned = (distance[hit] <= 1) & samples.labelled[row]
    index, row = index[owned], row[owned]
    score = np.float32(1.01) - np.sqrt(distance[hit][owned])
    flat = inside.reshape(-1)
    np.maximum.at(flat, index, score)
    best = score >= flat[index]
    instances.reshape(-1)[index[best]] = samples.axon[row[best]]
