"""A 3-D network as 2-D convolutions over its planes, for ONNX Runtime on processors.

ONNX Runtime's processor kernels are fast in 2-D only. A convolution of
kz x ky x kx is the sum over kz planes of 2-D convolutions, so the whole network
runs on tensors (batch * z, channel, y, x), and neighbours along z meet by
shifting planes. Its kernels compute 16 channels at once (AVX-512): where a layer
has fewer, planes are taken in pairs, as channels, which is the same memory with
another shape. What is computed stays the same; sides and batch stay dynamic.
"""

from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
from onnx import helper

from calzoo.export.graph import Graph, attributes

_UNARY = ("Relu", "LeakyRelu", "Elu", "Sigmoid", "Tanh", "Exp", "Identity")
_BINARY = ("Add", "Sub", "Mul", "Div", "Max")
_REDUCTIONS = ("ReduceMax", "ReduceSum")
_WHOLE = (Fraction(1), Fraction(1), Fraction(1))
_BLOCK = 16  # channels that a kernel computes at once: fewer cost as much
# To read a number and write it elsewhere takes as long as this many products of a convolution.
_COPY = 50


def to_planes(graph, depth=1):
    """Rewrite a 3-D graph in 2-D operators.

    Parameters
    ----------
    graph : calzoo.export.graph.Graph
        Simplified (`calzoo.export.passes`), one input and outputs of five axes,
        channels first. It is left as it is.
    depth : int, optional
        What the number of planes of every input is a multiple of.

    Returns
    -------
    calzoo.export.graph.Graph or None
        With the same inputs and outputs; None if an operator has no 2-D form.
    """
    try:
        return _Rewriting(graph, depth).run()
    except _NoPlanesError:
        return None


class _NoPlanesError(Exception):
    """Some node has no form in planes."""


@dataclass(frozen=True)
class _Planes:
    """A tensor (batch * z / group, group * channel, y, x), and its shares of the input's z, y, x."""

    name: str
    channels: int
    scale: tuple = _WHOLE
    group: int = 1


