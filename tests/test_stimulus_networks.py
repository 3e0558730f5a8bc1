"""The stimulus networks, and Grad-CAM: inside the graph and of any Keras network."""

import numpy as np
import pytest

pytestmark = pytest.mark.train
keras = pytest.importorskip("keras")

from calzoo.networks.gradcam import HeadCam, stimulus_cam, stretch_matrix, with_cam
from calzoo.networks.stimulus import SEED, THESIS, Activity, Grid, share_matrix, stimulus
from calzoo.training.explain import GradCAM, GradCAMCallback

ops = keras.ops
tensorflow_only = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="the oracle is TensorFlow's GradientTape"
)
SMALL = {"cells": 4, "filters": (3, 5), "hidden": (7,), "grid": 3}


@pytest.fixture(autouse=True)
def forget_networks():
    keras.utils.set_random_seed(0)
    yield
    keras.backend.clear_session()


def symbolic(**config):
    """Build without making the weights, of which there may be 277 MB."""
    with keras.StatelessScope(initialize_variables=False):
        return stimulus(**config)


def numpy(tensor):
    return ops.convert_to_numpy(tensor)


def at_work(model, seed=0):
    """Give every bias a value, so that none is 0 by accident."""
    rng = np.random.default_rng(seed)
    for variable in model.weights:
        if variable.path.endswith("bias"):
            variable.assign(0.3 * rng.normal(size=variable.shape))
    return model


def test_seed_has_the_parameters_of_the_published_network():
    model = symbolic(**SEED)
    assert model.count_params() == 69_192_337
    sizes = [layer.count_params() for layer in model.layers if layer.weights]
    assert sizes == [416, 12_832, 51_264, 69_120_300, 7_525]
    assert model.get_layer("features").output.shape == (None, 60, 60, 64)


def test_thesis_variant_has_three_equal_convolutions_and_two_hidden_layers():
    model = symbolic(**THESIS)
    sizes = [layer.count_params() for layer in model.layers if layer.weights]
    assert sizes == [416, 6_416, 6_416, 60 * 60 * 16 * 200 + 200, 20_100, 2_525]


def test_default_has_about_a_million_parameters_whatever_the_frame():
    assert symbolic().count_params() == symbolic(shape=(512, 512)).count_params() == 1_062_089
    assert symbolic(frames=5).count_params() - symbolic().count_params() == 4 * 25 * 16


