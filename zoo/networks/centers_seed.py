"""The networks of the authors of the centre finder, layer by layer: encoder, renderer, decoder.

Built to be compared with and tested, not to be used: the defaults of calzoo are
`calzoo.networks.centers` and `calzoo.networks.centers_splats`.

References
----------
.. [1] T. Lin, "Data analysis for single-photon calcium imaging with deep learning", report, 2020.
   https://github.com/twpkevin06222/Data-Analysis-for-Single-Photon-Calcium-Imaging-with-Deep-Learning
"""

import keras
from keras import layers

from calzoo.networks.coordconv import EdgePad, coord_conv

#: Parameters of each network as published.
PARAMETERS = {
    "encoder": 137_537,
    "encoder, released weights": 123_681,
    "renderer": 23_401,
    "smeared renderer": 601,
    "decoder": 6_058_401,
}
_RENDERER = (100, 50, 50, 100, 100)


def seed_encoder(side=100, *, released=False, dropout=0.4, sparsity=0.0):
    """Build the encoder: a frame becomes a heat map.

    Parameters
    ----------
    side : int, optional
        Of the frame, a multiple of 4.
    released : bool, optional
        As the released weights have it: without the convolution between the two
        up-samplings (123,681 parameters), not as the report draws it (137,537).
    dropout, sparsity : float, optional
        Rate of dropout, and weight of the L1 norm of the heat map (the authors' was 0.1 and, like
        their dropout, never reached a gradient). With a norm the network cannot be exported.

    Returns
    -------
    keras.Model
        Input ``image``: float32, (B, side, side, 1), 0 to 1. Output ``heat``: the same shape, sigmoid.
    """
    _check_side(side, 4, "seed_encoder")
    image = keras.Input((side, side, 1), name="image")
    x = EdgePad(name="down0_pad")(image)
    x = coord_conv(x, 128, 3, activation="relu", name="down0_conv")
    for level in (1, 2):
        x = EdgePad(name=f"down{level}_pad")(x)
        halves = [
            layers.Conv2D(32, 3, strides=2, activation="relu", name=f"down{level}_{part}")(x)
            for part in ("left", "right")
        ]
        x = layers.Concatenate(name=f"down{level}_concat")(halves)
        x = layers.Dropout(dropout, name=f"down{level}_drop")(x)
    x = layers.UpSampling2D(interpolation="bilinear", name="up1_resize")(x)
    if not released:
        x = EdgePad(name="up1_pad")(x)
        x = layers.Conv2D(32, 3, activation="relu", name="up1_conv")(x)
    x = layers.UpSampling2D(interpolation="bilinear", name="up0_resize")(x)
    x = EdgePad(name="up0_pad")(x)
    x = layers.Conv2D(16, 3, activation="relu", name="up0_conv")(x)
    x = EdgePad(name="heat_pad")(x)
    heat = layers.Conv2D(
        1,
        3,
        activation="sigmoid",
        # Per pixel and sample: Keras divides by the batch alone.
        activity_regularizer=keras.regularizers.L1(sparsity / side**2) if sparsity else None,
        name="heat",
    )(x)
    return keras.Model(image, heat, name="seed_encoder")


def seed_renderer(side=100, *, smeared=False):
    """Build the renderer (De-CoordConv): a coordinate pair becomes an image that sums to 1.

    Parameters
    ----------
    side : int, optional
        Of the image.
    smeared : bool, optional
        The small variant that renders a blob in place of a point.

    Returns
    -------
    keras.Model
        Input ``coordinate``: float32, (B, 2), row and column over ``side - 1``. Output ``render``:
        (B, side * side), softmax.
    """
    coordinate = keras.Input((2,), name="coordinate")
    x = layers.RepeatVector(side * side, name="tile")(coordinate)
    x = layers.Reshape((side, side, 2), name="image")(x)
    widths = _RENDERER[:1] if smeared else _RENDERER
    x = coord_conv(x, widths[0], 1, activation="relu", name="conv0")
    for number, width in enumerate(widths[1:], 1):
        x = layers.Conv2D(width, 1, activation="relu", name=f"conv{number}")(x)
    x = layers.Conv2D(1, 1, name="logits")(x)
    render = layers.Softmax(name="render")(layers.Flatten(name="flat")(x))
    return keras.Model(coordinate, render, name="seed_renderer")


def seed_decoder(side=100, *, count=100):
    """Build the decoder: coordinates with their similarities become a frame.

    Its first layer is dense, so it depends on the order of the coordinates and can learn
    the movie by heart: the reason why coordinates need not move.

    Parameters
    ----------
    side : int, optional
        Of the frame, a multiple of 4.
    count : int, optional
        Coordinates.

    Returns
    -------
    keras.Model
        Input ``latent``: float32, (B, count, 3), row, column and similarity. Output ``frame``:
        (B, side, side, 1).
    """
    _check_side(side, 4, "seed_decoder")
    small = side // 4
    latent = keras.Input((count, 3), name="latent")
    x = layers.Flatten(name="flat")(latent)
    x = layers.Dense(small * small * 32, activation="relu", name="dense")(x)
    x = layers.Reshape((small, small, 32), name="image")(x)
    x = layers.UpSampling2D(interpolation="bilinear", name="up1_resize")(x)
    x = coord_conv(x, 64, 3, padding="same", activation="relu", name="up1_conv")
    x = layers.UpSampling2D(interpolation="bilinear", name="up0_resize")(x)
    x = layers.Conv2D(32, 3, padding="same", activation="relu", name="up0_conv")(x)
    frame = layers.Conv2D(1, 3, padding="same", name="frame")(x)
    return keras.Model(latent, frame, name="seed_decoder")


def _check_side(side, by, caller):
    if side % by or side < by:
        message = (
            f"{caller}: side must be a multiple of {by}, got {side}; choose {max(-(-side // by), 1) * by}."
        )
        raise ValueError(message)
