"""Movies made from movies: bins, dF/F, flat field, band-pass, range, size.

Every function takes a movie or an array (T, Y, X) and returns a movie whose frames
are computed when they are read: nothing is held in memory but a few frames.
"""

import functools

import numpy as np
from scipy import ndimage

from calzoo.errors import CalzooError
from calzoo.imaging.frames import ComputedMovie, as_movie, chunk_length, chunks
from calzoo.imaging.resampling import Taps

BINS_PER_WINDOW = 20
BINS_PER_KNOT = 5


class BinnedMovie:
    """A movie of the means of `size` successive frames; made by `bin_frames`."""

    def __init__(self, source, size):
        self._source, self._size = source, size
        self.shape = (source.shape[0] // size, *source.shape[1:])
        self.dtype = np.dtype(np.float32)
        rate = getattr(source, "frame_rate_hz", None)
        self.frame_rate_hz = rate / size if rate else None

    def frames(self, start, stop):
        """Return bins `start` to `stop`, float32 (n, Y, X)."""
        start, stop, _ = slice(start, stop).indices(self.shape[0])
        bins = np.empty((max(stop - start, 0), *self.shape[1:]), np.float32)
        # Of the movie as many frames as fit are read at a time: some bins, or a part of one.
        most = chunk_length(self._source)
        some = max(most // self._size, 1)
        for first in range(start, stop, some):
            last = min(first + some, stop)
            total = np.zeros((last - first, *self.shape[1:]))
            for offset in range(0, self._size, most):
                part = (last - first, min(self._size - offset, most), *self.shape[1:])
                begin = first * self._size + offset
                frames = self._source.frames(begin, begin + part[0] * part[1])
                total += frames.reshape(part).sum(axis=1, dtype=np.float64)
            bins[first - start : last - start] = total / self._size
        return bins


def bin_frames(movie, size):
    """Average every `size` successive frames.

    Parameters
    ----------
    movie : movie or ndarray of shape (T, Y, X)
    size : int
        Frames in a bin, at least 1. Frames that do not fill the last bin are left out.

    Returns
    -------
    BinnedMovie
        (T // size, Y, X), float32.

    Raises
    ------
    CalzooError
        If the movie is shorter than one bin.
    """
    movie = as_movie(movie)
    if not 1 <= size <= movie.shape[0]:
        message = f"bin_frames: a bin holds 1 to {movie.shape[0]} frames of this movie, got size={size}"
        raise CalzooError(message)
    return BinnedMovie(movie, size)


def delta_f_over_f(movie, *, window, percentile=10.0, dark=0.0):
    """Divide the change of each pixel by its baseline: (F - F0) / (F0 - dark).

    The baseline F0 is a percentile over a window that runs along: the window holds 20 bins of frames, of
    which the percentile is taken, five bins apart, with straight lines in between. A mean over
    a bin is less noisy than a frame, so F0 lies higher, and nearer to the resting level,
    than the percentile of the frames.

    Parameters
    ----------
    movie : movie or ndarray of shape (T, Y, X)
    window : int
        Frames in the window: some ten transients long, 30 to 60 seconds. Shorter than 20: bins of one frame.
    percentile : float, optional
        Between 0 and 100.
    dark : float, optional
        What the detector reads without light, in the units of the movie.

    Returns
    -------
    ComputedMovie
        (T, Y, X), float32. Where F0 - dark is less than a tenth of its median over the first baseline,
        that is what the change is divided by: there dF/F means nothing.

    Raises
    ------
    CalzooError
        If the median of the first baseline is not above `dark`.
    """
    movie = as_movie(movie)
    baseline = RunningBaseline(movie, window, percentile)
    typical = np.median(baseline.at(0, 1)) - dark
    if not typical > 0:
        message = (
            f"delta_f_over_f: the baseline must lie above dark={dark:g}, but its median is "
            f"{typical + dark:g}: dF/F is not defined. Use the raw movie, or give the level without light."
        )
        raise CalzooError(message)

    def change(frames, start):
        resting = baseline.at(start, start + len(frames))
        return (frames - resting) / np.maximum(resting - np.float32(dark), np.float32(0.1 * typical))

    return ComputedMovie(movie, change)


class RunningBaseline:
    """The percentile of each pixel over a window that runs along a movie; see `delta_f_over_f`.

    Parameters
    ----------
    movie : movie
    window : int
        Frames in the window.
    percentile : float
        Between 0 and 100.
    """

    def __init__(self, movie, window, percentile):
        if window < 1 or not 0 <= percentile <= 100:
            message = (
                "expected a window of at least 1 frame and a percentile between 0 and 100, "
                f"got window={window}, percentile={percentile}"
            )
            raise ValueError(message)
        length = movie.shape[0]
        self._movie = movie
        self._percentile = percentile
        self._bin = max(1, min(window, length) // BINS_PER_WINDOW)
        self._n_bins = length // self._bin
        self._n_window = min(max(1, min(window, length) // self._bin), self._n_bins)
        self._n_knots = 1 + -(-(self._n_bins - 1) // BINS_PER_KNOT)
        # Successive knots share most of their bins: what was read once is kept for the next ones.
        self._bin_mean = functools.lru_cache(self._n_window + BINS_PER_KNOT)(self._read_bin)
        self._knot = functools.lru_cache(3)(self._percentile_at)

    def at(self, start, stop):
        """Return the baseline of frames `start` to `stop`, float32 (n, Y, X)."""
        # A window of an even number of bins reaches one bin farther back than on.
        behind = 0.5 * (self._n_window % 2 == 0)
        bins = (np.arange(start, stop) - (self._bin - 1) / 2) / self._bin
        position = (bins + behind) / BINS_PER_KNOT
        position = np.clip(position, 0, self._n_knots - 1)
        result = np.empty((stop - start, *self._movie.shape[1:]), np.float32)
        for index, place in enumerate(position):
            left = min(int(place), max(self._n_knots - 2, 0))
            right = min(left + 1, self._n_knots - 1)
            np.subtract(self._knot(right), self._knot(left), out=result[index])
            result[index] *= np.float32(place - left)
            result[index] += self._knot(left)
        return result

    def _percentile_at(self, knot):
        """Return the percentile over the window around a knot, which stays within the movie."""
        first = np.clip(knot * BINS_PER_KNOT - self._n_window // 2, 0, self._n_bins - self._n_window)
        bins = np.stack([self._bin_mean(index) for index in range(first, first + self._n_window)], axis=-1)
        return np.percentile(bins, self._percentile, axis=-1, overwrite_input=True).astype(np.float32)

    def _read_bin(self, index):
        frames = self._movie.frames(index * self._bin, (index + 1) * self._bin)
        return frames.mean(axis=0, dtype=np.float64).astype(np.float32)


def flat_field(movie, *, sigma, mean=None):
    """Even out the illumination: divide by the blurred mean image, times its mean.

    Parameters
    ----------
    movie : movie or ndarray of shape (T, Y, X)
    sigma : float
        Standard deviation in pixels of the Gaussian that blurs: several cells wide.
    mean : ndarray of shape (Y, X), optional
        Mean image; left out: taken in a pass over the movie.

    Returns
    -------
    ComputedMovie
        (T, Y, X), float32. Dark corners are brightened 20-fold at most.

    Raises
    ------
    CalzooError
        If the mean over all pixels is not above zero.
    """
    movie = as_movie(movie)
    mean = mean_image(movie) if mean is None else np.asarray(mean, np.float32)
    light = ndimage.gaussian_filter(mean, sigma, mode="reflect")
    average = float(light.mean())
    if not average > 0:
        message = (
            f"flat_field: light is positive, but the mean of the movie is {average:g}. "
            "Do this before the baseline is subtracted."
        )
        raise CalzooError(message)
    gain = (average / np.maximum(light, average / 20)).astype(np.float32)
    return ComputedMovie(movie, lambda frames, start: frames * gain)


def mean_image(movie):
    """Return the mean over all frames, float32 (Y, X)."""
    movie = as_movie(movie)
    total = sum(frames.sum(axis=0, dtype=np.float64) for _, frames in chunks(movie))
    return (total / movie.shape[0]).astype(np.float32)


def band_pass(movie, *, largest, smallest=0.0):
    """Keep structures between two sizes: a narrow Gaussian minus a wide one, in every frame.

    Parameters
    ----------
    movie : movie or ndarray of shape (T, Y, X)
    largest : float
        Standard deviation in pixels of the Gaussian that is subtracted: about a cell's diameter.
    smallest : float, optional
        Standard deviation in pixels of the Gaussian that takes away noise; 0: none.

    Returns
    -------
    ComputedMovie
        (T, Y, X), float32, around zero. Frames are mirrored at their edges.

    Raises
    ------
    ValueError
        If `largest` is not above `smallest`.
    """
    if not 0 <= smallest < largest:
        message = f"band_pass: expected 0 <= smallest < largest, got smallest={smallest}, largest={largest}"
        raise ValueError(message)
    movie = as_movie(movie)
    wide = _Gaussian(movie.shape[1:], largest)
    narrow = _Gaussian(movie.shape[1:], smallest) if smallest else None

    def filtered(frames, start):
        frames = frames.astype(np.float32)
        return (narrow(frames) if narrow else frames) - wide(frames)

    return ComputedMovie(movie, filtered)


class _Gaussian:
    """A Gaussian filter as two matrix products: exactly that of SciPy, and several times faster."""

    def __init__(self, shape, sigma):
        self._rows, self._columns = (
            ndimage.gaussian_filter1d(np.eye(size), sigma, axis=0, mode="reflect").astype(np.float32)
            for size in shape
        )

    def __call__(self, frames):
        return self._rows @ frames @ self._columns.T


def min_max(movie, *, by="recording"):
    """Scale to 0 ... 1.

    Parameters
    ----------
    movie : movie or ndarray of shape (T, Y, X)
    by : {'recording', 'frame'}, optional
        Whether all frames share one range (a pass over the movie finds it), or each has its own.

    Returns
    -------
    ComputedMovie
        (T, Y, X), float32; 0 where the range is empty.
    """
    movie = as_movie(movie)
    if by == "frame":
        return ComputedMovie(
            movie, lambda frames, start: _scale(frames, frames.min(axis=(1, 2)), frames.max(axis=(1, 2)))
        )
    if by != "recording":
        message = f"min_max: expected by='recording' or by='frame', got {by!r}"
        raise ValueError(message)
    ranges = np.array([(frames.min(), frames.max()) for _, frames in chunks(movie)])
    low, high = ranges[:, 0].min(keepdims=True), ranges[:, 1].max(keepdims=True)
    return ComputedMovie(movie, lambda frames, start: _scale(frames, low, high))


def _scale(frames, low, high):
    """Map low ... high of each frame to 0 ... 1."""
    low, high = (np.asarray(limit, np.float64)[:, None, None] for limit in (low, high))
    span = np.where(high > low, high - low, np.inf)
    return ((frames - low) / span).astype(np.float32)


def resample(movie, shape):
    """Change the number of pixels; where they become fewer, they are averaged (no aliasing).

    Parameters
    ----------
    movie : movie or ndarray of shape (T, Y, X)
    shape : tuple of int
        The new height and width.

    Returns
    -------
    ComputedMovie
        (T, *shape), float32, linearly interpolated.

    Raises
    ------
    CalzooError
        If a side is less than one pixel.
    """
    movie = as_movie(movie)
    if len(shape) != 2 or min(shape) < 1:
        message = f"resample: expected a height and a width of at least one pixel, got {tuple(shape)}"
        raise CalzooError(message)
    rows, columns = (Taps(*sizes) for sizes in zip(movie.shape[1:], shape, strict=True))
    return ComputedMovie(
        movie, lambda frames, start: columns.apply(rows.apply(frames, -2), -1), shape=tuple(shape)
    )
