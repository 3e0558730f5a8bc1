"""Means over recordings, and the table of them."""

import pytest

pytestmark = pytest.mark.train
pytest.importorskip("keras")

from calzoo.training.scores import mean_score, report
from calzoo.weights.card import Score


def test_a_score_is_the_mean_of_what_is_defined_with_its_range():
    values = [0.25, float("nan"), 0.5000049]
    score = mean_score("d", "m", "p", values, baseline=[None, None, None], chance=[0.0, 0.0, None])
    assert (score.value, score.spread, score.baseline, score.chance) == (0.375, (0.25, 0.5), None, 0.0)
    whole = mean_score("d", "m", "p", values, digits=None)
    assert (whole.value, whole.spread[1]) == (pytest.approx(0.37500245), 0.5000049)


def test_a_score_of_all_together_has_no_range():
    score = mean_score("d", "m", "p", 0.123456, baseline=0.98765)
    assert (score.value, score.spread, score.baseline, score.chance) == (0.1235, None, 0.9877, None)


def test_long_names_stay_out_of_the_next_column():
    scores = [
        Score(data="d" * 40, metric="m" * 40, value=0.5, protocol="p"),
        Score(data="a", metric="b", value=0.25, protocol="q"),
    ]
    lines = report(scores).splitlines()
    assert [line.split()[:3] for line in lines[1:]] == [["d" * 40, "m" * 40, "0.500"], ["a", "b", "0.250"]]
    assert lines[0].index("protocol") == lines[1].index(" p") + 1 == lines[2].index(" q") + 1
