"""Videos are decoded frame by frame, each frame once and in its place."""

import subprocess
import sys
import tracemalloc

import numpy as np
import pytest

from calzoo.errors import CalzooError
from calzoo.imaging.movies import open_movie

ffmpeg = pytest.importorskip("imageio_ffmpeg", reason="needs the extra [video]")

SHAPE = (30, 48, 64)
# Container and codec, pixel format in the file, largest error of a smooth picture.
CODECS = {
    "ffv1.avi": (("-c:v", "ffv1"), 0),
    "ffv1.mkv": (("-c:v", "ffv1"), 0),
    "raw_grey.avi": (("-c:v", "rawvideo", "-pix_fmt", "gray"), 0),
    "raw_rgb.avi": (("-c:v", "rawvideo", "-pix_fmt", "bgr24"), 0),
    "jpeg.avi": (("-c:v", "mjpeg", "-q:v", "2", "-pix_fmt", "yuvj420p"), 8),
    "h264.mp4": (("-c:v", "libx264", "-crf", "4", "-pix_fmt", "yuv420p", "-g", "7", "-bf", "3"), 12),
}


@pytest.fixture
def movie():
    """Return smooth frames, each with its own number of bright columns."""
    t, y, x = np.meshgrid(*(np.arange(n) for n in SHAPE), indexing="ij")
    return (100 + 60 * np.sin(y / 9 + t / 3) + 60 * (x < 2 * t)).astype("uint8")


def encode(path, movie, options, pixels="gray", rate="12.5"):
    size = f"{movie.shape[2]}x{movie.shape[1]}"
    command = [
        ffmpeg.get_ffmpeg_exe(),
        "-v",
        "error",
        "-f",
        "rawvideo",
        "-pix_fmt",
        pixels,
        "-s",
        size,
        "-r",
        rate,
    ]
    subprocess.run([*command, "-i", "-", *options, str(path)], input=movie.tobytes(), check=True)
    return path


def refused(path, match, **options):
    with pytest.raises(CalzooError, match=match), open_movie(path, **options) as opened:
        opened.frames(0, len(opened))


@pytest.mark.parametrize("name", CODECS)
def test_every_frame_comes_once_and_in_its_place(tmp_path, movie, name):
    options, tolerance = CODECS[name]
    with open_movie(encode(tmp_path / name, movie, options)) as opened:
        assert opened.shape == SHAPE
        assert opened.dtype == np.uint8
        assert opened.frame_rate_hz == 12.5
        decoded = opened.frames(0, 30)
        assert np.abs(decoded.astype(int) - movie).max() <= tolerance
        np.testing.assert_array_equal(opened.take([25, 3, 3, 29, 0]), decoded[[25, 3, 3, 29, 0]])
        np.testing.assert_array_equal(opened[-1], decoded[-1])


def test_sixteen_bits_are_kept(tmp_path, rng):
    movie = rng.integers(0, 65536, SHAPE).astype("<u2")
    with open_movie(encode(tmp_path / "a.mkv", movie, ("-c:v", "ffv1"), "gray16le")) as opened:
        assert opened.dtype == np.uint16
        np.testing.assert_array_equal(opened.frames(0, 30), movie)


def test_frames_at_uneven_times_are_neither_doubled_nor_dropped(tmp_path, movie):
    path = encode(tmp_path / "a.mkv", movie, ("-vf", "setpts=N*N/30/TB", "-fps_mode", "vfr", "-c:v", "ffv1"))
    with open_movie(path) as opened:
        np.testing.assert_array_equal(opened.frames(0, 30), movie)


def test_a_folder_of_videos_is_one_recording(tmp_path, movie):
    for i, block in enumerate(np.array_split(movie, [9, 18])):
        encode(tmp_path / f"{i + 8}.avi", block, ("-c:v", "ffv1"))  # 8, 9, 10
    (tmp_path / "timeStamps.csv").touch()
    with open_movie(tmp_path) as opened:
        np.testing.assert_array_equal(opened.frames(0, 30), movie)
        np.testing.assert_array_equal(opened.take([29, 5, 20]), movie[[29, 5, 20]])
        assert opened.frame_rate_hz == 12.5


def test_colour_needs_a_choice(tmp_path, movie):
    colours = np.stack([movie, 255 - movie, movie // 2], axis=-1)
    path = encode(tmp_path / "a.mkv", colours, ("-c:v", "ffv1", "-pix_fmt", "bgr0"), "rgb24")
    refused(path, "got an RGB picture.*--channel")
    with open_movie(path, channel=1) as opened:
        np.testing.assert_array_equal(opened.frames(0, 30), 255 - movie)


@pytest.mark.parametrize("name", ["ffv1.avi", "ffv1.mkv", "h264.mp4"])
@pytest.mark.parametrize("keep", [0.02, 0.5, 0.98])
def test_a_truncated_video_is_refused(tmp_path, movie, name, keep):
    path = encode(tmp_path / name, movie, CODECS[name][0])
    path.write_bytes(path.read_bytes()[: int(keep * path.stat().st_size)])
    refused(path, "expected a video, got a damaged, truncated or foreign file")


def damage(path):
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 200] = bytes(200)
    path.write_bytes(content)
    return path


def test_a_damaged_frame_is_refused(tmp_path, movie):
    refused(damage(encode(tmp_path / "a.mp4", movie, CODECS["h264.mp4"][0])), "got a damaged")


def test_a_damaged_frame_that_the_decoder_conceals_is_told(tmp_path, movie):
    path = damage(encode(tmp_path / "a.avi", movie, ("-c:v", "ffv1", "-level", "3", "-slicecrc", "1")))
    with (
        pytest.warns(UserWarning, match="frames may be damaged, the decoder says"),
        open_movie(path) as opened,
    ):
        assert opened.shape == SHAPE


def test_a_file_that_only_has_the_name_of_a_video_is_refused(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"hello, world" * 99)
    refused(tmp_path / "a.mp4", "expected a video, got a damaged, truncated or foreign file")


def test_a_playlist_does_not_reach_other_files(tmp_path, movie):
    encode(tmp_path / "b.mkv", movie, CODECS["ffv1.mkv"][0])
    (tmp_path / "a.mp4").write_text(
        f"#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/{tmp_path}/b.mkv\n#EXT-X-ENDLIST\n"
    )
    refused(tmp_path / "a.mp4", "expected a video")


def test_memory_does_not_grow_with_length(tmp_path):
    peaks = []
    for count in (64, 512):
        path = encode(tmp_path / f"{count}.avi", np.zeros((count, 64, 64), "uint8"), ("-c:v", "ffv1"))
        tracemalloc.start()
        with open_movie(path) as opened:
            assert sum(len(c) for c in opened.chunks(16)) == count
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.1 * peaks[0] + 100_000


def test_no_decoder_is_left_running(tmp_path, movie):
    path = encode(tmp_path / "a.avi", movie, CODECS["ffv1.avi"][0])
    opened = open_movie(path)
    opened.frames(0, 2)
    process = opened._pages._process
    assert process.poll() is None or process.returncode == 0
    opened.close()
    assert process.poll() is not None


def test_a_missing_package_is_named(tmp_path, movie):
    path = encode(tmp_path / "a.avi", movie, CODECS["ffv1.avi"][0])
    hidden = "import sys; sys.modules['imageio_ffmpeg'] = None"
    opened = f"from calzoo.imaging.movies import open_movie\ntry: open_movie({str(path)!r})"
    code = f"{hidden}\n{opened}\nexcept ValueError as error: print(error)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "need imageio-ffmpeg, which is not installed: pip install calzoo[video]" in result.stdout
