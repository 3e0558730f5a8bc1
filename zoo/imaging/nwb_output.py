"""Cells as an NWB file: PlaneSegmentation, fluorescence, deconvolved activity, summary images."""

import datetime
import uuid

import numpy as np

from calzoo.errors import CalzooError
from calzoo.imaging.outputs import output_file

UNKNOWN_RATE_HZ = 1.0


def write_nwb(
    path,
    masks,
    scores,
    traces=None,
    *,
    pictures=None,
    frame_rate_hz=None,
    pixel_um=None,
    spikes=None,
    description="cells found by calzoo",
    session_start=None,
):
    """Write cells and their traces in the NWB format [1]_; needs pynwb.

    Parameters
    ----------
    path : path-like
        Ends in ``.nwb``.
    masks : Masks
    scores : ndarray, (N,)
    traces : Traces, optional
        Fluorescence and neuropil.
    pictures : mapping of str to ndarray, (Y, X), optional
        Summary images by name.
    frame_rate_hz : float, optional
        Where it is not known, series are written with one frame per second and say so.
    pixel_um : tuple of float, optional
        (y, x).
    spikes : ndarray, (N, T), optional
        Deconvolved activity.
    description : str, optional
    session_start : datetime.datetime, optional
        With a time zone; by default the time of writing.

    Raises
    ------
    CalzooError
        If pynwb is not installed, or the file cannot be written.

    References
    ----------
    .. [1] Rübel et al., "The Neurodata Without Borders ecosystem", eLife 2022. doi:10.7554/eLife.78362
    """
    try:
        import pynwb
        from pynwb import ophys
    except ImportError as error:
        message = "an NWB file needs pynwb, which is not installed; run: python -m pip install 'calzoo[nwb]'."
        raise CalzooError(message) from error
    start = session_start or datetime.datetime.now(datetime.UTC)
    file = pynwb.NWBFile(
        session_description=description, identifier=str(uuid.uuid4()), session_start_time=start
    )
    plane = _imaging_plane(file, ophys, frame_rate_hz, pixel_um)
    module = file.create_processing_module(
        "ophys", "cells found by calzoo in the summary images of a recording"
    )
    table = ophys.PlaneSegmentation(
        name="PlaneSegmentation",
        description="one row for each cell, the best score first",
        imaging_plane=plane,
    )
    table.add_column("score", "probability that this is a cell, 0 to 1")
    for (rows, cols), score in zip(masks, scores, strict=True):
        pixels = [(int(x), int(y), 1.0) for y, x in zip(rows, cols, strict=True)]
        table.add_roi(pixel_mask=pixels, score=float(score))
    module.add(ophys.ImageSegmentation(plane_segmentations=[table]))
    if traces is not None and len(masks):
        region = table.create_roi_table_region("all cells", region=list(range(len(masks))))
        _add_traces(module, ophys, region, traces, spikes, frame_rate_hz)
    if pictures:
        _add_pictures(module, pictures)
    with output_file(path) as part, pynwb.NWBHDF5IO(str(part), "w") as writer:
        writer.write(file)


def _imaging_plane(file, ophys, frame_rate_hz, pixel_um):
    device = file.create_device("Microscope", description="two-photon microscope; nothing else is known")
    channel = ophys.OpticalChannel(
        name="OpticalChannel", description="calcium indicator, green", emission_lambda=520.0
    )
    options = {}
    if frame_rate_hz:
        options["imaging_rate"] = float(frame_rate_hz)
    if pixel_um:
        options |= {
            "grid_spacing": [float(pixel_um[1]), float(pixel_um[0])],
            "grid_spacing_unit": "micrometers",
        }
    return file.create_imaging_plane(
        name="ImagingPlane",
        optical_channel=channel,
        description="plane of the recording",
        device=device,
        excitation_lambda=920.0,
        indicator="unknown",
        location="unknown",
        **options,
    )


def _add_traces(module, ophys, region, traces, spikes, frame_rate_hz):
    """Add RoiResponseSeries, (T, N) as NWB has them."""
    rate = float(frame_rate_hz or UNKNOWN_RATE_HZ)
    comment = (
        "no comments" if frame_rate_hz else "the frame rate is not known: one frame is written as a second"
    )
    groups = {"Fluorescence": {"RoiResponseSeries": traces.cells, "Neuropil": traces.neuropil}}
    if spikes is not None:
        groups["Deconvolved"] = {"DeconvolvedActivity": spikes}
    for name, series in groups.items():
        container = ophys.Fluorescence(name=name)
        for label, values in series.items():
            container.add_roi_response_series(
                ophys.RoiResponseSeries(
                    name=label,
                    data=np.ascontiguousarray(values.T),
                    rois=region if label == "RoiResponseSeries" else _again(region),
                    unit="a.u.",
                    rate=rate,
                    comments=comment,
                )
            )
        module.add(container)


def _again(region):
    """Return the same rows once more: each series holds a region of its own."""
    return region.table.create_roi_table_region(region.description, region=list(region.data))


def _add_pictures(module, pictures):
    from pynwb.base import Images
    from pynwb.image import GrayscaleImage

    images = Images("SummaryImages", description="what the networks saw")
    for name, picture in pictures.items():
        # NWB's pictures are (x, y).
        images.add_image(GrayscaleImage(name=name, data=np.asarray(picture, np.float32).T))
    module.add(images)
