"""What scanners and cameras add to a movie: dead lines, flyback stripes, shifted odd rows."""

import numpy as np

from calzoo.imaging.frames import ComputedMovie, as_movie

DEAD = 0.05  # a line that varies less than this part of what is usual is dead
JUMP = 6.0  # a picture goes on from line to line; where it changes this much more than usual, it does not
BORDER = 0.15  # a stripe at the edge is at most this part of the frame,
STRIPE = 0.02  # one inside at most this part
ALIKE = 0.2  # correlation of neighbouring lines: those of tissue are more alike, those of mere light less
OFFSET_STEP = 0.05


def find_bad_lines(mean, deviation):
    """Find rows and columns that do not belong to the picture.

    Dead lines hardly vary over time: the edge of a camera, the blank border that an earlier
    registration left. Stripes are set off sharply from the picture along their whole length:
    what a scanner records while it flies back.

    Parameters
    ----------
    mean, deviation : ndarray of shape (Y, X)
        Mean and standard deviation over time of each pixel.

    Returns
    -------
    rows, columns : ndarray of bool, shapes (Y,) and (X,)
        True for lines to be left out. All False where a frame has fewer than 16 lines.
    """
    rows = _bad_along_first(mean, deviation)
    columns = _bad_along_first(mean[~rows].T, deviation[~rows].T)
    return rows, columns


def fill_lines(movie, rows, columns):
    """Replace bad lines by what lies around them.

    Lines within the picture are interpolated between the nearest good ones; at the edge
    the picture is mirrored.

    Parameters
    ----------
    movie : movie or ndarray of shape (T, Y, X)
    rows, columns : ndarray of bool, shapes (Y,) and (X,)
        The bad lines, as `find_bad_lines` returns them. At least one of each must be good.

    Returns
    -------
    ComputedMovie
        (T, Y, X), in the data type of the movie.
    """
    movie = as_movie(movie)
    plans = [_neighbours(np.asarray(rows)), _neighbours(np.asarray(columns))]

    def filled(frames, start):
        frames = frames.copy()
        for axis, (bad, before, after, weight) in zip((1, 2), plans, strict=True):
            shape = (-1, 1) if axis == 1 else (-1,)
            lines = frames.take(before, axis) * (1 - weight.reshape(shape))
            lines += frames.take(after, axis) * weight.reshape(shape)
            lines = lines if frames.dtype.kind == "f" else np.rint(lines)
            np.moveaxis(frames, axis, 0)[bad] = np.moveaxis(lines, axis, 0)
        return frames

    return ComputedMovie(movie, filled, dtype=movie.dtype)


