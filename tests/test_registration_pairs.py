"""Training pairs of registration: the motion that comes with them is the motion that is in them."""

import numpy as np
import pytest
from scipy import ndimage

pytestmark = pytest.mark.train
pytest.importorskip("keras")

from calzoo.imaging.motion import jacobian_determinant
from calzoo.imaging.warping import warp
from calzoo.training import registration_pairs, registration_scenes
from calzoo.training.registration_pairs import Conditions, draw_motion, draw_pair
from calzoo.training.registration_scenes import Scene, draw_scene, mean_scene

STILL = {"activity": 0.0, "photons": (1e4, 1e4), "averaged": (1e3, 1e3)}


@pytest.fixture
def scene(rng):
    return draw_scene(rng, 160, {"shapes": 1})


def quiet(monkeypatch):
    """Leave out what changes a picture but motion: light falls evenly, detectors are perfect."""
    monkeypatch.setattr(registration_pairs, "_illumination", lambda rng, size: np.float32(1))
    monkeypatch.setattr(registration_pairs, "_detected", lambda rng, light, frames, still=False: light)
    monkeypatch.setattr(ndimage, "gaussian_filter", lambda image, sigma, **options: image)


def test_frame_is_the_template_looked_up_by_the_motion(rng, scene, monkeypatch):
    conditions = Conditions(**STILL, jitter=1.0, rigid_px=4.0, sigma_px=(24.0, 48.0))
    motion = draw_motion(rng, 96, conditions)
    monkeypatch.setattr(registration_pairs, "draw_motion", lambda *a: motion)
    quiet(monkeypatch)
    pair = draw_pair(rng, scene, 96, conditions)
    expected = warp(pair.template, pair.motion)
    scale = np.exp(0.5)  # the gain of the frame is anything near 1
    ratio = pair.frame[pair.known].mean() / expected[pair.known].mean()
    assert 1 / scale < ratio < scale
    again = np.corrcoef(pair.frame[pair.known], expected[pair.known])[0, 1]
    still = np.corrcoef(pair.frame[pair.known], pair.template[pair.known])[0, 1]
    assert again > 0.98 > still


def test_known_is_where_the_frame_shows_what_is_in_the_template(rng, scene):
    pair = draw_pair(rng, scene, 96, Conditions(rigid_px=30.0))
    y, x = np.indices((96, 96)) + np.moveaxis(pair.motion, -1, 0)
    inside = (y >= 0) & (y <= 95) & (x >= 0) & (x <= 95)
    np.testing.assert_array_equal(pair.known, inside)


def test_pairs_repeat_with_their_generator(scene):
    first, again = (draw_pair(np.random.default_rng(4), scene, 64, Conditions()) for _ in range(2))
    np.testing.assert_array_equal(first.frame, again.frame)
    np.testing.assert_array_equal(first.motion, again.motion)


def test_smooth_motion_never_folds_tissue(rng):
    conditions = Conditions(jitter=0.0, rigid_px=0.0, peak_px=(8.0, 8.0))
    for _ in range(8):
        assert jacobian_determinant(draw_motion(rng, 128, conditions)).min() > 0.2


def test_motion_has_the_size_that_was_asked_for(rng):
    conditions = Conditions(jitter=0.0, rigid_px=0.0, peak_px=(3.0, 3.0), sigma_px=(60.0, 60.0))
    lengths = [np.linalg.norm(draw_motion(rng, 128, conditions), axis=-1).max() for _ in range(12)]
    assert min(lengths) > 2.99
    assert max(lengths) < 3.9 * 1.0 + 0.01


def test_motion_of_little_smoothness_is_short(rng):
    conditions = Conditions(jitter=0.0, rigid_px=0.0, peak_px=(8.0, 8.0), sigma_px=(20.0, 20.0))
    lengths = [np.linalg.norm(draw_motion(rng, 128, conditions), axis=-1).max() for _ in range(12)]
    assert max(lengths) <= 0.2 * 20 * 1.3 + 1e-3
    assert min(lengths) > 0.2 * 20 * 0.7


