"""Displacement fields: how tissue and scanner move, and what becomes of fields taken together.

Fields are flows in the sense of `calzoo.imaging.warping`: (Y, X, 2) float32, (dy, dx) in pixels.
"""

import numpy as np

from calzoo.errors import CalzooError
from calzoo.imaging.warping import warp

MIN_JACOBIAN = 0.2
ATTEMPTS = 100


def rigid_field(shape, dy, dx):
    """Return the field of a shift by (dy, dx) pixels, (Y, X, 2) float32.

    Parameters
    ----------
    shape : tuple of int
        Height and width in pixels.
    dy, dx : float
        The shift: each pixel looks `dy` rows further down and `dx` columns further right.
    """
    return np.broadcast_to(np.float32([dy, dx]), (*shape, 2)).copy()


def gaussian_field(rng, shape, *, largest, sigma=None, n_centres=10):
    """Draw a field that is the sum of Gaussian bumps at random places with random vectors.

    u(y, x) = sum_i U_i exp(-((x - X_i)^2 + (y - Y_i)^2) / (2 sigma^2)), rescaled. Fields that come near
    to folding the tissue (smallest Jacobian determinant below 0.2) are drawn again.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of chance.
    shape : tuple of int
        Height and width in pixels.
    largest : float
        Length of the longest vector in pixels.
    sigma : float, optional
        Width of the bumps in pixels; left out: log-uniform between 1/16 and 1/5 of the height.
    n_centres : int, optional
        Number of bumps (N).

    Returns
    -------
    ndarray of float32, shape (Y, X, 2)
        (dy, dx) in pixels.

    Raises
    ------
    CalzooError
        If 100 draws all fold: `largest` is too long for `sigma`.
    """
    height, width = shape
    for _ in range(ATTEMPTS):
        drawn = np.exp(rng.uniform(np.log(height / 16), np.log(height / 5))) if sigma is None else sigma
        centres = rng.uniform(0, [height, width], size=(n_centres, 2))
        vectors = rng.normal(size=(n_centres, 2))
        # Each bump is a column times a row, so the sum over them is a product of two matrices.
        rows = np.exp(-((np.arange(height)[:, None] - centres[:, 0]) ** 2) / (2 * drawn**2))
        columns = np.exp(-((np.arange(width)[:, None] - centres[:, 1]) ** 2) / (2 * drawn**2))
        field = np.stack([(rows * vectors[:, axis]) @ columns.T for axis in (0, 1)], axis=-1)
        field = _rescale(field, largest)
        if jacobian_determinant(field).min() >= MIN_JACOBIAN:
            return field
    raise CalzooError(_folds("gaussian_field", largest, sigma, shape))


def smooth_field(rng, shape, *, largest, sigma):
    """Draw a field of white noise that a Gaussian has smoothed, without folds.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of chance.
    shape : tuple of int
        Height and width in pixels.
    largest : float
        Length of the longest vector in pixels.
    sigma : float
        Standard deviation of the Gaussian in pixels.

    Returns
    -------
    ndarray of float32, shape (Y, X, 2)
        (dy, dx) in pixels, with a smallest Jacobian determinant of at least 0.2.

    Raises
    ------
    CalzooError
        If 100 draws all fold.
    """
    height, width = shape
    # The Fourier transform of the Gaussian: it wraps around, so that edges move as much as the middle.
    frequency = np.fft.fftfreq(height)[:, None] ** 2 + np.fft.rfftfreq(width) ** 2
    gaussian = np.exp(-2 * (np.pi * sigma) ** 2 * frequency)[..., None]
    for _ in range(ATTEMPTS):
        spectrum = np.fft.rfft2(rng.normal(size=(*shape, 2)), axes=(0, 1))
        field = _rescale(np.fft.irfft2(spectrum * gaussian, shape, axes=(0, 1)), largest)
        if jacobian_determinant(field).min() >= MIN_JACOBIAN:
            return field
    raise CalzooError(_folds("smooth_field", largest, sigma, shape))


