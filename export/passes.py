"""Small rewrites of a traced graph; each leaves what the graph computes as it was.

tf2onnx writes Keras' layers faithfully but not briefly: sizes that are known are
computed, tensors are turned around and back, one up-sampling becomes thirty
nodes. Runtimes cannot see through that when sides are dynamic.
"""

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from calzoo.export.graph import attributes

_MOVES = ("Unsqueeze", "Squeeze", "Tile", "Expand", "Transpose", "Reshape")
_ELEMENTWISE = ("Add", "Sub", "Mul", "Div", "Max", "Min", "LessOrEqual", "GreaterOrEqual")
_PROBE_SIDES = (2, 3, 5, 4, 6, 7)


def simplify(graph):
    """Apply every pass of this module in the order in which they help each other.

    Parameters
    ----------
    graph : calzoo.export.graph.Graph
        Channels-first; changed in place.
    """
    fold_constants(graph)
    drop_crops(graph)
    name_moves(graph)
    fold_affine(graph)
    write_pads(graph)
    spell_softmax(graph)
    widen_scalars(graph)
    graph.prune()


def fold_constants(graph):
    """Compute what depends on constants alone.

    Parameters
    ----------
    graph : calzoo.export.graph.Graph
        Changed in place.
    """
    constant, nodes = set(graph.constants), []
    for node in graph.nodes:
        if all(not name or name in constant for name in node.input):
            constant.update(node.output)
            nodes.append(node)
    computed = {name for node in nodes for name in node.output if name}
    graph.nodes = [node for node in graph.nodes if not computed.intersection(node.output)]
    taken = {name for node in graph.nodes for name in node.input}
    needed = [name for name in computed if name in taken or graph.is_output(name)]
    if needed:
        graph.constants.update(zip(needed, _run(graph, nodes, needed), strict=True))
    graph.prune()


def drop_crops(graph):
    """Remove the cropping and padding to a computed size behind transposed convolutions.

    Where the kernel is the stride, every voxel yields exactly ``stride`` voxels:
    the size that is computed is the size that is there.

    Parameters
    ----------
    graph : calzoo.export.graph.Graph
        Changed in place.
    """
    for node in [n for n in graph.nodes if n.op_type == "ConvTranspose" and _fills_exactly(n)]:
        for kind in ("Slice", "Pad"):
            user = _only_user(graph, node.output[0])
            if user is not None and user.op_type == kind and _touches_sides_only(graph, user):
                graph.bypass(user)
    graph.prune()


def name_moves(graph):
    """Replace chains that only move or repeat numbers by what they amount to.

    A chain of Unsqueeze, Tile, Transpose, Reshape and the like is run on two small
    tensors. If nothing has changed it is removed; if every number has been repeated
    along some axes (up-sampling), one ``Resize`` takes its place.

    Parameters
    ----------
    graph : calzoo.export.graph.Graph
        Changed in place.
    """
    for name in [n.output[0] for n in graph.nodes if n.op_type in _MOVES]:
        first = graph.producer(name)
        if not _moves(first) or _moves(graph.producer(first.input[0])):
            continue  # replaced already, or not the first of its chain
        source, end = first.input[0], _end_of_chain(graph, first)
        factors = _repeats(graph, source, end.output[0])
        if factors is None:
            continue
        result = source
        if max(factors) > 1:
            scales = graph.add_constant(np.asarray(factors, np.float32), "scales")
            result = graph.insert(
                first,
                "Resize",
                [source, "", scales],
                "upsampled",
                mode="nearest",
                nearest_mode="floor",
                coordinate_transformation_mode="asymmetric",
            )
        graph.remove(end)
        graph.redirect(end.output[0], result)
        graph.prune()


def fold_affine(graph):
    """Fold constants that a convolution's result is multiplied by or that are added into the convolution.

    This is what batch normalisation and the bias of a transposed convolution are
    once a network is trained.

    Parameters
    ----------
    graph : calzoo.export.graph.Graph
        Changed in place.
    """
    for node in [n for n in graph.nodes if n.op_type in ("Conv", "ConvTranspose")]:
        while (user := _only_user(graph, node.output[0])) is not None:
            factor, shift = _affine(graph, user, node.output[0])
            if factor is None or not _fold(graph, node, factor, shift):
                break
            _drop_user(graph, node, user)
    graph.prune()


