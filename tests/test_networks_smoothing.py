"""Planes through the neighbours of each cell."""

import numpy as np
import pytest

pytestmark = pytest.mark.train
keras = pytest.importorskip("keras")

from calzoo.networks.smoothing import FLAT, LocalPlane


def smoothed(values, weights, sigma):
    return keras.ops.convert_to_numpy(LocalPlane(sigma)(values[None], weights[None]))[0]


def plane_by_least_squares(values, weights, sigma, cell):
    """Return the height at a cell of the plane with the least weighted squared error, fitted directly."""
    y, x = (axis - at for axis, at in zip(np.indices(weights.shape[:2]), cell, strict=True))
    root = np.sqrt(np.exp(-0.5 * (y**2 + x**2) / sigma**2) * weights[..., 0]).ravel()
    terms = np.stack([np.ones(y.size), y.ravel(), x.ravel()], axis=-1)
    return np.linalg.lstsq(terms * root[:, None], values.reshape(y.size, -1) * root[:, None], rcond=None)[0][
        0
    ]


@pytest.mark.parametrize("cell", [(0, 0), (4, 5), (8, 3), (2, 10)])
@pytest.mark.parametrize("sigma", [1.0, 2.0])
def test_it_is_weighted_least_squares_at_every_cell(rng, cell, sigma):
    values = rng.normal(size=(9, 11, 2)).astype(np.float32)
    weights = rng.uniform(0.2, 3, (9, 11, 1)).astype(np.float32)
    found = smoothed(values, weights, sigma)[cell]
    # Slopes are held back by so much of a squared cell.
    np.testing.assert_allclose(found, plane_by_least_squares(values, weights, sigma, cell), atol=4 * FLAT)


def test_a_plane_stays_as_it_is_up_to_the_corners_whatever_the_weights(rng):
    y, x = np.indices((8, 12))
    values = np.stack([0.3 * y - 0.2 * x + 1, 0.1 * x], axis=-1).astype(np.float32)
    weights = np.exp(rng.normal(0, 2, (8, 12, 1))).astype(np.float32)
    np.testing.assert_allclose(smoothed(values, weights, 1.5), values, atol=0.02)


def test_a_cell_without_weight_takes_the_height_of_its_neighbours(rng):
    y, x = np.indices((8, 8))
    values = np.stack([0.3 * y, 0.1 * x], axis=-1).astype(np.float32)
    weights = np.ones((8, 8, 1), np.float32)
    wrong = values.copy()
    wrong[4, 4], weights[4, 4] = 50, 1e-6
    np.testing.assert_allclose(smoothed(wrong, weights, 1.0)[4, 4], values[4, 4], atol=1e-3)


def test_noise_becomes_less_everywhere_and_least_inside(rng):
    noise = rng.normal(size=(16, 16, 200)).astype(np.float32)
    error = smoothed(noise, np.ones((16, 16, 1), np.float32), 1.0).std(-1)
    assert error[4:-4, 4:-4].max() < 0.35
    assert error[[0, -1]].max() < 0.85
    assert error[0, 4:-4].min() > error[4:-4, 4:-4].max()


def test_it_is_kept_with_a_model(rng, tmp_path):
    values, weights = keras.Input((None, None, 2)), keras.Input((None, None, 1))
    model = keras.Model([values, weights], LocalPlane(1.5)(values, weights))
    model.save(tmp_path / "model.keras")
    feeds = [rng.normal(size=(1, 6, 7, 2)).astype("f"), rng.uniform(1, 2, (1, 6, 7, 1)).astype("f")]
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(*(np.asarray(m.predict_on_batch(feeds)) for m in (model, again)))
