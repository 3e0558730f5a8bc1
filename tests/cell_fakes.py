"""Networks that know what they are doing: bright disks on a dark ground are cells, everything else is not."""

from pathlib import Path

import numpy as np
from scipy import ndimage

from calzoo.imaging.cell_pictures import KINDS
from calzoo.inference.cell_networks import CellNetworks
from calzoo.weights.card import Card, Normalisation, Tensor

SIDE = 48


class FakeModel:
    """What `load_model` returns, with a function in place of a network."""

    def __init__(self, card, function, name):
        self.card, self.provider, self.path, self.sha256 = card, "cpu", Path(f"{name}.onnx"), name * 8
        self._function = function
        self.calls = []

    def run(self, feeds):
        self.calls.append({name: array.shape for name, array in feeds.items()})
        return self._function(feeds)


def brightness(feeds):
    """Return the mean of the pictures that are present, (B, Y, X)."""
    image, present = feeds["image"], feeds["present"]
    return (image * present[:, :, None, None]).sum(1) / present.sum(1)[:, None, None]


def propose(feeds):
    """Soma: the brightness. Centre: where a disk of 12 pixels fits best."""
    picture = np.clip(brightness(feeds), 0, 1)
    disk = _disk(6)
    center = np.stack([ndimage.correlate(p, disk / disk.sum(), mode="nearest") for p in picture])
    return {"heat": np.stack([picture, 0 * picture, center**4], axis=1).astype(np.float32)}


def outline(feeds):
    """Mask: all that is bright. Score: how bright the middle is."""
    picture = np.clip(brightness(feeds), 0, 1)
    middle = picture[:, SIDE // 2 - 2 : SIDE // 2 + 3, SIDE // 2 - 2 : SIDE // 2 + 3].mean(axis=(1, 2))
    return {"mask": picture[:, None].astype(np.float32), "score": middle[:, None].astype(np.float32)}


def _disk(radius):
    reach = int(np.ceil(radius))
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    return (y**2 + x**2 <= radius**2).astype(np.float32)


def fake_card(role, **changes):
    """Return a card like that of the exported networks: channels first."""
    tensor = {"image": "bcyx", "present": "bc", "heat": "bcyx", "mask": "bcyx", "score": "bc"}
    channels = {
        "image": KINDS,
        "present": KINDS,
        "heat": ("soma", "border", "center"),
        "mask": ("cell",),
        "score": ("cell",),
    }
    outputs = {"proposal": ("heat",), "instance": ("mask", "score")}[role]
    sides = {"proposal": (8, 16, 160), "instance": (SIDE, 0, SIDE)}[role]
    options = {
        "proposal": {"heat_threshold": 0.1, "peak_distance": 0.25},
        "instance": {
            "score_threshold": 0.5,
            "mask_threshold": 0.5,
            "overlap_threshold": 0.4,
            "smallest_diameter": 0.4,
            "largest_diameter": 2.5,
        },
    }[role]
    fields = {
        "name": "disks",
        "alias": "Disks",
        "task": "cells",
        "role": role,
        "description": "For tests.",
        "inputs": tuple(
            Tensor(name=n, axes=tensor[n], units="1", channels=channels[n]) for n in ("image", "present")
        ),
        "outputs": tuple(Tensor(name=n, axes=tensor[n], units="1", channels=channels[n]) for n in outputs),
        "normalisation": Normalisation(
            kind="percentile", low=1.0, high=99.5, clip=(-1.0, 3.0), ignore_zeros=True, scope="frame"
        ),
        "divisor": {"y": sides[0], "x": sides[0]},
        "halo": {"y": sides[1], "x": sides[1]},
        "tile": {"y": sides[2], "x": sides[2]},
        "postprocessing": options,
        "scale": {"cell_diameter_px": 12.0, "cell_diameter_um": 12.0},
        "builder": "none:none",
        "parameters": 0,
        "recipe": "none",
    }
    return Card(**fields | changes)


def fake_networks():
    """Return the two networks for disks."""
    return CellNetworks(
        FakeModel(fake_card("proposal"), propose, "proposal"),
        FakeModel(fake_card("instance"), outline, "instance"),
    )


def disks(rng, shape, diameter, count, *, apart=1.6, edge=1.0):
    """Draw a picture of disks and their masks, (N, Y, X) bool; smooth edges as a microscope has."""
    centers = []
    for _ in range(20_000):
        place = rng.uniform(edge * diameter, np.array(shape) - edge * diameter)
        if all(np.hypot(*(place - c)) > apart * diameter for c in centers):
            centers.append(place)
        if len(centers) == count:
            break
    y, x = np.indices(shape)
    away = [np.hypot(y - cy, x - cx) - diameter / 2 for cy, cx in centers]
    picture = sum(1 / (1 + np.exp(np.clip(a, -30, 30) / 0.6)) for a in away) if away else np.zeros(shape)
    return 100 + 400 * picture + rng.normal(0, 4, shape), np.array([a <= 0 for a in away]).reshape(-1, *shape)
