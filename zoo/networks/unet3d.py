"""A 3-D U-Net for stacks whose planes may be thicker than their pixels are wide."""

import math

import keras
from keras import layers

from calzoo.networks.sides import check_divisible

#: Pooling (z, y, x) per level: planes are merged only where pixels have become as wide as planes are thick.
POOL = ((1, 2, 2), (1, 2, 2), (2, 2, 2), (2, 2, 2))

#: Arguments of `unet3d` that rebuild the network of the axon system's authors (133,952,755 parameters).
SEED = {
    "channels": 3,
    "filters": (64, 128, 256, 512, 512),
    "bottom": 512,
    "decoder": (256, 128, 64, 32, 16),
    "pool": ((2, 2, 2),) * 5,
    "kernel": 4,
    "dropout": (0.1, 0.1, 0.2, 0.2, 0.3, 0.5, 0.3, 0.2, 0.2, 0.1, 0.1),
}


def unet3d(
    shape=(None, None, None),
    *,
    channels=1,
    classes=3,
    filters=(16, 32, 64, 128),
    bottom=128,
    decoder=None,
    pool=POOL,
    kernel=3,
    dropout=None,
):
    """Build a network that gives every voxel of a stack a probability per class.

    A 3-D U-Net [1]_ with batch normalisation. Pooling is chosen per level and
    axis, so that stacks with thick planes keep their few planes.

    Parameters
    ----------
    shape : tuple of (int or None), optional
        Planes, rows and columns, multiples of ``divisor(pool)``; None is any such.
    channels, classes : int, optional
        Channels of the picture; classes that are told apart.
    filters : tuple of int, optional
        Channels of each level on the way down, finest first.
    bottom : int, optional
        Channels below the last pooling.
    decoder : tuple of int, optional
        Channels of each level on the way up, deepest first. By default those of
        the next finer level, so that a picture and its skip enter with equal
        channels.
    pool : tuple of tuple of int, optional
        Pooling (z, y, x) after each level.
    kernel : int, optional
        Side of the convolutions, in voxels.
    dropout : tuple of float, optional
        Rate after each block: the levels down, the bottom, the levels up. None: no dropout.

    Returns
    -------
    keras.Model
        Input ``image``: float32, (B, Z, Y, X, channels), normalised intensity.
        Output ``probability``: float32, (B, Z, Y, X, classes), softmax.

    Raises
    ------
    ValueError
        If the tuples differ in length or a side of `shape` is no multiple of the divisor.

    References
    ----------
    .. [1] Çiçek et al., "3D U-Net", MICCAI 2016. arXiv:1606.06650

    Examples
    --------
    >>> unet3d((8, 32, 64), filters=(4, 8), bottom=8, pool=((1, 2, 2), (2, 2, 2))).output_shape
    (None, 8, 32, 64, 3)
    """
    decoder = (*filters[-2::-1], filters[0]) if decoder is None else decoder
    dropout = (0.0,) * (2 * len(filters) + 1) if dropout is None else dropout
    _check_lengths(filters, decoder, pool, dropout)
    check_divisible("unet3d", shape, divisor(pool), sides="planes, rows and columns", what="stack")
    rates = iter(dropout)

    image = keras.Input((*shape, channels), name="image", dtype="float32")
    x = image
    skips = []
    for level, width in enumerate(filters):
        x = _block(x, width, kernel, next(rates), name=f"down{level}")
        skips.append(x)
        x = layers.MaxPooling3D(pool[level], name=f"down{level}_pool")(x)
    x = _block(x, bottom, kernel, next(rates), name="bottom")
    for level, width in zip(reversed(range(len(filters))), decoder, strict=True):
        # Kernel = stride: every voxel comes from one voxel below, so no size has to be computed in ONNX.
        x = layers.Conv3DTranspose(x.shape[-1], pool[level], strides=pool[level], name=f"up{level}_expand")(x)
        x = layers.Concatenate(name=f"up{level}_concat")([x, skips[level]])
        x = _block(x, width, kernel, next(rates), name=f"up{level}")
    x = layers.Conv3D(classes, 1, name="logits")(x)
    # float32 also under mixed precision: the sum over classes must be 1.
    probability = layers.Softmax(dtype="float32", name="probability")(x)
    return keras.Model(image, probability, name="unet3d")


def divisor(pool=POOL):
    """Return what each side of a stack must be a multiple of.

    Parameters
    ----------
    pool : tuple of tuple of int, optional
        Pooling (z, y, x) of each level.

    Returns
    -------
    tuple of int
        (z, y, x), in voxels.

    Examples
    --------
    >>> divisor()
    (4, 16, 16)
    """
    return tuple(math.prod(axis) for axis in zip(*pool, strict=True))


def halo(pool=POOL, kernel=3):
    """Return how far the network looks, along each axis: half of its receptive field.

    Results that lie nearer to the edge of a tile than this are not those of the
    whole stack. The reach depends on the place of a voxel within the pooling
    grid; the largest one is returned.

    Parameters
    ----------
    pool : tuple of tuple of int, optional
        Pooling (z, y, x) of each level.
    kernel : int, optional
        Side of the convolutions, in voxels.

    Returns
    -------
    tuple of int
        (z, y, x), in voxels.

    Examples
    --------
    >>> halo(((1, 2, 2),))
    (6, 9, 9)
    """
    axes = zip(*pool, strict=True)
    return tuple(max(_reach(x, axis, kernel) for x in range(math.prod(axis))) for axis in axes)


def _reach(x, pool, kernel):
    """Return the distance from output voxel `x` to the farthest input voxel that it depends on."""
    first, last = _sources(x, x, pool, kernel)
    return max(x - first, last - x)


def _sources(first, last, pool, kernel):
    """Return the interval of input voxels, on one axis, that output voxels `first` to `last` depend on."""
    before, after = 2 * ((kernel - 1) // 2), 2 * (kernel // 2)  # two convolutions, padding "same"
    first, last = first - before, last + after
    if not pool:
        return first, last
    # The way through the level below ends in this level's pooling; the skip is a part of it.
    deep_first, deep_last = _sources(first // pool[0], last // pool[0], pool[1:], kernel)
    return deep_first * pool[0] - before, (deep_last + 1) * pool[0] - 1 + after


def _block(x, filters, kernel, rate, *, name):
    """Convolve, normalise and rectify twice."""
    for step in (1, 2):
        x = layers.Conv3D(filters, kernel, padding="same", name=f"{name}_conv{step}")(x)
        x = layers.BatchNormalization(name=f"{name}_norm{step}")(x)
        x = layers.ReLU(name=f"{name}_relu{step}")(x)
    return layers.Dropout(rate, name=f"{name}_drop")(x) if rate else x


def _check_lengths(filters, decoder, pool, dropout):
    if not len(filters) == len(decoder) == len(pool) == (len(dropout) - 1) / 2:
        message = (
            "unet3d: filters, decoder and pool must have one entry per level and dropout one per block "
            f"(2 x levels + 1), got {len(filters)}, {len(decoder)}, {len(pool)} and {len(dropout)}."
        )
        raise ValueError(message)
