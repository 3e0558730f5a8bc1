"""Samples of the cell networks: tiles with heat maps, crops with the mask of the cell in the middle."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from scipy import ndimage

from calzoo.imaging.cell_pictures import KINDS
from calzoo.imaging.peaks import local_maxima
from calzoo.training.cells_sources import channel_kinds
from calzoo.training.draws import draw_factor

#: Standard deviation in pixels of the spot that marks a centre; cells are 12 pixels wide.
SPOT_PX = 1.6
#: How far what looks like a cell must stand out, as a part of what stands out most.
_LEAST = 0.15
_CROSS = ndimage.generate_binary_structure(2, 1)


@dataclass(frozen=True, kw_only=True)
class Variation:
    """How far samples are varied.

    Attributes
    ----------
    zoom : float
        Largest change of scale (0.3: from 1 / 1.3 to 1.3).
    stretch : float
        Largest ratio of height to width, likewise.
    gamma : float
        Largest exponent on a picture, likewise.
    blur, noise : float
        Probability of a blur, and of added noise.
    noise_level : float
        Largest standard deviation of the noise; pictures are about 0 to 1.
    shows : mapping of str to float
        How often each choice of pictures is shown, where a field of view has all three: one letter per
        picture that there is, c correlation, b brightness, d deviation.
    """

    zoom: float = 0.3
    stretch: float = 0.08
    gamma: float = 0.8
    blur: float = 0.25
    noise: float = 0.3
    noise_level: float = 0.08
    shows: Mapping = field(
        default_factory=lambda: {"cbd": 0.4, "b": 0.4, "cb": 0.06, "bd": 0.06, "d": 0.04, "c": 0.04}
    )


@dataclass(frozen=True)
class View:
    """How a square sample lies in a picture: ``picture = middle + matrix @ (sample - half)``."""

    middle: np.ndarray  # (y, x) in the picture
    matrix: np.ndarray  # (2, 2)
    half: float  # the sample's coordinate that lies on `middle`

    def grid(self, side):
        """Return where the sample's pixels lie in the picture, (2, side, side)."""
        pixels = np.indices((side, side)).reshape(2, -1) - self.half
        return (self.middle[:, None] + self.matrix @ pixels).reshape(2, side, side)

    def back(self, places):
        """Return where places (N, 2) of the picture lie in the sample."""
        return (np.asarray(places, float) - self.middle) @ np.linalg.inv(self.matrix).T + self.half


def draw_view(rng, middle, half, variation):
    """Draw a rotation, mirroring, zoom and stretch.

    Parameters
    ----------
    rng : numpy.random.Generator
    middle : array-like, (2,)
        (y, x) in the picture.
    half : float
        Coordinate of the sample that lies there.
    variation : Variation
    """
    angle = rng.uniform(0, 2 * np.pi)
    stretch = np.sqrt(draw_factor(rng, variation.stretch))
    sizes = draw_factor(rng, variation.zoom) * np.array([stretch, rng.choice([-1, 1]) / stretch])
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return View(np.asarray(middle, float), turn * sizes, float(half))


def plain_view(middle, half):
    """Return a view that is not varied."""
    return View(np.asarray(middle, float), np.eye(2), float(half))


def look(picture, view, side, *, order=1, outside=None):
    """Sample a picture (Y, X) by a view.

    Parameters
    ----------
    picture : ndarray, (Y, X)
    view : View
    side : int
    order : {0, 1}, optional
        Nearest pixel, or linear.
    outside : number, optional
        Value beyond the edge; absent, the picture goes on as in a mirror.

    Returns
    -------
    ndarray, (side, side)
    """
    options = {"mode": "reflect"} if outside is None else {"mode": "constant", "cval": outside}
    return ndimage.map_coordinates(picture, view.grid(side), order=order, **options)


def choose_pictures(rng, picture, variation):
    """Draw which pictures are shown, and which kind stands for each.

    Parameters
    ----------
    rng : numpy.random.Generator
    picture : CellPicture
    variation : Variation

    Returns
    -------
    list of (str or tuple or None), one for each of correlation, brightness, deviation
        A kind; two kinds with the share of the second, to be mixed; None: not shown.
    """
    groups = channel_kinds(picture.pictures)
    shows = list(variation.shows)
    possible = [s for s in shows if all(g for g, letter in zip(groups, "cbd", strict=True) if letter in s)]
    shares = np.array([variation.shows[s] for s in possible])
    shown = possible[int(rng.choice(len(possible), p=shares / shares.sum()))]
    chosen = []
    for group, letter in zip(groups, "cbd", strict=True):
        if letter not in shown:
            chosen.append(None)
        elif letter == "b" and len(group) > 1 and rng.random() < 0.3:
            # What people call "the picture of a recording" is often neither a mean nor a maximum.
            first, second = rng.choice([*group, *channel_kinds(picture.pictures)[2]], 2, replace=False)
            chosen.append((str(first), str(second), float(rng.uniform(0.2, 0.8))))
        else:
            chosen.append(str(rng.choice(group)))
    return chosen


