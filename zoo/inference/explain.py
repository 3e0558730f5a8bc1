"""Where does a classifier look? Maps that need no gradients, for any .onnx file.

=============== ===========================================================================
``score-cam``   each feature map lets through its part of the picture; the more that keeps
                the score up, the more the map counts [1]_
``eigen-cam``   what most of the feature maps have in common; knows no class [2]_
``occlusion``   how much of the score is lost where a patch hides the picture [3]_
=============== ===========================================================================

References
----------
.. [1] Wang et al., "Score-CAM", CVPR Workshops 2020. arXiv:1910.01279
.. [2] Muhammad and Yeasin, "Eigen-CAM", IJCNN 2020. arXiv:2008.00299
.. [3] Zeiler and Fergus, ECCV 2014. arXiv:1311.2901
"""

import os
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from calzoo.errors import CalzooError
from calzoo.imaging.frames import sides_of
from calzoo.inference import onnx_layers
from calzoo.inference.models import Model, checked_threads
from calzoo.weights import registry

Method = Literal["score-cam", "eigen-cam", "occlusion"]
METHODS = get_args(Method)
_AXES = ("bcyx", "byxc")
_BATCH = 16


@dataclass(frozen=True, eq=False)
class Explanation:
    """A map of what a classifier looks at.

    Attributes
    ----------
    map : ndarray of float32, (Y, X)
        0 to 1; of occlusion the loss of score, in its own units.
    target : int
        Class whose score was explained.
    score : float
        Of the picture as it is.
    method, layer : str
        Layer: the feature maps that were used; empty for occlusion.
    """

    map: NDArray[np.float32]
    target: int
    score: float
    method: str
    layer: str

    def __repr__(self) -> str:
        return (
            f"Explanation({self.method} of class {self.target}, {sides_of(self.map.shape)} pixels, "
            f"score {self.score:.3g})"
        )


def explain(
    model: str | os.PathLike[str] | Model,
    image: NDArray[Any],
    *,
    method: Method = "score-cam",
    target: int | None = None,
    layer: str | None = None,
    baseline: NDArray[Any] | None = None,
    patch: int | None = None,
    axes: Literal["bcyx", "byxc"] | None = None,
    input_name: str | None = None,
    output_name: str | None = None,
    threads: int | None = None,
) -> Explanation:
    """Map where a classifier looks.

    Parameters
    ----------
    model : str, path or Model
        Any .onnx file, with or without a card, that turns pictures into scores (B, K); a preset as
        ``load_model(NAME)``.
    image : ndarray, (C, Y, X), (Y, X, C) or (Y, X)
        One network input without the batch, normalised as the network takes it.
    method : {"score-cam", "eigen-cam", "occlusion"}, optional
        See `calzoo.inference.explain`.
    target : int, optional
        Class; by default that of the largest score.
    layer : str, optional
        Tensor with the feature maps; by default that of the last convolution.
    baseline : float or ndarray, optional
        What hidden pixels show: by default 0 for Score-CAM, as published, and the mean of
        each channel for occlusion. For calcium frames the field at rest is best.
    patch : int, optional
        Side of the hidden patch, in pixels; by default an eighth of the shorter side.
    axes : str, optional
        Of the network's input, "bcyx", the default, or "byxc".
    input_name, output_name : str, optional
        Which input is the picture and which output holds the scores; other inputs are fed
        zeros. By default the first input of four axes and the first output of two.
    threads : int, optional
        Processor threads; the runtime's own choice where absent.

    Returns
    -------
    Explanation

    Raises
    ------
    CalzooError
        If the file is no such classifier, or the picture does not fit.

    Examples
    --------
    >>> from calzoo.inference.models import load_model
    >>> picture = np.random.default_rng(0).normal(size=(2, 64, 64))  # frame and field at rest
    >>> explain(load_model("stimulus-demo"), picture, method="occlusion", target=3).map.shape
    (64, 64)
    """
    _check_options(method, axes, target=target, patch=patch)
    data, path = _bytes(model)
    name = ""
    if method != "occlusion":
        name = onnx_layers.last_maps(data) if layer is None else layer
        data = onnx_layers.with_output(data, name)
    network = _Classifier(data, path, axes, input_name, output_name, threads)
    picture = network.picture(image)
    scores = network.scores(picture[None])[0]
    chosen = int(scores.argmax()) if target is None else int(target)
    if not -len(scores) <= chosen < len(scores):
        message = f"{path}: expected a class from 0 to {len(scores) - 1}, got {chosen}."
        raise CalzooError(message)
    score = float(scores[chosen])
    if method == "occlusion":
        found = _occlusion(network, picture, chosen, score, baseline, patch)
        return Explanation(found, chosen, score, method, name)
    maps = network.maps(picture[None], name)
    eigen = method == "eigen-cam"
    cam = _eigen(maps) if eigen else _score_cam(network, picture, maps, chosen, baseline)
    stretched = stretch(cam[None], picture.shape[1:])[0]
    return Explanation(_from_0_to_1(stretched), chosen, score, method, name)


