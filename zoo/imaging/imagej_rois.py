"""Masks as regions of interest of ImageJ and Fiji: a ZIP archive of .roi files."""

import zipfile
from pathlib import Path

import numpy as np

from calzoo.errors import CalzooError
from calzoo.imaging.contours import outline_polygons
from calzoo.imaging.masks import Masks, refuse_empty
from calzoo.imaging.outputs import output_file


def write_rois(path, masks, *, prefix="cell"):
    """Write the outer outline of each mask as a polygon.

    Parameters
    ----------
    path : path-like
        A .zip file.
    masks : Masks
        Mask i becomes ``cell_0001``, from 1 on. Holes are filled, and of several pieces the largest is
        written, as a polygon of ImageJ is one line.
    prefix : str, optional
    """
    import roifile

    refuse_empty(masks)
    with output_file(path) as part, zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as archive:
        for number, polygons in enumerate(outline_polygons(masks), 1):
            # ImageJ's pixel (0, 0) reaches from 0 to 1, ours from -0.5 to 0.5.
            corners = np.rint(polygons[0] + 0.5).astype(np.int32)[:, ::-1]
            name = f"{prefix}_{number:04d}"
            roi = roifile.ImagejRoi.frompoints(corners, name=name)
            roi.roitype = roifile.ROI_TYPE.POLYGON
            # Corners lie between pixels: the box ends at the last one, not a pixel beyond it.
            roi.right, roi.bottom = (int(side) for side in corners.max(axis=0))
            archive.writestr(f"{name}.roi", roi.tobytes())


def read_rois(path, shape):
    """Read regions of interest as masks.

    Parameters
    ----------
    path : path-like
        A .zip archive of ImageJ's, or one .roi file.
    shape : tuple of int
        Of the frame, (Y, X); what lies beyond it is cut off.

    Returns
    -------
    Masks
        Pixels whose centre lies inside; of ovals, rectangles, polygons, traced or freehand areas, and
        areas of several pieces or with holes. Lines and points are left out.

    Raises
    ------
    CalzooError
        If the file is damaged, holds no area, or one with curved sides.
    """
    import roifile

    path = Path(path)
    try:
        rois = roifile.roiread(path)
    except Exception as error:  # of roifile and zipfile, which have no common base
        message = f"{path}: expected regions of interest of ImageJ (.zip or .roi), got {error}"
        raise CalzooError(message) from error
    rois = rois if isinstance(rois, list) else [rois]
    found = [pixels for pixels in (_pixels(path, roi, shape) for roi in rois) if len(pixels[0])]
    if not found:
        message = f"{path}: expected areas, got {len(rois)} regions of which none covers a pixel."
        raise CalzooError(message)
    return Masks.from_pixels(shape, found)


def _pixels(path, roi, shape):
    """Return the rows and columns of the pixels inside of a region."""
    import roifile

    kind = roifile.ROI_TYPE
    areas = (kind.POLYGON, kind.FREEHAND, kind.TRACED, kind.OVAL, kind.RECT)
    if roi.roitype not in areas:
        return np.empty(0, int), np.empty(0, int)
    top, left = roi.top, roi.left
    if roi.shape_roi_size:  # of several pieces, or with holes; of the type of a rectangle, which is its box
        rows, cols, (top, left) = _composite(path, roi)
    elif roi.roitype == kind.OVAL:
        height, width = roi.bottom - roi.top, roi.right - roi.left
        y, x = np.mgrid[: max(height, 1), : max(width, 1)] + 0.5
        inside = ((y - height / 2) / (height / 2)) ** 2 + ((x - width / 2) / (width / 2)) ** 2 <= 1
        rows, cols = np.nonzero(inside)
    elif roi.roitype == kind.RECT:
        rows, cols = np.indices((roi.bottom - roi.top, roi.right - roi.left)).reshape(2, -1)
    else:
        corners = np.asarray(roi.integer_coordinates, float).reshape(-1, 2)[:, ::-1]
        rows, cols = np.nonzero(fill_polygon(corners))
    rows, cols = rows + top, cols + left
    kept = (rows >= 0) & (rows < shape[0]) & (cols >= 0) & (cols < shape[1])
    return rows[kept], cols[kept]


def _composite(path, roi):
    """Return the rows and columns of the pixels inside of a region of several outlines, and its corner."""
    try:
        outlines = roi.path2coords(roi.multi_coordinates)
    except (RuntimeError, IndexError) as error:  # NotImplementedError, of curves, is a RuntimeError
        message = (
            f"{path}: expected regions with straight sides, got {roi.name!r}, whose outline cannot be read "
            f"({error}); make it a polygon, or fill it (Edit > Selection > Create Mask) and trace it again."
        )
        raise CalzooError(message) from error
    corners = np.concatenate(outlines)[:, ::-1]
    first = np.floor(corners.min(axis=0)).astype(int)
    inside = np.zeros(np.maximum(np.ceil(corners.max(axis=0)).astype(int) - first, 1), bool)
    for outline in outlines:
        filled = fill_polygon(outline[:, ::-1] - first)
        inside[: filled.shape[0], : filled.shape[1]] ^= filled  # an outline within another one is a hole
    return *np.nonzero(inside), first


def fill_polygon(corners):
    """Fill a polygon by the even-odd rule.

    Parameters
    ----------
    corners : ndarray of float, (K, 2)
        (y, x) of the corners, none negative; pixel (0, 0) reaches from 0 to 1.

    Returns
    -------
    ndarray of bool, (Y, X)
        True where the centre of a pixel lies inside.
    """
    height, width = (int(np.ceil(side)) for side in corners.max(axis=0))
    y = np.arange(max(height, 1)) + 0.5
    x = np.arange(max(width, 1)) + 0.5
    crossed = np.zeros((len(y), len(x)), int)
    for (y0, x0), (y1, x1) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        if y0 == y1:
            continue
        rows = np.flatnonzero((y >= min(y0, y1)) & (y < max(y0, y1)))
        at = x0 + (y[rows] - y0) * (x1 - x0) / (y1 - y0)
        crossed[rows] += x[None, :] > at[:, None]
    return crossed % 2 == 1
