"""Two-photon movies of neurons with the truth for every cell, frame and pixel."""

from dataclasses import replace

import numpy as np

from calzoo.simulation import cells as bodies
from calzoo.simulation import optics, tissue
from calzoo.simulation.activity import draw_spikes, indicator, relative_fluorescence, smooth_traces
from calzoo.simulation.motion import draw_motion
from calzoo.simulation.noise import Detector
from calzoo.simulation.recordings import Layer, Recording, checked_shape, seed_words
from calzoo.simulation.truth import cell_layers, finish_truth
from calzoo.simulation.two_photon_style import (
    draw_motion_parameters,
    draw_two_photon_style,
    replaced,
)


def simulate_two_photon(seed, shape=(500, 256, 256), *, style=None, **parameters):
    """Simulate a two-photon recording of neurons.

    Parameters
    ----------
    seed : int or sequence of int
        The same seed gives the same recording.
    shape : tuple of int, optional
        (T, H, W): frames, rows and columns.
    style : TwoPhotonStyle or str, optional
        The parameters, or the name of a kind of preparation for `draw_two_photon_style`;
        absent, both are drawn.
    **parameters
        Values in place of those of the style, by the names of `TwoPhotonStyle`.

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
    >>> recording = simulate_two_photon(0, (20, 64, 64), style="cortex", gain=1.0, bits=8)
    >>> recording.shape, recording.dtype, recording.frames(0, 2).shape
    ((20, 64, 64), dtype('uint8'), (2, 64, 64))
    """
    words = seed_words(seed)
    shape = checked_shape(shape)
    rng = np.random.default_rng([*words, 0])
    if style is None or isinstance(style, str):
        style = draw_two_photon_style(rng, style, **parameters)
    else:
        style = replaced(style, parameters)
    return _record(_Scene(rng, shape, style), words)


def simulate_registration(seed, shape=(200, 256, 256), *, style=None, **parameters):
    """Simulate a two-photon recording as it comes from the microscope: it moves.

    Parameters
    ----------
    seed, shape, style, **parameters
        As in `simulate_two_photon`; the motion is always that of a recording that has not been
        registered. The truth is in `Recording.flow`.

    Returns
    -------
    Recording

    Raises
    ------
    CalzooError
        As `simulate_two_photon`.

    Examples
    --------
    >>> recording = simulate_registration(0, (4, 64, 64))
    >>> recording.flow().shape
    (4, 64, 64, 2)
    """
    words = seed_words(seed)
    motion = draw_motion_parameters(np.random.default_rng([*words, 2]))
    return simulate_two_photon(words, shape, style=style, **(motion | parameters))


class _Scene:
    """Tissue under the microscope; lengths are pixels of the scene, which is larger than a frame."""

    def __init__(self, rng, shape, style):
        self.rng = rng
        self.style = style
        self.frames = shape[0]
        self.frame_shape = shape[1:]
        self.um = 1 / style.pixel_um  # pixels in a micrometre
        self.motion = _motion(rng, shape, style)
        # Cells beyond the edge reach into the frame, with motion or without.
        around = 0.6 * style.soma_um * self.um
        self.margin = int(np.ceil(max(self.motion.reach + abs(style.alternate_px) + 1, around))) + 1
        self.shape = tuple(side + 2 * self.margin for side in self.frame_shape)
        self.area_mm2 = self.shape[0] * self.shape[1] * (style.pixel_um / 1000) ** 2
        self.focus = {"psf": style.psf_um * self.um, "rayleigh": style.rayleigh_um * self.um}
        self.half_depth = (0.6 * style.soma_um + min(2.5 * style.rayleigh_um, 15)) * self.um
        self.indicator = scaled_indicator(style)
        # Frames before the first, whose calcium is still there.
        self.warm_up = int(np.ceil(4 * self.indicator.decay_s * style.frame_rate_hz))


