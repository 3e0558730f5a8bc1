"""The files of found centres, by the network as by a fit: tables, masks, and what other programs read."""

import numpy as np

from calzoo.imaging.cell_files import trace_table
from calzoo.imaging.imagej_rois import write_rois
from calzoo.imaging.masks import write_masks
from calzoo.imaging.outputs import output_file, write_table


def write_centers(folder, found, *, pixel_um=None, frame_rate_hz=None, more=None):
    """Write centers.csv, traces.csv, and the masks as masks.npz, labels.tif and rois.zip.

    Parameters
    ----------
    folder : pathlib.Path
        An existing folder.
    found : calzoo.inference.centers.Centers or calzoo.training.centers_fit.CentersFit
    pixel_um : tuple of float, optional
        (y, x); absent, the columns in micrometres are empty.
    frame_rate_hz : float, optional
        Absent, the column of seconds is empty.
    more : dict of str to sequence, optional
        Further columns of centers.csv.
    """
    import tifffile

    write_table(folder / "centers.csv", center_table(found, pixel_um) | (more or {}))
    write_table(folder / "traces.csv", trace_table(found.traces, frame_rate_hz))
    write_masks(folder / "masks.npz", cells=found.masks)
    with output_file(folder / "labels.tif") as part:
        tifffile.imwrite(part, found.masks.labels(), compression="zlib")
    write_rois(folder / "rois.zip", found.masks)


def center_table(found, pixel_um=None):
    """Return the columns of centers.csv.

    Parameters
    ----------
    found : calzoo.inference.centers.Centers or calzoo.training.centers_fit.CentersFit
    pixel_um : tuple of float, optional
        (y, x); absent, the columns in micrometres are empty.

    Returns
    -------
    dict of str to sequence
    """
    count = len(found.points)
    peak = found.traces.max(axis=1, initial=0)
    side = (np.nan, np.nan) if pixel_um is None else pixel_um
    return {
        "y": found.points[:, 0],
        "x": found.points[:, 1],
        "score": found.scores,
        "id": np.arange(1, count + 1),
        "radius_px": found.radii,
        "y_um": found.points[:, 0] * side[0],
        "x_um": found.points[:, 1] * side[1],
        "radius_um": found.radii * np.sqrt(side[0] * side[1]),
        "area_px": found.masks.areas,
        "hits_frames": found.hits,
        "peak_to_noise": np.where(found.noise > 0, peak / np.where(found.noise > 0, found.noise, 1), np.nan),
    }
