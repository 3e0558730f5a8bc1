"""Register movies: a template, the motion of every frame, the moved frames, and how well it went."""

import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from calzoo.errors import CalzooError
from calzoo.imaging.frames import MovieLike, as_array, as_movie, refuse_name, sides_of
from calzoo.imaging.rigid import CLEAR, RigidSearch, rigid_template
from calzoo.imaging.scanning import correct_scan_offset, fill_lines, find_bad_lines, scan_offset
from calzoo.inference.models import Model, Provider, load_model
from calzoo.inference.registration_network import Aligned, RegistrationNetwork, align_all, check_template
from calzoo.inference.registration_quality import Quality
from calzoo.inference.registration_rigid import RigidMotion

SAMPLE_BYTES = 96 * 2**20  # float32 frames that the template is made of
SAMPLE_FRAMES = 200
_PRESET = "registration-2p"  # the network where none is named
Interpolation = Literal["linear", "cubic"]
_WIDEST = 1000  # frames or pixels that are smoothed over: what is wider takes too much memory
NOISE = 0.1  # of frames is clear at most where there is nothing that could be registered


@dataclass(frozen=True, eq=False)
class Registration:
    """A registered movie.

    Attributes
    ----------
    movie : ndarray, (T, Y, X)
        In the data type of the input, bool as uint8; computed in single precision.
    flow : ndarray of float32, (T, Y, X, 2), or None
        (dy, dx) in pixels: registered(y, x) = movie(y + dy, x + dx), where `movie` has its odd lines
        moved back already, see `scan_offset`.
    template : ndarray of float32, (Y, X)
    motion : ndarray of float32, (T, 2)
        Mean of the flow of each frame, of every eighth row and column.
    uncertainty : ndarray of float32, (T,)
        Expected length of the error of the flow in pixels, mean of each frame.
    bad : ndarray of bool, (T,)
        Frames not to be trusted: blank, not to be told from noise, out of plane, or moved too far.
    valid : ndarray of bool, (Y, X)
        Pixels that were seen in all frames that are not bad, on lines that hold a picture.
    report : Mapping
        What OUT.json says; see docs/registration.md.
    provider : str
        What found the motion.
    others : tuple of ndarray
        Further channels, moved like the first.
    scan_offset : float
        By how many pixels odd lines were moved back before all else; 0 without `bidirectional`. To move
        another channel along `flow` give it to `calzoo.imaging.scanning.correct_scan_offset` first.
    """

    movie: NDArray[Any]
    flow: NDArray[np.float32] | None
    template: NDArray[np.float32]
    motion: NDArray[np.float32]
    uncertainty: NDArray[np.float32]
    bad: NDArray[np.bool_]
    valid: NDArray[np.bool_]
    report: Mapping[str, Any]
    provider: str
    others: tuple[NDArray[Any], ...] = ()
    scan_offset: float = 0.0

    def __repr__(self) -> str:
        count, *sides = self.movie.shape
        return f"Registration({count} frames of {sides_of(sides)} pixels, {self.bad.sum()} of them bad)"


@dataclass(frozen=True, eq=False)
class Registered:
    """One frame that a `Registrar` has brought to its template.

    Attributes
    ----------
    frame : ndarray of float32, (Y, X)
    flow : ndarray of float32, (Y, X, 2)
        (dy, dx) in pixels.
    uncertainty : float
        Expected length of the error of the flow in pixels, mean of the frame.
    clarity : float
        Height of the peak of the rigid search in its standard deviations; below 5 it is a guess.
    bad : bool
        The frame is blank, its clarity is below 5, or its uncertainty exceeds the limit of the network's
        card.
    """

    frame: NDArray[np.float32]
    flow: NDArray[np.float32]
    uncertainty: float
    clarity: float
    bad: bool

    def __repr__(self) -> str:
        return (
            f"Registered({sides_of(self.frame.shape)} pixels, uncertainty {self.uncertainty:.2f} px, "
            f"clarity {self.clarity:.1f}, bad={self.bad})"
        )


