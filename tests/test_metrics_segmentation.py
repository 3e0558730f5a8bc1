import numpy as np
import pytest

from calzoo.errors import CalzooError
from calzoo.metrics.segmentation import cl_dice, confusion, draw_confusion, scores_by_class


def test_a_confusion_matrix_counts_every_pair_of_classes(rng):
    truth, predicted = rng.integers(0, 3, (2, 5, 6, 7))
    matrix = confusion(truth, predicted, 3)
    expected = [[np.sum((truth == t) & (predicted == p)) for p in range(3)] for t in range(3)]
    np.testing.assert_array_equal(matrix, expected)
    np.testing.assert_array_equal(confusion(truth, predicted, 5)[3:], 0)  # classes that never come


@pytest.mark.parametrize("ignored", [2, 255])
def test_voxels_of_the_ignored_class_are_not_counted(rng, ignored):
    truth = rng.choice([0, 1, ignored], (4, 5, 6))
    predicted = rng.integers(0, 2, truth.shape)
    matrix = confusion(truth, predicted, 2, ignore=ignored)
    known = truth != ignored
    np.testing.assert_array_equal(matrix, confusion(truth[known], predicted[known], 2))


def test_masks_count_as_two_classes():
    matrix = confusion(np.array([True, False]), np.array([True, True]), 2)
    np.testing.assert_array_equal(matrix, [[0, 1], [0, 1]])


@pytest.mark.parametrize("kinds", [("uint8", "uint64"), ("uint64", "int8"), ("uint64", "uint64")])
def test_classes_may_be_of_any_integers(kinds):
    matrix = confusion(*(np.array([0, 1, 1], kind) for kind in kinds), 2)
    np.testing.assert_array_equal(matrix, [[1, 0], [0, 2]])


def test_scores_are_those_of_the_textbook():
    scores = scores_by_class(np.array([[50, 10, 0], [5, 30, 5], [0, 0, 0]]))
    np.testing.assert_allclose(scores.precision, [50 / 55, 30 / 40, 0])
    np.testing.assert_allclose(scores.recall, [50 / 60, 30 / 40, np.nan])
    np.testing.assert_allclose(scores.f1, [100 / 115, 60 / 80, 0])
    np.testing.assert_allclose(scores.iou, [50 / 65, 30 / 50, 0])
    np.testing.assert_array_equal(scores.voxels, [60, 40, 0])


def test_a_class_that_is_nowhere_has_no_score():
    scores = scores_by_class(np.array([[4, 0], [0, 0]]))
    for score in (scores.precision, scores.recall, scores.f1, scores.iou):
        np.testing.assert_array_equal(score, [1, np.nan])


def test_matrices_of_two_volumes_add_up_to_that_of_both(rng):
    truth, predicted = rng.integers(0, 3, (2, 8, 4, 4))
    halves = sum(confusion(truth[part], predicted[part], 3) for part in (slice(0, 3), slice(3, 8)))
    np.testing.assert_array_equal(halves, confusion(truth, predicted, 3))


def test_shapes_and_classes_are_checked():
    with pytest.raises(CalzooError, match=r"same shape, got \(2,\) and \(3,\)"):
        confusion(np.zeros(2, int), np.zeros(3, int), 2)
    with pytest.raises(CalzooError, match=r"truth must hold classes from 0 to 1, got 0 to 4. .*ignore"):
        confusion(np.array([0, 4]), np.array([0, 0]), 2)
    with pytest.raises(CalzooError, match=r"predicted must hold classes from 0 to 1, got -1 to 0"):
        confusion(np.array([0, 0]), np.array([0, -1]), 2)
    with pytest.raises(CalzooError, match="predicted must hold classes as integers, got float64"):
        confusion(np.array([0]), np.array([0.2]), 2)


def tube(shape, width, length):
    mask = np.zeros(shape, bool)
    low = shape[0] // 2 - width // 2
    mask[low : low + width, low : low + width, :length] = True
    return mask


def test_cl_dice_ignores_the_width_of_a_tube():
    assert cl_dice(tube((11, 11, 40), 5, 40), tube((11, 11, 40), 3, 40)) == 1


def test_cl_dice_of_half_a_line_is_two_thirds():
    truth, predicted = tube((3, 3, 40), 1, 40), tube((3, 3, 40), 1, 20)
    assert cl_dice(truth, predicted) == pytest.approx(2 / 3)
    assert cl_dice(predicted, truth) == pytest.approx(2 / 3)


def test_cl_dice_of_lines_apart_is_0_and_of_nothing_undefined():
    picture = np.zeros((6, 9), bool)
    upper, lower = picture.copy(), picture.copy()
    upper[1], lower[4] = True, True
    assert cl_dice(upper, lower) == 0
    assert cl_dice(upper, picture) == cl_dice(picture, upper) == 0
    assert np.isnan(cl_dice(picture, picture))


def test_the_picture_of_a_confusion_matrix_shows_shares_and_counts():
    axes = draw_confusion(np.array([[3, 1], [0, 0]]), ["background", "axon"])
    assert [text.get_text() for text in axes.texts] == ["0.75\n3", "0.25\n1", "none", "none"]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["background", "axon"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted", "true")
