"""One movie in any kind of file is the same movie, and what is none is refused in words."""

import pickle
import sys
import tracemalloc
import zipfile

import numpy as np
import pytest
import tifffile
from PIL import Image

from calzoo.errors import CalzooError
from calzoo.imaging.movies import open_movie
from calzoo.imaging.writers import write_movie

SHAPE = (13, 24, 32)
OPTIONS = {"photometric": "minisblack", "metadata": None}


@pytest.fixture
def movie(rng):
    return rng.integers(0, 30_000, SHAPE).astype("int16").astype("uint16")


def frames(path, **options):
    with open_movie(path, **options) as opened:
        return opened.frames(0, len(opened))


def refused(path, match, **options):
    with pytest.raises(CalzooError, match=match), open_movie(path, **options) as opened:
        opened.frames(0, len(opened))


# Every kind of file gives the same frames.


def as_tiff(folder, movie):
    tifffile.imwrite(folder / "a.tif", movie, **OPTIONS)
    return folder / "a.tif"


def as_compressed_bigtiff(folder, movie):
    tifffile.imwrite(folder / "a.tif", movie, bigtiff=True, compression="zlib", **OPTIONS)
    return folder / "a.tif"


def as_fiji_movie(folder, movie):
    write_movie(folder / "a.tif", movie, frame_rate_hz=8, pixel_um=(1, 1))
    return folder / "a.tif"


def as_npy(folder, movie):
    np.save(folder / "a.npy", movie)
    return folder / "a.npy"


def as_suite2p(folder, movie):
    movie.astype("<i2").tofile(folder / "data.bin")
    np.save(folder / "ops.npy", {"nframes": len(movie), "Ly": 24, "Lx": 32, "fs": 8.0, "meanImg": movie[0]})
    return folder


def as_tiff_frames(folder, movie):
    for i, frame in enumerate(movie):
        tifffile.imwrite(folder / f"frame_{i}.tif", frame, byteorder=">")
    (folder / "notes.txt").touch()
    (folder / ".hidden.tif").touch()
    return folder


def as_png_frames(folder, movie):
    for i, frame in enumerate(movie):
        Image.fromarray(frame).save(folder / f"{i}.png")
    return folder


def as_zipped_frames(folder, movie):
    with zipfile.ZipFile(folder / "a.zip", "w") as archive:
        for i, frame in reversed(list(enumerate(movie))):
            path = folder / f"f{i}.{'tif' if len(movie) % 2 else 'png'}"
            tifffile.imwrite(path, frame)
            archive.write(path, f"session 1/{path.name}")
            path.unlink()
        archive.writestr("__MACOSX/._f0.tif", b"")
        archive.writestr("readme.txt", b"")
    return folder / "a.zip"


def as_folder_of_stacks(folder, movie):
    for i, block in enumerate(np.array_split(movie, [1, 5, 6])):
        tifffile.imwrite(folder / f"stack{i * 5}.tif", block, **OPTIONS)
    return folder


def as_list_of_stacks(folder, movie):
    return sorted(as_folder_of_stacks(folder, movie).iterdir(), key=lambda p: int(p.stem[5:]))


def as_list_of_one(folder, movie):
    return [as_tiff(folder, movie)]


KINDS = [
    as_tiff,
    as_compressed_bigtiff,
    as_fiji_movie,
    as_npy,
    as_suite2p,
    as_tiff_frames,
    as_png_frames,
    as_zipped_frames,
    as_folder_of_stacks,
    as_list_of_stacks,
    as_list_of_one,
]


@pytest.mark.parametrize("save", KINDS)
def test_the_same_movie_comes_out_of_every_kind_of_file(tmp_path, movie, save):
    with open_movie(save(tmp_path, movie)) as opened:
        assert opened.shape == SHAPE
        assert len(opened) == 13
        assert opened.dtype == opened.frames(0, 1).dtype
        assert opened.dtype.isnative
        np.testing.assert_array_equal(opened.frames(0, 13), movie)
        np.testing.assert_array_equal(opened.frames(4, 7), movie[4:7])
        np.testing.assert_array_equal(opened.frames(11, 99), movie[11:])
        assert opened.frames(5, 5).shape == (0, 24, 32)
        np.testing.assert_array_equal(opened.take([12, 0, 5, 5, -1]), movie[[12, 0, 5, 5, -1]])
        np.testing.assert_array_equal(opened[3], movie[3])
        np.testing.assert_array_equal(opened[1:12:4], movie[1:12:4])
        np.testing.assert_array_equal(np.concatenate(list(opened.chunks(5))), movie)
        assert [len(c) for c in opened.chunks()] == [13]
        opened.frames(0, 1)[:] = 0
        np.testing.assert_array_equal(opened[0], movie[0])
        with pytest.raises(IndexError, match="no frame 13: there are 13"):
            opened[13]


