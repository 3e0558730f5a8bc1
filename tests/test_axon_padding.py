"""A stack with black padding that is scaled for the network: the edge of what was recorded is no edge."""

from pathlib import Path

import numpy as np
import pytest

from calzoo.imaging.images import as_volume
from calzoo.imaging.normalisation import Scaling
from calzoo.inference.axon_network import AxonNetwork
from calzoo.inference.models import load_model

MODELS = Path(__file__).resolve().parent / "models"
CARD = load_model(MODELS / "smooth.onnx", provider="cpu").card


class Eyes:
    """A network that remembers what it has seen and calls everything background."""

    card, path, provider = CARD, MODELS / "smooth.onnx", "cpu"

    def __init__(self):
        self.seen = []

    def run(self, feeds):
        (image,) = feeds.values()  # (B, 1, z, y, x)
        self.seen.append(np.array(image))
        chance = np.zeros((len(image), 3, *image.shape[2:]), np.float32)
        chance[:, 0] = 1
        return {"probability": chance}


def padded_stack(rng):
    """Return tissue between 400 and 600 beyond slanted black corners, and where it was recorded."""
    volume = rng.uniform(400, 600, (12, 50, 60)).astype(np.uint16)
    z, y, x = np.indices(volume.shape)
    recorded = (y + x > 30 + z) & (y < 44)
    return np.where(recorded, volume, 0).astype(np.uint16), recorded


@pytest.mark.parametrize("factors", [(1.0, 0.5, 0.5), (1.0, 1.7, 1.7), (0.8, 0.6, 0.9)])
def test_a_scaled_stack_shows_no_edge_of_its_padding(rng, factors):
    volume, _ = padded_stack(rng)
    eyes = Eyes()
    network = AxonNetwork(eyes)
    grid = network.plan(volume.shape, factors)
    assert grid.shape != volume.shape
    scaling = Scaling(offset=400.0, span=200.0, clip=(-1.0, 3.0), padding=0.0)
    classes = np.concatenate(list(network.classes(as_volume(volume), scaling, grid)))
    assert classes.shape == volume.shape
    seen = np.concatenate([image.ravel() for image in eyes.seen])
    # Tissue is 0 to 1. Black would be -1, and what lies between black and tissue below 0 too.
    assert seen.min() > -0.01
    assert seen.max() < 1.01


def test_without_padding_a_scaled_stack_is_what_scaling_after_resampling_gives(rng):
    volume = rng.uniform(400, 600, (12, 50, 60)).astype(np.float32)
    seen = []
    for padding in (None, 0.0):  # 0 is nowhere in it
        eyes = Eyes()
        network = AxonNetwork(eyes)
        grid = network.plan(volume.shape, (1.0, 0.5, 0.5))
        list(network.classes(as_volume(volume), Scaling(400.0, 200.0, padding=padding), grid))
        seen.append(np.concatenate([image.ravel() for image in eyes.seen]))
    np.testing.assert_allclose(seen[0], seen[1], atol=1e-5)


def test_a_run_finds_in_a_padded_scaled_stack_what_it_finds_without_the_padding(rng):
    """Two axons in tissue; one stack ends where the other goes on black."""
    tissue = np.full((16, 60, 64), 100.0, np.float32)
    tissue[4:12, 8:20, :40] = tissue[4:12, 34:46, :52] = 900
    model = load_model(MODELS / "smooth.onnx", provider="cpu", threads=1)
    network = AxonNetwork(model)
    padded = np.zeros((16, 60, 96), np.float32)
    padded[:, :, :64] = tissue
    scaling = Scaling(offset=100.0, span=800.0, clip=(0.0, 1.0), padding=0.0)
    found = []
    for volume in (tissue, padded):
        grid = network.plan(volume.shape, (1.0, 0.5, 0.5))
        found.append(np.concatenate(list(network.classes(as_volume(volume), scaling, grid))))
    np.testing.assert_array_equal(found[1][:, :, :60], found[0][:, :, :60])
    assert not found[1][:, :, 64:].any()
    assert (found[0] == 1).sum() > 1000


class Everywhere(Eyes):
    """A network that sees an axon in every voxel."""

    def run(self, feeds):
        chance = super().run(feeds)["probability"]
        return {"probability": chance[:, [1, 0, 2]]}


@pytest.mark.parametrize("factors", [(1.0, 1.0, 1.0), (1.0, 0.5, 0.5)])
def test_axons_do_not_go_on_where_nothing_was_recorded(rng, factors):
    volume, recorded = padded_stack(rng)
    network = AxonNetwork(Everywhere())
    grid = network.plan(volume.shape, factors)
    for padding, expected in ((0.0, recorded), (None, np.ones_like(recorded))):
        scaling = Scaling(offset=400.0, span=200.0, clip=(-1.0, 3.0), padding=padding)
        classes = np.concatenate(list(network.classes(as_volume(volume), scaling, grid)))
        np.testing.assert_array_equal(classes == 1, expected)
