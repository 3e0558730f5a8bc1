"""How well a registration went: measured frame by frame while it runs."""

import zlib

import numpy as np
from scipy import ndimage

from calzoo.imaging.rigid import CLEAR, unit_of
from calzoo.imaging.warping import looks_inside, warp

CHECKED = 40  # registered frames that are registered once more: what moves still is the residual


class Quality:
    """Numbers about each frame, and means before and after.

    Parameters
    ----------
    template : ndarray of float32, (Y, X)
    count : int
        Frames of the movie.
    limit : float
        Expected error in pixels from which on a frame is bad.
    guess : bool, optional
        The template shows nothing that frames have in common, so that no frame is clear.
    lines : pair of ndarray of bool, (Y,) and (X,), optional
        Rows and columns that hold no picture. They are measured as little as the border is, with as much
        beside them.
    offset : float, optional
        By how many pixels odd lines were moved back before all else.

    Attributes
    ----------
    motion : ndarray of float32, (T, 2)
        Mean flow of each frame, (dy, dx) in pixels.
    deformation : ndarray of float32, (T,)
        95th percentile of the distance of the flow from its mean, in pixels.
    uncertainty, before, after, inside : ndarray of float32, (T,)
        Expected error in pixels; correlation with the template before and after; share of pixels seen.
    sums, means : ndarray, (2, Y, X)
        Of all frames, before and after, as they come; in the end of those that are not bad (of all where
        all are).
    measured : ndarray of bool, (Y, X)
        Pixels whose means are compared: without the border, and what lines without a picture reach.
    unclear, bad : ndarray of bool, (T,)
        Where the rigid search could not tell the template from noise; that, or bad in another way.
    valid : ndarray of bool, (Y, X)
        Pixels that were seen in all frames that are not bad, on lines that hold a picture.
    """

    _COLUMNS = ("deformation", "uncertainty", "before", "after", "inside", "clarity")

    def __init__(self, template, count, limit, *, guess=False, lines=None, offset=0.0):
        self.template, self.limit, self.guess = template, limit, guess
        self.motion = np.zeros((count, 2), np.float32)
        for name in self._COLUMNS:
            setattr(self, name, np.full(count, np.nan, np.float32))
        self.blank = np.zeros(count, bool)
        self.sums = np.zeros((2, *template.shape))
        self.means = np.zeros((2, *template.shape))
        # Which pixels each frame did not see, packed: which frames are bad is known at the end only. Most
        # lie along an edge, which takes some hundred bytes.
        self._unseen = [b""] * count
        self.residual = float("nan")
        self.unclear, self.bad = np.zeros((2, count), bool)
        self.valid = np.ones(template.shape, bool)
        self._middle = _middle(template.shape, lines)
        self._picture = _picture(template.shape, lines, offset)
        self.measured = np.zeros(template.shape, bool)
        self.measured[self._middle] = True
        self._unit = np.float32(unit_of(template[None]))
        middle = template[self._middle].astype(np.float64)
        self._centred = (middle - middle.mean()).astype(np.float32) * self._unit
        self._norm = float(np.linalg.norm(self._centred))

    def add(self, start, frames, moved, found):
        """Take in some frames before and after, and what was found about them."""
        stop = start + len(frames)
        coarse = found.flow[:, ::8, ::8].reshape(len(frames), -1, 2)
        self.motion[start:stop] = coarse.mean(axis=1)
        away = np.linalg.norm(coarse - coarse.mean(axis=1, keepdims=True), axis=-1)
        self.deformation[start:stop] = np.percentile(away, 95, axis=1)
        self.uncertainty[start:stop] = found.uncertainty.mean(axis=(1, 2))
        self.clarity[start:stop] = found.clarity
        inside = looks_inside(found.flow)
        self.inside[start:stop] = inside.mean(axis=(1, 2))
        self.before[start:stop] = [self._correlation(picture) for picture in frames]
        if self._picture is None:
            self.after[start:stop] = [self._correlation(picture) for picture in moved]
        else:
            inside &= [warp(self._picture, flow) > 0.999 for flow in found.flow]
            self.after[start:stop] = [
                _correlation(picture[seen], self.template[seen])
                for picture, seen in zip(moved, inside & self.measured, strict=True)
            ]
        self.blank[start:stop] = [picture.min() == picture.max() for picture in frames]
        for number, seen, *pictures in zip(range(start, stop), inside, frames, moved, strict=True):
            self._unseen[number] = b"" if seen.all() else zlib.compress(np.packbits(~seen), 1)
            for total, picture in zip(self.sums, pictures, strict=True):
                total += picture

    def finish(self, raw, read, align):
        """Flag bad frames, take them out of the means, and measure what moves still.

        ``raw(start, stop)`` and ``read(start, stop)`` give frames before and after.
        """
        self.unclear = (self.clarity < CLEAR) | self.guess
        known = self.after[np.isfinite(self.after)]
        usual = np.median(known) if len(known) else 0.0
        spread = 1.4826 * np.median(np.abs(known - usual)) if len(known) else 0.0
        lost = self.after < min(usual - 6 * max(spread, 0.01), 0.7 * usual)
        unsure = self.unclear | (self.uncertainty > self.limit)
        self.bad = self.blank | ~np.isfinite(self.after) | unsure | lost | (self.inside < 0.5)
        good = np.flatnonzero(~self.bad)
        self._average(raw, read)
        for number in good:
            if self._unseen[number]:
                self.valid &= self._seen_by(number)
        clean = self.measured & self.valid
        if self._picture is not None and clean.sum() > self.measured.sum() / 4:
            self.measured = clean
        chosen = good[np.linspace(0, len(good) - 1, min(CHECKED, len(good))).astype(int)] if len(good) else []
        lengths = []
        for number in chosen:
            frame = np.asarray(read(number, number + 1), np.float32)
            if self._picture is not None:  # where lines without a picture were moved to
                frame = np.where(self._seen_by(number), frame, self.template)
            flow = align(frame).flow[0]
            lengths.append(np.linalg.norm(flow[self.measured], axis=-1).mean())
        self.residual = float(np.mean(lengths)) if lengths else float("nan")

    def report(self):
        """Return the numbers for OUT.json."""
        good = ~self.bad
        crisp = [crispness(mean, self.measured) if good.any() else None for mean in self.means]
        rows, columns = (np.flatnonzero(self.valid.mean(axis=axis) > 0.5) for axis in (1, 0))
        return {
            "frames": len(self.bad),
            "bad_frames": np.flatnonzero(self.bad).tolist(),
            "correlation_before": _mean(self.before[good]),
            "correlation_after": _mean(self.after[good]),
            "crispness_before": crisp[0],
            "crispness_after": crisp[1],
            "residual_flow_px": _number(self.residual),
            "motion_px": {
                "largest": _number(np.abs(self.motion[good]).max(initial=0)),
                "sd_y": _number(self.motion[good, 0].std()) if good.any() else None,
                "sd_x": _number(self.motion[good, 1].std()) if good.any() else None,
                "deformation_95": _mean(self.deformation[good]),
            },
            "uncertainty_px": _mean(self.uncertainty[good]),
            "valid_share": _number(self.valid.mean()),
            "valid_rows": [int(rows.min()), int(rows.max()) + 1] if len(rows) else None,
            "valid_columns": [int(columns.min()), int(columns.max()) + 1] if len(columns) else None,
        }

    def series(self):
        """Return what is known of each frame, for OUT.json."""
        columns = {"dy": self.motion[:, 0], "dx": self.motion[:, 1]}
        columns |= {name: getattr(self, name) for name in self._COLUMNS}
        return {n: [_number(v, 4) for v in c] for n, c in columns.items()} | {"bad": self.bad.tolist()}

    def state(self):
        """Return all arrays, to be kept on disk."""
        names = ("motion", *self._COLUMNS, "blank", "sums", "guess")
        unseen = np.frombuffer(b"".join(self._unseen), np.uint8)
        sizes = np.array([len(packed) for packed in self._unseen])
        return {name: getattr(self, name) for name in names} | {"unseen": unseen, "unseen_sizes": sizes}

    def restore(self, arrays):
        """Go on from what `state` returned."""
        arrays = {name: np.array(array) for name, array in arrays.items() if name != "template"}
        parts = np.split(arrays.pop("unseen"), np.cumsum(arrays.pop("unseen_sizes"))[:-1])
        self._unseen = [part.tobytes() for part in parts]
        for name, array in arrays.items():
            setattr(self, name, array)

    def _average(self, raw, read):
        """Set the means: bad frames are read once more, or the good ones where they are fewer."""
        good = ~self.bad
        if not good.any():
            self.means = self.sums / len(good)
            return
        fewer = good if good.mean() < 0.5 else self.bad
        sums = np.zeros_like(self.sums)
        for number in np.flatnonzero(fewer):
            for total, frames in zip(sums, (raw, read), strict=True):
                total += frames(number, number + 1)[0]
        self.means = (sums if fewer is good else self.sums - sums) / good.sum()

    def _seen_by(self, number):
        """Return which pixels of a registered frame show the picture."""
        if not self._unseen[number]:
            return np.ones(self.valid.shape, bool)
        packed = np.frombuffer(zlib.decompress(self._unseen[number]), np.uint8)
        return ~np.unpackbits(packed, count=self.valid.size).view(bool).reshape(self.valid.shape)

    def _correlation(self, picture):
        middle = picture[self._middle].astype(np.float32)
        if self._unit != 1:
            middle *= self._unit
        middle -= middle.mean()
        norm = self._norm * float(np.sqrt(np.vdot(middle, middle)))
        return float(np.vdot(middle, self._centred)) / norm if norm > 0 else np.nan


