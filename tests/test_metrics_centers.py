"""Scores of points as centres of cells."""

import numpy as np
import pytest

from calzoo.errors import CalzooError
from calzoo.metrics.centers import score_centers, score_on_mask, trace_correlation


def test_points_within_half_a_diameter_are_hits_one_to_one():
    scores = score_centers([[0, 0], [20, 0]], [[0, 5], [1, 0], [20, 5.1]], diameter=10)
    assert (scores.hits, scores.found, scores.true) == (1, 3, 2)
    assert (scores.precision, scores.recall, scores.f1) == (1 / 3, 1 / 2, 2 / 5)


def test_points_on_doubtful_cells_do_not_count():
    scores = score_centers([[0, 0]], [[0, 0], [50, 50]], diameter=8, maybe=[[50, 51]])
    assert (scores.hits, scores.found, scores.f1) == (1, 1, 1.0)


def test_without_cells_and_points_there_is_no_score():
    nothing = score_centers([], [], diameter=5)
    assert np.isnan([nothing.f1, nothing.precision, nothing.recall]).all()
    assert score_centers([[1, 1]], [], diameter=5).f1 == 0


def test_chance_correction_is_one_for_all_right_and_below_zero_for_all_wrong():
    mask = np.zeros((10, 10), bool)
    mask[:, :4] = True
    assert score_on_mask([[5, 1], [2, 3]], mask, (10, 10)).corrected == 1
    assert score_on_mask([[5, 8]], mask, (10, 10)).corrected == pytest.approx(-0.4 / 0.6)


def test_random_points_score_nothing_on_average(rng):
    mask = rng.random((50, 50)) < 0.4
    points = rng.uniform(0, 1, (20000, 2)) * (99, 199)
    assert abs(score_on_mask(points, mask, (100, 200)).corrected) < 0.03


def test_mask_that_is_coarser_than_the_frame_covers_all_of_it():
    mask = np.zeros((2, 2), bool)
    mask[1, 1] = True
    scores = score_on_mask([[-0.5, -0.5], [50, 99.4], [49, 150]], mask, (100, 200))
    assert scores.hit.tolist() == [False, False, False]
    assert score_on_mask([[50, 100], [99.5, 199.5]], mask, (100, 200)).hit.all()


def test_points_where_the_mask_is_not_known_do_not_count_and_regions_need_a_point():
    mask = np.zeros((6, 6), bool)
    mask[0, 0] = mask[1, 1] = mask[5, 5] = True  # two regions: corners touch
    known = np.ones((6, 6), bool)
    known[3] = False
    scores = score_on_mask([[1, 1], [3, 3]], mask, (6, 6), known=known)
    assert scores.hit.tolist() == [True]
    assert scores.expected == 3 / 30
    assert scores.regions.tolist() == [True, False]
    assert scores.recall == 0.5


def test_no_points_have_no_corrected_score():
    assert np.isnan(score_on_mask([], np.eye(3) > 0, (3, 3)).corrected)


def test_a_mask_of_the_whole_frame_tells_nothing():
    assert np.isnan(score_on_mask([[1, 1]], np.ones((3, 3)), (3, 3)).corrected)


def test_a_point_outside_the_frame_is_refused():
    with pytest.raises(CalzooError, match=r"points inside the frame \(4, 4\)"):
        score_on_mask([[4.2, 0]], np.ones((2, 2)), (4, 4))


def test_correlation_of_traces_is_pearsons(rng):
    true, found = rng.normal(size=(2, 3, 40))
    found[2] = 1.0
    r = trace_correlation(true, found)
    np.testing.assert_allclose(r[:2], [np.corrcoef(true[i], found[i])[0, 1] for i in range(2)])
    assert np.isnan(r[2])
    # The mean of many tenths is no tenth: what is left of a constant trace is rounding.
    assert np.isnan(trace_correlation(np.full((1, 300), 0.1), np.full((1, 300), 0.3))).all()
    assert np.isnan(trace_correlation(true[:, :30], np.full((3, 30), 0.1))).all()
