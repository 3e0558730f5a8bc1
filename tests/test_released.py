"""Every released network gives today what it gave when it was released, and its card tells the truth."""

import numpy as np
import pytest

from calzoo.commands.release import write_golden
from calzoo.inference.models import load_model
from calzoo.weights.registry import presets, resolve

NETWORKS = [(preset.name, role) for preset in presets().values() for role in preset.networks]

pytest.importorskip("onnxruntime")
pytestmark = pytest.mark.usefixtures("checkout_is_the_cache")


def check_golden(model, path):
    """Compare on the processor: sums run in another order in another release of ONNX Runtime."""
    with np.load(path, allow_pickle=False) as golden:
        outputs = model.run({tensor.name: golden[tensor.name] for tensor in model.card.inputs})
        assert set(golden) == {tensor.name for tensor in (*model.card.inputs, *model.card.outputs)}
        for name, output in outputs.items():
            assert golden[name].any(), name  # of zeros nothing could be told
            np.testing.assert_allclose(output, golden[name], rtol=0, atol=1e-4)


@pytest.mark.parametrize(("name", "role"), NETWORKS)
def test_a_released_network_repeats_its_golden_output(name, role):
    golden = resolve(name, role, kind="golden")
    for kind in presets()[name].network(role).files:
        if kind.startswith("onnx"):
            check_golden(load_model(resolve(name, role, kind=kind), provider="cpu"), golden)


@pytest.mark.parametrize(("name", "role"), NETWORKS)
def test_registry_and_card_say_the_same(name, role):
    preset = presets()[name]
    card = load_model(name, provider="cpu", role=role).card
    network = preset.network(role)
    assert (card.name, card.task, card.role) == (name, preset.task, role)
    assert (card.builder, dict(card.config)) == (network.builder, dict(network.config))
    assert (card.recipe, card.scores) == (network.recipe, network.scores)


@pytest.mark.parametrize("tiny", ["pixel", "smooth", "pooled"])
def test_a_golden_file_repeats(request, tmp_path, tiny):
    path = request.path.parent / "models" / f"{tiny}.onnx"
    model = load_model(path, provider="cpu")
    write_golden(model, tmp_path / "golden.npz")
    check_golden(model, tmp_path / "golden.npz")


def test_another_network_does_not_repeat_the_golden_file(request, tmp_path):
    models = request.path.parent / "models"
    write_golden(load_model(models / "smooth.onnx", provider="cpu"), tmp_path / "golden.npz")
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        check_golden(load_model(models / "pooled.onnx", provider="cpu"), tmp_path / "golden.npz")
