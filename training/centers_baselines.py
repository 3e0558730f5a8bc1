"""The classical ways to find cells in one-photon movies, and chance: what the network is measured against.

Each takes a movie as floats and the diameter of a cell in pixels, and returns points,
the likeliest first.

=================== ==========================================================================
``random``          anywhere
``log-deviation``   Laplacian of Gaussian of the standard deviation over time
``log-maximum``     the same of the maximum over time, after a spatial high-pass
``correlation``     local maxima of the correlation with the neighbours, after a high-pass
``seeds-cnmfe``     local maxima of correlation x peak-to-noise: the seeds of CNMF-E [1]_
``seeds-minian``    local maxima of single frames that rise over noise and are not normal, as
                    Minian seeds [2]_
=================== ==========================================================================

References
----------
.. [1] Zhou et al., "Efficient and accurate extraction of in vivo calcium signals from microendoscopic
   video data", eLife 2018. doi:10.7554/eLife.28728
.. [2] Dong et al., "Minian, an open-source miniscope analysis pipeline", eLife 2022.
   doi:10.7554/eLife.70661
"""

import numpy as np
from scipy import ndimage, stats

from calzoo.imaging.center_channels import smoothed
from calzoo.imaging.center_peaks import local_maxima
from calzoo.imaging.center_traces import merge_near
from calzoo.imaging.summary import summary_images

_FINE = 0.1  # diameters: what single pixels are smoothed with


def high_passed(movie, sigma):
    """Subtract a Gaussian average from each frame, (T, Y, X) float32."""
    frames = np.asarray(movie, np.float32)
    return frames - smoothed(frames, sigma)


def random_points(shape, count, rng):
    """Return points anywhere in a frame, ndarray of float (count, 2)."""
    return rng.uniform(0, 1, (count, 2)) * shape - 0.5


class Classical:
    """All classical ways, sharing what several of them need.

    Parameters
    ----------
    movie : ndarray, (T, Y, X)
    diameter : float
        Of a cell, in pixels.
    """

    def __init__(self, movie, diameter):
        self.movie, self.diameter = np.asarray(movie), float(diameter)
        self._passed = high_passed(self.movie, self.diameter)
        self._summary = self._minian = None

    @property
    def summary(self):
        """Summary images of the movie after the high-pass and a fine smoothing."""
        if self._summary is None:
            fine = ndimage.gaussian_filter(self._passed, (0, *(2 * [_FINE * self.diameter])))
            self._summary = summary_images(fine)
        return self._summary

    @property
    def minian(self):
        """Seeds as Minian finds them, before they are merged; see `minian_seeds`."""
        if self._minian is None:
            self._minian = minian_seeds(self._passed, self.diameter)
        return self._minian

    def points(self, count=None, *, apart=0.5):
        """Find points in every way.

        Parameters
        ----------
        count : int, optional
            The likeliest so many.
        apart : float, optional
            Least distance of two points, in diameters.

        Returns
        -------
        dict of str to ndarray of int, (N, 2)
        """
        return {name: self.points_of(name, count, apart=apart) for name in WAYS}

    def picture(self, name):
        """Return the picture whose local maxima are the points, (Y, X); not for ``seeds-minian``."""
        blob = self.diameter / (2 * np.sqrt(2))
        if name == "log-deviation":
            return -ndimage.gaussian_laplace(self.movie.std(axis=0, dtype=np.float64), blob)
        if name == "log-maximum":
            return -ndimage.gaussian_laplace(self._passed.max(axis=0).astype(float), blob)
        picture = self.summary.correlation
        if name == "seeds-cnmfe":
            picture = picture * self.summary.peak_to_noise
        # A smoothed summit is a summit; a bare correlation image has one in every few pixels.
        return ndimage.gaussian_filter(picture, 1.0)

    def points_of(self, name, count=None, *, apart=0.5):
        """Find points in one way; as for `points`."""
        distance = apart * self.diameter
        if name != "seeds-minian":
            return local_maxima(self.picture(name), distance=distance, count=count)
        seeds, pnr = self.minian
        return seeds[merge_near(seeds, pnr, distance)][:count]


WAYS = ("log-deviation", "log-maximum", "correlation", "seeds-cnmfe", "seeds-minian")


def minian_seeds(frames, diameter, *, most=2000):
    """Find seeds as Minian does: summits of projections of some frames, then two tests of their traces.

    Parameters
    ----------
    frames : ndarray of float32, (T, Y, X)
        After a high-pass.
    diameter : float
        Of a cell, in pixels.
    most : int, optional
        Seeds that are tested.

    Returns
    -------
    seeds : ndarray of int, (N, 2)
    pnr : ndarray of float, (N,)
        Their peak-to-noise, by which they are merged.
    """
    smooth = ndimage.gaussian_filter(frames, (0, 0.15 * diameter, 0.15 * diameter))
    votes = np.zeros(frames.shape[1:], int)
    length = max(len(frames) // 20, 2)
    for start in range(0, len(frames), length):
        top = smooth[start : start + length].max(axis=0)
        votes[tuple(local_maxima(top, distance=0.5 * diameter).T)] += 1
    seeds = np.argwhere(votes)
    seeds = seeds[np.argsort(-votes[tuple(seeds.T)], kind="stable")][:most]
    traces = smooth[:, seeds[:, 0], seeds[:, 1]].T
    fast = traces - ndimage.uniform_filter1d(traces, 5, axis=1)
    noise = 6 * np.median(np.abs(fast), axis=1) / 0.6745  # its range, without the transients
    pnr = np.ptp(traces, axis=1) / np.maximum(noise, 1e-9)
    scaled = (traces - traces.mean(axis=1, keepdims=True)) / np.maximum(
        traces.std(axis=1, keepdims=True), 1e-9
    )
    odd = np.array([stats.kstest(trace, "norm").pvalue < 0.01 for trace in scaled], bool)
    chosen = odd & (pnr > 1)
    return seeds[chosen], pnr[chosen]
