"""Is a difference between two recordings more than chance? What trials say of it."""

from dataclasses import dataclass

import numpy as np
from scipy import special

_EXACT = 14  # up to so many differences all patterns of signs are tried


@dataclass(frozen=True)
class Change:
    """A statistic before and after, with what chance would do; NaN where it is not defined.

    Attributes
    ----------
    before, after, difference : float
    interval : tuple of float
        95 % of the difference, by Student's t from the differences between trials.
    p : float
        Two-sided, by permutation: how often flipped signs of the differences between
        trials give as large a difference.
    """

    before: float
    after: float
    difference: float
    interval: tuple[float, float]
    p: float


def compare_means(before, after, *, rng):
    """Compare the mean similarity of conditions before and after.

    Parameters
    ----------
    before, after : calzoo.metrics.correlation.TrialSimilarity
        Of the same conditions. Of the one with more trials the first ones are compared, as many as the
        other has.
    rng : numpy.random.Generator

    Returns
    -------
    Change
    """
    count = min(len(before.trials), len(after.trials))
    first, second = (float(one.means(_first(count, one))[0]) for one in (before, after))
    differences = pseudo_values(after, count) - pseudo_values(before, count)
    return change_of(first, second, differences, rng=rng)


def change_of(before, after, differences, *, rng):
    """Return a change with the interval and p that the differences between trials give it.

    Parameters
    ----------
    before, after : float
    differences : ndarray of float, (T,)
        After minus before, of each trial; those that are not finite are left out.
    rng : numpy.random.Generator

    Returns
    -------
    Change
    """
    change = after - before
    half = half_interval(differences)
    return Change(before, after, change, (change - half, change + half), sign_flip_test(differences, rng=rng))


def half_interval(differences):
    """Return half the width of the 95 % interval of the mean of differences, by Student's t.

    A bootstrap draws from the differences alone, which vary too little where they are few.

    Parameters
    ----------
    differences : ndarray of float, (T,)

    Returns
    -------
    float
        NaN if fewer than two are finite.

    Examples
    --------
    >>> round(half_interval(np.array([1.0, 2.0, 3.0])), 3)
    2.484
    """
    differences = np.asarray(differences, float)
    differences = differences[np.isfinite(differences)]
    count = len(differences)
    if count < 2:
        return float("nan")
    return float(special.stdtrit(count - 1, 0.975) * differences.std(ddof=1) / np.sqrt(count))


def pseudo_values(similarity, count=None):
    """Return the jackknife's pseudo-values, (T,): what each trial alone says about the mean similarity.

    `count` trials from the first on, or all.
    """
    count = len(similarity.trials) if count is None else count
    weights = _first(count, similarity)
    whole = similarity.means(weights)
    left_out = similarity.means(weights - np.eye(count, len(similarity.trials)))
    return count * whole - (count - 1) * left_out


def _first(count, similarity):
    """Return weights (1, T) of trials: 1 for the first `count`, 0 for the rest."""
    return (np.arange(len(similarity.trials)) < count)[None].astype(float)


def sign_flip_test(differences, *, rng=None, resamples=10_000):
    """Test whether differences are 0 on average, by flipping their signs.

    Parameters
    ----------
    differences : ndarray of float, (T,)
        Symmetric about 0 if nothing has changed.
    rng : numpy.random.Generator, optional
        Of the signs of more than 14 differences, by default one of seed 0; of fewer all patterns are tried.
    resamples : int, optional

    Returns
    -------
    float
        Two-sided p; NaN if there is no finite difference.

    Examples
    --------
    >>> sign_flip_test(np.array([1.0, 2.0, 3.0]))
    0.25
    """
    differences = np.asarray(differences, float)
    differences = differences[np.isfinite(differences)]
    count = len(differences)
    if not count:
        return float("nan")
    if count <= _EXACT:
        patterns = np.arange(2**count)[:, None] >> np.arange(count) & 1
        means = (1 - 2 * patterns) @ differences
        return float((np.abs(means) >= abs(differences.sum()) * (1 - 1e-12)).mean())
    rng = np.random.default_rng(0) if rng is None else rng
    flips = rng.choice((-1.0, 1.0), (resamples, count)) @ differences
    return float((1 + (np.abs(flips) >= abs(differences.sum()) * (1 - 1e-12)).sum()) / (resamples + 1))


def permutation_test(first, second, statistic, *, rng, resamples=2000):
    """Test whether two samples of units differ in a statistic, by exchanging units between them.

    Parameters
    ----------
    first, second : ndarray, (N, ...), (M, ...)
    statistic : callable
        Of an array of units, a float.
    rng : numpy.random.Generator
    resamples : int, optional

    Returns
    -------
    float
        Two-sided p.
    """
    units = np.concatenate([first, second])
    observed = abs(statistic(second) - statistic(first))
    extreme = 0
    for _ in range(resamples):
        order = rng.permutation(len(units))
        a, b = units[order[: len(first)]], units[order[len(first) :]]
        extreme += abs(statistic(b) - statistic(a)) >= observed * (1 - 1e-12)
    return (1 + extreme) / (1 + resamples)
