"""The two networks of the cell pipeline: heat maps of pictures, masks of crops, as their cards say."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from calzoo.errors import CalzooError
from calzoo.imaging.cell_pictures import KINDS, crops, mirrored
from calzoo.inference.axes import in_order
from calzoo.inference.models import Model, load_model

ROLES = ("proposal", "instance")
_CANONICAL = {"image": "byxc", "present": "bc", "heat": "byxc", "mask": "byxc", "score": "bc"}
_OUTPUTS = {"proposal": ("heat",), "instance": ("mask", "score")}
_CENTER = "center"
_BATCH = 128


class CellNetworks:
    """A network that proposes where cells are, and one that outlines each.

    Parameters
    ----------
    proposal, instance : Model
        Of task "cells".

    Raises
    ------
    CalzooError
        If a card is that of another task or role, or the two were made for cells of different size.
    """

    def __init__(self, proposal, instance):
        self.proposal, self.instance = proposal, instance
        for role, model in zip(ROLES, (proposal, instance), strict=True):
            _check(role, model)
        sizes = [m.card.scale.get("cell_diameter_px") for m in (proposal, instance)]
        if sizes[0] != sizes[1] or not sizes[0]:
            message = (
                f"expected two networks for cells of the same size, got {sizes[0]} and {sizes[1]} pixels "
                f"({proposal.path}, {instance.path}); use those of one preset."
            )
            raise CalzooError(message)
        self.diameter = float(sizes[0])
        self.diameter_um = float(proposal.card.scale.get("cell_diameter_um", 12.0))
        self.options = {**proposal.card.postprocessing, **instance.card.postprocessing}
        self.crop = int(instance.card.tile["y"])
        names = _tensor(proposal, "outputs", "heat").channels
        self._center = names.index(_CENTER) if _CENTER in names else len(names) - 1

    @classmethod
    def load(cls, model, preset, *, provider, threads):
        """Return the networks of a mapping of role to Model or .onnx file, or of a preset."""
        if isinstance(model, cls):
            return model
        given = model or dict.fromkeys(ROLES, preset)
        if not isinstance(given, Mapping) or set(given) != set(ROLES):
            message = (
                f"expected a mapping with the networks {' and '.join(ROLES)}, got {given!r}; "
                "or name a preset."
            )
            raise CalzooError(message)
        return cls(*(_load(given[role], role, provider, threads) for role in ROLES))

    @property
    def normalisation(self):
        """How pictures are normalised."""
        return self.proposal.card.normalisation

    @property
    def provider(self):
        """What runs the networks."""
        return self.proposal.provider

    def heat(self, image, present):
        """Predict where the centres of cells are, and how likely each pixel belongs to one.

        Parameters
        ----------
        image : ndarray of float32, (3, Y, X)
            Normalised, at the networks' scale.
        present : ndarray of float32, (3,)

        Returns
        -------
        center : ndarray of float32, (Y, X)
        heat : ndarray of float32, (channels, Y, X)
        """
        card = self.proposal.card
        divisor, halo, tile = (
            [int(getattr(card, name)[axis]) for axis in "yx"] for name in ("divisor", "halo", "tile")
        )
        shape = image.shape[1:]
        spans = [_spans(*axis) for axis in zip(shape, tile, halo, divisor, strict=True)]
        heat = None
        for first_y, last_y, start_y, side_y in spans[0]:
            for first_x, last_x, start_x, side_x in spans[1]:
                rows = mirrored(start_y + np.arange(side_y), shape[0])
                cols = mirrored(start_x + np.arange(side_x), shape[1])
                part = image[:, rows[:, None], cols[None]]
                result = self._run(self.proposal, np.moveaxis(part, 0, -1)[None], present)["heat"][0]
                if heat is None:
                    heat = np.empty((result.shape[-1], *shape), np.float32)
                kept = result[first_y - start_y : last_y - start_y, first_x - start_x : last_x - start_x]
                heat[:, first_y:last_y, first_x:last_x] = np.moveaxis(kept, -1, 0)
        return heat[self._center], heat

    def outline(self, image, present, places):
        """Predict the mask and the score of the cell at each place.

        Parameters
        ----------
        image : ndarray of float32, (3, Y, X)
        present : ndarray of float32, (3,)
        places : ndarray, (N, 2)
            (y, x), rounded to whole pixels.

        Returns
        -------
        masks : ndarray of float32, (N, side, side)
            The place is pixel ``side // 2`` of both axes.
        scores : ndarray of float32, (N,)
        """
        masks = np.empty((len(places), self.crop, self.crop), np.float32)
        scores = np.empty(len(places), np.float32)
        for start in range(0, len(places), _BATCH):
            part = slice(start, start + _BATCH)
            found = self._run(self.instance, crops(image, places[part], self.crop), present)
            masks[part], scores[part] = found["mask"][..., 0], found["score"][:, 0]
        return masks, scores

    def _run(self, model, image, present):
        """Run a network on (B, Y, X, 3); return its outputs with channels last."""
        given = {"image": image, "present": np.broadcast_to(present, (len(image), len(present)))}
        feeds = {
            t.name: np.ascontiguousarray(in_order(given[t.name], _CANONICAL[t.name], t.axes), np.float32)
            for t in model.card.inputs
        }
        results = model.run(feeds)
        return {
            t.name: in_order(results[t.name], t.axes, _CANONICAL[t.name])
            for t in model.card.outputs
            if t.name in _CANONICAL
        }


def _load(given, role, provider, threads):
    if isinstance(given, Model):
        return given
    given = Path(given) if isinstance(given, Path) or str(given).endswith(".onnx") else given
    return load_model(given, provider=provider, threads=threads, role=role)


def _check(role, model):
    card = model.card
    names = {t.name for t in card.inputs}, {t.name for t in card.outputs}
    good = card.task == "cells" and card.role == role
    if not good or names[0] != {"image", "present"} or not set(_OUTPUTS[role]) <= names[1]:
        message = (
            f"{model.path}: expected the network of role {role!r} of task 'cells', got that of role "
            f"{card.role!r} of task {card.task!r} with inputs {sorted(names[0])}."
        )
        raise CalzooError(message)
    channels = _tensor(model, "inputs", "image").channels
    if channels and tuple(channels) != KINDS:
        message = f"{model.path}: expected the pictures {', '.join(KINDS)}, got {', '.join(channels)}."
        raise CalzooError(message)


def _tensor(model, side, name):
    return next(t for t in getattr(model.card, side) if t.name == name)


def _spans(size, tile, halo, divisor):
    """Part an axis into (first, last) kept of tiles (start, side); sides are multiples of the divisor.

    What is kept lies a halo away from each end of its tile that is no end of the picture.
    """
    whole = -(-size // divisor) * divisor
    if whole <= 1.25 * tile:
        return [(0, size, 0, whole)]
    halo = -(-halo // divisor) * divisor
    step = max(tile - 2 * halo, divisor)
    spans = []
    for first in range(0, size, step):
        last = min(first + step, size)
        start = max(first - halo, 0)
        end = min(last + halo, whole)
        spans.append((first, last, start, -(-(end - start) // divisor) * divisor))
    return spans
