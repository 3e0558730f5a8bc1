"""Layers of `calzoo.networks.sampling` as ONNX's own operators: Warp as GridSample, Stretch as Resize.

TensorFlow has no GridSample, and a gather takes ten times as long; it cannot resize to a size
that is not known. While a network is traced, a call of Python stands where such a layer is, and
tf2onnx writes the operator in its place.
"""

import contextlib
from unittest import mock

from calzoo.networks.sampling import Stretch, Warp

_STAND_IN = "EagerPyFunc"  # how TensorFlow names a call of Python in a graph


@contextlib.contextmanager
def as_operators():
    """Let these layers be traced as calls that tf2onnx can tell.

    Yields
    ------
    dict
        What ``tf2onnx.convert`` takes as ``custom_op_handlers``.
    """
    with mock.patch.object(Warp, "call", _warp), mock.patch.object(Stretch, "call", _stretch):
        yield {_STAND_IN: (_write, [])}


def _warp(layer, image, y, x):
    """Trace a warp; GridSample counts from -1 to 1 between the first and the last pixel, x before y."""
    import tensorflow as tf

    units = 2 / tf.maximum(tf.cast(tf.shape(image)[1:3], tf.float32) - 1, 1)
    # With as many axes as what they are multiplied by: see calzoo.export.passes.widen_scalars.
    height, width = (tf.reshape(unit, (1, 1, 1, 1)) for unit in tf.split(units, 2))
    grid = tf.concat([x * width - 1, y * height - 1], axis=-1)
    # One template may serve a batch of frames.
    image = image * tf.ones_like(y[:, :1, :1, :1])
    return _call([tf.transpose(image, (0, 3, 1, 2)), grid], [None, image.shape[-1], *y.shape[1:3]])


def _stretch(layer, grid):
    """Trace an interpolation, its factors as scales."""
    import tensorflow as tf

    scales = tf.constant([1, 1, *layer.factor], tf.float32)
    return _call([tf.transpose(grid, (0, 3, 1, 2)), scales], [None, grid.shape[-1], None, None])


def _call(arrays, shape):
    """Call Python on arrays with the channels first; return the result with the channels last."""
    import tensorflow as tf

    result = tf.py_function(_refuse, arrays, tf.float32)
    result.set_shape(shape)
    return tf.transpose(result, (0, 2, 3, 1))


def _refuse(*arrays):
    message = "a layer that was traced for ONNX cannot be run in TensorFlow"
    raise RuntimeError(message)


def _write(context, node, name, arguments):
    """Write the operator: the second argument is a grid, or the scales of a resizing."""
    shape, dtype = context.get_shape(node.output[0]), context.get_dtype(node.output[0])
    (first, second), outputs = list(node.input), list(node.output)
    resizes = len(context.get_shape(second)) == 1
    context.remove_node(name)
    context.make_node(
        "Resize" if resizes else "GridSample",
        [first, "", second] if resizes else [first, second],
        name=name,
        outputs=outputs,
        shapes=[shape],
        dtypes=[dtype],
        attr={"mode": "linear", "coordinate_transformation_mode": "half_pixel"}
        if resizes
        else {"mode": "bilinear", "padding_mode": "border", "align_corners": 1},
    )
