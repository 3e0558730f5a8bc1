from itertools import permutations

import numpy as np
import pytest

from calzoo.errors import CalzooError
from calzoo.metrics.matching import assign, instance_f1, match_instances, match_points, overlaps


def test_overlaps_are_intersections_over_unions(rng):
    truth, predicted = rng.choice([0, 3, 70_000], (2, 6, 7, 8))
    iou, true_labels, found_labels = overlaps(truth, predicted)
    assert true_labels.tolist() == found_labels.tolist() == [3, 70_000]
    for i, j in np.ndindex(2, 2):
        one, other = truth == true_labels[i], predicted == found_labels[j]
        assert iou[i, j] == np.sum(one & other) / np.sum(one | other)


@pytest.mark.parametrize("trial", range(5))
def test_an_assignment_has_the_most_pairs_and_then_the_highest_value(rng, trial):
    value = rng.normal(size=(4, 5))
    allowed = rng.random((4, 5)) < 0.4
    rows, columns = assign(value, allowed)
    everything = (
        [(i, j) for i, j in enumerate(order) if allowed[i, j]] for order in permutations(range(5), 4)
    )
    best = max((len(pairs), sum(value[i, j] for i, j in pairs)) for pairs in everything)
    assert np.all(allowed[rows, columns])
    assert len(set(rows)) == len(set(columns)) == len(rows)
    assert (len(rows), value[rows, columns].sum()) == (best[0], pytest.approx(best[1]))


def test_nothing_is_assigned_where_nothing_is_allowed():
    rows, columns = assign(np.zeros((3, 0)), np.zeros((3, 0), bool))
    assert len(rows) == len(columns) == 0


def test_one_found_object_matches_only_one_of_two_true_ones():
    truth = np.array([1] * 6 + [2] * 4)
    matching = match_instances(truth, np.full(10, 9), iou=0.3)
    assert (matching.true.tolist(), matching.found.tolist()) == ([1], [9])
    assert matching.score.tolist() == [0.6]
    assert matching.missed.tolist() == [2]
    assert (matching.precision, matching.recall) == (1, 0.5)
    assert matching.f1 == pytest.approx(2 / 3)


def test_an_iou_equal_to_the_threshold_counts():
    truth, found = np.array([1, 1, 1, 1]), np.array([4, 4, 0, 0])
    assert instance_f1(truth, found, iou=0.5) == 1
    assert instance_f1(truth, found, iou=0.51) == 0


def test_renumbering_changes_no_score(rng):
    truth = np.repeat(np.arange(1, 9), 10)
    found = np.where(rng.random(80) < 0.7, truth, 0)
    renumbered = np.where(found, 100 - found, 0)
    assert instance_f1(truth, renumbered) == instance_f1(truth, found) > 0.5


def test_missed_and_false_objects_are_named():
    matching = match_instances(np.array([1, 1, 0, 2]), np.array([1, 1, 7, 0]))
    assert (matching.missed.tolist(), matching.false.tolist()) == ([2], [7])
    assert (matching.precision, matching.recall, matching.f1) == (0.5, 0.5, 0.5)


def test_empty_images_have_no_score_and_half_empty_ones_score_0():
    nothing, something = np.zeros((2, 3), int), np.ones((2, 3), int)
    assert np.isnan(instance_f1(nothing, nothing))
    assert instance_f1(something, nothing) == 0
    assert np.isnan(match_instances(something, nothing).precision)
    assert match_instances(nothing, something).precision == 0


def test_points_prefer_two_far_matches_over_one_near_match():
    matching = match_points([[0.0], [2.0]], [[1.9], [4.5]], distance=2.6)
    assert matching.true.tolist() == [0, 1]
    assert matching.found.tolist() == [0, 1]
    np.testing.assert_allclose(matching.score, [1.9, 2.5])


def test_points_beyond_the_distance_do_not_match():
    truth, found = [[0, 0], [5, 5]], [[0, 3], [5, 5], [20, 20]]
    matching = match_points(truth, found, distance=2.9)
    assert matching.true.tolist() == [1]
    assert matching.missed.tolist() == [0]
    assert matching.false.tolist() == [0, 2]
    assert matching.f1 == 0.4
    assert match_points(truth, found, distance=3).f1 == 0.8


def test_no_points_at_all():
    assert np.isnan(match_points([], [], distance=1).f1)
    assert match_points([], [[1, 2]], distance=1).precision == 0
    assert match_points(np.zeros((2, 3)), [], distance=1).recall == 0


def test_bad_shapes_and_thresholds_are_refused():
    with pytest.raises(CalzooError, match=r"same shape, got \(3,\) and \(4,\)"):
        match_instances(np.zeros(3, int), np.zeros(4, int))
    with pytest.raises(CalzooError, match="above 0 and not above 1, got 0"):
        match_instances(np.zeros(3, int), np.zeros(3, int), iou=0)
    with pytest.raises(CalzooError, match=r"\(number, axes\), got shapes \(1, 2\) and \(1, 3\)"):
        match_points([[1, 2]], [[1, 2, 3]], distance=1)


def test_of_pairs_that_are_near_enough_the_nearest_are_taken():
    matching = match_points([[0.0], [10.0]], [[9.0], [1.0]], distance=20)
    assert dict(zip(matching.true.tolist(), matching.found.tolist(), strict=True)) == {0: 1, 1: 0}
    np.testing.assert_array_equal(matching.score, 1)
