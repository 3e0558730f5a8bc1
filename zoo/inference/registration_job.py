"""One movie on its way to a template: its pieces, moved and measured."""

import warnings
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from calzoo.errors import CalzooError
from calzoo.imaging.frames import as_array, as_movie, refuse_name
from calzoo.imaging.rigid import CLEAR
from calzoo.imaging.scanning import correct_scan_offset, fill_lines, find_bad_lines, scan_offset
from calzoo.inference.registration_network import Aligned, align_all, check_template
from calzoo.inference.registration_options import check_offset, checked_options, preparation
from calzoo.inference.registration_quality import Quality
from calzoo.inference.registration_template import NOISE, aligned, make_template, shows_noise, template_sample


@dataclass(frozen=True)
class Piece:
    """Some neighbouring frames that are finished: each channel moved, in its data type, and what was found.

    Whoever keeps them gives `measured` to ``quality.add``: what is not kept must not be counted.
    """

    frames: list
    found: Aligned
    measured: tuple


class RegistrationJob:
    """One movie, one network, one template."""

    def __init__(
        self,
        movie,
        network,
        *,
        template=None,
        others=(),
        joint=False,
        reach=None,
        smoothing=0.0,
        interpolation="linear",
        highpass=None,
        bidirectional=None,
    ):
        options = checked_options(
            joint=joint,
            reach=reach,
            smoothing=smoothing,
            interpolation=interpolation,
            highpass=highpass,
            bidirectional=bidirectional,
        )
        reach, highpass, bidirectional = options["reach"], options["highpass"], options["bidirectional"]
        self.network, self.smoothing = network, options["smoothing"]
        self.joint = options["joint"]
        if self.joint and not others:
            message = (
                "joint: expected several channels to estimate the motion on together, got one; leave joint "
                "(--joint) out, or give the other channels (others=, of a file all_channels=True)."
            )
            raise CalzooError(message)
        self.inputs = [as_movie(m, at_least=2) for m in (movie, *others)]
        self.movie = self.inputs[0]
        if any(m.shape != self.movie.shape for m in self.inputs):
            shapes = [m.shape for m in self.inputs]
            message = f"expected channels of one shape, got {shapes}."
            raise CalzooError(message)
        refuse_name(template, "a template (Y, X)")
        template = None if template is None else as_array(template)
        if template is not None and template.shape != self.movie.shape[1:]:
            message = (
                f"expected a template of the movie's shape {self.movie.shape[1:]}, got {template.shape}; "
                "cut or pad one of them."
            )
            raise CalzooError(message)
        sample = template_sample(self.movie)
        check_template(sample[0])  # is a frame large enough?
        self.offset = 0.0
        if bidirectional is not None:
            check_offset(bidirectional, self.movie.shape[2])
            mean = sample.mean(axis=0)
            self.offset = scan_offset(mean) if bidirectional == "auto" else bidirectional
        self.channels = self.inputs
        if self.offset:
            self.channels = [correct_scan_offset(m, self.offset) for m in self.inputs]
            sample = template_sample(self.channels[0])
        lines = find_bad_lines(sample.mean(axis=0), sample.std(axis=0))
        self.bad_lines = [np.flatnonzero(bad).tolist() for bad in lines]
        lines = lines if any(self.bad_lines) else None
        prepare = preparation(highpass, lines)
        self.weights = _joint_weights([template_sample(c) for c in self.channels]) if self.joint else None
        if self.joint:
            sample = self._seen([template_sample(c) for c in self.channels])
        guess = False
        if template is None:
            if lines is not None:  # else their light would be in the template, wherever frames move it
                sample = fill_lines(sample, *lines).frames(0, len(sample))
            guess = shows_noise(sample, reach, prepare)
            template = make_template(network, sample, reach, prepare)
        self.template = check_template(template)
        self.align = network.aligner(self.template, reach=reach, prepare=prepare, interpolation=interpolation)
        self.quality = Quality(
            self.template,
            self.movie.shape[0],
            network.limit,
            guess=guess,
            lines=lines,
            offset=self.offset,
        )

    def shape_of(self, name):
        """Return the shape of a field of `Aligned` for one frame."""
        return getattr(self.align(self.template[None]), name).shape[1:]

    def pieces(self, first=0):
        """Yield finished pieces from frame `first` on, in their order."""
        size, halo = self.network.batch, int(np.ceil(3 * self.smoothing))
        plain = not self.smoothing and not self.joint

        def read():
            for start in range(first, self.movie.shape[0], size):
                yield self._recorded(start, start + size)

        if halo:
            yield from self._smoothed_pieces(first, size, halo)
            return
        pieces, ahead = read(), []

        def seen():
            for channels in pieces:
                ahead.append(channels)
                yield self._seen(channels)

        start = first
        for frames, found in align_all(self.align, seen(), self.network.workers):
            channels = ahead.pop(0)
            moved = [found.registered] if plain else [self.align.warp(channels[0], found.flow)]
            moved += [self.align.warp(c, found.flow) for c in channels[1:]]
            yield self._piece(start, frames, moved, found)
            start += len(frames)

    def finish(self, read):
        """Complete the quality with what moves still; ``read(start, stop)`` gives registered channels."""
        quality = self.quality
        quality.finish(
            lambda start, stop: self._seen(self._recorded(start, stop)),
            lambda start, stop: self._seen(read(start, stop)),
            self.align,
        )
        seen, unclear = (~quality.blank).sum(), (quality.unclear & ~quality.blank).sum()
        if seen and unclear >= (1 - NOISE) * seen:
            warnings.warn(
                f"{_name(self.movie)}: expected frames that show the template's tissue, got {unclear} of "
                f"{seen} that cannot be told from noise; their motion is a guess, and they are bad frames. "
                "Average frames before, or choose another channel or template.",
                stacklevel=2,
            )
        return quality

    def _smoothed_pieces(self, first, size, halo):
        """Yield pieces whose flow is a Gaussian mean over time, of frames whose own can be trusted."""
        count = self.movie.shape[0]
        kernel = np.exp(-0.5 * (np.arange(-halo, halo + 1) / self.smoothing) ** 2).astype(np.float32)
        block = max(size, 2 * halo)
        for start in range(first, count, block):
            stop = min(start + block, count)
            low, high = max(start - halo, 0), min(stop + halo, count)
            channels = self._recorded(low, high)
            seen = self._seen(channels)
            parts = aligned(self.network, self.align, seen)
            flows = np.concatenate([p.flow for p in parts])
            # Blank frames have no clarity; for what is left out its neighbours speak.
            known = np.concatenate(
                [
                    (p.clarity >= CLEAR) & (p.uncertainty.mean(axis=(1, 2)) <= self.network.limit)
                    for p in parts
                ]
            )
            smooth = np.empty((stop - start, *flows.shape[1:]), np.float32)
            for index in range(start, stop):
                left, right = max(index - halo, low), min(index + halo + 1, high)
                weights = kernel[left - index + halo : right - index + halo] * known[left - low : right - low]
                smooth[index - start] = (
                    np.tensordot(weights / weights.sum(), flows[left - low : right - low], 1)
                    if weights.any()
                    else flows[index - low]
                )
            inner = slice(start - low, stop - low)
            moved = [self.align.warp(c[inner], smooth) for c in channels]
            yield self._piece(start, seen[inner], moved, _joined_parts(parts, smooth, moved[0], inner))

    def _piece(self, start, seen, moved, found):
        kept = [_as(m, c.dtype) for m, c in zip(moved, self.inputs, strict=True)]
        return Piece(kept, found, (start, seen, self._seen(moved), found))

    def _recorded(self, start, stop):
        """Return frames of each channel, odd lines moved back."""
        try:
            return [c.frames(start, stop).astype(np.float32) for c in self.channels]
        except OSError as error:  # said here, as whoever writes takes it for an error of writing
            message = (
                f"{_name(self.movie)}: frames from {start} on cannot be read ({error.strerror or error}); "
                "check the disk or the network that the file lies on, then give the same command again."
            )
            raise CalzooError(message) from error

    def _seen(self, channels):
        """Return the frames that are compared with the template."""
        if not self.joint:
            return channels[0]
        return sum(np.float32(w) * c for w, c in zip(self.weights, channels, strict=True))


