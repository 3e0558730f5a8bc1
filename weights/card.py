"""The model card that travels inside every .onnx file: what a pipeline must know to run it.

A pipeline reads the card and hard-codes nothing that the card says. The card is
JSON in ``metadata_props["calzoo.card"]``; its schema is ``card.schema.json``
beside this file and is explained in docs/card.md.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from types import MappingProxyType

from calzoo.errors import CalzooError

SCHEMA_VERSION = 1
CARD_KEY = "calzoo.card"  # of the file's metadata
TASKS = ("axons", "cells", "registration", "centers", "stimulus")
ROLES = ("model", "proposal", "instance")
NORMALISATIONS = ("none", "percentile", "zscore")
AXES = "btczyx"  # batch, time, channel, plane, row, column


@dataclass(frozen=True, kw_only=True)
class Tensor:
    """One input or output of the graph."""

    name: str
    axes: str  # one letter of AXES per dimension, in the order of the graph
    units: str  # e.g. "normalised intensity", "probability", "px"
    channels: tuple[str, ...] = ()  # names along "c": classes of an output, pictures of an input
    dtype: str = "float32"


@dataclass(frozen=True, kw_only=True)
class Normalisation:
    """How intensities become the numbers that the network was trained on.

    "percentile": ``(x - P_low) / (P_high - P_low)``, clipped to `clip`, with the
    percentiles of the whole recording (`scope` "recording") or of each frame;
    where `ignore_zeros`, voxels that are exactly 0 (padding, photon-free) do not
    count in the percentiles, nor does the lowest level if it holds a twentieth of the
    recording (photon-free, with an offset); they take the level beside them if they lie far
    below all that was recorded. "zscore": ``(x - mean) / sd``. "none": as it is.
    """

    kind: str = "none"
    low: float | None = None
    high: float | None = None
    clip: tuple[float, float] | None = None
    ignore_zeros: bool = False
    scope: str = "recording"


@dataclass(frozen=True, kw_only=True)
class TrainingData:
    """One source of training data and the terms it came under."""

    name: str
    licence: str
    source: str
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Score:
    """One measured number, with what it was measured on and what stands beside it."""

    data: str
    metric: str
    value: float
    protocol: str
    spread: tuple[float, float] | None = None  # smallest and largest, where there are several recordings
    baseline: float | None = None
    baseline_name: str = ""
    chance: float | None = None


@dataclass(frozen=True, kw_only=True)
class Card:
    """Everything that a pipeline or a reader must know about one model file.

    `divisor`, `halo` and `tile` map an axis letter to whole pixels: sides must be
    multiples of the divisor, results nearer than the halo to a tile's edge are
    not those of the whole image, `tile` is the shape that the network was tuned
    for. `overlap` is the share of a tile that its neighbour covers again.
    `postprocessing` holds the thresholds of the task's pipeline, `scale` the
    size of the structure that the network expects (e.g. ``axon_diameter_px``).
    """

    name: str
    alias: str
    task: str
    role: str = "model"
    description: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    normalisation: Normalisation
    divisor: Mapping[str, int]
    halo: Mapping[str, int]
    tile: Mapping[str, int]
    overlap: float = 0.25
    postprocessing: Mapping[str, object] = field(default_factory=dict)
    scale: Mapping[str, float] = field(default_factory=dict)
    builder: str  # "module:function"
    config: Mapping[str, object] = field(default_factory=dict)
    parameters: int
    recipe: str
    training: Mapping[str, object] = field(default_factory=dict)  # seed, steps, backend, ledger of runs
    data: tuple[TrainingData, ...] = ()
    scores: tuple[Score, ...] = ()
    licence: str = "MIT"
    versions: Mapping[str, str] = field(default_factory=dict)
    schema: int = SCHEMA_VERSION

    def __post_init__(self):
        _check_choice("task", self.task, TASKS)
        _check_choice("role", self.role, ROLES)
        _check_choice("normalisation.kind", self.normalisation.kind, NORMALISATIONS)
        if self.schema != SCHEMA_VERSION:
            message = (
                f"card of {self.name!r}: expected schema {SCHEMA_VERSION}, got {self.schema!r}; "
                "install the version of calzoo that wrote the file, or a newer one."
            )
            raise CalzooError(message)
        for tensor in (*self.inputs, *self.outputs):
            if not tensor.axes or set(tensor.axes) - set(AXES):
                message = (
                    f"card of {self.name!r}: axes of {tensor.name!r} must be letters of {AXES!r}, "
                    f"got {tensor.axes!r}."
                )
                raise CalzooError(message)
        for name in ("divisor", "halo", "tile", "postprocessing", "scale", "config", "training", "versions"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))

    def to_json(self) -> str:
        """Return the card as a JSON text with sorted keys."""
        plain = {f.name: getattr(self, f.name) for f in fields(self)}
        for name, value in plain.items():
            if isinstance(value, Mapping):
                plain[name] = dict(value)
            elif isinstance(value, tuple):
                plain[name] = [asdict(item) for item in value]
        plain["normalisation"] = asdict(self.normalisation)
        return json.dumps(plain, indent=1, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> "Card":
        """Read a card.

        Parameters
        ----------
        text : str
            What `to_json` wrote.

        Returns
        -------
        Card

        Raises
        ------
        CalzooError
            If the text is no JSON, or lacks or misnames a field.
        """
        try:
            plain = json.loads(text)
            plain["inputs"] = tuple(_tensor(t) for t in plain["inputs"])
            plain["outputs"] = tuple(_tensor(t) for t in plain["outputs"])
            normalisation = dict(plain["normalisation"])
            normalisation["clip"] = _pair(normalisation.get("clip"))
            plain["normalisation"] = Normalisation(**normalisation)
            plain["data"] = tuple(TrainingData(**d) for d in plain.get("data", ()))
            plain["scores"] = tuple(
                Score(**s | {"spread": _pair(s.get("spread"))}) for s in plain.get("scores", ())
            )
            return cls(**plain)
        except CalzooError:
            raise
        except (TypeError, KeyError, ValueError, AttributeError) as error:
            message = (
                f"expected a model card (JSON, docs/card.md), got one that cannot be read: {error!r}. "
                "Export the model again with 'calzoo export'."
            )
            raise CalzooError(message) from error


def _tensor(plain):
    return Tensor(**plain | {"channels": tuple(plain.get("channels", ()))})


def _pair(value):
    return None if value is None else tuple(value)


def _check_choice(name, value, choices):
    if value not in choices:
        message = f"card: {name} must be one of {', '.join(choices)}, got {value!r}."
        raise CalzooError(message)