@pytest.mark.parametrize("path", [None, np.zeros((3, 8, 8)), 5, b"a.tif"])
def test_what_names_no_file_is_refused(path):
    with pytest.raises(CalzooError, match=f"a list of files, got {type(path).__name__}; what is an array"):
        open_movie(path)


@pytest.mark.parametrize("plane", [1.0, "1"])
def test_a_plane_has_a_whole_number(tmp_path, movie, plane):
    expected = f"npy: expected the number of a plane, counted from 0, got {plane!r}"
    refused(as_npy(tmp_path, movie), expected, plane=plane)


@pytest.mark.parametrize("shape", [(8,), (8, 0), 8, "88", (8.5, 2)])
def test_what_is_no_frame_shape_is_refused(tmp_path, shape):
    with pytest.raises(CalzooError, match="frame_shape: expected height and width in pixels, above 0, got"):
        open_movie(tmp_path / "data.bin", frame_shape=shape)


def test_numpy_takes_a_movie_for_its_array(tmp_path, movie, monkeypatch):
    np.save(tmp_path / "movie.npy", movie)
    with open_movie(tmp_path / "movie.npy") as opened:
        monkeypatch.setattr(type(opened), "take", None)  # not frame by frame
        np.testing.assert_array_equal(np.asarray(opened), movie)
        assert np.asarray(opened, np.float32).dtype == np.float32


def test_frames_are_taken_by_a_mask(tmp_path, movie):
    np.save(tmp_path / "a.npy", movie)
    with open_movie(tmp_path / "a.npy") as opened:
        late = np.arange(13) >= 10
        np.testing.assert_array_equal(opened[late], movie[10:])
        np.testing.assert_array_equal(opened.take(late.tolist()), movie[10:])
        np.testing.assert_array_equal(opened[np.array([3, -1])], movie[[3, -1]])
        assert opened[[]].shape == (0, 24, 32)


@pytest.mark.parametrize(
    ("index", "match"),
    [
        (1.7, r"whole numbers of frames, .* for each of the 13 frames, got float64"),
        ("1", "whole numbers of frames"),
        (True, r"got bool of shape \(1,\)"),
        (np.ones(12, bool), r"got bool of shape \(12,\)"),
        ([[1, 2]], r"got int64 of shape \(1, 2\)"),
        (np.s_[0, :, :], r"expected the number of a frame, a slice .* got \(0, slice.*movie\[0\]"),
        (..., "expected the number of a frame, a slice or a list of them, got Ellipsis"),
        (None, "expected the number of a frame, a slice or a list of them, got None"),
    ],
)
def test_what_counts_no_frames_is_refused(tmp_path, movie, index, match):
    np.save(tmp_path / "a.npy", movie)
    with open_movie(tmp_path / "a.npy") as opened, pytest.raises(IndexError, match=match):
        opened[index]


