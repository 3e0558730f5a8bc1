import csv
import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import replace

import numpy as np
import pytest

pytestmark = pytest.mark.train
keras = pytest.importorskip("keras")

from safetensors.numpy import save_file
from tiny_recipe import SETTINGS, tiny_recipe

from calzoo.errors import CalzooError
from calzoo.training import recipes, trainer
from calzoo.training.averaging import average_runs
from calzoo.training.axons_data import AxonData
from calzoo.training.checkpoints import has_checkpoint, read_json, save_checkpoint, write_json
from calzoo.training.first_weights import located, sources_of
from calzoo.training.runs import build_model, load_run, save_scores
from calzoo.training.schedule import Schedule
from calzoo.training.trainer import train
from calzoo.training.variables import as_averaged, read_arrays, values_of
from calzoo.weights.card import Score
from calzoo.weights.registry import resolve


class PowerCut(Exception):
    """Stands for a kill: nothing catches it, nothing is saved on the way out."""


def newest(run):
    """Return the folder of the newest checkpoint of a run."""
    return max(
        (run / "checkpoint-a", run / "checkpoint-b"), key=lambda g: read_json(g / "state.json")["step"]
    )


def final_arrays(run):
    """Return every array of the newest checkpoint of a run."""
    return {
        f"{name}:{path}": array
        for name in ("model", "optimizer")
        for path, array in read_arrays(newest(run) / f"{name}.safetensors").items()
    }


def assert_same_run(one, other):
    first, second = final_arrays(one), final_arrays(other)
    assert first.keys() == second.keys()
    for name, array in first.items():
        np.testing.assert_array_equal(array, second[name], err_msg=name)
    assert (one / "history.csv").read_text() == (other / "history.csv").read_text()
    best, again = (read_arrays(run / "weights.safetensors") for run in (one, other))
    for name, array in best.items():
        np.testing.assert_array_equal(array, again[name], err_msg=name)


