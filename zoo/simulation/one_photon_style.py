"""What one-photon recordings look like in different laboratories: the parameters, drawn at random."""

from dataclasses import dataclass

from calzoo.errors import CalzooError
from calzoo.simulation.activity import INDICATORS, indicator
from calzoo.simulation.fields import log_uniform
from calzoo.simulation.recordings import check_limits
from calzoo.simulation.two_photon_style import replaced, sometimes

# How the frames were prepared: as recorded; change over the mean; background removed.
LOOKS = ("raw", "df", "background_removed")


@dataclass(frozen=True, kw_only=True)
class OnePhotonStyle:
    """All parameters of a simulated one-photon recording.

    Brightness is relative to the background, whose light is `background_photons`; lengths are
    micrometres. The limits are in `LIMITS`.

    Attributes
    ----------
    pixel_um, frame_rate_hz : float
    look : str
        One of `LOOKS`: what a laboratory keeps of the frames.
    cell_um, cell_spread : float
        Median diameter of the cells, and standard deviation of its logarithm.
    density : float
        Cells per mm**2.
    patchiness, roundness : float
        As in `TwoPhotonStyle`.
    depth_um : float
        Cells lie at most so far above and below the focal plane.
    psf_um, defocus : float
        Blur in the focal plane, and its growth with every micrometre away from it (standard deviations).
    scatter_um : float
        Depth over which light falls to a third.
    halo, halo_um : float
        Brightness of the scattered light around a cell over the cell's own, and its standard deviation.
    cell_level, level_spread : float
        Median brightness of cells at rest over the background, and standard deviation of its logarithm.
    indicator, response, active, rate_hz, rate_spread, burst_size, synchrony
        As in `TwoPhotonStyle`.
    dendrite_share : float
        Share of cells whose dendrites are seen.
    spots : float
        Bright things per mm**2 that never change.
    background_photons : float
        Mean photons per pixel and frame.
    texture : float
        Relative standard deviation of the background over the field.
    background_activity, fast_activity : float
        Relative standard deviation over time of the background: over seconds, and from frame to frame
        as from an unsteady lamp.
    vessels : int
        Number of vessel trees.
    vessel_um, vessel_density : float
        Diameter of their trunks, and optical density across a trunk.
    pulsation : float
        Relative change of diameter and density of the vessels over time.
    vignette, vignette_radius, vignette_power, unevenness : float
        As in `TwoPhotonStyle`.
    leak : float
        Light that does not come from the tissue, over the background.
    dust : int
        Number of dust grains on the window.
    drift_um, jitter_um, burst_um, bursts_per_minute, deformation_um : float
        See `calzoo.simulation.motion.draw_motion`.
    residual : float
        Part of the motion that is left: 1 as recorded; less after a registration, when window, dust
        and vignette move instead.
    bleaching : float
        Part of the light that is lost by the end.
    gain, offset, read_noise, column_noise, bits
        See `calzoo.simulation.noise.Detector`.
    smoothing_px, smoothing_aspect : float
        Standard deviation of the blur by scaling and compression, and the ratio of columns to rows.
    """

    pixel_um: float = 1.5
    frame_rate_hz: float = 15.0
    look: str = "raw"
    cell_um: float = 15.0
    cell_spread: float = 0.15
    density: float = 800.0
    patchiness: float = 0.4
    roundness: float = 0.4
    depth_um: float = 50.0
    psf_um: float = 1.5
    defocus: float = 0.15
    scatter_um: float = 80.0
    halo: float = 0.1
    halo_um: float = 35.0
    cell_level: float = 0.015
    level_spread: float = 0.6
    indicator: str = "GCaMP6f"
    response: float = 3.0
    active: float = 0.8
    rate_hz: float = 0.05
    rate_spread: float = 0.8
    burst_size: float = 4.0
    synchrony: float = 0.2
    dendrite_share: float = 0.1
    spots: float = 20.0
    background_photons: float = 1500.0
    texture: float = 0.1
    background_activity: float = 0.01
    fast_activity: float = 0.002
    vessels: int = 3
    vessel_um: float = 30.0
    vessel_density: float = 0.5
    pulsation: float = 0.03
    vignette: float = 0.5
    vignette_radius: float = 1.0
    vignette_power: float = 3.0
    unevenness: float = 0.1
    leak: float = 0.1
    dust: int = 2
    drift_um: float = 1.5
    jitter_um: float = 1.0
    burst_um: float = 4.0
    bursts_per_minute: float = 3.0
    deformation_um: float = 0.3
    residual: float = 1.0
    bleaching: float = 0.1
    gain: float = 0.1
    offset: float = 5.0
    read_noise: float = 0.5
    column_noise: float = 0.0
    bits: int = 8
    smoothing_px: float = 0.0
    smoothing_aspect: float = 1.0

    def __post_init__(self):
        check_limits(self, LIMITS)
        indicator(self.indicator)
        if self.look not in LOOKS:
            message = f"OnePhotonStyle: look must be one of {', '.join(LOOKS)}, got {self.look!r}"
            raise CalzooError(message)
        diameter = self.cell_um / self.pixel_um
        if not 3 <= diameter <= 40:
            message = (
                f"OnePhotonStyle: cells must be 3 to 40 pixels wide, but cell_um={self.cell_um:g} over "
                f"pixel_um={self.pixel_um:g} gives {diameter:.1f}; choose another pixel_um"
            )
            raise CalzooError(message)


