"""Centre lines of axons: how they run, branch, swell and break.

Everything is in in-plane pixels, (z, y, x).
"""

import numpy as np
from scipy.special import ndtri

from calzoo.simulation.axon_painting import Samples, label_radii
from calzoo.simulation.fields import smooth_field

_MOST = 4000  # axons in one stack


def grow_axons(rng, shape, style):
    """Grow axons until their labels fill their share of the volume.

    Parameters
    ----------
    rng : numpy.random.Generator
    shape : tuple of int
        (Z, Y, X) in voxels.
    style : dict
        Parameters as :mod:`calzoo.simulation.axon_styles` draws them.

    Returns
    -------
    Samples
        Points along all axons, `owner` from 1 in order of growth.
    """
    size = np.array(shape) * [style["anisotropy"], 1, 1]
    wanted = style["axon_share"] * size.prod()
    mains = _unit(rng.standard_normal((style["bundles"], 3)) * [style["slope"], 1, 1])
    number = _guess(style, size, wanted)
    parts, filled, count = [], 0.0, 0
    while filled < wanted and count < _MOST:
        batch = _grow_batch(rng, size, style, mains, number)
        volume = _label_volume(batch, size, style, number)
        total = filled + np.cumsum(volume)
        # At least one axon, and then as many as come nearest to the share.
        keep = max(int(np.searchsorted(total - volume / 2, wanted)), count == 0)
        batch = batch.take(batch.owner <= keep)
        batch.owner += count
        parts.append(batch)
        filled, count, number = total[-1], count + number, min(2 * number, 600)
    return Samples.concatenate(parts)


def visible_px(style, brightness=1.0):
    """Return the blur (z, in-plane) in pixels that widens the labels of a style.

    A Gaussian blur falls to the light of a typical axon the farther out, the brighter the axon is.
    """
    brighter = 2 * style["label_glow"] * np.log(np.maximum(brightness, 1))
    return tuple(
        np.sqrt(style[reach] ** 2 + brighter) * style[blur]
        for reach, blur in (("label_reach_axial", "psf_axial_px"), ("label_reach", "psf_px"))
    )


def walk(rng, start, heading, steps, *, step, tortuosity, flatness, bend):
    """Let many paths wander at once.

    The heading turns with a curvature that is itself correlated along the path, so
    paths are smooth at the scale of `bend` pixels.

    Parameters
    ----------
    rng : numpy.random.Generator
    start, heading : ndarray of float, (N, 3)
        First points, and unit vectors.
    steps : int
        Number of steps of `step` pixels.
    step : float
    tortuosity : float
        Root mean square turn in radians after 100 pixels.
    flatness : float
        From 0 (turns in space) to 1 (turns in the plane only).
    bend : float
        Correlation length of the curvature in pixels.

    Returns
    -------
    ndarray of float32, (steps + 1, N, 3)
    """
    keep = np.exp(-step / bend)
    # Independent turns of 2 * bend pixels add up to a random walk.
    size = tortuosity / np.sqrt(100.0 * 2 * bend) * np.array([1 - flatness, 1, 1])
    noise = rng.standard_normal((steps + 1, *start.shape), np.float32) * size
    curvature = noise[0]
    position, heading = start.astype(float), heading.astype(float)
    path = np.empty(noise.shape, np.float32)
    path[0] = position
    for index in range(1, steps + 1):
        curvature = keep * curvature + np.sqrt(1 - keep**2) * noise[index]
        heading = _unit(heading + step * curvature)
        position = position + step * heading
        path[index] = position
    return path


def _guess(style, size, wanted):
    """Estimate how many axons fill the wanted volume."""
    radius, depth = label_radii(
        style["diameter_px"] / 2, style["anisotropy"], style["axial_stretch"], visible_px(style)
    )
    length = min(style["length_px"], 0.7 * np.linalg.norm(size[1:]))
    length *= 1 + style["branches_per_1000px"] * style["length_px"] / 3000
    return int(np.clip(1.3 * wanted / (np.pi * radius * depth * length), 4, 600))


