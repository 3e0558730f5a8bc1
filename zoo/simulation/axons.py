"""Stacks of fluorescent axons with the truth for every voxel."""

import difflib
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from calzoo.errors import CalzooError
from calzoo.simulation.axon_geometry import Samples, paint, walk
from calzoo.simulation.axon_styles import STYLES, log_uniform
from calzoo.simulation.fields import smooth_field


@dataclass(frozen=True)
class AxonStack:
    """A simulated stack and its truth.

    Attributes
    ----------
    volume : ndarray of uint8 or uint16, (Z, Y, X)
        What the microscope recorded.
    instances : ndarray of int32, (Z, Y, X)
        0 is background, 1 to N one axon each. Dim axons are labelled, haze is not.
    voxel_um : tuple of float
        Size of a voxel in micrometres, (z, y, x).
    style : dict
        The parameters that were drawn, and the name of the style.
    """

    volume: np.ndarray
    instances: np.ndarray
    voxel_um: tuple[float, float, float]
    style: dict


def simulate_axons(seed, shape=(32, 256, 256), *, style=None, **parameters):
    """Simulate a stack of axons.

    Parameters
    ----------
    seed : int or sequence of int
        The same seed gives the same stack.
    shape : tuple of int, optional
        (Z, Y, X) in voxels.
    style : str, optional
        ``"confocal"``, ``"lightsheet"`` or ``"twophoton"``; absent, one of them is drawn.
    **parameters
        Values in place of drawn ones, by their name in `AxonStack.style`, for example
        ``diameter_px=8``.

    Returns
    -------
    AxonStack

    Raises
    ------
    CalzooError
        If `shape`, `style` or a parameter is unknown.

    Examples
    --------
    >>> stack = simulate_axons(0, (8, 64, 64), style="confocal")
    >>> stack.volume.shape, stack.volume.dtype, stack.instances.dtype
    ((8, 64, 64), dtype('uint8'), dtype('int32'))
    """
    shape = _checked_shape(shape)
    rng = np.random.default_rng(seed)
    drawn = _draw_style(rng, style, parameters)
    signal, instances = paint(
        _draw_axons(rng, shape, drawn),
        shape,
        anisotropy=drawn["anisotropy"],
        axial_stretch=drawn["axial_stretch"],
    )
    volume = _record(rng, signal, drawn)
    pixel_um = log_uniform(rng, 0.1, 1.5)
    voxel_um = (pixel_um * drawn["anisotropy"], pixel_um, pixel_um)
    return AxonStack(volume, instances, voxel_um, drawn)


def _checked_shape(shape):
    """Return `shape` as three positive integers, or say what is wrong."""
    shape = tuple(int(side) for side in shape)
    if len(shape) != 3 or min(shape) < 1:
        message = f"shape must be (Z, Y, X), each at least 1 voxel, got {shape}"
        raise CalzooError(message)
    return shape


