"""The recipe of the preset `registration-2p`: pairs of pictures of moving tissue, or users' movies."""

import importlib
import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from calzoo.errors import CalzooError
from calzoo.training.cards import common_fields
from calzoo.training.prediction import predicted
from calzoo.training.registration_data import RegistrationData
from calzoo.training.registration_losses import registration_loss
from calzoo.training.registration_pairs import Conditions
from calzoo.training.schedule import Schedule, check_sides
from calzoo.weights.card import Normalisation, Tensor, TrainingData

#: What may be used of each source of data, and under which licence.
TERMS = {
    "simulation": TrainingData(
        name="calzoo registration pairs",
        licence="MIT",
        source="calzoo.training.registration_pairs",
        note="random shapes and simulated two-photon tissue, exact motion",
    ),
    "movies": TrainingData(name="own movies", licence="of their owner", source="given by --data or --movie"),
    "fmi": TrainingData(
        name="FMI two-photon frames",
        licence="MIT",
        source="https://github.com/fmi-basel/2Photon_Analysis",
        note="means of successive frames as still tissue",
    ),
}


@dataclass(frozen=True, kw_only=True)
class RegistrationRecipe:
    """Everything that decides what the registration network becomes.

    Attributes
    ----------
    name : str
    seed : int
        Of the first weights, the scenes and every pair.
    builder : str
        "module:function" that builds the network.
    network : mapping
        Its arguments.
    tile : int
        Side of a training picture in pixels.
    scene : int
        Side in pixels of the scenes that pairs are cut from.
    kinds : mapping of str to float
        How often scenes of each kind are drawn; see `calzoo.training.registration_scenes`.
    conditions : Conditions
        What pairs look like.
    pool, fresh : int
        Scenes that pairs are cut from, and how many new ones each epoch brings.
    use : str
        "pairs": learn from pairs with known motion; movies that are given become more scenes.
        "movies": learn from the frames of the movies themselves, without truth.
    movies : float
        Share of the pairs that are cut from the means of given movies.
    loss_kind : str
        "flow_mse", "image_mse", "ncc" or "mix"; see `calzoo.training.registration_losses.registration_loss`.
    validation : int
        Pairs per level of light that the network is scored on.
    schedule : Schedule
    """

    name: str = "registration"
    seed: int = 0
    builder: str = "calzoo.networks.registration:registration"
    network: Mapping = field(default_factory=dict)
    tile: int = 320
    scene: int = 448
    kinds: Mapping = field(default_factory=lambda: {"shapes": 0.8, "simulation": 0.2})
    conditions: Conditions = field(default_factory=Conditions)
    pool: int = 80
    fresh: int = 5
    use: str = "pairs"
    movies: float = 0.15
    loss_kind: str = "flow_mse"
    validation: int = 4
    schedule: Schedule = field(
        # Repeatable kernels would look pixels up four times more slowly.
        default_factory=lambda: Schedule(
            epochs=40,
            steps=100,
            batch=3,
            learning_rate=2e-3,
            warmup=100,
            frozen_norm=0.0,
            score_every=5,
            deterministic=False,
        )
    )

    def __post_init__(self):
        if self.use not in ("pairs", "movies"):
            message = f"registration: use must be 'pairs' or 'movies', got {self.use!r}."
            raise CalzooError(message)

    def build(self):
        """Return the untrained network, a `keras.Model`."""
        return pkgutil.resolve_name(self.builder)(**self.network)

    def build_for_training(self):
        """Return the untrained network as it is trained: it shows the motion after each step."""
        view = {"steps": tuple(map(tuple, self.network["steps"]))} if "steps" in self.network else {}
        return self._module().training_view(self.build(), **view)

    def loss(self):
        """Return the loss for `keras.Model.compile`."""
        return registration_loss(self.loss_kind)

    def data(self, folders=()):
        """Have the pairs, and the movies in some folders, ready.

        Returns
        -------
        RegistrationData

        Raises
        ------
        CalzooError
            If tiles do not fit the network, or a folder holds no movies.
        """
        check_sides(self, (self.tile,), (self._module().DIVISOR,))
        return RegistrationData(self, folders)

    def score(self, model, data):
        """Return the error of the motion by level of light, and ``"score"``, 1 / (1 + their mean)."""
        errors = {}
        for name, (inputs, target) in data.validation.items():
            motion = predicted(model, inputs)[..., -3:-1]
            truth = _coarse(target[..., :3])
            known = truth[..., 2] > 0.99
            length = np.linalg.norm(motion - truth[..., :2], axis=-1)
            errors[f"epe_{name}"] = float(length[known].mean())
        if not errors:
            return {}, []
        return {"score": 1 / (1 + float(np.mean(list(errors.values())))), **errors}, []

    def card_fields(self, model, sources=("simulation",)):
        """Return the arguments of a card that follow from the recipe."""
        step = self._module().DIVISOR
        return common_fields(self, model, TERMS, sources) | {
            "name": "registration-2p" if self.use == "pairs" else self.name,
            "alias": "Motion of two-photon movies",
            "task": "registration",
            "description": "Where each pixel of a template lies in a frame of a movie.",
            "inputs": (
                Tensor(name="frame", axes="byxc", units="intensity"),
                Tensor(name="template", axes="byxc", units="intensity"),
                Tensor(name="shift", axes="bc", units="px", channels=("dy", "dx")),
            ),
            "outputs": (
                Tensor(name="flow", axes="byxc", units="px", channels=("dy", "dx")),
                Tensor(name="registered", axes="byxc", units="intensity"),
                Tensor(name="uncertainty", axes="byxc", units="px"),
            ),
            "normalisation": Normalisation(kind="none"),
            "divisor": {"y": step, "x": step},
            "halo": {"y": 0, "x": 0},
            "tile": {"y": 512, "x": 512},
            "overlap": 0.0,
            "postprocessing": {"bad_uncertainty_px": 1.5},
        }

    def _module(self):
        return importlib.import_module(self.builder.split(":")[0])


def movie_recipe():
    """Return the recipe that fits a network to a user's own movies, without truth.

    ``calzoo train registration-movie -o RUN --data MOVIE --init registration-2p``
    """
    return RegistrationRecipe(
        name="registration-movie",
        use="movies",
        loss_kind="ncc",
        schedule=Schedule(
            epochs=5,
            steps=60,
            batch=3,
            learning_rate=3e-4,
            warmup=20,
            frozen_norm=0.0,
            score_every=5,
            deterministic=False,
        ),
    )


def _coarse(target):
    """Return a target at the resolution of the network's training output: means of 2 x 8 pixels."""
    batch, height, width, channels = target.shape
    return target.reshape(batch, height // 2, 2, width // 8, 8, channels).mean((2, 4))
