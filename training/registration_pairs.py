"""Registration pairs: a template, and a frame of tissue that has moved, with the motion known exactly.

``frame(y) = tissue(y + motion(y))``, template(y) = tissue(y). Both are read from a scene that is larger
than they are, so that what moves in at the edge is tissue.
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from calzoo.simulation.fields import log_uniform
from calzoo.training.registration_scenes import FINENESS

_CELL = 8  # pixels: smooth fields are drawn this coarsely and interpolated


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """What pairs look like; each pair of numbers is the range that a value is drawn from.

    Attributes
    ----------
    photons : tuple of float
        Of the frame, median per pixel; log-uniform.
    averaged : tuple of float
        Frames that the template is the mean of; log-uniform.
    zoom : tuple of float
        Scale of the tissue; log-uniform.
    peak_px, sigma_px : tuple of float
        Longest vector and smoothness (log-uniform) of the deformation.
    steepest : float
        The longest vector is at most this part of the smoothness, so that tissue never folds.
    rigid_px : float
        Largest rigid displacement along each axis; most are a seventh of it at most.
    start_px : float
        Standard deviation of the error of the rigid displacement that is handed to the network.
    jitter : float
        Share of pairs whose scan lines are displaced.
    jitter_px : float
        By up to how much, a standard deviation.
    activity : float
        Share of pairs in which cells have changed their brightness.
    """

    photons: tuple = (0.3, 30.0)
    averaged: tuple = (8.0, 300.0)
    zoom: tuple = (0.75, 1.4)
    peak_px: tuple = (0.0, 8.0)
    sigma_px: tuple = (16.0, 110.0)
    steepest: float = 0.2
    rigid_px: float = 24.0
    start_px: float = 0.6
    jitter: float = 0.5
    jitter_px: float = 1.0
    activity: float = 0.85


@dataclass(frozen=True)
class Pair:
    """One problem and its solution.

    Attributes
    ----------
    frame, template : ndarray of float32, (Y, X)
        Intensities in the same units.
    shift : ndarray of float32, (2,)
        Rigid displacement (dy, dx) in pixels to begin with, as registration has it: minus the motion.
    motion : ndarray of float32, (Y, X, 2)
        ``frame(y) = template(y + motion(y))``, (dy, dx) in pixels.
    known : ndarray of bool, (Y, X)
        Where the frame shows tissue that is in the template.
    """

    frame: np.ndarray
    template: np.ndarray
    shift: np.ndarray
    motion: np.ndarray
    known: np.ndarray


def draw_pair(rng, scene, size, conditions):
    """Draw a pair from a scene.

    Parameters
    ----------
    rng : numpy.random.Generator
    scene : Scene
    size : int
        Side of both pictures in pixels.
    conditions : Conditions

    Returns
    -------
    Pair
    """
    motion = draw_motion(rng, size, conditions)
    place = _Placement(rng, scene.light.shape, size, log_uniform(rng, *conditions.zoom))
    grid = np.indices((size, size), np.float32)
    still, moved = place(grid[0], grid[1]), place(grid[0] + motion[..., 0], grid[1] + motion[..., 1])
    template, frame = (_look(scene.light, *where) for where in (still, moved))
    if rng.random() < conditions.activity:
        template = template * _activity(rng, scene, still, 0.4)
        frame = frame * _activity(rng, scene, moved, 1.0)
    if rng.random() < 0.25:
        template = ndimage.gaussian_filter(template, rng.uniform(0, 0.8))  # motion within it
    seen = _illumination(rng, size)
    photons = log_uniform(rng, *conditions.photons) / max(float(np.median(template * seen)), 0.05)
    template = _detected(rng, template * seen * photons, log_uniform(rng, *conditions.averaged), still=True)
    gain = np.exp(rng.normal(0, 0.12))
    frame = _detected(rng, frame * seen * photons * gain, 1)
    y, x = grid[0] + motion[..., 0], grid[1] + motion[..., 1]
    return Pair(
        frame=frame,
        template=template,
        shift=_start(rng, motion, conditions),
        motion=motion,
        known=(y >= 0) & (y <= size - 1) & (x >= 0) & (x <= size - 1),
    )


def draw_motion(rng, size, conditions):
    """Draw the motion of a frame.

    Returns
    -------
    ndarray of float32, (size, size, 2)
        (dy, dx) in pixels: a smooth field, a rigid displacement and, in some, displacements of lines.
    """
    sigma = log_uniform(rng, *conditions.sigma_px)
    peak = min(rng.uniform(*conditions.peak_px), conditions.steepest * sigma)
    motion = _smooth_field(rng, size, sigma) * peak
    if rng.random() < 0.3:
        motion = motion + _smooth_field(rng, size, 0.5 * sigma) * (0.3 * peak)  # less steep
    motion = motion + rng.uniform(-1, 1, 2) * conditions.rigid_px * rng.choice([0.15, 1.0], p=[0.7, 0.3])
    if rng.random() < conditions.jitter:
        motion = motion + _line_motion(rng, size, conditions.jitter_px)[:, None]
    return motion.astype(np.float32)


def _smooth_field(rng, size, sigma):
    """Return a random field, (size, size, 2), whose longest vector has length 1."""
    cells = size // _CELL + 2
    coarse = rng.standard_normal((cells, cells, 2))
    coarse = ndimage.gaussian_filter(coarse, (sigma / _CELL, sigma / _CELL, 0), mode="reflect", truncate=3)
    at = (np.arange(size) + 0.5) / _CELL + 0.5
    weights = _cubic(at, cells)
    field = np.einsum("yi,ijc,xj->yxc", weights, coarse, weights, optimize=True)
    return field / max(np.sqrt((field**2).sum(-1)).max(), 1e-9)


def _cubic(at, count):
    """Return the matrix of a cubic (Catmull-Rom) interpolation of `count` values at positions."""
    matrix = np.zeros((len(at), count))
    whole = np.floor(at).astype(int)
    t = at - whole
    weights = (
        (-t + 2 * t**2 - t**3) / 2,
        (2 - 5 * t**2 + 3 * t**3) / 2,
        (t + 4 * t**2 - 3 * t**3) / 2,
        (-(t**2) + t**3) / 2,
    )
    for step, weight in zip((-1, 0, 1, 2), weights, strict=True):
        np.add.at(matrix, (np.arange(len(at)), np.clip(whole + step, 0, count - 1)), weight)
    return matrix


def _line_motion(rng, size, largest):
    """Return displacements of scan lines, (size, 2): trembling along x, less along y, or slow sway."""
    lines = np.zeros((size, 2))
    if rng.random() < 0.75:
        memory = rng.uniform(0.7, 0.98)
        walk = rng.standard_normal((size + 64, 2))
        for row in range(1, len(walk)):
            walk[row] = memory * walk[row - 1] + np.sqrt(1 - memory**2) * walk[row]
        lines += walk[64:] * rng.uniform(0, largest) * np.array([rng.choice([0.0, rng.uniform(0, 0.6)]), 1.0])
    if rng.random() < 0.5:
        sway = ndimage.gaussian_filter1d(rng.standard_normal((size + 100, 2)), rng.uniform(8, 50), axis=0)[
            50:-50
        ]
        lines += sway / (np.abs(sway).max() + 1e-9) * rng.uniform(0, 1.5 * largest, 2)
    return lines


def _start(rng, motion, conditions):
    """Return the rigid displacement as a search would find it: mostly near, at times pixels off."""
    error = rng.normal(0, conditions.start_px * rng.choice([1.0, 4.0], p=[0.9, 0.1]), 2)
    return (error - motion.mean((0, 1))).astype(np.float32)


class _Placement:
    """Where the pixels of a pair lie in a scene: turned, mirrored, scaled and moved."""

    def __init__(self, rng, shape, size, zoom):
        angle = rng.uniform(0, 2 * np.pi)
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        turn[0] *= rng.choice([-1, 1])
        self.matrix = turn * FINENESS / zoom
        self.middle = (size - 1) / 2
        spare = [max(side - FINENESS * size / zoom, 0) / 2 for side in shape]
        self.centre = [side / 2 + rng.uniform(-s, s) for side, s in zip(shape, spare, strict=True)]

    def __call__(self, y, x):
        y, x = y - self.middle, x - self.middle
        return [
            (row[0] * y + row[1] * x + centre).astype(np.float32)
            for row, centre in zip(self.matrix, self.centre, strict=True)
        ]


def _look(image, y, x, order=1):
    return ndimage.map_coordinates(image, [y, x], order=order, mode="mirror", prefilter=False)


def _activity(rng, scene, where, strength):
    """Return by how much each pixel is brighter than at rest: cells of the scene, and spots anywhere."""
    gain = np.ones(where[0].shape, np.float32)
    if scene.cells is not None and rng.random() < 0.8:
        count = int(scene.cells.max()) + 1
        active = rng.random(count) < rng.uniform(0.02, 0.3)
        brighter = 1 + active * rng.lognormal(0, 0.7, count) * strength * rng.uniform(0.3, 1.5)
        brighter[0] = 1
        gain = brighter.astype(np.float32)[_look(scene.cells, *where, order=0)]
    if rng.random() < 0.7:
        shape = [side // 8 for side in scene.light.shape]
        spots = (rng.random(shape) < rng.uniform(0.002, 0.02)).astype(np.float32)
        spots = ndimage.gaussian_filter(spots, rng.uniform(0.5, 1.6))
        spots = np.clip(spots / max(np.percentile(spots, 99.5), 1e-6), 0, 1)
        gain = gain * (1 + strength * rng.uniform(0, 1.2) * _look(spots, *(w / 8 for w in where)))
    return gain


def _illumination(rng, size):
    """Return what part of the light is seen; it does not move with the tissue."""
    if rng.random() < 0.5:
        return np.float32(1)
    y, x = np.meshgrid(*2 * [np.linspace(-1, 1, size, dtype=np.float32)], indexing="ij")
    tilt, bend = rng.uniform(-0.25, 0.25, 2), rng.uniform(0, 0.35)
    return np.clip(1 + tilt[0] * y + tilt[1] * x - bend * (y**2 + x**2), 0.15, None)


def _detected(rng, light, frames, *, still=False):
    """Return a picture with the noise of photons, of their amplification and of the electronics."""
    spread = 1.0 if rng.random() < 0.6 else rng.uniform(1.0, 2.0)
    frames = frames / spread
    picture = rng.poisson(np.clip(light, 0, None) * frames) / frames
    if not still and rng.random() < 0.4:
        picture = picture + rng.normal(0, rng.uniform(0, 0.5) * np.sqrt(np.median(light) + 0.1), light.shape)
    if not still and rng.random() < 0.15:
        lines = rng.standard_normal((light.shape[0], 1)) * rng.uniform(0, 0.15)
        picture = picture + lines * np.median(light)
    return picture.astype(np.float32)
