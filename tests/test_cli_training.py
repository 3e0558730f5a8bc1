"""From a recipe to a released preset, by commands."""

import functools
import json
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

pytestmark = pytest.mark.train
keras = pytest.importorskip("keras")

from calzoo import cli, export
from calzoo.commands._axons import onnx_segmenter
from calzoo.inference.axons import segment_axons
from calzoo.inference.models import load_model
from calzoo.simulation.axons import simulate_axons
from calzoo.training import axons_evaluate
from calzoo.training.runs import load_run

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


def score_few_stacks(monkeypatch):
    small = functools.partial(
        axons_evaluate.score_simulated, styles=("lightsheet",), seeds=(1,), shape=(8, 64, 64)
    )
    monkeypatch.setattr(axons_evaluate, "score_simulated", small)


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
        (["axons", "--data", "nowhere"], "nowhere: expected a volume and its labels"),
        (["axons", "--diameter", "5"], "the recipe 'axons' has no use for it. Leave it away."),
        (["axons", "--channel", "1"], "channel tells how --frames or --movie is to be read; this run"),
        (
            ["registration", "--data", "m", "--plane", "1"],
            "plane tells how --frames or --movie is to be read",
        ),
        (["axons", "--frames", "f.tif", "--table", "t.csv"], "give 'axons' its recordings with --data"),
        (["stimulus"], "trains on your own recording; give --frames FILE --table FILE"),
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
    small = functools.partial(
        axons_evaluate.score_simulated, styles=("lightsheet",), seeds=(1,), shape=(8, 64, 64)
    )
    monkeypatch.setattr(axons_evaluate, "score_simulated", small)
    assert cli.main(["evaluate", str(scored)]) == 0
    out = capsys.readouterr().out
    assert "F1 axon" in out
    assert {score["metric"] for score in json.loads((scored / "scores.json").read_text())} >= {
        "F1 axon",
        "clDice",
    }
    with Image.open(scored / "confusion_simulated_lightsheet.png") as picture:
        assert min(picture.size) > 200
        assert len(np.unique(np.asarray(picture.convert("L")))) > 20


def test_evaluate_refuses_data_of_no_known_kind(run, tmp_path, capsys):
    assert cli.main(["evaluate", str(run), "--data", str(tmp_path)]) == 1
    assert "expected a volume and its labels" in capsys.readouterr().err
    (tmp_path / "a.tif").touch()
    assert cli.main(["evaluate", str(run), "--data", str(tmp_path / "a.tif")]) == 1
    assert "expected a folder of labelled recordings, or a .py file; got neither" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["nope"], "no preset is called 'nope'"),
        (["."], "expected the folder of a run"),
        (["axons", "--data", "nope"], "--data nope: expected a folder .* got a path where nothing is"),
    ],
)
def test_evaluate_refuses_wrong_names_before_it_loads_keras(tmp_path, arguments, reason):
    code = "import sys; from calzoo import cli; cli.main(sys.argv[1:]); print('keras' in sys.modules)"
    command = [sys.executable, "-c", code, "evaluate", *arguments]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert re.search(reason, done.stderr)
    assert done.stdout.strip() == "False"


@pytest.fixture(scope="module")
def scored(run, tmp_path_factory):
    """The run with a made-up score."""
    folder = shutil.copytree(run, tmp_path_factory.mktemp("scored") / "run")
    score = {"data": "made up", "metric": "F1", "value": 0.5, "protocol": "none", "spread": None}
    (folder / "scores.json").write_text(json.dumps([score]))
    return folder


def test_export_writes_a_file_that_the_light_half_runs(scored, tmp_path, capsys):
    path = tmp_path / "axons.onnx"
    assert cli.main(["export", str(scored), "-o", str(path), "--name", "mine", "--no-timing"]) == 0
    assert capsys.readouterr().out.startswith(f"{path}  0.0 MB, differs from Keras by ")
    model = load_model(path, provider="cpu")
    card = model.card
    assert (card.name, card.recipe, card.scores[0].value) == ("mine", "axons", 0.5)
    segment, as_trained = onnx_segmenter(model), axons_evaluate.keras_segmenter(load_run(scored))
    volume = simulate_axons(1, (4, 32, 32), style="lightsheet").volume
    classes, expected = segment(volume)[0], as_trained(volume)[0]
    assert len(np.unique(expected)) > 1
    assert (classes == expected).mean() > 0.999


def test_export_wants_the_name_of_an_onnx_file(run, tmp_path, capsys):
    assert cli.main(["export", str(run), "-o", str(tmp_path / "axons")]) == 1
    assert "expected the name of an .onnx file" in capsys.readouterr().err


def test_export_refuses_a_folder_that_is_no_run(tmp_path, capsys):
    assert cli.main(["export", str(tmp_path), "-o", str(tmp_path / "axons.onnx")]) == 1
    assert "expected the folder of a run (with recipe.json)" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_released_run_is_scored_and_becomes_a_preset_that_segments(
    run, registry, tmp_path, monkeypatch, capsys, rng
):
    unscored = shutil.copytree(run, tmp_path / "run")
    small = functools.partial(
        axons_evaluate.score_simulated, styles=("lightsheet",), seeds=(1,), shape=(8, 64, 64)
    )
    monkeypatch.setattr(axons_evaluate, "score_simulated", small)
    monkeypatch.setattr("calzoo.export.export_run", functools.partial(export.export_run, timing=False))
    (registry.FOLDER.parent / "setup.cfg").touch()
    assert cli.main(["release", str(unscored), "--preset", "tiny-axons"]) == 0
    assert "tiny-axons.onnx" in capsys.readouterr().out
    network = registry.preset("tiny-axons").network()
    assert network.builder == "calzoo.networks.unet3d:unet3d"
    assert {"F1 axon", "clDice"} <= {score.metric for score in network.scores}
    with np.load(registry.resolve("tiny-axons", kind="golden")) as golden:
        assert golden["image"].dtype == golden["probability"].dtype == np.float32
    result = segment_axons(rng.random((4, 32, 32), np.float32), preset="tiny-axons", provider="cpu")
    assert result.semantic.shape == (4, 32, 32)
    assert cli.main(["release", str(unscored), "--preset", "tiny-axons"]) == 1
    assert "has a network of role 'model' already" in capsys.readouterr().err


def test_a_release_that_needs_terms_says_so_before_the_work(run, registry, tmp_path, monkeypatch, capsys):
    (registry.FOLDER.parent / "setup.cfg").touch()
    mine = shutil.copytree(run, tmp_path / "run")
    (mine / "init.json").write_text(json.dumps({"sources": ["own"]}))
    monkeypatch.delattr(axons_evaluate, "score_simulated")
    assert cli.main(["release", str(mine), "--preset", "tiny-axons"]) == 1
    assert "licence is 'of their owner'" in capsys.readouterr().err
