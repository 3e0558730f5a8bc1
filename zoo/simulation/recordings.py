"""A simulated recording: frames that are drawn when they are asked for, and the whole truth."""

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from numbers import Integral, Real

import numpy as np
from scipy import sparse

from calzoo.errors import CalzooError
from calzoo.imaging.masks import Masks
from calzoo.imaging.motion import invert
from calzoo.imaging.warping import warp
from calzoo.simulation.motion import Motion
from calzoo.simulation.noise import Detector, detect

CHUNK = 32  # frames that are rendered together


@dataclass(frozen=True)
class Layer:
    """Light sources of one kind: image(t) = weights @ traces[:, t].

    Attributes
    ----------
    weights : ndarray or scipy.sparse.csr_array of float32, (P, N)
        Image of each source over the P pixels of the scene.
    traces : ndarray of float32, (N, T)
        Brightness in photons of each source in each frame.
    """

    weights: np.ndarray | sparse.csr_array
    traces: np.ndarray


@dataclass(frozen=True)
class CellTruth:
    """What is known about the N cells of a recording, in the frame without motion.

    Attributes
    ----------
    footprints : scipy.sparse.csc_array of float32, (H * W, N)
        Image of each cell, 1 at its brightest point.
    masks : Masks
        Pixels of each cell body with its nucleus: where the body, drawn with a bright nucleus, has
        at least half of its largest brightness.
    traces : ndarray of float32, (N, T)
        Photons per frame at the brightest point of the footprint, without noise.
    baselines : ndarray of float32, (N,)
        Photons per frame at rest and without bleaching.
    spikes : ndarray of uint16, (N, T)
        Spikes in each frame.
    centers : ndarray of float32, (N, 2)
        Mean (y, x) of the mask in pixels, with those of its pixels that lie beyond the edge.
    radii : ndarray of float32, (N,)
        Radius in pixels of a disk as large as the mask.
    depths_um : ndarray of float32, (N,)
        Distance of the centre from the focal plane in micrometres.
    snr : ndarray of float32, (N,)
        Largest change of the mask's mean over the noise of that mean in one frame.
    clarity : ndarray of float32, (N,)
        Correlation that the footprint has, over a box twice as wide as the mask, with the mean of all frames,
        noise included: 1 for a lone bright cell, 0 for one that does not stand out.
    in_focus, active, visible : ndarray of bool, (N,)
        Whether the focal plane cuts the body (two photons; with one photon: whether the body is blurred by
        less than 0.8 of its radius); whether there are spikes and snr is at least 3; whether the cell is
        active or its clarity at least 0.5.
    """

    footprints: sparse.csc_array
    masks: Masks
    traces: np.ndarray
    baselines: np.ndarray
    spikes: np.ndarray
    centers: np.ndarray
    radii: np.ndarray
    depths_um: np.ndarray
    snr: np.ndarray
    clarity: np.ndarray
    in_focus: np.ndarray
    active: np.ndarray
    visible: np.ndarray

    def __len__(self):
        return len(self.centers)


