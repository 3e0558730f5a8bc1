"""Grad-CAM inside a network: the gradient of its head, written as a forward expression.

ONNX has no gradients. Behind the feature maps of `calzoo.networks.stimulus` come only
means over squares, dense layers and ReLU, whose gradient is a product of matrices.
"""

import keras
from keras import layers, ops

from calzoo.networks.stimulus import share_matrix, stimulus

METHODS = ("grad-cam", "hires-cam")


def with_cam(model, method="grad-cam"):
    """Give a stimulus network a second input and a map of what spoke for its answer.

    Parameters
    ----------
    model : keras.Model
        Of `calzoo.networks.stimulus.stimulus`; the new model shares its weights.
    method : {"grad-cam", "hires-cam"}, optional
        "grad-cam" [1]_ weights each feature map by the mean of its gradient,
        "hires-cam" [2]_ pixel by pixel, which keeps apart what places say.

    Returns
    -------
    keras.Model
        Inputs ``frame``, as `model` takes it, and ``target``: float32, (B, K + 1), the
        weight of each logit in what is explained; in rows of zeros the largest logit
        is. Outputs ``logits``, as `model` gives them, and ``cam``: float32, (B, Y, X),
        from 0 to 1 in each frame, 0 everywhere if nothing spoke for the target.

    Raises
    ------
    ValueError
        If the method is unknown or the model has no layer ``features``.

    References
    ----------
    .. [1] Selvaraju et al., "Grad-CAM", ICCV 2017. arXiv:1610.02391
    .. [2] Draelos and Carin, "Use HiResCAM instead of Grad-CAM", 2020. arXiv:2011.08891

    Examples
    --------
    >>> from calzoo.networks.stimulus import stimulus
    >>> with_cam(stimulus((64, 64), cells=8, hidden=(16,))).output_shape
    [(None, 9), (None, 64, 64)]
    """
    if method not in METHODS:
        message = f"with_cam: the method must be one of {', '.join(METHODS)}, got {method!r}."
        raise ValueError(message)
    names = [layer.name for layer in model.layers]
    if not {"features", "grid", "logits"} <= set(names):
        message = f"with_cam: expected a network of calzoo.networks.stimulus, got layers {', '.join(names)}."
        raise ValueError(message)
    features, logits = model.get_layer("features"), model.get_layer("logits")
    hidden = [layer for layer in model.layers if isinstance(layer, layers.Dense) and layer is not logits]
    target = keras.Input((logits.units,), name="target", dtype="float32")
    explain = HeadCam([*hidden, logits], model.get_layer("grid").side, method, name="cam")
    maps = explain([model.input, features.output, target, logits.output, *(layer.output for layer in hidden)])
    return keras.Model([model.input, target], [model.output, maps], name="stimulus_cam")


def stimulus_cam(cam="grad-cam", **network):
    """Build a stimulus network with its map: what the .onnx files hold.

    Parameters
    ----------
    cam : str, optional
        See `with_cam`.
    **network
        Arguments of `calzoo.networks.stimulus.stimulus`.

    Returns
    -------
    keras.Model
        As `with_cam` returns it.
    """
    return with_cam(stimulus(**network), cam)


class HeadCam(layers.Layer):
    """The map of `with_cam`, from feature maps and the activity of the dense layers behind them.

    Parameters
    ----------
    dense : list of keras.layers.Dense
        From the grid to the logits.
    side : int or None
        Squares along each side of the grid; None: every pixel is a square.
    method : str
    """

    def __init__(self, dense, side, method, **options):
        super().__init__(**options)
        self.dense, self.side, self.method = dense, side, method

    def call(self, inputs):
        """Return (B, Y, X)."""
        frame, features, target, logits, *active = inputs
        gradient = _through(self.dense[-1], _chosen(target, logits))
        for layer, output in zip(reversed(self.dense[:-1]), reversed(active), strict=True):
            gradient = gradient * ops.cast(output > 0, gradient.dtype)
            gradient = _through(layer, gradient)
        maps = ops.transpose(features, (0, 3, 1, 2))  # (B, C, y, x)
        height, width = ops.shape(maps)[2], ops.shape(maps)[3]
        channels = features.shape[-1]
        rows, columns = (self.side, self.side) if self.side else features.shape[1:3]
        gradient = ops.reshape(gradient, (-1, channels, rows, columns))
        if self.method == "grad-cam":
            # Every pixel's gradient is shared out from a square: their sum is that of the squares.
            weight = ops.sum(gradient, axis=(2, 3), keepdims=True)
        else:
            along = ops.transpose(share_matrix(height, rows)), share_matrix(width, columns)
            weight = ops.matmul(ops.matmul(along[0], gradient), along[1])
        parts = weight * maps
        # Parts that cancel leave a rounding error, which must not be taken for a map.
        rounding = 1e-6 * ops.sum(ops.abs(parts), axis=1)
        cam = ops.relu(ops.sum(parts, axis=1) - rounding)  # (B, y, x)
        up, across = stretch_matrix(ops.shape(frame)[1], height), stretch_matrix(ops.shape(frame)[2], width)
        return _from_0_to_1(ops.matmul(ops.matmul(up, cam), ops.transpose(across)))

    def compute_output_shape(self, input_shape):
        """Return that of the frames."""
        return tuple(input_shape[0][:3])


def stretch_matrix(length, short):
    """Return the weights of linear interpolation from `short` to `length` pixels along one axis.

    Parameters
    ----------
    length, short : int or tensor of int, ()

    Returns
    -------
    tensor of float32, (length, short)
        Each row sums to 1. Pixels are squares: their middles lie half a pixel from the edge.
    """
    size, count = ops.cast(length, "float32"), ops.cast(short, "float32")
    place = (ops.cast(ops.arange(length), "float32") + 0.5) * (count / size) - 0.5
    place = ops.clip(place, 0.0, count - 1)
    pixel = ops.cast(ops.arange(short), "float32")
    return ops.maximum(1 - ops.abs(place[:, None] - pixel[None, :]), 0.0)


def _through(layer, gradient):
    """Return the gradient with respect to the input of a dense layer."""
    # Not times the kernel's transpose: the exporter would store it beside the kernel.
    return ops.transpose(ops.matmul(layer.kernel, ops.transpose(gradient)))


def _chosen(target, logits):
    """Return the target; the largest logit where it is all zero."""
    # argmax is written wrongly into ONNX by today's tools.
    largest = ops.cast(logits >= ops.max(logits, axis=-1, keepdims=True), target.dtype)
    none = ops.cast(ops.max(ops.abs(target), axis=-1, keepdims=True) <= 0, target.dtype)
    return target + none * largest


def _from_0_to_1(cam):
    low = ops.min(cam, axis=(1, 2), keepdims=True)
    span = ops.max(cam, axis=(1, 2), keepdims=True) - low
    return (cam - low) / ops.maximum(span, 1e-12)
