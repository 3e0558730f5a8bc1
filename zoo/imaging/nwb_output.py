"""Cells as an NWB file: PlaneSegmentation, fluorescence, deconvolved activity, summary images."""

import datetime
import os
import uuid

import numpy as np

from calzoo.errors import CalzooError
from calzoo.imaging.outputs import output_file

UNKNOWN_RATE_HZ = 1.0
_SERIES = {
    "RoiResponseSeries": "mean over the pixels that each cell shares with no other",
    "Neuropil": "mean over the ring around each cell",
    "DeconvolvedActivity": "events behind the fluorescence, 0.7 times the neuropil subtracted",
}


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
    metadata=None,
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
    metadata : mapping, optional
        What only the laboratory knows: fields of `pynwb.NWBFile` ("experimenter", "institution",
        "session_start_time" in ISO format, ...), "location" of the imaging plane, and "subject", a mapping
        of fields of `pynwb.file.Subject`.
        nwbinspector asks for these.

    Raises
    ------
    CalzooError
        If pynwb is not installed, the metadata are not those of NWB, or the file cannot be written.

    References
    ----------
    .. [1] Rübel et al., "The Neurodata Without Borders ecosystem", eLife 2022. doi:10.7554/eLife.78362
    """
    pynwb, ophys = _pynwb()
    file, plane = _new_file(pynwb, ophys, metadata, frame_rate_hz, pixel_um)
    module = file.create_processing_module(
        "ophys", "cells found by calzoo in the summary images of a recording"
    )
    if len(masks):  # NWB has no tables without rows
        table = _add_masks(module, ophys, plane, masks, scores)
        if traces is not None:
            region = table.create_roi_table_region("all cells", region=list(range(len(masks))))
            _add_traces(module, ophys, region, traces, spikes, frame_rate_hz)
    if pictures:
        _add_pictures(module, pictures)
    with output_file(path) as part:
        named = part.with_name(part.name + ".nwb")  # pynwb warns of any other ending
        try:
            with pynwb.NWBHDF5IO(str(named), "w") as writer:
                writer.write(file)
            os.replace(named, part)
        finally:
            named.unlink(missing_ok=True)


def check_nwb(metadata=None):
    """Refuse what `write_nwb` would refuse, before there is anything to write.

    Parameters
    ----------
    metadata : mapping, optional
        As for `write_nwb`.

    Raises
    ------
    CalzooError
    """
    _new_file(*_pynwb(), metadata, None, None)


def _pynwb():
    """Return pynwb and its module of optical physiology."""
    try:
        import pynwb
        from pynwb import ophys
    except ImportError as error:
        message = "an NWB file needs pynwb, which is not installed; run: python -m pip install 'calzoo[nwb]'."
        raise CalzooError(message) from error
    return pynwb, ophys


def _new_file(pynwb, ophys, metadata, frame_rate_hz, pixel_um):
    """Return a file with its metadata and the plane of the recording, and nothing else."""
    from pynwb.file import Subject

    metadata = dict(metadata or {})
    location = metadata.pop("location", "unknown")
    subject = metadata.pop("subject", None)
    start = metadata.pop("session_start_time", None)
    try:
        start = datetime.datetime.fromisoformat(start) if start else datetime.datetime.now(datetime.UTC)
        fields = {
            "session_description": "cells found by calzoo in a two-photon recording",
            "identifier": str(uuid.uuid4()),
            "experiment_description": "cells and their fluorescence, from the summary images of a recording",
            "keywords": ["calcium imaging", "two-photon", "segmentation"],
            **metadata,
        }
        file = pynwb.NWBFile(session_start_time=start, **fields)
        if subject:
            file.subject = Subject(**subject)
        return file, _imaging_plane(file, ophys, frame_rate_hz, pixel_um, location)
    except (TypeError, ValueError) as error:
        message = f"NWB metadata: expected fields of pynwb.NWBFile and of its Subject, got: {error}"
        raise CalzooError(message) from error


def _imaging_plane(file, ophys, frame_rate_hz, pixel_um, location):
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
        location=location,
        **options,
    )


def _add_masks(module, ophys, plane, masks, scores):
    """Add the table of cells, and return it."""
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
    return table


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
        module.add(container)
        for label, values in series.items():
            container.add_roi_response_series(
                ophys.RoiResponseSeries(
                    name=label,
                    description=_SERIES[label],
                    data=np.ascontiguousarray(values.T),
                    rois=region if label == "RoiResponseSeries" else _again(region),
                    unit="a.u.",
                    rate=rate,
                    comments=comment,
                )
            )


def _again(region):
    """Return the same rows once more: each series holds a region of its own."""
    return region.table.create_roi_table_region(region.description, region=list(region.data))


def _add_pictures(module, pictures):
    from pynwb.base import Images
    from pynwb.image import GrayscaleImage

    images = Images(name="SummaryImages", description="what the networks saw")
    for name, picture in pictures.items():
        # NWB's pictures are (x, y).
        data = np.asarray(picture, np.float32).T
        images.add_image(GrayscaleImage(name=name, data=data, description=f"{name} of the recording"))
    module.add(images)