def _check_options(method, axes, **whole):
    """Refuse a method or axes that are not known, and what is no whole number."""
    if method not in METHODS:
        message = f"method must be one of {', '.join(METHODS)}, got {method!r}."
        raise CalzooError(message)
    if axes not in (None, *_AXES):
        message = f"axes must be one of {', '.join(_AXES)}, got {axes!r}."
        raise CalzooError(message)
    for name, value in whole.items():
        if value is not None and (not isinstance(value, Integral) or value is True):
            message = f"{name}: expected a whole number, got {value!r}."
            raise CalzooError(message)


def stretch(maps, shape):
    """Enlarge maps by linear interpolation; pixels are squares.

    Parameters
    ----------
    maps : ndarray of float, (N, y, x)
    shape : tuple of int
        (Y, X).

    Returns
    -------
    ndarray of float32, (N, Y, X)
    """
    rows, columns = (_weights(length, short) for length, short in zip(shape, maps.shape[1:], strict=True))
    return (rows @ maps @ columns.T).astype(np.float32)


class _Classifier:
    """An .onnx file as a function from pictures (N, C, Y, X) to scores (N, K)."""

    def __init__(self, data, path, axes, input_name, output_name, threads):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads = checked_threads(threads) or 0
        try:
            self.session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's exceptions have no common base but this one
            first = str(error).splitlines()[0]
            message = f"{path}: expected a network that onnxruntime can run, got: {first}"
            raise CalzooError(message) from error
        self.path = path
        inputs, outputs = self.session.get_inputs(), self.session.get_outputs()
        self.input = _choose(path, "input", inputs, input_name, 4)
        self.output = _choose(path, "output", outputs, output_name, 2).name
        self.others = [value for value in inputs if value.name != self.input.name]
        self.last = (axes or "bcyx") == "byxc"

    def picture(self, image):
        """Return the picture as (C, Y, X) float32."""
        try:
            image = np.asarray(image, np.float32)
        except (TypeError, ValueError) as error:
            message = f"expected a picture of real numbers, got {type(image).__name__}."
            raise CalzooError(message) from error
        if image.ndim == 2:
            image = image[..., None] if self.last else image[None]
        if image.ndim != 3 or not np.isfinite(image).all():
            message = f"expected one finite picture of two or three axes, got shape {image.shape}."
            raise CalzooError(message)
        image = np.moveaxis(image, -1, 0) if self.last else image
        wanted = self.input.shape[3 if self.last else 1]
        if isinstance(wanted, int) and wanted != len(image):
            message = (
                f"{self.path}: expected a picture of {wanted} channels, got shape {image.shape} (C, Y, X); "
                "for channels last say axes='byxc'."
            )
            raise CalzooError(message)
        return image

    def scores(self, pictures):
        """Return scores (N, K)."""
        parts = [self._run(pictures[i : i + _BATCH], self.output) for i in range(0, len(pictures), _BATCH)]
        return np.concatenate(parts)

    def maps(self, pictures, layer):
        """Return the feature maps (C, y, x) of the first picture."""
        maps = self._run(pictures, layer)
        if maps.ndim != 4:
            message = f"{self.path}: expected feature maps of four axes in {layer!r}, got shape {maps.shape}."
            raise CalzooError(message)
        return maps[0].astype(np.float64)  # ONNX computes channels first

    def _run(self, pictures, name):
        feed = np.moveaxis(pictures, 1, -1) if self.last else pictures
        feeds = {self.input.name: np.ascontiguousarray(feed, np.float32)}
        for value in self.others:
            sides = [len(pictures), *(n if isinstance(n, int) else 1 for n in value.shape[1:])]
            feeds[value.name] = np.zeros(sides, np.float32)
        try:
            return self.session.run([name], feeds)[0]
        except Exception as error:  # see above
            first = str(error).splitlines()[0]
            message = f"{self.path}: failed on a picture of shape {pictures.shape[1:]}: {first}"
            raise CalzooError(message) from error