def _correlation(first, second):
    """Return the correlation of two pictures, NaN where one is constant."""
    if not first.size:
        return np.nan
    first, second = (p.astype(np.float64) - p.mean(dtype=np.float64) for p in (first, second))
    norm = float(np.linalg.norm(first) * np.linalg.norm(second))
    return float(np.vdot(first, second)) / norm if norm > 0 else np.nan


def crispness(picture, kept=...):
    """Return the Frobenius norm of the gradient of a picture, or of what is kept: larger if it is sharper."""
    known = np.full(np.shape(picture), np.nan)
    known[kept] = picture[kept]
    along_y, along_x = np.gradient(known)
    return _number(np.sqrt(np.nansum(along_y**2 + along_x**2)))


def _middle(shape, lines):
    """Return the index of what is measured: without a border of 5 %, also around lines without a picture."""
    kept = []
    for axis, side in enumerate(shape):
        bad = np.zeros(side, bool) if lines is None else np.array(lines[axis])
        bad[[0, -1]] = True
        margin = max(1, side // 20) - 1
        places = np.flatnonzero(~ndimage.binary_dilation(bad, iterations=margin) if margin else ~bad)
        # Where too little is left of the frame, the lines themselves are left out.
        kept.append(places if len(places) >= side / 4 or lines is None else np.flatnonzero(~bad))
    if all(np.ptp(places) == len(places) - 1 for places in kept):
        return tuple(slice(places[0], places[-1] + 1) for places in kept)  # a view, not a copy
    return np.ix_(*kept)


def _picture(shape, lines, offset):
    """Return 1 where frames hold a picture, 0 elsewhere, or None where they hold one everywhere."""
    if lines is None and not offset:
        return None
    picture = np.ones(shape, np.float32)
    if lines is not None:
        picture[lines[0]] = 0
        picture[:, lines[1]] = 0
    places = np.arange(shape[1]) + offset
    picture[1::2, (places < 0) | (places > shape[1] - 1)] = 0
    return picture


def _mean(values):
    values = values[np.isfinite(values)]
    return _number(values.mean()) if len(values) else None


def _number(value, digits=6):
    value = float(value)
    return float(f"{value:.{digits}g}") if np.isfinite(value) else None
