"""Masks of cells from the files in which people keep labels."""

import json
from pathlib import Path

import numpy as np

from calzoo.errors import CalzooError
from calzoo.imaging.imagej_rois import read_rois
from calzoo.imaging.masks import Masks, read_label_picture, read_labels, read_masks
from calzoo.training.cells_cover import masks_from_cover

#: How many cells cover each pixel; one cell is not told from another.
COVER = "_semantic.tif"


def read_any_masks(path, shape):
    """Read masks from any file of labels that is known here.

    Parameters
    ----------
    path : path-like
        .npz, label image, cover image, ImageJ ROIs, or regions as JSON.
    shape : tuple of int
        Of the frame, (Y, X), where the file does not say.

    Returns
    -------
    Masks
    """
    path = Path(path)
    if path.suffix == ".npz":
        with np.load(path) as file:
            groups = [name.removesuffix("_indptr") for name in file.files if name.endswith("_indptr")]
        best = [g for g in ("cells", "final", "grader1", "neurofinder", "neuroseg3") if g in groups]
        return read_masks(path, best[0] if best else None)
    if path.suffix == ".zip":
        return read_rois(path, shape)
    if path.suffix == ".json":
        return read_regions(path, shape)
    if path.name.endswith(COVER):
        return masks_from_cover(read_label_picture(path))
    return read_labels(path)


def read_regions(path, shape):
    """Read regions as Neurofinder and CaImAn write them: a list of objects with ``coordinates``.

    Parameters
    ----------
    path : path-like
        JSON.
    shape : tuple of int
        Of the frame, (Y, X); pixels beyond it are dropped.

    Returns
    -------
    Masks
    """
    try:
        regions = json.loads(Path(path).read_text(encoding="utf-8"))
        pixels = [np.asarray(region["coordinates"], int).reshape(-1, 2) for region in regions]
    except (ValueError, KeyError, TypeError) as error:
        message = f'{path}: expected a list of objects with "coordinates", got {error!r}.'
        raise CalzooError(message) from error
    inside = [p[((p >= 0) & (p < shape)).all(axis=1)] for p in pixels]
    return Masks.from_pixels(shape, [(p[:, 0], p[:, 1]) for p in inside if len(p)])