def test_pixels_of_a_pair_lie_in_the_scene_as_far_apart_as_the_zoom_says(rng):
    y, x = np.indices((64, 64)).astype(float)
    for zoom in (0.8, 1.25):
        place = registration_pairs._Placement(rng, (400, 420), 64, zoom)
        rows, columns = place(y, x)
        step = registration_scenes.FINENESS / zoom
        for axis in (0, 1):
            apart = np.hypot(np.diff(rows, axis=axis), np.diff(columns, axis=axis))
            np.testing.assert_allclose(apart, step, rtol=1e-3)
        spare = (400 - 64 * step) / 2, (420 - 64 * step) / 2
        assert abs(rows.mean() - 200) <= spare[0]
        assert abs(columns.mean() - 210) <= spare[1]


def test_lines_tremble_no_more_than_asked(rng):
    conditions = Conditions(jitter=1.0, jitter_px=0.5, rigid_px=0.0, peak_px=(0.0, 0.0))
    lines = np.array([draw_motion(rng, 96, conditions)[:, 0] for _ in range(40)])
    # Five standard deviations of what trembles, and the sway of 1.5 of them at most.
    assert np.abs(lines).max() < 0.5 * (5 + 1.5)


def test_lines_move_as_wholes(rng):
    conditions = Conditions(jitter=1.0, rigid_px=0.0, peak_px=(0.0, 0.0))
    motion = draw_motion(rng, 64, conditions)
    np.testing.assert_allclose(motion, np.broadcast_to(motion[:, :1], motion.shape), atol=1e-6)
    assert np.ptp(motion[:, 0, 1]) > 0 or np.ptp(motion[:, 0, 0]) > 0


def test_shift_is_minus_the_mean_motion_within_its_error(rng, scene):
    conditions = Conditions(start_px=0.5)
    motion = np.broadcast_to(np.float32([3, -5]), (8, 8, 2))
    errors = [registration_pairs._start(rng, motion, conditions) + [3, -5] for _ in range(200)]
    # Of a normal distribution the mean distance is 0.8 sigma; one start of ten is four times as far off.
    assert np.abs(errors).mean() == pytest.approx(0.5 * np.sqrt(2 / np.pi) * 1.3, rel=0.25)
    pairs = [draw_pair(rng, scene, 64, conditions) for _ in range(5)]
    assert np.abs([pair.shift + pair.motion.mean((0, 1)) for pair in pairs]).mean() < 1.5


def test_light_has_the_photons_that_were_asked_for(rng):
    flat = Scene(np.ones((256, 256), np.float32))
    conditions = Conditions(activity=0.0, photons=(5.0, 5.0), averaged=(200.0, 200.0))
    pairs = [draw_pair(rng, flat, 64, conditions) for _ in range(6)]
    assert np.median([np.median(p.template) for p in pairs]) == pytest.approx(5.0, rel=0.05)
    # The gain of each frame is its own.
    assert np.mean([p.frame.mean() for p in pairs]) == pytest.approx(5.0, rel=0.35)


@pytest.mark.parametrize("kind", ["shapes", "simulation"])
def test_scenes_have_median_one_and_cells_with_numbers(kind):
    scene = draw_scene(np.random.default_rng(3), 96, {kind: 1.0})
    assert scene.light.shape == (192, 192) == scene.cells.shape
    assert scene.light.dtype == np.float32
    assert np.isfinite(scene.light).all()
    assert scene.light.min() >= 0
    assert np.median(scene.light) == pytest.approx(1, rel=0.01)
    assert scene.cells.max() >= 1


def test_scene_of_frames_is_their_mean_twice_as_fine(rng):
    frames = np.broadcast_to(ndimage.gaussian_filter(rng.uniform(1, 2, (40, 48)), 2), (5, 40, 48))
    scene = mean_scene(frames)
    assert scene.light.shape == (80, 96)
    assert scene.cells is None
    coarse = scene.light.reshape(40, 2, 48, 2).mean((1, 3))
    assert np.corrcoef(coarse.ravel(), frames[0].ravel())[0, 1] > 0.98


def test_constant_light_makes_a_scene_without_numbers_that_are_not_finite():
    assert np.isfinite(mean_scene(np.zeros((2, 16, 16))).light).all()
    assert registration_scenes.FINENESS == 2
