"""The three pictures that cells are found in, of means of successive frames: fast, and enough for finding.

`calzoo.imaging.summary` measures more, frame by frame; here a long movie is averaged to a
few hundred frames as it is read, which halves the noise of transients that last longer than a mean.
"""

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from calzoo.imaging.frames import as_movie, chunks
from calzoo.imaging.summary import find_flashes

#: A movie is averaged to at most so many frames, fewer where they would need more memory than this.
FRAMES, BYTES = 240, 512 * 2**20
_FEWEST = 32
#: ... but never over more seconds, where the frame rate is known: transients would be lost.
LONGEST_BIN_S = 1.0
_BAND_PIXELS = 8192
_NEIGHBOURS = ((0, 1), (1, -1), (1, 0), (1, 1))  # one of each pair of opposite neighbours


def cell_pictures(movie, *, threads=2):
    """Sum up a movie for finding cells.

    Parameters
    ----------
    movie : movie or ndarray of shape (T, Y, X)
        At least two frames.
    threads : int, optional

    Returns
    -------
    dict of str to ndarray of float32, (Y, X)
        "correlation": mean correlation with the (up to) 8 neighbours, 0 where a pixel is constant;
        "brightness": the mean; "deviation": the standard deviation over time. Flashes (whole frames that
        are brighter or darker for a moment) are left out.

    Raises
    ------
    CalzooError
        If the movie has fewer than two frames, or holds NaN, infinity or numbers beyond 1e17.
    """
    movie = as_movie(movie, at_least=2)
    size = bin_size(movie)
    with ThreadPoolExecutor(threads or 2) as pool:
        bins = _binned(movie, size, pool)
        height, width = movie.shape[1:]
        rows = max(_BAND_PIXELS // width, 1)
        bands = [(top, min(top + rows, height)) for top in range(0, height, rows)]
        mean, deviation = np.empty((2, height, width), np.float32)

        def standardise(band):
            part = bins[:, slice(*band)]
            mean[slice(*band)] = part.mean(axis=0, dtype=np.float32)
            part -= mean[slice(*band)]
            flat = part.reshape(len(part), -1)
            power = np.einsum("tp,tp->p", flat, flat).reshape(part.shape[1:])
            deviation[slice(*band)] = np.sqrt(power / len(part))
            scale = np.sqrt(power)
            # What changes by no more than rounding does not change.
            still = scale <= 1e-6 * np.sqrt(len(part)) * np.abs(mean[slice(*band)])
            part *= np.where(still, 0, 1 / np.maximum(scale, 1e-30))

        list(pool.map(standardise, bands))
        products = list(pool.map(lambda band: _products(bins, *band), bands))
    correlation = _neighbour_mean(np.concatenate(products, axis=1))
    return {"correlation": correlation, "brightness": mean, "deviation": deviation}


def bin_size(movie):
    """Return how many successive frames are averaged."""
    length, height, width = movie.shape
    most = int(np.clip(BYTES // (4 * height * width), _FEWEST, FRAMES))
    size = max(-(-length // most), 1)
    rate = getattr(movie, "frame_rate_hz", None)
    # Where memory asks for longer means, transients have to bear it.
    fits = 4 * height * width * length <= BYTES
    return min(size, max(int(LONGEST_BIN_S * rate), 1)) if rate and fits else size


def _binned(movie, size, pool):
    """Return means of `size` successive frames, float32 (n, Y, X); an incomplete last one is dropped."""
    bins = np.empty((max(movie.shape[0] // size, 1), *movie.shape[1:]), np.float32)
    done, waiting = 0, np.empty((0, *movie.shape[1:]), movie.dtype)
    for _, frames in chunks(movie):
        flashed = find_flashes(frames)
        frames = frames[~flashed] if flashed.any() else frames
        frames = np.concatenate([waiting, frames]) if len(waiting) else frames
        count = min(len(frames) // size, len(bins) - done)
        rows = np.array_split(np.arange(movie.shape[1]), 4)
        list(pool.map(lambda r, f=frames, n=count, d=done: _average(f, r, size, n, bins[d : d + n]), rows))
        waiting = frames[count * size :][: size - 1].copy()
        done += count
    if done == 0:  # nearly everything flashed
        bins[0], done = movie.frames(0, movie.shape[0]).mean(axis=0, dtype=np.float32), 1
    return bins[:done]


def _average(frames, rows, size, count, out):
    """Write the means of `count` times `size` frames, in some rows, into `out`."""
    if not count or not len(rows):
        return
    band = slice(rows[0], rows[-1] + 1)
    if size == 1:
        out[:, band] = frames[:count, band]
        return
    for number in range(count):
        part = frames[number * size : (number + 1) * size, band]
        np.mean(part, axis=0, dtype=np.float32, out=out[number, band])


def _products(bins, top, bottom):
    """Return the correlation of each pixel of some rows with four neighbours, (4, n, X); NaN outside."""
    height, width = bins.shape[1:]
    found = np.full((len(_NEIGHBOURS), bottom - top, width), np.nan, np.float32)
    for number, (dy, dx) in enumerate(_NEIGHBOURS):
        last = min(bottom, height - dy)
        if last <= top or width <= abs(dx):
            continue
        here = bins[:, top:last, max(-dx, 0) : width - max(dx, 0)]
        there = bins[:, top + dy : last + dy, max(dx, 0) : width + min(dx, 0)]
        found[number, : last - top, max(-dx, 0) : width - max(dx, 0)] = np.einsum("tyx,tyx->yx", here, there)
    return found


def _neighbour_mean(products):
    """Return the mean of the products that each pixel takes part in, (Y, X)."""
    height, width = products.shape[1:]
    total, count = np.zeros((2, height, width), np.float32)
    for product, (dy, dx) in zip(products, _NEIGHBOURS, strict=True):
        known = ~np.isnan(product)
        value = np.where(known, product, 0)
        total += value
        count += known
        # The same product, seen from the other pixel.
        here = (slice(0, height - dy), slice(max(-dx, 0), width - max(dx, 0)))
        there = (slice(dy, height), slice(max(dx, 0), width + min(dx, 0)))
        total[there] += value[here]
        count[there] += known[here]
    return total / np.maximum(count, 1)
