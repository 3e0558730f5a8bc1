"""From centres to activity: traces s(t), how often each cell was seen, and which pixels are its own."""

from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.spatial import cKDTree

from calzoo.imaging.center_rest import MAD_OF_STEPS
from calzoo.imaging.frames import as_movie, chunk_length
from calzoo.imaging.masks import Masks
from calzoo.imaging.pieces import one_piece

#: Standard deviation of a splat over the radius of its cell: a disk's light seen through some blur.
SPLAT = 0.6
#: Standard deviation of the surroundings that are subtracted, over the radius of the cell.
SURROUND = 1.25
_PIECE = 2**23  # pixels that are read together
_HIT = 4.0  # a cell is seen in a frame from so many standard deviations of the noise on
_MEAN_OF_STEPS = 2 / np.sqrt(np.pi)  # mean |a - b| of a normal a and b, over their standard deviation
_ROUNDING = 1e-6  # steps below this part of the peak are those of sums
_RIDGE = 0.05  # of the mean diagonal: cells that lie on one another must not take light from each other


@dataclass(frozen=True)
class Activity:
    """What the cells of a movie did.

    Attributes
    ----------
    traces : ndarray of float32, (N, T)
        s(t): height of a Gaussian with a standard deviation of `SPLAT` radii at the centre of each cell,
        over its surroundings and over its own median, in the units of the movie; light that shines in
        from other cells is taken out. A cell of that shape has the height that it has. Of an evenly
        bright disk s(t) is about 1.5 times the brightness; with a radius that is a quarter too small,
        of a Gaussian 1.1 times.
    noise : ndarray of float32, (N,)
        Standard deviation of the noise of each trace, from the median step between frames; where that
        is 0, as in movies whose background was cut off at 0, from the mean step, which is more
        than the noise. 0 where nothing changes.
    hits : ndarray of int, (N,)
        Frames in which the cell stands out by four standard deviations.
    """

    traces: np.ndarray
    noise: np.ndarray
    hits: np.ndarray


def splats(centers, radii, shape, aspect=(1.0, 1.0)):
    """Draw each cell as a Gaussian, 1 at its centre.

    Parameters
    ----------
    centers : ndarray of float, (N, 2)
        (y, x) in pixels.
    radii : ndarray of float, (N,)
        Radii of the cells in pixels.
    shape : tuple of int
        Height and width of a frame.
    aspect : tuple of float, optional
        Sides of a pixel over their geometric mean, (y, x): radii count pixels of the mean side.

    Returns
    -------
    scipy.sparse.csr_array of float32, (N, Y * X)
    """
    return _gaussians(centers, SPLAT * np.asarray(radii, float), shape, aspect, peak=True)


def extract_activity(movie, centers, radii, aspect=(1.0, 1.0)):
    """Follow cells over time.

    Each frame is compared with the splats of all cells behind a band-pass; then the
    cross-talk between neighbours, which is known from the splats, is solved for.

    Parameters
    ----------
    movie : movie or ndarray, (T, Y, X)
    centers : ndarray of float, (N, 2)
        (y, x) in pixels.
    radii : ndarray of float, (N,)
    aspect : tuple of float, optional
        As for `splats`.

    Returns
    -------
    Activity
    """
    movie = as_movie(movie)
    weights, unmix = _weights(centers, radii, movie.shape[1:], aspect)
    raw = np.zeros((len(centers), movie.shape[0]), np.float32)
    used = np.flatnonzero(np.diff(weights.tocsc().indptr))
    weights = weights[:, used]
    for start, frames in _pieces(movie):
        pixels = frames.reshape(len(frames), -1).take(used, axis=1).T
        raw[:, start : start + len(frames)] = weights @ np.ascontiguousarray(pixels, dtype=np.float32)
    traces = (unmix @ raw).astype(np.float32)
    traces -= np.median(traces, axis=1, keepdims=True)
    noise = _noise(traces)
    hits = (traces > _HIT * np.maximum(noise, 1e-9)[:, None]).sum(axis=1)
    return Activity(traces, noise, hits)


