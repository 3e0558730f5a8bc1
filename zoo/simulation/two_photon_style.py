"""What two-photon recordings look like in different laboratories: the parameters, drawn at random."""

import difflib
from dataclasses import dataclass, fields, replace

import numpy as np

from calzoo.errors import CalzooError
from calzoo.simulation.activity import INDICATORS, indicator
from calzoo.simulation.fields import log_uniform
from calzoo.simulation.recordings import check_limits


@dataclass(frozen=True, kw_only=True)
class TwoPhotonStyle:
    """All parameters of a simulated two-photon recording.

    Brightness is relative to the neuropil, whose light is `neuropil_photons`; lengths are
    micrometres, angles radians. The limits are in `LIMITS`.

    Attributes
    ----------
    pixel_um, frame_rate_hz : float
    psf_um, rayleigh_um : float
        Standard deviation of the focus at its waist, and half depth of focus.
    soma_um, soma_spread : float
        Median diameter of the cell bodies, and standard deviation of its logarithm.
    packed : bool
        Cells fill a layer like cobblestones (hippocampus, mushroom body) in place of being strewn.
    density : float
        Cells per mm**3; with `packed`, the part of the places in the layer that are taken.
    patchiness : float
        How unevenly cells are strewn over the field, 0 to 1.
    tissue_share : float
        Part of the field that is tissue; the rest is dark.
    labelled : float
        Share of cells that make the indicator.
    dim_level : float
        Brightness of the cytoplasm of the others: dark nuclei in the neuropil.
    roundness, apex_share : float
        See `calzoo.simulation.cells.draw_somata`.
    nucleus_ratio, nucleus_level, filled_share : float
        Radius of the nucleus over that of the body, its brightness over the cytoplasm's, and the share
        of cells whose nucleus is as bright as the cytoplasm.
    cell_level, cell_spread : float
        Median brightness of the cytoplasm at rest, and standard deviation of its logarithm.
    indicator : str
        A key of `calzoo.simulation.activity.INDICATORS`.
    response : float
        Factor on the indicator's amplitude.
    active : float
        Share of labelled cells that fire.
    rate_hz, rate_spread, burst_size, synchrony : float
        See `calzoo.simulation.activity.draw_spikes`.
    neuropil_photons : float
        Mean photons per pixel and frame of the neuropil.
    texture, fibres, fibre_angle, filaments : float
        See `calzoo.simulation.optics.neuropil_texture`.
    neuropil_activity : float
        Relative standard deviation of the neuropil over time.
    haze : float
        Unstructured light of the tissue above and below.
    dendrite_share, dendrite_um : float
        Share of labelled cells with visible dendrites, and their mean length.
    axons, passing, apicals : float
        Axons with boutons, passing dendrites, and dendrites cut across, per mm**2.
    axon_level, dendrite_level : float
        Median brightness of boutons, and of dendrites that pass or are cut across.
    capillaries : float
        Capillaries per mm**2.
    surface_vessels : int
        Large vessels above the focal plane, which shade it.
    vignette, vignette_radius, vignette_power, unevenness : float
        Strength, radius and power of `calzoo.simulation.optics.vignette`; relative standard deviation of
        further uneven light.
    drift_um, jitter_um, burst_um, bursts_per_minute, deformation_um, row_jitter_um : float
        See `calzoo.simulation.motion.draw_motion`.
    bleaching : float
        Part of the light that is lost by the end.
    alternate_px : float
        Displacement of every second line.
    blank : tuple of int
        Empty rows at the top, at the bottom and empty columns on the left and right, in pixels.
    gain, offset, read_noise, pulse_spread, bandwidth_px, line_noise, column_noise, frame_noise : float
    dropped_lines, step, bits : float
        See `calzoo.simulation.noise.Detector`.
    """

    pixel_um: float = 1.0
    frame_rate_hz: float = 15.0
    psf_um: float = 0.35
    rayleigh_um: float = 2.5
    soma_um: float = 12.0
    soma_spread: float = 0.12
    packed: bool = False
    density: float = 60_000.0
    patchiness: float = 0.3
    tissue_share: float = 1.0
    labelled: float = 0.7
    dim_level: float = 0.6
    roundness: float = 0.5
    apex_share: float = 0.3
    nucleus_ratio: float = 0.65
    nucleus_level: float = 0.35
    filled_share: float = 0.1
    cell_level: float = 1.6
    cell_spread: float = 0.6
    indicator: str = "GCaMP6s"
    response: float = 1.0
    active: float = 0.6
    rate_hz: float = 0.05
    rate_spread: float = 0.9
    burst_size: float = 4.0
    synchrony: float = 0.2
    neuropil_photons: float = 10.0
    texture: float = 0.15
    fibres: float = 0.2
    fibre_angle: float = 0.0
    filaments: float = 0.3
    neuropil_activity: float = 0.1
    haze: float = 0.2
    dendrite_share: float = 0.2
    dendrite_um: float = 30.0
    axons: float = 400.0
    passing: float = 60.0
    apicals: float = 200.0
    axon_level: float = 3.0
    dendrite_level: float = 2.0
    capillaries: float = 60.0
    surface_vessels: int = 1
    vignette: float = 0.3
    vignette_radius: float = 1.0
    vignette_power: float = 3.0
    unevenness: float = 0.15
    drift_um: float = 1.0
    jitter_um: float = 0.5
    burst_um: float = 2.0
    bursts_per_minute: float = 2.0
    deformation_um: float = 0.5
    row_jitter_um: float = 0.0
    bleaching: float = 0.05
    alternate_px: float = 0.0
    blank: tuple = (0, 0, 0, 0)
    gain: float = 10.0
    offset: float = 0.0
    read_noise: float = 0.0
    pulse_spread: float = 0.5
    bandwidth_px: float = 0.0
    line_noise: float = 0.0
    column_noise: float = 0.0
    frame_noise: float = 0.0
    dropped_lines: float = 0.0
    step: float = 1.0
    bits: int = 16

    def __post_init__(self):
        check_limits(self, LIMITS)
        indicator(self.indicator)
        diameter = self.soma_um / self.pixel_um
        if not 4 <= diameter <= 48:
            message = (
                f"TwoPhotonStyle: cells must be 4 to 48 pixels wide, but soma_um={self.soma_um:g} over "
                f"pixel_um={self.pixel_um:g} gives {diameter:.1f}; choose another pixel_um"
            )
            raise CalzooError(message)


