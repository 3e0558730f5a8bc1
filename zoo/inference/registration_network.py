"""A registration network with one template: frames in, flows and registered frames out."""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from calzoo.errors import CalzooError
from calzoo.imaging.frames import as_array, refuse_name
from calzoo.imaging.rigid import RigidSearch, unit_of
from calzoo.imaging.warping import warp
from calzoo.inference.models import Model, checked_threads, load_model

_INPUTS = {"frame", "template", "shift"}
_OUTPUTS = {"flow", "registered", "uncertainty"}
_BATCHES = {"cuda": 16, "tensorrt": 16}  # frames at a time; elsewhere 4, or 1: they stay in the cache
#: What a file for processors keeps of a template, and the input that takes it.
_FEATURES, _KNOWN = "template_features", "known_template"
SMALLEST = 32  # pixels of a side
#: Expected errors in pixels between which the flow of a place gives way to that of its frame. Where there
#: is nothing to see the network invents motion, line by line, and says that it does not know.
SURE, UNSURE = 1.0, 1.5
ORDERS = {"linear": 1, "cubic": 3}  # of the interpolation


@dataclass(frozen=True)
class Aligned:
    """Some frames brought to a template.

    Attributes
    ----------
    registered : ndarray of float32, (n, Y, X)
    flow : ndarray of float32, (n, Y, X, 2)
        (dy, dx) in pixels: registered(y, x) = frame(y + dy, x + dx). That of the network where it knows,
        else that of the frame; see `trusted`.
    uncertainty : ndarray of float32, (n, y, x)
        Expected length of the error of the network's flow in pixels, on a coarser grid.
    shifts : ndarray of float32, (n, 2)
        The rigid displacement that was found first.
    clarity : ndarray of float32, (n,)
        Of the rigid search; see `calzoo.imaging.rigid.RigidSearch`.
    """

    registered: np.ndarray
    flow: np.ndarray
    uncertainty: np.ndarray
    shifts: np.ndarray
    clarity: np.ndarray


class RegistrationNetwork:
    """A network for registration on the processor or a GPU.

    Parameters
    ----------
    model : Model
    workers : int
        Batches that are computed at once, each on one thread.

    Attributes
    ----------
    batch : int
        Frames that are best computed at a time.
    limit : float
        Expected error in pixels from which on a frame is bad.
    spread : float
        How many times the usual expected error frames of a template have at most.
    provider : str
        What runs the network.
    origin : dict
        Name, file and sha256 of the network, as OUT.json has them.
    """

    def __init__(self, model, workers):
        _check(model)
        self.model, self.card, self.workers = model, model.card, workers
        self.batch = 1 if _KNOWN in model.optional else _BATCHES.get(model.provider, 4)
        self.limit = float(self.card.postprocessing.get("bad_uncertainty_px", 1.5))
        self.spread, self.provider = 1.25, model.provider
        self.origin = {"name": self.card.name, "file": model.path.name, "sha256": model.sha256}

    @classmethod
    def load(cls, model=None, preset="registration-2p", *, provider="auto", threads=None):
        """Load a preset or a file, or take what is ready: a `Model`, or a `RegistrationNetwork`.

        On the processor, frames are shared out to threads, which is faster than sharing
        out each frame.
        """
        if isinstance(model, RegistrationNetwork):
            return model
        if isinstance(model, Model):
            return cls(model, 1)
        threads = checked_threads(threads)
        loaded = load_model(preset if model is None else model, provider=provider, threads=1)
        if loaded.provider == "cpu":
            return cls(loaded, threads or os.cpu_count() or 1)
        return cls(load_model(loaded.path, provider=loaded.provider, threads=threads), 1)

    def aligner(self, template, **options):
        """Return an `Aligner` with a template."""
        return Aligner(self, template, **options)