def _bytes(model):
    if not isinstance(model, (Model, str, os.PathLike)):
        message = f"expected the path of an .onnx file or what load_model returned, got {model!r}."
        raise CalzooError(message)
    path = model.path if isinstance(model, Model) else Path(model)
    try:
        return path.read_bytes(), path
    except OSError as error:
        if str(model) in registry.presets():
            message = f"{model!r} is a preset; expected an .onnx file, or load_model({model!r})."
            raise CalzooError(message) from error
        message = f"{path}: expected an .onnx file, but it cannot be read ({error.strerror})."
        raise CalzooError(message) from error


def _choose(path, kind, values, name, rank):
    fitting = [v for v in values if (v.name == name if name else len(v.shape or ()) == rank)]
    if not fitting:
        wanted = repr(name) if name else f"one of {rank} axes"
        listed = ", ".join(f"{v.name} {v.shape}" for v in values)
        message = f"{path}: expected the {kind} {wanted}, got {listed}."
        raise CalzooError(message)
    return fitting[0]


def _score_cam(network, picture, maps, target, baseline):
    """Weight each feature map by how much of the score is left in the part that it lets through."""
    hidden = _hidden(0 if baseline is None else baseline, picture.shape)
    still = network.scores(hidden[None])[0, target]
    weights = np.zeros(len(maps))
    live = [k for k, cam in enumerate(maps) if np.ptp(cam) > 0]
    for start in range(0, len(live), _BATCH):
        part = live[start : start + _BATCH]
        masks = np.stack([_from_0_to_1(m) for m in stretch(maps[part], picture.shape[1:])])[:, None]
        weights[part] = network.scores(hidden + masks * (picture - hidden))[:, target] - still
    return np.maximum(np.tensordot(weights, maps, 1), 0)


def _hidden(baseline, shape):
    """Return what hidden pixels show, (C, Y, X)."""
    try:
        return np.broadcast_to(np.asarray(baseline, np.float32), shape)
    except (TypeError, ValueError) as error:
        message = (
            f"baseline: expected a number, or an array that fits a picture of shape {shape}, got "
            f"{np.shape(baseline) or baseline!r}."
        )
        raise CalzooError(message) from error


def _eigen(maps):
    """Project each pixel on the first right singular vector of (pixels, channels)."""
    flat = maps.reshape(len(maps), -1).T
    vector = np.linalg.svd(flat, full_matrices=False)[2][0]
    # The sign of a singular vector is arbitrary: more activity shall be more.
    if (flat @ vector).sum() < 0:
        vector = -vector
    return np.maximum((flat @ vector).reshape(maps.shape[1:]), 0)


def _occlusion(network, picture, target, score, baseline, patch):
    """Hide patches, half of which overlap, and share out what is lost."""
    sides = picture.shape[1:]
    patch = max(min(sides) // 8, 1) if patch is None else int(patch)
    if not 1 <= patch <= min(sides):
        message = f"patch: expected a side from 1 to {min(sides)} pixels, got {patch}."
        raise CalzooError(message)
    baseline = picture.mean(axis=(1, 2), keepdims=True) if baseline is None else baseline
    hidden = _hidden(baseline, picture.shape)
    step = max(patch // 2, 1)
    places = [(y, x) for y in _starts(sides[0], patch, step) for x in _starts(sides[1], patch, step)]
    lost, count = np.zeros(sides), np.zeros(sides)
    for start in range(0, len(places), _BATCH):
        part = places[start : start + _BATCH]
        pictures = np.repeat(picture[None], len(part), axis=0)
        for covered, (y, x) in zip(pictures, part, strict=True):
            covered[:, y : y + patch, x : x + patch] = hidden[:, y : y + patch, x : x + patch]
        for (y, x), value in zip(part, network.scores(pictures)[:, target], strict=True):
            lost[y : y + patch, x : x + patch] += score - value
            count[y : y + patch, x : x + patch] += 1
    return (lost / count).astype(np.float32)


def _starts(side, patch, step):
    return sorted({*range(0, side - patch + 1, step), side - patch})


def _weights(length, short):
    place = np.clip((np.arange(length) + 0.5) * short / length - 0.5, 0, short - 1)
    return np.maximum(1 - np.abs(place[:, None] - np.arange(short)), 0)


def _from_0_to_1(cam):
    low, span = cam.min(), np.ptp(cam)
    return ((cam - low) / span if span > 0 else np.zeros_like(cam)).astype(np.float32)
