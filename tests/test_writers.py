"""Written volumes open in Fiji with the right axes, voxel size and contrast, or are not written."""

import shutil

import numpy as np
import pytest
import tifffile

from calzoo.errors import CalzooError
from calzoo.imaging import writers
from calzoo.imaging.images import open_volume
from calzoo.imaging.movies import open_movie
from calzoo.imaging.writers import VolumeWriter, write_movie, write_volume

SHAPE = (5, 24, 32)


@pytest.fixture
def stack(rng):
    return rng.integers(0, 60_000, SHAPE).astype("uint16")


def write_blocks(path, shape, dtype, blocks):
    with VolumeWriter(path, shape, dtype) as writer:
        for block in blocks:
            writer.append(block)


def imagej_lines(path):
    with tifffile.TiffFile(path) as tif:
        return tif.pages.first.tags["ImageDescription"].value.splitlines()


@pytest.mark.parametrize("dtype", ["bool", "uint8", "uint16", "int16", "int32", "float32", ">u2"])
def test_what_is_written_is_read(tmp_path, stack, dtype):
    data = stack > 30_000 if dtype == "bool" else (stack // 300).astype(dtype)
    write_volume(tmp_path / "a.tif", data, voxel_um=(2, 0.65, 0.5))
    with open_volume(tmp_path / "a.tif") as volume:
        np.testing.assert_array_equal(volume.read(), data)
        assert volume.dtype == ("uint8" if dtype == "bool" else data.dtype.newbyteorder("="))
        assert volume.voxel_um == pytest.approx((2, 0.65, 0.5), rel=1e-9)
    assert [p.name for p in tmp_path.iterdir()] == ["a.tif"]


def test_imagej_keeps_signed_numbers_shifted_and_so_is_their_contrast(tmp_path, stack):
    data = (stack // 100).astype("int16") - 50
    write_volume(tmp_path / "a.tif", data)
    contrast = {f"min={data.min() + 32768.0}", f"max={data.max() + 32768.0}"}
    assert contrast <= set(imagej_lines(tmp_path / "a.tif"))


def test_one_plane_stays_a_volume(tmp_path, stack):
    write_volume(tmp_path / "a.tif", stack[:1])
    with open_volume(tmp_path / "a.tif") as volume:
        np.testing.assert_array_equal(volume.read(), stack[:1])
        assert volume.voxel_um is None


def test_imagej_finds_axes_voxel_size_and_contrast(tmp_path):
    labels = np.zeros(SHAPE, "int32")
    labels[2] = 70_000
    write_volume(tmp_path / "a.tif", labels, voxel_um=(2, 0.5, 0.25))
    lines = imagej_lines(tmp_path / "a.tif")
    assert lines[:4] == ["ImageJ=1.11a", "images=5", "slices=5", "hyperstack=true"]
    assert {"unit=um", "spacing=2.0", "min=0.0", "max=70000.0"} <= set(lines)
    with tifffile.TiffFile(tmp_path / "a.tif") as tif:
        page = tif.pages.first
        assert page.tags["XResolution"].value == (4, 1)  # pixels per unit
        assert page.tags["YResolution"].value == (2, 1)
        # ImageJ reads the first directory only and takes the rest of the planes as one run of bytes,
        # unless there is an orientation.
        assert "Orientation" not in page.tags
        assert page.compression == 1
        offset = page.dataoffsets[0]
        assert len(tif.pages) == 5
    raw = np.fromfile(tmp_path / "a.tif", "<i4", count=labels.size, offset=offset).reshape(SHAPE)
    np.testing.assert_array_equal(raw, labels)


@pytest.mark.parametrize("voxel", [(2.0, None, None), (None, None, 0.5), (2.0, 0.5, None)])
def test_a_pixel_size_that_is_not_known_is_not_made_up(tmp_path, voxel):
    """Where a unit is given, ImageJ takes pixels without a size for 1 um wide."""
    write_volume(tmp_path / "a.tif", np.zeros(SHAPE, "uint8"), voxel_um=voxel)
    assert not [line for line in imagej_lines(tmp_path / "a.tif") if line.startswith(("unit", "spacing"))]
    assert open_volume(tmp_path / "a.tif").voxel_um is None


@pytest.mark.parametrize(
    ("axes", "shape", "lines"),
    [
        ("tyx", (3, 8, 9), {"images=3", "frames=3"}),
        ("zcyx", (3, 2, 8, 9), {"images=6", "slices=3", "channels=2"}),
        ("tzcyx", (4, 3, 2, 8, 9), {"images=24", "frames=4", "slices=3", "channels=2"}),
    ],
)
@pytest.mark.parametrize("limit", [2**32, 0])
def test_axes_are_named_in_imagej_and_in_ome(tmp_path, monkeypatch, rng, axes, shape, lines, limit):
    monkeypatch.setattr(writers, "_CLASSIC_LIMIT", limit)
    data = rng.integers(0, 255, shape).astype("uint8")
    write_volume(tmp_path / "a.tif", data, axes=axes)
    with tifffile.TiffFile(tmp_path / "a.tif") as tif:
        assert tif.is_bigtiff == tif.is_ome == (limit == 0)
        assert tif.series[0].axes == axes.upper()
        np.testing.assert_array_equal(tif.series[0].asarray(), data)
    if limit:
        assert lines <= set(imagej_lines(tmp_path / "a.tif"))


def test_above_four_gigabytes_the_file_is_an_ome_bigtiff(tmp_path, monkeypatch, stack):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(2**40, 0, 2**40))
    for planes, magic in ((1000, b"\x2a\0"), (4100, b"\x2b\0")):
        writer = VolumeWriter(tmp_path / "a.tif", (planes, 1024, 1024), "uint8")
        writer.abort()
        assert writer._big == (magic == b"\x2b\0")
    monkeypatch.setattr(writers, "_CLASSIC_LIMIT", 0)
    write_volume(tmp_path / "a.tif", stack, voxel_um=(2, 0.65, 0.5))
    assert (tmp_path / "a.tif").read_bytes()[2:4] == b"\x2b\0"
    with tifffile.TiffFile(tmp_path / "a.tif") as tif:
        for text in ('SizeZ="5"', 'PhysicalSizeZ="2.0"', 'PhysicalSizeY="0.65"', 'PhysicalSizeX="0.5"'):
            assert text in tif.ome_metadata
    with open_volume(tmp_path / "a.tif") as volume:
        assert volume.voxel_um == (2.0, 0.65, 0.5)
        np.testing.assert_array_equal(volume.read(), stack)


def test_planes_come_in_any_portions(tmp_path, stack):
    write_volume(tmp_path / "a.tif", stack, voxel_um=(2, 1, 1))
    with VolumeWriter(tmp_path / "b.tif", SHAPE, "uint16", (2, 1, 1)) as writer:
        for start, stop in ((0, 2), (2, 2), (2, 5)):
            writer.append(stack[start:stop])
        assert not (tmp_path / "b.tif").exists()
    assert (tmp_path / "b.tif").read_bytes() == (tmp_path / "a.tif").read_bytes()


def test_wider_numbers_are_written_if_they_fit(tmp_path):
    data = np.arange(60).reshape(1, 6, 10)
    with VolumeWriter(tmp_path / "a.tif", data.shape, "uint8") as writer:
        writer.append(data)
    with open_volume(tmp_path / "a.tif") as volume:
        np.testing.assert_array_equal(volume.read(), data)
    for bad in (data + 250, data - 1, data + 0.5):
        with pytest.raises(CalzooError, match="do not fit into uint8"):
            write_blocks(tmp_path / "b.tif", data.shape, "uint8", [bad])
    assert [p.name for p in tmp_path.iterdir()] == ["a.tif"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_nothing_is_left_when_the_work_is_interrupted(tmp_path, stack, error):
    write_volume(tmp_path / "a.tif", stack)
    before = (tmp_path / "a.tif").read_bytes()

    def blocks():
        yield stack[:2]
        raise error

    with pytest.raises(error):
        write_blocks(tmp_path / "a.tif", SHAPE, "uint16", blocks())
    assert (tmp_path / "a.tif").read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.tif"]


@pytest.mark.parametrize(
    ("blocks", "match"),
    [
        ([(2, 24, 32)], "expected 5 planes, got 2; nothing was written"),
        ([(5, 24, 32), (1, 24, 32)], r"expected at most 0 more of shape \(24, 32\)"),
        ([(5, 24, 31)], r"got an array of shape \(5, 24, 31\)"),
        ([(24, 32)], r"got an array of shape \(24, 32\)"),
    ],
)
def test_more_fewer_or_other_planes_than_announced_are_refused(tmp_path, blocks, match):
    with pytest.raises(CalzooError, match=match):
        write_blocks(tmp_path / "a.tif", SHAPE, "uint8", (np.zeros(block, "uint8") for block in blocks))
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_fills_up_leaves_nothing(tmp_path):
    resource = pytest.importorskip("resource", reason="limits of file size are a thing of POSIX systems")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(CalzooError, match=r"a\.tif: cannot be written .*check the free space"):
            write_volume(tmp_path / "a.tif", np.zeros((64, 64, 64), "uint8"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_is_too_small_is_told_before_the_work(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(2**30, 2**30, 1000))
    with pytest.raises(CalzooError, match=r"needs 100\.\d MB, the disk has 0\.0 MB free"):
        write_volume(tmp_path / "a.tif", np.zeros((100, 1000, 1000), "uint8"))


@pytest.mark.parametrize("dtype", ["float64", "int64", "uint32", "complex64", "int8", "float16"])
def test_types_that_fiji_cannot_open_are_refused(tmp_path, dtype):
    with pytest.raises(CalzooError, match=f"Fiji cannot open {dtype} as TIFF; convert"):
        write_volume(tmp_path / "a.tif", np.zeros(SHAPE, dtype))


@pytest.mark.parametrize(
    ("axes", "shape"), [("xyz", SHAPE), ("yx", SHAPE[1:]), ("zyx", (5, 2, 8, 8)), ("czyx", (2, 5, 8, 8))]
)
def test_axes_out_of_order_are_refused(tmp_path, axes, shape):
    with pytest.raises(CalzooError, match=f"in that order.*got '{axes}'; transpose"):
        write_volume(tmp_path / "a.tif", np.zeros(shape, "uint8"), axes=axes)


def test_an_empty_volume_is_not_written(tmp_path):
    with pytest.raises(CalzooError, match="got an empty array"):
        write_volume(tmp_path / "a.tif", np.zeros((0, 8, 8), "uint8"))


def test_a_volume_needs_a_name_in_a_folder_that_is_there(tmp_path):
    with pytest.raises(CalzooError, match="there is no folder"):
        write_volume(tmp_path / "no" / "a.tif", np.zeros(SHAPE, "uint8"))
    with pytest.raises(CalzooError, match="got a folder"):
        write_volume(tmp_path, np.zeros(SHAPE, "uint8"))


def test_a_movie_keeps_its_rate_and_pixels(tmp_path, stack):
    write_movie(tmp_path / "a.tif", stack, frame_rate_hz=7.5, pixel_um=(0.5, 0.25))
    assert {"frames=5", "fps=7.5", "unit=um"} <= set(imagej_lines(tmp_path / "a.tif"))
    with open_movie(tmp_path / "a.tif") as movie:
        assert movie.frame_rate_hz == 7.5
        assert movie.pixel_um == (0.5, 0.25)
        write_movie(tmp_path / "b.tif", movie)
    assert (tmp_path / "b.tif").read_bytes() == (tmp_path / "a.tif").read_bytes()
    write_movie(tmp_path / "c.tif", stack)
    with open_movie(tmp_path / "c.tif") as movie:
        np.testing.assert_array_equal(movie.frames(0, 5), stack)
        assert (movie.frame_rate_hz, movie.pixel_um) == (None, None)


@pytest.mark.parametrize("name", ["a.npy", "a.h5", "a.png", "a", "a.tif.gz"])
def test_a_movie_is_written_under_the_name_of_a_tiff_only(tmp_path, stack, name):
    with pytest.raises(CalzooError, match=rf"a TIFF file for the result \(OUT.tif\), got .*{name}"):
        write_movie(tmp_path / name, stack)
    with pytest.raises(CalzooError, match=r"a TIFF file for the result \(OUT.tif\), got int"):
        write_movie(3, stack)
    assert list(tmp_path.iterdir()) == []


def test_a_movie_is_replaced_only_where_that_is_asked_for_and_never_by_itself(tmp_path, stack):
    path = tmp_path / "a.TIF"
    write_movie(path, stack)
    with pytest.raises(CalzooError, match=r"a name that is free, .*\(overwrite=True\)"):
        write_movie(path, stack[:2])
    with open_movie(path) as movie:
        np.testing.assert_array_equal(movie.frames(0, 5), stack)
        with pytest.raises(CalzooError, match="got an input, which is never replaced"):
            write_movie(path, movie, overwrite=True)
    write_movie(path, stack[:2], overwrite=True)
    with open_movie(path) as movie:
        np.testing.assert_array_equal(movie.frames(0, 2), stack[:2])


def test_rates_of_numpy_are_written_as_numbers(tmp_path, stack):
    class Rate(float):  # as NumPy 2 shows its numbers
        def __repr__(self):
            return f"np.float64({float(self)})"

    write_movie(tmp_path / "a.tif", stack, frame_rate_hz=Rate(7.5), pixel_um=(Rate(0.5), Rate(0.25)))
    assert {"frames=5", "fps=7.5", f"finterval={1 / 7.5}"} <= set(imagej_lines(tmp_path / "a.tif"))
    with open_movie(tmp_path / "a.tif") as movie:
        assert (movie.frame_rate_hz, movie.pixel_um) == (7.5, (0.5, 0.25))


def test_a_large_movie_keeps_its_rate_and_pixels(tmp_path, stack, monkeypatch):
    monkeypatch.setattr(writers, "_CLASSIC_LIMIT", 0)
    write_movie(tmp_path / "a.tif", stack, frame_rate_hz=8, pixel_um=(0.5, 0.25))
    with open_movie(tmp_path / "a.tif") as movie:
        np.testing.assert_array_equal(movie.frames(0, 5), stack)
        assert movie.frame_rate_hz == 8
        assert movie.pixel_um == (0.5, 0.25)
