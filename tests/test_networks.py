"""What is true of every network (conformance.py), and what is true of the 3-D U-Net alone."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.train
keras = pytest.importorskip("keras")

import conformance

from calzoo.networks import unet3d as unet

each = pytest.mark.parametrize("case", conformance.CASES, ids=lambda case: case.name)


@pytest.fixture(autouse=True)
def forget_networks():
    yield
    keras.backend.clear_session()


def run(model, case, size=0):
    """Return the outputs by name."""
    feeds = case.feeds(size)
    results = model(feeds if len(feeds) > 1 else next(iter(feeds.values())), training=False)
    results = results if isinstance(results, (list, tuple)) else [results]
    return dict(zip(model.output_names, map(keras.ops.convert_to_numpy, results), strict=True))


@each
def test_network_has_the_parameters_that_it_is_known_for(case):
    assert case.build().count_params() == case.parameters


@each
@pytest.mark.parametrize("size", [0, 1])
def test_network_takes_any_legal_size(case, size):
    outputs = run(case.build(), case, size)
    assert {name: array.shape for name, array in outputs.items()} == case.sizes[size][1]
    assert all(np.isfinite(array).all() for array in outputs.values())


@each
def test_inputs_and_outputs_have_the_names_of_the_card(case):
    model = case.build()
    assert [symbol.name for symbol in model.inputs] == list(case.inputs)
    assert model.output_names == list(case.outputs)


@each
def test_saved_network_gives_the_same_when_it_is_loaded(case, tmp_path):
    model = case.build()
    model.save(tmp_path / "network.keras")
    loaded = keras.models.load_model(tmp_path / "network.keras", compile=False)
    before, after = run(model, case), run(loaded, case)
    for name, array in before.items():
        np.testing.assert_array_equal(after[name], array)


@each
def test_every_kernel_has_a_finite_gradient_that_is_not_zero(case):
    model = case.build()
    before = [keras.ops.convert_to_numpy(v) for v in model.trainable_variables]
    # Plain descent: a variable moves by its gradient, a hundred times lest rounding swallows it.
    model.compile(optimizer=keras.optimizers.SGD(100.0), loss="mse", run_eagerly=True)
    rng = np.random.default_rng(2)
    feeds = case.feeds()
    targets = [rng.random(case.sizes[0][1][name], np.float32) for name in model.output_names]
    model.train_on_batch(feeds if len(feeds) > 1 else next(iter(feeds.values())), targets)
    for variable, old in zip(model.trainable_variables, before, strict=True):
        moved = keras.ops.convert_to_numpy(variable) - old
        assert np.isfinite(moved).all(), variable.path
        assert moved.any() or variable.path.endswith("bias"), variable.path  # normalisation undoes a bias


@each
def test_a_step_of_training_lowers_the_loss(case):
    first, second = conformance.losses_of_two_steps(case)
    assert second < first


@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="JAX is not installed")
def test_a_step_of_training_lowers_the_loss_on_jax():
    # Two steps are not worth a good program: compiling takes four times as long.
    quick = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
    environment = os.environ | {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "XLA_FLAGS": quick}
    command = [sys.executable, Path(conformance.__file__)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["backend"] == "jax"
    assert len(result["losses"]) == len(conformance.CASES)
    assert all(second < first for first, second in result["losses"])


def test_default_unet_has_two_to_four_million_parameters():
    assert unet.unet3d().count_params() == 2_683_699


def test_seed_has_the_parameters_of_the_published_network():
    model = unet.unet3d((32, 64, 64), **unet.SEED)
    assert model.count_params() == 133_952_755
    assert model.output_shape == (None, 32, 64, 64, 3)
    assert sum(isinstance(layer, keras.layers.Dropout) for layer in model.layers) == 11


def test_probabilities_of_a_voxel_sum_to_one(rng):
    model = unet.unet3d(filters=(2,), bottom=2, pool=((1, 2, 2),), classes=4)
    result = keras.ops.convert_to_numpy(model(rng.normal(size=(1, 3, 4, 6, 1))))
    np.testing.assert_allclose(result.sum(axis=-1), 1, atol=1e-6)


@pytest.mark.parametrize("shape", [(8, 64, 72), (6, 64, 64), (7, None, 64)])
def test_illegal_side_is_refused_with_the_next_legal_shape(shape):
    larger = tuple(s and -(-s // d) * d for s, d in zip(shape, (4, 16, 16), strict=True))
    with pytest.raises(ValueError, match=r"multiples of \(4, 16, 16\)") as refusal:
        unet.unet3d(shape)
    assert str(shape) in str(refusal.value)
    assert f"Pad the stack to {larger}" in str(refusal.value)


@pytest.mark.parametrize(
    "config",
    [{"filters": (4, 4)}, {"decoder": (4, 4)}, {"pool": ((2, 2, 2),)}, {"dropout": (0.1, 0.1)}],
    ids=lambda config: next(iter(config)),
)
def test_config_with_missing_levels_is_refused(config):
    with pytest.raises(ValueError, match="one entry per level and dropout one per block"):
        unet.unet3d(**config)


@pytest.mark.parametrize(
    ("pool", "kernel"),
    [(((1, 2, 2),), 3), (((2, 1, 1),), 4), (((1, 2, 2), (2, 2, 2)), 3), (((1, 3, 3), (1, 2, 2)), 3)],
)
def test_halo_is_how_far_the_network_really_looks(pool, kernel):
    """With positive weights nothing hides: a bright voxel raises every output that depends on it."""
    model = unet.unet3d(filters=(1,) * len(pool), bottom=1, pool=pool, kernel=kernel, classes=1)
    for variable in model.weights:
        if variable.path.endswith("kernel"):
            variable.assign(np.ones(variable.shape))
    logits = keras.Model(model.input, model.get_layer("logits").output)
    halo, step = unet.halo(pool, kernel), unet.divisor(pool)
    sides = [-(-(2 * h + s) // s) * s + 2 * s for h, s in zip(halo, step, strict=True)]
    flat = np.ones((1, *sides, 1), np.float32)
    background = keras.ops.convert_to_numpy(logits(flat))
    for axis in range(3):
        farthest = 0
        for offset in range(step[axis]):
            place = [side // 2 for side in sides]
            place[axis] += offset
            bright = flat.copy()
            bright[(0, *place, 0)] = 1e3
            changed = np.argwhere(keras.ops.convert_to_numpy(logits(bright)) != background)
            farthest = max(farthest, np.abs(changed[:, axis + 1] - place[axis]).max())
        assert farthest == halo[axis]
