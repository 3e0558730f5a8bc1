"""From photostimulation to maps, matrices and tests: what ``calzoo stimulus`` and ``compare`` do."""

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from calzoo.errors import CalzooError
from calzoo.imaging.rest import RestTrack, scaled
from calzoo.imaging.rigid import binned
from calzoo.imaging.stimuli import Stimuli
from calzoo.inference.stimulus import PRESET, StimulusNetwork, probability
from calzoo.metrics.correlation import MeanSimilarity, TrialSimilarity, block_means, ssd_matrix, zncc_matrix
from calzoo.metrics.decoding import authors_rule, decoding_scores, exact_match
from calzoo.metrics.permutation import Change, compare_means
from calzoo.metrics.spread import compare_spread, influence

_MAP_SIDE = 64  # pixels of the longer side of the maps of single stimuli, which statistics are made of
_CHANGE_SIDE = 32  # of the changes: squares about as large as a cell, in which noise averages out


@dataclass(frozen=True)
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
    event_changes : ndarray of float32, (E, v, u)
        Mean change of the field since rest after each stimulus, over the root of rest.
    event_condition, event_trial : ndarray of int, (E,)
    average : ndarray of float32, (Y, X)
        Mean of the decoded frames.
    scores : dict of str to float
        See `calzoo.metrics.decoding.decoding_scores`.
    facts : dict
        Of the network, for run.json.
    """

    stimuli: Stimuli
    logits: np.ndarray
    threshold: float
    mean_cams: np.ndarray
    event_cams: np.ndarray
    event_changes: np.ndarray
    event_condition: np.ndarray
    event_trial: np.ndarray
    average: np.ndarray
    scores: dict
    facts: dict

    @property
    def zncc(self):
        """ZNCC of the mean maps, (C, C)."""
        return zncc_matrix(self.mean_cams)

    @property
    def ssd(self):
        """Mean squared difference of the mean maps, (C, C)."""
        return ssd_matrix(self.mean_cams)

    @property
    def groups(self):
        """Group of each condition, from 1; one group of all where the table has none; 0: no stimulus."""
        known = self.stimuli.groups
        some = np.array([bool(cells) for cells in self.stimuli.conditions])
        return known if known.any() else some.astype(int)

    def similarity(self, group):
        """Return the similarity of the conditions of a group, from single trials."""
        inside = np.flatnonzero(self.groups == group)
        return TrialSimilarity(self.event_cams, self.event_condition, self.event_trial, inside.tolist())

    def influence(self, group):
        """Return what the stimulation of each cell of a group adds to the field, trial by trial."""
        rows = np.flatnonzero(self.groups[self.event_condition] == group)
        stimulated = np.zeros((len(rows), self.stimuli.cells.shape[1]), bool)
        for place, row in enumerate(rows):
            stimulated[place, np.array(self.stimuli.conditions[self.event_condition[row]], int) - 1] = True
        return influence(self.event_changes[rows], stimulated, self.event_trial[rows])


def analyse_stimuli(
    movie,
    stimuli,
    *,
    preset=PRESET,
    model=None,
    provider="auto",
    threads=None,
    target="largest",
    rest=None,
    mask=None,
    trials=None,
    progress=None,
):
    """Decode a recording, and average its maps by condition and by stimulus.

    Parameters
    ----------
    movie : Movie or ndarray, (T, Y, X)
    stimuli : Stimuli
        From `calzoo.imaging.stimuli.read_stimuli`.
    preset, model, provider, threads, target, rest, mask : optional
        As for `calzoo.inference.stimulus.decode_stimuli`.
    trials : sequence of int, optional
        Only these.
    progress : callable, optional
        Called with the number of frames that were decoded.

    Returns
    -------
    StimulusAnalysis
    """
    network = StimulusNetwork.load(model, preset, provider=provider, threads=threads)
    wanted = network.targets(stimuli, target)
    rows = network.rows(stimuli)
    if trials is not None:
        rows = rows[np.isin(stimuli.trial[rows], trials)]
        if not len(rows):
            message = f"expected trials {list(trials)} in the table, which has {sorted(set(stimuli.trial))}."
            raise CalzooError(message)
    shown = stimuli.only(rows)
    logits = np.empty((len(rows), network.cells + 1), np.float32)
    sums = np.zeros((len(stimuli.conditions), *movie.shape[1:]))
    counts = np.bincount(shown.condition, minlength=len(sums))
    events, place = np.unique(shown.event, return_inverse=True)
    event_sums, event_counts = 0.0, np.bincount(place)
    average = np.zeros(movie.shape[1:])
    for part, some, cams in network.blocks(movie, shown.frames, wanted[rows], rest=rest, mask=mask):
        logits[part] = some
        for condition, cam in zip(shown.condition[part], cams, strict=True):
            sums[condition] += cam
        event_sums = event_sums + _summed(_reduced(cams), place[part], len(events))
        if progress is not None:
            progress(len(cams))
    for number in shown.frames[:: max(len(rows) // 200, 1)]:
        average += np.asarray(movie[int(number)], float)
    first = np.searchsorted(place, np.arange(len(events))) if _sorted(place) else _first(place, len(events))
    return StimulusAnalysis(
        shown,
        logits,
        network.threshold,
        (sums / np.maximum(counts, 1)[:, None, None]).astype(np.float32),
        (event_sums / event_counts[:, None, None]).astype(np.float32),
        event_changes(movie, stimuli.only(np.isin(stimuli.event, events))),
        shown.condition[first],
        shown.trial[first],
        (average / len(shown.frames[:: max(len(rows) // 200, 1)])).astype(np.float32),
        decoding_scores(logits, shown.targets > 0),
        {
            "model": {
                "name": network.card.name,
                "file": network.model.path.name,
                "sha256": network.model.sha256,
                "provider": network.model.provider,
            },
            "target": target,
            "frames": len(rows),
        },
    )


def _reduced(maps, side=_MAP_SIDE):
    """Return maps (N, Y, X) as means of squares of pixels, at most so many on a side."""
    return binned(maps, max(-(-max(maps.shape[1:]) // side), 1))


def _summed(maps, place, count):
    """Return the sums of maps that belong to the same of `count` places."""
    sums = np.zeros((count, *maps.shape[1:]))
    for one, some in zip(place, maps, strict=True):
        sums[one] += some
    return sums


def _sorted(place):
    return bool((np.diff(place) >= 0).all())


def _first(place, count):
    return np.array([np.flatnonzero(place == i)[0] for i in range(count)])


def predictions(analysis):
    """Return the columns of predictions.csv.

    Parameters
    ----------
    analysis : StimulusAnalysis
    """
    shown, chance = analysis.stimuli, probability(analysis.logits)
    truth = shown.targets > 0
    cut = np.log(analysis.threshold / (1 - analysis.threshold))
    found = chance[:, :-1] > analysis.threshold
    names = [*(f"p_cell_{k + 1}" for k in range(found.shape[1])), "p_none"]
    return {
        "frame": shown.frames,
        "condition": [shown.names[c] for c in shown.condition],
        "trial": shown.trial,
        "offset": shown.offset,
        "found": ["+".join(str(k + 1) for k in np.flatnonzero(row)) or "none" for row in found],
        "exact": exact_match(analysis.logits, truth, cut),
        "authors_rule": authors_rule(analysis.logits, truth),
        **{name: chance[:, k] for k, name in enumerate(names)},
    }


def roi_answers(movie, stimuli, masks):
    """Return the classical answers to each stimulus: dF/F of each cell, the mean over its frames.

    Parameters
    ----------
    movie : Movie or ndarray, (T, Y, X)
    stimuli : Stimuli
    masks : ndarray of bool, (A, Y, X)

    Returns
    -------
    answers : ndarray of float, (E, A)
    condition, trial : ndarray of int, (E,)
    """
    weights = masks.reshape(len(masks), -1).astype(np.float32)
    weights = (weights / np.maximum(weights.sum(axis=1, keepdims=True), 1)).T
    track = RestTrack(movie)
    events, first, place = np.unique(stimuli.event, return_index=True, return_inverse=True)
    answers = np.zeros((len(events), len(masks)))
    for start in range(0, len(stimuli), 256):
        part = slice(start, start + 256)
        numbers = stimuli.frames[part]
        frames = movie.take(numbers) if hasattr(movie, "frames") else movie[numbers]
        level = track.at(numbers).reshape(len(frames), -1) @ weights
        change = (scaled(frames).reshape(len(frames), -1) @ weights - level) / level
        np.add.at(answers, place[part], change)
    return answers / np.bincount(place)[:, None], stimuli.condition[first], stimuli.trial[first]


def event_changes(movie, stimuli):
    """Return the change of the field since rest after each stimulus, the mean over its frames.

    Rest is taken near in time, so that drift and bleaching do not count.

    Parameters
    ----------
    movie : Movie or ndarray, (T, Y, X)
    stimuli : Stimuli

    Returns
    -------
    ndarray of float32, (E, y, x)
        Over the root of rest, as photons scatter; means of squares of pixels, at most 32
        on a side.
    """
    track = RestTrack(movie)
    place = np.unique(stimuli.event, return_inverse=True)[1]
    counts, sums = np.bincount(place), 0.0
    for start in range(0, len(stimuli), 256):
        part = slice(start, start + 256)
        numbers = stimuli.frames[part]
        frames = scaled(movie.take(numbers) if hasattr(movie, "frames") else movie[numbers])
        rest = np.maximum(track.at(numbers), 0.1)
        change = (frames - rest) / np.sqrt(rest)
        sums = sums + _summed(_reduced(change, _CHANGE_SIDE), place[part], len(counts))
    return (sums / counts[:, None, None]).astype(np.float32)


@dataclass(frozen=True)
class StimulusComparison:
    """Two recordings of one field, seen by one network.

    Attributes
    ----------
    before, after : StimulusAnalysis
    changes : dict of int to calzoo.metrics.permutation.Change
        Mean pairwise similarity of the maps of each group's conditions.
    overall : calzoo.metrics.permutation.Change
        The mean over groups.
    spreads : dict of int to calzoo.metrics.permutation.Change
        How much of the answers of each group arises beyond the stimulated cells.
    spread : calzoo.metrics.permutation.Change
        Of all groups together.
    classical : calzoo.metrics.permutation.Change or None
        The same of the cosine similarity of the answers of given cells.
    """

    before: StimulusAnalysis
    after: StimulusAnalysis
    changes: dict
    overall: Change
    spreads: dict
    spread: Change
    classical: Change | None = None


def compare_analyses(before, after, *, answers=None, seed=0, resamples=1000):
    """Compare the maps of two recordings of the same conditions.

    Parameters
    ----------
    before, after : StimulusAnalysis
        By the same network.
    answers : pair, optional
        What `roi_answers` returned of each, for the classical comparison beside.
    seed : int, optional
        Of the resampling.
    resamples : int, optional

    Returns
    -------
    StimulusComparison

    Raises
    ------
    CalzooError
        If the conditions differ, or a recording has fewer than three trials.
    """
    if before.stimuli.conditions != after.stimuli.conditions:
        only = sorted(set(before.stimuli.names) ^ set(after.stimuli.names))
        message = (
            "expected the same conditions in both recordings; only one of them has "
            f"{', '.join(only[:6])}{' ...' if len(only) > 6 else ''}."
        )
        raise CalzooError(message)
    if before.facts["model"]["sha256"] != after.facts["model"]["sha256"]:
        message = "expected both recordings to be seen by one network, got two: maps of two differ anyway."
        raise CalzooError(message)
    for side in (before, after):
        trials = len(np.unique(side.event_trial))
        if trials < 3:
            message = f"expected at least 3 trials of each recording to compare them, got {trials}."
            raise CalzooError(message)
    rng = np.random.default_rng(seed)
    changes = {
        int(group): compare_means(
            before.similarity(group), after.similarity(group), rng=rng, resamples=resamples
        )
        for group in np.unique(before.groups[before.groups > 0])
    }
    whole = (MeanSimilarity([side.similarity(group) for group in changes]) for side in (before, after))
    overall = compare_means(*whole, rng=rng, resamples=resamples)
    pairs = {group: (before.influence(group), after.influence(group)) for group in changes}
    spreads = {group: compare_spread([pair], rng=rng, resamples=resamples) for group, pair in pairs.items()}
    spread = compare_spread(list(pairs.values()), rng=rng, resamples=resamples)
    classical = None
    if answers is not None:
        cosines = (
            MeanSimilarity(
                [
                    TrialSimilarity(*of_one, np.flatnonzero(before.groups == group).tolist(), centred=False)
                    for group in changes
                ]
            )
            for of_one in answers
        )
        classical = compare_means(*cosines, rng=rng, resamples=resamples)
    return StimulusComparison(before, after, changes, overall, spreads, spread, classical)


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


def run_stimulus(
    path, out, table, *, conditions=None, frame_rate_hz=None, masks=None, progress=None, **options
):
    """Decode a recording into a folder.

    The folder gets predictions.csv, cams.tif (mean map of each condition), zncc.csv,
    ssd.csv, blocks.csv, pictures, report.html and run.json, all of them or none.

    Parameters
    ----------
    path : path-like
        What `open_movie` reads.
    out : path-like
        The folder.
    table : path-like
        See `calzoo.imaging.stimuli`.
    conditions : path-like, optional
        Cells of each condition.
    frame_rate_hz : float, optional
        Where the file does not say.
    masks : path-like, optional
        Masks of the cells, the stimulated ones first: the network sees these alone.
    progress : callable, optional
        As for `analyse_stimuli`.
    **options
        As for `analyse_stimuli`.

    Returns
    -------
    StimulusAnalysis

    Raises
    ------
    CalzooError
        If a file, the network or an option cannot be used, or the disk is full.
    """
    from calzoo.imaging.outputs import output_folder, write_run_json

    began = time.perf_counter()
    network = StimulusNetwork.load(
        options.pop("model", None),
        options.pop("preset", PRESET),
        provider=options.pop("provider", "auto"),
        threads=options.pop("threads", None),
    )
    if masks is not None:
        options["mask"] = stimulated_pixels(masks, network.cells)
    analysis = _analyse(path, table, network, conditions, frame_rate_hz, progress, options)
    with output_folder(out) as folder:
        _write_analysis(folder, analysis, Path(path).name)
        write_run_json(
            folder,
            input=path,
            table=table,
            **analysis.facts,
            scores=analysis.scores,
            seconds=round(time.perf_counter() - began, 3),
        )
    return analysis


def run_compare(
    first,
    second,
    out,
    tables,
    *,
    conditions=None,
    masks=None,
    frame_rate_hz=None,
    seed=0,
    progress=None,
    **options,
):
    """Compare two recordings of a field into a folder.

    The folder gets comparison.csv, both matrices as tables, pictures, report.html and run.json.

    Parameters
    ----------
    first, second : path-like
        What `open_movie` reads: before and after.
    out : path-like
        The folder.
    tables : pair of path-like
        Stimuli of each.
    masks : path-like, optional
        A file of `calzoo.imaging.masks` with cells of the field: their answers are compared too.
    conditions, frame_rate_hz, progress
        As for `run_stimulus`.
    seed : int, optional
        Of the resampling.
    **options
        As for `analyse_stimuli`.

    Returns
    -------
    StimulusComparison
    """
    from calzoo.imaging.masks import read_masks
    from calzoo.imaging.outputs import output_folder, write_run_json, write_table
    from calzoo.imaging.stimulus_report import write_comparison

    began = time.perf_counter()
    network = StimulusNetwork.load(
        options.pop("model", None),
        options.pop("preset", PRESET),
        provider=options.pop("provider", "auto"),
        threads=options.pop("threads", None),
    )
    if masks is not None and network.masked:
        options["mask"] = stimulated_pixels(masks, network.cells)
    sides = [
        _analyse(path, table, network, conditions, frame_rate_hz, progress, options)
        for path, table in zip((first, second), tables, strict=True)
    ]
    answers = None
    if masks is not None:
        stack = read_masks(masks).stack()
        answers = [
            _roi_answers(path, side, stack, masks) for path, side in zip((first, second), sides, strict=True)
        ]
    comparison = compare_analyses(*sides, answers=answers, seed=seed)
    with output_folder(out) as folder:
        columns = comparison_table(comparison)
        write_table(folder / "comparison.csv", columns)
        for name, side in zip(("before", "after"), sides, strict=True):
            write_table(folder / f"zncc_{name}.csv", matrix_table(side.zncc, side.stimuli.names))
        write_comparison(folder, comparison, columns, (Path(first).name, Path(second).name))
        write_run_json(
            folder,
            input=[first, second],
            tables=list(tables),
            **sides[0].facts,
            groups=columns,
            seed=seed,
            seconds=round(time.perf_counter() - began, 3),
        )
    return comparison


def stimulated_pixels(masks, cells):
    """Return where the stimulated cells are, (Y, X) bool, from a file of masks, theirs first."""
    from calzoo.imaging.masks import read_masks

    stack = read_masks(masks).stack()
    if len(stack) < cells:
        message = f"{masks}: expected masks of {cells} stimulated cells, the first ones, got {len(stack)}."
        raise CalzooError(message)
    return stack[:cells].any(axis=0)


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
        values = [*values, float(np.mean(values))]
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


def _roi_answers(path, analysis, stack, masks):
    from calzoo.imaging.movies import open_movie

    with open_movie(path) as movie:
        if stack.shape[1:] != tuple(movie.shape[1:]):
            wanted, got = tuple(movie.shape[1:]), stack.shape[1:]
            message = f"{masks}: expected masks of {wanted} pixels, as {path} has, got {got}."
            raise CalzooError(message)
        return roi_answers(movie, analysis.stimuli, stack)


def _analyse(path, table, network, conditions, frame_rate_hz, progress, options):
    from calzoo.imaging.movies import open_movie
    from calzoo.imaging.stimuli import read_stimuli

    with open_movie(path, frame_rate_hz=frame_rate_hz) as movie:
        stimuli = read_stimuli(
            table,
            frames=len(movie),
            frame_rate_hz=movie.frame_rate_hz,
            conditions=conditions,
            cells=network.cells,
            after=network.after,
            label=str(path),
        )
        return analyse_stimuli(movie, stimuli, model=network, progress=progress, **options)


def _write_analysis(folder, analysis, name):
    from calzoo.imaging.outputs import write_table
    from calzoo.imaging.stimulus_report import write_report
    from calzoo.imaging.writers import write_volume

    write_table(folder / "predictions.csv", predictions(analysis))
    write_table(folder / "zncc.csv", matrix_table(analysis.zncc, analysis.stimuli.names))
    write_table(folder / "ssd.csv", matrix_table(analysis.ssd, analysis.stimuli.names))
    write_table(folder / "blocks.csv", blocks(analysis))
    write_volume(folder / "cams.tif", analysis.mean_cams)
    write_report(folder, analysis, blocks(analysis), name)
