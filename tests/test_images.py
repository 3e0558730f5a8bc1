"""Volumes are read as they were written, and what cannot be a volume is refused in words."""

import re
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
import tifffile

from calzoo.errors import CalzooError
from calzoo.imaging.frames import as_movie
from calzoo.imaging.images import as_volume, open_volume
from calzoo.imaging.writers import VolumeWriter

SHAPE = (5, 24, 32)
DTYPES = [f"{kind}{bits}" for kind in ("uint", "int") for bits in (8, 16, 32, 64)]
DTYPES += ["float16", "float32", "float64"]


@pytest.fixture
def stack(rng):
    return rng.integers(0, 60_000, SHAPE).astype("uint16")


def read(path, **options):
    with open_volume(path, **options) as volume:
        return volume.read()


def refused(path, match, **options):
    with pytest.raises(CalzooError, match=match), open_volume(path, **options) as volume:
        volume.read()


# What is read is what was written.


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("dtype", [*DTYPES, "bool"])
def test_every_data_type_and_byte_order_of_a_tiff_is_read_exactly(
    tmp_path, stack, dtype, byteorder, compression
):
    data = stack > 30_000 if dtype == "bool" else stack.astype(dtype)
    tifffile.imwrite(
        tmp_path / "a.tif", data, byteorder=byteorder, compression=compression, photometric="minisblack"
    )
    result = read(tmp_path / "a.tif")
    np.testing.assert_array_equal(result, data)
    assert result.dtype == ("uint8" if dtype == "bool" else data.dtype)
    assert result.dtype.isnative


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", [*DTYPES, ">u2", ">f4", "bool"])
def test_every_data_type_of_an_npy_is_read_exactly(tmp_path, stack, dtype, order):
    data = np.asarray(stack.astype(dtype), order=order)
    np.save(tmp_path / "a.npy", data)
    with open_volume(tmp_path / "a.npy") as volume:
        np.testing.assert_array_equal(volume.read(), data)
        np.testing.assert_array_equal(volume.planes(1, 3), data[1:3])
        assert volume.dtype == ("uint8" if dtype == "bool" else data.dtype.newbyteorder("="))
        assert volume.planes(0, 1).dtype.isnative


@pytest.mark.parametrize("bigtiff", [False, True])
@pytest.mark.parametrize("tile", [None, (16, 16)])
@pytest.mark.parametrize("predictor", [False, True])
def test_tiles_predictors_and_bigtiff_are_read(tmp_path, stack, bigtiff, tile, predictor):
    compression = "zlib" if predictor else None
    tifffile.imwrite(
        tmp_path / "a.tif",
        stack,
        bigtiff=bigtiff,
        tile=tile,
        predictor=predictor,
        compression=compression,
        photometric="minisblack",
    )
    np.testing.assert_array_equal(read(tmp_path / "a.tif"), stack)


def test_planes_are_read_like_a_slice(tmp_path, stack):
    tifffile.imwrite(tmp_path / "a.tif", stack, photometric="minisblack")
    with open_volume(tmp_path / "a.tif") as volume:
        assert volume.shape == SHAPE
        assert volume.dtype == np.uint16
        np.testing.assert_array_equal(volume.planes(1, 4), stack[1:4])
        np.testing.assert_array_equal(volume.planes(3, 99), stack[3:])
        assert volume.planes(2, 2).shape == (0, 24, 32)


def test_numpy_takes_a_volume_for_its_array(tmp_path, stack):
    tifffile.imwrite(tmp_path / "stack.tif", stack, metadata={"axes": "ZYX"})
    with open_volume(tmp_path / "stack.tif") as volume:
        np.testing.assert_array_equal(np.asarray(volume), stack)
        assert np.asarray(volume, np.float32).dtype == np.float32
        assert np.mean(volume) == stack.mean()


