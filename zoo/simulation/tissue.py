"""What surrounds the cells of a two-photon scene: vessels, neuropil and neurites."""

import numpy as np
from scipy import ndimage, sparse

from calzoo.simulation import neurites, optics
from calzoo.simulation.activity import draw_spikes, indicator, relative_fluorescence, smooth_traces
from calzoo.simulation.fields import log_uniform
from calzoo.simulation.recordings import Layer

HOLES_PER_MM2 = 6  # vessels that cross the focal plane


def draw_vessels(rng, shape, um, area_mm2, *, capillaries, surface_vessels):
    """Draw blood vessels, which hold no indicator and shade what lies below them.

    Parameters
    ----------
    rng : numpy.random.Generator
    shape : tuple of int
        (H, W) in pixels.
    um : float
        Pixels in a micrometre.
    area_mm2 : float
        Area of the image.
    capillaries : float
        Capillaries per mm**2; a few wider vessels come with them.
    surface_vessels : int
        Large vessels above the focal plane.

    Returns
    -------
    lumen : ndarray of float32, (H, W)
        0..1: how far a pixel lies inside a vessel of the focal plane.
    clear : ndarray of float32, (H, W)
        0..1: part of the light that is left.
    """
    lumen = np.zeros(shape, np.float32)
    for _ in range(rng.poisson(capillaries * area_mm2)):
        radius = rng.uniform(1.3, 2.8) * um
        points, radii = optics.vessel_path(rng, shape, radius, length=rng.gamma(1.5, 15) * um + 1)
        _add_lumen(lumen, points, radii, rng.uniform(0.4, 1.2) * um, rng.uniform(0.15, 0.8))
    for _ in range(rng.poisson(HOLES_PER_MM2 * area_mm2 * (capillaries > 0))):
        radius = rng.uniform(4, 16) * um
        points, radii = optics.vessel_path(rng, shape, radius, length=rng.exponential(0.7) * radius + 1)
        _add_lumen(lumen, points, radii, 1.5 * um, 1.0)
    clear = 1 - lumen
    for _ in range(surface_vessels):
        radius = rng.uniform(8, 45) * um
        points, radii = optics.vessel_path(rng, shape, radius)
        depth = optics.draw_disks(shape, points, radii)
        clear *= 1 - rng.uniform(0.3, 0.9) * optics.soft_inside(depth, rng.uniform(1.5, 9) * um)
    return lumen, clear.astype(np.float32)


def _add_lumen(lumen, points, radii, blur, darkness):
    inside = optics.soft_inside(optics.draw_disks(lumen.shape, points, radii), blur)
    np.maximum(lumen, np.float32(darkness) * inside, out=lumen)


def draw_tissue(rng, shape, share, edge):
    """Draw where there is tissue: (H, W) float32, 0..1, with a soft edge of `edge` pixels."""
    if share >= 1:
        return np.ones(shape, np.float32)
    field = optics.random_field(rng, shape, 0.6 * min(shape))
    field += 0.1 * optics.random_field(rng, shape, 0.08 * min(shape))
    level = np.quantile(field, 1 - share)
    slope = max(float(np.abs(np.gradient(field)[0]).mean()), 1e-9)
    return optics.soft_inside((field - level) / slope, edge).astype(np.float32)


def draw_neuropil(rng, shape, frames, style, um, occupied, tissue):
    """Draw the light of unresolved neurites and its fluctuation.

    Parameters
    ----------
    rng : numpy.random.Generator
    shape : tuple of int
        (H, W) in pixels.
    frames : int
    style : TwoPhotonStyle
    um : float
        Pixels in a micrometre.
    occupied : ndarray of float32, (H, W)
        0..1: how much of the depth of focus is filled by cell bodies.
    tissue : ndarray of float32, (H, W)

    Returns
    -------
    Layer
        Source 0 is the mean, the others are modes from the whole field down to some micrometres.
    """
    still = optics.neuropil_texture(
        rng,
        shape,
        style.pixel_um,
        contrast=style.texture,
        fibres=style.fibres,
        angle=style.fibre_angle,
        filaments=style.filaments,
    )
    fine = still * (1 - 0.95 * occupied) * tissue
    wide = ndimage.gaussian_filter(tissue * (1 - 0.5 * occupied), 15 * um, mode="nearest")
    modes = [np.ones(shape, np.float32)]
    modes += [optics.random_field(rng, shape, 60 * um) for _ in range(3)]
    modes += [optics.random_field(rng, shape, 10 * um) for _ in range(4)]
    modes += [optics.random_field(rng, shape, max(2.5 * um, 1)) for _ in range(4)]
    weights = np.stack([fine + style.haze * wide] + [fine * mode for mode in modes])
    kind = indicator(style.indicator)
    traces = np.empty((len(weights), frames), np.float32)
    traces[0] = 1
    seconds = kind.decay_s * rng.uniform(0.5, 2, len(modes))
    for row, second in enumerate(seconds, 1):
        traces[row] = smooth_traces(rng, 1, frames, style.frame_rate_hz, second)[0]
    share = np.concatenate([[0.8], np.full(3, 0.3), np.full(4, 0.25), np.full(4, 0.2)])
    traces[1:] *= style.neuropil_activity * share[:, None].astype(np.float32)
    # No place may grow dark: the deepest dips of the sum are some three deviations.
    traces[1:] *= min(1.0, 0.3 / max(style.neuropil_activity, 1e-9))
    weights = np.ascontiguousarray(weights.reshape(len(weights), -1).T)
    return Layer(weights, traces * np.float32(style.neuropil_photons))