@dataclass(frozen=True, kw_only=True)
class Recording:
    """A simulated movie with its truth.

    It is read like any movie (`shape`, `dtype`, `frames`); frames are drawn when they are asked for. Noise
    depends on the number of the frame alone. Light is summed in pieces of 32 frames from the first one that
    is asked for: in other pieces the sum may be rounded otherwise, and then of some hundred thousand pixels
    one or the other counts another photon.

    Attributes
    ----------
    seed : tuple of int
        What the recording was drawn from.
    frame_rate_hz : float
    pixel_um : tuple of float
        Side of a pixel in micrometres, (y, x).
    style : TwoPhotonStyle or OnePhotonStyle
        All parameters.
    cells : CellTruth
    layers : dict of str to Layer
        All light of the scene, which is `margin` pixels larger than a frame on each side. The cells
        of the truth are in ``layers["cells"]``.
    motion : Motion
    margin : int
    illumination : ndarray of float32, (H, W)
        What part of the light is seen at each pixel; fixed to the frame.
    glow : ndarray of float32, (H, W)
        Photons per frame that do not come from the tissue; fixed to the frame.
    detector : Detector
    columns : ndarray of float32, (W,)
        Fixed pattern of the columns in grey values.
    absorption : Layer, optional
        Optical density that varies over time, as of vessels that widen: the light is multiplied by
        its exponential, negated.
    residual : float, optional
        Part of the motion that is left: 1 as recorded; 0 after a perfect registration, when the shadows
        of the frame move in place of the tissue.
    alternate : float, optional
        Displacement in pixels of every second line against its neighbours (bidirectional scan).
    covered : ndarray of bool, (H, W), optional
        Which pixels are recorded; the others are 0, as after a registration that cut them off.
    exposures : int, optional
        Number of frames that each frame is the mean of.
    look : object, optional
        Preprocessing whose ``apply(frames)`` returns the frames as a laboratory keeps them.
    """

    seed: tuple
    frame_rate_hz: float
    pixel_um: tuple
    style: object
    cells: CellTruth
    layers: dict
    motion: Motion
    margin: int
    illumination: np.ndarray
    glow: np.ndarray
    detector: Detector
    columns: np.ndarray
    absorption: Layer | None = None
    residual: float = 1.0
    alternate: float = 0.0
    covered: np.ndarray | None = None
    exposures: int = 1
    look: object = None

    @property
    def shape(self):
        """(T, H, W)."""
        return (len(self.motion.rigid), *self.illumination.shape)

    @property
    def dtype(self):
        """Type of the frames."""
        if self.look is not None:
            return self.look.dtype
        return self.detector.dtype if self.exposures == 1 else np.dtype(np.float32)

    def __len__(self):
        return self.shape[0]

    def frames(self, start=0, stop=None):
        """Draw the frames as they are recorded.

        Parameters
        ----------
        start, stop : int, optional
            First frame and the one after the last, as in a slice.

        Returns
        -------
        ndarray of `dtype`, (n, H, W)
        """
        start, stop = self._range(start, stop)
        frames = np.empty((stop - start, *self.shape[1:]), self.dtype)
        for first, chunk in self._clean_chunks(start, stop):
            grey = np.stack([self._detect(first + i, clean) for i, clean in enumerate(chunk)])
            kept = grey if self.look is None else self.look.apply(grey)
            frames[first - start : first - start + len(chunk)] = kept
        if self.covered is not None:
            frames[:, ~self.covered] = 0
        return frames

    def take(self, indices):
        """Draw any frames, in the order that is asked for, (n, H, W); IndexError if there is no such one."""
        numbers = np.asarray(indices, np.int64)
        if numbers.size and not (-len(self) <= numbers.min() and numbers.max() < len(self)):
            message = f"no frame {numbers[np.abs(numbers).argmax()]}: there are {len(self)}."
            raise IndexError(message)
        frames = [self.frames(number, number + 1) for number in numbers % len(self)]
        return np.concatenate(frames) if frames else self.frames(0, 0)

    def __getitem__(self, index):
        if isinstance(index, slice):
            return self.take(np.arange(len(self))[index])
        return self.take([index])[0] if np.ndim(index) == 0 else self.take(index)

    def chunks(self, size=None):
        """Yield the movie in pieces of `size` frames (default 64), each (n, H, W)."""
        size = size or 64
        for start in range(0, len(self), size):
            yield self.frames(start, start + size)

    def clean(self, start=0, stop=None):
        """Return the expected photons of each frame, with motion and without noise, (n, H, W) float32."""
        start, stop = self._range(start, stop)
        chunks = [chunk for _, chunk in self._clean_chunks(start, stop)]
        return np.concatenate(chunks) if chunks else np.zeros((0, *self.shape[1:]), np.float32)

    def scene(self, start=0, stop=None):
        """Return the photons of the tissue without motion and illumination, (n, H + 2 margin, ...)."""
        start, stop = self._range(start, stop)
        return self._sum(self.layers, start, stop)

    def background(self, start=0, stop=None):
        """Return all light of the tissue but that of the true cells, without motion, (n, H, W) float32."""
        start, stop = self._range(start, stop)
        rest = {name: layer for name, layer in self.layers.items() if name != "cells"}
        return self._crop(self._sum(rest, start, stop))

    def mean_background(self):
        """Return about the mean over time of `background`, (H, W) float32."""
        rest = {name: layer for name, layer in self.layers.items() if name != "cells"}
        still = replace(self, layers=_still(rest, 1), absorption=_average(self.absorption, 1))
        return still._crop(still._sum(still.layers, 0, 1))[0]

    def mean_clean(self, samples=25):
        """Return about the mean over time of `clean`, (H, W) float32.

        Parameters
        ----------
        samples : int, optional
            The mean light of the scene is moved as in so many frames.
        """
        where = np.unique(np.linspace(0, len(self) - 1, samples).astype(int))
        motion = replace(
            self.motion,
            rigid=self.motion.rigid[where],
            weights=self.motion.weights[where],
            row_jitter=None if self.motion.row_jitter is None else self.motion.row_jitter[where],
        )
        still = replace(
            self,
            layers=_still(self.layers, len(where)),
            motion=motion,
            absorption=_average(self.absorption, len(where)),
        )
        return still.clean().mean(axis=0)

    def fields(self, start=0, stop=None):
        """Return the motion in the frames, (n, H, W, 2) float32: frame(y, x) = scene(y + dy, x + dx)."""
        return np.float32(self.residual) * self.motion.fields(*self._range(start, stop))

    def flow(self, start=0, stop=None):
        """Return the flow that undoes the motion: registered(y, x) = movie(y + dy, x + dx).

        Parameters
        ----------
        start, stop : int, optional
            First frame and the one after the last.

        Returns
        -------
        ndarray of float32, (n, H, W, 2)
            (dy, dx) in pixels.
        """
        fields = self.fields(start, stop)
        return invert(fields)

    def binned(self, size):
        """Return the recording whose frames are means of several, at the cost of one each.

        The light of the frames is averaged before the noise is drawn; motion within a bin is
        averaged too and does not blur.

        Parameters
        ----------
        size : int
            Frames in a bin; an incomplete last bin is dropped.

        Returns
        -------
        Recording

        Raises
        ------
        CalzooError
            If there are fewer frames than `size`, or `size` is below 1.
        """
        if not 1 <= size <= len(self):
            message = f"binned: size must be between 1 and the number of frames {len(self)}, got {size}"
            raise CalzooError(message)
        layers = {
            name: replace(layer, traces=_bin(layer.traces, size)) for name, layer in self.layers.items()
        }
        absorption = self.absorption
        if absorption is not None:
            absorption = replace(absorption, traces=_bin(absorption.traces, size))
        spikes = size * _bin(self.cells.spikes.astype(np.float32), size)
        cells = replace(
            self.cells, traces=_bin(self.cells.traces, size), spikes=np.rint(spikes).astype(np.uint16)
        )
        return replace(
            self,
            frame_rate_hz=self.frame_rate_hz / size,
            cells=cells,
            layers=layers,
            absorption=absorption,
            motion=_bin_motion(self.motion, size),
            exposures=self.exposures * size,
        )

    def without_motion(self):
        """Return the same recording of tissue that does not move: the same light, noise of its own."""
        motion = replace(
            self.motion, rigid=0 * self.motion.rigid, weights=0 * self.motion.weights, row_jitter=None
        )
        return replace(self, motion=motion, seed=(*self.seed, 3))

    def _range(self, start, stop):
        start, stop, _ = slice(start, stop).indices(len(self))
        return start, max(start, stop)

    def _crop(self, scene):
        height, width = self.shape[1:]
        return scene[:, self.margin : self.margin + height, self.margin : self.margin + width]

    def _sum(self, layers, start, stop):
        _, height, width = self.shape
        size = (height + 2 * self.margin, width + 2 * self.margin)
        total = np.zeros((size[0] * size[1], stop - start), np.float32)
        for layer in layers.values():
            total += layer.weights @ layer.traces[:, start:stop]
        if self.absorption is not None:
            total *= np.exp(-(self.absorption.weights @ self.absorption.traces[:, start:stop]))
        return np.ascontiguousarray(total.T).reshape(-1, *size)

    def _clean_chunks(self, start, stop):
        for first in range(start, stop, CHUNK):
            last = min(first + CHUNK, stop)
            scene = self._sum(self.layers, first, last)
            light, glow = self._shadows(first, last)
            yield first, self._moved(scene, first, last) * light + glow

    def _moved(self, scene, first, last):
        """Return the scene as it lies in the frames, (n, H, W)."""
        if self.residual * self.motion.reach == 0 and self.alternate == 0:
            return self._crop(scene)
        fields = self.fields(first, last)
        fields[:, 1::2, :, 1] += self.alternate
        # The margin stands still and is cut off.
        edge = (self.margin, self.margin)
        return self._crop(warp(scene, np.pad(fields, ((0, 0), edge, edge, (0, 0)))))

    def _shadows(self, first, last):
        """Return illumination and glow: fixed to the frame, so that they move if the motion is undone."""
        if self.residual == 1 or self.motion.reach == 0:
            return self.illumination, self.glow
        shifts = (self.residual - 1) * self.motion.rigid[first:last].mean(1)
        size = (last - first, *self.shape[1:])
        fields = np.broadcast_to(shifts[:, None, None], (*size, 2))
        return tuple(warp(np.broadcast_to(image, size), fields) for image in (self.illumination, self.glow))

    def _detect(self, frame, clean):
        rng = np.random.default_rng([*self.seed, 1, frame])
        return detect(rng, clean, self.detector, columns=self.columns, exposures=self.exposures)