class Registrar:
    """Bring frames to a template as they come, for closed-loop use.

    Parameters
    ----------
    template : ndarray of shape (Y, X)
    preset, model, provider, threads : optional
        As for `register_movie`.
    rigid, reach, highpass, interpolation : optional
        As for `register_movie`.

    Raises
    ------
    CalzooError
        If the template, the network or an option cannot be used.
    """

    def __init__(
        self,
        template: NDArray[Any],
        *,
        preset: str = _PRESET,
        model: str | os.PathLike[str] | Model | None = None,
        provider: Provider = "auto",
        threads: int | None = None,
        rigid: bool = False,
        reach: float | None = None,
        highpass: float | None = None,
        interpolation: Interpolation = "linear",
    ):
        options = checked_options(reach=reach, highpass=highpass, interpolation=interpolation)
        # One frame at a time is soonest ready if all threads work on it.
        if not (rigid or isinstance(model, Model)):
            model = load_model(preset if model is None else model, provider=provider, threads=threads)
        network = estimator(rigid, model, preset, provider=provider, threads=threads)
        self._limit = network.limit
        self._align = network.aligner(
            template,
            reach=options["reach"],
            prepare=_preparation(options["highpass"], None),
            interpolation=interpolation,
        )

    def __call__(self, frame: NDArray[Any]) -> Registered:
        """Bring one frame (Y, X) to the template.

        Returns
        -------
        Registered

        Raises
        ------
        CalzooError
            If it is not a frame of the template's shape, or holds NaN or infinity.
        """
        frame = as_array(frame)
        if frame.ndim != 2:
            message = f"expected one frame (Y, X), got an array of shape {frame.shape}."
            raise CalzooError(message)
        whole = frame.dtype.kind in "bui"
        if not whole and not (frame.dtype.kind == "f" and np.isfinite(frame).all()):
            message = (
                f"expected a frame of finite real numbers, got {frame.dtype} with NaN, infinity or other "
                "numbers in it; leave such frames out, or replace such values by numpy.nan_to_num."
            )
            raise CalzooError(message)
        found = self._align(frame[None])
        uncertainty, clarity = float(found.uncertainty.mean()), float(found.clarity[0])
        bad = bool(frame.min() == frame.max() or clarity < CLEAR or uncertainty > self._limit)
        return Registered(found.registered[0], found.flow[0], uncertainty, clarity, bad)


def register_movie(
    movie: NDArray[Any] | MovieLike,
    *,
    preset: str = _PRESET,
    model: str | os.PathLike[str] | Model | None = None,
    provider: Provider = "auto",
    threads: int | None = None,
    template: NDArray[Any] | None = None,
    others: Sequence[NDArray[Any] | MovieLike] = (),
    joint: bool = False,
    rigid: bool = False,
    reach: float | None = None,
    smoothing: float = 0.0,
    interpolation: Interpolation = "linear",
    highpass: float | None = None,
    bidirectional: float | Literal["auto"] | None = None,
    return_flow: bool = False,
) -> Registration:
    """Register a movie that fits into memory.

    Parameters
    ----------
    movie : ndarray or movie, (T, Y, X)
        Any real dtype; at least two frames.
    preset : str, optional
        Released network, where `model` is absent.
    model : str, path or Model, optional
        An .onnx file, or what `load_model` returned.
    provider, threads : optional
        As for `load_model`.
    template : ndarray of shape (Y, X), optional
        What frames are brought to. By default it is made of up to 200 frames.
    others : sequence of movie, optional
        Further channels of the same shape, moved like the first.
    joint : bool, optional
        Estimate the motion on all channels together, each scaled to its contrast; needs `others`.
    rigid : bool, optional
        Move each frame as a whole, by a correlation that is exact to some hundredths of a pixel: no network
        is run, so none may be given. Expected errors are those of the shift.
    reach : float, optional
        Largest rigid displacement in pixels, along each axis; by default a fifth of the smaller side.
    smoothing : float, optional
        Standard deviation in frames, at most 1000, of a Gaussian over time that the flow is smoothed with.
        Frames that are blank, not clear or too uncertain get the flow of their neighbours, and give
        them none.
    interpolation : {"linear", "cubic"}, optional
        Of the moved frames.
    highpass : float, optional
        Width in pixels, at most 1000, of what is seen of the frames when motion is estimated; wider
        structures are taken out. For one-photon movies about the diameter of a cell.
    bidirectional : float or "auto", optional
        By how many pixels odd lines lie to the right of even ones, at most a quarter of the width; "auto"
        measures it.
    return_flow : bool, optional
        Keep the flow: 8 bytes per pixel and frame.

    Returns
    -------
    Registration

    Raises
    ------
    CalzooError
        If the movie, the template, the network or an option cannot be used.

    Examples
    --------
    >>> from calzoo.simulation.two_photon import simulate_two_photon
    >>> movie = simulate_two_photon(3, (20, 96, 96)).frames(0, 20)
    >>> result = register_movie(movie)
    >>> result.movie.shape, result.movie.dtype == movie.dtype, result.motion.shape
    ((20, 96, 96), True, (20, 2))
    >>> registrar = Registrar(result.template)
    >>> registrar(movie[0]).flow.shape
    (96, 96, 2)
    """
    job = _Job(
        movie,
        estimator(rigid, model, preset, provider=provider, threads=threads),
        template=template,
        others=others,
        joint=joint,
        reach=reach,
        smoothing=smoothing,
        interpolation=interpolation,
        highpass=highpass,
        bidirectional=bidirectional,
    )
    moved = [np.empty(job.movie.shape, c.dtype) for c in job.inputs]
    flow = np.empty((*job.movie.shape, 2), np.float32) if return_flow else None
    done = 0
    for piece in job.pieces():
        stop = done + len(piece.found.flow)
        for array, frames in zip(moved, piece.frames, strict=True):
            array[done:stop] = frames
        if flow is not None:
            flow[done:stop] = piece.found.flow
        job.quality.add(*piece.measured)
        done = stop
    quality = job.finish(lambda start, stop: [array[start:stop] for array in moved])
    return Registration(
        movie=moved[0],
        flow=flow,
        template=job.template,
        motion=quality.motion,
        uncertainty=quality.uncertainty,
        bad=quality.bad,
        valid=quality.valid,
        report=quality.report(),
        provider=job.network.provider,
        others=tuple(moved[1:]),
        scan_offset=job.offset,
    )


