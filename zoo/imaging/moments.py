"""Sums over the frames of a movie, taken in one pass: all that the summary images need.

A piece of the movie is cut into bands of rows that fit into the cache of a processor
core together with everything that is computed from them. NumPy releases the
interpreter lock, so two threads halve the time.
"""

import numpy as np

RADIUS = 3  # neighbours up to three pixels away: the 7 x 7 window of the Gaussian-weighted correlation
BLOCK_FRAMES = 68
BLOCK_PIXELS = 8192  # with BLOCK_FRAMES in float32: about two megabytes
MEDIAN_FRAMES = 81

# One of each pair of opposite neighbours: the other one is the same product seen from the other pixel.
OFFSETS = tuple((dy, dx) for dy in range(RADIUS + 1) for dx in range(-RADIUS, RADIUS + 1) if dy > 0 or dx > 0)


class Moments:
    """Sums, products of neighbours, extremes and medians per pixel, fed piece by piece.

    Parameters
    ----------
    first : ndarray of shape (n, Y, X)
        The first piece of the movie. The middle one of three of its frames is subtracted from
        every frame, so that the sums stay small enough for float32.
    n_frames : int
        How many frames will come at most.
    pool : concurrent.futures.Executor
        Its threads do the work.
    """

    def __init__(self, first, n_frames, pool):
        n, height, width = first.shape
        self.shape = (height, width)
        middle = middle_of_three(first[0], first[n // 2], first[-1])
        self.shift = middle.astype(np.result_type(first.dtype, np.float32))
        self.count = 0
        self.total = np.zeros(self.shape, np.float64)
        self.squares = np.zeros(self.shape, np.float64)
        self.lagged = np.zeros(self.shape, np.float64)  # sum of x(t) x(t + 1)
        self.offsets = [(dy, dx) for dy, dx in OFFSETS if dy < height and abs(dx) < width]
        self.products = np.zeros((len(self.offsets), *self.shape), np.float32)
        lowest = -np.inf if first.dtype.kind == "f" else np.iinfo(first.dtype).min
        self.maximum = np.full(self.shape, lowest, first.dtype)
        self.sustained = np.full(self.shape, lowest, first.dtype)  # the highest level of two frames in a row
        self.first = first[0].copy()
        self.last = None
        self._medians = MedianOfMedians(n_frames)
        rows = max(1, BLOCK_PIXELS // width)
        self._bands = [slice(row, min(row + rows, height)) for row in range(0, height, rows)]
        self._pool = pool

    def add(self, frames):
        """Take in some more frames, an array (n, Y, X)."""
        if len(frames) == 0:
            return
        if self.count == 0:
            self.first = frames[0].copy()
        medians = self._medians.room(frames)
        list(self._pool.map(lambda band: self._add_band(frames, band, medians), self._bands))
        self._medians.push(medians)
        self.count += len(frames)
        self.last = frames[-1].copy()

    def median(self):
        """Return the median of all frames, float32 (Y, X)."""
        return np.concatenate(list(self._pool.map(self._medians.result, self._bands)))

    def _add_band(self, frames, band, medians):
        """Take in the rows `band` of every frame."""
        part = frames[:, band]
        np.maximum(self.maximum[band], part.max(axis=0), out=self.maximum[band])
        pairs = [np.minimum(part[1:], part[:-1])]
        if self.last is not None:
            pairs.append(np.minimum(part[:1], self.last[band]))
        for held in pairs:
            if len(held):
                np.maximum(self.sustained[band], held.max(axis=0), out=self.sustained[band])
        if len(medians):
            medians[:, band] = middle_frames(part, len(medians))
        for start in range(0, len(frames), BLOCK_FRAMES):
            before = frames[start - 1] if start else self.last
            self._add_block(frames[start : start + BLOCK_FRAMES], before, band)

    def _add_block(self, frames, before, band):
        """Add up the products of a few rows in a few frames, `before` being the frame before them."""
        width = self.shape[1]
        n_pixels = (band.stop - band.start) * width
        halo = slice(band.start, min(band.stop + RADIUS, self.shape[0]))
        shift = self.shift[halo].ravel()
        # Pixels lie in one line: a neighbour is a fixed distance away, and the products that
        # reach around the end of a row are left out when they are used.
        x = np.empty((1 + len(frames), n_pixels + RADIUS * width + RADIUS), np.float32)
        x[:, shift.size :] = 0
        inside = x[:, : shift.size]
        _subtract(frames[:, halo].reshape(len(frames), -1), shift, out=inside[1:])
        if before is None:
            inside[0] = 0
        else:
            _subtract(before[halo].ravel(), shift, out=inside[0])

        here = x[1:, :n_pixels]
        shape = (-1, width)
        self.total[band] += np.einsum("tp->p", here).reshape(shape)
        self.squares[band] += np.einsum("tp,tp->p", here, here).reshape(shape)
        self.lagged[band] += np.einsum("tp,tp->p", here, x[:-1, :n_pixels]).reshape(shape)
        for product, (dy, dx) in zip(self.products, self.offsets, strict=True):
            distance = dy * width + dx
            neighbour = x[1:, distance : distance + n_pixels]
            product[band] += np.einsum("tp,tp->p", here, neighbour).reshape(shape)


def _subtract(frames, shift, out):
    """Subtract in float32 where this is exact enough, else in float64; `out` is float32."""
    if shift.dtype == np.float32:
        out[...] = frames  # to convert and then subtract is faster than both at once
        out -= shift
    else:
        np.subtract(frames, shift, out=out, casting="same_kind")


class MedianOfMedians:
    """Median over a stream of frames from medians of three, of three of these, and so on [1]_.

    The middle one of three draws has the median of one draw, so there is no bias, and it is found
    without sorting. As many levels are used as leave at most 81 frames (none, so an exact median,
    for movies up to 81 frames): the standard error is ``1.25 * 1.16**levels`` times that of
    a mean, against 1.25 of the exact median.

    References
    ----------
    .. [1] Rousseeuw and Bassett, "The remedian: a robust averaging method for large data sets",
       JASA 1990. doi:10.1080/01621459.1990.10475311
    """

    def __init__(self, n_frames):
        self.levels = 0
        while n_frames > MEDIAN_FRAMES * 3**self.levels:
            self.levels += 1
        self._at_once = min(self.levels, 2)  # levels that are done within one piece of the movie
        self._waiting = [[] for _ in range(self.levels - self._at_once)]
        self._done = []

    def room(self, frames):
        """Return an array for the medians within a piece of the movie."""
        return np.empty((len(frames) // 3**self._at_once, *frames.shape[1:]), frames.dtype)

    def push(self, medians):
        """Take in the medians of a piece."""
        for frame in medians:
            for waiting in self._waiting:
                waiting.append(frame)
                if len(waiting) < 3:
                    break
                frame = middle_of_three(*waiting)
                waiting.clear()
            else:
                self._done.append(frame)

    def result(self, rows):
        """Return the median of some rows, a slice; float32."""
        frames = self._done or [frame for waiting in self._waiting for frame in waiting]
        part = np.stack([frame[rows] for frame in frames], axis=-1)
        return np.median(part, axis=-1, overwrite_input=True).astype(np.float32)


def middle_of_three(a, b, c):
    """Return the median of three arrays, element by element, in their own data type."""
    return np.maximum(np.minimum(a, b), np.minimum(np.maximum(a, b), c))


def middle_frames(frames, n_groups):
    """Reduce frames to `n_groups` by medians of three; frames far apart in time go together.

    Neighbouring frames would show the same transient of a cell, so their median would still
    hold it.
    """
    factor = 1
    while factor * 3 * n_groups <= len(frames):
        factor *= 3
    frames = frames[: n_groups * factor]
    while len(frames) > n_groups:
        third = len(frames) // 3
        frames = middle_of_three(frames[:third], frames[third : 2 * third], frames[2 * third :])
    return frames
