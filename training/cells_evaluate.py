"""Score networks for cells: on simulated recordings that no recipe trains on, and on labelled pictures.

Both networks are scored together, as the pipeline runs them, with the diameter of the cells estimated. Cells
and masks are matched one to one at an intersection over union of 0.5, their centres within half a median
diameter. Of simulated cells those count that can be seen in what is shown; a mask of one that is hardly
seen is no mistake (`calzoo.training.cells_sources.CellPicture.status`).
"""

import numpy as np

from calzoo.errors import CalzooError
from calzoo.training.cells_baselines import best_log_watershed, random_disks
from calzoo.training.cells_pool import draw_scene
from calzoo.training.cells_samples import picked, shown_pictures
from calzoo.training.cells_scores import inside_region, score_cells
from calzoo.training.cells_sources import read_cell_pictures, scene_picture
from calzoo.training.scores import mean_score

#: Seed of a pool that no recipe trains on, and how many of its scenes are scored.
SEED, SCENES = 2_000_000, 16
KINDS = ("correlation", "brightness", "deviation")
NAMES = {
    "simulation": "simulated, 3 pictures",
    "simulation_picture": "simulated, mean alone",
    "abo": "Allen Brain Observatory",
    "neurofinder": "Neurofinder",
    "own": "own pictures",
    "own_picture": "own, brightness alone",
}
_BASELINE = "LoG + watershed, told the diameter, best settings on the same pictures"


def simulated_pictures(scenes=SCENES):
    """Draw the simulated recordings that are scored, a list of CellPicture."""
    return [scene_picture(draw_scene(SEED, number)[0], f"{number:05d}") for number in range(scenes)]


def pictures_of(folders, report=lambda line: None):
    """Read the pictures of folders whose labels part the cells, and report those that do not.

    Without folders `simulated_pictures` are drawn.
    """
    if not folders:
        return simulated_pictures()
    read = [p for folder in folders for p in read_cell_pictures(folder)]
    found = [p for p in read if p.parted]
    if not found:
        message = (
            f"{', '.join(map(str, folders))}: expected labels that tell one cell from another, found only "
            "NAME_semantic.tif. Give NAME_labels.tif, with one integer per cell."
        )
        raise CalzooError(message)
    covers = [p.name for p in read if not p.parted]
    if covers:
        report(
            f"not scored, as NAME_semantic.tif does not tell one cell from another: {', '.join(covers[:3])}"
            + f" and {len(covers) - 3} more" * (len(covers) > 3)
        )
    return found


def score_pictures(find, pictures, *, told=False, folds="", report=lambda line: None):
    """Score networks on pictures, by what is shown of them.

    Parameters
    ----------
    find : callable
        ``find(picture, shown, diameter)``: what `calzoo.inference.cells.detect` returns for
        the pictures that are shown of a CellPicture, with a diameter in pixels or None.
    pictures : sequence of CellPicture
    told : bool, optional
        Whether the networks are told the true median diameter.
    folds : str, optional
        What the protocol says about folds.
    report : callable, optional

    Returns
    -------
    list of calzoo.weights.card.Score
        F1 of masks and of centres for each group, beside the classical way and chance.
    """
    groups = {}
    for picture in pictures:
        for group, chosen in shown_pictures(picture):
            case = Case(picture, chosen)
            if not case.scored:
                continue
            found = find(picture, case.shown, picture.diameter() if told else None)
            scores = case.score(found.masks)
            groups.setdefault(group, []).append((case, scores))
            report(
                f"{group} {picture.name}: F1 {scores.f1:.3f} (precision {scores.precision:.2f}, recall "
                f"{scores.recall:.2f}), centres {scores.center_f1:.3f}, {len(case.truth)} cells, "
                f"{found.diameter_px:.1f} px (true {picture.diameter():.1f})"
            )
    protocol = f"diameter {'told' if told else 'estimated'}{folds}"
    return [s for group, rows in groups.items() for s in _scores(group, rows, protocol, report)]


class Case:
    """What is shown of a picture, and what can be found in it.

    Parameters
    ----------
    picture : CellPicture
    chosen : sequence
        Kind for each of correlation, brightness and deviation, or None; see `shown_pictures`.
    """

    def __init__(self, picture, chosen):
        self.picture = picture
        self.shown = {k: picked(picture, c) for k, c in zip(KINDS, chosen, strict=True) if c is not None}
        status = picture.status([c is not None for c in chosen])
        self.truth, self.unsure = picture.masks.select(status > 0), picture.masks.select(status == 0)

    def score(self, masks):
        """Score masks, as CellScores."""
        return score_cells(self.truth, masks, region=self.picture.known, unsure=self.unsure)

    @property
    def scored(self):
        """Whether there is a cell where the labels were made."""
        return bool(inside_region(self.truth, self.picture.known).any())

    @property
    def brightness(self):
        """The picture that the classical way is given."""
        return self.shown.get("brightness", next(iter(self.shown.values())))


def _name(group, cases):
    """Return what a score is of; of own pictures which, as there are many folders."""
    names = [case.picture.name for case in cases]
    shown = f" ({', '.join(names[:3])}{' ...' * (len(names) > 3)})" if group.startswith("own") else ""
    return NAMES.get(group, group) + shown


def _scores(group, rows, protocol, report):
    """Return F1 of masks and of centres of a group of (case, scores)."""
    cases = [case for case, _ in rows]
    classical = best_log_watershed(
        [(case.brightness, case.picture.diameter()) for case in cases], lambda i, masks: cases[i].score(masks)
    )
    for case, ours, theirs in zip(cases, (s for _, s in rows), classical, strict=True):
        report(f"{group} {case.picture.name}: F1 {ours.f1:.3f}, LoG + watershed {theirs.f1:.3f}")
    rng = np.random.default_rng(0)
    chance = [
        case.score(random_disks(case.truth.shape, len(case.truth), case.picture.diameter(), rng))
        for case in cases
    ]
    result = []
    for metric, name in (("F1 of masks at IoU 0.5", "f1"), ("F1 of centres", "center_f1")):
        ours, theirs, blind = (
            [getattr(s, name) for s in scores] for scores in ([s for _, s in rows], classical, chance)
        )
        beside = {"baseline": theirs, "baseline_name": _BASELINE, "chance": blind}
        shown = f"mean over {len(rows)} pictures, {protocol}"
        result.append(mean_score(_name(group, cases), metric, shown, ours, **beside))
    return result
