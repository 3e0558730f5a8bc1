"""Warping against SciPy and against shifts that are known exactly."""

import numpy as np
import pytest
from scipy import ndimage

from calzoo.errors import CalzooError
from calzoo.imaging.warping import looks_inside, warp


@pytest.fixture
def image(rng):
    return rng.normal(100, 30, size=(48, 64)).astype(np.float32)


def by_scipy(image, flow, order, mode, fill=0.0):
    """Look the values up in double precision, by the definition of a flow."""
    positions = np.indices(image.shape) + np.moveaxis(flow.astype(float), -1, 0)
    return ndimage.map_coordinates(image.astype(float), positions, order=order, mode=mode, cval=fill)


@pytest.mark.parametrize(("dy", "dx"), [(0, 0), (3, 0), (0, -5), (-2, 7)])
def test_an_integer_shift_moves_pixels_and_changes_none(image, dy, dx):
    flow = np.broadcast_to(np.float32([dy, dx]), (48, 64, 2))
    inside = np.s_[8:-8, 8:-8]
    shifted = np.roll(image, (-dy, -dx), axis=(0, 1))  # shifted(y, x) = image(y + dy, x + dx)
    np.testing.assert_array_equal(warp(image, flow)[inside], shifted[inside])
    np.testing.assert_allclose(warp(image, flow, order=3)[inside], shifted[inside], rtol=1e-5)


@pytest.mark.parametrize("mode", ["nearest", "reflect"])
@pytest.mark.parametrize("order", [1, 3])
def test_warp_agrees_with_scipy(rng, image, order, mode):
    flow = rng.normal(0, 20, size=(48, 64, 2)).astype(np.float32)  # much of it looks outside
    result = warp(image, flow, order=order, mode=mode)
    assert result.dtype == np.float32
    # float32 positions are good to 1/100,000 pixel, neighbours differ by about 100.
    np.testing.assert_allclose(result, by_scipy(image, flow, order, mode), atol=5e-3)


@pytest.mark.parametrize("vector", [(0, 0), (0.25, -0.7), (-3, 2.5), (-40.2, 0.0), (1e9, -1e20)])
@pytest.mark.parametrize("mode", ["nearest", "constant", "reflect"])
def test_one_vector_for_all_pixels_is_a_flow_like_others(rng, vector, mode):
    for shape in ((37, 700), (1, 3)):
        image, flow = rng.normal(size=shape), np.broadcast_to(np.float32(vector), (*shape, 2))
        expected = warp(image, flow.copy(), mode=mode)
        np.testing.assert_allclose(warp(image, flow, mode=mode), expected, atol=2e-4)


def test_a_constant_outside_agrees_with_scipy(rng, image):
    flow = rng.normal(0, 20, size=(48, 64, 2)).astype(np.float32)
    result = warp(image, flow, mode="constant", fill=7)
    np.testing.assert_allclose(result, by_scipy(image, flow, 1, "constant", 7), atol=5e-3)


@pytest.mark.parametrize("order", [1, 3])
def test_what_lies_outside_is_not_mixed_with_the_edge(image, order):
    flow = np.zeros((48, 64, 2), np.float32)
    flow[0, :, 0] = -0.01
    warped = warp(image, flow, order=order, mode="constant", fill=np.nan)
    assert np.isnan(warped[0]).all()
    np.testing.assert_allclose(warped[1:], image[1:], rtol=1e-5)


def test_a_linear_image_is_warped_exactly():
    y, x = np.indices((20, 30), dtype=np.float32)
    flow = np.full((20, 30, 2), [0.25, -0.5], np.float32)
    inside = looks_inside(flow)
    expected = 3 * (y + 0.25) - 2 * (x - 0.5)
    np.testing.assert_allclose(warp(3 * y - 2 * x, flow)[inside], expected[inside], atol=1e-5)


def test_what_lies_outside_is_the_fill(image):
    flow = np.zeros((48, 64, 2), np.float32)
    flow[:, :, 0] = 10
    warped = warp(image, flow, mode="constant", fill=np.nan)
    assert np.isnan(warped[38:]).all()
    np.testing.assert_array_equal(warped[:38], image[10:])


def test_looks_inside_counts_the_edge():
    flow = np.zeros((4, 5, 2))
    assert looks_inside(flow).all()
    flow[3, :, 0] = 0.01
    flow[:, 0, 1] = -0.01
    expected = np.ones((4, 5), bool)
    expected[3] = expected[:, 0] = False
    np.testing.assert_array_equal(looks_inside(flow), expected)


@pytest.mark.parametrize("order", [1, 3])
def test_each_frame_of_a_movie_follows_its_own_flow(rng, order):
    movie = rng.integers(0, 60000, size=(3, 16, 12)).astype(np.uint16)
    flow = rng.normal(0, 2, size=(3, 16, 12, 2)).astype(np.float32)
    warped = warp(movie, flow, order=order)
    for index in range(3):
        np.testing.assert_array_equal(warped[index], warp(movie[index], flow[index], order=order))
    np.testing.assert_array_equal(warp(movie, flow[1], order=order)[1], warped[1])


def test_the_arguments_are_left_alone(rng, image):
    flow = rng.normal(size=(48, 64, 2)).astype(np.float32)
    kept = image.copy(), flow.copy()
    for mode in ("nearest", "reflect", "constant"):
        warp(image, flow, mode=mode)
    np.testing.assert_array_equal(image, kept[0])
    np.testing.assert_array_equal(flow, kept[1])


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (2, 2)])
def test_tiny_images_are_warped(rng, shape):
    image = rng.random(shape).astype(np.float32)
    flow = rng.normal(0, 3, size=(*shape, 2)).astype(np.float32)
    for mode in ("nearest", "reflect"):
        np.testing.assert_allclose(warp(image, flow, mode=mode), by_scipy(image, flow, 1, mode), atol=1e-5)


@pytest.mark.parametrize(
    ("image", "flow"),
    [((8, 9), (9, 8, 2)), ((8, 9), (8, 9)), ((8, 9), (3, 8, 9, 2)), ((4, 8, 9), (3, 8, 9, 2))],
)
def test_shapes_that_do_not_fit_are_refused(image, flow):
    with pytest.raises(CalzooError, match=r"\(T, Y, X, 2\), got \(.*\) and \(.*\)"):
        warp(np.zeros(image), np.zeros(flow))


def test_a_flow_that_is_not_finite_is_refused():
    flow = np.zeros((8, 8, 2))
    flow[2, 2, 1] = np.nan
    with pytest.raises(CalzooError, match="NaN or infinity"):
        warp(np.zeros((8, 8)), flow)


@pytest.mark.parametrize("wrong", [{"order": 2}, {"mode": "wrap"}])
def test_an_unknown_way_to_interpolate_is_refused(wrong):
    with pytest.raises(ValueError, match="order is 1 or 3, mode one of nearest, reflect, constant"):
        warp(np.zeros((8, 8)), np.zeros((8, 8, 2)), **wrong)
