"""Fields, and the algebra of fields, against formulas."""

import numpy as np
import pytest

from calzoo.errors import CalzooError
from calzoo.imaging.motion import (
    compose,
    gaussian_field,
    invert,
    jacobian_determinant,
    rigid_field,
    row_jitter,
    smooth_field,
)
from calzoo.imaging.warping import looks_inside, warp


def test_a_rigid_field_shifts_every_pixel_alike():
    field = rigid_field((4, 6), 1.5, -2)
    assert field.shape == (4, 6, 2)
    assert field.dtype == np.float32
    np.testing.assert_array_equal(field, np.broadcast_to([1.5, -2], (4, 6, 2)))


def test_one_gaussian_bump_follows_the_formula(rng):
    field = gaussian_field(rng, (64, 80), largest=3, sigma=10, n_centres=1)
    length = np.hypot(*np.moveaxis(field, -1, 0))
    y, x = np.unravel_index(length.argmax(), length.shape)
    rows, columns = np.indices((64, 80))
    bump = np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / (2 * 10**2))
    np.testing.assert_allclose(length.max(), 3, rtol=1e-5)
    np.testing.assert_allclose(length, 3 * bump, atol=0.2)  # the centre lies within half a pixel of the peak
    direction = field / length[..., None]
    np.testing.assert_allclose(direction, np.broadcast_to(direction[y, x], field.shape), atol=1e-4)


@pytest.mark.parametrize("draw", [gaussian_field, smooth_field])
def test_a_drawn_field_has_the_asked_length_and_no_folds(rng, draw):
    for _ in range(5):
        field = draw(rng, (96, 128), largest=6, sigma=12)
        assert field.shape == (96, 128, 2)
        assert field.dtype == np.float32
        np.testing.assert_allclose(np.hypot(field[..., 0], field[..., 1]).max(), 6, rtol=1e-5)
        assert jacobian_determinant(field).min() >= 0.2


def test_ten_gaussians_have_the_published_statistics(rng):
    fields = [gaussian_field(rng, (128, 128), largest=8, sigma=26) for _ in range(60)]
    ratios = [np.median(np.hypot(f[..., 0], f[..., 1])) / 8 for f in fields]
    assert 0.25 < np.median(ratios) < 0.45  # simulated for the specification: .35
    least = [jacobian_determinant(f).min() for f in fields]
    assert 0.6 < np.median(least) < 0.9  # .76


def test_the_width_of_the_bumps_is_drawn_when_left_out(rng):
    """Of a single bump the logarithm falls by a parabola, and that tells its width."""
    fields = [gaussian_field(rng, (96, 96), largest=1, n_centres=1).astype(float) for _ in range(30)]
    bends = [np.median(np.diff(np.log(np.hypot(f[..., 0], f[..., 1])[:, 48] + 1e-300), 2)) for f in fields]
    widths = 1 / np.sqrt(-np.array(bends))
    assert 96 / 16.2 < widths.min() < 96 / 12
    assert 96 / 6.5 < widths.max() < 96 / 4.9


@pytest.mark.parametrize("draw", [gaussian_field, smooth_field])
def test_a_field_that_must_fold_is_refused(rng, draw):
    with pytest.raises(CalzooError, match=r"100 fields of shape \(32, 32\) folded.*shorter displacement"):
        draw(rng, (32, 32), largest=20, sigma=1)


def test_a_smooth_field_is_correlated_as_a_gaussian_over_its_width(rng):
    field = np.stack([smooth_field(rng, (64, 128), largest=1, sigma=5) for _ in range(40)])
    for axis in (1, 2):
        near, far = np.moveaxis(field, axis, 0)[:-10].ravel(), np.moveaxis(field, axis, 0)[10:].ravel()
        # White noise after a Gaussian of sigma has the correlation exp(-d^2 / (4 sigma^2)).
        np.testing.assert_allclose((near * far).mean() / (field**2).mean(), np.exp(-1), atol=0.06)


def test_row_jitter_is_an_ar1_series_of_whole_rows(rng):
    field = row_jitter(rng, (20000, 3), std=(1.5, 0.5), correlation=0.9)
    np.testing.assert_array_equal(field[:, 0], field[:, 2])
    series = field[:, 0]
    np.testing.assert_allclose(series.std(axis=0), [1.5, 0.5], rtol=0.1)
    for axis in (0, 1):
        for lag in (1, 5):
            measured = np.corrcoef(series[:-lag, axis], series[lag:, axis])[0, 1]
            np.testing.assert_allclose(measured, 0.9**lag, atol=0.08)
    starts = [row_jitter(rng, (1, 1), std=1, correlation=0.99)[0, 0, 0] for _ in range(500)]
    np.testing.assert_allclose(np.std(starts), 1, atol=0.12)


