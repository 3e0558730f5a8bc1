"""The 2-D form of a 3-D graph computes the same, at every size and batch."""

import numpy as np
import pytest

pytestmark = pytest.mark.train
onnx = pytest.importorskip("onnx")

import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from calzoo.export.graph import Graph
from calzoo.export.planes import to_planes

SHAPES = [(1, 4, 8, 12), (2, 2, 4, 4), (3, 6, 4, 8)]  # batch, z, y, x


def graph_of(nodes, constants, channels=2):
    """Return a graph from `image` to `result`; nodes are (kind, inputs, output, attributes)."""
    made = [helper.make_node(kind, i, [o], **(values[0] if values else {})) for kind, i, o, *values in nodes]
    values = [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["b", channels, "z", "y", "x"])
    result = helper.make_tensor_value_info("result", TensorProto.FLOAT, [None] * 5)
    proto = helper.make_graph(made, "toy", [image], [result], values)
    model = helper.make_model(proto, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    return Graph(model)


def session(graph):
    data = graph.model().SerializeToString()
    onnx.checker.check_model(onnx.load_from_string(data), full_check=True)
    return onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])


def assert_same_in_planes(rng, nodes, constants, channels=2, depth=1):
    graph = graph_of(nodes, constants, channels)
    planes = to_planes(graph, depth)
    weights = [planes.constant(n.input[1]) for n in planes.nodes if n.op_type in ("Conv", "ConvTranspose")]
    assert all(weight.ndim == 4 for weight in weights)
    whole, flat = session(graph), session(planes)
    for batch, z, y, x in SHAPES:
        sides = (z * depth, y, x)
        image = rng.normal(size=(batch, channels, *sides)).astype(np.float32)
        expected = whole.run(None, {"image": image})[0]
        np.testing.assert_allclose(flat.run(None, {"image": image})[0], expected, atol=2e-5)
    return planes