def _still(layers, frames):
    """Return layers whose sources shine as on average over time, for a number of frames."""
    return {name: _average(layer, frames) for name, layer in layers.items()}


def _average(layer, frames):
    """Return a layer, or None, whose sources keep their mean over time for a number of frames."""
    if layer is None:
        return None
    return replace(layer, traces=np.repeat(layer.traces.mean(axis=1, keepdims=True), frames, axis=1))


def _bin(traces, size):
    """Average every `size` columns of (N, T); an incomplete last bin is dropped."""
    count = traces.shape[1] // size
    return traces[:, : count * size].reshape(len(traces), count, size).mean(-1)


def _bin_motion(motion, size):
    count = len(motion.rigid) // size

    def mean(values):
        return values[: count * size].reshape(count, size, *values.shape[1:]).mean(1)

    lines = None if motion.row_jitter is None else mean(motion.row_jitter)
    return Motion(mean(motion.rigid), motion.modes, mean(motion.weights), lines)


def seed_words(seed):
    """Return a seed, an int or a sequence of ints, as a tuple.

    Raises
    ------
    CalzooError
        If it is something else or negative.
    """
    words = (seed,) if isinstance(seed, (int, np.integer)) else tuple(seed)
    if not all(isinstance(word, (int, np.integer)) and word >= 0 for word in words):
        message = f"seed must be a whole number from 0 up, or a sequence of them; got {seed!r}"
        raise CalzooError(message)
    return tuple(int(word) for word in words)


