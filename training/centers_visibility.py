"""How clearly the cells of a simulated one-photon recording stand out, and which of them should be found."""

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from calzoo.imaging.center_channels import CELL_PX, CELL_SIGMA, SURROUND_SIGMA

#: How clearly a cell must stand out to be one that should be found, and from when on it may be found.
CLEAR, DOUBTFUL = 5.0, 2.0
#: Least contrast of a cell that should be found, over that of an evenly bright disk: else it is out of focus.
SHARP = 0.45
#: Least part of all change at its centre that a cell's own light has, at its brightest moment.
SHARE = 0.5


@dataclass(frozen=True)
class Visibility:
    """How the cells of a recording can be told from everything else, without noise.

    Attributes
    ----------
    contrast : ndarray of float, (N,)
        How each cell stands out from its surroundings, over an evenly bright disk as wide as the
        grid takes cells to be; less for cells out of focus.
    step : float
        Pixels of a frame per pixel of the grid.
    own, total : ndarray of float32, (N, T)
        Light of the cell alone, and of everything, behind the band-pass at the cell's centre; in photons.
    """

    contrast: np.ndarray
    step: float
    own: np.ndarray
    total: np.ndarray


def visibility(recording, grid):
    """Measure how cells stand out in tissue that does not move.

    Parameters
    ----------
    recording : calzoo.simulation.recordings.Recording
    grid : calzoo.imaging.center_channels.Grid

    Returns
    -------
    Visibility
    """
    cells, step = recording.cells, float(np.mean(grid.step))
    weights = _band_pass_at(cells.centers, recording.shape[1:], step)
    response = np.asarray((weights.T @ cells.footprints).diagonal())
    ideal = sum(
        sign * (1 - np.exp(-((CELL_PX / 2) ** 2) / (2 * sigma**2)))
        for sigma, sign in ((CELL_SIGMA, 1), (SURROUND_SIGMA, -1))
    )
    lit = (weights * recording.illumination.reshape(-1, 1)).tocsr()
    height, width = recording.shape[1:]
    places = np.indices((height, width)).reshape(2, -1) + recording.margin
    pixels = places[0] * (width + 2 * recording.margin) + places[1]
    total = sum(
        np.asarray(lit.T @ layer.weights[pixels] @ layer.traces) for layer in recording.layers.values()
    )
    own = np.asarray((lit.T @ cells.footprints).diagonal())[:, None] * cells.traces
    return Visibility(response / ideal, step, own.astype(np.float32), total.astype(np.float32))


def _band_pass_at(centers, shape, step):
    """Return the weights (Y * X, N) of the band-pass that ends in each centre."""
    reach = int(np.ceil(2.5 * SURROUND_SIGMA * step))
    near = np.stack(np.indices((2 * reach + 1, 2 * reach + 1)) - reach, axis=-1).reshape(-1, 2)
    places = np.round(centers).astype(int)[:, None] + near  # (N, P, 2)
    distance = ((places - centers[:, None]) ** 2).sum(-1)
    weight = np.zeros(distance.shape)
    for sigma, sign in ((CELL_SIGMA, 1), (SURROUND_SIGMA, -1)):
        variance = (sigma * step) ** 2
        weight += sign * np.exp(-distance / (2 * variance)) / (2 * np.pi * variance)
    inside = ((places >= 0) & (places < shape)).all(-1)
    cell = np.broadcast_to(np.arange(len(centers))[:, None], inside.shape)[inside]
    pixel = places[inside] @ np.array([shape[1], 1])
    return sparse.csr_array((weight[inside], (pixel, cell)), shape=(shape[0] * shape[1], len(centers)))


def clarity(recording, seen, span):
    """Return how clearly each cell stands out in some frames.

    Parameters
    ----------
    recording : calzoo.simulation.recordings.Recording
    seen : Visibility
    span : (int, int)
        First frame, and the one after the last.

    Returns
    -------
    snr : ndarray of float, (N,)
        Largest change in standard deviations of the noise, behind the band-pass.
    share : ndarray of float, (N,)
        The cell's part of all change at its centre, at that moment.
    """
    cells, span = recording.cells, slice(*span)
    if not len(cells):
        return np.zeros(0), np.zeros(0)
    own = seen.own - np.median(seen.own, axis=1, keepdims=True)
    rest = seen.total - seen.own
    rest = np.abs(rest - np.median(rest, axis=1, keepdims=True))
    moment = own[:, span].argmax(axis=1)[:, None]
    now = np.clip(np.take_along_axis(own[:, span], moment, 1)[:, 0], 0, None)
    beside = np.take_along_axis(rest[:, span], moment, 1)[:, 0]
    part_of_all = now / np.maximum(own.max(axis=1), 1e-9)
    # The snr of the truth is that of the mean over the mask; the band-pass averages a disk of its own.
    disk = 0.5 * CELL_PX * seen.step / np.maximum(cells.radii, 1e-9)
    snr = cells.snr * disk * np.clip(seen.contrast, 0, None) * part_of_all * np.sqrt(recording.exposures)
    return snr, now / np.maximum(now + beside, 1e-9)
