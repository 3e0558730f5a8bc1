"""Resampling pictures and masks, crops, local maxima, pictures from files."""

import numpy as np
import pytest
import tifffile
from scipy import ndimage

from calzoo.errors import CalzooError
from calzoo.imaging import cell_pictures, cell_summary
from calzoo.imaging.frames import ArrayMovie
from calzoo.imaging.masks import Masks
from calzoo.imaging.peaks import local_maxima
from calzoo.imaging.picture_files import as_pictures, read_pictures
from calzoo.imaging.summary import summary_images


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_pictures_of_a_short_movie_are_those_of_its_summary(rng, dtype):
    activity = ndimage.gaussian_filter(rng.normal(size=(90, 20, 23)), (0, 2, 2)) * 400
    movie = (500 + activity + rng.normal(0, 10, activity.shape)).clip(0).astype(dtype)
    movie[:, 3, 4] = 7
    pictures = cell_summary.cell_pictures(movie)
    summary = summary_images(movie)
    np.testing.assert_allclose(pictures["correlation"], summary.correlation, atol=2e-3)
    np.testing.assert_allclose(pictures["brightness"], summary.mean, rtol=1e-5)
    np.testing.assert_allclose(pictures["deviation"], summary.standard_deviation, rtol=1e-3, atol=1e-3)


