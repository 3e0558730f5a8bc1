"""Layers that know where they are."""

import numpy as np
import pytest

pytestmark = pytest.mark.train
keras = pytest.importorskip("keras")

from calzoo.networks.coordconv import AddCoords, BlurPool, EdgePad, coord_conv


def run(layer, image):
    return keras.ops.convert_to_numpy(layer(np.asarray(image, np.float32)))


def test_ramps_run_from_minus_one_to_one_along_their_own_side():
    """The authors divided columns by the rows, which is right for square frames only."""
    result = run(AddCoords(), np.zeros((2, 5, 9, 3)))
    assert result.shape == (2, 5, 9, 5)
    for sample in result:
        np.testing.assert_allclose(sample[..., 3], np.linspace(-1, 1, 5)[:, None].repeat(9, 1), atol=1e-6)
        np.testing.assert_allclose(sample[..., 4], np.linspace(-1, 1, 9)[None].repeat(5, 0), atol=1e-6)


def test_radius_is_the_distance_from_the_middle():
    result = run(AddCoords(radius=True), np.zeros((1, 4, 7, 1)))
    np.testing.assert_allclose(result[..., 3], np.hypot(result[..., 1], result[..., 2]), atol=1e-6)


def test_a_side_of_one_pixel_lies_in_the_middle():
    assert run(AddCoords(), np.ones((1, 1, 3, 1)))[0, 0, :, 1:].tolist() == [[0, -1], [0, 0], [0, 1]]


def test_image_is_left_as_it_is_even_where_it_is_not_finite(rng):
    image = rng.normal(size=(1, 4, 5, 2)).astype(np.float32)
    image[0, 1, 2, 0], image[0, 2, 2, 1] = np.nan, np.inf
    result = run(AddCoords(), image)
    np.testing.assert_array_equal(result[..., :2], image)
    assert np.isfinite(result[..., 2:]).all()


def test_convolution_of_coordinates_can_say_where_it_is():
    inputs = keras.Input((None, None, 1))
    model = keras.Model(inputs, coord_conv(inputs, 1, 1, use_bias=False, name="conv"))
    model.get_layer("conv").set_weights([np.float32([0, 0, 1]).reshape(1, 1, 3, 1)])
    np.testing.assert_allclose(
        run(model, np.zeros((1, 3, 5, 1)))[0, 1, :, 0], np.linspace(-1, 1, 5), atol=1e-6
    )


def test_edge_pad_mirrors_by_one_pixel(rng):
    image = rng.normal(size=(2, 3, 4, 2)).astype(np.float32)
    expected = np.pad(image, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="symmetric")
    np.testing.assert_array_equal(run(EdgePad(), image), expected)


def test_blur_pool_is_a_blur_at_every_second_pixel(rng):
    image = rng.normal(size=(1, 6, 8, 2)).astype(np.float32)
    padded = np.pad(image, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
    kernel = np.outer([1, 2, 1], [1, 2, 1]) / 16
    blurred = sum(kernel[i, j] * padded[:, i : i + 6, j : j + 8] for i in range(3) for j in range(3))
    np.testing.assert_allclose(run(BlurPool(), image), blurred[:, ::2, ::2], atol=1e-6)


@pytest.mark.parametrize("layer", [AddCoords(), AddCoords(radius=True), EdgePad(), BlurPool()])
def test_shapes_are_known_before_they_are_computed(layer):
    sides = keras.Input((None, None, 3))
    assert layer(sides).shape[1:3] == (None, None)
    assert layer.compute_output_shape((2, 8, 6, 3)) == run(layer, np.zeros((2, 8, 6, 3))).shape
