"""From fluorescence to grey values: blur, illumination, noise, digitisation."""

import numpy as np
from scipy import ndimage

from calzoo.simulation.fields import linear_weights, smooth_field


def psf_sigma(style):
    """Return the sigma of the point spread function in voxels, (z, y, x)."""
    return np.array([style["psf_axial_px"] / style["anisotropy"], style["psf_px"], style["psf_px"]])


def blur(rng, light, style):
    """Blur by the point spread function, which may widen across the volume.

    Parameters
    ----------
    rng : numpy.random.Generator
    light : ndarray of float32, (Z, Y, X)
    style : dict

    Returns
    -------
    ndarray of float32, (Z, Y, X)
    """
    sigma = psf_sigma(style)
    sharp = ndimage.gaussian_filter(light, sigma, truncate=2.5)
    if style["psf_growth"] == 1:
        return sharp
    more = sigma * np.sqrt(style["psf_growth"] ** 2 - 1)
    wide = ndimage.gaussian_filter(sharp, more, truncate=2.5)
    axis = int(rng.choice([0, 2]))  # deeper planes, or the ends of the light sheet
    side = light.shape[axis]
    weight = np.abs(np.linspace(0, 1, side, dtype=np.float32) - rng.choice([0, 0.5, 1]))
    weight = (weight / max(weight.max(), 1e-6)).reshape([side if i == axis else 1 for i in range(3)])
    return sharp + weight * (wide - sharp)


def glare(light, style):
    """Return the light that the far tails of the point spread function scatter around."""
    a, coarse = style["anisotropy"], 4
    small = ndimage.gaussian_filter(light, (0, coarse / 2, coarse / 2), truncate=2)[:, ::coarse, ::coarse]
    reach = style["glare_px"]
    small = ndimage.gaussian_filter(small, (reach / a, reach / coarse, reach / coarse), truncate=2)
    rows, columns = (linear_weights(*s, coarse) for s in zip(light.shape[1:], small.shape[1:], strict=True))
    return rows @ small @ columns.T


def illuminate(rng, shape, style):
    """Draw how strongly each voxel is lit: uneven, weaker with depth, striped.

    Returns
    -------
    ndarray of float32, (Z, Y, X)
    """
    a = style["anisotropy"]
    lit = np.exp(style["unevenness"] * smooth_field(rng, shape, (60 / a, 120, 120)))
    z = np.linspace(0, 1, shape[0], dtype=np.float32)
    plane = np.exp(-style["attenuation"] * (z if rng.random() < 0.5 else 1 - z))
    plane = plane * np.maximum(1 + style["flicker"] * rng.standard_normal(shape[0]), 0.2)
    lit *= plane.astype(np.float32)[:, None, None]
    if style["striping"]:
        stripes = smooth_field(rng, shape, (3, rng.uniform(1, 5), 400))
        stripes = stripes if rng.random() < 0.7 else smooth_field(rng, shape, (3, 400, rng.uniform(1, 5)))
        lit *= np.maximum(1 + style["striping"] * stripes, 0.2)
    return lit


def expose(rng, light, style):
    """Count photons and add what a detector adds.

    Parameters
    ----------
    rng : numpy.random.Generator
    light : ndarray of float32, (Z, Y, X)
        1 is a typical axon.
    style : dict

    Returns
    -------
    ndarray of float32, (Z, Y, X)
        The same unit, with noise.
    """
    if style["speckle"]:
        correlated = smooth_field(rng, light.shape, (style["speckle_axial"], 1.3, 1.3))
        light = light * np.maximum(1 + style["speckle"] * correlated, 0)
    mean = np.maximum(light, 0) * np.float32(style["photons"])  # filters leave -1e-9
    if mean.mean() > 30:  # a normal distribution is as good, and ten times as fast
        counts = mean + np.sqrt(mean) * rng.standard_normal(mean.shape, np.float32)
    else:
        counts = rng.poisson(mean).astype(np.float32)
    if style["excess_noise"]:
        amplified = np.float32(style["excess_noise"]) * np.sqrt(np.abs(counts))
        counts += amplified * rng.standard_normal(mean.shape, np.float32)
    image = counts / np.float32(style["photons"])
    if style["read_noise"]:
        image += np.float32(style["read_noise"]) * rng.standard_normal(image.shape, np.float32)
    if style["hot_pixels"]:
        number = rng.poisson(style["hot_pixels"] * image.size)
        image.reshape(-1)[rng.integers(image.size, size=number)] += rng.exponential(3, number)
    if style["smoothing_px"]:
        sigma = style["smoothing_px"]
        axial = style["smoothing_axial"] * sigma
        image = ndimage.gaussian_filter(image, (axial, sigma, sigma), truncate=2.5)
    return image


def digitise(image, style):
    """Turn light into grey values with the style's offset, levels and saturation.

    Returns
    -------
    ndarray of uint8 or uint16, (Z, Y, X)
    """
    levels = style["levels"]
    step = style["white_point"] / (levels - 1)
    level = np.floor((image - style["black_level"]) / step + np.float32(0.5))
    level = np.clip(level, 0, levels - 1)
    if style["bits"] == 16:  # 12 of 16 bits are stored as they are
        return level.astype(np.uint16)
    return (level * (255 // (levels - 1))).astype(np.uint8)


def field_of_view(rng, shape, style):
    """Draw which part of the frame was recorded.

    Returns
    -------
    ndarray of bool, (Z, Y, X) or (1, Y, X), or None for all of it
        The inside of a polygon, the same in all planes; or a union of boxes.
    """
    if style["margin"] == "none":
        return None
    _, high, wide = shape
    if style["margin"] == "boxes":
        seen = np.zeros(shape, bool)
        for _ in range(rng.integers(2, 6)):
            first = [int(side * rng.uniform(0, 0.5)) for side in shape]
            last = [f + int(side * rng.uniform(0.4, 0.8)) + 1 for f, side in zip(first, shape, strict=True)]
            seen[tuple(map(slice, first, last))] = True
        return seen
    y, x = np.mgrid[:high, :wide].astype(np.float32)
    seen = np.ones((high, wide), bool)
    for _ in range(rng.integers(1, 5)):
        angle, distance = rng.uniform(0, 2 * np.pi), rng.uniform(0.15, 0.6)
        edge = np.cos(angle) * (y / high - 0.5) + np.sin(angle) * (x / wide - 0.5)
        seen &= edge < distance
    return seen[None]
