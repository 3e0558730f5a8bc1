"""Pictures of cells with labels, from folders, as the cell recipes train on them.

Each picture is told by its name and what lies beside it:

================================= =================================================================
``00000.npz``, ``00001.npz``, ... a pool of simulated scenes; see `calzoo.training.cells_pool`
``L175_501271265.png``            Allen Brain Observatory [1]_, with ``..._masks.npz``
``00.00_mean.tif``                Neurofinder [2]_, with ``..._masks.npz`` and ``..._region.json``, or with
                                  ``..._semantic.tif`` alone; its labels miss cells, so unmarked places that
                                  look like one are not background
``NAME.tif``, ``NAME.png``        own pictures, with one of the following of the same ``NAME``
================================= =================================================================

Labels of own pictures: ``NAME_masks.npz`` (see `calzoo.imaging.masks`), ``NAME_labels.tif`` or
``NAME_label.tif`` (one integer per cell), ``NAME_rois.zip`` or ``NAME.zip`` (ImageJ), ``NAME_regions.json``
(``[{"coordinates": [[row, column], ...]}, ...]``; also ``regions.json`` and ``consensus_regions.json`` in a
folder with one picture). A movie takes the place of a picture as ``NAME.tif`` of several frames.
``NAME_semantic.tif`` holds how many cells cover each pixel; cells are then told apart by their shape
(`calzoo.training.cells_cover`), which is good enough to train on, not to be scored by.

References
----------
.. [1] Soltanian-Zadeh et al., PNAS 2019. doi:10.1073/pnas.1812995116
.. [2] https://github.com/codeneuro/neurofinder
"""

import json
import re
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image

from calzoo.errors import CalzooError
from calzoo.imaging.cell_pictures import median_diameter, resize, resize_masks, scaled_shape
from calzoo.imaging.masks import Masks
from calzoo.imaging.movies import open_movie
from calzoo.imaging.normalisation import normalise
from calzoo.imaging.summary import summary_images
from calzoo.training.cells_labels import COVER, read_any_masks
from calzoo.training.cells_pool import pool_files, read_scene
from calzoo.training.fingerprints import digest

#: Pictures that can stand for the channel of the same name, or for the brightness.
BRIGHTNESS = ("mean", "median", "maximum")
_CORRELATION = ("correlation", "gaussian_correlation")
_DEVIATION = ("standard_deviation",)
#: A simulated cell that is seen less clearly is background, one that is seen more clearly a cell.
_CLEAR, _HIDDEN = 0.5, 0.3
_ACTIVE, _SILENT = 6.0, 3.0
#: ... beyond the focal plane it must stand out more, as its light is real, but its outline is not sharp.
_CLEAR_BEYOND, _ACTIVE_BEYOND = 0.65, 15.0
_ALLEN = re.compile(r"L\d{3}_\d+")
_NEUROFINDER = re.compile(r"(\d\d)\.(\d\d)(\.test)?_mean")
#: Planes of one volume lie above each other: the first part of their names, and how many there are.
_VOLUMES = {"00": 4}
_LABELS = (
    "_masks.npz",
    "_labels.tif",
    "_labels.tiff",
    "_label.tif",
    "_label.tiff",
    "_rois.zip",
    ".zip",
    "_regions.json",
    COVER,
)
_SHARED_LABELS = ("regions.json", "consensus_regions.json")


@dataclass(frozen=True, eq=False)
class CellPicture:
    """Pictures of one field of view and its cells.

    Attributes
    ----------
    name : str
    source : str
        "simulation", "abo", "neurofinder" or "own".
    field : str
        Pictures of the same one never part: all are trained on, or all are held out.
    pictures : dict of str to ndarray of float32, (Y, X)
        By kind: those of `calzoo.training.cells_pool.PICTURES`.
    masks : Masks
    known : ndarray of bool, (Y, X)
        Where pixels that are in no mask are background.
    facts : dict of str to ndarray, (N,)
        Of simulated cells how well they can be seen; empty where all masks are cells.
    parted : bool
        Whether the labels tell one cell from another; else that was done by shape.
    """

    name: str
    source: str
    field: str
    pictures: dict
    masks: Masks
    known: np.ndarray
    facts: dict
    parted: bool = True

    @property
    def shape(self):
        """(Y, X)."""
        return self.masks.shape

    def status(self, present):
        """Tell of each mask whether it can be seen.

        Parameters
        ----------
        present : sequence of bool
            Which of correlation, brightness and deviation are shown.

        Returns
        -------
        ndarray of int8, (N,)
            1: a cell; -1: nothing to be seen; 0: nobody knows.
        """
        if not self.facts:
            return np.ones(len(self.masks), np.int8)
        clear, snr = self.facts["clarity"], self.facts["snr"] * self.facts["active"]
        focus = self.facts["in_focus"].astype(bool)
        seen, hidden = clear >= np.where(focus, _CLEAR, _CLEAR_BEYOND), clear < _HIDDEN
        if present[0] or present[2]:
            seen |= snr >= np.where(focus, _ACTIVE, _ACTIVE_BEYOND)
            hidden &= snr < _SILENT
        return np.where(seen, 1, np.where(hidden, -1, 0)).astype(np.int8)

    def scaled(self, diameter):
        """Return the pictures, normalised already, with cells of a median `diameter` in pixels."""
        factor = diameter / self.diameter()
        shape = scaled_shape(self.shape, factor)
        return replace(
            self,
            pictures={kind: resize(picture, shape) for kind, picture in self.pictures.items()},
            masks=resize_masks(self.masks, shape),
            known=resize(self.known, shape) > 0.5,
        )

    def diameter(self):
        """Return the median diameter of the cells in pixels, of those that can be seen if any."""
        seen = self.status((True, True, True)) > 0
        return median_diameter(self.masks.select(seen) if seen.any() else self.masks)

    def normalised(self, normalisation):
        """Return the pictures as the networks take them."""
        pictures = {
            kind: normalise(picture[None], normalisation)[0] for kind, picture in self.pictures.items()
        }
        return replace(self, pictures=pictures)

    def fingerprint(self):
        """Return what the picture is, as JSON."""
        named = [(np.bytes_(kind.encode()), self.pictures[kind]) for kind in sorted(self.pictures)]
        masks = (self.masks.row, self.masks.col, self.masks.indptr)
        known = (np.packbits(self.known), np.uint8(self.parted))
        content = digest(*(part for pair in named for part in pair), *masks, *known)
        return {"shape": list(self.shape), "cells": len(self.masks), "sha256": content}


