"""Where cells lie, what shapes their bodies have and how a microscope sees them."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage, sparse, spatial

PLANES = 11  # sections of the tissue that are added up with the axial response


@dataclass(frozen=True)
class Somata:
    """Cell bodies in a slab around the focal plane, (N,) each; lengths in pixels.

    Attributes
    ----------
    depth, y, x : ndarray of float64, (N,)
        Centres; depth 0 is the focal plane, positive is deeper.
    radius : ndarray of float64, (N,)
        Mean lateral radius.
    axial_ratio : ndarray of float64, (N,)
        Axial over lateral radius.
    waves : ndarray of float64, (N, 4, 2)
        Cosine and sine coefficients of the outline for 2 to 5 lobes, relative to the radius.
    apex : ndarray of float64, (N, 2)
        Height, relative to the radius, and direction in radians of a pointed end.
    nucleus : ndarray of float64, (N, 3)
        Radius relative to the body's and offset (y, x) relative to it.
    nucleus_level : ndarray of float64, (N,)
        Brightness of the nucleus over that of the cytoplasm.
    """

    depth: np.ndarray
    y: np.ndarray
    x: np.ndarray
    radius: np.ndarray
    axial_ratio: np.ndarray
    waves: np.ndarray
    apex: np.ndarray
    nucleus: np.ndarray
    nucleus_level: np.ndarray

    def __len__(self):
        return len(self.y)

    def select(self, which):
        """Return the cells that an index or boolean array chooses."""
        return Somata(*(getattr(self, name)[which] for name in self.__dataclass_fields__))


def scatter_cells(rng, shape, half_depth, volume_density, spacing, weight):
    """Place cells at random, none closer than a spacing to another.

    Parameters
    ----------
    rng : numpy.random.Generator
    shape : tuple of int
        (H, W) in pixels.
    half_depth : float
        Cells lie at most so far from the focal plane, in pixels.
    volume_density : float
        Cells per cubic pixel before those too close to another are dropped.
    spacing : float
        Least distance between two centres in pixels.
    weight : ndarray, (H, W)
        Probability 0..1 to keep a cell at a pixel.

    Returns
    -------
    ndarray of float64, (N, 3)
        (depth, y, x) in pixels.
    """
    count = rng.poisson(volume_density * shape[0] * shape[1] * 2 * half_depth)
    points = rng.uniform((-half_depth, 0, 0), (half_depth, *shape), (count, 3))
    points = points[_kept(rng, points, weight)]
    return points[_apart(points, spacing)]


def pack_cells(rng, shape, spacing, jitter, weight):
    """Place cells on a jittered hexagonal grid, as in the cell layers of the hippocampus.

    Parameters
    ----------
    rng : numpy.random.Generator
    shape : tuple of int
        (H, W) in pixels.
    spacing : float
        Distance between neighbours in pixels.
    jitter : float
        Standard deviation of the displacement over the spacing; depth varies by twice this.
    weight : ndarray, (H, W)
        Probability 0..1 to keep a cell at a pixel.

    Returns
    -------
    ndarray of float64, (N, 3)
        (depth, y, x) in pixels.
    """
    reach = np.hypot(*shape) / 2 + spacing
    rows = np.arange(-reach, reach, spacing * np.sqrt(3) / 2)
    cols = np.arange(-reach, reach, spacing)
    y, x = np.meshgrid(rows, cols, indexing="ij")
    x = x + (np.arange(len(rows)) % 2)[:, None] * spacing / 2
    turn = rng.uniform(0, np.pi)
    y, x = y * np.cos(turn) + x * np.sin(turn), x * np.cos(turn) - y * np.sin(turn)
    points = np.stack([np.zeros(y.size), y.ravel() + shape[0] / 2, x.ravel() + shape[1] / 2], axis=-1)
    points += rng.normal(0, spacing * jitter, points.shape) * (2, 1, 1)
    inside = (points[:, 1:] >= 0).all(1) & (points[:, 1:] < shape).all(1)
    points = points[inside]
    return points[_kept(rng, points, weight)]


def _kept(rng, points, weight):
    """Return which points survive a draw with the probability at their pixel."""
    y, x = points[:, 1].astype(int), points[:, 2].astype(int)
    return rng.random(len(points)) < weight[y, x]


def _apart(points, spacing):
    """Return which points to keep so that no two are closer than `spacing`: the earlier one stays."""
    keep = np.ones(len(points), bool)
    if len(points) < 2:
        return keep
    pairs = spatial.cKDTree(points).query_pairs(spacing, output_type="ndarray")
    for first, second in pairs[np.lexsort(pairs.T[::-1])]:
        if keep[first]:
            keep[second] = False
    return keep


def draw_somata(rng, points, radius, *, roundness, nucleus_ratio, nucleus_level, filled_share, apex_share):
    """Draw a shape for each place.

    Parameters
    ----------
    rng : numpy.random.Generator
    points : ndarray, (N, 3)
        (depth, y, x) in pixels.
    radius : ndarray, (N,)
        Mean radii in pixels.
    roundness : float
        0 for outlines that differ much from a circle, 1 for circles.
    nucleus_ratio : float
        Mean radius of the nucleus over that of the body.
    nucleus_level : float
        Mean brightness of the nucleus over that of the cytoplasm.
    filled_share : float
        Share of cells whose nucleus is as bright as the cytoplasm.
    apex_share : float
        Share of cells with a pointed end.

    Returns
    -------
    Somata
    """
    count = len(points)
    size = (1 - roundness) * np.array([0.22, 0.12, 0.06, 0.04])
    waves = rng.normal(size=(count, 4, 2)) * (size / np.sqrt(2))[:, None]
    has_apex = rng.random(count) < apex_share
    apex = np.stack([has_apex * rng.uniform(0.2, 0.6, count), rng.uniform(0, 2 * np.pi, count)], axis=-1)
    nucleus = np.empty((count, 3))
    nucleus[:, 0] = np.clip(nucleus_ratio * rng.normal(1, 0.07, count), 0.2, 0.9)
    nucleus[:, 1:] = rng.normal(0, 0.07, (count, 2))
    level = np.clip(nucleus_level + rng.normal(0, 0.12, count), 0, 1)
    level = np.where(rng.random(count) < filled_share, rng.uniform(0.85, 1.1, count), level)
    return Somata(
        depth=points[:, 0],
        y=points[:, 1],
        x=points[:, 2],
        radius=np.asarray(radius, float),
        axial_ratio=rng.uniform(0.85, 1.2, count),
        waves=waves,
        apex=apex,
        nucleus=nucleus,
        nucleus_level=level,
    )


def axial_sections(rayleigh, half_depth):
    """Return depths whose light counts equally under a two-photon focus.

    A plane d away from the focus contributes 1 / (1 + (d / z_R)**2), so equal steps of
    the arc tangent of d / z_R carry equal light.

    Parameters
    ----------
    rayleigh : float
        Half depth of focus z_R.
    half_depth : float
        Largest distance from the focal plane, in the same unit.

    Returns
    -------
    ndarray of float64, (PLANES,)
    """
    edge = np.arctan(half_depth / rayleigh)
    steps = (np.arange(PLANES) + 0.5) / PLANES * 2 - 1
    return rayleigh * np.tan(edge * steps)


def image_somata(somata, shape, *, psf, rayleigh, half_depth, territory=None):
    """Image cell bodies through a two-photon focus.

    Parameters
    ----------
    somata : Somata
    shape : tuple of int
        (H, W) in pixels.
    psf : float
        Standard deviation in pixels of the focus at its waist.
    rayleigh, half_depth : float
        As in `axial_sections`, in pixels.
    territory : ndarray of float32 and int, optional
        Two images, (2, H, W): the cell that owns a pixel, and the distance to its border.
        Bodies are cut at the borders; absent, they overlap freely.

    Returns
    -------
    seen, filled : scipy.sparse.csc_array of float32, (H * W, N)
        The image of each cell as it is, and as if its nucleus were bright. 1 is a body
        that fills the whole depth of focus.
    """
    seen, filled = [], []
    for first in range(0, len(somata), 128):
        part = somata.select(slice(first, first + 128))
        patches = _image_patches(part, psf, rayleigh, half_depth, territory, first)
        for images, collected in zip(patches[2:], (seen, filled), strict=True):
            collected.append(patches_to_columns(images, patches[0], patches[1], shape))
    if not seen:
        empty = sparse.csc_array((shape[0] * shape[1], 0), dtype=np.float32)
        return empty, empty
    return sparse.hstack(seen, format="csc"), sparse.hstack(filled, format="csc")


def _image_patches(somata, psf, rayleigh, half_depth, territory, first):
    """Return the corners (N,), (N,) and the patches (N, S, S) of `image_somata`."""
    reach = int(np.ceil(somata.radius.max() * 1.7 + 3 * psf * np.hypot(1, 12 / 11 * 3))) + 2
    side = np.arange(-reach, reach + 1)
    row, col = np.round(somata.y).astype(int), np.round(somata.x).astype(int)
    dy = side[None, :, None] + (row - somata.y)[:, None, None]
    dx = side[None, None, :] + (col - somata.x)[:, None, None]
    relative = _outline(somata, np.arctan2(dy, dx))
    outline = somata.radius[:, None, None] * relative
    distance = np.hypot(dy, dx)
    offset = somata.nucleus[:, 1:] * somata.radius[:, None]
    from_nucleus = np.hypot(dy - offset[:, 0, None, None], dx - offset[:, 1, None, None])
    owned = 1.0 if territory is None else _owned(territory, row, col, side, first)
    seen = np.zeros(distance.shape, np.float32)
    filled = np.zeros(distance.shape, np.float32)
    axial = somata.radius * somata.axial_ratio
    sections = axial_sections(rayleigh, half_depth)
    for section in sections:
        cut = np.sqrt(np.clip(1 - ((section - somata.depth) / axial) ** 2, 0, None))
        hit = np.flatnonzero(cut)
        if not len(hit):
            continue
        blur = min(psf * np.hypot(1, section / rayleigh), reach / 3)
        body = _soft(outline[hit] * cut[hit, None, None] - distance[hit])
        body *= owned if territory is None else owned[hit]
        core = somata.nucleus[hit, 0] * somata.radius[hit] * _core_cut(somata, hit, section, axial)
        dark = 1 - somata.nucleus_level[hit, None, None]
        light = body * (1 - dark * _soft(core[:, None, None] * relative[hit] - from_nucleus[hit]))
        for total, image in ((filled, body), (seen, light)):
            image = np.asarray(image / len(sections), np.float32)
            total[hit] += ndimage.gaussian_filter(image, (0, blur, blur), truncate=3)
    return row - reach, col - reach, seen, filled


def _core_cut(somata, hit, section, axial):
    """Return the radius of the nucleus in a section over its largest radius."""
    depth = (section - somata.depth[hit]) / (axial[hit] * somata.nucleus[hit, 0])
    return np.sqrt(np.clip(1 - depth**2, 0, None))


def _outline(somata, angle):
    """Return the radius of each body in each direction over its mean radius, (N, S, S)."""
    relative = np.ones(angle.shape, np.float32)
    for lobe in range(4):
        cosine, sine = somata.waves[:, lobe, 0, None, None], somata.waves[:, lobe, 1, None, None]
        relative += cosine * np.cos((lobe + 2) * angle) + sine * np.sin((lobe + 2) * angle)
    tip = np.clip(np.cos(angle - somata.apex[:, 1, None, None]), 0, None) ** 10
    relative += somata.apex[:, 0, None, None] * tip
    return np.clip(relative, 0.5, 1.6)


def _soft(depth):
    """Return the share of a pixel that is inside, from the depth of its centre in pixels."""
    return np.clip(depth + 0.5, 0, 1)


def _owned(territory, row, col, side, first):
    """Return how far each patch pixel belongs to its own cell, 0..1, (N, S, S)."""
    height, width = territory.shape[1:]
    r = np.clip(row[:, None, None] + side[None, :, None], 0, height - 1)
    c = np.clip(col[:, None, None] + side[None, None, :], 0, width - 1)
    own = territory[0][r, c] == first + np.arange(len(row))[:, None, None]
    return own * _soft(territory[1][r, c])


def territories(points, shape, gap):
    """Divide an image between cells: each pixel belongs to the nearest.

    Parameters
    ----------
    points : ndarray, (N, 2)
        Centres (y, x) in pixels; at least two.
    shape : tuple of int
        (H, W) in pixels.
    gap : float
        Width in pixels of the seam between neighbours.

    Returns
    -------
    ndarray of float32, (2, H, W)
        Index of the owner; distance to the seam in pixels.
    """
    y, x = np.mgrid[: shape[0], : shape[1]]
    pixels = np.stack([y.ravel(), x.ravel()], axis=-1)
    distance, index = spatial.cKDTree(points).query(pixels, k=2)
    between = np.linalg.norm(points[index[:, 0]] - points[index[:, 1]], axis=1)
    seam = (distance[:, 1] ** 2 - distance[:, 0] ** 2) / (2 * np.maximum(between, 1e-9)) - gap / 2
    return np.stack([index[:, 0], seam]).reshape(2, *shape).astype(np.float32)


def patches_to_columns(patches, top, left, shape, threshold=2e-3):
    """Turn patches of images into the columns of a sparse matrix.

    Parameters
    ----------
    patches : ndarray of float32, (N, S, S)
    top, left : ndarray of int, (N,)
        Row and column of each patch's first pixel; parts outside the image are dropped.
    shape : tuple of int
        (H, W) in pixels.
    threshold : float, optional
        Values below this part of a patch's maximum are dropped.

    Returns
    -------
    scipy.sparse.csc_array of float32, (H * W, N)
    """
    floor = threshold * patches.max(axis=(1, 2), keepdims=True)
    cell, r, c = np.nonzero(patches > floor)
    value = patches[cell, r, c]
    r, c = r + top[cell], c + left[cell]
    inside = (r >= 0) & (r < shape[0]) & (c >= 0) & (c < shape[1])
    where = (r[inside] * shape[1] + c[inside], cell[inside])
    size = (shape[0] * shape[1], len(patches))
    return sparse.csc_array((value[inside].astype(np.float32), where), shape=size)


def image_flat(somata, shape, blur):
    """Image whole cell bodies as outlines that are blurred alike.

    Parameters
    ----------
    somata : Somata
    shape : tuple of int
        (H, W) in pixels.
    blur : float
        Standard deviation of the blur in pixels.

    Returns
    -------
    scipy.sparse.csc_array of float32, (H * W, N)
        1 inside a body much larger than the blur.
    """
    reach = int(np.ceil(somata.radius.max() * 1.6 + 3 * blur)) + 1
    side = np.arange(-reach, reach + 1)
    row, col = np.round(somata.y).astype(int), np.round(somata.x).astype(int)
    dy = side[None, :, None] + (row - somata.y)[:, None, None]
    dx = side[None, None, :] + (col - somata.x)[:, None, None]
    outline = somata.radius[:, None, None] * _outline(somata, np.arctan2(dy, dx))
    body = _soft(outline - np.hypot(dy, dx)).astype(np.float32)
    image = ndimage.gaussian_filter(body, (0, blur, blur), truncate=3)
    return patches_to_columns(image, row - reach, col - reach, shape)
