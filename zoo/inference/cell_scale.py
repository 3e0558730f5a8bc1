"""How large the cells of a recording are, as the networks themselves see it."""

from dataclasses import replace

import numpy as np

from calzoo.imaging.cell_pictures import resize, scaled_shape
from calzoo.imaging.peaks import local_maxima
from calzoo.inference.cell_masks import binarised

#: Diameters in pixels that are tried where nothing is known.
LADDER = (5.5, 8.0, 11.5, 16.5, 24.0, 34.0)
#: Limits of what an estimate may say.
SMALLEST, LARGEST = 4.0, 60.0
_WINDOW = 288  # pixels at the networks' scale: enough to see some dozens of cells
_CANDIDATES = 40
_FEWEST = 4
#: A scale is about as good as the best one from this share of its sureness on: of 80 simulated pictures
#: 3 were then taken for others by a factor of 1.4, where the surest scale alone mistook 10.
_NEARLY = 0.85
#: What must be left of it after a correction.
_KEPT = 0.9
#: What is seen stands out of noise where the networks are as sure of it as this, and as this many times of
#: noise that is as rough. On 21 labelled pictures they were sure by 6.4 to 8.2, and 1.8 times at least (those
#: for research 1.6 times); of noise movies by 0.8 to 2.6, and of noise that is as smooth as cells at most
#: 1.3 times.
_SURE, _SURER = 3.0, 1.3
#: Elsewhere a cell has at least this score, which in simulated noise hardly anything reaches, and in movies
#: of one to eight cells all but a few at one of the diameters that are tried.
DOUBTFUL_SCORE = 0.85
#: Diameters in pixels that are tried there, the most usual first.
_USUAL = (12.0, 8.0, 16.5, 24.0, 34.0)
_SUREST = 10  # that decide on the scale: noise that is enlarged has many candidates, but no sure ones


def possible_diameters(networks, seen, *, first=None):
    """Estimate the median diameter of the cells, if there are enough to tell.

    Parameters
    ----------
    networks, seen, first
        As for `estimate_diameter`. The pixel size in a file may be wrong: where `first` is no diameter that
        is looked for, or nothing stands out of noise about it, all diameters are tried.

    Returns
    -------
    list of float
        In pixels of the recording. One; or, where what is seen does not stand out of noise, several that
        cells may have, the most usual first.
    """
    if first is not None and not SMALLEST <= first <= LARGEST:
        first = None
    for begin in dict.fromkeys([first, None]):
        diameter, sure = estimate_diameter(networks, seen, first=begin)
        if diameter is not None and _stands_out(networks, seen, diameter, sure):
            return [diameter]
    # Not the estimate: of noise it is a small one, at which noise has most that might be a cell.
    return list(_USUAL) if first is None else [first, *_USUAL]


def _stands_out(networks, seen, diameter, sure):
    """Return whether the networks are surer than of noise that is as rough as what is seen."""
    part = _window(seen, _window_sides(networks, seen, diameter))
    rng = np.random.default_rng(0)
    image = part.image.copy()
    for channel in np.flatnonzero(part.present):
        image[channel] = _without_shapes(image[channel], rng)
    noise, _ = _try(networks, replace(part, image=image), diameter)
    return sure > max(_SURER * noise, _SURE)


def _without_shapes(picture, rng):
    """Return noise with the same power at each frequency, about, and the same levels."""
    power = np.abs(np.fft.rfft2(picture - picture.mean()))
    phase = np.angle(np.fft.rfft2(rng.standard_normal(picture.shape)))
    noise = np.fft.irfft2(power * np.exp(1j * phase), s=picture.shape)
    levels = np.empty(picture.size, picture.dtype)
    levels[np.argsort(noise, axis=None, kind="stable")] = np.sort(picture, axis=None)
    return levels.reshape(picture.shape)


