"""The loss of the heat map: centres are rare, and of some cells nobody can say whether they can be seen."""

import keras
from keras import ops


def heat_loss(*, body=0.5, radius=0.1):
    """Build the loss of `calzoo.networks.centers.centers_encoder`.

    Centres: focal loss in which pixels near a centre count less as background [1]_, per
    centre. Bodies: cross-entropy. Radii: absolute difference, relative to the radius.

    Parameters
    ----------
    body, radius : float, optional
        Weight beside the loss of the centres.

    Returns
    -------
    callable
        ``loss(target, heat)`` for `keras.Model.compile`. Target: float32, (B, Y, X, 5): nearness
        to a centre (1 at the centre), weight of the pixel in the loss of the centres, body, weight of
        the pixel in the loss of the bodies, radius in pixels (0 where no centre lies).

    References
    ----------
    .. [1] Zhou et al., "Objects as points", 2019. arXiv:1904.07850
    """

    def loss(target, heat):
        target, heat = ops.cast(target, "float32"), ops.cast(heat, "float32")
        near, counts, inside, inside_counts, size = (target[..., i] for i in range(5))
        centers = ops.cast(near >= 1.0, "float32")
        total = center_loss(near, counts, heat[..., 0])
        p = _open(heat[..., 1])
        entropy = -(inside * ops.log(p) + (1 - inside) * ops.log(1 - p))
        total += body * ops.sum(inside_counts * entropy) / ops.maximum(ops.sum(inside_counts), 1.0)
        wrong = ops.abs(heat[..., 2] - size) / ops.maximum(size, 1.0)
        return total + radius * ops.sum(centers * wrong) / ops.maximum(ops.sum(centers), 1.0)

    return loss


def center_loss(near, counts, heat):
    """Return the focal loss of centres, per centre.

    Parameters
    ----------
    near : tensor, (B, Y, X)
        1 at a centre, falling to 0 around it.
    counts : tensor, (B, Y, X)
        Weight of each pixel.
    heat : tensor, (B, Y, X)
        Probability of a centre.

    Returns
    -------
    tensor, ()
    """
    p = _open(heat)
    centers = ops.cast(near >= 1.0, "float32")
    hit = -((1 - p) ** 2) * ops.log(p)
    empty = -((1 - near) ** 4) * p**2 * ops.log(1 - p)
    total = ops.sum(counts * (centers * hit + (1 - centers) * empty))
    # A tile without a cell says something too: it counts as if it had one.
    return total / ops.maximum(ops.sum(centers * counts), ops.cast(ops.shape(near)[0], "float32"))


def _open(p):
    """Return probabilities that have a logarithm."""
    return ops.clip(p, keras.config.epsilon(), 1 - keras.config.epsilon())
