"""Fluorescence of cells over time: means over masks, neuropil around them, dF/F."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, sparse

from calzoo.errors import CalzooError
from calzoo.imaging.frames import as_movie, chunks
from calzoo.imaging.masks import Masks, count_of_cells, refuse_empty
from calzoo.imaging.preprocessing import delta_f_over_f


@dataclass(frozen=True, eq=False)
class Traces:
    """Fluorescence of N cells in T frames, in the units of the movie.

    Attributes
    ----------
    cells : ndarray of float32, shape (N, T)
        Mean over the pixels of each cell that it shares with no other cell.
    neuropil : ndarray of float32, shape (N, T)
        Mean over the ring around each cell; 0 where there is no ring.
    own_pixels, ring_pixels : ndarray of int, shape (N,)
        How many pixels these are means of.
    """

    cells: NDArray[np.float32]
    neuropil: NDArray[np.float32]
    own_pixels: NDArray[np.int64]
    ring_pixels: NDArray[np.int64]

    def __repr__(self) -> str:
        return f"Traces({count_of_cells(len(self.cells))}, {self.cells.shape[1]} frames)"

    def corrected(self, factor: float = 0.7) -> NDArray[np.float32]:
        """Return the traces without the neuropil that shines into them, ``cells - factor * neuropil``.

        Parameters
        ----------
        factor : float, optional
            How much of the light around a cell shines into it.

        Returns
        -------
        ndarray of float32, shape (N, T)
        """
        return self.cells - np.float32(factor) * self.neuropil


def extract_traces(movie, masks, *, rings=None):
    """Average each frame over masks, and over the neuropil around them, in one pass over a movie.

    Parameters
    ----------
    movie : movie or ndarray of shape (T, Y, X)
    masks : Masks
        Pixels that several masks share are left out, but of a mask that shares all its pixels.
    rings : Masks, optional
        Neuropil of each cell; left out: `neuropil_rings` with its defaults.

    Returns
    -------
    Traces

    Raises
    ------
    CalzooError
        If the masks belong to frames of another size, or one of them has no pixels.
    """
    movie = as_movie(movie)
    _check(movie, masks)
    rings = neuropil_rings(masks) if rings is None else rings
    own = without_shared(masks)
    weights = sparse.vstack([_mean_weights(own), _mean_weights(rings)]).tocsc()
    used = np.flatnonzero(np.diff(weights.indptr))  # most pixels belong to nothing
    weights = weights[:, used].tocsr()
    precise = np.result_type(movie.dtype, np.float32)
    means = np.empty((2 * len(masks), movie.shape[0]), np.float32)
    for start, frames in chunks(movie):
        pixels = frames.reshape(len(frames), -1).take(used, axis=1)
        means[:, start : start + len(frames)] = weights @ np.ascontiguousarray(pixels.T, dtype=precise)
    return Traces(means[: len(masks)], means[len(masks) :], own.areas, rings.areas)


def without_shared(masks):
    """Leave out of each mask the pixels that belong to another one too.

    Parameters
    ----------
    masks : Masks

    Returns
    -------
    Masks
        A mask that has no pixel of its own keeps all of them.
    """
    alone = masks.count()[masks.row, masks.col] == 1
    cell = np.repeat(np.arange(len(masks)), masks.areas)
    alone |= (np.bincount(cell, weights=alone, minlength=len(masks)) == 0)[cell]
    indptr = np.concatenate([[0], np.cumsum(np.bincount(cell[alone], minlength=len(masks)))])
    return Masks(masks.shape, indptr, masks.row[alone], masks.col[alone])


def neuropil_rings(masks, *, gap=2.0, pixels=350, where=None):
    """Find the neuropil around each cell.

    Parameters
    ----------
    masks : Masks
    gap : float, optional
        Width in pixels of the band around each cell that is left out: its light is blurred.
    pixels : int, optional
        How many pixels to collect, the nearest first.
    where : ndarray of bool, (Y, X), optional
        Which pixels may be taken.

    Returns
    -------
    Masks
        For each cell pixels of no cell, more than `gap` away from it, and all that are as near as the
        last one needed; fewer than `pixels` where cells and edges leave no more within twice the
        radius that a disk of them has.
    """
    free = masks.count() == 0
    if where is not None:
        free &= where
    found = []
    for rows, columns in masks:
        reach = int(np.ceil(gap + np.sqrt(4 * pixels / np.pi)))
        top, left = max(rows.min() - reach, 0), max(columns.min() - reach, 0)
        window = np.s_[top : rows.max() + reach + 1, left : columns.max() + reach + 1]
        cell = np.ones(free[window].shape, bool)
        cell[rows - top, columns - left] = False
        distance = ndimage.distance_transform_edt(cell)
        possible = free[window] & (distance > gap) & (distance <= reach)
        near = np.sort(distance[possible])
        if len(near) > pixels:
            possible &= distance <= near[pixels - 1]
        ring = np.nonzero(possible)
        found.append((ring[0] + top, ring[1] + left))
    return Masks.from_pixels(masks.shape, found)


def trace_delta_f_over_f(traces, *, window, percentile=10.0, dark=0.0):
    """Divide the change of each trace by its running baseline.

    Parameters
    ----------
    traces : ndarray of shape (N, T)
        Fluorescence of N cells.
    window : int
        Frames in the window of the baseline.
    percentile, dark : float, optional
        As in `calzoo.imaging.preprocessing.delta_f_over_f`, of which this is the same for traces.

    Returns
    -------
    ndarray of float32, shape (N, T)

    Raises
    ------
    CalzooError
        If the median of the first baseline of all cells is not above `dark`.
    """
    traces = np.asarray(traces)
    change = np.empty(traces.shape, np.float32)
    if change.size:
        movie = delta_f_over_f(traces.T[:, :, None], window=window, percentile=percentile, dark=dark)
        for start, frames in chunks(movie):
            change[:, start : start + len(frames)] = frames[:, :, 0].T
    return change


def _mean_weights(masks):
    """Return a sparse matrix (N, Y * X) that averages over each mask."""
    matrix = masks.matrix()
    matrix.data /= np.repeat(np.maximum(masks.areas, 1), masks.areas)
    return matrix


def _check(movie, masks):
    """Refuse masks that do not go with the movie."""
    if movie.shape[1:] != masks.shape:
        message = (
            f"the masks are for frames of {masks.shape} pixels, the movie has {movie.shape[1:]}. "
            "Take the masks of this movie, or resample one of them."
        )
        raise CalzooError(message)
    refuse_empty(masks)
