"""A 2-D U-Net that says where cells may be, from one to three pictures of a recording."""

import keras
import numpy as np
from keras import layers, ops

from calzoo.networks.sides import check_divisible

#: Pictures of a recording, in the order of the input's channels.
PICTURES = ("correlation", "brightness", "deviation")
#: Channels of the output.
TARGETS = ("soma", "border", "center")
#: Half width and standard deviation, in pixels, of the Gaussian that is applied twice along each axis.
_REACH, _SIGMA = 14, 7.0
#: Contrast below which a picture is taken as flat; pictures are normalised to about 0 to 1.
_FLAT = 0.02


def proposal(
    shape=(None, None), *, pictures=3, targets=3, filters=(16, 32, 64), bottom=96, kernel=3, dropout=0.0
):
    """Build a network that gives every pixel the probability of a cell, of its border and of its centre.

    A U-Net [1]_ on summary pictures [2]_. Inside, each picture is high-passed, and once
    more divided by its contrast within about a cell diameter, so that neither
    illumination nor brightness of a recording matter.

    Parameters
    ----------
    shape : tuple of (int or None), optional
        Rows and columns, multiples of ``2 ** len(filters)``; None is any such.
    pictures, targets : int, optional
        Channels of the input and of the output.
    filters : tuple of int, optional
        Channels of each level, finest first.
    bottom : int, optional
        Channels below the last pooling.
    kernel : int, optional
        Side of the convolutions, in pixels.
    dropout : float, optional
        Rate at which whole channels of the bottom are dropped in training.

    Returns
    -------
    keras.Model
        Input ``image``: float32, (B, Y, X, pictures), each about 0 to 1; cells are about 12 pixels wide.
        Input ``present``: float32, (B, pictures), 1 for each picture that there is, 0 where
        `image` holds zeros in its place.
        Output ``heat``: float32, (B, Y, X, targets), sigmoid.

    Raises
    ------
    ValueError
        If a side of `shape` is no multiple of the divisor.

    References
    ----------
    .. [1] Ronneberger et al., "U-Net", MICCAI 2015. arXiv:1505.04597
    .. [2] https://github.com/richard-warren/cellfie

    Examples
    --------
    >>> proposal((64, 96), filters=(4, 8), bottom=8).output_shape
    (None, 64, 96, 3)
    """
    check_divisible("proposal", shape, divisor(filters))
    image = keras.Input((*shape, pictures), name="image", dtype="float32")
    present = keras.Input((pictures,), name="present", dtype="float32")
    x = flattened(image, present, pictures)
    skips = []
    for level, width in enumerate(filters):
        x = conv_block(x, width, kernel, name=f"down{level}", present=None if level else present)
        skips.append(x)
        x = layers.MaxPooling2D(2, name=f"down{level}_pool")(x)
    x = conv_block(x, bottom, kernel, name="bottom")
    if dropout:
        x = layers.SpatialDropout2D(dropout, name="bottom_drop")(x)
    for level, width in reversed(list(enumerate(filters))):
        x = up_block(x, skips[level], width, kernel, name=f"up{level}")
    x = layers.Conv2D(targets, 1, name="logits")(x)
    # float32 also under mixed precision: the loss takes logarithms.
    heat = layers.Activation("sigmoid", dtype="float32", name="heat")(x)
    model = keras.Model([image, present], heat, name="proposal")
    set_gaussians(model)
    return model


def divisor(filters=(16, 32, 64)):
    """Return what both sides of a picture must be multiples of.

    Examples
    --------
    >>> divisor()
    8
    """
    return 2 ** len(filters)


