"""A classifier of calcium frames: which of K neurons were stimulated just before."""

import keras
from keras import layers, ops

#: Arguments of `stimulus` that rebuild the network of the authors' notebook (69,192,337 parameters).
SEED = {
    "shape": (512, 512),
    "cells": 24,
    "rest": False,
    "stem": 1,
    "filters": (16, 32, 64),
    "kernel": 5,
    "padding": "valid",
    "pool": "max",
    "grid": None,
    "hidden": (300,),
    "dropout": 0.0,
}

#: The variant that is drawn in the authors' thesis: narrower, with two hidden layers.
THESIS = {**SEED, "filters": (16, 16, 16), "hidden": (200, 100)}


def stimulus(
    shape=(None, None),
    *,
    cells=24,
    frames=1,
    rest=True,
    gain=4.0,
    stem=2,
    filters=(16, 16),
    kernel=5,
    padding="same",
    pool="average",
    grid=16,
    hidden=(256,),
    dropout=0.3,
):
    """Build a network that tells which neurons were stimulated before a frame.

    Several neurons may be stimulated at once, so every neuron has a logit of its own,
    and so has "no stimulus". Convolutions see what has changed since rest; a grid keeps
    where it happened; dense layers know which answers belong together.

    Parameters
    ----------
    shape : tuple of (int or None), optional
        Rows and columns; None is any, if there is a `grid`.
    cells : int, optional
        Neurons that can be stimulated (K).
    frames : int, optional
        Frames after the onset that are seen together.
    rest : bool, optional
        Whether a picture of the field at rest comes with the frames. Without, the
        network takes the intensities as they are.
    gain : float, optional
        Brings the noise of a pixel to about 1; see `Activity`.
    stem : int, optional
        Side of the squares of pixels that are averaged first.
    filters : tuple of int, optional
        Channels of the convolutions; the sides are halved after each, but not before a grid.
    kernel : int, optional
        Side of the convolutions.
    padding : {"same", "valid"}, optional
    pool : {"average", "max"}, optional
    grid : int, optional
        The features are averaged over the squares of a grid of this side; 1 averages
        over the whole frame, None keeps every pixel.
    hidden : tuple of int, optional
        Units of the dense layers between features and logits.
    dropout : float, optional
        Of the features and of each hidden layer.

    Returns
    -------
    keras.Model
        Input ``frame``: float32, (B, Y, X, frames + 1), the last channel the field at
        rest, all in the same units; (B, Y, X, frames) without `rest`.
        Output ``logits``: float32, (B, cells + 1), the last one "no stimulus".

    Raises
    ------
    ValueError
        If the sides are not known and there is no grid, or the frame is too small.

    Examples
    --------
    >>> stimulus(cells=8).output_shape
    (None, 9)
    """
    _check(shape, grid, stem, filters, kernel, padding)
    frame = keras.Input((*shape, frames + bool(rest)), name="frame", dtype="float32")
    x = Activity(gain, name="activity")(frame) if rest else frame
    if stem > 1:
        x = layers.AveragePooling2D(stem, name="stem")(x)
    pooling = {"average": layers.AveragePooling2D, "max": layers.MaxPooling2D}[pool]
    for level, width in enumerate(filters):
        last = level + 1 == len(filters)
        x = layers.Conv2D(width, kernel, padding=padding, name=f"conv{level}")(x)
        # A grid averages by itself, and what comes before it is a finer map.
        ends = last and grid
        x = layers.ReLU(name="features" if ends else f"conv{level}_relu")(x)
        if not ends:
            x = pooling(2, name="features" if last else f"conv{level}_pool")(x)
    x = Grid(grid, name="grid")(x)
    for number, units in enumerate(hidden):
        x = layers.Dropout(dropout, name=f"hidden{number}_drop")(x) if dropout else x
        x = layers.Dense(units, activation="relu", name=f"hidden{number}")(x)
    x = layers.Dropout(dropout, name="logits_drop")(x) if dropout else x
    logits = layers.Dense(cells + 1, dtype="float32", name="logits")(x)
    return keras.Model(frame, logits, name="stimulus")


