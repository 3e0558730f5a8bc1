"""The stimulus recipes: what they train on, what they keep apart, and what comes out."""

import dataclasses
import json
import shutil

import numpy as np
import pytest

pytestmark = pytest.mark.train
keras = pytest.importorskip("keras")

from calzoo import cli
from calzoo.errors import CalzooError
from calzoo.imaging.rest import scaled
from calzoo.simulation.stimulus import simulate_stimulus
from calzoo.simulation.stimulus_files import write_stimulation
from calzoo.training import recipes
from calzoo.training.runs import build_model, load_run
from calzoo.training.stimulus_data import _fingerprint
from calzoo.training.stimulus_evaluate import (
    logistic_regression,
    recordings_of,
    roi_means,
    score_stimulus,
)
from calzoo.training.stimulus_losses import stimulus_loss
from calzoo.training.trainer import train

FIELD = {"cells": 4, "groups": 2, "bystanders": 2, "trials": 4, "size": 48}
TINY = {
    "schedule.epochs": 1,
    "schedule.steps": 2,
    "schedule.batch": 4,
    "schedule.deterministic": False,
    "schedule.warmup": 1,
    "schedule.score_every": 1,
}
NETWORK = {"cells": 4, "filters": [2, 3], "hidden": [8], "grid": 4}


@pytest.fixture(autouse=True)
def forget_networks():
    yield
    keras.backend.clear_session()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("field")
    write_stimulation(path, simulate_stimulus(3, **FIELD))
    return path


def tiny(name="stimulus", **settings):
    changes = TINY | {"network": NETWORK} | {k.replace("__", "."): v for k, v in settings.items()}
    return recipes.changed(recipes.recipe(name), changes)


def test_the_last_trials_are_never_trained_on(folder):
    data = tiny().data([folder])
    trials = data.prepared[0].stimuli.trial
    assert {int(trials[r]) for _, r in data.test} == {3, 4}
    assert {int(trials[r]) for _, r in data._with + data._without} == {1, 2}


def test_a_batch_is_a_function_of_seed_epoch_and_step(folder):
    recipe = tiny()
    first, second = recipe.data([folder]), recipe.data([folder])
    for a, b in zip(first.batch(2, 1), second.batch(2, 1), strict=True):
        np.testing.assert_array_equal(a, b)
    assert (first.batch(2, 2)[0] != first.batch(2, 1)[0]).any()
    x, y = first.batch(0, 0)
    assert x.shape == (4, 48, 48, 2)
    assert y.shape == (4, 5)
    assert x.dtype == y.dtype == np.float32


def test_as_many_samples_without_stimulus_as_asked_for(folder):
    data = tiny(none_share=0.5, schedule__batch=400).data([folder])
    assert data.batch(0, 0)[1][:, -1].mean() == pytest.approx(0.5, abs=0.08)


def test_targets_name_the_stimulated_cells(folder):
    data = tiny().data([folder])
    _, targets = data.samples(data.test)
    assert (targets.sum(axis=1) >= 1).all()
    for (_, row), target in zip(data.test, targets, strict=True):
        cells = data.prepared[0].stimuli.conditions[data.prepared[0].stimuli.condition[row]]
        assert [k + 1 for k in np.flatnonzero(target[:-1])] == list(cells)
        assert target[-1] == (not cells)


def test_without_variation_a_sample_is_the_frame(folder):
    data = tiny(amplitude=[1.0, 1.0], shift_px=0).data([folder])
    prepared = data.prepared[0]
    x, _ = prepared.varied(np.random.default_rng(0), 7)
    np.testing.assert_allclose(x[..., 0], scaled(prepared.frames[7:8])[0], atol=1e-5)
    np.testing.assert_array_equal(x[..., 1], prepared.rest)
    np.testing.assert_allclose(prepared.sample(7)[0], x, atol=1e-5)


def test_fainter_answers_keep_their_noise(folder):
    """The spread of pixels that do not answer is that of the recording, whatever the amplitude."""
    prepared = tiny(amplitude=[0.5, 0.5], shift_px=0).data([folder]).prepared[0]
    none = int(np.flatnonzero(~prepared.any)[0])
    plain = prepared.sample(none)[0][..., 0] - prepared.rest
    faint = prepared.varied(np.random.default_rng(0), none)[0][..., 0] - prepared.rest
    assert faint.std() == pytest.approx(plain.std(), rel=0.1)
    some = int(np.flatnonzero(prepared.targets[:, 0] > 0)[0])
    change = [
        np.mean([x[..., 0][prepared_mask] - prepared.rest[prepared_mask] for x in xs])
        for prepared_mask in [read_cell(folder, 0)]
        for xs in (
            [prepared.sample(some)[0]],
            [prepared.varied(np.random.default_rng(s), some)[0] for s in range(20)],
        )
    ]
    assert change[1] == pytest.approx(0.5 * change[0], rel=0.15)


