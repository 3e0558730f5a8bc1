"""One-to-one matching of what was found to what is there, and the scores that follow."""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from calzoo.errors import CalzooError


@dataclass(frozen=True)
class Matching:
    """Which true object was found as which.

    Attributes
    ----------
    true, found : ndarray of int, (M,)
        Matched objects, pair by pair: labels, or row numbers of points.
    score : ndarray of float64, (M,)
        IoU, or distance, of each pair.
    missed, false : ndarray of int
        True objects without a match, and found ones without.
    """

    true: np.ndarray
    found: np.ndarray
    score: np.ndarray
    missed: np.ndarray
    false: np.ndarray

    @property
    def precision(self):
        """Matched part of what was found; NaN where nothing was."""
        return _share(len(self.true), len(self.true) + len(self.false))

    @property
    def recall(self):
        """Matched part of what is there; NaN where nothing is."""
        return _share(len(self.true), len(self.true) + len(self.missed))

    @property
    def f1(self):
        """Harmonic mean of precision and recall; NaN where nothing is and nothing was found."""
        return _share(2 * len(self.true), 2 * len(self.true) + len(self.missed) + len(self.false))


def assign(value, allowed):
    """Pair rows with columns: as many allowed pairs as possible, then of the highest value.

    Parameters
    ----------
    value : ndarray of float, (N, M)
        How good each pair would be.
    allowed : ndarray of bool, (N, M)
        Pairs that count.

    Returns
    -------
    rows, columns : ndarray of int, (P,)
        No row and no column appears twice; rows ascend.

    Examples
    --------
    >>> import numpy as np
    >>> value = np.array([[0.9, 0.6], [0.8, 0.1]])
    >>> assign(value, value > 0.5)
    (array([0, 1]), array([1, 0]))
    """
    allowed = np.asarray(allowed, bool)
    rows, columns = np.flatnonzero(allowed.any(1)), np.flatnonzero(allowed.any(0))
    if not len(rows):
        return rows, columns
    allowed = allowed[np.ix_(rows, columns)]
    value = np.where(allowed, np.asarray(value, float)[np.ix_(rows, columns)], 0)
    low, high = value[allowed].min(), value[allowed].max()
    # All values together weigh less than one more pair.
    bonus = (value - low) / ((high - low or 1) * (min(allowed.shape) + 1))
    i, j = linear_sum_assignment(np.where(allowed, 1 + bonus, 0), maximize=True)
    kept = allowed[i, j]
    return rows[i[kept]], columns[j[kept]]


def overlaps(truth, predicted):
    """Measure how well each pair of labelled objects overlaps.

    Parameters
    ----------
    truth, predicted : ndarray of int
        Label images of the same shape; 0 is background.

    Returns
    -------
    iou : ndarray of float64, (N, M)
        Intersection over union.
    true_labels, found_labels : ndarray of int, (N,) and (M,)

    Raises
    ------
    CalzooError
        If the shapes differ.
    """
    truth, predicted = np.asarray(truth), np.asarray(predicted)
    if truth.shape != predicted.shape:
        message = f"label images must have the same shape, got {truth.shape} and {predicted.shape}"
        raise CalzooError(message)
    both = (truth != 0) & (predicted != 0)
    true_labels, true_size = np.unique(truth[truth != 0], return_counts=True)
    found_labels, found_size = np.unique(predicted[predicted != 0], return_counts=True)
    rows = np.searchsorted(true_labels, truth[both])
    columns = np.searchsorted(found_labels, predicted[both])
    number = len(true_labels) * len(found_labels)
    common = np.bincount(rows * len(found_labels) + columns, minlength=number)
    common = common.reshape(len(true_labels), len(found_labels))
    union = true_size[:, None] + found_size - common
    return common / union, true_labels, found_labels


def match_instances(truth, predicted, *, iou=0.5):
    """Match labelled objects one to one by intersection over union.

    Parameters
    ----------
    truth, predicted : ndarray of int
        Label images of the same shape; 0 is background.
    iou : float, optional
        Least IoU of a pair, above 0.

    Returns
    -------
    Matching
        Of labels, with the IoU of each pair.

    Examples
    --------
    >>> import numpy as np
    >>> matching = match_instances(np.array([1, 1, 1, 0, 2]), np.array([5, 5, 0, 0, 0]))
    >>> matching.true, matching.found, matching.score.round(2), matching.missed
    (array([1]), array([5]), array([0.67]), array([2]))
    """
    if not 0 < iou <= 1:
        message = f"iou must lie above 0 and not above 1, got {iou!r}"
        raise CalzooError(message)
    score, true_labels, found_labels = overlaps(truth, predicted)
    rows, columns = assign(score, score >= iou)
    return _matching(rows, columns, score, true_labels, found_labels)


def instance_f1(truth, predicted, iou=0.5):
    """Compute the F1 of labelled objects, matched one to one at an IoU of at least `iou`.

    Parameters
    ----------
    truth, predicted : ndarray of int
        Label images of the same shape; 0 is background.
    iou : float, optional

    Returns
    -------
    float
        Between 0 and 1; NaN where both are empty.
    """
    return match_instances(truth, predicted, iou=iou).f1


def match_points(truth, found, *, distance):
    """Match points one to one: as many pairs as possible, then the nearest.

    Parameters
    ----------
    truth, found : array-like of float, (N, D) and (M, D)
        Positions, for example (y, x) in pixels.
    distance : float
        Largest distance of a pair, in the same unit.

    Returns
    -------
    Matching
        Of row numbers, with the distance of each pair.

    Examples
    --------
    >>> match_points([[0, 0], [10, 0]], [[9, 0], [50, 50]], distance=3).f1
    0.5
    """
    truth, found = (np.asarray(points, float) for points in (truth, found))
    axes = max(truth.shape[-1], found.shape[-1], 1)
    truth, found = (points if points.size else np.empty((0, axes)) for points in (truth, found))
    if truth.ndim != 2 or found.ndim != 2 or truth.shape[1] != found.shape[1]:
        message = f"points must be (number, axes), got shapes {truth.shape} and {found.shape}"
        raise CalzooError(message)
    apart = cdist(truth, found)
    rows, columns = assign(-apart, apart <= distance)
    return _matching(rows, columns, apart, np.arange(len(truth)), np.arange(len(found)))


def _matching(rows, columns, score, true_names, found_names):
    """Collect what is matched and what is left."""
    return Matching(
        true=true_names[rows],
        found=found_names[columns],
        score=score[rows, columns],
        missed=np.delete(true_names, rows),
        false=np.delete(found_names, columns),
    )


def _share(part, whole):
    """Return a share, NaN of nothing."""
    return part / whole if whole else float("nan")
