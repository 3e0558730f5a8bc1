"""Intensities to the numbers that a network was trained on, for arrays and for streams.

Training and inference call the same two steps: `measure` the scaling of a
recording, then apply it, chunk by chunk where the recording is large.
"""

from dataclasses import dataclass

import numpy as np

from calzoo.errors import CalzooError

_BINS = 1 << 16
_PIECE = 1 << 22  # voxels that are counted at once: np.bincount makes 8 bytes of each
# A lowest level that holds this share of a recording is a detector's zero, whatever its number is.
_FLOOR_SHARE = 0.05
# Zeros that lie this far (in spans) below the lower percentile of the rest were never recorded ...
_FAR_BELOW = 0.25
# ... unless this percentile is as low: then they are what photon counters write, and the rest is one photon.
_FEW_LEVELS = 25
_SMOOTH_PX = 4.0  # the level that padding takes on is a mean over this distance


@dataclass(frozen=True)
class Scaling:
    """What turns intensities into network input: ``clip((x - offset) / span)``.

    Attributes
    ----------
    offset, span : float
        In the units of the intensities; `span` is never 0.
    clip : tuple of float, optional
        Smallest and largest value of the result.
    padding : float, optional
        The value of what was never recorded (black frames, corners that a registration
        left): `apply` gives it the level of the nearest that was, so that its outline is
        no edge to the network.
    """

    offset: float = 0.0
    span: float = 1.0
    clip: tuple[float, float] | None = None
    padding: float | None = None

    def apply(self, array):
        """Scale intensities.

        Parameters
        ----------
        array : ndarray, (..., Y, X)
            Of any real dtype.

        Returns
        -------
        ndarray of float32
            A new array of the same shape. What was recorded depends on its own
            intensity only, so chunks give exactly what the whole gives.
        """
        # Wide integers and float64 lose their offset before their precision.
        wide = array.dtype.kind in "iuf" and array.dtype.itemsize > 4
        scaled = array.astype(np.float64 if wide else np.float32)
        scaled -= self.offset
        scaled *= 1 / self.span
        if self.clip is not None:
            np.clip(scaled, *self.clip, out=scaled)
        scaled = scaled.astype(np.float32, copy=False)
        if self.padding is not None:
            recorded = self.recorded(array)
            level = scaled[recorded].mean() if recorded.any() else 0.0
            for plane in np.ndindex(array.shape[:-2]):
                fill_nearest(scaled[plane], recorded[plane], level)
        return scaled

    def recorded(self, array):
        """Return where intensities were recorded and are no `padding`, bool, of the shape of the array."""
        return np.ones(array.shape, bool) if self.padding is None else array != self.padding


def percentile_range(array, low, high, *, ignore_zeros=False):
    """Return two percentiles of an array, with linear interpolation as in `numpy.percentile`.

    Parameters
    ----------
    array : ndarray
        Of any shape and any real dtype.
    low, high : float
        Percentiles, 0 to 100.
    ignore_zeros : bool, optional
        Leave out the values that are exactly 0 (padding, photon-free voxels).

    Returns
    -------
    tuple of float
        The two percentiles, in the units of `array`; (0, 0) where no value is left.

    Raises
    ------
    CalzooError
        If the dtype is not a real number, or a value is NaN or infinite.

    Examples
    --------
    >>> import numpy as np
    >>> percentile_range(np.uint16([0, 0, 10, 20, 30]), 0, 50, ignore_zeros=True)
    (10.0, 20.0)
    """
    counts = _Counts(lambda: _pieces(np.asarray(array)))
    if ignore_zeros:
        counts.leave_out(0)
    ranks = counts.ranks((low, high))
    return float(ranks[0]), float(ranks[1])


