"""The data of both cell recipes: which pictures are trained on, which are held out, and at which scale."""

from dataclasses import replace

import numpy as np

from calzoo.errors import CalzooError
from calzoo.training.batches import samples_of
from calzoo.training.cells_samples import lookalikes
from calzoo.training.cells_sources import read_cell_pictures
from calzoo.training.fingerprints import numbered
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
        samples = samples_of(self.recipe, epoch, step, self._sample)
        x, y = (
            {name: np.stack([s[part][name] for s in samples]) for name in samples[0][part]} for part in (0, 1)
        )
        return x, y if len(y) > 1 else next(iter(y.values()))  # Keras takes the target of one output bare

    def _sample(self, rng):
        shares = np.array([self.recipe.shares[source] for source in self.sources])
        source = self.sources[int(rng.choice(len(self.sources), p=shares / shares.sum()))]
        pictures = self.training[source]
        return self.sample(rng, pictures[rng.integers(len(pictures))], source)

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
