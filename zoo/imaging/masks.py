"""Masks of cells: which pixels belong to each; masks may overlap.

On disk, a ``masks.npz`` holds one or more groups of masks. Group ``g`` has the arrays ``g_shape`` (Y, X),
``g_indptr`` (N + 1), ``g_row`` and ``g_col``: mask i covers the pixels ``(g_row[a:b], g_col[a:b])`` with
``a, b = g_indptr[i], g_indptr[i + 1]``.
"""

import os
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from calzoo.errors import CalzooError
from calzoo.imaging.frames import sides_of
from calzoo.imaging.outputs import output_file
from calzoo.imaging.readers.files import as_path, existing

FIELDS = ("shape", "indptr", "row", "col")


@dataclass(frozen=True, eq=False)
class Masks:
    """N masks in a frame, one after the other.

    Attributes
    ----------
    shape : tuple of int
        Height and width of the frame in pixels, (Y, X).
    indptr : ndarray of int64, shape (N + 1,)
        Where each mask begins in `row` and `col`.
    row, col : ndarray of int32
        The pixels of all masks.

    Raises
    ------
    CalzooError
        If the arrays contradict each other, or a pixel lies outside the frame.

    Examples
    --------
    >>> import numpy as np
    >>> masks = Masks.from_labels(np.array([[1, 1, 0], [0, 2, 2]]))
    >>> len(masks), masks.areas.tolist()
    (2, [2, 2])
    >>> rows, columns = masks[1]
    >>> rows.tolist(), columns.tolist()
    ([1, 1], [1, 2])
    """

    shape: tuple[int, int]
    indptr: NDArray[np.int64]
    row: NDArray[np.int32]
    col: NDArray[np.int32]

    def __post_init__(self):
        shape = tuple(int(side) for side in self.shape)
        indptr, row, col = (np.asarray(getattr(self, name)) for name in FIELDS[1:])
        if len(shape) != 2 or not all(array.ndim == 1 for array in (indptr, row, col)):
            raise CalzooError(_broken("shape has two numbers, and indptr, row and col one axis each"))
        if not (indptr.size and indptr[0] == 0 and (np.diff(indptr) >= 0).all()):
            raise CalzooError(_broken("indptr begins with 0 and never falls"))
        if not indptr[-1] == row.size == col.size:
            raise CalzooError(
                _broken(f"indptr ends with {indptr[-1]} pixels, row has {row.size}, col {col.size}")
            )
        outside = (row < 0) | (row >= shape[0]) | (col < 0) | (col >= shape[1])
        if outside.any():
            first = np.flatnonzero(outside)[0]
            raise CalzooError(_broken(f"pixel ({row[first]}, {col[first]}) lies outside the frame {shape}"))
        for name, value in zip(
            FIELDS, (shape, indptr.astype(np.int64), row.astype(np.int32), col.astype(np.int32)), strict=True
        ):
            object.__setattr__(self, name, value)

    @classmethod
    def from_pixels(
        cls, shape: tuple[int, int], pixels: Iterable[tuple[NDArray[Any], NDArray[Any]]]
    ) -> "Masks":
        """Take masks from a list of (rows, columns).

        Parameters
        ----------
        shape : tuple of int
            Height and width of the frame.
        pixels : iterable of (array of int, array of int)
            The pixels of each mask; one that comes twice counts once.
        """
        pixels = [(np.ravel(rows), np.ravel(columns)) for rows, columns in pixels]
        indptr = np.concatenate([[0], np.cumsum([len(rows) for rows, _ in pixels])]).astype(np.int64)
        row, col = (np.concatenate([[], *(pair[axis] for pair in pixels)]) for axis in (0, 1))
        return cls(shape, indptr, row.astype(np.int32), col.astype(np.int32))._once()

    @classmethod
    def from_labels(cls, labels: NDArray[Any]) -> "Masks":
        """Take masks from a label image: one for each number above 0 that occurs, in their order.

        Parameters
        ----------
        labels : ndarray of int, shape (Y, X)
            0 is background.
        """
        flat = np.asarray(labels).ravel()
        pixels = np.flatnonzero(flat > 0)
        pixels = pixels[np.argsort(flat[pixels], kind="stable")]
        _, counts = np.unique(flat[pixels], return_counts=True)
        height, width = np.shape(labels)
        row, col = np.unravel_index(pixels, (height, width))
        indptr = np.concatenate([[0], np.cumsum(counts)])
        return cls((height, width), indptr, row.astype(np.int32), col.astype(np.int32))

    @classmethod
    def from_stack(cls, stack: NDArray[Any]) -> "Masks":
        """Take masks from a stack of pictures, true inside.

        Parameters
        ----------
        stack : ndarray of shape (N, Y, X)
        """
        mask, row, col = np.nonzero(stack)
        _, height, width = np.shape(stack)
        indptr = np.searchsorted(mask, np.arange(len(stack) + 1))
        return cls((height, width), indptr, row.astype(np.int32), col.astype(np.int32))

    def __repr__(self) -> str:
        return f"Masks({len(self)} in {sides_of(self.shape)} pixels)"

    def __len__(self) -> int:
        return len(self.indptr) - 1

    def __getitem__(self, index: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Return the rows and columns of one mask."""
        index = range(len(self))[index]
        pixels = slice(self.indptr[index], self.indptr[index + 1])
        return self.row[pixels], self.col[pixels]

    def __iter__(self) -> Iterator[tuple[NDArray[np.int32], NDArray[np.int32]]]:
        return (self[index] for index in range(len(self)))

    @property
    def areas(self) -> NDArray[np.int64]:
        """Pixels in each mask, (N,)."""
        return np.diff(self.indptr)

    @property
    def centers(self) -> NDArray[np.float64]:
        """Mean (y, x) of the pixels of each mask, float64 (N, 2); NaN for a mask without pixels."""
        sums = self.matrix() @ np.indices(self.shape).reshape(2, -1).T.astype(np.float64)
        areas = self.areas[:, None].astype(np.float64)
        return np.divide(sums, areas, out=np.full_like(sums, np.nan), where=areas > 0)

    def select(self, which: NDArray[Any] | slice) -> "Masks":
        """Return some of the masks, by number or by a bool for each."""
        return Masks.from_pixels(self.shape, [self[index] for index in np.arange(len(self))[which]])

    def matrix(self) -> sparse.csr_matrix:
        """Return the masks as a sparse matrix of ones, float32 (N, Y * X)."""
        ones = np.ones(len(self.row), np.float32)
        shape = (len(self), self.shape[0] * self.shape[1])
        return sparse.csr_matrix((ones, self._places(), self.indptr), shape=shape)

    def _once(self):
        """Return these masks without pixels that come twice in one of them."""
        cell = np.repeat(np.arange(len(self)), self.areas)
        _, first = np.unique(cell * (self.shape[0] * self.shape[1]) + self._places(), return_index=True)
        if len(first) == len(cell):
            return self
        first.sort()  # in the order in which they came
        indptr = np.searchsorted(cell[first], np.arange(len(self) + 1))
        return Masks(self.shape, indptr, self.row[first], self.col[first])

    def _places(self):
        """Return the number of each pixel, counted along the rows of the frame."""
        return self.row.astype(np.int64) * self.shape[1] + self.col

    def count(self) -> NDArray[np.int32]:
        """Return how many masks cover each pixel, int32 (Y, X)."""
        counts = np.bincount(self._places(), minlength=self.shape[0] * self.shape[1])
        return counts.reshape(self.shape).astype(np.int32)

    def labels(self) -> NDArray[np.int32]:
        """Return a label image, int32 (Y, X): mask i is i + 1, the smallest on top where several overlap."""
        labels = np.zeros(self.shape, np.int32)
        for index in np.argsort(-self.areas, kind="stable"):
            labels[self[index]] = index + 1
        return labels

    def stack(self) -> NDArray[np.bool_]:
        """Return a picture of each mask, bool (N, Y, X)."""
        stack = np.zeros((len(self), *self.shape), bool)
        stack[np.repeat(np.arange(len(self)), self.areas), self.row, self.col] = True
        return stack


def count_of_cells(count):
    """Return "1 cell" or "2 cells"."""
    return f"{count} cell{'s' * (count != 1)}"


def refuse_empty(masks):
    """Refuse masks of which one has no pixel.

    Raises
    ------
    CalzooError
    """
    empty = np.flatnonzero(masks.areas == 0)
    if empty.size:
        message = (
            f"expected pixels in every mask, got none in {empty.size} of them, the first is {empty[0]}; "
            "leave them out: masks.select(masks.areas > 0)."
        )
        raise CalzooError(message)


def read_masks(path: str | os.PathLike[str], group: str | None = None) -> Masks:
    """Read one group of masks from a ``.npz`` file.

    Parameters
    ----------
    path : str or os.PathLike
    group : str, optional
        Name of the group; not needed where there is only one, or one is called ``cells``.

    Returns
    -------
    Masks

    Raises
    ------
    CalzooError
        If there is no such file or group, or the file holds something else.

    Examples
    --------
    >>> write_masks("masks.npz", cells=Masks.from_labels(np.array([[1, 1, 0], [0, 2, 2]])))
    >>> read_masks("masks.npz")
    Masks(2 in 2 x 3 pixels)
    """
    path = as_path(path, "the name of an .npz file")
    if not path.is_file():
        message = f"{path}: there is no such file"
        raise CalzooError(message)
    try:
        with open(path, "rb") as content:
            if not zipfile.is_zipfile(content):
                message = f"{path}: expected masks in an .npz file, got something else"
                raise CalzooError(message)
            content.seek(0)
            with np.load(content, allow_pickle=False) as file:
                groups = sorted(name[: -len("_indptr")] for name in file.files if name.endswith("_indptr"))
                group = _choose(path, groups, group)
                return Masks(*(file[f"{group}_{field}"] for field in FIELDS))
    except CalzooError:
        raise
    except (OSError, EOFError, ValueError, TypeError, KeyError, zipfile.BadZipFile) as error:
        message = f"{path}: expected the arrays GROUP_shape, _indptr, _row and _col of masks: {error}"
        raise CalzooError(message) from error


def read_labels(path):
    """Read a label image: 0 is no cell, each other number is one cell.

    Parameters
    ----------
    path : str or os.PathLike
        TIFF of integers, (Y, X).

    Returns
    -------
    Masks

    Raises
    ------
    CalzooError
        If there is no such file, or it holds something else.
    """
    return Masks.from_labels(read_label_picture(path))


def read_label_picture(path):
    """Read a picture of integers, (Y, X); raises as `read_labels` does."""
    import tifffile

    path = existing(path)
    try:
        labels = tifffile.imread(path)
    except (OSError, ValueError) as error:  # those of tifffile are of these kinds
        message = f"{path}: expected a label image as TIFF, got a file that cannot be read: {error}."
        raise CalzooError(message) from error
    if labels.ndim != 2 or labels.dtype.kind not in "bui":
        message = f"{path}: expected a label image (Y, X) of integers, got {labels.dtype} {labels.shape}."
        raise CalzooError(message)
    return labels


def write_masks(path, **groups):
    """Write groups of masks to a ``.npz`` file.

    Parameters
    ----------
    path : str or os.PathLike
        It gets its name when it is finished.
    **groups : Masks
        Masks by the name of their group.
    """
    arrays = {
        f"{group}_{field}": np.asarray(getattr(masks, field))
        for group, masks in groups.items()
        for field in FIELDS
    }
    with output_file(path) as part, open(part, "wb") as file:
        np.savez_compressed(file, **arrays)


def _choose(path, groups, group):
    """Return the name of the group that is meant."""
    if group is None:
        group = groups[0] if len(groups) == 1 else "cells"
    if group in groups:
        return group
    if not groups:
        message = (
            f"{path}: expected the arrays GROUP_shape, _indptr, _row and _col of masks, got others; of a "
            "stack (N, Y, X) or a label image they are made by write_masks of calzoo.imaging.masks, with "
            "Masks.from_stack or Masks.from_labels."
        )
        raise CalzooError(message)
    message = f"{path}: there is no group of masks {group!r}; found: {', '.join(groups)}; name one as group."
    raise CalzooError(message)


def _broken(rule):
    """Say which rule masks break."""
    return f"masks: {rule}: see the description of masks.npz"
