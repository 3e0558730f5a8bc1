"""Detectors: photons in, grey values out."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

NEARLY_NORMAL = 4.0  # photons from which a count is drawn as a normal number with the right skewness


@dataclass(frozen=True, kw_only=True)
class Detector:
    """How photons become grey values.

    Attributes
    ----------
    gain : float
        Grey values per photon.
    offset : float
        Grey value of darkness.
    read_noise : float
        Standard deviation in grey values of the noise without light.
    pulse_spread : float
        Standard deviation of the answer to one photon over its mean (photomultipliers: 0.3 to 1;
        cameras: 0). The variance of n photons is n gain**2 (1 + pulse_spread**2).
    bandwidth : float
        Standard deviation in pixels of the Gaussian that smooths along a scan line.
    line_noise : float
        Standard deviation in grey values of what each line of each frame is shifted by.
    column_noise : float
        Standard deviation in grey values of the fixed pattern of columns.
    frame_noise : float
        Standard deviation in grey values of what each frame is shifted by.
    dropped_lines : float
        Mean number of lines of a frame that lost half their light.
    step : float
        Distance of neighbouring grey values: 1 uses all, more makes few grey levels.
    bits : int
        8 gives uint8, 9 to 16 give uint16 whose largest value is 2**bits - 1.
    """

    gain: float = 1.0
    offset: float = 0.0
    read_noise: float = 0.0
    pulse_spread: float = 0.0
    bandwidth: float = 0.0
    line_noise: float = 0.0
    column_noise: float = 0.0
    frame_noise: float = 0.0
    dropped_lines: float = 0.0
    step: float = 1.0
    bits: int = 16

    @property
    def dtype(self):
        """Type of the grey values."""
        return np.dtype(np.uint8 if self.bits <= 8 else np.uint16)

    @property
    def variance_per_photon(self):
        """Variance of the signal in photons squared for each photon expected."""
        return 1 + self.pulse_spread**2


def count_photons(rng, expected, pulse_spread=0.0, exposures=1):
    """Draw photon counts.

    Parameters
    ----------
    rng : numpy.random.Generator
    expected : ndarray of float32, any shape
        Expected photons in each pixel; negative values count as 0.
    pulse_spread : float, optional
        See `Detector`.
    exposures : int, optional
        The mean of so many frames is drawn.

    Returns
    -------
    ndarray of float32, like `expected`
        Counts, weighted by the heights of their pulses; not whole numbers if `pulse_spread` > 0.

    Examples
    --------
    >>> rng = np.random.default_rng(3)
    >>> counts = count_photons(rng, np.full(10_000, 2.0, np.float32))
    >>> bool(abs(counts.mean() - 2) < 0.1), bool(abs(counts.var() - 2) < 0.1)
    (True, True)
    """
    total = np.clip(expected, 0, None).astype(np.float32) * np.float32(exposures)
    few = total < NEARLY_NORMAL
    if not few.any():
        return _normal_counts(rng, total, pulse_spread) / np.float32(exposures)
    counts = np.empty_like(total)
    counts[few] = _few_counts(rng, total[few], pulse_spread)
    if not few.all():
        counts[~few] = _normal_counts(rng, total[~few], pulse_spread)
    return counts / np.float32(exposures)


def _few_counts(rng, expected, pulse_spread):
    counts = rng.poisson(expected).astype(np.float32)
    if pulse_spread > 0:
        hit = counts > 0
        # The sum of n gamma-distributed pulses is gamma-distributed.
        counts[hit] = rng.standard_gamma(counts[hit] / pulse_spread**2) * pulse_spread**2
    return counts


def _normal_counts(rng, expected, pulse_spread):
    """Return normal numbers that were bent to the mean, variance and skewness of the counts.

    References
    ----------
    .. [1] Cornish and Fisher, "Moments and cumulants in the specification of distributions",
       Revue de l'Institut International de Statistique 5, 1938.
    """
    z = rng.standard_normal(expected.shape, dtype=np.float32)
    spread = pulse_spread**2
    # Skewness times deviation is (1 + 2 s) whatever the expected number, so a constant bends.
    bend = np.float32((1 + 2 * spread) / 6)
    # Bending adds a variance of 2 bend**2, which is taken off here.
    deviation = np.sqrt(expected * np.float32(1 + spread) - 2 * bend**2)
    counts = expected + deviation * z + bend * (z * z - 1)
    return np.clip(counts, 0, None, out=counts)


def detect(rng, expected, detector, *, columns=None, exposures=1):
    """Turn the expected photons of one frame into the grey values of a detector.

    Parameters
    ----------
    rng : numpy.random.Generator
    expected : ndarray of float32, (H, W)
        Expected photons.
    detector : Detector
    columns : ndarray of float32, (W,), optional
        The fixed pattern of columns in grey values.
    exposures : int, optional
        The mean of so many frames is drawn; it is not rounded to grey values.

    Returns
    -------
    ndarray, (H, W)
        `detector.dtype`, or float32 if `exposures` is more than 1.
    """
    grey = count_photons(rng, expected, detector.pulse_spread, exposures) * np.float32(detector.gain)
    if detector.bandwidth > 0:
        grey = ndimage.gaussian_filter1d(grey, detector.bandwidth, axis=1, mode="nearest")
    if detector.dropped_lines > 0:
        lost = rng.integers(0, len(grey), rng.poisson(detector.dropped_lines * exposures))
        np.multiply.at(grey, lost, np.float32(1 - 0.5 / exposures))
    calm = np.float32(1 / np.sqrt(exposures))
    grey += np.float32(detector.offset)
    if detector.frame_noise > 0:
        grey += calm * np.float32(detector.frame_noise * rng.standard_normal())
    if detector.read_noise > 0:
        grey += calm * np.float32(detector.read_noise) * rng.standard_normal(grey.shape, dtype=np.float32)
    if detector.line_noise > 0:
        lines = rng.standard_normal((len(grey), 1), dtype=np.float32)
        grey += calm * np.float32(detector.line_noise) * lines
    if columns is not None:
        grey += columns
    return digitise(grey, detector) if exposures == 1 else grey


def digitise(grey, detector):
    """Round to the grey values that a detector can give.

    Parameters
    ----------
    grey : ndarray of float32
    detector : Detector

    Returns
    -------
    ndarray of `detector.dtype`
    """
    step = np.float32(detector.step)
    rounded = np.round(grey / step) * step if step != 1 else np.round(grey)
    return np.clip(rounded, 0, 2**detector.bits - 1).astype(detector.dtype)