def draw_cell_neurites(rng, scene, somata, level, light):
    """Draw the dendrites of cells, and the bright dots of those that lie below the focal plane."""
    style, um = scene.style, scene.um
    dots = neurites.Dots()
    shining = np.flatnonzero(level > 0)
    chosen = shining[rng.random(len(shining)) < style.dendrite_share]
    neurites.add_dendrites(
        rng,
        dots,
        somata,
        chosen,
        number=3,
        length=style.dendrite_um * um,
        width=rng.uniform(0.3, 0.6) * um,
        level=level,
        **scene.focus,
    )
    below = shining[somata.depth[shining] > 0.8 * somata.radius[shining]]
    below = below[rng.random(len(below)) < 0.5]
    offset = rng.normal(0, 0.2, (len(below), 2)) * somata.radius[below, None]
    neurites.add_blobs(
        dots,
        np.stack([somata.y[below], somata.x[below]], axis=-1) + offset,
        rng.uniform(0.5, 1.1, len(below)) * um,
        level[below] * rng.uniform(0.3, 1.5, len(below)),
        rng.normal(0, 0.3, len(below)) * scene.focus["rayleigh"],
        below,
        **scene.focus,
    )
    weights = sparse.csr_array(dots.matrix(scene.shape, len(level)))
    return Layer(weights, light * np.float32(style.neuropil_photons))


def draw_axons(rng, scene):
    """Draw axons with boutons; each fires on its own."""
    style, um = scene.style, scene.um
    count = rng.poisson(style.axons * scene.area_mm2)
    dots = neurites.Dots()
    neurites.add_axons(
        rng,
        dots,
        scene.shape,
        count,
        length=rng.uniform(8, 60) * um,
        spacing=log_uniform(rng, 3, 15) * um,
        width=rng.uniform(0.25, 0.6) * um,
        level=style.axon_level * rng.lognormal(0, 0.7, count),
        angle=style.fibre_angle,
        spread=rng.uniform(0.3, 2.5),
        steepness=log_uniform(rng, 0.05, 0.6),
        **scene.focus,
    )
    return _firing(rng, scene, dots, count, share=rng.uniform(0.3, 1), busier=2.0)


def draw_dendrites(rng, scene):
    """Draw dendrites that pass through the focal plane and dendrites that are cut across."""
    style, um = scene.style, scene.um
    passing = rng.poisson(style.passing * scene.area_mm2)
    across = rng.poisson(style.apicals * scene.area_mm2)
    level = style.dendrite_level * rng.lognormal(0, 0.5, passing + across)
    dots = neurites.Dots()
    for owner in range(passing):
        start = rng.uniform(-0.1, 1.1, 2) * scene.shape
        length = rng.gamma(2, 25) * um + 2
        path = optics.smooth_path(rng, start, rng.uniform(0, 2 * np.pi), length, wander=0.2)
        depth = neurites.depth_walk(rng, len(path), 0.5, rng.normal(0, 2) * um, rng.normal(0, 0.25), 0.05)
        width = log_uniform(rng, 0.12, 0.7) * um
        neurites.add_line(dots, path, width, level[owner], depth, owner, **scene.focus)
    neurites.add_blobs(
        dots,
        rng.uniform(0, 1, (across, 2)) * scene.shape,
        rng.uniform(0.5, 1.4, across) * um,
        level[passing:],
        rng.normal(0, 0.5, across) * scene.focus["rayleigh"],
        passing + np.arange(across),
        **scene.focus,
    )
    return _firing(rng, scene, dots, passing + across, share=style.active, busier=1.0)


def _firing(rng, scene, dots, count, *, share, busier):
    """Return a layer of neurites of which a share fires, more often than the cells by `busier`."""
    style = scene.style
    spikes = draw_spikes(
        rng,
        count,
        scene.frames + scene.warm_up,
        style.frame_rate_hz,
        rate_hz=style.rate_hz * busier,
        rate_spread=style.rate_spread,
        burst_size=style.burst_size,
        synchrony=style.synchrony,
    )
    spikes[rng.random(count) >= share] = 0
    light = relative_fluorescence(spikes, scene.indicator, style.frame_rate_hz)[:, scene.warm_up :]
    weights = sparse.csr_array(dots.matrix(scene.shape, count))
    return Layer(weights, light * np.float32(style.neuropil_photons))