# Smallest and largest value of each number in a TwoPhotonStyle.
LIMITS = {
    "pixel_um": (0.1, 10),
    "frame_rate_hz": (0.5, 200),
    "psf_um": (0.1, 3),
    "rayleigh_um": (0.5, 30),
    "soma_um": (2, 40),
    "soma_spread": (0, 0.6),
    "density": (0, 2e6),
    "patchiness": (0, 1),
    "tissue_share": (0.05, 1),
    "labelled": (0, 1),
    "dim_level": (0, 2),
    "roundness": (0, 1),
    "apex_share": (0, 1),
    "nucleus_ratio": (0.2, 0.9),
    "nucleus_level": (0, 1),
    "filled_share": (0, 1),
    "cell_level": (0, 100),
    "cell_spread": (0, 2),
    "response": (0, 20),
    "active": (0, 1),
    "rate_hz": (0, 5),
    "rate_spread": (0, 3),
    "burst_size": (1, 50),
    "synchrony": (0, 1),
    "neuropil_photons": (0, 1e4),
    "texture": (0, 1.5),
    "fibres": (0, 1),
    "filaments": (0, 10),
    "neuropil_activity": (0, 1),
    "haze": (0, 20),
    "dendrite_share": (0, 1),
    "dendrite_um": (0, 500),
    "axons": (0, 2e4),
    "passing": (0, 5e3),
    "apicals": (0, 2e4),
    "axon_level": (0, 100),
    "dendrite_level": (0, 100),
    "capillaries": (0, 2e3),
    "surface_vessels": (0, 20),
    "vignette": (0, 1),
    "vignette_radius": (0.1, 5),
    "vignette_power": (1, 20),
    "unevenness": (0, 1),
    "drift_um": (0, 50),
    "jitter_um": (0, 20),
    "burst_um": (0, 50),
    "bursts_per_minute": (0, 120),
    "deformation_um": (0, 20),
    "row_jitter_um": (0, 10),
    "bleaching": (0, 0.95),
    "alternate_px": (-5, 5),
    "gain": (1e-3, 1e5),
    "offset": (0, 3e4),
    "read_noise": (0, 1e4),
    "pulse_spread": (0, 2),
    "bandwidth_px": (0, 5),
    "line_noise": (0, 1e4),
    "column_noise": (0, 1e4),
    "frame_noise": (0, 1e4),
    "dropped_lines": (0, 50),
    "step": (1, 4096),
    "bits": (8, 16),
}


