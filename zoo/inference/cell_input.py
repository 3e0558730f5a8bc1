"""What the cell networks are given of a recording: normalised pictures, and where it was recorded at all."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from calzoo.imaging.cell_pictures import KINDS, crops, resize
from calzoo.imaging.diameters import aspect_of
from calzoo.imaging.normalisation import fill_nearest, measure


@dataclass(frozen=True)
class CellInput:
    """Pictures of a recording, or of a part of it.

    Attributes
    ----------
    image : ndarray of float32, (3, Y, X)
        Normalised; zeros where a picture is not present.
    present : ndarray of float32, (3,)
    recorded : ndarray of bool, (Y, X), or None
        Where the recording has data; None: everywhere. Elsewhere `image` goes on as what is nearest, so
        that there are no edges, and cells that are seen there are none.
    sides : tuple of float
        Of a pixel, (y, x), over their geometric mean: cells are round in micrometres, not in pixels.
    """

    image: np.ndarray
    present: np.ndarray
    recorded: np.ndarray | None = None
    sides: tuple[float, float] = (1.0, 1.0)

    @property
    def shape(self):
        """Of the pictures, (Y, X)."""
        return self.image.shape[1:]

    def factors(self, factor):
        """Return by how much to enlarge (y, x) for square pixels and cells `factor` times as large."""
        return tuple(factor * side for side in self.sides)

    def recorded_share(self, masks, places, shape):
        """Return which part of each mask was recorded.

        Parameters
        ----------
        masks : ndarray of bool, (N, side, side)
            In pictures of another size; the place is pixel ``side // 2`` of both axes.
        places : ndarray, (N, 2)
        shape : tuple of int
            The size of these pictures, (Y, X).

        Returns
        -------
        ndarray, (N,)
        """
        if self.recorded is None or not len(masks):
            return np.ones(len(masks))
        here = crops(resize(self.recorded[None], shape), places, masks.shape[-1])[..., 0]
        return (here * masks).sum(axis=(1, 2)) / np.maximum(masks.sum(axis=(1, 2)), 1)


def network_input(networks, pictures, pixel_um=None, valid=None):
    """Normalise pictures as the networks' cards say.

    Parameters
    ----------
    networks : CellNetworks
    pictures : Mapping of str to ndarray, (Y, X)
        From `calzoo.imaging.picture_files.as_pictures`.
    pixel_um : tuple of float, optional
        Sides of a pixel in micrometres, (y, x); left out, pixels are taken for square.
    valid : ndarray of bool, (Y, X), optional
        Where pictures show what was recorded, as far as is known.

    Returns
    -------
    CellInput
    """
    shape = next(iter(pictures.values())).shape
    present = np.array([kind in pictures for kind in KINDS], np.float32)
    image = np.zeros((len(KINDS), *shape), np.float32)
    recorded = np.ones(shape, bool) if valid is None else valid.copy()
    for channel, kind in enumerate(KINDS):
        if kind in pictures:
            picture = np.asarray(pictures[kind])
            inner = _inner(valid, kind)
            known = picture if valid is None else picture[inner]
            scaling = measure(lambda known=known: iter([known]), networks.normalisation)
            image[channel] = scaling.apply(picture)
            recorded &= scaling.recorded(picture)
            if valid is not None:
                fill_nearest(image[channel], scaling.recorded(picture) & inner, 0.0)
    if not recorded.any():
        recorded = valid
    recorded = None if recorded is None or recorded.all() else recorded
    return CellInput(image, present, recorded, aspect_of(pixel_um))


def _inner(valid, kind):
    """Return where a picture is of valid pixels alone: to a correlation their neighbours belong too."""
    if valid is None or kind != "correlation":
        return valid
    inner = ndimage.binary_erosion(valid, np.ones((3, 3)), border_value=1)
    return inner if inner.any() else valid
