"""Recordings with stimuli: a movie and its table from a folder, or a simulated field."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from calzoo.errors import CalzooError
from calzoo.imaging.masks import read_masks
from calzoo.imaging.movies import open_movie
from calzoo.imaging.outputs import write_table
from calzoo.imaging.stimuli import read_stimuli
from calzoo.simulation.stimulus import simulate_stimulus

_MOVIES = ("frames.tif", "movie.tif", "frames.npy", "movie.npy", "frames.tiff", "movie.h5", "frames.zip")
_TABLES = ("stimuli.csv", "labels.csv")


@dataclass(frozen=True)
class Recorded:
    """One recording of a field.

    Attributes
    ----------
    name, source : str
        Source: "own" or "simulation".
    frames : ndarray, (T, Y, X)
        As recorded.
    stimuli : calzoo.imaging.stimuli.Stimuli
    masks : ndarray of bool, (A, Y, X), or None
    """

    name: str
    source: str
    frames: np.ndarray
    stimuli: object
    masks: np.ndarray | None = None


def read_recorded(folder, *, after, cells=None):
    """Read a recording and its table.

    Parameters
    ----------
    folder : path-like or tuple
        A folder with frames.tif (or movie.tif, ...), stimuli.csv or labels.csv, and
        conditions.csv and masks.npz if there are such; or (frames, table), (frames, table, conditions)
        or (frames, table, conditions, further arguments of `open_movie`).
    after : int
        Frames after the onset.
    cells : int, optional
        K; see `calzoo.imaging.stimuli.read_stimuli`.

    Returns
    -------
    Recorded

    Raises
    ------
    CalzooError
        If a file is missing or does not fit.
    """
    frames, table, conditions, masks, reading = _files(folder)
    with open_movie(frames, **reading) as movie:
        stimuli = read_stimuli(
            table,
            frames=len(movie),
            frame_rate_hz=movie.frame_rate_hz,
            conditions=conditions,
            cells=cells,
            after=after,
            label=str(frames),
        )
        array = movie.frames(0, len(movie))
    found = read_masks(masks).stack() if masks else None
    if found is not None and found.shape[1:] != array.shape[1:]:
        message = (
            f"{masks}: expected masks of {array.shape[1:]} pixels as {frames} has, got {found.shape[1:]}."
        )
        raise CalzooError(message)
    name = Path(frames).absolute().parent.name or Path(frames).stem
    return Recorded(name, "own", array, stimuli, found)


def simulated(settings, *, after):
    """Simulate a recording.

    Parameters
    ----------
    settings : mapping
        Arguments of `calzoo.simulation.stimulus.simulate_stimulus`, `seed` among them if it is not 0.
    after : int
        Frames after the onset.

    Returns
    -------
    Recorded
    """
    settings = dict(settings)
    seed = settings.pop("seed", 0)
    made = simulate_stimulus(seed, **settings)
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "stimuli.csv"
        write_table(table, made.table)
        stimuli = read_stimuli(table, frames=len(made.frames), after=after)
    return Recorded(f"field-{seed}", "simulation", made.frames, stimuli, made.masks)


def _files(folder):
    if isinstance(folder, tuple):
        frames, table, conditions, reading = (*folder, None, None)[:4]
        return frames, table, conditions, None, reading or {}
    folder = Path(folder)
    frames = [folder / name for name in _MOVIES if (folder / name).exists()]
    tables = [folder / name for name in _TABLES if (folder / name).exists()]
    if not frames or not tables:
        message = (
            f"{folder}: expected a recording ({', '.join(_MOVIES[:3])}, ...) and its table "
            f"({' or '.join(_TABLES)}), found {'no recording' if not frames else 'no table'}. "
            "Give them these names, or links of these names; 'calzoo simulate stimulus -o DIR' writes "
            "an example."
        )
        raise CalzooError(message)
    others = (folder / "conditions.csv", folder / "masks.npz")
    return frames[0], tables[0], *(path if path.exists() else None for path in others), {}