@pytest.mark.parametrize(
    "dtype", ["bool", "int8", "uint8", "int32", "float16", "float32", "float64", ">u2", ">f4"]
)
@pytest.mark.parametrize(
    "save", [as_tiff, as_compressed_bigtiff, as_npy, as_tiff_frames, as_folder_of_stacks]
)
def test_every_data_type_is_kept(tmp_path, movie, save, dtype):
    data = movie > 9000 if dtype == "bool" else (movie // 300).astype(dtype)
    result = frames(save(tmp_path, data))
    np.testing.assert_array_equal(result, data)
    assert result.dtype == ("uint8" if dtype == "bool" else data.dtype.newbyteorder("="))


def test_frames_come_in_natural_order(tmp_path):
    names = ["day2_9.tif", "day2_10.tif", "day10_1.tif", "day10_02.tif"]
    for i, name in enumerate(names):
        tifffile.imwrite(tmp_path / name, np.full((4, 4), i, "uint8"))
    assert frames(tmp_path)[:, 0, 0].tolist() == [0, 1, 2, 3]
    backwards = [tmp_path / n for n in names[::-1]]
    assert frames(backwards)[:, 0, 0].tolist() == [3, 2, 1, 0]  # a list is taken as it is


@pytest.mark.parametrize("save", [as_tiff_frames, as_zipped_frames, as_folder_of_stacks])
def test_the_users_axes_count_for_files_of_frames_too(tmp_path, movie, save):
    path = save(tmp_path, movie)
    np.testing.assert_array_equal(frames(path, axes="TYX"), movie)
    refused(path, "expected frames, got planes|expected planes", axes="ZYX")
    refused(path, "axes 'TCYX' name 4 axes", axes="TCYX")


# What the metadata say.


def write_imagej(path, data, axes, **metadata):
    tifffile.imwrite(
        path, data, imagej=True, resolution=(2, 4), metadata={"axes": axes, "unit": "um", **metadata}
    )


@pytest.mark.parametrize("metadata", [{"finterval": 0.125}, {"fps": 8.0}, {"finterval": 0.125, "fps": 30.0}])
def test_imagej_tells_rate_and_pixel_size(tmp_path, movie, metadata):
    write_imagej(tmp_path / "a.tif", movie, "TYX", **metadata)
    with open_movie(tmp_path / "a.tif") as opened:
        assert opened.frame_rate_hz == 8
        assert opened.pixel_um == (0.25, 0.5)
    with open_movie(tmp_path / "a.tif", frame_rate_hz=30, pixel_um=(1, 2)) as opened:
        assert opened.frame_rate_hz == 30
        assert opened.pixel_um == (1, 2)


def test_ome_tells_rate_and_channel(tmp_path, rng):
    data = rng.integers(0, 255, (6, 2, 24, 32)).astype("uint8")
    metadata = {
        "axes": "TCYX",
        "TimeIncrement": 125,
        "TimeIncrementUnit": "ms",
        "Channel": {"Name": ["red", "green"]},
    }
    tifffile.imwrite(tmp_path / "a.ome.tif", data, metadata=metadata, photometric="minisblack")
    with open_movie(tmp_path / "a.ome.tif", channel="green") as opened:
        assert opened.frame_rate_hz == 8
        assert opened.n_channels == 2
        np.testing.assert_array_equal(opened.frames(0, 6), data[:, 1])


def test_what_is_not_known_is_none(tmp_path, movie):
    with open_movie(as_npy(tmp_path, movie)) as opened:
        assert opened.frame_rate_hz is None
        assert opened.pixel_um is None
        assert (opened.n_channels, opened.n_planes, opened.channel_names) == (1, 1, ())


@pytest.mark.parametrize("value", [0, -1, "fast", np.nan, np.inf])
def test_a_frame_rate_is_above_zero(tmp_path, movie, value):
    refused(as_npy(tmp_path, movie), "frame rate: expected frames per second, above 0", frame_rate_hz=value)


def test_a_pixel_of_a_millimetre_is_doubted(tmp_path, movie):
    path = as_npy(tmp_path, movie)
    with pytest.warns(UserWarning, match=r"npy: a pixel is said to be 1000 um wide; is it micrometres\?"):
        open_movie(path, pixel_um=(1000, 1)).close()
    open_movie(path, pixel_um=(100, 1)).close()


@pytest.mark.parametrize("value", [(1,), (1, 0), "ab", 3])
def test_a_pixel_has_two_sides(tmp_path, movie, value):
    refused(as_npy(tmp_path, movie), "pixel size: expected two lengths", pixel_um=value)


def test_a_channel_that_is_called_by_a_number_is_not_guessed(tmp_path, rng):
    data = rng.integers(0, 255, (5, 3, 24, 32)).astype("uint8")
    names = {"Channel": {"Name": ["1", "2", "3"]}}
    tifffile.imwrite(tmp_path / "a.ome.tif", data, metadata={"axes": "TCYX", **names})
    reason = (
        r"channel '1' is the name of channel 0 and the number of '2'; count from the end.*\(-3 '1', -2 '2'"
    )
    refused(tmp_path / "a.ome.tif", reason, channel="1")
    for channel, index in ((1, 1), ("0", 0), ("3", 2), ("-2", 1)):
        np.testing.assert_array_equal(frames(tmp_path / "a.ome.tif", channel=channel), data[:, index])


def test_channel_and_plane_of_a_hyperstack_are_chosen(tmp_path, rng):
    data = rng.integers(0, 255, (4, 3, 2, 24, 32)).astype("uint8")
    write_imagej(tmp_path / "a.tif", data, "TZCYX")
    with open_movie(tmp_path / "a.tif", channel=1, plane=2) as opened:
        np.testing.assert_array_equal(opened.frames(0, 9), data[:, 2, 1])
        assert (opened.n_channels, opened.n_planes) == (2, 3)
    refused(tmp_path / "a.tif", r"2 channels.*--channel \(0 to 1\)", plane=0)
    refused(tmp_path / "a.tif", r"expected one plane over time, got 3.*--plane \(0 to 2\)", channel=0)
    refused(tmp_path / "a.tif", "no plane 3: there are 3", channel=0, plane=3)


def test_a_plain_imagej_stack_is_a_movie_with_a_warning(tmp_path, movie):
    tifffile.imwrite(tmp_path / "a.tif", movie, imagej=True, metadata={"axes": "ZYX"})
    with pytest.warns(UserWarning, match=r"ImageJ calls its 13 pages slices.*--axes TYX"):
        np.testing.assert_array_equal(frames(tmp_path / "a.tif"), movie)
    np.testing.assert_array_equal(frames(tmp_path / "a.tif", axes="TYX"), movie)


def test_a_plain_imagej_stack_with_a_rate_is_a_movie_even_with_a_distance_between_slices(tmp_path, movie):
    write_imagej(tmp_path / "a.tif", movie, "ZYX", spacing=1.5, finterval=0.125)
    with pytest.warns(UserWarning, match="taken as frames"):
        opened = open_movie(tmp_path / "a.tif")
    assert opened.shape == SHAPE
    assert opened.frame_rate_hz == 8


def test_planes_are_not_taken_for_frames_unless_the_user_says_so(tmp_path, movie):
    tifffile.imwrite(tmp_path / "a.tif", movie, photometric="minisblack", metadata={"axes": "ZYX"})
    write_imagej(tmp_path / "b.tif", movie, "ZYX", spacing=2.0)
    for name in ("a.tif", "b.tif"):
        refused(tmp_path / name, r"expected frames, got planes: .*13 planes.*--axes TYX")
        np.testing.assert_array_equal(frames(tmp_path / name, axes="TYX"), movie)


def test_four_axes_without_names_are_ambiguous(tmp_path, rng):
    data = rng.integers(0, 255, (6, 2, 24, 32)).astype("uint8")
    tifffile.imwrite(tmp_path / "a.tif", data, photometric="minisblack")
    refused(tmp_path / "a.tif", "which axis counts the frames.*--axes TCYX")
    np.testing.assert_array_equal(frames(tmp_path / "a.tif", axes="TCYX", channel=1), data[:, 1])


# ScanImage.


def write_scanimage(path, pages, settings, *, bigtiff=True):
    text = "\n".join(f"{name} = {value}" for name, value in settings.items())
    with tifffile.TiffWriter(path, bigtiff=bigtiff) as writer:
        for page in pages:
            writer.write(page, software=text, description="frameNumbers = 1", metadata=None)


SCANIMAGE = {
    "SI.hChannels.channelSave": "[1;2]",
    "SI.hChannels.channelName": "{'Green' 'Red'}",
    "SI.hRoiManager.scanFrameRate": "30.5",
    "SI.hRoiManager.scanVolumeRate": "7.5",
    "SI.hRoiManager.imagingFovUm": "[-48 -12;48 -12;48 12;-48 12]",
    "SI.hStackManager.enable": "false",
    "SI.hStackManager.stackZStepSize": "2.5",
    "SI.hFastZ.enable": "false",
    "SI.hScan2D.logAverageFactor": "1",
}


def test_scanimage_channels_rate_and_pixels(tmp_path, rng):
    pages = rng.integers(0, 255, (12, 24, 32)).astype("int16")
    write_scanimage(tmp_path / "a.tif", pages, SCANIMAGE)
    with open_movie(tmp_path / "a.tif", channel=1) as opened:
        np.testing.assert_array_equal(opened.frames(0, 9), pages[1::2])
        assert opened.frame_rate_hz == 30.5
        assert opened.pixel_um == (1, 3)
        assert opened.channel_names == ("Green", "Red")
    write_scanimage(tmp_path / "b.tif", pages, SCANIMAGE | {"SI.hScan2D.logAverageFactor": "5"})
    with open_movie(tmp_path / "b.tif", channel="Red") as opened:
        assert opened.frame_rate_hz == pytest.approx(6.1)
    refused(tmp_path / "a.tif", r"2 channels.*0 'Green', 1 'Red'")


def test_scanimage_fast_stack_is_planes_over_time_without_the_flyback(tmp_path, rng):
    settings = SCANIMAGE | {
        "SI.hChannels.channelSave": "2",
        "SI.hStackManager.enable": "true",
        "SI.hStackManager.numSlices": "3",
        "SI.hStackManager.framesPerSlice": "1",
        "SI.hStackManager.numFramesPerVolumeWithFlyback": "4",
        "SI.hFastZ.enable": "true",
    }
    pages = rng.integers(0, 255, (2 * 4 + 2, 24, 32)).astype("int16")  # two volumes and a half
    write_scanimage(tmp_path / "a.tif", pages, settings)
    with open_movie(tmp_path / "a.tif", plane=2) as opened:
        np.testing.assert_array_equal(opened.frames(0, 9), pages[[2, 6]])
        assert opened.frame_rate_hz == 7.5
        assert opened.n_planes == 3
    refused(tmp_path / "a.tif", r"got 3.*--plane \(0 to 2\)")


def test_scanimage_slow_stack_is_frames_at_each_plane(tmp_path, rng):
    settings = SCANIMAGE | {"SI.hStackManager.enable": "true", "SI.hStackManager.numSlices": "3"}
    pages = rng.integers(0, 255, (3 * 2 * 2, 24, 32)).astype("int16")
    write_scanimage(tmp_path / "a.tif", pages, settings)
    with open_movie(tmp_path / "a.tif", plane=1, channel=0) as opened:
        np.testing.assert_array_equal(opened.frames(0, 9), pages.reshape(3, 2, 2, 24, 32)[1, :, 0])


def stack_of(volumes, slices, repeats):
    """Pages whose value tells plane (hundreds) and frame of the plane, in the order of the microscope."""
    order = [(z, v * repeats + r) for v in range(volumes) for z in range(slices) for r in range(repeats)]
    return np.array([np.full((24, 32), 100 * z + t) for z, t in order], "int16")


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("repeats", [1, 2])
def test_scanimage_volumes_are_joined_with_the_frames_of_a_slice(tmp_path, fast, repeats):
    settings = SCANIMAGE | {
        "SI.hChannels.channelSave": "2",
        "SI.hStackManager.enable": "true",
        "SI.hStackManager.numSlices": "3",
        "SI.hStackManager.numVolumes": "4",
        "SI.hStackManager.framesPerSlice": f"{repeats}",
        "SI.hStackManager.numFramesPerVolumeWithFlyback": f"{3 * repeats}",
        "SI.hFastZ.enable": str(fast).lower(),
    }
    pages = stack_of(4, 3, repeats)
    write_scanimage(tmp_path / "a.tif", pages[:-1] if repeats == 2 else pages, settings)
    whole = (3 if repeats == 2 else 4) * repeats  # a volume that was not finished is left out
    for plane in range(3):
        with open_movie(tmp_path / "a.tif", plane=plane) as opened:
            assert opened.frames(0, 99)[:, 0, 0].tolist() == [100 * plane + t for t in range(whole)]
            assert opened.frame_rate_hz == (7.5 * repeats if fast else None)


def test_a_slow_scanimage_stack_that_was_stopped_early_is_not_guessed(tmp_path):
    settings = SCANIMAGE | {
        "SI.hChannels.channelSave": "2",
        "SI.hStackManager.enable": "true",
        "SI.hStackManager.numSlices": "3",
        "SI.hStackManager.framesPerSlice": "4",
    }
    pages = stack_of(1, 3, 4)[:9]
    write_scanimage(tmp_path / "a.tif", pages, settings)
    np.testing.assert_array_equal(frames(tmp_path / "a.tif"), pages)
    averaged = settings | {"SI.hScan2D.logAverageFactor": "2"}
    write_scanimage(tmp_path / "b.tif", stack_of(1, 3, 2), averaged)
    np.testing.assert_array_equal(frames(tmp_path / "b.tif", plane=1)[:, 0, 0], [100, 101])


@pytest.mark.parametrize("bigtiff", [False, True])
def test_all_pages_of_an_old_and_a_big_scanimage_file_are_read(tmp_path, rng, bigtiff):
    pages = rng.integers(0, 255, (5, 24, 32)).astype("int16")
    settings = SCANIMAGE | {"SI.hChannels.channelSave": "1"}
    write_scanimage(tmp_path / "a.tif", pages, settings, bigtiff=bigtiff)
    np.testing.assert_array_equal(frames(tmp_path / "a.tif"), pages)


@pytest.mark.parametrize(
    "description",
    [
        "scanimage.SI4.channelsSave = [1;2]\nscanimage.SI4.scanFrameRate = 15\n",
        "state.acq.numberOfChannelsSave=2\rstate.acq.frameRate=15\r",
    ],
)
def test_older_scanimage_writes_its_settings_in_the_description(tmp_path, rng, description):
    pages = rng.integers(0, 255, (6, 24, 32)).astype("int16")
    tifffile.imwrite(tmp_path / "a.tif", pages, description=description, **OPTIONS)
    with open_movie(tmp_path / "a.tif", channel=1) as opened:
        np.testing.assert_array_equal(opened.frames(0, 9), pages[1::2])
        assert opened.frame_rate_hz == 15


# Suite2p.


def test_suite2p_needs_a_size_from_ops_or_the_user(tmp_path, movie):
    as_suite2p(tmp_path, movie)
    with open_movie(tmp_path / "data.bin") as opened:
        assert opened.shape == SHAPE
        assert opened.frame_rate_hz == 8
    np.testing.assert_array_equal(frames(tmp_path / "ops.npy"), movie)
    (tmp_path / "ops.npy").unlink()
    refused(tmp_path, r"height and width .* ops\.npy .*--frame-shape HEIGHT,WIDTH")
    np.testing.assert_array_equal(frames(tmp_path, frame_shape=(24, 32)), movie)
    refused(tmp_path, "no whole number of int16 frames of 24 x 31", frame_shape=(24, 31))
    refused(tmp_path, "height and width in pixels, above 0, got .0, 31", frame_shape=(0, 31))


def test_the_pickle_beside_a_binary_is_read_without_being_run(tmp_path, movie):
    class Trap:
        def __reduce__(self):
            return exec, ("raise SystemExit('the pickle was run')",)

    movie.astype("<i2").tofile(tmp_path / "data.bin")
    with open(tmp_path / "ops.npy", "wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|O", "fortran_order": False, "shape": ()})
        pickle.dump({"Ly": 24, "trap": Trap(), "Lx": 32}, file)
    np.testing.assert_array_equal(frames(tmp_path), movie)