def test_a_plane_belongs_to_the_caller(tmp_path, stack):
    tifffile.imwrite(tmp_path / "a.tif", stack, photometric="minisblack")
    with open_volume(tmp_path / "a.tif") as volume:
        volume.planes(0, 1)[:] = 0
        np.testing.assert_array_equal(volume.planes(0, 1), stack[:1])


@pytest.mark.parametrize("shape", [(1, 24, 32), (5, 1, 32), (5, 24, 1), (1, 1, 1)])
def test_a_side_of_one_is_a_side(tmp_path, stack, shape):
    data = stack[: shape[0], : shape[1], : shape[2]]
    np.save(tmp_path / "a.npy", data)
    tifffile.imwrite(tmp_path / "a.tif", data, metadata={"axes": "ZYX"}, photometric="minisblack")
    np.testing.assert_array_equal(read(tmp_path / "a.npy"), data)
    np.testing.assert_array_equal(read(tmp_path / "a.tif"), data)


def test_a_constant_volume_is_a_volume(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.full(SHAPE, 7, "uint8"), photometric="minisblack")
    assert (read(tmp_path / "a.tif") == 7).all()


def test_pages_written_one_by_one_are_planes(tmp_path, stack):
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        for plane in stack:
            writer.write(plane, metadata=None, photometric="minisblack")
    np.testing.assert_array_equal(read(tmp_path / "a.tif"), stack)


def test_an_array_and_a_volume_are_volumes(stack):
    volume = as_volume(stack, voxel_um=(2, 0.5, 0.5))
    assert volume.shape == SHAPE
    assert volume.voxel_um == (2.0, 0.5, 0.5)
    np.testing.assert_array_equal(volume.planes(1, 2), stack[1:2])
    assert as_volume(volume) is volume
    other = as_volume(volume, voxel_um=(1, 1, 1))
    assert (other.voxel_um, volume.voxel_um) == ((1.0, 1.0, 1.0), (2.0, 0.5, 0.5))
    np.testing.assert_array_equal(other.read(), stack)
    np.testing.assert_array_equal(as_volume(stack.transpose(2, 0, 1), axes="XZY").read(), stack)
    assert as_volume(stack.astype(">u2")).read().dtype.isnative


# Axes, channels and sizes come from the metadata, or from the user.


def write_imagej(path, data, axes, **options):
    metadata = {"axes": axes, "spacing": 2.5, "unit": "um", **options.pop("metadata", {})}
    tifffile.imwrite(path, data, imagej=True, resolution=(2, 4), metadata=metadata, **options)


@pytest.mark.parametrize("channel", [0, 1, -1])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_a_channel_of_an_imagej_hyperstack_is_chosen(tmp_path, rng, channel, compression):
    data = rng.integers(0, 255, (5, 2, 24, 32)).astype("uint8")
    write_imagej(tmp_path / "a.tif", data, "ZCYX", compression=compression)
    with open_volume(tmp_path / "a.tif", channel=channel) as volume:
        np.testing.assert_array_equal(volume.read(), data[:, channel])
        np.testing.assert_array_equal(volume.planes(2, 4), data[2:4, channel])
        assert volume.n_channels == 2
        assert volume.voxel_um == (2.5, 0.25, 0.5)


def test_several_channels_need_a_choice(tmp_path):
    write_imagej(tmp_path / "a.tif", np.zeros((5, 2, 24, 32), "uint8"), "ZCYX")
    refused(tmp_path / "a.tif", r"2 channels.*--channel \(0 to 1\)")
    refused(tmp_path / "a.tif", "no channel 2: there are 2, counted from 0", channel=2)
    refused(tmp_path / "a.tif", "no channel 'green'", channel="green")
    refused(tmp_path / "a.tif", "no channel 1.5: there are 2, counted from 0", channel=1.5)


