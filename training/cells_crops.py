"""Crops with the cell in the middle, and scores of its mask: the instance network's data."""

from dataclasses import replace

import numpy as np

from calzoo.training.cells_data import INCOMPLETE, CellData
from calzoo.training.cells_samples import (
    choose_pictures,
    draw_view,
    image_sample,
    look,
    lookalikes,
    plain_view,
    shown_pictures,
    usual_pictures,
)
from calzoo.training.prediction import predicted
from calzoo.training.scores import with_mean

_SHEET = (5, 8)  # rows and columns of crops in a preview


class CropData(CellData):
    """Crops with the mask of the cell in the middle: the data of the instance network."""

    def ready(self, picture):
        """Return a picture, the centres of its cells, and the places that only look like one."""
        diameter = picture.diameter()
        centers = picture.masks.centers
        return picture, centers, decoys_of(picture, diameter)

    def sample(self, rng, ready, source):
        """Return a crop: image, present; mask with its weight, score with its weight."""
        picture, centers, decoys = ready
        recipe = self.recipe
        variation = recipe.varied(source)
        chosen = choose_pictures(rng, picture, variation)
        status = picture.status([kind is not None for kind in chosen])
        cells = np.flatnonzero(status > 0)
        positive = len(cells) > 0 and rng.random() < recipe.positive
        diameter = recipe.diameter
        if positive:
            cell = int(rng.choice(cells))
            angle, reach = rng.uniform(0, 2 * np.pi), recipe.jitter * diameter * np.sqrt(rng.random())
            middle = centers[cell] + reach * np.array([np.sin(angle), np.cos(angle)])
            weight = 1.0
        else:
            cell = None
            middle = self._empty_place(rng, picture, centers, status, decoys, source)
            weight = self._weight(picture, centers, status, middle)
        view = draw_view(rng, middle, recipe.crop // 2, variation)
        image, present = image_sample(rng, picture, chosen, view, recipe.crop, variation)
        mask = np.zeros((recipe.crop, recipe.crop, 2), np.float32)
        if cell is not None:
            mask[..., 0] = mask_sample(picture.masks, cell, view, recipe.crop)
        # The mask of nothing teaches the mask branch to draw nothing; the score says it already.
        mask[..., 1] = recipe.trust[source] * weight * (positive or recipe.negative_masks)
        score = np.array([positive, weight * recipe.trust[source]], np.float32)
        return {"image": np.clip(image, *recipe.clip), "present": present}, {"mask": mask, "score": score}

    def _empty_place(self, rng, picture, centers, status, decoys, source):
        """Draw a place that is the middle of no cell: a look-alike, beside a cell, or any."""
        apart = 0.5 * self.recipe.diameter
        kind = rng.random()
        for _ in range(20):
            if kind < 0.5 and len(decoys) and source not in INCOMPLETE:
                place = decoys[rng.integers(len(decoys))] + rng.normal(0, 1, 2)
            elif kind < 0.75 and len(centers):
                angle, reach = rng.uniform(0, 2 * np.pi), rng.uniform(1.0, 2.2) * apart
                place = centers[rng.integers(len(centers))] + reach * np.array([np.sin(angle), np.cos(angle)])
            else:
                place = rng.uniform(0, picture.shape)
            near = ((centers[status >= 0] - place) ** 2).sum(axis=1) < apart**2
            if (
                not near[status[status >= 0] > 0].any()
                and (place >= 0).all()
                and (place < picture.shape).all()
            ):
                break
            kind = rng.random()
        return place

    def _weight(self, picture, centers, status, middle):
        """Return 1 where it is known that there is no cell, else 0."""
        apart = ((centers - middle) ** 2).sum(axis=1)
        near = apart < (0.6 * self.recipe.diameter) ** 2
        y, x = np.clip(np.rint(middle).astype(int), 0, np.array(picture.shape) - 1)
        cell = (apart < (0.5 * self.recipe.diameter) ** 2) & (status > 0)
        return float(picture.known[y, x] and not (status[near] == 0).any() and not cell.any())


def decoys_of(picture, diameter):
    """Return places (N, 2) that look like a cell in one of the usual pictures, cells among them."""
    usual = [picture.pictures[kind] for kind in usual_pictures(picture) if kind is not None]
    return np.concatenate([lookalikes(p, diameter=diameter) for p in usual])


def mask_sample(masks, cell, view, side):
    """Return the mask of a cell in a view, (side, side) of 0 and 1."""
    rows, cols = masks[cell]
    top, left = rows.min() - 2, cols.min() - 2
    patch = np.zeros((rows.max() - top + 3, cols.max() - left + 3), np.float32)
    patch[rows - top, cols - left] = 1
    moved = replace(view, middle=view.middle - [top, left])
    return (look(patch, moved, side, outside=0) >= 0.5).astype(np.float32)


def score_crops(recipe, model, pictures):
    """Score masks and scores at held-out places.

    Returns
    -------
    scores : dict of str to float
        By source the mean IoU of the masks and the area under the curve of the scores;
        ``"score"`` is the mean.
    previews : list
    """
    measured, previews = {}, []
    for picture in pictures:
        decoys = decoys_of(picture, recipe.diameter)
        for group, chosen in shown_pictures(picture):
            outlined = _outlined(recipe, model, picture, chosen, decoys)
            if outlined is not None:
                image, truth, masks, scores = outlined
                count = len(truth)
                pairs = zip(truth, masks[:count], strict=True)
                ious = [(t & m).sum() / max((t | m).sum(), 1) for t, m in pairs]
                area = _area_under_curve(scores[:count], scores[count:])
                measured.setdefault(group, []).append((np.mean(ious), area))
        if outlined is not None and len(previews) < 6:
            seen = image[..., 1] if chosen[1] is not None else image.sum(-1)
            previews.append((f"{picture.source} {picture.name}", *_sheets(seen, truth, masks)))
    scores = {}
    for group, rows in sorted(measured.items()):
        for name, values in zip(("iou", "auc"), np.array(rows, float).T, strict=True):
            values = values[np.isfinite(values)]  # no curve where nothing looks like a cell but cells
            if len(values):
                scores[f"{name}_{group}"] = float(values.mean())
    return with_mean(scores), previews


def _outlined(recipe, model, picture, chosen, decoys):
    """Let a model outline the cells of a picture, and what lies at places that only look like one.

    Returns
    -------
    image : ndarray of float32, (N, Y, X, 3)
    truth : list of ndarray of bool, (Y, X)
        Of the cells, which come first.
    masks : ndarray of bool, (N, Y, X)
    scores : ndarray of float32, (N,)
        Or None in place of all, where no cell can be seen.
    """
    cells = np.flatnonzero(picture.status([kind is not None for kind in chosen]) > 0)[:100]
    if not len(cells):
        return None
    away = _away(decoys, picture.masks.centers, recipe.diameter)[:150]
    away = away[picture.known[tuple(np.rint(away).astype(int).T)]] if len(away) else away
    places = np.concatenate([picture.masks.centers[cells], away])
    views = [plain_view(place, recipe.crop // 2) for place in places]
    crops = [image_sample(None, picture, chosen, view, recipe.crop) for view in views]
    image, present = (np.stack(part) for part in zip(*crops, strict=True))
    masks, scores = predicted(model, {"image": image, "present": present})
    pairs = zip(cells, views[: len(cells)], strict=True)
    truth = [mask_sample(picture.masks, cell, view, recipe.crop) > 0 for cell, view in pairs]
    return image, truth, masks[..., 0] > 0.5, scores[:, 0]


def _away(places, centers, diameter):
    if not len(places):
        return places
    apart = ((places[:, None] - centers[None]) ** 2).sum(axis=2).min(axis=1)
    return places[apart > (0.6 * diameter) ** 2]


def _area_under_curve(positive, negative):
    """Return how often a positive scores above a negative; NaN without one of them."""
    if not len(positive) or not len(negative):
        return float("nan")
    order = np.sort(negative)
    below, upto = np.searchsorted(order, positive, "left"), np.searchsorted(order, positive, "right")
    return float((below + upto).mean() / 2 / len(negative))


def _sheets(shown, truth, masks):
    """Return the first crops, their true masks and those found, each as one picture."""
    rows, columns = _SHEET
    count = min(len(truth), columns * rows)

    def sheet(tiles):
        side = tiles.shape[1]
        full = np.zeros((columns * rows, side, side), tiles.dtype)
        full[:count] = tiles[:count]
        return full.reshape(rows, columns, side, side).swapaxes(1, 2).reshape(rows * side, columns * side)

    truth, found = (np.asarray(m[:count]).astype(int) for m in (truth, masks))
    return sheet(shown), sheet(truth), sheet(found)
