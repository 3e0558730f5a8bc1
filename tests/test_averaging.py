"""The mean of runs."""

import json

import numpy as np
import pytest

pytestmark = pytest.mark.train
keras = pytest.importorskip("keras")

from tiny_recipe import tiny_recipe

from calzoo.errors import CalzooError
from calzoo.training import averaging, recipes
from calzoo.training.runs import build_model, load_run
from calzoo.training.variables import save_weights


def write_run(folder, seed, **settings):
    """Write the folder of a run with random weights."""
    recipe = tiny_recipe(seed=seed, **settings)
    folder.mkdir()
    (folder / "recipe.json").write_text(recipes.to_json(recipe))
    (folder / "fingerprint.json").write_text(json.dumps({"simulation/confocal": "0"}))
    ledger = {"steps": 10 * seed, "best_score": 0.5, "best_epoch": 1, "versions": {"calzoo": "0"}}
    (folder / "ledger.json").write_text(json.dumps(ledger))
    keras.utils.set_random_seed(seed)
    model = recipe.build()
    for variable in model.weights:  # biases and averages of new networks are all the same
        if variable.ndim == 1:
            variable.assign(np.random.default_rng(seed).uniform(0.5, 1.5, variable.shape))
    save_weights(model, folder / "weights.safetensors")
    return folder


def test_the_mean_of_two_runs_is_a_run_with_the_mean_of_their_weights(tmp_path, capsys):
    runs = [write_run(tmp_path / name, seed) for name, seed in (("older", 1), ("newer", 2))]
    averaging.main([*map(str, runs), "-o", str(tmp_path / "mean")])
    assert capsys.readouterr().out.strip() == str(tmp_path / "mean")
    older, newer, mean = (build_model(load_run(r)).weights for r in (*runs, tmp_path / "mean"))
    assert {variable.ndim for variable in mean} == {1, 5}
    for a, b, m in zip(older, newer, mean, strict=True):
        one, other = np.asarray(a), np.asarray(b)
        assert not np.allclose(one, other)
        np.testing.assert_allclose(m, (one + other) / 2, rtol=1e-3, atol=1e-6, err_msg=m.path)
    run = load_run(tmp_path / "mean")
    assert run.recipe.seed == 2
    assert [(one["name"], one["steps"]) for one in run.ledger["averaged"]] == [("older", 10), ("newer", 20)]
    assert "best_score" not in run.ledger


def test_the_mean_has_seen_what_each_of_them_has(tmp_path):
    older, newer = (write_run(tmp_path / name, seed) for name, seed in (("older", 1), ("newer", 2)))
    (older / "fingerprint.json").write_text(json.dumps({"trailmap/trailmap": "1"}))
    for number, runs in enumerate(((older, newer), (newer, older))):
        mean = averaging.average_runs(runs, tmp_path / f"mean{number}")
        assert set(mean.sources) == {"simulation", "trailmap"}


def test_one_run_is_not_averaged(tmp_path):
    run = write_run(tmp_path / "one", 1)
    with pytest.raises(CalzooError, match="at least two runs to average, got 1"):
        averaging.average_runs([run], tmp_path / "mean")


def test_a_folder_that_is_there_is_left_alone(tmp_path):
    runs = [write_run(tmp_path / name, 1) for name in "ab"]
    with pytest.raises(CalzooError, match="exists; name a folder that does not"):
        averaging.average_runs(runs, runs[0])


def test_other_networks_are_refused_and_nothing_is_written(tmp_path):
    runs = [write_run(tmp_path / "a", 1), write_run(tmp_path / "b", 1, network__bottom=6)]
    with pytest.raises(CalzooError, match="only runs of one network can be averaged"):
        averaging.average_runs(runs, tmp_path / "mean")
    assert not (tmp_path / "mean").exists()
