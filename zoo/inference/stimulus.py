"""Tell which neurons were stimulated before each frame, and map what spoke for it."""

import os
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from calzoo.errors import CalzooError
from calzoo.imaging import normalisation
from calzoo.imaging.frames import as_array, refuse_file, refuse_not_finite, sides_of, taken
from calzoo.imaging.movies import Movie
from calzoo.imaging.rest import RestTrack
from calzoo.imaging.stimuli import Stimuli
from calzoo.inference.models import Model, Provider, model_of

PRESET = "stimulus-demo"
Target = Literal["largest", "stimulated"]
TARGETS = get_args(Target)
_BATCH = 16  # frames at once
_SURE = 20.0  # a logit of probability 1, short of 2e-9


@dataclass(frozen=True, eq=False)
class StimulusDecoding:
    """What a network says of N frames.

    Attributes
    ----------
    frames : ndarray of int, (N,)
        Number of each frame in the recording, from 0; the first one of a stimulus where
        the network sees several together.
    logits : ndarray of float32, (N, K + 1)
        The last column: no stimulus.
    cams : ndarray of float32, (N, Y, X), or None
        What spoke for the answer, 0 to 1 in each frame.
    threshold : float
        Of a probability, from the card.
    provider : str
        What ran the network.
    """

    frames: NDArray[np.int64]
    logits: NDArray[np.float32]
    cams: NDArray[np.float32] | None
    threshold: float
    provider: str

    def __repr__(self) -> str:
        cams = "no maps" if self.cams is None else f"maps of {sides_of(self.cams.shape[1:])} pixels"
        return f"StimulusDecoding({len(self.frames)} frames, {self.logits.shape[1] - 1} cells, {cams})"

    @property
    def probability(self) -> NDArray[np.float32]:
        """Float32, (N, K + 1)."""
        return probability(self.logits)

    @property
    def found(self) -> NDArray[np.bool_]:
        """Bool, (N, K): which cells were stimulated."""
        return self.probability[:, :-1] > self.threshold


