"""From the sources of a scene to the truth about its cells."""

import numpy as np
from scipy import sparse

from calzoo.imaging.masks import Masks
from calzoo.simulation.recordings import CellTruth, Layer

LEAST_PART = 0.3  # of a mask that must lie inside the frame for the cell to count
LEAST_PIXELS = 6
LEAST_SNR = 3.0  # of an active cell
LEAST_CLARITY = 0.5  # of a cell that is visible although it is silent


def cell_layers(images, bodies, light, baselines, *, covered, margin, **known):
    """Divide cells into those of the truth and those beyond the edge.

    Parameters
    ----------
    images : scipy.sparse.csc_array of float32, (P, N)
        Image of each cell over the P pixels of the scene.
    bodies : scipy.sparse.csc_array of float32, (P, N)
        The same with bright nuclei: what the masks are cut from.
    light : ndarray of float32, (N, T)
        Brightness of each cell over that at rest.
    baselines : ndarray of float32, (N,)
        Photons per frame where an image is 1, at rest; 0 for cells that cannot be seen.
    covered : ndarray of bool, (H, W)
        Which pixels of a frame are recorded.
    margin : int
        By how many pixels the scene is larger on each side.
    **known : ndarray, (N, ...)
        ``spikes``, ``depths_um`` and ``in_focus`` of all cells.

    Returns
    -------
    facts : dict
        Fields of a `CellTruth` that do not need the background.
    layers : dict of str to Layer
        ``"cells"``, in the order of the truth, and ``"edge cells"``.
    """
    masks, parts, centers = _masks(bodies, covered, margin)
    # A dark cell of the truth would be a label that nothing can find.
    enough = np.array([len(rows) >= LEAST_PIXELS for rows, _ in masks], bool).reshape(-1)
    true = np.flatnonzero((baselines > 0) & (parts >= LEAST_PART) & enough)
    other = np.flatnonzero((baselines > 0) & ~((parts >= LEAST_PART) & enough))
    peaks = images.max(axis=0).toarray().ravel() if images.shape[1] else np.zeros(0, np.float32)
    unit = images[:, true] @ sparse.diags_array(1 / np.maximum(peaks[true], 1e-9)).astype(np.float32)
    rest = (baselines * peaks).astype(np.float32)
    traces = (rest[true, None] * light[true]).astype(np.float32)
    layers = {"cells": Layer(sparse.csr_array(unit), traces)}
    if len(other):
        outside = (baselines[other, None] * light[other]).astype(np.float32)
        layers["edge cells"] = Layer(sparse.csr_array(images[:, other]), outside)
    area = np.array([len(masks[cell][0]) / parts[cell] for cell in true])
    facts = {
        "footprints": unit[_frame_pixels(covered.shape, margin)].tocsc(),
        "masks": Masks.from_pixels(covered.shape, [masks[cell] for cell in true]),
        "traces": traces,
        "baselines": rest[true],
        "radii": np.sqrt(area / np.pi).astype(np.float32),
        "spikes": known["spikes"][true],
        "centers": centers[true],
        "depths_um": known["depths_um"][true].astype(np.float32),
        "in_focus": known["in_focus"][true],
    }
    return facts, layers


def _frame_pixels(shape, margin):
    """Return the indices (H * W,) of the frame's pixels in the flattened scene."""
    width = shape[1] + 2 * margin
    rows = np.arange(margin, margin + shape[0])[:, None]
    return (rows * width + np.arange(margin, margin + shape[1])).ravel()


def _masks(bodies, covered, margin):
    """Return the pixels of each body that are recorded, their part of the body, and the body's centre."""
    scene = np.pad(covered, margin)
    width = scene.shape[1]
    masks, parts = [], np.zeros(bodies.shape[1])
    centers = np.zeros((bodies.shape[1], 2), np.float32)
    for cell in range(bodies.shape[1]):
        span = slice(bodies.indptr[cell], bodies.indptr[cell + 1])
        value = bodies.data[span]
        pixel = np.sort(bodies.indices[span][value >= 0.5 * value.max(initial=1e-9)])
        rows, cols = pixel // width - margin, pixel % width - margin
        inside = scene.ravel()[pixel]
        masks.append((rows[inside].astype(np.int32), cols[inside].astype(np.int32)))
        if len(pixel):
            parts[cell] = inside.mean()
            centers[cell] = rows.mean(), cols.mean()
    return masks, parts, centers


def finish_truth(facts, background, illumination, glow, detector):
    """Measure how well each cell can be seen.

    Parameters
    ----------
    facts : dict
        From `cell_layers`.
    background : ndarray of float32, (H, W)
        Mean photons per frame of everything but the true cells.
    illumination, glow : ndarray of float32, (H, W)
        See `Recording`.
    detector : Detector

    Returns
    -------
    CellTruth
    """
    footprints, traces, masks = facts["footprints"], facts["traces"], facts["masks"]
    cells = (footprints @ traces.mean(axis=1)).reshape(background.shape)
    picture = illumination * (background + cells) + glow
    variance = detector.variance_per_photon * picture + (detector.read_noise / detector.gain) ** 2
    snr, clarity = np.zeros((2, len(masks)), np.float32)
    for cell, (rows, cols) in enumerate(masks):
        around = _surroundings(rows, cols, background.shape)
        seen = _part(footprints, cell, around, background.shape) * illumination[around]
        inside = rows - around[0].start, cols - around[1].start
        noise = np.sqrt(variance[rows, cols].sum()) / len(rows)
        change = traces[cell].max() - np.median(traces[cell])
        snr[cell] = change * seen[inside].mean() / max(noise, 1e-9)
        clarity[cell] = _clarity(seen, picture[around], variance[around] / traces.shape[1])
    active = (facts["spikes"].sum(axis=1) > 0) & (snr >= LEAST_SNR)
    return CellTruth(
        **facts, snr=snr, clarity=clarity, active=active, visible=active | (clarity >= LEAST_CLARITY)
    )


def _surroundings(rows, cols, shape):
    """Return the slices of a box around a mask, twice as wide."""
    slices = []
    for places, side in zip((rows, cols), shape, strict=True):
        low, high = int(places.min()), int(places.max()) + 1
        reach = max((high - low) // 2, 2)
        slices.append(slice(max(low - reach, 0), min(high + reach, side)))
    return tuple(slices)


def _part(footprints, cell, around, shape):
    """Return a part of one footprint as an image."""
    span = slice(footprints.indptr[cell], footprints.indptr[cell + 1])
    rows, cols = np.divmod(footprints.indices[span], shape[1])
    rows, cols = rows - around[0].start, cols - around[1].start
    image = np.zeros((around[0].stop - around[0].start, around[1].stop - around[1].start), np.float32)
    inside = (rows >= 0) & (rows < image.shape[0]) & (cols >= 0) & (cols < image.shape[1])
    image[rows[inside], cols[inside]] = footprints.data[span][inside]
    return image


def _clarity(seen, picture, variance):
    """Return the correlation of a cell's image with a picture that has noise of some variance."""
    seen, picture = seen - seen.mean(), picture - picture.mean()
    power = (seen**2).mean() * ((picture**2).mean() + variance.mean())
    return (seen * picture).mean() / max(np.sqrt(power), 1e-12)
