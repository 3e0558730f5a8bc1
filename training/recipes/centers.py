"""The recipe of the preset `centers-1p`: heat maps of cell centres, from simulated one-photon movies."""

import importlib
import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from calzoo.errors import CalzooError
from calzoo.imaging.center_channels import CELL_PX, CHANNELS
from calzoo.imaging.center_peaks import local_maxima, refine
from calzoo.metrics.centers import count_points
from calzoo.training.cards import common_fields
from calzoo.training.centers_data import CentersData
from calzoo.training.centers_losses import heat_loss
from calzoo.training.prediction import predicted
from calzoo.training.schedule import Schedule, check_sides
from calzoo.weights.card import Normalisation, Tensor, TrainingData

OUTPUTS = ("center", "body", "radius")
#: What may be used of each source of data, and under which licence.
TERMS = {
    "simulation": TrainingData(
        name="calzoo one-photon simulator",
        licence="MIT",
        source="calzoo.simulation.one_photon",
        note="dense truth",
    ),
}


@dataclass(frozen=True, kw_only=True)
class CentersRecipe:
    """Everything that decides what the network of the centres becomes.

    Attributes
    ----------
    name : str
    seed : int
        Of the first weights, the simulated recordings and every sample.
    builder : str
        "module:function" that builds the network.
    network : mapping
        Arguments of the builder.
    tile : int
        Side of a training tile in pixels of the grid, on which a cell is about 8 wide.
    recordings, validation : int
        Simulated recordings to train on, and to be scored on.
    near : float
        Standard deviation in pixels of the Gaussian around a centre within which a miss costs less.
    body, radius : float
        Weights of the losses; see `calzoo.training.centers_losses.heat_loss`.
    crowded : float
        Share of samples that show several windows laid over one another, see `centers_crowds`.
    layers : int
        Windows at most that are laid over one another.
    stretch : float
        Half of the samples are stretched along one axis by up to this factor: cells are not round.
    gain, noise : float
        Augmentation: largest relative change, and largest noise, of each picture.
    schedule : Schedule
    window : int
        Frames that are summed up together at inference.
    threshold : float
        Least score of a centre at inference.
    apart : float
        Least distance of two centres, in cell diameters.
    """

    name: str = "centers"
    seed: int = 0
    builder: str = "calzoo.networks.centers:centers_encoder"
    network: Mapping = field(default_factory=dict)
    tile: int = 96
    recordings: int = 900
    validation: int = 24
    near: float = 1.2
    body: float = 0.5
    radius: float = 0.1
    crowded: float = 0.5
    layers: int = 5
    stretch: float = 1.6
    gain: float = 0.15
    noise: float = 0.08
    schedule: Schedule = field(
        default_factory=lambda: Schedule(
            epochs=30, steps=120, batch=10, learning_rate=2e-3, warmup=150, score_every=2, frozen_norm=0.3
        )
    )
    window: int = 200
    threshold: float = 0.4
    apart: float = 0.44

    def build(self):
        """Return the untrained network, a `keras.Model`."""
        return pkgutil.resolve_name(self.builder)(**self.network)

    def loss(self):
        """Return the loss for `keras.Model.compile`."""
        return heat_loss(body=self.body, radius=self.radius)

    def data(self, folders=()):
        """Read or draw the simulated recordings.

        Parameters
        ----------
        folders : sequence of path-like
            At most one: where recordings are kept, see `calzoo.training.centers_pool`.

        Returns
        -------
        CentersData

        Raises
        ------
        CalzooError
            If there are more folders, the folder is no pool, or tiles do not fit the network.
        """
        check_sides(self, (self.tile, self.tile), (self.divisor(), self.divisor()))
        if len(folders) > 1:
            message = (
                f"recipe {self.name!r}: expected one pool of simulated recordings or an empty folder, got "
                f"{', '.join(map(str, folders))}. Leave all but one away."
            )
            raise CalzooError(message)
        return CentersData(self, folders[0] if folders else None)

    def divisor(self):
        """Return what the sides of the pictures must be multiples of."""
        return self._module().divisor(*self._filters())

    def _module(self):
        return importlib.import_module(self.builder.split(":")[0])

    def _filters(self):
        """Return the filters, or nothing where they are the builder's own."""
        return [self.network["filters"]] if "filters" in self.network else []

    def predict(self, model, pictures):
        """Return the heat map (h, w, 3) of the pictures (h, w, C) of a window of any size."""
        height, width = pictures.shape[:2]
        pads = [(0, -side % self.divisor()) for side in (height, width)]
        padded = np.pad(pictures, [*pads, (0, 0)], mode="symmetric")
        return predicted(model, padded[None])[0, :height, :width]

    def score(self, model, data):
        """Return F1 of the validation recordings at `threshold`, and the best threshold; and previews."""
        thresholds = np.linspace(0.1, 0.7, 13)
        counts, previews = [], []
        for number, window in enumerate(data.validation):
            heat = self.predict(model, window.channels.astype(np.float32))
            points = local_maxima(heat[..., 0], distance=self.apart * CELL_PX, threshold=thresholds[0])
            scores = heat[..., 0][tuple(points.T)]
            places = refine(heat[..., 0], points)
            counts.append([_counts(window, places[scores >= t]) for t in thresholds])
            if number < 3:
                previews.append(_preview(window, heat, points[scores >= self.threshold], number))
        if not counts:
            return {}, []
        f1 = _f1(np.sum(counts, axis=0))
        chosen = int(np.argmin(np.abs(thresholds - self.threshold)))
        best = int(np.argmax(f1))
        hit, found, true = np.sum(counts, axis=0)[best]
        return {
            "score": float(f1[best]),
            "f1": float(f1[chosen]),
            "threshold": float(thresholds[best]),
            "precision": float(hit / max(found, 1)),
            "recall": float(hit / max(true, 1)),
        }, previews

    def card_fields(self, model, sources=("simulation",)):
        """Return the arguments of a card that follow from the recipe."""
        axes = ("y", "x")
        return common_fields(self, model, TERMS, sources) | {
            "name": self.name,
            "alias": "Cell centres in one-photon movies",
            "task": "centers",
            "description": "Where the centres of the cells are that fire in a window of a one-photon movie.",
            "inputs": (
                Tensor(
                    name="pictures",
                    axes="byxc",
                    units="see calzoo.imaging.center_channels",
                    channels=CHANNELS,
                ),
            ),
            "outputs": (
                Tensor(name="heat", axes="byxc", units="probability, probability, px", channels=OUTPUTS),
            ),
            "normalisation": Normalisation(),
            "divisor": dict.fromkeys(axes, self.divisor()),
            "halo": dict.fromkeys(axes, self._module().halo(*self._filters())),
            "tile": dict.fromkeys(axes, 512),
            "postprocessing": {
                "threshold": self.threshold,
                "apart_diameters": self.apart,
                "window_frames": self.window,
            },
            "scale": {"cell_diameter_px": CELL_PX},
        }


def _counts(window, places):
    """Return hits, points that count, and cells that should be found."""
    return count_points(
        window.centers[window.clear],
        places,
        distance=CELL_PX / 2,
        maybe=window.centers[~window.clear],
    )


def _f1(counts):
    hit, found, true = counts.T
    return 2 * hit / np.maximum(found + true, 1)


def _preview(window, heat, points, number):
    """Return a preview: bodies orange, centres blue."""
    truth = (window.labels > 0).astype(np.uint8)
    predicted = (heat[..., 1] > 0.5).astype(np.uint8)
    for picture, places in ((truth, window.centers[window.clear]), (predicted, points)):
        rows, columns = np.clip(np.round(places).astype(int), 0, np.array(truth.shape) - 1).reshape(-1, 2).T
        picture[rows, columns] = 2
    return f"simulated {number}, sharp peak", window.channels[..., 1].astype(np.float32), truth, predicted
