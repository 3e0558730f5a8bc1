"""A 3-D network as 2-D convolutions over its planes, for ONNX Runtime on processors.

ONNX Runtime's processor kernels are fast in 2-D only. A convolution of
kz x ky x kx is the sum over kz planes of 2-D convolutions, so the whole network
runs on tensors (batch * z, channel, y, x), and neighbours along z meet by
shifting planes. What is computed stays the same; sides and batch stay dynamic.
"""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from onnx import helper

from calzoo.export.graph import Graph, attributes

_UNARY = ("Relu", "LeakyRelu", "Elu", "Sigmoid", "Tanh", "Exp", "Identity")
_BINARY = ("Add", "Sub", "Mul", "Div", "Max")
_REDUCTIONS = ("ReduceMax", "ReduceSum")
_WHOLE = (Fraction(1), Fraction(1), Fraction(1))
# Below this many channels a convolution is cheaper than reading and writing its result several times.
_FEW_CHANNELS = 8


def to_planes(graph):
    """Rewrite a 3-D graph in 2-D operators.

    Parameters
    ----------
    graph : calzoo.export.graph.Graph
        Simplified (`calzoo.export.passes`), one input and outputs of five axes,
        channels first. It is left as it is.

    Returns
    -------
    calzoo.export.graph.Graph or None
        With the same inputs and outputs; None if an operator has no 2-D form.
    """
    try:
        return _Rewriting(graph).run()
    except _NoPlanesError:
        return None


class _NoPlanesError(Exception):
    """Some node has no form in planes."""


@dataclass(frozen=True)
class _Planes:
    """A tensor (batch * z, channel, y, x) and the shares of the input's z, y, x that it has."""

    name: str
    channels: int
    scale: tuple = _WHOLE


