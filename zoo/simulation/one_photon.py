"""One-photon (miniscope) movies of neurons with the truth for every cell and frame."""

from dataclasses import replace

import numpy as np
from scipy import ndimage, sparse

from calzoo.simulation import cells as bodies
from calzoo.simulation import neurites, optics
from calzoo.simulation.activity import (
    draw_spikes,
    indicator,
    relative_fluorescence,
    smooth_traces,
    spline_basis,
)
from calzoo.simulation.looks import measured_look
from calzoo.simulation.motion import draw_motion
from calzoo.simulation.noise import Detector
from calzoo.simulation.one_photon_style import draw_one_photon_style
from calzoo.simulation.recordings import Layer, Recording, checked_shape, seed_words
from calzoo.simulation.truth import cell_layers, finish_truth
from calzoo.simulation.two_photon_style import replaced


def simulate_one_photon(seed, shape=(500, 256, 256), *, style=None, **parameters):
    """Simulate a one-photon recording of neurons.

    Parameters
    ----------
    seed : int or sequence of int
        The same seed gives the same recording.
    shape : tuple of int, optional
        (T, H, W): frames, rows and columns.
    style : OnePhotonStyle or str, optional
        The parameters, or a look for `draw_one_photon_style`; absent, both are drawn.
    **parameters
        Values in place of those of the style, by the names of `OnePhotonStyle`.

    Returns
    -------
    Recording
        Frames are drawn when they are read.

    Raises
    ------
    CalzooError
        If `seed`, `shape`, `style` or a parameter is not legal.

    Examples
    --------
    >>> recording = simulate_one_photon(0, (20, 64, 64), style="df")
    >>> recording.shape, recording.dtype
    ((20, 64, 64), dtype('uint8'))
    """
    words = seed_words(seed)
    shape = checked_shape(shape)
    rng = np.random.default_rng([*words, 0])
    if style is None or isinstance(style, str):
        style = draw_one_photon_style(rng, style, **parameters)
    else:
        style = replaced(style, parameters)
    return _record(_Scene(rng, shape, style), words)


class _Scene:
    """Tissue under the lens; lengths are pixels of the scene, which is larger than a frame."""

    def __init__(self, rng, shape, style):
        self.rng = rng
        self.style = style
        self.frames = shape[0]
        self.frame_shape = shape[1:]
        self.um = 1 / style.pixel_um  # pixels in a micrometre
        self.motion = _motion(rng, shape, style)
        reach = int(np.ceil(style.residual * self.motion.reach))
        # Cells beyond the edge reach into the frame, with motion or without.
        self.margin = int(np.ceil(max(reach + 1, style.cell_um * self.um))) + 1
        self.shape = tuple(side + 2 * self.margin for side in self.frame_shape)
        self.area_mm2 = self.shape[0] * self.shape[1] * (style.pixel_um / 1000) ** 2
        kind = indicator(style.indicator)
        self.indicator = replace(kind, amplitude=kind.amplitude * style.response)
        self.warm_up = int(np.ceil(4 * kind.decay_s * style.frame_rate_hz))


def _motion(rng, shape, style):
    um = 1 / style.pixel_um
    return draw_motion(
        rng,
        shape[0],
        shape[1:],
        style.frame_rate_hz,
        drift=style.drift_um * um,
        jitter=style.jitter_um * um,
        burst=style.burst_um * um,
        bursts_per_minute=style.bursts_per_minute,
        deformation=style.deformation_um * um,
        row_jitter=0.0,
        limit=0.15 * min(shape[1:]),
        scanned=False,
    )


def _record(scene, words):
    """Draw everything that is in the scene and return the recording."""
    rng, style = scene.rng, scene.style
    thickness, rim = _vessels(scene)
    clear = np.exp(-thickness)
    somata = _draw_somata(scene)
    images, blur = _image(scene, somata)
    level = style.cell_level * np.exp(rng.normal(0, style.level_spread, len(somata)))
    # Light from below is lost on the way: depth is counted from the highest cell.
    level *= np.exp(-(somata.depth * style.pixel_um + style.depth_um) / style.scatter_um)
    photons = (level * style.background_photons).astype(np.float32)
    spikes, light = _activity(scene, len(somata))
    layers = {
        "background": _background(scene),
        "halo": _halo(scene, somata, photons[:, None] * light),
        "neurites": _neurites(scene, somata, photons, light),
        "spots": _spots(scene),
    }
    layers = {name: _shade(layer, clear) for name, layer in layers.items()}
    images.data *= clear.ravel()[images.indices]
    facts, of_cells = cell_layers(
        images,
        images,
        light,
        photons,
        covered=np.ones(scene.frame_shape, bool),
        margin=scene.margin,
        spikes=spikes,
        depths_um=somata.depth * style.pixel_um,
        in_focus=blur < 0.8 * somata.radius,
    )
    absorption = _absorption(scene, thickness, rim)
    return _assemble(scene, words, facts, layers | of_cells, absorption)


