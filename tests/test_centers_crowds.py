"""Crowded tissue from windows: what is laid on each other shows what the sum of the movies shows."""

import numpy as np
import pytest
from scipy import ndimage

pytestmark = pytest.mark.train
pytest.importorskip("keras")

from calzoo.imaging.center_channels import CELL_PX, CHANNELS, grid_for, window_channels
from calzoo.training.centers_crowds import crowd, tile
from calzoo.training.centers_windows import Window


def movie(rng, at, height, shape=(150, 64, 64)):
    """Draw spots that light up at times of their own, and noise."""
    frames = rng.normal(50, 1, shape)
    rows, columns = np.mgrid[: shape[1], : shape[2]]
    for (y, x), high in zip(at, np.broadcast_to(height, len(at)), strict=True):
        spot = high * np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / (2 * 2.4**2))
        for start in rng.integers(0, shape[0] - 8, 4):
            frames[start : start + 8] += spot
    return frames


def window(frames, at, clear=None):
    pictures = window_channels(frames, grid_for(frames.shape[1:], CELL_PX))
    rows, columns = np.mgrid[: pictures.shape[0], : pictures.shape[1]]
    labels = np.zeros(pictures.shape[:2], np.int16)
    for number, (y, x) in enumerate(at, 1):
        labels[(rows - y) ** 2 + (columns - x) ** 2 <= 16] = number
    return Window(
        pictures.astype(np.float16),
        np.array(at, np.float32),
        np.full(len(at), 4, np.float32),
        np.ones(len(at), bool) if clear is None else np.array(clear),
        labels,
        len(frames),
    )


FIRST, SECOND = ((14.0, 20.0), (44.0, 40.0)), ((20.0, 46.0), (50.0, 12.0))


@pytest.mark.parametrize("brightness", [(1.0, 1.0), (1.0, 0.4)])
def test_windows_laid_on_each_other_show_what_the_sum_of_the_movies_shows(rng, brightness):
    movies = [movie(rng, at, 12) for at in (FIRST, SECOND)]
    layers = [window(*pair) for pair in zip(movies, (FIRST, SECOND), strict=True)]
    laid = crowd(layers, brightness)
    added = window(sum(b * m for b, m in zip(brightness, movies, strict=True)), FIRST + SECOND)
    for name in ("sharp peak", "peak to noise", "deviation", "correlation"):
        channel = CHANNELS.index(name)
        ours, true = (w.channels[..., channel].astype(float) for w in (laid, added))
        assert np.corrcoef(ours.ravel(), true.ravel())[0, 1] > 0.93, name
        cells = tuple(np.array(FIRST + SECOND).astype(int).T)
        np.testing.assert_allclose(ours[cells], true[cells], rtol=0.2, err_msg=name)
    np.testing.assert_array_equal(laid.centers, FIRST + SECOND)
    assert laid.clear.all()
    np.testing.assert_array_equal(laid.labels > 0, added.labels > 0)
    for (y, x), number in zip(laid.centers.astype(int), (1, 2, 3, 4), strict=True):
        assert laid.labels[y, x] == number


def test_a_cell_that_a_brighter_one_outshines_may_be_missed(rng):
    bright, near, apart = (20.0, 20.0), (22.0, 21.0), (46.0, 46.0)
    one = window(movie(rng, [bright], 60), [bright])
    two = window(movie(rng, [near, apart], 8), [near, apart])
    laid = crowd([two, one], (1.0, 1.0))
    sure = {tuple(c) for c in laid.centers[laid.clear]}
    assert sure == {bright, apart}
    faint = crowd([two, one], (0.02, 1.0))  # below the noise of the other
    assert {tuple(c) for c in faint.centers} == {bright}


def test_layers_without_cells_are_laid_too(rng):
    empty = window(movie(rng, [], 0), np.empty((0, 2)))
    laid = crowd([empty, empty], (1.0, 0.5))
    assert (len(laid.centers), laid.labels.max()) == (0, 0)


@pytest.mark.parametrize("stretch", [1.0, 1.6])
def test_cells_stay_on_their_pixels_however_a_tile_is_cut(rng, stretch):
    at = [(30.0, 24.0), (18.0, 40.0)]
    source = window(movie(rng, at, [60, 25]), at)
    for _ in range(12):
        cut = tile(rng, source, 48, stretch)
        assert cut.channels.shape == (48, 48, len(CHANNELS))
        assert cut.labels.shape == (48, 48)
        assert cut.channels[..., 1].max() <= source.channels[..., 1].max() + 1e-3
        for number, center in enumerate(cut.centers, 1):
            if (center < 3).any() or (center > 44).any():
                continue
            y, x = np.round(center).astype(int)
            assert cut.labels[y, x] == number
            around = cut.channels[y - 2 : y + 3, x - 2 : x + 3, 1]
            assert np.abs(np.unravel_index(around.argmax(), (5, 5)) - np.array([2, 2])).max() <= 1
        if stretch == 1:
            np.testing.assert_array_equal(cut.radii, source.radii)


def test_what_is_stretched_is_what_was_there(rng):
    """Channels that say where a pixel comes from: at the moved centres they say where those were."""
    rows, columns = np.mgrid[:64, :60].astype(np.float32)
    pictures = np.stack([rows, columns], axis=-1)
    centers = rng.uniform(20, 44, (8, 2)).astype(np.float32)
    source = Window(pictures, centers, np.full(8, 4.0), np.ones(8, bool), np.zeros(rows.shape, np.int16), 100)
    for _ in range(10):
        cut = tile(rng, source, 48, 1.6)
        inside = ((cut.centers > 1) & (cut.centers < 46)).all(axis=1)
        read = [
            ndimage.map_coordinates(cut.channels[..., axis], cut.centers[inside].T, order=1)
            for axis in (0, 1)
        ]
        np.testing.assert_allclose(np.transpose(read), centers[inside], atol=1e-3)
        # A pixel of the tile is so much of one of the source: its sides give the area, that gives the radius.
        steps = [np.abs(np.diff(cut.channels[20:23, 20:23, axis], axis=k)) for axis in (0, 1) for k in (0, 1)]
        area = np.prod([step.max() for step in steps if step.max() > 0.1])
        np.testing.assert_allclose(cut.radii, 4 / np.sqrt(area), rtol=1e-3)