def last_steps(run):
    """Return the steps of the last session of a run: a run that begins anew ends as one that goes on does."""
    return read_json(run / "ledger.json")["sessions"][-1]["steps"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Return the folder of a run that was never stopped."""
    run = tmp_path_factory.mktemp("whole") / "run"
    progress = train(tiny_recipe(), run, quiet=True)
    assert progress.step == 9
    return run


def test_a_run_leaves_all_its_files(whole):
    names = {path.name for path in whole.iterdir()}
    assert names >= {
        "recipe.json", "fingerprint.json", "history.csv", "curves.png", "preview_0.png",
        "weights.safetensors", "ledger.json", "checkpoint-a", "checkpoint-b",
    }  # fmt: skip
    assert not [name for name in names if name.endswith(".part")]


def test_history_has_one_line_per_epoch_with_loss_and_scores(whole):
    with open(whole / "history.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert [row["step"] for row in rows] == ["3", "6", "9"]
    assert all(float(row["loss"]) > 0 and 0 <= float(row["score"]) <= 1 for row in rows)


def test_the_ledger_counts_steps_samples_and_voxels(whole):
    ledger = read_json(whole / "ledger.json")
    assert (ledger["steps"], ledger["samples"], ledger["voxels"]) == (9, 18, 18 * 4 * 16 * 16)
    assert ledger["seconds"] > 0
    assert ledger["backend"] == keras.backend.backend()
    assert ledger["versions"]["keras"] == keras.__version__


def test_the_kept_weights_are_those_of_the_best_score(whole, tmp_path):
    run = load_run(whole)
    data = AxonData(run.recipe, [])
    again = run.recipe.score(build_model(run), data)[0]
    data.close()
    with open(whole / "history.csv", newline="") as file:
        best = max(float(row["score"]) for row in csv.DictReader(file))
    assert again["score"] == pytest.approx(best, abs=1e-6)


def test_a_finished_run_is_not_trained_again(whole):
    before = final_arrays(whole)
    assert train(tiny_recipe(), whole, quiet=True).step == 9
    after = final_arrays(whole)
    assert all(np.array_equal(before[name], after[name]) for name in before)
    assert last_steps(whole) == 0


def train_until(recipe, run, moment, monkeypatch):
    """Train until the process dies in a step: `moment` is (epoch, step)."""
    batch = AxonData.batch

    def failing(self, epoch, step):
        if (epoch, step) == moment:
            raise PowerCut
        return batch(self, epoch, step)

    with monkeypatch.context() as patch:
        patch.setattr(AxonData, "batch", failing)
        with pytest.raises(PowerCut):
            train(recipe, run, quiet=True)


def test_a_run_that_died_in_a_step_ends_as_if_it_had_not(whole, tmp_path, monkeypatch):
    run = tmp_path / "run"
    train_until(tiny_recipe(), run, (1, 1), monkeypatch)
    train(tiny_recipe(), run, quiet=True)
    assert_same_run(whole, run)
    assert last_steps(run) == 6


def test_a_run_that_died_while_it_wrote_a_checkpoint_goes_on_from_the_other(whole, tmp_path, monkeypatch):
    run = tmp_path / "run"

    def broken(folder, model, state):
        if state["step"] == 6:
            part = run / "checkpoint-b.part"
            part.mkdir()
            (part / "model.safetensors").write_bytes(b"half")
            raise PowerCut
        save_checkpoint(folder, model, state)

    with monkeypatch.context() as patch:
        patch.setattr("calzoo.training.trainer.save_checkpoint", broken)
        with pytest.raises(PowerCut):
            train(tiny_recipe(), run, quiet=True)
    train(tiny_recipe(), run, quiet=True)
    assert_same_run(whole, run)
    assert last_steps(run) == 6


def test_a_damaged_generation_gives_way_to_the_older_one(whole, tmp_path):
    run = shutil.copytree(whole, tmp_path / "run")
    damaged = newest(run) / "model.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:100])
    assert train(tiny_recipe(), run, quiet=True).step == 9
    assert_same_run(whole, run)
    assert last_steps(run) == 3


def test_a_run_without_any_whole_checkpoint_says_so(whole, tmp_path):
    run = shutil.copytree(whole, tmp_path / "run")
    for generation in ("checkpoint-a", "checkpoint-b"):
        (run / generation / "optimizer.safetensors").write_bytes(b"nothing")
    with pytest.raises(CalzooError, match=r"no checkpoint of .* can be used: .*optimizer\.safetensors"):
        train(tiny_recipe(), run, quiet=True)


@pytest.mark.skipif(sys.platform == "win32", reason="SIGTERM cannot be sent to a thread's own process there")
def test_sigterm_saves_in_the_middle_of_an_epoch_and_the_rest_is_the_same(whole, tmp_path, monkeypatch):
    run = tmp_path / "run"
    batch = AxonData.batch

    def terminated(self, epoch, step):
        if (epoch, step) == (1, 1):
            os.kill(os.getpid(), signal.SIGTERM)
        return batch(self, epoch, step)

    with monkeypatch.context() as patch:
        patch.setattr(AxonData, "batch", terminated)
        progress = train(tiny_recipe(), run, quiet=True)
    done = progress.step
    assert 3 < done < 6
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    train(tiny_recipe(), run, quiet=True)
    assert_same_run(whole, run)
    assert last_steps(run) == 9 - done


SCRIPT = """
    import sys
    from calzoo.training.trainer import train
    from tiny_recipe import tiny_recipe
    recipe = tiny_recipe(schedule__deterministic=True, schedule__epochs=4, schedule__frozen_norm=0.5)
    train(recipe, sys.argv[1], quiet=True)
"""


def start(run):
    command = [sys.executable, "-c", textwrap.dedent(SCRIPT), str(run)]
    return subprocess.Popen(command, env={**os.environ, "PYTHONPATH": "tests", "TF_CPP_MIN_LOG_LEVEL": "3"})


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL there")
def test_after_sigkill_the_resumed_run_gives_the_same_weights_to_the_last_bit(
    tmp_path, pytestconfig, monkeypatch
):
    monkeypatch.chdir(pytestconfig.rootpath)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    process = start(killed)
    deadline = time.monotonic() + 120
    while not any(killed.glob("checkpoint-?")) and time.monotonic() < deadline:
        assert process.poll() is None
        time.sleep(0.02)
    assert (killed / "history.csv").exists()
    process.kill()
    assert process.wait() == -signal.SIGKILL
    both = [start(killed), start(whole)]
    assert [process.wait() for process in both] == [0, 0]
    assert_same_run(whole, killed)
    assert read_json(newest(killed) / "state.json")["step"] == 12
    assert last_steps(killed) < 12


def test_another_recipe_in_the_same_folder_is_refused(whole):
    with pytest.raises(CalzooError, match="holds a run of another recipe"):
        train(tiny_recipe(seed=7), whole, quiet=True)


def test_other_data_than_the_run_began_with_are_refused(whole, monkeypatch):
    fingerprint = AxonData.fingerprint
    monkeypatch.setattr(AxonData, "fingerprint", lambda self: fingerprint(self) | {"own/new": {}})
    with pytest.raises(CalzooError, match=r"data are not those .* \(own/new changed"):
        train(tiny_recipe(), whole, quiet=True)


def test_a_run_whose_recipe_was_given_lists_goes_on(tmp_path):
    recipe = replace(tiny_recipe(schedule__epochs=1), network=SETTINGS["network"])
    for _ in range(2):
        assert train(recipe, tmp_path / "run", quiet=True).step == 3


def test_the_mean_of_runs_does_not_go_on(whole, tmp_path):
    average_runs([whole, whole], tmp_path / "mean")
    with pytest.raises(CalzooError, match=r"is the mean of other runs; give a new folder.*--init"):
        train(tiny_recipe(), tmp_path / "mean", quiet=True)


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path, monkeypatch):
    batch = AxonData.batch

    def hot(self, epoch, step):
        x, y = batch(self, epoch, step)
        return x * np.float32("nan"), y

    monkeypatch.setattr(AxonData, "batch", hot)
    with pytest.raises(CalzooError, match="the loss of step 0 is nan; lower the learning rate"):
        train(tiny_recipe(), tmp_path / "run", quiet=True)


def test_in_half_precision_a_loss_that_is_not_finite_may_be_of_the_precision(tmp_path, monkeypatch):
    monkeypatch.setattr(trainer, "_single_step", lambda model: lambda x, y: float("inf"))
    recipe = tiny_recipe(schedule__precision="mixed_bfloat16")
    with pytest.raises(CalzooError, match=r"is inf; set schedule\.precision=float32 or lower the learning"):
        train(recipe, tmp_path / "run", quiet=True)


def test_a_step_that_spoils_weights_stops_the_run_before_they_are_kept(tmp_path, monkeypatch):
    def spoiling(model):
        def step(x, y):
            model.trainable_variables[0].assign(model.trainable_variables[0] * np.float32("nan"))
            return 1.0

        return step

    monkeypatch.setattr(trainer, "_single_step", spoiling)
    with pytest.raises(CalzooError, match=r"step \d+ made \d+ variables NaN .*lower the learning rate"):
        train(tiny_recipe(), tmp_path / "run", quiet=True)
    assert not (tmp_path / "run" / "weights.safetensors").exists()
    assert not has_checkpoint(tmp_path / "run")


def test_training_lowers_the_loss(tmp_path):
    progress = train(
        tiny_recipe(
            schedule__epochs=4, schedule__steps=12, schedule__learning_rate=0.01, schedule__score_every=4
        ),
        tmp_path / "run",
        quiet=True,
    )
    losses = [row["loss"] for row in progress.history]
    assert losses[-1] < 0.9 * losses[0]


@pytest.mark.parametrize("place", ["", "weights.safetensors"])
def test_a_run_starts_from_given_weights(whole, tmp_path, place):
    recipe = tiny_recipe(schedule__epochs=1, schedule__steps=1, schedule__learning_rate=1e-30, seed=3)
    train(recipe, tmp_path / "run", init=str(whole / place), quiet=True)
    assert read_json(tmp_path / "run" / "init.json")["name"] == (whole / place).name
    given, kept = (read_arrays(run / "weights.safetensors") for run in (whole, tmp_path / "run"))
    for path, array in given.items():
        if "moving" not in path:  # running averages follow the data at any learning rate
            np.testing.assert_allclose(kept[path], array, rtol=1e-6, atol=1e-7, err_msg=path)


def test_weights_to_start_from_are_a_file_a_run_or_a_preset(whole, registry):
    file = whole / "weights.safetensors"
    assert [located(str(path), "model") for path in (file, whole)] == [file, whole]
    assert located("dots", "model") == registry.resolve("dots", kind="safetensors")


@pytest.mark.usefixtures("checkout_is_the_cache")
def test_weights_of_a_preset_of_two_networks_are_those_of_the_role():
    assert located("cells-2p", "instance") == resolve("cells-2p", "instance", kind="safetensors")


@pytest.mark.parametrize(
    ("name", "init", "reason"),
    [
        ("axons", "axon", "no preset is called 'axon'; did you mean 'axons'?"),
        (
            "cells-instance",
            "axons",
            "preset 'axons', which is for the task 'axons', has the roles model; got 'instance'.",
        ),
    ],
)
def test_no_run_begins_where_there_is_nothing_to_start_from(tmp_path, name, init, reason):
    with pytest.raises(CalzooError, match=re.escape(reason)):
        train(recipes.recipe(name), tmp_path / "run", init=init)
    assert not (tmp_path / "run").exists()


def test_weights_that_fit_in_part_are_named_and_refused_below_half(whole, tmp_path):
    arrays = read_arrays(whole / "weights.safetensors")
    names = sorted(arrays)
    save_file({name: arrays[name] for name in names[1:]}, tmp_path / "most.safetensors")
    with pytest.warns(UserWarning, match=rf"1 of the {len(names)} variables .* begin at random"):
        train(tiny_recipe(), tmp_path / "run", init=tmp_path / "most.safetensors", quiet=True)
    save_file({names[0]: arrays[names[0]]}, tmp_path / "one.safetensors")
    with pytest.raises(CalzooError, match=f"{len(names) - 1} of the {len(names)} variables .* the same kind"):
        train(tiny_recipe(), tmp_path / "other", init=tmp_path / "one.safetensors", quiet=True)
    assert not (tmp_path / "other").exists()


def test_a_run_remembers_what_its_first_weights_have_seen(whole, tmp_path):
    before = tmp_path / "before"
    shutil.copytree(whole, before)
    write_json(before / "fingerprint.json", {"trailmap/train": {}})
    short = tiny_recipe(schedule__epochs=1, schedule__steps=1)
    train(short, tmp_path / "run", init=before, quiet=True)
    assert load_run(tmp_path / "run").sources == ("simulation", "trailmap")
    train(short, tmp_path / "next", init=tmp_path / "run", quiet=True)
    assert "trailmap" in load_run(tmp_path / "next").sources


@pytest.mark.parametrize(
    ("name", "sources"),
    [("cells-2p-research-proposal.safetensors", ["simulation", "abo", "neurofinder"]), ("x.safetensors", [])],
)
def test_weights_for_research_hand_their_terms_on(tmp_path, name, sources):
    (tmp_path / name).touch()
    assert sources_of(tmp_path / name, recipes.recipe("cells-proposal"), "proposal") == sources


def test_a_preset_hands_on_what_it_was_trained_on():
    assert sources_of("axons", recipes.recipe("axons"), "model") == ["simulation", "trailmap", "dlmbmap"]
    assert sources_of("cells-2p", recipes.recipe("cells-instance"), "instance") == ["simulation"]


def test_the_weights_of_a_run_hand_on_what_it_has_seen(tmp_path):
    train(tiny_recipe(), tmp_path / "run", quiet=True)
    assert sources_of(tmp_path / "run" / "weights.safetensors", tiny_recipe(), "model") == ["simulation"]


def test_a_seed_is_a_count(tmp_path):
    with pytest.raises(CalzooError, match="seed must be 0 or more, got -1"):
        train(tiny_recipe(seed=-1), tmp_path / "run", quiet=True)


def test_weights_that_do_not_fit_leave_no_run(tmp_path):
    save_file({"whale": np.zeros(1, np.float32)}, tmp_path / "other.safetensors")
    with pytest.raises(CalzooError, match=r"no variable of .* fits \(whale"):
        train(tiny_recipe(), tmp_path / "run", init=tmp_path / "other.safetensors", quiet=True)
    assert not (tmp_path / "run").exists()


def test_once_normalisation_is_frozen_its_running_averages_stay(tmp_path, monkeypatch):
    recipe = tiny_recipe(schedule__frozen_norm=0.7)
    assert recipe.schedule.frozen_from == 1
    moving = []
    monkeypatch.setattr(
        "calzoo.training.trainer.save_checkpoint",
        lambda run, model, state: moving.append([v.numpy() for v in model.non_trainable_variables]),
    )
    train(recipe, tmp_path / "run", quiet=True)
    first, second, third = (np.concatenate([v.ravel() for v in values]) for values in moving)
    assert np.ptp(first) > 1
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(second, third)


def test_a_run_with_dropout_goes_on_with_the_same_draws(tmp_path, monkeypatch):
    """Keras numbers random generators over the process, and frozen normalisation needs a second network."""
    network = {"filters": [2, 4], "bottom": 4, "pool": [[1, 2, 2], [2, 2, 2]], "dropout": [0.3] * 5}
    recipe = tiny_recipe(network=network, schedule__frozen_norm=0.7)
    train(recipe, tmp_path / "whole", quiet=True)
    train_until(recipe, tmp_path / "run", (2, 1), monkeypatch)
    train(recipe, tmp_path / "run", quiet=True)
    assert_same_run(tmp_path / "whole", tmp_path / "run")
    assert last_steps(tmp_path / "run") == 3


def test_scores_go_with_the_weights_that_they_were_measured_on(tmp_path, monkeypatch):
    monkeypatch.setattr("calzoo.training.recipes.axons.AxonsRecipe.score", lambda self, model, data: ({}, []))
    run = tmp_path / "run"
    train_until(tiny_recipe(), run, (1, 0), monkeypatch)
    score = Score(data="d", metric="m", value=0.5, protocol="p")
    save_scores(load_run(run), [score])
    assert load_run(run).scores == (score,)
    train(tiny_recipe(), run, quiet=True)
    assert load_run(run).scores == ()


def test_a_run_that_died_before_its_first_checkpoint_needs_its_first_weights_again(tmp_path):
    write_json(tmp_path / "init.json", {"name": "base", "sha256": ""})
    with pytest.raises(CalzooError, match=r"the weights of 'base', but was stopped .* give --init again"):
        train(tiny_recipe(), tmp_path, quiet=True)


def test_a_run_goes_on_from_no_other_weights(whole, tmp_path):
    run = shutil.copytree(whole, tmp_path / "run")
    with pytest.raises(
        CalzooError, match=r"began from 'random weights', not from 'whole'; leave --init away"
    ):
        train(tiny_recipe(), run, init=shutil.copytree(whole, tmp_path / "whole"), quiet=True)


def test_the_running_average_is_kept_where_the_loss_is_scaled():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    model.compile(keras.optimizers.LossScaleOptimizer(Schedule(average=0.9).optimizer()), "mse")
    for _ in range(3):
        model.train_on_batch(np.ones((4, 3), np.float32), np.ones((4, 2), np.float32))
    last = values_of(model.trainable_variables)
    with as_averaged(model):
        mean = values_of(model.trainable_variables)
    assert not np.allclose(last[0], mean[0])
    np.testing.assert_array_equal(values_of(model.trainable_variables)[0], last[0])


def test_without_validation_data_the_last_weights_are_kept(tmp_path, monkeypatch):
    monkeypatch.setattr("calzoo.training.recipes.axons.AxonsRecipe.score", lambda self, model, data: ({}, []))
    train(tiny_recipe(schedule__average=0.0), tmp_path / "run", quiet=True)
    last, kept = final_arrays(tmp_path / "run"), read_arrays(tmp_path / "run" / "weights.safetensors")
    for path, array in kept.items():
        np.testing.assert_array_equal(array, last[f"model:{path}"].astype(array.dtype), err_msg=path)


@pytest.mark.parametrize(
    ("missing", "reason"),
    [("recipe.json", "expected the folder of a run"), ("weights.safetensors", "no weights yet")],
)
def test_a_folder_that_is_no_finished_run_is_refused(tmp_path, missing, reason):
    for name in ("recipe.json", "weights.safetensors"):
        (tmp_path / name).write_text("{}")
    (tmp_path / missing).unlink()
    with pytest.raises(CalzooError, match=reason):
        load_run(tmp_path)
