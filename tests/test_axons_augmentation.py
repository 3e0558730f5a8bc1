import sys

import numpy as np
import pytest
from scipy import ndimage

pytestmark = pytest.mark.train
pytest.importorskip("keras")

from calzoo.errors import CalzooError
from calzoo.training import axons_augmentation as aug


@pytest.fixture
def tile(rng):
    """Return an image and labels that hold the same numbers: whatever moves one must move the other."""
    labels = rng.integers(0, 50, (6, 32, 32))
    return labels.astype("float32"), labels


@pytest.mark.parametrize("quarters", range(4))
@pytest.mark.parametrize("mirror", [(False, False, False), (True, False, True)])
def test_turning_moves_labels_with_the_image(tile, quarters, mirror):
    image, labels = aug.turn(*tile, quarters=quarters, mirror=mirror)
    np.testing.assert_array_equal(image, labels)
    expected = np.stack([np.rot90(plane, quarters) for plane in tile[1]])
    for axis in np.flatnonzero(mirror):
        expected = np.flip(expected, axis)
    np.testing.assert_array_equal(labels, expected)


def test_four_quarters_are_none(tile):
    turned = tile
    for _ in range(4):
        turned = aug.turn(*turned, quarters=1, mirror=(False,) * 3)
    np.testing.assert_array_equal(turned[0], tile[0])


def test_dropping_planes_keeps_the_even_ones(tile):
    image, labels = aug.drop_every_second_plane(*tile)
    np.testing.assert_array_equal(image, labels)
    np.testing.assert_array_equal(labels[:3], tile[1][[0, 2, 4]])
    assert labels.shape == tile[1].shape


def test_a_warp_by_nothing_changes_nothing(tile):
    image, labels = aug.warp(*tile, 0.0, 1.0, np.zeros((2, 32, 32)))
    np.testing.assert_allclose(image, tile[0], atol=1e-4)
    np.testing.assert_array_equal(labels, tile[1])


def test_a_warp_by_whole_pixels_reads_where_the_field_points(tile):
    field = np.stack([np.full((32, 32), 3.0), np.full((32, 32), -2.0)])
    image, labels = aug.warp(*tile, 0.0, 1.0, field, order=0)
    np.testing.assert_array_equal(labels[:, :-3, 2:], tile[1][:, 3:, :-2])
    assert (labels[:, -3:] == aug.OUTSIDE).all()
    assert (labels[:, :, :2] == aug.OUTSIDE).all()
    np.testing.assert_array_equal(image[:, :-3, 2:], tile[0][:, 3:, :-2])


def test_a_warp_by_a_quarter_is_a_quarter_turn(tile):
    image, labels = aug.warp(*tile, np.pi / 2, 1.0, np.zeros((2, 32, 32)), order=0)
    inside = labels != aug.OUTSIDE  # rounding may put the outermost pixels outside
    assert inside[:, 1:-1, 1:-1].all()
    np.testing.assert_array_equal(labels[inside], aug.turn(*tile, quarters=3, mirror=(False,) * 3)[1][inside])
    np.testing.assert_array_equal(image[inside], labels[inside])


def test_zooming_makes_things_larger():
    image = np.zeros((1, 33, 33), "float32")
    image[0, 12:21, 14:19] = 1
    _, labels = aug.warp(image, image.astype(int), 0.0, 1.9, np.zeros((2, 33, 33)))
    rows, columns = np.nonzero(labels[0] == 1)
    # 9 rows x 1.9 = 17.1, 5 columns x 1.9 = 9.5, of which an odd number lies around the centre.
    assert np.ptp(rows) + 1 == 17
    assert np.ptp(columns) + 1 == 9


def test_displacements_are_smooth_and_of_the_size_asked_for(rng):
    field = aug.smooth_displacement(rng, (480, 480), 2.0)
    assert field.shape == (2, 480, 480)
    assert 1.0 < field.std() < 2.5
    assert np.abs(np.diff(field, axis=1)).max() < 1.0


def test_gamma_keeps_the_ends_and_bends_the_middle():
    image = np.linspace(-1, 3, 5, dtype="float32").reshape(1, 1, 5)
    np.testing.assert_allclose(aug.adjust(image, gamma=2).ravel(), [-1, -0.75, 0, 1.25, 3], rtol=1e-6)