def test_a_channel_is_chosen_by_the_name_in_the_ome_metadata(tmp_path, rng):
    data = rng.integers(0, 255, (2, 5, 24, 32)).astype("uint8")
    metadata = {
        "axes": "CZYX",
        "PhysicalSizeX": 400,
        "PhysicalSizeXUnit": "nm",
        "PhysicalSizeY": 0.5,
        "PhysicalSizeYUnit": "\u00b5m",
        "PhysicalSizeZ": 0.002,
        "PhysicalSizeZUnit": "mm",
        "Channel": {"Name": ["GFP", "tdTomato"]},
    }
    tifffile.imwrite(tmp_path / "a.ome.tif", data, metadata=metadata, photometric="minisblack")
    with open_volume(tmp_path / "a.ome.tif", channel="tdTomato") as volume:
        np.testing.assert_array_equal(volume.read(), data[1])
        assert volume.voxel_um == pytest.approx((2.0, 0.5, 0.4))
        assert volume.channel_names == ("GFP", "tdTomato")
    refused(tmp_path / "a.ome.tif", "0 'GFP', 1 'tdTomato'")


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("order", ["ZCYX", "CZYX"])
def test_ome_planes_come_in_the_order_of_the_metadata(tmp_path, rng, order, compression):
    data = rng.integers(0, 255, (5, 2, 24, 32) if order[0] == "Z" else (2, 5, 24, 32)).astype("uint8")
    tifffile.imwrite(
        tmp_path / "a.ome.tif",
        data,
        metadata={"axes": order},
        compression=compression,
        photometric="minisblack",
    )
    expected = data[:, 1] if order[0] == "Z" else data[1]
    np.testing.assert_array_equal(read(tmp_path / "a.ome.tif", channel=1), expected)


@pytest.mark.filterwarnings("ignore:.*a pixel is said to be")
@pytest.mark.parametrize(
    ("unit", "um"), [("micron", 1), ("\\u00B5m", 1), ("nm", 1e-3), ("mm", 1e3), ("cm", 1e4), ("inch", 25400)]
)
def test_imagej_units_become_micrometres(tmp_path, stack, unit, um):
    write_imagej(tmp_path / "a.tif", stack, "ZYX", metadata={"unit": unit})
    with open_volume(tmp_path / "a.tif") as volume:
        assert volume.voxel_um == pytest.approx((2.5 * um, 0.25 * um, 0.5 * um))


def test_pixels_are_no_unit_of_length(tmp_path, stack):
    write_imagej(tmp_path / "a.tif", stack, "ZYX", metadata={"unit": "pixel"})
    with open_volume(tmp_path / "a.tif") as volume:
        assert volume.voxel_um is None


def test_pixels_per_centimetre_count_and_dots_per_inch_do_not(tmp_path, stack):
    options = {"photometric": "minisblack", "metadata": None}
    tifffile.imwrite(tmp_path / "a.tif", stack, resolution=(20_000, 20_000), resolutionunit=3, **options)
    tifffile.imwrite(tmp_path / "b.tif", stack, resolution=(72, 72), resolutionunit=2, **options)
    with open_volume(tmp_path / "a.tif") as a, open_volume(tmp_path / "b.tif") as b:
        assert a.voxel_um == (None, 0.5, 0.5)
        assert b.voxel_um is None


def test_the_users_voxel_size_wins(tmp_path, stack):
    write_imagej(tmp_path / "a.tif", stack, "ZYX")
    with open_volume(tmp_path / "a.tif", voxel_um=(3, 1, 1)) as volume:
        assert volume.voxel_um == (3.0, 1.0, 1.0)
    refused(tmp_path / "a.tif", r"three lengths in micrometres .*got \(3, 1\)", voxel_um=(3, 1))
    refused(tmp_path / "a.tif", "all above 0", voxel_um=(0, 1, 1))


def test_time_points_are_not_taken_for_planes_unless_the_user_says_so(tmp_path, stack):
    write_imagej(tmp_path / "a.tif", stack, "TYX")
    refused(tmp_path / "a.tif", r"expected planes, got time points: .*5 time points.*--axes ZYX")
    np.testing.assert_array_equal(read(tmp_path / "a.tif", axes="ZYX"), stack)