def read_cell(folder, number):
    from calzoo.imaging.masks import read_masks

    return read_masks(folder / "masks.npz").stack()[number]


def test_shifts_move_frames_and_rest_together(folder):
    data = tiny(amplitude=[1.0, 1.0], shift_px=3).data([folder])
    prepared = data.prepared[0]
    plain = prepared.sample(0)[0]
    moved = prepared.varied(np.random.default_rng(5), 0)[0]
    inside = np.s_[8:-8, 8:-8]
    fits = [
        (dy, dx)
        for dy in range(-3, 4)
        for dx in range(-3, 4)
        if np.allclose(moved[inside], np.roll(plain, (dy, dx), (0, 1))[inside], atol=1e-5)
    ]
    assert len(fits) == 1


def test_five_frames_come_together(folder):
    data = tiny("stimulus-temporal", network=NETWORK | {"frames": 5}).data([folder])
    assert data.batch(0, 0)[0].shape == (4, 48, 48, 6)
    offsets = data.prepared[0].stimuli.offset
    assert all(offsets[r] == 1 for _, r in data.test)


def test_published_networks_see_intensities_as_the_authors_changed_them(folder):
    recipe = recipes.recipe("stimulus-seed").fitted([folder])
    assert recipe.network["shape"] == (48, 48)
    assert recipe.network["cells"] == 4
    recipe = recipes.changed(recipe, TINY | {"network": {**recipe.network, "filters": (2,), "hidden": (3,)}})
    data = recipe.data([folder])
    plain, _ = data.samples(data.test[:8])
    assert plain.shape == (8, 48, 48, 1)
    assert plain.min() >= 0
    assert 200 < plain.max() <= 255
    varied = np.stack([data.prepared[0].varied(np.random.default_rng(s), 0)[0] for s in range(20)])
    means = varied.mean(axis=(1, 2, 3))
    assert means.std() > 0.2 * means.mean()
    assert varied.min() >= 0
    assert varied.max() <= 255


def test_masked_frames_show_the_stimulated_cells_alone(folder):
    data = tiny(masked=True).data([folder])
    x, _ = data.batch(0, 0)
    outside = ~read_stack(folder)[:4].any(axis=0)
    sample = data.prepared[0].sample(0)[0]
    assert not sample[outside].any()
    assert sample[~outside].all()
    assert (x == 0).mean() > 0.5


def read_stack(folder):
    from calzoo.imaging.masks import read_masks

    return read_masks(folder / "masks.npz").stack()


def test_the_data_say_how_many_cells_and_how_much_noise(folder):
    recipe = recipes.recipe("stimulus").fitted([folder])
    assert recipe.network["cells"] == 4
    assert 1 < recipe.network["gain"] < 20


def test_loss_is_the_mean_cross_entropy_of_all_logits(rng):
    logits = rng.normal(size=(3, 5)).astype(np.float32)
    truth = (rng.random((3, 5)) < 0.4).astype(np.float32)
    p = 1 / (1 + np.exp(-logits))
    expected = -(truth * np.log(p) + (1 - truth) * np.log(1 - p)).mean(axis=1)
    np.testing.assert_allclose(stimulus_loss(truth, logits), expected, atol=1e-5)


def test_what_cannot_be_trained_on_is_refused(folder, tmp_path):
    with pytest.raises(CalzooError, match="trains on your own recording; give --frames FILE --table FILE"):
        tiny().data()
    with pytest.raises(
        CalzooError, match=r"found no recording\. Give them these names.*'calzoo simulate stimulus"
    ):
        tiny().data([tmp_path])
    with pytest.raises(CalzooError, match="at least 5 trials, two to train on and 3 to test on, got 4"):
        tiny(test_trials=3).data([folder])
    with pytest.raises(CalzooError, match="stimulates cell 4, but cells are numbered 1 to 3"):
        tiny(network=NETWORK | {"cells": 3}).data([folder])
    np.save(tmp_path / "frames.npy", np.zeros((3, 8, 8), np.uint8))
    with pytest.raises(CalzooError, match="found no table"):
        tiny().data([tmp_path])
    (tmp_path / "labels.csv").write_text("cells,trial,offset\n1,1,1\n1,2,1\n2,3,1\n")
    with pytest.raises(CalzooError, match=r"there is no masks\.npz"):
        tiny(masked=True, test_trials=1).data([tmp_path])
    with pytest.raises(CalzooError, match="recordings of one field, got frames of"):
        tiny(test_trials=1).data([folder, tmp_path])


