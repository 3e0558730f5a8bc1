"""Tissue to cut registration pairs from: random shapes, simulated recordings, means of real frames."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from calzoo.simulation.fields import log_uniform
from calzoo.simulation.two_photon import simulate_two_photon

#: Samples of a scene per pixel of a frame: reading in between hardly blurs.
FINENESS = 2


@dataclass(frozen=True)
class Scene:
    """Light of a still piece of tissue.

    Attributes
    ----------
    light : ndarray of float32, (H, W)
        Median 1; `FINENESS` samples per pixel.
    cells : ndarray of int16, (H, W), or None
        Number of the cell that each sample belongs to, 0 where there is none.
    """

    light: np.ndarray
    cells: np.ndarray | None = None


def draw_scene(rng, size, kinds):
    """Draw a scene.

    Parameters
    ----------
    rng : numpy.random.Generator
    size : int
        Side in pixels of a frame.
    kinds : mapping of str to float
        How often each kind is drawn: "shapes" (`shapes_scene`), "simulation" (`simulated_scene`).

    Returns
    -------
    Scene
    """
    shares = np.array(list(kinds.values()), float)
    kind = str(rng.choice(list(kinds), p=shares / shares.sum()))
    return {"shapes": shapes_scene, "simulation": simulated_scene}[kind](rng, size)


def shapes_scene(rng, size):
    """Draw cells, fibres and clouds of random kinds, nothing like any tissue in particular.

    Parameters
    ----------
    rng : numpy.random.Generator
    size : int
        Side in pixels of a frame.

    Returns
    -------
    Scene
    """
    side = FINENESS * size
    light = _clouds(rng, side)
    cells = np.zeros((side, side), np.int16)
    radius = log_uniform(rng, 2.0, 11.0)
    count = int(rng.uniform(0.02, 0.35) * size**2 / (np.pi * radius**2))
    strength = log_uniform(rng, 0.3, 4.0)
    look = rng.uniform(0, 1, 3)
    for number in range(1, count + 1):
        _draw_cell(rng, light, cells, number, FINENESS * radius, strength, look)
    if rng.random() < 0.6:
        _draw_fibres(rng, light, rng.integers(5, 80))
    if rng.random() < 0.4:
        _cast_vessels(rng, light)
    light = ndimage.gaussian_filter(light, FINENESS * rng.uniform(0.4, 1.3))
    return Scene(_levelled(rng, light), cells)


def simulated_scene(rng, size):
    """Draw the tissue of a simulated two-photon recording, without motion or noise.

    Parameters
    ----------
    rng : numpy.random.Generator
    size : int
        Side in pixels of a frame.

    Returns
    -------
    Scene
    """
    recording = simulate_two_photon([int(rng.integers(2**31))], (2, size, size))
    light = recording.scene(0, 1)[0]
    margin = recording.margin
    light = light[margin : margin + size, margin : margin + size]
    light = ndimage.zoom(light, FINENESS, order=3, mode="reflect", grid_mode=True)
    cells = np.zeros((size, size), np.int16)
    for number, index in enumerate(np.flatnonzero(recording.cells.visible), 1):
        rows, columns = recording.cells.masks[index]
        cells[rows, columns] = number
    return Scene(_levelled(rng, light), cells.repeat(FINENESS, 0).repeat(FINENESS, 1))


def mean_scene(frames):
    """Take the mean of a few frames that hardly move as a scene.

    Parameters
    ----------
    frames : ndarray, (n, H, W)

    Returns
    -------
    Scene
    """
    mean = ndimage.gaussian_filter(np.mean(frames, axis=0, dtype=np.float32), 0.7)
    fine = ndimage.zoom(mean, FINENESS, order=3, mode="reflect", grid_mode=True)
    return Scene(_scaled(fine))


def _clouds(rng, side):
    """Return neuropil: noise with more power at some scales than at others."""
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)) * FINENESS + 1e-3
    spectrum = np.fft.rfft2(rng.standard_normal((side, side), np.float32))
    falling = frequency ** -rng.uniform(0.3, 1.6)
    band = np.exp(-0.5 * (np.log(frequency / log_uniform(rng, 0.02, 0.3)) / 0.6) ** 2)
    texture = [np.fft.irfft2(spectrum * weight, (side, side)) for weight in (falling, band)]
    mixed = sum(rng.uniform(0, 1) * t / t.std() for t in texture)
    return (1 + rng.uniform(0.02, 0.35) * mixed / mixed.std()).astype(np.float32)


def _draw_cell(rng, light, cells, number, radius, strength, look):
    """Add one cell, a more or less round body with a more or less dark nucleus."""
    size = radius * rng.uniform(0.7, 1.4)
    half = int(2 * size) + 2
    y, x = rng.integers(-half // 2, light.shape[0] + half // 2, 2)
    rows = np.arange(max(y - half, 0), min(y + half + 1, light.shape[0]))
    columns = np.arange(max(x - half, 0), min(x + half + 1, light.shape[1]))
    if not len(rows) or not len(columns):
        return
    angle, longer = rng.uniform(0, np.pi), rng.uniform(1, 1.5)
    dy, dx = (rows - y)[:, None].astype(np.float32), (columns - x).astype(np.float32)
    along, across = dy * np.cos(angle) + dx * np.sin(angle), dx * np.cos(angle) - dy * np.sin(angle)
    distance = np.sqrt((along / longer) ** 2 + (across * longer) ** 2) / size
    body = np.clip((1 - distance) * size, 0, 1)
    nucleus = np.clip((0.4 + 0.4 * look[0] - distance) * size, 0, 1)
    place = np.ix_(rows, columns)
    light[place] += strength * rng.lognormal(0, 0.2 + 0.6 * look[1]) * (body - look[2] * nucleus)
    cells[place] = np.where(body > 0.5, number % 32767, cells[place])


def _draw_fibres(rng, light, count):
    """Add thin bright lines with turns."""
    side = light.shape[0]
    layer = np.zeros_like(light)
    for _ in range(count):
        steps = int(rng.uniform(20, 300) * FINENESS)
        heading = rng.uniform(0, 2 * np.pi) + np.cumsum(rng.normal(0, 0.04, steps))
        y = rng.uniform(0, side) + np.cumsum(np.sin(heading))
        x = rng.uniform(0, side) + np.cumsum(np.cos(heading))
        inside = (y >= 0) & (y < side) & (x >= 0) & (x < side)
        layer[y[inside].astype(int), x[inside].astype(int)] += rng.uniform(0.3, 2)
    light += ndimage.gaussian_filter(layer, FINENESS * rng.uniform(0.4, 1.2)) * rng.uniform(1, 6)


def _cast_vessels(rng, light):
    """Darken bands: vessels hold no indicator."""
    side = light.shape[0]
    y, x = np.mgrid[:side, :side].astype(np.float32)
    for _ in range(rng.integers(1, 5)):
        angle, offset = rng.uniform(0, np.pi), rng.uniform(0, side)
        bend = rng.uniform(5, 40) * FINENESS * np.sin(2 * np.pi * y / (side * rng.uniform(0.5, 2)))
        distance = np.abs(
            (x - side / 2) * np.cos(angle) + (y - side / 2) * np.sin(angle) + bend + side / 2 - offset
        )
        width = FINENESS * rng.uniform(2, 12)
        light *= 1 - rng.uniform(0.3, 0.95) * 0.5 * (1 - np.tanh((distance - width) / (2 * FINENESS)))


def _levelled(rng, light):
    """Add stray light, so that contrasts are of all strengths, and scale the median to 1."""
    light = np.clip(light, 0.02, None)
    return _scaled(light + rng.uniform(0, 0.8) ** 2 * np.median(light))


def _scaled(light):
    return (light / max(float(np.median(light)), 1e-3 * float(light.max()), 1e-6)).astype(np.float32)
