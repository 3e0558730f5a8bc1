"""What a one-photon movie shows where no cell shines: its level at rest, its noise, and an unsteady lamp."""

import numpy as np
from scipy import ndimage

#: Median |a - b| of a normal a and b, over their standard deviation.
MAD_OF_STEPS = 0.6745 * np.sqrt(2.0)

_PAIRS = 16  # pairs of successive frames that noise and resting level are measured on
_QUIET = 10  # per cent of the frames in which even a cell that shines for long is at rest
_TYPICAL = 3.0  # so many times deeper than those of a typical pixel are the quiet frames of such a cell
_STRUCTURE = 85  # per cent of the pixels whose still picture is too weak to tell the lamp's light
_CLEAR = 4.0  # standard deviations of the noise from which on the other pixels tell it
_UNSTEADY = 0.2  # standard deviation over time that a lamp's light may have; cells sway more


class AtRest:
    """Level, noise and light of each pixel at rest, from a sample of a window.

    Parameters
    ----------
    movie : movie
    grid : Grid
        What smooths and band-passes its frames.
    start, stop : int
        First frame of the window, and the one after the last.

    Attributes
    ----------
    sharp, cell : ndarray of float32, (h, w)
        Level of the frames smoothed finely, and smoothed like a cell.
    sharp_noise, cell_noise : float
        Standard deviation of the noise of a typical pixel of both.
    own_noise : ndarray of float32, (h, w)
        Standard deviation of the noise of each pixel smoothed like a cell.
    rounding : float
        What rounding alone may do to such sums.
    """

    def __init__(self, movie, grid, start, stop):
        first = np.unique(np.linspace(start, stop - 2, _PAIRS).astype(int))
        pairs = np.concatenate([movie.frames(int(t), int(t) + 2) for t in first])
        sharp, cell = grid.band_passed(pairs)
        self.rounding = 1e-5 * float(np.abs(pairs).mean(dtype=np.float64))
        self._stills = np.median(sharp, axis=0), np.median(cell, axis=0)
        self._telling = _telling(self._stills[1], cell, _noise(cell, self.rounding)[0])
        self._steady(sharp, cell)
        self.sharp, self.cell = _resting(sharp), _resting(cell)
        self.sharp_noise, _ = _noise(sharp, self.rounding)
        self.cell_noise, self.own_noise = _noise(cell, self.rounding)

    def above(self, sharp, cell):
        """Return how far frames (n, h, w) lie above their level at rest, under a steady lamp; in place."""
        self._steady(sharp, cell)
        sharp -= self.sharp
        cell -= self.cell
        return sharp, cell

    def _steady(self, sharp, cell):
        """Take from frames, in place, what the still picture gains or loses with the light of the lamp."""
        if not len(self._telling):
            return
        swing = (_light(cell, self._stills[1], self._telling) - 1)[:, None, None]
        sharp -= swing * self._stills[0]
        cell -= swing * self._stills[1]


def _telling(still, frames, noise):
    """Return the pixels (flat indices) that tell how bright the lamp is in a frame; none where nothing does.

    Where the background has been taken away, hardly anything but cells is left of the still picture,
    and what sways with them is no lamp.
    """
    height = np.abs(still)
    least = np.percentile(height, _STRUCTURE)
    pixels = np.flatnonzero(height >= least)
    if least <= _CLEAR * noise or _light(frames, still, pixels).std() > _UNSTEADY:
        return pixels[:0]
    return pixels


def _light(frames, still, pixels):
    """Return the light of the lamp in frames, 1 in the typical one, (n,).

    Few of the pixels belong to cells that shine in the same frame: the median leaves these out.
    """
    ratio = frames.reshape(len(frames), -1)[:, pixels] / still.ravel()[pixels]
    return np.median(ratio, axis=1)


def _resting(frames):
    """Return the level of each pixel at rest: its median, or less where a cell shines for half of the time.

    There the median is that of a bright cell, which would seem to sink as far as it rises. How far below
    the median quiet frames may lie is what the typical pixel tells. Only what is brighter than its
    surroundings is lowered, as the surroundings of a cell sink when it shines.
    """
    median = np.median(frames, axis=0)
    below = median - np.percentile(frames, _QUIET, axis=0)
    return median - np.clip(below - _TYPICAL * np.median(below), 0, np.maximum(median, 0)).astype(np.float32)


def _noise(frames, rounding):
    """Return the noise of a typical pixel and of each pixel, from pairs of successive frames."""
    own = np.median(np.abs(frames[1::2] - frames[::2]), axis=0) / np.float32(MAD_OF_STEPS)
    # So few pairs leave an error of some 15 %, which neighbours make smaller.
    own = ndimage.uniform_filter(own, 5, mode="nearest")
    typical = float(np.median(own))
    if typical == 0:  # more than half of the pixels never change
        typical = float(own[own > 0].mean()) if own.any() else float(frames.std())
    # Where nothing changes, the rounding of sums does; and pixels without noise must not stand out.
    typical = max(typical, rounding) or 1.0
    return typical, np.maximum(np.sqrt(own**2 + (0.3 * typical) ** 2), rounding).astype(np.float32)
