"""Videos as pages, decoded by the ffmpeg of imageio-ffmpeg.

Frames are decoded in order. To step back means to decode from the start again:
video formats give no other way to be sure which frame one gets.
"""

import math

import numpy as np

from calzoo.errors import CalzooError
from calzoo.imaging.readers.pages import Facts, Pages

_COLOUR_TOLERANCE = 12  # what chroma subsampling and rounding leave of a grey picture
# Frames as they were recorded: none doubled or dropped to keep a clock.
_EVERY_FRAME = ["-fps_mode", "passthrough"]


def open_video(path):
    """Open a video as pages of 8-bit grey values, or of three colours where it has any.

    Parameters
    ----------
    path : pathlib.Path
        AVI, MP4, MKV or whatever ffmpeg decodes.

    Returns
    -------
    VideoPages
    """
    try:
        import imageio_ffmpeg
    except ImportError as error:
        message = f"{path}: videos need imageio-ffmpeg, which is not installed: pip install calzoo[video]."
        raise CalzooError(message) from error
    try:
        count, _ = imageio_ffmpeg.count_frames_and_secs(str(path))
        frames = _frames(path, "rgb24", 24)
        try:
            meta = next(frames)
            first = np.frombuffer(next(frames), np.uint8)
        finally:
            frames.close()
    # imageio-ffmpeg reports what ffmpeg prints, in several exceptions.
    except Exception as error:
        message = (
            f"{path}: expected a video, got a damaged, truncated or foreign file; copy or export it again."
        )
        raise CalzooError(message) from error
    width, height = meta["size"]
    samples = 3 if _coloured(first.reshape(height, width, 3)) else 1
    rate = meta.get("fps")
    facts = Facts(frame_rate_hz=float(rate) if rate and math.isfinite(rate) else None, is_stack=True)
    return VideoPages(path, (count, height, width), samples, facts)


def _frames(path, pixels, bits):
    import imageio_ffmpeg

    # "-nostdin"-like quiet: frames go out, nothing is asked.
    return imageio_ffmpeg.read_frames(
        str(path), pix_fmt=pixels, bits_per_pixel=bits, output_params=[*_EVERY_FRAME]
    )


def _coloured(picture):
    low, high = picture.min(axis=2).astype(np.int16), picture.max(axis=2).astype(np.int16)
    return int((high - low).max()) > _COLOUR_TOLERANCE


class VideoPages(Pages):
    """Frames of a video, decoded in order."""

    def __init__(self, path, shape, samples, facts):
        axes = "tyx" if samples == 1 else "tyxs"
        super().__init__(path, axes, shape if samples == 1 else (*shape, samples), "uint8", facts)
        self._samples = samples
        self._stream, self._next, self._last = None, 0, (-1, None)

    def read(self, numbers):
        """Return the pages `numbers`; fastest in increasing order."""
        out = np.empty((len(numbers), *self.page_shape), self.dtype)
        for i, number in enumerate(numbers):
            frame, sample = divmod(int(number), self._samples)
            out[i] = self._frame(frame).reshape(*self.page_shape, self._samples)[..., sample]
        return out

    def _frame(self, number):
        if self._last[0] == number:
            return self._last[1]
        if self._stream is None or number < self._next:
            self._restart()
        try:
            while self._next <= number:
                content = next(self._stream)
                self._next += 1
        except (StopIteration, RuntimeError, OSError) as error:
            message = (
                f"{self.name}: the video is truncated or damaged: frame {number} of {self.shape[0]} "
                "cannot be "
                "decoded; copy or export it again."
            )
            raise CalzooError(message) from error
        self._last = (number, np.frombuffer(content, np.uint8))
        return self._last[1]

    def _restart(self):
        self.close()
        pixels = ("gray", 8) if self._samples == 1 else ("rgb24", 24)
        self._stream, self._next = _frames(self.path, *pixels), 0
        next(self._stream)  # what the stream is, before its frames

    def close(self):
        """Stop the decoder."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None