def test_a_series_of_volumes_is_not_one_volume(tmp_path):
    write_imagej(tmp_path / "a.tif", np.zeros((3, 5, 24, 32), "uint8"), "TZYX")
    refused(tmp_path / "a.tif", "expected one volume, got several time points")


def test_four_axes_without_names_are_ambiguous(tmp_path, rng):
    data = rng.integers(0, 255, (5, 2, 24, 32)).astype("uint8")
    tifffile.imwrite(tmp_path / "a.tif", data, photometric="minisblack")
    np.save(tmp_path / "a.npy", data)
    for name in ("a.tif", "a.npy"):
        refused(tmp_path / name, "--axes.*ZCYX|CZYX")
        np.testing.assert_array_equal(read(tmp_path / name, axes="ZCYX", channel=1), data[:, 1])
        refused(tmp_path / name, "axes 'ZYX' name 3 axes", axes="ZYX")


@pytest.mark.parametrize("axes", ["ZYY", "ZY", "ZYXW", ""])
def test_axes_that_are_none_are_refused(tmp_path, stack, axes):
    np.save(tmp_path / "a.npy", stack)
    tifffile.imwrite(tmp_path / "a.tif", stack, photometric="minisblack")
    refused(tmp_path / "a.npy", "expected each axis once", axes=axes)
    refused(tmp_path / "a.tif", "expected each axis once", axes=axes)


def test_rows_and_columns_of_a_tiff_stay_where_they_are(tmp_path, stack):
    tifffile.imwrite(tmp_path / "a.tif", stack, photometric="minisblack")
    refused(tmp_path / "a.tif", "rows and columns elsewhere", axes="YXZ")
    np.save(tmp_path / "a.npy", stack.transpose(1, 2, 0))
    np.testing.assert_array_equal(read(tmp_path / "a.npy", axes="YXZ"), stack)


# What is no volume.


def test_a_missing_file_is_named(tmp_path):
    refused(tmp_path / "no.tif", "no.tif: expected a file, found none; check the name")


def test_a_folder_of_planes_is_a_volume(tmp_path, stack):
    for i, plane in enumerate(stack):
        tifffile.imwrite(tmp_path / f"z{8 + i}.tif", plane, compression="zlib")  # z8, z9, z10...
    (tmp_path / "notes.txt").touch()
    np.testing.assert_array_equal(read(tmp_path), stack)
    np.testing.assert_array_equal(read(tmp_path, axes="ZYX"), stack)
    refused(tmp_path, "expected planes, got time points", axes="TYX")


def test_any_other_folder_is_no_volume(tmp_path, stack):
    refused(tmp_path, r"expected pictures \(TIFF, PNG, JPEG\) or videos in the folder, found none")
    tifffile.imwrite(tmp_path / "a.tif", stack, photometric="minisblack")
    refused(tmp_path, r"expected a folder of single planes, got a stack in it \(a.tif\)")


def test_an_empty_file_is_no_volume(tmp_path):
    (tmp_path / "a.tif").touch()
    refused(tmp_path / "a.tif", "got an empty file")


def test_an_empty_array_is_no_volume(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((0, 8, 8)))
    refused(tmp_path / "a.npy", r"got an empty array of shape \(0, 8, 8\)")
    np.save(tmp_path / "a.npy", np.zeros((8, 0, 8)).transpose(2, 1, 0))
    refused(tmp_path / "a.npy", "got an empty array")


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"\x89PNG\r\n\x1a\n" + bytes(50), "PNG"),
        (b"\xff\xd8\xff\xe0" + bytes(50), "JPEG"),
        (b"hello, world" * 9, "an unknown kind of file"),
        (b"RIFF\0\0\0\0AVI " + bytes(50), "AVI"),
        (b"\x89HDF\r\n\x1a\n" + bytes(50), "HDF5"),
    ],
)
def test_a_foreign_file_is_recognised_whatever_its_name(tmp_path, head, kind):
    (tmp_path / "a.tif").write_bytes(head)
    refused(tmp_path / "a.tif", f"expected a volume as TIFF, NPY or OME-Zarr, got {kind}.*save it as TIFF")