@dataclass(frozen=True)
class RegistrationRun:
    """What `run_registration` wrote.

    Attributes
    ----------
    path : pathlib.Path
        The movie.
    report : Mapping
    provider : str
        What ran the network.
    """

    path: Path
    report: Mapping
    provider: str


def run_registration(
    path,
    out,
    *,
    flow=False,
    uncertainty=False,
    open_options=None,
    all_channels=False,
    overwrite=False,
    **options,
):
    """Register a file of any length into a TIFF, with a report and a picture beside it.

    ``OUT.tif`` gets its name when everything is finished; until then frames lie in the folder
    ``OUT.part``, and the same call goes on where it was stopped. Memory does not grow with the
    number of frames.

    Parameters
    ----------
    path : path or sequence of path
        A movie that `open_movie` opens.
    out : path
        Ends in ``.tif``; ``OUT.json``, ``OUT.png`` and ``OUT.valid.png`` (255 where all good frames saw
        something, else 0) stand beside it. The data type is that of the movie if Fiji opens it (uint8,
        uint16, int16, int32, float32), uint8 for bool, int16 for int8, and float32 for all others.
    flow, uncertainty : bool, optional
        Also write ``OUT.flow.npy``, float32, (T, Y, X, 2), and ``OUT.uncertainty.npy``, float32, (T, y, x):
        the length in pixels of the error of the flow that the network expects, one for each square of 8 x 8
        pixels.
    open_options : mapping, optional
        For `open_movie`: axes, channel, plane, frame_rate_hz, pixel_um, dataset.
    all_channels : bool, optional
        Write all channels, moved like the chosen one, as axes (t, c, y, x) in the order of the input.
    overwrite : bool, optional
        Forget what an earlier call has begun, and replace files of the same names.
    **options
        As for `register_movie`.

    Returns
    -------
    RegistrationRun

    Raises
    ------
    CalzooError
        If the file, the network or an option cannot be used, the disk is full, or files of
        the result are there already. An input is never replaced.
    """
    from calzoo.inference.registration_files import register_file

    return register_file(
        path,
        Path(out),
        series=[name for name, wanted in (("flow", flow), ("uncertainty", uncertainty)) if wanted],
        open_options=dict(open_options or {}),
        all_channels=all_channels,
        overwrite=overwrite,
        **options,
    )


