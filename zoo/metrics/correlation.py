"""How alike maps are: zero-mean normalised cross-correlation, squared differences, blocks of conditions."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def zncc(first, second):
    """Return the zero-mean normalised cross-correlation of two maps: Pearson's r over their pixels.

    Parameters
    ----------
    first, second : ndarray of float, of one shape

    Returns
    -------
    float
        From -1 to 1; NaN if a map is constant.

    Examples
    --------
    >>> round(zncc(np.array([0.0, 1.0, 2.0]), np.array([5.0, 3.0, 1.0])), 6)
    -1.0
    """
    return float(zncc_matrix(np.stack([first, second]))[0, 1])


def zncc_matrix(maps):
    """Return the ZNCC of every map with every other.

    Parameters
    ----------
    maps : ndarray of float, (C, ...)

    Returns
    -------
    ndarray of float64, (C, C)
        NaN in rows and columns of constant maps.
    """
    flat = np.asarray(maps, np.float64).reshape(len(maps), -1)
    flat = flat - flat.mean(axis=1, keepdims=True)
    length = np.sqrt((flat**2).sum(axis=1))
    # What is left of a constant map is rounding.
    length[
        length <= 1e-12 * np.maximum(np.abs(np.asarray(maps)).reshape(len(maps), -1).max(axis=1), 1e-300)
    ] = np.nan
    with np.errstate(invalid="ignore"):
        return np.clip((flat @ flat.T) / np.outer(length, length), -1, 1)


def ssd_matrix(maps):
    """Return the mean squared difference of every map with every other.

    Parameters
    ----------
    maps : ndarray of float, (C, ...)

    Returns
    -------
    ndarray of float64, (C, C)
    """
    flat = np.asarray(maps, np.float64).reshape(len(maps), -1)
    square = (flat**2).sum(axis=1)
    return np.maximum(square[:, None] + square[None, :] - 2 * flat @ flat.T, 0) / flat.shape[1]


def block_means(matrix, groups):
    """Return the mean over the pairs within each group of conditions.

    Each pair counts once and no condition with itself. The sum that the authors of
    this system give is this mean times the number of pairs.

    Parameters
    ----------
    matrix : ndarray of float, (C, C)
        Symmetric.
    groups : ndarray of int, (C,)
        0: in no group.

    Returns
    -------
    dict of int to float
        By group; NaN pairs are left out.
    """
    groups = np.asarray(groups)
    means = {}
    for group in np.unique(groups[groups > 0]):
        inside = np.flatnonzero(groups == group)
        pairs = matrix[np.ix_(inside, inside)][np.tril_indices(len(inside), -1)]
        pairs = pairs[np.isfinite(pairs)]
        means[int(group)] = float(pairs.mean()) if len(pairs) else float("nan")
    return means


class TrialSimilarity:
    """Similarity of conditions that noise does not lower, from single trials.

    The mean map of a few noisy trials correlates less with any other map the noisier it
    is, so a dim recording would seem to have less in common. Here covariances are means
    over pairs of *different* trials, in which noise cancels, those of a condition with
    itself included.

    Parameters
    ----------
    maps : ndarray of float, (E, ...)
        One map, or row of numbers, per stimulus.
    condition : ndarray of int, (E,)
        From 0.
    trial : ndarray of int, (E,)
    conditions : sequence of int
        Those that are compared. Only trials that show one of them count.
    centred : bool, optional
        True: ZNCC of maps. False: cosine similarity of rows of traces.
    """

    def __init__(self, maps, condition, trial, conditions, *, centred=True):
        self.trials = np.unique(np.asarray(trial)[np.isin(condition, list(conditions))])
        places = {c: i for i, c in enumerate(conditions)}
        shape = (len(places), len(self.trials))
        flat = np.asarray(maps, np.float64).reshape(len(maps), -1)
        if centred:
            flat = flat - flat.mean(axis=1, keepdims=True)
        total, count = np.zeros((*shape, flat.shape[1])), np.zeros(shape)
        columns = np.searchsorted(self.trials, trial)
        for row, (c, t) in enumerate(zip(condition, columns, strict=True)):
            if c in places:
                total[places[c], t] += flat[row]
                count[places[c], t] += 1
        total /= np.maximum(count, 1)[..., None]
        rows = total.reshape(-1, flat.shape[1])
        c, t = shape
        self._shape = shape
        # (pairs of conditions, pairs of trials)
        self._gram = (rows @ rows.T).reshape(c, t, c, t).transpose(0, 2, 1, 3).reshape(c * c, t * t)
        there = (count > 0).astype(float).ravel()
        self._there = np.outer(there, there).reshape(c, t, c, t).transpose(0, 2, 1, 3).reshape(c * c, t * t)

    def matrix(self, weights: NDArray[Any] | None = None) -> NDArray[np.float64]:
        """Return the similarity of every condition with every other, (C, C); 1 with itself.

        Parameters
        ----------
        weights : ndarray of float, (T,), optional
            How often each trial counts.
        """
        return self._matrices(np.ones((1, self._shape[1])) if weights is None else np.atleast_2d(weights))[0]

    def means(self, weights: NDArray[Any]) -> NDArray[np.float64]:
        """Return the mean over pairs of conditions for each row of trial weights, (R,).

        Pairs whose similarity is not defined are left out; NaN where none is.

        Parameters
        ----------
        weights : ndarray of float, (R, T)
        """
        low = np.tril_indices(self._shape[0], -1)
        with np.errstate(invalid="ignore"):
            pairs = self._matrices(weights)[:, low[0], low[1]]
        finite = np.isfinite(pairs)
        total, count = np.where(finite, pairs, 0).sum(axis=1), finite.sum(axis=1)
        return np.divide(total, count, out=np.full(len(total), np.nan), where=count > 0)

    def mean(self) -> float:
        """Return the mean over pairs of conditions, or NaN."""
        return float(self.means(np.ones((1, self._shape[1])))[0])

    def _matrices(self, weights):
        count, trials = self._shape
        pairs = weights[:, :, None] * weights[:, None, :]
        pairs[:, np.arange(trials), np.arange(trials)] = 0
        pairs = pairs.reshape(len(weights), -1).T  # (T * T, R)
        with np.errstate(invalid="ignore", divide="ignore"):
            covariance = (self._gram @ pairs) / (self._there @ pairs)
            covariance = covariance.T.reshape(-1, count, count)
            own = np.sqrt(covariance[:, np.arange(count), np.arange(count)])
            # Conditions without a map that repeats have a variance of 0 or less: NaN.
            return covariance / (own[:, :, None] * own[:, None, :])


class MeanSimilarity:
    """The mean of several `TrialSimilarity`, one for each group of conditions.

    The first trial of each group counts as one, and so on, whatever their numbers: groups may be
    recorded one after the other. There are as many trials as the group with the fewest has.
    """

    def __init__(self, groups):
        self.groups = list(groups)
        self.trials = min((group.trials for group in self.groups), key=len)

    def means(self, weights):
        """Return the mean over groups for each row of trial weights, (R,); NaN where one is not defined."""
        unused = [len(group.trials) - weights.shape[1] for group in self.groups]
        padded = [np.pad(weights, ((0, 0), (0, more))) for more in unused]
        return np.mean([group.means(each) for group, each in zip(self.groups, padded, strict=True)], axis=0)

    def mean(self):
        """Return the mean over groups."""
        return float(self.means(np.ones((1, len(self.trials))))[0])
