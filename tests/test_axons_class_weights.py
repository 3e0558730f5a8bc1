"""Weights of classes that are changed after the training."""

import numpy as np
import pytest

pytestmark = pytest.mark.train
keras = pytest.importorskip("keras")

from test_averaging import write_run

from calzoo.errors import CalzooError
from calzoo.training import axons_class_weights
from calzoo.training.runs import build_model, load_run


def test_the_odds_of_classes_change_by_the_ratio_of_their_weights(tmp_path, rng, capsys):
    trained, wanted = np.array([0.8, 1.4, 0.8]), np.array([1.0, 1.0, 2.0])
    run = write_run(tmp_path / "run", 1, class_weights=tuple(trained))
    out = tmp_path / "weighted"
    axons_class_weights.main([str(run), "--weights", "1,1,2", "-o", str(out)])
    assert capsys.readouterr().out.strip() == str(out)
    image = rng.normal(size=(1, 8, 32, 32, 1)).astype(np.float32)
    before, after = (np.asarray(build_model(load_run(r))(image)) for r in (run, out))
    expected = before * (wanted / wanted.sum()) / (trained / trained.sum())
    np.testing.assert_allclose(after, expected / expected.sum(-1, keepdims=True), atol=2e-3)
    assert np.abs(after - before).max() > 0.05
    weighted = load_run(out)
    assert weighted.recipe.class_weights == (1.0, 1.0, 2.0)
    assert weighted.ledger["reweighted"]["weights"] == trained.tolist()
    assert "best_score" not in weighted.ledger


@pytest.mark.parametrize("weights", ["1,2", "1,0,1", "1,-1,1", "1,nan,1", "1,x,1"])
def test_what_are_no_three_weights_is_refused(tmp_path, weights):
    run = write_run(tmp_path / "run", 1)
    with pytest.raises(CalzooError, match="expected 3 weights of classes above 0, got"):
        axons_class_weights.main([str(run), "--weights", weights, "-o", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()


def test_runs_of_other_networks_are_refused(tmp_path):
    from calzoo.training import recipes
    from calzoo.training.variables import save_weights

    recipe = recipes.recipe("cells-proposal")
    folder = tmp_path / "cells"
    folder.mkdir()
    (folder / "recipe.json").write_text(recipes.to_json(recipe))
    (folder / "fingerprint.json").write_text("{}")
    (folder / "ledger.json").write_text("{}")
    save_weights(recipe.build(), folder / "weights.safetensors")
    with pytest.raises(CalzooError, match="expected a run of axons, whose loss weighs classes, got"):
        axons_class_weights.reweight_run(folder, tmp_path / "out", (1, 1, 1))