def measure(chunks, normalisation):
    """Measure how a recording must be scaled, without ever holding it whole.

    Percentiles are order statistics found by counting: exact for bool, 8- and
    16-bit integers in one pass over the recording, exact to float32 in two
    passes for every other dtype. Where both percentiles are one value (a stack
    that is nearly all background), the largest value takes the place of the upper
    one; a constant recording becomes 0. Where the card ignores zeros, the lowest level is
    ignored in their place if it holds a twentieth of the recording: zero with an offset.
    What is ignored and lies far below all else is taken for padding; see `Scaling`. Of two
    levels none is ignored.

    Parameters
    ----------
    chunks : callable
        Called without arguments, returns an iterator over the recording's arrays
        (any shapes, one dtype); it is called once for each pass.
    normalisation : Normalisation
        From a model card: its `kind`, `low`, `high`, `clip` and `ignore_zeros`.

    Returns
    -------
    Scaling

    Raises
    ------
    CalzooError
        If the dtype is not a real number, or a value is NaN or infinite.
    """
    if normalisation.kind == "none":
        return Scaling(clip=normalisation.clip)
    if normalisation.kind == "zscore":
        offset, span = _moments(chunks, normalisation.ignore_zeros)
    else:
        percentiles = (normalisation.low, normalisation.high, _FEW_LEVELS)
        counts = _Counts(chunks)
        zero = counts.floor() if normalisation.ignore_zeros else None
        if zero is not None:
            counts.leave_out(zero)
        offset, high, quarter, largest = counts.ranks(percentiles)
        if zero is not None and offset == largest:  # two levels: what is left has no contrast of its own
            zero = None
            offset, high, quarter, largest = _Counts(chunks).ranks(percentiles)
        span = (high - offset) or (largest - offset) or 1.0
        never = zero is not None and offset - zero > _FAR_BELOW * span and quarter > offset
        return Scaling(offset, span, normalisation.clip, zero if never else None)
    return Scaling(offset, span or 1.0, normalisation.clip)


def normalise(array, normalisation):
    """Scale an array as a model card says.

    Parameters
    ----------
    array : ndarray
        A volume (Z, Y, X), a movie (T, Y, X) or a picture, of any real dtype.
    normalisation : Normalisation
        From a model card. With `scope` "frame" every ``array[i]`` is measured on
        its own, otherwise the array is one recording.

    Returns
    -------
    ndarray of float32
        Of the shape of `array`.

    Raises
    ------
    CalzooError
        If the dtype is not a real number, or a value is NaN or infinite.
    """
    array = np.asarray(array)
    if normalisation.scope == "frame":
        scaled = np.empty(array.shape, np.float32)
        for target, frame in zip(scaled, array, strict=True):
            target[...] = measure(lambda frame=frame: _pieces(frame), normalisation).apply(frame)
        return scaled
    return measure(lambda: _pieces(array), normalisation).apply(array)


def fill_nearest(plane, recorded, level):
    """Give the unrecorded pixels of a plane, in place, the smoothed level of the nearest recorded one.

    Parameters
    ----------
    plane : ndarray of float, (Y, X)
    recorded : ndarray of bool, (Y, X)
    level : float
        What they get where no pixel was recorded.
    """
    if recorded.all():
        return
    if not recorded.any():
        plane[...] = level
        return
    from scipy import ndimage  # few stacks have padding, and the import takes longer than a small stack

    weight = ndimage.gaussian_filter(recorded.astype(np.float32), _SMOOTH_PX)
    near = ndimage.gaussian_filter(np.where(recorded, plane, 0), _SMOOTH_PX) / np.maximum(weight, 1e-6)
    y, x = ndimage.distance_transform_edt(~recorded, return_distances=False, return_indices=True)
    plane[~recorded] = near[y, x][~recorded]


def _pieces(array):
    """Yield an array in flat pieces, so that counting needs little memory."""
    flat = array.reshape(-1)
    for start in range(0, flat.size, _PIECE):
        yield flat[start : start + _PIECE]


def _moments(chunks, ignore_zeros):
    """Return mean and standard deviation (0 for no value at all) of a stream."""
    count, mean, squares = 0, 0.0, 0.0
    for chunk in chunks():
        values = _real(chunk).astype(np.float64).ravel()
        values = values[values != 0] if ignore_zeros else values
        if not values.size:
            continue
        # Chan's update of two samples' moments: no cancellation of large sums.
        total, delta = count + values.size, values.mean() - mean
        squares += values.var() * values.size + delta**2 * count * values.size / total
        mean, count = mean + delta * values.size / total, total
    return mean, float(np.sqrt(squares / max(count, 1)))


