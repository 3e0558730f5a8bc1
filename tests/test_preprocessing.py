"""Movies made from movies, against direct computations and known distortions."""

import itertools

import numpy as np
import pytest
from scipy import ndimage

from calzoo.errors import CalzooError
from calzoo.imaging.frames import ArrayMovie, ComputedMovie, as_movie, chunk_length
from calzoo.imaging.preprocessing import (
    RunningBaseline,
    band_pass,
    bin_frames,
    delta_f_over_f,
    flat_field,
    mean_image,
    min_max,
    resample,
)
from calzoo.imaging.scanning import correct_scan_offset, fill_lines, find_bad_lines, scan_offset


def whole(movie):
    """Read a movie in uneven pieces, and check that its shape and type are what it says."""
    edges = [0, 1, *range(8, movie.shape[0], 7), movie.shape[0]]
    frames = np.concatenate([movie.frames(a, b) for a, b in itertools.pairwise(edges)])
    assert frames.shape == movie.shape
    assert frames.dtype == movie.dtype
    return frames


@pytest.mark.parametrize("dtype", ["u1", "u2", "f4", ">i4"])
def test_bins_are_means_and_the_rest_is_left_out(rng, dtype):
    movie = rng.integers(0, 200, size=(23, 5, 6)).astype(dtype)
    binned = bin_frames(ArrayMovie(movie, frame_rate_hz=30.0), 4)
    assert binned.frame_rate_hz == 7.5
    np.testing.assert_allclose(whole(binned), movie[:20].reshape(5, 4, 5, 6).mean(axis=1), rtol=1e-6)