@pytest.mark.parametrize("keep", [4, 12, 100, 0.4, 0.7, 0.99])
@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("form", ["plain", "shaped", "imagej", "ome"])
def test_a_truncated_tiff_is_never_read_as_something_else(tmp_path, stack, form, compression, keep):
    path = tmp_path / "a.tif"
    options = {"photometric": "minisblack", "compression": compression}
    if form == "plain":
        with tifffile.TiffWriter(path) as writer:
            for plane in stack:
                writer.write(plane, metadata=None, **options)
    else:
        tifffile.imwrite(
            path, stack, imagej=form == "imagej", ome=form == "ome", metadata={"axes": "ZYX"}, **options
        )
    np.testing.assert_array_equal(read(path), stack)
    content = path.read_bytes()
    path.write_bytes(content[: keep if isinstance(keep, int) else int(keep * len(content))])
    try:
        result = read(path)
    except CalzooError as error:
        assert re.search("truncated|damaged", str(error))  # noqa: PT017
    else:
        # The metadata of the first page promised this many, and no pixel is missing: only directories are.
        assert form != "plain"
        np.testing.assert_array_equal(result, stack)


@pytest.mark.parametrize("keep", [0.3, 0.7, 0.99])
def test_a_truncated_stack_of_ours_is_no_picture(tmp_path, keep):
    path = tmp_path / "a.tif"
    with VolumeWriter(path, (40, 64, 64), "uint16") as writer:
        writer.append(np.arange(40 * 64 * 64, dtype=np.uint16).reshape(40, 64, 64))
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content))])
    refused(path, "truncated")


@pytest.mark.parametrize("keep", [6, 9, 50, 128, 1000])
def test_a_truncated_npy_is_refused(tmp_path, stack, keep):
    for order in "CF":
        path = tmp_path / f"{order}.npy"
        np.save(path, np.asarray(stack, order=order))
        path.write_bytes(path.read_bytes()[:keep])
        refused(path, "truncated|damaged NPY header")


def test_pickled_objects_are_never_loaded(tmp_path):
    np.save(tmp_path / "a.npy", np.array([[{}]], dtype=object), allow_pickle=True)
    refused(tmp_path / "a.npy", "never loaded")


@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_rgb_is_refused_unless_a_colour_is_chosen(tmp_path, rng, planar, compression):
    data = rng.integers(0, 255, (5, 24, 32, 3) if planar == "contig" else (5, 3, 24, 32)).astype("uint8")
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, data, photometric="rgb", planarconfig=planar, compression=compression)
    refused(path, "expected one grey value per pixel, got an RGB picture.*--channel")
    green = data[..., 1] if planar == "contig" else data[:, 1]
    np.testing.assert_array_equal(read(path, channel=1), green)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["a.tif", "a.npy"])
def test_nan_and_infinity_are_refused_with_their_place(tmp_path, name, value):
    data = np.ones(SHAPE, "float32")
    data[3, 4, 5] = value
    np.save(tmp_path / "a.npy", data)
    tifffile.imwrite(tmp_path / "a.tif", data, photometric="minisblack")
    refused(tmp_path / name, rf"expected finite values, got {value} at plane 3, row 4, column 5; replace")
    with open_volume(tmp_path / name) as volume:
        assert volume.planes(0, 3).shape == (3, 24, 32)  # checked as it is read
        with pytest.raises(CalzooError, match="plane 3, row 4"):
            volume.planes(2, 5)


@pytest.mark.parametrize("sign", [1, -1])
def test_large_values_are_finite_but_their_squares_are_not(sign):
    data = np.full(SHAPE, sign * 1e17, "float32")
    np.testing.assert_array_equal(as_volume(data).read(), data)
    with pytest.raises(CalzooError, match=r"pixel values up to 1e\+17, .* got 1.01e\+17"):
        as_volume(data * np.float32(1.01)).read()


