"""What a window of a one-photon movie shows of its cells: the pictures that the network of the centres sees.

A cell is found by its transients, so a frame is compared with its surroundings
(band-pass) and with its own past (the level at rest, `calzoo.imaging.center_rest`), and a window of some
hundred frames is summed up in a few pictures. All of them are at one scale, on which a cell is
`CELL_PX` pixels wide, and in units of the noise; where most pixels fluctuate by more than noise,
as in crowded tissue, in units of that (`over_floor`).

================= ==========================================================================
``mean``          the still picture, band-passed
``sharp peak``    the highest level of the finely smoothed pixel that lasts for two frames
``peak to noise`` the highest level of the pixel smoothed like a cell, over its own noise
``trough``        the lowest level: what moves or pulses goes down as far as up
``deviation``     standard deviation over time
``correlation``   with the pixels three eighths of a cell away
``votes``         how often, and how strongly, the pixel was the summit of a frame
================= ==========================================================================
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from calzoo.errors import CalzooError
from calzoo.imaging.center_rest import AtRest
from calzoo.imaging.frames import as_movie

CHANNELS = ("mean", "sharp peak", "peak to noise", "trough", "deviation", "correlation", "votes")
#: Those that hold heights, see `compressed`.
HEIGHTS = ("sharp peak", "peak to noise", "trough", "deviation")
#: Standard deviations of white noise that the median pixel's sharp peak reaches at least.
FLOOR = 1.5
#: Diameter of a cell on the grid of the pictures, in pixels.
CELL_PX = 8.0

#: Standard deviations of the band-pass that shows cells, in pixels of the grid.
CELL_SIGMA, SURROUND_SIGMA = 2.2, 5.0

_SHARP = 1.0  # sigma of the fine Gaussian, in pixels of the grid
_LAG = 3  # pixels of the grid between which correlation is measured
_VOTE = 4.0  # a summit counts from so many standard deviations of the noise on
_PIECE = 2**19  # pixels that are filtered together: what caches hold


@dataclass(frozen=True)
class Grid:
    """The pixels of the pictures, and how a frame is smoothed onto them.

    Made by `grid_for`.

    Attributes
    ----------
    frame_shape : tuple of int
        Height and width of a frame, (Y, X).
    shape : tuple of int
        Height and width of the pictures, (h, w).
    aspect : tuple of float
        Sides of a pixel of the frame over their geometric mean, (y, x): on the grid all are alike.
    """

    frame_shape: tuple
    shape: tuple
    aspect: tuple
    _fine: tuple  # matrices (h, Y) and (X, w): smoothed finely and resampled
    _cell: tuple  # (h, h) and (w, w): from there to the size of a cell
    _surround: tuple

    @property
    def step(self):
        """Pixels of a frame per pixel of the pictures, (y, x)."""
        return tuple(n / m for n, m in zip(self.frame_shape, self.shape, strict=True))

    @property
    def mean_step(self):
        """Pixels of a frame per pixel of the pictures, where a pixel has the mean side."""
        return np.mean(np.multiply(self.step, self.aspect))

    def to_frame(self, points):
        """Return positions (N, 2) of the grid in pixels of a frame."""
        return (np.asarray(points, float).reshape(-1, 2) + 0.5) * self.step - 0.5

    def to_grid(self, points):
        """Return positions (N, 2) in a frame in pixels of the grid."""
        return (np.asarray(points, float).reshape(-1, 2) + 0.5) / self.step - 0.5

    def band_passed(self, frames):
        """Return frames (n, Y, X) finely smoothed and smoothed like a cell, less the surroundings.

        Returns
        -------
        sharp, cell : ndarray of float32, (n, h, w)
        """
        fine = _both(frames.astype(np.float32, copy=False), self._fine)
        surround = _both(fine, self._surround)
        cell = _both(fine, self._cell)
        cell -= surround
        fine -= surround
        return fine, cell


def grid_for(frame_shape, diameter_px, aspect=(1.0, 1.0)):
    """Lay the grid on which cells of a diameter are `CELL_PX` pixels wide.

    Parameters
    ----------
    frame_shape : tuple of int
        Height and width of a frame.
    diameter_px : float
        Of a cell in the frame; where pixels are not square, in pixels of the mean side.
    aspect : tuple of float, optional
        Sides of a pixel over their geometric mean, (y, x), from `calzoo.imaging.diameters.aspect_of`.

    Returns
    -------
    Grid

    Raises
    ------
    CalzooError
        If cells would be less than 2 pixels wide, or wider than half of the frame, or no cell fits in it.
    """
    height, width = (int(side) for side in frame_shape)
    if max(height * aspect[0], width * aspect[1]) < 4:
        message = (
            f"expected frames with a side of 4 pixels or more, as cells are 2 pixels wide at least and half "
            f"of a side at most; got frames of {height} x {width}."
        )
        raise CalzooError(message)
    if not 2 <= diameter_px <= 0.5 * max(height * aspect[0], width * aspect[1]):
        message = (
            f"cell diameter: expected 2 pixels to half of the longer side of the frame ({height} x {width}), "
            f"got {diameter_px:.4g}."
        )
        raise CalzooError(message)
    shape = tuple(
        max(round(side * CELL_PX * factor / diameter_px), 1)
        for side, factor in zip((height, width), aspect, strict=True)
    )
    fine = [
        _gaussian(small, side, _SHARP * side / small)
        for small, side in zip(shape, (height, width), strict=True)
    ]
    further = [
        [_gaussian(side, side, np.sqrt(sigma**2 - _SHARP**2)) for side in shape]
        for sigma in (CELL_SIGMA, SURROUND_SIGMA)
    ]
    pairs = [(rows, np.ascontiguousarray(columns.T)) for rows, columns in (fine, *further)]
    return Grid((height, width), shape, tuple(aspect), *pairs)


def smoothed(frames, sigma):
    """Smooth frames by a Gaussian whose weights sum to 1 up to the border.

    As two products of matrices; for wide Gaussians some ten times faster than a filter.

    Parameters
    ----------
    frames : ndarray, (n, Y, X)
    sigma : float or tuple of float
        Standard deviation in pixels, of both axes or of each (y, x).

    Returns
    -------
    ndarray of float32, (n, Y, X)
    """
    sides = zip(frames.shape[1:], np.broadcast_to(sigma, 2), strict=True)
    rows, columns = (_gaussian(side, side, width) for side, width in sides)
    return _both(np.asarray(frames, np.float32), (rows, np.ascontiguousarray(columns.T)))


def window_channels(movie, grid, start=0, stop=None, *, threads=2):
    """Sum up a window of a movie in the pictures that the network sees.

    Parameters
    ----------
    movie : movie or ndarray, (T, Y, X)
        Of any integer or float data type.
    grid : Grid
    start, stop : int, optional
        First frame of the window, and the one after the last: at least two frames.
    threads : int, optional

    Returns
    -------
    ndarray of float32, (h, w, C)
        `CHANNELS`, about 0 to 3 each, after `over_floor`. All 0 but the mean where nothing changes.

    Raises
    ------
    CalzooError
        If there are fewer than two frames.
    """
    movie = as_movie(movie, at_least=2)
    start, stop, _ = slice(start, stop).indices(movie.shape[0])
    if stop - start < 2:
        message = f"expected a window of at least two frames, got {max(stop - start, 0)}."
        raise CalzooError(message)
    still = AtRest(movie, grid, start, stop)
    length = max(1, _PIECE // max(grid.shape[0] * grid.shape[1], movie.shape[1] * movie.shape[2]))
    sums = None
    with ThreadPoolExecutor(threads) as pool:
        # A thread has memory of its own, which it does not give back: one is not started in vain.
        apply = map if threads == 1 else pool.map
        # A few pieces at a time: a window of large frames must not lie in memory as a whole.
        for first in range(start, stop, length * threads):
            starts = range(first, min(first + length * threads, stop), length)
            pieces = [movie.frames(s, min(s + length, stop)) for s in starts]
            for part in apply(lambda piece: _Sums.of(piece, grid, still), pieces):
                sums = part if sums is None else sums.with_next(part)
    return _pictures(sums, still, stop - start)


class _Sums:
    """Sums and extremes over some successive frames, less the resting level."""

    @classmethod
    def of(cls, frames, grid, still):
        self = cls()
        sharp, cell = still.above(*grid.band_passed(frames))
        self.first, self.last = sharp[0].copy(), sharp[-1].copy()
        self.held = np.minimum(sharp[1:], sharp[:-1]).max(axis=0, initial=-np.inf)
        self.high, self.low = cell.max(axis=0), cell.min(axis=0)
        self.total, self.squares = cell.sum(axis=0), np.einsum("tyx,tyx->yx", cell, cell)
        self.lag_products = _lag_products(sharp)
        self.votes = _votes(cell, still.cell_noise)
        return self

    def with_next(self, other):
        """Return the sums over these frames and those that follow."""
        across = np.minimum(self.last, other.first)
        self.held = np.maximum(np.maximum(self.held, other.held), across)
        self.high, self.low = np.maximum(self.high, other.high), np.minimum(self.low, other.low)
        self.last = other.last
        for name in ("total", "squares", "votes"):
            getattr(self, name).__iadd__(getattr(other, name))
        for mine, theirs in zip(self.lag_products, other.lag_products, strict=True):
            mine += theirs
        return self


def _lag_products(sharp):
    """Return sums over time of x, x * x and of products with the pixel `_LAG` below and beside."""
    down = np.einsum("tyx,tyx->yx", sharp[:, _LAG:], sharp[:, :-_LAG])
    right = np.einsum("tyx,tyx->yx", sharp[:, :, _LAG:], sharp[:, :, :-_LAG])
    return [sharp.sum(axis=0), np.einsum("tyx,tyx->yx", sharp, sharp), down, right]


def _votes(cell, noise):
    """Return the sum over frames of the height of summits, in units of the noise."""
    wide = np.pad(cell, ((0, 0), (2, 2), (2, 2)), mode="edge")
    rows = wide[:, :-4]
    for shift in range(1, 5):
        rows = np.maximum(rows, wide[:, shift : wide.shape[1] - 4 + shift])
    best = rows[:, :, :-4]
    for shift in range(1, 5):
        best = np.maximum(best, rows[:, :, shift : rows.shape[2] - 4 + shift])
    summit = (cell >= best) & (cell > _VOTE * noise)
    return np.where(summit, cell / np.float32(noise), 0).sum(axis=0)


def _pictures(sums, still, count):
    mean = sums.total / count
    deviation = np.sqrt(np.maximum(sums.squares / count - mean**2, 0))
    votes = _spread(sums.votes) * (100.0 / count)
    pictures = [
        np.arcsinh(still.sharp / (4 * still.sharp_noise)) / 2,
        compressed(np.where(np.isfinite(sums.held), sums.held, 0) / still.sharp_noise),
        compressed(sums.high / still.own_noise),
        compressed(-sums.low / still.cell_noise),
        compressed(2 * deviation / still.cell_noise),
        _correlation(sums.lag_products, count, still.rounding),
        compressed_votes(votes),
    ]
    return over_floor(np.stack(pictures, axis=-1).astype(np.float32))


def over_floor(pictures):
    """Count heights in units of what a typical pixel reaches, where that is more than noise.

    White noise takes the median pixel's sharp peak to about `FLOOR` of its standard deviations. In
    crowded tissue out-of-focus cells lift it to several times as much, while noise between
    successive frames stays as it is: without this, everything there would stand out.

    Parameters
    ----------
    pictures : ndarray of float32, (h, w, C)
        `CHANNELS`, in units of the noise.

    Returns
    -------
    ndarray of float32, (h, w, C)
    """
    floor = float(np.median(expanded(pictures[..., CHANNELS.index("sharp peak")]))) / FLOOR
    if not floor > 1:
        return pictures
    result = pictures.copy()
    for name in HEIGHTS:
        channel = CHANNELS.index(name)
        result[..., channel] = compressed(expanded(pictures[..., channel]) / floor)
    votes = CHANNELS.index("votes")
    result[..., votes] = compressed_votes(expanded_votes(pictures[..., votes]) / floor)
    return result


def compressed(height):
    """Return heights in units of the noise, compressed so that 4 becomes 0.7 and 100 becomes 2.3."""
    return np.arcsinh(np.maximum(height, 0) / 2) / 2


def expanded(picture):
    """Return the heights of a picture: what undoes `compressed`."""
    return 2 * np.sinh(2 * picture)


def compressed_votes(votes):
    """Return votes compressed so that 1 becomes 0.23 and 100 becomes 1.5."""
    return np.log1p(votes) / 3


def expanded_votes(picture):
    """Return the votes of a picture: what undoes `compressed_votes`."""
    return np.expm1(3 * picture)


def _spread(votes):
    """Return votes shared with the eight neighbours: a summit is known to about a pixel."""
    padded = np.pad(votes, 1)
    rows = padded[:-2] + 2 * padded[1:-1] + padded[2:]
    return (rows[:, :-2] + 2 * rows[:, 1:-1] + rows[:, 2:]) / 16


def _correlation(lag_products, count, rounding):
    """Return the mean correlation with the four pixels `_LAG` away, 0 where a pixel is constant."""
    total, squares, down, right = lag_products
    mean = total / count
    deviation = np.sqrt(np.maximum(squares / count - mean**2, 0))
    deviation[deviation <= rounding] = 0  # or what never changes would correlate by rounding
    result, weight = np.zeros_like(mean), np.zeros_like(mean)
    for product, axis in ((down, 0), (right, 1)):
        here = (slice(_LAG, None), slice(None)) if axis == 0 else (slice(None), slice(_LAG, None))
        there = (slice(None, -_LAG), slice(None)) if axis == 0 else (slice(None), slice(None, -_LAG))
        scale = deviation[here] * deviation[there]
        value = np.divide(
            product / count - mean[here] * mean[there], scale, out=np.zeros_like(scale), where=scale > 0
        )
        for place in (here, there):
            result[place] += value
            weight[place] += 1
    return result / np.maximum(weight, 1)


def _gaussian(count, side, sigma):
    """Return the matrix (count, side) that smooths `side` pixels and samples the result `count` times."""
    places = (np.arange(count) + 0.5) * side / count - 0.5
    weights = np.exp(-0.5 * ((np.arange(side) - places[:, None]) / sigma) ** 2)
    weights[weights < 1e-6] = 0  # tiny numbers slow a processor down twentyfold
    lost = np.flatnonzero(~weights.any(axis=1))  # pixels are much wider than sigma there: the nearest is all
    weights[lost, np.clip(np.rint(places[lost]), 0, side - 1).astype(int)] = 1
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


def _both(frames, matrices):
    """Apply a matrix to the rows and one to the columns of each frame."""
    rows, columns = matrices
    count, height, width = frames.shape
    # One product of two large matrices is several times faster than one product per frame.
    beside = (frames.reshape(-1, width) @ columns).reshape(count, height, -1)
    return np.matmul(rows, beside)
