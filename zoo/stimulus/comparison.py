"""Two recordings of one field, before and after a treatment, seen by one network."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calzoo.errors import CalzooError
from calzoo.metrics.correlation import MeanSimilarity, TrialSimilarity, block_means
from calzoo.metrics.permutation import Change, compare_means
from calzoo.metrics.spread import compare_spread
from calzoo.stimulus.analysis import StimulusAnalysis, compared_groups

_FEWEST = 3  # trials: of fewer nothing is left to compare a trial with


@dataclass(frozen=True, eq=False)
class StimulusComparison:
    """Two recordings of one field, seen by one network.

    Attributes
    ----------
    before, after : StimulusAnalysis
    changes : dict of int to calzoo.metrics.permutation.Change
        Mean pairwise similarity of the maps of each group's conditions.
    overall : calzoo.metrics.permutation.Change
        The mean over groups, those in which it is defined before and after.
    spreads : dict of int to calzoo.metrics.permutation.Change
        How much of the answers of each group arises beyond the stimulated cells.
    spread : calzoo.metrics.permutation.Change
        Of all groups together.
    classical : calzoo.metrics.permutation.Change or None
        The same of the cosine similarity of the answers of given cells.
    """

    before: StimulusAnalysis
    after: StimulusAnalysis
    changes: dict[int, Change]
    overall: Change
    spreads: dict[int, Change]
    spread: Change
    classical: Change | None = None

    def __repr__(self) -> str:
        spread = self.spread
        return (
            f"StimulusComparison(spread of answers {spread.before:.2f} before and {spread.after:.2f} after, "
            f"p = {spread.p:.2g})"
        )


def check_trials(stimuli, label="the table"):
    """Refuse stimuli that cannot be compared trial by trial.

    Parameters
    ----------
    stimuli : Stimuli
    label : str, optional
        What the table is called in errors.

    Raises
    ------
    CalzooError
        If fewer than three trials hold every condition of a group.
    """
    groups = compared_groups(stimuli)
    for group, shown in _by_group(stimuli, groups):
        _check_complete(shown, np.flatnonzero(groups == group).tolist(), f"group {group}", label)


def overlapping_trials(stimuli):
    """Say which trials of a group overlap: what drifts in between may be taken for a change.

    Parameters
    ----------
    stimuli : Stimuli

    Returns
    -------
    str
        A sentence about the first two; empty where the trials of each group follow each other.
    """
    for group, shown in _by_group(stimuli, compared_groups(stimuli)):
        frames = [(shown.frames[shown.trial == trial], trial) for trial in np.unique(shown.trial)]
        spans = sorted((numbers.min(), numbers.max(), trial) for numbers, trial in frames)
        for (_, last, trial), (first, _, other) in pairwise(spans):
            if first < last:
                return (
                    f"trial {other} of group {group} begins at frame {first}, before trial {trial} ends at "
                    f"frame {last}: slow drift of the recording may be taken for a change. Where stretches "
                    "of it show every condition, number these in the column 'trial'."
                )
    return ""


def _by_group(stimuli, groups):
    """Yield each compared group and its stimuli."""
    for group in np.unique(groups[groups > 0]).tolist():
        yield group, stimuli.only(groups[stimuli.condition] == group)


def _check_complete(shown, conditions, group, label):
    """Refuse the stimuli of a group that hold too few trials with each of its conditions."""
    held = set(zip(shown.trial.tolist(), shown.condition.tolist(), strict=True))
    trials = np.unique(shown.trial).tolist()
    lacking = {trial: [c for c in conditions if (trial, c) not in held] for trial in trials}
    short = {trial: missing for trial, missing in lacking.items() if missing}
    complete = len(trials) - len(short)
    if complete < _FEWEST:
        advice = (
            "'trial' counts the repetitions of a stimulus, from 1, not all stimuli; correct the column, "
            "or leave it out to have them counted."
            if short
            else "Repeat the stimuli more often: fewer trials tell nothing."
        )
        message = (
            f"{label}: expected at least {_FEWEST} trials with each of the {len(conditions)} conditions "
            f"of {group}, got {complete} such trials of {len(trials)}{_lacks(short, shown.names)}. {advice}"
        )
        raise CalzooError(message)


def _lacks(short, names):
    """Say of the trial that lacks the fewest conditions which ones."""
    if not short:
        return ""
    trial = min(short, key=lambda t: len(short[t]))
    missing = [names[c] for c in short[trial]]
    return f"; trial {trial} lacks cells {', '.join(missing[:6])}{' ...' if len(missing) > 6 else ''}"


def check_pair(before, after, sizes):
    """Refuse stimuli of two recordings that cannot be compared.

    Parameters
    ----------
    before, after : Stimuli
    sizes : pair of tuple of int
        Height and width of the frames of each.

    Raises
    ------
    CalzooError
        If conditions, groups or sizes differ.
    """
    if sizes[0] != sizes[1]:
        first, second = sizes
        message = (
            f"expected two recordings of one field, got frames of {first} and of {second} pixels; crop them."
        )
        raise CalzooError(message)
    groups = [dict(zip(stimuli.names, compared_groups(stimuli), strict=True)) for stimuli in (before, after)]
    only = sorted(groups[0].keys() ^ groups[1].keys())
    if only:
        message = (
            "expected the same conditions in both recordings; only one of them has "
            f"{', '.join(only[:6])}{' ...' if len(only) > 6 else ''}."
        )
        raise CalzooError(message)
    moved = [name for name, group in groups[0].items() if groups[1][name] != group]
    if moved:
        message = (
            f"expected the same groups in both tables; cells {moved[0]} are of group {groups[0][moved[0]]} "
            f"before and {groups[1][moved[0]]} after. Correct the column 'group', or leave it out of both."
        )
        raise CalzooError(message)


def compare_analyses(
    before: StimulusAnalysis,
    after: StimulusAnalysis,
    *,
    answers: Sequence[tuple[NDArray[Any], NDArray[Any], NDArray[Any]]] | None = None,
    seed: int = 0,
) -> StimulusComparison:
    """Compare the maps of two recordings of the same conditions.

    Parameters
    ----------
    before, after : StimulusAnalysis
        By the same network.
    answers : pair, optional
        What `roi_answers` returned of each, for the classical comparison beside.
    seed : int, optional
        Of the signs that are drawn where there are more than 14 trials.

    Returns
    -------
    StimulusComparison

    Raises
    ------
    CalzooError
        If the conditions, their groups or the sizes of frames differ, or a recording has fewer than
        three trials with all conditions of a group.
    """
    for name, side in (("before", before), ("after", after)):
        if not isinstance(side, StimulusAnalysis):
            message = f"{name}: expected what calzoo.analyse_stimuli returns, got {type(side).__name__}."
            raise CalzooError(message)
    check_pair(before.stimuli, after.stimuli, [side.average.shape for side in (before, after)])
    if before.facts["model"]["sha256"] != after.facts["model"]["sha256"]:
        message = "expected both recordings to be seen by one network, got two: maps of two differ anyway."
        raise CalzooError(message)
    for name, side in (("before", before), ("after", after)):
        check_trials(side.stimuli, f"the table of the recording {name}")
    rng = np.random.default_rng(seed)
    changes = {
        int(group): compare_means(before.similarity(group), after.similarity(group), rng=rng)
        for group in np.unique(before.groups[before.groups > 0])
    }
    defined = [group for group, change in changes.items() if np.isfinite(change.difference)] or [*changes]
    whole = (MeanSimilarity([side.similarity(group) for group in defined]) for side in (before, after))
    overall = compare_means(*whole, rng=rng)
    pairs = {group: (before.influence(group), after.influence(group)) for group in changes}
    spreads = {group: compare_spread([pair], rng=rng) for group, pair in pairs.items()}
    spread = compare_spread(list(pairs.values()), rng=rng)
    classical = None
    if answers is not None:
        classical = compare_means(*(_cosine(*one, before.groups, defined) for one in answers), rng=rng)
    return StimulusComparison(before, after, changes, overall, spreads, spread, classical)


def _cosine(answers, condition, trial, groups, compared):
    """Return the similarity of the answers of given cells, the mean over the compared groups."""
    members = [np.flatnonzero(groups == group).tolist() for group in compared]
    return MeanSimilarity([TrialSimilarity(answers, condition, trial, m, centred=False) for m in members])


def comparison_table(comparison):
    """Return the columns of comparison.csv, one row per group and one for their mean."""
    listed = [*comparison.changes.values(), comparison.overall]
    names = [*map(str, comparison.changes), "all"]
    if comparison.classical is not None:
        listed, names = [*listed, comparison.classical], [*names, "all (cosine of cells)"]
    heads = ("similarity_before", "similarity_after", "difference", "interval_low", "interval_high", "p")
    columns = {"group": names, **dict(zip(heads, _numbers(listed), strict=True))}
    for name, side in (("before", comparison.before), ("after", comparison.after)):
        raw = block_means(side.zncc, side.groups)
        values = [raw[group] for group in comparison.changes]
        known = [value for value in values if np.isfinite(value)]  # a single condition is like none
        values = [*values, float(np.mean(known)) if known else np.nan]
        columns[f"mean_zncc_{name}"] = values + [None] * (len(names) - len(values))
    spreads = [*comparison.spreads.values(), comparison.spread]
    heads = ("before", "after", "difference", "interval_low", "interval_high", "p")
    for head, values in zip(heads, _numbers(spreads), strict=True):
        columns[f"spread_{head}"] = values + [None] * (len(names) - len(values))
    return columns


def _numbers(changes):
    """Return before, after, difference, both ends of the interval and p of some changes, a list of each."""
    rows = [(c.before, c.after, c.difference, *c.interval, c.p) for c in changes]
    return [list(column) for column in zip(*rows, strict=True)]
