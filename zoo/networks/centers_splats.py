"""Analysis by synthesis: frames are rebuilt from spots of light at learnable coordinates alone."""

import keras
import numpy as np
from keras import layers, ops


@keras.saving.register_keras_serializable("calzoo")
class Splats(layers.Layer):
    """Rebuild frames as a sum of spots and a smooth background.

    Each of N coordinates is drawn as a Gaussian, less its own surroundings as they are missing in
    band-passed frames. How bright the spots are in a frame, s(t), is the least-squares
    solution and never negative; light that no spot explains goes into a few smooth
    waves. So the order of the coordinates means nothing, and a frame can be rebuilt
    only by moving coordinates onto sources. The gradient reaches as far as the
    Gaussian, whose width is annealed.

    Parameters
    ----------
    start : array-like of float, (N, 2)
        First coordinates (y, x) in pixels. They are mirrored at the border.
    frame_shape : tuple of int
        Height and width of the frames.
    sigma : float
        Standard deviation of a spot in pixels; assign to ``self.sigma`` to anneal it.
    surround : float, optional
        Standard deviation of the Gaussian that was subtracted from the frames; 0: none.
    waves : int, optional
        Cosines of the background along each axis; 0: no background.
    radius : float
        Coordinates nearer to each other than this, in pixels, repel.
    repulsion, sparsity : float, optional
        Weight of the repulsion, and of the mean of s(t), in the loss.
    ridge : float, optional
        Of the least squares, relative to the energy of a spot.
    leash : float, optional
        How far coordinates may get from where they begin, along each axis, in pixels; 0: anywhere.

    Examples
    --------
    >>> spots = Splats([[3, 4]], (8, 10), sigma=1.0, radius=2.0)
    >>> tuple(spots(np.ones((2, 8, 10, 1))).shape)
    (2, 8, 10, 1)
    """

    def __init__(
        self,
        start,
        frame_shape,
        *,
        sigma,
        radius,
        surround=0.0,
        waves=3,
        repulsion=0.0,
        sparsity=0.0,
        ridge=1e-2,
        leash=0.0,
        **options,
    ):
        super().__init__(**options)
        self.start = np.asarray(start, float).reshape(-1, 2).tolist()
        self.frame_shape = tuple(int(side) for side in frame_shape)
        self.first_sigma, self.radius, self.surround = float(sigma), float(radius), float(surround)
        self.waves, self.repulsion, self.sparsity, self.ridge = int(waves), repulsion, sparsity, ridge
        self.leash = float(leash)
        self._background = _cosines(self.frame_shape, self.waves)

    def build(self, _=None):
        """Make the coordinates (N, 2), which learn, and sigma, which does not."""
        self.coordinates = self.add_weight(
            shape=(len(self.start), 2),
            initializer=lambda shape, dtype=None: ops.convert_to_tensor(self.start, dtype),
            name="coordinates",
        )
        self.sigma = self.add_weight(
            shape=(), initializer=keras.initializers.Constant(self.first_sigma), trainable=False, name="sigma"
        )
        self.built = True

    def centers(self):
        """Return the coordinates inside the frame, (N, 2): mirrored at the border, so gradients live on."""
        places = self.coordinates
        if self.leash:
            start = ops.convert_to_tensor(self.start, "float32")
            places = start + self.leash * ops.tanh((places - start) / self.leash)
        return mirrored(places, self.frame_shape)

    def render(self):
        """Return a picture of each spot, (N, Y * X)."""
        centers = self.centers()
        spot = self._gaussians(centers, self.sigma)
        if self.surround:
            wide = ops.sqrt(self.sigma**2 + self.surround**2)
            spot = spot - (self.sigma / wide) ** 2 * self._gaussians(centers, wide)
        return spot

    def _gaussians(self, centers, sigma):
        sides = []
        for axis, side in enumerate(self.frame_shape):
            away = ops.arange(side, dtype="float32")[None] - centers[:, axis : axis + 1]
            sides.append(ops.exp(-0.5 * (away / sigma) ** 2))
        picture = sides[0][:, :, None] * sides[1][:, None, :]
        return ops.reshape(picture, (len(self.start), -1))

    def solve(self, frames):
        """Return what rebuilds frames best.

        Parameters
        ----------
        frames : tensor, (B, Y, X, 1)

        Returns
        -------
        weights : tensor, (B, N)
            Of the spots, of either sign: s(t) is what is above 0.
        spots : tensor, (N, Y * X)
        waves : tensor, (B, K)
            Weights of the pictures of the background.
        """
        flat = ops.reshape(ops.cast(frames, "float32"), (-1, self.frame_shape[0] * self.frame_shape[1]))
        spots = self.render()
        basis = ops.concatenate([spots, ops.convert_to_tensor(self._background)], axis=0)
        gram = ops.matmul(basis, ops.transpose(basis))
        size = len(self.start) + len(self._background)
        damp = self.ridge * ops.mean(ops.diagonal(gram)[: len(self.start)])
        weights = ops.transpose(
            ops.linalg.solve(gram + damp * ops.eye(size), ops.matmul(basis, ops.transpose(flat)))
        )
        return weights[:, : len(self.start)], spots, weights[:, len(self.start) :]

    def call(self, frames):
        """Return the rebuilt frames, (B, Y, X, 1)."""
        weights, spots, waves = self.solve(frames)
        s = ops.relu(weights)
        if self.sparsity:
            self.add_loss(self.sparsity * ops.mean(s))
        if self.repulsion:
            self.add_loss(self.repulsion * self.crowding())
        rebuilt = ops.matmul(s, spots)
        if self.waves:
            rebuilt = rebuilt + ops.matmul(waves, ops.convert_to_tensor(self._background))
        return ops.reshape(rebuilt, (-1, *self.frame_shape, 1))

    def crowding(self):
        """Return the mean over coordinates of how far others intrude into their radius, 0 to about 1."""
        centers = self.centers()
        apart = ops.sum((centers[:, None] - centers[None]) ** 2, axis=-1)
        apart = ops.sqrt(apart + 1e-6) + self.radius * ops.eye(len(self.start))
        return ops.sum(ops.relu(1 - apart / self.radius) ** 2) / len(self.start)

    def compute_output_shape(self, shape):
        """Return the shape of the frames."""
        return shape

    def get_config(self):
        """Return the arguments."""
        return {
            **super().get_config(),
            "start": self.start,
            "frame_shape": self.frame_shape,
            "sigma": self.first_sigma,
            "radius": self.radius,
            "surround": self.surround,
            "waves": self.waves,
            "repulsion": self.repulsion,
            "sparsity": self.sparsity,
            "ridge": self.ridge,
            "leash": self.leash,
        }


