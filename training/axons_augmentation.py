"""Variations of a training tile, in NumPy and SciPy.

Every function is free of chance: what it does is in its arguments. `vary` draws
them from a generator that belongs to one sample, so a sample depends on nothing
but (seed, epoch, index). Images are normalised intensities, float32, (Z, Y, X);
labels are integers of the same shape and are moved with the image, never mixed.
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from calzoo.errors import CalzooError
from calzoo.simulation.fields import log_uniform
from calzoo.training.draws import draw_factor

#: The label of voxels that a movement brought in from outside the tile.
OUTSIDE = -1


@dataclass(frozen=True, kw_only=True)
class Variation:
    """How often and how far tiles are varied; probabilities from 0 to 1.

    Attributes
    ----------
    warp : float
        Probability of a movement in the plane: small rotation, zoom and elastic.
    degrees, zoom, elastic_px : float
        Largest rotation, largest change of scale (0.2: from 1/1.2 to 1.2) and
        typical elastic displacement.
    gamma, gain, offset : float
        Largest change of the exponent and the gain (both as for `zoom`), and of the zero.
    blur, noise, planes, coarse, frame : float
        Probability of a blur, of added noise, of a lost plane, of every second plane
        being dropped, and of a black frame around the field of view.
    grain : float
        Probability of added noise whose neighbouring voxels are alike, stronger on one side: the
        noise of stacks that were resampled or deconvolved, and of tissue that scatters.
    torchio : float
        Probability of one of torchio's variations besides (extra ``[torchio]``): uneven
        brightness, planes farther apart, or an elastic deformation in space.
    """

    warp: float = 0.25
    degrees: float = 20.0
    zoom: float = 0.25
    elastic_px: float = 1.5
    gamma: float = 0.4
    gain: float = 0.3
    offset: float = 0.05
    blur: float = 0.15
    noise: float = 0.2
    planes: float = 0.1
    coarse: float = 0.1
    frame: float = 0.15
    grain: float = 0.0
    torchio: float = 0.0


def vary(rng, image, labels, variation):
    """Draw one variation of a tile.

    Parameters
    ----------
    rng : numpy.random.Generator
        Of this sample.
    image : ndarray of float32, (Z, Y, X)
        Normalised intensities; Y = X, as quarter turns need.
    labels : ndarray of int, (Z, Y, X)
        Signed, so that `OUTSIDE` can be told.
    variation : Variation

    Returns
    -------
    image : ndarray of float32, (Z, Y, X)
    labels : ndarray of int, (Z, Y, X)
    """
    image, labels = turn(image, labels, quarters=int(rng.integers(4)), mirror=rng.random(3) < 0.5)
    if variation.torchio and rng.random() < variation.torchio:
        image, labels = vary_by_torchio(rng, image, labels)
    if rng.random() < variation.coarse:
        image, labels = drop_every_second_plane(image, labels)
    if rng.random() < variation.warp:
        angle = np.deg2rad(rng.uniform(-variation.degrees, variation.degrees))
        field = smooth_displacement(rng, image.shape[1:], variation.elastic_px * rng.random())
        # Interpolation smooths noise away; the nearest voxel keeps it. Both are seen.
        order = int(rng.integers(2))
        image, labels = warp(image, labels, angle, draw_factor(rng, variation.zoom), field, order=order)
    image = adjust(
        image,
        gamma=draw_factor(rng, variation.gamma),
        gain=draw_factor(rng, variation.gain),
        offset=rng.uniform(-variation.offset, variation.offset),
    )
    if rng.random() < variation.blur:
        width = rng.uniform(0.3, 1.0)
        image = ndimage.gaussian_filter(image, (rng.uniform(0, 0.7), width, width), truncate=3)
    if rng.random() < variation.noise:
        image = image + np.float32(rng.uniform(0.01, 0.15)) * rng.standard_normal(image.shape, np.float32)
    if variation.grain and rng.random() < variation.grain:
        image = image + draw_grain(rng, image.shape)
    if rng.random() < variation.planes:
        image = lose_plane(image, int(rng.integers(len(image))))
    if rng.random() < variation.frame:
        # Zero lies below the darkest voxel by the camera's offset, which may be any number of spans.
        level = float(image.min()) - rng.exponential(0.3)
        image, labels = blacken(image, labels, draw_frame(rng, image.shape), level)
    return image, labels


def draw_grain(rng, shape):
    """Draw noise whose neighbouring voxels are alike.

    Parameters
    ----------
    rng : numpy.random.Generator
    shape : tuple of int
        (Z, Y, X).

    Returns
    -------
    ndarray of float32, (Z, Y, X)
        In units of the image's span; in half of the cases it grows along a random direction.
    """
    width = rng.uniform(0.4, 1.1)
    noise = ndimage.gaussian_filter(
        rng.standard_normal(shape, np.float32), (rng.uniform(0.0, 1.0), width, width), truncate=3
    )
    noise *= log_uniform(rng, 0.01, 0.1) / max(float(noise.std()), 1e-6)
    if rng.random() < 0.5:
        angle = rng.uniform(0, 2 * np.pi)
        y, x = (np.linspace(-0.5, 0.5, side, dtype=np.float32) for side in shape[1:])
        noise *= np.clip(0.5 + np.cos(angle) * y[:, None] + np.sin(angle) * x, 0, 1).astype(np.float32)
    return noise


def vary_by_torchio(rng, image, labels):
    """Let torchio vary a tile: uneven brightness, planes farther apart, or an elastic deformation.

    Parameters
    ----------
    rng : numpy.random.Generator
        Seeds torch for this one tile; torch's own generator is as it was afterwards.
    image : ndarray of float32, (Z, Y, X)
    labels : ndarray of int, (Z, Y, X)

    Returns
    -------
    image : ndarray of float32, (Z, Y, X)
    labels : ndarray of int, (Z, Y, X)
        What an elastic deformation brings in from outside the tile is `OUTSIDE`.

    Raises
    ------
    CalzooError
        If torchio is not installed.
    """
    try:
        import torch
        import torchio
    except ImportError as error:
        message = (
            "variation.torchio is above 0, but torchio is not installed; run: python -m pip install "
            "'calzoo[torchio]', or leave the setting out."
        )
        raise CalzooError(message) from error
    one_of = torchio.OneOf(
        [
            torchio.RandomBiasField(coefficients=0.3),
            torchio.RandomAnisotropy(axes=(0,), downsampling=(1.5, 3)),
            torchio.RandomElasticDeformation(num_control_points=7, max_displacement=(1, 4, 4)),
        ]
    )
    # Labels outside become 0, torchio's padding; so that background is not 0, all are counted up.
    shift = 1 - OUTSIDE
    subject = torchio.Subject(
        image=torchio.ScalarImage(tensor=torch.from_numpy(image[None].copy())),
        labels=torchio.LabelMap(tensor=torch.from_numpy(labels[None].astype(np.int32) + shift)),
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(rng.integers(2**31)))
        varied = one_of(subject)
    moved = np.asarray(varied["labels"].data)[0].astype(labels.dtype)
    new_labels = np.where(moved == 0, OUTSIDE, moved - shift).astype(labels.dtype)
    return np.asarray(varied["image"].data)[0].astype(np.float32), new_labels


def turn(image, labels, *, quarters, mirror):
    """Turn in the plane by quarters (``numpy.rot90``, y to x) and mirror the axes (z, y, x) that are true."""
    flips = tuple(slice(None, None, -1) if flip else slice(None) for flip in mirror)
    return tuple(np.ascontiguousarray(np.rot90(a, quarters, axes=(1, 2))[flips]) for a in (image, labels))


def drop_every_second_plane(image, labels):
    """Keep planes 0, 2, 4..., as a microscope with twice the spacing would; reflected to the old depth."""
    lost = len(image) // 2
    return tuple(np.pad(a[::2], ((0, lost), (0, 0), (0, 0)), mode="reflect") for a in (image, labels))


def smooth_displacement(rng, shape, px):
    """Draw a smooth displacement.

    Parameters
    ----------
    rng : numpy.random.Generator
    shape : tuple of int
        (Y, X).
    px : float
        Standard deviation, in pixels.

    Returns
    -------
    ndarray of float64, (2, Y, X)
        (dy, dx) in pixels; one random vector every 24 pixels, cubic between.
    """
    coarse = tuple(-(-side // 24) + 3 for side in shape)
    grid = np.indices(shape) / 24 + 1
    return np.stack([ndimage.map_coordinates(rng.normal(0, px, coarse), grid, order=3) for _ in range(2)])


def warp(image, labels, angle, zoom, field, *, order=1):
    """Move all planes alike: ``new[p] = old[centre + R(angle) (p - centre) / zoom + field]``.

    Parameters
    ----------
    image, labels : ndarray, (Z, Y, X)
    angle : float
        Radians, from y to x.
    zoom : float
        2 makes things twice as large.
    field : ndarray of float, (2, Y, X)
        (dy, dx), in pixels.
    order : {0, 1}, optional
        Interpolation of the image, nearest or linear; labels are always nearest.

    Returns
    -------
    image, labels : ndarray, (Z, Y, X)
        Beyond the edge the image is reflected and labels are `OUTSIDE`.
    """
    centre = (np.array(image.shape[1:]).reshape(2, 1, 1) - 1) / 2
    y, x = (np.indices(image.shape[1:]) - centre) / zoom
    turned = np.stack([y * np.cos(angle) - x * np.sin(angle), y * np.sin(angle) + x * np.cos(angle)])
    place = turned + centre + field
    new_image, new_labels = np.empty_like(image), np.empty_like(labels)
    for z in range(len(image)):
        ndimage.map_coordinates(image[z], place, new_image[z], order=order, mode="reflect")
        ndimage.map_coordinates(labels[z], place, new_labels[z], order=0, mode="constant", cval=OUTSIDE)
    return new_image, new_labels


def adjust(image, *, gamma=1.0, gain=1.0, offset=0.0):
    """Bend the range between the tile's smallest and largest value by `gamma`, then scale and shift it."""
    low, high = float(image.min()), float(image.max())
    if gamma != 1 and high > low:
        image = (high - low) * ((image - low) / (high - low)) ** np.float32(gamma) + low
    return (gain * image + offset).astype(np.float32)