def test_long_movie_is_averaged_as_it_is_read(rng):
    movie = rng.poisson(50, (1003, 9, 11)).astype(np.uint16)
    assert cell_summary.bin_size(ArrayMovie(movie)) == 5
    pictures = cell_summary.cell_pictures(movie)
    means = movie[:1000].reshape(200, 5, 9, 11).mean(axis=1)
    np.testing.assert_allclose(pictures["brightness"], means.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(pictures["deviation"], means.std(axis=0), rtol=1e-4)


def test_means_are_no_longer_than_a_second_where_the_rate_is_known():
    assert cell_summary.bin_size(ArrayMovie(np.zeros((9000, 4, 4), np.uint8), 10.0)) == 10
    assert cell_summary.bin_size(ArrayMovie(np.zeros((9000, 4, 4), np.uint8))) == 38


def test_flash_does_not_make_pixels_look_correlated(rng):
    movie = rng.poisson(50, (100, 12, 12)).astype(np.uint16)
    movie[40] = 60_000
    assert np.abs(cell_summary.cell_pictures(movie)["correlation"]).max() < 0.3


def test_movie_of_one_row_or_one_pixel_has_pictures(rng):
    for shape in ((10, 1, 7), (10, 1, 1), (2, 3, 3)):
        pictures = cell_summary.cell_pictures(rng.poisson(9, shape))
        assert all(picture.shape == shape[1:] and np.isfinite(picture).all() for picture in pictures.values())


def test_place_goes_with_its_picture(rng):
    picture = np.zeros((40, 60), np.float32)
    picture[20, 30] = 1
    larger = cell_pictures.resize(picture, (120, 90))
    (place,) = cell_pictures.rescale_places([(20, 30)], (40, 60), (120, 90))
    mass = larger / larger.sum()
    y, x = np.indices(larger.shape)
    np.testing.assert_allclose(((mass * y).sum(), (mass * x).sum()), place, atol=0.05)


@pytest.mark.parametrize("shape", [(40, 60), (23, 31), (97, 150)])
def test_masks_are_resampled_as_their_picture_is(rng, shape):
    y, x = np.indices((40, 60))
    stack = np.stack([np.hypot(y - 12, x - 20) < 7, np.hypot(y - 39, x - 58) < 9])
    masks = cell_pictures.resize_masks(Masks.from_stack(stack), shape)
    for mask, old in zip(masks.stack(), stack, strict=True):
        new = cell_pictures.resize(old.astype(np.float32), shape) >= 0.5
        np.testing.assert_array_equal(mask, new)


def test_mask_of_one_pixel_survives_reduction():
    masks = cell_pictures.resize_masks(Masks.from_pixels((40, 40), [([7], [9])]), (10, 10))
    assert [tuple(p.tolist() for p in mask) for mask in masks] == [([1], [2])]


def test_mask_without_pixels_stays_without():
    assert len(cell_pictures.resize_masks(Masks.from_pixels((4, 4), [([], [])]), (8, 8))[0][0]) == 0


def test_crop_has_its_place_in_the_middle(rng):
    pictures = rng.random((3, 50, 70)).astype(np.float32)
    crop = cell_pictures.crops(pictures, [(25.2, 39.6)], 8)[0]
    np.testing.assert_array_equal(crop, np.moveaxis(pictures[:, 21:29, 36:44], 0, -1))


def test_crop_beyond_the_edge_is_a_mirror(rng):
    pictures = rng.random((1, 20, 20)).astype(np.float32)
    crop = cell_pictures.crops(pictures, [(0, 19)], 8)[0, ..., 0]
    padded = np.pad(pictures[0], 8, mode="symmetric")
    np.testing.assert_array_equal(crop, padded[4:12, 23:31])


def test_median_diameter_is_that_of_disks():
    y, x = np.indices((60, 60))
    masks = Masks.from_stack(np.stack([np.hypot(y - 20, x - 20) <= r for r in (5, 6, 12)]))
    assert cell_pictures.median_diameter(masks) == pytest.approx(12, rel=0.02)
    assert np.isnan(cell_pictures.median_diameter(Masks.from_pixels((5, 5), [])))


def test_maximum_of_a_plateau_is_its_middle():
    heat = np.zeros((20, 20))
    heat[5:8, 5:8] = 0.7
    heat[5:8, 12] = 0.4
    places, values = local_maxima(heat, distance=3, threshold=0.2)
    np.testing.assert_allclose(places, [(6, 6), (6, 12)])
    np.testing.assert_allclose(values, [0.7, 0.4])


def test_lower_maximum_within_the_distance_is_none():
    heat = np.zeros((20, 20))
    heat[5, 5], heat[5, 8], heat[5, 14] = 1.0, 0.9, 0.8
    assert local_maxima(heat, distance=3, threshold=0.1)[0].tolist() == [[5, 5], [5, 14]]
    assert len(local_maxima(heat, distance=2, threshold=0.1)[0]) == 3


def test_flat_map_below_the_threshold_has_no_maximum():
    places, values = local_maxima(np.zeros((6, 6)), distance=2, threshold=0.1)
    assert places.shape == (0, 2)
    assert values.shape == (0,)


def test_one_picture_is_the_brightness_and_three_are_told_by_their_order(rng):
    stack = rng.random((3, 8, 9))
    assert list(as_pictures(stack[0])) == ["brightness"]
    pictures = as_pictures(stack)
    assert list(pictures) == ["correlation", "brightness", "deviation"]
    np.testing.assert_array_equal(pictures["deviation"], stack[2])


def test_pictures_come_from_tiff_png_npy_and_npz(rng, tmp_path):
    tifffile = pytest.importorskip("tifffile")
    from PIL import Image

    picture = rng.integers(0, 255, (20, 30)).astype(np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", picture)
    Image.fromarray(picture).save(tmp_path / "a.png")
    np.save(tmp_path / "a.npy", picture)
    for name in ("a.tif", "a.png", "a.npy"):
        np.testing.assert_array_equal(read_pictures(tmp_path / name)["brightness"], picture)
    np.savez(tmp_path / "a.npz", corr=picture / 255, std=picture, mean=picture)
    assert set(read_pictures(tmp_path / "a.npz")) == {"correlation", "brightness", "deviation"}


def test_file_that_is_no_picture_is_refused(rng, tmp_path):
    from PIL import Image

    colours = rng.integers(0, 255, (20, 30, 3)).astype(np.uint8)
    Image.fromarray(colours).save(tmp_path / "a.png")
    with pytest.raises(CalzooError, match="expected a grey picture, got one in colours"):
        read_pictures(tmp_path / "a.png")
    with pytest.raises(CalzooError, match="there is no such file"):
        read_pictures(tmp_path / "b.png")
    (tmp_path / "c.tif").write_bytes(b"no picture")
    with pytest.raises(CalzooError, match="that cannot be read"):
        read_pictures(tmp_path / "c.tif")
    np.save(tmp_path / "d.npy", np.zeros((12, 20, 30)))
    with pytest.raises(CalzooError, match=r"d.npy: expected one picture .* got an array \(12, 20, 30\)"):
        read_pictures(tmp_path / "d.npy")
    np.savez(tmp_path / "e.npz", other=np.zeros((4, 4)))
    with pytest.raises(CalzooError, match="expected arrays such as corr, median, std or mean, got other"):
        read_pictures(tmp_path / "e.npz")
    with pytest.raises(
        CalzooError, match="expected pictures named correlation, brightness, deviation, got mean"
    ):
        as_pictures({"mean": np.zeros((4, 4))})


def test_colours_and_channels_are_no_stack_of_pictures(rng, tmp_path):
    picture = rng.random((20, 24)).astype("f4")
    three = np.stack([picture, 2 * picture, picture[::-1]])
    tifffile.imwrite(tmp_path / "c.tif", three, imagej=True, metadata={"axes": "CYX"})
    with pytest.raises(CalzooError, match="got 3 channels; save the one you mean"):
        read_pictures(tmp_path / "c.tif")
    levels = (255 * three / three.max()).astype("u1")
    tifffile.imwrite(tmp_path / "s.tif", levels, photometric="rgb", planarconfig="separate")
    tifffile.imwrite(tmp_path / "i.tif", np.moveaxis(levels, 0, -1), photometric="rgb")
    for name in ("s.tif", "i.tif"):
        with pytest.raises(CalzooError, match="expected a grey picture, got one in colours"):
            read_pictures(tmp_path / name)
    grey = np.stack([levels[0]] * 3, -1)
    tifffile.imwrite(tmp_path / "g.tif", grey, photometric="rgb")
    np.testing.assert_array_equal(read_pictures(tmp_path / "g.tif")["brightness"], levels[0])
    tifffile.imwrite(tmp_path / "z.tif", three, imagej=True, metadata={"axes": "ZYX"})
    assert list(read_pictures(tmp_path / "z.tif")) == ["correlation", "brightness", "deviation"]


def test_numbers_without_a_square_are_called_too_large(rng):
    movie = rng.random((60, 20, 20)).astype(np.float32)
    with pytest.raises(CalzooError, match=r"pixel values up to 1e\+17, whose squares .* got 1e\+30"):
        cell_summary.cell_pictures(movie * np.float32(1e30) + np.float32(1e24))
    assert np.isfinite(cell_summary.cell_pictures(movie * np.float32(1e16))["deviation"]).all()
