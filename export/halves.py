"""Weights of convolutions as half-precision numbers, where that is what they were trained or rounded to."""

import numpy as np
from onnx import TensorProto

_LARGE = 1000  # numbers: the others are not worth two nodes
_EXACT = 1e-6  # relative: two roundings of float32


def store_halves(graph):
    """Store each weight that is float16 numbers times a factor per channel as these two.

    Runtimes multiply them when they open the file; the network computes what it did,
    and the file has half the size. A weight that is not of this kind stays as it is.

    Parameters
    ----------
    graph : calzoo.export.graph.Graph
        Changed in place; `factors` tells by what batch normalisation has multiplied the weights.
    """
    for node in [n for n in graph.nodes if n.op_type in ("Conv", "ConvTranspose")]:
        name = node.input[1]
        weight = graph.constant(name)
        if weight is None or weight.dtype != np.float32 or weight.size < _LARGE:
            continue
        axis = 0 if node.op_type == "Conv" else 1
        factor = np.asarray(graph.factors.get(name, 1), np.float32)
        if factor.ndim:
            factor = factor.reshape([-1 if place == axis else 1 for place in range(weight.ndim)])
        halves = np.divide(weight, factor, out=np.zeros_like(weight), where=factor != 0).astype(np.float16)
        if not np.allclose(halves.astype(np.float32) * factor, weight, rtol=_EXACT, atol=0):
            continue
        stored = graph.add_constant(halves, "halves")
        widened = graph.insert(node, "Cast", [stored], "widened", to=TensorProto.FLOAT)
        if factor.ndim:
            widened = graph.insert(node, "Mul", [widened, graph.add_constant(factor, "factor")], "scaled")
        node.input[1] = widened
    graph.prune()
