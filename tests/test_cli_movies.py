"""Movies on the command line: how they are simulated, and how they are to be read."""

import json
import re

import numpy as np
import pytest
import tifffile
from PIL import Image

from calzoo import cli
from calzoo.commands import play
from calzoo.imaging import films
from calzoo.imaging.contours import display_range, to_grey
from calzoo.imaging.masks import read_masks
from calzoo.imaging.movies import open_movie
from calzoo.simulation.files import SIMULATORS

NAMES = {"movie.tif", "masks.npz", "centers.csv", "traces.csv", "spikes.csv"}


def simulate(task, folder, *options):
    return cli.main(["simulate", task, "-o", str(folder), "--shape", "4,48,64", *options])


@pytest.mark.parametrize("task", SIMULATORS)
def test_simulate_writes_a_movie_with_its_truth(tmp_path, capsys, task):
    assert simulate(task, tmp_path / "data", "--seed", "5") == 0
    assert capsys.readouterr() == (f"{tmp_path / 'data'}\n", "")
    more = {"flow.npy", "template.tif"} if task == "registration" else set()
    names = {path.name for path in (tmp_path / "data").iterdir()}
    assert names == {f"000_{name}" for name in NAMES | more} | {"run.json"}
    expected = SIMULATORS[task]((5, 0), (4, 48, 64))
    with open_movie(tmp_path / "data" / "000_movie.tif") as movie:
        np.testing.assert_array_equal(movie.frames(0, 4), expected.frames())
        assert movie.frame_rate_hz == pytest.approx(expected.frame_rate_hz, rel=1e-3)
    masks = read_masks(tmp_path / "data" / "000_masks.npz", "cells")
    np.testing.assert_array_equal(masks.labels(), expected.cells.masks.labels())
    for kind in ("traces", "spikes"):
        table = np.loadtxt(tmp_path / "data" / f"000_{kind}.csv", delimiter=",", skiprows=1, ndmin=2)
        np.testing.assert_allclose(table[:, 2:].T, getattr(expected.cells, kind), rtol=1e-5)
        np.testing.assert_allclose(table[:, 1], np.arange(4) / expected.frame_rate_hz, rtol=1e-5)
    centers = np.genfromtxt(tmp_path / "data" / "000_centers.csv", delimiter=",", names=True, ndmin=1)
    for name, values in (("y", expected.cells.centers[:, 0]), ("x", expected.cells.centers[:, 1])):
        np.testing.assert_allclose(centers[name], values, rtol=1e-5)
    np.testing.assert_allclose(centers["radius_px"], expected.cells.radii, rtol=1e-5)
    if task == "registration":
        np.testing.assert_array_equal(np.load(tmp_path / "data" / "000_flow.npy"), expected.flow())


def test_the_same_seed_gives_the_same_movies_and_each_is_another(tmp_path):
    for name in "ab":
        assert simulate("cells", tmp_path / name, "--seed", "7", "-n", "2", "--style", "cortex") == 0
    for path in sorted((tmp_path / "a").glob("*.tif")):
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()
    first, second = ((tmp_path / "a" / f"{name}_movie.tif").read_bytes() for name in ("000", "001"))
    assert first != second
    facts = json.loads((tmp_path / "a" / "run.json").read_text())
    assert (facts["command"], facts["seed"], facts["shape"]) == ("simulate cells", 7, [4, 48, 64])
    assert [movie["seed"] for movie in facts["movies"]] == [[7, 0], [7, 1]]
    assert facts["movies"][0]["style"]["frame_rate_hz"] > 0


@pytest.mark.parametrize("name", ["001_movie.tif", "000_volume.tif", "frames.tif"])
@pytest.mark.parametrize("task", ["cells", "axons", "stimulus"])
def test_no_recordings_are_mixed_with_those_of_another_seed(tmp_path, capsys, task, name):
    (tmp_path / name).touch()
    assert cli.main(["simulate", task, "-o", str(tmp_path)]) == 1
    assert f"expected a folder without recordings, got one with {name}" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("task", ["cells", "axons", "stimulus"])