def usual_pictures(picture):
    """Return the pictures that inference would be given: one kind for each channel, or None."""
    return [group[0] if group else None for group in channel_kinds(picture.pictures)]


def shown_pictures(picture):
    """Yield (name, choice of pictures): all that there are, and of a movie the brightness alone too."""
    usual = usual_pictures(picture)
    yield picture.source, usual
    if sum(kind is not None for kind in usual) > 1:
        yield f"{picture.source}_picture", [None, usual[1], None]


def picked(picture, kind):
    """Return a picture, or the mixture of two."""
    if isinstance(kind, str):
        return picture.pictures[kind]
    first, second, share = kind
    return (1 - share) * picture.pictures[first] + share * picture.pictures[second]


def varied(rng, image, variation):
    """Change gamma, sharpness and noise of one picture of a sample, (side, side) float32."""
    low = float(image.min())
    span = float(image.max()) - low
    if span > 0:
        image = span * ((image - low) / span) ** np.float32(draw_factor(rng, variation.gamma)) + low
    if rng.random() < variation.blur:
        image = ndimage.gaussian_filter(image, rng.uniform(0.3, 1.2))
    if rng.random() < variation.noise:
        level = variation.noise_level * rng.random() * span
        noise = rng.standard_normal(image.shape, np.float32)
        if rng.random() < 0.5:  # of a detector whose noise is smoothed, or of a picture that was enlarged
            noise = 2 * ndimage.gaussian_filter(noise, rng.uniform(0.4, 1.0))
        image = image + np.float32(level) * noise
    return image.astype(np.float32)


def image_sample(rng, picture, chosen, view, side, variation=None):
    """Return the network's image (side, side, 3) and which pictures are present, (3,)."""
    image = np.zeros((side, side, len(KINDS)), np.float32)
    for channel, kind in enumerate(chosen):
        if kind is not None:
            image[..., channel] = look(picked(picture, kind), view, side)
            if variation is not None:
                image[..., channel] = varied(rng, image[..., channel], variation)
    return image, np.array([kind is not None for kind in chosen], np.float32)


def heat_targets(labels, centers, weight):
    """Draw the heat maps of a sample.

    Parameters
    ----------
    labels : ndarray of int, (Y, X)
        0 background.
    centers : ndarray of float, (N, 2)
    weight : ndarray of float32, (Y, X)
        0 where nobody knows.

    Returns
    -------
    ndarray of float32, (Y, X, 4)
        Soma, border (the outermost pixels of each cell), spots at the centres, weight.
    """
    soma = labels > 0
    border = soma & (
        ndimage.grey_erosion(labels, footprint=_CROSS) != ndimage.grey_dilation(labels, footprint=_CROSS)
    )
    return np.stack([soma, border, spots(centers, labels.shape), weight], axis=-1).astype(np.float32)


def spots(centers, shape):
    """Draw a Gaussian spot of height 1 at each centre, the highest where they overlap, (Y, X) float32."""
    heat = np.zeros(shape, np.float32)
    reach = int(np.ceil(3 * SPOT_PX))
    for y, x in centers:
        top, left = max(int(y) - reach, 0), max(int(x) - reach, 0)
        bottom, right = min(int(y) + reach + 2, shape[0]), min(int(x) + reach + 2, shape[1])
        if top >= bottom or left >= right:
            continue
        dy, dx = np.ogrid[top - y : bottom - y, left - x : right - x]
        spot = np.exp(-(dy[: bottom - top] ** 2 + dx[:, : right - left] ** 2) / (2 * SPOT_PX**2))
        np.maximum(heat[top:bottom, left:right], spot, out=heat[top:bottom, left:right])
    return heat


def lookalikes(image, *, diameter=12.0):
    """Find bright blobs of about the size of a cell.

    Parameters
    ----------
    image : ndarray of float32, (Y, X)
        Normalised.
    diameter : float, optional
        Of the cells in the image, in pixels.

    Returns
    -------
    ndarray, (N, 2)
    """
    sigma = diameter / 4
    response = ndimage.gaussian_filter(image, sigma) - ndimage.gaussian_filter(image, 2 * sigma)
    scale = max(float(np.percentile(response, 99.5)), 1e-6)
    return local_maxima(response, distance=diameter / 2, threshold=_LEAST * scale)[0]