def scaled_indicator(style):
    """Return the indicator of a style with its amplitude times `style.response`."""
    kind = indicator(style.indicator)
    return replace(kind, amplitude=kind.amplitude * style.response)


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
        row_jitter=style.row_jitter_um * um,
        limit=0.12 * min(shape[1:]),
        scanned=True,
    )


def _record(scene, words):
    """Draw everything that is in the scene and return the recording."""
    rng, style = scene.rng, scene.style
    lumen, clear = tissue.draw_vessels(
        rng,
        scene.shape,
        scene.um,
        scene.area_mm2,
        capillaries=style.capillaries,
        surface_vessels=style.surface_vessels,
    )
    inside = tissue.draw_tissue(rng, scene.shape, style.tissue_share, 0.5 * scene.um)
    somata = _draw_somata(scene, inside * (lumen < 0.2))
    level, labelled = _levels(rng, style, somata)
    spikes, light = _activity(scene, labelled)
    seen, filled = _image(scene, somata)
    occupied = np.minimum(filled.sum(axis=1).reshape(scene.shape), 1)
    layers = {
        "neuropil": tissue.draw_neuropil(rng, scene.shape, scene.frames, style, scene.um, occupied, inside),
        "neurites": tissue.draw_cell_neurites(rng, scene, somata, level * labelled, light),
        "axons": tissue.draw_axons(rng, scene),
        "dendrites": tissue.draw_dendrites(rng, scene),
    }
    for name, layer in layers.items():
        layers[name] = _shade(layer, clear if name == "neuropil" else clear * inside)
    seen.data *= clear.ravel()[seen.indices]
    layers["unlabelled"] = _unlabelled(scene, seen, level * ~labelled)
    facts, of_cells = cell_layers(
        seen,
        filled,
        light,
        level * labelled * style.neuropil_photons,
        covered=_covered(scene.frame_shape, style.blank),
        margin=scene.margin,
        spikes=spikes,
        depths_um=somata.depth * style.pixel_um,
        in_focus=np.abs(somata.depth) < 0.9 * somata.radius * somata.axial_ratio,
    )
    return _assemble(scene, words, facts, layers | of_cells)


def _covered(shape, blank):
    """Return which pixels of a frame are not empty, (H, W) bool."""
    top, bottom, left, right = blank
    covered = np.zeros(shape, bool)
    covered[top : shape[0] - bottom, left : shape[1] - right] = True
    return covered


def _assemble(scene, words, facts, layers):
    """Add bleaching, illumination and the detector."""
    rng, style = scene.rng, scene.style
    bleaching = _bleaching(rng, scene.frames, style)
    layers = {name: Layer(layer.weights, layer.traces * bleaching) for name, layer in layers.items()}
    facts = facts | {"traces": layers["cells"].traces}
    light = optics.vignette(
        rng,
        scene.frame_shape,
        strength=style.vignette,
        radius=style.vignette_radius,
        power=style.vignette_power,
        off_centre=0.15,
    )
    uneven = optics.random_field(rng, scene.frame_shape, 0.3 * min(scene.frame_shape))
    light = light * np.clip(1 + style.unevenness * uneven, 0.2, None).astype(np.float32)
    recording = Recording(
        seed=words,
        frame_rate_hz=style.frame_rate_hz,
        pixel_um=(style.pixel_um, style.pixel_um),
        style=style,
        cells=None,
        layers=layers,
        motion=scene.motion,
        margin=scene.margin,
        illumination=light,
        glow=np.zeros(scene.frame_shape, np.float32),
        detector=_detector(style),
        columns=style.column_noise * rng.standard_normal(scene.frame_shape[1], dtype=np.float32),
        alternate=style.alternate_px,
        covered=_covered(scene.frame_shape, style.blank),
    )
    background = recording.mean_background()
    truth = finish_truth(facts, background, light, recording.glow, recording.detector)
    return replace(recording, cells=truth)


