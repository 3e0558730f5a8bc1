"""Layers of `calzoo.networks.sampling` in ONNX operators that are fast on processors.

TensorFlow has no GridSample, and cannot resize to a size that is not known. While a network is
traced, a call of Python stands where such a layer is, and tf2onnx writes operators in its place.

Warps are written as four GatherElements and the arithmetic of a bilinear interpolation: on a
processor, ONNX Runtime's GridSample takes 3 to 5 times as long. Large ones go stripe by stripe, as numbers
that stay in the cache are worked on 4 times as fast.
"""

import contextlib
from unittest import mock

import numpy as np

from calzoo.networks.sampling import Gradient, Inside, Stretch, Warp

_STAND_IN = "EagerPyFunc"  # how TensorFlow names a call of Python in a graph
_WARP, _INSIDE, _STRETCH, _GRADIENT = range(4)  # what a call stands for: its first argument
_LAST = np.iinfo(np.int64).max  # an end of a slice: everything that is left


@contextlib.contextmanager
def as_operators():
    """Let these layers be traced as calls that tf2onnx can tell.

    Yields
    ------
    dict
        What ``tf2onnx.convert`` takes as ``custom_op_handlers``.
    """
    calls = {Warp: _warp, Inside: _inside, Stretch: _stretch, Gradient: _gradient}
    with contextlib.ExitStack() as patches:
        for layer, call in calls.items():
            patches.enter_context(mock.patch.object(layer, "call", call))
        yield {_STAND_IN: (_write, [])}


def _warp(layer, image, y, x):
    narrow = image.shape[2] == 1  # a column of numbers: nothing to interpolate along x
    kind = [_WARP, layer.stripes, image.shape[-1], narrow]
    return _call(kind, [image, y, x], [None, *y.shape[1:3], image.shape[-1]])


def _inside(layer, image, y, x):
    return _call([_INSIDE], [image, y, x], y.shape)


def _stretch(layer, grid):
    return _call([_STRETCH, *layer.factor], [grid], [None, None, None, grid.shape[-1]])


def _gradient(layer, image):
    return _call([_GRADIENT], [image], [*image.shape[:3], 2 * image.shape[-1]])


def _call(kind, arrays, shape):
    """Call Python on arrays with the channels first; return the result with the channels last."""
    import tensorflow as tf

    turned = [tf.transpose(array, (0, 3, 1, 2)) for array in arrays]
    result = tf.py_function(_refuse, [tf.constant(kind, tf.int32), *turned], tf.float32)
    result.set_shape([shape[i] for i in (0, 3, 1, 2)])
    return tf.transpose(result, (0, 2, 3, 1))


def _refuse(*arrays):
    message = "a layer that was traced for ONNX cannot be run in TensorFlow"
    raise RuntimeError(message)


def _write(context, node, name, arguments):
    """Write the operators that a call stands for."""
    kind, *options = node.inputs[0].get_tensor_value(as_list=True)
    inputs, outputs = list(node.input)[1:], list(node.output)
    shape, dtype = context.get_shape(outputs[0]), context.get_dtype(outputs[0])
    context.remove_node(name)
    write = (_write_warp, _write_inside, _write_stretch, _write_gradient)[kind]
    result = write(_Writer(context, name), *inputs, *options)
    context.make_node("Identity", [result], name=name, outputs=outputs, shapes=[shape], dtypes=[dtype])


class _Writer:
    """Add nodes to a graph of tf2onnx: ``writer.Add(a, b)`` returns the name of the sum."""

    def __init__(self, context, name):
        self.context, self.name = context, name

    def __getattr__(self, kind):
        def add(*inputs, outputs=1, **attributes):
            named = [i if isinstance(i, str) else self._constant(i) for i in inputs]
            node = self.context.make_node(kind, named, attr=attributes, output_count=outputs)
            return node.output[0] if outputs == 1 else node.output

        return add

    def _constant(self, value):
        from tf2onnx import utils

        value = np.asarray(value)
        kinds = {"i": np.int64, "f": np.float32}
        value = value.astype(kinds.get(value.dtype.kind, value.dtype) if value.dtype != np.int32 else np.int32)
        return self.context.make_const(utils.make_name(f"{self.name}_constant"), value).output[0]

    def side(self, image, axis):
        """Return the length of an axis, int64, (1,)."""
        return self.Slice(self.Shape(image), [axis], [axis + 1])

    def number(self, side, less=0.0):
        """Return a side as float32, () for Clip."""
        return self.Squeeze(self.Sub(self.Cast(side, to=1), [less]))