# Smallest and largest value of each number in a OnePhotonStyle.
LIMITS = {
    "pixel_um": (0.2, 20),
    "frame_rate_hz": (0.5, 200),
    "cell_um": (4, 40),
    "cell_spread": (0, 0.6),
    "density": (0, 2e4),
    "patchiness": (0, 1),
    "roundness": (0, 1),
    "depth_um": (0, 500),
    "psf_um": (0.2, 20),
    "defocus": (0, 1),
    "scatter_um": (5, 1e4),
    "halo": (0, 2),
    "halo_um": (5, 500),
    "cell_level": (0, 10),
    "level_spread": (0, 2),
    "response": (0, 50),
    "active": (0, 1),
    "rate_hz": (0, 5),
    "rate_spread": (0, 3),
    "burst_size": (1, 50),
    "synchrony": (0, 1),
    "dendrite_share": (0, 1),
    "spots": (0, 5e3),
    "background_photons": (1, 1e6),
    "texture": (0, 1),
    "background_activity": (0, 0.5),
    "fast_activity": (0, 0.5),
    "vessels": (0, 30),
    "vessel_um": (1, 300),
    "vessel_density": (0, 5),
    "pulsation": (0, 0.5),
    "vignette": (0, 1),
    "vignette_radius": (0.1, 5),
    "vignette_power": (1, 20),
    "unevenness": (0, 1),
    "leak": (0, 10),
    "dust": (0, 100),
    "drift_um": (0, 100),
    "jitter_um": (0, 50),
    "burst_um": (0, 100),
    "bursts_per_minute": (0, 120),
    "deformation_um": (0, 50),
    "residual": (0, 1),
    "bleaching": (0, 0.95),
    "gain": (1e-4, 1e4),
    "offset": (0, 3e4),
    "read_noise": (0, 1e4),
    "column_noise": (0, 1e4),
    "bits": (8, 16),
    "smoothing_px": (0, 10),
    "smoothing_aspect": (0.1, 10),
}


def draw_one_photon_style(rng, look=None, **parameters):
    """Draw the parameters of a recording.

    Parameters
    ----------
    rng : numpy.random.Generator
    look : str, optional
        One of `LOOKS`; absent, one is drawn.
    **parameters
        Values in place of drawn ones, by the names of `OnePhotonStyle`.

    Returns
    -------
    OnePhotonStyle

    Raises
    ------
    CalzooError
        If `look` or a parameter is unknown, or a value is out of its limits.
    """
    if look is None:
        look = str(rng.choice(LOOKS, p=(0.5, 0.3, 0.2)))
    drawn = {"look": look} | _cells(rng) | _surroundings(rng) | _motion(rng, look)
    drawn |= _camera(rng, drawn["background_photons"] * (1 + drawn["leak"]))
    diameter = drawn.pop("diameter_px")
    if "pixel_um" not in parameters:
        drawn["pixel_um"] = parameters.get("cell_um", drawn["cell_um"]) / diameter
    return replaced(OnePhotonStyle(), drawn | parameters)