def _assemble(scene, words, facts, layers, absorption):
    """Add bleaching, illumination, camera and preprocessing."""
    rng, style = scene.rng, scene.style
    bleaching = _bleaching(rng, scene.frames, style)
    layers = {name: Layer(layer.weights, layer.traces * bleaching) for name, layer in layers.items()}
    illumination, glow = _optics(scene)
    recording = Recording(
        seed=words,
        frame_rate_hz=style.frame_rate_hz,
        pixel_um=(style.pixel_um, style.pixel_um),
        style=style,
        cells=None,
        layers=layers,
        motion=scene.motion,
        margin=scene.margin,
        illumination=illumination,
        glow=glow,
        detector=Detector(gain=style.gain, offset=style.offset, read_noise=style.read_noise, bits=style.bits),
        columns=style.column_noise * rng.standard_normal(scene.frame_shape[1], dtype=np.float32),
        absorption=absorption,
        residual=style.residual,
    )
    facts = facts | {"traces": layers["cells"].traces}
    truth = finish_truth(facts, recording.mean_background(), illumination, glow, recording.detector)
    recording = replace(recording, cells=truth)
    if style.look == "raw" and style.smoothing_px == 0:
        return recording
    ratio = np.sqrt(style.smoothing_aspect)
    smoothing = (style.smoothing_px / ratio, style.smoothing_px * ratio)
    opening = max(int(1.6 * style.cell_um * scene.um) | 1, 3)
    return replace(recording, look=measured_look(recording, style.look, smoothing, opening))


def _draw_somata(scene):
    rng, style = scene.rng, scene.style
    field = optics.random_field(rng, scene.shape, 80 * scene.um)
    weight = np.clip(1 - style.patchiness + style.patchiness / (1 + np.exp(-3 * field)), 0, 1)
    half_depth = max(style.depth_um, 1.0) * scene.um
    density = style.density * (style.pixel_um / 1000) ** 2 / (2 * half_depth)
    diameter = style.cell_um * scene.um
    points = bodies.scatter_cells(rng, scene.shape, half_depth, density, 0.8 * diameter, weight)
    size = np.clip(rng.normal(0, style.cell_spread, len(points)), -0.6, 0.6)
    return bodies.draw_somata(
        rng,
        points,
        0.5 * diameter * np.exp(size),
        roundness=style.roundness,
        nucleus_ratio=0.5,
        nucleus_level=1.0,
        filled_share=1.0,
        apex_share=0.2,
    )


def _image(scene, somata):
    """Return the blurred images (P, N) of the cells, whole bodies being 1, and the blur (N,) in pixels."""
    style, um = scene.style, scene.um
    blur = np.hypot(style.psf_um * um, style.defocus * np.abs(somata.depth))
    if not len(somata):
        return sparse.csc_array((scene.shape[0] * scene.shape[1], 0), dtype=np.float32), blur
    # Cells of like blur are imaged together, so that sharp ones get small patches.
    group = np.round(np.log2(blur) * 3).astype(int)
    parts, order = [], []
    for value in np.unique(group):
        which = np.flatnonzero(group == value)
        parts.append(bodies.image_flat(somata.select(which), scene.shape, float(blur[which].mean())))
        order.append(which)
    images = sparse.hstack(parts, format="csc")
    return images[:, np.argsort(np.concatenate(order))], blur


def _activity(scene, count):
    """Return the spikes (N, T) and F / F0 (N, T) of all cells."""
    rng, style = scene.rng, scene.style
    spikes = draw_spikes(
        rng,
        count,
        scene.frames + scene.warm_up,
        style.frame_rate_hz,
        rate_hz=style.rate_hz,
        rate_spread=style.rate_spread,
        burst_size=style.burst_size,
        synchrony=style.synchrony,
    )
    spikes[rng.random(count) >= style.active] = 0
    light = relative_fluorescence(spikes, scene.indicator, style.frame_rate_hz)
    return spikes[:, scene.warm_up :], light[:, scene.warm_up :]


