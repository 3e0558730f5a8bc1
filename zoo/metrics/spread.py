"""How much of an answer arises beyond the stimulated cell: what stronger connections change.

Similarity of maps says little about connections: where every answer spreads a little
farther, maps of two conditions are hardly more alike. What each cell adds to the field
says more, and a difference within minutes of recording holds no drift, bleaching or haze.
Pictures are taken as they were recorded: dividing them by their mean or by their brightness,
in both of which a camera's offset counts as light, changes answers at bright cells and at dim
ones differently when the light fades.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from calzoo.metrics.permutation import change_of

_SURE = 2.0  # standard errors above which a pixel takes part
# Radii at half height from the middle of an answer, to its end and to where others begin.
_OWN, _BEYOND = 2.0, 3.0


@dataclass(frozen=True, eq=False)
class Influence:
    """What the stimulation of each cell of a group adds to the field, trial by trial.

    Attributes
    ----------
    cells : ndarray of int, (k,)
    maps : ndarray of float, (T, k, Y, X)
    level : ndarray of float, (Y, X)
        The field without the answers, mean over trials.
    """

    cells: NDArray[np.int64]
    maps: NDArray[np.float64]
    level: NDArray[np.float64]


def influence(pictures, stimulated, trial):
    """Part the answers to single cells and pairs into what each cell adds.

    In each trial a line is fitted through every pixel: a level, and a share for each
    stimulated cell. Conditions of a trial come in random order and soon after each
    other, so the level takes what drifts.

    Parameters
    ----------
    pictures : ndarray of float, (E, Y, X)
        The field after each stimulus, of one group of conditions, in any unit of light.
    stimulated : ndarray of bool, (E, K)
    trial : ndarray of int, (E,)

    Returns
    -------
    Influence
        Of trials in which every cell of the group was stimulated.
    """
    cells = np.flatnonzero(stimulated.any(axis=0))
    flat = np.asarray(pictures, np.float64).reshape(len(pictures), -1)
    found = []
    for number in np.unique(trial):
        rows = trial == number
        shown = stimulated[rows][:, cells].astype(float)
        if shown.any(axis=0).all():
            design = np.column_stack([np.ones(len(shown)), shown])
            found.append(np.linalg.pinv(design) @ flat[rows])
    fitted = np.reshape(found, (len(found), len(cells) + 1, *pictures.shape[1:]))
    level = fitted[:, 0].mean(axis=0) if found else np.zeros(pictures.shape[1:])
    return Influence(cells, fitted[:, 1:], level)


def compare_spread(pairs, *, rng):
    """Compare how much of the answers arises beyond the stimulated cells.

    The mean influence of each cell in both recordings is the pattern: the cell's own
    answer, and the places beyond it that answer surely. How strongly both parts of the
    pattern are found again in each trial is their gain; the spread is the gain beyond the
    cell over the gain at the cell. Dimmer light, weaker answers and a field that has moved
    lower both gains alike. A trial is compared with the pattern of the others, of both
    recordings, so that the pattern fits neither of them better. Patterns are freed of what
    looks like the field itself or like its movement: light that flickers and tissue that
    shifts from stimulus to stimulus do not count.

    Parameters
    ----------
    pairs : sequence of (Influence, Influence)
        Before and after, of each group of conditions.
    rng : numpy.random.Generator

    Returns
    -------
    Change
        Of the spread, which is near 1 if nothing has changed; NaN where no answer was found
        beyond any cell.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> field = np.zeros((1, 16, 16))
    >>> field[0, 3, 3], field[0, 11, 11] = 1.0, 0.5
    >>> noise = rng.normal(0, 0.01, (2, 6, 1, 16, 16))
    >>> stronger = field + 0.25 * (field == 0.5)
    >>> sides = [Influence([0], maps + n, np.ones((16, 16))) for maps, n in zip((field, stronger), noise)]
    >>> change = compare_spread([tuple(sides)], rng=rng)
    >>> round(change.after / change.before, 1), change.p
    (1.5, 0.03125)
    """
    count = min(len(side.maps) for pair in pairs for side in pair)
    spread = np.zeros((2, count))
    maps = [[_in_own_light(side.maps[:count]) for side in pair] for pair in pairs]
    regions = [_regions(np.concatenate(pair).mean(axis=0)) for pair in maps]
    fields = [_like_the_field(pair, places) for pair, places in zip(pairs, regions, strict=True)]
    for trial in range(count):
        found, expected = np.zeros((2, 2)), np.zeros(2)  # (recording, at the cell or beyond)
        for pair, places, field in zip(maps, regions, fields, strict=True):
            others = np.concatenate([np.delete(side, trial, axis=0) for side in pair])
            pattern = _sure(others) * places
            pattern -= np.einsum("rkn,rknyx->rkyx", np.einsum("rkyx,rknyx->rkn", pattern, field), field)
            expected += (pattern**2).sum(axis=(1, 2, 3))
            found += [[(side[trial] * part).sum() for part in pattern] for side in pair]
        with np.errstate(divide="ignore", invalid="ignore"):
            gain = found / expected
            spread[:, trial] = gain[:, 1] / gain[:, 0]
    before, after = (float(x) for x in spread.mean(axis=1))
    return change_of(before, after, spread[1] - spread[0], rng=rng)


def _in_own_light(maps):
    """Return the maps of a recording in units of its answers: a darker one shapes the pattern as much."""
    return maps / (np.sqrt((maps.mean(axis=0) ** 2).sum()) or 1.0)


def _like_the_field(pair, regions):
    """Return maps (2, k, n, Y, X), each of length 1 and at right angles: even light, the field, its movement.

    Those for what lies beyond a cell are cut out there, or the cell's own answer would count
    where they are subtracted. The cell's own answer looks like the cell in the field: for it they are whole.
    """
    level = np.mean([side.level / (np.abs(side.level).mean() or 1.0) for side in pair], axis=0)
    named = np.stack([np.ones_like(level), level, *np.gradient(level)])
    cut = np.stack([np.ones_like(regions[0]), regions[1]])[:, :, None] * named
    _, size, basis = np.linalg.svd(cut.reshape(*cut.shape[:3], -1), full_matrices=False)
    return (basis * (size > 1e-6 * size[..., :1])[..., None]).reshape(cut.shape)


def _sure(maps):
    """Return the mean of (T, ...) maps where it is surely above 0, elsewhere 0."""
    mean = maps.mean(axis=0)
    error = maps.std(axis=0, ddof=1) / np.sqrt(len(maps))
    return np.where(mean > _SURE * error, mean, 0.0)


def _regions(maps):
    """Return where each cell's own answer is, and what lies beyond it, (2, k, Y, X) bool.

    The ring between the two, in which light of the cell scatters, belongs to neither.
    """
    y, x = np.indices(maps.shape[1:])
    found = np.zeros((2, *maps.shape), bool)
    for k, answer in enumerate(ndimage.gaussian_filter(maps, (0, 1, 1))):
        parts, _ = ndimage.label(answer > 0.5 * answer.max())
        high = (parts == parts.flat[answer.argmax()]) & (parts > 0)
        if high.any():
            middle = [place.mean() for place in np.nonzero(high)]
            distance = np.hypot(y - middle[0], x - middle[1]) / np.sqrt(high.sum() / np.pi)
            found[:, k] = distance <= _OWN, distance > _BEYOND
    return found
