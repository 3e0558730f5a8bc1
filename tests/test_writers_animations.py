"""Films to look at: what is shown is what was given, frame by frame."""

import struct
import weakref

import numpy as np
import pytest
from PIL import Image

from calzoo.errors import CalzooError
from calzoo.imaging import animations
from calzoo.imaging.animations import write_animation
from calzoo.imaging.movies import open_movie


@pytest.fixture
def film():
    t, y, x = np.meshgrid(np.arange(12), np.arange(31), np.arange(45), indexing="ij")
    return (120 + 100 * np.sin(x / 9 + t / 3) * np.cos(y / 7)).astype("uint8")


def riff_frames(path):
    """Return the pictures of an AVI, found by walking its chunks, and what its headers say."""
    content = path.read_bytes()
    assert content[:4] == b"RIFF"
    assert content[8:12] == b"AVI "
    assert struct.unpack("<I", content[4:8])[0] == len(content) - 8
    main = struct.unpack("<14I", content[32:88])
    movi = content.index(b"movi")
    size = struct.unpack("<I", content[movi - 4 : movi])[0]
    at, pictures = movi + 4, []
    while at < movi + size:
        length = struct.unpack("<I", content[at + 4 : at + 8])[0]
        assert content[at : at + 4] == b"00dc"
        pictures.append(content[at + 8 : at + 8 + length])
        at += 8 + length + length % 2
    assert content[at : at + 4] == b"idx1"
    entries = np.frombuffer(content[at + 8 :], "<u4").reshape(-1, 4)
    for (_, _, offset, length), picture in zip(entries, pictures, strict=True):
        assert content[movi + offset + 8 : movi + offset + 8 + length] == picture
    return pictures, main


def test_an_avi_holds_every_frame_with_its_rate(tmp_path, film):
    assert write_animation(tmp_path / "a.avi", iter(film), frame_rate_hz=12.5) == 12
    pictures, main = riff_frames(tmp_path / "a.avi")
    assert (main[0], main[4], main[8], main[9]) == (80_000, 12, 45, 31)  # microseconds, frames, width, height
    assert main[7] == max(map(len, pictures))
    with open(tmp_path / "picture.jpg", "wb") as file:
        file.write(pictures[5])
    with Image.open(tmp_path / "picture.jpg") as image:
        assert np.abs(np.array(image.convert("L")).astype(int) - film[5]).max() <= 6


@pytest.mark.parametrize("name", ["a.avi", "a.gif"])
def test_ffmpeg_finds_the_same_film(tmp_path, film, name):
    pytest.importorskip("imageio_ffmpeg", reason="needs the extra [video]")
    write_animation(tmp_path / name, film, frame_rate_hz=12.5)
    with open_movie(tmp_path / name) as movie:
        assert movie.shape == film.shape
        assert movie.frame_rate_hz == 12.5
        assert np.abs(movie.frames(0, 12).astype(int) - film).max() <= 6


def test_a_grey_gif_is_exact(tmp_path, film):
    write_animation(tmp_path / "a.gif", film, frame_rate_hz=20)
    with Image.open(tmp_path / "a.gif") as image:
        assert image.n_frames == 12
        assert image.info["duration"] == 50
        assert image.info["loop"] == 0
        for i, frame in enumerate(film):
            image.seek(i)
            np.testing.assert_array_equal(np.array(image.convert("L")), frame)


@pytest.mark.parametrize(("rate", "milliseconds"), [(30, 30), (1000, 20), (0.5, 2000)])
def test_a_gif_counts_in_hundredths_of_a_second(tmp_path, film, rate, milliseconds):
    write_animation(tmp_path / "a.gif", film[:2], frame_rate_hz=rate)
    with Image.open(tmp_path / "a.gif") as image:
        assert image.info["duration"] == milliseconds


@pytest.mark.parametrize("name", ["a.avi", "a.gif"])
def test_colours_are_kept(tmp_path, film, name):
    colours = np.stack([film, film // 2, 255 - film], axis=-1)
    write_animation(tmp_path / name, colours)
    if name.endswith("avi"):
        (tmp_path / "p.jpg").write_bytes(riff_frames(tmp_path / name)[0][3])
        with Image.open(tmp_path / "p.jpg") as image:
            shown = np.array(image)
    else:
        with Image.open(tmp_path / name) as image:
            image.seek(3)
            shown = np.array(image.convert("RGB"))
    assert np.abs(shown.astype(int) - colours[3]).mean() < 5


@pytest.mark.parametrize(
    ("frames", "match"),
    [
        ([], "expected at least one frame, got none"),
        ([np.zeros((4, 4))], r"expected frames of uint8, .* got float64 \(4, 4\); scale them first"),
        ([np.zeros((4, 4, 2), "uint8")], r"got uint8 \(4, 4, 2\)"),
        (
            [np.zeros((4, 4), "uint8"), np.zeros((4, 5), "uint8")],
            r"frames of \(4, 4\) as in the first one, got \(4, 5\)",
        ),
        ([np.zeros((0, 4), "uint8")], "expected frames of some pixels"),
    ],
)
@pytest.mark.parametrize("name", ["a.avi", "a.gif"])
def test_what_is_no_film_is_not_written(tmp_path, name, frames, match):
    with pytest.raises(CalzooError, match=match):
        write_animation(tmp_path / name, frames)
    assert list(tmp_path.iterdir()) == []


def test_name_and_rate_are_checked(tmp_path, film):
    with pytest.raises(CalzooError, match=r"ends in \.avi or \.gif"):
        write_animation(tmp_path / "a.mp4", film)
    for rate in (0, 1e-9, 1e9, float("nan"), float("inf")):
        with pytest.raises(
            CalzooError, match=f"frame rate from 0.002 to 100000 Hz, got {rate!r}; choose".replace("+", ".")
        ):
            write_animation(tmp_path / "a.avi", film, frame_rate_hz=rate)
    for name in ("a.avi", "a.gif"):
        for rate in (0.002, 1e5):
            assert write_animation(tmp_path / name, film, frame_rate_hz=rate) == 12


def test_an_avi_that_grows_too_large_is_given_up(tmp_path, film, monkeypatch):
    monkeypatch.setattr(animations, "_AVI_LIMIT", 9000)
    with pytest.raises(CalzooError, match=r"at most 2 GB, which \d+ frames fill"):
        write_animation(tmp_path / "a.avi", film)
    assert list(tmp_path.iterdir()) == []


def test_an_interruption_leaves_nothing(tmp_path, film):
    def frames():
        yield film[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_animation(tmp_path / "a.gif", frames())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a.avi", "a.gif"])
def test_frames_are_let_go_of_as_they_are_written(tmp_path, name):
    given, most = [], []

    def frames():
        for i in range(40):
            frame = np.full((16, 16), i, "uint8")
            given.append(weakref.ref(frame))
            most.append(sum(reference() is not None for reference in given))
            yield frame

    write_animation(tmp_path / name, frames())
    assert max(most) <= 3