@pytest.mark.parametrize("settings", [{"after": 3}, {"network": NETWORK | {"frames": 7}}])
def test_more_frames_than_follow_a_stimulus_are_refused(folder, settings):
    settings = {"network": NETWORK | {"frames": 5}} | settings
    frames, after = settings["network"]["frames"], settings.get("after", 5)
    with pytest.raises(
        CalzooError, match=rf"followed by {frames} frames \('after' is {after}\), got none to train on"
    ):
        tiny("stimulus-temporal", **settings).data([folder])


def test_recordings_of_one_name_have_fingerprints_of_their_own(folder, tmp_path):
    for place in "ab":
        shutil.copytree(folder, tmp_path / place / "rec")
    prints = tiny().data([tmp_path / place / "rec" for place in "ab"]).fingerprint()
    assert list(prints) == ["own/rec", "own/rec (2)"]
    assert prints["own/rec"] == prints["own/rec (2)"]


@pytest.mark.parametrize("column", ["trial", "frames", "offset", "event"])
def test_another_table_is_another_fingerprint(folder, column):
    (recording,) = tiny().data([folder]).recordings
    changed = dataclasses.replace(recording.stimuli, **{column: getattr(recording.stimuli, column)[::-1]})
    before, after = (
        _fingerprint(one) for one in (recording, dataclasses.replace(recording, stimuli=changed))
    )
    assert before != after
    masks = np.ones((2, *recording.frames.shape[1:]), bool)
    assert _fingerprint(dataclasses.replace(recording, masks=masks)) != before