def row_jitter(rng, shape, *, std, correlation):
    """Draw the field of a scanner that moves between rows: one vector per row, an AR(1) series.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of chance.
    shape : tuple of int
        Height and width in pixels.
    std : float or pair of float
        Standard deviation of (dy, dx) in pixels.
    correlation : float
        Correlation of successive rows, at least 0, below 1.

    Returns
    -------
    ndarray of float32, shape (Y, X, 2)
        (dy, dx) in pixels, stationary from the first row on.
    """
    if not 0 <= correlation < 1:
        message = f"row_jitter: the correlation of rows is at least 0 and below 1, got {correlation}"
        raise ValueError(message)
    height, width = shape
    series = rng.normal(size=(height, 2))
    series[1:] *= np.sqrt(1 - correlation**2)
    for row in range(1, height):
        series[row] += correlation * series[row - 1]
    return np.broadcast_to((series * std).astype(np.float32)[:, None], (height, width, 2)).copy()


def compose(first, second):
    """Return the field that does the work of two: ``warp(warp(image, first), second)``.

    Parameters
    ----------
    first, second : ndarray of shape (Y, X, 2) or (T, Y, X, 2)
        (dy, dx) in pixels. Beyond its edge `first` goes on unchanged.

    Returns
    -------
    ndarray of float32
        ``second(y) + first(y + second(y))``, exact up to the bilinear interpolation of `first`.
    """
    first, second = np.broadcast_arrays(np.asarray(first, np.float32), np.asarray(second, np.float32))
    moved = [warp(first[..., axis], second) for axis in (0, 1)]
    return second + np.stack(moved, axis=-1)


def invert(flow, *, tolerance=1e-3, iterations=50):
    """Return the field that undoes another one, v(y) = -u(y + v(y)), by fixed-point iteration [1]_.

    Parameters
    ----------
    flow : ndarray of shape (Y, X, 2) or (T, Y, X, 2)
        (dy, dx) in pixels. The iteration converges if the field nowhere changes by a pixel or more
        from one pixel to the next.
    tolerance : float, optional
        Stop when no vector changes by more than this many pixels.
    iterations : int, optional
        Stop after so many in any case.

    Returns
    -------
    ndarray of float32
        ``compose(flow, invert(flow))`` is zero within `tolerance`, but where it looks outside.

    References
    ----------
    .. [1] Chen et al., "A simple fixed-point approach to invert a deformation field",
       Medical Physics 2008. doi:10.1118/1.2816107
    """
    flow = np.asarray(flow, np.float32)
    inverse = -flow
    for _ in range(iterations):
        change = compose(flow, inverse)  # inverse + flow(y + inverse): zero for the true inverse
        inverse -= change
        if np.abs(change).max() <= tolerance:
            break
    return inverse


def jacobian_determinant(flow):
    """Return how much larger the area is that each pixel looks at: det(1 + grad u).

    Parameters
    ----------
    flow : ndarray of shape (..., Y, X, 2)
        (dy, dx) in pixels, at least 2 x 2.

    Returns
    -------
    ndarray of shape (..., Y, X)
        By central differences (one-sided at the edge). 1 for a shift, negative where the field folds.
    """
    dy_dy, dy_dx = np.gradient(flow[..., 0], axis=(-2, -1))
    dx_dy, dx_dx = np.gradient(flow[..., 1], axis=(-2, -1))
    return (1 + dy_dy) * (1 + dx_dx) - dy_dx * dx_dy


def _rescale(field, largest):
    """Give the longest vector the length `largest`."""
    return (field * (largest / np.hypot(field[..., 0], field[..., 1]).max())).astype(np.float32)


def _folds(caller, largest, sigma, shape):
    """Say that no field without folds was found."""
    return (
        f"{caller}: {ATTEMPTS} fields of shape {tuple(shape)} folded, with largest={largest}, "
        f"sigma={sigma} px. Ask for a shorter displacement or a wider sigma."
    )
