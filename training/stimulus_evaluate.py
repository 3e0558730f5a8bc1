"""Score stimulus networks on trials that they were not trained on, beside ROIs and chance."""

import numpy as np
from scipy import optimize

from calzoo.errors import CalzooError
from calzoo.imaging.rest import scaled
from calzoo.metrics.decoding import decoding_scores
from calzoo.training.runs import build_model
from calzoo.training.scores import mean_score
from calzoo.training.stimulus_data import StimulusData
from calzoo.training.stimulus_recordings import read_recorded, simulated

NAMES = {
    "exact": "exact match",
    "exact_single": "exact match, one cell",
    "exact_pair": "exact match, pairs",
    "exact_none": "exact match, no stimulus",
    "rule_single": "authors' rule, one cell",
    "rule_pair": "authors' rule, pairs",
    "macro_f1": "macro-F1",
}
_BASELINE = "logistic regression on true cells"


def keras_decoder(run):
    """Make a function that decodes with the network of a run.

    Parameters
    ----------
    run : calzoo.training.runs.Run

    Returns
    -------
    callable
        ``decode(recorded) -> (rows, logits)``: rows of its table that begin an input.
    """
    model, recipe = build_model(run), run.recipe

    def decode(recorded):
        data = StimulusData(recipe, [recorded])
        rows = np.flatnonzero(data.prepared[0].first)
        return rows, recipe.predict(model, data, [(0, row) for row in rows])

    return decode


def score_stimulus(decode, recordings, *, test_trials=2, together=1):
    """Score the last trials of recordings.

    Parameters
    ----------
    decode : callable
        See `keras_decoder`.
    recordings : sequence of calzoo.training.stimulus_recordings.Recorded
    test_trials : int, optional
        Trials at the end that the network was not trained on; 0: it has seen them all, and is scored
        on the last one, as the protocol says.
    together : int, optional
        Frames of an input: the baseline is given their mean.

    Returns
    -------
    list of Score
        Baseline where the recording has masks: logistic regression, on the other trials, on
        the mean of each true cell over that of the frame. Chance: shuffled answers.
    """
    scores, last = [], max(test_trials, 1)
    seen = "never trained on" if test_trials else "trained on"
    for recorded in recordings:
        rows, logits = decode(recorded)
        stimuli = recorded.stimuli.only(rows)
        held = np.isin(stimuli.trial, np.unique(stimuli.trial)[-last:])
        truth = stimuli.targets > 0
        ours = decoding_scores(logits[held], truth[held])
        order = np.random.default_rng(0).permutation(int(held.sum()))
        chance = decoding_scores(logits[held][order], truth[held])
        theirs = {}
        if recorded.masks is not None:
            features = roi_means(
                recorded.frames, stimuli.frames, recorded.masks[: truth.shape[1] - 1], together
            )
            rois = logistic_regression(features, truth, ~held)
            theirs = decoding_scores(rois[held], truth[held])
        protocol = f"last {last} trials, {int(held.sum())} inputs, {seen}"
        for key, name in NAMES.items():
            if np.isfinite(ours[key]):
                beside = {"baseline": theirs.get(key), "chance": chance[key]}
                beside["baseline_name"] = "" if key not in theirs else _BASELINE
                scores.append(mean_score(f"recording {recorded.name}", name, protocol, ours[key], **beside))
    return scores


def recordings_of(recipe, folders=()):
    """Return the recordings that a recipe is scored on: those of the folders, or its simulated field.

    Raises
    ------
    CalzooError
        If there are neither.
    """
    if folders:
        return [read_recorded(f, after=recipe.after, cells=recipe.network["cells"]) for f in folders]
    if not recipe.simulation:
        message = (
            f"recipe {recipe.name!r} is scored on the recording that it was trained on; score it with "
            "'calzoo evaluate RUN --data FOLDER', the folder of its frames and table, which also keeps the "
            "scores for a release."
        )
        raise CalzooError(message)
    return [simulated(recipe.simulation, after=recipe.after)]


def roi_means(frames, numbers, masks, together=1):
    """Return the mean of each cell over the mean of the frame, (N, K), averaged over `together` frames.

    Parameters
    ----------
    frames : ndarray, (T, Y, X)
    numbers : ndarray of int, (N,)
        First frame of each row.
    masks : ndarray of bool, (K, Y, X)
    together : int, optional
    """
    weights = masks.reshape(len(masks), -1).astype(np.float32)
    weights = (weights / weights.sum(axis=1, keepdims=True)).T
    means = np.zeros((len(numbers), len(masks)))
    for start in range(0, len(numbers), 256):
        part = slice(start, start + 256)
        for later in range(together):
            taken = scaled(frames[numbers[part] + later])
            means[part] += taken.reshape(len(taken), -1) @ weights
    return means / together


def logistic_regression(features, targets, train, *, decay=0.1):
    """Return the logits of one logistic regression per column of the targets.

    Parameters
    ----------
    features : ndarray of float, (N, F)
    targets : ndarray of bool, (N, K)
    train : ndarray of bool, (N,)
        Rows to fit on; their mean and spread standardise all.
    decay : float, optional
        Of the squared weights, where each row's loss counts 1.

    Returns
    -------
    ndarray of float, (N, K)
    """
    spread = np.maximum(features[train].std(axis=0), 1e-12)
    features = (features - features[train].mean(axis=0)) / spread
    features = np.column_stack([features, np.ones(len(features))])
    shown = features[train]
    logits = np.empty(targets.shape)
    for k in range(targets.shape[1]):
        sign = 2.0 * targets[train, k] - 1

        def cost(weights, sign=sign):
            margin = sign * (shown @ weights)
            slope = -sign * 0.5 * (1 - np.tanh(margin / 2))
            free = decay * np.r_[weights[:-1], 0]
            return np.logaddexp(0, -margin).sum() + free @ weights / 2, shown.T @ slope + free

        found = optimize.minimize(cost, np.zeros(features.shape[1]), jac=True, method="L-BFGS-B")
        logits[:, k] = features @ found.x
    return logits
