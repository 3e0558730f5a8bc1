"""Cells as a folder of Suite2p: what its viewer and the tools that read it expect."""

from pathlib import Path

import numpy as np

from calzoo.imaging.masks import refuse_empty
from calzoo.imaging.traces import neuropil_rings, without_shared

#: What is written, within the folder.
FILES = tuple(f"plane0/{name}.npy" for name in ("F", "Fneu", "spks", "iscell", "stat", "ops"))

UNKNOWN_RATE_HZ = 10.0  # what Suite2p takes by default
_SAMPLES = 2**21  # that are deconvolved together, which takes some hundred bytes for each


def write_suite2p(
    folder, masks, scores, traces, *, pictures=None, diameter=12.0, frame_rate_hz=None, spikes=None
):
    """Write stat, F, Fneu, spks, iscell and ops as Suite2p does [1]_.

    Parameters
    ----------
    folder : path-like
        Made where it is not there; the files go to its ``plane0``.
    masks : Masks
    scores : ndarray, (N,)
        Become the second column of iscell.npy.
    traces : Traces
    pictures : mapping of str to ndarray, (Y, X), optional
        "brightness" becomes meanImg, "correlation" Vcorr, "deviation" sdImg.
    diameter : float, optional
        Of the cells, in pixels.
    frame_rate_hz : float, optional
    spikes : ndarray, (N, T), optional
        Deconvolved activity; by default it is computed.

    References
    ----------
    .. [1] https://suite2p.readthedocs.io/en/latest/outputs/
    """
    plane = Path(folder) / "plane0"
    plane.mkdir(parents=True, exist_ok=True)
    cells, neuropil = traces.cells, traces.neuropil
    corrected = traces.corrected()
    spikes = deconvolved(traces) if spikes is None else spikes
    stat = suite2p_stat(masks, diameter)
    for cell, trace in zip(stat, corrected, strict=True):
        cell["std"] = float(trace.std())
        cell["skew"] = float(((trace - trace.mean()) ** 3).mean() / max(trace.std(), 1e-9) ** 3)
    found = np.stack([np.ones(len(masks)), np.asarray(scores, float)], axis=1)
    arrays = {
        "F": cells.astype(np.float32),
        "Fneu": neuropil.astype(np.float32),
        "spks": np.asarray(spikes, np.float32),
        "iscell": found.reshape(-1, 2),
    }
    for name, array in arrays.items():
        np.save(plane / f"{name}.npy", array)
    ops = suite2p_ops(masks.shape, cells.shape[1], diameter, frame_rate_hz, pictures or {})
    np.save(plane / "stat.npy", stat, allow_pickle=True)
    np.save(plane / "ops.npy", ops, allow_pickle=True)


def deconvolved(traces):
    """Return the events behind `Traces` without their neuropil, (N, T); zeros where nothing changes."""
    from calzoo.imaging.deconvolution import deconvolve

    traces = traces.corrected()
    spikes = np.zeros(traces.shape, np.float32)
    alive = np.flatnonzero(traces.std(axis=1) > 0) if traces.size else []
    if traces.shape[1] >= 3:
        cells = max(_SAMPLES // traces.shape[1], 1)
        for start in range(0, len(alive), cells):
            some = alive[start : start + cells]
            spikes[some] = deconvolve(traces[some]).events
    return spikes


def suite2p_stat(masks, diameter):
    """Return what stat.npy holds: one dict for each cell, an object array (N,)."""
    refuse_empty(masks)
    own = without_shared(masks)
    rings = neuropil_rings(masks)
    width = masks.shape[1]
    areas = masks.areas
    usual = np.median(areas) if len(areas) else 1.0
    stat = np.empty(len(masks), object)
    count = masks.count()
    for index, (rows, cols) in enumerate(masks):
        middle = np.array([np.median(rows), np.median(cols)])
        distance = np.hypot(rows - middle[0], cols - middle[1])
        # The disk of as many pixels is as compact as pixels can be.
        compact = max(distance.mean() / (np.sqrt(len(rows) / np.pi) * 2 / 3 + 1e-9), 1.0)
        axes = (
            np.sqrt(np.maximum(np.linalg.eigvalsh(np.cov(rows, cols)), 0)) if len(rows) > 2 else np.zeros(2)
        )
        stat[index] = {
            "ypix": rows.astype(np.int32),
            "xpix": cols.astype(np.int32),
            "lam": np.full(len(rows), 1 / len(rows), np.float32),
            "med": [int(middle[0]), int(middle[1])],
            "npix": len(rows),
            "npix_soma": len(rows),
            "npix_norm": float(len(rows) / usual),
            "npix_norm_no_crop": float(len(rows) / usual),
            "soma_crop": np.ones(len(rows), bool),
            "overlap": count[rows, cols] > 1,
            "radius": float(2 * axes.max()),
            "aspect_ratio": float(2 * axes.max() / (axes.sum() + 1e-9)),
            "compact": float(compact),
            "solidity": 1.0,
            "footprint": 1.0,
            "mrs": float(distance.mean() / max(diameter, 1e-9)),
            "mrs0": float(np.sqrt(len(rows) / np.pi) * 2 / 3 / max(diameter, 1e-9)),
            "skew": 0.0,
            "std": 0.0,
            "neuropil_mask": rings[index][0].astype(np.int64) * width + rings[index][1],
            "ipix_own": own[index][0].astype(np.int64) * width + own[index][1],
        }
    return stat


def suite2p_ops(shape, frames, diameter, frame_rate_hz, pictures):
    """Return what ops.npy holds."""
    empty = np.zeros(shape, np.float32)
    brightness = np.asarray(pictures.get("brightness", empty), np.float32)
    return {
        "Ly": int(shape[0]),
        "Lx": int(shape[1]),
        "nframes": int(frames),
        "fs": float(frame_rate_hz or UNKNOWN_RATE_HZ),
        "tau": 1.0,
        "nplanes": 1,
        "nchannels": 1,
        "functional_chan": 1,
        "diameter": float(diameter),
        "neucoeff": 0.7,
        "yrange": [0, int(shape[0])],
        "xrange": [0, int(shape[1])],
        "meanImg": brightness,
        "meanImgE": brightness,
        "max_proj": brightness,
        "Vcorr": np.asarray(pictures.get("correlation", empty), np.float32),
        "sdImg": np.asarray(pictures.get("deviation", empty), np.float32),
        "save_path": "",
        "suite2p_version": "written by calzoo",
    }
