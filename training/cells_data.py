"""The data of both cell recipes: which pictures are trained on, which are held out, and at which scale."""

from dataclasses import replace

import numpy as np

from calzoo.errors import CalzooError
from calzoo.imaging.peaks import local_maxima
from calzoo.metrics.matching import match_points
from calzoo.training.cells_samples import (
    choose_pictures,
    draw_view,
    heat_targets,
    image_sample,
    look,
    lookalikes,
    picked,
    plain_view,
    usual_pictures,
)
from calzoo.training.cells_sources import read_cell_pictures
from calzoo.training.fingerprints import numbered
from calzoo.training.prediction import predicted
from calzoo.training.tiles import IGNORE, cut_tiles
from calzoo.weights.card import TrainingData

FOLDS = 4
#: Sources whose labels miss cells: what looks like one is not background.
INCOMPLETE = ("neurofinder",)
TERMS = {
    "simulation": TrainingData(
        name="calzoo two-photon simulator",
        licence="MIT",
        source="calzoo.simulation.two_photon",
        note="dense truth",
    ),
    "abo": TrainingData(
        name="Allen Brain Observatory, pictures of NeuroSeg3, masks of STNeuroNet",
        licence="research use",
        source="https://doi.org/10.1073/pnas.1812995116",
        note="active neurons, marked from the movies; Allen Institute terms of use",
    ),
    "neurofinder": TrainingData(
        name="Neurofinder mean pictures, masks of Neurofinder and STNeuroNet",
        licence="research use",
        source="https://github.com/codeneuro/neurofinder",
        note="labels miss cells",
    ),
    "own": TrainingData(name="own pictures", licence="of their owner", source="given by --data"),
}


class CellData:
    """Pictures at the networks' scale, parted into training and validation.

    Parameters
    ----------
    recipe : CellsRecipe
    folders : sequence of path-like
    """

    def __init__(self, recipe, folders):
        self.recipe = recipe
        found = [p for folder in folders for p in read_cell_pictures(folder, scenes=recipe.scenes)]
        used = [p for p in found if recipe.shares.get(p.source) and len(p.masks)]
        if found and not any(len(p.masks) for p in found):
            message = (
                f"{', '.join(map(str, folders))}: expected labels with cells in them, got none in "
                f"{len(found)} pictures; check that labels and pictures belong together."
            )
            raise CalzooError(message)
        if not used:
            message = (
                f"recipe {recipe.name!r} trains on {', '.join(recipe.shares)}, but none was given. "
                "Name folders with --data; python -m calzoo.training.cells_pool -o POOL draws simulated ones."
            )
            raise CalzooError(message)
        self._prints = numbered((f"{p.source}/{p.name}", p.fingerprint()) for p in used)
        normalisation = recipe.normalisation()
        held = held_out(used, recipe.fold, recipe.validation_scenes)
        self.training, self.validation = {}, []
        for picture in used:
            picture = picture.normalised(normalisation).scaled(recipe.diameter)
            if picture.field in held:
                if picture.parted:
                    self.validation.append(picture)
            elif np.isfinite(picture.diameter()):
                self.training.setdefault(picture.source, []).append(self.ready(trusted(picture)))
        self.sources = tuple(source for source in recipe.shares if source in self.training)
        if not self.sources:
            message = (
                f"recipe {recipe.name!r}: expected pictures to train on beside those that are held out "
                f"({', '.join(sorted(held))}), got none; give more, or set fold=-1 to hold none out."
            )
            raise CalzooError(message)

    def ready(self, picture):
        """Return what samples of a picture are drawn from; for a subclass to define."""
        raise NotImplementedError

    def sample(self, rng, ready, source):
        """Return input and target of one sample; for a subclass to define."""
        raise NotImplementedError

    def prepare(self, epoch):
        """Do nothing: all epochs draw from the same pictures."""

    def batch(self, epoch, step):
        """Return the batch of a step: a function of (seed, epoch, step) alone.

        Returns
        -------
        x : dict of str to ndarray
            By input.
        y : dict of str to ndarray, or ndarray
            By output, or that of the only one.
        """
        recipe = self.recipe
        size = recipe.schedule.batch
        samples = []
        for index in range(step * size, (step + 1) * size):
            rng = np.random.default_rng([recipe.seed, epoch, index])
            shares = np.array([recipe.shares[source] for source in self.sources])
            source = self.sources[int(rng.choice(len(self.sources), p=shares / shares.sum()))]
            pictures = self.training[source]
            samples.append(self.sample(rng, pictures[rng.integers(len(pictures))], source))
        x, y = (
            {name: np.stack([s[part][name] for s in samples]) for name in samples[0][part]} for part in (0, 1)
        )
        return x, y if len(y) > 1 else next(iter(y.values()))  # Keras takes the target of one output bare

    def fingerprint(self):
        """Return what the data are, as JSON."""
        return self._prints

    def close(self):
        """Do nothing: nothing is open."""


