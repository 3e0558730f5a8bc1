"""ZNCC, blocks of conditions, and tests between two recordings."""

import numpy as np
import pytest

from calzoo.metrics.correlation import (
    MeanSimilarity,
    TrialSimilarity,
    block_means,
    ssd_matrix,
    zncc,
    zncc_matrix,
)
from calzoo.metrics.permutation import (
    compare_means,
    half_interval,
    permutation_test,
    pseudo_values,
    sign_flip_test,
)


def test_zncc_is_pearsons_r(rng):
    maps = rng.normal(size=(4, 6, 5))
    np.testing.assert_allclose(zncc_matrix(maps), np.corrcoef(maps.reshape(4, -1)), atol=1e-12)
    assert zncc(maps[0], maps[1]) == pytest.approx(np.corrcoef(maps[0].ravel(), maps[1].ravel())[0, 1])


def test_zncc_ignores_scale_and_offset_but_not_sign(rng):
    first = rng.random((7, 3))
    assert zncc(first, 5 * first + 100) == pytest.approx(1)
    assert zncc(first, -first) == pytest.approx(-1)


def test_zncc_of_a_constant_map_is_not_defined(rng):
    matrix = zncc_matrix(np.stack([rng.random((4, 4)), np.full((4, 4), 0.1)]))
    assert matrix[0, 0] == pytest.approx(1)
    assert np.isnan(matrix[1]).all()
    assert np.isnan(matrix[:, 1]).all()
    # The mean of many tenths is no tenth: what is left of such a map is rounding.
    assert np.isnan(zncc(rng.random(300), np.full(300, 0.1)))


def test_ssd_is_the_mean_squared_difference(rng):
    maps = rng.random((3, 4, 2))
    expected = [[((a - b) ** 2).mean() for b in maps] for a in maps]
    np.testing.assert_allclose(ssd_matrix(maps), expected, atol=1e-12)


def test_blocks_count_each_pair_once_and_no_condition_with_itself():
    matrix = np.array([[9, 1, 2, 5], [1, 9, 3, 5], [2, 3, 9, 5], [5, 5, 5, 9.0]])
    assert block_means(matrix, [1, 1, 1, 0]) == {1: 2.0}
    assert block_means(matrix, [1, 2, 1, 2]) == {1: 2.0, 2: 5.0}


def trials_of(rng, truth, noise, trials=10):
    """Return noisy maps of each condition in each trial, and their condition and trial."""
    conditions = len(truth)
    maps = np.repeat(truth, trials, axis=0) + noise * rng.normal(size=(conditions * trials, truth.shape[1]))
    return maps, np.repeat(np.arange(conditions), trials), np.tile(np.arange(1, trials + 1), conditions)


def test_similarity_without_noise_is_zncc_or_cosine(rng):
    truth = rng.random((4, 30))
    maps, condition, trial = trials_of(rng, truth, 0.0)
    centred = TrialSimilarity(maps, condition, trial, range(4)).matrix()
    np.testing.assert_allclose(centred, zncc_matrix(truth), atol=1e-12)
    unit = truth / np.linalg.norm(truth, axis=1, keepdims=True)
    cosine = TrialSimilarity(maps, condition, trial, range(4), centred=False).matrix()
    np.testing.assert_allclose(cosine, unit @ unit.T, atol=1e-12)


def test_noise_lowers_zncc_of_means_but_not_similarity(rng):
    shared = rng.normal(size=400)
    truth = np.stack([shared + 0.5 * rng.normal(size=400) for _ in range(6)])
    true = zncc_matrix(truth)[np.tril_indices(6, -1)].mean()
    maps, condition, trial = trials_of(rng, truth, 4.0)
    means = np.array([maps[condition == c].mean(axis=0) for c in range(6)])
    plain = zncc_matrix(means)[np.tril_indices(6, -1)].mean()
    found = TrialSimilarity(maps, condition, trial, range(6)).mean()
    assert plain < true - 0.2
    assert found == pytest.approx(true, abs=0.08)


def test_similarity_takes_the_conditions_that_are_asked_for_and_misses_trials(rng):
    truth = rng.random((4, 50))
    maps, condition, trial = trials_of(rng, truth, 0.0)
    kept = ~((condition == 2) & (trial > 3))
    some = TrialSimilarity(maps[kept], condition[kept], trial[kept], [2, 0])
    np.testing.assert_allclose(some.matrix(), zncc_matrix(truth[[2, 0]]), atol=1e-12)


