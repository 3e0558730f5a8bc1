"""How the field answers to each stimulus, without a network: of given cells, and of every place."""

import numpy as np

from calzoo.imaging.frames import taken
from calzoo.imaging.rest import RestTrack, scaled
from calzoo.imaging.rigid import binned

_SIDE = 32  # squares about as large as a cell, in which noise averages out


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
        frames = taken(movie, numbers)
        level = track.at(numbers).reshape(len(frames), -1) @ weights
        change = (scaled(frames).reshape(len(frames), -1) @ weights - level) / level
        np.add.at(answers, place[part], change)
    return answers / np.bincount(place)[:, None], stimuli.condition[first], stimuli.trial[first]


def event_pictures(movie, stimuli):
    """Return the field after each stimulus, the mean over its frames, as it was recorded.

    Parameters
    ----------
    movie : Movie or ndarray, (T, Y, X)
    stimuli : Stimuli

    Returns
    -------
    ndarray of float32, (E, y, x)
        Means of squares of pixels, at most 32 on a side.
    """
    place = np.unique(stimuli.event, return_inverse=True)[1]
    counts, sums = np.bincount(place), 0.0
    for start in range(0, len(stimuli), 256):
        part = slice(start, start + 256)
        numbers = stimuli.frames[part]
        frames = taken(movie, numbers)
        sums = sums + summed(reduced(frames, _SIDE), place[part], len(counts))
    return (sums / counts[:, None, None]).astype(np.float32)


def reduced(maps, side):
    """Return maps (N, Y, X) as means of squares of pixels, at most `side` of them along each side."""
    return binned(maps, max(-(-max(maps.shape[1:]) // side), 1))


def summed(maps, place, count):
    """Return the sums of maps that belong to the same of `count` places."""
    sums = np.zeros((count, *maps.shape[1:]))
    for one, some in zip(place, maps, strict=True):
        sums[one] += some
    return sums
