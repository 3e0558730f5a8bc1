"""The two networks of the cell system's authors, as they published them.

They are built in tests only, to show that the topology is understood: `proposal` and
`instance` take their places. Known faults are kept: the two-channel map before each
sigmoid, and pictures that are dark beyond their edges.
"""

import keras
from keras import layers


def seed_proposal(*, pictures=3, targets=1, filters=16):
    """Build the region proposal U-Net of the authors [1]_: 1,955,444 parameters.

    Parameters
    ----------
    pictures, targets : int, optional
        Channels of the input and of the output.
    filters : int, optional
        Channels of the finest level; doubled at each of four halvings.

    Returns
    -------
    keras.Model
        Input ``image``: float32, (B, Y, X, pictures), sides multiples of 16.
        Output ``heat``: (B, Y, X, targets).

    References
    ----------
    .. [1] https://github.com/richard-warren/cellfie
    """
    image = keras.Input((None, None, pictures), name="image")
    blurred = layers.DepthwiseConv2D(61, padding="same", use_bias=False, trainable=False, name="low_pass")(
        image
    )
    x = layers.Subtract(name="high_pass")([image, blurred])
    x = layers.BatchNormalization(name="norm")(x)
    x = _encode_decode(x, filters, dropped=(3, 4))
    heat = layers.Conv2D(targets, 1, activation="sigmoid", name="heat")(x)
    return keras.Model(image, heat, name="seed_proposal")


def seed_instance(*, pictures=3, filters=8, side=48):
    """Build the instance network of the authors [1]_: 1,834,298 parameters.

    Parameters
    ----------
    pictures : int, optional
        Channels of the input.
    filters : int, optional
        Channels of the finest level; doubled at each of three halvings.
    side : int, optional
        Of the crop, in pixels.

    Returns
    -------
    keras.Model
        Input ``image``: float32, (B, side, side, pictures). Outputs ``mask``: (B, side, side, 1), and
        ``score``: (B, 1).

    References
    ----------
    .. [1] https://github.com/richard-warren/cellfie
    """
    image = keras.Input((side, side, pictures), name="image")
    x = layers.BatchNormalization(name="norm")(image)
    x, bottom = _encode_decode(x, filters, dropped=(3,), depth=3, with_bottom=True)
    mask = layers.Conv2D(1, 1, activation="sigmoid", name="mask")(x)
    y = layers.Flatten(name="flat")(bottom)
    for step, units in enumerate((512, 1024), 1):
        y = layers.Dense(units, activation="relu", name=f"hidden{step}")(y)
        y = layers.BatchNormalization(name=f"hidden{step}_norm")(y)
    score = layers.Dense(1, activation="sigmoid", name="score")(y)
    return keras.Model(image, [mask, score], name="seed_instance")


def _encode_decode(x, filters, *, dropped, depth=4, with_bottom=False):
    """Return a two-channel map of the input's size, and on request the bottom before its dropout."""
    skips = []
    for level in range(depth + 1):
        x = bottom = _block(x, filters * 2**level, name=f"down{level}")
        if level in dropped:
            x = layers.SpatialDropout2D(0.5, name=f"down{level}_drop")(x)
        if level < depth:
            skips.append(x)
            x = layers.MaxPooling2D(2, name=f"down{level}_pool")(x)
    for level in reversed(range(depth)):
        width = filters * 2**level
        x = layers.UpSampling2D(2, name=f"up{level}_double")(x)
        x = layers.Conv2D(width, 2, padding="same", activation="relu", name=f"up{level}_join")(x)
        x = layers.Concatenate(name=f"up{level}_concat")([skips[level], x])
        x = _block(x, width, name=f"up{level}", normalised=level > 0)
    x = layers.Conv2D(2, 3, padding="same", activation="relu", name="pair")(x)
    x = layers.BatchNormalization(name="pair_norm")(x)
    return (x, bottom) if with_bottom else x


def _block(x, filters, *, name, normalised=True):
    for step in (1, 2):
        x = layers.Conv2D(
            filters,
            3,
            padding="same",
            activation="relu",
            kernel_initializer="glorot_normal",
            name=f"{name}_conv{step}",
        )(x)
    return layers.BatchNormalization(name=f"{name}_norm")(x) if normalised else x
