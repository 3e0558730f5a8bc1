"""What surrounds axons in tissue: background, bodies that are no axons, haze, edges."""

import numpy as np
from scipy import ndimage
from scipy.special import expit

from calzoo.simulation.axon_geometry import walk
from calzoo.simulation.axon_microscopes import psf_sigma
from calzoo.simulation.axon_painting import Samples, paint_light
from calzoo.simulation.fields import enlarge, smooth_field


def draw_tissue(rng, shape, style):
    """Draw how much tissue signal each place has, with a border between two regions or none.

    Returns
    -------
    ndarray of float32, (Z, Y, X)
        1 in the first region, ``boundary_level`` in the second (0: a ventricle, or the
        space outside of the brain).
    """
    tissue = np.ones(shape, np.float32)
    if style["boundary_level"] == 1:
        return tissue
    a = style["anisotropy"]
    normal = rng.standard_normal(3) * [0.5, 1, 1]
    normal /= np.linalg.norm(normal)
    centre = rng.uniform(0.1, 0.9, 3) * shape
    z, y, x = (np.arange(side, dtype=np.float32) - c for side, c in zip(shape, centre, strict=True))
    height = normal[0] * a * z[:, None, None] + normal[1] * y[:, None] + normal[2] * x
    height = height.astype(np.float32) + 12 * smooth_field(rng, shape, (40 / a, 50, 50))
    width = np.float32(rng.uniform(0.7, 8))
    return style["boundary_level"] + (1 - style["boundary_level"]) * expit(height / width)


def draw_background(rng, shape, style):
    """Draw the fluorescence of the tissue between axons, 1 on average.

    Returns
    -------
    ndarray of float32, (Z, Y, X)
        Three scales of texture, pierced by dark cells and vessels.
    """
    a = style["anisotropy"]
    texture = style["texture"] * smooth_field(rng, shape, (30 / a, 60, 60))
    texture += style["texture"] / 2 * smooth_field(rng, shape, (12 / a, 12, 12))
    grain = style["grain"] * smooth_field(rng, shape, (4 / a, 3, 3))
    background = np.exp(texture) * np.maximum(1 + grain, 0.05)
    parts = []
    if style["dark_cells"]:
        parts.append(_cells(rng, shape, style, style["dark_cells"], (0.5, 1.0)))
    if style["dark_vessels"]:
        parts.append(_vessels(rng, shape, style, style["dark_vessels"]))
    if parts:
        holes = Samples.concatenate(parts)
        dark = np.minimum(paint_light(holes, shape, anisotropy=a), 1)
        dark = ndimage.gaussian_filter(dark, psf_sigma(style), truncate=2.5)
        background *= 1 - np.float32(style["darkness"]) * dark
    return background


def draw_bodies(rng, shape, style):
    """Draw bright bodies that are no axons: cells, granules and vessels.

    Returns
    -------
    ndarray of float32, (Z, Y, X)
        1 is as bright as a typical axon.
    """
    a = style["anisotropy"]
    light = np.zeros(shape, np.float32)
    parts = []
    if style["cells"]:
        parts.append(_cells(rng, shape, style, style["cells"], (0.2, 3.0)))
    if style["granules"]:
        parts.append(_granules(rng, shape, style))
    if parts:
        light += paint_light(Samples.concatenate(parts), shape, anisotropy=a)
    for _ in range(style["vessels"]):
        vessel = _vessels(rng, shape, style, 1)
        wall = paint_light(vessel, shape, anisotropy=a)
        if rng.random() < 0.5:  # only the wall shines
            lumen = Samples(**{**vars(vessel), "radius": 0.75 * vessel.radius})
            wall = np.maximum(wall - 0.9 * paint_light(lumen, shape, anisotropy=a), 0)
        light += np.float32(rng.uniform(0.15, 0.9)) * wall
    return light