def _cells(rng):
    return {
        "diameter_px": rng.uniform(7, 17),
        "cell_um": rng.uniform(10, 17),
        "cell_spread": rng.uniform(0.05, 0.25),
        "density": log_uniform(rng, 250, 4000),
        "patchiness": rng.uniform(0, 0.9),
        "roundness": rng.uniform(0.1, 0.8),
        "depth_um": log_uniform(rng, 10, 120),
        "psf_um": rng.uniform(0.8, 3),
        "defocus": rng.uniform(0.05, 0.3),
        "scatter_um": log_uniform(rng, 50, 300),
        "halo": log_uniform(rng, 0.02, 0.3),
        "halo_um": log_uniform(rng, 20, 80),
        "cell_level": log_uniform(rng, 0.015, 0.25),
        "level_spread": rng.uniform(0.3, 0.9),
        "frame_rate_hz": log_uniform(rng, 5, 30),
        "indicator": str(rng.choice(list(INDICATORS))),
        "response": log_uniform(rng, 1.5, 6),
        "active": rng.uniform(0.4, 1),
        "rate_hz": log_uniform(rng, 0.02, 0.3),
        "rate_spread": rng.uniform(0.4, 1.2),
        "burst_size": rng.uniform(1, 8),
        "synchrony": rng.uniform(0, 0.7),
        "dendrite_share": rng.uniform(0, 0.4),
        "spots": log_uniform(rng, 2, 200),
    }


def _surroundings(rng):
    return {
        "background_photons": log_uniform(rng, 100, 10_000),
        "texture": rng.uniform(0.02, 0.25),
        "background_activity": log_uniform(rng, 0.002, 0.04),
        "fast_activity": sometimes(rng, 0.5, log_uniform(rng, 0.0005, 0.01)),
        "vessels": int(rng.integers(0, 7)),
        "vessel_um": log_uniform(rng, 12, 70),
        "vessel_density": log_uniform(rng, 0.1, 1.2),
        "pulsation": log_uniform(rng, 0.002, 0.04),
        "vignette": rng.uniform(0.1, 0.9),
        "vignette_radius": rng.uniform(0.6, 1.6),
        "vignette_power": rng.uniform(2, 5),
        "unevenness": rng.uniform(0, 0.25),
        "leak": log_uniform(rng, 0.01, 1),
        "dust": int(rng.poisson(1.5)),
    }


def _motion(rng, look):
    size = log_uniform(rng, 0.2, 4)
    return {
        "drift_um": size * rng.uniform(0.2, 1.5),
        "jitter_um": size * rng.uniform(0.1, 0.7),
        "burst_um": size * rng.uniform(0.5, 4),
        "bursts_per_minute": log_uniform(rng, 0.3, 12),
        "deformation_um": size * rng.uniform(0, 0.3),
        "residual": log_uniform(rng, 0.01, 0.3) if rng.random() < (0.3 if look == "raw" else 0.7) else 1.0,
        "bleaching": rng.uniform(0, 0.4),
    }


def _camera(rng, photons):
    """Draw a camera whose range is filled in part by the background."""
    bits = int(rng.choice([8, 8, 10, 12, 16]))
    return {
        "bits": bits,
        "gain": rng.uniform(0.2, 0.7) * 2**bits / photons,
        "offset": 0.03 * 2**bits * rng.random(),
        "read_noise": log_uniform(rng, 0.1, 2) * 2 ** (bits - 8),
        "column_noise": sometimes(rng, 0.3, log_uniform(rng, 0.02, 0.3) * 2 ** (bits - 8)),
        "smoothing_px": sometimes(rng, 0.4, rng.uniform(0.4, 2.5)),
        "smoothing_aspect": log_uniform(rng, 0.6, 2.5),
    }