def _joint_weights(samples):
    """Return what makes the noise of all channels equal: from the spread of pixels around neighbours."""
    weights = []
    for sample in samples:
        some = sample[:: -(-len(sample) // 16)]  # of all frames, as the first may be blank
        noise = np.median([(frame - ndimage.gaussian_filter(frame, 1)).std() for frame in some])
        weights.append(1 / float(noise) if noise > 0 else 0.0)
    return weights


def _joined_parts(parts, flow, moved, inner):
    whole = {
        n: np.concatenate([getattr(p, n) for p in parts])[inner] for n in ("uncertainty", "shifts", "clarity")
    }
    return Aligned(registered=moved, flow=flow, **whole)


def _name(movie):
    """Return what a message calls a movie: its file, or what it is."""
    path = getattr(movie, "path", None)
    return "the movie" if path is None else str(path)


def _as(frames, dtype):
    """Return frames in a data type, rounded and cut off where it is one of whole numbers."""
    if dtype.kind == "f":
        return frames.astype(dtype, copy=False)
    limits = np.iinfo(dtype)
    top = np.float32(limits.max)
    if int(top) > limits.max:  # of 32 and 64 bits: rounded up, it would wrap
        top = np.nextafter(top, np.float32(0))
    whole = np.rint(frames)
    return np.clip(whole, limits.min, top, out=whole).astype(dtype)
