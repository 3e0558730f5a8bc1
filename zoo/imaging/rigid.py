"""Rigid motion: how far each frame lies from a template, and templates made of frames brought together.

Shifts are (dy, dx) in pixels in the sense of a flow: registered(y, x) = frame(y + dy, x + dx).
"""

import numpy as np
from scipy import fft

from calzoo.errors import CalzooError

SIDE = 128  # pixels of the smaller picture that is searched: enough for a pixel or two
FIT_SIDE = 256  # of the one whose correlation is climbed
REACH = 0.2  # of the smaller side: no search goes farther
CLEAR = 5.0  # height of a peak, in standard deviations: those of noise and of other tissue are lower
_STEPS = 2  # of Newton's method
_FARTHEST = 2  # pixels of the picture that is climbed: as far as the search may be off


class RigidSearch:
    """Find rigid displacements against one template by correlation.

    Pictures are made smaller (about 128 pixels), which averages the noise of photons. Phases
    count as far as the template has structure.

    Parameters
    ----------
    template : ndarray of shape (Y, X)
    reach : float, optional
        Largest shift in pixels along each axis; by default a fifth of the smaller side.

    Raises
    ------
    CalzooError
        If the template is not a picture.
    """

    def __init__(self, template, *, reach=None):
        template = np.asarray(template, np.float32)
        if template.ndim != 2 or min(template.shape) < 4:
            message = f"expected a template (Y, X) of at least 4 x 4 pixels, got shape {template.shape}."
            raise CalzooError(message)
        self.shape = template.shape
        self.factor = max(1, min(template.shape) // SIDE)
        self._unit = unit_of(template[None])
        small = binned(template[None] * self._unit, self.factor)[0]
        self._flat = bool(_flat(small[None])[0])
        self._size = small.shape
        self._correlation = _Correlation(small, blur=0.8)
        reach = REACH * min(self.shape) if reach is None else reach
        self._reach = [int(np.clip(np.ceil(reach / self.factor), 1, (side - 1) // 2)) for side in small.shape]
        # Along y and x, in pixels; the search steps by `factor`.
        self.farthest = np.minimum(np.float32(self._reach) * self.factor, np.float32(max(reach, 1)))

    def __call__(self, frames):
        """Return the shifts of frames, and how clear each is.

        Parameters
        ----------
        frames : ndarray of shape (T, Y, X)

        Returns
        -------
        shifts : ndarray of float32, (T, 2)
            (dy, dx) in pixels, to about a third of a pixel of the smaller picture.
        clarity : ndarray of float32, (T,)
            Height of the peak in standard deviations of all places, also of those beyond the reach; below
            `CLEAR` it is a guess. A blank frame, and any before a blank template, has shift and clarity 0.
        """
        small = binned(frames if self._unit == 1 else frames * self._unit, self.factor)
        blank = _flat(small) | self._flat
        cross = fft.irfft2(self._correlation(small), self._size)
        # Of all places: within a short reach there is little beside the peak, clear or not.
        usual, spread = cross.mean(axis=(1, 2)), cross.std(axis=(1, 2)) + 1e-12
        ry, rx = self._reach
        cross = np.roll(cross, (ry, rx), axis=(1, 2))[:, : 2 * ry + 1, : 2 * rx + 1]
        shifts = np.empty((len(cross), 2), np.float32)
        clarity = np.empty(len(cross), np.float32)
        for index, surface in enumerate(cross):
            py, px = np.unravel_index(surface.argmax(), surface.shape)
            shifts[index] = _vertex(surface[:, px], py) - ry, _vertex(surface[py], px) - rx
            clarity[index] = (surface[py, px] - usual[index]) / spread[index]
        # Rounding alone would put the peak of nothing anywhere, the farthest corner first.
        shifts[blank], clarity[blank] = 0, 0
        return shifts * self.factor, clarity


class RigidFit:
    """Find rigid displacements to a small part of a pixel.

    Where `RigidSearch` finds the peak, a correlation of pictures of about 256 pixels is climbed to its very
    top, by Newton's method in the frequencies.

    Parameters
    ----------
    template, reach
        As for `RigidSearch`.

    Raises
    ------
    CalzooError
        As for `RigidSearch`.
    """

    def __init__(self, template, *, reach=None):
        template = np.asarray(template, np.float32)
        self._search = RigidSearch(template, reach=reach)
        self._unit = unit_of(template[None])
        self._factor = max(1, min(template.shape) // FIT_SIDE)
        small = binned(template[None] * self._unit, self._factor)[0]
        self._correlation = _Correlation(small, blur=1.4)
        self._ky, self._kx = (2 * np.pi * k.ravel() for k in _frequencies(small.shape))
        # Half of the frequencies stands for all: but for the first column, and the last of an even number.
        self._twice = np.full(len(self._kx), 2, np.float32)
        self._twice[0] = 1
        if small.shape[1] % 2 == 0:
            self._twice[-1] = 1

    def __call__(self, frames):
        """Return the shifts of frames, their expected errors, and how clear each is.

        Parameters
        ----------
        frames : ndarray of shape (T, Y, X)

        Returns
        -------
        shifts : ndarray of float32, (T, 2)
            (dy, dx) in pixels.
        errors : ndarray of float32, (T,)
            Expected length of the error in pixels, from how little the phases of frame and template agree;
            the length of the reach where the correlation has no top.
        clarity : ndarray of float32, (T,)
            As `RigidSearch` has it.
        """
        shifts, clarity = self._search(frames)
        farthest = self._search.farthest
        errors = np.full(len(shifts), np.linalg.norm(farthest), np.float32)
        begin = shifts / self._factor
        whole = np.rint(begin)
        small = binned(frames if self._unit == 1 else frames * self._unit, self._factor)
        # Moved first: the margin, which the window darkens, is the same in both then.
        cross = self._correlation(shift_frames(small, whole)) * self._twice
        for index in np.flatnonzero(clarity > 0):
            top = self._climbed(cross[index], begin[index] - whole[index])
            if top is not None:
                shifts[index] = (whole[index] + top[0]) * self._factor
                errors[index] = min(top[1] * self._factor, errors[index])
        return np.clip(shifts, -farthest, farthest), errors, clarity

    def _climbed(self, cross, place):
        """Return the place near 0 where a correlation is highest, and its expected error, or None."""
        for _ in range(_STEPS):
            along_y, along_x = _derivatives(self._ky, place[0]), _derivatives(self._kx, place[1])
            value = (along_y @ (cross @ along_x.T)).real.astype(np.float64)
            slope = np.array([value[1, 0], value[0, 1]])
            bend = np.array([[value[2, 0], value[1, 1]], [value[1, 1], value[0, 2]]])
            if not (bend[0, 0] < 0 < np.linalg.det(bend)):
                return None
            place = place - np.linalg.solve(bend, slope)
            if np.abs(place).max() > _FARTHEST:
                return None
        # Of equal pictures all phases are 0 here: what is left of each pulls the top to one side. Light has
        # most noise where there is structure, which frequencies do not tell: that makes the error twice as
        # long on simulated pairs.
        pull = (along_y[0][:, None] * cross * along_x[0]).imag ** 2
        both = self._ky @ pull @ self._kx
        spread = np.array([[self._ky**2 @ pull.sum(axis=1), both], [both, pull.sum(axis=0) @ self._kx**2]])
        inverse = np.linalg.inv(bend)
        return place, 2 * float(np.sqrt(np.pi / 4 * np.trace(inverse @ spread @ inverse)))


class _Correlation:
    """The spectrum of correlations with one picture, of which phases count as far as it has structure.

    Parameters
    ----------
    picture : ndarray of float32, (Y, X)
    blur : float
        Standard deviation in pixels of a Gaussian that takes out what is finer.
    """

    def __init__(self, picture, blur):
        self._taper = np.outer(*(_taper(side) for side in picture.shape)).astype(np.float32)
        spectrum = fft.rfft2(self._prepared(picture[None]))[0]
        power = np.abs(spectrum) ** 2
        frequency = _frequencies(picture.shape)
        low_pass = np.exp(-2 * (np.pi * blur) ** 2 * (frequency[0] ** 2 + frequency[1] ** 2))
        # Half-way to phases alone: fine structure counts as much as coarse, noise in empty places does not.
        weight = low_pass / np.sqrt(power + 0.05 * power.mean() + 1e-20)
        self._spectrum = (np.conj(spectrum) * weight).astype(np.complex64)

    def __call__(self, pictures):
        """Return the spectra, complex64 (T, Y, X // 2 + 1), of the correlations of pictures (T, Y, X)."""
        return fft.rfft2(self._prepared(pictures)) * self._spectrum

    def _prepared(self, pictures):
        return (pictures - pictures.mean(axis=(1, 2), keepdims=True)) * self._taper


def _derivatives(k, place):
    """Return what waves of angular frequencies `k` are at a place, with their derivatives, (3, len(k))."""
    wave = np.exp(1j * k * place)
    return np.stack([wave, 1j * k * wave, -(k**2) * wave]).astype(np.complex64)


def _frequencies(shape):
    """Return the frequencies (Y, 1) and (X // 2 + 1,) of a real spectrum, in cycles per pixel."""
    return np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1])


def unit_of(frames):
    """Return the power of two that brings frames to where single precision serves: 1 for all usual units.

    Photocurrents in amperes are smaller than what sums and squares of pixels can tell from nothing.

    Parameters
    ----------
    frames : ndarray of real numbers, (T, Y, X)
        Some of them are looked at.

    Examples
    --------
    >>> import numpy as np
    >>> unit_of(np.arange(64.0).reshape(1, 8, 8)), unit_of(2.0**-39 * (np.arange(64) % 2).reshape(1, 8, 8))
    (1.0, 1099511627776.0)
    """
    spread = max(float(np.std(frame, dtype=np.float64)) for frame in frames[:: -(-len(frames) // 8)])
    if spread == 0 or not np.isfinite(spread) or 2.0**-14 < spread < 2.0**30:
        return 1.0
    return float(2.0 ** np.clip(-np.floor(np.log2(spread)), -100, 100))


def _flat(small):
    """Tell of each picture (T, Y, X) whether it is constant, but for rounding."""
    low, high = small.min(axis=(1, 2)), small.max(axis=(1, 2))
    return high - low <= 1e-6 * np.maximum(np.abs(low), np.abs(high))


def binned(frames, factor):
    """Return frames (T, Y, X) made smaller by whole `factor`: means of squares; what is left over is cut off.

    Examples
    --------
    >>> import numpy as np
    >>> binned(np.arange(8.0).reshape(1, 2, 4), 2)
    array([[[2.5, 4.5]]], dtype=float32)
    """
    if factor == 1:
        return np.asarray(frames, np.float32)
    count, height, width = frames.shape
    rows, columns = height // factor, width // factor
    cut = np.asarray(frames[:, : rows * factor, : columns * factor], np.float32)
    # Sums of few neighbours are slow in NumPy; sums of pictures are not.
    lines = cut.reshape(count, rows, factor, columns * factor).sum(axis=2)
    small = lines[..., ::factor].copy()
    for offset in range(1, factor):
        small += lines[..., offset::factor]
    small *= np.float32(1 / factor**2)
    return small


def shift_frames(frames, shifts):
    """Move frames by the nearest whole pixels; edges go on beyond the picture.

    Parameters
    ----------
    frames : ndarray of shape (T, Y, X)
    shifts : ndarray of shape (T, 2)
        (dy, dx) in pixels.

    Returns
    -------
    ndarray of shape (T, Y, X)
    """
    rows, columns = np.arange(frames.shape[1]), np.arange(frames.shape[2])
    moved = np.empty_like(frames)
    for index, (dy, dx) in enumerate(np.rint(shifts).astype(int)):
        y, x = np.clip(rows + dy, 0, len(rows) - 1), np.clip(columns + dx, 0, len(columns) - 1)
        moved[index] = frames[index][y].take(x, axis=1)
    return moved


def rigid_template(frames, *, rounds=3):
    """Make a template of frames: those that look alike are brought together and averaged, again and again.

    Parameters
    ----------
    frames : ndarray of shape (T, Y, X)
    rounds : int, optional

    Returns
    -------
    ndarray of float32, (Y, X)
    """
    frames = np.asarray(frames, np.float32)
    unit = np.float32(unit_of(frames))
    if unit != 1:
        return rigid_template(frames * unit, rounds=rounds) / unit
    small = binned(frames, max(1, min(frames.shape[1:]) // 64)).reshape(len(frames), -1)
    small = small - small.mean(axis=1, keepdims=True)
    small /= np.linalg.norm(small, axis=1, keepdims=True) + 1e-12  # blank frames are like no other
    alike = small @ small.T
    count = max(1, min(20, len(frames)))
    # The frame that has the most similar companions, with them.
    best = np.argmax(np.sort(alike, axis=1)[:, -count:].sum(axis=1))
    template = frames[np.argsort(alike[best])[-count:]].mean(axis=0)
    for _ in range(rounds):
        shifts, _ = RigidSearch(template)(frames)
        moved = shift_frames(frames, shifts)
        flat = binned(moved, max(1, min(frames.shape[1:]) // 64)).reshape(len(frames), -1)
        small = binned(template[None], max(1, min(frames.shape[1:]) // 64)).ravel()
        fit = _correlations(flat, small)
        kept = fit >= np.median(fit)
        template = moved[kept].mean(axis=0)
    return template


def _correlations(rows, row):
    rows, row = rows - rows.mean(axis=1, keepdims=True), row - row.mean()
    return rows @ row / (np.linalg.norm(rows, axis=1) * np.linalg.norm(row) + 1e-12)


def _taper(side):
    """Return a window that falls to 0 over a tenth of each end."""
    ramp = np.clip((np.arange(side) + 0.5) / (0.1 * side), 0, 1)
    ramp = np.minimum(ramp, ramp[::-1])
    return 0.5 - 0.5 * np.cos(np.pi * ramp)


def _vertex(line, peak):
    """Return where the parabola through a peak and its neighbours is highest."""
    if not 0 < peak < len(line) - 1:
        return float(peak)
    low, middle, high = line[peak - 1 : peak + 2]
    curve = low - 2 * middle + high
    return float(peak) if curve >= 0 else peak + 0.5 * float(low - high) / float(curve)