@pytest.mark.parametrize("correlation", [1, -0.1])
def test_a_correlation_out_of_range_is_refused(rng, correlation):
    with pytest.raises(ValueError, match=f"below 1, got {correlation}"):
        row_jitter(rng, (8, 8), std=1, correlation=correlation)


def test_the_same_seed_draws_the_same_field():
    draws = [smooth_field(np.random.default_rng(3), (32, 32), largest=2, sigma=8) for _ in range(2)]
    np.testing.assert_array_equal(*draws)


def test_shifts_add_up():
    both = compose(rigid_field((9, 9), 1, 2.5), rigid_field((9, 9), -3, 0.25))
    np.testing.assert_allclose(both, rigid_field((9, 9), -2, 2.75), atol=1e-6)


def test_composition_is_one_warp_after_the_other(rng):
    rows, columns = np.indices((64, 64), dtype=np.float32)
    image = 0.5 * rows - 2 * columns  # linear: interpolation adds no error
    first = smooth_field(rng, (64, 64), largest=3, sigma=12)
    second = smooth_field(rng, (64, 64), largest=3, sigma=12)
    twice = warp(warp(image, first), second)
    inside = np.s_[8:-8, 8:-8]
    np.testing.assert_allclose(warp(image, compose(first, second))[inside], twice[inside], atol=1e-3)


def test_composition_of_linear_fields_is_a_product_of_matrices():
    position = np.stack(np.indices((40, 50)), axis=-1) - [20.0, 25.0]
    a, b = np.array([[0.1, 0.05], [-0.02, 0.08]]), np.array([[-0.06, 0.03], [0.04, 0.02]])
    both = (np.eye(2) + a) @ (np.eye(2) + b) - np.eye(2)
    result = compose(position @ a.T, position @ b.T)
    inside = looks_inside(position @ b.T)
    np.testing.assert_allclose(result[inside], (position @ both.T)[inside], atol=1e-4)


def test_a_field_and_its_inverse_cancel(rng):
    field = smooth_field(rng, (96, 96), largest=5, sigma=12)
    inverse = invert(field, tolerance=1e-4)
    for left_over in (compose(field, inverse), compose(inverse, field)):
        assert np.abs(left_over[8:-8, 8:-8]).max() < 0.02  # bilinear interpolation of a bent field


def test_the_inverse_of_a_linear_field_is_that_of_the_matrix():
    position = np.stack(np.indices((40, 50)), axis=-1) - [20.0, 25.0]
    a = np.array([[0.1, 0.05], [-0.02, 0.08]])
    expected = position @ (np.linalg.inv(np.eye(2) + a) - np.eye(2)).T
    # Inside: the field goes on unchanged beyond the edge, where the matrix does not.
    inside = np.s_[9:-9, 9:-9]
    inverse = invert(position @ a.T, tolerance=1e-6)
    np.testing.assert_allclose(inverse[inside], expected[inside], atol=1e-4)


def test_movies_of_fields_are_inverted_frame_by_frame(rng):
    fields = np.stack([smooth_field(rng, (32, 32), largest=2, sigma=8) for _ in range(3)])
    np.testing.assert_allclose(invert(fields)[1], invert(fields[1]), atol=2e-3)
    np.testing.assert_allclose(compose(fields[0], fields)[2], compose(fields[0], fields[2]), atol=1e-6)


def test_the_jacobian_of_a_linear_field_is_the_determinant():
    position = np.stack(np.indices((10, 12)), axis=-1).astype(float)
    a = np.array([[0.1, 0.5], [-0.2, 0.3]])
    np.testing.assert_allclose(jacobian_determinant(position @ a.T), np.linalg.det(np.eye(2) + a), rtol=1e-10)
    np.testing.assert_array_equal(jacobian_determinant(rigid_field((5, 6), 3, 4)), 1)
    movie = np.stack([position @ a.T, 2 * position @ a.T])
    np.testing.assert_array_equal(jacobian_determinant(movie)[1], jacobian_determinant(movie[1]))


def test_a_fold_has_a_negative_jacobian():
    field = np.zeros((5, 20, 2))
    field[..., 1] = -2 * np.arange(20)
    assert (jacobian_determinant(field) == -1).all()