class StimulusNetwork:
    """A network that tells stimulated cells from frames.

    Parameters
    ----------
    model : Model
        Of task "stimulus".

    Raises
    ------
    CalzooError
        If the card is that of another task or of other inputs.
    """

    def __init__(self, model):
        card = model.card
        inputs, outputs = ({t.name: t for t in ts} for ts in (card.inputs, card.outputs))
        if (
            card.task != "stimulus"
            or set(inputs) != {"frame", "target"}
            or not {"logits", "cam"} <= set(outputs)
        ):
            message = (
                f"{model.path}: expected a network of the task 'stimulus' with inputs frame and target and "
                f"outputs logits and cam, got one of {card.task!r} with {', '.join(inputs)}; train and "
                "export your own."
            )
            raise CalzooError(message)
        self.model, self.card = model, card
        channels = inputs["frame"].channels
        self.rests = "rest" in channels
        self.together = len(channels) - self.rests
        self.cells = len(outputs["logits"].channels) - 1
        self.threshold = float(card.postprocessing.get("threshold", 0.5))
        self.after = int(card.postprocessing.get("frames_after", 5))
        self.rest_every = int(card.postprocessing.get("rest_every", 0))
        self.masked = bool(card.postprocessing.get("masked", False))
        self._scale = float(card.postprocessing.get("scale", 1.0))

    @classmethod
    def load(cls, model, preset=PRESET, *, provider="auto", threads=None):
        """Return the network of a Model, of an .onnx file, or of a preset."""
        if isinstance(model, cls):
            return model
        return cls(model_of(model, preset, provider=provider, threads=threads))

    def reader(self, movie, rest=None, mask=None):
        """Return a function from frame numbers to network input.

        Parameters
        ----------
        movie : Movie or ndarray, (T, Y, X)
        rest : ndarray of float, (Y, X), optional
            The field at rest; by default the median of the movie, or of the frames around
            each, as the card says.
        mask : ndarray of bool, (Y, X), optional
            Pixels that the network may see.
        """
        movie = checked_movie(movie)
        _check_values(movie)
        if mask is not None:
            mask = _pixels(mask, movie, "a mask")
            if mask.dtype != bool:
                message = f"expected a mask of True and False, got {mask.dtype}; say which pixels: mask > 0."
                raise CalzooError(message)
        if mask is None and self.masked:
            message = (
                f"the network {self.card.name!r} was trained on frames that show the stimulated cells alone; "
                "give the mask of these cells (--masks FILE.npz on the command line)."
            )
            raise CalzooError(message)
        scaling = None
        if self.rests:
            track = RestTrack(movie, every=self.rest_every) if rest is None else None
            if rest is not None:
                rest = _finite(_pixels(rest, movie, "a picture at rest"), "a picture at rest")
        else:
            scaling = normalisation.measure(lambda: _chunks(movie), self.card.normalisation)

        def read(numbers):
            numbers = np.asarray(numbers)
            wanted = (numbers[:, None] + np.arange(self.together)).ravel()
            frames = taken(movie, wanted)
            frames = frames.astype(np.float32) if scaling is None else self._scale * scaling.apply(frames)
            frames = frames.reshape(len(numbers), self.together, *frames.shape[1:])
            if self.rests:
                still = track.at(numbers) if rest is None else np.broadcast_to(rest, frames[:, 0].shape)
                frames = np.concatenate([frames, still[:, None]], axis=1)
            return frames if mask is None else frames * mask.astype(np.float32)

        return read

    def run(self, frames, target):
        """Return logits (N, K + 1) and maps (N, Y, X) of network input (N, C, Y, X).

        Frames that are all of one value show no answer: no stimulus, and nothing on the map.
        """
        pads = [(0, 0), (0, 0)]
        for axis, size in zip("yx", frames.shape[2:], strict=True):
            pads.append((0, -size % self.card.divisor.get(axis, 1)))
        padded = np.pad(frames, pads, mode="symmetric") if np.any(pads) else frames
        results = self.model.run({"frame": np.ascontiguousarray(padded), "target": target})
        logits, cams = results["logits"], results["cam"][:, : frames.shape[2], : frames.shape[3]]
        shown = frames[:, : self.together]
        blank = (shown.max(axis=(2, 3)) == shown.min(axis=(2, 3))).all(axis=1)
        if blank.any():
            logits[blank], cams[blank] = [*[-_SURE] * self.cells, _SURE], 0
        return logits, cams

    def blocks(self, movie, frames, target, *, rest=None, mask=None):
        """Yield ``(slice, logits, cams)`` for frames of a movie, some at a time.

        Parameters
        ----------
        movie : Movie or ndarray, (T, Y, X)
        frames : ndarray of int, (N,)
            First frame of each input.
        target : ndarray of float32, (N, K + 1)
            See `calzoo.networks.gradcam.with_cam`.
        rest, mask : optional
            As for `reader`.
        """
        read = self.reader(movie, rest, mask)
        for start in range(0, len(frames), _BATCH):
            part = slice(start, min(start + _BATCH, len(frames)))
            yield part, *self.run(read(frames[part]), np.ascontiguousarray(target[part], np.float32))

    def targets(self, stimuli, target):
        """Return the target of each frame of a table, (N, K + 1) float32.

        Parameters
        ----------
        stimuli : Stimuli
        target : {"largest", "stimulated"}
            Explain the largest logit, or the sum of those of the stimulated cells.
        """
        _check_target(target)
        if stimuli.cells.shape[1] != self.cells:
            message = (
                f"the table has cells up to {stimuli.cells.shape[1]}, the network {self.card.name!r} knows "
                f"{self.cells}; is it the network of this field?"
            )
            raise CalzooError(message)
        return stimuli.targets if target == "stimulated" else np.zeros_like(stimuli.targets)

    def rows(self, stimuli):
        """Return which rows of a table begin an input: all, or the first ones of complete stimuli."""
        if self.together == 1:
            return np.arange(len(stimuli))
        first = np.flatnonzero(stimuli.offset == 1)
        first = first[first + self.together <= len(stimuli)]
        last = first + self.together - 1
        whole = (stimuli.event[first] == stimuli.event[last]) & (stimuli.offset[last] == self.together)
        if not whole.any():
            message = (
                f"the network {self.card.name!r} sees {self.together} frames after each onset together, but "
                "no stimulus of the table has as many."
            )
            raise CalzooError(message)
        return first[whole]


def decode_stimuli(
    movie: NDArray[Any] | Movie,
    *,
    stimuli: Stimuli | None = None,
    preset: str = PRESET,
    model: str | os.PathLike[str] | Model | StimulusNetwork | None = None,
    provider: Provider = "auto",
    threads: int | None = None,
    rest: NDArray[Any] | None = None,
    mask: NDArray[Any] | None = None,
    target: Target | NDArray[Any] = "largest",
    cams: bool = True,
) -> StimulusDecoding:
    """Tell which neurons were stimulated before each frame.

    Parameters
    ----------
    movie : ndarray or Movie, (T, Y, X)
        Intensities of any real dtype.
    stimuli : Stimuli, optional
        From `calzoo.read_stimuli`: only its frames are decoded.
    preset : str, optional
        Released network, where `model` is absent.
    model : str, path or Model, optional
        An .onnx file, or what `load_model` returned.
    provider, threads : optional
        As for `load_model`.
    rest : ndarray of float, (Y, X), optional
        The field at rest, for networks that want it; by default the median of the
        movie, or of the frames around each, as the card says.
    mask : ndarray of bool, (Y, X), optional
        Pixels that the network may see, for networks that were trained so.
    target : {"largest", "stimulated"} or ndarray of float, (N, K + 1), optional
        What the maps explain: the largest logit, those of the stimulated cells (needs
        `stimuli`), or a weighted sum of logits.
    cams : bool, optional
        Whether to keep a map of each frame.

    Returns
    -------
    StimulusDecoding

    Raises
    ------
    CalzooError
        If the frames, the network or an option cannot be used.

    Examples
    --------
    >>> from calzoo.simulation.stimulus import simulate_stimulus
    >>> movie = simulate_stimulus(0, trials=1).frames[:8]
    >>> decode_stimuli(movie, preset="stimulus-demo")
    StimulusDecoding(8 frames, 12 cells, maps of 128 x 128 pixels)
    """
    network = StimulusNetwork.load(model, preset, provider=provider, threads=threads)
    movie = checked_movie(movie)
    numbers, wanted = _inputs(network, movie, stimuli, target)
    logits = np.empty((len(numbers), network.cells + 1), np.float32)
    kept = np.empty((len(numbers), *movie.shape[1:]), np.float32) if cams else None
    for part, some, maps in network.blocks(movie, numbers, wanted, rest=rest, mask=mask):
        logits[part] = some
        if kept is not None:
            kept[part] = maps
    return StimulusDecoding(numbers, logits, kept, network.threshold, network.model.provider)