def test_stimuli_of_one_condition_and_trial_count_as_their_mean(rng):
    truth = rng.random((4, 50))
    maps, condition, trial = trials_of(rng, truth, 0.3, trials=3)
    # The first row twice as bright, and one of nothing: their mean is the row.
    more = np.concatenate([2 * maps[:1], maps[1:], 0 * maps[:1]])
    twice = TrialSimilarity(more, np.append(condition, condition[0]), np.append(trial, trial[0]), range(4))
    expected = TrialSimilarity(maps, condition, trial, range(4)).matrix()
    np.testing.assert_allclose(twice.matrix(), expected, atol=1e-12)


def test_weights_leave_trials_out(rng):
    truth = rng.random((3, 50))
    maps, condition, trial = trials_of(rng, truth, 0.5, trials=5)
    all_trials = TrialSimilarity(maps, condition, trial, range(3))
    kept = trial != 2
    without = TrialSimilarity(maps[kept], condition[kept], trial[kept], range(3))
    np.testing.assert_allclose(all_trials.matrix(np.array([1.0, 0, 1, 1, 1])), without.matrix(), atol=1e-12)


def test_pseudo_values_average_to_the_statistic_where_it_is_a_mean(rng):
    truth = rng.random((3, 50))
    maps, condition, trial = trials_of(rng, truth, 0.0, trials=4)
    similarity = TrialSimilarity(maps, condition, trial, range(3))
    np.testing.assert_allclose(pseudo_values(similarity), similarity.mean(), atol=1e-12)


def test_sign_flips_count_all_patterns():
    assert sign_flip_test(np.array([3.0, 1.0, 2.0])) == 2 / 8
    assert sign_flip_test(np.array([1.0, -1.0])) == 1.0
    assert sign_flip_test(np.arange(1.0, 11)) == 2 / 1024


def test_many_equal_differences_are_ties_with_the_patterns_that_only_round_differently():
    p = sign_flip_test(np.full(15, 0.1), rng=np.random.default_rng(0), resamples=200_000)
    assert p == pytest.approx(2 / 2**15, rel=0.8)
    uneven = np.array([0.1] * 14 + [-0.1])
    p = sign_flip_test(uneven, rng=np.random.default_rng(0), resamples=100_000)
    assert p == pytest.approx(2 * 16 / 2**15, rel=0.2)
    assert np.isnan(sign_flip_test(np.array([np.nan])))


def test_many_differences_are_sampled(rng):
    assert sign_flip_test(np.ones(20), rng=rng) < 0.01
    assert sign_flip_test(np.tile([1.0, -1.0], 10), rng=rng) == 1.0
    again = [sign_flip_test(np.arange(-4.0, 12)) for _ in range(2)]  # without a generator, always alike
    assert again[0] == again[1] < 0.05
    # No pattern of 10,000 is as extreme as the one observed, which counts as one more.
    assert sign_flip_test(np.ones(60), rng=rng) == 1 / 10_001


def test_up_to_fourteen_differences_need_no_draws():
    assert sign_flip_test(np.ones(14)) == 2 / 2**14


def test_sign_flips_have_the_size_that_they_say(rng):
    rejected = np.mean([sign_flip_test(rng.normal(size=8)) <= 0.05 for _ in range(400)])
    assert 0.01 < rejected < 0.09


def test_exchanging_units_finds_a_difference_and_none(rng):
    first, second = rng.normal(size=30), rng.normal(2, 1, 30)
    assert permutation_test(first, second, np.mean, rng=rng, resamples=200) < 0.02
    assert permutation_test(first, first, np.mean, rng=rng, resamples=200) == 1.0


@pytest.mark.parametrize("trials", [3, 5, 8, 20])
def test_intervals_hold_the_truth_as_often_as_they_say(rng, trials):
    """.95 of 2,000 intervals, give or take .01; fewer where differences are skewed."""
    held = [
        np.mean([abs(d.mean()) <= half_interval(d) for d in differences])
        for differences in (rng.normal(size=(2000, trials)), rng.exponential(size=(2000, trials)) - 1)
    ]
    assert held[0] == pytest.approx(0.95, abs=0.015)
    assert 0.86 < held[1] < 0.95


def test_an_interval_is_of_finite_differences_and_of_two_at_least():
    half = 4.30265 / np.sqrt(3)  # the quantile that tables give for two degrees of freedom
    assert half_interval([4.0, np.nan, 5.0, 6.0]) == pytest.approx(half, rel=1e-5)
    assert np.isnan(half_interval([4.0, np.nan]))


def test_the_interval_of_similarity_holds_an_unchanged_one(rng):
    """Of 200 pairs of three trials: .95 is 190; a bootstrap over trials holds 150."""
    truth = rng.normal(size=300) + rng.normal(size=(4, 300))
    held = 0
    for _ in range(200):
        sides = [TrialSimilarity(*trials_of(rng, truth, 1.0, trials=3), range(4)) for _ in range(2)]
        low, high = compare_means(*sides, rng=rng).interval
        held += low <= 0 <= high
    assert 180 <= held < 200