def test_a_foreign_ops_file_says_nothing(tmp_path, movie):
    movie.astype("<i2").tofile(tmp_path / "data.bin")
    (tmp_path / "ops.npy").write_bytes(b"\x93NUMPY nonsense\n\x80\x04}\x94(\x8c\x02Ly")
    refused(tmp_path, "--frame-shape HEIGHT,WIDTH")


# What is no movie.


def test_a_missing_file_is_named(tmp_path):
    refused(tmp_path / "no.tif", "expected a file, found none")
    refused([tmp_path / "no.tif"], "expected a file, found none")


def test_an_empty_file_folder_or_list_is_no_movie(tmp_path):
    (tmp_path / "a.tif").touch()
    refused(tmp_path / "a.tif", "got an empty file")
    refused(tmp_path, "got an empty file")
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", r"expected pictures .* in the folder, found none")
    refused([], "got an empty list")


def test_one_picture_is_no_movie(tmp_path, movie):
    tifffile.imwrite(tmp_path / "a.tif", movie[0])
    Image.fromarray(movie[0]).save(tmp_path / "a.png")
    np.save(tmp_path / "a.npy", movie[0])
    refused(tmp_path / "a.tif", "got one picture of 24 x 32 pixels")
    refused(tmp_path / "a.npy", "got one picture of 24 x 32 pixels")
    refused(tmp_path / "a.png", "got one PNG picture; give the folder")