def test_gain_and_offset_are_affine(rng):
    image = rng.normal(size=(2, 4, 4)).astype("float32")
    np.testing.assert_allclose(aug.adjust(image, gain=2, offset=0.5), 2 * image + 0.5, rtol=1e-6)


def test_a_flat_image_stays_flat_under_gamma():
    flat = np.full((2, 4, 4), 0.25, "float32")
    np.testing.assert_array_equal(aug.adjust(flat, gamma=1.3), flat)


def test_a_lost_plane_is_as_dark_as_the_darkest_voxel(tile):
    image = aug.lose_plane(tile[0], 2)
    assert (image[2] == tile[0].min()).all()
    np.testing.assert_array_equal(np.delete(image, 2, 0), np.delete(tile[0], 2, 0))


def test_the_same_generator_gives_the_same_variation(tile):
    variation = aug.Variation(warp=1, coarse=0.5, blur=1, noise=1, planes=1)
    first, second, other = (aug.vary(np.random.default_rng([3, e, 5]), *tile, variation) for e in (0, 0, 1))
    np.testing.assert_array_equal(first[0], second[0])
    np.testing.assert_array_equal(first[1], second[1])
    assert not np.array_equal(first[0], other[0])


def test_a_variation_changes_neither_shape_type_nor_input(tile):
    before = tile[0].copy(), tile[1].copy()
    for seed in range(20):
        image, labels = aug.vary(
            np.random.default_rng(seed), *tile, aug.Variation(warp=1, coarse=1, planes=1)
        )
        assert (image.shape, image.dtype) == (tile[0].shape, np.float32)
        assert (labels.shape, labels.dtype) == (tile[1].shape, tile[1].dtype)
        assert np.isfinite(image).all()
    np.testing.assert_array_equal(tile[0], before[0])
    np.testing.assert_array_equal(tile[1], before[1])


def test_labels_follow_a_bright_tube_through_any_movement():
    """A tube brighter than its surroundings is still where its labels say, after 30 random movements."""
    labels = np.zeros((6, 48, 48), int)
    labels[2:4, 20:28] = 7
    image = ndimage.gaussian_filter((labels > 0).astype("float32"), (0.3, 0.5, 0.5))
    moves = aug.Variation(warp=1, gamma=0, gain=0, offset=0, blur=0, noise=0, planes=0, frame=0)
    for seed in range(30):
        bright, moved = aug.vary(np.random.default_rng(seed), image, labels, moves)
        inside = moved != aug.OUTSIDE
        assert set(np.unique(moved)) <= {aug.OUTSIDE, 0, 7}
        agreement = ((bright > 0.5) == (moved == 7))[inside].mean()
        assert agreement > 0.97


def test_black_frames_leave_a_part_of_the_tile_and_nothing_but_background_outside(tile):
    image, labels = tile[0], tile[1] + 1
    for seed in range(100):
        outside = aug.draw_frame(np.random.default_rng(seed), image.shape)
        assert outside.shape == image.shape
        assert outside.mean() < 0.92
        black, cleared = aug.blacken(image, labels, outside, -0.5)
        assert (black[outside] == -0.5).all()
        assert (cleared[outside] == 0).all()
        np.testing.assert_array_equal(black[~outside], image[~outside])
        np.testing.assert_array_equal(cleared[~outside], labels[~outside])
        assert (black.dtype, cleared.dtype) == (image.dtype, labels.dtype)


def is_box(mask):
    """Tell whether a mask is the product of what is seen of it along each axis."""
    sides = [mask.any(axis=tuple({0, 1, 2} - {axis})) for axis in range(3)]
    return bool((mask == (sides[0][:, None, None] & sides[1][:, None] & sides[2])).all())


def test_a_black_frame_is_a_half_the_outside_of_a_box_or_a_corner():
    corners, boxes, halves = [], 0, 0
    for seed in range(300):
        outside = aug.draw_frame(np.random.default_rng(seed), (8, 32, 32))
        if is_box(~outside):
            boxes += 1
        elif is_box(outside):
            corners.append(outside)
        else:
            halves += 1
            assert (outside == outside[0]).all()
    assert min(len(corners), boxes, halves) > 50
    # Each corner of the tile has its share, and some corners are large.
    for y, x in ((0, 0), (0, -1), (-1, 0), (-1, -1)):
        assert sum(outside[:, y, x].any() for outside in corners) > 10
    assert max(outside.mean() for outside in corners) > 0.3


