"""A small network that outlines the cell in the middle of a crop, and says whether there is one."""

import keras
from keras import layers

from calzoo.networks.proposal import conv_block, flattened, set_gaussians, up_block

#: Side of the crop, in pixels: four cell diameters.
SIDE = 48


def instance(side=SIDE, *, pictures=3, filters=(12, 24, 48), bottom=72, hidden=64, kernel=3, dropout=0.2):
    """Build a network that gives the mask of the cell in the middle of a crop, and a score.

    In the manner of DeepMask [1]_ and of cellfie [2]_, one encoder serves both: a
    U-Net decoder draws the mask, two dense layers on the bottom give the score.

    Parameters
    ----------
    side : int, optional
        Rows and columns, a multiple of ``2 ** len(filters)``.
    pictures : int, optional
        Channels of the input.
    filters : tuple of int, optional
        Channels of each level, finest first.
    bottom : int, optional
        Channels below the last pooling.
    hidden : int, optional
        Units before the score.
    kernel : int, optional
        Side of the convolutions, in pixels.
    dropout : float, optional
        Rate in training, at the bottom and before the score.

    Returns
    -------
    keras.Model
        Input ``image``: float32, (B, side, side, pictures), each about 0 to 1; the cell is about 12 pixels
        wide and its centre lies in the middle, give or take a third of that.
        Input ``present``: float32, (B, pictures), as for `calzoo.networks.proposal.proposal`.
        Output ``mask``: float32, (B, side, side, 1), sigmoid.
        Output ``score``: float32, (B, 1), probability that there is a cell in the middle.

    Raises
    ------
    ValueError
        If `side` is no multiple of the divisor.

    References
    ----------
    .. [1] Pinheiro et al., "Learning to Segment Object Candidates", NeurIPS 2015. arXiv:1506.06204
    .. [2] https://github.com/richard-warren/cellfie

    Examples
    --------
    >>> [tuple(output.shape) for output in instance(filters=(4, 8), bottom=8).outputs]
    [(None, 48, 48, 1), (None, 1)]
    """
    step = 2 ** len(filters)
    if side % step:
        message = (
            f"instance: the side must be a multiple of {step}, got {side}; take {-(-side // step) * step}."
        )
        raise ValueError(message)
    image = keras.Input((side, side, pictures), name="image", dtype="float32")
    present = keras.Input((pictures,), name="present", dtype="float32")
    x = flattened(image, present, pictures)
    skips = []
    for level, width in enumerate(filters):
        x = conv_block(x, width, kernel, name=f"down{level}", present=None if level else present)
        skips.append(x)
        x = layers.MaxPooling2D(2, name=f"down{level}_pool")(x)
    # Where in the crop a feature lies decides whose it is: only the cell in the middle is asked for.
    place = layers.Dense((side // step) ** 2 * x.shape[-1], name="place")(present)
    place = layers.Reshape((side // step, side // step, x.shape[-1]), name="place_shape")(place)
    x = layers.Add(name="placed")([x, place])
    x = conv_block(x, bottom, kernel, name="bottom")
    score = _score(x, hidden, dropout)
    if dropout:
        x = layers.SpatialDropout2D(dropout, name="bottom_drop")(x)
    for level, width in reversed(list(enumerate(filters))):
        x = up_block(x, skips[level], width, kernel, name=f"up{level}")
    x = layers.Conv2D(1, 1, name="mask_logits")(x)
    # float32 also under mixed precision: the losses take logarithms.
    mask = layers.Activation("sigmoid", dtype="float32", name="mask")(x)
    model = keras.Model([image, present], [mask, score], name="instance")
    set_gaussians(model)
    return model


def _score(x, hidden, dropout):
    """Return the score from the bottom of the network."""
    x = layers.Conv2D(hidden // 2, 1, name="score_reduce")(x)
    x = layers.ReLU(name="score_reduce_relu")(x)
    x = layers.Flatten(name="score_flat")(x)
    if dropout:
        x = layers.Dropout(dropout, name="score_drop")(x)
    x = layers.Dense(hidden, activation="relu", name="score_hidden")(x)
    x = layers.Dense(1, name="score_logits")(x)
    return layers.Activation("sigmoid", dtype="float32", name="score")(x)
