"""Losses of registration: the motion against the truth, or the registered pictures against each other.

Targets are float32, (B, Y, X, 5): motion (dy, dx), whether it is known, frame, template, both in standard
deviations from the template's mean. Predictions come from `calzoo.networks.registration.training_view`,
(B, Y / 2, X / 8, 2 S + 3).
"""

from keras import ops

from calzoo.errors import CalzooError
from calzoo.networks.sampling import PixelGrid, Stretch, Warp

KINDS = ("flow_mse", "image_mse", "ncc", "mix")
_SMALL = 1e-5
_EARLY = 0.3  # weight of each step before the last against it
_UNCERTAINTY = 0.1  # of how well the expected error fits the real one
_ROUGH = 0.05  # weight of the squared change of the motion from cell to cell
_MIXED = 0.2  # weight of the correlation beside the motion
#: Side of a window in pairs of pixels; pictures are halved first, as single pixels are mostly noise.
_WINDOW = 9


def registration_loss(kind="flow_mse"):
    """Build the loss of a registration network.

    Parameters
    ----------
    kind : {"flow_mse", "image_mse", "ncc", "mix"}, optional
        "flow_mse": length of the error of the motion, in pixels (robust: its root is
        taken, so that what cannot be known does not count most). "image_mse", "ncc": the mean
        squared difference and 1 minus the normalised correlation in windows between the frame and the
        template looked up by the motion, which need no truth. "mix": the motion, and a little of
        "ncc". Where pictures count, rough motion and folded tissue cost something too.

    Returns
    -------
    callable
        ``loss(target, prediction)`` for `keras.Model.compile`.

    Raises
    ------
    CalzooError
        If there is no loss `kind`.
    """
    if kind not in KINDS:
        message = f"the loss must be one of {', '.join(KINDS)}, got {kind!r}."
        raise CalzooError(message)

    def loss(target, prediction):
        target, prediction = ops.cast(target, "float32"), ops.cast(prediction, "float32")
        motions = [prediction[..., k : k + 2] for k in range(0, prediction.shape[-1] - 1, 2)]
        total = 0.0
        if kind in ("flow_mse", "mix"):
            total = flow_loss(target[..., :3], motions, prediction[..., -1:], _EARLY, _UNCERTAINTY)
        if kind != "flow_mse":
            compare = squared_difference if kind == "image_mse" else dissimilarity
            alike = compare(target[..., 3:4], target[..., 4:5], motions[-1])
            smooth = _ROUGH * roughness(motions[-1]) + folding(motions[-1])
            total = total + (_MIXED if kind == "mix" else 1.0) * (alike + smooth)
        return total

    return loss


def flow_loss(truth, motions, expected, early, uncertainty):
    """Return the mean length of the error, in pixels, over the pixels where the motion is known.

    Parameters
    ----------
    truth : tensor, (B, Y, X, 3)
        Motion, and whether it is known (0 or 1).
    motions : list of tensor, (B, Y / 2, X / 8, 2)
        After each step.
    expected : tensor, (B, Y / 2, X / 8, 1)
        Expected length of the error of the last one.
    early, uncertainty : float
        See `registration_loss`.

    Returns
    -------
    tensor, ()
    """
    truth = ops.average_pool(truth, (2, 8), (2, 8), padding="valid")
    known = ops.cast(truth[..., 2] > 0.99, "float32")
    share = ops.sum(known) + 1.0
    total, length = 0.0, None
    for number, motion in enumerate(motions, 1):
        squared = ops.sum(ops.square(motion - truth[..., :2]), axis=-1)
        length = ops.sqrt(squared + 1e-4)
        weight = 1.0 if number == len(motions) else early
        total = total + weight * ops.sum(known * length) / share
    if uncertainty:
        # The mean of |e| / s + log s over many errors e is least where s is the mean of |e|.
        scale = expected[..., 0] + 0.02
        fit = ops.stop_gradient(length) / scale + ops.log(scale)
        total = total + uncertainty * ops.sum(known * fit) / share
    return total


def dissimilarity(frame, template, motion):
    """Return 1 minus the normalised cross-correlation in windows of frame and moved template, averaged.

    Parameters
    ----------
    frame, template : tensor, (B, Y, X, 1)
    motion : tensor, (B, Y / 2, X / 8, 2)

    Returns
    -------
    tensor, ()
        From 0 to 2.
    """
    template, inside = _moved(template, motion)
    a, b, weight = (ops.average_pool(x, 2, 2, padding="valid") for x in (frame, template, inside))

    def mean(picture):
        return ops.average_pool(picture, _WINDOW, 1, padding="valid")

    mean_a, mean_b = mean(a), mean(b)
    spread_a, spread_b = mean(a * a) - mean_a**2, mean(b * b) - mean_b**2
    # The floor keeps windows without structure from counting as much as the others.
    floor = 0.05 * ops.mean(spread_a) + _SMALL, 0.05 * ops.mean(spread_b) + _SMALL
    alike = (mean(a * b) - mean_a * mean_b) / ops.sqrt((spread_a + floor[0]) * (spread_b + floor[1]))
    counts = ops.cast(mean(weight) > 0.99, "float32")
    return ops.sum((1 - alike) * counts) / (ops.sum(counts) + 1.0)


def squared_difference(frame, template, motion):
    """Return the mean squared difference of frame and moved template, in units of the template's variance."""
    moved, inside = _moved(template, motion)
    variance = ops.mean(ops.square(template - ops.mean(template, axis=(1, 2), keepdims=True))) + _SMALL
    return ops.sum(ops.square(frame - moved) * inside) / (ops.sum(inside) + 1.0) / variance


def roughness(motion):
    """Return the mean squared change of a motion from one cell of the grid to the next, in pixels."""
    down, right = motion[:, 8::4] - motion[:, 4:-4:4], motion[:, :, 1:] - motion[:, :, :-1]
    return ops.mean(ops.square(down)) + ops.mean(ops.square(right))


def folding(motion):
    """Return by how much the determinant of the Jacobian falls below 0, on average over cells of 8 pixels."""
    coarse = ops.average_pool(motion, (4, 1), (4, 1), padding="valid") / 8
    down = coarse[:, 1:, :-1] - coarse[:, :-1, :-1]
    right = coarse[:, :-1, 1:] - coarse[:, :-1, :-1]
    determinant = (1 + down[..., 0]) * (1 + right[..., 1]) - down[..., 1] * right[..., 0]
    return ops.mean(ops.relu(-determinant))


def _moved(template, motion):
    """Return the template looked up by the motion, and where it looks inside, (B, Y, X, 1) each."""
    rows, columns = PixelGrid()(template)
    y, x = ops.split(Stretch((2, 8))(motion), 2, axis=-1)
    y, x = rows + y, columns + x
    bottom, right = (ops.cast(side - 1, "float32") for side in ops.shape(template)[1:3])
    inside = (y >= 0) & (y <= bottom) & (x >= 0) & (x <= right)
    return Warp()(template, y, x), ops.cast(inside, "float32")
