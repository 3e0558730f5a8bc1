"""What laboratories do to one-photon frames before they keep them."""

from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from calzoo.simulation.fields import linear_weights

SAMPLES = 40  # frames that the still images and the scale are measured on


@dataclass(frozen=True)
class Look:
    """A preprocessing of single frames; its still images have been measured before.

    Attributes
    ----------
    kind : str
        ``"raw"`` (smoothing only), ``"df"`` (change over the mean, divided by the mean) or
        ``"background_removed"`` (lowest value and opening subtracted).
    smoothing : tuple of float
        Standard deviations (rows, columns) in pixels of a Gaussian.
    still : ndarray of float32, (H, W)
        The mean, or the lowest value of each pixel.
    opening : int
        Diameter in pixels of the opening's disk.
    low, high : float
        Values that become the smallest and the largest grey value.
    dtype : numpy.dtype
    """

    kind: str
    smoothing: tuple
    still: np.ndarray
    opening: int
    low: float
    high: float
    dtype: np.dtype

    def values(self, frames):
        """Return the frames before they are scaled to grey values, (n, H, W) float32."""
        frames = smooth(frames, self.smoothing)
        if self.kind == "df":
            return (frames - self.still) / np.maximum(self.still, 1e-3)
        if self.kind == "background_removed":
            frames = ndimage.gaussian_filter(np.clip(frames - self.still, 0, None), (0, 0.7, 0.7))
            return frames - self._opened(frames)
        return frames

    def _opened(self, frames):
        """Return the opening by a disk, which keeps what is wider than cells, never above the frames.

        It is found on an image of fewer pixels: a disk of three pixels' radius costs little.
        """
        step = max(round(self.opening / 6), 1)
        radius = max(round(self.opening / step / 2), 1)
        side = np.arange(-radius, radius + 1)
        disk = (side[:, None] ** 2 + side**2 <= (radius + 0.5) ** 2)[None]
        coarse = ndimage.gaussian_filter(frames, (0, step / 2, step / 2))[:, ::step, ::step]
        opened = ndimage.grey_opening(coarse, footprint=disk)
        rows, cols = (
            linear_weights(*sizes, step) for sizes in zip(frames.shape[1:], coarse.shape[1:], strict=True)
        )
        return np.minimum(rows @ opened @ cols.T, frames)

    def apply(self, frames):
        """Return the frames as they are kept, (n, H, W) of `dtype`."""
        scaled = self.values(frames)
        if self.kind == "raw":
            return np.clip(np.round(scaled), 0, np.iinfo(self.dtype).max).astype(self.dtype)
        top = np.iinfo(self.dtype).max
        scaled = (scaled - self.low) * np.float32(top / max(self.high - self.low, 1e-9))
        return np.clip(np.round(scaled), 0, top).astype(self.dtype)


def smooth(frames, smoothing):
    """Return images (..., H, W) as float32, blurred by a Gaussian of (rows, columns) pixels."""
    frames = np.asarray(frames, np.float32)
    if max(smoothing) == 0:
        return frames
    return ndimage.gaussian_filter(frames, (0,) * (frames.ndim - 2) + tuple(smoothing), mode="nearest")


def measured_look(recording, kind, smoothing, opening):
    """Measure what a preprocessing needs to know about a whole recording.

    Parameters
    ----------
    recording : Recording
        Without a look.
    kind, smoothing, opening
        See `Look`.

    Returns
    -------
    Look
    """
    still = np.zeros(recording.shape[1:], np.float32)
    look = Look(kind, smoothing, still, opening, 0.0, 1.0, recording.dtype)
    if kind == "raw":
        return look
    look = replace(look, dtype=np.dtype(np.uint8))
    where = np.unique(np.linspace(0, len(recording) - 1, SAMPLES).astype(int))
    look = replace(look, still=smooth(_still(kind, recording, where), smoothing))
    frames = np.concatenate([recording.frames(t, t + 1) for t in where])
    values = look.values(frames)
    low = float(np.quantile(values, 1e-4)) if kind == "df" else 0.0
    high = float(np.quantile(values, 1 - 5e-4))
    return replace(look, low=low, high=low + 1.3 * (high - low))


def _still(kind, recording, where):
    """Return about the mean of each pixel, or about its lowest value with noise, in grey values."""
    detector = recording.detector
    if kind == "df":
        return detector.gain * recording.mean_clean() + detector.offset + recording.columns
    photons = np.min([recording.clean(t, t + 1)[0] for t in where], axis=0)
    noise = np.sqrt(np.clip(photons, 0, None) * detector.gain**2 + detector.read_noise**2)
    # The lowest of some thousand values lies about three deviations below the mean.
    return detector.gain * photons + detector.offset + recording.columns - 3 * noise
