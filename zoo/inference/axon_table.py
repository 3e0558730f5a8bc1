"""The measures of every axon, as columns."""

import math

import numpy as np


def table_of(measures, names, lengths, shape, voxel_um=None, channels=()):
    """Put the measures of axons into columns.

    Parameters
    ----------
    measures : Measures
        Of preliminary components.
    names : ndarray of int32
        Component to axon, 0 for those that are left out.
    lengths : tuple of (ndarray, ndarray or None)
        From `lengths_of`.
    shape : tuple of int
        (Z, Y, X) of the stack.
    voxel_um : tuple of (float or None) or None
        (z, y, x).
    channels : sequence of str, optional
        Names for the columns of intensities; where there are several channels without them, numbers.

    Returns
    -------
    dict of str to list
        Columns of axons.csv; in micrometres None where the voxel size is not known. `z_mean`, `y_mean`
        and `x_mean` are the mean position of the axon's voxels, which a bent axon may pass by.
        The radius is that of a cylinder of the axon's volume and length.
    """
    order = np.argsort(names, kind="stable")[np.sum(names == 0) :]
    voxels, low, high = measures.voxels[order], measures.low[order], measures.high[order]
    known = voxel_um is not None and None not in voxel_um
    volume = voxels * float(np.prod(voxel_um)) if known else None
    length_um = None if lengths[1] is None else lengths[1][1:]
    empty = [None] * len(order)
    table = {
        "id": list(range(1, len(order) + 1)),
        "voxels": voxels.tolist(),
        "volume_um3": empty if volume is None else volume.tolist(),
        "length_voxels": lengths[0][1:].tolist(),
        "length_um": empty if length_um is None else length_um.tolist(),
        "radius_voxels": _radius(voxels, lengths[0][1:]),
        "radius_um": empty if length_um is None else _radius(volume, length_um),
    }
    count = len(measures.sums)
    if not len(channels) == len(set(channels)) == count:
        channels = range(count)
    for name, sums in zip(channels, measures.sums[:, order], strict=True):
        suffix = f"_{name}" if count > 1 else ""
        table[f"mean_intensity{suffix}"] = (sums / np.maximum(voxels, 1)).tolist()
        table[f"summed_intensity{suffix}"] = sums.tolist()
    for axis, name in enumerate("zyx"):
        table[f"{name}_first"] = low[:, axis].tolist()
        table[f"{name}_last"] = high[:, axis].tolist()
    at_edge = (low == 0) | (high == np.array(shape) - 1)
    table["touches_edge"] = at_edge.any(axis=1).tolist()
    for name, sums in zip("zyx", measures.places[order].T, strict=True):
        table[f"{name}_mean"] = (sums / np.maximum(voxels, 1)).tolist()
    return table


def _radius(volume, length):
    """Return sqrt(volume / (pi length)), None for what has no length."""
    return [math.sqrt(v / (math.pi * n)) if n > 0 else None for v, n in zip(volume, length, strict=True)]
