"""Random fields, textures, vessels and illumination: what lies around the cells of a movie.

Images are (H, W) float32, lengths are in pixels unless a name says otherwise.
"""

import numpy as np
from scipy import ndimage


def random_field(rng, shape, sigma):
    """Draw a smooth random image.

    Parameters
    ----------
    rng : numpy.random.Generator
    shape : tuple of int
        (H, W) in pixels.
    sigma : float or tuple of float
        Width in pixels, for each axis or for both, of the Gaussian that smooths white noise.

    Returns
    -------
    ndarray of float32, `shape`
        Mean 0 and standard deviation 1 over many draws.
    """
    sigmas = np.broadcast_to(np.asarray(sigma, float), (len(shape),))
    if sigmas.min() < 3:
        field = ndimage.gaussian_filter(rng.standard_normal(shape, dtype=np.float32), sigmas, mode="wrap")
        return field / np.float32(max(field.std(), 1e-12))
    # Wide smoothing works on a coarse grid of Gaussians.
    bases = [_gaussian_basis(rng, side, s) for side, s in zip(shape, sigmas, strict=True)]
    nodes = rng.standard_normal([basis.shape[1] for basis in bases], dtype=np.float32)
    return bases[0] @ nodes @ bases[1].T


def _gaussian_basis(rng, side, sigma):
    """Return Gaussians (side, count) 0.8 sigma apart; the squares of each row add up to one."""
    step = 0.8 * sigma
    centres = np.arange(-4 * sigma - rng.uniform(0, step), side + 4 * sigma, step)
    basis = np.exp(-0.5 * ((np.arange(side)[:, None] - centres) / sigma) ** 2)
    return (basis / np.linalg.norm(basis, axis=1, keepdims=True)).astype(np.float32)


def neuropil_texture(rng, shape, pixel_um, *, contrast, fibres, angle, filaments):
    """Draw the texture of unresolved neurites.

    Parameters
    ----------
    rng : numpy.random.Generator
    shape : tuple of int
        (H, W) in pixels.
    pixel_um : float
        Side of a pixel in micrometres.
    contrast : float
        Standard deviation of the logarithm of the brightness.
    fibres : float
        Share, 0 to 1, of the contrast that comes from parallel fibres.
    angle : float
        Direction of the fibres in radians, from the column axis.
    filaments : float
        Brightness over the mean of a net of fine neurites.

    Returns
    -------
    ndarray of float32, (H, W)
        Positive, mean 1.
    """
    grain = np.zeros(shape, np.float32)
    for sigma_um, weight in ((0.7, 0.55), (2.0, 0.5), (6.0, 0.45), (25.0, 0.5)):
        grain += np.float32(weight) * random_field(rng, shape, max(sigma_um / pixel_um, 0.5))
    along = _fibre_field(rng, shape, pixel_um, angle) if fibres > 0 else 0.0
    mixed = np.sqrt(1 - fibres) * grain + np.sqrt(fibres) * along
    texture = np.exp(np.float32(contrast) * mixed)
    if filaments > 0:
        for size_um in (3.0, 5.0, 9.0):
            texture += filaments * _filament_net(rng, shape, pixel_um, size_um)
    return texture / texture.mean()


def _filament_net(rng, shape, pixel_um, size_um):
    """Return thin curved lines, 0..1: the zero lines of a smooth field, bright in places."""
    field = random_field(rng, shape, max(size_um / pixel_um, 1))
    slope = np.hypot(*np.gradient(field))
    distance = field / np.maximum(slope, 0.1 * slope.mean())  # from the zero line, in pixels
    width = np.hypot(rng.uniform(0.2, 0.5) / pixel_um, 0.4)
    lines = np.exp(-0.5 * (distance / width) ** 2)
    patches = random_field(rng, shape, max(1.5 * size_um / pixel_um, 1)) - 0.5
    return (lines * np.clip(patches, 0, None)).astype(np.float32)


def _fibre_field(rng, shape, pixel_um, angle):
    """Return noise drawn out along wavering lines, standard deviation 1."""
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    # The direction wavers, so fibres bend: the coordinates are shifted by smooth fields.
    bend = 10 / pixel_um * random_field(rng, shape, 50 / pixel_um)
    bend += 2.5 / pixel_um * random_field(rng, shape, 15 / pixel_um)
    across = -x * np.sin(angle) + y * np.cos(angle) + bend
    along = x * np.cos(angle) + y * np.sin(angle)
    total = np.zeros(shape, np.float32)
    for width_um, weight in ((0.8, 0.6), (2.5, 0.6), (8.0, 0.5)):
        width = max(width_um / pixel_um, 0.7)
        grid = random_field(rng, (256, 256), 1.5)
        # The grid repeats itself: "grid-wrap" joins its ends without a seam.
        where = [across / (width / 1.5), along / (6 * width / 1.5)]
        total += np.float32(weight) * ndimage.map_coordinates(grid, where, order=1, mode="grid-wrap")
    return total / max(float(total.std()), 1e-12)


