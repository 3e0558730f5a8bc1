"""Lines that a recording lost: in single frames, in means of many, and as streaks for one-photon training."""

from dataclasses import replace

import numpy as np
import pytest

from calzoo.simulation.noise import Detector, detect
from calzoo.simulation.one_photon import simulate_one_photon


def lines_of(grey):
    """Return the mean of each row over that of all."""
    rows = grey.mean(axis=1)
    return rows / np.median(rows)


def test_a_lost_line_has_half_its_light_and_the_offset_of_all(rng):
    detector = Detector(gain=4.0, offset=300.0, dropped_lines=2.0)
    photons = np.full((30, 600), 100.0, np.float32)
    lost = 0
    for _ in range(200):
        rows = detect(rng, photons, detector).mean(axis=1)
        # 300 + 4 * 100 / 2**k for a line that is lost k times.
        nearest = np.abs(rows[:, None] - (300 + 400 * 0.5 ** np.arange(5))).min(axis=1)
        assert (nearest < 10).all()
        lost += (rows < 600).sum()
    # 2 of 30 lines; the same line now and then twice.
    assert lost / 200 == pytest.approx(30 * (1 - np.exp(-2 / 30)), rel=0.15)


@pytest.mark.parametrize("exposures", [2, 8, 32])
def test_the_mean_of_frames_has_lost_what_its_frames_have(rng, exposures):
    detector = Detector(gain=4.0, dropped_lines=3.0, bits=16)
    photons = np.full((40, 500), 80.0, np.float32)
    drawn = np.concatenate(
        [detect(rng, photons, detector, exposures=exposures).mean(axis=1) for _ in range(200)]
    )
    frames = [[detect(rng, photons, detector).mean(axis=1) for _ in range(exposures)] for _ in range(60)]
    means = np.mean(frames, axis=1).ravel()
    assert drawn.mean() == pytest.approx(means.mean(), rel=0.01)
    assert drawn.std() == pytest.approx(means.std(), rel=0.15)


def test_a_one_photon_recording_loses_whole_lines_alone():
    """The simulator draws none by itself; a detector that loses some may be given to any recording."""
    recording = simulate_one_photon(3, (12, 48, 52), style="raw", smoothing_px=0.0, bits=16, gain=10.0)
    assert recording.detector.dropped_lines == 0
    assert recording.look is None
    lossy = replace(recording, detector=replace(recording.detector, dropped_lines=4.0))
    whole, torn = (r.frames().astype(float) - r.detector.offset - r.columns for r in (recording, lossy))
    ratio = np.median(torn / whole, axis=2)  # (T, Y)
    lost = ratio < 0.75
    assert 2 < lost.sum(axis=1).mean() < 6
    np.testing.assert_allclose(ratio[~lost], 1, atol=0.1)
    halvings = np.log2(1 / ratio[lost])
    np.testing.assert_allclose(halvings, np.round(halvings), atol=0.1)


@pytest.mark.train
def test_streaks_of_one_photon_training_are_long_thin_and_mostly_along_the_lines():
    pytest.importorskip("keras")
    from calzoo.training.centers_windows import with_streaks

    flat, angles, shares = np.full((160, 48, 56), 100.0, np.float32), [], []
    for seed in range(24):
        added = with_streaks(np.random.default_rng(seed), flat, 9.0) - flat
        assert added.min() >= 0
        shares.append((added > 0.25 * added.max()).any(axis=(1, 2)).mean())
        bright = added[added.max(axis=(1, 2)).argmax()]
        weight = np.where(bright > 0.5 * bright.max(), bright, 0)
        y, x = np.indices(bright.shape)
        y, x = y - (weight * y).sum() / weight.sum(), x - (weight * x).sum() / weight.sum()
        spread, axes = np.linalg.eigh(np.cov(y.ravel(), x.ravel(), aweights=weight.ravel()))
        if spread[1] > 9 * spread[0]:  # one bar alone, not a crossing of several
            angles.append(np.arctan2(axes[0, 1], axes[1, 1]))
    assert len(angles) > 12
    along = np.abs(np.sin(angles)) < 0.25
    assert 0.5 < along.mean() < 0.95
    assert 0.1 < np.mean(shares) < 0.8  # they flash
