"""What is true of the registration networks whatever their weights."""

import numpy as np
import pytest
from scipy import ndimage

pytestmark = pytest.mark.train
keras = pytest.importorskip("keras")

from calzoo.imaging.warping import warp
from calzoo.metrics.flow import end_point_error
from calzoo.networks import registration as network
from calzoo.networks.registration_unet import SEED, registration_unet

TINY = {"filters": (2, 2, 4), "features": (3, 1), "width": 4, "steps": ((8, 32), (2, 16), (2, 8))}


@pytest.fixture(scope="module")
def untrained():
    keras.utils.set_random_seed(0)
    return network.registration(**TINY)


@pytest.fixture(scope="module")
def at_work():
    """Return a network whose gains are not zero: half of each solution is taken."""
    keras.utils.set_random_seed(0)
    model = network.registration(**TINY)
    for variable in model.weights:
        if "gain/bias" in variable.path:
            variable.assign(np.full(variable.shape, 0.5))
    return model


def pictures(rng, shape=(128, 192), count=2):
    return np.stack([50 + 20 * ndimage.gaussian_filter(rng.normal(size=shape), 2) for _ in range(count)])[
        ..., None
    ]


def run(model, frame, template, shift):
    results = model({"frame": frame, "template": template, "shift": np.float32(shift)}, training=False)
    return [keras.ops.convert_to_numpy(r) for r in results]


def test_default_network_has_one_tenth_of_a_million_parameters():
    assert network.registration().count_params() == 82_793


def test_seed_has_the_parameters_of_the_reconstruction():
    model = registration_unet((64, 64), **SEED)
    assert model.count_params() == 910_374
    assert model.output_shape == [(None, 64, 64, 2), (None, 64, 64, 1)]
    fields = [layer.name for layer in model.layers if layer.name.startswith("field")]
    assert fields == ["field4", "field3", "field2"]


def test_untrained_network_moves_by_the_shift_alone(untrained, rng):
    frame, template = pictures(rng), pictures(rng)
    shift = [[2.5, -3.0], [0.0, 1.25]]
    flow, registered, uncertainty = run(untrained, frame, template, shift)
    expected = np.broadcast_to(np.float32(shift)[:, None, None], flow.shape)
    np.testing.assert_allclose(flow, expected, atol=1e-4)
    np.testing.assert_allclose(registered[..., 0], warp(frame[..., 0], expected), atol=1e-2)
    assert uncertainty.shape == (2, 16, 24, 1)
    assert (uncertainty >= 0).all()


def test_equal_pictures_have_exactly_no_motion(at_work, rng):
    frame = pictures(rng)
    flow, registered, _ = run(at_work, frame, frame, np.zeros((2, 2)))
    np.testing.assert_array_equal(flow, 0)
    np.testing.assert_allclose(registered, frame, rtol=1e-5)


def test_half_of_each_solution_brings_pictures_together(at_work, rng):
    """Least squares alone, with first features and nothing learned, find most of a motion."""
    large = ndimage.gaussian_filter(rng.normal(size=(160, 224)), 3)
    template, frame = large[16:144, 16:208], large[17:145, 14:206]  # frame(y) = template(y + (1, -2))
    flow, _, _ = run(at_work, frame[None, ..., None], template[None, ..., None], np.zeros((1, 2)))
    middle = flow[0, 32:-32, 32:-32].mean(axis=(0, 1))
    np.testing.assert_allclose(middle, [-1, 2], atol=0.6)


def test_scale_and_offset_of_the_intensities_do_not_matter(at_work, rng):
    frame, template = pictures(rng), pictures(rng)
    plain = run(at_work, frame, template, np.zeros((2, 2)))[0]
    other = run(at_work, 7 * frame + 300, 7 * template + 300, np.zeros((2, 2)))[0]
    np.testing.assert_allclose(other, plain, atol=5e-3)


def test_one_template_serves_a_batch(at_work, rng):
    frame, template = pictures(rng), pictures(rng)[:1]
    both = run(at_work, frame, template, np.zeros((2, 2)))[0]
    each = [run(at_work, frame[i : i + 1], template, np.zeros((1, 2)))[0] for i in (0, 1)]
    np.testing.assert_allclose(both, np.concatenate(each), atol=1e-4)


def test_neighbours_do_not_draw_a_cell_of_the_edge_inwards(rng):
    """Motion that changes from cell to cell is that of the cell itself, if the change is known."""
    root = rng.normal(size=(1, 4, 6, 2, 2))
    products = root @ root.swapaxes(-1, -2)  # A of each cell
    motion = np.moveaxis(np.indices((4, 6)) * 0.3, 0, -1)[None]
    told = (products @ motion[..., None])[..., 0]
    equations = [products[..., [0, 0, 1], [0, 1, 1]], told, np.ones((1, 4, 6, 1))]
    equations = np.concatenate(equations, axis=-1).astype(np.float32)
    means = network._mean_of_nine(equations, np.float32(motion + [0.5, -2]), "mean")
    means = keras.ops.convert_to_numpy(means)
    own = means[..., [[0, 1], [1, 2]]] @ motion[..., None]
    np.testing.assert_allclose(means[..., 3:5], own[..., 0], atol=1e-4)


def test_edge_is_repeated_as_far_as_the_finest_kernel_reaches(rng):
    image = rng.normal(size=(1, 6, 8, 1)).astype(np.float32)
    widened = keras.ops.convert_to_numpy(network._widened(image))
    np.testing.assert_array_equal(widened, np.pad(image, ((0, 0), (1, 2), (1, 2), (0, 0)), mode="edge"))


