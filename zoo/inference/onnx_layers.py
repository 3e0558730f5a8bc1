"""Show what is inside an .onnx file: name its tensors, and make one of them an output.

The file is changed as bytes, field by field, so that no package for ONNX is needed.
"""

from dataclasses import dataclass

from calzoo.errors import CalzooError
from calzoo.weights.onnx_file import _fields, _text, metadata_of

_MODEL_GRAPH, _GRAPH_NODE, _GRAPH_INPUT, _GRAPH_OUTPUT = 7, 1, 11, 12
_NODE_INPUT, _NODE_OUTPUT, _NODE_KIND = 1, 2, 4
_VALUE_NAME = 1
#: Operators that make feature maps, and those that leave maps what they are.
_MAKES = ("Conv", "MaxPool", "AveragePool", "ConvTranspose")
_KEEPS = ("Relu", "LeakyRelu", "Clip", "BatchNormalization", "Elu", "HardSwish", "Sigmoid", "PRelu")


@dataclass(frozen=True)
class Node:
    """One operator of a graph, with the names of its tensors."""

    kind: str
    inputs: tuple
    outputs: tuple


def nodes(data):
    """Return the operators of an .onnx file in the order in which they run.

    Parameters
    ----------
    data : bytes

    Returns
    -------
    list of Node

    Raises
    ------
    CalzooError
        If the bytes are no .onnx file that stands alone.
    """
    metadata_of(data)
    graph = next(value for number, value in _fields(memoryview(data)) if number == _MODEL_GRAPH)
    return [_node(value) for number, value in _fields(graph) if number == _GRAPH_NODE]


def last_maps(data):
    """Return the name of the last feature maps: of the last convolution or pooling, and what follows it.

    Parameters
    ----------
    data : bytes

    Raises
    ------
    CalzooError
        If there is no convolution.
    """
    listed = nodes(data)
    found = None
    for node in listed:
        if node.kind in _MAKES or (node.kind in _KEEPS and found in node.inputs):
            found = node.outputs[0]
    if found is None:
        message = "expected a network with convolutions, got none; say with layer= which tensor to look at."
        raise CalzooError(message)
    return found


def with_output(data, name):
    """Return an .onnx file of which a tensor inside is an output too.

    Parameters
    ----------
    data : bytes
    name : str
        Of the tensor; see `nodes`.

    Returns
    -------
    bytes

    Raises
    ------
    CalzooError
        If there is no such tensor.
    """
    listed = nodes(data)
    known = [output for node in listed for output in node.outputs]
    if name not in known:
        message = (
            f"expected the name of a tensor inside the network, got {name!r}; the last are {known[-6:]}."
        )
        raise CalzooError(message)
    view = memoryview(data)
    changed = []
    for number, value in _fields(view):
        if number == _MODEL_GRAPH and name not in _outputs(value):
            # A repeated field may be appended anywhere: here, at the end of the graph.
            value = bytes(value) + _field(_GRAPH_OUTPUT, _field(_VALUE_NAME, name.encode()))
        changed.append(_varint_field(number, value) if isinstance(value, int) else _field(number, value))
    return b"".join(changed)


def _outputs(graph):
    values = [value for number, value in _fields(graph) if number == _GRAPH_OUTPUT]
    return [_text(part) for value in values for number, part in _fields(value) if number == _VALUE_NAME]


def _node(data):
    kind, inputs, outputs = "", [], []
    for number, value in _fields(data):
        if number == _NODE_INPUT:
            inputs.append(_text(value))
        elif number == _NODE_OUTPUT:
            outputs.append(_text(value))
        elif number == _NODE_KIND:
            kind = _text(value)
    return Node(kind, tuple(inputs), tuple(outputs))


def _field(number, value):
    """Return a field that holds bytes."""
    return _varint(number << 3 | 2) + _varint(len(value)) + bytes(value)


def _varint_field(number, value):
    return _varint(number << 3) + _varint(value)


def _varint(value):
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    parts.append(value)
    return bytes(parts)
