"""Movies for people to look at: grey levels fit for a screen, outlines of masks on top."""

import numpy as np

from calzoo.errors import CalzooError
from calzoo.imaging.contours import Outlines, display_range, enlarge, screen_zoom, to_grey
from calzoo.imaging.frames import as_movie, chunks

SAMPLED_FRAMES = 25


def film_frames(movie, masks=None, *, zoom=None):
    """Turn a movie into pictures, one after the other.

    Parameters
    ----------
    movie : movie or ndarray of shape (T, Y, X)
    masks : Masks, optional
        Whose outlines are drawn, each in a colour of its own.
    zoom : int, optional
        How many pixels wide each pixel is drawn; left out: enough to be seen.

    Yields
    ------
    ndarray of uint8, shape (Y * zoom, X * zoom) or, with masks, (Y * zoom, X * zoom, 3)
        All frames share one range: the 1st to the 99.8th percentile of 25 frames.

    Raises
    ------
    CalzooError
        If the masks are for frames of another size.
    """
    movie = as_movie(movie)
    if masks is not None and masks.shape != movie.shape[1:]:
        message = f"the masks are for frames of {masks.shape} pixels, the movie has {movie.shape[1:]}"
        raise CalzooError(message)
    zoom = zoom or screen_zoom(movie.shape[1:])
    outlines = None if masks is None else Outlines(masks, zoom)
    places = np.unique(np.linspace(0, movie.shape[0] - 1, SAMPLED_FRAMES).round().astype(int))
    low, high = display_range(np.concatenate([movie.frames(place, place + 1) for place in places]))
    for _, frames in chunks(movie):
        for frame in frames:
            picture = enlarge(to_grey(frame, low, high), zoom)
            if outlines:
                picture = picture[..., None].repeat(3, axis=2)
                outlines.draw(picture)
            yield picture