def test_openvino_finds_the_same_motion(at_work, rng, tmp_path):
    openvino = pytest.importorskip("openvino")
    pytest.importorskip("tf2onnx")
    from calzoo.export.passes import simplify
    from calzoo.export.tracing import trace
    from calzoo.training.recipes.registration import RegistrationRecipe

    fields = RegistrationRecipe().card_fields(at_work)
    graph = trace(at_work, fields["inputs"], fields["outputs"])
    simplify(graph)
    path = tmp_path / "network.onnx"
    path.write_bytes(graph.model().SerializeToString())
    compiled = openvino.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    frame, template = pictures(rng), pictures(rng)
    expected = run(at_work, frame, template, np.zeros((2, 2)))[0]
    feeds = [np.moveaxis(image, -1, 1).astype(np.float32) for image in (frame, template)]
    flow = compiled([*feeds, np.zeros((2, 2), np.float32)])["flow"]
    np.testing.assert_allclose(np.moveaxis(flow, 1, -1), expected, atol=1e-3)


@pytest.mark.parametrize("value", [0.0, 100.0])
def test_constant_pictures_give_finite_numbers(at_work, value):
    frame = np.full((1, 64, 64, 1), value, np.float32)
    for result in run(at_work, frame, frame, np.zeros((1, 2))):
        assert np.isfinite(result).all()


def test_training_view_shows_the_motion_that_the_flow_undoes(at_work, rng):
    large = ndimage.gaussian_filter(rng.normal(size=(160, 224)), 3)
    template, frame = large[16:144, 16:208], large[18:146, 15:207]  # frame(y) = template(y + (2, -1))
    feeds = {"frame": frame[None, ..., None], "template": template[None, ..., None]}
    feeds["shift"] = np.float32([[-1.5, 0.5]])
    view = network.training_view(at_work, TINY["steps"])
    assert {w.path for w in view.weights} == {w.path for w in at_work.weights}
    shown = keras.ops.convert_to_numpy(view(feeds, training=False))
    assert shown.shape == (1, 64, 24, 2 * 3 + 3)
    flow = run(at_work, *feeds.values())[0]
    motion = shown[0, ..., 6:8].repeat(2, 0).repeat(8, 1)
    assert end_point_error(flow[0], motion, border=24).median < 0.15


@pytest.mark.parametrize("shape", [(100, 128), (128, 96 + 1), (None, 60)])
def test_illegal_sides_are_refused_with_the_next_legal_ones(shape):
    with pytest.raises(ValueError, match=r"multiples of 64, got shape=.* Pad the frames to"):
        network.registration(shape, **TINY)


@pytest.mark.parametrize("steps", [(), ((2, 8),), ((8, 8), (8, 16)), ((8, 32), (4, 16)), ((8, 128),)])
def test_steps_that_do_not_go_from_coarse_to_fine_are_refused(steps):
    with pytest.raises(ValueError, match="both never rising"):
        network.registration(**TINY | {"steps": steps})


@pytest.fixture(scope="module")
def unet():
    """Return a tiny U-Net that moves: its fields are not zero."""
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    model = registration_unet(filters=(2, 3, 4, 5))
    for variable in model.weights:
        if "field" in variable.path:
            variable.assign(rng.normal(0, 1, variable.shape))
    return model


@pytest.fixture
def pairs(rng):
    """Return pairs of frame and template: square ones, in which an axis can be mistaken, and another."""
    shapes = (2, 64, 64), (1, 32, 32), (2, 64, 32)
    return [rng.normal(size=(2, *shape, 1)).astype(np.float32) for shape in shapes]


def test_unet_registers_by_its_own_flow(unet, pairs):
    """Square pictures too, in which Keras may take columns for a bias of the rows."""
    for frame, template in pairs:
        flow, registered = (
            keras.ops.convert_to_numpy(r)
            for r in unet({"frame": frame, "template": template}, training=False)
        )
        assert np.abs(flow).max() > 1
        np.testing.assert_allclose(registered[..., 0], warp(frame[..., 0], flow), atol=1e-4)


def test_exported_unet_finds_the_same_motion(unet, pairs):
    pytest.importorskip("tf2onnx")
    import onnxruntime

    from calzoo.export.passes import simplify
    from calzoo.export.tracing import trace
    from calzoo.weights.card import Tensor

    names = ["frame", "template", "flow", "registered"]
    tensors = [Tensor(name=name, axes="byxc", units="1") for name in names]
    graph = trace(unet, tensors[:2], tensors[2:])
    simplify(graph)
    session = onnxruntime.InferenceSession(
        graph.model().SerializeToString(), providers=["CPUExecutionProvider"]
    )
    for pair in pairs:
        expected = unet(dict(zip(names, pair, strict=False)), training=False)
        feeds = {name: np.moveaxis(image, -1, 1) for name, image in zip(names, pair, strict=False)}
        scale = np.abs(keras.ops.convert_to_numpy(expected[0])).max()
        for result, right in zip(session.run(names[2:], feeds), expected, strict=True):
            right = np.moveaxis(keras.ops.convert_to_numpy(right), -1, 1)
            np.testing.assert_allclose(result, right, rtol=0, atol=1e-4 * scale)


def test_unet_with_wrong_sides_is_refused():
    with pytest.raises(ValueError, match="sides must be multiples of 16"):
        registration_unet((40, 64))
