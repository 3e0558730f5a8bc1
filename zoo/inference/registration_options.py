"""The options of registration, and what they stand for."""

from numbers import Real
from typing import Literal

import numpy as np
from scipy import ndimage

from calzoo.errors import CalzooError
from calzoo.imaging.scanning import fill_lines
from calzoo.inference.registration_network import RegistrationNetwork
from calzoo.inference.registration_rigid import RigidMotion

PRESET = "registration-2p"  # the network where none is named
Interpolation = Literal["linear", "cubic"]
_WIDEST = 1000  # frames or pixels that are smoothed over: what is wider takes too much memory


def estimator(rigid, model=None, preset=PRESET, *, provider="auto", threads=None):
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
    if not rigid and not isinstance(model, RigidMotion):
        return RegistrationNetwork.load(model, preset, provider=provider, threads=threads)
    if isinstance(model, RigidMotion):
        return model
    if model is not None or preset != PRESET or provider not in ("auto", "cpu"):
        named = f"preset {preset!r}" if model is None else "a model"
        message = (
            "rigid (--rigid): expected no preset, model or provider, as frames are moved as a whole without "
            f"a network, got {named} on {provider!r}; leave these out, or leave rigid out."
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


def check_offset(offset, width):
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


def preparation(highpass, lines):
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
