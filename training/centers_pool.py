"""Simulated one-photon recordings as the network of the centres sees them, kept on disk.

Simulating takes longer than training, and the pictures that the network sees are
small: so every recording is drawn once and kept as ``NUMBER.npz`` in a folder::

    python -m calzoo.training.centers_pool -o POOL --processes 2
    calzoo train centers -o RUN --data POOL

A recording depends on the seed and its number alone. What is missing in the folder
is drawn when it is needed.
"""

import argparse
import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from scipy import sparse
from tqdm import tqdm

from calzoo.errors import CalzooError
from calzoo.imaging.center_channels import (
    CELL_PX,
    CELL_SIGMA,
    CHANNELS,
    SURROUND_SIGMA,
    grid_for,
    window_channels,
)
from calzoo.simulation.one_photon import simulate_one_photon
from calzoo.training.pools import claim
from calzoo.training.simulated import VALIDATION

#: Changes whenever the same number would give another recording.
POOL_VERSION = 7
#: How clearly a cell must stand out to be one that should be found, and from when on it may be found.
CLEAR, DOUBTFUL = 5.0, 2.0
#: Least contrast of a cell that should be found, over that of an evenly bright disk: else it is out of focus.
SHARP = 0.45
#: Least part of all change at its centre that a cell's own light has, at its brightest moment.
SHARE = 0.5

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
    """A simulated recording, how wide its cells are taken to be, and how they are told."""

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
    rate = float(np.exp(rng.uniform(np.log(4), np.log(30))))
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
        density=float(np.exp(rng.uniform(np.log(600), np.log(5000)))),
        rate_hz=float(np.exp(rng.uniform(np.log(0.04), np.log(0.4)))),
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


@dataclass(frozen=True)
class Visibility:
    """How the cells of a recording can be told from everything else, without noise.

    Attributes
    ----------
    contrast : ndarray of float, (N,)
        How each cell stands out from its surroundings, over an evenly bright disk as wide as the
        grid takes cells to be; less for cells out of focus.
    step : float
        Pixels of a frame per pixel of the grid.
    own, total : ndarray of float32, (N, T)
        Light of the cell alone, and of everything, behind the band-pass at the cell's centre; in photons.
    """

    contrast: np.ndarray
    step: float
    own: np.ndarray
    total: np.ndarray


def visibility(recording, grid):
    """Measure how cells stand out in tissue that does not move.

    Parameters
    ----------
    recording : calzoo.simulation.recordings.Recording
    grid : calzoo.imaging.center_channels.Grid

    Returns
    -------
    Visibility
    """
    cells, step = recording.cells, float(np.mean(grid.step))
    weights = _band_pass_at(cells.centers, recording.shape[1:], step)
    response = np.asarray((weights.T @ cells.footprints).diagonal())
    ideal = sum(
        sign * (1 - np.exp(-((CELL_PX / 2) ** 2) / (2 * sigma**2)))
        for sigma, sign in ((CELL_SIGMA, 1), (SURROUND_SIGMA, -1))
    )
    lit = (weights * recording.illumination.reshape(-1, 1)).tocsr()
    height, width = recording.shape[1:]
    places = np.indices((height, width)).reshape(2, -1) + recording.margin
    pixels = places[0] * (width + 2 * recording.margin) + places[1]
    total = sum(
        np.asarray(lit.T @ layer.weights[pixels] @ layer.traces) for layer in recording.layers.values()
    )
    own = np.asarray((lit.T @ cells.footprints).diagonal())[:, None] * cells.traces
    return Visibility(response / ideal, step, own.astype(np.float32), total.astype(np.float32))


def _band_pass_at(centers, shape, step):
    """Return the weights (Y * X, N) of the band-pass that ends in each centre."""
    reach = int(np.ceil(2.5 * SURROUND_SIGMA * step))
    near = np.stack(np.indices((2 * reach + 1, 2 * reach + 1)) - reach, axis=-1).reshape(-1, 2)
    places = np.round(centers).astype(int)[:, None] + near  # (N, P, 2)
    distance = ((places - centers[:, None]) ** 2).sum(-1)
    weight = np.zeros(distance.shape)
    for sigma, sign in ((CELL_SIGMA, 1), (SURROUND_SIGMA, -1)):
        variance = (sigma * step) ** 2
        weight += sign * np.exp(-distance / (2 * variance)) / (2 * np.pi * variance)
    inside = ((places >= 0) & (places < shape)).all(-1)
    cell = np.broadcast_to(np.arange(len(centers))[:, None], inside.shape)[inside]
    pixel = places[inside] @ np.array([shape[1], 1])
    return sparse.csr_array((weight[inside], (pixel, cell)), shape=(shape[0] * shape[1], len(centers)))