class _Rewriting:
    """One graph being written from another, node by node."""

    def __init__(self, graph):
        self.old = graph
        self.new = Graph(graph.model())
        self.new.nodes, self.new.constants = [], {}
        self.planes = {}  # name in the old graph -> _Planes, or the tuple of those that it concatenates
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

    def weight(self, array):
        return self.new.add_constant(np.ascontiguousarray(array, np.float32), "weight")

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

    def as_planes(self, name, channels, scale):
        name = self.reshape(name, -1, channels, self.size(3, scale[1]), self.size(4, scale[2]))
        return _Planes(name, channels, scale)

    def one(self, name):
        """Return the planes of a tensor of the old graph, concatenated if they are not yet."""
        planes = self.planes[name]
        if isinstance(planes, tuple):
            joined = self.op("Concat", *(part.name for part in planes), axis=1)
            planes = _Planes(joined, sum(part.channels for part in planes), planes[0].scale)
            self.planes[name] = planes
        return planes

    def write_output(self, name):
        planes = self.one(name)
        z, y, x = (self.size(axis, planes.scale[axis - 2]) for axis in (2, 3, 4))
        turned = self.reshape(planes.name, self.size(0, Fraction(1)), z, planes.channels, y, x)
        self.new.nodes.append(
            helper.make_node("Transpose", [turned], [name], name=name, perm=[0, 2, 1, 3, 4])
        )

    # Operators ----------------------------------------------------------------

    def on_unary(self, node, values):
        planes = self.one(node.input[0])
        return _Planes(self.op(node.op_type, planes.name, **values), planes.channels, planes.scale)

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
        # Not yet: a convolution of concatenated tensors may be cheaper part by part.
        return tuple(self.one(name) for name in node.input)

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
        weight, bias = self.parameters(node)
        kernel = list(weight.shape[2:])
        if values.get("strides") != kernel or any(values.get("pads", [0])) or values.get("group", 1) != 1:
            raise _NoPlanesError
        planes = self.one(node.input[0])
        channels = weight.shape[1]
        scale = tuple(share * step for share, step in zip(planes.scale, kernel, strict=True))
        # The planes that one plane becomes are channels first: (batch * z, dz * c, y, x) in memory.
        weight = np.concatenate([weight[:, :, k] for k in range(kernel[0])], axis=1)
        inputs = [planes.name, self.weight(weight), self.weight(np.tile(bias, kernel[0]))]
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
        weight, bias = self.parameters(node)
        kernel = weight.shape[2:]
        pads = values.get("pads", [0] * 6)
        plain = max(values.get("strides", [1])) == max(values.get("dilations", [1])) == values.get("group", 1)
        same = all(pads[i] + pads[i + 3] == kernel[i] - 1 for i in range(3))
        if not (plain and same) or "auto_pad" in values:
            raise _NoPlanesError
        slices = [weight[:, :, k] for k in range(kernel[0])]
        shifts = [pads[0] - k for k in range(kernel[0])]
        flat = {"pads": [pads[1], pads[2], pads[4], pads[5]]}
        if weight.shape[1] < _FEW_CHANNELS:
            return self.conv_of_joined_neighbours(node, slices, shifts, bias, flat)
        if weight.shape[1] <= weight.shape[0]:
            return self.sum_of_convs(node, slices, shifts, bias, flat)
        return self.one_conv_then_sum(node, slices, shifts, bias, flat)

    # Three ways to a convolution along z ---------------------------------------

    def conv_of_joined_neighbours(self, node, slices, shifts, bias, flat):
        """Put neighbouring planes beside each other as channels: cheap where channels are few."""
        planes = self.one(node.input[0])
        joined = [self.shifted(planes, shift) for shift in shifts]
        joined = self.op("Concat", *joined, axis=1) if len(joined) > 1 else joined[0]
        name = self.op("Conv", joined, self.weight(np.concatenate(slices, axis=1)), self.weight(bias), **flat)
        return _Planes(name, len(bias), planes.scale)

    def sum_of_convs(self, node, slices, shifts, bias, flat):
        """Convolve the shifted inputs one by one: ONNX Runtime adds within the convolutions."""
        planes = self.one(node.input[0])
        total = None
        for weight, shift in sorted(zip(slices, shifts, strict=True), key=lambda pair: abs(pair[1])):
            inputs = [self.shifted(planes, shift), self.weight(weight)]
            if total is None:
                total = self.op("Conv", *inputs, self.weight(bias), **flat)
            else:
                total = self.op("Add", self.op("Conv", *inputs, **flat), total)
        return _Planes(total, len(bias), planes.scale)

    def one_conv_then_sum(self, node, slices, shifts, bias, flat):
        """Convolve once, every plane of the kernel being channels of its own, and shift the results."""
        parts = self.planes[node.input[0]]
        parts = parts if isinstance(parts, tuple) else (parts,)
        weight = np.concatenate(slices, axis=0)
        biases = np.concatenate([bias if shift == 0 else np.zeros_like(bias) for shift in shifts])
        total, start = None, 0
        for part in parts:
            inputs = [part.name, self.weight(weight[:, start : start + part.channels])]
            start += part.channels
            if total is None:
                total = self.op("Conv", *inputs, self.weight(biases), **flat)
            else:
                total = self.op("Add", self.op("Conv", *inputs, **flat), total)
        whole = _Planes(total, len(biases), parts[0].scale)
        moved = [self.moved(whole, shift, len(shifts), k) for k, shift in enumerate(shifts)]
        total = moved[0]
        for other in moved[1:]:
            total = self.op("Add", total, other)
        return self.as_planes(total, len(bias), whole.scale)

    def shifted(self, planes, shift):
        """Return the planes moved along z, zeros coming in."""
        if shift == 0:
            return planes.name
        return self.as_planes(self.moved(planes, shift, 1, 0), planes.channels, planes.scale).name

    def moved(self, planes, shift, groups, group):
        """Return one of several groups of channels, (batch, z, 1, numbers), moved along z."""
        name = self.reshape(planes.name, self.size(0, Fraction(1)), self.size(2, planes.scale[0]), groups, -1)
        # Negative padding cuts: one copy both moves the planes and picks the group.
        return self.op("Pad", name, self.numbers(0, shift, -group, 0, 0, -shift, group + 1 - groups, 0))

    def parameters(self, node):
        weight = self.old.constant(node.input[1])
        bias = self.old.constant(node.input[2]) if len(node.input) > 2 else np.zeros(1, np.float32)
        if weight is None or bias is None or weight.ndim != 5:
            raise _NoPlanesError
        outputs = weight.shape[1 if node.op_type == "ConvTranspose" else 0]
        return weight, np.broadcast_to(bias, (outputs,))