def sometimes(rng, probability, value):
    """Return `value` with a probability, else 0."""
    return value if rng.random() < probability else 0.0


def replaced(style, parameters):
    """Return a style with some parameters replaced.

    Raises
    ------
    CalzooError
        If a name is unknown or a value is out of its limits.
    """
    known = [field.name for field in fields(style)]
    for name in parameters:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            message = f"{type(style).__name__} has no parameter {name!r}{hint}"
            raise CalzooError(message)
    return replace(style, **parameters)


def draw_two_photon_style(rng, kind=None, **parameters):
    """Draw the parameters of a recording.

    Parameters
    ----------
    rng : numpy.random.Generator
    kind : str, optional
        A key of `KINDS`; absent, one is drawn.
    **parameters
        Values in place of drawn ones, by the names of `TwoPhotonStyle`.

    Returns
    -------
    TwoPhotonStyle

    Raises
    ------
    CalzooError
        If `kind` or a parameter is unknown, or a value is out of its limits.
    """
    if kind is None:
        kind = str(rng.choice(list(KINDS), p=[share for share, _ in KINDS.values()]))
    if kind not in KINDS:
        message = f"no kind of two-photon recording is called {kind!r}; choose one of {', '.join(KINDS)}"
        raise CalzooError(message)
    drawn = _common(rng) | KINDS[kind][1](rng)
    if "pixel_um" not in parameters:
        soma_um = parameters.get("soma_um", drawn["soma_um"])
        drawn["pixel_um"] = soma_um / drawn.pop("diameter_px")
    else:
        drawn.pop("diameter_px")
    return replaced(TwoPhotonStyle(), drawn | parameters)


def _common(rng):
    """Draw what does not depend on the preparation."""
    motion = draw_motion_parameters(rng, registered=rng.random() < 0.5)
    return _optics(rng) | _activity(rng) | _surroundings(rng) | motion | _defects(rng) | _detector(rng)


def _optics(rng):
    return {
        "diameter_px": log_uniform(rng, 7, 26),
        "psf_um": rng.uniform(0.25, 0.6),
        "rayleigh_um": log_uniform(rng, 0.8, 5),
        "vignette": rng.uniform(0, 0.8),
        "vignette_radius": rng.uniform(0.7, 1.5),
        "vignette_power": rng.uniform(2, 5),
        "unevenness": rng.uniform(0, 0.35),
        "haze": log_uniform(rng, 0.02, 0.8),
        "dim_level": rng.uniform(0, 0.95),
    }


def _activity(rng):
    return {
        "frame_rate_hz": log_uniform(rng, 4, 32),
        "indicator": str(rng.choice(list(INDICATORS))),
        "response": log_uniform(rng, 0.7, 2.5),
        "active": rng.uniform(0.15, 0.95),
        "rate_hz": log_uniform(rng, 0.015, 0.3),
        "rate_spread": rng.uniform(0.5, 1.3),
        "burst_size": rng.uniform(1, 8),
        "synchrony": rng.uniform(0, 0.6),
        "neuropil_activity": log_uniform(rng, 0.01, 0.15),
    }