def lose_plane(image, plane):
    """Replace a plane by the tile's smallest value, as a shutter that missed it would."""
    image = image.copy()
    image[plane] = image.min()
    return image


def draw_frame(rng, shape):
    """Draw what lies outside a field of view: beyond a slanted line, around a box, or in a corner.

    Boxes end in depth too, as stitched volumes and tilted fields of view do.

    Parameters
    ----------
    rng : numpy.random.Generator
    shape : tuple of int
        (Z, Y, X).

    Returns
    -------
    ndarray of bool, (Z, Y, X)
        True outside; about nine tenths of the tile at most.
    """
    z, y, x = np.indices(shape, sparse=True)
    kind = rng.integers(3)
    if kind == 0:
        angle = rng.uniform(0, 2 * np.pi)
        across = np.cos(angle) * (y - shape[1] / 2) + np.sin(angle) * (x - shape[2] / 2)
        return np.broadcast_to(across > rng.uniform(0, 0.5) * min(shape[1:]), shape)
    if kind == 1:
        sides = [
            rng.uniform(0, 0.3, 2) * (rng.random(2) < odds) * n
            for odds, n in zip((0.3, 0.6, 0.6), shape, strict=True)
        ]
        beyond = [
            (i < low) | (i >= n - high) for i, (low, high), n in zip((z, y, x), sides, shape, strict=True)
        ]
        return beyond[0] | beyond[1] | beyond[2]
    # A corner, as deep along each axis as drawn; along z half of the time all through.
    reach = [rng.uniform(0.1, 0.9) * n for n in shape]
    ends = [
        i < r if rng.random() < 0.5 else i >= n - r for i, r, n in zip((z, y, x), reach, shape, strict=True)
    ]
    return (ends[0] | (rng.random() < 0.5)) & ends[1] & ends[2]


def blacken(image, labels, outside, level):
    """Set the image to `level` where `outside` (Z, Y, X); there is nothing but background."""
    return np.where(outside, np.float32(level), image), np.where(outside, 0, labels).astype(labels.dtype)