def write_pads(graph):
    """Write "same" padding of convolutions with stride 1 in numbers, which is what optimisers look for.

    Parameters
    ----------
    graph : calzoo.export.graph.Graph
        Changed in place.
    """
    for node in [n for n in graph.nodes if n.op_type == "Conv"]:
        values = attributes(node)
        kernel = graph.constants[node.input[1]].shape[2:]
        if values.get("auto_pad") != b"SAME_UPPER" or max(values.get("strides", [1])) > 1:
            continue
        dilations = values.get("dilations", [1] * len(kernel))
        total = [(k - 1) * d for k, d in zip(kernel, dilations, strict=True)]
        before = [t // 2 for t in total]
        after = [t - b for t, b in zip(total, before, strict=True)]
        kept = [a for a in node.attribute if a.name not in ("auto_pad", "pads")]
        del node.attribute[:]
        node.attribute.extend([*kept, helper.make_attribute("pads", before + after)])


def spell_softmax(graph):
    """Write softmax over channels as exp and sums.

    ONNX Runtime turns the tensor around for a softmax over any axis but the last:
    39 ms instead of 6 ms for three classes of 32 x 128 x 128 voxels.

    Parameters
    ----------
    graph : calzoo.export.graph.Graph
        Changed in place.
    """
    shapes = graph.shapes()
    for node in [n for n in graph.nodes if n.op_type == "Softmax"]:
        rank = len(shapes.get(node.input[0], ()))
        axis = attributes(node).get("axis", -1)
        if rank < 3 or axis % rank != 1:
            continue
        logits = node.input[0]
        top = graph.insert(node, "ReduceMax", [logits], "softmax_max", axes=[1])
        shifted = graph.insert(node, "Sub", [logits, top], "softmax_shifted")
        powers = graph.insert(node, "Exp", [shifted], "softmax_exp")
        channel = graph.add_constant(np.array([1], np.int64), "channel_axis")
        total = graph.insert(node, "ReduceSum", [powers, channel], "softmax_sum")
        share = graph.insert(node, "Div", [powers, total], "softmax")
        graph.remove(node)
        graph.redirect(node.output[0], share)
    graph.prune()


def widen_scalars(graph):
    """Give single numbers as many axes as the tensors that they are added to or multiplied by.

    ONNX Runtime's loops over a tensor and a number are vectorised only then: a product of
    a million numbers with one takes 0.4 ms instead of 30 ms.

    Parameters
    ----------
    graph : calzoo.export.graph.Graph
        Changed in place.
    """
    shapes = graph.shapes()
    for node in [n for n in graph.nodes if n.op_type in _ELEMENTWISE]:
        rank = max(len(shapes.get(name, ())) for name in node.input)
        for place, name in enumerate(node.input):
            value = graph.constant(name)
            if value is not None and value.size == 1 and value.ndim < rank:
                node.input[place] = graph.add_constant(value.reshape([1] * rank), f"{name}_wide")
    graph.prune()


def _only_user(graph, name):
    """Return the one node that takes the numbers, not only the shape, of `name`, or None."""
    users = [node for node in graph.consumers(name) if node.op_type != "Shape"]
    return users[0] if len(users) == 1 and not graph.is_output(name) else None


def _fills_exactly(node):
    values = attributes(node)
    plain = not any(values.get("pads", [0])) and not any(values.get("output_padding", [0]))
    return plain and values.get("kernel_shape") == values.get("strides") and "output_shape" not in values


def _touches_sides_only(graph, node):
    """Say whether a crop or padding leaves batch and channels alone, so that only sides can be meant."""
    if node.op_type == "Pad":
        return attributes(node).get("mode", b"constant") == b"constant"
    axes = graph.constant(node.input[3]) if len(node.input) > 3 else None
    steps = graph.constant(node.input[4]) if len(node.input) > 4 else np.ones(1)
    return axes is not None and axes.min() >= 2 and steps is not None and (steps == 1).all()


def _moves(node):
    return node is not None and node.op_type in _MOVES


def _end_of_chain(graph, node):
    """Return the last of the moves that follow `node` without a branch."""
    while True:
        user = _only_user(graph, node.output[0])
        if not _moves(user) or user.input[0] != node.output[0]:
            return node
        node = user


def _repeats(graph, source, end):
    """Return how often `end` repeats `source` along each axis, or None if it does anything else."""
    shape = graph.shapes().get(source)
    nodes = _between(graph, source, end)
    if shape is None or nodes is None or len(shape) < 3:  # sizes are computed in vectors
        return None
    found = set()
    for spare in (_PROBE_SIDES, _PROBE_SIDES[::-1]):
        probe = np.zeros([side or spare[i] for i, side in enumerate(shape)], np.float32)
        probe.flat = np.arange(probe.size)
        try:
            (result,) = _run(graph, nodes, [end], {source: probe})
        except Exception:  # onnxruntime's have no common base but this one; no chain that we know
            return None
        if result.ndim != probe.ndim or any(np.mod(result.shape, probe.shape)):
            return None
        factors = tuple(r // p for r, p in zip(result.shape, probe.shape, strict=True))
        for axis, factor in enumerate(factors):
            probe = probe.repeat(factor, axis)
        if not np.array_equal(result, probe):
            return None
        found.add(factors)
    return found.pop() if len(found) == 1 else None


def _between(graph, source, end):
    """Return the nodes that compute `end` from `source` and constants, or None if it needs anything else."""
    needed, nodes = {end}, []
    for node in reversed(graph.nodes):
        if needed.intersection(node.output) and source not in node.output:
            nodes.append(node)
            needed.update(name for name in node.input if name)
    known = {*graph.constants, source, *(o for node in nodes for o in node.output)}
    return nodes[::-1] if needed <= known else None


def _run(graph, nodes, names, feeds=None):
    """Return what some nodes of the graph compute from constants and `feeds` (float32)."""
    feeds = feeds or {}
    used = {name for node in nodes for name in node.input}
    values = [numpy_helper.from_array(array, name) for name, array in graph.constants.items() if name in used]
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [None] * array.ndim)
        for name, array in feeds.items()
    ]
    outputs = [onnx.ValueInfoProto(name=name) for name in names]
    model = helper.make_model(
        helper.make_graph(nodes, "part", inputs, outputs, values),
        opset_imports=graph.opset,
        ir_version=graph.ir_version,
    )
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return session.run(names, feeds)


