"""Batches and validation pairs of the registration recipes: drawn tissue, and movies from folders."""

from dataclasses import asdict
from pathlib import Path

import numpy as np

from calzoo.errors import CalzooError
from calzoo.imaging.movies import open_movie
from calzoo.training.batches import samples_of
from calzoo.training.fingerprints import digest, numbered
from calzoo.training.progress import shown
from calzoo.training.registration_movies import MovieTiles, is_fmi, sample_frames, still_scenes
from calzoo.training.registration_pairs import Conditions, draw_pair
from calzoo.training.registration_scenes import draw_scene
from calzoo.training.simulated import VALIDATION, SimulatedPool


class RegistrationData:
    """Batches and validation pairs of a registration recipe.

    Parameters
    ----------
    recipe : calzoo.training.recipes.registration.RegistrationRecipe
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
        return _stacked(samples_of(self.recipe, epoch, step, self._sample))

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

    def _sample(self, rng):
        recipe = self.recipe
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