def _surroundings(rng):
    return {
        "texture": rng.uniform(0.08, 0.4),
        "fibres": rng.uniform(0, 1) ** 2 * 0.6,
        "fibre_angle": rng.uniform(0, np.pi),
        "filaments": log_uniform(rng, 0.05, 2),
        "dendrite_share": rng.uniform(0, 0.5),
        "dendrite_um": log_uniform(rng, 10, 80),
        "axons": log_uniform(rng, 50, 4000),
        "passing": log_uniform(rng, 30, 1500),
        "apicals": log_uniform(rng, 10, 1500),
        "axon_level": log_uniform(rng, 1, 15),
        "dendrite_level": log_uniform(rng, 0.7, 5),
        "capillaries": log_uniform(rng, 5, 200),
        "surface_vessels": int(rng.choice([0, 0, 1, 1, 2, 3])),
    }


def draw_motion_parameters(rng, *, registered=False):
    """Draw how much a recording moves.

    Parameters
    ----------
    rng : numpy.random.Generator
    registered : bool, optional
        Whether the motion has been undone, so that little is left.

    Returns
    -------
    dict of str to float
        Parameters of `TwoPhotonStyle`.
    """
    size = log_uniform(rng, 0.02, 0.3) if registered else log_uniform(rng, 0.3, 3)
    return {
        "drift_um": size * rng.uniform(0.3, 1.5),
        "jitter_um": size * rng.uniform(0.1, 0.6),
        "burst_um": size * rng.uniform(0.5, 3),
        "bursts_per_minute": log_uniform(rng, 0.3, 12),
        "deformation_um": size * rng.uniform(0, 0.6),
        "row_jitter_um": sometimes(rng, 0.3, size * rng.uniform(0.05, 0.3)),
    }


def _defects(rng):
    return {
        "bleaching": sometimes(rng, 0.5, rng.uniform(0, 0.3)),
        "alternate_px": sometimes(rng, 0.25, rng.uniform(-1.5, 1.5)),
        "blank": (0, 0, 0, 0) if rng.random() < 0.85 else tuple(int(n) for n in rng.integers(0, 16, 4)),
    }


def _detector(rng):
    bits = int(rng.choice([8, 12, 13, 16, 16]))
    gain = log_uniform(rng, 0.5, 6) if bits == 8 else log_uniform(rng, 2, 400)
    return {
        "neuropil_photons": log_uniform(rng, 0.4, 40),
        "bits": bits,
        "gain": gain,
        "offset": sometimes(rng, 0.5, 0.04 * 2**bits * rng.random()),
        "read_noise": gain * log_uniform(rng, 0.02, 0.6),
        "pulse_spread": rng.uniform(0, 1),
        "bandwidth_px": sometimes(rng, 0.4, rng.uniform(0.2, 0.8)),
        "line_noise": sometimes(rng, 0.2, gain * log_uniform(rng, 0.02, 0.3)),
        "column_noise": sometimes(rng, 0.15, gain * log_uniform(rng, 0.01, 0.15)),
        "frame_noise": sometimes(rng, 0.3, gain * log_uniform(rng, 0.01, 0.2)),
        "dropped_lines": sometimes(rng, 0.1, rng.uniform(0.05, 1)),
        "step": sometimes(rng, 0.1, float(rng.integers(1, 6))) + 1,
    }


def _cortex(rng):
    """Draw cell bodies strewn in neuropil, as in the upper layers of the cortex."""
    return {
        "soma_um": rng.uniform(9, 15),
        "soma_spread": rng.uniform(0.06, 0.18),
        "density": log_uniform(rng, 40_000, 300_000),
        "patchiness": rng.uniform(0, 0.8),
        "labelled": rng.uniform(0.4, 1),
        "roundness": rng.uniform(0.2, 0.8),
        "apex_share": rng.uniform(0, 0.6),
        "nucleus_ratio": rng.uniform(0.55, 0.8),
        "nucleus_level": rng.uniform(0, 0.8),
        "filled_share": rng.uniform(0, 0.3),
        "cell_level": log_uniform(rng, 0.8, 6),
        "cell_spread": rng.uniform(0.4, 1.0),
    }


