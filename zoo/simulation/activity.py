"""Spikes, indicators and the fluorescence that they make."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage, signal

from calzoo.errors import CalzooError


@dataclass(frozen=True)
class Indicator:
    """How fast and how strongly a calcium indicator answers.

    Attributes
    ----------
    rise_s, decay_s : float
        Time constants of the answer to one spike, (1 - exp(-t / rise)) exp(-t / decay), in seconds.
    amplitude : float
        Relative change of fluorescence dF/F0 at the peak of the answer to one spike.
    cooperativity : float
        Hill exponent n: 1 is linear, above 1 a burst answers more than its spikes one by one.
    saturation : float
        Hill constant K in units of the calcium of one spike: where half of the largest answer is reached.
    """

    rise_s: float
    decay_s: float
    amplitude: float
    cooperativity: float
    saturation: float


# Peaks and half-decays after one action potential, rounded from Chen et al. 2013
# (GCaMP6, doi:10.1038/nature12354), Dana et al. 2019 (GCaMP7, doi:10.1038/s41592-019-0435-6)
# and Zhang et al. 2023 (GCaMP8, doi:10.1038/s41586-023-05828-9); decays are lengthened
# a little, as bursts in tissue decay more slowly than single spikes.
INDICATORS = {
    "GCaMP6f": Indicator(0.03, 0.35, 0.19, 1.6, 12.0),
    "GCaMP6s": Indicator(0.10, 1.00, 0.25, 1.8, 10.0),
    "GCaMP7f": Indicator(0.03, 0.45, 0.25, 1.6, 12.0),
    "GCaMP8f": Indicator(0.004, 0.12, 0.35, 1.3, 20.0),
    "GCaMP8m": Indicator(0.005, 0.20, 0.50, 1.3, 15.0),
    "GCaMP8s": Indicator(0.007, 0.45, 0.70, 1.3, 10.0),
    "OGB-1": Indicator(0.01, 0.70, 0.10, 1.0, 30.0),
}


def indicator(name):
    """Return the indicator of a name.

    Parameters
    ----------
    name : str
        A key of `INDICATORS`, for example ``"GCaMP6s"``.

    Returns
    -------
    Indicator

    Raises
    ------
    CalzooError
        If the name is unknown.
    """
    if name not in INDICATORS:
        message = f"no indicator is called {name!r}; choose one of {', '.join(INDICATORS)}"
        raise CalzooError(message)
    return INDICATORS[name]


def calcium_kernel(kind, frame_rate_hz):
    """Sample the calcium that follows one spike.

    Parameters
    ----------
    kind : Indicator
    frame_rate_hz : float
        Frames per second.

    Returns
    -------
    ndarray of float64, (n,)
        Value in the middle of each frame after a spike at the start of frame 0, for seven decay
        times. The peak of the continuous answer is 1.

    Examples
    --------
    >>> calcium_kernel(indicator("GCaMP6s"), 10.0)[:3].round(2)
    array([0.52, 0.93, 1.  ])
    """
    t = (np.arange(int(np.ceil(7 * kind.decay_s * frame_rate_hz)) + 1) + 0.5) / frame_rate_hz
    peak_at = kind.rise_s * np.log1p(kind.decay_s / kind.rise_s)
    return _answer(t, kind) / _answer(peak_at, kind)


def _answer(t, kind):
    return -np.expm1(-t / kind.rise_s) * np.exp(-t / kind.decay_s)


def relative_fluorescence(spikes, kind, frame_rate_hz):
    """Turn spikes into fluorescence over its baseline.

    The calcium c is the sum of one kernel per spike; F / F0 = 1 + amplitude * h(c) with
    h(c) = c**n (1 + K**n) / (c**n + K**n), so that one spike answers with the amplitude.

    Parameters
    ----------
    spikes : ndarray, (N, T)
        Spikes of each cell in each frame.
    kind : Indicator
    frame_rate_hz : float

    Returns
    -------
    ndarray of float32, (N, T)
        F / F0, 1 at rest.

    References
    ----------
    .. [1] Vogelstein et al., "Spike inference from calcium imaging using sequential
       Monte Carlo methods", Biophysical Journal 97, 2009. doi:10.1016/j.bpj.2008.08.005
    """
    spikes = np.asarray(spikes, np.float64)
    if spikes.size == 0:
        return np.ones(spikes.shape, np.float32)
    kernel = calcium_kernel(kind, frame_rate_hz)
    calcium = signal.fftconvolve(spikes, kernel[None, :], axes=1)[:, : spikes.shape[1]]
    calcium = np.clip(calcium, 0, None)  # the transform leaves -1e-16 where there is nothing
    power, half = calcium**kind.cooperativity, kind.saturation**kind.cooperativity
    return (1 + kind.amplitude * power * (1 + half) / (power + half)).astype(np.float32)


def draw_spikes(rng, count, frames, frame_rate_hz, *, rate_hz, rate_spread, burst_size, synchrony):
    """Draw spike counts of many cells.

    Rates differ heavily between cells. Spikes come in bursts; a share of the bursts follows
    a state of the whole population.

    Parameters
    ----------
    rng : numpy.random.Generator
    count, frames : int
        Number of cells N and of frames T.
    frame_rate_hz : float
    rate_hz : float
        Median over the cells of the rate of bursts, per second.
    rate_spread : float
        Standard deviation over the cells of the logarithm of the rate.
    burst_size : float
        Mean number of spikes in a burst, at least 1.
    synchrony : float
        Share, 0 to 1, of the rate that follows the common state.

    Returns
    -------
    ndarray of uint16, (N, T)
    """
    if count == 0:
        return np.zeros((0, frames), np.uint16)
    rates = np.minimum(rate_hz * np.exp(rng.normal(0, rate_spread, count)), 4.0)
    state = common_state(rng, frames, frame_rate_hz)
    expected = rates[:, None] / frame_rate_hz * (1 - synchrony + synchrony * state[None, :])
    bursts = rng.poisson(expected)
    spikes = bursts + rng.poisson((burst_size - 1) * bursts)
    # The spikes of a burst last some 100 ms: every second spike is moved into the next frame
    # where frames are short.
    if frame_rate_hz > 12:
        moved = rng.binomial(spikes[:, :-1], 0.4)
        spikes[:, :-1] -= moved
        spikes[:, 1:] += moved
    return np.minimum(spikes, 65535).astype(np.uint16)


def common_state(rng, frames, frame_rate_hz):
    """Draw the arousal of the population: positive, mean 1, with events of a few seconds; (T,) float64."""
    slow, fast = (smooth_traces(rng, 1, frames, frame_rate_hz, seconds)[0] for seconds in (3.0, 0.3))
    state = np.exp(0.8 * slow.astype(float) + 0.8 * fast)
    return state / state.mean()


def smooth_traces(rng, count, frames, frame_rate_hz, seconds):
    """Draw smooth random traces.

    Parameters
    ----------
    rng : numpy.random.Generator
    count, frames : int
        Number of traces N and of frames T.
    frame_rate_hz : float
    seconds : float
        Width of the Gaussian that smooths white noise.

    Returns
    -------
    ndarray of float32, (N, T)
        Mean 0 and standard deviation 1 over many draws.
    """
    sigma = max(seconds * frame_rate_hz, 1e-3)
    if sigma > 40:  # a small matrix product in place of a kernel of hundreds of frames
        basis = spline_basis(rng, frames, np.sqrt(3) * sigma)
        return rng.standard_normal((count, basis.shape[1]), dtype=np.float32) @ basis.T
    pad = int(np.ceil(4 * sigma))
    noise = rng.standard_normal((count, frames + 2 * pad), dtype=np.float32)
    smooth = ndimage.gaussian_filter1d(noise, sigma, axis=1)[:, pad : pad + frames]
    impulse = np.zeros(2 * pad + 1, np.float32)
    impulse[pad] = 1
    return smooth / np.linalg.norm(ndimage.gaussian_filter1d(impulse, sigma))


def spline_basis(rng, length, step):
    """Return cubic B-splines that turn white noise into smooth noise.

    Parameters
    ----------
    rng : numpy.random.Generator
        Draws where the first knot lies.
    length : int
        Number of samples.
    step : float
        Distance of the knots in samples: the noise is as smooth as after a Gaussian of
        standard deviation ``step / sqrt(3)``.

    Returns
    -------
    ndarray of float32, (length, knots)
        The squares of each row add up to 1, so that the noise keeps its standard deviation.
    """
    position = (np.arange(length) + rng.uniform(0, step)) / step
    knots = np.arange(-1, int(position[-1]) + 3)
    distance = np.abs(position[:, None] - knots)
    near = 2 / 3 - distance**2 + distance**3 / 2
    far = np.clip(2 - distance, 0, None) ** 3 / 6
    basis = np.where(distance < 1, near, far)
    return (basis / np.linalg.norm(basis, axis=1, keepdims=True)).astype(np.float32)