def _label_volume(samples, size, style, number):
    """Return the volume in cubic pixels that the labels of each of `number` axons fill."""
    radius, depth = label_radii(
        samples.radius, style["anisotropy"], style["axial_stretch"], visible_px(style, samples.brightness)
    )
    inside = np.all((samples.position >= 0) & (samples.position < size), axis=1) & samples.labelled
    step, factor = _steps(style)
    area = np.pi * radius * depth * inside * (step / factor)
    return np.bincount(samples.owner - 1, area, minlength=number)


def _steps(style):
    """Return the step of a walk in pixels, and how many samples are put on each."""
    step = float(np.clip(style["diameter_px"] / 2, 1, 4))
    return step, int(np.ceil(step / max(0.3 * style["diameter_px"], 0.5)))


def _grow_batch(rng, size, style, mains, number):
    """Return the samples of `number` axons with their branches."""
    start = _starts(rng, size, style, number)
    heading = mains[rng.integers(len(mains), size=number)]
    heading = _unit(heading + style["alignment"] * rng.standard_normal((number, 3)) * [style["slope"], 1, 1])
    calibre, glow = rng.standard_normal((2, number))
    traits = {
        "owner": np.arange(1, number + 1, dtype=np.int32),
        "size": np.exp(style["diameter_spread"] * calibre),
        # Thick axons tend to be the bright ones.
        "level": np.exp(style["brightness_spread"] * (0.5 * calibre + 0.87 * glow)),
    }
    length = np.minimum(rng.exponential(style["length_px"], number) + 10, 4000)
    reach = min(length.max() / 2, np.linalg.norm(size))
    both = np.concatenate([heading, -heading])
    path = _walk(rng, np.concatenate([start, start]), both, reach, style)
    path = np.concatenate([path[:0:-1, number:], path[:, :number]])  # (2S + 1, N, 3)
    path = _bundle(rng, path, traits, style)
    alive = np.abs(np.arange(len(path)) - len(path) // 2)[:, None] * _steps(style)[0] <= length / 2
    parts = [_sample(rng, path, alive, traits, style, size)]
    for _ in range(2):
        path, alive, traits = _branch(rng, path, alive, traits, style, size)
        if not len(traits["owner"]):
            break
        parts.append(_sample(rng, path, alive, traits, style, size))
    return Samples.concatenate(parts)


def _starts(rng, size, style, number):
    """Draw starting points, more of them where a smooth random field is high."""
    # Axons that end within the stack may also begin outside of it.
    margin = min(style["length_px"] / 4, 60)
    spots = rng.uniform(-margin, size + margin, (6 * number, 3))
    if not style["patchiness"]:
        return spots[:number]
    cells = np.array([4, 8, 8])
    field = smooth_field(rng, tuple(cells), (2, 3, 3))
    where = np.clip((spots / size * cells).astype(int), 0, cells - 1)
    weight = np.exp(style["patchiness"] * field[tuple(where.T)])
    return spots[rng.choice(len(spots), number, replace=False, p=weight / weight.sum())]


def _walk(rng, start, heading, length, style):
    """Walk `length` pixels with the bends of the style."""
    step = _steps(style)[0]
    return walk(
        rng,
        start,
        heading,
        max(int(length / step), 2),
        step=step,
        tortuosity=style["tortuosity"],
        flatness=1 - style["slope"],
        bend=max(style["bend_px"], style["diameter_px"]),
    )


def _bundle(rng, path, traits, style):
    """Lay some axons alongside the one before them, so that they nearly touch."""
    number = path.shape[1]
    correlation = (1, 60 / _steps(style)[0])
    turn = 0.6 * smooth_field(rng, (number, len(path)), correlation) + rng.uniform(0, 2 * np.pi, (number, 1))
    gap = 1 + 0.25 * np.abs(smooth_field(rng, (number, len(path)), correlation))
    for follower in np.flatnonzero(rng.random(number - 1) < style["fascicles"]) + 1:
        leader = follower - 1
        width = (traits["size"][leader] + traits["size"][follower]) * style["diameter_px"] / 2
        side = _perpendicular(path[:, leader], turn[follower])
        path[:, follower] = path[:, leader] + side * (width * gap[follower])[:, None]
    return path


def _perpendicular(line, angle):
    """Return unit vectors (S, 3) across a line (S, 3), turned about it by `angle`."""
    along = _unit(np.gradient(line, axis=0) + 1e-6)
    across = _unit(np.stack([np.zeros(len(line)), -along[:, 2], along[:, 1]], 1) + 1e-6)
    upward = np.cross(along, across)
    return across * np.cos(angle)[:, None] + upward * np.sin(angle)[:, None]


def _branch(rng, path, alive, traits, style, size):
    """Let side branches leave the given paths; return paths, alive and traits of the branches."""
    step = _steps(style)[0]
    inside = np.all((path > 0) & (path < size), axis=2) & alive
    odds = style["branches_per_1000px"] * step / 1000
    time, parent = np.nonzero(inside[:-1] & (rng.random((len(path) - 1, path.shape[1])) < odds))
    heading = _unit(path[time + 1, parent] - path[time, parent] + 1e-6)
    turn = rng.uniform(0.5, 2.0, (len(time), 1))
    aside = rng.standard_normal(heading.shape) * [style["slope"], 1, 1]
    length = np.minimum(rng.exponential(style["length_px"] / 2, len(time)) + 15, 1000)
    traits = {
        "owner": traits["owner"][parent],
        "size": traits["size"][parent] * rng.uniform(0.65, 1.0, len(time)),
        "level": traits["level"][parent] * rng.uniform(0.6, 1.1, len(time)),
    }
    longest = length.max(initial=10)
    branches = _walk(rng, path[time, parent], _unit(heading + turn * _unit(aside)), longest, style)
    return branches, np.arange(len(branches))[:, None] * step <= length, traits


def _sample(rng, path, alive, traits, style, size):
    """Put samples with radius and brightness along paths (S, N, 3), where they are near the volume."""
    step, factor = _steps(style)
    shape = path.shape[:2]

    def wave(correlation_px):
        return smooth_field(rng, shape[::-1], (1, correlation_px / step)).T

    bead = _beads(wave, step, shape, style)
    radius = style["diameter_px"] / 2 * traits["size"] * np.exp(0.12 * wave(40))
    radius *= np.exp(style["roughness"] * wave(1.2 * style["diameter_px"])) * (1 + 0.3 * bead)
    level = np.maximum(traits["level"] * np.exp(style["brightness_along"] * wave(50)), style["dimmest"])
    gap = wave(3 * style["diameter_px"] + 6) - ndtri(1 - style["gap_share"])
    level = level * (1 + bead) * np.clip(1 - gap / 0.4, 0.3, 1)
    labelled = gap < 0.6  # the middle of a long gap: nothing is left to see
    level *= labelled
    margin = 4 * style["diameter_px"] + style["anisotropy"]
    near = np.all((path > -margin) & (path < size + margin), axis=2) & alive
    time, axon = np.nonzero(near[:-1] & near[1:])
    t = (np.arange(factor, dtype=np.float32) / factor)[:, None]

    def dense(values):
        first, last = values[time, axon], values[time + 1, axon]
        if values.ndim == 3:
            return (first + t[..., None] * (last - first)).reshape(-1, 3)
        return (first + t * (last - first)).astype(np.float32).ravel()

    return Samples(
        dense(path).astype(np.float32),
        np.maximum(dense(radius), 0.6),
        dense(level),
        np.tile(traits["owner"][axon], factor),
        np.tile(labelled[time, axon], factor),
    )


def _beads(wave, step, shape, style):
    """Return how much each point swells: humps about one diameter wide at irregular distances."""
    along = np.arange(shape[0])[:, None] * step
    spacing = max(style["bead_spacing_px"], 2 * style["diameter_px"])
    phase = 2 * np.pi * along / spacing + 2.5 * wave(2 * spacing) + 6 * wave(1e6)
    width = 2 * np.pi * 0.6 * style["diameter_px"] / spacing
    hump = np.exp((np.cos(phase) - 1) / width**2)
    return style["beads"] * hump * np.clip(1 + 0.5 * wave(spacing), 0.2, 2)


def _unit(vector):
    """Return `vector` with length 1 along its last axis."""
    return vector / np.linalg.norm(vector, axis=-1, keepdims=True)