def smooth_path(rng, start, direction, length, *, wander, step=0.5):
    """Walk a path whose direction wavers.

    Parameters
    ----------
    rng : numpy.random.Generator
    start : tuple of float
        (y, x) in pixels.
    direction : float
        First direction in radians, from the column axis towards the rows.
    length, step : float
        Length of the path and of one step in pixels.
    wander : float
        Standard deviation in radians of the change of direction over 10 pixels.

    Returns
    -------
    ndarray of float64, (n, 2)
        Points (y, x), `step` pixels apart.
    """
    count = max(int(length / step), 2)
    turns = rng.normal(0, wander * np.sqrt(step / 10), count)
    heading = direction + ndimage.gaussian_filter1d(np.cumsum(turns), 3 / step, mode="nearest")
    steps = step * np.stack([np.sin(heading), np.cos(heading)], axis=-1)
    return np.asarray(start, float) + np.cumsum(steps, axis=0)


def draw_disks(shape, points, radii):
    """Return the distance-like depth of a union of disks.

    Parameters
    ----------
    shape : tuple of int
        (H, W) in pixels.
    points : ndarray, (n, 2)
        Centres (y, x) in pixels.
    radii : ndarray, (n,)
        Radii in pixels.

    Returns
    -------
    ndarray of float32, (H, W)
        The largest ``radius - distance`` over the disks: positive inside, -inf far away.
    """
    depth = np.full(shape, -np.inf, np.float32)
    for (y, x), radius in zip(points, radii, strict=True):
        reach = int(np.ceil(radius)) + 3
        top, left = int(y) - reach, int(x) - reach
        rows = slice(max(top, 0), min(top + 2 * reach + 1, shape[0]))
        cols = slice(max(left, 0), min(left + 2 * reach + 1, shape[1]))
        if rows.start >= rows.stop or cols.start >= cols.stop:
            continue
        dy = np.arange(rows.start, rows.stop)[:, None] - y
        dx = np.arange(cols.start, cols.stop)[None, :] - x
        np.maximum(depth[rows, cols], radius - np.hypot(dy, dx), out=depth[rows, cols])
    return depth


def vessel_path(rng, shape, radius, *, length=None):
    """Draw one vessel across an image.

    Parameters
    ----------
    rng : numpy.random.Generator
    shape : tuple of int
        (H, W) in pixels.
    radius : float
        Mean radius in pixels; it changes by a fifth along the way.
    length : float, optional
        Length in pixels; absent, the vessel crosses the whole image.

    Returns
    -------
    points : ndarray of float64, (n, 2)
        (y, x) in pixels, a third of a radius apart.
    radii : ndarray of float64, (n,)
    """
    direction = rng.uniform(0, 2 * np.pi)
    inside = rng.uniform(0, 1, 2) * shape
    if length is None:
        length = 2.2 * np.hypot(*shape)
    step = max(radius / 3, 0.5)
    wander = 0.9 / np.sqrt(1 + radius)
    # Two halves that leave the place in opposite directions: a vessel goes through it for sure.
    turned = (direction + np.pi, direction)
    back, ahead = (smooth_path(rng, inside, turn, length / 2, wander=wander, step=step) for turn in turned)
    points = np.concatenate([back[::-1], ahead])
    swell = ndimage.gaussian_filter1d(rng.standard_normal(len(points)), max(4 * radius / step, 1))
    swell /= max(swell.std(), 1e-12)
    return points, radius * np.clip(1 + 0.2 * swell, 0.5, 1.6)


def soft_inside(depth, blur):
    """Turn a depth image (positive inside) into a mask 0..1 whose edge is `blur` pixels wide."""
    return 1 / (1 + np.exp(-np.clip(depth / max(blur, 0.3), -30, 30)))


def vignette(rng, shape, *, strength, radius, power, off_centre):
    """Draw the fall of brightness towards the border.

    Parameters
    ----------
    rng : numpy.random.Generator
    shape : tuple of int
        (H, W) in pixels.
    strength : float
        Part of the light that is lost far from the centre, 0 to 1.
    radius : float
        Where half of that is lost, over half the side.
    power : float
        2 is a bowl; 4 and more a plateau with steep edges.
    off_centre : float
        Standard deviation of the centre's shift, as a part of half the side.

    Returns
    -------
    ndarray of float32, (H, W)
        1 in the centre.
    """
    half = np.array(shape) / 2
    cy, cx = half * (1 + off_centre * np.clip(rng.normal(size=2), -1.5, 1.5))
    y = (np.arange(shape[0])[:, None] - cy) / half[0]
    x = (np.arange(shape[1])[None, :] - cx) / half[1]
    kept = 1 / (1 + (np.hypot(y, x) / radius) ** power)
    return (1 - strength * (1 - kept)).astype(np.float32)
