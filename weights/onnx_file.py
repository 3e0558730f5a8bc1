"""Look into an .onnx file before ONNX Runtime does: its card, and what it must not hold.

An .onnx file is a protocol buffer. Walking its fields by hand takes a
millisecond, needs no package, and skips the weights without copying them.
"""

from calzoo.errors import CalzooError
from calzoo.weights.card import CARD_KEY

# Field numbers of onnx.proto3 (ModelProto, GraphProto, ...): https://github.com/onnx/onnx/blob/main/onnx/onnx.proto
_MODEL_GRAPH, _MODEL_METADATA, _MODEL_FUNCTIONS = 7, 14, 25
_GRAPH_NODE, _GRAPH_INITIALIZER, _GRAPH_SPARSE = 1, 5, 15
_NODE_ATTRIBUTE, _NODE_DOMAIN = 5, 7
_ATTRIBUTE_TENSORS, _ATTRIBUTE_GRAPHS, _ATTRIBUTE_SPARSE = (5, 10), (6, 11), (22, 23)
_TENSOR_EXTERNAL, _TENSOR_LOCATION = 13, 14
_SPARSE_TENSORS = (1, 2)
_ENTRY_KEY, _ENTRY_VALUE = 1, 2

_DOMAINS = {"", "ai.onnx"}
_DEEPEST = 8  # graphs within graphs


def card_text(data):
    """Return the model card of an .onnx file after a safety check.

    Parameters
    ----------
    data : bytes
        The file.

    Returns
    -------
    str
        JSON.

    Raises
    ------
    CalzooError
        If the bytes are no .onnx file, have no card, refer to other files, or
        need operators that are not ONNX's own. The message lacks the file's
        name, which the caller knows.
    """
    metadata = metadata_of(data)
    if CARD_KEY not in metadata:
        message = (
            "expected an .onnx file with a model card (metadata 'calzoo.card'), got one without; "
            "export the network with 'calzoo export'."
        )
        raise CalzooError(message)
    return metadata[CARD_KEY]


def metadata_of(data):
    """Return the metadata of an .onnx file, with or without a card, after a safety check.

    Parameters
    ----------
    data : bytes

    Returns
    -------
    dict of str to str

    Raises
    ------
    CalzooError
        As `card_text`, but for the card.
    """
    try:
        return _read_model(memoryview(data))
    except (ValueError, IndexError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, CalzooError):
            raise
        message = "expected an .onnx file, got a damaged one or something else; fetch or export it again."
        raise CalzooError(message) from error


def _read_model(data):
    metadata, has_graph = {}, False
    for number, value in _fields(data):
        if number == _MODEL_GRAPH:
            _check_graph(value, depth=0)
            has_graph = True
        elif number == _MODEL_METADATA:
            entry = dict(_fields(value))
            metadata[_text(entry[_ENTRY_KEY])] = _text(entry.get(_ENTRY_VALUE, memoryview(b"")))
        elif number == _MODEL_FUNCTIONS:
            _refuse("functions of its own", "export it again with functions inlined")
    if not has_graph:
        message = "no graph"
        raise ValueError(message)
    return metadata


def _check_graph(data, depth):
    if depth > _DEEPEST:
        message = "graphs nested too deeply"
        raise ValueError(message)
    for number, value in _fields(data):
        if number == _GRAPH_NODE:
            _check_node(value, depth)
        elif number == _GRAPH_INITIALIZER:
            _check_tensor(value)
        elif number == _GRAPH_SPARSE:
            _check_sparse(value)


def _check_node(data, depth):
    for number, value in _fields(data):
        if number == _NODE_DOMAIN and _text(value) not in _DOMAINS:
            _refuse(f"operators of the domain {_text(value)!r}", "export it again with ONNX's own operators")
        if number == _NODE_ATTRIBUTE:
            for kind, part in _fields(value):
                if kind in _ATTRIBUTE_TENSORS:
                    _check_tensor(part)
                elif kind in _ATTRIBUTE_GRAPHS:
                    _check_graph(part, depth + 1)
                elif kind in _ATTRIBUTE_SPARSE:
                    _check_sparse(part)


def _check_sparse(data):
    for number, value in _fields(data):
        if number in _SPARSE_TENSORS:
            _check_tensor(value)


def _check_tensor(data):
    for number, value in _fields(data):
        if number == _TENSOR_EXTERNAL or (number == _TENSOR_LOCATION and value):
            _refuse("weights in another file", "export it again as one file")


def _refuse(what, remedy):
    message = f"expected an .onnx file that stands alone, got one with {what}; {remedy}."
    raise CalzooError(message)


def _fields(data):
    """Yield (field number, value): an int, or the bytes of a string, a message or a fixed-width number."""
    position = 0
    while position < len(data):
        tag, position = _varint(data, position)
        number, wire = tag >> 3, tag & 7
        if number == 0:
            message = "field number 0"
            raise ValueError(message)
        if wire == 0:
            value, position = _varint(data, position)
            yield number, value
            continue
        if wire == 2:
            length, position = _varint(data, position)
        elif wire in (1, 5):
            length = 8 if wire == 1 else 4
        else:
            message = f"wire type {wire}"
            raise ValueError(message)
        if position + length > len(data):
            message = "a field runs past the end"
            raise ValueError(message)
        yield number, data[position : position + length]
        position += length


def _varint(data, position):
    value = 0
    for shift in range(0, 70, 7):
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    message = "a number of more than ten bytes"
    raise ValueError(message)


def _text(value):
    return value.tobytes().decode("utf-8")
