"""Videos as pages, decoded by the ffmpeg that comes with imageio-ffmpeg.

Frames are decoded in order. To step back means to decode from the start again:
video formats give no other way to be sure which frame one gets.
"""

import functools
import os
import struct
import subprocess
import warnings
from fractions import Fraction

import numpy as np

from calzoo.errors import CalzooError
from calzoo.imaging.readers.pages import Facts, Pages

_COLOUR_TOLERANCE = 12  # what chroma subsampling and rounding leave of a grey picture
_MOST_PIXELS = 2**28  # of one frame: more is a damaged header
_HEADER = 400  # bytes in which the headers that are looked at end


def open_video(path):
    """Open a video as pages of grey values (8 bits, or 16 where it has more), or of three colours.

    Parameters
    ----------
    path : pathlib.Path
        AVI, MP4, MKV or whatever ffmpeg decodes.

    Returns
    -------
    VideoPages
    """
    program = _ffmpeg(path)
    _check_length(path)
    state = path.stat()
    width, height, rate, dtype, samples, count = _probe(program, path, state.st_size, state.st_mtime_ns)
    facts = Facts(frame_rate_hz=rate, is_stack=True)
    return VideoPages(program, path, (count, height, width), dtype, samples, facts)


@functools.lru_cache(maxsize=256)
def _probe(program, path, size, mtime):
    """Look at a video once: a recording in many files opens each of them again and again."""
    width, height, rate, dtype = _header(program, path)
    picture = _output(program, path, "-frames:v", "1", "-pix_fmt", "rgb24", "-f", "rawvideo")
    if len(picture) != width * height * 3:
        raise CalzooError(_damaged(path))
    samples = 3 if _coloured(np.frombuffer(picture, np.uint8).reshape(height, width, 3)) else 1
    return width, height, rate, dtype, samples, _count(program, path)


def _ffmpeg(path):
    try:
        import imageio_ffmpeg

        return imageio_ffmpeg.get_ffmpeg_exe()
    except (ImportError, RuntimeError) as error:
        message = (
            f"{path}: videos need imageio-ffmpeg, which is not installed: pip install calzoo[video], or save "
            "the movie as TIFF."
        )
        raise CalzooError(message) from error


def _command(program, path, *options):
    # Only this file: a video may name others, even on the network. Every frame as it was recorded:
    # none doubled or dropped to keep a clock.
    safe = ("-v", "error", "-nostdin", "-xerror", "-protocol_whitelist", "file,pipe")
    every = ("-map", "0:v:0", "-fps_mode", "passthrough")
    return [program, *safe, "-i", f"file:{path}", *every, *options, "pipe:1"]


def _run(program, path, *options):
    command = _command(program, path, *options)
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    reason = done.stderr.decode(errors="replace").strip().splitlines()
    return done.returncode, done.stdout, reason[-1] if reason else ""


def _output(program, path, *options):
    status, output, reason = _run(program, path, *options)
    if status:
        raise CalzooError(_damaged(path, reason))
    return output


def _damaged(path, reason="no picture in it"):
    return (
        f"{path}: expected a video, got a damaged, truncated or foreign file ({reason[:120]}); copy or "
        "export it again."
    )


def _check_length(path):
    """Say so if a file is shorter than its header says: ffmpeg would play what is left."""
    there = path.stat().st_size
    with open(path, "rb") as file:
        head = file.read(_HEADER)
        file.seek(-1, os.SEEK_END)
        last = file.read()
    promised = 0
    if head[:4] == b"RIFF":
        promised = 8 + struct.unpack("<I", head[4:8])[0]
    elif head[4:8] == b"ftyp":
        promised = _end_of_boxes(path, there)
    elif head[:4] == b"GIF8" and last != b";":
        promised = there + 1
    elif (at := head.find(b"\x18\x53\x80\x67")) > 0 and head[at + 4] == 1:  # Matroska's segment, 8-byte size
        size = int.from_bytes(head[at + 5 : at + 12], "big")
        promised = 0 if size == 2**56 - 1 else at + 12 + size  # all ones: unknown
    if promised > there:
        raise CalzooError(_damaged(path, f"its header promises {promised} bytes, it has {there}"))


