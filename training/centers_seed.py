"""The authors' way: encoder, frozen renderer, learnable coordinates, dense decoder.

Kept to be compared with `calzoo.training.centers_fit`. Mended are: the arguments of the
cross-entropy in their order, coordinates mirrored at the border in place of clipped,
rows and columns in one order throughout, one optimiser (coordinates are stored in
units in which its step is `coordinate_rate` pixels). Left as it was is the decoder,
which can learn frames by heart whatever the coordinates do: `latent_errors` shows it.
"""

from dataclasses import dataclass

import keras
import numpy as np
from keras import layers, ops

from calzoo.imaging.frames import as_movie
from calzoo.imaging.preprocessing import resample
from calzoo.networks.centers_seed import seed_decoder, seed_encoder, seed_renderer
from calzoo.networks.centers_splats import mirrored
from calzoo.training.centers_fit import reconstruction_loss
from calzoo.training.prediction import predicted
from calzoo.training.progress import steps_bar


def render_targets(recipe):
    """Return every coordinate within the margin and the picture that the renderer should draw.

    Parameters
    ----------
    recipe : calzoo.training.recipes.centers_seed.CentersSeedRecipe

    Returns
    -------
    coordinates : ndarray of float32, (N, 2)
        Row and column over ``side - 1``.
    pictures : callable
        ``pictures(rows)`` returns those of some rows, float32 (n, side * side), each sums to 1.
    """
    inside = np.arange(recipe.margin, recipe.side - recipe.margin)
    places = np.stack(np.meshgrid(inside, inside, indexing="ij"), axis=-1).reshape(-1, 2)
    pixels = np.arange(recipe.side)

    def side_of(center):
        away = np.abs(pixels - center[:, None])
        if recipe.render == "smeared":
            return np.exp(-0.5 * (away / recipe.render_size) ** 2)
        reach = recipe.render_size / 2 if recipe.render == "squares" else 0
        return (away <= reach).astype(float)

    def pictures(rows):
        image = side_of(places[rows, 0])[:, :, None] * side_of(places[rows, 1])[:, None, :]
        flat = image.reshape(len(image), -1)
        return (flat / flat.sum(axis=1, keepdims=True)).astype(np.float32)

    return (places / (recipe.side - 1)).astype(np.float32), pictures


