"""How right a flow is: its error against known motion.

Two senses of motion meet here. A recording moves: ``frame(y) = tissue(y + motion(y))``. A flow undoes it:
``registered(y) = frame(y + flow(y))``. The flow is right where ``flow(y) + motion(y + flow(y)) = 0``.
"""

from dataclasses import dataclass

import numpy as np

from calzoo.errors import CalzooError
from calzoo.imaging.motion import invert
from calzoo.imaging.warping import looks_inside, warp

BORDER = 25


@dataclass(frozen=True)
class EndPointError:
    """Length of the error of a flow in pixels.

    Attributes
    ----------
    interior, border : float
        Mean over pixels at least 25 pixels from every edge, and over the others; only pixels whose
        tissue lies inside the frame count. NaN where there is none.
    median, percentile_95 : float
        Over all pixels that count.
    """

    interior: float
    border: float
    median: float
    percentile_95: float


def end_point_error(flow, motion, *, border=BORDER, known=None):
    """Measure a flow against the true motion of a frame.

    Parameters
    ----------
    flow : ndarray, (Y, X, 2)
        (dy, dx) in pixels: registered(y, x) = frame(y + dy, x + dx).
    motion : ndarray, (Y, X, 2)
        (dy, dx) in pixels: frame(y, x) = tissue(y + dy, x + dx).
    border : int, optional
        Width of the border in pixels.
    known : ndarray of bool, (Y, X), optional
        What `seen_in_frame` returns for `motion`, where several flows are measured against it.

    Returns
    -------
    EndPointError

    Raises
    ------
    CalzooError
        If the shapes differ.

    Examples
    --------
    >>> import numpy as np
    >>> motion = np.full((64, 64, 2), [0.0, 2.0], np.float32)
    >>> end_point_error(-motion, motion).interior
    0.0
    >>> end_point_error(0 * motion, motion).interior
    2.0
    """
    flow, motion = np.asarray(flow, np.float32), np.asarray(motion, np.float32)
    if flow.shape != motion.shape or flow.ndim != 3 or flow.shape[-1] != 2:
        message = f"expected a flow and a motion (Y, X, 2) of one shape, got {flow.shape} and {motion.shape}."
        raise CalzooError(message)
    length = np.linalg.norm(flow_error(flow, motion), axis=-1)
    known = seen_in_frame(motion) if known is None else known
    middle = np.zeros(known.shape, bool)
    middle[border : known.shape[0] - border, border : known.shape[1] - border] = True
    counted = length[known]
    return EndPointError(
        interior=_mean(length[known & middle]),
        border=_mean(length[known & ~middle]),
        median=float(np.median(counted)) if counted.size else float("nan"),
        percentile_95=float(np.percentile(counted, 95)) if counted.size else float("nan"),
    )


def seen_in_frame(motion):
    """Return for which pixels of the tissue the frame shows what is there, (Y, X) bool.

    Parameters
    ----------
    motion : ndarray, (Y, X, 2)
        See `end_point_error`.
    """
    return looks_inside(invert(motion))


def flow_error(flow, motion):
    """Return what is wrong with a flow, (Y, X, 2): ``flow(y) + motion(y + flow(y))``, 0 where it is right.

    Parameters
    ----------
    flow, motion : ndarray, (Y, X, 2)
        See `end_point_error`.
    """
    return flow + np.stack([warp(motion[..., axis], flow) for axis in (0, 1)], axis=-1)


def inverse_consistency(flow, back):
    """Return the mean length, in pixels, of what is left after going there and back.

    Parameters
    ----------
    flow, back : ndarray, (Y, X, 2)
        From a template to a frame, and from the frame to the template.

    Returns
    -------
    float
    """
    inside = looks_inside(flow)
    return _mean(np.linalg.norm(flow_error(flow, back), axis=-1)[inside])


def _mean(values):
    return float(values.mean()) if values.size else float("nan")
