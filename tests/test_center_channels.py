"""The pictures of a window that the network of the centres sees."""

import numpy as np
import pytest
from scipy import ndimage

from calzoo.errors import CalzooError
from calzoo.imaging import center_channels as channels
from calzoo.imaging.center_channels import CELL_PX, CHANNELS, grid_for, smoothed, window_channels


def blinking(rng, shape=(60, 48, 56), at=((14, 20), (30, 40)), noise=1.0, height=20.0, sigma=2.0):
    """Return noise with a spot that lights up for five frames, one after the other at each place."""
    frames = rng.normal(100, noise, shape)
    rows, columns = np.mgrid[: shape[1], : shape[2]]
    for number, (y, x) in enumerate(at):
        spot = height * np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / (2 * sigma**2))
        start = 10 + 20 * number
        frames[start : start + 5] += spot
    return frames.astype(np.float32)


def picture(pictures, name):
    return pictures[..., CHANNELS.index(name)]


def test_grid_makes_cells_as_wide_as_the_network_knows_them():
    grid = grid_for((100, 150), 12.0)
    assert grid.shape == (67, 100)
    np.testing.assert_allclose(12.0 / np.array(grid.step), CELL_PX, rtol=0.01)


def test_positions_go_to_the_grid_and_back(rng):
    grid = grid_for((100, 150), 11.0)
    points = rng.uniform(0, 99, (20, 2))
    np.testing.assert_allclose(grid.to_frame(grid.to_grid(points)), points)
    corner = grid.to_grid([[-0.5, -0.5], [99.5, 149.5]])
    np.testing.assert_allclose(corner, [[-0.5, -0.5], np.array(grid.shape) - 0.5])


def test_band_pass_of_an_even_frame_is_nothing_up_to_the_border():
    grid = grid_for((40, 50), 9.0)
    sharp, cell = grid.band_passed(np.full((2, 40, 50), 1000, np.uint16))
    assert np.abs(sharp).max() < 1e-2
    assert np.abs(cell).max() < 1e-2


def test_smoothing_is_that_of_a_gaussian_filter_inside_and_keeps_an_even_frame(rng):
    frames = rng.normal(size=(2, 60, 70)).astype(np.float32)
    expected = ndimage.gaussian_filter(frames, (0, 3, 3), truncate=5)
    inside = np.s_[:, 15:-15, 15:-15]
    np.testing.assert_allclose(smoothed(frames, 3.0)[inside], expected[inside], atol=1e-4)
    np.testing.assert_allclose(smoothed(np.full((1, 9, 12), 7), 4.0), 7, rtol=1e-5)


def test_band_pass_keeps_the_place_of_a_spot():
    grid = grid_for((60, 60), 12.0)
    rows, columns = np.mgrid[:60, :60]
    spot = np.exp(-((rows - 31.0) ** 2 + (columns - 22.0) ** 2) / 18)
    for passed in grid.band_passed(spot[None]):
        summit = np.unravel_index(passed[0].argmax(), grid.shape)
        assert np.abs(grid.to_frame(summit)[0] - (31, 22)).max() <= 0.5 * max(grid.step) + 1e-9


@pytest.mark.parametrize("name", ["sharp peak", "peak to noise", "deviation", "votes"])
def test_spots_that_blink_are_the_highest_places(rng, name):
    at = ((14, 20), (30, 40))
    frames = blinking(rng, at=at)
    grid = grid_for(frames.shape[1:], CELL_PX)
    shown = picture(window_channels(frames, grid), name)
    rows, columns = np.mgrid[: grid.shape[0], : grid.shape[1]]
    near = np.min([np.hypot(rows - y, columns - x) for y, x in at], axis=0)
    assert near[np.unravel_index(shown.argmax(), shown.shape)] <= 1.5
    assert min(shown[14, 20], shown[30, 40]) > shown[near > 9].max()


@pytest.mark.parametrize("share", [0.55, 0.8])
def test_a_cell_that_shines_for_most_of_the_window_rises_and_does_not_sink(rng, share):
    frames = rng.normal(100, 1.0, (100, 48, 56)).astype(np.float32)
    rows, columns = np.mgrid[:48, :56]
    frames[: int(100 * share)] += 20 * np.exp(-((rows - 24) ** 2 + (columns - 28) ** 2) / 8)
    pictures = window_channels(frames, grid_for((48, 56), CELL_PX))
    assert picture(pictures, "peak to noise")[24, 28] > 2 * picture(pictures, "trough")[24, 28]


def test_the_surroundings_of_a_cell_that_shines_for_long_do_not_rise(rng):
    noise = rng.normal(100, 1.0, (100, 48, 56)).astype(np.float32)
    rows, columns = np.mgrid[:48, :56]
    distance = np.hypot(rows - 24, columns - 28)
    grid, around = grid_for((48, 56), CELL_PX), (distance > 6) & (distance < 9)
    shining = noise.copy()
    shining[:40] += 20 * np.exp(-(distance**2) / 8)
    shown = (picture(window_channels(f, grid), "peak to noise")[around].mean() for f in (shining, noise))
    assert next(shown) < 1.3 * next(shown)