def draw_haze(rng, shape, style):
    """Draw the light of axons that are out of focus: broad, dim bands.

    Returns
    -------
    ndarray of float32, (Z, Y, X)
        Its brightest places are about 1.
    """
    a, coarse = style["anisotropy"], 4
    grid = tuple(-(-side // coarse) + 1 for side in shape[1:])
    size = np.array(shape) * [a, 1, 1]
    number = int(rng.integers(4, 40))
    start = rng.uniform(-0.3, 1.3, (number, 3)) * size
    heading = rng.standard_normal(3) + style["alignment"] * rng.standard_normal((number, 3))
    heading *= [style["slope"], 1, 1]
    heading /= np.linalg.norm(heading, axis=1, keepdims=True)
    both = np.concatenate([heading, -heading])
    path = walk(rng, np.tile(start, (2, 1)), both, 120, step=3.0, tortuosity=0.5, flatness=0.5, bend=30)
    voxel = np.rint(path.reshape(-1, 3) / [a, coarse, coarse]).astype(int)
    voxel = voxel[np.all((voxel >= 0) & (voxel < [shape[0], *grid]), axis=1)]
    light = np.zeros((shape[0], *grid), np.float32)
    np.add.at(light, tuple(voxel.T), 1)
    broad = rng.uniform(4, 16)
    light = ndimage.gaussian_filter(light, (2 * broad / a, broad / coarse, broad / coarse), truncate=2.5)
    light /= max(np.percentile(light, 99.5), 1e-6)
    return enlarge(light, shape)


def _spread(rng, shape, style, density, least=1):
    """Draw positions in pixels: `density` bodies per million cubic pixels, and their margin."""
    size = np.array(shape) * [style["anisotropy"], 1, 1]
    number = max(rng.poisson(density * size.prod() / 1e6), least)
    return rng.uniform(-5, size + 5, (min(number, 20_000), 3))


def _as_samples(position, radius, brightness):
    """Return samples that are no axon."""
    number = len(position)
    return Samples(
        position.astype(np.float32),
        np.broadcast_to(radius, number).astype(np.float32),
        np.broadcast_to(brightness, number).astype(np.float32),
        np.zeros(number, np.int32),
        np.zeros(number, bool),
    )


def _cells(rng, shape, style, density, brightness):
    """Draw cell bodies, each of a few overlapping spheres."""
    centre = _spread(rng, shape, style, density)
    number, lobes = len(centre), 4
    radius = style["cell_radius_px"] * np.exp(0.25 * rng.standard_normal(number))
    level = np.exp(rng.uniform(*np.log(brightness), number))
    shift = rng.standard_normal((lobes, number, 3)) * (0.4 * radius)[:, None]
    size = radius * rng.uniform(0.6, 1.0, (lobes, number))
    return _as_samples((centre + shift).reshape(-1, 3), size.ravel(), np.tile(level, lobes))


def _granules(rng, shape, style):
    """Draw small round spots, when blurred as bright as axons but not long."""
    position = _spread(rng, shape, style, style["granules"])
    number = len(position)
    radius = np.maximum(style["diameter_px"] / 2 * rng.uniform(0.5, 1.3, number), 0.6)
    level = np.exp(0.7 * rng.standard_normal(number) - 0.3)
    # Blur spreads the light of a spot in all directions, and must not hide it.
    depth = np.maximum(radius, 0.55 * style["anisotropy"])
    kept = (radius / np.hypot(radius, 1.4 * style["psf_px"])) ** 2
    kept *= depth / np.hypot(depth, 1.4 * style["psf_axial_px"])
    return _as_samples(position, radius, level / kept)


def _vessels(rng, shape, style, number):
    """Draw wide tubes, at least two and a half times as wide as axons."""
    size = np.array(shape) * [style["anisotropy"], 1, 1]
    start = rng.uniform(0, 1, (number, 3)) * size
    heading = rng.standard_normal((number, 3)) * [0.5, 1, 1]
    heading /= np.linalg.norm(heading, axis=1, keepdims=True)
    radius = style["diameter_px"] / 2 * rng.uniform(2.5, 5, number) + 2
    step = float(radius.min() / 3)
    steps = int(np.linalg.norm(size) / step)
    both = np.concatenate([heading, -heading])
    path = walk(rng, np.tile(start, (2, 1)), both, steps, step=step, tortuosity=0.5, flatness=0.3, bend=40)
    radius = np.broadcast_to(np.tile(radius, 2), path.shape[:2])
    return _as_samples(path.reshape(-1, 3), radius.ravel(), 1.0)