@pytest.mark.parametrize("side", [1, 3])
def test_a_grid_averages_over_squares(rng, side):
    x = rng.normal(size=(2, 6, 9, 2)).astype(np.float32)
    found = numpy(Grid(side)(x)).reshape(2, 2, side, side)
    expected = x.reshape(2, side, 6 // side, side, 9 // side, 2).mean(axis=(2, 4))
    np.testing.assert_allclose(found, np.moveaxis(expected, -1, 1), atol=1e-6)


def test_a_grid_keeps_the_mean_where_squares_share_pixels():
    for length, side in ((7, 3), (3, 7), (16, 16), (5, 1)):
        shares = numpy(share_matrix(length, side))
        np.testing.assert_allclose(shares.sum(axis=1), 1, atol=1e-6)
        np.testing.assert_allclose(shares.sum(axis=0), side / length, atol=1e-6)


def test_activity_is_the_change_since_rest_in_units_of_noise(rng):
    rest = rng.uniform(0.5, 1.5, (1, 8, 8, 1)).astype(np.float32)
    rest /= rest.mean()
    frame = rest.copy()
    frame[:, 2, 3] *= 1.5
    found = numpy(Activity(4.0)(np.concatenate([700 * frame, 3 * rest], axis=-1)))[0, ..., 0]
    level = frame.mean()
    expected = 4 * (frame / level - rest)[0, ..., 0] / np.sqrt(rest[0, ..., 0])
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_light_does_not_matter_to_the_default(rng):
    model = at_work(stimulus(**SMALL))
    x = rng.uniform(0.5, 1.5, (2, 32, 32, 2)).astype(np.float32)
    np.testing.assert_allclose(model(x * [[[[9.0, 0.2]]]]), model(x), atol=1e-3)


def test_without_a_grid_the_frame_must_be_known():
    with pytest.raises(ValueError, match=r"without a grid the sides .* got shape=\(None, 64\)"):
        stimulus((None, 64), grid=None)
    with pytest.raises(ValueError, match="a side of 12 pixels leaves nothing after 3 halvings"):
        stimulus(**{**SEED, "shape": (12, 12)})


CONFIGS = {
    "default": SMALL,
    "pooled globally": {**SMALL, "grid": 1},
    "two hidden layers": {**SMALL, "hidden": (7, 6)},
    "no hidden layer": {**SMALL, "hidden": ()},
    "temporal": {**SMALL, "frames": 5},
    "as published": {**SEED, "shape": (44, 36), "cells": 4, "filters": (3, 4), "hidden": (6,)},
}


def taped(model, frames, classes):
    """Return Grad-CAM by GradientTape, enlarged by TensorFlow: nothing of ours but the network."""
    import tensorflow as tf

    both = keras.Model(model.input, [model.get_layer("features").output, model.output])
    with tf.GradientTape() as tape:
        watched = tf.convert_to_tensor(frames)
        tape.watch(watched)
        features, logits = both(watched, training=False)
        score = tf.reduce_sum(tf.gather(logits, classes, axis=1, batch_dims=1))
    gradient = tape.gradient(score, features)
    weights = tf.reduce_mean(gradient, axis=(1, 2))
    cam = tf.nn.relu(tf.einsum("bk,byxk->byx", weights, features))
    cam = tf.image.resize(cam[..., None], frames.shape[1:3])[..., 0].numpy()
    return from_0_to_1(cam)


def from_0_to_1(cam):
    """Scale each map; what is left of a map that is 0 but for rounding is 0."""
    low, high = cam.min(axis=(1, 2), keepdims=True), cam.max(axis=(1, 2), keepdims=True)
    return np.divide(cam - low, high - low, out=np.zeros_like(cam), where=high - low > 1e-7)


@tensorflow_only
@pytest.mark.parametrize("name", CONFIGS)
def test_the_map_in_the_graph_is_that_of_a_gradient_tape(rng, name):
    classes = [0, 1, 2, 3, 4, 0]
    for seed in range(10):  # in some random networks nothing speaks for any class
        keras.utils.set_random_seed(seed)
        model = at_work(stimulus(**CONFIGS[name]))
        frames = rng.uniform(0.5, 1.5, (6, 44, 36, model.input.shape[-1])).astype(np.float32)
        expected = taped(model, frames, classes)
        if expected.max() == 1:
            break
    assert expected.max() == 1
    logits, cam = with_cam(model)([frames, np.eye(5, dtype=np.float32)[classes]])
    np.testing.assert_allclose(cam, expected, atol=1e-4)
    np.testing.assert_allclose(logits, model(frames), atol=1e-6)


@tensorflow_only
@pytest.mark.parametrize(
    "sides", [(32, 24), (4, 36)]
)  # the features of the latter are as many as the squares
def test_hires_cam_weights_every_pixel_by_its_own_gradient(rng, sides):
    import tensorflow as tf

    model = at_work(stimulus(**SMALL))
    frames = rng.uniform(0.5, 1.5, (3, *sides, 2)).astype(np.float32)
    both = keras.Model(model.input, [model.get_layer("features").output, model.output])
    with tf.GradientTape() as tape:
        features, logits = both(frames, training=False)
        score = tf.reduce_sum(logits[:, 1])
    cam = tf.nn.relu(tf.reduce_sum(tape.gradient(score, features) * features, axis=-1))
    cam = tf.image.resize(cam[..., None], sides)[..., 0].numpy()
    expected = from_0_to_1(cam)
    assert expected.max() == 1
    found = with_cam(model, "hires-cam")([frames, np.eye(5, dtype=np.float32)[[1, 1, 1]]])[1]
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_a_target_of_zeros_means_the_largest_logit(rng):
    model = at_work(stimulus(**SMALL))
    frames = rng.uniform(0.5, 1.5, (5, 24, 24, 2)).astype(np.float32)
    both = with_cam(model)
    logits, largest = both([frames, np.zeros((5, 5), np.float32)])
    named = both([frames, np.eye(5, dtype=np.float32)[numpy(logits).argmax(axis=1)]])[1]
    np.testing.assert_allclose(largest, named, atol=1e-6)


def test_a_map_is_0_where_nothing_speaks_for_the_target(rng):
    model = stimulus(**SMALL)
    model.get_layer("logits").kernel.assign(-np.abs(numpy(model.get_layer("logits").kernel)))
    model.get_layer("hidden0").kernel.assign(np.abs(numpy(model.get_layer("hidden0").kernel)))
    frames = rng.uniform(0.5, 1.5, (2, 24, 24, 2)).astype(np.float32)
    np.testing.assert_array_equal(with_cam(model)([frames, np.eye(5, dtype=np.float32)[:2]])[1], 0)


def test_enlarging_is_that_of_keras(rng):
    small = rng.normal(size=(1, 5, 7, 1)).astype(np.float32)
    up, across = numpy(stretch_matrix(32, 5)), numpy(stretch_matrix(24, 7))
    expected = ops.image.resize(small, (32, 24), interpolation="bilinear")
    np.testing.assert_allclose(up @ small[0, ..., 0] @ across.T, numpy(expected)[0, ..., 0], atol=1e-5)


def test_the_network_with_its_map_has_the_same_weights_by_the_same_names():
    plain, both = stimulus(**SMALL), stimulus_cam(**SMALL)
    assert [v.path for v in plain.weights] == [v.path for v in both.weights]
    assert plain.count_params() == both.count_params()
    assert isinstance(both.get_layer("cam"), HeadCam)


def test_only_stimulus_networks_get_a_map():
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, name="only")])
    with pytest.raises(ValueError, match=r"network of calzoo\.networks\.stimulus, got layers only"):
        with_cam(model)
    with pytest.raises(ValueError, match="must be one of grad-cam, hires-cam, got 'cam'"):
        with_cam(stimulus(**SMALL), "cam")