def _write_warp(w, image, y, x, stripes, channels, narrow):
    """Write a bilinear interpolation, (B, C, H', W')."""
    height, width = w.side(image, 2), w.side(image, 3)
    pixels = w.Reshape(image, [0, 0, -1])
    count = w.side(y, 0)
    one = np.int64([1])
    pixels = w.Expand(pixels, w.Concat(count, one, one, axis=0))  # one image may serve a batch
    limits = [[w.number(side, less) for less in (1.0, 2.0)] for side in (height, width)]
    width = w.Cast(width, to=1), w.Cast(width, to=6)
    if stripes == 1:
        return _interpolated(w, pixels, y, x, limits, width, channels, narrow)
    rows = w.Expand(w.Div(w.side(y, 2), [stripes]), [stripes])
    parts = zip(*(w.Split(a, rows, axis=2, outputs=stripes) for a in (y, x)), strict=True)
    parts = [_interpolated(w, pixels, *part, limits, width, channels, narrow) for part in parts]
    return w.Concat(*parts, axis=2)


def _interpolated(w, pixels, y, x, limits, width, channels, narrow):
    """Look pixels (B, C, H W) up at y and x (B, 1, h, w)."""
    size = w.Concat(w.side(y, 0), np.int64([channels]), w.Slice(w.Shape(y), [2], [4]), axis=0)
    (first, part_y), (second, part_x) = (
        _parted(w, w.Reshape(a, [0, 0, -1]), *limit) for a, limit in zip((y, x), limits, strict=True)
    )
    if narrow:
        index = w.Cast(first, to=6)
    else:
        index = w.Cast(w.Add(w.Mul(first, w.Reshape(width[0], [1, 1, 1])), second), to=6)
    if channels > 1:
        index = w.Expand(index, [1, channels, 1])

    def across(index):
        if narrow:
            return w.GatherElements(pixels, index, axis=2)
        left = w.GatherElements(pixels, index, axis=2)
        right = w.GatherElements(pixels, w.Add(index, np.int32([[[1]]])), axis=2)
        return w.Add(left, w.Mul(w.Sub(right, left), part_x))

    above = across(index)
    below = across(w.Add(index, w.Reshape(width[1], [1, 1, 1])))
    return w.Reshape(w.Add(above, w.Mul(w.Sub(below, above), part_y)), size)


def _parted(w, position, last, last_but_one):
    """Return the pixel before a position, never the last one, and how far behind it the position is, 0 to 1."""
    whole = w.Floor(w.Clip(position, np.float32(0), last_but_one))
    return whole, w.Sub(w.Clip(position, np.float32(0), last), whole)


def _write_inside(w, image, y, x):
    """Write 1 where the position is inside."""
    inside = [
        w.Equal(w.Clip(a, np.float32(0), w.number(w.side(image, axis), 1.0)), a)
        for axis, a in ((2, y), (3, x))
    ]
    return w.Cast(w.And(*inside), to=1)


def _write_stretch(w, grid, factor_y, factor_x):
    """Write an interpolation as products with matrices: Resize takes 5 times as long."""
    if factor_y > 1:
        grid = w.MatMul(_hats(w, w.side(grid, 2), factor_y), grid)
    if factor_x > 1:
        grid = w.MatMul(grid, w.Transpose(_hats(w, w.side(grid, 3), factor_x), perm=[1, 0]))
    return grid


def _hats(w, size, factor):
    """Write the matrix (size * factor, size) of a linear interpolation."""
    coarse = w.Range(np.float32(0), w.number(size), np.float32(1))
    fine = w.Range(np.float32(0), w.number(w.Mul(size, [factor])), np.float32(1))
    fine = w.Add(w.Mul(fine, np.float32([1 / factor])), np.float32([0.5 / factor - 0.5]))
    inside = w.Clip(fine, np.float32(0), w.number(size, 1.0))
    away = w.Abs(w.Sub(w.Unsqueeze(inside, [1]), w.Unsqueeze(coarse, [0])))
    return w.Relu(w.Sub(np.float32([[1]]), away))


def _write_gradient(w, image):
    """Write central differences, along y and then along x; across the edge they are 0."""
    found = []
    for axis, margin in ((2, [0, 0, 1, 0] * 2), (3, [0, 0, 0, 1] * 2)):
        after, before = w.Slice(image, [2], [_LAST], [axis]), w.Slice(image, [0], [-2], [axis])
        found.append(w.Pad(w.Mul(w.Sub(after, before), np.float32([[[[0.5]]]])), margin))
    return w.Concat(*found, axis=1)
