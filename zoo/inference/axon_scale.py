"""Which size the network sees a stack in, and which axons are too small to count."""

import math
from numbers import Real

from calzoo.errors import CalzooError
from calzoo.imaging.diameters import diameter_px

LEAST_VOXELS = 30  # of an axon, where neither the card nor the caller says


def is_known(voxel_um):
    """Return whether all three sides of a voxel are known."""
    return voxel_um is not None and None not in voxel_um


def scale_factors(card, voxel_um, axon_diameter, shape):
    """Return by how much each axis of a stack is lengthened before the network sees it.

    Rows and columns follow the thickness of the axons. Planes stay as they are
    unless they would lie closer than the new pixels: networks know thick planes,
    not thin ones.

    Parameters
    ----------
    card : Card
        With ``scale["axon_diameter_px"]``.
    voxel_um : tuple of (float or None) or None
        (z, y, x); voxels are taken for cubes where it is not known.
    axon_diameter : float, str or None
        In pixels (``6``, ``"6px"``) or micrometres (``"1.5um"``); None: nothing is scaled.
    shape : tuple of int
        Of the stack, (Z, Y, X).

    Returns
    -------
    tuple of float
        (z, y, x).

    Raises
    ------
    CalzooError
        If the thickness is no length above 0 and up to half of the longer side, is in micrometres and the
        pixel size is not known, or the card does not say what the network expects.
    """
    if axon_diameter is None:
        return (1.0, 1.0, 1.0)
    expected = card.scale.get("axon_diameter_px")
    if expected is None:
        message = (
            f"{card.name!r} does not say which thickness of axons it expects, so a stack cannot be scaled "
            "to it; leave the axon diameter out."
        )
        raise CalzooError(message)
    z_um, y_um, x_um = voxel_um or (None, None, None)
    told = {
        "name": "axon diameter",
        "examples": "6, 6px or 1.5um",
        "unknown": "the voxel size is not known; give it (voxel_um, --voxel Z,Y,X)",
        "least": 0.25,
        "most": 0.5 * max(shape[1:]),
    }
    rows, columns = (expected / diameter_px(axon_diameter, side, **told) for side in (y_um, x_um))
    spacing = z_um / x_um if z_um and x_um else 1.0  # of planes, in pixels
    return (min(1.0, spacing * columns), rows, columns)


def least_voxels(card, voxel_um, factors, min_voxels=None, min_um3=None):
    """Return how many voxels of the stack an axon has at least.

    Parameters
    ----------
    card : Card
        With ``postprocessing["min_um3"]`` or ``postprocessing["min_voxels"]``, the
        latter in voxels that the network sees.
    voxel_um : tuple of (float or None) or None
        (z, y, x).
    factors : tuple of float
        From `scale_factors`.
    min_voxels, min_um3 : float, optional
        The caller's own wish, in voxels of the stack or in cubic micrometres.

    Returns
    -------
    float

    Raises
    ------
    CalzooError
        If a wish is negative or both are given, or the voxel size is not known.
    """
    if min_voxels is not None and min_um3 is not None:
        message = f"smallest axon: expected min_voxels or min_um3, got both ({min_voxels}, {min_um3})."
        raise CalzooError(message)
    for wish in (min_voxels, min_um3):
        if wish is not None and not (isinstance(wish, Real) and 0 <= wish < math.inf):
            message = f"smallest axon: expected a size of at least 0, got {wish!r}."
            raise CalzooError(message)
    voxel = math.prod(voxel_um) if is_known(voxel_um) else None
    if min_um3 is not None:
        if voxel is None:
            message = (
                f"smallest axon: {min_um3} um^3 was asked for, but the voxel size is not known; "
                "give it (voxel_um, --voxel Z,Y,X), or give a number of voxels."
            )
            raise CalzooError(message)
        return min_um3 / voxel
    if min_voxels is not None:
        return float(min_voxels)
    if voxel is not None and "min_um3" in card.postprocessing:
        return card.postprocessing["min_um3"] / voxel
    return card.postprocessing.get("min_voxels", LEAST_VOXELS) / math.prod(factors)