def _background(scene):
    """Return the wide background: a still image and modes that follow slow and fast changes."""
    rng, style, um = scene.rng, scene.style, scene.um
    still = 0.7 * optics.random_field(rng, scene.shape, 120 * um) + 0.6 * optics.random_field(
        rng, scene.shape, 35 * um
    )
    still += 0.4 * optics.random_field(rng, scene.shape, max(9 * um, 1))
    still = np.exp(np.float32(style.texture) * still)
    widths = (None, None, 150, 150, 70, 70, 70, 30, 30, 30, 30)
    share = np.array([0.8, 0.0, 0.4, 0.4, 0.25, 0.25, 0.25, 0.15, 0.15, 0.15, 0.15])
    weights, traces = [still], [np.ones(scene.frames)]
    for width, part in zip(widths, share, strict=True):
        field = 1.0 if width is None else optics.random_field(rng, scene.shape, width * um)
        seconds = rng.uniform(0.3, 3) if part else 0.0
        size = style.background_activity * part if part else style.fast_activity
        weights.append(still * field)
        traces.append(size * smooth_traces(rng, 1, scene.frames, style.frame_rate_hz, seconds)[0])
    weights = np.stack(weights).reshape(len(weights), -1).T
    traces = np.stack(traces) * style.background_photons
    return Layer(np.ascontiguousarray(weights, dtype=np.float32), traces.astype(np.float32))


def _halo(scene, somata, light):
    """Return the scattered light around the cells, on a coarse grid of splines.

    A halo is too wide for a sparse matrix of cells; as a sum of few splines it costs little.
    """
    style = scene.style
    width = style.halo_um * scene.um
    bases = [spline_basis(scene.rng, side, width) for side in scene.shape]
    bases = [basis / basis.max() for basis in bases]
    row = np.clip(np.round(somata.y).astype(int), 0, scene.shape[0] - 1)
    col = np.clip(np.round(somata.x).astype(int), 0, scene.shape[1] - 1)
    near = np.einsum("ni,nj->nij", bases[0][row], bases[1][col])
    near = near.reshape(len(row), bases[0].shape[1] * bases[1].shape[1])  # (N, knots)
    near *= style.halo / np.maximum((near**2).sum(axis=1, keepdims=True), 1e-9)
    weights = sparse.kron(sparse.csr_array(bases[0]), sparse.csr_array(bases[1]), format="csr")
    return Layer(sparse.csr_array(weights), (near.T @ light).astype(np.float32))


def _neurites(scene, somata, photons, light):
    """Return the dendrites of some cells, which shine with their cell."""
    rng, style, um = scene.rng, scene.style, scene.um
    dots = neurites.Dots()
    chosen = np.flatnonzero(rng.random(len(somata)) < style.dendrite_share)
    neurites.add_dendrites(
        rng,
        dots,
        somata,
        chosen,
        number=2,
        length=50 * um,
        width=1.2 * um,
        level=np.ones(len(somata)),
        psf=style.psf_um * um,
        rayleigh=max(style.psf_um / max(style.defocus, 0.02), 3) * um,
    )
    return Layer(sparse.csr_array(dots.matrix(scene.shape, len(somata))), photons[:, None] * light)


def _spots(scene):
    """Return bright things that never change: dead cells, autofluorescence."""
    rng, style, um = scene.rng, scene.style, scene.um
    count = rng.poisson(style.spots * scene.area_mm2)
    dots = neurites.Dots()
    size = np.hypot(style.psf_um, rng.gamma(2, 2, count)) * um
    peak = 3 * style.cell_level * rng.lognormal(0, 0.8, count)
    dots.add(rng.uniform(0, 1, (count, 2)) * scene.shape, size, peak, 0)
    still = np.full((1, scene.frames), style.background_photons, np.float32)
    return Layer(sparse.csr_array(dots.matrix(scene.shape, 1)), still)


def _vessels(scene):
    """Return the optical density (H, W) of the vessels, and its change when they grow twice as wide."""
    rng, style, um = scene.rng, scene.style, scene.um
    thickness, wider = np.zeros((2, *scene.shape), np.float32)
    for _ in range(style.vessels):
        radius = 0.5 * style.vessel_um * um * rng.lognormal(0, 0.35)
        blur = rng.uniform(0.08, 0.5) * radius + style.psf_um * um
        density = style.vessel_density * rng.uniform(0.5, 1.3) / radius
        for points, radii in _tree(rng, scene.shape, radius):
            for total, factor in ((thickness, 1.0), (wider, 1.1)):
                depth = optics.draw_disks(scene.shape, points, factor * radii)
                total += density * ndimage.gaussian_filter(_chord(depth, factor * radii.mean()), blur)
    return thickness, 10 * (wider - thickness)


