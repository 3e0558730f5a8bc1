"""Pictures in motion for people: AVI and GIF, written frame by frame with Pillow alone."""

import io
import struct
from pathlib import Path

import numpy as np

from calzoo.errors import CalzooError
from calzoo.imaging.outputs import output_file

# Sizes in an AVI are 32-bit, and many players take them as signed.
_AVI_LIMIT = 2**31 - 2**20
_JPEG_QUALITY = 92
# What both formats can write: a GIF counts hundredths of a second with 16 bits.
_RATES_HZ = (0.002, 1e5)
_SHORTEST = 0.02  # seconds: viewers slow down a GIF whose frames are shorter


def write_animation(path, frames, *, frame_rate_hz=10.0):
    """Write frames as a film to look at.

    AVI holds JPEG pictures (Motion JPEG), which Fiji, ffmpeg and players open; GIF
    holds 256 colours per frame. Neither is meant for measuring: see `write_movie`.

    Parameters
    ----------
    path : str or os.PathLike
        File name that ends in ``.avi`` or ``.gif``.
    frames : iterable of numpy.ndarray, shape (Y, X) or (Y, X, 3)
        Grey or red, green and blue, uint8; taken one at a time.
    frame_rate_hz : float, optional
        Frames shown per second, 0.002 to 100,000. A GIF counts in hundredths of a second and shows at
        most 50 per second.

    Returns
    -------
    int
        How many frames were written.

    Raises
    ------
    CalzooError
        If the rate is another, there are no frames, they differ in shape, are not uint8, are more than an
        AVI can hold (2 GB), or cannot be written.
    """
    path = Path(path)
    kind = _kind(path)
    slowest, fastest = _RATES_HZ
    if not slowest <= frame_rate_hz <= fastest:
        message = (
            f"{path}: expected a frame rate from {slowest:g} to {fastest:g} Hz, got {frame_rate_hz!r}; "
            "choose another rate or speed."
        )
        raise CalzooError(message)
    count = 0
    with output_file(path) as part, open(part, "w+b") as file:
        writer = None
        for frame in frames:
            frame = _checked(path, np.asarray(frame), writer)
            if writer is None:
                writer = kind(path, file, frame.shape, frame_rate_hz)
            writer.append(frame)
            count += 1
        if writer is None:
            message = f"{path}: expected at least one frame, got none."
            raise CalzooError(message)
        writer.close()
    return count


def frame_bytes(path, frame):
    """Tell how many bytes a frame takes in a film.

    Parameters
    ----------
    path, frame
        As for `write_animation`.

    Returns
    -------
    int
    """
    frame, file = _checked(path, np.asarray(frame), None), io.BytesIO()
    writer = _kind(Path(path))(path, file, frame.shape, 1.0)
    before = file.tell()
    writer.append(frame)
    return file.tell() - before


def _kind(path):
    """Return what writes a film of this name."""
    writers = {".avi": _Avi, ".gif": _Gif}
    if path.suffix.lower() not in writers:
        message = f"{path}: expected a name that ends in .avi or .gif."
        raise CalzooError(message)
    return writers[path.suffix.lower()]


def _checked(path, frame, writer):
    """Return a frame as (Y, X, 3) uint8."""
    if frame.dtype != np.uint8 or frame.ndim not in (2, 3) or (frame.ndim == 3 and frame.shape[2] != 3):
        message = (
            f"{path}: expected frames of uint8, (Y, X) or (Y, X, 3), got {frame.dtype} {frame.shape}; scale "
            "them first."
        )
        raise CalzooError(message)
    if frame.ndim == 2:
        frame = np.repeat(frame[..., None], 3, axis=2)
    if 0 in frame.shape or (writer is not None and frame.shape != writer.shape):
        expected = "some pixels" if writer is None else f"{writer.shape[:2]} as in the first one"
        message = f"{path}: expected frames of {expected}, got {frame.shape[:2]}."
        raise CalzooError(message)
    return frame


class _Avi:
    """RIFF AVI with one stream of JPEG pictures; sizes and counts are filled in at the end."""

    def __init__(self, path, file, shape, rate):
        self.shape = shape
        self._path, self._file = path, file
        self._index = []
        height, width, _ = shape
        scale = 1000
        self._file.write(b"RIFF\0\0\0\0AVI ")
        stream = struct.pack("<4s4sIHHIII", b"vids", b"MJPG", 0, 0, 0, 0, scale, round(rate * scale))
        stream += struct.pack("<5I4h", 0, 0, 0, 2**32 - 1, 0, 0, 0, width, height)
        picture = struct.pack(
            "<IiiHH4sIiiII", 40, width, height, 1, 24, b"MJPG", width * height * 3, 0, 0, 0, 0
        )
        has_index = 0x10
        main = struct.pack("<14I", round(1e6 / rate), 0, 0, has_index, 0, 0, 1, 0, width, height, 0, 0, 0, 0)
        strl = _chunk(b"LIST", b"strl" + _chunk(b"strh", stream) + _chunk(b"strf", picture))
        self._file.write(_chunk(b"LIST", b"hdrl" + _chunk(b"avih", main) + strl))
        self._movi = self._file.tell()
        self._file.write(b"LIST\0\0\0\0movi")

    def append(self, frame):
        from PIL import Image

        buffer = io.BytesIO()
        Image.fromarray(frame).save(buffer, "JPEG", quality=_JPEG_QUALITY)
        content = buffer.getvalue()
        if self._file.tell() + len(content) + 16 * len(self._index) > _AVI_LIMIT:
            message = (
                f"{self._path}: an AVI holds at most 2 GB, which {len(self._index)} frames fill; take fewer "
                "or smaller frames, or write a TIFF."
            )
            raise CalzooError(message)
        self._index.append((self._file.tell() - self._movi - 8, len(content)))
        self._file.write(_chunk(b"00dc", content))

    def close(self):
        end = self._file.tell()
        key_frame = 0x10
        entries = (struct.pack("<4sIII", b"00dc", key_frame, at, size) for at, size in self._index)
        self._file.write(_chunk(b"idx1", b"".join(entries)))
        size, count = self._file.tell(), len(self._index)
        largest = max(length for _, length in self._index)
        # Where the blanks of the headers lie: see __init__.
        for at, value in (
            (4, size - 8),
            (32 + 16, count),
            (32 + 28, largest),
            (108 + 32, count),
            (108 + 36, largest),
            (self._movi + 4, end - self._movi - 8),
        ):
            self._file.seek(at)
            self._file.write(struct.pack("<I", value))


def _chunk(name, content):
    return name + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)


class _Gif:
    """GIF whose every frame has its own palette."""

    def __init__(self, path, file, shape, rate):
        self.shape = shape
        self._file = file
        self._milliseconds = 10 * round(max(1 / rate, _SHORTEST) * 100)
        self._file.write(b"GIF89a" + struct.pack("<HHBBB", shape[1], shape[0], 0x70, 0, 0))
        forever = 0
        self._file.write(b"\x21\xff\x0bNETSCAPE2.0\x03\x01" + struct.pack("<HB", forever, 0))

    def append(self, frame):
        from PIL import GifImagePlugin, Image

        grey = (frame[..., 0] == frame[..., 1]).all() and (frame[..., 1] == frame[..., 2]).all()
        image = Image.fromarray(frame[..., 0]).convert("P") if grey else Image.fromarray(frame).quantize(256)
        for block in GifImagePlugin.getdata(image, duration=self._milliseconds, include_color_table=True):
            self._file.write(block)

    def close(self):
        self._file.write(b";")