@pytest.mark.parametrize("path", [None, np.zeros((3, 8, 8)), ["a.tif"], b"a.tif"])
def test_what_names_no_file_is_refused(path):
    with pytest.raises(CalzooError, match=f"a file or folder, got {type(path).__name__}; what is an array"):
        open_volume(path)


def test_a_pixel_of_a_millimetre_is_doubted(stack):
    with pytest.warns(UserWarning, match="array: a pixel is said to be 1000 um wide"):
        as_volume(stack, voxel_um=(1, 1, 1000))
    as_volume(stack, voxel_um=(1000, 1, None))  # planes may be far apart


def test_a_picture_is_no_volume_unless_it_is_called_one(tmp_path, stack):
    tifffile.imwrite(tmp_path / "a.tif", stack[0])
    np.save(tmp_path / "a.npy", stack[0])
    for name in ("a.tif", "a.npy"):
        refused(tmp_path / name, "got one picture of 24 x 32 pixels")
    np.testing.assert_array_equal(read(tmp_path / "a.tif", axes="ZYX"), stack[:1])
    with pytest.raises(CalzooError, match=r"got one picture .*pass axes='ZYX' if"):
        as_volume(stack[0])
    with pytest.raises(CalzooError, match=r"pass them, e\.g\. axes='ZCYX'"):
        as_volume(stack[None])
    with pytest.raises(CalzooError, match=r"choose one with channel= \(0 to 1\)"):
        as_volume(np.stack([stack, stack]), axes="czyx")


def test_complex_numbers_are_no_grey_values(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros(SHAPE, "complex64"))
    tifffile.imwrite(tmp_path / "a.tif", np.zeros(SHAPE, "complex64"), photometric="minisblack")
    for name in ("a.tif", "a.npy"):
        refused(tmp_path / name, "expected grey values .*got complex64")


def test_pictures_of_several_sizes_are_no_volume(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        writer.write(np.zeros((24, 32), "uint8"), metadata=None)
        writer.write(np.zeros((16, 16), "uint8"), metadata=None)
    refused(tmp_path / "a.tif", r"expected one image, got 2 in one file \(shapes 24x32, 16x16\)")


def test_a_missing_decoder_is_named_with_its_remedy(tmp_path, stack):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, stack, compression="zlib", photometric="minisblack")
    with tifffile.TiffFile(path, mode="r+b") as tif:
        for page in tif.pages:
            page.tags["Compression"].overwrite(5)
    if "imagecodecs" in sys.modules:
        pytest.skip("imagecodecs is installed: nothing is missing")
    refused(path, "compressed with LZW.*pip install imagecodecs")


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("form", ["plain", "imagej"])
def test_a_header_that_claims_too_much_is_refused_before_memory_is_taken(tmp_path, form, compression):
    path = tmp_path / "a.tif"
    data = np.zeros((2, 16, 16), "uint8")
    metadata = None if form == "plain" else {"axes": "ZYX"}
    tifffile.imwrite(
        path,
        data,
        imagej=form == "imagej",
        metadata=metadata,
        compression=compression,
        photometric="minisblack",
    )
    with tifffile.TiffFile(path, mode="r+b") as tif:
        for page in tif.pages:
            page.tags["ImageWidth"].overwrite(60_000)
            page.tags["ImageLength"].overwrite(60_000)
    tracemalloc.start()
    try:
        refused(path, "truncated|damaged")
        assert tracemalloc.get_traced_memory()[1] < 20e6
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "description",
    ['{"shape": [100000, 16, 16]}', "ImageJ=1.11a\nimages=100000\nslices=100000\n"],
)
def test_metadata_that_promise_too_many_pages_are_refused(tmp_path, description):
    for compression in (None, "zlib"):
        path = tmp_path / "a.tif"
        data = np.zeros((16, 16), "uint8")
        tifffile.imwrite(path, data, metadata=None, description=description, compression=compression)
        refused(path, "truncated|damaged|one picture")


