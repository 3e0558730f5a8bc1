"""The diameter of the cells of a one-photon movie, without a network."""

import numpy as np
from scipy import ndimage

from calzoo.imaging.center_drawings import still_picture
from calzoo.imaging.center_peaks import local_maxima
from calzoo.imaging.diameters import aspect_of
from calzoo.imaging.frames import as_movie


def measured_diameter(movie, *, frames=200):
    """Measure how wide the things are that light up, without a network.

    The scale at which blobs answer most: the Laplacian of Gaussian, normalised by scale, of the highest
    level over time, at its strongest summits.

    Parameters
    ----------
    movie : movie or ndarray, (T, Y, X)
    frames : int, optional
        How many, spread over the movie.

    Returns
    -------
    float
        In pixels (of the mean side), between 4 and a quarter of the shorter side.
    """
    movie = as_movie(movie)
    aspect = np.array(aspect_of(getattr(movie, "pixel_um", None)))
    largest = max(0.25 * min(movie.shape[1:] * aspect), 4.0)
    # The high-pass must be wider than what is looked for.
    picture = still_picture(_every(movie, max(movie.shape[0] // frames, 1)), min(largest, 24.0), aspect)
    diameters = np.geomspace(4.0, min(largest, 32.0), 13)
    answers = []
    for diameter in diameters:
        sigma = diameter / (2 * np.sqrt(2))
        bends = [
            (width**2) * ndimage.gaussian_filter(picture.astype(float), sigma / aspect, order=order)
            for width, order in zip(sigma / aspect, ((2, 0), (0, 2)), strict=True)
        ]
        answers.append(-sum(bends))
    answers = np.stack(answers)
    best = answers.max(axis=0)
    points = local_maxima(best, distance=6.0, count=60)
    if not len(points):
        return 10.0
    scales = answers[:, points[:, 0], points[:, 1]].argmax(axis=0)
    # Most summits may be noise; those that answer most count most.
    order = np.argsort(scales, kind="stable")
    share = np.cumsum(best[tuple(points[order].T)].clip(0) ** 2)
    return float(diameters[scales[order][np.searchsorted(share, 0.5 * share[-1])]])


def _every(movie, step):
    """Return every so many frames as an array."""
    return np.stack([movie.frames(t, t + 1)[0] for t in range(0, movie.shape[0], step)])
