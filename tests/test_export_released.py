"""The run of a released preset, written again."""

import dataclasses
import json
import types

import numpy as np
import pytest

pytestmark = [pytest.mark.train, pytest.mark.usefixtures("checkout_is_the_cache")]
pytest.importorskip("keras")

from calzoo.errors import CalzooError
from calzoo.export.released import main, unpack
from calzoo.export.verification import keras_outputs
from calzoo.inference.models import load_model
from calzoo.training.runs import build_model, load_run
from calzoo.weights.registry import presets, resolve


@pytest.mark.parametrize("name", sorted(presets()))
def test_run_of_a_preset_has_its_weights_and_its_card(tmp_path, name):
    roles = list(presets()[name].networks)
    for run, role in zip(unpack(name, tmp_path), roles, strict=True):
        run, card = load_run(run), load_model(name, provider="cpu", role=role).card
        model = build_model(run)
        fields = run.card_fields(model)
        assert fields["training"] == dict(card.training)
        assert json.loads(json.dumps(fields["config"])) == dict(card.config)
        assert set(fields["data"]) == set(card.data)
        assert fields["parameters"] == card.parameters
        assert not run.scores
        with np.load(resolve(name, role, kind="golden")) as golden:
            feeds = {tensor.name: golden[tensor.name] for tensor in card.inputs}
            graph = run.recipe.graph(model) if hasattr(run.recipe, "graph") else model
            outputs = keras_outputs(graph, card, feeds)
            for output, array in outputs.items():
                np.testing.assert_allclose(array, golden[output], rtol=0, atol=1e-3)


def test_command_names_the_runs_that_it_wrote(tmp_path, capsys):
    main(["cells-2p", "-o", str(tmp_path / "runs")])
    written = [str(tmp_path / "runs" / role) for role in ("proposal", "instance")]
    assert capsys.readouterr().out.split() == written


def test_settings_that_the_recipe_does_not_have_by_itself_are_refused(monkeypatch, tmp_path):
    card = load_model("axons", provider="cpu").card
    other = dataclasses.replace(card, postprocessing={**card.postprocessing, "min_voxels": 7})
    model = types.SimpleNamespace(card=other)
    monkeypatch.setattr("calzoo.export.released.load_model", lambda *args, **kwargs: model)
    with pytest.raises(CalzooError, match=r"postprocessing\.min_voxels are not those of the recipe 'axons'"):
        unpack("axons", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_runs_are_not_overwritten(tmp_path):
    unpack("registration-2p", tmp_path)
    with pytest.raises(CalzooError, match="holds a run already; name another folder"):
        unpack("registration-2p", tmp_path)
