"""Dendrites, axons, boutons and other bright things that are not cell bodies."""

import numpy as np
from scipy import sparse

from calzoo.simulation.optics import smooth_path

FAINT = 0.004  # brightness times width in pixels of spots that nobody sees


class Dots:
    """A collection of small Gaussian spots that become the columns of a sparse matrix.

    Lines are rows of spots half a pixel apart.
    """

    def __init__(self):
        self._parts = []

    def add(self, points, sigma, peak, owner):
        """Add spots.

        Parameters
        ----------
        points : ndarray, (n, 2)
            (y, x) in pixels.
        sigma : ndarray or float
            Standard deviation in pixels.
        peak : ndarray or float
            Brightness at the centre.
        owner : ndarray or int
            The column that a spot is added to.
        """
        count = len(points)
        columns = [np.broadcast_to(np.asarray(v, float), (count,)) for v in (sigma, peak, owner)]
        spots = np.column_stack([points, *columns])
        # What is far out of focus is wide, dim and dear to draw.
        self._parts.append(spots[spots[:, 3] * spots[:, 2] > FAINT])

    def matrix(self, shape, columns):
        """Return the spots as a csc_array of float32, (H * W, columns)."""
        size = (shape[0] * shape[1], columns)
        if not self._parts:
            return sparse.csc_array(size, dtype=np.float32)
        dots = np.concatenate(self._parts)
        reach = 3 * dots[:, 2].max(initial=0) + 1
        inside = (dots[:, :2] > -reach).all(1) & (dots[:, :2] < np.array(shape) + reach).all(1)
        dots = dots[inside]
        # Spots of like size are drawn together, so that small ones get small patches.
        steps = np.ceil(3 * dots[:, 2]).astype(int)
        parts = [_draw(dots[steps == step], int(step), shape) for step in np.unique(steps)]
        if not parts:
            return sparse.csc_array(size, dtype=np.float32)
        value, pixel, owner = (np.concatenate(part) for part in zip(*parts, strict=True))
        return sparse.csc_array((value, (pixel, owner)), shape=size)


def _draw(dots, reach, shape):
    """Return the values, pixels and owners of spots that need the same patch."""
    y, x, sigma, peak, owner = dots.T
    side = np.arange(-reach, reach + 1)
    row, col = np.round(y).astype(int), np.round(x).astype(int)
    # A spot narrower than a pixel keeps its light: the pixel averages over its own width.
    spread = np.sqrt(sigma**2 + 1 / 12)
    peak = peak * (sigma / spread) ** 2
    wy = np.exp(-0.5 * ((side + (row - y)[:, None]) / spread[:, None]) ** 2)
    wx = np.exp(-0.5 * ((side + (col - x)[:, None]) / spread[:, None]) ** 2)
    value = (peak[:, None, None] * wy[:, :, None] * wx[:, None, :]).astype(np.float32)
    r = np.broadcast_to(row[:, None, None] + side[None, :, None], value.shape)
    c = np.broadcast_to(col[:, None, None] + side[None, None, :], value.shape)
    owner = np.broadcast_to(owner.astype(int)[:, None, None], value.shape)
    keep = (r >= 0) & (r < shape[0]) & (c >= 0) & (c < shape[1]) & (value > 1e-3 * peak[:, None, None])
    return value[keep], r[keep] * shape[1] + c[keep], owner[keep]


def add_line(dots, points, width, peak, depth, owner, *, psf, rayleigh):
    """Add a neurite as a row of spots.

    Parameters
    ----------
    dots : Dots
    points : ndarray, (n, 2)
        (y, x) in pixels, at most half a pixel apart.
    width : ndarray or float
        Standard deviation of the neurite's cross-section in pixels.
    peak : float
        Brightness in the focal plane of a neurite as thick as the focus.
    depth : ndarray, (n,)
        Distance from the focal plane in pixels.
    owner : int
        Column of the matrix.
    psf, rayleigh : float
        Width at the waist and half depth of the focus in pixels.
    """
    step = np.linalg.norm(points[1] - points[0])
    # Spots as far apart as their width make a line as smooth as closer ones.
    stride = max(int(np.hypot(np.min(width), psf) / step), 1)
    step *= stride
    points, depth = points[::stride], depth[::stride]
    width = width[::stride] if np.ndim(width) else width
    focus = 1 + (depth / rayleigh) ** 2
    sigma = np.sqrt(width**2 + psf**2 * focus)
    # Light of a thin line: its share of the focus, spread over the blurred width. A row of
    # spots `step` apart adds up to sqrt(2 pi) sigma / step spots at each place.
    share = np.minimum(width / rayleigh * 2, 1) * (width / sigma) / focus
    dots.add(points, sigma, peak * share * step / (np.sqrt(2 * np.pi) * sigma), owner)


def depth_walk(rng, count, step, start, slope, wander):
    """Return how far each point of a neurite lies from the focal plane, (count,), in pixels."""
    tilt = slope + np.cumsum(rng.normal(0, wander * np.sqrt(step), count)) / 10
    return start + step * np.cumsum(tilt)


