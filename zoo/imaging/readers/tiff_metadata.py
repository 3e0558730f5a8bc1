"""What the metadata of a TIFF say: ImageJ, OME and the plain tags."""

import xml.etree.ElementTree as ElementTree

from calzoo.imaging.readers.pages import Facts
from calzoo.imaging.readers.units import micrometres, seconds

_CENTIMETRE = 3  # of the tag ResolutionUnit; inches (2) are what picture programs write without meaning it


def facts_of(tif, series):
    """Return the facts that a TIFF states beside its pixels.

    Parameters
    ----------
    tif : tifffile.TiffFile
        The open file.
    series : tifffile.TiffPageSeries
        The series of pages that is read.

    Returns
    -------
    Facts
    """
    if tif.is_ome and series.kind == "ome":
        return _ome(tif.ome_metadata)
    if tif.is_imagej and series.kind == "imagej":
        return _imagej(tif.imagej_metadata or {}, tif.pages.first)
    return Facts(voxel_um=_voxel(None, *_tag_pixel(tif.pages.first)))


def _voxel(z, y, x):
    return None if z is None and y is None and x is None else (z, y, x)


def _per_unit(page, name):
    """Return the pixel's side in the file's unit: the tag holds pixels per unit."""
    tag = page.tags.get(name)
    if tag is None:
        return None
    try:
        count, per = tag.value
        return per / count
    except (TypeError, ValueError, ZeroDivisionError):
        return None


def _tag_pixel(page):
    unit = page.tags.get("ResolutionUnit")
    if unit is None or int(unit.value) != _CENTIMETRE:
        return None, None
    return tuple(micrometres(_per_unit(page, name), "cm") for name in ("YResolution", "XResolution"))


def _imagej(meta, page):
    unit = meta.get("unit", "")
    x, y = (micrometres(_per_unit(page, name), unit) for name in ("XResolution", "YResolution"))
    if not unit:
        y, x = _tag_pixel(page)
    z = micrometres(meta.get("spacing"), unit)
    rate = _imagej_rate(meta)
    frames, slices = meta.get("frames", 1), meta.get("slices", 1)
    return Facts(
        voxel_um=_voxel(z, y, x),
        frame_rate_hz=rate,
        channel_names=_imagej_channels(meta),
        # ImageJ calls the pages of any plain stack "slices", a movie's too: a distance between them
        # tells planes, a rate tells frames.
        plain_stack=frames == 1 and slices > 1 and (z is None or bool(rate)),
        is_stack="slices" in meta or "frames" in meta,
    )


def _imagej_rate(meta):
    """Return frames per second: fps alone may be how fast ImageJ plays the movie."""
    interval = seconds(meta.get("finterval"), meta.get("tunit", "s"))
    shown = None if seconds(meta.get("fps")) is None else float(meta["fps"])
    # Of the same rate, fps has the digits that were meant.
    if not interval or (shown and abs(shown * interval - 1) < 1e-6):
        return shown
    return 1 / interval


def _imagej_channels(meta):
    labels = meta.get("Labels") or []
    count = int(meta.get("channels", 1))
    names = tuple(str(label).splitlines()[0] for label in labels[:count] if label)
    return names if len(names) == count and len(set(names)) == count else ()


def _ome(text):
    try:
        root = ElementTree.fromstring(text)
    except (ElementTree.ParseError, TypeError, ValueError):
        return Facts()
    pixels = next((e for e in root.iter() if e.tag.rpartition("}")[2] == "Pixels"), None)
    if pixels is None:
        return Facts()
    z, y, x = (
        micrometres(pixels.get(f"PhysicalSize{a}"), pixels.get(f"PhysicalSize{a}Unit", "um")) for a in "ZYX"
    )
    interval = seconds(pixels.get("TimeIncrement"), pixels.get("TimeIncrementUnit", "s"))
    names = [e.get("Name") for e in pixels if e.tag.rpartition("}")[2] == "Channel"]
    return Facts(
        voxel_um=_voxel(z, y, x),
        frame_rate_hz=1 / interval if interval else None,
        channel_names=tuple(names) if names and all(names) else (),
    )
