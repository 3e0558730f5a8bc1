"""Recordings of photostimulation: neurons answer, and drive their neighbours through known connections.

A field of view holds K neurons that are stimulated alone and in pairs, group by
group, and some that never are. Each stimulus is followed by a few frames. The same
field can be recorded again, with stronger or weaker connections.
"""

from dataclasses import dataclass
from itertools import combinations
from numbers import Integral, Real

import numpy as np
from scipy import ndimage

from calzoo.errors import CalzooError
from calzoo.simulation.recordings import check_limits, seed_words

FRAMES_AFTER = 5


@dataclass(frozen=True, kw_only=True)
class StimulusStyle:
    """What a recording looks like.

    Attributes
    ----------
    radius : float
        Of a soma, in pixels.
    photons : float
        Of an average soma at rest, per pixel and frame.
    read_noise : float
        Standard deviation of the camera, in photons.
    offset, gain : float
        Grey value without light, and per photon.
    amplitude : float
        dF/F right after the onset of a neuron that is stimulated itself.
    connected : float
        Chance of a connection between neighbours; it falls with distance.
    strength : float
        Mean drive through a connection, where the stimulus itself is 1.
    reach : float
        Distance over which connections become e times rarer and weaker, in parts of the frame.
    decay_s, frame_rate_hz : float
    fading : float
        Part of the answer that is lost from trial to trial.
    variation : float
        Standard deviation of the logarithm of an answer from stimulus to stimulus, of
        all cells together and of each cell.
    spontaneous_hz : float
        Events of each cell without any stimulus.
    out_of_focus : float
        Light of somas below and above, in parts of the sharp light.
    bleaching : float
        Part of the light that is lost by the end.
    drift_px : float
        How far the tissue has moved by the end.
    """

    radius: float = 5.0
    photons: float = 16.0
    read_noise: float = 1.5
    offset: float = 100.0
    gain: float = 8.0
    amplitude: float = 0.9
    connected: float = 0.45
    strength: float = 0.3
    reach: float = 0.3
    decay_s: float = 2.5
    frame_rate_hz: float = 2.0
    fading: float = 0.08
    variation: float = 0.15
    spontaneous_hz: float = 0.004
    out_of_focus: float = 0.25
    bleaching: float = 0.12
    drift_px: float = 0.5

    def __post_init__(self):
        check_limits(self, LIMITS)


# Smallest and largest value of each number in a StimulusStyle.
LIMITS = {
    "radius": (1, 100),
    "photons": (1e-3, 1e6),
    "read_noise": (0, 1e4),
    "offset": (0, 65535),
    "gain": (1e-3, 1e4),
    "amplitude": (0, 100),
    "connected": (0, 1),
    "strength": (0, 10),
    "reach": (1e-3, 100),
    "decay_s": (1e-3, 1e3),
    "frame_rate_hz": (1e-2, 1e3),
    "fading": (0, 1),
    "variation": (0, 5),
    "spontaneous_hz": (0, 100),
    "out_of_focus": (0, 100),
    "bleaching": (0, 0.95),
    "drift_px": (0, 1e3),
}


@dataclass(frozen=True)
class Stimulation:
    """A simulated recording of N frames with its truth.

    Attributes
    ----------
    frames : ndarray of uint16, (N, Y, X)
    table : dict of str to list
        One row per stimulus: ``frame`` (the first one after the onset), ``cells``,
        ``trial``, ``group``.
    masks : ndarray of bool, (A, Y, X)
        Somas at the beginning; the first K are stimulated.
    coupling : ndarray of float, (A, K)
        Drive of each cell per stimulated cell; 1 for the stimulated cell itself.
    response : ndarray of float32, (N, A)
        dF/F that the stimuli evoke, without noise and spontaneous events.
    style : StimulusStyle
    """

    frames: np.ndarray
    table: dict
    masks: np.ndarray
    coupling: np.ndarray
    response: np.ndarray
    style: StimulusStyle