def _chord(depth, radius):
    """Return half the way through a tube, from the depth below its outline."""
    inside = np.clip(depth, 0, radius)
    return np.sqrt(inside * (2 * radius - inside)).astype(np.float32)


def _tree(rng, shape, radius):
    """Return the paths and radii of a trunk and its branches."""
    trunk = optics.vessel_path(rng, shape, radius)
    paths = [trunk]
    inside = ((trunk[0] > 0) & (trunk[0] < shape)).all(axis=1)
    for _ in range(rng.poisson(2.0) if inside.any() else 0):
        at = rng.choice(np.flatnonzero(inside))
        thin = radius * rng.uniform(0.25, 0.7)
        step = max(thin / 3, 0.5)
        ahead = trunk[0][min(at + 1, len(trunk[0]) - 1)] - trunk[0][at - 1]
        angle = np.arctan2(*ahead) + rng.choice([-1, 1]) * rng.uniform(0.5, 1.4)
        length = rng.uniform(0.2, 1.0) * max(shape)
        wander = 0.5 / np.sqrt(1 + thin)
        points = optics.smooth_path(rng, trunk[0][at], angle, length, wander=wander, step=step)
        paths.append((points, thin * np.linspace(1, 0.5, len(points))))
    return paths


def _absorption(scene, thickness, rim):
    """Return how the optical density of the vessels changes: blood volume, heart beat and breathing."""
    rng, style = scene.rng, scene.style
    if style.vessels == 0 or style.pulsation == 0:
        return None
    t = np.arange(scene.frames) / style.frame_rate_hz
    slow = smooth_traces(rng, 2, scene.frames, style.frame_rate_hz, 2.0)
    beat = np.sin(2 * np.pi * rng.uniform(6, 11) * t + rng.uniform(0, 7))
    breath = np.sin(2 * np.pi * rng.uniform(1.5, 3.5) * t + rng.uniform(0, 7))
    traces = style.pulsation * (slow + 0.3 * beat + 0.3 * breath)
    weights = np.stack([thickness.ravel(), rim.ravel()], axis=-1)
    return Layer(weights, traces.astype(np.float32))


def _shade(layer, clear):
    """Multiply the images of a layer by what part of the light is left."""
    weights = layer.weights
    if isinstance(weights, np.ndarray):
        return Layer(weights * clear.reshape(-1, 1), layer.traces)
    weights = weights.copy()
    weights.data *= np.repeat(clear.ravel(), np.diff(weights.indptr))
    return Layer(weights, layer.traces)


def _bleaching(rng, frames, style):
    """Return the light over that of the first frame, (T,): a falling exponential."""
    t = np.linspace(0, 1, frames)
    speed = rng.uniform(0.5, 5)
    return (1 - style.bleaching * np.expm1(-speed * t) / np.expm1(-speed)).astype(np.float32)


def _optics(scene):
    """Return what part of the light is seen at each pixel, and light from elsewhere, in photons."""
    rng, style, shape = scene.rng, scene.style, scene.frame_shape
    light = optics.vignette(
        rng,
        shape,
        strength=style.vignette,
        radius=style.vignette_radius,
        power=style.vignette_power,
        off_centre=0.15,
    )
    uneven = optics.random_field(rng, shape, 0.3 * min(shape))
    light = light * np.clip(1 + style.unevenness * uneven, 0.2, None)
    for _ in range(style.dust):
        points = rng.uniform(0, 1, 2) * shape
        radius = rng.uniform(2, 9)
        trail = optics.smooth_path(rng, points, rng.uniform(0, 7), rng.exponential(10) + 1, wander=0.5)
        depth = optics.draw_disks(shape, trail, np.full(len(trail), radius))
        light = light * (1 - rng.uniform(0.05, 0.5) * optics.soft_inside(depth, rng.uniform(0.3, 1.5)))
    field = optics.random_field(rng, shape, 0.4 * min(shape))
    glow = style.leak * style.background_photons * np.clip(1 + 0.4 * field, 0.1, None)
    return light.astype(np.float32), glow.astype(np.float32)