def _draw_style(rng, style, parameters):
    """Draw the parameters of a style and put the caller's in their place."""
    if style is None:
        style = str(rng.choice(list(STYLES)))
    if style not in STYLES:
        message = f"axon style must be one of {', '.join(STYLES)}, got {style!r}"
        raise CalzooError(message)
    drawn = {"name": style, **STYLES[style](rng)}
    for name, value in parameters.items():
        if name not in drawn:
            near = difflib.get_close_matches(name, drawn, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"choose from {', '.join(drawn)}"
            message = f"no axon parameter is called {name!r}; {hint}"
            raise CalzooError(message)
        drawn[name] = value
    return drawn


def _draw_axons(rng, shape, drawn):
    """Draw axons until they fill their share of the volume; return the samples along them."""
    size = np.array(shape) * [drawn["anisotropy"], 1, 1]
    wanted = drawn["axon_share"] * size.prod()
    main = _unit(rng.standard_normal(3) * [0.15, 1, 1])
    parts, filled, count = [], 0.0, 0
    while filled < wanted and count < 3000:
        batch = _draw_batch(rng, size, drawn, main, 8, count)
        for axon in np.unique(batch.axon):
            part = batch.take(batch.axon == axon)
            inside = np.all((part.position >= 0) & (part.position < size), axis=1)
            spacing = drawn["diameter_px"] / 4
            depth = np.maximum(part.radius * drawn["axial_stretch"], 0.6 * drawn["anisotropy"])
            volume = spacing * np.pi * np.sum((part.radius * depth)[inside])
            if filled > 0 and filled + volume / 2 > wanted:
                filled = wanted
                break
            filled += volume
            parts.append(part)
        count += 8
    return Samples.concatenate(parts)


def _draw_batch(rng, size, drawn, main, number, first):
    """Draw `number` axons that cross the volume."""
    spacing = drawn["diameter_px"] / 4
    start = rng.uniform(0, 1, (number, 3)) * size
    heading = _unit(main + drawn["alignment"] * rng.standard_normal((number, 3)) * [0.3, 1, 1])
    steps = int(np.ceil(np.linalg.norm(size) / spacing))
    bend = {"step": spacing, "tortuosity": drawn["tortuosity"], "flatness": 0.5}
    ahead = walk(rng, start, heading, steps, **bend)
    behind = walk(rng, start, -heading, steps, **bend)
    path = np.concatenate([behind[:0:-1], ahead])  # (S, N, 3)
    length = len(path)
    wave = np.stack([smooth_field(rng, (length,), 40 / spacing) for _ in range(number)], 1)
    size_of = np.exp(drawn["diameter_spread"] * rng.standard_normal(number))
    radius = np.maximum(drawn["diameter_px"] / 2 * size_of * np.exp(0.12 * wave), 0.7)
    glow = np.stack([smooth_field(rng, (length,), 60 / spacing) for _ in range(number)], 1)
    level = np.exp(drawn["brightness_spread"] * rng.standard_normal(number))
    brightness = level * np.exp(0.3 * glow)
    gap = smooth_field(rng, (length * number,), 15 / spacing).reshape(number, length).T
    labelled = gap < 3.5 - drawn["gaps_per_100px"]
    brightness = np.where(labelled, brightness, 0)
    axon = np.broadcast_to(np.arange(first + 1, first + number + 1), (length, number))
    return Samples(
        path.reshape(-1, 3),
        radius.astype(np.float32).ravel(),
        brightness.astype(np.float32).ravel(),
        axon.astype(np.int32).ravel(),
        labelled.ravel(),
    )


def _unit(vector):
    """Return `vector` with length 1 along its last axis."""
    return vector / np.linalg.norm(vector, axis=-1, keepdims=True)


def _record(rng, signal, drawn):
    """Return what a microscope of this style records of the fluorescence `signal`."""
    anisotropy = drawn["anisotropy"]
    blur = (drawn["psf_axial_px"] / anisotropy, drawn["psf_px"], drawn["psf_px"])
    light = ndimage.gaussian_filter(signal, blur, truncate=3)
    if drawn["haze"]:
        wide = (10 / anisotropy, 12, 12)
        light += 2 * drawn["haze"] * ndimage.gaussian_filter(signal, wide, truncate=2)
    slow = smooth_field(rng, signal.shape, (20 / anisotropy, 60, 60))
    fine = smooth_field(rng, signal.shape, (6 / anisotropy, 8, 8))
    light += drawn["background"] * np.exp(drawn["background_texture"] * (slow + 0.5 * fine))
    if drawn["striping"]:
        light *= 1 + drawn["striping"] * smooth_field(rng, signal.shape, (4, 3, 400))
    counts = rng.poisson(drawn["photons"] * light).astype(np.float32) / np.float32(drawn["photons"])
    if drawn["read_noise"]:
        counts += np.float32(drawn["read_noise"]) * rng.standard_normal(counts.shape, np.float32)
    top = 2 ** drawn["bits"] - 1
    steps = min(drawn["levels"] - 1, top)
    grey = np.rint(np.clip((counts + drawn["offset"]) / drawn["white_point"], 0, 1) * steps)
    return np.rint(grey * (top / steps)).astype(np.uint8 if drawn["bits"] == 8 else np.uint16)
