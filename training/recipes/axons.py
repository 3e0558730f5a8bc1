"""The recipe of the preset `axons`: a 3-D U-Net on simulated stacks, TRAILMAP and D-LMBmap."""

import importlib
import pkgutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

import numpy as np

from calzoo.errors import CalzooError
from calzoo.imaging.growth import GROWTH
from calzoo.metrics.segmentation import confusion, scores_by_class
from calzoo.simulation.recordings import check_number
from calzoo.training.axons_augmentation import Variation
from calzoo.training.axons_data import AxonData
from calzoo.training.axons_losses import voxel_loss
from calzoo.training.axons_sources import read_recordings
from calzoo.training.cards import common_fields
from calzoo.training.prediction import predict_volume
from calzoo.training.schedule import Schedule, check_sides
from calzoo.training.scores import with_mean
from calzoo.training.tiles import IGNORE
from calzoo.weights.card import Normalisation, Tensor, TrainingData

CLASSES = ("background", "axon", "border")

#: What may be used of each source of data, and under which licence.
TERMS = {
    "simulation": TrainingData(
        name="calzoo axon simulator", licence="MIT", source="calzoo.simulation.axons", note="dense truth"
    ),
    "trailmap": TrainingData(
        name="TRAILMAP training volume",
        licence="MIT",
        source="https://github.com/AlbertPun/TRAILMAP",
        note="three planes labelled by hand; cleared mouse brain, light-sheet",
    ),
    "dlmbmap": TrainingData(
        name="D-LMBmap axon cubes",
        licence="CC-BY-4.0",
        source="https://doi.org/10.1038/s41592-023-01998-6",
        note="weak labels made by a threshold",
    ),
    "own": TrainingData(name="own recordings", licence="of their owner", source="given by --data"),
}


