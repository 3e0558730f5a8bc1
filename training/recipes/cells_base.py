"""What the recipes of the two cell networks share."""

import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar

from calzoo.imaging.cell_pictures import KINDS
from calzoo.training.cards import common_fields
from calzoo.training.cells_data import TERMS
from calzoo.training.cells_samples import Variation
from calzoo.training.schedule import Schedule
from calzoo.weights.card import Normalisation, Tensor
from calzoo.weights.release import RESEARCH

PRESET = "cells-2p"


@dataclass(frozen=True, kw_only=True)
class CellsRecipe:
    """Everything that decides what a cell network becomes.

    Attributes
    ----------
    name : str
    seed : int
        Of the first weights and of every sample.
    builder : str
        "module:function" that builds the network.
    network : mapping
        Arguments of the builder that decide the shape of a weight.
    diameter : float
        Median diameter in pixels of the cells as the network sees them.
    shares : mapping of str to float
        How often a sample comes from each source; sources without pictures are left out.
    trust : mapping of str to float
        Weight of each source in the loss.
    scenes, validation_scenes : int
        Simulated scenes that are used, and how many of them are kept for validation.
    fold : int
        Which of four parts of the fields of view of each other source is held out; -1: none.
    percentiles, clip
        Normalisation of each picture, in training as at inference.
    variation : mapping of str to mapping
        Arguments of `calzoo.training.cells_samples.Variation`, by source.
    postprocessing : mapping
        Thresholds of the pipeline; see `calzoo.inference.cells`.
    schedule : Schedule
    """

    #: What the pipeline uses the network for.
    role: ClassVar[str] = ""

    name: str
    seed: int = 0
    builder: str
    network: Mapping = field(default_factory=dict)
    diameter: float = 12.0
    shares: Mapping = field(default_factory=lambda: {"simulation": 1.0, "own": 1.0})
    trust: Mapping = field(
        default_factory=lambda: {"simulation": 1.0, "abo": 1.0, "neurofinder": 0.7, "own": 1.0}
    )
    scenes: int = 600
    validation_scenes: int = 16
    fold: int = -1
    percentiles: tuple[float, float] = (1.0, 99.5)
    clip: tuple[float, float] = (-1.0, 3.0)
    variation: Mapping = field(default_factory=dict)
    postprocessing: Mapping = field(default_factory=dict)
    schedule: Schedule = field(default_factory=Schedule)

    def build(self):
        """Return the untrained network, a `keras.Model`."""
        return pkgutil.resolve_name(self.builder)(**self.network)

    def normalisation(self):
        """Return what turns the grey values of each picture into network input."""
        low, high = self.percentiles
        return Normalisation(
            kind="percentile", low=low, high=high, clip=tuple(self.clip), ignore_zeros=True, scope="frame"
        )

    def varied(self, source):
        """Return the variation of a source."""
        return Variation(**self.variation.get(source, {}))

    def card_fields(self, model, sources=("simulation",)):
        """Return the arguments of a card that both roles share.

        Parameters
        ----------
        model : keras.Model
        sources : sequence of str, optional
            Where the run's pictures came from.
        """
        research = any(source in ("abo", "neurofinder") for source in sources)
        return common_fields(self, model, TERMS, sources) | {
            "name": PRESET + RESEARCH * research,
            "alias": "Cells in two-photon recordings" + " (research use)" * research,
            "task": "cells",
            "role": self.role,
            "inputs": picture_tensors(),
            "normalisation": self.normalisation(),
            "scale": {"cell_diameter_px": self.diameter, "cell_diameter_um": 12.0},
            "postprocessing": dict(self.postprocessing),
            **({"licence": "research use"} if research else {}),
        }


def picture_tensors():
    """Return the inputs of both networks, as a card describes them."""
    return (
        Tensor(name="image", axes="byxc", units="normalised intensity", channels=KINDS),
        Tensor(name="present", axes="bc", units="1 where there is a picture, else 0", channels=KINDS),
    )


def simulated_schedule(*, epochs, steps, batch):
    """Return the schedule of a network that is trained on simulation."""
    return Schedule(
        epochs=epochs,
        steps=steps,
        batch=batch,
        learning_rate=2e-3,
        warmup=100,
        average=0.995,
        score_every=5,
        frozen_norm=0.3,
    )


def research(recipe):
    """Return the recipe that goes on with research data: mostly those, some simulation.

    Parameters
    ----------
    recipe : CellsRecipe
        That of the run whose weights are taken with ``--init``.
    """
    return replace(
        recipe,
        name=recipe.name + RESEARCH,
        shares={"simulation": 0.35, "abo": 0.45, "neurofinder": 0.2, "own": 0.5},
        scenes=250,
        validation_scenes=8,
        schedule=replace(
            recipe.schedule,
            epochs=20,
            learning_rate=8e-4,
            warmup=60,
            average=0.99,
            score_every=4,
            frozen_norm=1.0,
        ),
    )
