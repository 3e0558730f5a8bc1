"""The field at rest, and the noise of a pixel, from a recording in which cells answer now and then."""

import numpy as np

from calzoo.imaging.frames import taken

_EVERY = 400
_SAMPLED = 240  # frames: their median scatters by a twelfth of the noise of one


def rest_picture(movie, *, sampled=_SAMPLED):
    """Return the field at rest: the median over frames, each divided by its mean.

    Parameters
    ----------
    movie : Movie or ndarray, (T, Y, X)
    sampled : int, optional
        At most so many frames, evenly over the recording.

    Returns
    -------
    ndarray of float32, (Y, X)
        Of mean 1.
    """
    frames = scaled(taken(movie, _spread(len(movie), sampled)))
    rest = np.median(frames, axis=0)
    return (rest / max(float(np.abs(rest).mean()), 1e-6)).astype(np.float32)


class RestTrack:
    """The field at rest over a recording, in which tissue may drift.

    One picture would be right for the middle of the recording alone: before and after,
    the outlines of all cells would seem to answer.

    Parameters
    ----------
    movie : Movie or ndarray, (T, Y, X)
    every : int, optional
        Frames from one picture to the next; each is the median over twice as many. 0: one
        picture for all. Cells that answer in many of these frames seem brighter at rest.

    Attributes
    ----------
    middles : ndarray of float, (S,)
        Frame that each picture is right for.
    pictures : ndarray of float32, (S, Y, X)
        As `rest_picture` returns them.
    """

    def __init__(self, movie, *, every=_EVERY):
        length = len(movie)
        count = max(round(length / every), 1) if every else 1
        edges = np.linspace(0, length, count + 1)
        self.middles = (edges[:-1] + edges[1:]) / 2
        reach = length if count == 1 else length / count
        numbers = [
            np.arange(max(int(middle - reach), 0), min(int(middle + reach) + 1, length))
            for middle in self.middles
        ]
        self.pictures = np.stack([rest_picture(_Part(movie, part)) for part in numbers])

    def at(self, numbers):
        """Return the field at rest at some frames, (N, Y, X) float32, by linear interpolation."""
        numbers = np.asarray(numbers, float)
        if len(self.middles) == 1:
            return np.broadcast_to(self.pictures, (len(numbers), *self.pictures.shape[1:]))
        place = np.interp(numbers, self.middles, np.arange(len(self.middles)))
        first = np.minimum(place.astype(int), len(self.middles) - 2)
        share = (place - first).astype(np.float32)[:, None, None]
        return (1 - share) * self.pictures[first] + share * self.pictures[first + 1]


class _Part:
    """Some frames of a movie, counted from 0."""

    def __init__(self, movie, numbers):
        self.movie, self.numbers = movie, numbers

    def __len__(self):
        return len(self.numbers)

    def __getitem__(self, places):
        return taken(self.movie, self.numbers[places])


def noise_level(movie, rest, *, sampled=_SAMPLED):
    """Return the noise of a pixel that is as bright as the mean.

    From the differences of neighbouring frames; photons scatter by the square root of
    their number, so each pixel's is divided by the root of its brightness at rest.

    Parameters
    ----------
    movie : Movie or ndarray, (T, Y, X)
    rest : ndarray of float32, (Y, X)
        From `rest_picture`.
    sampled : int, optional
        At most so many pairs of frames.

    Returns
    -------
    float
        Standard deviation, in parts of the mean of a frame; 0 for a movie of one frame.
    """
    if len(movie) < 2:
        return 0.0
    first = _spread(len(movie) - 1, sampled)
    change = scaled(taken(movie, first + 1)) - scaled(taken(movie, first))
    change = change / np.sqrt(np.maximum(rest, 0.1))
    # Cells that fade between the frames are few pixels, which a median of magnitudes ignores.
    return float(1.4826 * np.median(np.abs(change)) / np.sqrt(2))


def scaled(frames):
    """Return frames (N, Y, X) as float32, each divided by its mean magnitude."""
    frames = frames.astype(np.float32)
    return frames / np.maximum(np.abs(frames).mean(axis=(1, 2), keepdims=True), 1e-6)


def _spread(length, count):
    return np.unique(np.linspace(0, length - 1, min(length, count)).round().astype(int))
