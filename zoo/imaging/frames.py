"""Movies in pieces: one view of arrays and opened files, and frames computed as they are read."""

import os
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from calzoo.errors import CalzooError

# Enough frames that starting a piece costs nothing, few enough that a few of them fit in any memory.
CHUNK_BYTES = 128 * 2**20
LARGEST = 1e17  # of a pixel: the squares of a few hundred frames can be summed up in single precision
CHUNK_FRAMES = 135  # a multiple of 27: the running median takes frames by threes of threes of threes


class MovieLike(Protocol):
    """What is taken for a movie beside an array: what `open_movie` returns, or anything that reads frames.

    Attributes
    ----------
    shape : tuple of int
        Frames, rows, columns (T, Y, X).
    dtype : numpy.dtype
    """

    @property
    def shape(self) -> tuple[int, ...]: ...  # noqa: D102

    @property
    def dtype(self) -> np.dtype[Any]: ...  # noqa: D102

    def frames(self, start: int, stop: int) -> NDArray[Any]:
        """Return frames `start` to `stop` as an array (n, Y, X)."""


class ArrayMovie:
    """A NumPy array (T, Y, X) behind the interface of a movie.

    Parameters
    ----------
    array : ndarray of shape (T, Y, X)
        Bool, integer or float; memory-mapped arrays stay on disk.
    frame_rate_hz : float, optional
        Frames per second, where it is known.
    """

    def __init__(self, array, frame_rate_hz=None):
        self._array = array
        self.shape = array.shape
        self.dtype = np.dtype(np.uint8) if array.dtype == bool else array.dtype.newbyteorder("=")
        self.frame_rate_hz = frame_rate_hz

    def frames(self, start, stop):
        """Return frames `start` to `stop` as an array (n, Y, X) in native byte order."""
        piece = np.asarray(self._array[start:stop]).astype(self.dtype, copy=False)
        refuse_not_finite(piece, start)
        return piece


class ComputedMovie:
    """A movie whose frames are computed from those of another one when they are asked for.

    Parameters
    ----------
    source : movie
        Where the frames come from.
    function : callable
        ``function(frames, start)`` takes frames (n, Y, X) of the source, the first of them being
        number `start`, and returns (n, Y', X').
    shape : tuple of int, optional
        Height and width of the result, (Y', X'); those of the source when left out.
    dtype : dtype, optional
        Data type of the result.
    """

    def __init__(self, source, function, *, shape=None, dtype=np.float32):
        self._source = source
        self._function = function
        self.shape = (source.shape[0], *(shape or source.shape[1:]))
        self.dtype = np.dtype(dtype)
        self.frame_rate_hz = getattr(source, "frame_rate_hz", None)

    def frames(self, start, stop):
        """Return frames `start` to `stop` as an array (n, Y', X')."""
        start, stop, _ = slice(start, stop).indices(self.shape[0])
        return self._function(self._source.frames(start, stop), start).astype(self.dtype, copy=False)


def as_movie(movie: NDArray[Any] | MovieLike, *, at_least: int = 1) -> MovieLike:
    """Return an array or an opened movie behind one interface.

    Parameters
    ----------
    movie : ndarray of shape (T, Y, X), or movie
        A movie has ``shape`` (T, Y, X), ``dtype`` and ``frames(start, stop)``.
    at_least : int, optional
        The fewest frames that make sense to the caller.

    Returns
    -------
    movie
        With ``shape``, ``dtype``, ``frame_rate_hz`` and ``frames(start, stop)``.

    Raises
    ------
    CalzooError
        If there are not three axes, too few frames, no pixels, or values that are not real numbers or are
        masked, or it is the name of a file.
    """
    if not hasattr(movie, "frames"):
        refuse_file(movie, "open_movie")
        array = as_array(movie)
        if array.dtype.kind not in "buif":
            message = f"a movie holds real numbers, got an array of {array.dtype}"
            raise CalzooError(message)
        if array.ndim != 3:
            message = (
                f"a movie has three axes (frames, rows, columns), got an array of shape {array.shape}. "
                "Choose one channel, or stack the frames along a new first axis."
            )
            raise CalzooError(message)
        movie = ArrayMovie(array)
    if movie.shape[0] < at_least or 0 in movie.shape[1:]:
        message = (
            f"expected at least {at_least} frame(s) with pixels in them, got a movie of shape {movie.shape}"
        )
        raise CalzooError(message)
    return movie


