"""Frames that move as a whole, found by correlation: no network is run."""

import os

import numpy as np

from calzoo.imaging.rigid import RigidFit
from calzoo.imaging.warping import warp
from calzoo.inference.models import checked_threads
from calzoo.inference.registration_network import ORDERS, Aligned, check_template, fitting

CELL = 8  # pixels for which one expected error is told, as networks do


class RigidMotion:
    """What finds motion in the place of a `RegistrationNetwork`, whose attributes it has.

    Parameters
    ----------
    threads : int, optional
        Pieces that are computed at once; by default as many as there are processors.
    """

    batch, limit, provider = 4, 1.5, "cpu"
    #: Frames that the template is made of agree with their own noise in it: they would remain alone.
    spread = 4

    def __init__(self, threads=None):
        self.origin = {"name": None, "file": None, "sha256": None}
        self.workers = checked_threads(threads) or os.cpu_count() or 1

    def aligner(self, template, **options):
        """Return a `RigidAligner` with a template."""
        return RigidAligner(template, **options)


class RigidAligner:
    """Bring frames to a template, each as a whole.

    Parameters
    ----------
    template, reach, prepare, interpolation
        As for `calzoo.inference.registration_network.Aligner`.
    """

    def __init__(self, template, *, reach=None, prepare=None, interpolation="linear"):
        self.prepare, self.interpolation = prepare, interpolation
        self.template = check_template(template)
        seen = self.template if prepare is None else prepare(self.template[None])[0]
        self._fit = RigidFit(seen, reach=reach)

    def __call__(self, frames):
        """Bring frames (n, Y, X) to the template; the flow of each is one vector, broadcast.

        Returns
        -------
        Aligned
        """
        frames = fitting(frames, self.template.shape)
        seen = frames if self.prepare is None else self.prepare(frames)
        shifts, errors, clarity = self._fit(seen)
        flow = np.broadcast_to(shifts[:, None, None], (*frames.shape, 2))
        cells = [-(-side // CELL) for side in self.template.shape]
        uncertainty = np.broadcast_to(errors[:, None, None], (len(frames), *cells))
        return Aligned(self.warp(frames, flow), flow, uncertainty, shifts, clarity)

    def warp(self, frames, flow):
        """Look frames (n, Y, X) up along a flow (n, Y, X, 2)."""
        return warp(frames, flow, order=ORDERS[self.interpolation])