def _end_of_boxes(path, there):
    """Return where the last of the boxes that make up an MP4 ends."""
    at = 0
    with open(path, "rb") as file:
        while at + 8 <= there:
            file.seek(at)
            size, _, large = struct.unpack(">I4sQ", file.read(16).ljust(16, b"\0"))
            size = large if size == 1 else size
            if size < 8:  # 0: to the end of the file
                return there
            at += size
    return at if at >= there else there + 1


def _header(program, path):
    """Return width, height, frames per second and data type: a YUV4MPEG stream tells them in its header."""
    form = ("-frames:v", "1", "-f", "yuv4mpegpipe", "-strict", "-1")
    status, stream, _ = _run(program, path, *form)
    if status:  # such a stream holds no RGB
        stream = _output(program, path, *form, "-pix_fmt", "gray")
    header = stream[:_HEADER].split(b"\n")[0].decode(errors="replace")
    fields = {field[:1]: field[1:] for field in header.split(" ")[1:] if field}
    try:
        width, height = int(fields["W"]), int(fields["H"])
        rate = float(Fraction(fields["F"].replace(":", "/")))
    except (KeyError, ValueError, ZeroDivisionError) as error:
        raise CalzooError(_damaged(path)) from error
    if not 0 < width * height < _MOST_PIXELS:
        raise CalzooError(_damaged(path, f"{width} x {height} pixels"))
    # Deep formats are called "mono10", "mono16", "420p12" and so on.
    deep = fields.get("C", "").endswith(("9", "10", "12", "14", "16"))
    return width, height, rate if rate > 0 else None, "uint16" if deep else "uint8"


def _count(program, path):
    """Return how many frames come out: only decoding them all tells."""
    status, progress, complaint = _run(program, path, "-f", "null", "-progress", "pipe:1")
    if status:
        raise CalzooError(_damaged(path, complaint))
    if complaint:  # what the decoder could conceal
        warnings.warn(f"{path}: frames may be damaged, the decoder says: {complaint[:120]}", stacklevel=2)
    frames = [line[6:] for line in progress.decode().splitlines() if line.startswith("frame=")]
    if not frames or int(frames[-1]) < 1:
        raise CalzooError(_damaged(path))
    return int(frames[-1])


def _coloured(picture):
    low, high = picture.min(axis=2).astype(np.int16), picture.max(axis=2).astype(np.int16)
    return int((high - low).max()) > _COLOUR_TOLERANCE


class VideoPages(Pages):
    """Frames of a video, decoded in order."""

    def __init__(self, program, path, shape, dtype, samples, facts):
        axes = "tyx" if samples == 1 else "tyxs"
        super().__init__(path, axes, shape if samples == 1 else (*shape, samples), dtype, facts)
        self._program, self._samples = program, samples
        self._process, self._next = None, 0
        self._frame, self._number = (
            np.empty((*self.page_shape, samples), "<u2" if dtype == "uint16" else "u1"),
            -1,
        )

    def read(self, numbers):
        """Return the pages `numbers`; fastest in increasing order."""
        out = np.empty((len(numbers), *self.page_shape), self.dtype)
        for i, number in enumerate(numbers):
            frame, sample = divmod(int(number), self._samples)
            self._decode(frame)
            out[i] = self._frame[..., sample]
        return out

    def _decode(self, number):
        if self._number == number:
            return
        if self._process is None or number < self._next:
            self._restart()
        view = memoryview(self._frame).cast("B")
        while self._next <= number:
            if self._process.stdout.readinto(view) != len(view):
                self.close()
                message = (
                    f"{self.name}: the video is truncated or damaged: frame {self._next} of {self.shape[0]} "
                    "cannot be decoded; copy or export it again."
                )
                raise CalzooError(message)
            self._number = self._next
            self._next += 1

    def _restart(self):
        self.close()
        pixels = {1: ("gray", "gray16le"), 3: ("rgb24", "rgb48le")}[self._samples][self.dtype.itemsize - 1]
        command = _command(self._program, self.path, "-pix_fmt", pixels, "-f", "rawvideo")
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=2**20,
        )
        self._next, self._number = 0, -1

    def close(self):
        """Stop the decoder."""
        if self._process is not None:
            self._process.stdout.close()
            self._process.kill()
            self._process.wait()
            self._process = None
