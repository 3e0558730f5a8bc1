"""Score registration: simulated pairs, and a law that is no part of this project.

What is scored comes as a function ``register(template, frame) -> flow``, so that the same protocols
score a Keras run (`keras_registrar`), the exported pipeline, and other programs.
"""

from pathlib import Path

import numpy as np

from calzoo.imaging.rigid import RigidSearch
from calzoo.metrics.flow import end_point_error, seen_in_frame
from calzoo.training.laws import load_law
from calzoo.training.registration_pairs import Conditions, draw_pair
from calzoo.training.registration_scenes import draw_scene
from calzoo.training.runs import build_model
from calzoo.training.scores import mean_score

LEVELS = (12.0, 3.0, 0.7)  # photons per pixel, median
#: Number of the first simulated pair that is scored; recipes train on others.
FIRST_SEED = 2_000_000
_BASELINE = "rigid correlation"


def keras_registrar(run):
    """Make a function that registers with the network of a run.

    Parameters
    ----------
    run : calzoo.training.runs.Run

    Returns
    -------
    callable
        ``register(template, frame)``, two (Y, X), to the flow (Y, X, 2).
    """
    model = build_model(run)
    step = run.recipe.card_fields(model)["divisor"]["y"]

    def register(template, frame):
        shift, _ = RigidSearch(template)(frame[None])
        short = [(0, -side % step) for side in template.shape]
        pictures = [
            np.pad(p.astype(np.float32), short, mode="edge")[None, ..., None] for p in (frame, template)
        ]
        flow = model.predict_on_batch({"frame": pictures[0], "template": pictures[1], "shift": shift})[0]
        return np.asarray(flow)[0, : template.shape[0], : template.shape[1]]

    return register


def rigid_registrar(template, frame):
    """Register by the rigid search alone: the baseline."""
    shift, _ = RigidSearch(template)(frame[None])
    return np.broadcast_to(shift[0], (*template.shape, 2)).astype(np.float32)


def score_simulated_pairs(register, *, pairs=6, size=320):
    """Score on simulated pairs that no recipe trains on.

    Parameters
    ----------
    register : callable
    pairs : int, optional
        Of each level of light, half of them with displaced scan lines.
    size : int, optional
        Side of the pictures in pixels.

    Returns
    -------
    list of Score
        Mean end-point error in pixels.
    """
    scores = []
    for photons in LEVELS:
        rows = []
        for number in range(pairs):
            rng = np.random.default_rng([FIRST_SEED, number])
            conditions = Conditions(
                photons=(photons, photons),
                averaged=(50.0, 50.0),
                peak_px=(5.0, 5.0),
                sigma_px=(40.0, 60.0),
                jitter=float(number % 2),
            )
            pair = draw_pair(rng, draw_scene(rng, size + 128, {"shapes": 1}), size, conditions)
            rows.append(_errors(register, pair.template, pair.frame, pair.motion))
        scores += _scores("simulated pairs", f"{photons:g} photons, {pairs} pairs of {size} px", rows)
    return scores


def score_registration_law(register, path, *, seeds=range(24)):
    """Score on the registration law.

    Parameters
    ----------
    register : callable
    path : path-like
        A Python file with ``make_pair(seed, photons, variant)``, which returns ``frame``,
        ``template`` and ``flow`` (the motion), ``PHOTONS`` and ``VARIANTS``.
    seeds : sequence of int, optional

    Returns
    -------
    list of Score
    """
    law = load_law(path, "make_pair(seed, photons, variant)")
    scores = []
    for variant in law.VARIANTS:
        for photons in law.PHOTONS:
            rows = []
            for seed in seeds:
                pair = law.make_pair(seed, photons, variant)
                rows.append(_errors(register, pair.template, pair.frame, pair.flow))
            protocol = f"{variant}, {photons:g} photons, seeds {seeds[0]}-{seeds[-1]}"
            scores += _scores(Path(path).stem, protocol, rows)
    return scores


def _errors(register, template, frame, motion):
    """Return metric -> (score, baseline, no registration) of one pair."""
    flows = [register(template, frame), rigid_registrar(template, frame), np.zeros_like(motion)]
    known = seen_in_frame(motion)
    errors = [end_point_error(flow, motion, known=known) for flow in flows]
    return {f"EPE {place}": tuple(getattr(e, place) for e in errors) for place in ("interior", "border")}


def _scores(data, protocol, rows):
    scores = []
    for metric in rows[0]:
        ours, theirs, still = np.array([row[metric] for row in rows], float).T
        beside = {"baseline": theirs, "baseline_name": _BASELINE, "chance": still}
        scores.append(mean_score(data, f"{metric} (px)", protocol, ours, **beside))
    return scores