class Aligner:
    """Bring frames to a template.

    Parameters
    ----------
    network : RegistrationNetwork
    template : ndarray of shape (Y, X)
    reach : float, optional
        Largest rigid displacement in pixels; see `RigidSearch`.
    prepare : callable, optional
        What is done to frames (n, Y, X) before motion is estimated; the frames themselves are moved.
    interpolation : {"linear", "cubic"}, optional
    """

    def __init__(self, network, template, *, reach=None, prepare=None, interpolation="linear"):
        self.network, self.prepare, self.interpolation = network, prepare, interpolation
        self.template = check_template(template)
        seen = self.template[None] if prepare is None else prepare(self.template[None])
        self._unit = np.float32(unit_of(seen))
        seen = seen * self._unit
        self.search = RigidSearch(seen[0], reach=reach)
        step = network.card.divisor
        self.shape = self.template.shape
        self._short = [-side % step[axis] for side, axis in zip(self.shape, "yx", strict=True)]
        self._still = {"template": self._padded(seen.astype(np.float32))[:, None]}
        if _KNOWN in network.model.optional:
            anything = {"frame": self._still["template"], "shift": np.zeros((1, 2), np.float32)}
            self._still[_KNOWN] = network.model.run(self._still | anything, [_FEATURES])[_FEATURES]

    def __call__(self, frames):
        """Bring frames to the template.

        Parameters
        ----------
        frames : ndarray of shape (n, Y, X)
            Real numbers.

        Returns
        -------
        Aligned
        """
        frames = fitting(frames, self.shape)
        seen = frames if self.prepare is None else self.prepare(frames)
        if self._unit != 1:
            seen = seen * self._unit
        shifts, clarity = self.search(seen)
        found = self.network.model.run({"frame": self._padded(seen)[:, None], "shift": shifts} | self._still)
        height, width = self.shape
        flow = found["flow"][:, :, :height, :width].transpose(0, 2, 3, 1)  # a view: copies cost time
        cell = found["flow"].shape[2] // found["uncertainty"].shape[2]
        uncertainty = found["uncertainty"][:, 0, : -(-height // cell), : -(-width // cell)]
        fields = list(flow)
        known = [trusted(field, error, cell) for field, error in zip(fields, uncertainty, strict=True)]
        changed = [n for n, field in enumerate(fields) if known[n] is not field]
        if changed:
            flow = np.stack(known)
        if self.prepare is None and self.interpolation == "linear":
            registered = found["registered"][:, 0, :height, :width]
            if self._unit != 1:
                registered = registered / self._unit
            if changed:
                registered = registered.copy()
                registered[changed] = self.warp(frames[changed], flow[changed])
        else:
            registered = self.warp(frames, flow)
        return Aligned(registered, flow, uncertainty, shifts, clarity)

    def warp(self, frames, flow):
        """Look frames (n, Y, X) up along a flow (n, Y, X, 2)."""
        return warp(frames, flow, order=ORDERS[self.interpolation])

    def _padded(self, frames):
        """Repeat the last row and column up to the divisor: flat, so that no motion is seen there."""
        if not any(self._short):
            return frames
        return np.pad(frames, ((0, 0), (0, self._short[0]), (0, self._short[1])), mode="edge")


def align_all(align, pieces, workers):
    """Yield ``(piece, Aligned)`` for pieces of a movie, in their order, computed side by side.

    Parameters
    ----------
    align : callable
        An `Aligner`, or another one.
    pieces : iterable of ndarray, (n, Y, X)
    workers : int
        Pieces that are computed at once.
    """
    if workers == 1:
        yield from ((piece, align(piece)) for piece in pieces)
        return
    with ThreadPoolExecutor(workers) as pool:
        waiting = []
        try:
            for piece in pieces:
                waiting.append((piece, pool.submit(align, piece)))
                if len(waiting) > 2 * workers:
                    first, future = waiting.pop(0)
                    yield first, future.result()
            for first, future in waiting:
                yield first, future.result()
        finally:
            for _, future in waiting:
                future.cancel()


def fitting(frames, shape):
    """Return frames as float32; refuse those of another shape than the template's."""
    frames = np.ascontiguousarray(frames, np.float32)
    if frames.shape[1:] != shape:
        message = (
            f"expected frames of the template's shape {shape}, got {frames.shape[1:]}; "
            "cut or pad one of them."
        )
        raise CalzooError(message)
    return frames


def trusted(flow, uncertainty, cell):
    """Replace a flow by its mean over the frame where the network does not know it.

    Parameters
    ----------
    flow : ndarray of float32, (Y, X, 2)
    uncertainty : ndarray, (y, x)
        Expected length of its error in pixels, of cells of `cell` pixels.
    cell : int

    Returns
    -------
    ndarray of float32, (Y, X, 2)
        The flow up to an expected error of `SURE`, from `UNSURE` on `mean_flow`, and a mixture of the two
        between. `flow` itself where it is known everywhere.
    """
    if uncertainty.max() <= SURE:
        return flow
    smooth = ndimage.gaussian_filter(uncertainty, 0.75, mode="nearest")
    if smooth.max() <= SURE:
        return flow
    mean = mean_flow(flow, uncertainty, cell)
    # Linear from cell to cell.
    along_y, along_x = (
        np.interp(np.arange(side) - (cell - 1) / 2, np.arange(n) * cell, np.arange(n))
        for n, side in zip(smooth.shape, flow.shape[:2], strict=True)
    )
    fine = _hats(along_y, len(smooth)) @ smooth @ _hats(along_x, smooth.shape[1]).T
    share = np.clip((UNSURE - fine) / (UNSURE - SURE), 0, 1)[..., None]
    known = flow - mean
    known *= share
    known += mean
    return known


def mean_flow(flow, uncertainty, cell):
    """Return the mean of a flow everywhere.

    Places weigh by the inverse of the square of their expected errors.

    Parameters
    ----------
    flow, uncertainty, cell
        As for `trusted`.

    Returns
    -------
    ndarray of float32, (Y, X, 2)
    """
    rows, columns = (
        np.minimum(np.arange(n) * cell + cell // 2, side - 1)
        for n, side in zip(uncertainty.shape, flow.shape[:2], strict=True)
    )
    weights = 1 / np.maximum(uncertainty, 1e-3)[..., None] ** 2
    mean = (flow[np.ix_(rows, columns)] * weights).sum(axis=(0, 1)) / weights.sum()
    return np.broadcast_to(mean, flow.shape)


def _hats(places, count):
    """Return the weights (len(places), count) of linear interpolation at places between 0 and count - 1."""
    return np.maximum(1 - np.abs(places[:, None] - np.arange(count)), 0).astype(np.float32)


def check_template(template):
    """Return a template as float32, or say what is wrong with it."""
    refuse_name(template, "a template (Y, X)")
    template = as_array(template)
    if template.ndim != 2 or template.dtype.kind not in "buif":
        message = (
            f"expected a template (Y, X) of real numbers, got {template.dtype} of shape {template.shape}."
        )
        raise CalzooError(message)
    if min(template.shape) < SMALLEST:
        height, width = template.shape
        message = f"expected at least {SMALLEST} x {SMALLEST} pixels, got {height} x {width}; pad the frames."
        raise CalzooError(message)
    if not np.isfinite(template).all():
        message = "the template holds NaN or infinity; replace such values, for example by numpy.nan_to_num."
        raise CalzooError(message)
    return template.astype(np.float32)


def _check(model):
    card = model.card
    inputs, outputs = {t.name for t in card.inputs}, {t.name for t in card.outputs}
    if card.task != "registration" or inputs != _INPUTS or not outputs >= _OUTPUTS:
        message = (
            f"{model.path}: expected a network for the task 'registration' with inputs {sorted(_INPUTS)}, "
            f"got one for {card.task!r} with {sorted(inputs)}; 'calzoo list' names what there is."
        )
        raise CalzooError(message)