@dataclass(frozen=True)
class Piece:
    """Some neighbouring frames that are finished: each channel moved, in its data type, and what was found.

    Whoever keeps them gives `measured` to ``quality.add``: what is not kept must not be counted.
    """

    frames: list
    found: Aligned
    measured: tuple


class _Job:
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
        sample = _sample(self.movie)
        check_template(sample[0])  # is a frame large enough?
        self.offset = 0.0
        if bidirectional is not None:
            _check_offset(bidirectional, self.movie.shape[2])
            mean = sample.mean(axis=0)
            self.offset = scan_offset(mean) if bidirectional == "auto" else bidirectional
        self.channels = self.inputs
        if self.offset:
            self.channels = [correct_scan_offset(m, self.offset) for m in self.inputs]
            sample = _sample(self.channels[0])
        lines = find_bad_lines(sample.mean(axis=0), sample.std(axis=0))
        self.bad_lines = [np.flatnonzero(bad).tolist() for bad in lines]
        lines = lines if any(self.bad_lines) else None
        prepare = _preparation(highpass, lines)
        self.weights = _joint_weights([_sample(c) for c in self.channels]) if self.joint else None
        if self.joint:
            sample = self._seen([_sample(c) for c in self.channels])
        guess = False
        if template is None:
            if lines is not None:  # else their light would be in the template, wherever frames move it
                sample = fill_lines(sample, *lines).frames(0, len(sample))
            guess = _is_noise(sample, reach, prepare)
            template = _template(network, sample, reach, prepare)
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
            parts = _aligned(self.network, self.align, seen)
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


def estimator(rigid, model=None, preset=_PRESET, *, provider="auto", threads=None):
    """Return what finds motion: a `RegistrationNetwork`, or for rigid motion a `RigidMotion`.

    Parameters
    ----------
    rigid : bool
    model, preset, provider, threads : optional
        As for `register_movie`; a model may be what this function returned.

    Raises
    ------
    CalzooError
        If the network cannot be used, or one is named for rigid motion.
    """
    if not rigid:
        return RegistrationNetwork.load(model, preset, provider=provider, threads=threads)
    if isinstance(model, RigidMotion):
        return model
    if model is not None or preset != _PRESET or provider not in ("auto", "cpu"):
        named = preset if model is None else "a model"
        message = (
            "rigid (--rigid): expected no preset, model or provider, as frames are moved as a whole without "
            f"a network, got {named} on {provider!r}; leave them out, or rigid."
        )
        raise CalzooError(message)
    return RigidMotion(threads)


def checked_options(
    *,
    joint=False,
    rigid=False,
    reach=None,
    smoothing=0.0,
    interpolation="linear",
    highpass=None,
    bidirectional=None,
):
    """Return the options of a registration, numbers as Python's own; refuse what cannot be meant.

    Parameters
    ----------
    joint, rigid, reach, smoothing, interpolation, highpass, bidirectional : optional
        As for `register_movie`.

    Returns
    -------
    dict

    Raises
    ------
    CalzooError
        If one of them cannot be used.
    """
    if interpolation not in ("linear", "cubic"):
        message = f"interpolation must be 'linear' or 'cubic', got {interpolation!r}."
        raise CalzooError(message)
    if not (_is_number(smoothing) and smoothing >= 0):
        message = f"smoothing must be a number of frames from 0 on, got {smoothing!r}."
        raise CalzooError(message)
    for name, value, what in (("reach", reach, "a displacement"), ("highpass", highpass, "a width")):
        if value is not None and not (_is_number(value) and value > 0):
            message = f"{name} must be {what} in pixels above 0, or None, got {value!r}."
            raise CalzooError(message)
    for name, value, unit in (("smoothing", smoothing, "frames"), ("highpass", highpass, "pixels")):
        if (value or 0) > _WIDEST:
            message = f"{name} must be at most {_WIDEST} {unit}, got {value!r}; leave it out."
            raise CalzooError(message)
    is_auto = bidirectional is None or (isinstance(bidirectional, str) and bidirectional == "auto")
    if not (is_auto or _is_number(bidirectional)):
        message = f"bidirectional must be a number of pixels or 'auto', got {bidirectional!r}."
        raise CalzooError(message)
    return {
        "joint": bool(joint),
        "rigid": bool(rigid),
        "reach": None if reach is None else float(reach),
        "smoothing": float(smoothing),
        "interpolation": interpolation,
        "highpass": None if highpass is None else float(highpass),
        "bidirectional": bidirectional if is_auto else float(bidirectional),
    }


