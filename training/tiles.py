"""Training tiles: where they lie in a volume, and which of them are worth training on.

Tiles are cut by patchify [1]_, in its order: planes first, columns last. They
are views, so overlapping tiles of many volumes cost no memory.

References
----------
.. [1] https://pypi.org/project/patchify
"""

from dataclasses import dataclass

import numpy as np
from patchify import patchify

from calzoo.errors import CalzooError

#: Voxels with this label count in no loss and no score.
IGNORE = 255


@dataclass(frozen=True)
class Tiles:
    """Tiles of one volume and of its labels.

    Attributes
    ----------
    images, labels : ndarray, (Nz, Ny, Nx, Z, Y, X)
        Views of the padded volume: grid position, then tile.
    kept : ndarray of int, (K,)
        Flat grid positions of the tiles to train on, in the order of the grid.
    """

    images: np.ndarray
    labels: np.ndarray
    kept: np.ndarray

    def __len__(self):
        return len(self.kept)

    def __getitem__(self, index):
        """Return tile `index` of the kept ones and its labels, two (Z, Y, X) views."""
        place = np.unravel_index(self.kept[index], self.images.shape[:3])
        return self.images[place], self.labels[place]


def pad_to_grid(volume, tile, step):
    """Reflect a volume beyond its last planes, rows and columns until tiles cover it.

    Parameters
    ----------
    volume : ndarray, (Z, Y, X)
        Also smaller than a tile.
    tile, step : tuple of int
        (z, y, x) in voxels.

    Returns
    -------
    ndarray, (Z', Y', X')
        ``tile + k * step`` voxels along each axis, for the smallest whole k >= 0.
    """
    short = [_missing(*sides) for sides in zip(volume.shape, tile, step, strict=True)]
    return np.pad(volume, [(0, n) for n in short], mode="reflect") if any(short) else volume


def cut_tiles(volume, labels, tile, step, *, margin=(0, 0, 0), labelled=0.0, keep_empty=4, ignore=IGNORE):
    """Cut a volume and its labels into tiles.

    Tiles start at whole multiples of `step` from the first voxel; they are
    ordered by plane, row and column of their first voxel. The volume is padded
    by reflection at its far ends (`pad_to_grid`), the labels with it.

    A tile is dropped if no more than the share `labelled` of its voxels has a
    label other than `ignore`. Of the tiles left that hold nothing but background,
    each `keep_empty`-th stays, the first one included. Both look at the tile
    without its margin.

    Parameters
    ----------
    volume : ndarray, (Z, Y, X)
        Intensities.
    labels : ndarray of int, (Z, Y, X)
        0 background, `ignore` or negative: not known; anything else is an axon.
    tile, step : tuple of int
        (z, y, x) in voxels; a step smaller than the tile makes tiles overlap.
    margin : tuple of int, optional
        (z, y, x) in voxels on each side of a tile: context that is cut off later.
    labelled : float, optional
        Share of a tile's voxels, 0 to 1.
    keep_empty : int, optional
        1 keeps all empty tiles.
    ignore : int, optional
        Label of what is not known; -1 where axons may have any number.

    Returns
    -------
    Tiles

    Raises
    ------
    CalzooError
        If volume and labels differ in shape, or a step is longer than the tile.
    """
    if volume.shape != labels.shape or volume.ndim != 3:
        message = (
            f"expected a volume (Z, Y, X) and labels of its shape, got {volume.shape} and {labels.shape}; "
            "check that both files belong together."
        )
        raise CalzooError(message)
    if any(s < 1 or s > t for s, t in zip(step, tile, strict=True)):
        message = (
            f"expected steps from 1 to the tile's sides {tuple(tile)}, got {tuple(step)}; "
            "with longer ones voxels would be left out."
        )
        raise CalzooError(message)
    images = patchify(pad_to_grid(volume, tile, step), tuple(tile), step=tuple(step))
    truths = patchify(pad_to_grid(labels, tile, step), tuple(tile), step=tuple(step))
    inner = tuple(slice(m, side - m) for m, side in zip(margin, tile, strict=True))
    return Tiles(images, truths, _kept(truths[(..., *inner)], labelled, keep_empty, ignore))


def _missing(size, tile, step):
    """Return how many voxels `size` lacks to be ``tile + k * step``."""
    return tile - size if size < tile else -(size - tile) % step


def _kept(truths, labelled, keep_empty, ignore):
    """Return the flat grid positions that pass the drop rule."""
    known = (truths >= 0) & (truths != ignore)
    share = known.mean(axis=(3, 4, 5)).ravel()
    empty = ~((truths > 0) & known).any(axis=(3, 4, 5)).ravel()
    usable = share > labelled
    spared = np.zeros_like(empty)
    spared[np.flatnonzero(empty & usable)[::keep_empty]] = True
    return np.flatnonzero(usable & (~empty | spared))