def halo(filters=(16, 32, 64), kernel=3):
    """Return how far the network looks, in pixels.

    Parameters
    ----------
    filters : tuple of int, optional
        Of each level.
    kernel : int, optional
        Side of the convolutions.

    Returns
    -------
    int
        Results that lie nearer to the edge of a tile are not those of the whole picture.
    """
    reach, step = 0, 1
    for _ in filters:
        reach += 2 * (2 * (kernel // 2) * step) + step  # two blocks of two convolutions, one pooling
        step *= 2
    reach += 2 * (kernel // 2) * step
    return reach + 2 * 2 * _REACH


def flattened(image, present, pictures):
    """Return pictures without uneven light, and once more divided by their local contrast.

    Parameters
    ----------
    image : tensor, (B, Y, X, pictures)
    present : tensor, (B, pictures)
    pictures : int

    Returns
    -------
    tensor, (B, Y, X, 2 * pictures)
        0 in pictures that are not there.
    """
    ones = layers.Conv2D(
        1, 1, kernel_initializer="zeros", bias_initializer="ones", trainable=False, name="inside"
    )(image)
    inside = blurred(ones, name="inside")  # how much of the Gaussian lies inside of the picture
    level = layers.Multiply(name="level")([blurred(image, name="level"), 1 / inside])
    detail = layers.Subtract(name="detail")([image, level])
    power = blurred(ops.square(detail), name="power") / inside
    # Where noise and structure are both below _FLAT there is nothing to be enlarged.
    relative = detail / ops.sqrt(power + _FLAT**2)
    mask = layers.Reshape((1, 1, pictures), name="present_mask")(present)
    shown = [
        layers.Multiply(name=f"{name}_shown")([x, mask])
        for name, x in (("detail", detail), ("relative", relative))
    ]
    return layers.Concatenate(name="pictures")(shown)


def blurred(x, *, name):
    """Blur each channel with a fixed Gaussian, along one axis after the other.

    Beyond the edge there is nothing: divided by what becomes of ones, this is the mean of
    what lies inside of the picture, so that no edge is brighter than the rest. (To reflect
    the picture would do the same, but needs sides of some size and ten times the nodes in ONNX.)
    """
    for turn in (1, 2):
        for letter, size in (("y", (2 * _REACH + 1, 1)), ("x", (1, 2 * _REACH + 1))):
            x = Blur(
                size, padding="same", use_bias=False, trainable=False, name=f"{name}_blur{turn}{letter}"
            )(x)
    return x


@keras.saving.register_keras_serializable(package="calzoo")
class Blur(layers.DepthwiseConv2D):
    """A depthwise convolution that is a product of matrices while a network trains.

    Kernels of 29 x 1 pixels on three channels take a third of a training step on a processor; a
    banded matrix does the same in no time. What is exported stays a convolution.
    """

    def call(self, inputs, training=None):
        """Convolve along the longer axis of the kernel."""
        axis = int(np.argmax(self.kernel_size))
        side = inputs.shape[1 + axis]
        if not training or side is None:
            return super().call(inputs)
        offset = np.arange(side)[None] - np.arange(side)[:, None] + max(self.kernel_size) // 2
        inside = (offset >= 0) & (offset < max(self.kernel_size))
        taps = ops.reshape(self.kernel[..., 0], (-1, self.kernel.shape[2]))[:, 0]
        band = ops.take(taps, np.where(inside, offset, 0)) * ops.convert_to_tensor(inside, self.compute_dtype)
        return ops.einsum("ij,bjxc->bixc" if axis == 0 else "ij,byjc->byic", band, inputs)


def conv_block(x, filters, kernel, *, name, present=None):
    """Convolve, normalise and rectify twice; `present` shifts the first as pictures of ones would."""
    for step in (1, 2):
        x = layers.Conv2D(filters, kernel, padding="same", name=f"{name}_conv{step}")(x)
        if present is not None and step == 1:
            shift = layers.Dense(filters, use_bias=False, name=f"{name}_present")(present)
            shift = layers.Reshape((1, 1, filters), name=f"{name}_present_shape")(shift)
            x = layers.Add(name=f"{name}_present_add")([x, shift])
        x = layers.BatchNormalization(name=f"{name}_norm{step}")(x)
        x = layers.ReLU(name=f"{name}_relu{step}")(x)
    return x


def up_block(x, skip, filters, kernel, *, name):
    """Double the sides, join with the finer level and convolve twice."""
    # Kernel = stride: every pixel comes from one pixel below, so no size has to be computed in ONNX.
    x = layers.Conv2DTranspose(filters, 2, strides=2, name=f"{name}_expand")(x)
    x = layers.Concatenate(name=f"{name}_concat")([x, skip])
    return conv_block(x, filters, kernel, name=name)


def set_gaussians(model):
    """Give the fixed layers of `blurred` their weights.

    Parameters
    ----------
    model : keras.Model
        Changed in place.
    """
    line = np.exp(-0.5 * (np.arange(-_REACH, _REACH + 1) / _SIGMA) ** 2)
    for layer in model.layers:
        if "_blur" in layer.name:
            weights = (line / line.sum()).reshape(*layer.kernel_size, 1, 1)
            layer.set_weights([np.broadcast_to(weights, layer.kernel.shape)])
