"""How the brain moves under the microscope, frame by frame and line by line."""

from dataclasses import dataclass

import numpy as np

from calzoo.simulation.activity import smooth_traces
from calzoo.simulation.optics import random_field


@dataclass(frozen=True)
class Motion:
    """Motion of a whole recording: frame(y, x) = scene(y + dy, x + dx).

    Attributes
    ----------
    rigid : ndarray of float32, (T, S, 2)
        Displacement (dy, dx) in pixels at S equal steps within the scan of each frame; S is 1
        for a camera, which sees all lines at once.
    modes : ndarray of float32, (K, H, W, 2)
        Smooth fields of deformation, (dy, dx), standard deviation 1.
    weights : ndarray of float32, (T, K)
        Part of each field in each frame, in pixels.
    row_jitter : ndarray of float32, (T, H), or None
        Further displacement of each line along the columns, in pixels.
    """

    rigid: np.ndarray
    modes: np.ndarray
    weights: np.ndarray
    row_jitter: np.ndarray | None = None

    @property
    def reach(self):
        """Largest displacement in pixels along one axis, rounded up."""
        longest = float(np.abs(self.rigid).max(initial=0))
        for mode, weight in zip(self.modes, self.weights.T, strict=True):
            longest += float(np.abs(mode).max() * np.abs(weight).max())
        if self.row_jitter is not None:
            longest += float(np.abs(self.row_jitter).max())
        return int(np.ceil(longest))

    def fields(self, start, stop):
        """Return the motion of some frames, (stop - start, H, W, 2) float32, (dy, dx) in pixels."""
        height = self.modes.shape[1]
        fields = np.tensordot(self.weights[start:stop], self.modes, axes=1)  # (n, H, W, 2)
        steps = self.rigid.shape[1]
        if steps == 1:
            return fields + self.rigid[start:stop, :, None]
        where = np.clip((np.arange(height) + 0.5) / height * steps - 0.5, 0, steps - 1)
        left = np.minimum(where.astype(int), steps - 2)
        part = (where - left).astype(np.float32)[:, None]
        rows = (1 - part) * self.rigid[start:stop, left] + part * self.rigid[start:stop, left + 1]
        if self.row_jitter is not None:
            rows[..., 1] += self.row_jitter[start:stop]
        return fields + rows[:, :, None]


def draw_motion(
    rng,
    frames,
    shape,
    frame_rate_hz,
    *,
    drift,
    jitter,
    burst,
    bursts_per_minute,
    deformation,
    row_jitter,
    limit,
    scanned,
):
    """Draw the motion of a recording.

    Parameters
    ----------
    rng : numpy.random.Generator
    frames : int
        Number of frames T.
    shape : tuple of int
        (H, W) in pixels.
    frame_rate_hz : float
    drift : float
        Standard deviation in pixels of the slow drift, over a quarter of a minute.
    jitter : float
        Standard deviation in pixels of the motion within a second.
    burst : float
        Mean height in pixels of bursts, as when the animal runs or licks.
    bursts_per_minute : float
    deformation : float
        Standard deviation in pixels of non-rigid motion while there is as much rigid motion
        as usual.
    row_jitter : float
        Standard deviation in pixels of the displacement of single lines.
    limit : float
        Rigid displacements are bent so that they stay below this, in pixels; rows stay below a tenth.
    scanned : bool
        Whether lines are recorded one after another.

    Returns
    -------
    Motion
    """
    steps = 8 if scanned else 1
    count, rate = frames * steps, frame_rate_hz * steps
    path = drift * smooth_traces(rng, 2, count, rate, 15.0)
    path += 0.8 * jitter * smooth_traces(rng, 2, count, rate, 0.25)
    path += 0.6 * jitter * smooth_traces(rng, 2, count, rate, 0.05)
    path += burst * _bursts(rng, count, rate, bursts_per_minute)
    path -= np.median(path, axis=1, keepdims=True)
    path = limit * np.tanh(path / limit) if limit > 0 else 0 * path
    rigid = np.ascontiguousarray(path.T.reshape(frames, steps, 2), dtype=np.float32)
    modes, weights = _deformation(rng, rigid.mean(1), shape, frame_rate_hz, deformation)
    lines = None
    if row_jitter > 0:
        lines = 0.1 * limit * np.tanh(_line_jitter(rng, frames, shape[0], row_jitter) / (0.1 * limit))
    return Motion(rigid, modes, weights, lines)


def _bursts(rng, count, rate, per_minute):
    """Return bursts of mean height 1, (2, count): a push that swings back over 0.3 to 2 seconds."""
    path = np.zeros((2, count))
    for start in np.flatnonzero(rng.random(count) < per_minute / 60 / rate):
        t = np.arange(min(count - start, int(6 * rate))) / rate
        tau, swing = rng.uniform(0.15, 0.8), rng.uniform(0, 6)
        pulse = t / tau * np.exp(1 - t / tau) * (1 + 0.5 * np.sin(2 * np.pi * swing * t)) / 1.25
        direction = rng.normal(size=2)
        push = rng.exponential() * direction / np.linalg.norm(direction)
        path[:, start : start + len(t)] += push[:, None] * pulse
    return path


def _deformation(rng, rigid, shape, frame_rate_hz, deformation):
    """Return modes (K, H, W, 2) and weights (T, K): tissue bends more while it moves more."""
    if deformation <= 0:
        return np.zeros((0, *shape, 2), np.float32), np.zeros((len(rigid), 0), np.float32)
    widths = max(shape) * np.array([0.12, 0.25, 0.4])
    modes = np.stack([np.stack([random_field(rng, shape, w) for _ in "yx"], axis=-1) for w in widths])
    speed = np.linalg.norm(rigid, axis=1)
    usual = max(float(speed.mean()), 1e-6)
    own = smooth_traces(rng, len(modes), len(rigid), frame_rate_hz, 0.5).T
    weights = deformation * own * (0.4 + 0.6 * np.minimum(speed / usual, 3))[:, None] / np.sqrt(len(modes))
    # More than this would fold the tissue.
    most = 0.015 * max(shape)
    weights = most * np.tanh(weights / most)
    return modes.astype(np.float32), weights.astype(np.float32)


def _line_jitter(rng, frames, rows, size, memory=0.9):
    """Return displacements of lines (T, H) that follow an autoregressive walk along the lines."""
    steps = rng.standard_normal((frames, rows), dtype=np.float32)
    steps[:, 1:] *= np.float32(np.sqrt(1 - memory**2))
    walk = np.empty_like(steps)
    walk[:, 0] = steps[:, 0]
    for row in range(1, rows):
        walk[:, row] = memory * walk[:, row - 1] + steps[:, row]
    return np.float32(size) * walk