def _pieces(movie):
    """Yield ``(start, frames)`` over a movie, few at a time: each frame is held once more as floats."""
    length = int(np.clip(_PIECE // np.prod(movie.shape[1:]), 1, chunk_length(movie)))
    for start in range(0, movie.shape[0], length):
        yield start, movie.frames(start, min(start + length, movie.shape[0]))


def _noise(traces):
    """Return the standard deviation of the noise of traces (N, T), 0 where nothing changes."""
    if traces.shape[1] < 2:
        return np.zeros(len(traces), np.float32)
    steps = np.abs(np.diff(traces, axis=1))
    noise = np.median(steps, axis=1) / MAD_OF_STEPS
    # Pixels that are cut off at 0 rest in most frames: what moves seldom, the cell's own light too, tells.
    rests = noise <= _ROUNDING * np.abs(traces).max(axis=1)
    noise[rests] = steps[rests].mean(axis=1) / _MEAN_OF_STEPS
    return noise.astype(np.float32)


def _weights(centers, radii, shape, aspect):
    """Return what each cell is compared with, (N, Y * X), and the matrix (N, N) that undoes cross-talk."""
    radii = np.asarray(radii, float)
    narrow = _gaussians(centers, SPLAT * radii, shape, aspect, peak=False)
    wide = _gaussians(centers, SURROUND * radii, shape, aspect, peak=False)
    weights = sparse.csr_array(narrow - wide)
    talk = (weights @ splats(centers, radii, shape, aspect).T).toarray()  # (n, m): light of m that n takes up
    ridge = _RIDGE * np.trace(talk) / max(len(talk), 1)
    square = talk.T @ talk + ridge**2 * np.eye(len(talk))
    return weights, np.linalg.solve(square, talk.T) if len(talk) else talk


def _gaussians(centers, sigmas, shape, aspect, *, peak):
    """Return Gaussians (N, Y * X) that are 1 at their peak, or sum to 1 inside the frame."""
    centers = np.asarray(centers, float).reshape(-1, 2)
    rows, indices, values = [], [], []
    for center, sigma in zip(centers, sigmas, strict=True):
        reach = 3 * sigma / np.asarray(aspect) + 1
        low = np.maximum(np.floor(center - reach), 0).astype(int)
        high = np.minimum(np.ceil(center + reach) + 1, shape).astype(int)
        y, x = (np.arange(*ends) - c for *ends, c in zip(low, high, center, strict=True))
        image = np.exp(-0.5 * ((aspect[0] * y[:, None]) ** 2 + (aspect[1] * x) ** 2) / sigma**2)
        values.append((image if peak else image / image.sum()).ravel())
        indices.append(((y + center[0])[:, None] * shape[1] + x + center[1]).round().astype(np.int64).ravel())
        rows.append(len(values[-1]))
    indptr = np.concatenate([[0], np.cumsum(rows)]).astype(np.int64)
    data = np.concatenate([[], *values]).astype(np.float32)
    where = np.concatenate([[], *indices]).astype(np.int64)
    return sparse.csr_array((data, where, indptr), shape=(len(centers), shape[0] * shape[1]))


def cell_masks(body, centers, radii, *, least=0.5, reach=1.4, aspect=(1.0, 1.0), valid=None):
    """Share the pixels of bodies out among centres.

    Parameters
    ----------
    body : ndarray of float, (Y, X)
        Probability that a body covers the pixel.
    centers : ndarray of float, (N, 2)
    radii : ndarray of float, (N,)
        In pixels.
    least : float, optional
        Probability from which on a pixel belongs to a body.
    reach : float, optional
        How far from its centre a cell may own pixels, in radii.
    aspect : tuple of float, optional
        As for `splats`.
    valid : ndarray of bool, (Y, X), optional
        Where masks may have pixels.

    Returns
    -------
    Masks
        Each pixel belongs to the nearest centre, in units of its radius, and what lies within half a
        radius belongs to a body in any case. Of each cell the one piece around its centre, without
        holes of its own.
    """
    shape = body.shape
    centers, radii = np.asarray(centers, float).reshape(-1, 2), np.asarray(radii, float)
    if not len(centers):
        return Masks.from_pixels(shape, [])
    owner, nearest = np.full(shape, -1), np.full(shape, np.inf)
    pixels = [_disk(c, max(reach * r, 1), shape, aspect) for c, r in zip(centers, radii, strict=True)]
    if valid is not None:
        pixels = [(rows[valid[rows, columns]], columns[valid[rows, columns]]) for rows, columns in pixels]
    for cell, (rows, columns) in enumerate(pixels):
        y, x = (rows - centers[cell, 0]) * aspect[0], (columns - centers[cell, 1]) * aspect[1]
        away = np.hypot(y, x) / radii[cell]
        closer = away < nearest[rows, columns]
        owner[rows[closer], columns[closer]] = cell
        nearest[rows[closer], columns[closer]] = away[closer]
    found = []
    for cell, (rows, columns) in enumerate(pixels):
        mine = owner[rows, columns] == cell
        mine &= (body[rows, columns] >= least) | (nearest[rows, columns] <= max(0.5, 1 / radii[cell]))
        if not mine.any():  # another centre lies at the same place
            rows, columns = _disk(centers[cell], max(0.5 * radii[cell], 1), shape, aspect)
            mine = np.ones(len(rows), bool)
        found.append(_piece(rows[mine], columns[mine], centers[cell], owner, cell))
    return Masks.from_pixels(shape, found)


def _piece(rows, columns, center, owner, cell):
    """Return the pixels that hang together at or nearest to a centre, and the cell's own in their holes."""
    corner = np.array([rows.min(), columns.min()])
    mask = np.zeros((np.ptp(rows) + 1, np.ptp(columns) + 1), bool)
    mask[rows - corner[0], columns - corner[1]] = True
    box = tuple(slice(low, low + side) for low, side in zip(corner, mask.shape, strict=True))
    # A hole may be another cell's.
    rows, columns = np.nonzero(one_piece(mask, center - corner) & (mask | (owner[box] == cell)))
    return rows + corner[0], columns + corner[1]


def merge_near(centers, scores, distance):
    """Return which points to keep: the best of all that lie nearer to each other than a distance.

    Parameters
    ----------
    centers : ndarray of float, (N, 2)
    scores : ndarray of float, (N,)
    distance : float

    Returns
    -------
    ndarray of int
        Row numbers, the best first.
    """
    order = np.argsort(-np.asarray(scores), kind="stable")
    points = np.asarray(centers, float).reshape(-1, 2)[order]
    kept = np.ones(len(points), bool)
    if len(points) > 1:
        pairs = cKDTree(points).query_pairs(distance, output_type="ndarray")
        for first, second in pairs[np.lexsort(pairs.T[::-1])]:
            kept[second] &= not kept[first]
    return order[kept]


def _disk(center, radius, shape, aspect):
    """Return rows and columns of the pixels of a disk; at least the pixel of its centre."""
    reach = radius / np.asarray(aspect)
    low = np.maximum(np.floor(center - reach), 0).astype(int)
    high = np.minimum(np.ceil(center + reach) + 1, shape).astype(int)
    rows, columns = np.mgrid[low[0] : high[0], low[1] : high[1]]
    y, x = (rows - center[0]) * aspect[0], (columns - center[1]) * aspect[1]
    inside = y**2 + x**2 <= radius**2
    if not inside.any():
        place = np.clip(np.round(center).astype(int), 0, np.array(shape) - 1)
        return place[:1], place[1:]
    return rows[inside], columns[inside]
