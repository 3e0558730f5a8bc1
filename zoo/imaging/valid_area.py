"""The part of a registered movie that was seen in all frames; what lies outside is the edge, repeated."""

import numpy as np

from calzoo.errors import CalzooError
from calzoo.imaging.frames import ComputedMovie, as_array, refuse_name
from calzoo.imaging.normalisation import fill_nearest

_SAMPLES = 64  # frames that tell how bright the margin is


def as_valid(valid, shape, *, name="valid"):
    """Return a valid area as an array of bool, or say what is wrong with it.

    Parameters
    ----------
    valid : ndarray of bool or integers, (Y, X), or None
        What is not 0 is valid; None: everything.
    shape : tuple of int
        Of the frames, (Y, X).
    name : str, optional
        What messages call it.

    Returns
    -------
    ndarray of bool, (Y, X), or None

    Raises
    ------
    CalzooError
        If it is no such picture, has another shape, or no pixel is valid.
    """
    if valid is None:
        return None
    refuse_name(valid, "a valid area (Y, X)")
    valid = as_array(valid)
    if valid.shape != tuple(shape) or valid.dtype.kind not in "bui":
        message = (
            f"{name}: expected the valid area of frames {tuple(shape)}, bool, got {valid.shape}, "
            f"{valid.dtype}; give that of this movie (Registration.valid, OUT.valid.png)."
        )
        raise CalzooError(message)
    if not valid.any():
        message = (
            f"{name}: expected an area in which pixels are valid, got an empty one; leave it out, or "
            "register the movie again: all of its frames may be bad."
        )
        raise CalzooError(message)
    return valid != 0


def read_valid(path, shape):
    """Read a valid area, such as OUT.valid.png of ``calzoo register``: what is not 0 is valid.

    Parameters
    ----------
    path : path, or None
        A picture.
    shape : tuple of int
        Of the frames, (Y, X).

    Returns
    -------
    ndarray of bool, (Y, X), or None

    Raises
    ------
    CalzooError
        If it cannot be read, has another shape, or no pixel is valid.
    """
    from calzoo.imaging.mask_pictures import read_mask

    return None if path is None else as_valid(read_mask(path, shape), shape, name=path)


def steady_outside(movie, valid):
    """Return a movie whose margin goes on as the mean of what is nearest, and changes with the whole frame.

    There nothing stands out of a frame, and nothing of its past.

    Parameters
    ----------
    movie : movie
        See `calzoo.imaging.frames.as_movie`.
    valid : ndarray of bool, (Y, X)

    Returns
    -------
    movie
        Of float32.
    """
    places = np.unique(np.linspace(0, movie.shape[0] - 1, _SAMPLES).astype(int))
    margin = sum(movie.frames(int(t), int(t) + 1)[0].astype(np.float64) for t in places) / len(places)
    usual = margin[valid].mean()
    fill_nearest(margin, valid, usual)
    margin = (margin[~valid] - usual).astype(np.float32)

    def function(frames, start):
        frames = frames.astype(np.float32)
        frames[:, ~valid] = margin + frames[:, valid].mean(axis=1, keepdims=True)
        return frames

    return ComputedMovie(movie, function)
