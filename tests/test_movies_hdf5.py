"""Movies in HDF5: plain data sets, MATLAB v7.3, NWB."""

import subprocess
import sys
import tracemalloc

import numpy as np
import pytest

from calzoo.errors import CalzooError
from calzoo.imaging.movies import open_movie

h5py = pytest.importorskip("h5py", reason="needs the extra [hdf5]")

SHAPE = (13, 24, 32)


@pytest.fixture
def movie(rng):
    return rng.integers(0, 30_000, SHAPE).astype("uint16")


def frames(path, **options):
    with open_movie(path, **options) as opened:
        return opened.frames(0, len(opened))


def refused(path, match, **options):
    with pytest.raises(CalzooError, match=match), open_movie(path, **options) as opened:
        opened.frames(0, len(opened))


def save(path, **data):
    with h5py.File(path, "w") as file:
        for name, values in data.items():
            file.create_dataset(name.replace("__", "/"), data=values)


@pytest.mark.parametrize(
    "layout", [{}, {"chunks": (2, 8, 32), "compression": "gzip"}, {"chunks": (13, 24, 1)}]
)
@pytest.mark.parametrize("dtype", ["uint8", ">u2", "int16", "float32", ">f8", "bool"])
def test_a_data_set_is_a_movie(tmp_path, movie, layout, dtype):
    data = movie > 9000 if dtype == "bool" else (movie // 300).astype(dtype)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("group/mov", data=data, **layout).attrs["fr"] = 8
        file["group/time"] = np.arange(13)
    with open_movie(tmp_path / "a.h5") as opened:
        assert opened.shape == SHAPE
        assert opened.frame_rate_hz == 8
        assert opened.dtype == ("uint8" if dtype == "bool" else data.dtype.newbyteorder("="))
        np.testing.assert_array_equal(opened.frames(0, 13), data)
        np.testing.assert_array_equal(opened.frames(4, 7), data[4:7])
        np.testing.assert_array_equal(opened.take([12, 0, 5, 6, 7, 3]), data[[12, 0, 5, 6, 7, 3]])
        assert opened.frames(3, 3).shape == (0, 24, 32)


@pytest.mark.parametrize(
    ("axes", "order", "options"),
    [
        ("YXT", (2, 3, 0, 1), {}),
        ("TXY", (0, 3, 2, 1), {}),
        ("TCYX", (0, 1, 2, 3), {"channel": 1}),
        ("CTYX", (1, 0, 2, 3), {"channel": 1}),
        ("TYXZ", (0, 2, 3, 1), {"plane": 1}),
    ],
)
def test_axes_in_any_order_are_put_right(tmp_path, rng, axes, order, options):
    data = rng.integers(0, 255, (5, 2, 6, 7)).astype("uint8")
    stored = data.transpose(order)
    if len(axes) == 3:
        stored = stored[tuple(slice(None) if axis != 1 else 1 for axis in order)]
    save(tmp_path / "a.h5", mov=stored)
    with open_movie(tmp_path / "a.h5", axes=axes, **options) as opened:
        np.testing.assert_array_equal(opened.frames(0, 5), data[:, 1])
        np.testing.assert_array_equal(opened.take([3, 4, 0]), data[[3, 4, 0], 1])


def test_which_data_set_is_asked_where_several_could_be_meant(tmp_path, movie):
    save(tmp_path / "a.h5", raw=movie, group__other=movie[:, ::-1], mask=movie[0])
    refused(tmp_path / "a.h5", r"expected one data set .* got /group/other \(13, 24, 32\), /raw")
    np.testing.assert_array_equal(frames(tmp_path / "a.h5", dataset="/raw"), movie)
    np.testing.assert_array_equal(frames(tmp_path / "a.h5", dataset="group/other"), movie[:, ::-1])
    for name in ("no", "group"):
        refused(
            tmp_path / "a.h5", f"no data set '{name}'; those that can be movies: /group/other", dataset=name
        )


def test_a_file_without_a_movie_says_so(tmp_path):
    save(tmp_path / "a.h5", time=np.arange(5.0))
    refused(tmp_path / "a.h5", "expected one data set of three or more axes, got none")


def test_four_axes_are_ambiguous_and_letters_must_match(tmp_path, rng):
    save(tmp_path / "a.h5", mov=rng.normal(size=(3, 2, 8, 9)))
    refused(tmp_path / "a.h5", r"\(3, 2, 8, 9\), and the file does not say what its axes mean.*--axes TZYX")
    refused(tmp_path / "a.h5", "axes 'TYX' name 3 axes", axes="TYX")


def write_matlab(path, movie):
    """Write (T, Y, X) as MATLAB stores an array that it shows as (Y, X, T)."""
    with h5py.File(path, "w", userblock_size=512) as file:
        file.create_dataset("mov", data=movie.transpose(0, 2, 1)).attrs["MATLAB_class"] = np.bytes_("uint16")
    with open(path, "r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM")


def test_matlab_shows_rows_columns_frames(tmp_path, movie):
    write_matlab(tmp_path / "a.mat", movie)
    np.testing.assert_array_equal(frames(tmp_path / "a.mat"), movie)


@pytest.fixture
def nwb(tmp_path, movie):
    """Return a function that writes an NWB file with the frames as the standard has them, (T, X, Y)."""

    def write(data=None, *, timestamps=False, dimension=None, kind="TwoPhotonSeries"):
        path = tmp_path / "a.nwb"
        with h5py.File(path, "w") as file:
            file.attrs["nwb_version"] = "2.6.0"
            plane = file.create_group("general/optophysiology/plane")
            spacing = plane.create_dataset("grid_spacing", data=[2e-6, 3e-6])
            spacing.attrs["unit"] = "meters"
            series = file.create_group("acquisition/movie")
            series.attrs["neurodata_type"] = kind
            series["data"] = movie.transpose(0, 2, 1) if data is None else data
            series["imaging_plane"] = h5py.SoftLink("/general/optophysiology/plane")
            if timestamps:
                series["timestamps"] = 5 + np.arange(13) / 8
            else:
                series.create_dataset("starting_time", data=0.0).attrs["rate"] = 8.0
            if dimension:
                series["dimension"] = dimension
            file["processing/other"] = np.zeros((3, 4, 5))
        return path

    return write


@pytest.mark.parametrize("kind", ["TwoPhotonSeries", "OnePhotonSeries", "ImageSeries"])
@pytest.mark.parametrize("timestamps", [False, True])
def test_nwb_tells_frames_rate_and_pixels(nwb, movie, kind, timestamps):
    with open_movie(nwb(kind=kind, timestamps=timestamps)) as opened:
        np.testing.assert_array_equal(opened.frames(0, 13), movie)
        assert opened.frame_rate_hz == 8
        assert opened.pixel_um == pytest.approx((3, 2))


def test_nwb_written_with_rows_first_is_recognised_by_its_own_size(nwb, movie):
    np.testing.assert_array_equal(frames(nwb(movie, dimension=[32, 24])), movie)
    np.testing.assert_array_equal(frames(nwb(dimension=[32, 24])), movie)
    np.testing.assert_array_equal(frames(nwb(movie), axes="TYX"), movie)


def test_nwb_planes_are_chosen(nwb, movie):
    path = nwb(np.stack([movie.transpose(0, 2, 1), movie.transpose(0, 2, 1)[::-1]], axis=-1))
    np.testing.assert_array_equal(frames(path, plane=1), movie[::-1])
    refused(path, "expected one plane over time, got 2")


def test_a_fourth_axis_of_length_1_changes_nothing(nwb, movie):
    path = nwb(movie.transpose(0, 2, 1)[..., None])
    np.testing.assert_array_equal(frames(path), movie)
    with open_movie(path) as opened:
        np.testing.assert_array_equal(opened.take([3, 7, 2]), movie[[3, 7, 2]])


def test_nwb_frames_in_files_of_their_own_are_named(nwb):
    path = nwb(np.zeros((0, 0, 0), "uint8"))
    with h5py.File(path, "r+") as file:
        file["acquisition/movie/external_file"] = [b"part1.avi", b"part2.avi"]
    refused(path, r"its frames lie in files of their own \(part1.avi, part2.avi\); open those")


def test_an_empty_data_set_is_no_movie(tmp_path):
    save(tmp_path / "a.h5", mov=np.zeros((0, 8, 8)))
    refused(tmp_path / "a.h5", "got an empty array")


@pytest.mark.parametrize("keep", [0.1, 0.5, 0.95])
def test_a_truncated_file_is_refused(tmp_path, movie, keep):
    save(tmp_path / "a.h5", mov=movie)
    content = (tmp_path / "a.h5").read_bytes()
    (tmp_path / "a.h5").write_bytes(content[: int(keep * len(content))])
    refused(tmp_path / "a.h5", "truncated|damaged")


def test_a_damaged_chunk_is_refused(tmp_path, movie):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("mov", data=movie, chunks=(1, 24, 32), compression="gzip")
        at = file["mov"].id.get_chunk_info(5).byte_offset
    with open(tmp_path / "a.h5", "r+b") as file:
        file.seek(at)
        file.write(bytes(64))
    with open_movie(tmp_path / "a.h5") as opened:
        np.testing.assert_array_equal(opened.frames(0, 5), movie[:5])
        with pytest.raises(CalzooError, match="data set /mov cannot be read"):
            opened.frames(5, 6)


def test_nan_is_refused_with_its_place(tmp_path, movie):
    data = movie.astype("float32")
    data[7, 4, 5] = np.nan
    save(tmp_path / "a.h5", mov=data)
    refused(tmp_path / "a.h5", "got nan at frame 7, row 4, column 5")


def test_ten_gigabytes_cost_no_memory(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("mov", (20_000, 512, 512), "uint16", chunks=(1, 512, 512))
    tracemalloc.start()
    with open_movie(tmp_path / "a.h5") as opened:
        for start in (0, 9_000, 19_984):
            assert opened.frames(start, start + 16).shape == (16, 512, 512)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * 16 * 512 * 512 * 2


def test_a_missing_package_is_named(tmp_path, movie):
    save(tmp_path / "a.h5", mov=movie)
    hidden = "import sys; sys.modules['h5py'] = None"
    opened = f"from calzoo.imaging.movies import open_movie\ntry: open_movie({str(tmp_path / 'a.h5')!r})"
    code = f"{hidden}\n{opened}\nexcept ValueError as error: print(error)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "need h5py, which is not installed: pip install calzoo[hdf5]" in result.stdout
