"""How good points are as centres of cells: one-to-one matching, and hits beyond chance on masks."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from calzoo.errors import CalzooError
from calzoo.metrics.matching import match_points


@dataclass(frozen=True)
class CenterScores:
    """Precision, recall and F1 of points, with the numbers that they follow from.

    Attributes
    ----------
    hits, found, true : int
        Pairs; points that count; cells that should be found.
    """

    hits: int
    found: int
    true: int

    @property
    def precision(self):
        """Share of the points that are cells, NaN without points."""
        return self.hits / self.found if self.found else float("nan")

    @property
    def recall(self):
        """Share of the cells that were found, NaN without cells."""
        return self.hits / self.true if self.true else float("nan")

    @property
    def f1(self):
        """Harmonic mean of both, NaN where there is neither a point nor a cell."""
        total = self.found + self.true
        return 2 * self.hits / total if total else float("nan")


def count_points(true, found, *, distance, maybe=()):
    """Match points with cells one to one and count.

    Parameters
    ----------
    true, found : array-like of float, (N, 2) and (M, 2)
        Centres that should be found, and points; (y, x) in pixels.
    distance : float
        Largest distance of a pair: half of a cell diameter.
    maybe : array-like of float, (K, 2), optional
        Centres of cells of which nobody can say whether they can be seen: points that match one of
        them, and no cell that should be found, do not count.

    Returns
    -------
    hits, found, true : int
    """
    true, found, maybe = (np.asarray(points, float).reshape(-1, 2) for points in (true, found, maybe))
    matching = match_points(true, found, distance=distance)
    doubtful = match_points(maybe, found[matching.false], distance=distance)
    return len(matching.true), len(found) - len(doubtful.found), len(true)


def score_centers(true, found, *, diameter, maybe=()):
    """Score points against known centres, matched within half a cell diameter.

    Parameters
    ----------
    true, found, maybe
        As for `count_points`.
    diameter : float
        Of a cell, in pixels.

    Returns
    -------
    CenterScores

    Examples
    --------
    >>> score_centers([[0, 0], [20, 0]], [[1, 1], [9, 9]], diameter=10).f1
    0.5
    """
    return CenterScores(*count_points(true, found, distance=diameter / 2, maybe=maybe))


@dataclass(frozen=True)
class MaskScores:
    """What points are worth where masks are known but not centres.

    Attributes
    ----------
    hit : ndarray of bool, (N,)
        Whether each point that counts lies in a mask.
    expected : float
        Share of random points that would.
    regions : ndarray of bool, (K,)
        Whether each region of the mask was hit.
    """

    hit: np.ndarray
    expected: float
    regions: np.ndarray

    @property
    def corrected(self):
        """Hits beyond chance: (observed - expected) / (1 - expected). 1 all right, 0 as random points."""
        if not len(self.hit) or self.expected >= 1:
            return float("nan")
        return float((self.hit.mean() - self.expected) / (1 - self.expected))

    @property
    def recall(self):
        """Share of the regions that hold a point."""
        return float(self.regions.mean()) if len(self.regions) else float("nan")


def score_on_mask(points, mask, frame_shape, *, known=None):
    """Score points on a mask without instances, which may be coarser than the frame.

    Parameters
    ----------
    points : array-like of float, (N, 2)
        (y, x) in pixels of the frame.
    mask : ndarray of bool, (h, w)
        Where cells are; covers the whole frame.
    frame_shape : tuple of int
        (Y, X).
    known : ndarray of bool, (h, w), optional
        Where the mask is known; points elsewhere do not count.

    Returns
    -------
    MaskScores
        Regions are the connected parts of the mask, 8 neighbours.

    Raises
    ------
    CalzooError
        If a point lies outside the frame.

    Examples
    --------
    >>> import numpy as np
    >>> mask = np.zeros((4, 4), bool)
    >>> mask[:2, :2] = True
    >>> score_on_mask([[0, 0], [7, 7]], mask, (8, 8)).corrected
    0.3333333333333333
    """
    points = np.asarray(points, float).reshape(-1, 2)
    mask = np.asarray(mask, bool)
    known = np.ones(mask.shape, bool) if known is None else np.asarray(known, bool)
    places = (points + 0.5) / frame_shape
    if ((places < 0) | (places > 1)).any():
        message = f"expected points inside the frame {tuple(frame_shape)}, got one outside."
        raise CalzooError(message)
    rows, columns = np.minimum((places * mask.shape).astype(int), np.array(mask.shape) - 1).T
    counts = known[rows, columns]
    labels, number = ndimage.label(mask & known, np.ones((3, 3)))
    hit_regions = np.isin(np.arange(1, number + 1), labels[rows, columns])
    return MaskScores(mask[rows, columns][counts], float(mask[known].mean()), hit_regions)


def trace_correlation(true, found):
    """Return Pearson's r of pairs of traces.

    Parameters
    ----------
    true, found : ndarray, (N, T)
        Row i of one belongs to row i of the other.

    Returns
    -------
    ndarray of float, (N,)
        NaN where a trace is constant.
    """
    (true, true_norm), (found, found_norm) = (_centred(np.asarray(traces, float)) for traces in (true, found))
    return (true * found).sum(axis=1) / (true_norm * found_norm)


def _centred(traces):
    """Return traces less their means, and their lengths: NaN where nothing but rounding is left."""
    around = traces - traces.mean(axis=1, keepdims=True)
    length = np.sqrt((around**2).sum(axis=1))
    constant = np.ptp(traces, axis=1) <= 1e-12 * np.abs(traces).max(axis=1)
    return around, np.where(constant, np.nan, length)
