"""How well stimulated cells are told from frames: exact match, the authors' rule, F1 per cell."""

import numpy as np


def exact_match(logits, truth, threshold=0.0):
    """Tell in which frames exactly the stimulated cells are found.

    Parameters
    ----------
    logits : ndarray of float, (N, K + 1)
        The last column: no stimulus.
    truth : ndarray of bool, (N, K + 1)
    threshold : float, optional
        A logit above it is a cell that is found; 0 is a probability of one half.

    Returns
    -------
    ndarray of bool, (N,)
        The last column does not count: no cell above the threshold is an answer too.
    """
    return ((logits[:, :-1] > threshold) == truth[:, :-1]).all(axis=1)


def authors_rule(logits, truth):
    """Tell in which frames the answer is right by the rule of the authors of this system.

    One cell or none: the largest of all outputs is right. Two cells: the two largest
    hold at least one of them. By chance 16 % of the pairs are right.

    Parameters
    ----------
    logits : ndarray of float, (N, K + 1)
    truth : ndarray of bool, (N, K + 1)

    Returns
    -------
    ndarray of bool, (N,)
    """
    order = np.argsort(-logits, axis=1, kind="stable")
    rows = np.arange(len(logits))
    first, second = truth[rows, order[:, 0]], truth[rows, order[:, 1]]
    return np.where(truth.sum(axis=1) > 1, first | second, first)


def cell_f1(logits, truth, threshold=0.0):
    """Return the F1 of each cell.

    Parameters
    ----------
    logits : ndarray of float, (N, K + 1)
    truth : ndarray of bool, (N, K + 1)
    threshold : float, optional

    Returns
    -------
    ndarray of float, (K,)
        NaN for a cell that is neither stimulated nor found.
    """
    found, true = (logits > threshold)[:, :-1], truth[:, :-1]
    hits, claims = (found & true).sum(axis=0), found.sum(axis=0) + true.sum(axis=0)
    return np.divide(2.0 * hits, claims, out=np.full(len(hits), np.nan), where=claims > 0)


def decoding_scores(logits, truth, threshold=0.0):
    """Return all scores of some frames.

    Parameters
    ----------
    logits : ndarray of float, (N, K + 1)
    truth : ndarray of bool, (N, K + 1)
    threshold : float, optional
        As for `exact_match`.

    Returns
    -------
    dict of str to float
        ``exact``, ``exact_single``, ``exact_pair``, ``exact_none``, ``rule_...`` likewise, and
        ``macro_f1``; NaN where there are no such frames.
    """
    count = truth[:, :-1].sum(axis=1)
    kinds = {"": count >= 0, "_single": count == 1, "_pair": count > 1, "_none": count == 0}
    exact, rule = exact_match(logits, truth, threshold), authors_rule(logits, truth)
    scores = {f"exact{kind}": _mean(exact[rows]) for kind, rows in kinds.items()}
    scores |= {f"rule{kind}": _mean(rule[rows]) for kind, rows in kinds.items()}
    f1 = cell_f1(logits, truth, threshold)
    scores["macro_f1"] = float(np.nanmean(f1)) if np.isfinite(f1).any() else float("nan")
    return scores


def _mean(values):
    return float(values.mean()) if len(values) else float("nan")
