"""Ellipsoids along centre lines, painted as light and as labels.

Positions are (z, y, x) in in-plane pixels: a plane lies `anisotropy` pixels below the one
before it. Only this module turns them into voxels.
"""

from dataclasses import dataclass

import numpy as np

_CHUNK = 300_000  # (sample, voxel) pairs handled at once: they stay in the cache


@dataclass
class Samples:
    """Points along axons or within other bodies, each the centre of a small ellipsoid.

    Attributes
    ----------
    position : ndarray of float32, (P, 3)
        (z, y, x) in pixels.
    radius : ndarray of float32, (P,)
        In-plane radius in pixels.
    brightness : ndarray of float32, (P,)
        Fluorescence, 1 for a typical axon.
    owner : ndarray of int32, (P,)
        Which axon the point belongs to, from 1.
    labelled : ndarray of bool, (P,)
        False in gaps that no observer could bridge.
    """

    position: np.ndarray
    radius: np.ndarray
    brightness: np.ndarray
    owner: np.ndarray
    labelled: np.ndarray

    def __len__(self):
        return len(self.owner)

    def take(self, where):
        """Return the samples at `where` (indices or a mask)."""
        return Samples(*(value[where] for value in vars(self).values()))

    @staticmethod
    def concatenate(parts):
        """Return all samples of `parts` in one."""
        columns = zip(*(vars(part).values() for part in parts), strict=True)
        return Samples(*(np.concatenate(column) for column in columns))


def paint_light(samples, shape, *, anisotropy, axial_stretch=1.0):
    """Paint the fluorescence of all samples.

    Parameters
    ----------
    samples : Samples
    shape : tuple of int
        (Z, Y, X).
    anisotropy : float
        Distance of two planes in pixels.
    axial_stretch : float, optional
        How much deeper than wide a body is.

    Returns
    -------
    ndarray of float32, (Z, Y, X)
        Where bodies overlap the brighter counts: they cannot share space.
    """
    light = np.zeros(shape, np.float32)
    flat = light.reshape(-1)
    # A body thinner than a plane would fall between two of them.
    depth = np.maximum(samples.radius * axial_stretch, 0.55 * anisotropy) / anisotropy
    soft = 1 + 0.5 / samples.radius  # the edge is one pixel wide
    for voxel, row, distance in _stamps(samples.position, depth, samples.radius, soft, shape, anisotropy):
        cover = np.minimum((1 - distance) * samples.radius[row] + np.float32(0.5), 1)
        np.maximum.at(flat, voxel, cover * samples.brightness[row])
    return light


def paint_labels(samples, shape, *, anisotropy, axial_stretch=1.0, visible_px=(0.0, 0.0)):
    """Label the voxels of each axon.

    Parameters
    ----------
    samples, shape, anisotropy, axial_stretch
        As for :func:`paint_light`.
    visible_px : tuple of float or of ndarray, (P,), optional
        Blur in pixels, along z and within the plane, of all samples or of each, that widens what
        an observer sees and labels; it adds to the radius in quadrature.

    Returns
    -------
    ndarray of int32, (Z, Y, X)
        The owner whose centre line is the nearest in units of its radius; 0 is none.
    """
    visible_px = [np.broadcast_to(blur, len(samples))[samples.labelled] for blur in visible_px]
    samples = samples.take(samples.labelled)
    radius, depth = label_radii(samples.radius, anisotropy, axial_stretch, visible_px)
    labels = np.zeros(shape, np.int32)
    nearest = np.ones(labels.size, np.float32)
    flat = labels.reshape(-1)
    edge = np.ones(len(samples), np.float32)
    for voxel, row, distance in _stamps(
        samples.position, depth / anisotropy, radius, edge, shape, anisotropy
    ):
        np.minimum.at(nearest, voxel, distance)
        best = distance <= nearest[voxel]
        flat[voxel[best]] = samples.owner[row[best]]
    return labels


def label_radii(radius, anisotropy, axial_stretch, visible_px):
    """Return the in-plane radius and the half depth in pixels that an observer labels.

    Both are at least so large that a centre line leaves no gap on the voxel grid.
    """
    blur_z, blur_yx = visible_px
    wide = np.maximum(np.hypot(radius, blur_yx), 0.85)
    deep = np.maximum(np.hypot(radius * axial_stretch, blur_z), 0.65 * anisotropy)
    return wide.astype(np.float32), deep.astype(np.float32)


def _stamps(position, depth, radius, limit, shape, anisotropy):
    """Yield the voxels that each ellipsoid reaches, in pieces.

    Parameters
    ----------
    position : ndarray, (P, 3)
        Centres in pixels.
    depth, radius : ndarray, (P,)
        Half depth in planes and in-plane radius in pixels.
    limit : ndarray, (P,)
        Largest distance of interest, in units of the ellipsoid.
    shape : tuple of int
    anisotropy : float

    Yields
    ------
    voxel : ndarray of int64, (N,)
        Flat index into the volume.
    row : ndarray of int64, (N,)
        Which ellipsoid.
    distance : ndarray of float32, (N,)
        1 on the ellipsoid's surface.
    """
    centre = position / np.float32([anisotropy, 1, 1])
    scale = np.stack([depth, radius, radius], 1).astype(np.float32)
    nearest = np.rint(centre).astype(np.int64)
    reach = np.floor(scale * limit[:, None] + 0.5).astype(np.int64)
    sides = np.array(shape)
    near = np.all((nearest + reach >= 0) & (nearest - reach < sides), axis=1)
    whole = np.all((nearest - reach >= 0) & (nearest + reach < sides), axis=1)
    key = (reach[:, 0] * 4096 + reach[:, 1]) * 2 + whole
    for value in np.unique(key[near]):
        group = np.flatnonzero(near & (key == value))
        size = (scale[group] * limit[group, None]).max(0)
        template = _template(reach[group[0]], size)  # (3, V)
        for part in np.array_split(group, len(group) * template.shape[1] // _CHUNK + 1):
            square = _square_distance(nearest[part] - centre[part], scale[part], template)
            hit = np.flatnonzero(square < limit[part, None] ** 2)
            row, column = np.divmod(hit, template.shape[1])
            voxel = nearest[part][row] + template.T[column]  # (N, 3)
            square = square.reshape(-1)[hit]
            if not value % 2:  # some voxels lie outside of the volume
                legal = np.all((voxel >= 0) & (voxel < sides), axis=1)
                voxel, row, square = voxel[legal], row[legal], square[legal]
            flat = (voxel[:, 0] * shape[1] + voxel[:, 1]) * shape[2] + voxel[:, 2]
            yield flat, part[row], np.sqrt(square)


def _template(reach, size):
    """Return the voxel offsets (3, V) that an ellipsoid at any sub-voxel position can reach."""
    grid = np.meshgrid(*(np.arange(-r, r + 1) for r in reach), indexing="ij")
    offsets = np.stack([axis.ravel() for axis in grid])
    inner = np.maximum(np.abs(offsets) - 0.5, 0)  # the centre lies within half a voxel
    return offsets[:, np.sum((inner / size[:, None]) ** 2, axis=0) <= 1]


def _square_distance(delta, scale, template):
    """Return the squared distance (P, V) of the template's voxels, in units of the ellipsoids."""
    square = np.zeros((len(delta), template.shape[1]), np.float32)
    for axis, offsets in enumerate(template):
        reach = offsets.max()
        line = (delta[:, axis, None] + np.arange(-reach, reach + 1)) / scale[:, axis, None]
        square += np.take((line * line).astype(np.float32), offsets + reach, axis=1)
    return square
