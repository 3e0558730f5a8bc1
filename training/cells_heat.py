"""Tiles with heat maps, and scores of heat maps: what the proposal network learns from and is chosen by."""

import numpy as np

from calzoo.imaging.peaks import local_maxima
from calzoo.metrics.matching import match_points
from calzoo.training.cells_data import CellData
from calzoo.training.cells_samples import (
    choose_pictures,
    draw_view,
    heat_targets,
    image_sample,
    look,
    picked,
    shown_pictures,
)
from calzoo.training.prediction import predicted
from calzoo.training.scores import with_mean
from calzoo.training.tiles import IGNORE, cut_tiles


class HeatData(CellData):
    """Tiles with heat maps: the data of the proposal network."""

    def ready(self, picture):
        """Return a picture, the centres of its cells and the middles of its tiles."""
        recipe = self.recipe
        planes = np.where(picture.known, picture.masks.count() > 0, IGNORE)[None]
        step = max(recipe.side // 3, 1)
        tiles = cut_tiles(
            np.zeros(planes.shape, np.float32), planes, (1, recipe.side, recipe.side), (1, step, step)
        )
        grid = np.stack(np.unravel_index(tiles.kept, tiles.images.shape[:3]), axis=1)[:, 1:]
        middles = np.minimum(grid * step + recipe.side / 2, picture.shape)
        middles = middles if len(middles) else np.array([picture.shape]) / 2
        return picture, picture.masks.centers, middles

    def sample(self, rng, ready, source):
        """Return a tile: image, present; heat with its weight."""
        picture, centers, middles = ready
        recipe, side = self.recipe, self.recipe.side
        variation = recipe.varied(source)
        chosen = choose_pictures(rng, picture, variation)
        middle = middles[rng.integers(len(middles))] + rng.uniform(-0.2, 0.2, 2) * side
        view = draw_view(rng, middle, (side - 1) / 2, variation)
        image, present = image_sample(rng, picture, chosen, view, side, variation)
        heat = heat_sample(picture, centers, present, view, side)
        heat[..., -1] *= recipe.trust[source]
        return {"image": np.clip(image, *recipe.clip), "present": present}, {"heat": heat}


def heat_sample(picture, centers, present, view, side):
    """Return soma, border, spots and weight of a view, (side, side, 4)."""
    status = picture.status(present > 0)
    # What cannot be seen must not hide what can, though it may lie above.
    seen = picture.masks.select(status > 0).labels()
    unsure = (picture.masks.select(status == 0).count() > 0) & (seen == 0)
    cells = look(seen, view, side, order=0, outside=0)
    weight = look((picture.known & ~unsure).astype(np.float32), view, side, outside=0)
    inside = view.back(centers[status > 0])
    return heat_targets(cells, inside, (weight > 0.99).astype(np.float32))


def score_heat(recipe, model, pictures):
    """Score the heat maps of held-out pictures.

    Returns
    -------
    scores : dict of str to float
        Best F1 of the maxima by source, centres at most half a diameter away, and ``"score"``, their mean.
    previews : list
    """
    matched, previews = {}, []
    for picture in pictures:
        for group, chosen in shown_pictures(picture):
            image, present = plain_image(picture, chosen)
            heat = predict_heat(model, image, present, recipe.divisor())
            status = picture.status(present > 0)
            counts = matched.setdefault(group, np.zeros((len(recipe.thresholds), 3)))
            counts += _count_peaks(heat[..., 2], picture, status, recipe)
        seen = picture.masks.select(status > 0).count() > 0
        classes = np.where((heat[..., 1] > 0.5) & (heat[..., 0] > 0.5), 2, heat[..., 0] > 0.5)
        if len(previews) < 6:
            shown = image[..., 1] if present[1] else image.sum(-1)
            previews.append((f"{picture.source} {picture.name}", shown, seen.astype(int), classes))
    scores = {}
    for group, counts in sorted(matched.items()):
        hit, missed, false = counts.T
        scores[f"f1_{group}"] = float(np.max(2 * hit / np.maximum(2 * hit + missed + false, 1)))
    return with_mean(scores), previews


def plain_image(picture, chosen):
    """Return whole pictures as network input, (Y, X, 3), and which are present, (3,)."""
    image = np.zeros((*picture.shape, len(chosen)), np.float32)
    for channel, kind in enumerate(chosen):
        if kind is not None:
            image[..., channel] = picked(picture, kind)
    return image, np.array([kind is not None for kind in chosen], np.float32)


def predict_heat(model, image, present, divisor):
    """Predict a whole picture, padded by reflection to legal sides, (Y, X, 3)."""
    pads = [(0, -side % divisor) for side in image.shape[:2]]
    padded = np.pad(image, [*pads, (0, 0)], mode="symmetric")
    heat = predicted(model, {"image": padded[None], "present": present[None]})
    return heat[0, : image.shape[0], : image.shape[1]]


def _count_peaks(heat, picture, status, recipe):
    """Return (matched, missed, false) for each threshold; places that nobody knows do not count."""
    places, values = local_maxima(heat, distance=recipe.diameter / 4, threshold=min(recipe.thresholds))
    centers = picture.masks.centers
    unsure = centers[status == 0]
    rows = []
    for threshold in recipe.thresholds:
        found = places[values >= threshold]
        matching = match_points(centers[status > 0], found, distance=recipe.diameter / 2)
        false = found[matching.false]
        if len(false):
            y, x = np.clip(np.rint(false).astype(int), 0, np.array(picture.shape) - 1).T
            false = false[picture.known[y, x]]
        near = len(match_points(unsure, false, distance=recipe.diameter / 2).true) if len(unsure) else 0
        rows.append((len(matching.true), len(matching.missed), len(false) - near))
    return np.array(rows, float)
