"""Simulated recordings as files that the rest of the package reads."""

from dataclasses import asdict
from pathlib import Path

import numpy as np

from calzoo.imaging.masks import write_masks
from calzoo.imaging.outputs import write_table
from calzoo.imaging.writers import write_movie, write_volume
from calzoo.simulation.one_photon import simulate_one_photon
from calzoo.simulation.two_photon import simulate_registration, simulate_two_photon

# What `calzoo simulate TASK` draws.
SIMULATORS = {
    "cells": simulate_two_photon,
    "registration": simulate_registration,
    "centers": simulate_one_photon,
}


def write_recording(folder, recording, *, prefix="", flow=False):
    """Write a movie and its truth.

    Parameters
    ----------
    folder : str or os.PathLike
        An existing folder. It gets, each name after `prefix`: ``movie.tif``; ``masks.npz`` (group
        ``cells``); ``centers.csv`` (place, size and visibility of each cell); ``traces.csv`` (photons per
        frame at the brightest point of each cell) and ``spikes.csv``, one column for each cell.
    recording : Recording
    prefix : str, optional
        For several recordings in one folder, for example ``"003_"``.
    flow : bool, optional
        Also write ``flow.npy``, (T, H, W, 2) float32: registered(y, x) = movie(y + dy, x + dx); and
        ``template.tif``, the mean of the tissue without motion.

    Returns
    -------
    dict
        What was drawn: seed, shape, number of cells, and all parameters of the style, for run.json.

    Raises
    ------
    CalzooError
        If a file cannot be written.
    """
    folder = Path(folder)
    cells = recording.cells
    write_movie(folder / f"{prefix}movie.tif", recording, overwrite=True)
    write_masks(folder / f"{prefix}masks.npz", cells=cells.masks)
    write_table(folder / f"{prefix}centers.csv", _centers(cells))
    frame = {
        "frame": np.arange(len(recording)),
        "time_s": np.arange(len(recording)) / recording.frame_rate_hz,
    }
    for name, values in (("traces", cells.traces), ("spikes", cells.spikes)):
        columns = {f"cell_{number}": row for number, row in enumerate(values, 1)}
        write_table(folder / f"{prefix}{name}.csv", frame | columns)
    if flow:
        _write_flow(folder / f"{prefix}flow.npy", recording)
        template = recording.without_motion().mean_clean() * recording.detector.gain
        voxel = (None, *recording.pixel_um)
        write_volume(folder / f"{prefix}template.tif", template[None], voxel_um=voxel)
    return {
        "prefix": prefix,
        "seed": recording.seed,
        "shape": recording.shape,
        "cells": len(cells),
        "style": asdict(recording.style),
    }


def _centers(cells):
    return {
        "y": cells.centers[:, 0],
        "x": cells.centers[:, 1],
        "radius_px": cells.radii,
        "depth_um": cells.depths_um,
        "snr": cells.snr,
        "clarity": cells.clarity,
        "in_focus": cells.in_focus.astype(int),
        "active": cells.active.astype(int),
        "visible": cells.visible.astype(int),
    }


def _write_flow(path, recording, step=16):
    """Write the flow some frames at a time."""
    flow = np.lib.format.open_memmap(path, "w+", np.float32, (*recording.shape, 2))
    for start in range(0, len(recording), step):
        flow[start : start + step] = recording.flow(start, start + step)
    flow.flush()
    flow._mmap.close()  # Windows cannot move a file that is open
