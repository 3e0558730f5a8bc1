"""Windows of simulated one-photon recordings as the network of the centres sees them."""

from dataclasses import dataclass

import numpy as np

from calzoo.imaging.center_channels import CELL_PX, grid_for, window_channels
from calzoo.simulation.fields import log_uniform
from calzoo.simulation.one_photon import simulate_one_photon
from calzoo.training.centers_visibility import CLEAR, DOUBTFUL, SHARE, SHARP, clarity, visibility

_SIDE = 112  # pixels of the grid: a tile and some freedom
_LOOKS = {"raw": 0.35, "df": 0.4, "background_removed": 0.25}
_STREAKED = 0.35  # share of the recordings with streaks
_FASTEST_HZ = 10.0  # faster recordings are averaged down, as at inference


@dataclass(frozen=True)
class Window:
    """What is seen of a window of a recording, and the truth.

    Attributes
    ----------
    channels : ndarray of float16, (h, w, C)
        Of `calzoo.imaging.center_channels`.
    centers : ndarray of float32, (N, 2)
        (y, x) in pixels of the grid, of all cells that may be seen.
    radii : ndarray of float32, (N,)
        In pixels of the grid.
    clear : ndarray of bool, (N,)
        Whether the cell should be found; the others may be found or not.
    labels : ndarray of int16, (h, w)
        1 + the row of the cell whose body covers the pixel, 0 for none.
    frames : int
        Frames in the window.
    """

    channels: np.ndarray
    centers: np.ndarray
    radii: np.ndarray
    clear: np.ndarray
    labels: np.ndarray
    frames: int


@dataclass(frozen=True)
class Simulated:
    """A simulated recording, and how wide its cells are taken to be."""

    recording: object
    diameter_px: float  # what the grid is laid for: about that of the cells


def draw_recording(seed, number):
    """Draw recording `number`: a laboratory, a look, a diameter of its own.

    Returns
    -------
    Simulated
    """
    # The simulator draws from (seed, number, 0), which is the same stream as (seed, number).
    rng = np.random.default_rng([seed, number, 2])
    cell_um, diameter = rng.uniform(10, 17), rng.uniform(6.5, 11.5)
    # The pipeline knows the diameter only about, and the network is to say what it is.
    taken = diameter * np.exp(np.clip(rng.normal(0, 0.15), -0.35, 0.35))
    side = int(np.ceil(_SIDE * taken / CELL_PX))
    look = str(rng.choice(list(_LOOKS), p=list(_LOOKS.values())))
    rate = log_uniform(rng, 4, 30)
    size = max(int(np.ceil(rate / _FASTEST_HZ)), 1)
    count = int(rng.integers(140, 320))
    recording = simulate_one_photon(
        [seed, number],
        (count * size, side, side),
        style=look,
        cell_um=cell_um,
        pixel_um=cell_um / diameter,
        frame_rate_hz=rate,
        # Half a minute must show what recordings of many minutes show.
        density=log_uniform(rng, 600, 5000),
        rate_hz=log_uniform(rng, 0.04, 0.4),
    )
    return Simulated(recording if size == 1 else recording.binned(size), taken)


def windows(simulated, spans, frames=None):
    """Return what is seen in some windows of a simulated recording.

    Parameters
    ----------
    simulated : Simulated
    spans : sequence of (int, int)
        First frame of each window, and the one after the last.
    frames : ndarray, (T, Y, X), optional
        Those of the recording, where they are there already.

    Returns
    -------
    list of Window
    """
    recording = simulated.recording
    frames = recording.frames() if frames is None else frames
    grid = grid_for(recording.shape[1:], simulated.diameter_px)
    visible = visibility(recording, grid)
    return [_window(recording, grid, visible, frames, span) for span in spans]


def _window(recording, grid, visible, frames, span):
    cells = recording.cells
    snr, share = clarity(recording, visible, span)
    centers = grid.to_grid(cells.centers)
    inside = ((centers > -0.5) & (centers < np.array(grid.shape) - 0.5)).all(axis=1)
    seen = np.flatnonzero((snr >= DOUBTFUL) & (share >= 0.5 * SHARE) & inside)
    clear = (snr[seen] >= CLEAR) & (visible.contrast[seen] >= SHARP) & (share[seen] >= SHARE)
    labels = cells.masks.select(seen).labels()
    at = grid.to_frame(np.stack(np.indices(grid.shape), axis=-1))
    rows, columns = np.clip(np.round(at).astype(int), 0, np.array(labels.shape) - 1).T
    return Window(
        window_channels(frames, grid, *span).astype(np.float16),
        centers[seen].astype(np.float32),
        (cells.radii[seen] / np.mean(grid.step)).astype(np.float32),
        clear,
        labels[rows, columns].reshape(grid.shape).astype(np.int16),
        span[1] - span[0],
    )


def training_windows(seed, number):
    """Return the windows of a training recording: the whole, and two parts of it."""
    simulated = draw_recording(seed, number)
    count = simulated.recording.shape[0]
    rng = np.random.default_rng([seed, number, 4])
    frames = simulated.recording.frames()
    if rng.random() < _STREAKED:
        frames = with_streaks(rng, frames, simulated.diameter_px)
    spans = [(0, count)]
    for _ in range(2):
        length = int(rng.integers(min(48, count - 1), count))
        start = int(rng.integers(0, count - length + 1))
        spans.append((start, start + length))
    return windows(simulated, spans, frames)


def with_streaks(rng, frames, diameter):
    """Add bright bars that flash and shift, as real recordings have them from lost lines and specks.

    Parameters
    ----------
    rng : numpy.random.Generator
    frames : ndarray, (T, Y, X)
    diameter : float
        Of a cell, in pixels: bars are longer and mostly thinner.

    Returns
    -------
    ndarray of the same type
    """
    changed = frames.astype(np.float32)
    noise = np.median(np.abs(np.diff(changed[:: max(len(frames) // 20, 1)], axis=0))) + 1e-3
    rows, columns = np.indices(frames.shape[1:])
    for _ in range(rng.integers(1, 5)):
        center = rng.uniform(0, 1, 2) * frames.shape[1:]
        angle = rng.normal(0, 0.06) if rng.random() < 0.7 else rng.uniform(0, np.pi)
        length, width = diameter * rng.uniform(1.5, 6), diameter * rng.uniform(0.08, 0.3)
        for _ in range(rng.integers(2, 10)):
            y, x = center + rng.normal(0, 0.2 * diameter, 2)
            along = (columns - x) * np.cos(angle) + (rows - y) * np.sin(angle)
            across = (rows - y) * np.cos(angle) - (columns - x) * np.sin(angle)
            bar = np.exp(-0.5 * (across / width) ** 2) / (1 + np.exp((np.abs(along) - length / 2) / width))
            first = int(rng.integers(0, len(frames)))
            changed[first : first + int(rng.integers(1, 20))] += noise * rng.uniform(5, 40) * bar
    if frames.dtype.kind == "f":
        return changed
    limits = np.iinfo(frames.dtype)
    return np.clip(np.round(changed), limits.min, limits.max).astype(frames.dtype)