def test_what_lies_outside_a_field_of_view_is_as_dark_as_the_darkest_voxel_or_darker(tile):
    only = {"warp": 0, "gamma": 0, "gain": 0, "offset": 0, "blur": 0, "noise": 0, "planes": 0, "coarse": 0}
    for seed in range(10):
        image, labels = aug.vary(
            np.random.default_rng(seed), tile[0], tile[1] + 1, aug.Variation(**only, frame=1)
        )
        assert (labels == 0).any()
        assert image[labels == 0].max() <= tile[0].min()
        np.testing.assert_array_equal(image[labels > 0], labels[labels > 0] - 1)


def test_in_half_of_the_tiles_grain_grows_along_a_direction():
    straight, even = 0, 0
    y, x = np.mgrid[:6, :6]
    design = np.column_stack([np.ones(36), y.ravel(), x.ravel()])
    for seed in range(40):
        grain = aug.draw_grain(np.random.default_rng(seed), (24, 48, 48))
        blocks = grain.reshape(24, 6, 8, 6, 8).std(axis=(0, 2, 4)).ravel()
        left = np.linalg.lstsq(design, blocks, rcond=None)[1][0] / ((blocks - blocks.mean()) ** 2).sum()
        grows = blocks.min() < 0.4 * blocks.max()
        assert not grows or left < 0.1
        straight, even = straight + grows, even + (blocks.min() > 0.7 * blocks.max())
    assert straight + even == 40
    assert 10 <= straight <= 30


def test_grain_is_alike_in_neighbours_and_as_strong_as_it_says():
    alike, strengths = [], []
    for seed in range(20):
        grain = aug.draw_grain(np.random.default_rng(seed), (8, 48, 48))
        assert grain.shape == (8, 48, 48)
        assert grain.dtype == np.float32
        alike.append(np.corrcoef(grain[..., 1:].ravel(), grain[..., :-1].ravel())[0, 1])
        strengths.append(float(grain.std()))
    assert min(alike) > 0.15
    assert max(alike) > 0.6
    assert 0.003 < min(strengths) < max(strengths) < 0.11


def test_grain_changes_intensities_and_no_labels(tile):
    image, labels = tile
    only = {"warp": 0, "gamma": 0, "gain": 0, "offset": 0, "blur": 0, "noise": 0, "planes": 0, "frame": 0}
    plain, grainy = (
        aug.vary(np.random.default_rng(4), image, labels, aug.Variation(**only, coarse=0, grain=grain))
        for grain in (0.0, 1.0)
    )
    np.testing.assert_array_equal(plain[0], plain[1])
    assert not np.array_equal(plain[0], grainy[0])
    np.testing.assert_array_equal(plain[1], grainy[1])


def test_without_torchio_the_line_that_installs_it_is_named(rng, monkeypatch):
    monkeypatch.setitem(sys.modules, "torchio", None)
    image, labels = np.zeros((8, 16, 16), np.float32), np.zeros((8, 16, 16), np.int16)
    with pytest.raises(CalzooError, match=r"torchio is not installed.*'calzoo\[torchio\]'"):
        aug.vary(rng, image, labels, aug.Variation(torchio=1.0))


def test_torchio_moves_labels_with_the_image():
    """Needs the extra, which brings torch."""
    pytest.importorskip("torchio")
    volume = np.zeros((16, 48, 48), np.float32)
    volume[5:11, 20:30, :] = 1
    labels = volume.astype(np.int16)
    results = [aug.vary_by_torchio(np.random.default_rng(seed), volume, labels) for seed in range(8)]
    again = aug.vary_by_torchio(np.random.default_rng(0), volume, labels)
    np.testing.assert_array_equal(again[0], results[0][0])
    for image, moved in results:
        assert (image.dtype, moved.dtype, image.shape) == (np.float32, np.int16, volume.shape)
        assert set(np.unique(moved)) <= {aug.OUTSIDE, 0, 1}
        assert image[moved == 1].mean() > 0.6
        assert image[moved == 0].mean() < 0.15
    assert any((moved != labels).any() for _, moved in results)
    assert any((image != volume).any() and (moved == labels).all() for image, moved in results)