def test_one_frame_is_a_movie_if_it_is_called_one(tmp_path, movie):
    tifffile.imwrite(tmp_path / "a.tif", movie[0])
    np.save(tmp_path / "a.npy", movie[:1])
    np.testing.assert_array_equal(frames(tmp_path / "a.tif", axes="TYX"), movie[:1])
    np.testing.assert_array_equal(frames(tmp_path / "a.npy"), movie[:1])


@pytest.mark.parametrize("shape", [(13, 1, 32), (13, 24, 1), (2, 1, 1)])
def test_a_side_of_one_is_a_side(tmp_path, movie, shape):
    data = movie[: shape[0], : shape[1], : shape[2]]
    np.testing.assert_array_equal(frames(as_npy(tmp_path, data)), data)
    np.testing.assert_array_equal(frames(as_tiff(tmp_path, data)), data)


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"hello, world" * 9, "got an unknown kind of file; save it as TIFF"),
        (b"MATLAB 5.0 MAT-file" + bytes(99), r"got an old MATLAB file; save it .*-v7\.3"),
        (b"%PDF-1.4" + bytes(99), "got PDF, whatever its name says"),
        (b"PK\x03\x04" + bytes(99), "got a damaged or truncated one"),
    ],
)
def test_a_foreign_file_is_recognised_whatever_its_name(tmp_path, content, match):
    (tmp_path / "a.tif").write_bytes(content)
    refused(tmp_path / "a.tif", match)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan_and_infinity_are_refused_with_their_place(tmp_path, movie, value):
    data = movie.astype("float32")
    data[7, 4, 5] = value
    for path in (as_tiff(tmp_path, data), as_npy(tmp_path, data)):
        with open_movie(path) as opened:
            assert opened.frames(0, 7).shape == (7, 24, 32)
            with pytest.raises(CalzooError, match="at frame 7, row 4, column 5"):
                opened.frames(5, 9)
            with pytest.raises(CalzooError, match="at frame 7, row 4, column 5"):
                opened.take([2, 9, 7])