def _check_offset(offset, width):
    """Refuse an offset of odd lines that no scanner has."""
    if offset != "auto" and abs(offset) > width / 4:
        message = (
            "bidirectional (--bidirectional): expected an offset of odd lines of at most a quarter of the "
            f"width, {width / 4:g} of {width} pixels, got {offset:g}; give it in pixels, or 'auto' (no "
            "number) to measure it."
        )
        raise CalzooError(message)


def _is_number(value):
    """Tell whether a value is a finite number, Python's or NumPy's."""
    return isinstance(value, Real) and not isinstance(value, bool) and bool(np.isfinite(value))


def _sample(movie):
    """Return up to 200 frames, evenly spread, as float32."""
    frame_bytes = 4 * int(np.prod(movie.shape[1:]))
    count = int(np.clip(SAMPLE_BYTES // frame_bytes, 2, SAMPLE_FRAMES))
    if movie.shape[0] <= count:
        return movie.frames(0, movie.shape[0]).astype(np.float32)
    # Runs of four, as neighbours look alike.
    starts = np.linspace(0, movie.shape[0] - 4, max(count // 4, 1)).astype(int)
    return np.concatenate([movie.frames(s, s + 4) for s in starts]).astype(np.float32)


def _is_noise(sample, reach, prepare):
    """Tell whether frames have nothing in common: a template of every other one is not found in the rest.

    A template that a frame is part of is always found in it, also if both are noise.
    """
    if len(sample) < 4:
        return False
    template = rigid_template(sample[::2])[None]
    search = RigidSearch((template if prepare is None else prepare(template))[0], reach=reach)
    rest, clear, seen = sample[1::2], 0, 0
    for start in range(0, len(rest), 16):
        frames = rest[start : start + 16]
        _, clarity = search(frames if prepare is None else prepare(frames))
        clear, seen = clear + (clarity >= CLEAR).sum(), seen + (clarity > 0).sum()
    return bool(clear < NOISE * seen)


def _template(network, sample, reach, prepare, rounds=2):
    """Make a template of some frames: by rigid search, then twice the mean of what was registered."""
    template = rigid_template(sample)
    for _ in range(rounds):
        parts = _aligned(network, network.aligner(template, reach=reach, prepare=prepare), sample)
        unsure = np.concatenate([p.uncertainty.mean(axis=(1, 2)) for p in parts])
        clear = np.concatenate([p.clarity for p in parts]) >= CLEAR
        moved = np.concatenate([p.registered for p in parts])
        kept = unsure <= np.median(unsure) * network.spread
        if (kept & clear).any():  # else there is nothing better
            kept &= clear
        template = moved[kept].mean(axis=0)
    return template


def _aligned(network, align, frames):
    """Return what is found of frames (T, Y, X), in pieces."""
    pieces = (frames[i : i + network.batch] for i in range(0, len(frames), network.batch))
    return [found for _, found in align_all(align, pieces, network.workers)]


def _joint_weights(samples):
    """Return what makes the noise of all channels equal: from the spread of pixels around neighbours."""
    weights = []
    for sample in samples:
        some = sample[:: -(-len(sample) // 16)]  # of all frames, as the first may be blank
        noise = np.median([(frame - ndimage.gaussian_filter(frame, 1)).std() for frame in some])
        weights.append(1 / float(noise) if noise > 0 else 0.0)
    return weights


def _preparation(highpass, lines):
    """Return what is done to frames before motion is estimated, or None."""
    if highpass is None and lines is None:
        return None

    def prepare(frames):
        frames = np.asarray(frames, np.float32)
        if lines is not None:
            frames = fill_lines(frames, *lines).frames(0, len(frames))
        if highpass is not None:
            sigma = (0, highpass, highpass)
            frames = frames - ndimage.gaussian_filter(frames, sigma, mode="nearest", truncate=2.5)
        return frames

    return prepare


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