def test_an_npy_that_claims_too_much_is_refused(tmp_path):
    path = tmp_path / "a.npy"
    with open(path, "wb") as file:
        header = {"descr": "<f4", "fortran_order": False, "shape": (10**6, 10**6, 10**6)}
        np.lib.format.write_array_header_1_0(file, header)
        file.write(bytes(100))
    refused(path, "truncated: its header promises")


@pytest.mark.parametrize("form", ["plain", "zlib", "imagej", "ome", "npy"])
def test_damaged_bytes_anywhere_give_an_answer_in_words_or_an_image(tmp_path, rng, form):
    data = rng.integers(0, 255, (3, 16, 20)).astype("uint16")
    path = tmp_path / ("a.npy" if form == "npy" else "a.tif")
    if form == "npy":
        np.save(path, data)
    else:
        metadata = {"axes": "ZYX"} if form in ("imagej", "ome") else None
        compression = "zlib" if form == "zlib" else None
        options = {"photometric": "minisblack", "metadata": metadata, "compression": compression}
        tifffile.imwrite(path, data, imagej=form == "imagej", ome=form == "ome", **options)
    content = path.read_bytes()
    outcomes = set()
    for _ in range(60):
        damaged = bytearray(content)
        for at in rng.integers(0, min(len(damaged), 600), 3):
            damaged[at] = rng.choice([0, 1, 127, 255, rng.integers(0, 256)])
        path.write_bytes(damaged)
        try:
            outcomes.add(read(path).ndim)
        except CalzooError:
            outcomes.add("refused")
    assert outcomes == {3, "refused"}


# What it costs.


@pytest.mark.parametrize("form", ["contiguous", "compressed", "npy"])
def test_memory_does_not_grow_with_the_number_of_planes(tmp_path, form):
    peaks = []
    for planes in (64, 512):
        path = tmp_path / f"{planes}.{'npy' if form == 'npy' else 'tif'}"
        data = np.zeros((planes, 64, 64), "uint16")
        if form == "npy":
            np.save(path, data)
        else:
            compression = "zlib" if form == "compressed" else None
            tifffile.imwrite(path, data, compression=compression, photometric="minisblack", metadata=None)
        with open_volume(path) as volume:
            tracemalloc.start()
            for start in range(0, planes, 16):
                volume.planes(start, start + 16)
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0] + 100_000


def test_the_import_brings_neither_tifffile_nor_scipy():
    heavy = ("tifffile", "scipy", "PIL")
    code = f"import sys, calzoo.imaging.images; print(*(m for m in {heavy} if m in sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.split() == []


@pytest.mark.data
def test_the_real_volumes_are_read(shared_data):
    volumes = [
        "trailmap/val_volume_partial",
        "trailmap/train_volume",
        "dlmbmap/cube1000_volume",
        "tubenet-octa/volume",
    ]
    shapes = [(151, 160, 150), (101, 120, 120), (97, 150, 150), (64, 128, 128)]
    for name, shape in zip(volumes, shapes, strict=True):
        with open_volume(shared_data / f"{name}.tif") as volume:
            assert volume.shape == shape
            np.testing.assert_array_equal(volume.read(), tifffile.imread(shared_data / f"{name}.tif"))


def test_masked_voxels_are_refused():
    """What lies under the mask would be taken for a value."""
    stack = np.ma.masked_equal(np.arange(60).reshape(3, 4, 5), 7)
    with pytest.raises(CalzooError, match=r"a masked array with 1 masked values; fill them first, e\.g\."):
        as_volume(stack)
    with pytest.raises(CalzooError, match="masked array"):
        as_movie(stack)
    assert as_volume(np.ma.masked_less(stack.filled(0), -1)).shape == (3, 4, 5)
    assert as_movie(stack.filled(0)).shape == (3, 4, 5)