# Grad-CAM of any Keras network.


def pooled_classifier():
    """Return a network whose gradient is known: means of three maps, times a matrix."""
    frame = keras.Input((8, 8, 2))
    maps = keras.layers.Conv2D(3, 3, padding="same", name="maps")(frame)
    pooled = keras.layers.GlobalAveragePooling2D()(maps)
    return keras.Model(frame, keras.layers.Dense(4, name="scores")(pooled))


def test_weights_of_the_maps_are_those_of_the_dense_layer(rng):
    model = pooled_classifier()
    pictures = rng.normal(size=(3, 8, 8, 2)).astype(np.float32)
    features = numpy(keras.Model(model.input, model.get_layer("maps").output)(pictures))
    kernel = numpy(model.get_layer("scores").kernel)
    for relu in (False, True):
        found = GradCAM().maps(pictures, model, 2, "maps", relu=relu, scale=False)
        expected = features @ kernel[:, 2] / 64
        np.testing.assert_allclose(found, np.maximum(expected, 0) if relu else expected, atol=1e-5)


def test_guided_gradients_let_only_what_is_positive_count(rng):
    model = pooled_classifier()
    pictures = rng.normal(size=(2, 8, 8, 2)).astype(np.float32)
    features = numpy(keras.Model(model.input, model.get_layer("maps").output)(pictures))
    gradient = np.broadcast_to(numpy(model.get_layer("scores").kernel)[:, 1] / 64, features.shape)
    guided = np.where((features > 0) & (gradient > 0), gradient, 0)
    expected = (guided.mean(axis=(1, 2), keepdims=True) * features).sum(axis=-1)
    found = GradCAM().maps(pictures, model, 1, "maps", True, relu=False, scale=False)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_maps_of_any_network_agree_with_the_map_in_the_graph(rng):
    model = at_work(stimulus(**SMALL))
    frames = rng.uniform(0.5, 1.5, (4, 32, 32, 2)).astype(np.float32)
    outside = GradCAM().maps(frames, model, [0, 1, 2, 3], "features")
    inside = with_cam(model)([frames, np.eye(5, dtype=np.float32)[:4]])[1]
    np.testing.assert_allclose(outside, inside, atol=1e-4)


def test_explain_draws_a_grid_and_saves_it(rng, tmp_path):
    from PIL import Image

    pictures = rng.random((3, 8, 8, 2)).astype(np.float32)
    grid = GradCAM().explain((pictures, None), pooled_classifier(), class_index=1)
    assert grid.shape == (16, 16, 3)
    assert grid.dtype == np.uint8
    assert not grid[8:, 8:].any()  # the place of a fourth one
    GradCAM().save(grid, tmp_path / "maps", "cell2.png")
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "maps" / "cell2.png")), grid)


def test_an_unknown_layer_is_refused(rng):
    from calzoo.errors import CalzooError

    with pytest.raises(CalzooError, match=r"a layer with feature maps, got 'scores'; there are .*maps"):
        GradCAM().maps(np.zeros((1, 8, 8, 2)), pooled_classifier(), 0, "scores")


def test_the_callback_writes_a_grid_each_epoch(rng, tmp_path):
    model = pooled_classifier()
    model.compile("sgd", "mse")
    x = rng.random((4, 8, 8, 2)).astype(np.float32)
    callback = GradCAMCallback((x[:2], None), 0, "maps", tmp_path / "maps")
    model.fit(x, np.zeros((4, 4)), epochs=2, verbose=0, callbacks=[callback])
    assert sorted(p.name for p in (tmp_path / "maps").iterdir()) == ["epoch_001.png", "epoch_002.png"]