def _draw_somata(scene, allowed):
    """Place cells where `allowed` is 1 and draw their shapes."""
    rng, style = scene.rng, scene.style
    field = optics.random_field(rng, scene.shape, 50 * scene.um)
    weight = allowed * np.clip(1 - style.patchiness + style.patchiness / (1 + np.exp(-3 * field)), 0, 1)
    diameter = style.soma_um * scene.um
    if style.packed:
        jitter = rng.uniform(0.06, 0.14)
        points = bodies.pack_cells(rng, scene.shape, 1.02 * diameter, jitter, style.density * weight)
    else:
        density = style.density * (style.pixel_um / 1000) ** 3
        points = bodies.scatter_cells(rng, scene.shape, scene.half_depth, density, 0.95 * diameter, weight)
    size = np.clip(rng.normal(0, style.soma_spread, len(points)), -2.5 * style.soma_spread, 0.6)
    return bodies.draw_somata(
        rng,
        points,
        0.5 * diameter * np.exp(size) * (1.15 if style.packed else 1),
        roundness=style.roundness,
        nucleus_ratio=style.nucleus_ratio,
        nucleus_level=style.nucleus_level,
        filled_share=style.filled_share,
        apex_share=style.apex_share,
    )


def _image(scene, somata):
    """Return the images of the cells as they are and with bright nuclei."""
    territory = None
    if scene.style.packed and len(somata) > 1:
        centers = np.stack([somata.y, somata.x], axis=-1)
        territory = bodies.territories(centers, scene.shape, 0.6 * scene.um)
    return bodies.image_somata(
        somata, scene.shape, half_depth=scene.half_depth, territory=territory, **scene.focus
    )


def _levels(rng, style, somata):
    """Return the brightness of each cytoplasm at rest, and who makes the indicator."""
    level = style.cell_level * np.exp(rng.normal(0, style.cell_spread, len(somata)))
    # Cells whose nucleus is filled make too much of the indicator: bright.
    level *= np.where(somata.nucleus_level > 0.8, rng.uniform(1, 4, len(somata)), 1)
    labelled = rng.random(len(somata)) < style.labelled
    # The others still hold back light: a dark nucleus within a dim body.
    dim = style.dim_level * rng.uniform(0.6, 1.4, len(somata))
    return np.where(labelled, level, dim), labelled


def _activity(scene, labelled):
    """Return the spikes (N, T) and F / F0 (N, T) of all cells."""
    rng, style = scene.rng, scene.style
    count = len(labelled)
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
    spikes[(rng.random(count) >= style.active) | ~labelled] = 0
    light = relative_fluorescence(spikes, scene.indicator, style.frame_rate_hz)
    return spikes[:, scene.warm_up :], light[:, scene.warm_up :]


def _unlabelled(scene, seen, level):
    """Return the light of the cells without the indicator, one still source."""
    image = (seen @ level.astype(np.float32))[:, None] * np.float32(scene.style.neuropil_photons)
    return Layer(image, np.ones((1, scene.frames), np.float32))


def _shade(layer, clear):
    """Multiply the images of a layer by what part of the light is left."""
    weights = layer.weights
    if isinstance(weights, np.ndarray):
        return Layer(weights * clear.reshape(-1, 1), layer.traces)
    weights = weights.copy()
    weights.data *= np.repeat(clear.ravel(), np.diff(weights.indptr))
    return Layer(weights, layer.traces)


def _bleaching(rng, frames, style):
    """Return the light over that of the first frame, (T,): a falling exponential, and a trembling laser."""
    t = np.linspace(0, 3, frames)
    fall = 1 - style.bleaching * (1 - np.exp(-t)) / (1 - np.exp(-3))
    tremble = 0.005 * smooth_traces(rng, 1, frames, style.frame_rate_hz, 1.0)[0]
    return (fall * (1 + tremble)).astype(np.float32)


def _detector(style):
    return Detector(
        gain=style.gain,
        offset=style.offset,
        read_noise=style.read_noise,
        pulse_spread=style.pulse_spread,
        bandwidth=style.bandwidth_px,
        line_noise=style.line_noise,
        column_noise=style.column_noise,
        frame_noise=style.frame_noise,
        dropped_lines=style.dropped_lines,
        step=style.step,
        bits=style.bits,
    )
