"""What stimulated cells add to the field, and how far it spreads."""

from dataclasses import replace

import numpy as np
import pytest

from calzoo.metrics.spread import Influence, compare_spread, influence

CONDITIONS = ((0,), (1,), (2,), (0, 1), (0, 2), (1, 2))
CELLS = ((6, 6), (6, 25), (25, 6))


def field(strength=0.4):
    """Each cell answers itself, and drives the next one."""
    y, x = np.indices((32, 32))
    spots = np.array([np.exp(-((y - a) ** 2 + (x - b) ** 2) / 8) for a, b in CELLS])
    return spots + strength * np.roll(spots, -1, axis=0)


def recorded(rng, shares, *, trials=8, noise=0.02, drift=0.0):
    """Return pictures, stimulated cells and trials of a recording."""
    stimulated = np.array([[cell in cells for cell in range(3)] for cells in CONDITIONS] * trials)
    trial = np.repeat(np.arange(trials), len(CONDITIONS))
    haze = rng.normal(size=(32, 32))
    changes = stimulated @ shares.reshape(3, -1)
    changes = changes.reshape(-1, 32, 32) + drift * trial[:, None, None] * haze
    return changes + noise * rng.normal(size=changes.shape), stimulated, trial


def compared(rng, before, after):
    pair = tuple(influence(*side) for side in (before, after))
    return compare_spread([pair], rng=rng)


def test_shares_of_cells_are_told_apart(rng):
    found = influence(*recorded(rng, field(), noise=0, drift=1.0))
    assert found.cells.tolist() == [0, 1, 2]
    np.testing.assert_allclose(found.maps, np.broadcast_to(field(), (8, 3, 32, 32)), atol=1e-9)


def test_the_level_is_the_field_at_rest(rng):
    changes, stimulated, trial = recorded(rng, field(), noise=0)
    rest = rng.random((32, 32))
    drift = 0.1 * trial[:, None, None] * rest  # over eight trials .35 on average
    np.testing.assert_allclose(influence(changes + rest + drift, stimulated, trial).level, 1.35 * rest)


def test_neither_light_nor_answers_of_a_recording_count_more_than_those_of_the_other(rng):
    before, after = (influence(*recorded(rng, field(s))) for s in (0.4, 0.5))
    before, after = (replace(side, level=rng.random((32, 32))) for side in (before, after))
    expected = compare_spread([(before, after)], rng=rng)
    brighter = replace(after, maps=7 * after.maps, level=50 * after.level)
    found = compare_spread([(before, brighter)], rng=rng)
    np.testing.assert_allclose([*found.interval, found.before], [*expected.interval, expected.before])


def test_recordings_of_different_length_are_compared_by_the_trials_of_the_shorter(rng):
    change = compared(rng, recorded(rng, field(0.4), trials=9), recorded(rng, field(0.6), trials=6))
    assert change.p == 2 / 2**6


def test_trials_that_lack_a_cell_are_left_out(rng):
    changes, stimulated, trial = recorded(rng, field())
    kept = ~((trial == 3) & stimulated[:, 1])
    assert influence(changes[kept], stimulated[kept], trial[kept]).maps.shape == (7, 3, 32, 32)


def test_stronger_connections_spread_farther(rng):
    change = compared(rng, recorded(rng, field(0.4)), recorded(rng, field(0.6)))
    assert change.before < 1 < change.after
    assert change.after / change.before == pytest.approx(1.5, abs=0.1)
    assert change.p == 2 / 2**8
    assert change.interval[0] < change.difference < change.interval[1]
    weaker = compared(rng, recorded(rng, field(0.4)), recorded(rng, field(0.2)))
    assert weaker.after / weaker.before == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize(
    ("factor", "noise", "drift"),
    [(1.0, 0.02, 0.0), (0.4, 0.02, 0.0), (1.0, 0.06, 0.0), (1.0, 0.02, 1.0)],
    ids=["again", "weaker answers", "more noise", "drift"],
)
def test_what_is_no_connection_does_not_count(rng, factor, noise, drift):
    after = recorded(rng, factor * field(), noise=noise, drift=drift)
    change = compared(rng, recorded(rng, field()), after)
    assert change.after / change.before == pytest.approx(1, abs=0.12)
    assert change.p > 0.02


def test_a_field_that_has_moved_spreads_as_before(rng):
    """Both gains fall by a fifth, their ratio stays."""
    moved = [np.roll(field(), shift, axis=2) for shift in (0, 2)]
    before, after = (recorded(rng, shares) for shares in moved)
    change = compared(rng, before, after)
    overlap = (moved[0] * moved[1]).sum() / (moved[0] ** 2).sum()
    assert overlap == pytest.approx(0.78, abs=0.02)
    assert change.after / change.before == pytest.approx(1, abs=0.06)


@pytest.mark.parametrize("seed", range(6))
def test_light_that_flickers_and_a_camera_with_an_offset_do_not_count(seed):
    """Half of the light, some percent more or less from picture to picture, on an offset larger than it."""
    rng = np.random.default_rng(seed)
    rest = 1 + rng.random((32, 32))
    rows = [recorded(rng, field(), noise=0.0) for _ in range(2)]
    bright, dark = ((rest + answers, *others) for answers, *others in rows)
    flicker = 0.5 * rng.uniform(0.96, 1.04, len(dark[0]))[:, None, None]
    change = compared(rng, bright, (2 + flicker * dark[0], *dark[1:]))
    assert change.after / change.before == pytest.approx(1, abs=0.02)


def test_repetitions_raise_few_alarms(rng):
    """Of 40 pairs without a change 1 in 20 may be below 0.05; more than 6 come once in 1,000 times."""
    settings = {"noise": 0.1, "trials": 6}
    pairs = [[recorded(rng, field(), **settings) for _ in range(2)] for _ in range(40)]
    assert sum(compared(rng, *pair).p < 0.05 for pair in pairs) <= 6


def test_three_trials_have_an_interval_that_is_wide_enough(rng):
    """Of 100 pairs without a change .95 is 95; a bootstrap over trials holds 0 in 74."""
    settings = {"noise": 0.1, "trials": 3}
    pairs = [[recorded(rng, field(), **settings) for _ in range(2)] for _ in range(100)]
    intervals = [compared(rng, *pair).interval for pair in pairs]
    assert 88 <= sum(low <= 0 <= high for low, high in intervals) < 100


def test_groups_count_together(rng):
    still = tuple(influence(*recorded(rng, field())) for _ in range(2))
    grown = tuple(influence(*recorded(rng, field(s))) for s in (0.4, 0.6))
    both = compare_spread([still, grown], rng=rng)
    alone = compare_spread([grown], rng=rng)
    assert 0 < both.difference < alone.difference


def test_without_connections_there_is_no_spread(rng):
    maps = np.repeat(field(0.0)[None] * (field(0.0) > 0.01), 4, axis=0)
    quiet = Influence(np.arange(3), maps, np.ones((32, 32)))
    change = compare_spread([(quiet, quiet)], rng=rng)
    assert np.isnan(change.difference)
    assert np.isnan(change.p)
