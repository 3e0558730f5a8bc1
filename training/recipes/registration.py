"""The recipe of the preset `registration-2p`: pairs of pictures of moving tissue, or users' movies."""

import importlib
import pkgutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from calzoo.errors import CalzooError
from calzoo.imaging.movies import open_movie
from calzoo.training.fingerprints import numbered
from calzoo.training.ledger import versions
from calzoo.training.prediction import predicted
from calzoo.training.progress import shown
from calzoo.training.registration_losses import registration_loss
from calzoo.training.registration_movies import MovieTiles, is_fmi, sample_frames, still_scenes
from calzoo.training.registration_pairs import Conditions, draw_pair
from calzoo.training.registration_scenes import draw_scene
from calzoo.training.schedule import Schedule, check_sides
from calzoo.training.simulated import VALIDATION, SimulatedPool
from calzoo.training.sources import digest
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
        return {
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
            "builder": self.builder,
            "config": dict(self.network),
            "parameters": model.count_params(),
            "recipe": self.name,
            "data": tuple(TERMS[source] for source in sources),
            "versions": versions(),
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


class RegistrationData:
    """Batches and validation pairs of a registration recipe.

    Parameters
    ----------
    recipe : RegistrationRecipe
    folders : sequence of path-like
        Movies, or folders of them; or (movie, further arguments of `open_movie`).
    """

    def __init__(self, recipe, folders):
        self.recipe = recipe
        asked = [folder if isinstance(folder, tuple) else (folder, {}) for folder in folders]
        named = [(_source(folder), path, reading) for folder, reading in asked for path in _files(folder)]
        if recipe.use == "pairs" and recipe.movies <= 0:
            named = []  # no pair is ever cut from them
        movies = [open_movie(path, **reading) for _, path, reading in named]
        try:
            self._prints = numbered(
                (f"{source}/{path.name}", _fingerprint(movie))
                for (source, path, _), movie in zip(named, movies, strict=True)
            )
            self._tiles, self._still = None, []
            if recipe.use == "movies":
                self._tiles = MovieTiles(movies, recipe.tile)
            else:
                self._still = [scene for movie in movies for scene in still_scenes(movie)]
        finally:
            for movie in movies:
                movie.close()
        self.sources = tuple(
            dict.fromkeys((["simulation"] if recipe.use == "pairs" else []) + [name for name, *_ in named])
        )
        self._pool, self.validation = None, {}
        if recipe.use == "pairs":
            self.validation = self._validation()
            self._pool = SimulatedPool(self._scene, size=recipe.pool, fresh=recipe.fresh)
        self._scenes = []

    def prepare(self, epoch):
        """Have the scenes of an epoch ready."""
        if self._pool is not None:
            self._scenes = self._pool.stacks(epoch)

    def batch(self, epoch, step):
        """Return the batch of a step: a function of (seed, epoch, step) alone.

        Returns
        -------
        inputs : dict of ndarray of float32
            Those of the network.
        target : ndarray of float32, (B, Y, X, 5)
            See `calzoo.training.registration_losses`.
        """
        size = self.recipe.schedule.batch
        return _stacked([self._sample(epoch, step * size + i) for i in range(size)])

    def fingerprint(self):
        """Return what the data are, as JSON."""
        prints = dict(self._prints)
        if self._pool is not None:
            rng = np.random.default_rng([self.recipe.seed, 0])
            prints["simulation/scene"] = digest(draw_scene(rng, 64, {"shapes": 1}).light)
        return prints

    def close(self):
        """Stop drawing scenes."""
        if self._pool is not None:
            self._pool.close()

    def _sample(self, epoch, index):
        recipe = self.recipe
        rng = np.random.default_rng([recipe.seed, epoch, index])
        if self._tiles is not None:
            return self._tiles.draw(rng)
        scenes = self._still if self._still and rng.random() < recipe.movies else self._scenes
        return draw_pair(rng, scenes[rng.integers(len(scenes))], recipe.tile, recipe.conditions)

    def _scene(self, number):
        rng = np.random.default_rng([self.recipe.seed, 1, number, 1])  # beside those of all samples
        return draw_scene(rng, self.recipe.scene, self.recipe.kinds)

    def _validation(self):
        """Return pairs by level of light, with and without jitter in turns."""
        recipe, found = self.recipe, {}
        for photons in (12.0, 3.0, 0.7) if recipe.validation else ():
            pairs = []
            for number in shown(range(recipe.validation), "pair", f"drawing pairs of {photons:g} photons"):
                rng = np.random.default_rng([recipe.seed, 2, VALIDATION + number])
                plain = asdict(recipe.conditions) | {
                    "photons": (photons, photons),
                    "averaged": (50.0, 50.0),
                    "peak_px": (5.0, 5.0),
                    "sigma_px": (40.0, 60.0),
                    "jitter": float(number % 2),
                }
                scene = draw_scene(rng, recipe.scene, recipe.kinds)
                pairs.append(draw_pair(rng, scene, recipe.tile, Conditions(**plain)))
            found[f"{photons:g}"] = _stacked(pairs)
        return found


def _stacked(pairs):
    """Return what the network takes and what it is compared with."""
    known = [p.known[..., None].astype(np.float32) for p in pairs]
    target = [
        np.concatenate([p.motion, k, *_levelled(p)], axis=-1) for p, k in zip(pairs, known, strict=True)
    ]
    inputs = {
        "frame": np.stack([p.frame for p in pairs])[..., None],
        "template": np.stack([p.template for p in pairs])[..., None],
        "shift": np.stack([p.shift for p in pairs]),
    }
    return inputs, np.stack(target).astype(np.float32)


def _levelled(pair):
    """Return frame and template, (Y, X, 1) each, in standard deviations from the template's mean.

    An offset far above what varies would leave nothing of the losses' variances in float32.
    """
    mean, spread = float(pair.template.mean()), max(float(pair.template.std()), 1e-6)
    return [((picture - mean) / spread)[..., None] for picture in (pair.frame, pair.template)]


def _fingerprint(movie):
    """Return what a movie is, as JSON: its shape, and a hash of the frames that are trained on."""
    return {"shape": [int(side) for side in movie.shape], "frames_sha256": digest(sample_frames(movie))}


def _coarse(target):
    """Return a target at the resolution of the network's training output: means of 2 x 8 pixels."""
    batch, height, width, channels = target.shape
    return target.reshape(batch, height // 2, 2, width // 8, 8, channels).mean((2, 4))


def _source(folder):
    """Return whose terms the movies of a folder come under."""
    return "fmi" if is_fmi(folder) else "movies"


def _files(folder):
    """Return the movies of a folder, or the one movie that is named."""
    folder = Path(folder)
    if not folder.is_dir():
        return [folder]
    found = sorted(
        p for p in folder.iterdir() if p.suffix.lower() in (".tif", ".tiff", ".npy", ".h5", ".nwb")
    )
    if not found:
        message = f"{folder}: expected movies (.tif, .npy, .h5, .nwb), found none."
        raise CalzooError(message)
    return found
