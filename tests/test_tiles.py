import numpy as np
import pytest

pytestmark = pytest.mark.train
pytest.importorskip("keras")
patchify = pytest.importorskip("patchify")

from calzoo.errors import CalzooError
from calzoo.training.tiles import IGNORE, cut_tiles, pad_to_grid


def direct_tiles(volume, tile, step):
    """Cut tiles by three loops, planes outermost."""
    starts = [range(0, n - t + 1, s) for n, t, s in zip(volume.shape, tile, step, strict=True)]
    return [
        volume[z : z + tile[0], y : y + tile[1], x : x + tile[2]]
        for z in starts[0]
        for y in starts[1]
        for x in starts[2]
    ]


@pytest.mark.parametrize(
    ("tile", "step"), [((2, 4, 4), (2, 4, 4)), ((2, 4, 4), (1, 2, 3)), ((4, 8, 10), (2, 2, 2))]
)
def test_tiles_come_in_the_order_of_planes_rows_columns(rng, tile, step):
    volume = rng.normal(size=(4, 8, 10))
    labels = np.ones(volume.shape, int)
    tiles = cut_tiles(volume, labels, tile, step)
    expected = direct_tiles(pad_to_grid(volume, tile, step), tile, step)
    assert len(tiles) == len(expected)
    for index, truth in enumerate(expected):
        np.testing.assert_array_equal(tiles[index][0], truth)


def test_tiles_are_what_patchify_cuts_with_labels_alongside(rng):
    volume = rng.normal(size=(4, 12, 12))
    labels = rng.integers(1, 3, volume.shape)
    tiles = cut_tiles(volume, labels, (2, 6, 6), (2, 3, 3))
    np.testing.assert_array_equal(tiles.images, patchify.patchify(volume, (2, 6, 6), step=(2, 3, 3)))
    np.testing.assert_array_equal(tiles.labels, patchify.patchify(labels, (2, 6, 6), step=(2, 3, 3)))


def test_tiles_are_views_of_the_volume(rng):
    volume = rng.normal(size=(4, 12, 12))
    tiles = cut_tiles(volume, np.ones(volume.shape, int), (2, 6, 6), (1, 1, 1))
    assert np.shares_memory(tiles[3][0], volume)


def test_a_small_volume_is_reflected_to_one_tile(rng):
    volume = rng.normal(size=(3, 5, 9))
    labels = rng.integers(0, 2, volume.shape)
    labels[0, 0, 0] = 1
    image, truth = cut_tiles(volume, labels, (5, 8, 8), (5, 8, 4))[0]
    np.testing.assert_array_equal(image[3:, :5, :8], volume[[1, 0]][:, :, :8])
    np.testing.assert_array_equal(image[:3, 5:, :8], volume[:, [3, 2, 1], :8])
    np.testing.assert_array_equal(truth[3:, :5, :8], labels[[1, 0]][:, :, :8])


@pytest.mark.parametrize(("size", "padded"), [(3, 4), (4, 4), (5, 6), (6, 6), (9, 10)])
def test_padding_ends_the_grid_at_the_volumes_end(size, padded):
    volume = np.zeros((size, 8, 8))
    assert pad_to_grid(volume, (4, 8, 8), (2, 8, 8)).shape == (padded, 8, 8)


def test_of_empty_tiles_each_nth_stays():
    labels = np.zeros((1, 4, 40), int)
    labels[0, 0, 13] = 5
    tiles = cut_tiles(np.zeros(labels.shape), labels, (1, 4, 4), (1, 4, 4), keep_empty=4)
    # The axon lies in tile 3; of the nine others the first, the fifth and the ninth stay.
    np.testing.assert_array_equal(tiles.kept, [0, 3, 5, 9])


def test_tiles_without_enough_labels_are_dropped():
    labels = np.full((3, 4, 8), IGNORE)
    labels[1, :, :4] = 0
    labels[1, 0, 0] = 1
    volume = np.zeros(labels.shape)
    assert len(cut_tiles(volume, labels, (3, 4, 4), (3, 4, 4))) == 1
    assert len(cut_tiles(volume, labels, (3, 4, 4), (3, 4, 4), labelled=1 / 3)) == 0


def test_labels_in_the_margin_do_not_keep_a_tile():
    labels = np.full((4, 6, 6), IGNORE)
    labels[0] = 1
    volume = np.zeros(labels.shape)
    assert len(cut_tiles(volume, labels, (4, 6, 6), (4, 6, 6))) == 1
    assert len(cut_tiles(volume, labels, (4, 6, 6), (4, 6, 6), margin=(1, 1, 1))) == 0


def test_labels_of_another_shape_are_refused():
    with pytest.raises(CalzooError, match=r"labels of its shape, got \(2, 4, 4\) and \(2, 4, 5\)"):
        cut_tiles(np.zeros((2, 4, 4)), np.zeros((2, 4, 5), int), (2, 4, 4), (1, 1, 1))


@pytest.mark.parametrize("step", [(0, 1, 1), (1, 5, 1)])
def test_steps_that_leave_voxels_out_are_refused(step):
    with pytest.raises(CalzooError, match="steps from 1 to the tile's sides"):
        cut_tiles(np.zeros((2, 8, 8)), np.zeros((2, 8, 8), int), (2, 4, 4), step)


@pytest.mark.parametrize(("size", "tile", "step", "padded"), [
    (10, 4, 4, 12), (11, 4, 4, 12), (12, 4, 4, 12), (3, 4, 2, 4), (9, 4, 2, 10), (10, 4, 3, 10),
])  # fmt: skip
def test_a_side_is_padded_to_the_next_one_that_tiles_fill(size, tile, step, padded):
    sides = pad_to_grid(np.zeros((size, size, size)), (tile,) * 3, (step,) * 3).shape
    assert sides == (padded,) * 3
