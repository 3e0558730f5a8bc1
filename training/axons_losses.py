"""Losses for voxels with a class, where some voxels count less than others or not at all."""

import keras
from keras import ops

from calzoo.errors import CalzooError


def class_weights(weights):
    """Scale weights so that they sum to the number of classes.

    Then a perfect result has a Dice loss of 0, whatever the weights.

    Parameters
    ----------
    weights : sequence of float
        One per class, not negative.

    Returns
    -------
    tuple of float

    Raises
    ------
    CalzooError
        If a weight is negative, or all are 0.

    Examples
    --------
    >>> class_weights((1, 4, 1))
    (0.5, 2.0, 0.5)
    """
    total = float(sum(weights))
    if min(weights) < 0 or total <= 0:
        message = f"expected class weights of at least 0 with a positive sum, got {tuple(weights)}."
        raise CalzooError(message)
    return tuple(len(weights) * float(w) / total for w in weights)


def dice_loss(truth, probability, voxel_weight, weights):
    """Return 1 minus the weighted mean over classes of the soft F1 score of the batch.

    Classes without a voxel that counts in the batch are left out, so a batch
    without axons says nothing about how axons should look.

    Parameters
    ----------
    truth : tensor of float, (B, Z, Y, X, C)
        One-hot classes.
    probability : tensor of float, (B, Z, Y, X, C)
        Softmax.
    voxel_weight : tensor of float, (B, Z, Y, X, 1)
        0 where a voxel does not count.
    weights : tuple of float
        One per class, from `class_weights`.

    Returns
    -------
    tensor of float, ()
        From 0, perfect, to 1.

    References
    ----------
    .. [1] Milletari et al., "V-Net", 3DV 2016. arXiv:1606.04797
    """
    axes = (0, 1, 2, 3)
    hit = ops.sum(voxel_weight * truth * probability, axis=axes)  # (C,)
    present = ops.sum(voxel_weight * truth, axis=axes)
    claimed = ops.sum(voxel_weight * probability, axis=axes)
    counted = ops.where(present > 0, ops.cast(weights, present.dtype), 0.0)
    f1 = 2 * hit / ops.maximum(present + claimed, keras.config.epsilon())
    return ops.sum(counted * (1 - f1)) / ops.maximum(ops.sum(counted), keras.config.epsilon())


def focal_loss(truth, probability, voxel_weight, weights, *, focus=0.0):
    """Return the mean weighted cross-entropy, voxels that are nearly right counting less.

    Parameters
    ----------
    truth, probability, voxel_weight, weights
        As in `dice_loss`.
    focus : float, optional
        The exponent (gamma) of the focal loss [1]_; 0 is the plain cross-entropy.

    Returns
    -------
    tensor of float, ()
        Mean over the voxels that count, in nats.

    References
    ----------
    .. [1] Lin et al., "Focal loss for dense object detection", ICCV 2017. arXiv:1708.02002
    """
    p = ops.clip(ops.sum(truth * probability, axis=-1), keras.config.epsilon(), 1.0)
    surprise = -ops.log(p)
    if focus:
        surprise = surprise * (1 - p) ** focus
    weight = voxel_weight[..., 0]
    balance = ops.sum(truth * ops.cast(weights, truth.dtype), axis=-1)
    return ops.sum(weight * balance * surprise) / ops.maximum(ops.sum(weight), keras.config.epsilon())


def voxel_loss(weights, *, focus=0.0, entropy=1.0):
    """Build the loss of a segmentation: Dice plus (focal) cross-entropy.

    Parameters
    ----------
    weights : sequence of float
        Of the classes; scaled by `class_weights`.
    focus : float, optional
        Exponent of the focal loss; 0 is the cross-entropy.
    entropy : float, optional
        Weight of the cross-entropy beside Dice.

    Returns
    -------
    callable
        ``loss(target, probability)`` for `keras.Model.compile`. Target: float32,
        (B, Z, Y, X, 2), class and weight of each voxel; a weight of 0 means ignored.
    """
    weights = class_weights(weights)

    def loss(target, probability):
        probability = ops.cast(probability, "float32")
        target = ops.cast(target, "float32")
        truth = ops.one_hot(ops.cast(target[..., 0], "int32"), len(weights), dtype="float32")
        counts = target[..., 1:]
        dice = dice_loss(truth, probability, counts, weights)
        return dice + entropy * focal_loss(truth, probability, counts, weights, focus=focus)

    return loss