def test_a_result_is_not_replaced_by_a_simulation(tmp_path, capsys, task):
    (tmp_path / "run.json").write_text("{}")
    assert cli.main(["simulate", task, "-o", str(tmp_path)]) == 1
    assert (
        "expected a folder without a result, got one with run.json; give another -o"
        in capsys.readouterr().err
    )
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]


def test_a_film_never_takes_the_place_of_what_it_shows(tmp_path, rng, capsys):
    movie, masks = tmp_path / "m.gif", tmp_path / "masks.png"
    tifffile.imwrite(tmp_path / "a.tif", rng.integers(0, 255, (6, 24, 32), dtype=np.uint8))
    assert cli.main(["play", str(tmp_path / "a.tif"), "-o", str(movie), "--zoom", "1"]) == 0
    masks.write_bytes(b"masks")
    before = movie.read_bytes()
    for target, more in ((movie, []), (masks, ["--masks", str(masks)])):
        assert cli.main(["play", str(movie), "-o", str(target), *more]) == 1
        assert "got an input, which is never replaced" in capsys.readouterr().err
    assert movie.read_bytes() == before
    assert masks.read_bytes() == b"masks"


def test_a_failed_simulation_leaves_nothing(tmp_path, capsys):
    assert simulate("cells", tmp_path / "data", "--style", "forest") == 1
    assert (
        "no kind of two-photon recording is called 'forest'; choose one of cortex" in capsys.readouterr().err
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("argv", "reason"),
    [
        (["simulate", "cells", "-o", "y", "--shape", "1,2"], r"expected whole numbers T,Y,X, .*got '1,2'"),
        (["simulate", "cells", "-o", "y", "--seed", "-1"], "a whole number from 0 on, got '-1'"),
        (["simulate", "movies", "-o", "y"], "invalid choice: 'movies'"),
        (["play", "x.tif", "-o", "y.gif", "--voxel", "1"], "expected sizes Y,X or Z,Y,X.*got '1'"),
        (["play", "x.bin", "-o", "y.gif", "--frame-shape", "9"], "expected whole numbers Y,X.*got '9'"),
        (["play", "x.tif", "-o", "y.gif", "--rate", "0"], "expected a number above 0, got '0'"),
        (["simulate", "stimulus", "-o", "y", "--session", "-1"], "a whole number from 0 on, got '-1'"),
        (["compare", "x", "y", "-o", "z", "--seed", "-1"], "a whole number from 0 on, got '-1'"),
    ],
)
def test_a_wrong_command_line_is_status_2(capsys, argv, reason):
    assert cli.main(argv) == 2
    assert re.search(reason, capsys.readouterr().err)


# What a file does not say, options say; the complaint names them.


@pytest.fixture
def played(tmp_path, monkeypatch, capsys):
    """Play a recording into a GIF; return the status, the complaint and the number of frames."""

    def play(path, *options):
        out = tmp_path / "out.gif"
        out.unlink(missing_ok=True)
        status = cli.main(["play", str(path), "-o", str(out), "--zoom", "1", *options])
        complaint = capsys.readouterr().err
        if not out.exists():
            return status, complaint, None

        with Image.open(out) as film:
            return status, complaint, (film.n_frames, *film.size[::-1])

    return play