def channel_kinds(kinds):
    """Return the kinds of picture that can stand for correlation, brightness and deviation.

    Parameters
    ----------
    kinds : collection of str
        What there is.

    Returns
    -------
    tuple of tuple of str
        Empty where there is none for a channel.
    """
    wanted = (_CORRELATION, BRIGHTNESS, _DEVIATION)
    return tuple(tuple(kind for kind in group if kind in kinds) for group in wanted)


def read_cell_pictures(folder, *, scenes=None):
    """Read all pictures of a folder.

    Parameters
    ----------
    folder : path-like
    scenes : int, optional
        At most so many of a pool, the first ones.

    Returns
    -------
    list of CellPicture
        By name. Pictures without labels are left out, which is said on the standard error.

    Raises
    ------
    CalzooError
        If the folder holds no picture with labels, or a pair does not fit.
    """
    folder = Path(folder)
    if pool_files(folder):
        return [scene_picture(read_scene(path), path.stem) for path in pool_files(folder)[:scenes]]
    read = {path.name: _picture(path, folder) for path in sorted(folder.glob("*")) if _may_be_picture(path)}
    found = [picture for picture in read.values() if picture is not None]
    if not found:
        message = (
            f"{folder}: expected a pool of scenes (python -m calzoo.training.cells_pool -o DIR), or pictures "
            f"with labels (NAME.tif with one of NAME{', NAME'.join(_LABELS)}), found none."
        )
        raise CalzooError(message)
    without = [name for name, picture in read.items() if picture is None]
    if without:
        listed = ", ".join(without[:3]) + f" and {len(without) - 3} more" * (len(without) > 3)
        print(f"calzoo: {folder}: without labels beside them, and left out: {listed}.", file=sys.stderr)
    return found


def scene_picture(scene, name):
    """Return a simulated `calzoo.training.cells_pool.Scene` as a CellPicture."""
    known = np.ones(scene.masks.shape, bool)
    return CellPicture(
        name, "simulation", f"simulation/{name}", scene.pictures, scene.masks, known, scene.facts
    )


def _may_be_picture(path):
    is_label = path.name.endswith(_LABELS)
    return path.suffix.lower() in (".png", ".tif", ".tiff") and not is_label


def _picture(path, folder):
    """Read a picture with its labels; None where it has none."""
    stem = path.stem.removesuffix("_mean")
    labels = [folder / f"{stem}{ending}" for ending in _LABELS]
    if len([p for p in folder.glob("*") if _may_be_picture(p)]) == 1:
        labels += [folder / name for name in _SHARED_LABELS]
    labels = [p for p in labels if p.is_file()]
    if not labels:
        return None
    pictures = _read_pictures(path)
    shape = next(iter(pictures.values())).shape
    masks = read_any_masks(labels[0], shape)
    if masks.shape != shape:
        message = f"{labels[0]}: the masks are for frames of {masks.shape} pixels, {path.name} has {shape}."
        raise CalzooError(message)
    masks = masks.select(masks.areas > 0)  # programs keep cells that were erased as empty masks
    source, field = _origin(path)
    known = _known_region(folder / f"{stem}_region.json", shape)
    parted = not labels[0].name.endswith(COVER)
    return CellPicture(stem, source, field, pictures, masks, known, {}, parted)


def _origin(path):
    """Return the source of a picture, and its field of view."""
    if _ALLEN.fullmatch(path.stem):
        return "abo", f"abo/{path.stem}"
    name = _NEUROFINDER.fullmatch(path.stem)
    if name:
        lowest = int(name[2]) - int(name[2]) % _VOLUMES.get(name[1], 1)
        return "neurofinder", f"neurofinder/{name[1]}.{lowest:02d}"
    return "own", f"own/{path.stem}"


def _read_pictures(path):
    """Return the pictures of a file by kind: the summary images of a movie, or one picture."""
    if path.suffix.lower() == ".png":
        picture = np.asarray(Image.open(path).convert("F"), np.float32)
        return {"mean": picture}
    with tifffile.TiffFile(path) as tif:  # a movie may be larger than the memory
        series = tif.series[0]
        if series.ndim == 2:
            return {"mean": series.asarray().astype(np.float32)}
    with open_movie(path) as movie:
        images = summary_images(movie)
    kinds = (*_CORRELATION, *BRIGHTNESS, *_DEVIATION)
    return {kind: np.asarray(getattr(images, kind), np.float32) for kind in kinds}


def _known_region(path, shape):
    """Return where labels were made, (Y, X) bool."""
    known = np.zeros(shape, bool)
    if not path.is_file():
        return ~known
    (box,) = json.loads(path.read_text(encoding="utf-8")).values()
    row, col, height, width = box
    known[row : row + height, col : col + width] = True
    return known
