"""Every released network gives today what it gave when it was released, and its card tells the truth."""

import re
from pathlib import Path

import numpy as np
import pytest

from calzoo.inference.golden import write_golden
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


def preset_rows():
    """Return the rows of the README's table of presets: preset, what was scored, score, baseline, chance."""
    text = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    table = text.split("| preset | task | data |")[1].split("\n\n")[0]
    rows, name = [], ""
    for line in table.splitlines()[2:]:
        preset, _, data, *numbers = (cell.strip() for cell in line.split("|")[1:-1])
        name = preset.strip("` ") or name
        if "a copy fine-tuned" not in data:  # of which no card is kept
            rows.append((name, data, *numbers))
    return rows


def test_the_readme_tells_the_scores_of_the_cards():
    rows = preset_rows()
    assert {name for name, *_ in rows} == set(presets())
    for name, data, *columns in rows:
        scores = [score for network in presets()[name].networks.values() for score in network.scores]
        for kind, text in zip(("value", "baseline", "chance"), columns, strict=True):
            known = [getattr(score, kind) for score in scores if getattr(score, kind) is not None]
            for number in re.findall(r"-?\d*\.?\d+", text):
                digits = len(number.partition(".")[2])
                # Cards keep four digits, and the README rounds from more.
                near = [abs(float(number) - value) <= 0.5 * 10**-digits + 1e-4 for value in known]
                assert any(near), f"{name}, {data}: {kind} {number} is in no card"


@pytest.mark.parametrize(("name", "role"), NETWORKS)
def test_what_a_card_tells_a_pipeline_is_explained(name, role):
    page = Path(__file__).parents[1] / "docs" / "card.md"
    explained = re.search(
        r"### Postprocessing\n(.*?)\n\n[^|\n]", page.read_text(encoding="utf-8"), re.DOTALL
    )[1]
    card = load_model(name, provider="cpu", role=role).card
    assert card.postprocessing
    assert [key for key in card.postprocessing if f"`{key}`" not in explained] == []