@pytest.mark.parametrize("save", [as_tiff, as_compressed_bigtiff, as_fiji_movie, as_npy, as_zipped_frames])
@pytest.mark.parametrize("keep", [0.05, 0.5, 0.9])
def test_a_truncated_file_is_refused(tmp_path, movie, save, keep):
    path = save(tmp_path, movie)
    path.write_bytes(path.read_bytes()[: int(keep * path.stat().st_size)])
    refused(path, "truncated|damaged")


@pytest.mark.parametrize("save", [as_tiff_frames, as_png_frames, as_folder_of_stacks])
def test_a_truncated_file_among_many_is_refused(tmp_path, movie, save):
    save(tmp_path, movie)
    path = sorted(tmp_path.glob("*[0-9].*"))[2]
    path.write_bytes(path.read_bytes()[:-200])
    refused(tmp_path, rf"{path.name}.*(truncated|damaged)")


@pytest.mark.parametrize("save", [as_tiff_frames, as_png_frames, as_folder_of_stacks])
@pytest.mark.parametrize("change", [lambda a: a[..., :-1], lambda a: a.astype("uint8")])
def test_files_of_another_recording_are_refused(tmp_path, movie, save, change):
    (tmp_path / "a").mkdir()
    save(tmp_path / "a", movie)
    extra = np.ascontiguousarray(change(movie[:1]))
    name = "zzz.png" if save is as_png_frames else "zzz.tif"
    Image.fromarray(extra[0]).save(tmp_path / "a" / name)
    refused(tmp_path / "a", r"zzz.*expected .* as (in )?the first")


