"""The recipe of the network that proposes where cells are."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from calzoo.training.cells_heat import HeatData, score_heat
from calzoo.training.cells_losses import heat_loss
from calzoo.training.recipes.cells_base import CellsRecipe, research, simulated_schedule
from calzoo.training.schedule import Schedule, check_sides
from calzoo.weights.card import Tensor

TARGETS = ("soma", "border", "center")


@dataclass(frozen=True, kw_only=True)
class CellsProposalRecipe(CellsRecipe):
    """A U-Net that draws heat maps of somata, their borders and their centres.

    Attributes
    ----------
    side : int
        Of a training tile, in pixels.
    channels : tuple of float
        Weight of soma, border and centre in the loss.
    thresholds : tuple of float
        Of the maxima that are scored; the best one counts.
    """

    role: ClassVar[str] = "proposal"

    name: str = "cells-proposal"
    builder: str = "calzoo.networks.proposal:proposal"
    network: Mapping = field(default_factory=lambda: {"filters": (16, 32, 64), "bottom": 96, "dropout": 0.1})
    side: int = 128
    channels: tuple[float, float, float] = (1.0, 0.6, 1.0)
    thresholds: tuple[float, ...] = (0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6)
    postprocessing: Mapping = field(default_factory=lambda: {"heat_threshold": 0.12, "peak_distance": 0.25})
    schedule: Schedule = field(default_factory=lambda: simulated_schedule(epochs=100, steps=60, batch=8))

    def loss(self):
        """Return cross-entropy and Dice for `keras.Model.compile`."""
        return heat_loss(self.channels)

    def data(self, folders=()):
        """Read pools and labelled pictures."""
        check_sides(self, (self.side, self.side), (self.divisor(), self.divisor()))
        return HeatData(self, folders)

    def divisor(self):
        """Return what both sides of a picture must be multiples of."""
        return 2 ** len(self.network.get("filters", (16, 32, 64)))

    def score(self, model, data):
        """Return the F1 of the maxima on held-out pictures, and previews."""
        return score_heat(self, model, data.validation)

    def card_fields(self, model, sources=("simulation",)):
        """Return the arguments of a card."""
        from calzoo.networks.proposal import halo

        divisor = self.divisor()
        reach = halo(self.network.get("filters", (16, 32, 64)), self.network.get("kernel", 3))
        return super().card_fields(model, sources) | {
            "description": "Heat maps of cell bodies, their borders and centres, from summary pictures.",
            "outputs": (Tensor(name="heat", axes="byxc", units="probability", channels=TARGETS),),
            "divisor": {"y": divisor, "x": divisor},
            "halo": {"y": reach, "x": reach},
            "tile": {"y": 768, "x": 768},
            "overlap": 0.3,
        }


def research_recipe():
    """Return the recipe that goes on with the research data: ``--init`` a run of `CellsProposalRecipe`."""
    return research(CellsProposalRecipe())
