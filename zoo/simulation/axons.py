"""Stacks of fluorescent axons with the truth for every voxel."""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from numbers import Integral

import numpy as np

from calzoo.errors import CalzooError
from calzoo.simulation.axon_clutter import draw_background, draw_bodies, draw_haze, draw_tissue
from calzoo.simulation.axon_geometry import grow_axons, visible_px
from calzoo.simulation.axon_microscopes import blur, digitise, expose, field_of_view, glare, illuminate
from calzoo.simulation.axon_painting import paint_labels, paint_light
from calzoo.simulation.axon_styles import STYLES, check, draw, magnified
from calzoo.simulation.fields import log_uniform
from calzoo.simulation.recordings import check_number


@dataclass(frozen=True)
class AxonStack:
    """A simulated stack and its truth.

    Attributes
    ----------
    volume : ndarray of uint8 or uint16, (Z, Y, X)
        What the microscope recorded.
    instances : ndarray of int32, (Z, Y, X)
        0 is background, 1 to N one axon each. Dim axons are labelled; haze, cells,
        vessels and granules are not.
    voxel_um : tuple of float
        Size of a voxel in micrometres, (z, y, x).
    style : dict
        The parameters that were drawn, as :mod:`calzoo.simulation.axon_styles` explains
        them, and ``name``, the name of the style.
    """

    volume: np.ndarray
    instances: np.ndarray
    voxel_um: tuple[float, float, float]
    style: dict


def simulate_axons(seed, shape=(32, 256, 256), *, style=None, magnification=1.0, **parameters):
    """Simulate a stack of axons.

    Axons grow as random curves and are painted as tubes; tissue, other bodies and light
    from out of focus are added; the image is blurred, lit unevenly, counted in photons
    and digitised.

    Parameters
    ----------
    seed : int or sequence of int
        The same seed gives the same stack.
    shape : tuple of int, optional
        (Z, Y, X) in voxels.
    style : str, optional
        ``"confocal"``, ``"lightsheet"``, ``"twophoton"``, ``"neuropil"`` or
        ``"anything"``; absent, one of them is drawn.
    magnification : float, optional
        How many times larger everything is than the style draws it, as finer pixels show it.
    **parameters
        Values in place of drawn ones, by their name in
        :mod:`calzoo.simulation.axon_styles`, which has their limits too, for example
        ``diameter_px=8``.

    Returns
    -------
    AxonStack

    Raises
    ------
    CalzooError
        If `shape`, `style`, `magnification`, or the name or value of a parameter is wrong.

    Examples
    --------
    >>> stack = simulate_axons(0, (8, 64, 64), style="confocal", diameter_px=6)
    >>> stack.volume.shape, stack.volume.dtype, stack.instances.dtype
    ((8, 64, 64), dtype('uint8'), dtype('int32'))
    >>> stack.style["diameter_px"]
    6
    """
    shape = _checked_shape(shape)
    rng = np.random.default_rng(seed)
    drawn = _draw_style(rng, style, magnification, parameters)
    tissue = draw_tissue(rng, shape, drawn)
    axons, instances = _draw_axons(rng, shape, drawn, tissue)
    bodies = draw_bodies(rng, shape, drawn) * tissue
    light = blur(rng, axons + _faded(drawn) * bodies, drawn)
    labelled = light[instances > 0]
    light /= max(np.median(labelled), 1e-3) if labelled.size else _faded(drawn)
    volume = digitise(expose(rng, _lit(rng, light, tissue, drawn), drawn), drawn)
    seen = field_of_view(rng, shape, drawn)
    if seen is not None:
        volume *= seen
        instances *= seen
    pixel_um = log_uniform(rng, 0.1, 1.5)
    voxel_um = (pixel_um * drawn["anisotropy"], pixel_um, pixel_um)
    return AxonStack(volume, _renumbered(instances), voxel_um, drawn)


def _checked_shape(shape):
    """Return `shape` as three positive integers, or say what is wrong."""
    sides = tuple(shape) if isinstance(shape, Iterable) else ()
    if len(sides) != 3 or not all(isinstance(side, Integral) and side >= 1 for side in sides):
        message = f"shape must be (Z, Y, X), each a whole number of at least 1 voxel, got {shape!r}"
        raise CalzooError(message)
    return tuple(int(side) for side in sides)


def _draw_style(rng, style, magnification, parameters):
    """Draw the parameters of a style, magnify them, and put the caller's in their place."""
    check_number("magnification", magnification, 0.2, 5)
    if style is None:
        style = str(rng.choice(list(STYLES)))
    if style not in STYLES:
        message = f"axon style must be one of {', '.join(STYLES)}, got {style!r}"
        raise CalzooError(message)
    drawn = {"name": style} | draw(rng, style)
    if magnification != 1:
        drawn = magnified(drawn, magnification)
    for name, value in parameters.items():
        if name not in drawn:
            near = difflib.get_close_matches(name, drawn, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"choose from {', '.join(drawn)}"
            message = f"no axon parameter is called {name!r}; {hint}"
            raise CalzooError(message)
        drawn[name] = value
    check(drawn)
    return drawn


def _draw_axons(rng, shape, drawn, tissue):
    """Return the light and the labels of axons, none of them where there is no tissue."""
    if not drawn["axon_share"]:
        return np.zeros(shape, np.float32), np.zeros(shape, np.int32)
    samples = grow_axons(rng, shape, drawn)
    form = {name: drawn[name] for name in ("anisotropy", "axial_stretch")}
    light = paint_light(samples, shape, **form)
    visible = visible_px(drawn, samples.brightness)
    instances = paint_labels(samples, shape, **form, visible_px=visible)
    if drawn["boundary_level"] < 0.05:
        light *= tissue
        instances *= tissue > 0.5
    return light, instances


def _faded(drawn):
    """Estimate how bright blurring leaves the middle of an axon of brightness 1."""
    radius = drawn["diameter_px"] / 2
    depth = max(radius * drawn["axial_stretch"], 0.55 * drawn["anisotropy"])
    sharp = radius / np.hypot(radius, 1.4 * drawn["psf_px"])
    return np.float32(sharp * depth / np.hypot(depth, 1.4 * drawn["psf_axial_px"]))


def _lit(rng, light, tissue, drawn):
    """Add scattered light, haze and tissue to the blurred axons, and light all of it."""
    shape = light.shape
    total = light + drawn["background"] * tissue * draw_background(rng, shape, drawn)
    if drawn["glare"]:
        total += np.float32(drawn["glare"]) * glare(light, drawn)
    if drawn["haze"]:
        total += np.float32(drawn["haze"]) * draw_haze(rng, shape, drawn)
    return total * illuminate(rng, shape, drawn)


def _renumbered(instances):
    """Return labels without gaps: 1 to the number of axons that are left."""
    present = np.bincount(instances.ravel()) > 0
    present[0] = False
    return (np.cumsum(present) * present).astype(np.int32)[instances]