def held_out(pictures, fold, scenes):
    """Return the fields of view that are never trained on.

    Parameters
    ----------
    pictures : list of CellPicture
    fold : int
        Which of `FOLDS` parts of each source's fields of view that can be scored; -1: none.
    scenes : int
        How many simulated scenes, evenly spread.

    Returns
    -------
    set of str
    """
    held = set()
    simulated = [p.field for p in pictures if p.source == "simulation"]
    if scenes and len(simulated) > scenes:
        held |= {simulated[int(i)] for i in np.linspace(0, len(simulated) - 1, scenes)}
    if fold >= 0:
        for source in {p.source for p in pictures} - {"simulation"}:
            fields = sorted({p.field for p in pictures if p.source == source and p.parted})
            held |= set(fields[fold % FOLDS :: FOLDS])
    return held


def trusted(picture):
    """Return a picture whose unmarked cell-like places are not known, where its labels miss cells."""
    if picture.source not in INCOMPLETE:
        return picture
    diameter = picture.diameter()
    known = picture.known.copy()
    marked = picture.masks.count() > 0
    y, x = np.ogrid[: picture.shape[0], : picture.shape[1]]
    for kind in picture.pictures:
        for cy, cx in lookalikes(picture.pictures[kind], diameter=diameter):
            if not marked[round(cy), round(cx)]:
                known &= ((y - cy) ** 2 + (x - cx) ** 2 > (0.7 * diameter) ** 2) | marked
    return replace(picture, known=known)


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
        view = draw_view(rng, middle, (side - 1) / 2, 1.0, variation)
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
    return {"score": float(np.mean(list(scores.values()))), **scores} if scores else {}, previews


def shown_pictures(picture):
    """Yield (name, choice of pictures): all that there are, and of a movie the brightness alone too."""
    usual = usual_pictures(picture)
    yield picture.source, usual
    if sum(kind is not None for kind in usual) > 1:
        yield f"{picture.source}_picture", [None, usual[1], None]


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
    return np.asarray(heat)[0, : image.shape[0], : image.shape[1]]


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
        view = draw_view(rng, middle, recipe.crop // 2, 1.0, variation)
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
            status = picture.status([kind is not None for kind in chosen])
            cells = np.flatnonzero(status > 0)[:100]
            away = _away(decoys, picture.masks.centers, recipe.diameter)[:150]
            away = away[picture.known[tuple(np.rint(away).astype(int).T)]] if len(away) else away
            if not len(cells):
                continue
            places = np.concatenate([picture.masks.centers[cells], away])
            views = [plain_view(place, recipe.crop // 2) for place in places]
            crops = [image_sample(None, picture, chosen, view, recipe.crop) for view in views]
            image, present = (np.stack(part) for part in zip(*crops, strict=True))
            masks, scores = predicted(model, {"image": image, "present": present})
            masks, scores = np.asarray(masks)[..., 0] > 0.5, np.asarray(scores)[:, 0]
            truth = [
                mask_sample(picture.masks, c, v, recipe.crop) > 0
                for c, v in zip(cells, views[: len(cells)], strict=True)
            ]
            ious = [
                (t & m).sum() / max((t | m).sum(), 1) for t, m in zip(truth, masks[: len(cells)], strict=True)
            ]
            measured.setdefault(group, []).append(
                (np.mean(ious), _area_under_curve(scores[: len(cells)], scores[len(cells) :]))
            )
        if len(cells) and len(previews) < 6:
            previews.append(_crop_preview(picture, image, present, truth, masks))
    scores = {}
    for group, rows in sorted(measured.items()):
        for name, values in zip(("iou", "auc"), np.array(rows, float).T, strict=True):
            values = values[np.isfinite(values)]  # no curve where nothing looks like a cell but cells
            if len(values):
                scores[f"{name}_{group}"] = float(values.mean())
    return {"score": float(np.mean(list(scores.values()))), **scores} if scores else {}, previews


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


def _crop_preview(picture, image, present, truth, masks, columns=8, rows=5):
    count = min(len(truth), columns * rows)
    shown = image[..., 1] if present[0, 1] else image.sum(-1)

    def sheet(tiles):
        side = tiles.shape[1]
        full = np.zeros((columns * rows, side, side), tiles.dtype)
        full[:count] = tiles[:count]
        return full.reshape(rows, columns, side, side).swapaxes(1, 2).reshape(rows * side, columns * side)

    truth, found = (np.asarray(m[:count]).astype(int) for m in (truth, masks))
    return f"{picture.source} {picture.name}", sheet(shown), sheet(truth), sheet(found)