def test_files_of_two_kinds_are_refused(tmp_path, movie):
    as_png_frames(tmp_path, movie)
    as_tiff_frames(tmp_path, movie)
    refused(tmp_path, "got PNG and TIFF files; separate them")


def test_files_of_several_channels_are_not_mixed(tmp_path, movie):
    for channel in (1, 2):
        for i in range(3):
            tifffile.imwrite(tmp_path / f"T_Cycle1_Ch{channel}_{i:06}.ome.tif", movie[i] + channel)
    refused(tmp_path, r"names tell of channels 1, 2; put those of one into a folder")
    np.testing.assert_array_equal(frames(sorted(tmp_path.glob("*Ch2*"))), movie[:3] + 2)


def test_colour_frames_need_a_choice_unless_they_are_grey(tmp_path, rng):
    colours = rng.integers(0, 255, (3, 24, 32, 3)).astype("uint8")
    (tmp_path / "colour").mkdir()
    (tmp_path / "grey").mkdir()
    for i, frame in enumerate(colours):
        Image.fromarray(frame).save(tmp_path / "colour" / f"{i}.png")
        Image.fromarray(np.repeat(frame[..., :1], 3, axis=2)).save(tmp_path / "grey" / f"{i}.png")
    refused(tmp_path / "colour", "got an RGB picture.*--channel")
    np.testing.assert_array_equal(frames(tmp_path / "colour", channel=2), colours[..., 2])
    np.testing.assert_array_equal(frames(tmp_path / "grey"), colours[..., 0])


def test_rgb_tiff_frames_are_refused_unless_a_colour_is_chosen(tmp_path, rng):
    colours = rng.integers(0, 255, (3, 24, 32, 3)).astype("uint8")
    tifffile.imwrite(tmp_path / "a.tif", colours, photometric="rgb")
    refused(tmp_path / "a.tif", "got an RGB picture")
    np.testing.assert_array_equal(frames(tmp_path / "a.tif", channel=1), colours[..., 1])


def test_jpeg_frames_are_read(tmp_path):
    ramp = np.tile(np.linspace(0, 255, 64).astype("uint8"), (48, 1))
    for i in range(3):
        Image.fromarray(np.roll(ramp, i * 8, axis=0)).convert("RGB").save(tmp_path / f"{i}.jpg", quality=95)
    result = frames(tmp_path)
    assert result.shape == (3, 48, 64)
    assert np.abs(result - ramp.astype(int)).max() <= 3


