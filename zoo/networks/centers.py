"""Finds the centres of cells in what a window of a movie shows."""

import keras
from keras import layers

from calzoo.networks.coordconv import AddCoords, BlurPool
from calzoo.networks.sides import check_divisible


def centers_encoder(
    shape=(None, None), *, channels=7, filters=(24, 32, 48), bottom=64, coords=False, blur_pool=False
):
    """Build the network that turns the pictures of a window into a heat map of centres.

    A U-Net with batch normalisation, at one scale: on its pixels a cell is about 8
    wide, so the deepest level sees a cell with its neighbours.

    Parameters
    ----------
    shape : tuple of (int or None), optional
        Rows and columns, multiples of ``divisor(filters)``; None is any such.
    channels : int, optional
        Pictures of the window.
    filters : tuple of int, optional
        Channels of each level on the way down, finest first.
    bottom : int, optional
        Channels below the last pooling.
    coords : bool, optional
        Tell the first convolution where it is (CoordConv). Cells look the same everywhere,
        so the default does not.
    blur_pool : bool, optional
        Pool by `calzoo.networks.coordconv.BlurPool` in place of the maximum.

    Returns
    -------
    keras.Model
        Input ``pictures``: float32, (B, Y, X, channels). Output ``heat``: float32, (B, Y, X, 3): the
        probability that a centre lies here, the probability that a body covers the pixel,
        and the radius of the cell whose centre lies here, in pixels.

    Raises
    ------
    ValueError
        If a side of `shape` is no multiple of the divisor.

    Examples
    --------
    >>> centers_encoder((64, 96)).output_shape
    (None, 64, 96, 3)
    """
    check_divisible("centers_encoder", shape, divisor(filters))
    pictures = keras.Input((*shape, channels), name="pictures", dtype="float32")
    x = AddCoords(name="coords")(pictures) if coords else pictures
    skips = []
    for level, width in enumerate(filters):
        x = _block(x, width, name=f"down{level}")
        skips.append(x)
        pool = BlurPool if blur_pool else layers.MaxPooling2D
        x = pool(name=f"down{level}_pool")(x)
    x = _block(x, bottom, name="bottom")
    for level in reversed(range(len(filters))):
        # Kernel = stride: every pixel comes from one pixel below, so no size has to be computed in ONNX.
        x = layers.Conv2DTranspose(filters[level], 2, strides=2, name=f"up{level}_expand")(x)
        x = layers.Concatenate(name=f"up{level}_concat")([x, skips[level]])
        x = _block(x, filters[level], name=f"up{level}")
    # Centres are rare: from the start the answer is "none here", or the first steps learn only that.
    rare = keras.initializers.Constant(-4.0)
    center = layers.Conv2D(1, 1, bias_initializer=rare, name="center_logits")(x)
    body = layers.Conv2D(1, 1, name="body_logits")(x)
    radius = layers.Conv2D(1, 1, bias_initializer=keras.initializers.Constant(4.0), name="radius_raw")(x)
    heat = layers.Concatenate(name="heat", dtype="float32")(
        [
            layers.Activation("sigmoid", dtype="float32", name="center")(center),
            layers.Activation("sigmoid", dtype="float32", name="body")(body),
            layers.Activation("softplus", dtype="float32", name="radius")(radius),
        ]
    )
    return keras.Model(pictures, heat, name="centers_encoder")


def divisor(filters=(24, 32, 48)):
    """Return what each side of the pictures must be a multiple of.

    Examples
    --------
    >>> divisor()
    8
    """
    return 2 ** len(filters)


def halo(filters=(24, 32, 48)):
    """Return how far the network looks, in pixels: half of its receptive field.

    Examples
    --------
    >>> halo((8,))
    9
    """
    depth = len(filters)
    return max(max(x - first, last - x) for x in range(2**depth) for first, last in [_sources(x, x, depth)])


def _sources(first, last, depth):
    """Return the interval of input pixels, on one axis, that output pixels `first` to `last` depend on."""
    first, last = first - 2, last + 2  # two convolutions
    if depth == 0:
        return first, last
    deep_first, deep_last = _sources(first // 2, last // 2, depth - 1)
    return 2 * deep_first - 2, 2 * deep_last + 1 + 2


def _block(x, filters, *, name):
    """Convolve, normalise and rectify twice."""
    for step in (1, 2):
        x = layers.Conv2D(filters, 3, padding="same", use_bias=False, name=f"{name}_conv{step}")(x)
        x = layers.BatchNormalization(name=f"{name}_norm{step}")(x)
        x = layers.ReLU(name=f"{name}_relu{step}")(x)
    return x
