"""From fluorescence to events: non-negative deconvolution of an exponential decay.

The model: calcium decays by a factor g from frame to frame and jumps up at events s,

    c(t) = g c(t - 1) + s(t),  s(t) >= 0,  y(t) = b + c(t) + noise.

For a given penalty the best c minimises ``sum (y - b - c)^2 / 2 + penalty * sum s``. With c(t) / g^t in
place of c(t), that is an isotonic regression: neighbouring frames that break the constraint
are pooled until none is left [1]_. The order of pooling does not matter, so here all frames
of all cells are pooled at the same time.

References
----------
.. [1] Friedrich, Zhou and Paninski, "Fast online deconvolution of calcium imaging data",
   PLoS Computational Biology 2017. doi:10.1371/journal.pcbi.1005423
"""

from dataclasses import dataclass

import numpy as np

from calzoo.errors import CalzooError

FASTEST, SLOWEST = 0.3, 0.998  # what an estimated decay from frame to frame may be
LAGS = 10
NEWTON_STEPS = 12


@dataclass(frozen=True)
class Deconvolution:
    """Events and calcium of N cells in T frames.

    Attributes
    ----------
    events : ndarray of float32, shape (N, T)
        Size of the jump at each frame, in the units of the traces; 0 almost everywhere.
        At frame 0: the calcium that was there already.
    calcium : ndarray of float32, shape (N, T)
        The traces without baseline and noise.
    baseline, noise, decay, penalty : ndarray of float64, shape (N,)
        Resting level b, standard deviation of the noise, factor g from frame to frame, and penalty.
    """

    events: np.ndarray
    calcium: np.ndarray
    baseline: np.ndarray
    noise: np.ndarray
    decay: np.ndarray
    penalty: np.ndarray

    def find_events(self, *, threshold=2.0):
        """List events that stand out.

        Parameters
        ----------
        threshold : float, optional
            Smallest jump in standard deviations of the noise. Jumps in neighbouring frames count as one.

        Returns
        -------
        cell, frame : ndarray of int
            Where the largest jump of each event is, by cell and time.
        size : ndarray of float32
            The sum of its jumps.
        """
        sizes, lengths = self.events[:, 1:].ravel(), self.events.shape[1] - 1
        places = np.flatnonzero(sizes)
        if not places.size:
            return places, places, sizes[places]
        new = np.r_[True, (np.diff(places) > 1) | (places[1:] % lengths == 0)]
        starts = np.flatnonzero(new)
        totals = np.add.reduceat(sizes[places], starts)
        # Sorted by event and then by size, the last one of each event is its largest jump.
        order = np.lexsort((sizes[places], np.cumsum(new)))
        peaks = places[order[np.r_[starts[1:], len(places)] - 1]]
        large = totals >= threshold * self.noise[peaks // lengths]
        return peaks[large] // lengths, peaks[large] % lengths + 1, totals[large]


def deconvolve(traces, *, decay=None, baseline=None, penalty=None):
    """Find the events behind fluorescence traces.

    Parameters
    ----------
    traces : ndarray of shape (N, T) or (T,)
        Fluorescence or dF/F of N cells in T frames.
    decay : float or ndarray of shape (N,), optional
        Factor by which calcium decays from frame to frame, ``exp(-1 / (time constant * frame rate))``.
        Left out: estimated per cell from the autocovariance, which noise makes uncertain.
    baseline : float or ndarray of shape (N,), optional
        Resting level. Left out: the median of all that lies at most two standard deviations of the noise
        above it.
    penalty : float or ndarray of shape (N,), optional
        Weight of the sum of events. Left out: so much that what remains has the variance of the noise.

    Returns
    -------
    Deconvolution

    Raises
    ------
    CalzooError
        If the traces hold NaN or infinity, or fewer than three frames.
    ValueError
        If `decay` is not between 0 and 1, or `penalty` is negative.
    """
    traces = np.atleast_2d(np.asarray(traces, np.float64))
    if traces.ndim != 2 or traces.shape[1] < 3:
        message = (
            f"deconvolve: expected traces (cells, frames) of at least 3 frames, got shape {traces.shape}"
        )
        raise CalzooError(message)
    if not np.isfinite(traces).all():
        cell = np.flatnonzero(~np.isfinite(traces).all(axis=1))[0]
        message = f"deconvolve: trace {cell} holds NaN or infinity. Leave it out, or fill the gap"
        raise CalzooError(message)
    noise = estimate_noise(traces)
    baseline = _resting_level(traces, noise) if baseline is None else _each(baseline, traces)
    decay = estimate_decay(traces) if decay is None else _each(decay, traces)
    if not ((decay > 0) & (decay < 1)).all() or (penalty is not None and np.min(penalty) < 0):
        message = f"deconvolve: expected 0 < decay < 1 and penalty >= 0, got decay={decay}, penalty={penalty}"
        raise ValueError(message)
    changes = traces - baseline[:, None]
    pools = _Pools(changes, decay)
    pools.merge(np.zeros(len(traces)))
    penalty = _noise_penalty(pools, changes, noise) if penalty is None else _each(penalty, traces)
    pools = pools.copy()
    pools.merge(penalty)
    events, calcium = pools.solution(penalty)
    return Deconvolution(
        events.astype(np.float32), calcium.astype(np.float32), baseline, noise, decay, penalty
    )


def estimate_noise(traces):
    """Return the standard deviation of the noise of each trace: that of successive differences.

    Parameters
    ----------
    traces : ndarray of shape (N, T)

    Returns
    -------
    ndarray of shape (N,)
        From the median of the absolute differences, so that transients do not count.
    """
    return np.median(np.abs(np.diff(traces, axis=1)), axis=1) / 0.954


def estimate_decay(traces):
    """Return by which factor each trace decays from frame to frame.

    Parameters
    ----------
    traces : ndarray of shape (N, T)

    Returns
    -------
    ndarray of shape (N,)
        The ratio of successive autocovariances at lags 1 to 10 (noise is only in that at lag 0),
        by least squares, cut to 0.3 ... 0.998.
    """
    centred = traces - traces.mean(axis=1, keepdims=True)
    length = traces.shape[1]
    covariance = np.stack(
        [
            np.einsum("nt,nt->n", centred[:, lag:], centred[:, : length - lag])
            for lag in range(1, min(LAGS, length - 1) + 1)
        ]
    )
    products, squares = (covariance[1:] * covariance[:-1]).sum(axis=0), (covariance[:-1] ** 2).sum(axis=0)
    ratio = np.divide(products, squares, out=np.full(len(traces), FASTEST), where=squares > 0)
    return np.clip(ratio, FASTEST, SLOWEST)


class _Pools:
    """Runs of frames in which calcium only decays, of all cells one after the other."""

    def __init__(self, changes, decay):
        n, length = changes.shape
        self.shape = changes.shape
        self._log = np.log(decay)
        self.cell = np.repeat(np.arange(n), length)
        self.start = np.tile(np.arange(length), n)
        self.length = np.ones(n * length, np.int64)
        self.total = changes.ravel().copy()  # sum of g^k y(start + k)

    def copy(self):
        """Return pools that can be merged further while these stay."""
        other = object.__new__(_Pools)
        other.__dict__.update(self.__dict__)
        return other

    def merge(self, penalty):
        """Merge neighbours until calcium never falls faster than it decays.

        More penalty only merges more, so pools that were merged with less are a valid start.
        """
        while True:
            value, fall = self.values(penalty)
            joined = value[1:] < fall[:-1] * value[:-1]
            joined &= self.cell[1:] == self.cell[:-1]
            if not joined.any():
                return
            # If a pool must join the next one, and this one the one after it, all three are one.
            first = np.flatnonzero(np.r_[True, ~joined])
            run = np.cumsum(np.r_[0, ~joined])
            later = np.exp(self._log[self.cell] * (self.start - self.start[first][run]))
            self.total = np.add.reduceat(self.total * later, first)
            self.length = np.add.reduceat(self.length, first)
            self.cell, self.start = self.cell[first], self.start[first]

    def values(self, penalty):
        """Return the calcium at the start of each pool, and the factor by which it falls to the next."""
        fall = np.exp(self._log[self.cell] * self.length)
        return (self.total - penalty[self.cell] * self.price(fall)) / self.squares(fall), fall

    def price(self, fall):
        """Return what a unit of calcium at the start of each pool adds to the sum of events."""
        is_last = self.start + self.length == self.shape[1]
        return np.where(is_last, 1, 1 - fall)

    def squares(self, fall):
        """Return the sum of g^(2k) over each pool."""
        return (1 - fall**2) / (1 - np.exp(2 * self._log))[self.cell]

    def solution(self, penalty):
        """Return events and calcium, (N, T) float64."""
        value, fall = self.values(penalty)
        value = np.maximum(value, 0)
        jump = value.copy()
        jump[1:] -= np.where(self.cell[1:] == self.cell[:-1], fall[:-1] * value[:-1], 0)
        events = np.zeros(self.shape)
        events[self.cell, self.start] = np.maximum(jump, 0)
        return events, self.spread(value)

    def spread(self, value):
        """Let a value per pool decay along its frames, (N, T)."""
        age = np.arange(self.shape[1]) - np.repeat(self.start, self.length).reshape(self.shape)
        return np.repeat(value, self.length).reshape(self.shape) * np.exp(self._log[:, None] * age)


def _noise_penalty(free, changes, noise):
    """Return the penalty of each cell at which the residual has the variance of the noise.

    With the pools of one penalty the residual is a quadratic function of the next: Newton's method,
    started from below.
    """
    aim = noise**2 * changes.shape[1]
    penalty = np.zeros(len(changes))
    for _ in range(NEWTON_STEPS):
        pools = free.copy()
        pools.merge(penalty)
        value, fall = pools.values(penalty)
        residual = changes - pools.spread(np.maximum(value, 0))
        slope = pools.spread(np.where(value > 0, pools.price(fall) / pools.squares(fall), 0))
        a, b = (slope**2).sum(axis=1), (residual * slope).sum(axis=1)
        c = (residual**2).sum(axis=1) - aim
        step = np.sqrt(np.maximum(b**2 - a * c, 0)) - b
        step = np.divide(step, a, out=np.zeros_like(a), where=a > 0)
        penalty = np.maximum(penalty + step, 0)
        if np.abs(c).max(initial=0) <= 1e-4 * aim.max(initial=0):
            break
    return penalty


def _resting_level(traces, noise):
    """Return the median of the samples of each trace that are not part of a transient."""
    level = np.median(traces, axis=1)
    for _ in range(10):
        resting = np.where(traces < (level + 2 * noise)[:, None], traces, np.nan)
        lower = np.nanmedian(np.where(np.isnan(resting).all(axis=1)[:, None], traces, resting), axis=1)
        if np.allclose(lower, level, atol=1e-3 * noise.max(initial=0)):
            break
        level = lower
    return level


def _each(value, traces):
    """Return one value per trace."""
    return np.broadcast_to(np.asarray(value, np.float64), len(traces)).copy()