def mirrored(coordinates, shape):
    """Return coordinates mirrored at the border of the frame.

    Clipping, as the authors of the centre finder had it, has no gradient: what reached the border
    stayed there.

    Parameters
    ----------
    coordinates : tensor, (N, 2)
        (y, x) in pixels, anywhere.
    shape : tuple of int
        Height and width of the frame.
    """
    last = ops.convert_to_tensor([max(side - 1.0, 1e-3) for side in shape], "float32")
    return last - ops.abs(last - ops.mod(coordinates, 2 * last))


def splat_autoencoder(start, frame_shape, **options):
    """Build the network that a recording is fitted with.

    Parameters
    ----------
    start : array-like of float, (N, 2)
    frame_shape : tuple of int
    **options
        Of `Splats`.

    Returns
    -------
    keras.Model
        Input ``frames``: float32, (B, Y, X, 1), band-passed. Output ``rebuilt``: the same shape.
    """
    frames = keras.Input((*frame_shape, 1), name="frames")
    rebuilt = Splats(start, frame_shape, name="rebuilt", **options)(frames)
    return keras.Model(frames, rebuilt, name="splat_autoencoder")


def _cosines(shape, waves):
    """Return the smooth pictures of the background, (K, Y * X), each of norm 1."""
    rows, columns = (
        np.cos(np.pi * np.arange(waves)[:, None] * (np.arange(side) + 0.5) / side) for side in shape
    )
    pictures = np.einsum("ay,bx->abyx", rows, columns).reshape(waves * waves, shape[0] * shape[1])
    norms = np.sqrt((pictures**2).sum(axis=1, keepdims=True))
    return (pictures / np.maximum(norms, 1e-9)).astype(np.float32)