@dataclass(frozen=True, kw_only=True)
class AxonsRecipe:
    """Everything that decides what the axon network becomes.

    Attributes
    ----------
    name : str
    seed : int
        Of the first weights, the simulated stacks and every sample.
    builder : str
        "module:function" that builds the network.
    network : mapping
        Arguments of the builder that decide the shape of a weight.
    tile : tuple of int
        (z, y, x) of a training tile, y = x.
    margin : tuple of int
        What is cut beyond the tile on each side, so that movements bring in real
        voxels and borders know the axons next door.
    shares : mapping of str to float
        How often a sample comes from each source; sources without recordings are left out.
    trust : mapping of str to float
        Weight of a voxel of each source in the loss.
    validation_planes : tuple of int
        Labelled planes of TRAILMAP's training volume that are kept for validation.
    own_planes : tuple of int
        First plane of own recordings to train on, and the one after the last; empty: all.
    styles : mapping of str to float
        How often each style of the simulator is drawn.
    magnification : float
        Half of the simulated stacks show everything larger than their style draws it, by up to this factor.
    stack : tuple of int
        (Z, Y, X) of simulated stacks.
    pool, fresh : int
        Simulated stacks that tiles are drawn from, and how many new ones each epoch brings.
    validation_stack : tuple of int
        (Z, Y, X) of simulated stacks that the network is scored on.
    validation_stacks : int
        How many of them, per style.
    percentiles, clip, ignore_zeros
        Normalisation, in training as at inference; see `calzoo.weights.card.Normalisation`.
    border_recipe : int
        See `calzoo.imaging.borders`.
    class_weights : tuple of float
        Of background, axon and border in both losses; scaled to sum to 3.
    focus, entropy : float
        Exponent of the focal loss (0: cross-entropy), and its weight beside Dice.
    variation : mapping of str to Variation
        Augmentation per source.
    schedule : Schedule
    prediction_tile : tuple of int
        (z, y, x) of the tiles at inference, where there is room for them.
    min_voxels : int
        Voxels of the smallest axon at inference.
    """

    name: str = "axons"
    seed: int = 0
    builder: str = "calzoo.networks.unet3d:unet3d"
    network: Mapping = field(default_factory=lambda: {"filters": (8, 16, 48, 128), "bottom": 192})
    tile: tuple[int, int, int] = (16, 96, 96)
    margin: tuple[int, int, int] = (1, 8, 8)
    shares: Mapping = field(
        default_factory=lambda: {"simulation": 0.72, "trailmap": 0.2, "dlmbmap": 0.08, "own": 0.72}
    )
    trust: Mapping = field(
        default_factory=lambda: {"simulation": 1.0, "trailmap": 1.0, "dlmbmap": 0.3, "own": 1.0}
    )
    validation_planes: tuple[int, ...] = (77,)
    own_planes: tuple[int, ...] = ()
    styles: Mapping = field(
        default_factory=lambda: {
            "confocal": 0.45,
            "lightsheet": 0.25,
            "twophoton": 0.1,
            "neuropil": 0.05,
            "anything": 0.15,
        }
    )
    magnification: float = 1.0
    stack: tuple[int, int, int] = (32, 256, 256)
    pool: int = 40
    fresh: int = 5
    validation_stack: tuple[int, int, int] = (24, 144, 144)
    validation_stacks: int = 3
    percentiles: tuple[float, float] = (1.0, 99.8)
    clip: tuple[float, float] = (-1.0, 4.0)
    ignore_zeros: bool = True
    border_recipe: int = 3
    class_weights: tuple[float, float, float] = (1.0, 1.1, 0.9)
    focus: float = 0.0
    entropy: float = 2.0
    variation: Mapping = field(
        default_factory=lambda: {
            "simulation": asdict(Variation(warp=0.15, frame=0.1, grain=0.25)),
            # Its labels are single planes, which thinning out could lose.
            "trailmap": asdict(Variation(warp=0.7, elastic_px=2.0, coarse=0.0, frame=0.3, grain=0.4)),
            "dlmbmap": asdict(Variation(warp=0.5, frame=0.3, grain=0.3)),
            "own": asdict(Variation(warp=0.5, grain=0.2)),
        }
    )
    schedule: Schedule = field(default_factory=Schedule)
    prediction_tile: tuple[int, int, int] = (32, 128, 128)
    min_voxels: int = 100

    def __post_init__(self):
        check_number("magnification", self.magnification, 1, 5)
        for name in ("tile", "margin"):
            sides = getattr(self, name)
            if len(sides) != 3 or sides[1] != sides[2]:
                message = f"{name} must be (z, y, x) with y = x, as samples are turned, got {list(sides)}."
                raise CalzooError(message)

    def build(self):
        """Return the untrained network, a `keras.Model`."""
        return pkgutil.resolve_name(self.builder)(**self.network)

    def loss(self):
        """Return Dice plus cross-entropy for `keras.Model.compile`."""
        return voxel_loss(self.class_weights, focus=self.focus, entropy=self.entropy)

    def data(self, folders=()):
        """Read the recordings of some folders beside the simulator.

        Returns
        -------
        AxonData

        Raises
        ------
        CalzooError
            If tiles do not fit the network, or a folder holds no recordings.
        """
        check_sides(self, self.tile, self.divisor())
        return AxonData(self, [recording for folder in folders for recording in read_recordings(folder)])

    def normalisation(self):
        """Return what turns intensities into network input."""
        low, high = self.percentiles
        return Normalisation(
            kind="percentile", low=low, high=high, clip=tuple(self.clip), ignore_zeros=self.ignore_zeros
        )

    def divisor(self):
        """Return what the sides (z, y, x) of a volume must be multiples of."""
        module = self._module()
        return module.divisor(self.network["pool"]) if "pool" in self.network else module.divisor()

    def predict(self, model, volume, *, overlap=0.25):
        """Return the probabilities of a normalised volume, (Z, Y, X, 3) float32."""
        return predict_volume(
            model, volume, tile=self.prediction_tile, divisor=self.divisor(), overlap=overlap
        )

    def score(self, model, data):
        """Return the axon F1 of each validation group with their mean, ``"score"``, and previews.

        Where own recordings are trained on there is no ``"score"``, and the last weights are kept.
        """
        groups, previews = {}, []
        for recording in data.validation:
            truth = recording.semantic(self.border_recipe)
            predicted = self.predict(model, recording.volume).argmax(-1)
            # Nobody measured TRAILMAP's edge: it is where the annotators left off.
            target = np.where(truth == 2, IGNORE, truth) if recording.source == "trailmap" else truth
            # Counted together, so that stacks without axons tell as well.
            group = _group(recording)
            groups[group] = groups.get(group, 0) + confusion(target, predicted, 3, ignore=IGNORE)
            z = int(np.argmax(((truth == 1) | (truth == 2)).sum((1, 2))))
            previews.append((f"{recording.name}, plane {z}", recording.volume[z], truth[z], predicted[z]))
        scores = {
            f"f1_{name}": float(np.nan_to_num(scores_by_class(counts).f1[1]))
            for name, counts in groups.items()
        }
        # Own stacks are not scored here, so what does best on others is no choice for them: the last is kept.
        return scores if "own" in data.sources else with_mean(scores), previews

    def card_fields(self, model, sources=("simulation",)):
        """Return the arguments of a card that follow from the recipe.

        Parameters
        ----------
        model : keras.Model
        sources : sequence of str, optional
            Where the run's recordings came from.
        """
        module = self._module()
        # Networks without these arguments do not take them in `halo` either.
        reach = module.halo(
            **{name: self.network[name] for name in ("pool", "kernel") if name in self.network}
        )
        axes = ("z", "y", "x")
        return common_fields(self, model, TERMS, sources) | {
            "name": self.name,
            "alias": "Axons in 3-D stacks",
            "task": "axons",
            "description": "Background, axon and border of every voxel of a fluorescence stack.",
            "inputs": (Tensor(name="image", axes="bzyxc", units="normalised intensity"),),
            "outputs": (Tensor(name="probability", axes="bzyxc", units="probability", channels=CLASSES),),
            "normalisation": self.normalisation(),
            "divisor": dict(zip(axes, self.divisor(), strict=True)),
            "halo": dict(zip(axes, reach, strict=True)),
            "tile": dict(zip(axes, self.prediction_tile, strict=True)),
            "overlap": 0.25,
            "postprocessing": {"connectivity": 6, "grow": GROWTH, "min_voxels": self.min_voxels},
            "scale": {"axon_diameter_px": 6.0},
        }

    def _module(self):
        return importlib.import_module(self.builder.split(":")[0])


def octa_recipe():
    """Return the recipe of a copy for OCT-A vessels: fine-tuned on planes 0-31 of the sample, nothing else.

    ``calzoo train axons-octa -o RUN --data OCTA --init axons``; `calzoo.training.axons_evaluate.score_octa`
    scores it on the planes 40-63.
    """
    return AxonsRecipe(
        name="axons-octa",
        shares={"own": 1.0},
        own_planes=(0, 32),
        schedule=Schedule(epochs=6, steps=50, learning_rate=5e-4, warmup=20, score_every=6),
    )


def vgg16_recipe():
    """Return the recipe of the VGG16 U-Net: as `AxonsRecipe`, with the other network."""
    return AxonsRecipe(name="axons-vgg16", builder="calzoo.networks.vgg16_unet3d:vgg16_unet3d", network={})


def _group(recording):
    """Return the name under which a validation recording is scored."""
    return recording.name.split("-")[0] if recording.source == "simulation" else recording.source
