"""Batches and validation windows of the recipe `centers`, from simulated one-photon recordings."""

import numpy as np

from calzoo.training.batches import samples_of, stacked
from calzoo.training.centers_crowds import crowd, tile
from calzoo.training.centers_pool import POOL_VERSION, Pool
from calzoo.training.fingerprints import digest
from calzoo.training.progress import shown
from calzoo.training.simulated import VALIDATION


class CentersData:
    """Batches and validation windows of a recipe.

    Parameters
    ----------
    recipe : calzoo.training.recipes.centers.CentersRecipe
    folder : path-like or None
    """

    sources = ("simulation",)

    def __init__(self, recipe, folder=None):
        self.recipe = recipe
        pool = Pool(recipe.seed, folder)
        numbers = shown(range(recipe.recordings), "recording", "drawing or reading the pool")
        self._windows = [w for number in numbers for w in pool.windows(number)]
        numbers = range(VALIDATION, VALIDATION + recipe.validation)
        self.validation = [pool.windows(number)[0] for number in numbers]

    def prepare(self, epoch):
        """Do nothing: all recordings are there from the start."""

    def batch(self, epoch, step):
        """Return the batch of a step: a function of (seed, epoch, step) alone.

        Returns
        -------
        x : ndarray of float32, (B, tile, tile, C)
        y : ndarray of float32, (B, tile, tile, 5)
            See `calzoo.training.centers_losses.heat_loss`.
        """
        return stacked(samples_of(self.recipe, epoch, step, self._sample))

    def fingerprint(self):
        """Return what the data are, as JSON."""
        facts = {"version": POOL_VERSION, "seed": self.recipe.seed, "recordings": self.recipe.recordings}
        facts["cells"] = int(sum(w.clear.sum() for w in self._windows))
        facts["mean"] = round(
            float(np.mean([w.channels.astype(np.float32).mean() for w in self._windows])), 4
        )
        windows = (*self._windows, *self.validation)
        facts["sha256"] = digest(*(value for window in windows for value in vars(window).values()))
        return {"simulation/one-photon": facts}

    def close(self):
        """Do nothing: there is nothing to let go of."""

    def _sample(self, rng):
        recipe = self.recipe
        count = int(rng.integers(2, recipe.layers + 1)) if rng.random() < recipe.crowded else 1
        stretch = recipe.stretch if rng.random() < 0.5 else 1.0
        layers = [
            tile(rng, self._windows[rng.integers(len(self._windows))], recipe.tile, stretch)
            for _ in range(count)
        ]
        window = layers[0] if count == 1 else crowd(layers, np.exp(rng.uniform(np.log(0.2), 0, count)))
        pictures, target = window.channels, target_of(window, recipe.near)
        channels = pictures.shape[-1]
        gain = 1 + rng.uniform(-recipe.gain, recipe.gain, channels)
        noise = rng.uniform(0, recipe.noise, channels) * rng.standard_normal(pictures.shape, dtype=np.float32)
        return (pictures * gain + noise).astype(np.float32), np.ascontiguousarray(target)


def target_of(window, near):
    """Return what the loss compares the heat map of a window with.

    Parameters
    ----------
    window : calzoo.training.centers_windows.Window
    near : float
        Standard deviation of the Gaussian around a centre, in pixels.

    Returns
    -------
    ndarray of float32, (h, w, 5)
        See `calzoo.training.centers_losses.heat_loss`.
    """
    shape = window.labels.shape
    target = np.zeros((*shape, 5), np.float32)
    target[..., 1] = 1
    rows, columns = np.indices(shape)
    for center, clear in zip(window.centers, window.clear, strict=True):
        distance = (rows - center[0]) ** 2 + (columns - center[1]) ** 2
        if clear:
            np.maximum(target[..., 0], np.exp(-distance / (2 * near**2)), out=target[..., 0])
        else:  # it may be found or not
            target[..., 1][distance <= (2.5 * near) ** 2] = 0
    inside = ((window.centers > -0.5) & (window.centers < np.array(shape) - 0.5)).all(axis=1)
    found = window.clear & inside
    places = np.round(window.centers[found]).astype(int)
    target[places[:, 0], places[:, 1], 0] = 1
    target[places[:, 0], places[:, 1], 1] = 1
    target[places[:, 0], places[:, 1], 4] = window.radii[found]
    is_clear = np.concatenate([[False], window.clear])[window.labels]
    target[..., 2] = is_clear
    target[..., 3] = is_clear | (window.labels == 0)
    return target
