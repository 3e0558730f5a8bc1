"""Losses of registration at points where they are known."""

import numpy as np
import pytest
from scipy import ndimage

pytestmark = pytest.mark.train
keras = pytest.importorskip("keras")

from calzoo.errors import CalzooError
from calzoo.training.registration_losses import (
    dissimilarity,
    flow_loss,
    folding,
    registration_loss,
    roughness,
    squared_difference,
)

SHIFT = np.float32([1.0, -2.0])


def number(tensor):
    return float(keras.ops.convert_to_numpy(tensor))


@pytest.fixture
def target(rng):
    """Return a target whose frame is the template moved by (1, -2), and that motion as predicted."""
    large = ndimage.gaussian_filter(rng.normal(size=(80, 80)), 1.5).astype(np.float32)
    template, frame = large[8:72, 8:72], large[9:73, 6:70]
    planes = [np.full((64, 64), SHIFT[0]), np.full((64, 64), SHIFT[1]), np.ones((64, 64)), frame, template]
    truth = np.stack(planes, axis=-1)[None].astype(np.float32)
    return truth, np.broadcast_to(SHIFT, (1, 32, 8, 2)).astype(np.float32)


def packed(motions, expected=0.5):
    return np.concatenate([*motions, np.full((*motions[0].shape[:3], 1), expected, np.float32)], axis=-1)


def test_right_motion_has_no_error_and_wrong_motion_its_length(target):
    truth, motion = target
    right = flow_loss(truth[..., :3], [motion], None, 0.3, 0.0)
    wrong = flow_loss(truth[..., :3], [motion + np.float32([3, 4])], None, 0.3, 0.0)
    assert number(right) == pytest.approx(0.01, abs=1e-4)  # the root of 1e-4
    assert number(wrong) == pytest.approx(5 * 256 / 257, rel=1e-4)


def test_each_step_counts_and_the_last_most(target):
    truth, motion = target
    away = motion + np.float32([1, 0])
    early = flow_loss(truth[..., :3], [away, motion], None, 0.3, 0.0)
    late = flow_loss(truth[..., :3], [motion, away], None, 0.3, 0.0)
    assert number(late) - number(early) == pytest.approx(0.7 * (256 / 257) * 0.99, rel=0.02)


def test_motion_that_is_not_known_does_not_count(target):
    truth, motion = target
    truth[:, :, 32:, 2] = 0
    wrong = motion.copy()
    wrong[:, :, 4:] += 50
    assert number(flow_loss(truth[..., :3], [wrong], None, 0.3, 0.0)) < 0.011


def test_expected_error_fits_best_where_it_is_the_real_one(target):
    truth, motion = target
    wrong = motion + np.float32([0.6, 0.8])
    losses = [
        number(flow_loss(truth[..., :3], [wrong], np.full((1, 32, 8, 1), s - 0.02, np.float32), 0.0, 1.0))
        for s in (0.5, 0.8, 1.0, 1.25, 2.0)
    ]
    assert int(np.argmin(losses)) == 2


@pytest.mark.parametrize("compare", [dissimilarity, squared_difference])
def test_pictures_are_alike_where_the_motion_is_right(target, compare):
    truth, motion = target
    frame, template = truth[..., 3:4], truth[..., 4:5]
    right, wrong = (number(compare(frame, template, m)) for m in (motion, 0 * motion))
    assert right < 0.07 < 0.2 < wrong


def test_correlation_does_not_see_gain_and_offset(target):
    truth, motion = target
    frame, template = truth[..., 3:4], truth[..., 4:5]
    plain, other = (number(dissimilarity(f, template, motion)) for f in (frame, 5 * frame + 3))
    assert other == pytest.approx(plain, abs=2e-3)


def test_a_shift_is_neither_rough_nor_folded(target):
    _, motion = target
    assert number(roughness(motion)) == 0
    assert number(folding(motion)) == 0


def test_folded_tissue_is_found():
    motion = np.zeros((1, 32, 8, 2), np.float32)
    motion[..., 1] = -16.0 * np.arange(8)  # twice the way back: the determinant is -1
    assert number(folding(motion)) == pytest.approx(1.0)
    assert number(roughness(motion)) == pytest.approx(128.0)  # of one component of two


@pytest.mark.parametrize("kind", ["flow_mse", "image_mse", "ncc", "mix"])
def test_every_loss_is_least_for_the_right_motion(target, kind):
    truth, motion = target
    loss = registration_loss(kind)
    right, wrong = (number(loss(truth, packed([m, m]))) for m in (motion, motion + np.float32([1.5, 1.5])))
    assert np.isfinite([right, wrong]).all()
    assert right < wrong


def test_an_unknown_loss_is_refused():
    with pytest.raises(CalzooError, match="one of flow_mse, image_mse, ncc, mix, got 'mse'"):
        registration_loss("mse")


def test_dissimilarity_of_pictures_that_lie_on_each_other_is_that_of_their_windows(rng):
    frame = rng.normal(size=(1, 48, 64, 1)).astype(np.float32)
    template = 0.6 * frame + 0.8 * rng.normal(size=frame.shape).astype(np.float32)
    a, b = (p[0, :, :, 0].astype(float).reshape(24, 2, 32, 2).mean(axis=(1, 3)) for p in (frame, template))
    windows = [np.lib.stride_tricks.sliding_window_view(p, (9, 9)).reshape(-1, 81) for p in (a, b)]
    varied = [w.var(axis=1) for w in windows]
    first, second = (v + 0.05 * v.mean() + 1e-5 for v in varied)
    both = np.mean(windows[0] * windows[1], axis=1) - windows[0].mean(axis=1) * windows[1].mean(axis=1)
    expected = np.sum(1 - both / np.sqrt(first * second)) / (len(both) + 1)
    found = number(dissimilarity(frame, template, np.zeros((1, 24, 8, 2), np.float32)))
    assert found == pytest.approx(expected, rel=1e-3)
