"""From a heat map to points: local maxima, to a fraction of a pixel."""

import numpy as np
from scipy.spatial import cKDTree

from calzoo.imaging.peaks import summits


def local_maxima(picture, *, distance, threshold=-np.inf, count=None):
    """Find the highest pixel within a distance of itself.

    Parameters
    ----------
    picture : ndarray, (Y, X)
    distance : float
        In pixels: no two maxima lie nearer to each other than this.
    threshold : float, optional
        Lowest value of a maximum.
    count : int, optional
        Keep so many, the highest.

    Returns
    -------
    ndarray of int, (N, 2)
        (row, column), the highest first.

    Examples
    --------
    >>> import numpy as np
    >>> picture = np.zeros((5, 7))
    >>> picture[1, 2], picture[4, 5] = 1, 2
    >>> local_maxima(picture, distance=2, threshold=0.5).tolist()
    [[4, 5], [1, 2]]
    """
    picture = np.asarray(picture, np.float64)
    points = np.argwhere(summits(picture, distance) & (picture >= threshold) & (picture > picture.min()))
    order = np.argsort(-picture[tuple(points.T)], kind="stable")
    points = _apart(points[order], distance)
    return points[:count]


def refine(picture, points):
    """Move maxima to the summit of the parabola through their neighbours, along each axis.

    Parameters
    ----------
    picture : ndarray, (Y, X)
    points : ndarray of int, (N, 2)

    Returns
    -------
    ndarray of float, (N, 2)
        At most half a pixel away.
    """
    points = np.asarray(points, int).reshape(-1, 2)
    padded = np.pad(np.asarray(picture, np.float64), 1, mode="edge")
    rows, columns = points.T + 1
    here = padded[rows, columns]
    moved = points.astype(float)
    for axis, (dy, dx) in enumerate(((1, 0), (0, 1))):
        before, after = padded[rows - dy, columns - dx], padded[rows + dy, columns + dx]
        bend = before - 2 * here + after
        shift = np.divide(0.5 * (before - after), bend, out=np.zeros_like(here), where=bend < 0)
        moved[:, axis] += np.clip(shift, -0.5, 0.5)
    return moved


def _apart(points, distance):
    """Leave out points that lie nearer than a distance to one before them: equal maxima."""
    if len(points) < 2:
        return points
    pairs = cKDTree(points).query_pairs(distance, output_type="ndarray")
    kept = np.ones(len(points), bool)
    for first, second in pairs[np.lexsort(pairs.T[::-1])]:
        kept[second] &= not kept[first]
    return points[kept]
