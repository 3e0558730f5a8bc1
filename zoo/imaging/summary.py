"""Pictures that sum up a movie: mean, median, maximum, standard deviation, correlation, peak-to-noise."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calzoo.imaging.frames import MovieLike, as_movie, chunks, sides_of
from calzoo.imaging.moments import Moments

FLASH_SIGMAS = 8.0


@dataclass(frozen=True, eq=False)
class SummaryImages:
    """What one pass over a movie tells about each pixel; every image is (Y, X).

    Attributes
    ----------
    mean, median, standard_deviation : ndarray of float32
        In the units of the movie. The median is exact up to 81 frames. Of longer movies it is
        a median of medians of three, whose standard error in units of that of the mean is 1.25 for
        81 frames (as of the exact median) and 1.16 times more whenever the frames are three times
        as many: 1.9 for 1,200 frames, 3 for 30,000.
    maximum : ndarray
        In the data type of the movie.
    noise : ndarray of float32
        Standard deviation of the noise: that of the difference of successive frames,
        divided by the square root of 2.
    correlation : ndarray of float32
        Mean Pearson correlation with the (up to) 8 neighbours. 0 where a pixel is constant.
    gaussian_correlation : ndarray of float32
        Mean correlation with the 7 x 7 neighbourhood, weighted by a Gaussian.
    peak_to_noise : ndarray of float32
        How far the highest level that lasts for two frames lies above the median, divided by `noise`.
        0 where there is no noise.
    n_frames : int
        Frames that were used.
    flashes : tuple of int
        Frames that were left out.
    """

    mean: NDArray[np.float32]
    median: NDArray[np.float32]
    maximum: NDArray[Any]
    standard_deviation: NDArray[np.float32]
    noise: NDArray[np.float32]
    correlation: NDArray[np.float32]
    gaussian_correlation: NDArray[np.float32]
    peak_to_noise: NDArray[np.float32]
    n_frames: int
    flashes: tuple[int, ...]

    def __repr__(self) -> str:
        return f"SummaryImages({self.n_frames} frames of {sides_of(self.mean.shape)} pixels)"

    @property
    def correlation_peak_to_noise(self) -> NDArray[np.float32]:
        """Correlation with the 8 neighbours times peak-to-noise [1]_, float32 (Y, X).

        References
        ----------
        .. [1] Zhou et al., "Efficient and accurate extraction of in vivo calcium signals from
           microendoscopic video data", eLife 2018. doi:10.7554/eLife.28728
        """
        return self.correlation * self.peak_to_noise


def summary_images(
    movie: NDArray[Any] | MovieLike, *, sigma: float = 3.0, skip_flashes: bool = True, threads: int = 2
) -> SummaryImages:
    """Sum up a movie in one pass, in memory that does not grow with its length.

    Parameters
    ----------
    movie : ndarray of shape (T, Y, X), or movie
        At least two frames, of any integer or float data type.
    sigma : float, optional
        Standard deviation in pixels of the weights of `gaussian_correlation`.
    skip_flashes : bool, optional
        Leave out frames that are brighter or darker as a whole than the frames around them, for one
        or two frames only: a single one of them makes all pixels look correlated.
    threads : int, optional
        Threads to use.

    Returns
    -------
    SummaryImages

    Raises
    ------
    CalzooError
        If the movie has fewer than two frames, or holds NaN or infinity.

    Examples
    --------
    >>> import numpy as np
    >>> movie = np.random.default_rng(0).poisson(5, size=(100, 16, 16))
    >>> images = summary_images(movie)
    >>> bool(np.allclose(images.mean, movie.mean(axis=0)))
    True
    """
    movie = as_movie(movie, at_least=2)
    flashes = []
    moments = None
    with ThreadPoolExecutor(threads) as pool:
        for start, frames in chunks(movie):
            if skip_flashes:
                flashed = find_flashes(frames)
                flashes += [int(start + index) for index in np.flatnonzero(flashed)]
                frames = frames[~flashed] if flashed.any() else frames
            moments = moments or Moments(frames, movie.shape[0], pool)
            moments.add(frames)
        return _images(moments, sigma, tuple(flashes))


def find_flashes(frames):
    """Find frames that differ as a whole from those around them, for at most two frames.

    Parameters
    ----------
    frames : ndarray of shape (n, Y, X)
        Successive frames. Fewer than 8 are too few to tell: none is found.

    Returns
    -------
    ndarray of bool, shape (n,)
        True where the mean over the frame lies above (or below) that of the three frames before and
        of the three frames after it, by about the same amount: activity rises at once, but lasts.
        The difference must exceed eight times the usual step from frame to frame, and the noise of
        one pixel: less does no harm.
    """
    if len(frames) < 8:
        return np.zeros(len(frames), bool)
    step = max(1, int(np.sqrt(frames[0].size / 4096)))
    pixels = frames[:, ::step, ::step].reshape(len(frames), -1).astype(np.float32)
    level = pixels.mean(axis=1, dtype=np.float64)
    before, after = _levels_around(level)
    off = np.sort(np.abs([level - before, level - after]), axis=0)
    alike = ((level > before) == (level > after)) & (off[0] > 0.75 * off[1])
    # The median of |a - b| is 0.954 standard deviations of a normal a or b.
    usual = np.median(np.abs(np.diff(level))) / 0.954
    noise = np.median(np.abs(np.diff(pixels, axis=0)), axis=0).mean() / 0.954
    return alike & (off[0] > max(FLASH_SIGMAS * usual, noise, 1e-6 * np.abs(level).max()))


def _levels_around(level):
    """Return the median of three values before and after each value; at an end, of the other side."""
    padded = np.concatenate([np.full(3, np.nan), level, np.full(3, np.nan)])
    windows = np.lib.stride_tricks.sliding_window_view(padded, 3)
    before, after = windows[: len(level)].copy(), windows[4:].copy()
    before[0], after[-1] = after[0], before[-1]
    return np.nanmedian(before, axis=1), np.nanmedian(after, axis=1)


def _images(moments, sigma, flashes):
    """Turn the sums over all frames into images."""
    n = moments.count
    mean = moments.total / n
    variance = np.maximum(moments.squares / n - mean**2, 0)
    shift = moments.shift
    first, last = (np.subtract(frame, shift, dtype=np.float64) for frame in (moments.first, moments.last))
    steps = 2 * moments.squares - first**2 - last**2 - 2 * moments.lagged
    noise = np.sqrt(np.maximum(steps, 0) / (2 * (n - 1))).astype(np.float32)
    median = moments.median()
    deviation = np.sqrt(variance).astype(np.float32)
    near, weighted = _correlations(moments, mean.astype(np.float32), deviation, sigma)
    height = moments.sustained.astype(np.float32) - median
    return SummaryImages(
        mean=(mean + shift).astype(np.float32),
        median=median,
        maximum=moments.maximum,
        standard_deviation=deviation,
        noise=noise,
        correlation=near,
        gaussian_correlation=weighted,
        peak_to_noise=_divide(height, noise),
        n_frames=n,
        flashes=flashes,
    )


def _correlations(moments, mean, deviation, sigma):
    """Average the correlations of each pixel with its neighbours, evenly and by a Gaussian."""
    sums = np.zeros((2, *moments.shape), np.float32)
    weights = np.zeros_like(sums)
    for product, (dy, dx) in zip(moments.products, moments.offsets, strict=True):
        weight = np.float32([max(dy, abs(dx)) == 1, np.exp(-(dy**2 + dx**2) / (2 * sigma**2))])[:, None, None]
        here, there = _overlap(moments.shape, dy, dx)
        covariance = product[here] / moments.count - mean[here] * mean[there]
        correlation = _divide(covariance, deviation[here] * deviation[there])
        for pixels in (here, there):
            sums[(slice(None), *pixels)] += weight * correlation
            weights[(slice(None), *pixels)] += weight
    return _divide(sums, weights)


def _overlap(shape, dy, dx):
    """Return the pixels that have a neighbour at (dy, dx), dy >= 0, and these neighbours, as slices."""
    height, width = shape
    here = (slice(0, height - dy), slice(max(-dx, 0), width - max(dx, 0)))
    there = (slice(dy, height), slice(max(dx, 0), width + min(dx, 0)))
    return here, there


def _divide(numerator, denominator):
    """Divide, 0 where the denominator is 0."""
    return np.divide(numerator, denominator, out=np.zeros_like(numerator), where=denominator > 0)