def test_a_picture_that_claims_too_much_is_refused(tmp_path, movie):
    (tmp_path / "f").mkdir()
    as_png_frames(tmp_path / "f", movie[:2])
    path = tmp_path / "f" / "0.png"
    content = bytearray(path.read_bytes())
    content[16:24] = (100_000).to_bytes(4, "big") * 2
    path.write_bytes(content)
    refused(tmp_path / "f", r"0\.png.*damaged or truncated")


# What it costs.


@pytest.mark.skipif(sys.platform == "win32", reason="files are not sparse by default there")
@pytest.mark.parametrize("kind", ["bin", "npy", "tif"])
def test_a_sparse_movie_of_ten_gigabytes_takes_no_more_memory_than_a_short_one(tmp_path, kind):
    height, width = 512, 512
    peaks = []
    for count in (64, 10_000_000_000 // (2 * height * width)):
        path = tmp_path / f"{count}.{kind}"
        size = 2 * count * height * width
        start = sparse_header(path, (count, height, width))
        with open(path, "r+b") as file:
            file.truncate(start + size)
            file.seek(start + size - 2)
            file.write(b"\x07\x00")
        tracemalloc.start()
        options = {"frame_shape": (height, width)} if kind == "bin" else {}
        with open_movie(path, **options) as opened:
            assert opened.shape == (count, height, width)
            for at in range(0, count, max(count // 8 - 1, 16)):
                assert opened.frames(at, at + 16).shape[1:] == (height, width)
            assert opened[-1][-1, -1] == 7
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    # The longer one has more frame numbers, 8 bytes each, and nothing else.
    assert peaks[1] < 1.1 * peaks[0] + 1e6


def sparse_header(path, shape):
    """Write what stands before the pixels, and return its length in bytes."""
    if path.suffix == ".npy":
        with open(path, "wb") as file:
            np.lib.format.write_array_header_1_0(
                file, {"descr": "<u2", "fortran_order": False, "shape": shape}
            )
            return file.tell()
    if path.suffix == ".tif":
        # One directory for all frames, as ImageJ writes them.
        description = f"ImageJ=1.54\nimages={shape[0]}\nframes={shape[0]}\n"
        tifffile.imwrite(
            path, np.zeros(shape[1:], "uint16"), bigtiff=True, description=description, metadata=None
        )
        with tifffile.TiffFile(path) as tif:
            return tif.pages.first.dataoffsets[0]
    path.touch()
    return 0


def test_only_what_is_asked_for_is_read(tmp_path, movie, monkeypatch):
    path = as_compressed_bigtiff(tmp_path, movie)
    decoded = []
    original = tifffile.TiffPage.asarray
    monkeypatch.setattr(
        tifffile.TiffPage, "asarray", lambda s, **o: (decoded.append(s.index), original(s, **o))[1]
    )
    frame = tifffile.TiffFrame.asarray
    monkeypatch.setattr(
        tifffile.TiffFrame, "asarray", lambda s, **o: (decoded.append(s.index), frame(s, **o))[1]
    )
    with open_movie(path) as opened:
        opened.frames(4, 6)
        opened.take([9])
    assert sorted(set(decoded)) == [4, 5, 9]


@pytest.mark.data
def test_every_real_movie_opens(shared_data):
    shapes = {
        "fmi_2p_raw/frames_0180_0379_sqrt8.tif": (200, 256, 256),
        "kenyon_2p/cycle1_sqrt8.tif": (53, 260, 348),
        "kenyon_2p/cycle2_sqrt8.tif": (53, 260, 348),
        "calscipy_2p_raw/frames_0002_0026_sqrt8.tif": (25, 512, 512),
        "nf0000_movie/movie_avg4_sqrt8.tif": (150, 512, 512),
        "minian_1p/movie_bgremoved_bin2sum.tif": (320, 240, 376),
        "small/thunder_mouse_500x64x64.tif": (500, 64, 64),
        "small/sima_example_20x128x256.tif": (20, 128, 256),
        "small/inscopix_1p_63x123x108.tif": (63, 123, 108),
        "lin_1p/DG13_7-12-17_frames_jpg.zip": (605, 202, 201),
        "lin_1p/DG13_8-11-17_frames_jpg.zip": (643, 200, 194),
        "lin_1p/DG13_8-3-17_frames_jpg.zip": (756, 194, 195),
        "lin_1p/DG13_8-8-17_frames_jpg.zip": (629, 201, 202),
    }
    for name, shape in shapes.items():
        with open_movie(shared_data / name) as opened:
            assert opened.shape == shape
            assert opened.take([0, shape[0] // 2, -1]).std() > 0
