"""Keras to a first ONNX graph, by way of TensorFlow and tf2onnx."""

import logging
import warnings

import keras

from calzoo.errors import CalzooError
from calzoo.export.graph import Graph
from calzoo.export.sampling import as_operators

#: Fiji's engines read up to 17, and IR 8 belongs to it (spec: opset 17 runs from onnxruntime 1.12 on).
OPSET = 17
IR_VERSION = 8
AXIS_NAMES = {"b": "batch", "t": "time", "c": "channel", "z": "z", "y": "y", "x": "x"}
#: Axes that may have another length than those of the same letter: equal names promise equal lengths.
OWN_NAMES = {"template": {"b": "templates"}, "uncertainty": {"y": "cells_y", "x": "cells_x"}}


def channels_first(axes):
    """Return axes with the channels behind the batch: what ONNX Runtime computes in.

    Parameters
    ----------
    axes : str
        One letter per dimension, e.g. ``"bzyxc"``.

    Returns
    -------
    str

    Examples
    --------
    >>> channels_first("bzyxc")
    'bczyx'
    """
    return axes if "c" not in axes else axes.replace("c", "").replace("b", "bc", 1)


def permutation(axes, wanted):
    """Return the order in which ``numpy.transpose`` turns `axes` into `wanted`.

    Examples
    --------
    >>> permutation("bzyxc", "bczyx")
    [0, 4, 1, 2, 3]
    """
    return [axes.index(axis) for axis in wanted]


def trace(model, inputs, outputs):
    """Trace a model into an ONNX graph with named inputs, outputs and axes.

    Inputs and outputs are turned to channels first: inside, tf2onnx computes so
    anyway, and the turns cancel. Kernels are arguments while it is traced, and
    constants afterwards: TensorFlow and tf2onnx copy constants so often that 70
    million weights took 22 GB.

    Parameters
    ----------
    model : keras.Model
        Functional; its input and output layers have the names of the card.
    inputs, outputs : sequence of calzoo.weights.card.Tensor
        With the axes of the Keras model (channels last).

    Returns
    -------
    calzoo.export.graph.Graph

    Raises
    ------
    CalzooError
        If names or number of axes are not those of the model, or tf2onnx fails.
    """
    import tensorflow as tf

    _check("inputs", inputs, _input_names(model), model.inputs)
    _check("outputs", outputs, model.output_names, model.outputs)
    kernels = [variable for variable in model.weights if len(variable.shape) > 1]
    call = _channels_first_call(model, inputs, outputs, kernels)
    function = tf.function(call, input_signature=_signature(model, inputs, kernels))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tf2onnx meets newer NumPy and protobuf
        import tf2onnx

        logging.getLogger("tf2onnx").setLevel(logging.ERROR)
        try:
            with as_operators() as handlers:
                proto, _ = tf2onnx.convert.from_function(
                    function, function.input_signature, opset=OPSET, custom_op_handlers=handlers
                )
        except Exception as error:  # of any kind: Keras, TensorFlow and tf2onnx are at work here
            message = (
                f"{model.name!r}: expected a network that tf2onnx can write, got "
                f"{type(error).__name__}: {error}. Replace the layer that is named."
            )
            raise CalzooError(message) from error
    graph = Graph(proto)
    graph.ir_version = IR_VERSION
    for value, kernel in zip(graph.inputs[len(inputs) :], kernels, strict=True):
        graph.constants[value.name] = keras.ops.convert_to_numpy(kernel)
    graph.inputs = graph.inputs[: len(inputs)]
    for value, tensor in zip((*graph.inputs, *graph.outputs), (*inputs, *outputs), strict=True):
        graph.rename(value.name, tensor.name)
    name_axes(graph, inputs, outputs)
    return graph


def name_axes(graph, inputs, outputs):
    """Name the dynamic axes of inputs and outputs ``batch``, ``z``, ``y``, ``x``.

    Parameters
    ----------
    graph : calzoo.export.graph.Graph
        Changed in place.
    inputs, outputs : sequence of calzoo.weights.card.Tensor
        Any axes of the same letters; the graph has their channels first.
    """
    for value, tensor in zip((*graph.inputs, *graph.outputs), (*inputs, *outputs), strict=True):
        axes = channels_first(tensor.axes)
        for axis, side in zip(axes, value.type.tensor_type.shape.dim, strict=True):
            if not side.dim_value:
                side.dim_param = OWN_NAMES.get(tensor.name, {}).get(axis, AXIS_NAMES[axis])


def _channels_first_call(model, inputs, outputs, kernels):
    import tensorflow as tf

    def call(*arrays):
        values = list(zip(kernels, arrays[len(inputs) :], strict=True))
        turned = {
            tensor.name: tf.transpose(array, permutation(channels_first(tensor.axes), tensor.axes))
            for tensor, array in zip(inputs, arrays[: len(inputs)], strict=True)
        }
        with keras.StatelessScope(state_mapping=values):
            results = model(turned if len(turned) > 1 else next(iter(turned.values())), training=False)
        results = results if isinstance(results, (list, tuple)) else [results]
        by_name = dict(zip(model.output_names, results, strict=True))
        return tuple(
            tf.transpose(by_name[tensor.name], permutation(tensor.axes, channels_first(tensor.axes)))
            for tensor in outputs
        )

    return call


def _signature(model, inputs, kernels):
    import tensorflow as tf

    shapes = dict(zip(_input_names(model), (t.shape for t in model.inputs), strict=True))
    specs = []
    for tensor in inputs:
        shape = [shapes[tensor.name][i] for i in permutation(tensor.axes, channels_first(tensor.axes))]
        specs.append(tf.TensorSpec(shape, tensor.dtype, name=tensor.name))
    return specs + [tf.TensorSpec(kernel.shape, kernel.dtype) for kernel in kernels]


def _check(kind, tensors, names, symbols):
    ranks = dict(zip(names, (len(symbol.shape) for symbol in symbols), strict=True))
    if {tensor.name: len(tensor.axes) for tensor in tensors} != ranks:
        declared = {tensor.name: tensor.axes for tensor in tensors}
        message = (
            f"the card declares the {kind} {declared}, the network has {ranks} (name: number of axes). "
            "Name the layers of the network, which are its API, as the card does."
        )
        raise CalzooError(message)


def _input_names(model):
    return [symbol.name for symbol in model.inputs]