def scan_offset(image, *, reach=10):
    """Estimate how far the odd rows of a picture lie to the right of the even ones.

    A scanner that records in both directions shifts every other row if its clock is off. The rows are
    compared with the mean of the two rows around them, by phase correlation.

    Parameters
    ----------
    image : ndarray of shape (Y, X)
        The mean image of a movie: motion does no harm, as it moves all rows alike.
    reach : int, optional
        Largest offset in pixels.

    Returns
    -------
    float
        The offset in pixels, in steps of 0.05. 0 where there is no structure to tell.

    See Also
    --------
    correct_scan_offset
    """
    image = np.asarray(image, np.float64)
    n_pairs = (len(image) - 1) // 2
    if n_pairs < 1 or image.shape[1] < 4:
        return 0.0
    even = (image[0 : 2 * n_pairs : 2] + image[2 : 2 * n_pairs + 1 : 2]) / 2
    odd = image[1 : 2 * n_pairs : 2]
    taper = np.hanning(image.shape[1])
    spectra = [np.fft.rfft((part - part.mean(axis=1, keepdims=True)) * taper) for part in (even, odd)]
    cross = (np.conj(spectra[0]) * spectra[1]).sum(axis=0)
    cross[0] = 0
    strength = np.abs(cross)
    if strength.max() <= 1e-9 * (1 + np.square(image).sum()):
        return 0.0
    frequency = np.fft.rfftfreq(image.shape[1])
    # Phases alone, where there is signal and not at the finest frequencies, which are mostly noise.
    cross *= np.exp(-2 * (np.pi * frequency) ** 2) / np.maximum(strength, 0.01 * strength.max())
    reach = min(reach, image.shape[1] // 4)
    offsets = np.arange(-round(reach / OFFSET_STEP), round(reach / OFFSET_STEP) + 1) * OFFSET_STEP
    match = (np.exp(2j * np.pi * np.outer(offsets, frequency)) @ cross).real
    return float(round(offsets[match.argmax()], 2))


def correct_scan_offset(movie, offset):
    """Move the odd rows of every frame back to the left by `offset` pixels.

    Parameters
    ----------
    movie : movie or ndarray of shape (T, Y, X)
    offset : float
        What `scan_offset` returned.

    Returns
    -------
    ComputedMovie
        (T, Y, X). Float32, by cubic interpolation; in the data type of the movie, and exact,
        for a whole number of pixels. The edge pixel goes on beyond the edge.
    """
    movie = as_movie(movie)
    whole = int(np.floor(offset))
    weights = _cubic_weights(offset - whole)
    columns = np.arange(movie.shape[2])
    places = [np.clip(columns + whole + step, 0, movie.shape[2] - 1) for step in (-1, 0, 1, 2)]

    def corrected(frames, start):
        frames = frames.copy()
        frames[:, 1::2] = frames[:, 1::2].take(places[1], axis=2)
        return frames

    def interpolated(frames, start):
        frames = frames.astype(np.float32)
        odd = frames[:, 1::2]
        parts = (np.float32(w) * odd.take(place, axis=2) for w, place in zip(weights, places, strict=True))
        frames[:, 1::2] = sum(parts)
        return frames

    if whole == offset:
        return ComputedMovie(movie, corrected, dtype=movie.dtype)
    return ComputedMovie(movie, interpolated)


def _cubic_weights(fraction):
    """Weights of the samples at -1, 0, 1, 2 for a value at `fraction` (Catmull and Rom's spline)."""
    t = fraction
    return (
        (-t + 2 * t**2 - t**3) / 2,
        (2 - 5 * t**2 + 3 * t**3) / 2,
        (t + 4 * t**2 - 3 * t**3) / 2,
        (-(t**2) + t**3) / 2,
    )


def _bad_along_first(mean, deviation):
    """Tell which rows are dead, or stripes."""
    n = len(mean)
    bad = np.zeros(n, bool)
    if n < 16:
        return bad
    varies = np.median(deviation, axis=1)
    bad |= varies < DEAD * np.median(varies)
    steps = np.median(np.abs(np.diff(mean.astype(np.float64), axis=0)), axis=1)
    # The edges of stripes cut the frame into pieces; dead lines are edges of their own.
    cuts = np.flatnonzero(steps > JUMP * _usual(steps[~(bad[1:] | bad[:-1])])) + 1
    pieces = np.split(np.arange(n), cuts)
    stripes = bad.copy()
    for index, piece in enumerate(pieces):
        at_edge = index in (0, len(pieces) - 1)
        if len(pieces) > 1 and len(piece) <= max(1, (BORDER if at_edge else STRIPE) * n):
            stripes[piece] = True
    within, beside = stripes[1:] & stripes[:-1], ~(stripes[1:] | stripes[:-1])
    rougher = within.any() and np.median(steps[within]) > JUMP * _usual(steps[beside])
    # Bright light is as rough by its noise alone; tissue goes on from line to line.
    if not (rougher and np.median(_alike(mean)[within]) > ALIKE):
        bad = stripes  # else the "stripes" are the tissue, on a blank frame
    return bad if not bad.all() else np.zeros(n, bool)


def _alike(mean):
    """Return the correlation of each line with the next, 0 where one of them is constant."""
    lines = mean.astype(np.float64)
    lines -= lines.mean(axis=1, keepdims=True)
    norms = np.linalg.norm(lines, axis=1)
    products, sums = norms[1:] * norms[:-1], (lines[1:] * lines[:-1]).sum(axis=1)
    return np.divide(sums, products, out=np.zeros_like(sums), where=products > 0)


def _usual(steps):
    """Return how much a picture usually changes from line to line, also where half of it is blank."""
    return max(np.median(steps), np.percentile(steps, 90) / 2) if steps.size else 0


def _neighbours(bad):
    """Return the bad lines, the good ones before and after each, and the weight of the latter."""
    good = np.flatnonzero(~bad)
    lines = np.flatnonzero(bad)
    after = np.searchsorted(good, lines)
    inside = (after > 0) & (after < len(good))
    first = good[np.clip(after - 1, 0, len(good) - 1)]
    second = good[np.clip(after, 0, len(good) - 1)]
    weight = np.zeros(len(lines), np.float32)
    weight[inside] = ((lines - first) / np.maximum(second - first, 1))[inside]
    # At an edge: as far inside the picture as the line lies outside of it.
    mirrored = np.where(after == 0, 2 * good[0] - 1 - lines, 2 * good[-1] + 1 - lines)
    nearest = np.abs(good - mirrored[:, None]).argmin(axis=1) if len(lines) else after
    first[~inside] = second[~inside] = good[nearest][~inside]
    return lines, first, second, weight
