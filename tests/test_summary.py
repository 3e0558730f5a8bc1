"""Summary images against direct NumPy computations."""

import tracemalloc

import numpy as np
import pytest
from scipy import ndimage

from calzoo.errors import CalzooError
from calzoo.imaging import frames as frames_module
from calzoo.imaging.frames import ComputedMovie, as_movie, chunks
from calzoo.imaging.summary import find_flashes, summary_images


@pytest.fixture
def movie(rng):
    """Return 200 frames of 21 x 30 with cells, drift and noise, uint16."""
    activity = ndimage.gaussian_filter1d(rng.normal(size=(200, 4)), 3, axis=0)
    cells = ndimage.gaussian_filter(rng.random((4, 21, 30)), (0, 3, 3)) ** 3
    light = 400 + 3000 * np.tensordot(activity, cells, 1) + np.arange(200)[:, None, None] / 10
    return rng.poisson(np.maximum(light, 1)).astype(np.uint16)


def direct_correlation(movie, kernel):
    """Average Pearson correlations over a neighbourhood, pixel by pixel and pair by pair."""
    n, height, width = movie.shape
    every = np.corrcoef(movie.reshape(n, -1).T).reshape(height, width, height, width)
    reach = kernel.shape[0] // 2
    result = np.zeros((height, width))
    for y in range(height):
        for x in range(width):
            found = [
                (kernel[dy + reach, dx + reach], every[y, x, y + dy, x + dx])
                for dy in range(-reach, reach + 1)
                for dx in range(-reach, reach + 1)
                if (dy or dx) and 0 <= y + dy < height and 0 <= x + dx < width
            ]
            weights, values = np.transpose(found)
            result[y, x] = (weights * values).sum() / weights.sum()
    return result


