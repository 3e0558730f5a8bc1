"""Losses of the cell networks; every target carries the weight of each of its values."""

import keras
from keras import ops

_DICE = 0.5  # weight of Dice beside the cross-entropy
_SPOT = 0.2  # centres are rare: a pixel of their map counts 1 + target / _SPOT times


def heat_loss(channels):
    """Build the loss of heat maps: cross-entropy, and soft Dice of the somata.

    Parameters
    ----------
    channels : sequence of float
        Weight of soma, border and centre.

    Returns
    -------
    callable
        ``loss(target, heat)``: target (B, Y, X, channels + 1), the last one the weight;
        heat (B, Y, X, channels).
    """
    total = float(sum(channels))
    share = [c / total for c in channels]

    def loss(target, heat):
        target, heat = ops.cast(target, "float32"), ops.cast(heat, "float32")
        weight, target = target[..., -1:], target[..., :-1]
        surprise = _cross_entropy(target, heat) * weight
        rare = ops.concatenate([ops.ones_like(target[..., :-1]), 1 + target[..., -1:] / _SPOT], axis=-1)
        counted = ops.sum(weight) + keras.config.epsilon()
        entropy = ops.sum(surprise * rare * ops.convert_to_tensor(share, "float32")) / counted
        return entropy + _DICE * _dice(target[..., :1] * weight, heat[..., :1] * weight)

    return loss


def mask_loss(target, mask):
    """Return cross-entropy plus soft Dice of masks, both per crop.

    Parameters
    ----------
    target : tensor, (B, Y, X, 2)
        Mask and weight.
    mask : tensor, (B, Y, X, 1)
    """
    target, mask = ops.cast(target, "float32"), ops.cast(mask, "float32")
    truth, weight = target[..., :1], target[..., 1:]
    axes = (1, 2, 3)
    counts = ops.max(weight, axis=axes)  # (B,)
    entropy = ops.mean(_cross_entropy(truth, mask), axis=axes)
    hit, size = ops.sum(truth * mask, axis=axes), ops.sum(truth + mask, axis=axes)
    dice = 1 - (2 * hit + 1) / (size + 1)
    return ops.sum(counts * (4 * entropy + dice)) / (ops.sum(counts) + keras.config.epsilon())


def score_loss(target, score):
    """Return the weighted cross-entropy of scores (B, 1); target (B, 2): label and weight."""
    target, score = ops.cast(target, "float32"), ops.cast(score, "float32")
    weight = target[:, 1:]
    surprise = _cross_entropy(target[:, :1], score) * weight
    return ops.sum(surprise) / (ops.sum(weight) + keras.config.epsilon())


def _cross_entropy(truth, probability):
    p = ops.clip(probability, keras.config.epsilon(), 1 - keras.config.epsilon())
    return -(truth * ops.log(p) + (1 - truth) * ops.log(1 - p))


def _dice(truth, probability):
    hit = ops.sum(truth * probability)
    return 1 - (2 * hit + 1) / (ops.sum(truth) + ops.sum(probability) + 1)