@pytest.mark.parametrize("size", [4, 50, 300])
def test_bins_are_made_of_a_bounded_number_of_frames_at_a_time(rng, size):
    asked = []

    def read(frames, start):
        asked.append(len(frames))
        return frames

    movie = rng.random((1000, 4, 4))
    binned = bin_frames(ComputedMovie(as_movie(movie), read, dtype=np.float64), size)
    found = binned.frames(1, len(movie) // size)
    expected = movie[size : len(movie) // size * size].reshape(-1, size, 4, 4).mean(axis=1)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert max(asked) <= chunk_length(as_movie(movie))
    assert sum(asked) == len(expected) * size


@pytest.mark.parametrize("size", [0, 24])
def test_a_bin_longer_than_the_movie_is_refused(size):
    with pytest.raises(CalzooError, match=f"1 to 23 frames of this movie, got size={size}"):
        bin_frames(np.zeros((23, 5, 6)), size)


def test_dff_of_a_constant_baseline_is_exact():
    movie = np.full((400, 3, 4), 50.0)
    movie[200:220] = 125
    change = whole(delta_f_over_f(movie, window=200))
    np.testing.assert_allclose(change[200:220], 1.5, rtol=1e-6)
    np.testing.assert_array_equal(change[:200], 0)
    darker = whole(delta_f_over_f(movie, window=200, dark=25))
    np.testing.assert_allclose(darker[200:220], 3.0, rtol=1e-6)


def test_dff_follows_bleaching():
    decay = 100 * np.exp(-np.arange(2000) / 4000)
    movie = np.repeat(decay, 4).reshape(2000, 2, 2)
    movie[500:520] *= 2
    change = whole(delta_f_over_f(movie, window=200, percentile=50))
    assert np.abs(np.delete(change, np.arange(500, 520), axis=0)[100:-100]).max() < 0.01
    np.testing.assert_allclose(change[500:520], 1, atol=0.02)


def test_the_baseline_is_a_percentile_where_it_is_taken(rng):
    movie = rng.gamma(2, 100, size=(101, 6, 7)).astype(np.float32) + 10
    # 21 frames are 21 bins of one frame, and frame 50 is one of every five where the percentile is taken.
    change = whole(delta_f_over_f(movie, window=21, percentile=30))
    resting = np.percentile(movie[40:61], 30, axis=0)
    np.testing.assert_allclose(change[50], movie[50] / resting - 1, rtol=1e-4, atol=1e-5)
    between = 0.4 * resting + 0.6 * np.percentile(movie[45:66], 30, axis=0)
    np.testing.assert_allclose(change[53], movie[53] / between - 1, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("window", [20, 21, 200, 205])
def test_the_baseline_does_not_lag(window):
    ramp = np.repeat(np.arange(1000.0) + 500, 4).reshape(-1, 2, 2)
    baseline = RunningBaseline(ArrayMovie(ramp), window, 50).at(300, 700)
    np.testing.assert_allclose(baseline, ramp[300:700], atol=1e-3)


def test_dff_reads_the_movie_little_more_than_twice(rng):
    asked = []

    def read(frames, start):
        asked.append(len(frames))
        return frames

    movie = ComputedMovie(as_movie(1 + rng.random((1000, 4, 4))), read)
    change = delta_f_over_f(movie, window=100)
    for start in range(0, 1000, 50):
        change.frames(start, start + 50)
    assert sum(asked) < 2300
    assert max(asked) == 50


@pytest.mark.parametrize("length", [1, 2, 3, 7, 19, 21])
def test_dff_of_a_short_movie_is_finite(rng, length):
    movie = rng.integers(50, 60, size=(length, 4, 4)).astype(np.uint8)
    assert np.isfinite(whole(delta_f_over_f(movie, window=900))).all()


def test_dff_of_dark_pixels_stays_bounded(rng):
    movie = rng.poisson(100, size=(100, 8, 8)).astype(np.float32)
    movie[:, :, 0] = rng.poisson(0.1, size=(100, 8))
    assert np.abs(whole(delta_f_over_f(movie, window=50))[:, :, 0]).max() < 1


@pytest.mark.parametrize(("level", "dark"), [(0.0, 0.0), (-5.0, 0.0), (100.0, 110.0)])
def test_dff_without_a_positive_baseline_is_refused(level, dark):
    with pytest.raises(CalzooError, match=f"above dark={dark:g}, but its median is {level:g}.*raw movie"):
        delta_f_over_f(np.full((20, 4, 4), level), window=10, dark=dark)


@pytest.mark.parametrize("wrong", [{"window": 0}, {"window": 5, "percentile": 101}])
def test_a_window_that_cannot_be_is_refused(wrong):
    with pytest.raises(ValueError, match="window of at least 1 frame and a percentile between 0 and 100"):
        delta_f_over_f(np.ones((20, 4, 4)), **wrong)


def test_flat_field_undoes_a_vignette(rng):
    y, x = np.indices((64, 64)) - 31.5
    light = np.exp(-(y**2 + x**2) / (2 * 40**2))
    tissue = rng.gamma(4, 25, size=(30, 64, 64))
    flat = whole(flat_field(tissue * light, sigma=8))
    rim, middle = flat[:, 2:10].mean(), flat[:, 28:36].mean()
    assert abs(rim / middle - 1) < 0.1
    assert (tissue * light)[:, 2:10].mean() / (tissue * light)[:, 28:36].mean() < 0.85
    np.testing.assert_allclose(flat.mean(), (tissue * light).mean(), rtol=0.05)


def test_flat_field_takes_a_mean_image_of_the_user():
    movie = np.full((3, 8, 8), 10.0)
    mean = np.where(np.arange(8) < 4, 20.0, 10.0) * np.ones((8, 1))
    flat = whole(flat_field(movie, sigma=0.01, mean=mean))
    np.testing.assert_allclose(flat[0, 0], 10 * 15 / mean[0])


def test_flat_field_without_light_is_refused():
    with pytest.raises(CalzooError, match="the mean of the movie is 0"):
        flat_field(np.zeros((3, 8, 8)), sigma=2)


def test_the_mean_image_is_exact_over_pieces(rng):
    movie = rng.integers(0, 60000, size=(300, 4, 5)).astype(np.uint16)
    np.testing.assert_allclose(mean_image(movie), movie.mean(axis=0), rtol=1e-7)


def test_band_pass_is_a_difference_of_gaussians(rng):
    movie = rng.integers(0, 4000, size=(10, 33, 48)).astype(np.uint16)
    passed = whole(band_pass(movie, smallest=1.5, largest=6))
    for frame, result in zip(movie.astype(float), passed, strict=True):
        expected = ndimage.gaussian_filter(frame, 1.5) - ndimage.gaussian_filter(frame, 6)
        np.testing.assert_allclose(result, expected, atol=0.01)
    high = whole(band_pass(movie, largest=6))
    low = ndimage.gaussian_filter(movie[3].astype(float), 6)
    np.testing.assert_allclose(high[3], movie[3] - low, atol=0.01)


def test_band_pass_of_a_constant_is_zero():
    np.testing.assert_allclose(whole(band_pass(np.full((2, 20, 30), 1000.0), largest=5)), 0, atol=1e-3)


@pytest.mark.parametrize(("smallest", "largest"), [(3, 3), (-1, 2), (0, 0)])
def test_a_band_without_width_is_refused(smallest, largest):
    with pytest.raises(ValueError, match=f"smallest < largest, got smallest={smallest}, largest={largest}"):
        band_pass(np.zeros((2, 8, 8)), smallest=smallest, largest=largest)


def test_min_max_scales_recording_or_frame(rng):
    movie = rng.integers(-50, 5000, size=(300, 4, 5)).astype(np.int16)
    expected = (movie - movie.min()) / (int(movie.max()) - int(movie.min()))
    np.testing.assert_allclose(whole(min_max(movie)), expected, rtol=1e-5, atol=1e-6)
    each = whole(min_max(movie, by="frame"))
    np.testing.assert_array_equal(each.min(axis=(1, 2)), 0)
    np.testing.assert_array_equal(each.max(axis=(1, 2)), 1)
    np.testing.assert_array_equal(whole(min_max(np.full((3, 4, 4), 7), by="frame")), 0)
    np.testing.assert_array_equal(whole(min_max(np.full((3, 4, 4), 7))), 0)


def test_an_unknown_range_is_refused():
    with pytest.raises(ValueError, match="by='recording' or by='frame', got 'pixel'"):
        min_max(np.zeros((2, 4, 4)), by="pixel")


def test_resampling_keeps_constants_and_averages(rng):
    movie = rng.random((5, 32, 48)).astype(np.float32)
    np.testing.assert_allclose(whole(resample(np.full((2, 32, 48), 3), (17, 20))), 3, rtol=1e-6)
    small = whole(resample(movie, (8, 12)))
    assert small.std() < 0.35 * movie.std()  # 4 x 4 pixels make one: noise falls to a quarter
    np.testing.assert_allclose(small.mean(), movie.mean(), rtol=0.01)
    np.testing.assert_allclose(whole(resample(movie, (32, 48))), movie, rtol=1e-6)


def test_resampling_keeps_places():
    y, x = np.indices((60, 80)).astype(float)
    movie = np.stack([y, x])
    small = whole(resample(movie, (20, 40)))
    np.testing.assert_allclose(small[0, 1:-1, 5], 3 * np.arange(1, 19) + 1, atol=1e-4)  # centres of 3 rows
    np.testing.assert_allclose(small[1, 5, 1:-1], 2 * np.arange(1, 39) + 0.5, atol=1e-4)


@pytest.mark.parametrize("shape", [(0, 5), (5,), (5, -1)])
def test_no_pixels_are_refused(shape):
    with pytest.raises(CalzooError, match="at least one pixel, got"):
        resample(np.zeros((2, 8, 8)), shape)


@pytest.fixture
def scene(rng):
    """Return a picture of cells and 30 frames of it with photon noise."""
    picture = 20 + 200 * ndimage.gaussian_filter(rng.random((96, 128)) ** 30, 2) / 0.02
    return picture, rng.poisson(picture, size=(30, 96, 128)).astype(np.uint16)


def moments(movie):
    return movie.mean(axis=0), movie.std(axis=0)


def test_a_good_movie_has_no_bad_lines(scene):
    rows, columns = find_bad_lines(*moments(scene[1]))
    assert not rows.any()
    assert not columns.any()


@pytest.mark.parametrize("count", [80, 40, 12, 6])
@pytest.mark.parametrize("place", ["middle", "edge"])
def test_tissue_on_a_blank_frame_is_no_stripe(scene, rng, count, place):
    first = (96 - count) // 2 if place == "middle" else 96 - count
    picture = np.full((96, 128), 5.0)
    picture[first : first + count] += scene[0][first : first + count]
    rows, columns = find_bad_lines(*moments(rng.poisson(picture, size=(30, 96, 128))))
    assert not rows[first : first + count].any()
    assert not columns.any()


def test_dead_borders_and_stripes_are_found(scene):
    movie = scene[1].copy()
    movie[:, :3] = 0  # blank since an earlier registration
    movie[:, :, 120:] = 1500 + np.arange(30)[:, None, None] % 7  # flyback: light, but no picture
    movie[:, 40] = 999  # a dead line
    rows, columns = find_bad_lines(*moments(movie))
    assert np.flatnonzero(rows).tolist() == [0, 1, 2, 40]
    assert np.flatnonzero(columns).tolist() == list(range(120, 128))


@pytest.mark.parametrize("light", [0, 50, 3000, 1e8])
def test_a_stripe_is_found_however_bright_and_noisy_it_is(scene, rng, light):
    movie = scene[1].astype(float)
    movie[:, :, 114:] = rng.poisson(light, movie[:, :, 114:].shape)
    rows, columns = find_bad_lines(*moments(movie))
    assert not rows.any()
    assert np.flatnonzero(columns).tolist() == list(range(114, 128))


def test_a_movie_that_is_all_constant_has_no_bad_lines():
    rows, columns = find_bad_lines(np.full((32, 40), 5.0), np.zeros((32, 40)))
    assert not rows.any()
    assert not columns.any()


def test_a_tiny_frame_has_no_bad_lines(rng):
    rows, columns = find_bad_lines(rng.random((8, 9)), rng.random((8, 9)))
    assert (rows.shape, columns.shape) == ((8,), (9,))
    assert not rows.any()
    assert not columns.any()


def test_bad_lines_are_interpolated_inside_and_mirrored_at_the_edge():
    y, x = np.indices((20, 24))
    movie = np.stack([10 * y + x, 300 - 10 * y - x]).astype(np.int16)
    spoilt = movie.copy()
    rows, columns = np.zeros(20, bool), np.zeros(24, bool)
    rows[[0, 1, 9, 10]] = columns[[5, 23]] = True
    spoilt[:, rows] = -9
    spoilt[:, :, columns] = -9
    filled = whole(fill_lines(spoilt, rows, columns))
    inside = np.s_[:, 2:, :23]
    np.testing.assert_array_equal(filled[inside], movie[inside])  # the picture is linear
    np.testing.assert_array_equal(filled[:, 1, :23], movie[:, 2, :23])
    np.testing.assert_array_equal(filled[:, 0, :23], movie[:, 3, :23])
    np.testing.assert_array_equal(filled[:, 2:, 23], movie[:, 2:, 22])
    np.testing.assert_array_equal(whole(fill_lines(movie, rows & False, columns & False)), movie)


@pytest.mark.parametrize("offset", [0, 3, -2, 0.5, 1.3, -2.75])
def test_a_scan_offset_is_estimated_and_corrected(scene, rng, offset):
    picture = scene[0]
    columns = np.arange(128)
    shifted = picture.copy()
    spline = ndimage.spline_filter1d(picture, axis=1, mode="nearest")
    for row in range(1, 96, 2):
        shifted[row] = ndimage.map_coordinates(
            spline[row][None], [np.zeros(128), columns - offset], order=3, prefilter=False, mode="nearest"
        )
    movie = rng.poisson(np.maximum(shifted, 0), size=(40, 96, 128)).astype(np.uint16)
    estimate = scan_offset(movie.mean(axis=0))
    assert abs(estimate - offset) <= 0.1
    corrected = whole(correct_scan_offset(movie, offset)).mean(axis=0)[:, 5:-5]
    before = np.abs(movie.mean(axis=0)[:, 5:-5] - picture[:, 5:-5]).mean()
    after = np.abs(corrected - picture[:, 5:-5]).mean()
    assert after < 3  # photon noise of 40 frames
    assert after <= before


def test_light_that_all_rows_share_does_not_hide_a_scan_offset(scene):
    picture = scene[0].copy()
    picture[1::2] = np.roll(picture[1::2], 3, axis=1)
    assert scan_offset(picture + 1e5) == scan_offset(picture)
    glow = 2000 * np.exp(-((np.arange(128) - 50) ** 2) / (2 * 20**2))
    assert abs(scan_offset(picture + glow) - 3) < 0.3


def test_a_whole_offset_is_corrected_exactly(scene):
    movie = scene[1]
    shifted = movie.copy()
    shifted[:, 1::2] = np.roll(movie[:, 1::2], 3, axis=2)
    corrected = whole(correct_scan_offset(shifted, 3))
    assert corrected.dtype == np.uint16
    np.testing.assert_array_equal(corrected[:, :, :-3], movie[:, :, :-3])


def test_nothing_tells_the_offset_of_an_empty_picture():
    assert scan_offset(np.full((32, 32), 7.0)) == 0
    assert scan_offset(np.ones((1, 32))) == 0
    assert scan_offset(np.ones((32, 2))) == 0
