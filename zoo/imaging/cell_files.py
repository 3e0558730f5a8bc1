"""All files of a cell result: masks, label image, ROIs, tables, picture, and what other programs read."""

import warnings

import numpy as np
from scipy import sparse

from calzoo.errors import CalzooError
from calzoo.imaging.cell_overlay import draw_cells
from calzoo.imaging.imagej_rois import write_rois
from calzoo.imaging.masks import count_of_cells, write_masks
from calzoo.imaging.outputs import CURATION_FILES, output_file, write_run_json, write_table
from calzoo.imaging.suite2p_folder import FILES, deconvolved, write_suite2p
from calzoo.imaging.traces import trace_delta_f_over_f

#: Tables of one column for each cell.
TRACE_TABLES = ("traces.csv", "neuropil.csv", "corrected.csv", "dff.csv")
#: What `write_cells` writes of movies alone.
OF_MOVIES = (*TRACE_TABLES, *(f"suite2p/{name}" for name in FILES))
#: What a folder may hold of other cells, whichever command found them, that a new result may lack.
STALE = (
    *CURATION_FILES,
    *OF_MOVIES,
    *("cells.csv", "caiman_A.npz", "cells.nwb"),
    *("centers.csv", "stages.png", "on_mask.png", "pictures.png", "histograms.png"),
    *("centers.npz", "recipe.json", "trajectories.png", "losses.png"),  # of a fit
)


def write_cells(
    folder, found, *, title="", pixel_um=None, frame_rate_hz=None, baseline_frames=600, nwb=False, facts=None
):
    """Write a result.

    Parameters
    ----------
    folder : pathlib.Path
        An existing folder.
    found : CellDetection
        See `calzoo.inference.cells`.
    title : str, optional
        Name of the recording, for the picture.
    pixel_um : tuple of float, optional
        (y, x).
    frame_rate_hz : float, optional
    baseline_frames : int, optional
        Frames in the window of the baseline of dF/F.
    nwb : bool or mapping, optional
        Also write cells.nwb, with metadata where a mapping is given.
    facts : dict, optional
        For run.json.
    """
    import tifffile

    masks = found.masks
    write_masks(folder / "masks.npz", cells=masks)
    with output_file(folder / "labels.tif") as part:
        tifffile.imwrite(part, masks.labels(), compression="zlib")
    write_rois(folder / "rois.zip", masks)
    write_table(folder / "cells.csv", cell_table(found, pixel_um))
    write_caiman(folder / "caiman_A.npz", masks)
    shown = {kind: found.pictures[kind] for kind in ("brightness", "correlation") if kind in found.pictures}
    traces = found.traces
    spikes = None
    if traces is not None:
        _write_traces(folder, traces, frame_rate_hz, baseline_frames)
        spikes = _write_suite2p(folder / "suite2p", found, frame_rate_hz)
    if nwb:
        from calzoo.imaging.nwb_output import write_nwb

        write_nwb(
            folder / "cells.nwb",
            masks,
            found.scores,
            traces,
            pictures=found.pictures,
            frame_rate_hz=frame_rate_hz,
            pixel_um=pixel_um,
            spikes=spikes,
            metadata=None if nwb is True else nwb,
        )
    height, width = masks.shape
    draw_cells(
        folder / "overlay.png",
        shown or found.pictures,
        masks,
        found.heat,
        scores=found.scores,
        traces=None if traces is None else traces.cells,
        frame_rate_hz=frame_rate_hz,
        title=f"{title}   {height} x {width}   {count_of_cells(len(masks))}",
    )
    write_run_json(folder, **(facts or {}))


def cell_table(found, pixel_um=None):
    """Return the columns of cells.csv.

    Parameters
    ----------
    found : CellDetection
    pixel_um : tuple of float, optional
        (y, x); absent, the columns in micrometres are empty.

    Returns
    -------
    dict of str to sequence
    """
    masks = found.masks
    centers = masks.centers if len(masks) else np.empty((0, 2))
    areas = masks.areas
    um2 = float(np.prod(pixel_um)) if pixel_um else float("nan")
    height, width = masks.shape
    edge = [
        bool(
            (rows == 0).any() or (cols == 0).any() or (rows == height - 1).any() or (cols == width - 1).any()
        )
        for rows, cols in masks
    ]
    count = masks.count()
    shared = [int((count[rows, cols] > 1).sum()) for rows, cols in masks]
    columns = {
        "y": centers[:, 0],
        "x": centers[:, 1],
        "score": found.scores,
        "id": np.arange(1, len(masks) + 1),
        "area_px": areas,
        "diameter_px": 2 * np.sqrt(areas / np.pi),
        "area_um2": areas * um2,
        "diameter_um": 2 * np.sqrt(areas * um2 / np.pi),
        "shared_px": shared,
        "at_edge": np.array(edge, bool),
    }
    if found.traces is not None:
        columns["neuropil_px"] = found.traces.ring_pixels
    return columns


def trace_table(traces, frame_rate_hz=None):
    """Return the columns of a table of traces: frame, time (empty without a frame rate), one for each cell.

    Parameters
    ----------
    traces : ndarray of shape (N, T)
    frame_rate_hz : float, optional

    Returns
    -------
    dict of str to ndarray, (T,)
    """
    frames = np.arange(traces.shape[1])
    seconds = frames / frame_rate_hz if frame_rate_hz else np.full(len(frames), np.nan)
    cells = {f"cell_{number}": trace for number, trace in enumerate(traces, 1)}
    return {"frame": frames, "time_s": seconds, **cells}


def _write_traces(folder, traces, frame_rate_hz, baseline_frames):
    """Write the fluorescence of cells, that of their neuropil, what is left without it, and its dF/F."""
    corrected = traces.corrected()
    try:
        change = trace_delta_f_over_f(corrected, window=baseline_frames)
    except CalzooError as error:  # all else of the result is good
        warnings.warn(f"dff.csv stays empty. {error}", stacklevel=2)
        change = np.full_like(corrected, np.nan)
    values = (traces.cells, traces.neuropil, corrected, change)
    for name, one in zip(TRACE_TABLES, values, strict=True):
        write_table(folder / name, trace_table(one, frame_rate_hz))


def write_caiman(path, masks):
    """Write masks as CaImAn's seeds: a sparse matrix (pixels, cells), pixels in Fortran order.

    Read with ``scipy.sparse.load_npz`` and pass as ``Ain`` to ``CNMF``; each column has norm 1.
    """
    height, width = masks.shape
    rows = masks.col.astype(np.int64) * height + masks.row
    columns = np.repeat(np.arange(len(masks)), masks.areas)
    values = np.repeat(1 / np.sqrt(np.maximum(masks.areas, 1)), masks.areas).astype(np.float32)
    matrix = sparse.csc_matrix((values, (rows, columns)), shape=(height * width, len(masks)))
    with output_file(path) as part, open(part, "wb") as file:
        sparse.save_npz(file, matrix)


def _write_suite2p(folder, found, frame_rate_hz):
    """Write the folder of Suite2p; return the deconvolved traces."""
    spikes = deconvolved(found.traces)
    diameter = found.diameter_px if np.isfinite(found.diameter_px) else 12.0
    write_suite2p(
        folder,
        found.masks,
        found.scores,
        found.traces,
        pictures=found.pictures,
        diameter=diameter,
        frame_rate_hz=frame_rate_hz,
        spikes=spikes,
    )
    return spikes