def _affine(graph, user, name):
    """Return (factor, shift) if `user` multiplies or adds a constant to `name`, else (None, None)."""
    if user.op_type not in ("Mul", "Add", "Sub") or list(user.input).count(name) != 1:
        return None, None
    other = user.input[1] if user.input[0] == name else user.input[0]
    value = graph.constant(other)
    if value is None or (user.op_type == "Sub" and user.input[0] != name):
        return None, None
    if user.op_type == "Mul":
        return value, np.zeros_like(value)
    return np.ones_like(value), value if user.op_type == "Add" else -value


def _fold(graph, node, factor, shift):
    """Fold a factor and a shift per channel into a convolution; say whether it could be done."""
    weight = graph.constant(node.input[1])
    bias = graph.constant(node.input[2]) if len(node.input) > 2 else np.zeros(1, np.float32)
    if weight is None or bias is None or attributes(node).get("group", 1) != 1:
        return False
    axis = 0 if node.op_type == "Conv" else 1
    channels = weight.shape[axis]
    if any(v.size != 1 and v.shape != (1, channels, *(1,) * (weight.ndim - 2)) for v in (factor, shift)):
        return False
    factor, shift = (np.broadcast_to(v.ravel(), channels) for v in (factor, shift))
    along = [1] * weight.ndim
    along[axis] = channels
    weight = (weight * factor.reshape(along)).astype(np.float32)
    bias = (bias * factor + shift).astype(np.float32)
    names = [graph.add_constant(weight, "weight"), graph.add_constant(bias, "bias")]
    graph.factors[names[0]] = graph.factors.get(node.input[1], 1) * factor
    node.input[:] = [node.input[0], *names]
    return True


def _drop_user(graph, node, user):
    """Remove the node whose constant has been folded into the convolution `node`."""
    graph.remove(user)
    graph.redirect(user.output[0], node.output[0])