def _inputs(network, movie, stimuli, target):
    """Return the first frame of each input, and its target (N, K + 1) float32."""
    named = isinstance(target, str)
    if named:
        _check_target(target)
        if target == "stimulated" and stimuli is None:
            message = "target 'stimulated' needs the table of stimuli; give stimuli, or target 'largest'."
            raise CalzooError(message)
    if stimuli is None:
        numbers = np.arange(len(movie) - network.together + 1)
        wanted = np.zeros((len(numbers), network.cells + 1), np.float32)
    else:
        check_table(movie, stimuli)
        rows = network.rows(stimuli)
        numbers = stimuli.frames[rows]
        wanted = network.targets(stimuli, target if named else TARGETS[0])[rows]
    if named:
        return numbers, wanted
    given = _finite(_numbers(target, "a target"), "a target")
    if given.shape != wanted.shape:
        message = f"expected a target of shape {wanted.shape}, got {given.shape}."
        raise CalzooError(message)
    return numbers, given


def probability(logits):
    """Return the probabilities of logits, without overflow."""
    return 0.5 * (1 + np.tanh(0.5 * logits))


def check_table(movie, stimuli):
    """Refuse what is no table of stimuli, or goes beyond its movie."""
    if not isinstance(stimuli, Stimuli):
        message = f"stimuli: expected what calzoo.read_stimuli returns, got {type(stimuli).__name__}."
        raise CalzooError(message)
    if len(stimuli) and stimuli.frames.max() >= len(movie):
        message = (
            f"the table of stimuli goes to frame {stimuli.frames.max()}, but the recording has the frames "
            f"0 to {len(movie) - 1}; is it the table of another recording?"
        )
        raise CalzooError(message)


def checked_movie(movie):
    """Return an opened movie as it is, and what NumPy can read as an array; refuse other than three axes."""
    if not hasattr(movie, "frames"):
        refuse_file(movie, "open_movie")
        movie = as_array(movie)
    if len(movie.shape) != 3 or 0 in movie.shape:
        message = f"expected frames (T, Y, X), got shape {tuple(movie.shape)}; give a movie."
        raise CalzooError(message)
    return movie


def _check_values(movie):
    """Refuse an array of other than real numbers that are finite and not too large."""
    if isinstance(movie, np.ndarray) and movie.dtype.kind not in "biuf":
        message = f"expected intensities (real numbers), got {movie.dtype}."
        raise CalzooError(message)
    if isinstance(movie, np.ndarray):
        refuse_not_finite(movie)


def _check_target(target):
    if target not in TARGETS:
        message = f"target must be one of {', '.join(TARGETS)}, got {target!r}."
        raise CalzooError(message)


def _numbers(values, what):
    """Return values as an array, of bool or of float32."""
    try:
        array = np.asarray(values)
        return array if array.dtype == bool else array.astype(np.float32)
    except (TypeError, ValueError) as error:
        message = f"expected {what} of numbers, got {type(values).__name__} that is no array: {error}."
        raise CalzooError(message) from error


def _pixels(values, movie, what):
    """Return a picture of the size of a movie's frames, of bool or of float32."""
    picture = _numbers(values, what)
    if picture.shape != tuple(movie.shape[1:]):
        message = f"expected {what} of {tuple(movie.shape[1:])} pixels, got {picture.shape}."
        raise CalzooError(message)
    return picture


def _finite(array, what):
    if not np.isfinite(array).all():
        message = f"expected {what} of finite numbers, got NaN or infinity; mend it or leave it out."
        raise CalzooError(message)
    return array.astype(np.float32)


def _chunks(movie):
    if hasattr(movie, "chunks"):
        yield from movie.chunks()
        return
    for start in range(0, len(movie), 256):
        yield np.asarray(movie[start : start + 256])
