"""The frames that a fit of centres works on: those with most activity, from the first to the last."""

import numpy as np
import pytest

pytestmark = pytest.mark.train
pytest.importorskip("keras")

from calzoo.errors import CalzooError
from calzoo.imaging.center_channels import grid_for
from calzoo.imaging.frames import CHUNK_FRAMES, as_movie
from calzoo.training.centers_fit import active_frames

SHAPE = (CHUNK_FRAMES + 15, 32, 40)
DIAMETER = 8.0  # a pixel of the grid is one of the frame
#: Where a cell lights up, and in which frames.
LIT = {
    (8, 9): (0, 1),  # the first two frames of all
    (8, 30): (CHUNK_FRAMES - 1, CHUNK_FRAMES),  # the last of a piece of the movie, the first of the next
    (24, 9): (SHAPE[0] - 2, SHAPE[0] - 1),  # the last two
    (24, 30): (60,),  # a single frame: noise
}


def blinking(rng, lit=LIT):
    """Return noise in which each cell of `lit` is bright in its frames."""
    movie = rng.normal(100, 1, SHAPE).astype(np.float32)
    rows, columns = np.mgrid[: SHAPE[1], : SHAPE[2]]
    for (y, x), frames in lit.items():
        movie[list(frames)] += 60 * np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / (2 * 2.0**2))
    return movie


def picked(movie, count):
    """Return which frames of the movie those of `active_frames` are, and the highest levels."""
    grid = grid_for(movie.shape[1:], DIAMETER)
    frames, highest = active_frames(as_movie(movie), grid, count)
    passed = grid.band_passed(movie)[0].reshape(len(movie), -1)
    passed = passed - np.median(passed, axis=0)
    alike = np.corrcoef(np.concatenate([frames.reshape(len(frames), -1), passed]))
    return alike[: len(frames), len(frames) :].argmax(axis=1), highest, grid


@pytest.mark.parametrize("count", [7, 20])
def test_the_frames_with_most_activity_are_kept_in_the_order_of_time(rng, count):
    frames, _, _ = picked(blinking(rng), count)
    assert len(frames) == count
    assert (np.diff(frames) > 0).all()
    assert set(frames) >= {t for lit in LIT.values() for t in lit}


def test_the_highest_level_is_one_that_lasts_for_two_frames_the_first_two_and_those_of_two_pieces_too(rng):
    _, highest, grid = picked(blinking(rng), 20)
    quiet = np.median(highest)
    for (y, x), frames in LIT.items():
        row, column = np.round(grid.to_grid([(y, x)])[0]).astype(int)
        if len(frames) > 1:
            assert highest[row, column] > quiet + 20, frames
        else:
            assert highest[row, column] < quiet + 5, frames


def test_a_movie_of_two_frames_is_enough(rng):
    movie = blinking(rng, {(16, 20): (1,)})[:2]
    frames, highest, _ = picked(movie, 10)
    assert frames.tolist() == [0, 1]
    assert np.isfinite(highest).all()


def test_frames_that_are_all_alike_hold_nothing_to_fit():
    movie = np.broadcast_to(np.random.default_rng(0).uniform(0, 9, SHAPE[1:]).astype(np.float32), SHAPE)
    with pytest.raises(CalzooError, match="frames that are all alike"):
        active_frames(as_movie(movie), grid_for(SHAPE[1:], DIAMETER), 10)
