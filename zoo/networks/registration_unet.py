"""The registration network that the idea's author described: a U-Net on the pair, fields at three levels."""

import keras
from keras import layers

from calzoo.networks.sampling import PixelGrid, Stretch, Warp, follow

#: Arguments of `registration_unet` as reconstructed from the report (910,374 parameters).
SEED = {"filters": (16, 32, 64, 96, 128)}


def registration_unet(shape=(None, None), *, filters=(16, 32, 64, 96, 128)):
    """Build a U-Net [1]_ that predicts the flow between two pictures, from coarse to fine.

    The deepest level gives the flow of the whole, each of the two finer ones a residual after the
    moving picture's features were looked up by the coarser flow [2]_.

    Parameters
    ----------
    shape : tuple of int or None, optional
        Height and width in pixels, multiples of ``2 ** (len(filters) - 1)``.
    filters : tuple of int, optional
        Channels of each level, finest first; at least three.

    Returns
    -------
    keras.Model
        Inputs ``frame`` and ``template``, float32, (B, Y, X, 1), of about unit variance. Outputs ``flow``,
        float32, (B, Y, X, 2), (dy, dx) in pixels: what is at template(y, x) is found at
        frame(y + dy, x + dx); ``registered``, float32, (B, Y, X, 1).

    Raises
    ------
    ValueError
        If a side is no multiple of the divisor, or there are too few levels.

    References
    ----------
    .. [1] Ronneberger et al., "U-Net", MICCAI 2015. arXiv:1505.04597
    .. [2] Hui et al., "LiteFlowNet", CVPR 2018. arXiv:1805.07036

    Examples
    --------
    >>> registration_unet((32, 64), filters=(2, 2, 2, 2)).output_shape
    [(None, 32, 64, 2), (None, 32, 64, 1)]
    """
    _check(shape, filters)
    frame = keras.Input((*shape, 1), name="frame", dtype="float32")
    template = keras.Input((*shape, 1), name="template", dtype="float32")
    x = layers.Concatenate(name="pair")([frame, template])
    skips = []
    for level, width in enumerate(filters):
        x = _block(x, width, 2 if level else 1, name=f"down{level}")
        skips.append(x)
    flow = None
    last = len(filters) - 1
    for level in (last, last - 1, last - 2):
        if level < last:
            x = layers.Conv2DTranspose(filters[level], 2, strides=2, name=f"up{level}_expand")(x)
            finer = Stretch((2, 2), name=f"up{level}_flow")(flow)
            # Flow is in pixels of the pictures at every level.
            grid = PixelGrid(name=f"up{level}_grid")(finer)
            looked_up = Warp(name=f"up{level}_warp")(skips[level], *follow(grid, finer / 2**level))
            x = layers.Concatenate(name=f"up{level}_concat")([x, looked_up, finer])
            x = _block(x, filters[level], 1, name=f"up{level}")
        change = layers.Conv2D(2, 3, padding="same", kernel_initializer="zeros", name=f"field{level}")(x)
        flow = change if flow is None else finer + change
    flow = Stretch((2**level,) * 2, name="flow")(flow)
    registered = Warp(name="registered")(frame, *follow(PixelGrid(name="pixels")(frame), flow))
    return keras.Model([frame, template], [flow, registered], name="registration_unet")


def _block(x, filters, stride, *, name):
    """Convolve and rectify twice, the first time with a stride."""
    for step in (1, 2):
        strides = stride if step == 1 else 1
        x = layers.Conv2D(filters, 3, strides=strides, padding="same", name=f"{name}_conv{step}")(x)
        x = layers.LeakyReLU(0.1, name=f"{name}_relu{step}")(x)
    return x


def _check(shape, filters):
    step = 2 ** (len(filters) - 1)
    if len(filters) < 3 or any(side is not None and side % step for side in shape):
        message = (
            f"registration_unet: filters need at least three levels, sides must be multiples of {step}, got "
            f"filters={tuple(filters)}, shape={tuple(shape)}. Pad the frames, or leave sides None."
        )
        raise ValueError(message)