class _Counts:
    """How often each value of a stream occurs, by the upper halves of sortable keys.

    Parameters
    ----------
    chunks : callable
        See `measure`.
    """

    def __init__(self, chunks):
        self._chunks, self._left_out = chunks, None
        self._coarse, self._dtype = np.zeros(_BINS, np.int64), np.dtype(np.uint8)
        # Bins of wide types hold many values: how often zero came, and the lowest value.
        self._zeros, self._lowest, self._count = 0, 0.0, 0
        for chunk in chunks():
            self._dtype = chunk.dtype
            self._coarse += np.bincount(_keys(chunk)[0], minlength=_BINS)
            if chunk.size and not _is_narrow(chunk.dtype):
                self._zeros += int(np.count_nonzero(chunk == 0))
                self._see_lowest(chunk)

    def _see_lowest(self, chunk):
        low = chunk.min().item()
        if not self._count or low < self._lowest:
            self._lowest, self._count = low, 0
        if low == self._lowest:
            self._count += int(np.count_nonzero(chunk == low))

    def floor(self):
        """Return the lowest value if it is as frequent as a detector's zero, else 0."""
        total = int(self._coarse.sum())
        if _is_narrow(self._dtype):
            first = int(np.argmax(self._coarse > 0))
            value, count = _value_of_narrow(first, self._dtype), int(self._coarse[first])
        else:
            value, count = self._lowest, self._count
        return value if _FLOOR_SHARE * total <= count < total else 0.0

    def leave_out(self, value):
        """Leave out what is exactly `value`: 0, or what `floor` returned."""
        self._left_out = value
        if _is_narrow(self._dtype):
            self._coarse[int(value) + _shift_of_narrow(self._dtype)] = 0
        else:
            place = _keys(np.array([value], self._dtype))[0][0]
            self._coarse[place] -= self._zeros if value == 0 else self._count

    def ranks(self, percentiles):
        """Return the percentiles and, last, the largest value; zeros where no value is left."""
        coarse, total = self._coarse, int(self._coarse.sum())
        if total == 0:
            return [0.0] * (len(percentiles) + 1)
        positions = [(total - 1) * (percentile / 100) for percentile in percentiles] + [total - 1]
        wanted = sorted({int(rank) for p in positions for rank in (np.floor(p), np.ceil(p))})
        ends = np.cumsum(coarse)
        bins = np.searchsorted(ends, wanted, side="right")
        if _is_narrow(self._dtype):
            found = {rank: _value_of_narrow(b, self._dtype) for rank, b in zip(wanted, bins, strict=True)}
        else:
            fine = self._fine(set(bins.tolist()))
            found = {}
            for rank, b in zip(wanted, bins.tolist(), strict=True):
                before = int(ends[b] - coarse[b])
                low_half = int(np.searchsorted(np.cumsum(fine[b]), rank - before, side="right"))
                found[rank] = _value_of_wide(b, low_half)
        return [_between(found[int(np.floor(p))], found[int(np.ceil(p))], p - np.floor(p)) for p in positions]

    def _fine(self, bins):
        """Count the lower 16 bits of the keys whose upper 16 bits are one of `bins`."""
        counts = {b: np.zeros(_BINS, np.int64) for b in bins}
        for chunk in self._chunks():
            high, low = _keys(chunk, self._left_out)
            for b in bins:
                counts[b] += np.bincount(low[high == b], minlength=_BINS)
        return counts


def _keys(chunk, left_out=None):
    """Return sortable keys as two flat arrays of 16-bit halves; the second is None for narrow dtypes."""
    values = _real(chunk).ravel()
    if left_out is not None:
        values = values[values != left_out]
    if _is_narrow(chunk.dtype):
        return (values.astype(np.int32) + _shift_of_narrow(chunk.dtype)), None
    # IEEE floats sort as integers once negative ones are inverted and positive
    # ones get their top bit set; adding 0 makes one zero of the two.
    bits = (values.astype(np.float32) + np.float32(0)).view(np.uint32)
    bits = np.where(bits >> 31, ~bits, bits | np.uint32(1 << 31))
    return (bits >> 16).astype(np.int32), (bits & 0xFFFF).astype(np.int32)


def _real(chunk):
    """Return a chunk, or raise if it holds anything but finite real numbers."""
    if chunk.dtype.kind not in "biuf":
        message = (
            f"expected intensities that are real numbers, got dtype {chunk.dtype}; "
            "convert the image, e.g. to uint16 or float32."
        )
        raise CalzooError(message)
    if chunk.dtype.kind == "f" and not np.isfinite(chunk).all():
        message = (
            "expected finite intensities, got NaN or infinity; replace them, e.g. by 0 with numpy.nan_to_num."
        )
        raise CalzooError(message)
    return chunk


def _is_narrow(dtype):
    return dtype.kind in "biu" and dtype.itemsize <= 2


def _shift_of_narrow(dtype):
    return _BINS // 2 if dtype.kind == "i" else 0


def _value_of_narrow(key, dtype):
    return float(key - _shift_of_narrow(dtype))


def _value_of_wide(high, low):
    bits = np.uint32((high << 16) | low)
    bits = bits ^ np.uint32(1 << 31) if bits >> 31 else ~bits
    return float(np.array(bits).view(np.float32))


def _between(lower, upper, share):
    """Interpolate, from the nearer end as NumPy does, so that equal ends stay equal."""
    if share < 0.5:
        return lower + (upper - lower) * share
    return upper - (upper - lower) * (1 - share)
