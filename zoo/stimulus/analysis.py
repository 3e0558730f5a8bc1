"""One recording, as a network sees it: answers, maps by condition and by stimulus, their tables."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calzoo.errors import CalzooError
from calzoo.imaging.frames import sides_of
from calzoo.imaging.movies import Movie
from calzoo.imaging.stimuli import Stimuli
from calzoo.inference.models import Model, Provider
from calzoo.inference.stimulus import (
    PRESET,
    StimulusNetwork,
    Target,
    check_table,
    checked_movie,
    probability,
)
from calzoo.metrics.correlation import TrialSimilarity, block_means, ssd_matrix, zncc_matrix
from calzoo.metrics.decoding import authors_rule, decoding_scores, exact_match
from calzoo.metrics.spread import Influence, influence
from calzoo.stimulus.answers import event_pictures, reduced, summed

_MAP_SIDE = 64  # pixels of the longer side of the maps of single stimuli, which statistics are made of
_AVERAGED = 200  # frames that the mean picture is made of, about


@dataclass(frozen=True, eq=False)
class StimulusAnalysis:
    """What a network says of a recording whose stimuli are known.

    Attributes
    ----------
    stimuli : Stimuli
        The frames that were decoded; where the network sees several together, the first ones.
    logits : ndarray of float32, (N, K + 1)
    threshold : float
        Of a probability.
    mean_cams : ndarray of float32, (C, Y, X)
        Mean map of each condition.
    event_cams : ndarray of float32, (E, y, x)
        Mean map of each stimulus, at most 64 pixels wide.
    event_pictures : ndarray of float32, (E, v, u)
        Mean of the frames after each stimulus, as they were recorded, at most 32 pixels wide.
    event_condition, event_trial : ndarray of int, (E,)
    average : ndarray of float32, (Y, X)
        Mean of the decoded frames.
    scores : dict of str to float
        See `calzoo.metrics.decoding.decoding_scores`.
    facts : dict
        Of the network, for run.json.
    """

    stimuli: Stimuli
    logits: NDArray[np.float32]
    threshold: float
    mean_cams: NDArray[np.float32]
    event_cams: NDArray[np.float32]
    event_pictures: NDArray[np.float32]
    event_condition: NDArray[np.int64]
    event_trial: NDArray[np.int64]
    average: NDArray[np.float32]
    scores: dict[str, float]
    facts: dict[str, Any]

    def __repr__(self) -> str:
        return (
            f"StimulusAnalysis({len(self.stimuli)} frames of {sides_of(self.average.shape)} pixels, "
            f"{len(self.stimuli.conditions)} conditions, exact match {self.scores['exact']:.2f})"
        )

    @property
    def zncc(self) -> NDArray[np.float64]:
        """ZNCC of the mean maps, (C, C)."""
        return zncc_matrix(self.mean_cams)

    @property
    def ssd(self) -> NDArray[np.float64]:
        """Mean squared difference of the mean maps, (C, C)."""
        return ssd_matrix(self.mean_cams)

    @property
    def groups(self) -> NDArray[np.int64]:
        """Group of each condition, from 1; one group of all where the table has none; 0: no stimulus."""
        return compared_groups(self.stimuli)

    def similarity(self, group: int) -> TrialSimilarity:
        """Return the similarity of the conditions of a group, from single trials."""
        inside = np.flatnonzero(self.groups == group)
        return TrialSimilarity(self.event_cams, self.event_condition, self.event_trial, inside.tolist())

    def influence(self, group: int) -> Influence:
        """Return what the stimulation of each cell of a group adds to the field, trial by trial."""
        rows = np.flatnonzero(self.groups[self.event_condition] == group)
        stimulated = np.zeros((len(rows), self.stimuli.cells.shape[1]), bool)
        for place, row in enumerate(rows):
            stimulated[place, np.array(self.stimuli.conditions[self.event_condition[row]], int) - 1] = True
        return influence(self.event_pictures[rows], stimulated, self.event_trial[rows])


def analyse_stimuli(
    movie: NDArray[Any] | Movie,
    stimuli: Stimuli,
    *,
    preset: str = PRESET,
    model: str | os.PathLike[str] | Model | StimulusNetwork | None = None,
    provider: Provider = "auto",
    threads: int | None = None,
    target: Target = "largest",
    rest: NDArray[Any] | None = None,
    mask: NDArray[Any] | None = None,
    trials: Sequence[int] | None = None,
    progress: Callable[[int], object] | None = None,
) -> StimulusAnalysis:
    """Decode a recording, and average its maps by condition and by stimulus.

    Parameters
    ----------
    movie : Movie or ndarray, (T, Y, X)
    stimuli : Stimuli
        From `calzoo.read_stimuli`.
    preset, model, provider, threads, target, rest, mask : optional
        As for `calzoo.decode_stimuli`.
    trials : sequence of int, optional
        Only these.
    progress : callable, optional
        Called with the number of frames that were decoded.

    Returns
    -------
    StimulusAnalysis

    Raises
    ------
    CalzooError
        If the movie, the table, the network or an option cannot be used.
    """
    network = StimulusNetwork.load(model, preset, provider=provider, threads=threads)
    movie = checked_movie(movie)
    check_table(movie, stimuli)
    wanted = network.targets(stimuli, target)
    rows = _rows(network, stimuli, trials)
    shown = stimuli.only(rows)
    logits = np.empty((len(rows), network.cells + 1), np.float32)
    sums = np.zeros((len(stimuli.conditions), *movie.shape[1:]))
    counts = np.bincount(shown.condition, minlength=len(sums))
    events, first, place = np.unique(shown.event, return_index=True, return_inverse=True)
    event_sums, event_counts = 0.0, np.bincount(place)
    for part, some, cams in network.blocks(movie, shown.frames, wanted[rows], rest=rest, mask=mask):
        logits[part] = some
        for condition, cam in zip(shown.condition[part], cams, strict=True):
            sums[condition] += cam
        event_sums = event_sums + summed(reduced(cams, _MAP_SIDE), place[part], len(events))
        if progress is not None:
            progress(len(cams))
    return StimulusAnalysis(
        shown,
        logits,
        network.threshold,
        (sums / np.maximum(counts, 1)[:, None, None]).astype(np.float32),
        (event_sums / event_counts[:, None, None]).astype(np.float32),
        event_pictures(movie, stimuli.only(np.isin(stimuli.event, events))),
        shown.condition[first],
        shown.trial[first],
        _average(movie, shown.frames),
        decoding_scores(logits, shown.targets > 0, _logit(network.threshold)),
        {"model": _model_facts(network), "target": target, "frames": len(rows)},
    )


def _rows(network, stimuli, trials):
    """Return which rows of a table begin an input, of some trials or of all."""
    rows = network.rows(stimuli)
    if trials is None:
        return rows
    rows = rows[np.isin(stimuli.trial[rows], trials)]
    if not len(rows):
        message = f"expected trials {list(trials)} in the table, which has {sorted(set(stimuli.trial))}."
        raise CalzooError(message)
    return rows


def _average(movie, frames):
    """Return the mean of some 200 of the frames, evenly spread: (Y, X)."""
    some = frames[:: max(len(frames) // _AVERAGED, 1)]
    total = np.zeros(movie.shape[1:])
    for number in some:
        total += np.asarray(movie[int(number)], float)
    return (total / len(some)).astype(np.float32)


def _model_facts(network):
    """Return "model" of run.json."""
    model = network.model
    return {
        "name": network.card.name,
        "file": model.path.name,
        "sha256": model.sha256,
        "provider": model.provider,
    }


def compared_groups(stimuli):
    """Return the group of each condition, from 1, of all one if the table has none; 0: no stimulus."""
    some = np.array([bool(cells) for cells in stimuli.conditions])
    return stimuli.groups if stimuli.groups.any() else some.astype(int)


def predictions(analysis):
    """Return the columns of predictions.csv.

    Parameters
    ----------
    analysis : StimulusAnalysis
    """
    shown, chance = analysis.stimuli, probability(analysis.logits)
    truth = shown.targets > 0
    found = chance[:, :-1] > analysis.threshold
    names = [*(f"p_cell_{k + 1}" for k in range(found.shape[1])), "p_none"]
    return {
        "frame": shown.frames,
        "condition": [shown.names[c] for c in shown.condition],
        "trial": shown.trial,
        "offset": shown.offset,
        "found": ["+".join(str(k + 1) for k in np.flatnonzero(row)) or "none" for row in found],
        "exact": exact_match(analysis.logits, truth, _logit(analysis.threshold)),
        "authors_rule": authors_rule(analysis.logits, truth),
        **{name: chance[:, k] for k, name in enumerate(names)},
    }


def blocks(analysis):
    """Return the columns of blocks.csv: of each group ZNCC, ZNCC squared and SSD, mean over pairs."""
    matrices = {"zncc": analysis.zncc, "zncc_squared": analysis.zncc**2, "ssd": analysis.ssd}
    groups = analysis.groups
    means = {name: block_means(matrix, groups) for name, matrix in matrices.items()}
    listed = list(means["zncc"])
    sizes = [int((groups == g).sum()) for g in listed]
    columns = {"group": listed, "conditions": sizes, "pairs": [n * (n - 1) // 2 for n in sizes]}
    for name, by_group in means.items():
        columns[f"mean_{name}"] = [by_group[g] for g in listed]
    columns["sum_zncc"] = [m * n for m, n in zip(columns["mean_zncc"], columns["pairs"], strict=True)]
    return columns


def matrix_table(matrix, names):
    """Return a matrix as the columns of a table, the conditions' names first."""
    return {"condition": list(names), **{name: matrix[:, i] for i, name in enumerate(names)}}


def _logit(probability):
    return float(np.log(probability / (1 - probability)))
