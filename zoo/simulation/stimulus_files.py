"""Simulated recordings of photostimulation as files that training and inference read."""

from dataclasses import asdict
from pathlib import Path

from calzoo.imaging.masks import Masks, write_masks
from calzoo.imaging.outputs import write_table
from calzoo.imaging.writers import write_movie


def write_stimulation(folder, recording):
    """Write a recording and its truth.

    Parameters
    ----------
    folder : path-like
        An existing folder. It gets ``frames.tif``; ``stimuli.csv``, one row per
        stimulus; ``masks.npz``, the stimulated cells first (group ``cells``); and
        ``coupling.csv``, how much each cell (row) is driven when a cell (column) is stimulated.
    recording : calzoo.simulation.stimulus.Stimulation

    Returns
    -------
    dict
        What was drawn, for run.json.

    Raises
    ------
    CalzooError
        If a file cannot be written.
    """
    folder = Path(folder)
    rate = recording.style.frame_rate_hz
    write_movie(folder / "frames.tif", recording.frames, frame_rate_hz=rate, overwrite=True)
    write_table(folder / "stimuli.csv", recording.table)
    write_masks(folder / "masks.npz", cells=Masks.from_stack(recording.masks))
    columns = {f"from_{k + 1}": recording.coupling[:, k] for k in range(recording.coupling.shape[1])}
    write_table(folder / "coupling.csv", {"cell": range(1, len(recording.coupling) + 1), **columns})
    return {"shape": recording.frames.shape, "style": asdict(recording.style)}
