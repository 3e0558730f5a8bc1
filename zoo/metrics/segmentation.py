"""Scores of voxel classes: counts first, so that those of many volumes can be added."""

from dataclasses import dataclass

import numpy as np

from calzoo.errors import CalzooError
from calzoo.imaging.skeleton import skeletonize


@dataclass(frozen=True)
class ClassScores:
    """Scores of each class against all others.

    Attributes
    ----------
    precision, recall, f1, iou : ndarray of float64, (C,)
        Between 0 and 1; NaN where a score has no meaning, as precision where nothing was
        predicted.
    voxels : ndarray of int64, (C,)
        How many voxels truly belong to the class.
    """

    precision: np.ndarray
    recall: np.ndarray
    f1: np.ndarray
    iou: np.ndarray
    voxels: np.ndarray


def confusion(truth, predicted, n_classes, *, ignore=None):
    """Count how often each true class was predicted as each class.

    Parameters
    ----------
    truth, predicted : ndarray of int or bool
        Classes from 0 to `n_classes` - 1, of the same shape.
    n_classes : int
    ignore : int, optional
        Voxels of this true class are not counted; it may lie outside of the range.

    Returns
    -------
    ndarray of int64, (n_classes, n_classes)
        Rows are true classes, columns predicted ones.

    Raises
    ------
    CalzooError
        If the shapes differ or a class is out of range.

    Examples
    --------
    >>> import numpy as np
    >>> confusion(np.array([0, 0, 1, 1, 9]), np.array([0, 1, 1, 1, 0]), 2, ignore=9)
    array([[1, 1],
           [0, 2]])
    """
    truth, predicted = _same_shape(truth, predicted)
    if ignore is not None:
        counted = truth != ignore
        truth, predicted = truth[counted], predicted[counted]
    for name, classes in (("truth", truth), ("predicted", predicted)):
        if classes.dtype.kind not in "iub":
            message = f"{name} must hold classes as integers, got {classes.dtype}"
            raise CalzooError(message)
        if classes.size and not 0 <= classes.min() <= classes.max() < n_classes:
            message = (
                f"{name} must hold classes from 0 to {n_classes - 1}, got {classes.min()} to "
                f"{classes.max()}. Raise n_classes, or name a class to ignore."
            )
            raise CalzooError(message)
    truth, predicted = (classes.ravel().astype(np.int64) for classes in (truth, predicted))
    pairs = truth * n_classes + predicted
    return np.bincount(pairs, minlength=n_classes**2).reshape(n_classes, n_classes)


def scores_by_class(matrix):
    """Compute precision, recall, F1 and IoU of each class from a confusion matrix.

    Parameters
    ----------
    matrix : ndarray of int, (C, C)
        As :func:`confusion` returns it, or a sum of such.

    Returns
    -------
    ClassScores

    Examples
    --------
    >>> import numpy as np
    >>> scores_by_class(np.array([[8, 0], [1, 1]])).f1.round(3)
    array([0.941, 0.667])
    """
    matrix = np.asarray(matrix)
    right = np.diag(matrix)
    true, found = matrix.sum(1), matrix.sum(0)
    return ClassScores(
        precision=_ratio(right, found),
        recall=_ratio(right, true),
        f1=_ratio(2 * right, true + found),
        iou=_ratio(right, true + found - right),
        voxels=true,
    )


def cl_dice(truth, predicted):
    """Compute centre line Dice, which asks whether tubes are found and connected.

    The harmonic mean of two shares: that of the predicted centre lines inside of the true
    tubes, and that of the true centre lines inside of the predicted tubes [1]_.

    Parameters
    ----------
    truth, predicted : ndarray, (Z, Y, X) or (Y, X)
        Nonzero is tube.

    Returns
    -------
    float
        Between 0 and 1; NaN where both are empty.

    Raises
    ------
    CalzooError
        If the shapes differ.

    References
    ----------
    .. [1] Shit et al., "clDice - a novel topology-preserving loss function for tubular
       structure segmentation", CVPR 2021. arXiv:2003.07311

    Examples
    --------
    >>> import numpy as np
    >>> tube = np.zeros((5, 20), bool)
    >>> tube[1:4] = True
    >>> thinner = np.zeros_like(tube)
    >>> thinner[2] = True
    >>> cl_dice(tube, thinner)
    1.0
    """
    truth, predicted = (mask.astype(bool) for mask in _same_shape(truth, predicted))
    true_line, found_line = skeletonize(truth), skeletonize(predicted)
    if not true_line.any() and not found_line.any():
        return float("nan")
    precision = np.sum(found_line & truth) / max(found_line.sum(), 1)
    recall = np.sum(true_line & predicted) / max(true_line.sum(), 1)
    return float(2 * precision * recall / (precision + recall)) if precision + recall else 0.0


def draw_confusion(matrix, names, axes=None):
    """Draw a confusion matrix, each row as shares of its true class.

    Parameters
    ----------
    matrix : ndarray of int, (C, C)
    names : sequence of str
        Of the classes.
    axes : matplotlib.axes.Axes, optional
        Where to draw; absent, on a new figure.

    Returns
    -------
    matplotlib.axes.Axes
    """
    if axes is None:
        from matplotlib.figure import Figure

        axes = Figure(figsize=(1.6 + 1.1 * len(names),) * 2, layout="constrained").subplots()
    matrix = np.asarray(matrix)
    shares = _ratio(matrix, matrix.sum(1, keepdims=True))
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), share in np.ndenumerate(shares):
        text = "none" if np.isnan(share) else f"{share:.2f}\n{matrix[row, column]:,}"
        colour = "white" if share > 0.5 else "black"
        axes.text(column, row, text, ha="center", va="center", color=colour)
    axes.set_xticks(range(len(names)), names)
    axes.set_yticks(range(len(names)), names)
    axes.set(xlabel="predicted", ylabel="true")
    return axes


def _same_shape(truth, predicted):
    """Return both as arrays, or say that their shapes differ."""
    truth, predicted = np.asarray(truth), np.asarray(predicted)
    if truth.shape != predicted.shape:
        message = f"truth and predicted must have the same shape, got {truth.shape} and {predicted.shape}"
        raise CalzooError(message)
    return truth, predicted


def _ratio(part, whole):
    """Divide, and give NaN for zero over zero."""
    part, whole = np.broadcast_arrays(np.asarray(part, float), np.asarray(whole, float))
    return np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)
