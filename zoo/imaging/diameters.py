"""Read how wide something is: in pixels or in micrometres."""

import re
import warnings

import numpy as np

from calzoo.errors import CalzooError

_LARGEST_PIXEL_UM = 100.0
_SIZE = re.compile(r"\s*([0-9.]+(?:e[+-]?[0-9]+)?)\s*(px|um|µm)?\s*", re.IGNORECASE)


def diameter_px(
    diameter,
    pixel_um,
    *,
    name="diameter",
    examples="12, 12px or 10um",
    unknown="the pixel size is not known; give it (pixel_um, --voxel Y,X)",
    least=0.0,
    most=np.inf,
):
    """Return a diameter in pixels.

    Parameters
    ----------
    diameter : float, str or None
        In pixels (``12``, ``"12px"``) or micrometres (``"10um"``); None: not told.
    pixel_um : float, tuple of float or None
        Side of a pixel. Of (y, x), the geometric mean counts.
    name, examples, unknown : str, optional
        What messages call the diameter, how they say that it is written, and what they say where
        the pixel size is needed and not known.
    least : float, optional
        Pixels that it has at least: what is smaller would be enlarged beyond all memory.
    most : float, optional
        Pixels that it has at most: half of the longer side of the picture.

    Returns
    -------
    float or None
        None of None.

    Raises
    ------
    CalzooError
        If it is no size above 0, below `least` or above `most`, or in micrometres without a pixel size.

    Examples
    --------
    >>> diameter_px("12um", (2.0, 2.0))
    6.0
    """
    if diameter is None:
        return None
    match = _SIZE.fullmatch(str(diameter))
    try:
        value = float(match[1]) if match else 0.0
    except ValueError:  # such as 1.2.3
        value = 0.0
    if not 0 < value < np.inf:
        message = f"{name}: expected a size above 0, such as {examples}; got {diameter!r}."
        raise CalzooError(message)
    in_pixels = (match[2] or "px").lower() == "px"
    if not in_pixels and pixel_um is None:
        message = f"{name}: {diameter!r} is in micrometres, but {unknown}, or give the diameter in pixels."
        raise CalzooError(message)
    if not in_pixels:
        value /= float(np.prod(pixel_um) ** (1 / np.size(pixel_um)))
    if value < least:
        message = (
            f"{name}: expected at least {least:g} pixels, got {value:.2g} of {diameter!r}; is it the unit?"
        )
        raise CalzooError(message)
    if value > most:
        message = (
            f"{name}: expected at most {most:g} pixels, half of the longer side, got {value:.4g} of "
            f"{diameter!r}; is it the unit?"
        )
        raise CalzooError(message)
    return value


def aspect_of(pixel_um):
    """Return the sides of a pixel over their geometric mean, (y, x).

    A length of d pixels, which counts pixels of the mean side as `diameter_px` does, is d over this
    along each axis.

    Parameters
    ----------
    pixel_um : tuple of float or None
        Side of a pixel (y, x); not known: square.

    Examples
    --------
    >>> aspect_of((1.0, 4.0))
    (0.5, 2.0)
    """
    if pixel_um is None or pixel_um[0] == pixel_um[1]:
        return 1.0, 1.0  # to the last bit
    mean = float(np.sqrt(pixel_um[0] * pixel_um[1]))
    return pixel_um[0] / mean, pixel_um[1] / mean


def warn_of_large_pixels(name, sides_um):
    """Warn of pixels (y, x) wider than any microscope's: metadata may give them in another unit.

    Parameters
    ----------
    name : str
        What the message calls the recording.
    sides_um : tuple of (float or None) or None
    """
    largest = max((side for side in sides_um or () if side is not None), default=0.0)
    if largest > _LARGEST_PIXEL_UM:
        warnings.warn(
            f"{name}: a pixel is said to be {largest:g} um wide; is it micrometres? Give the size with "
            "--voxel, voxel_um or pixel_um.",
            stacklevel=4,
        )