def pretrain_renderer(recipe, *, quiet=False):
    """Train the renderer (De-CoordConv) to draw what a coordinate means.

    Parameters
    ----------
    recipe : CentersSeedRecipe
    quiet : bool, optional
        No progress bar.

    Returns
    -------
    renderer : keras.Model
        See `calzoo.networks.centers_seed.seed_renderer`.
    accuracy : float
        Share of a fifth of the coordinates, which it was not trained on, whose highest pixel is within
        one pixel of the coordinate.
    """
    keras.utils.set_random_seed(recipe.seed)
    coordinates, pictures = render_targets(recipe)
    rng = np.random.default_rng(recipe.seed)
    order = rng.permutation(len(coordinates))
    held, learned = np.split(order, [len(order) // 5])
    model = seed_renderer(recipe.side, smeared=recipe.render == "smeared")
    model.compile(
        optimizer=keras.optimizers.Adam(1e-3, name="optimizer"),
        loss="categorical_crossentropy",
        jit_compile=False,
    )
    for _ in steps_bar(range(recipe.render_steps), quiet=quiet):
        rows = rng.choice(learned, 32)
        model.train_on_batch(coordinates[rows], pictures(rows))
    held = held[:200]
    drawn = predicted(model, coordinates[held]).argmax(axis=1)
    away = np.stack(np.divmod(drawn, recipe.side), axis=1) - coordinates[held] * (recipe.side - 1)
    # A part that was compiled would report its own loss in place of the whole network's.
    plain = seed_renderer(recipe.side, smeared=recipe.render == "smeared")
    plain.set_weights(model.get_weights())
    return plain, float((np.abs(away).max(axis=1) <= 1).mean())


@keras.saving.register_keras_serializable("calzoo")
class Similarity(layers.Layer):
    """Learnable coordinates, rendered and compared with the heat map: rows (row, column, similarity).

    Parameters
    ----------
    start : array-like of float, (N, 2)
        First coordinates in pixels.
    side : int
        Of the heat map.
    renderer : keras.Model
        Frozen.
    unit : float
        Pixels per unit of the variable.
    sparsity, threshold, black_white : float
        See `CentersSeedRecipe`.
    """

    def __init__(self, start, side, renderer, *, unit, sparsity, threshold, black_white, **options):
        super().__init__(**options)
        self.start, self.side, self.unit = np.asarray(start, np.float32), side, unit
        self.sparsity, self.threshold, self.black_white = sparsity, threshold, black_white
        self.renderer = renderer
        renderer.trainable = False

    def build(self, _=None):
        """Make the variable, (N, 2)."""
        self.raw = self.add_weight(
            shape=self.start.shape,
            initializer=lambda shape, dtype=None: ops.convert_to_tensor(self.start / self.unit, dtype),
            name="coordinates",
        )
        self.built = True

    def centers(self):
        """Return the coordinates in pixels, (N, 2), mirrored at the border."""
        return mirrored(self.raw * self.unit, (self.side, self.side))

    def call(self, heat):
        """Return the latent (B, N, 3) of heat maps (B, side, side, 1)."""
        places = self.centers() / (self.side - 1.0)
        drawn = self.renderer(places, training=False)  # (N, side * side)
        flat = ops.reshape(heat, (-1, self.side * self.side))
        similarity = ops.matmul(flat, ops.transpose(drawn))  # (B, N)
        if self.sparsity:
            self.add_loss(self.sparsity * self._mismatch(flat, similarity, drawn))
        if self.black_white:
            self.add_loss(self.black_white * ops.mean(ops.minimum(flat, 1 - flat)))
        spread = ops.ones_like(similarity)[..., None]
        return ops.concatenate([spread * places[None], similarity[..., None]], axis=-1)

    def _mismatch(self, heat, similarity, drawn):
        peaks = drawn / ops.max(drawn, axis=1, keepdims=True)
        target = ops.clip(ops.matmul(similarity, peaks), 0, 1)
        target = ops.stop_gradient(ops.where(target < self.threshold, 0.0, target))
        p = ops.clip(heat, 1e-6, 1 - 1e-6)
        return -ops.mean(target * ops.log(p) + (1 - target) * ops.log(1 - p))

    def compute_output_shape(self, shape):
        """Return (B, N, 3)."""
        return (shape[0], len(self.start), 3)


@dataclass(frozen=True)
class SeedFit:
    """What the authors' networks became on a recording.

    Attributes
    ----------
    model : keras.Model
        Frames (B, side, side, 1) to their reconstruction.
    frames : ndarray of float32, (T, side, side, 1)
        The recording, 0 to 1.
    points : ndarray of float64, (N, 2)
        Last coordinates in pixels of the recording's frames.
    trajectories : ndarray of float32, (S, N, 2)
    accuracy : float
        Of the renderer.
    history : list of float
        Loss of each step.
    """

    model: keras.Model
    frames: np.ndarray
    points: np.ndarray
    trajectories: np.ndarray
    accuracy: float
    history: list


def fit_seed(movie, recipe, *, quiet=False):
    """Fit the authors' networks to a recording.

    Parameters
    ----------
    movie : movie or ndarray, (T, Y, X)
        Change over the mean, as the authors had it, or anything else.
    recipe : CentersSeedRecipe
    quiet : bool, optional

    Returns
    -------
    SeedFit
    """
    movie = as_movie(movie, at_least=2)
    renderer, accuracy = pretrain_renderer(recipe, quiet=quiet)
    small = resample(movie, (recipe.side, recipe.side))
    frames = small.frames(0, movie.shape[0]).astype(np.float32)[..., None]
    frames = (frames - frames.min()) / max(float(np.ptp(frames)), 1e-9)
    rng = np.random.default_rng([recipe.seed, 1])
    start = rng.uniform(recipe.margin, recipe.side - 1 - recipe.margin, (recipe.count, 2))
    model = _whole(recipe, renderer, start)
    model.compile(
        optimizer=keras.optimizers.Adam(recipe.learning_rate, name="optimizer"),
        loss=reconstruction_loss(recipe.blur),
        jit_compile=False,
    )
    bottleneck, history = model.get_layer("latent"), []
    ways = [keras.ops.convert_to_numpy(bottleneck.centers())]
    for step in steps_bar(range(recipe.steps), quiet=quiet):
        batch = frames[rng.integers(0, len(frames), recipe.batch)]
        history.append(float(np.ravel(model.train_on_batch(batch, batch))[0]))
        if (step + 1) % max(recipe.steps // 40, 1) == 0:
            ways.append(keras.ops.convert_to_numpy(bottleneck.centers()))
    scale = np.array(movie.shape[1:]) / recipe.side
    ways = (np.stack(ways) + 0.5) * scale - 0.5
    return SeedFit(model, frames, ways[-1].astype(float), ways.astype(np.float32), accuracy, history)


def _whole(recipe, renderer, start):
    image = keras.Input((recipe.side, recipe.side, 1), name="image")
    heat = seed_encoder(recipe.side)(image)
    latent = Similarity(
        start,
        recipe.side,
        renderer,
        unit=recipe.coordinate_rate / recipe.learning_rate,  # Adam moves every variable by about its rate
        sparsity=recipe.sparsity,
        threshold=recipe.sparsity_threshold,
        black_white=recipe.black_white,
        name="latent",
    )(heat)
    frame = seed_decoder(recipe.side, count=recipe.count)(latent)
    return keras.Model(image, frame, name="seed_finder")


def latent_errors(fit, *, frames=16):
    """Measure what the decoder makes of latents that mean the same, or less.

    Parameters
    ----------
    fit : SeedFit
    frames : int, optional
        How many of the recording's.

    Returns
    -------
    dict of str to float
        Mean squared error of the reconstruction: ``"as it is"``; ``"sorted by row"``, the same
        points in another order; ``"half dropped"``, the entries of every second point set to 0.
    """
    encoder = fit.model.get_layer("seed_encoder")
    decoder = fit.model.get_layer("seed_decoder")
    batch = fit.frames[np.unique(np.linspace(0, len(fit.frames) - 1, frames).astype(int))]
    latent = keras.ops.convert_to_numpy(fit.model.get_layer("latent")(encoder(batch, training=False)))
    dropped = latent.copy()
    dropped[:, ::2] = 0
    variants = {
        "as it is": latent,
        "sorted by row": latent[:, np.argsort(latent[0, :, 0], kind="stable")],
        "half dropped": dropped,
    }
    return {
        name: float(np.mean((keras.ops.convert_to_numpy(decoder(values, training=False)) - batch) ** 2))
        for name, values in variants.items()
    }


def feature_maps(model, image, layer):
    """Return the channels of a layer for one picture, (Y, X, C).

    Parameters
    ----------
    model : keras.Model
        Functional.
    image : ndarray, (Y, X, C)
    layer : str
        Name of a layer with pictures as output.
    """
    part = keras.Model(model.input, model.get_layer(layer).output)
    return keras.ops.convert_to_numpy(part(np.asarray(image, np.float32)[None], training=False))[0]