def simulate_stimulus(
    seed,
    *,
    session=0,
    factor=1.0,
    cells=12,
    groups=2,
    bystanders=8,
    trials=10,
    size=128,
    style=None,
):
    """Simulate one recording of a field.

    Parameters
    ----------
    seed : int
        Of the field: its cells, connections and neuropil.
    session : int, optional
        Another number gives another recording of the same field: new order, new
        activity, new noise.
    factor : float, optional
        Multiplies the connections between cells.
    cells, groups, bystanders : int, optional
        Stimulated cells, the groups of equal size in which they are paired, and cells
        that are not stimulated.
    trials : int, optional
        How often each condition comes.
    size : int, optional
        Rows and columns.
    style : StimulusStyle, optional

    Returns
    -------
    Stimulation

    Raises
    ------
    CalzooError
        If the cells cannot be parted into equal groups of two or more, or do not fit
        into the frame, or the seed, the bystanders, the session or the factor are below 0
        or not finite.

    Examples
    --------
    >>> recording = simulate_stimulus(0, cells=4, groups=2, bystanders=2, trials=2, size=64)
    >>> recording.frames.shape, recording.table["cells"][:2]
    ((70, 64, 64), ['2', '1+2'])
    """
    words = seed_words(seed)
    counts = {"cells": cells, "groups": groups, "bystanders": bystanders, "trials": trials, "size": size}
    for name, value in (counts | {"session": session}).items():
        if not isinstance(value, Integral):
            message = f"{name}: expected a whole number, got {value!r}."
            raise CalzooError(message)
    if groups < 1 or trials < 1 or bystanders < 0 or cells < 2 * groups or cells % groups:
        message = (
            f"expected cells in equal groups of two or more, bystanders from 0 on, and trials, got {cells} "
            f"cells in {groups} groups, {bystanders} bystanders and {trials} trials."
        )
        raise CalzooError(message)
    if session < 0 or not (isinstance(factor, Real) and 0 <= factor < np.inf):
        message = f"expected a session and a factor from 0 on, got session {session} and factor {factor!r}."
        raise CalzooError(message)
    style = StimulusStyle() if style is None else style
    field = _Field.draw(np.random.default_rng([*words, 51]), cells, bystanders, size, style)
    coupling = np.where(field.coupling == 1, 1, field.coupling * factor)
    rng = np.random.default_rng([*words, 52, session, round(1000 * factor)])
    plan = _plan(rng, cells, groups, trials)
    response = _answers(rng, plan, coupling, style)
    light = response + _spontaneous(rng, len(response), len(coupling), style)
    frames = _expose(rng, field, light, style)
    # The stimulated cell's own connection is 1 however strong the others are.
    coupling[np.arange(cells), np.arange(cells)] = 1.0
    table = {
        "frame": [i * FRAMES_AFTER for i in range(len(plan))],
        "cells": ["+".join(map(str, stimulated)) for stimulated, _, _ in plan],
        "trial": [trial for _, trial, _ in plan],
        "group": [group for _, _, group in plan],
    }
    return Stimulation(frames, table, field.masks, coupling, response.astype(np.float32), style)


@dataclass(frozen=True)
class _Field:
    """What two recordings of a field share."""

    masks: np.ndarray  # (A, Y, X) bool
    shapes: np.ndarray  # (A, Y * X) float32, light of each cell at rest, in photons
    coupling: np.ndarray  # (A, K)
    neuropil: np.ndarray  # (Y, X) photons

    @classmethod
    def draw(cls, rng, cells, bystanders, size, style):
        middles = _places(rng, cells, bystanders, size, style.radius)
        y, x = np.mgrid[:size, :size]
        distance = np.array([np.hypot(y - a, x - b) for a, b in middles])
        # Somas are not quite round: their outline waves with the angle.
        angle = np.array([np.arctan2(y - a, x - b) for a, b in middles])
        wave = rng.uniform(0.05, 0.15, (len(middles), 1, 1))
        turn = rng.uniform(0, 2 * np.pi, (len(middles), 1, 1))
        radius = style.radius * rng.uniform(0.9, 1.1, (len(middles), 1, 1))
        edge = radius * (1 + wave * np.cos(2 * angle + turn))
        sharp = 1 / (1 + np.exp(2.5 * (distance - edge)))
        # The nucleus holds less of the indicator than the cytoplasm around it.
        sharp *= 1 - 0.35 * np.exp(-((distance / (0.45 * radius)) ** 2))
        bright = style.photons * rng.lognormal(-0.05, 0.3, (len(middles), 1, 1))
        blurred = ndimage.gaussian_filter(sharp, (0, 2 * style.radius, 2 * style.radius))
        blurred /= blurred.max((1, 2), keepdims=True)
        shapes = bright * (sharp + style.out_of_focus * blurred)
        neuropil = 0.55 * style.photons * _mottled(rng, size) * _illumination(y, x, size)
        coupling = _connections(rng, middles, cells, size, style)
        return cls(distance < edge, shapes.reshape(len(middles), -1).astype(np.float32), coupling, neuropil)


def _places(rng, cells, bystanders, size, radius):
    """Scatter cells; the stimulated ones keep a distance from each other."""
    margin = 1.6 * radius
    for _ in range(50 if size > 2 * margin else 0):
        found = []
        for number in range(cells + bystanders):
            gap = 3.0 * radius if number < cells else 2.2 * radius
            for _ in range(400):
                place = rng.uniform(margin, size - margin, 2)
                if all(np.hypot(*(place - other)) > gap for other in found):
                    found.append(place)
                    break
            else:
                break
        if len(found) == cells + bystanders:
            return np.array(found)
    message = (
        f"{cells + bystanders} cells of radius {radius:g} px do not fit into {size} x {size} pixels; use a "
        "larger frame or fewer cells."
    )
    raise CalzooError(message)