def as_array(values):
    """Return what was given as an array.

    Parameters
    ----------
    values : array_like

    Returns
    -------
    ndarray

    Raises
    ------
    CalzooError
        If values are masked, of which what lies under the mask would be taken, or make no array, as lists
        of different lengths.
    """
    if np.ma.is_masked(values):
        message = (
            f"expected values everywhere, got a masked array with {np.ma.count_masked(values)} masked "
            "values; fill them first, e.g. with array.filled(0)."
        )
        raise CalzooError(message)
    try:
        return np.asarray(values)
    except (TypeError, ValueError) as error:
        message = (
            f"expected an array, got {type(values).__name__} that makes none; are rows of different lengths? "
            "Give an array of numbers."
        )
        raise CalzooError(message) from error


def refuse_file(given, opener):
    """Refuse the name of a file where what it holds is expected; `opener` is the function that opens it.

    Raises
    ------
    CalzooError
    """
    _refuse_path(given, f"an array, or what calzoo.{opener} returns", f"open it: calzoo.{opener}")


def refuse_name(given, what):
    """Refuse the name of a file where a picture is expected; `what` says which.

    Raises
    ------
    CalzooError
    """
    _refuse_path(given, f"{what} as an array", "read it, for example by tifffile.imread")


def _refuse_path(given, expected, remedy):
    if isinstance(given, (str, os.PathLike)):
        message = f"expected {expected}, got the name of a file; {remedy}({os.fspath(given)!r})."
        raise CalzooError(message)


class CutMovie:
    """Some successive frames of a movie; made by `cut`."""

    def __init__(self, source, first, last):
        self._source, self._first = source, first
        self.shape = (last - first, *source.shape[1:])
        self.dtype = source.dtype
        self.frame_rate_hz = getattr(source, "frame_rate_hz", None)

    def frames(self, start, stop):
        """Return frames `start` to `stop` of the cut movie, (n, Y, X)."""
        start, stop, _ = slice(start, stop).indices(self.shape[0])
        return self._source.frames(self._first + start, self._first + stop)


def cut(movie, frames):
    """Take some successive frames of a movie.

    Parameters
    ----------
    movie : movie or ndarray of shape (T, Y, X)
    frames : slice
        Without a step.

    Returns
    -------
    CutMovie

    Raises
    ------
    CalzooError
        If no frame is left.
    """
    movie = as_movie(movie)
    first, last, _ = frames.indices(movie.shape[0])
    if first >= last:
        message = f"frames {frames.start} to {frames.stop} are none of the {movie.shape[0]} of this movie"
        raise CalzooError(message)
    return CutMovie(movie, first, last)


def refuse_not_finite(frames, start=0):
    """Raise CalzooError if a value is NaN, infinite or too large; `start` is the first frame's number."""
    if all_finite(frames):
        return
    bad = np.flatnonzero(~np.isfinite(frames).all(axis=(1, 2)))
    message = (
        f"frame {start + bad[0]} of the movie holds NaN or infinity. "
        "Replace such values (numpy.nan_to_num), or cut the frames or borders that hold them."
    )
    raise CalzooError(message)


def all_finite(values):
    """Tell whether no value is NaN or infinite.

    Parameters
    ----------
    values : ndarray

    Raises
    ------
    CalzooError
        If sums of squares of the values leave the range of float32.
    """
    if values.dtype.kind != "f" or not values.size:
        return True
    with np.errstate(invalid="ignore"):
        # Both pass NaN on, and an infinity is one of them: two fast passes, no temporary array.
        low, high = values.min(), values.max()
    if not (np.isfinite(low) and np.isfinite(high)):
        return False
    largest = max(float(high), -float(low))
    if largest > LARGEST:
        message = (
            f"expected pixel values up to {LARGEST:g}, whose squares can be summed up; got {largest:.3g}. "
            "Divide all of them by a constant."
        )
        raise CalzooError(message)
    return True


def sides_of(shape):
    """Return a shape for people.

    Examples
    --------
    >>> sides_of((200, 64, 96))
    '200 x 64 x 96'
    """
    return " x ".join(map(str, shape))


def chunk_length(movie):
    """Return how many frames make a good piece of the movie: a multiple of 27, at most 135."""
    frame_bytes = int(np.prod(movie.shape[1:])) * max(movie.dtype.itemsize, 2)
    return 27 * int(np.clip(CHUNK_BYTES // frame_bytes // 27, 1, CHUNK_FRAMES // 27))


def chunks(movie):
    """Yield ``(start, frames)`` over a movie, so many frames at a time that memory stays bounded."""
    step = chunk_length(movie)
    for start in range(0, movie.shape[0], step):
        yield start, movie.frames(start, min(start + step, movie.shape[0]))


def taken(movie, numbers):
    """Return the frames of some numbers.

    Parameters
    ----------
    movie : calzoo.imaging.movies.Movie or ndarray, (T, Y, X)
    numbers : ndarray of int, (n,)

    Returns
    -------
    ndarray, (n, Y, X)
    """
    return movie.take(numbers) if hasattr(movie, "frames") else np.asarray(movie[numbers])