@keras.saving.register_keras_serializable("calzoo")
class Activity(layers.Layer):
    """What has changed since rest, in units of the noise.

    Each channel is divided by its mean magnitude over the frame, which undoes bleaching
    and dimmer light; the difference to rest is divided by the square root of rest, as
    photons scatter by the square root of their number.

    Parameters
    ----------
    gain : float
        Brings the noise of a pixel to about 1.
    """

    def __init__(self, gain=4.0, **options):
        super().__init__(**options)
        self.gain = gain

    def call(self, x):
        """Return (B, Y, X, C - 1) of (B, Y, X, C), whose last channel is the field at rest."""
        level = ops.mean(ops.abs(x), axis=(1, 2), keepdims=True)
        scaled = x / ops.maximum(level, 1e-6)
        # Darker pixels than a tenth of the mean hold next to no photons.
        still = ops.maximum(scaled[..., -1:], 0.1)
        return self.gain * (scaled[..., :-1] - still) / ops.sqrt(still)

    def compute_output_shape(self, input_shape):
        """Return the shape without the picture at rest."""
        return (*input_shape[:-1], input_shape[-1] - 1)

    def get_config(self):
        """Return what rebuilds the layer."""
        return {**super().get_config(), "gain": self.gain}


@keras.saving.register_keras_serializable("calzoo")
class Grid(layers.Layer):
    """Averages over the squares of a grid, whatever the size of the frame, as one row.

    Parameters
    ----------
    side : int or None
        Squares along each side; None keeps every pixel.
    """

    def __init__(self, side=16, **options):
        super().__init__(**options)
        self.side = side

    def call(self, x):
        """Return (B, C * side * side) of (B, Y, X, C): channel by channel, row by row."""
        x = ops.transpose(x, (0, 3, 1, 2))
        if self.side is not None:
            rows, columns = (share_matrix(ops.shape(x)[axis], self.side) for axis in (2, 3))
            x = ops.matmul(ops.matmul(rows, x), ops.transpose(columns))  # (B, C, side, side)
        return ops.reshape(x, (-1, self.compute_output_shape((None, *_last(x.shape)))[1]))

    def compute_output_shape(self, input_shape):
        """Return the shape of the rows."""
        rows, columns = (self.side, self.side) if self.side else input_shape[1:3]
        return (input_shape[0], input_shape[3] * rows * columns)

    def get_config(self):
        """Return what rebuilds the layer."""
        return {**super().get_config(), "side": self.side}


def share_matrix(length, side):
    """Return which share of each square comes from each pixel along one axis.

    Parameters
    ----------
    length : int or tensor of int, ()
        Pixels (n), also fewer than there are squares.
    side : int
        Squares.

    Returns
    -------
    tensor of float32, (side, n)
        Each row sums to 1: times a column of pixels, the means of the squares.
    """
    pixels = ops.cast(ops.arange(length), "float32")
    width = ops.cast(length, "float32") / side
    squares = ops.cast(ops.arange(side), "float32")
    first, last = (squares * width)[:, None], ((squares + 1) * width)[:, None]
    overlap = ops.minimum(last, pixels + 1) - ops.maximum(first, pixels)
    return ops.maximum(overlap, 0.0) / width


def _last(shape):
    return (*shape[2:], shape[1])


def _check(shape, grid, stem, filters, kernel, padding):
    if grid is None and None in shape:
        message = (
            f"stimulus: without a grid the sides of the frame must be known, got shape={tuple(shape)}. "
            "Give both sides in pixels, or a grid such as grid=16."
        )
        raise ValueError(message)
    for side in shape:
        left = side and side // stem
        for _ in filters:
            left = left and (left - (kernel - 1 if padding == "valid" else 0)) // 2
        if left is not None and left < 1:
            message = (
                f"stimulus: a side of {side} pixels leaves nothing after {len(filters)} halvings; use larger "
                "frames, fewer filters or a smaller stem."
            )
            raise ValueError(message)
