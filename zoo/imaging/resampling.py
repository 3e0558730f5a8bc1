"""Change the size of a volume's voxels, plane by plane where the volume is large."""

import math

import numpy as np

from calzoo.errors import CalzooError


class Taps:
    """Linear interpolation along one axis: which samples make a new one, with which weights.

    Where the new axis is shorter, the triangle is widened by as much, so that fine
    structures are averaged and not missed. Ends of the axis stay ends: sample i
    lies at ``(i + 0.5) / size`` of the way.

    Parameters
    ----------
    size, new_size : int
        Samples before and after.

    Attributes
    ----------
    places : ndarray of int, (new_size, taps)
        Which samples.
    weights : ndarray of float32, (new_size, taps)
        Their weights; each row sums to 1.
    """

    def __init__(self, size, new_size):
        step = size / new_size
        reach = max(step, 1.0)
        centres = (np.arange(new_size) + 0.5) * step - 0.5
        first = np.floor(centres - reach).astype(int) + 1
        places = first[:, None] + np.arange(math.ceil(2 * reach))
        weights = np.maximum(1 - np.abs(places - centres[:, None]) / reach, 0)
        inside = (places >= 0) & (places < size)
        # Beyond the end the last sample goes on, but only where interpolation reaches for it.
        weights = np.where(inside | (reach == 1), weights, 0)
        self.places = np.clip(places, 0, size - 1)
        self.weights = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)

    def apply(self, array, axis, start=0, stop=None, offset=0):
        """Interpolate along an axis.

        Parameters
        ----------
        array : ndarray
            Samples from number `offset` on.
        axis : int
        start, stop : int, optional
            Which of the new samples; all where absent.
        offset : int, optional

        Returns
        -------
        ndarray of float32
        """
        places, weights = self.places[start:stop] - offset, self.weights[start:stop]
        array = np.moveaxis(array, axis, 0)
        total = np.zeros((len(places), *array.shape[1:]), np.float32)
        shape = (-1,) + (1,) * (array.ndim - 1)
        for place, weight in zip(places.T, weights.T, strict=True):
            # A sample of weight 0 may lie outside of what was read.
            total += array[np.clip(place, 0, len(array) - 1)] * weight.reshape(shape)
        return np.moveaxis(total, 0, axis)

    def needs(self, start, stop):
        """Return the range of samples that the new samples `start` to `stop` are made of."""
        used = self.places[start:stop][self.weights[start:stop] != 0]
        return int(used.min()), int(used.max()) + 1


class Resampled:
    """A volume with other voxels: read like a volume, computed when it is read.

    Parameters
    ----------
    volume : Volume
        Anything with `shape` (Z, Y, X) and ``planes(start, stop)``; the planes may
        have leading axes, (..., n, Y, X).
    shape : tuple of int
        The new (Z, Y, X).
    """

    def __init__(self, volume, shape):
        self.shape = tuple(shape)
        self.dtype = np.dtype(np.float32)
        self._volume = volume
        self._taps = [Taps(*sizes) for sizes in zip(volume.shape, shape, strict=True)]

    def planes(self, start, stop):
        """Return new planes `start` to `stop`, float32, (..., n, Y, X)."""
        first, last = self._taps[0].needs(start, stop)
        planes = self._volume.planes(first, last)
        for axis in (-1, -2):
            if self._volume.shape[axis] != self.shape[axis]:
                planes = self._taps[axis].apply(planes, axis)
        if self._volume.shape[0] == self.shape[0]:
            return planes.astype(np.float32, copy=False)
        return self._taps[0].apply(planes, -3, start, stop, first)


def resampled_shape(shape, factors):
    """Return the shape of a volume whose axes are `factors` times as long.

    Parameters
    ----------
    shape : tuple of int
        (Z, Y, X).
    factors : tuple of float
        (z, y, x), above 0.

    Returns
    -------
    tuple of int

    Raises
    ------
    CalzooError
        If a factor is not above 0.

    Examples
    --------
    >>> resampled_shape((17, 100, 101), (1, 0.5, 0.5))
    (17, 50, 50)
    """
    if not all(0 < factor < math.inf for factor in factors):
        message = f"expected factors above 0 for z, y and x, got {tuple(factors)}."
        raise CalzooError(message)
    return tuple(max(round(side * factor), 1) for side, factor in zip(shape, factors, strict=True))


class SlabReader:
    """Give slabs that come one after the other the interface of a volume.

    Planes are forgotten once later ones were asked for: ``planes(start, stop)``
    must be called with a `start` that never falls.

    Parameters
    ----------
    slabs : iterator of ndarray, (..., n, Y, X)
        First to last.
    shape : tuple of int
        (Z, Y, X) of all of them together.
    """

    def __init__(self, slabs, shape):
        self.shape = tuple(shape)
        self._slabs = iter(slabs)
        self._kept = []  # planes (..., Y, X)
        self._first = 0  # number of the first that is kept

    def planes(self, start, stop):
        """Return planes `start` to `stop`, (..., n, Y, X)."""
        while self._first + len(self._kept) < stop:
            slab = next(self._slabs)
            self._kept.extend(slab[..., i, :, :] for i in range(slab.shape[-3]))
        del self._kept[: start - self._first]
        self._first = max(self._first, start)
        return np.stack(self._kept[: stop - start], axis=-3)