def test_what_sinks_is_seen_in_the_trough_and_not_in_the_peak(rng):
    grid = grid_for((48, 56), CELL_PX)
    pictures = window_channels(blinking(rng, height=-20.0), grid)
    assert picture(pictures, "trough").argmax() in {14 * 56 + 20, 30 * 56 + 40}
    assert picture(pictures, "sharp peak")[14, 20] < picture(pictures, "sharp peak").mean() + 0.2


def test_correlation_is_that_of_the_formula(rng):
    frames = blinking(rng)
    grid = grid_for(frames.shape[1:], CELL_PX)
    sharp, _ = grid.band_passed(frames)
    trace = sharp[:, 14, 20]
    near = [sharp[:, 17, 20], sharp[:, 11, 20], sharp[:, 14, 23], sharp[:, 14, 17]]
    expected = np.mean([np.corrcoef(trace, other)[0, 1] for other in near])
    assert picture(window_channels(frames, grid), "correlation")[14, 20] == pytest.approx(expected, abs=1e-4)


def test_pictures_do_not_depend_on_the_pieces_that_they_are_computed_in(rng, monkeypatch):
    frames = blinking(rng)
    grid = grid_for(frames.shape[1:], 9.0)
    whole = window_channels(frames, grid)
    monkeypatch.setattr(channels, "_PIECE", 7 * 48 * 56)
    np.testing.assert_allclose(window_channels(frames, grid, threads=3), whole, atol=2e-4)


def test_pictures_do_not_depend_on_gain_and_offset(rng):
    frames = blinking(rng)
    grid = grid_for(frames.shape[1:], 9.0)
    np.testing.assert_allclose(
        window_channels(40 * frames + 700, grid), window_channels(frames, grid), atol=5e-3
    )


@pytest.mark.parametrize("dtype", [np.uint8, ">u2", np.int32, np.float64, bool])
def test_pictures_of_every_data_type_are_finite(rng, dtype):
    frames = blinking(rng).astype(dtype)
    pictures = window_channels(frames, grid_for(frames.shape[1:], 9.0))
    assert pictures.dtype == np.float32
    assert np.isfinite(pictures).all()


def test_pictures_of_a_movie_in_which_nothing_changes_are_empty():
    pictures = window_channels(np.full((10, 30, 40), 7, np.uint8), grid_for((30, 40), 8.0))
    assert np.abs(pictures).max() < 0.02  # rounding


def test_a_window_is_what_it_is_in_a_longer_movie(rng):
    frames = blinking(rng)
    grid = grid_for(frames.shape[1:], 9.0)
    np.testing.assert_array_equal(window_channels(frames, grid, 20, 50), window_channels(frames[20:50], grid))


def test_a_window_of_one_frame_is_refused(rng):
    frames = blinking(rng)
    with pytest.raises(CalzooError, match="a window of at least two frames, got 1"):
        window_channels(frames, grid_for(frames.shape[1:], 9.0), 3, 4)


@pytest.mark.parametrize("diameter", [1.0, 26.0, float("nan")])
def test_cells_that_no_grid_fits_are_refused(diameter):
    with pytest.raises(
        CalzooError, match=r"2 pixels to half of the longer side of the frame \(40 x 50\), got"
    ):
        grid_for((40, 50), diameter)


def test_heights_and_votes_are_compressed_without_loss(rng):
    heights = rng.uniform(0, 200, 50)
    np.testing.assert_allclose(channels.expanded(channels.compressed(heights)), heights, atol=1e-9)
    np.testing.assert_allclose(
        channels.expanded_votes(channels.compressed_votes(heights)), heights, atol=1e-9
    )


def test_where_most_pixels_fluctuate_heights_are_in_units_of_that(rng):
    slow = ndimage.gaussian_filter(rng.standard_normal((120, 48, 56)), (6, 2, 2))
    still, crowded = rng.standard_normal((120, 48, 56)), 12 * slow / slow.std()
    grid = grid_for((48, 56), CELL_PX)
    for frames, floor in ((still, None), (still + crowded, channels.FLOOR)):
        reached = np.median(channels.expanded(picture(window_channels(frames, grid), "sharp peak")))
        assert reached <= channels.FLOOR * 1.05
        if floor:
            assert reached == pytest.approx(floor, rel=1e-3)
    untouched = np.float32(rng.uniform(0, 0.3, (8, 9, len(channels.CHANNELS))))
    np.testing.assert_array_equal(channels.over_floor(untouched), untouched)


def test_where_pixels_are_much_longer_than_wide_the_grid_takes_the_nearest(rng):
    """No sample lies within reach of the Gaussian: --voxel 1,100 of a movie is such a case."""
    grid = grid_for((100, 20), 5, aspect=(0.1, 10.0))
    for pictures in grid.band_passed(rng.random((2, 100, 20))):
        assert np.isfinite(pictures).all()
    for pictures in grid.band_passed(np.full((1, 100, 20), 7.0)):
        np.testing.assert_allclose(pictures, 0, atol=1e-5)