def _connections(rng, middles, cells, size, style):
    """Draw who drives whom, (A, K): rarer and weaker the farther apart."""
    distance = np.hypot(*(middles[:, None] - middles[None, :cells]).transpose(2, 0, 1))
    near = np.exp(-distance / (style.reach * size))
    drive = style.strength * rng.gamma(3.0, 1 / 3.0, distance.shape) * np.sqrt(near)
    coupling = np.where(rng.random(distance.shape) < style.connected * near, drive, 0.0)
    coupling[np.arange(cells), np.arange(cells)] = 1.0
    return coupling


def _mottled(rng, size):
    """Return neuropil of mean 1 with structure of several sizes."""
    total = np.zeros((size, size))
    for sigma, part in ((1.5, 0.05), (6, 0.1), (20, 0.15)):
        noise = ndimage.gaussian_filter(rng.standard_normal((size, size)), sigma, mode="wrap")
        total += part * noise / noise.std()
    return np.clip(1 + total, 0.3, None)


def _illumination(y, x, size):
    """Return light that falls off towards the corners."""
    return 1 - 0.35 * (((y / size - 0.5) ** 2 + (x / size - 0.5) ** 2) / 0.5)


def _plan(rng, cells, groups, trials):
    """Return (cells, trial, group) of each stimulus, groups one after another, each trial shuffled."""
    each = cells // groups
    plan = []
    for group in range(1, groups + 1):
        members = range(1 + (group - 1) * each, 1 + group * each)
        conditions = [(c,) for c in members] + list(combinations(members, 2))
        for trial in range(1, trials + 1):
            listed = [*conditions, ()] if trial % groups == group % groups else conditions
            plan += [(listed[i], trial, group) for i in rng.permutation(len(listed))]
    return plan


def _answers(rng, plan, coupling, style):
    """Return the evoked dF/F, (N, A)."""
    drive = np.zeros((len(plan), len(coupling)))
    for row, (stimulated, _, _) in enumerate(plan):
        drive[row] = coupling[:, [c - 1 for c in stimulated]].sum(axis=1)
    # Answers level off: a drive of 1 gives the amplitude, of 2 1.2 times that, and no drive more than 1.5.
    answer = style.amplitude * 1.5 * drive / (drive + 0.5)
    shared, own = rng.normal(0, style.variation, (len(plan), 1)), rng.normal(0, style.variation, answer.shape)
    trial = np.array([trial for _, trial, _ in plan])
    answer *= np.exp(shared + own) * ((1 - style.fading) ** (trial - 1))[:, None]
    after = np.exp(-np.arange(FRAMES_AFTER) / style.frame_rate_hz / style.decay_s)
    return (answer[:, None, :] * after[None, :, None]).reshape(-1, len(coupling))


def _spontaneous(rng, frames, cells, style):
    """Return dF/F of events of the cells' own, (N, A); the stimuli are far apart in time."""
    events = frames // FRAMES_AFTER
    before = round(3 * style.decay_s * style.frame_rate_hz)
    count = rng.poisson(style.spontaneous_hz / style.frame_rate_hz, (events, before + FRAMES_AFTER, cells))
    size = count * rng.gamma(2.0, 0.2, count.shape)
    keep = np.exp(-1 / style.frame_rate_hz / style.decay_s)
    for step in range(1, size.shape[1]):
        size[:, step] += keep * size[:, step - 1]
    return size[:, before:].reshape(frames, cells)


def _expose(rng, field, light, style, block=256):
    """Return the frames, (N, Y, X) uint16, a block at a time."""
    count, size = len(light), field.neuropil.shape
    frames = np.empty((count, *size), np.uint16)
    progress = np.linspace(0, 1, count)
    direction = rng.uniform(0, 2 * np.pi)
    move = style.drift_px * np.array([np.sin(direction), np.cos(direction)])
    haze = 1 + 0.04 * light.mean(axis=1) + rng.normal(0, 0.015, count)  # the neuropil answers a little too
    for start in range(0, count, block):
        stop = min(start + block, count)
        scene = (1 + light[start:stop]).astype(np.float32) @ field.shapes
        scene = scene.reshape(-1, *size) + field.neuropil * haze[start:stop, None, None]
        for n in range(start, stop):
            picture = scene[n - start]
            if style.drift_px:
                picture = ndimage.shift(picture, move * progress[n], order=1, mode="nearest")
            photons = rng.poisson(picture * (1 - style.bleaching) ** progress[n])
            photons = photons + style.read_noise * rng.standard_normal(size)
            frames[n] = np.clip(style.offset + style.gain * photons, 0, 65535)
    return frames
