"""Check that a file is sound and computes what the Keras network computes."""

import math

import keras
import numpy as np
import onnx
import onnxruntime

from calzoo.errors import CalzooError
from calzoo.export.tolerances import TOLERANCES
from calzoo.export.tracing import channels_first, permutation

_SHORTEST = 16  # voxels: long enough that the middle of a side does not see the border of every layer


def check_file(data):
    """Check that a file is valid ONNX, stands alone and needs only ONNX's own operators.

    Parameters
    ----------
    data : bytes

    Raises
    ------
    CalzooError
        If it does not; tf2onnx writes such files without a word.
    """
    model = onnx.load_from_string(data)
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        message = f"expected a valid ONNX graph, got: {error} Replace the layer that is named."
        raise CalzooError(message) from error
    domains = {node.domain for node in model.graph.node} - {"", "ai.onnx"}
    if domains or model.functions:
        message = f"expected ONNX's own operators alone, got domains {sorted(domains)} or functions."
        raise CalzooError(message)


def differences(model, data, card):
    """Compare a file with its Keras network on two sizes.

    Parameters
    ----------
    model : keras.Model
    data : bytes
        The .onnx file.
    card : calzoo.weights.card.Card
        Axes are those of the file: channels first.

    Returns
    -------
    list of dict
        For each size the shapes of the inputs by name and the largest difference of any
        output, in parts of its largest value where that exceeds 1.

    Raises
    ------
    CalzooError
        If the difference exceeds the tolerance (`calzoo.export.tolerances`), is not
        a number, or ONNX Runtime refuses the file.
    """
    session = _session(data)
    rng = np.random.default_rng(0)
    found = []
    for larger in (0, 1):
        shapes = {tensor.name: _shape(model, card, tensor, larger) for tensor in card.inputs}
        feeds = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
        expected = keras_outputs(model, card, feeds)
        names = [tensor.name for tensor in card.outputs]
        try:
            results = session.run(names, feeds)
        except Exception as error:  # onnxruntime's exceptions have no common base but this one
            message = f"ONNX Runtime fails on {shapes}: {error}"
            raise CalzooError(message) from error
        apart = [_largest(expected[name], r) for name, r in zip(names, results, strict=True)]
        largest = float(np.max(apart))  # not max(), which loses a NaN behind a number
        if not largest <= TOLERANCES["cpu"]:
            message = (
                f"the exported network differs from the Keras network by {largest:g} on {shapes}; at most "
                f"{TOLERANCES['cpu']:g} is allowed. Look for a layer that tf2onnx writes wrongly."
            )
            raise CalzooError(message)
        found.append({"shapes": {k: list(v) for k, v in shapes.items()}, "largest_difference": largest})
    return found


def check_weights(model):
    """Refuse a network with weights that are not finite.

    Raises
    ------
    CalzooError
    """
    for variable in model.weights:
        values = keras.ops.convert_to_numpy(variable)
        if not np.isfinite(values).all():
            message = f"expected finite weights, got NaN or infinity in {variable.path!r}; train again."
            raise CalzooError(message)


def keras_outputs(model, card, feeds):
    """Run the Keras network on arrays with the axes of the file.

    Parameters
    ----------
    model : keras.Model
    card : calzoo.weights.card.Card
    feeds : dict of str to ndarray
        Channels first.

    Returns
    -------
    dict of str to ndarray
        Channels first.
    """
    turned = [np.transpose(feeds[t.name], permutation(t.axes, _last(t.axes))) for t in card.inputs]
    results = model(turned if len(turned) > 1 else turned[0], training=False)
    results = results if isinstance(results, (list, tuple)) else [results]
    by_name = dict(zip(model.output_names, map(keras.ops.convert_to_numpy, results), strict=True))
    return {
        t.name: np.transpose(by_name[t.name], permutation(_last(t.axes), channels_first(t.axes)))
        for t in card.outputs
    }


def _last(axes):
    """Return axes with the channels last, as Keras has them."""
    return axes.replace("c", "") + "c" if "c" in axes else axes


def _shape(model, card, tensor, larger):
    """Return a legal shape; every unknown side of the larger one differs from the smaller one's."""
    symbol = next(s for s in model.inputs if s.name == tensor.name)
    sides = dict(zip(_last(tensor.axes), symbol.shape, strict=True))
    shape = []
    for place, axis in enumerate(tensor.axes):
        step = card.divisor.get(axis, 1)
        unknown = (
            1 + larger if axis == "b" else step * (math.ceil(_SHORTEST / step) + larger * (1 + place % 2))
        )
        shape.append(sides[axis] or unknown)
    return tuple(shape)


def _session(data):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # see above
        message = f"expected a network that ONNX Runtime can run, got: {error}"
        raise CalzooError(message) from error


def _largest(expected, result):
    """Return the largest difference; in parts of the largest value where values exceed 1, such as logits."""
    if expected.shape != result.shape:
        return math.inf
    return float(np.abs(expected - result).max() / max(np.abs(expected).max(), 1.0))
