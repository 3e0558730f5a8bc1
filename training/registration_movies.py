"""What a user's own movies give to the training of registration: pieces of frames, and scenes."""

from pathlib import Path

import numpy as np
from patchify import patchify

from calzoo.errors import CalzooError
from calzoo.imaging.rigid import RigidSearch, rigid_template
from calzoo.training.registration_pairs import Pair
from calzoo.training.registration_scenes import mean_scene

FRAMES = 400  # of each movie, evenly spread: enough to learn how it moves
TOGETHER = 10  # successive frames that are averaged into a scene


class MovieTiles:
    """Frames of movies with their templates, cut into tiles.

    Parameters
    ----------
    movies : sequence of Movie
    size : int
        Side of a tile in pixels; smaller movies are padded at their far edges.

    Raises
    ------
    CalzooError
        If there is no movie, or one of them has fewer than two frames.
    """

    def __init__(self, movies, size):
        if not movies:
            message = "this recipe learns from your movies: name them with --data or --movie."
            raise CalzooError(message)
        self.size = size
        self._movies = []
        for movie in movies:
            if movie.shape[0] < 2:
                message = (
                    f"{movie.path}: expected a movie of two frames or more, got {movie.shape[0]}; one "
                    "shows no motion: give the whole recording."
                )
                raise CalzooError(message)
            frames = sample_frames(movie)
            template = rigid_template(frames)
            shifts, _ = RigidSearch(template)(frames)
            self._movies.append((_padded(frames, size), _padded(template[None], size)[0], shifts))

    def draw(self, rng):
        """Draw a tile of a frame and of its template; its motion is not known.

        Parameters
        ----------
        rng : numpy.random.Generator

        Returns
        -------
        Pair
        """
        frames, template, shifts = self._movies[rng.integers(len(self._movies))]
        index = rng.integers(len(frames))
        # One pixel apart, or the last rows and columns would be in no tile; these are views.
        tiles = [
            patchify(np.ascontiguousarray(p), (self.size, self.size), 1) for p in (frames[index], template)
        ]
        row, column = (rng.integers(n) for n in tiles[0].shape[:2])
        frame, template = (t[row, column].astype(np.float32) for t in tiles)
        return Pair(
            frame=frame,
            template=template,
            shift=shifts[index] + rng.normal(0, 0.3, 2).astype(np.float32),
            motion=np.zeros((self.size, self.size, 2), np.float32),
            known=np.zeros((self.size, self.size), bool),
        )


def still_scenes(movie):
    """Return means of successive frames of a movie as scenes.

    Parameters
    ----------
    movie : Movie

    Returns
    -------
    list of Scene

    Raises
    ------
    CalzooError
        If there are fewer frames than are averaged.
    """
    if movie.shape[0] < TOGETHER:
        message = (
            f"{movie.path}: expected a movie of {TOGETHER} frames or more, whose mean is a scene, got "
            f"{movie.shape[0]}; give the whole recording, or leave it away."
        )
        raise CalzooError(message)
    frames = sample_frames(movie)
    scenes = []
    for start in range(0, len(frames) - TOGETHER + 1, TOGETHER):
        piece = frames[start : start + TOGETHER]
        scenes.append(mean_scene(rigid_template(piece, rounds=1)[None]))
    return scenes


def sample_frames(movie):
    """Return up to `FRAMES` frames as float32; those of the FMI sample, stored as roots, are squared."""
    count = movie.shape[0]
    frames = (
        movie.frames(0, min(count, FRAMES))
        if count <= FRAMES
        else movie.take(np.linspace(0, count - 1, FRAMES).astype(int))
    )
    frames = frames.astype(np.float32)
    stored_as_roots = movie.path is not None and "_sqrt8" in movie.path.name and is_fmi(movie.path)
    return frames**2 if stored_as_roots else frames


def is_fmi(path):
    """Tell by its folder, fmi_2p..., whether a movie or folder is the sample of the FMI."""
    path = Path(path).resolve()
    return (path if path.is_dir() else path.parent).name.startswith("fmi_2p")


def _padded(frames, size):
    """Repeat edges until a tile fits."""
    short = [max(size - side, 0) for side in frames.shape[1:]]
    return np.pad(frames, [(0, 0), (0, short[0]), (0, short[1])], mode="edge") if any(short) else frames
