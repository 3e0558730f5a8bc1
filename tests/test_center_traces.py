"""Activity of cells whose centres are known, and their masks."""

import numpy as np
import pytest

from calzoo.imaging.center_traces import cell_masks, extract_activity, splats

SHAPE = (50, 60)


def movie_of(rng, centers, radii, frames=300, noise=0.0, background=0.0):
    """Return a movie that is a sum of splats with sparse activity, and the activity."""
    spikes = rng.random((len(centers), frames)) < 0.03
    activity = np.stack([np.convolve(s, np.exp(-np.arange(20) / 5))[:frames] for s in spikes]) * 50
    movie = (splats(centers, radii, SHAPE).T @ activity).T.reshape(frames, *SHAPE)
    drift = background * np.sin(np.arange(frames) / 9)[:, None, None]
    return movie + drift + noise * rng.standard_normal(movie.shape) + 100, activity


def test_splat_is_a_gaussian_that_is_one_at_its_centre():
    picture = splats([[20, 30]], [5.0], SHAPE).toarray().reshape(SHAPE)
    rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]]
    expected = np.exp(-((rows - 20) ** 2 + (columns - 30) ** 2) / (2 * 3.0**2))
    assert picture[20, 30] == 1
    np.testing.assert_allclose(picture[12:29, 22:39], expected[12:29, 22:39], atol=1e-6)


def test_activity_of_cells_apart_is_recovered_in_units_of_the_movie(rng):
    centers, radii = [[12, 14], [35, 44]], [4.0, 5.0]
    movie, activity = movie_of(rng, centers, radii)
    found = extract_activity(movie, centers, radii).traces
    rest = np.median(activity, axis=1, keepdims=True)
    np.testing.assert_allclose(found, activity - rest, atol=0.02 * activity.max())


def test_cross_talk_between_neighbours_is_taken_out(rng):
    centers, radii = [[24, 25], [24, 31]], [5.0, 5.0]
    movie, activity = movie_of(rng, centers, radii, noise=0.5, background=30.0)
    found = extract_activity(movie, centers, radii).traces
    matrix = np.corrcoef(np.concatenate([activity, found]))[:2, 2:]
    assert matrix.diagonal().min() > 0.97
    assert np.abs(matrix[0, 1]) < np.abs(np.corrcoef(activity)[0, 1]) + 0.1


def test_hits_count_the_frames_above_the_noise(rng):
    movie = rng.normal(100, 1, (200, *SHAPE))
    movie[50:60] += 40 * splats([[20, 20]], [5.0], SHAPE).toarray().reshape(SHAPE)
    found = extract_activity(movie, [[20, 20], [40, 45]], [5.0, 5.0])
    assert found.hits[0] == pytest.approx(10, abs=1)
    assert found.hits[1] <= 1
    silent = found.traces[0, :50].std()
    assert found.noise[0] == pytest.approx(silent, rel=0.35)


def test_clear_cells_stand_out_of_a_movie_that_rests_at_zero():
    """The background was removed and cut off: in most frames nothing changes."""
    movie = np.zeros((200, *SHAPE), np.uint8)
    assert extract_activity(movie, [[15, 20]], [5.0]).noise == 0
    for start in (20, 90, 150):
        movie[start : start + 8] = 90 * splats([[15, 20]], [5.0], SHAPE).toarray().reshape(SHAPE)
    found = extract_activity(movie, [[15, 20]], [5.0])
    assert found.traces.max() / found.noise > 20
    assert found.hits == 24


def test_two_centres_on_one_place_do_not_blow_up(rng):
    movie, activity = movie_of(rng, [[20, 20]], [5.0], noise=0.1)
    found = extract_activity(movie, [[20, 20], [20, 20]], [5.0, 5.0]).traces
    assert np.abs(found).max() < 2 * activity.max()


def test_no_centres_have_no_activity(rng):
    found = extract_activity(rng.random((5, *SHAPE)), np.empty((0, 2)), [])
    assert (found.traces.shape, found.hits.shape) == ((0, 5), (0,))


def test_masks_share_the_pixels_of_a_body_by_the_nearest_centre():
    body = np.zeros(SHAPE)
    body[10:20, 10:30] = 1
    masks = cell_masks(body, [[14.5, 14.5], [14.5, 24.5]], [6.0, 6.0])
    assert masks.count().max() == 1
    left, right = masks.stack()
    assert left[:, :20].sum() == left.sum()
    assert right[:, 20:].sum() == right.sum()
    assert (masks.count() > 0).sum() == pytest.approx(200, rel=0.1)


def test_a_mask_is_the_one_piece_around_its_centre():
    body = np.zeros(SHAPE)
    body[8:19, 8:19] = 1
    body[10, 10] = 0  # a hole, farther from the centre than half of the radius
    body[13, 20:22] = 1  # a spot of its own, within reach
    rows, columns = cell_masks(body, [[13, 13]], [6.0])[0]
    assert (rows.min(), rows.max(), columns.min(), columns.max(), len(rows)) == (8, 18, 8, 18, 121)
    spot = np.zeros(SHAPE)
    spot[13, 18:21] = 1
    rows, columns = cell_masks(spot, [[13, 13]], [6.0])[0]
    assert (rows.mean(), columns.mean(), columns.max()) == (13, 13, 16)  # its centre, not the spot


def test_a_cell_without_a_body_gets_a_disk_and_one_beyond_reach_no_pixels_of_others():
    body = np.zeros(SHAPE)
    body[:5, :5] = 1
    masks = cell_masks(body, [[40, 40], [0, 0]], [6.0, 3.0])
    assert masks.areas[0] == pytest.approx(np.pi * 9, rel=0.15)
    assert masks[0][0].mean() == pytest.approx(40)
    assert masks.areas[1] > 0
    assert len(cell_masks(body, np.empty((0, 2)), [])) == 0
