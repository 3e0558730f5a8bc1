"""Every pass keeps what a graph computes, does what it is for, and leaves alone what only looks alike."""

import numpy as np
import pytest

pytestmark = pytest.mark.train
onnx = pytest.importorskip("onnx")

import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from calzoo.export import passes
from calzoo.export.graph import Graph, attributes


def graph_of(nodes, constants, shape=("b", 2, "z", "y", "x"), output_rank=5):
    """Return a graph from `image` to `result`; nodes are (kind, inputs, output, attributes)."""
    made = [helper.make_node(kind, i, [o], **(values[0] if values else {})) for kind, i, o, *values in nodes]
    values = [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)
    result = helper.make_tensor_value_info("result", TensorProto.FLOAT, [None] * output_rank)
    proto = helper.make_graph(made, "toy", [image], [result], values)
    model = helper.make_model(proto, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    return Graph(model)


def compute(graph, image):
    data = graph.model().SerializeToString()
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    return session.run(["result"], {"image": image})[0]


def kinds(graph):
    return [node.op_type for node in graph.nodes]


def assert_same(graph, change, image):
    """Apply a pass; the result on `image` stays, the file stays valid."""
    before = compute(graph, image)
    change(graph)
    onnx.checker.check_model(graph.model(), full_check=True)
    np.testing.assert_allclose(compute(graph, image), before, atol=1e-6)


@pytest.fixture
def image(rng):
    return rng.normal(size=(2, 2, 3, 4, 5)).astype(np.float32)


def test_what_depends_on_constants_alone_is_computed(rng, image):
    constants = {"w": rng.normal(size=(1, 2, 2, 2, 3)).astype(np.float32), "two": np.float32(2)}
    nodes = [
        ("Transpose", ["w"], "turned", {"perm": [4, 3, 0, 1, 2]}),
        ("Mul", ["turned", "two"], "doubled"),
        ("Conv", ["image", "doubled"], "result"),
    ]
    graph = graph_of(nodes, constants)
    assert_same(graph, passes.fold_constants, image)
    assert kinds(graph) == ["Conv"]
    np.testing.assert_array_equal(graph.constant("doubled"), 2 * constants["w"].transpose(4, 3, 0, 1, 2))
    assert list(graph.constants) == ["doubled"]


def crop_after(rng, kernel, strides):
    """Return a transposed convolution with its size computed and cut to, as tf2onnx writes it."""
    constants = {
        "w": rng.normal(size=(2, 3, *kernel)).astype(np.float32),
        "strides": np.array(strides),
        "first": [2],
        "last": [5],
        "one": [1],
        "zero": [0],
        "axes": [2, 3, 4],
        "starts": [0, 0, 0],
        "pads": np.zeros(10, np.int64),
    }
    nodes = [
        ("ConvTranspose", ["image", "w"], "big", {"strides": strides, "kernel_shape": kernel}),
        ("Shape", ["image"], "shape"),
        ("Slice", ["shape", "first", "last"], "sides"),
        ("Mul", ["sides", "strides"], "ends"),
        ("Slice", ["big", "starts", "ends", "axes"], "cut"),
        ("Pad", ["cut", "pads"], "result"),
    ]
    return graph_of(nodes, {k: np.asarray(v) for k, v in constants.items()})


def test_crop_behind_a_transposed_convolution_that_fills_exactly_is_dropped(rng, image):
    graph = crop_after(rng, [1, 2, 2], [1, 2, 2])
    assert_same(graph, passes.drop_crops, image)
    assert kinds(graph) == ["ConvTranspose"]


def test_crop_of_a_transposed_convolution_that_overlaps_is_kept(rng, image):
    graph = crop_after(rng, [3, 3, 3], [2, 2, 2])
    before = kinds(graph)
    assert_same(graph, passes.drop_crops, image)
    assert kinds(graph) == before


def test_crop_that_names_no_axes_is_kept(rng, image):
    constants = {
        "w": rng.normal(size=(2, 3, 2, 2, 2)).astype(np.float32),
        "starts": np.zeros(5, np.int64),
        "ends": np.full(5, 2),
    }
    nodes = [
        ("ConvTranspose", ["image", "w"], "big", {"strides": [2, 2, 2], "kernel_shape": [2, 2, 2]}),
        ("Slice", ["big", "starts", "ends"], "result"),
    ]
    graph = graph_of(nodes, constants)
    assert_same(graph, passes.drop_crops, image)
    assert kinds(graph) == ["ConvTranspose", "Slice"]


def test_crop_of_channels_is_kept(rng, image):
    constants = {
        "w": rng.normal(size=(2, 3, 2, 2, 2)).astype(np.float32),
        "starts": np.array([0]),
        "ends": np.array([2]),
        "axes": np.array([1]),
    }
    nodes = [
        ("ConvTranspose", ["image", "w"], "big", {"strides": [2, 2, 2], "kernel_shape": [2, 2, 2]}),
        ("Slice", ["big", "starts", "ends", "axes"], "result"),
    ]
    graph = graph_of(nodes, constants)
    assert_same(graph, passes.drop_crops, image)
    assert kinds(graph) == ["ConvTranspose", "Slice"]


def test_chain_that_repeats_columns_becomes_one_resize(image):
    """As tf2onnx writes it: channels last, a new axis, tiled, merged, channels first."""
    constants = {
        "behind_columns": np.array([4]),
        "tile": np.array([1, 1, 1, 1, 2, 1]),
        "order": np.array([0, 2, 3, 4, 1]),
        "factors": np.array([1, 1, 1, 2, 1]),
    }
    nodes = [
        ("Transpose", ["image"], "last", {"perm": [0, 2, 3, 4, 1]}),
        ("Shape", ["image"], "shape"),
        ("Gather", ["shape", "order"], "last_shape"),
        ("Mul", ["last_shape", "factors"], "size"),
        ("Unsqueeze", ["last", "behind_columns"], "apart"),
        ("Tile", ["apart", "tile"], "tiled"),
        ("Reshape", ["tiled", "size"], "merged"),
        ("Transpose", ["merged"], "first", {"perm": [0, 4, 1, 2, 3]}),
        ("Relu", ["first"], "result"),
    ]
    graph = graph_of(nodes, constants)
    assert_same(graph, passes.name_moves, image)
    assert kinds(graph) == ["Resize", "Relu"]
    np.testing.assert_array_equal(graph.constant(graph.nodes[0].input[2]), [1, 1, 1, 1, 2])


def test_chain_that_tiles_the_whole_row_is_kept(image):
    """0 1 2 0 1 2 is no up-sampling."""
    graph = graph_of([("Tile", ["image", "tile"], "result")], {"tile": np.array([1, 1, 1, 1, 2])})
    assert_same(graph, passes.name_moves, image)
    assert kinds(graph) == ["Tile"]


def test_transpose_that_matters_is_kept(image):
    nodes = [("Transpose", ["image"], "t", {"perm": [0, 1, 2, 4, 3]}), ("Relu", ["t"], "result")]
    graph = graph_of(nodes, {})
    assert_same(graph, passes.name_moves, image)
    assert kinds(graph) == ["Transpose", "Relu"]


def test_transposes_that_cancel_are_removed_and_the_output_keeps_its_name(image):
    nodes = [
        ("Relu", ["image"], "r"),
        ("Transpose", ["r"], "t", {"perm": [0, 2, 3, 4, 1]}),
        ("Transpose", ["t"], "result", {"perm": [0, 4, 1, 2, 3]}),
    ]
    graph = graph_of(nodes, {})
    assert_same(graph, passes.name_moves, image)
    assert kinds(graph) == ["Relu"]


def test_network_of_cancelling_moves_alone_hands_its_input_on(image):
    nodes = [
        ("Transpose", ["image"], "t", {"perm": [0, 2, 3, 4, 1]}),
        ("Transpose", ["t"], "result", {"perm": [0, 4, 1, 2, 3]}),
    ]
    graph = graph_of(nodes, {})
    assert_same(graph, passes.name_moves, image)
    assert kinds(graph) == ["Identity"]


def test_reshape_that_restates_one_channel_is_removed(rng):
    image = rng.normal(size=(2, 1, 3, 4, 5)).astype(np.float32)
    nodes = [("Reshape", ["image", "shape"], "r"), ("Relu", ["r"], "result")]
    graph = graph_of(nodes, {"shape": np.array([-1, 1, 0, 0, 0])}, shape=("b", 1, "z", "y", "x"))
    assert_same(graph, passes.name_moves, image)
    assert kinds(graph) == ["Relu"]


@pytest.mark.parametrize("kind", ["Conv", "ConvTranspose"])
def test_normalisation_and_bias_are_folded_into_the_convolution(rng, image, kind):
    per_channel = (1, 3, 1, 1, 1)
    constants = {
        "w": rng.normal(size=(3, 2, 1, 2, 2) if kind == "Conv" else (2, 3, 1, 2, 2)).astype(np.float32),
        "scale": rng.normal(size=per_channel).astype(np.float32),
        "shift": rng.normal(size=per_channel).astype(np.float32),
        "mean": np.float32(0.5),
    }
    nodes = [
        (kind, ["image", "w"], "c"),
        ("Sub", ["c", "mean"], "d"),
        ("Mul", ["scale", "d"], "e"),
        ("Add", ["e", "shift"], "f"),
        ("Relu", ["f"], "result"),
    ]
    graph = graph_of(nodes, constants)
    assert_same(graph, passes.fold_affine, image)
    assert kinds(graph) == [kind, "Relu"]


@pytest.mark.parametrize(
    ("kind", "inputs", "constant"),
    [
        ("Add", ["c", "v"], np.ones((1, 1, 1, 1, 5), np.float32)),  # differs from column to column
        ("Sub", ["v", "c"], np.ones((1, 3, 1, 1, 1), np.float32)),  # the other way round
        ("Add", ["c", "c"], None),
    ],
    ids=["per column", "subtracted from", "itself"],
)
def test_what_is_no_shift_per_channel_is_not_folded(rng, image, kind, inputs, constant):
    constants = {"w": rng.normal(size=(3, 2, 1, 1, 1)).astype(np.float32)}
    if constant is not None:
        constants["v"] = constant
    graph = graph_of([("Conv", ["image", "w"], "c"), (kind, inputs, "result")], constants)
    assert_same(graph, passes.fold_affine, image)
    assert kinds(graph) == ["Conv", kind]


def test_convolution_that_two_nodes_take_is_not_folded_into(rng, image):
    constants = {"w": rng.normal(size=(3, 2, 1, 1, 1)).astype(np.float32), "v": np.float32(2)}
    nodes = [("Conv", ["image", "w"], "c"), ("Mul", ["c", "v"], "d"), ("Add", ["c", "d"], "result")]
    graph = graph_of(nodes, constants)
    assert_same(graph, passes.fold_affine, image)
    assert kinds(graph) == ["Conv", "Mul", "Add"]


@pytest.mark.parametrize(
    ("kernel", "pads"), [((1, 3, 3), [0, 1, 1, 0, 1, 1]), ((2, 4, 5), [0, 1, 2, 1, 2, 2])]
)
def test_same_padding_is_written_in_numbers(rng, image, kernel, pads):
    constants = {"w": rng.normal(size=(3, 2, *kernel)).astype(np.float32)}
    graph = graph_of([("Conv", ["image", "w"], "result", {"auto_pad": "SAME_UPPER"})], constants)
    assert_same(graph, passes.write_pads, image)
    assert attributes(graph.nodes[0]) == {"pads": pads}


def test_same_padding_of_a_strided_convolution_depends_on_the_size_and_is_kept(rng, image):
    constants = {"w": rng.normal(size=(3, 2, 3, 3, 3)).astype(np.float32)}
    nodes = [("Conv", ["image", "w"], "result", {"auto_pad": "SAME_UPPER", "strides": [2, 2, 2]})]
    graph = graph_of(nodes, constants)
    assert_same(graph, passes.write_pads, image)
    assert attributes(graph.nodes[0])["auto_pad"] == b"SAME_UPPER"


@pytest.mark.parametrize("axis", [1, -4])
def test_softmax_over_channels_is_spelt_out(image, axis):
    graph = graph_of([("Softmax", ["image"], "result", {"axis": axis})], {})
    assert_same(graph, passes.spell_softmax, image * 100)  # exp of the largest would overflow
    assert kinds(graph) == ["ReduceMax", "Sub", "Exp", "ReduceSum", "Div"]


def test_softmax_over_columns_is_kept(image):
    graph = graph_of([("Softmax", ["image"], "result")], {})
    assert_same(graph, passes.spell_softmax, image)
    assert kinds(graph) == ["Softmax"]


def test_single_numbers_get_the_axes_of_what_they_meet(image):
    constants = {"two": np.float32(2), "one": np.ones(1, np.float32), "row": np.ones(5, np.float32)}
    nodes = [
        ("Mul", ["image", "two"], "a"),
        ("Add", ["one", "a"], "b"),
        ("Sub", ["b", "row"], "result"),
    ]
    graph = graph_of(nodes, constants)
    assert_same(graph, passes.widen_scalars, image)
    shapes = [[v.shape for v in map(graph.constant, node.input) if v is not None] for node in graph.nodes]
    assert shapes == [[(1, 1, 1, 1, 1)], [(1, 1, 1, 1, 1)], [(5,)]]
