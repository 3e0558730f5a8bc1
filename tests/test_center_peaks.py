"""Local maxima to a fraction of a pixel."""

import numpy as np
import pytest

from calzoo.imaging.center_peaks import local_maxima, refine
from calzoo.imaging.center_traces import merge_near


def hill(y, x, shape=(20, 24)):
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    return 10 - (rows - y) ** 2 - (columns - x) ** 2


def test_maxima_are_found_the_highest_first():
    picture = np.maximum(hill(5, 6), hill(14, 15) + 3).clip(0)
    assert local_maxima(picture, distance=3).tolist() == [[14, 15], [5, 6]]
    assert local_maxima(picture, distance=3, count=1).tolist() == [[14, 15]]
    assert local_maxima(picture, distance=3, threshold=12).tolist() == [[14, 15]]


def test_maxima_lie_apart_even_where_they_are_equal(rng):
    picture = rng.integers(0, 4, (40, 50))
    points = local_maxima(picture, distance=4.5)
    apart = np.linalg.norm(points[:, None] - points[None], axis=-1) + 100 * np.eye(len(points))
    assert len(points) > 5
    assert apart.min() > 4.5


def test_an_even_picture_has_no_maximum():
    assert local_maxima(np.ones((6, 7)), distance=2).shape == (0, 2)


@pytest.mark.parametrize(("dy", "dx"), [(0, 0), (0.3, -0.4), (-0.49, 0.2)])
def test_summit_of_a_parabola_is_found_exactly(dy, dx):
    picture = hill(7 + dy, 9 + dx)
    np.testing.assert_allclose(refine(picture, [[7, 9]]), [[7 + dy, 9 + dx]], atol=1e-9)


def test_refinement_at_a_corner_and_on_a_plane_stays_within_half_a_pixel():
    picture = np.add.outer(np.arange(5.0), np.arange(6.0))
    assert np.abs(refine(picture, [[4, 5], [2, 2]]) - [[4, 5], [2, 2]]).max() <= 0.5
    assert refine(picture, np.empty((0, 2))).shape == (0, 2)


def test_merging_keeps_the_best_of_those_that_are_near():
    points = [[0, 0], [0, 3], [0, 6], [20, 20]]
    assert merge_near(points, [1, 3, 2, 0], 4).tolist() == [1, 3]
    assert merge_near(np.empty((0, 2)), [], 4).tolist() == []