def test_moments_are_those_of_numpy(movie):
    images = summary_images(movie)
    np.testing.assert_allclose(images.mean, movie.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(images.standard_deviation, movie.std(axis=0), rtol=1e-5)
    np.testing.assert_array_equal(images.maximum, movie.max(axis=0))
    assert images.maximum.dtype == movie.dtype
    assert images.n_frames == 200
    assert images.flashes == ()


def test_noise_is_the_deviation_of_successive_differences(movie):
    steps = np.diff(movie.astype(float), axis=0)
    expected = np.sqrt((steps**2).mean(axis=0) / 2)
    np.testing.assert_allclose(summary_images(movie).noise, expected, rtol=1e-4)


def test_correlation_is_the_mean_over_the_eight_neighbours(movie):
    expected = direct_correlation(movie, np.ones((3, 3)))
    np.testing.assert_allclose(summary_images(movie).correlation, expected, atol=2e-5)


def test_gaussian_correlation_weighs_seven_by_seven_neighbours(movie):
    offset = np.arange(-3, 4)
    kernel = np.exp(-(offset[:, None] ** 2 + offset**2) / (2 * 2.0**2))
    images = summary_images(movie, sigma=2.0)
    np.testing.assert_allclose(images.gaussian_correlation, direct_correlation(movie, kernel), atol=2e-5)


def test_peak_to_noise_takes_the_level_that_lasts_two_frames(movie):
    images = summary_images(movie)
    held = np.minimum(movie[1:], movie[:-1]).max(axis=0)
    expected = (held - images.median) / images.noise
    np.testing.assert_allclose(images.peak_to_noise, expected, rtol=1e-5)
    np.testing.assert_allclose(images.correlation_peak_to_noise, images.correlation * expected, rtol=1e-5)


@pytest.mark.parametrize("n_frames", [2, 3, 80, 81])
def test_median_of_a_short_movie_is_exact(movie, n_frames):
    images = summary_images(movie[:n_frames])
    np.testing.assert_array_equal(images.median, np.median(movie[:n_frames], axis=0))


@pytest.mark.parametrize(("n_frames", "levels"), [(243, 1), (1200, 3), (7000, 5)])
def test_median_of_a_long_movie_has_the_stated_error(rng, n_frames, levels):
    # Exponential noise: the median, 0.693, is far from the mean, 1.
    movie = rng.exponential(size=(n_frames, 12, 12)).astype(np.float32)
    error = summary_images(movie).median - np.log(2)
    # The exact median has a standard error of 1 / (2 density sqrt(n)): here the density there is 1 / 2.
    standard_error = 1.16**levels / np.sqrt(n_frames)
    assert abs(error.mean()) < 4 * standard_error / 12 + 0.01
    assert error.std() < 1.3 * standard_error


def test_median_ignores_transients_that_fill_a_third_of_the_movie(rng):
    movie = rng.normal(100, 1, size=(900, 8, 8)).astype(np.float32)
    for start in range(0, 900, 90):
        movie[start : start + 30] += 50
    assert summary_images(movie).median.max() < 102


def test_pieces_give_what_the_whole_gives(monkeypatch, movie):
    whole = summary_images(movie)
    monkeypatch.setattr(frames_module, "CHUNK_BYTES", 1)
    assert [len(piece) for _, piece in chunks(as_movie(movie))] == [27] * 7 + [11]
    pieces = summary_images(movie, threads=1)
    for name in ("mean", "standard_deviation", "noise", "correlation", "gaussian_correlation"):
        np.testing.assert_allclose(getattr(pieces, name), getattr(whole, name), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(pieces.maximum, whole.maximum)
    held = np.minimum(movie[1:], movie[:-1]).max(axis=0)
    np.testing.assert_allclose(pieces.peak_to_noise * pieces.noise, held - pieces.median, rtol=1e-4)


@pytest.mark.parametrize("dtype", ["u1", "i2", ">u2", "i4", "u8", "f2", "f4", ">f8"])
def test_every_data_type_gives_the_same_images(rng, dtype):
    movie = rng.integers(0, 120, size=(60, 9, 11))
    images = summary_images(movie.astype(dtype))
    np.testing.assert_allclose(images.mean, movie.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(images.standard_deviation, movie.std(axis=0), rtol=1e-5)
    np.testing.assert_array_equal(images.median, np.median(movie, axis=0))


def test_small_changes_on_a_large_offset_are_kept(rng):
    movie = 2**40 + rng.integers(0, 100, size=(300, 6, 7))
    images = summary_images(movie)
    np.testing.assert_allclose(images.standard_deviation, movie.std(axis=0), rtol=1e-5)


def test_a_flash_changes_nothing(rng):
    movie = rng.normal(100, 5, size=(300, 16, 16)).astype(np.float32)
    activity = np.maximum(ndimage.gaussian_filter1d(rng.normal(size=300), 4), 0)
    movie[:, 5:9, 5:9] += 20 * activity[:, None, None]
    flashed = movie.copy()
    flashed[[0, 90, 201, 202]] += 400
    flashed[77] = 0  # a dropped frame
    images = summary_images(flashed)
    assert images.flashes == (0, 77, 90, 201, 202)
    kept = summary_images(np.delete(movie, images.flashes, axis=0))
    np.testing.assert_allclose(images.correlation, kept.correlation, atol=1e-4)
    np.testing.assert_allclose(images.standard_deviation, kept.standard_deviation, rtol=1e-4)
    np.testing.assert_array_equal(images.maximum, kept.maximum)
    spoilt = summary_images(flashed, skip_flashes=False)
    assert spoilt.flashes == ()
    assert np.median(spoilt.correlation) > 0.5 > 0.1 > np.median(images.correlation)


def test_one_bright_sample_is_no_peak(rng):
    movie = rng.normal(100, 1, size=(100, 40, 40)).astype(np.float32)
    movie[50, 4, 4] = 1000
    images = summary_images(movie)
    assert images.maximum[4, 4] == 1000
    assert images.peak_to_noise[4, 4] < 4


def test_activity_of_the_whole_field_is_no_flash(rng):
    movie = rng.normal(100, 10, size=(200, 32, 32))
    movie[60:] += 100 * np.exp(-np.arange(140) / 5)[:, None, None]
    assert not find_flashes(movie).any()


def test_constant_pixels_have_no_correlation_and_no_peak(rng):
    movie = rng.integers(0, 50, size=(50, 8, 8)).astype(np.uint8)
    movie[:, :, :3] = 7
    images = summary_images(movie)
    assert (images.standard_deviation[:, :3] == 0).all()
    assert (images.correlation[:, :2] == 0).all()
    assert (images.peak_to_noise[:, :3] == 0).all()
    still = summary_images(np.full((40, 5, 6), 0.1))
    assert (still.correlation == 0).all()
    np.testing.assert_allclose(still.mean, 0.1, rtol=1e-6)


@pytest.mark.parametrize("shape", [(20, 1, 1), (20, 1, 9), (20, 2, 2), (20, 9, 2), (20, 3, 5)])
def test_frames_smaller_than_the_window_work(rng, shape):
    movie = rng.random(shape)
    expected = direct_correlation(movie, np.ones((7, 7))) if shape[1] * shape[2] > 1 else 0
    np.testing.assert_allclose(summary_images(movie, sigma=1e6).gaussian_correlation, expected, atol=1e-5)


def test_frames_are_read_once_and_never_all_together(rng):
    asked = []

    def read(frames, start):
        asked.append((start, len(frames)))
        return frames

    movie = ComputedMovie(as_movie(rng.random((300, 6, 6))), read)
    summary_images(movie)
    assert asked == [(0, 135), (135, 135), (270, 30)]


def test_a_movie_of_one_frame_is_refused():
    with pytest.raises(CalzooError, match=r"at least 2 frame\(s\).*shape \(1, 8, 8\)"):
        summary_images(np.zeros((1, 8, 8)))


def test_a_picture_is_refused():
    with pytest.raises(CalzooError, match=r"three axes.*shape \(8, 8\).*stack the frames"):
        summary_images(np.zeros((8, 8)))


def test_values_that_are_not_real_are_refused():
    with pytest.raises(CalzooError, match="real numbers, got an array of complex128"):
        summary_images(np.zeros((3, 8, 8), complex))


def test_frames_without_pixels_are_refused():
    with pytest.raises(CalzooError, match=r"with pixels.*\(5, 0, 8\)"):
        summary_images(np.zeros((5, 0, 8)))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_frame_that_is_not_finite_is_named(value):
    movie = np.zeros((300, 8, 8), np.float32)
    movie[207, 3, 3] = value
    with pytest.raises(CalzooError, match=r"frame 207 .* NaN or infinity.*nan_to_num"):
        summary_images(movie)


def test_opposite_infinities_are_refused():
    movie = np.zeros((5, 8, 8))
    movie[2, 3, 3:5] = np.inf, -np.inf
    with pytest.raises(CalzooError, match="frame 2 "):
        summary_images(movie)


def test_memory_does_not_grow_with_length():
    def peak(n_frames):
        one = np.broadcast_to(np.uint16(7), (n_frames, 64, 64))
        movie = ComputedMovie(as_movie(one), lambda frames, start: frames + np.arange(64, dtype=np.uint16))
        tracemalloc.start()
        summary_images(movie, threads=1)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    peak(729)
    assert peak(2187) < 1.1 * peak(729)  # 81 medians of 9 frames are kept, or 81 of 27


def test_a_bool_movie_is_counted(rng):
    movie = rng.random((40, 6, 6)) < 0.3
    np.testing.assert_allclose(summary_images(movie).mean, movie.mean(axis=0), rtol=1e-6)
