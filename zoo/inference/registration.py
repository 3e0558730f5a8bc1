"""Register movies: a template, the motion of every frame, the moved frames, and how well it went."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from calzoo.errors import CalzooError
from calzoo.imaging.frames import MovieLike, as_array, sides_of
from calzoo.imaging.rigid import CLEAR
from calzoo.inference.models import Model, Provider, load_model
from calzoo.inference.registration_job import RegistrationJob
from calzoo.inference.registration_options import (
    PRESET,
    Interpolation,
    checked_options,
    estimator,
    preparation,
)


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
        preset: str = PRESET,
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
            prepare=preparation(options["highpass"], None),
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
    preset: str = PRESET,
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
    job = RegistrationJob(
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