def test_groups_have_their_own_trials_whether_numbered_anew_or_on(rng):
    """Trials of other groups say nothing of one: counted, they gave three trials a p of .05."""
    truth = rng.normal(size=300) + rng.normal(size=(8, 300))
    held = np.zeros(3)
    for _ in range(100):
        sides = [trials_of(rng, truth, 1.0, trials=3) for _ in range(2)]
        changes = []
        for on in (0, 3):
            groups = [
                [
                    TrialSimilarity(maps, c, trial + on * (c > 3), members)
                    for members in (range(4), range(4, 8))
                ]
                for maps, c, trial in sides
            ]
            pairs = [*zip(*groups, strict=True), [MeanSimilarity(side) for side in groups]]
            changes.append([compare_means(*pair, rng=rng) for pair in pairs])
        anew, on = changes
        assert anew == on
        assert min(change.p for change in on) >= 2 / 2**3
        held += [low <= 0 <= high for low, high in (change.interval for change in on)]
    assert (held >= 88).all()  # of .95 on average; less comes once in 200 times
    assert held.sum() < 300


def test_the_mean_of_groups_has_as_many_trials_as_the_shortest(rng):
    truth = rng.random((4, 50))
    long, short = (TrialSimilarity(*trials_of(rng, truth, 0.3, trials=n), range(4)) for n in (6, 4))
    together = MeanSimilarity([long, short])
    assert len(together.trials) == 4
    first = long.means(np.array([[1.0, 1, 1, 1, 0, 0]]))[0]
    assert together.mean() == pytest.approx((first + short.mean()) / 2)


def test_more_in_common_is_found_and_a_repetition_is_not(rng):
    shared, own = rng.normal(size=300), rng.normal(size=(6, 300))
    before, again = (TrialSimilarity(*trials_of(rng, shared + own, 1.0), range(6)) for _ in range(2))
    after = TrialSimilarity(*trials_of(rng, 1.6 * shared + own, 1.0), range(6))
    change = compare_means(before, after, rng=rng)
    assert change.difference > 0.1
    assert change.interval[0] > 0
    assert change.p < 0.02
    same = compare_means(before, again, rng=rng)
    assert same.interval[0] < 0 < same.interval[1]
    assert abs(same.difference) < 0.05
    assert same.p > 0.05


def test_recordings_of_different_length_are_compared_by_the_trials_of_the_shorter(rng):
    truth = rng.random((4, 50))
    long, short = (TrialSimilarity(*trials_of(rng, truth, 0.5, trials=n), range(4)) for n in (9, 6))
    for pair in ((long, short), (short, long)):
        change = compare_means(*pair, rng=rng)
        assert change.p * 2**6 == round(change.p * 2**6)
    maps, condition, trial = trials_of(rng, truth, 0.5, trials=9)
    first = trial < np.unique(trial)[6]
    alone = TrialSimilarity(maps[first], condition[first], trial[first], range(4))
    whole = TrialSimilarity(maps, condition, trial, range(4))
    expected, found = (compare_means(short, one, rng=rng) for one in (alone, whole))
    np.testing.assert_allclose([found.after, *found.interval], [expected.after, *expected.interval])


def test_the_mean_of_groups_counts_each_group_once_and_needs_all_of_them(rng):
    sizes = ((4, 0.0), (3, 0.2), (2, 0.4))
    groups = [
        TrialSimilarity(*trials_of(rng, rng.random((n, 50)) + s * rng.random(50), 0.1, trials=5), range(n))
        for n, s in sizes
    ]
    weights = 1.0 - np.eye(5)
    together = MeanSimilarity(groups)
    assert together.mean() == pytest.approx(np.mean([group.mean() for group in groups]))
    np.testing.assert_allclose(together.means(weights), np.mean([g.means(weights) for g in groups], axis=0))
    np.testing.assert_array_equal(together.trials, np.arange(1, 6))
    dark = TrialSimilarity(*trials_of(rng, np.zeros((3, 50)), 0.0, trials=5), range(3))
    assert np.isnan(MeanSimilarity([*groups, dark]).means(weights)).all()


def test_what_is_not_defined_is_no_change(rng):
    """Maps without light have no similarity; 0 would look like a change, and a sure one."""
    truth = rng.random((4, 50))
    before, dark = (TrialSimilarity(*trials_of(rng, light, 0.0), range(4)) for light in (truth, 0 * truth))
    assert np.isnan(dark.mean())
    assert np.isnan(dark.means(np.ones((3, 10)))).all()
    assert np.isnan(MeanSimilarity([before, dark]).mean())
    change = compare_means(before, dark, rng=rng)
    assert change.before == before.mean()
    assert np.isnan([change.after, change.difference, *change.interval, change.p]).all()