def test_a_plane_and_a_channel_are_chosen(tmp_path, rng, played):

    pages = rng.integers(0, 255, (5, 3, 2, 24, 32), dtype=np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", pages, imagej=True, metadata={"axes": "TZCYX"})
    status, complaint, _ = played(tmp_path / "a.tif")
    assert status == 1
    assert "choose one with --channel (0 to 1)" in complaint
    status, complaint, _ = played(tmp_path / "a.tif", "--channel", "1")
    assert status == 1
    assert "choose one with --plane (0 to 2)" in complaint
    assert played(tmp_path / "a.tif", "--channel", "1", "--plane", "2")[::2] == (0, (5, 24, 32))
    chosen = pages[:, 2, 1]
    with Image.open(tmp_path / "out.gif") as film:
        film.seek(3)
        shown = np.asarray(film.convert("L"))
    np.testing.assert_array_equal(shown, to_grey(chosen[3], *display_range(chosen)))


def test_a_data_set_is_chosen(tmp_path, rng, played):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["raw"] = rng.integers(0, 255, (5, 24, 32), dtype=np.uint8)
        file["other"] = rng.integers(0, 255, (7, 20, 30), dtype=np.uint8)
    status, complaint, _ = played(tmp_path / "a.h5")
    assert status == 1
    assert re.search(r"got /other \(7, 20, 30\), /raw.*--dataset /group/name", complaint)
    assert played(tmp_path / "a.h5", "--dataset", "/other")[::2] == (0, (7, 20, 30))


def test_the_frame_size_of_bare_numbers_is_given(tmp_path, rng, played):
    rng.integers(0, 255, (5, 24, 32), dtype=np.int16).tofile(tmp_path / "data.bin")
    status, complaint, _ = played(tmp_path / "data.bin")
    assert status == 1
    assert "pass --frame-shape HEIGHT,WIDTH" in complaint
    assert played(tmp_path / "data.bin", "--frame-shape", "24,32")[::2] == (0, (5, 24, 32))


def test_axes_are_given(tmp_path, rng, played):
    np.save(tmp_path / "a.npy", rng.integers(0, 255, (5, 2, 24, 32), dtype=np.uint8))
    status, complaint, _ = played(tmp_path / "a.npy")
    assert status == 1
    assert "pass them, e.g. --axes" in complaint
    assert played(tmp_path / "a.npy", "--axes", "tcyx", "--channel", "0")[::2] == (0, (5, 24, 32))


@pytest.mark.parametrize(
    "option", [("--plane", "3"), ("--channel", "2"), ("--dataset", "foo"), ("--frame-shape", "3,3")]
)
def test_options_that_cannot_apply_are_refused(tmp_path, rng, played, option):
    np.save(tmp_path / "a.npy", rng.integers(0, 255, (5, 24, 32), dtype=np.uint8))
    status, complaint, _ = played(tmp_path / "a.npy", *option)
    assert status == 1
    assert re.search(f"no {option[0][2:]} |{option[0]} cannot apply .* leave {option[0]} away", complaint)


def test_masks_that_are_no_picture_are_refused(tmp_path, rng, played):
    np.save(tmp_path / "a.npy", rng.integers(0, 255, (5, 24, 32), dtype=np.uint8))
    (tmp_path / "bad.tif").write_bytes(b"no picture")
    status, complaint, _ = played(tmp_path / "a.npy", "--masks", str(tmp_path / "bad.tif"))
    assert status == 1
    assert "bad.tif: expected a label image as TIFF, got a file that cannot be read" in complaint


def test_the_frame_rate_is_given(tmp_path, rng):

    np.save(tmp_path / "a.npy", rng.integers(0, 255, (5, 24, 32), dtype=np.uint8))
    assert cli.main(["play", str(tmp_path / "a.npy"), "-o", str(tmp_path / "a.gif"), "--rate", "4"]) == 0
    with Image.open(tmp_path / "a.gif") as film:
        assert film.info["duration"] == 250  # milliseconds


@pytest.mark.parametrize("name", ["a.gif", "a.avi"])
def test_the_size_of_a_large_film_is_told_before(tmp_path, rng, monkeypatch, capsys, name):
    np.save(tmp_path / "a.npy", rng.integers(0, 255, (50, 90, 120), dtype=np.uint8))
    monkeypatch.setattr(play, "LARGE_BYTES", 4e5)
    command = ["play", str(tmp_path / "a.npy"), "-o", str(tmp_path / name), "--zoom", "1", "--overwrite"]
    assert cli.main(command) == 0
    size = (tmp_path / name).stat().st_size
    told = re.search(r"about (\S+) MB, 50 frames of 120 x 90 pixels; --average N", capsys.readouterr().err)
    assert float(told[1]) * 1e6 == pytest.approx(size, rel=0.1)
    assert cli.main([*command, "--frames", "0:10"]) == 0
    assert "MB" not in capsys.readouterr().err


# Bad input, and input that is only odd.


@pytest.mark.parametrize(
    "dtype", ["bool", "uint8", ">u2", "int16", "<i4", "uint64", ">f4", "float16", "float64"]
)
def test_every_number_is_shown(tmp_path, rng, played, dtype):
    np.save(tmp_path / "a.npy", (20 * rng.random((3, 12, 16)) - 9 * (dtype[-2] != "u")).astype(dtype))
    assert played(tmp_path / "a.npy")[::2] == (0, (3, 12, 16))


@pytest.mark.parametrize("shape", [(1, 24, 32), (4, 1, 1), (3, 5, 7)])
@pytest.mark.parametrize("value", [0, 7])
def test_a_constant_a_short_and_a_tiny_movie_are_shown(tmp_path, played, shape, value):
    np.save(tmp_path / "a.npy", np.full(shape, value, np.uint16))
    status, complaint, shown = played(tmp_path / "a.npy", "--axes", "tyx")
    assert (status, "Traceback" in complaint) == (0, False)
    assert shown[1:] == shape[1:]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "got an empty file"),
        (b"no movie at all", "an unknown kind of file"),
        (np.zeros((24, 32), np.uint8), "got one picture of 24 x 32 pixels"),
        (np.zeros((0, 24, 32), np.uint8), "got an empty array"),
        (np.full((3, 24, 32), np.nan), "got nan at frame 0"),
        (np.full((3, 24, 32), np.inf), "got inf at frame 0"),
        (np.zeros((3, 24, 32), complex), "expected grey values.*got complex128"),
    ],
)
@pytest.mark.parametrize("name", ["out.gif", "out.avi", "out.png"])
def test_what_is_no_movie_is_one_line_and_nothing_is_written(tmp_path, capsys, content, reason, name):
    path = tmp_path / "a.npy"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        np.save(path, content)
    assert cli.main(["play", str(path), "-o", str(tmp_path / name)]) == 1
    *_, line = capsys.readouterr().err.splitlines()  # a progress bar may come before
    assert re.fullmatch(rf"calzoo: .*a\.npy: .*{reason}.*", line)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["out.gif", "out.avi", "out.png"])