def clarity(recording, seen, span):
    """Return how clearly each cell stands out in some frames.

    Parameters
    ----------
    recording : calzoo.simulation.recordings.Recording
    seen : Visibility
    span : (int, int)
        First frame, and the one after the last.

    Returns
    -------
    snr : ndarray of float, (N,)
        Largest change in standard deviations of the noise, behind the band-pass.
    share : ndarray of float, (N,)
        The cell's part of all change at its centre, at that moment.
    """
    cells, span = recording.cells, slice(*span)
    if not len(cells):
        return np.zeros(0), np.zeros(0)
    own = seen.own - np.median(seen.own, axis=1, keepdims=True)
    rest = seen.total - seen.own
    rest = np.abs(rest - np.median(rest, axis=1, keepdims=True))
    moment = own[:, span].argmax(axis=1)[:, None]
    now = np.clip(np.take_along_axis(own[:, span], moment, 1)[:, 0], 0, None)
    beside = np.take_along_axis(rest[:, span], moment, 1)[:, 0]
    part_of_all = now / np.maximum(own.max(axis=1), 1e-9)
    # The snr of the truth is that of the mean over the mask; the band-pass averages a disk of its own.
    disk = 0.5 * CELL_PX * seen.step / np.maximum(cells.radii, 1e-9)
    snr = cells.snr * disk * np.clip(seen.contrast, 0, None) * part_of_all * np.sqrt(recording.exposures)
    return snr, now / np.maximum(now + beside, 1e-9)


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


class Pool:
    """Windows of recordings by number, kept in a folder.

    Parameters
    ----------
    seed : int
    folder : path-like, optional
        Absent: nothing is kept.

    Raises
    ------
    CalzooError
        If the folder holds recordings of another seed or version, or something else.
    """

    def __init__(self, seed, folder=None):
        self.seed, self.folder = seed, None if folder is None else Path(folder)
        if self.folder is not None:
            pool = f"centers pool, version {POOL_VERSION}, seed {seed}, {len(CHANNELS)} pictures"
            claim(self.folder, pool, hint="Mind that this recipe learns from no other data. ")

    def windows(self, number):
        """Return the windows of a recording, list of Window."""
        path = None if self.folder is None else self.folder / f"{number:07d}.npz"
        if path is not None and path.exists():
            return _read(path)
        made = training_windows(self.seed, number)
        if path is not None:
            _write(path, made)
        return made


def _write(path, made):
    arrays = {f"{name}_{i}": value for i, window in enumerate(made) for name, value in vars(window).items()}
    part = path.with_suffix(f".{os.getpid()}.part")
    with open(part, "wb") as file:
        np.savez_compressed(file, **arrays)
    os.replace(part, path)


def _read(path):
    """Read what `_write` wrote.

    Raises
    ------
    CalzooError
        If the file is damaged.
    """
    try:
        return _windows(path)
    except (OSError, EOFError, ValueError, KeyError, BadZipFile) as error:
        message = f"{path}: expected a recording of a pool, got {error}; remove it, and it is drawn again."
        raise CalzooError(message) from error


def _windows(path):
    with open(path, "rb") as raw, np.load(raw) as file:
        count = sum(name.startswith("frames_") for name in file.files)
        names = Window.__dataclass_fields__
        return [
            Window(
                **{
                    name: file[f"{name}_{i}"] if name != "frames" else int(file[f"{name}_{i}"])
                    for name in names
                }
            )
            for i in range(count)
        ]


def main(argv=None):
    """Draw recordings into a folder; recordings that are there are left as they are."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("-o", "--output", required=True, type=Path, metavar="POOL")
    parser.add_argument("-n", "--recordings", type=int, default=900)
    parser.add_argument("--validation", type=int, default=24, help="recordings for validation")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=1, help="recordings that are drawn at a time")
    args = parser.parse_args(argv)
    Pool(args.seed, args.output)  # refuses a folder of another seed before the work begins
    numbers = [*range(VALIDATION, VALIDATION + args.validation), *range(args.recordings)]
    if args.processes == 1:
        for number in tqdm(numbers):
            _draw(args.seed, args.output, number)
        return
    with ProcessPoolExecutor(args.processes) as processes:
        waiting = [processes.submit(_draw, args.seed, args.output, number) for number in numbers]
        for done in tqdm(waiting):
            done.result()


def _draw(seed, folder, number):
    Pool(seed, folder).windows(number)


if __name__ == "__main__":
    main()