def _hippocampus(rng):
    """Draw a packed layer with dark nuclei, as in the hippocampus."""
    return _cortex(rng) | {
        "packed": True,
        "soma_um": rng.uniform(9, 14),
        "density": rng.uniform(0.6, 1),
        "patchiness": rng.uniform(0, 0.3),
        "labelled": rng.uniform(0.6, 1),
        "roundness": rng.uniform(0.5, 0.9),
        "nucleus_ratio": rng.uniform(0.6, 0.85),
        "nucleus_level": rng.uniform(0, 0.4),
        "filled_share": rng.uniform(0, 0.1),
        "cell_level": log_uniform(rng, 0.7, 2.5),
        "cell_spread": rng.uniform(0.15, 0.6),
        "axons": log_uniform(rng, 20, 800),
        "apicals": log_uniform(rng, 5, 300),
    }


def _fly(rng):
    """Draw a packed rind of small cell bodies beside darkness, as in insects."""
    return _hippocampus(rng) | {
        "soma_um": rng.uniform(3.5, 6),
        "tissue_share": rng.uniform(0.3, 0.9),
        "density": rng.uniform(0.85, 1),
        "nucleus_level": rng.uniform(0.1, 0.6),
        "rayleigh_um": rng.uniform(0.8, 2),
        "capillaries": 0.0,
        "surface_vessels": 0,
        "dendrite_share": rng.uniform(0, 0.2),
        "haze": log_uniform(rng, 0.01, 0.1),
    }


def _sparse(rng):
    """Draw few labelled cells with their neurites in a dark neuropil."""
    return _cortex(rng) | {
        "density": log_uniform(rng, 3_000, 30_000),
        "cell_level": log_uniform(rng, 4, 20),
        "cell_spread": rng.uniform(0.5, 1),
        "neuropil_photons": log_uniform(rng, 0.2, 6),
        "dendrite_share": rng.uniform(0.4, 1),
        "dendrite_um": log_uniform(rng, 30, 120),
        "axon_level": log_uniform(rng, 5, 30),
        "dendrite_level": log_uniform(rng, 3, 12),
        "texture": rng.uniform(0.2, 0.6),
        "filaments": log_uniform(rng, 0.3, 4),
    }


def _lens(rng):
    """Draw what a gradient-index lens shows: blurred, bright in the middle, dark around."""
    return _cortex(rng) | {
        "psf_um": rng.uniform(0.6, 1.3),
        "rayleigh_um": log_uniform(rng, 3, 10),
        "vignette": rng.uniform(0.9, 0.99),
        "vignette_radius": rng.uniform(0.5, 0.9),
        "vignette_power": rng.uniform(3, 8),
        "texture": rng.uniform(0.2, 0.5),
        "labelled": rng.uniform(0.6, 1),
        "haze": log_uniform(rng, 0.1, 1),
    }


def _starved(rng):
    """Draw a recording with less than a photon per pixel and frame."""
    gain = log_uniform(rng, 50, 1500)
    return _cortex(rng) | {
        "frame_rate_hz": rng.uniform(20, 60),
        "neuropil_photons": log_uniform(rng, 0.08, 0.8),
        "pulse_spread": rng.uniform(0.3, 1),
        "bits": 16,
        "step": 1.0,
        "gain": gain,
        "read_noise": gain * log_uniform(rng, 0.02, 0.3),
        "column_noise": sometimes(rng, 0.15, gain * log_uniform(rng, 0.002, 0.02)),
        "line_noise": sometimes(rng, 0.2, gain * log_uniform(rng, 0.005, 0.05)),
        "frame_noise": sometimes(rng, 0.3, gain * log_uniform(rng, 0.005, 0.05)),
    }


# Share of each kind of preparation among the recordings that are drawn, and what draws it.
KINDS = {
    "cortex": (0.45, _cortex),
    "hippocampus": (0.15, _hippocampus),
    "fly": (0.06, _fly),
    "sparse": (0.14, _sparse),
    "lens": (0.1, _lens),
    "starved": (0.1, _starved),
}
