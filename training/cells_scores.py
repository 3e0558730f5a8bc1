"""How well found cells agree with true ones: matched masks, matched centres."""

from dataclasses import dataclass

import numpy as np

from calzoo.imaging.cell_pictures import median_diameter
from calzoo.metrics.matching import Matching, assign, match_points


@dataclass(frozen=True)
class CellScores:
    """Of one recording, or of several together.

    Attributes
    ----------
    hits, misses, false : int
        By masks, at the IoU that was asked for.
    center_hits, center_misses, center_false : int
        By centres, at most half a median diameter apart.
    """

    hits: int
    misses: int
    false: int
    center_hits: int
    center_misses: int
    center_false: int

    @property
    def f1(self):
        """F1 of the masks; NaN where nothing is and nothing was found."""
        return _f1(self.hits, self.misses, self.false)

    @property
    def center_f1(self):
        """F1 of the centres."""
        return _f1(self.center_hits, self.center_misses, self.center_false)

    @property
    def precision(self):
        """Of the masks."""
        return self.hits / max(self.hits + self.false, 1)

    @property
    def recall(self):
        """Of the masks."""
        return self.hits / max(self.hits + self.misses, 1)


def overlap_of_masks(truth, found):
    """Return the intersection over union of each pair, float64 (N, M); masks may overlap among themselves."""
    common = (truth.matrix() @ found.matrix().T).toarray().astype(float)
    union = truth.areas[:, None] + found.areas[None] - common
    return common / np.maximum(union, 1)


def match_masks(truth, found, *, iou=0.5):
    """Match masks one to one by intersection over union.

    Parameters
    ----------
    truth, found : Masks
    iou : float, optional

    Returns
    -------
    Matching
        Of mask numbers.
    """
    score = overlap_of_masks(truth, found)
    rows, columns = assign(score, score >= iou)
    return Matching(
        rows,
        columns,
        score[rows, columns],
        np.setdiff1d(np.arange(len(truth)), rows),
        np.setdiff1d(np.arange(len(found)), columns),
    )


def score_cells(truth, found, *, iou=0.5, region=None, unsure=None):
    """Score found cells.

    Parameters
    ----------
    truth, found : Masks
    iou : float, optional
        Least IoU of a match.
    region : ndarray of bool, (Y, X), optional
        Where the truth was marked; cells whose centre lies outside do not count.
    unsure : Masks, optional
        Cells that may be found or not: what matches one of them is no mistake.

    Returns
    -------
    CellScores
    """
    if region is not None:
        truth, found = (m.select(inside_region(m, region)) for m in (truth, found))
    distance = median_diameter(truth) / 2
    distance = distance if np.isfinite(distance) else 1.0
    by_mask = match_masks(truth, found, iou=iou)
    by_center = match_points(truth.centers, found.centers, distance=distance)
    false, center_false = len(by_mask.false), len(by_center.false)
    if unsure is not None and len(unsure):
        rest, places = found.select(by_mask.false), found.centers[by_center.false]
        false -= len(match_masks(unsure, rest, iou=iou).true)
        center_false -= len(match_points(unsure.centers, places, distance=distance).true)
    return CellScores(
        len(by_mask.true),
        len(by_mask.missed),
        false,
        len(by_center.true),
        len(by_center.missed),
        center_false,
    )


def inside_region(masks, region):
    """Return which masks have their centre where the truth was marked, bool (N,)."""
    y, x = np.rint(masks.centers).astype(int).reshape(-1, 2).T
    return region[y, x]


def _f1(hits, misses, false):
    whole = 2 * hits + misses + false
    return 2 * hits / whole if whole else float("nan")