def add_dendrites(rng, dots, somata, which, *, number, length, width, level, psf, rayleigh):
    """Add the dendrites of cells, which shine with their cell.

    Parameters
    ----------
    rng : numpy.random.Generator
    dots : Dots
        Gets the spots; column i belongs to cell i.
    somata : Somata
    which : ndarray of int
        The cells that get dendrites.
    number : float
        Mean number of dendrites of a cell.
    length, width : float
        Mean length, and standard deviation of the cross-section at the body, in pixels.
    level : ndarray, (N,)
        Brightness of each cell's cytoplasm.
    psf, rayleigh : float
        Width at the waist and half depth of the focus in pixels.
    """
    for cell in which:
        first = rng.uniform(0, 2 * np.pi)
        count = 1 + rng.poisson(max(number - 1, 0))
        for branch in range(count):
            angle = first + 2 * np.pi * (branch + rng.uniform(-0.3, 0.3)) / count
            start = np.array([somata.y[cell], somata.x[cell]])
            start = start + 0.8 * somata.radius[cell] * np.array([np.sin(angle), np.cos(angle)])
            points = smooth_path(rng, start, angle, length * rng.gamma(3, 1 / 3), wander=0.35)
            taper = np.geomspace(1.3, 0.3, len(points)) * rng.uniform(0.5, 1.1)
            depth = depth_walk(rng, len(points), 0.5, somata.depth[cell], rng.normal(0, 0.25), 0.05)
            peak = level[cell] * rng.uniform(0.6, 1.1)
            add_line(dots, points, width * taper, peak, depth, cell, psf=psf, rayleigh=rayleigh)


def add_axons(
    rng, dots, shape, count, *, length, spacing, width, level, angle, spread, steepness, psf, rayleigh
):
    """Add thin axons with boutons; column i belongs to axon i.

    Parameters
    ----------
    rng : numpy.random.Generator
    dots : Dots
    shape : tuple of int
        (H, W) in pixels.
    count : int
        Number of axons.
    length, spacing, width : float
        Mean length of an axon, mean distance of its boutons, and standard deviation of a bouton, in pixels.
    level : ndarray, (count,)
        Brightness of each axon's boutons in the focal plane.
    angle, spread : float
        Common direction of the axons and standard deviation around it, in radians.
    steepness : float
        Standard deviation of the slope with which axons leave the focal plane.
    psf, rayleigh : float
        Width at the waist and half depth of the focus in pixels.
    """
    for axon in range(count):
        start = rng.uniform(-0.1, 1.1, 2) * shape
        heading = angle + rng.normal(0, spread) + np.pi * rng.integers(2)
        points = smooth_path(rng, start, heading, length * rng.gamma(2, 0.5) + 2, wander=0.35)
        slope = rng.normal(0, steepness)
        depth = depth_walk(rng, len(points), 0.5, rng.normal(0, 1 + rayleigh), slope, 0.06)
        shaft = level[axon] * rng.uniform(0.1, 0.8)
        add_line(dots, points, 0.5 * width, shaft, depth, axon, psf=psf, rayleigh=rayleigh)
        gaps = rng.gamma(2, spacing / 2, int(2 * len(points) * 0.5 / spacing) + 2)
        where = np.cumsum(gaps) / 0.5 + rng.uniform(-4, 0) * spacing
        where = where[(where >= 0) & (where < len(points))].astype(int)
        size = np.clip(width * rng.lognormal(0, 0.25, len(where)), 0.2 * width, 3 * width)
        peak = level[axon] * rng.lognormal(0, 0.5, len(where))
        stretch = rng.exponential(1.2, len(where)) * size  # boutons are longer along the axon
        for side in (-1, 0, 1):
            place = np.clip(where + np.round(side * stretch / 0.5).astype(int), 0, len(points) - 1)
            add_blobs(dots, points[place], size, peak / 2, depth[where], axon, psf=psf, rayleigh=rayleigh)


def add_blobs(dots, points, size, peak, depth, owner, *, psf, rayleigh):
    """Add small round things, such as boutons and dendrites cut across.

    Parameters
    ----------
    dots : Dots
    points : ndarray, (n, 2)
        (y, x) in pixels.
    size : ndarray or float
        Standard deviation of the thing itself in pixels.
    peak : ndarray or float
        Brightness of one that lies in the focal plane and is larger than the focus.
    depth : ndarray or float
        Distance from the focal plane in pixels.
    owner : ndarray or int
        Column of the matrix.
    psf, rayleigh : float
        Width at the waist and half depth of the focus in pixels.
    """
    focus = 1 + (np.asarray(depth) / rayleigh) ** 2
    sigma = np.sqrt(np.asarray(size) ** 2 + psf**2 * focus)
    dots.add(points, sigma, peak * (size / sigma) ** 2 / focus, owner)