@pytest.mark.parametrize(
    ("error", "status"), [(OSError(28, "No space left on device"), 1), (KeyboardInterrupt(), 130)]
)
def test_a_full_disk_or_an_interruption_leaves_nothing(
    tmp_path, rng, monkeypatch, capsys, name, error, status
):

    def fail(*args, **kwargs):
        raise error

    np.save(tmp_path / "a.npy", rng.integers(0, 99, (4, 24, 32), np.uint8))
    monkeypatch.setattr(films, "to_grey", fail)
    monkeypatch.setattr(Image.Image, "save", fail)
    assert cli.main(["play", str(tmp_path / "a.npy"), "-o", str(tmp_path / name)]) == status
    assert ("No space left" if status == 1 else "interrupted") in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["a.npy"]


def test_a_film_replaces_nothing_unasked(tmp_path, rng, capsys):
    np.save(tmp_path / "a.npy", rng.integers(0, 99, (4, 24, 32), np.uint8))
    (tmp_path / "mine.gif").write_bytes(b"hello")
    command = ["play", str(tmp_path / "a.npy"), "-o", str(tmp_path / "mine.gif")]
    assert cli.main(command) == 1
    assert re.search(r"expected a name that is free.*--overwrite", capsys.readouterr().err)
    assert (tmp_path / "mine.gif").read_bytes() == b"hello"
    assert cli.main([*command, "--overwrite", "--frames=-2:"]) == 0
    with Image.open(tmp_path / "mine.gif") as film:
        assert film.n_frames == 2
