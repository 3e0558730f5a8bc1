"""From a recipe to a released preset, by commands."""

import functools
import json
import shutil

import pytest

pytestmark = pytest.mark.train
keras = pytest.importorskip("keras")

from calzoo import cli
from calzoo.training import evaluate

SMALL = {
    "schedule.epochs": 1,
    "schedule.steps": 2,
    "schedule.batch": 1,
    "styles": {"lightsheet": 1.0},
    "pool": 2,
    "fresh": 1,
    "stack": [12, 64, 64],
    "tile": [4, 32, 32],
    "margin": [0, 0, 0],
    "validation_stack": [4, 32, 32],
    "validation_stacks": 1,
    "prediction_tile": [4, 32, 32],
    "network.filters": [2, 2, 2, 2],
    "network.bottom": 2,
}
SETTINGS = [f"--set={name}={json.dumps(value)}" for name, value in SMALL.items()]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of two steps."""
    folder = tmp_path_factory.mktemp("training") / "run"
    assert cli.main(["train", "axons", "-o", str(folder), *SETTINGS]) == 0
    return folder


def test_train_leaves_weights_curves_and_previews(run):
    names = {path.name for path in run.iterdir()}
    assert {"recipe.json", "weights.safetensors", "history.csv", "curves.png", "preview_0.png"} <= names


def test_the_same_command_finds_the_run_finished(run, capsys):
    before = (run / "weights.safetensors").stat().st_mtime_ns
    assert cli.main(["train", "axons", "-o", str(run)]) == 0
    assert capsys.readouterr().out == f"{run}\n"
    assert (run / "weights.safetensors").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("argv", "reason"),
    [
        (["axon"], "no recipe is called 'axon'; did you mean 'axons'"),
        (["axons", "--set", "schedule.epoch=3"], "has no setting 'schedule.epoch'; did you mean 'epochs'"),
        (["axons", "--set", "seed"], "expected FIELD=VALUE, such as schedule.epochs=20; got 'seed'"),
        (["axons", "--init", "whales", *SETTINGS], "no preset is called 'whales'"),
    ],
)
def test_a_training_that_cannot_begin_says_why_in_one_line(tmp_path, capsys, argv, reason):
    assert cli.main(["train", *argv, "-o", str(tmp_path / "run")]) == 1
    err = capsys.readouterr().err
    assert reason in err
    assert err.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_a_run_keeps_its_recipe(run, capsys):
    assert cli.main(["train", "axons", "-o", str(run), "--set", "seed=5"]) == 1
    assert "holds a run of another recipe" in capsys.readouterr().err


def test_evaluate_prints_the_scores_and_keeps_them(run, tmp_path, monkeypatch, capsys):
    scored = shutil.copytree(run, tmp_path / "run")
    small = functools.partial(evaluate.score_simulated, styles=("lightsheet",), seeds=(1,), shape=(4, 32, 32))
    monkeypatch.setattr(evaluate, "score_simulated", small)
    assert cli.main(["evaluate", str(scored)]) == 0
    out = capsys.readouterr().out
    assert "F1 axon" in out
    assert {score["metric"] for score in json.loads((scored / "scores.json").read_text())} >= {
        "F1 axon",
        "clDice",
    }


def test_evaluate_refuses_data_of_no_known_kind(run, tmp_path, capsys):
    assert cli.main(["evaluate", str(run), "--data", str(tmp_path)]) == 1
    assert "expected a folder with val_volume_partial.tif or volume.tif" in capsys.readouterr().err