def checked_shape(shape, least=32):
    """Return (T, H, W) as ints.

    Raises
    ------
    CalzooError
        If there are not three whole numbers, no frame, or a side below `least` pixels.
    """
    sides = tuple(shape) if isinstance(shape, Iterable) else ()
    whole = len(sides) == 3 and all(isinstance(side, Integral) for side in sides)
    if not whole or sides[0] < 1 or min(sides[1:]) < least:
        message = (
            "shape must be (frames, rows, columns), whole numbers, with at least one frame and "
            f"{least} pixels on a side; got {shape!r}"
        )
        raise CalzooError(message)
    return tuple(int(side) for side in sides)


def check_limits(style, limits):
    """Check the numbers of a style.

    Parameters
    ----------
    style : dataclass
    limits : dict of str to (float, float)
        Smallest and largest legal value of each field; those of type int are whole numbers.

    Raises
    ------
    CalzooError
        If a value is outside, or no number.
    """
    kinds = {field.name: field.type for field in fields(style)}
    for name, (low, high) in limits.items():
        whole = kinds[name] in (int, "int")
        check_number(f"{type(style).__name__}: {name}", getattr(style, name), low, high, whole=whole)


def check_number(what, value, low, high, *, whole=False):
    """Refuse what is no number from `low` to `high`.

    Parameters
    ----------
    what : str
        What the message calls it.
    value : object
    low, high : float
    whole : bool, optional
        Whether fractions are refused too.

    Raises
    ------
    CalzooError
    """
    if not (isinstance(value, Integral if whole else Real) and low <= value <= high):
        kind = "a whole number " if whole else ""
        message = f"{what} must be {kind}between {low:g} and {high:g}, got {value!r}"
        raise CalzooError(message)
