"""Layers that tell convolutions where they are, and small layers that keep borders and sizes right.

All of them take any size, write themselves into ONNX with ONNX's own operators, and
have no weights.
"""

import keras
from keras import layers, ops


@keras.saving.register_keras_serializable("calzoo")
class AddCoords(layers.Layer):
    """Append the position of each pixel to its channels.

    Rows and columns run from -1 to 1 each, so that a pixel of a frame that is not
    square gets the same pair wherever the same share of the frame lies above and
    beside it. (The authors of the centre finder divided both by the rows.)

    Parameters
    ----------
    radius : bool, optional
        Append the distance from the middle too, sqrt(y**2 + x**2).

    References
    ----------
    .. [1] Liu et al., "An intriguing failing of convolutional neural networks and the CoordConv
       solution", NeurIPS 2018. arXiv:1807.03247

    Examples
    --------
    >>> import numpy as np
    >>> keras.ops.convert_to_numpy(AddCoords()(np.zeros((1, 3, 2, 1))))[0, :, 0, 1].tolist()
    [-1.0, 0.0, 1.0]
    """

    def __init__(self, radius=False, **options):
        super().__init__(**options)
        self.radius = radius

    def call(self, image):
        """Return (B, Y, X, C + 2) of (B, Y, X, C), or C + 3 with the radius."""
        ones = ops.ones_like(image[..., :1])
        rows, columns = _ramp(ones, 1), _ramp(ones, 2)
        channels = [image, rows, columns]
        if self.radius:
            channels.append(ops.sqrt(rows * rows + columns * columns))
        return ops.concatenate(channels, axis=-1)

    def compute_output_shape(self, shape):
        """Return the shape with two or three channels more."""
        return (*shape[:-1], shape[-1] + 2 + self.radius)

    def get_config(self):
        """Return the arguments."""
        return {**super().get_config(), "radius": self.radius}


def _ramp(ones, axis):
    """Return -1 to 1 along an axis, 0 where it has one pixel. Counting by sums needs no size in ONNX."""
    count = ops.cumsum(ones, axis=axis) - 1
    last = ops.max(count, axis=axis, keepdims=True)
    return (2 * count - last) / ops.maximum(last, 1)


def coord_conv(x, filters, kernel, *, radius=False, name, **options):
    """Convolve an image together with the position of each pixel.

    Parameters
    ----------
    x : tensor, (B, Y, X, C)
    filters, kernel : int
    radius : bool, optional
        See `AddCoords`.
    name : str
        Of the convolution.
    **options
        Of `keras.layers.Conv2D`.
    """
    x = AddCoords(radius, name=f"{name}_coords")(x)
    return layers.Conv2D(filters, kernel, name=name, **options)(x)


@keras.saving.register_keras_serializable("calzoo")
class EdgePad(layers.Layer):
    """Repeat the outermost pixels once on each side: mirroring by one pixel is the same."""

    def call(self, image):
        """Return (B, Y + 2, X + 2, C)."""
        image = ops.concatenate([image[:, :1], image, image[:, -1:]], axis=1)
        return ops.concatenate([image[:, :, :1], image, image[:, :, -1:]], axis=2)

    def compute_output_shape(self, shape):
        """Return the shape with two rows and columns more."""
        return (shape[0], *(side and side + 2 for side in shape[1:3]), shape[3])


@keras.saving.register_keras_serializable("calzoo")
class BlurPool(layers.Layer):
    """Blur with (1, 2, 1) / 4 along both sides and keep every second pixel: halving without aliasing.

    References
    ----------
    .. [1] Zhang, "Making convolutional networks shift-invariant again", ICML 2019. arXiv:1904.11486
    """

    def call(self, image):
        """Return (B, Y / 2, X / 2, C); sides are even."""
        image = EdgePad()(image)
        rows = 0.25 * (image[:, 0:-2:2] + image[:, 2::2]) + 0.5 * image[:, 1:-1:2]
        return 0.25 * (rows[:, :, 0:-2:2] + rows[:, :, 2::2]) + 0.5 * rows[:, :, 1:-1:2]

    def compute_output_shape(self, shape):
        """Return the shape with half the rows and columns."""
        return (shape[0], *(side and side // 2 for side in shape[1:3]), shape[3])
