"""Layers that look images up elsewhere, against SciPy; and as ONNX's own operators."""

import numpy as np
import pytest
from scipy import ndimage

pytestmark = pytest.mark.train
keras = pytest.importorskip("keras")

from calzoo.networks.sampling import Gradient, Inside, PixelGrid, Stretch, Trust, Warp, follow


def numbers(tensor):
    return keras.ops.convert_to_numpy(tensor)


@pytest.fixture
def problem(rng):
    """Return two images of three channels, and positions in and around them."""
    image = rng.normal(size=(2, 9, 13, 3)).astype(np.float32)
    y = rng.uniform(-4, 13, (2, 7, 5, 1)).astype(np.float32)
    x = rng.uniform(-4, 17, (2, 7, 5, 1)).astype(np.float32)
    y[0, 0, 0], x[0, 0, 0] = 8.0, 12.0  # the last pixel exactly
    return image, y, x


def looked_up(image, y, x):
    result = np.empty((*y.shape[:3], image.shape[-1]), np.float32)
    for b in range(len(y)):
        for c in range(image.shape[-1]):
            where = [y[b, ..., 0], x[b, ..., 0]]
            result[b, ..., c] = ndimage.map_coordinates(
                image[b % len(image), ..., c], where, order=1, mode="nearest"
            )
    return result


def test_warp_is_the_bilinear_interpolation_of_scipy(problem):
    np.testing.assert_allclose(numbers(Warp()(*problem)), looked_up(*problem), atol=2e-6)


def test_one_image_serves_a_batch_of_positions(problem):
    image, y, x = problem
    np.testing.assert_allclose(numbers(Warp()(image[:1], y, x)), looked_up(image[:1], y, x), atol=2e-6)


def test_grid_with_whole_motion_reads_neighbours(rng):
    image = rng.normal(size=(1, 6, 8, 1)).astype(np.float32)
    rows, columns = PixelGrid()(image)
    moved = numbers(Warp()(image, rows + 0 * columns + 2, 0 * rows + columns - 3))
    np.testing.assert_array_equal(moved[0, :4, 3:], image[0, 2:, :5])


@pytest.mark.parametrize("shape", [(2, 8, 8), (1, 8, 8), (1, 1, 8), (1, 8, 1), (2, 4, 8)])
def test_motion_is_followed_along_its_own_axis(rng, shape):
    motion = rng.normal(size=(*shape, 2)).astype(np.float32)
    field = keras.Input((None, None, 2))
    model = keras.Model(field, follow(PixelGrid()(field), field))
    y, x = (numbers(t)[..., 0] for t in model(motion))
    rows, columns = np.mgrid[: shape[1], : shape[2]]
    np.testing.assert_allclose(y, rows + motion[..., 0], atol=1e-6)
    np.testing.assert_allclose(x, columns + motion[..., 1], atol=1e-6)


def test_inside_counts_the_edge():
    image = np.zeros((1, 4, 5, 1), np.float32)
    y = np.float32([0, 3, 3.01, -0.01, 1, 1]).reshape(1, 6, 1, 1)
    x = np.float32([0, 4, 1, 1, 4.01, 4]).reshape(1, 6, 1, 1)
    np.testing.assert_array_equal(numbers(Inside()(image, y, x)).ravel(), [1, 1, 0, 0, 0, 1])


@pytest.mark.parametrize("factor", [(2, 2), (4, 1), (1, 8), (3, 2)])
def test_stretch_is_the_linear_interpolation_of_scipy(rng, factor):
    grid = rng.normal(size=(2, 5, 6, 2)).astype(np.float32)
    expected = np.stack(
        [
            np.stack(
                [
                    ndimage.zoom(grid[b, ..., c], factor, order=1, mode="nearest", grid_mode=True)
                    for c in (0, 1)
                ],
                axis=-1,
            )
            for b in (0, 1)
        ]
    )
    np.testing.assert_allclose(numbers(Stretch(factor)(grid)), expected, atol=1e-5)


def test_gradient_is_that_of_numpy_inside_and_none_across_the_edge(rng):
    image = rng.normal(size=(1, 7, 8, 2)).astype(np.float32)
    found = numbers(Gradient()(image))[0]
    along_y, along_x = np.gradient(image[0], axis=(0, 1))
    np.testing.assert_allclose(found[1:-1, :, :2], along_y[1:-1], atol=1e-6)
    np.testing.assert_allclose(found[:, 1:-1, 2:], along_x[:, 1:-1], atol=1e-6)
    assert (found[[0, -1], :, :2] == 0).all()
    assert (found[:, [0, -1], 2:] == 0).all()


def test_trust_begins_with_one_half_everywhere(rng):
    value = rng.normal(size=(1, 3, 4, 1)).astype(np.float32)
    np.testing.assert_array_equal(numbers(Trust()(value, value)), np.full_like(value, 0.5))


@pytest.mark.parametrize("layer", [Stretch((2, 4)), Warp(), PixelGrid(), Gradient(), Inside(), Trust()])
def test_layers_are_made_again_from_their_config(layer):
    again = type(layer).from_config(layer.get_config())
    assert getattr(again, "factor", None) == getattr(layer, "factor", None)


def test_exported_they_are_one_operator_each(problem):
    pytest.importorskip("tf2onnx")
    import onnxruntime

    from calzoo.export.passes import simplify
    from calzoo.export.tracing import trace
    from calzoo.weights.card import Tensor

    image = keras.Input((None, None, 3), name="image")
    y, x = (keras.Input((None, None, 1), name=name) for name in "yx")
    model = keras.Model([image, y, x], Stretch((2, 2), name="result")(Warp()(image, y, x)))
    tensors = [Tensor(name=name, axes="byxc", units="1") for name in ("image", "y", "x", "result")]
    graph = trace(model, tensors[:3], tensors[3:])
    simplify(graph)
    kinds = [node.op_type for node in graph.nodes]
    assert (kinds.count("GridSample"), kinds.count("Resize")) == (1, 1)
    assert not {"GatherND", "GatherElements", "MatMul"} & set(kinds)
    session = onnxruntime.InferenceSession(
        graph.model().SerializeToString(), providers=["CPUExecutionProvider"]
    )
    feeds = {n: np.moveaxis(a, -1, 1) for n, a in zip(("image", "y", "x"), problem, strict=True)}
    (result,) = session.run(["result"], feeds)
    expected = numbers(Stretch((2, 2))(looked_up(*problem)))
    np.testing.assert_allclose(np.moveaxis(result, 1, -1), expected, atol=5e-6)


def test_single_numbers_get_as_many_axes_as_what_they_are_added_to():
    onnx = pytest.importorskip("onnx")
    from calzoo.export.graph import Graph
    from calzoo.export.passes import widen_scalars

    helper = onnx.helper
    node = helper.make_node("Mul", ["x", "two"], ["y"])
    values = [helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, [None, 3, None]) for n in "xy"]
    two = helper.make_tensor("two", onnx.TensorProto.FLOAT, [], [2.0])
    graph = Graph(helper.make_model(helper.make_graph([node], "g", values[:1], values[1:], [two])))
    widen_scalars(graph)
    assert graph.constants[graph.nodes[0].input[1]].shape == (1, 1, 1)
