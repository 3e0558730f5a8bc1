"""Scores of every task: means over recordings, and a table of them."""

import numpy as np

from calzoo.weights.card import Score


def mean_score(data, metric, protocol, values, *, baseline=None, baseline_name="", chance=None, digits=4):
    """Return the mean of a metric over recordings, with its range, beside those of a baseline and of chance.

    Parameters
    ----------
    data, metric, protocol : str
    values, baseline, chance : float or sequence of float
        One for each recording, or one for all, which has no range. NaN does not count; of a
        baseline and of chance there is none where nothing counts.
    baseline_name : str, optional
    digits : int or None, optional
        Behind the point; None: all.

    Returns
    -------
    calzoo.weights.card.Score
    """
    value = _mean(values, digits)
    ends = () if np.ndim(values) == 0 else (np.nanmin(values), np.nanmax(values))
    return Score(
        data=data,
        metric=metric,
        value=np.nan if value is None else value,
        protocol=protocol,
        spread=tuple(_mean(end, digits) for end in ends) or None,
        baseline=_mean(baseline, digits),
        baseline_name=baseline_name,
        chance=_mean(chance, digits),
    )


def _mean(values, digits):
    """Return the mean of what is defined, None where nothing is."""
    values = np.asarray(values, float)  # None is NaN
    if np.isnan(values).all():
        return None
    mean = float(np.nanmean(values))
    return mean if digits is None else round(mean, digits)


def with_mean(scores):
    """Return scores with their mean before them, ``"score"``, which decides what weights are kept.

    Parameters
    ----------
    scores : dict of str to float
        May be empty; then there is no mean.

    Returns
    -------
    dict of str to float
    """
    return {"score": float(np.mean(list(scores.values()))), **scores} if scores else {}


def report(scores):
    """Return scores as a table in plain text, one line each."""
    heads = f"{'score':>7}  {'range':<15}{'baseline':>9}{'chance':>9}  protocol"
    data = max([22, *(len(s.data) + 2 for s in scores)])
    metric = max([32, *(len(s.metric) + 2 for s in scores)])
    lines = [f"{'data':<{data}}{'metric':<{metric}}{heads}"]
    for s in scores:
        spread = f"[{s.spread[0]:.3f}, {s.spread[1]:.3f}]" if s.spread else ""
        beside = "".join(f"{n:>9.3f}" if n is not None else " " * 9 for n in (s.baseline, s.chance))
        lines.append(
            f"{s.data:<{data}}{s.metric:<{metric}}{s.value:>7.3f}  {spread:<15}{beside}  {s.protocol}"
        )
    return "\n".join(lines)