def test_trials_that_number_all_stimuli_are_refused(folder, tmp_path):
    # Conditions repeat, but no trial number does: the last two trials would test two stimuli alone.
    np.save(tmp_path / "frames.npy", np.zeros((30, 8, 8), np.uint8))
    table = tmp_path / "labels.csv"

    def write(trial):
        rows = [f"{k % 3 + 1},{trial(k)},{offset}" for k in range(15) for offset in (1, 2)]
        table.write_text("\n".join(["cells,trial,offset", *rows]))

    write(lambda k: k + 1)
    with pytest.raises(CalzooError, match=r"half of the 3 conditions in the last 1 trials, .* got 1"):
        tiny(test_trials=1).data([tmp_path])
    write(lambda k: k // 3 + 1)
    assert tiny(test_trials=1).data([tmp_path]).test


def test_a_run_goes_from_frames_to_an_onnx_file(folder, tmp_path, capsys):
    pytest.importorskip("onnx")
    if keras.backend.backend() != "tensorflow":
        pytest.skip("export goes by way of TensorFlow")
    run, path = tmp_path / "run", tmp_path / "network.onnx"
    options = [f"--set={name}={json.dumps(value)}" for name, value in TINY.items()]
    options += [f"--set=network={json.dumps(NETWORK)}", "--set=test_trials=1"]
    files = ["--frames", str(folder / "frames.tif"), "--table", str(folder / "stimuli.csv")]
    assert cli.main(["train", "stimulus", *files, *options, "-o", str(run)]) == 0
    rows = (run / "history.csv").read_text().splitlines()
    assert "macro_f1" in rows[0]
    assert cli.main(["export", str(run), "-o", str(path), "--no-timing"]) == 0
    from calzoo.inference.stimulus import StimulusNetwork, decode_stimuli

    recipe, model = load_run(run).recipe, build_model(load_run(run))
    data = recipe.data([folder])
    stimuli, frames = data.prepared[0].stimuli, data.prepared[0].frames
    result = decode_stimuli(frames, stimuli=stimuli, model=path)
    test = [r for _, r in data.test]
    np.testing.assert_allclose(result.logits[test], recipe.predict(model, data, data.test), atol=1e-3)
    x, y = data.samples(data.test[:3])
    cams = recipe.graph(model)([x, np.zeros_like(y)])[1]
    np.testing.assert_allclose(result.cams[test[:3]], cams, atol=1e-3)
    card = StimulusNetwork.load(path).card
    assert card.builder == "calzoo.networks.gradcam:stimulus_cam"
    assert card.inputs[0].channels == ("frame", "rest")
    assert card.outputs[0].channels == ("cell 1", "cell 2", "cell 3", "cell 4", "none")
    assert card.postprocessing["test_trials"] == 1
    for network in (path, run):
        assert cli.main(["evaluate", str(network), "--data", str(folder)]) == 0
        assert "last 1 trials" in capsys.readouterr().out


def test_a_channel_of_the_frames_is_trained_on(folder, tmp_path):
    from calzoo.imaging.movies import open_movie

    with open_movie(folder / "frames.tif") as movie:
        frames = movie.frames(0, len(movie))
    np.save(tmp_path / "two.npy", np.stack([np.zeros_like(frames), frames], axis=1))
    reading = {"axes": "tcyx", "channel": "1"}
    data = tiny().data([(tmp_path / "two.npy", folder / "stimuli.csv", None, reading)])
    np.testing.assert_array_equal(data.recordings[0].frames, frames)
    with pytest.raises(CalzooError, match=r"choose one with --channel \(0 to 1\)"):
        tiny().data([(tmp_path / "two.npy", folder / "stimuli.csv", None, {"axes": "tcyx"})])


def test_a_masked_file_is_scored_with_the_masks_of_the_recording(folder, tmp_path):
    from pathlib import Path

    from calzoo.commands._stimulus import score_file
    from calzoo.inference.models import load_model

    model = load_model(Path(__file__).parent / "models" / "stimulus.onnx", provider="cpu")
    post = {**model.card.postprocessing, "masked": True}
    model.card = dataclasses.replace(model.card, postprocessing=post)
    write_stimulation(tmp_path, simulate_stimulus(3, **FIELD | {"cells": 2, "groups": 1}))
    assert {score.metric for score in score_file(model, [tmp_path])} >= {"exact match"}
    (tmp_path / "masks.npz").unlink()
    with pytest.raises(
        CalzooError, match=r"'tiny-stimulus' sees .* no masks\.npz beside the frames; write one"
    ):
        score_file(model, [tmp_path])


def test_a_file_can_be_rebuilt_from_its_card_and_the_weights(folder, tmp_path):
    """What `--init` loads is what the file computes."""
    import importlib

    from calzoo.training.variables import load_weights

    recipe = tiny()
    train(recipe, tmp_path / "run", folders=[folder], quiet=True)
    run = load_run(tmp_path / "run")
    fields = run.card_fields(build_model(run))
    module, function = fields["builder"].split(":")
    model = getattr(importlib.import_module(module), function)(**fields["config"])
    assert not load_weights(model, run.weights)
    data = recipe.data([folder])
    x, y = data.samples(data.test[:2])
    expected = recipe.graph(build_model(run))([x, y])
    for one, other in zip(model([x, y]), expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_all_recipes_of_the_task_are_listed():
    names = {"stimulus", "stimulus-demo", "stimulus-seed", "stimulus-temporal", "stimulus-thesis"}
    for name in names:
        assert recipes.recipe(name).name == name
        assert recipes.from_json(recipes.to_json(recipes.recipe(name))) is not None


def test_logistic_regression_finds_what_decides(rng):
    features = rng.normal(5, 2, (400, 3))
    targets = np.column_stack([features[:, 0] > 5, features[:, 2] < 4])
    train = np.arange(400) < 300
    logits = logistic_regression(features, targets, train)
    assert ((logits > 0) == targets)[~train].mean() > 0.95


def test_means_of_cells_are_those_of_their_pixels(rng):
    frames = rng.uniform(1, 2, (6, 5, 5))
    masks = np.zeros((2, 5, 5), bool)
    masks[0, :2], masks[1, 3:, 3:] = True, True
    found = roi_means(frames, np.array([0, 3]), masks, together=2)
    light = frames / frames.mean(axis=(1, 2), keepdims=True)
    expected = [[light[n : n + 2][:, m].mean() for m in masks] for n in (0, 3)]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_scores_stand_beside_true_cells_and_chance(folder):
    recipe = tiny()
    (recorded,) = recordings_of(recipe, [folder])
    rows = np.arange(len(recorded.stimuli))
    right = np.where(recorded.stimuli.targets > 0, 5.0, -5.0)
    scores = {s.metric: s for s in score_stimulus(lambda _: (rows, right), [recorded])}
    assert scores["exact match"].value == scores["macro-F1"].value == 1
    assert 0.2 < scores["exact match"].baseline <= 1
    assert scores["exact match"].chance < 0.5
    assert scores["exact match"].protocol.startswith("last 2 trials, ")
    (trained_on, *_) = score_stimulus(lambda _: (rows, right), [recorded], test_trials=0)
    assert trained_on.protocol.startswith("last 1 trials, ")
    assert trained_on.protocol.endswith(" inputs, trained on")
    with pytest.raises(CalzooError, match="calzoo evaluate RUN --data FOLDER"):
        recordings_of(recipe)


def test_a_run_is_scored_by_its_command(folder, tmp_path, capsys):
    train(tiny(), tmp_path / "run", folders=[folder], quiet=True)
    assert cli.main(["evaluate", str(tmp_path / "run"), "--data", str(folder)]) == 0
    assert "exact match, pairs" in capsys.readouterr().out
    assert {score.metric for score in load_run(tmp_path / "run").scores} >= {"exact match", "macro-F1"}
