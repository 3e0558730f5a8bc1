"""``calzoo evaluate RUN --provider``: a run is scored by Keras, which has none to choose from."""

import json

import pytest

pytestmark = pytest.mark.train
pytest.importorskip("keras")

from tiny_recipe import tiny_recipe

import calzoo.cli
from calzoo.training import axons_evaluate, recipes
from calzoo.training.runs import SCORES, WEIGHTS, load_run
from calzoo.training.variables import save_weights
from calzoo.weights.card import Score


@pytest.fixture
def run(tmp_path):
    """Return the folder of a run that has weights, as training leaves it."""
    folder = tmp_path / "run"
    folder.mkdir()
    recipe = tiny_recipe()
    (folder / "recipe.json").write_text(recipes.to_json(recipe))
    (folder / "fingerprint.json").write_text(json.dumps({"simulation/confocal": ""}))
    (folder / "ledger.json").write_text(json.dumps({"versions": {}, "sessions": []}))
    save_weights(recipe.build(), folder / WEIGHTS)
    assert load_run(folder).scores == ()
    return folder


@pytest.fixture
def scored(monkeypatch):
    """Return a list that gets the name of each protocol that is run; none of them takes time."""
    called = []

    def score_simulated(segment, *, matrices=None):
        called.append("simulated")
        return [Score(data="simulated", metric="F1 axon", value=0.5, protocol="p")]

    monkeypatch.setattr(axons_evaluate, "score_simulated", score_simulated)
    return called


@pytest.mark.parametrize("provider", ["cpu", "cuda", "tensorrt", "openvino"])
def test_a_provider_is_refused_for_a_run_before_anything_is_scored(run, scored, capsys, provider):
    assert calzoo.cli.main(["evaluate", str(run), "--provider", provider]) == 1
    out, complaint = capsys.readouterr()
    assert out == ""
    assert len(complaint.splitlines()) == 1
    assert complaint.startswith(
        f"calzoo: --provider {provider}: applies to .onnx files and presets; the run {run}"
    )
    assert "leave it out or export the run" in complaint
    assert scored == []
    assert not (run / SCORES).exists()


@pytest.mark.parametrize("options", [[], ["--provider", "auto"]])
def test_without_one_the_run_is_scored_and_its_scores_are_kept(run, scored, capsys, options):
    assert calzoo.cli.main(["evaluate", str(run), *options]) == 0
    assert "F1 axon" in capsys.readouterr().out
    assert scored == ["simulated"]
    assert [score.value for score in load_run(run).scores] == [0.5]