def same_pads(kernel):
    before = [(k - 1) // 2 for k in kernel]
    return before + [k - 1 - b for k, b in zip(kernel, before, strict=True)]


def weights(rng, *shape):
    return rng.normal(size=shape, scale=0.3).astype(np.float32)


@pytest.mark.parametrize(
    ("channels", "filters", "depth", "together"),
    [(2, 4, 1, 1), (8, 8, 2, 2), (4, 24, 2, 1)],
    ids=["alone", "in pairs", "wide"],
)
@pytest.mark.parametrize("kernel", [(3, 3, 3), (1, 3, 3), (4, 4, 4), (5, 1, 3), (1, 1, 1)], ids=str)
def test_convolution_is_the_same_in_planes(rng, channels, filters, depth, together, kernel):
    constants = {"w": weights(rng, filters, channels, *kernel), "b": weights(rng, filters)}
    nodes = [("Conv", ["image", "w", "b"], "result", {"pads": same_pads(kernel)})]
    planes = assert_same_in_planes(rng, nodes, constants, channels, depth)
    if kernel == (3, 3, 3):
        (conv,) = [node for node in planes.nodes if node.op_type == "Conv"]
        assert planes.constant(conv.input[1]).shape[0] == together * filters


@pytest.mark.parametrize("kernel", [(3, 3, 3), (4, 2, 2)], ids=str)
def test_convolution_of_many_channels_to_few_is_the_same_in_planes(rng, kernel):
    constants = {"w": weights(rng, 4, 40, *kernel), "b": weights(rng, 4)}
    nodes = [("Conv", ["image", "w", "b"], "result", {"pads": same_pads(kernel)})]
    planes = assert_same_in_planes(rng, nodes, constants, 40)
    assert planes.constant(next(n for n in planes.nodes if n.op_type == "Conv").input[1]).shape[0] > 4


def test_planes_are_taken_together_and_apart_between_layers(rng):
    """Behind the pooling along z there are half as many: none, some or all layers may have pairs."""
    pool = {"kernel_shape": [2, 2, 2], "strides": [2, 2, 2]}
    pads = {"pads": same_pads((3, 3, 3))}
    nodes = [
        ("Conv", ["image", "w", "b"], "c", pads),
        ("Relu", ["c"], "r"),
        ("MaxPool", ["r"], "p", pool),
        ("Conv", ["p", "w", "b"], "d", pads),
        ("ConvTranspose", ["d", "t"], "u", pool),
        ("Add", ["u", "r"], "s"),
        ("Mul", ["s", "per_channel"], "m"),
        ("Concat", ["m", "r"], "both", {"axis": 1}),
        ("Conv", ["both", "v", "b"], "e", pads),
        ("Add", ["e", "m"], "result"),
    ]
    constants = {
        "w": weights(rng, 8, 8, 3, 3, 3),
        "b": weights(rng, 8),
        "t": weights(rng, 8, 8, 2, 2, 2),
        "per_channel": weights(rng, 1, 8, 1, 1, 1),
        "v": weights(rng, 8, 16, 3, 3, 3) / 3,
    }
    for depth in (1, 2, 4):
        assert_same_in_planes(rng, nodes, constants, 8, depth)


def test_convolution_without_a_bias_is_the_same_in_planes(rng):
    nodes = [("Conv", ["image", "w"], "result", {"pads": same_pads((3, 3, 3))})]
    assert_same_in_planes(rng, nodes, {"w": weights(rng, 4, 9, 3, 3, 3)}, 9)


def test_convolution_of_concatenated_tensors_is_the_same_in_planes(rng):
    nodes = [
        ("Relu", ["image"], "r"),
        ("Concat", ["r", "image"], "both", {"axis": 1}),
        ("Conv", ["both", "w", "b"], "c", {"pads": same_pads((3, 3, 3))}),
        ("Conv", ["both", "v", "b"], "d", {"pads": same_pads((1, 1, 1))}),  # takes them as one tensor
        ("Add", ["c", "d"], "result"),
    ]
    constants = {"w": weights(rng, 3, 10, 3, 3, 3), "v": weights(rng, 3, 10, 1, 1, 1), "b": weights(rng, 3)}
    assert_same_in_planes(rng, nodes, constants, 5)


@pytest.mark.parametrize("pool", [[1, 2, 2], [2, 2, 2], [2, 1, 4]], ids=str)
def test_pooling_and_transposed_convolution_are_the_same_in_planes(rng, pool):
    nodes = [
        ("MaxPool", ["image"], "p", {"kernel_shape": pool, "strides": pool}),
        ("ConvTranspose", ["p", "w", "b"], "t", {"kernel_shape": pool, "strides": pool}),
        ("Concat", ["t", "image"], "result", {"axis": 1}),
    ]
    assert_same_in_planes(rng, nodes, {"w": weights(rng, 2, 3, *pool), "b": weights(rng, 3)})


def test_pooled_result_keeps_its_size(rng):
    pool = {"kernel_shape": [2, 2, 2], "strides": [2, 2, 2]}
    assert_same_in_planes(rng, [("MaxPool", ["image"], "result", pool)], {})


@pytest.mark.parametrize("scales", [[1, 1, 1, 2, 2], [1, 1, 2, 2, 2], [1, 1, 3, 1, 2]], ids=str)
def test_nearest_up_sampling_is_the_same_in_planes(rng, scales):
    values = {
        "mode": "nearest",
        "nearest_mode": "floor",
        "coordinate_transformation_mode": "asymmetric",
    }
    constants = {"scales": np.float32(scales)}
    assert_same_in_planes(rng, [("Resize", ["image", "", "scales"], "result", values)], constants)


def test_arithmetic_with_constants_and_between_tensors_is_the_same_in_planes(rng):
    nodes = [
        ("Mul", ["image", "per_channel"], "m"),
        ("Add", ["number", "m"], "a"),
        ("Sigmoid", ["a"], "s"),
        ("Sub", ["s", "image"], "result"),
    ]
    constants = {"per_channel": weights(rng, 1, 2, 1, 1, 1), "number": np.float32(0.5)}
    assert_same_in_planes(rng, nodes, constants)


def test_softmax_spelt_out_is_the_same_in_planes(rng):
    nodes = [
        ("ReduceMax", ["image"], "m", {"axes": [1]}),
        ("Sub", ["image", "m"], "d"),
        ("Exp", ["d"], "e"),
        ("ReduceSum", ["e", "one"], "s"),
        ("Div", ["e", "s"], "result"),
    ]
    assert_same_in_planes(rng, nodes, {"one": np.array([1])})


def test_graph_is_left_as_it_is(rng):
    graph = graph_of([("Conv", ["image", "w"], "result")], {"w": weights(rng, 2, 2, 1, 1, 1)})
    before = graph.model().SerializeToString()
    to_planes(graph)
    assert graph.model().SerializeToString() == before


STRIDED = {"pads": [1] * 6, "strides": [2, 2, 2]}
DILATED = {"pads": [2] * 6, "dilations": [2, 2, 2]}


@pytest.mark.parametrize(
    "node",
    [
        ("Conv", ["image", "w"], "result", STRIDED),
        ("Conv", ["image", "w"], "result", DILATED),
        ("Conv", ["image", "w"], "result"),  # no padding: the sides shrink
        ("MaxPool", ["image"], "result", {"kernel_shape": [3, 3, 3], "strides": [2, 2, 2]}),
        ("ConvTranspose", ["image", "w"], "result", {"strides": [2, 2, 2]}),
        ("Add", ["image", "columns"], "result"),
        ("ReduceMax", ["image"], "result", {"axes": [2]}),
        ("Concat", ["image", "image"], "result", {"axis": 2}),
        ("Transpose", ["image"], "result", {"perm": [0, 1, 2, 4, 3]}),
    ],
    ids=lambda node: node[0],
)
def test_what_has_no_form_in_planes_is_said_to_have_none(rng, node):
    constants = {"w": weights(rng, 2, 2, 3, 3, 3), "columns": np.ones((1, 1, 4, 1, 1), np.float32)}
    assert to_planes(graph_of([node], constants)) is None
