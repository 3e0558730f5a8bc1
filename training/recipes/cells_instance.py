"""The recipe of the network that outlines the cell in the middle of a crop."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from calzoo.errors import CalzooError
from calzoo.networks.instance import SIDE
from calzoo.training.cells_crops import CropData, score_crops
from calzoo.training.cells_losses import mask_loss, score_loss
from calzoo.training.recipes.cells_base import CellsRecipe, research, simulated_schedule
from calzoo.training.schedule import Schedule
from calzoo.weights.card import Tensor


@dataclass(frozen=True, kw_only=True)
class CellsInstanceRecipe(CellsRecipe):
    """A small U-Net that also says whether there is a cell in the middle.

    Attributes
    ----------
    crop : int
        Side of a crop, in pixels.
    positive : float
        Share of crops with a cell in the middle.
    jitter : float
        Largest distance between the middle and the cell's centre, in diameters.
    negative_masks : bool
        Teach empty masks where there is no cell.
    """

    role: ClassVar[str] = "instance"

    name: str = "cells-instance"
    builder: str = "calzoo.networks.instance:instance"
    network: Mapping = field(
        default_factory=lambda: {"filters": (12, 24, 48), "bottom": 72, "hidden": 64, "dropout": 0.2}
    )
    crop: int = SIDE
    positive: float = 0.5
    jitter: float = 0.3
    negative_masks: bool = False
    postprocessing: Mapping = field(
        default_factory=lambda: {
            "score_threshold": 0.5,
            "heat_weight": 0.3,
            "mask_threshold": 0.5,
            "overlap_threshold": 0.4,
            "smallest_diameter": 0.4,
            "largest_diameter": 2.5,
        }
    )
    schedule: Schedule = field(default_factory=lambda: simulated_schedule(epochs=80, steps=120, batch=64))

    def loss(self):
        """Return the losses of both outputs for `keras.Model.compile`."""
        return {"mask": mask_loss, "score": score_loss}

    def data(self, folders=()):
        """Read pools and labelled pictures."""
        side = self.network.get("side", SIDE)
        if self.crop != side:
            message = (
                f"recipe {self.name!r}: crops must be as large as the network takes them, {side} pixels, got "
                f"crop={self.crop}; change the side of network too."
            )
            raise CalzooError(message)
        return CropData(self, folders)

    def score(self, model, data):
        """Return how good masks and scores are on held-out pictures, and previews."""
        return score_crops(self, model, data.validation)

    def card_fields(self, model, sources=("simulation",)):
        """Return the arguments of a card."""
        return super().card_fields(model, sources) | {
            "description": "Mask and score of the cell in the middle of a crop of summary pictures.",
            "outputs": (
                Tensor(name="mask", axes="byxc", units="probability", channels=("cell",)),
                Tensor(name="score", axes="bc", units="probability", channels=("cell",)),
            ),
            "divisor": {"y": self.crop, "x": self.crop},
            "halo": {"y": 0, "x": 0},
            "tile": {"y": self.crop, "x": self.crop},
            "overlap": 0.0,
        }


def research_recipe():
    """Return the recipe that goes on with the research data: ``--init`` a run of `CellsInstanceRecipe`."""
    return research(CellsInstanceRecipe())
