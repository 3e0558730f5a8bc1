"""Weights are stored in half the bytes only where nothing is lost."""

import numpy as np
import pytest

pytestmark = pytest.mark.train
onnx = pytest.importorskip("onnx")

from test_export_passes import assert_same, graph_of, kinds

from calzoo.export import passes, planes
from calzoo.export.halves import store_halves

CHANNELS = 24


@pytest.fixture
def image(rng):
    return rng.normal(size=(2, 2, 4, 6, 8)).astype(np.float32)


def normalised(rng, rounded=True):
    """A convolution whose result is multiplied and shifted, as by batch normalisation."""
    weight = rng.normal(size=(CHANNELS, 2, 3, 3, 3))
    along = (1, CHANNELS, 1, 1, 1)
    constants = {
        "w": weight.astype(np.float16 if rounded else np.float32).astype(np.float32),
        "scale": rng.uniform(0.3, 3, along).astype(np.float32),
        "shift": rng.normal(size=along).astype(np.float32),
    }
    nodes = [
        ("Conv", ["image", "w"], "c", {"pads": [1] * 6}),
        ("Mul", ["c", "scale"], "m"),
        ("Add", ["m", "shift"], "result"),
    ]
    return graph_of(nodes, constants)


def stored(graph):
    return [array.dtype for array in graph.constants.values() if array.ndim == 5 and array.size >= 1000]


def test_rounded_weights_are_stored_as_halves_and_a_factor(rng, image):
    graph = normalised(rng)
    assert_same(graph, passes.fold_affine, image)
    assert kinds(graph) == ["Conv"]
    assert_same(graph, store_halves, image)
    assert sorted(kinds(graph)) == ["Cast", "Conv", "Mul"]
    assert stored(graph) == [np.float16]


def test_a_channel_that_is_multiplied_by_nothing_stays_nothing(rng, image):
    graph = normalised(rng)
    graph.constants["scale"] = graph.constants["scale"] * (np.arange(CHANNELS) != 3).reshape(1, -1, 1, 1, 1)
    assert_same(graph, passes.fold_affine, image)
    assert_same(graph, store_halves, image)
    assert stored(graph) == [np.float16]


def test_weights_that_would_lose_digits_stay_as_they_are(rng, image):
    graph = normalised(rng, rounded=False)
    assert_same(graph, passes.fold_affine, image)
    assert_same(graph, store_halves, image)
    assert kinds(graph) == ["Conv"]
    assert stored(graph) == [np.float32]


def test_weights_without_a_factor_need_no_product(rng, image):
    weight = rng.normal(size=(CHANNELS, 2, 3, 3, 3)).astype(np.float16).astype(np.float32)
    graph = graph_of([("Conv", ["image", "w"], "result", {"pads": [1] * 6})], {"w": weight})
    assert_same(graph, store_halves, image)
    assert kinds(graph) == ["Cast", "Conv"]


@pytest.mark.parametrize("kind", ["Conv", "ConvTranspose"])
def test_the_form_in_planes_is_stored_as_halves_too(rng, kind):
    weight = rng.normal(size=(40, 40, 3, 3, 3) if kind == "Conv" else (40, 40, 2, 2, 2))
    along = (1, 40, 1, 1, 1)
    constants = {
        "w": weight.astype(np.float16).astype(np.float32),
        "scale": rng.uniform(0.3, 3, along).astype(np.float32),
    }
    values = {"pads": [1] * 6} if kind == "Conv" else {"strides": [2, 2, 2], "kernel_shape": [2, 2, 2]}
    nodes = [(kind, ["image", "w"], "c", values), ("Mul", ["c", "scale"], "result")]
    graph = graph_of(nodes, constants, shape=("b", 40, "z", "y", "x"))
    graph.outputs[0].type.tensor_type.shape.dim[1].dim_value = 40
    passes.fold_affine(graph)
    flat = planes.to_planes(graph)
    assert_same(flat, store_halves, rng.normal(size=(1, 40, 4, 6, 8)).astype(np.float32) / 40)
    assert {a.dtype for a in flat.constants.values() if a.size >= 1000} == {np.dtype(np.float16)}
