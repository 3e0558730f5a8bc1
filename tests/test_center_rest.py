"""Level, noise and light of the pixels of a one-photon movie in which no cell shines."""

import numpy as np
import pytest

from calzoo.imaging.center_channels import CHANNELS, expanded, grid_for, window_channels
from calzoo.imaging.center_rest import AtRest
from calzoo.imaging.frames import as_movie

SPOTS = ((12, 14), (12, 44), (44, 14), (30, 30))  # these only stand there
CELL = (46, 46)
FRAMES, SIDE = 120, 60


def spot(at, sigma=2.5):
    rows, columns = np.mgrid[:SIDE, :SIDE]
    return np.exp(-((rows - at[0]) ** 2 + (columns - at[1]) ** 2) / (2 * sigma**2))


def tissue():
    """Return a still picture with bright spots on waves of light, as tissue has them."""
    rows, columns = np.mgrid[:SIDE, :SIDE]
    waves = 30 * np.sin(rows / 3.1) * np.cos(columns / 3.7)
    return 400 + waves + 120 * sum(spot(at) for at in SPOTS)


def recording(rng, lamp):
    """Return frames of still tissue and one cell that fires, under a lamp of such light (T,)."""
    frames = np.repeat(tissue()[None], FRAMES, axis=0)
    frames[50:56] += 40 * spot(CELL)
    return (frames * lamp[:, None, None] + rng.normal(0, 2, frames.shape)).astype(np.float32)


def heights(frames, name, places):
    grid = grid_for(frames.shape[1:], 9.0)
    pictures = expanded(window_channels(frames, grid)[..., CHANNELS.index(name)])
    return [pictures[tuple(np.round(grid.to_grid([at])[0]).astype(int))] for at in places]


@pytest.mark.parametrize(
    "lamp",
    [
        1 + 0.05 * np.sin(np.arange(FRAMES) / 9),
        1 + 0.05 * (np.arange(FRAMES) % 2),
        np.exp(-np.arange(FRAMES) / 400),
    ],
    ids=["swings", "flickers", "bleaches"],
)
def test_under_an_unsteady_lamp_still_spots_stay_still_and_cells_rise(rng, lamp):
    steady = recording(np.random.default_rng(1), np.ones(FRAMES))
    unsteady = recording(np.random.default_rng(1), lamp)
    for name in ("peak to noise", "trough"):
        np.testing.assert_allclose(
            heights(unsteady, name, SPOTS), heights(steady, name, SPOTS), rtol=0.35, atol=0.5
        )
    assert heights(unsteady, "peak to noise", [CELL])[0] > 4 * max(heights(unsteady, "peak to noise", SPOTS))


def test_frames_at_rest_are_nothing_whatever_the_lamp_does(rng):
    lamp = 1 + 0.08 * np.sin(np.arange(FRAMES) / 7)
    frames = (tissue() * lamp[:, None, None]).astype(np.float32)
    grid = grid_for(frames.shape[1:], 9.0)
    at_rest = AtRest(as_movie(frames), grid, 0, FRAMES)
    for above in at_rest.above(*grid.band_passed(frames)):
        assert np.abs(above).max() < 0.02
    assert np.abs(grid.band_passed(frames)[1] - at_rest.cell).max() > 1


def test_cells_that_burst_together_are_no_lamp(rng):
    """Where the background is taken away only cells are bright, and they must not be taken out with it."""
    places = [(y, x) for y in (10, 23, 36, 49) for x in (10, 23, 36, 49)]
    light = 1 + 0.9 * (np.sin(np.arange(FRAMES) / 6) > 0.3)
    cells = 20 * sum(spot(at) for at in places)
    frames = (light[:, None, None] * cells + rng.normal(0, 1, (FRAMES, SIDE, SIDE))).astype(np.float32)
    assert min(heights(frames, "peak to noise", places)) > 10