def estimate_diameter(networks, seen, *, first=None):
    """Estimate the median diameter of the cells in a picture.

    The networks are tried at several scales on a part of the picture. Of those at which they are
    about as sure of what they see as at the best one the coarsest is taken, as parts of cells look
    like small cells, but cells hardly like parts of larger ones. It is corrected by the size of the
    masks that they draw, and once more, as long as the networks stay as sure.

    Parameters
    ----------
    networks : CellNetworks
    seen : CellInput
        In the pixels of the recording.
    first : float, optional
        A diameter to begin with; only its neighbourhood is searched.

    Returns
    -------
    float or None
        In pixels of the recording; None where no cell is seen.
    float
        How sure the networks are of what they see.
    """
    ladder = LADDER if first is None else (first / 1.3, first, first * 1.3)
    tried = [(d, *_try(networks, seen, d)) for d in ladder]
    tried = [one for one in tried if one[1] > 0]
    if not tried:
        return None, 0.0
    enough = _NEARLY * max(sure for _, sure, _ in tried)
    diameter, surest, measured = max(one for one in tried if one[1] >= enough)
    for _ in range(2):
        corrected = float(np.clip(diameter * measured, SMALLEST, LARGEST))
        sure, further = _try(networks, seen, corrected)
        if sure < _KEPT * surest:  # masks of parts, or of several cells, lead astray: go half of the way
            return float(np.clip(np.sqrt(diameter * corrected), SMALLEST, LARGEST)), surest
        diameter, surest, measured = corrected, max(sure, surest), further
    return float(np.clip(diameter * measured, SMALLEST, LARGEST)), surest


def drawn_diameter(networks, seen, diameter):
    """Return the diameter of the masks that networks draw at a scale, over the one expected; NaN of no cell.

    Parameters
    ----------
    networks, seen
        As for `estimate_diameter`.
    diameter : float
        Of the cells, in pixels of the recording.
    """
    sure, measured = _try(networks, seen, diameter)
    return measured if sure > 0 else float("nan")


def _try(networks, seen, diameter):
    """Return how sure the networks are at a scale, and the masks' diameter over the one expected."""
    factors = seen.factors(networks.diameter / diameter)
    part = _window(seen, _window_sides(networks, seen, diameter))
    scaled = resize(part.image, scaled_shape(part.shape, factors))
    if min(scaled.shape[1:]) < 8:
        return 0.0, 1.0
    center, _ = networks.heat(scaled, part.present)
    places, values = local_maxima(
        center, distance=networks.diameter / 4, threshold=networks.options["heat_threshold"]
    )
    places, values = places[:_CANDIDATES], values[:_CANDIDATES]
    if len(places) < _FEWEST:
        return 0.0, 1.0
    masks, scores = networks.outline(scaled, part.present, places)
    if part.recorded is not None:  # what goes on beyond the edge of the recording is no second cell
        solid = binarised(masks, networks.options["mask_threshold"])
        inside = part.recorded_share(solid, places, scaled.shape[1:]) >= 0.5
        masks, scores, values = masks[inside], scores[inside], values[inside]
    sure = scores >= 0.5
    if sure.sum() < _FEWEST:
        return 0.0, 1.0
    areas = binarised(masks[sure], networks.options["mask_threshold"]).sum(axis=(1, 2))
    # What they draw of cells of the right size need not be as large as the cells.
    usual = networks.diameter * float(networks.options.get("drawn_diameter", 1.0))
    measured = 2 * np.sqrt(np.median(areas) / np.pi) / usual
    # Sure cells count, and masks of the size that is expected: elsewhere the networks only guess.
    fit = np.exp(-((np.log(max(measured, 1e-3)) / 0.35) ** 2))
    surest = np.sort(scores * values)[-_SUREST:]
    return float((surest**2).sum() * fit), float(np.clip(measured, 0.5, 2.0))


def _window_sides(networks, seen, diameter):
    """Return the sides (y, x) of the part of a recording that the networks look at."""
    return [int(np.ceil(_WINDOW / factor)) for factor in seen.factors(networks.diameter / diameter)]


def _window(seen, sides):
    """Return the middle of what is seen, at most `sides` (y, x) pixels large."""
    starts = [max((size - side) // 2, 0) for size, side in zip(seen.shape, sides, strict=True)]
    window = tuple(slice(start, start + side) for start, side in zip(starts, sides, strict=True))
    recorded = None if seen.recorded is None else seen.recorded[window]
    return replace(seen, image=seen.image[:, *window], recorded=recorded)
