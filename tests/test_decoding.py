"""Scores of decoded stimuli on answers that are known by heart."""

import numpy as np
import pytest

from calzoo.metrics.decoding import authors_rule, cell_f1, decoding_scores, exact_match

#                cell 1, cell 2, cell 3, none
LOGITS = np.array([[5.0, -1, -2, -3], [2, 1, -1, -5], [1, -4, 3, -2], [-1, -2, -3, 4], [-1, -2, -3, -4.0]])
TRUTH = np.array([[1, 0, 0, 0], [1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 0, 1], [0, 1, 0, 0]], bool)


def test_exact_match_needs_every_cell_and_no_other():
    np.testing.assert_array_equal(exact_match(LOGITS, TRUTH), [True, True, False, True, False])


def test_a_threshold_moves_what_is_found():
    np.testing.assert_array_equal(exact_match(LOGITS, TRUTH, 1.5), [True, False, False, True, False])


def test_the_authors_rule_needs_one_of_a_pair_among_the_two_largest():
    np.testing.assert_array_equal(authors_rule(LOGITS, TRUTH), [True, True, True, True, False])


def test_f1_of_each_cell():
    # Cell 1: found in three of three frames. Cell 2: in one of three. Cell 3: found where it was not.
    np.testing.assert_allclose(cell_f1(LOGITS, TRUTH), [1.0, 0.5, 0.0])


def test_a_cell_that_never_comes_has_no_f1():
    f1 = cell_f1(LOGITS[:1], TRUTH[:1])
    assert f1[0] == 1
    assert np.isnan(f1[1:]).all()


def test_scores_stand_apart_by_the_number_of_cells():
    scores = decoding_scores(LOGITS, TRUTH)
    assert scores["exact"] == pytest.approx(3 / 5)
    assert scores["exact_single"] == pytest.approx(1 / 2)
    assert scores["exact_pair"] == pytest.approx(1 / 2)
    assert scores["exact_none"] == 1
    assert scores["rule_pair"] == 1
    assert scores["macro_f1"] == pytest.approx(0.5)
    assert np.isnan(decoding_scores(LOGITS[:1], TRUTH[:1])["exact_pair"])


def test_scores_follow_the_threshold():
    scores = decoding_scores(LOGITS, TRUTH, 1.5)
    assert scores["exact"] == pytest.approx(2 / 5)
    assert scores["exact_pair"] == 0
    assert scores["macro_f1"] == pytest.approx(np.mean(cell_f1(LOGITS, TRUTH, 1.5)))


def test_the_authors_rule_is_often_right_by_chance(rng):
    """16 % of the pairs of 24 cells pass with random outputs: C(25,2) - C(23,2) of C(25,2)."""
    truth = np.zeros((20_000, 25), bool)
    truth[:, :2] = True
    expected = 1 - (23 * 22) / (25 * 24)
    assert authors_rule(rng.normal(size=truth.shape), truth).mean() == pytest.approx(expected, abs=0.01)