@dataclass(frozen=True)
class _Conv:
    """A convolution that keeps the size: weight (out, in, z, y, x), padding along z and in the plane.

    `factor` is that of the weight's output channels in `calzoo.export.graph.Graph.factors`, if any.
    """

    weight: np.ndarray
    bias: np.ndarray
    factor: np.ndarray | None
    before: int
    pads: list

    def window(self, group):
        """Return how many groups of planes an output group depends on."""
        return -(-(group + self.weight.shape[2] - 1) // group)

    def grouped(self, group):
        """Return the weight (group * out, window * group * in, y, x) between groups of planes."""
        out, inputs, kernel, *sides = self.weight.shape
        width = self.window(group) * group
        weight = np.zeros((group, out, width, inputs, *sides), np.float32)
        for target in range(group):
            weight[target, :, target : target + kernel] = self.weight.swapaxes(1, 2)
        return weight.reshape(group * out, width * inputs, *sides)

    def cost_of_gathering(self, group):
        """Return what `conv_of_neighbours` costs per voxel, in products."""
        out, inputs, _, *sides = self.weight.shape
        window = self.window(group)
        products = _computed(window * group * inputs, group * out) * np.prod(sides) / group
        gathered = (window + 1) * inputs if window > 1 else 0
        turned = window * inputs if window * group * inputs >= _BLOCK else 0  # to the kernel's order
        return products + _COPY * (gathered + turned + out)

    def cost_of_adding(self):
        """Return what `conv_then_sum` costs per voxel, in products."""
        out, inputs, kernel, *sides = self.weight.shape
        products = _computed(inputs, kernel * out) * np.prod(sides)
        turned = inputs if inputs >= _BLOCK else 0
        # Turned back, moved, added, and then rectified, which is not done on the way as it is above.
        return products + _COPY * (turned + (kernel + kernel + 1.5 * (kernel - 1) + 1) * out)


def _computed(inputs, outputs):
    """Return the products per pixel of a 1 x 1 convolution, those of channels that are not there included."""
    inputs = inputs if inputs < _BLOCK else -(-inputs // _BLOCK) * _BLOCK
    return inputs * -(-outputs // _BLOCK) * _BLOCK


class _Rewriting:
    """One graph being written from another, node by node."""

    def __init__(self, graph, depth):
        self.old = graph
        self.depth = depth
        self.new = Graph(graph.model())
        self.new.nodes, self.new.constants = [], {}
        self.planes = {}  # name in the old graph -> _Planes
        self.cache = {}  # sizes and shapes that were computed already

    def run(self):
        values = [*self.old.inputs, *self.old.outputs]
        if len(self.old.inputs) != 1 or any(len(v.type.tensor_type.shape.dim) != 5 for v in values):
            raise _NoPlanesError
        self.image = self.old.inputs[0].name
        channels = self.old.inputs[0].type.tensor_type.shape.dim[1].dim_value
        turned = self.op("Transpose", self.image, perm=[0, 2, 1, 3, 4])
        self.planes[self.image] = self.as_planes(turned, channels, _WHOLE)
        for node in self.old.nodes:
            handler = getattr(self, f"on_{node.op_type.lower()}", None)
            if node.op_type in _UNARY:
                handler = self.on_unary
            elif node.op_type in _BINARY:
                handler = self.on_binary
            elif node.op_type in _REDUCTIONS:
                handler = self.on_reduction
            if handler is None or len(node.output) != 1:
                raise _NoPlanesError
            self.planes[node.output[0]] = handler(node, attributes(node))
        for output in self.old.outputs:
            self.write_output(output.name)
        self.new.prune()
        return self.new

    # Writing ------------------------------------------------------------------

    def op(self, kind, *inputs, **values):
        """Append a node and return the name of its output."""
        output = self.new.fresh(kind.lower())
        self.new.nodes.append(helper.make_node(kind, inputs, [output], name=output, **values))
        return output

    def once(self, kind, *inputs, **values):
        """Append a node, or return that of an equal call: for the arithmetic of sizes."""
        key = (kind, inputs, tuple(values.items()))
        if key not in self.cache:
            self.cache[key] = self.op(kind, *inputs, **values)
        return self.cache[key]

    def numbers(self, *values):
        """Return a constant vector of int64."""
        if values not in self.cache:
            self.cache[values] = self.new.add_constant(np.array(values, np.int64), "sizes")
        return self.cache[values]

    def number(self, value):
        """Return a constant int64."""
        if value not in self.cache:
            self.cache[value] = self.new.add_constant(np.array(value, np.int64), "number")
        return self.cache[value]

    def weight(self, array, factor=None, copies=1):
        """Add a constant; the factor per channel is that of one copy of the output channels."""
        name = self.new.add_constant(np.ascontiguousarray(array, np.float32), "weight")
        if factor is not None:
            self.new.factors[name] = np.tile(factor, copies)
        return name

    def size(self, axis, scale):
        """Return the size along an axis (0 batch, 2 z, 3 y, 4 x) at a scale, as a vector of one number."""
        whole = self.once("Slice", self.once("Shape", self.image), *map(self.numbers, (axis, axis + 1, 0)))
        if scale.denominator > 1:
            whole = self.once("Div", whole, self.numbers(scale.denominator))
        return self.once("Mul", whole, self.numbers(scale.numerator)) if scale.numerator > 1 else whole

    def reshape(self, name, *parts):
        """Reshape to sizes that are numbers or names of vectors."""
        parts = [part if isinstance(part, str) else self.numbers(part) for part in parts]
        return self.op("Reshape", name, self.once("Concat", *parts, axis=0))

    def as_planes(self, name, channels, scale, group=1):
        sides = self.size(3, scale[1]), self.size(4, scale[2])
        return _Planes(self.reshape(name, -1, group * channels, *sides), channels, scale, group)

    def regrouped(self, planes, group):
        """Return planes with as many of them taken together as is asked for."""
        if planes.group == group:
            return planes
        return self.as_planes(planes.name, planes.channels, planes.scale, group)

    def one(self, name, group=1):
        """Return the planes of a tensor of the old graph; group None: however many are together."""
        planes = self.planes[name]
        return self.regrouped(planes, group or planes.group)

    def write_output(self, name):
        planes = self.one(name)
        z, y, x = (self.size(axis, planes.scale[axis - 2]) for axis in (2, 3, 4))
        turned = self.reshape(planes.name, self.size(0, Fraction(1)), z, planes.channels, y, x)
        self.new.nodes.append(
            helper.make_node("Transpose", [turned], [name], name=name, perm=[0, 2, 1, 3, 4])
        )

    # Operators ----------------------------------------------------------------

    def on_unary(self, node, values):
        planes = self.one(node.input[0], group=None)
        return replace(planes, name=self.op(node.op_type, planes.name, **values))

    def on_binary(self, node, values):
        parts = [self.one(name) if name in self.planes else self.constant(name) for name in node.input]
        known = [part for part in parts if isinstance(part, _Planes)]
        names = [part.name if isinstance(part, _Planes) else part for part in parts]
        channels = max(part.channels for part in known)
        return _Planes(self.op(node.op_type, *names, **values), channels, known[0].scale)

    def constant(self, name):
        """Return a constant that is broadcast over z without its axis of z."""
        array = self.old.constants[name]
        if array.ndim == 5 and array.shape[2] == 1:
            return self.weight(array[:, :, 0])
        if array.size == 1:
            return self.weight(array.reshape(1))
        raise _NoPlanesError

    def on_reduction(self, node, values):
        axes = values.pop("axes", None)
        axes = self.old.constants[node.input[1]] if axes is None else axes
        if list(axes) != [1] or not values.get("keepdims", 1):
            raise _NoPlanesError
        planes = self.one(node.input[0])
        if node.op_type == "ReduceMax":
            reduced = self.op("ReduceMax", planes.name, axes=[1])
        else:
            reduced = self.op(node.op_type, planes.name, self.numbers(1))
        return _Planes(reduced, 1, planes.scale)

    def on_concat(self, node, values):
        if values["axis"] != 1 or not all(name in self.planes for name in node.input):
            raise _NoPlanesError
        parts = [self.one(name) for name in node.input]
        joined = self.op("Concat", *(part.name for part in parts), axis=1)
        return _Planes(joined, sum(part.channels for part in parts), parts[0].scale)

    def on_maxpool(self, node, values):
        pool = values["kernel_shape"]
        if values.get("strides") != pool or any(values.get("pads", [0])) or values.get("ceil_mode", 0):
            raise _NoPlanesError
        planes = self.one(node.input[0])
        scale = tuple(share / step for share, step in zip(planes.scale, pool, strict=True))
        name = self.op("MaxPool", planes.name, kernel_shape=pool[1:], strides=pool[1:])
        if pool[0] == 1:
            return _Planes(name, planes.channels, scale)
        batches = self.once("Mul", self.size(0, Fraction(1)), self.size(2, scale[0]))
        grouped = self.reshape(name, batches, pool[0], -1)
        return self.as_planes(self.op("ReduceMax", grouped, axes=[1]), planes.channels, scale)

    def on_convtranspose(self, node, values):
        weight, bias, factor = self.parameters(node)
        kernel = list(weight.shape[2:])
        if values.get("strides") != kernel or any(values.get("pads", [0])) or values.get("group", 1) != 1:
            raise _NoPlanesError
        planes = self.one(node.input[0])
        channels = weight.shape[1]
        scale = tuple(share * step for share, step in zip(planes.scale, kernel, strict=True))
        # The planes that one plane becomes are channels first: (batch * z, dz * c, y, x) in memory.
        weight = np.concatenate([weight[:, :, k] for k in range(kernel[0])], axis=1)
        inputs = [
            planes.name,
            self.weight(weight, factor, kernel[0]),
            self.weight(np.tile(bias, kernel[0])),
        ]
        name = self.op("ConvTranspose", *inputs, kernel_shape=kernel[1:], strides=kernel[1:])
        return _Planes(name, channels, scale) if kernel[0] == 1 else self.as_planes(name, channels, scale)

    def on_resize(self, node, values):
        scales = self.old.constant(node.input[2]) if len(node.input) == 3 else None
        modes = values.get("mode"), values.get("coordinate_transformation_mode"), values.get("nearest_mode")
        if scales is None or modes != (b"nearest", b"asymmetric", b"floor") or (scales[:2] != 1).any():
            raise _NoPlanesError
        planes = self.one(node.input[0])
        scale = tuple(share * int(step) for share, step in zip(planes.scale, scales[2:], strict=True))
        name = self.op("Resize", planes.name, "", self.weight(scales[[0, 1, 3, 4]]), **values)
        if scales[2] == 1:
            return _Planes(name, planes.channels, scale)
        rows = self.once("Mul", self.size(0, Fraction(1)), self.size(2, planes.scale[0]))
        rows = self.reshape(name, rows, 1, -1)
        return self.as_planes(self.op("Concat", *[rows] * int(scales[2]), axis=1), planes.channels, scale)

    def on_conv(self, node, values):
        weight, bias, factor = self.parameters(node)
        kernel = weight.shape[2:]
        pads = values.get("pads", [0] * 6)
        plain = max(values.get("strides", [1])) == max(values.get("dilations", [1])) == values.get("group", 1)
        same = all(pads[i] + pads[i + 3] == kernel[i] - 1 for i in range(3))
        if not (plain and same) or "auto_pad" in values:
            raise _NoPlanesError
        conv = _Conv(weight, bias, factor, pads[0], [pads[1], pads[2], pads[4], pads[5]])
        planes = self.one(node.input[0], group=None)
        pairs = self.depth * planes.scale[0] % 2 == 0  # the number of planes is even
        group = min((1, 2) if pairs else (1,), key=conv.cost_of_gathering)
        if conv.cost_of_adding() < conv.cost_of_gathering(group):
            return self.conv_then_sum(planes, conv)
        return self.conv_of_neighbours(planes, conv, group)

    # Two ways to a convolution along z -----------------------------------------

    def conv_of_neighbours(self, planes, conv, group):
        """Put neighbouring groups of planes beside each other as channels, and convolve once."""
        window = conv.window(group)
        if window > 1:
            name = self.windows(planes, conv.before, group, window)
            joined = self.as_planes(name, window * planes.channels, planes.scale, group)
        else:
            joined = self.regrouped(planes, group)
        inputs = [
            joined.name,
            self.weight(conv.grouped(group), conv.factor, group),
            self.weight(np.tile(conv.bias, group)),
        ]
        return _Planes(self.op("Conv", *inputs, pads=conv.pads), len(conv.bias), planes.scale, group)

    def windows(self, planes, before, group, window):
        """Return, for each group of planes, `window` groups from `before` planes earlier on."""
        batch = self.size(0, Fraction(1))
        flat = self.reshape(planes.name, batch, self.size(2, planes.scale[0]), -1)
        after = (window - 1) * group - before
        padded = self.op("Pad", flat, self.numbers(0, before, 0, 0, after, 0))
        groups = self.size(2, planes.scale[0] / group)
        padded = self.reshape(padded, batch, self.once("Add", groups, self.numbers(window - 1)), -1)
        starts = self.once("Range", self.number(0), self.once("Squeeze", groups), self.number(1))
        rows = self.once("Unsqueeze", starts, self.numbers(1))
        rows = self.once("Add", rows, self.numbers(*range(window)))
        # A copy of large blocks, which ONNX Runtime spreads over its threads.
        return self.op("Gather", padded, self.once("Reshape", rows, self.numbers(-1)), axis=1)

    def conv_then_sum(self, planes, conv):
        """Convolve once, every plane of the kernel being channels of its own, and shift the results."""
        out, _, kernel, *_ = conv.weight.shape
        weight = np.concatenate([conv.weight[:, :, k] for k in range(kernel)], axis=0)
        bias = np.concatenate([conv.bias * (k == conv.before) for k in range(kernel)])
        inputs = [self.regrouped(planes, 1).name, self.weight(weight, conv.factor, kernel), self.weight(bias)]
        name = self.op("Conv", *inputs, pads=conv.pads)
        moved = [self.moved(name, planes.scale, conv.before - k, kernel, k) for k in range(kernel)]
        total = moved[0]
        for other in moved[1:]:
            total = self.op("Add", total, other)
        return self.as_planes(total, out, planes.scale)

    def moved(self, name, scale, shift, groups, group):
        """Return one of several groups of channels, (batch, z, 1, numbers), moved along z."""
        name = self.reshape(name, self.size(0, Fraction(1)), self.size(2, scale[0]), groups, -1)
        # Negative padding cuts: one copy both moves the planes and picks the group.
        return self.op("Pad", name, self.numbers(0, shift, -group, 0, 0, -shift, group + 1 - groups, 0))

    def parameters(self, node):
        weight = self.old.constant(node.input[1])
        bias = self.old.constant(node.input[2]) if len(node.input) > 2 else np.zeros(1, np.float32)
        if weight is None or bias is None or weight.ndim != 5:
            raise _NoPlanesError
        outputs = weight.shape[1 if node.op_type == "ConvTranspose" else 0]
        return weight, np.broadcast_to(bias, (outputs,)), self.old.factors.get(node.input[1])
