"""Layers that look images up elsewhere: warping, interpolation between grids, gradients.

All are written in `keras.ops`, so that they train on every backend. Where ONNX has an
operator of its own (GridSample), `calzoo.export` puts it in their place.

Positions are in pixels. They come as two pictures, y and x: runtimes are slow where numbers alternate.
"""

import keras
import numpy as np
from keras import layers, ops


@keras.saving.register_keras_serializable(package="calzoo")
class Warp(layers.Layer):
    """Look up an image at given positions, bilinearly; outside, the nearest pixel counts.

    Call it with an image (B or 1, H, W, C) and the positions' y and x, each (B, H', W', 1); the
    result is (B, H', W', C).
    """

    def call(self, image, y, x):
        """Return the image at the positions."""
        shape = ops.shape(image)
        height, width, channels = shape[1], shape[2], image.shape[-1]
        batch, rows, columns = ops.shape(y)[:3]
        y = ops.clip(y, 0.0, ops.cast(height - 1, "float32"))
        x = ops.clip(x, 0.0, ops.cast(width - 1, "float32"))
        top, left = ops.floor(y), ops.floor(x)
        part_y, part_x = y - top, x - left
        top, left = ops.cast(top, "int32"), ops.cast(left, "int32")
        bottom, right = ops.minimum(top + 1, height - 1), ops.minimum(left + 1, width - 1)
        # One template may serve a batch of frames.
        image = ops.reshape(image, (-1, height * width, channels)) * ops.ones_like(y[:, :1, :1, 0])

        def pixels(row, column):
            index = ops.reshape(row * width + column, (batch, rows * columns, 1))
            return ops.reshape(ops.take_along_axis(image, index, axis=1), (batch, rows, columns, channels))

        above = pixels(top, left) * (1 - part_x) + pixels(top, right) * part_x
        below = pixels(bottom, left) * (1 - part_x) + pixels(bottom, right) * part_x
        return above * (1 - part_y) + below * part_y

    def compute_output_shape(self, image_shape, y_shape, x_shape):
        """Return the shape of the result."""
        return (*y_shape[:3], image_shape[-1])


@keras.saving.register_keras_serializable(package="calzoo")
class PixelGrid(layers.Layer):
    """Return the rows and columns of the pixels of an image (B, H, W, C): (1, H, 1, 1) and (1, 1, W, 1)."""

    def call(self, image):
        """Return rows and columns."""
        height, width = ops.shape(image)[1:3]
        rows = ops.cast(ops.arange(height), "float32")[None, :, None, None]
        return rows, ops.cast(ops.arange(width), "float32")[None, None, :, None]

    def compute_output_shape(self, image_shape):
        """Return the shapes of both results."""
        return (1, image_shape[1], 1, 1), (1, 1, image_shape[2], 1)


@keras.saving.register_keras_serializable(package="calzoo")
class Inside(layers.Layer):
    """Tell which positions, y and x of (B, H', W', 1), lie inside an image (B, H, W, C): 1 or 0."""

    def call(self, image, y, x):
        """Return 1 where the position is inside."""
        middle_y, middle_x = (0.5 * ops.cast(side - 1, "float32") for side in ops.shape(image)[1:3])
        inside = ops.logical_and(ops.abs(y - middle_y) <= middle_y, ops.abs(x - middle_x) <= middle_x)
        return ops.cast(inside, "float32")

    def compute_output_shape(self, image_shape, y_shape, x_shape):
        """Return the shape of the result."""
        return y_shape


@keras.saving.register_keras_serializable(package="calzoo")
class Trust(layers.Layer):
    """Weigh a pixel by what is seen and by how it differs: sigmoid(a + b value + c |difference|).

    Light has noise in proportion to its root, and what differs much is not tissue that moved.
    """

    def build(self, value_shape, difference_shape):
        """Make the three numbers."""
        for name in ("always", "value", "difference"):
            setattr(self, name, self.add_weight(shape=(), initializer="zeros", name=name))

    def call(self, value, difference):
        """Return the weights, in the shape of `value`."""
        return ops.sigmoid(self.always + self.value * value + self.difference * ops.abs(difference))

    def compute_output_shape(self, value_shape, difference_shape):
        """Return the shape of the result."""
        return value_shape


@keras.saving.register_keras_serializable(package="calzoo")
class Stretch(layers.Layer):
    """Interpolate a grid (B, h, w, C) linearly to one that is `factor` (y, x) times as fine.

    Each cell is a square of finer ones and its value stands at the middle; beyond the
    middle of the outermost cells their values go on.

    Parameters
    ----------
    factor : tuple of int
        (y, x).
    """

    def __init__(self, factor, **kwargs):
        super().__init__(**kwargs)
        self.factor = tuple(factor)

    def call(self, grid):
        """Return the finer grid."""
        height, width = ops.shape(grid)[1:3]
        # Products with two sparse matrices: resizing to a size that is not known fails in tracing.
        result = ops.transpose(grid, (0, 3, 1, 2))
        if self.factor[0] > 1:
            result = ops.matmul(_hats(height, self.factor[0]), result)
        if self.factor[1] > 1:
            result = ops.matmul(result, ops.transpose(_hats(width, self.factor[1])))
        return ops.transpose(result, (0, 2, 3, 1))

    def compute_output_shape(self, grid_shape):
        """Return the shape of the result."""
        sides = (s and s * f for s, f in zip(grid_shape[1:3], self.factor, strict=True))
        return (grid_shape[0], *sides, grid_shape[3])

    def get_config(self):
        """Return the arguments."""
        return super().get_config() | {"factor": self.factor}


@keras.saving.register_keras_serializable(package="calzoo")
class Gradient(layers.Layer):
    """Return the central differences of every channel, (B, H, W, 2 C): along y, then along x.

    Across the edge they are 0.
    """

    def call(self, image):
        """Return the derivatives."""
        channels = image.shape[-1]
        kernel = np.zeros((3, 3, channels, 2 * channels), np.float32)
        for c in range(channels):
            kernel[[0, 2], 1, c, c] = -0.5, 0.5
            kernel[1, [0, 2], c, channels + c] = -0.5, 0.5
        # One convolution is faster than shifts and differences.
        padded = ops.pad(image, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="reflect")
        return ops.conv(padded, ops.convert_to_tensor(kernel), padding="valid")

    def compute_output_shape(self, image_shape):
        """Return the shape of the result."""
        return (*image_shape[:3], 2 * image_shape[3])


def follow(grid, motion):
    """Return the positions, y and x, (B, h, w, 1) each, that a motion points at from every pixel.

    Parameters
    ----------
    grid : pair of tensor
        Rows and columns, from `PixelGrid`.
    motion : tensor, shape (B, h, w, 2)
        (dy, dx) in pixels of the grid.

    Returns
    -------
    tuple of tensor
    """
    along_y, along_x = ops.split(motion, 2, axis=-1)
    # In this order: keras.ops.add on TensorFlow takes a second summand with one long axis, as columns
    # are, for the bias of a convolution and adds it along axis 1 if that is as long: in square pictures
    # columns would count rows (keras-team/keras#20386, still so in Keras 3.15.1).
    return grid[0] + along_y, grid[1] + along_x


def _hats(size, factor):
    """Return the matrix (size * factor, size) of a linear interpolation."""
    fine = (ops.cast(ops.arange(size * factor), "float32")[:, None] + 0.5) / factor - 0.5
    coarse = ops.cast(ops.arange(size), "float32")[None, :]
    inside = ops.clip(fine, 0.0, ops.cast(size - 1, "float32"))
    return ops.relu(1 - ops.abs(inside - coarse))
