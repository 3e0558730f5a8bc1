"""The recipe of registration: trained, scored, exported and run, in the smallest size."""

import importlib.util
import json
from types import SimpleNamespace

import numpy as np
import pytest
import tifffile
from scipy import ndimage
from test_training_backends import python

pytestmark = pytest.mark.train
keras = pytest.importorskip("keras")

from calzoo.cli import main
from calzoo.commands._registration import onnx_registrar
from calzoo.errors import CalzooError
from calzoo.imaging.movies import open_movie
from calzoo.imaging.writers import write_movie
from calzoo.inference.models import load_model
from calzoo.training import recipes
from calzoo.training.registration_evaluate import (
    keras_registrar,
    rigid_registrar,
    score_registration_law,
    score_simulated_pairs,
)
from calzoo.training.registration_losses import registration_loss
from calzoo.training.registration_movies import MovieTiles, sample_frames
from calzoo.training.runs import load_run
from calzoo.training.trainer import train

SETTINGS = {
    "network": {"filters": [2, 2, 4], "features": [3, 1], "width": 4, "steps": [[8, 32], [2, 16]]},
    "tile": 64,
    "scene": 96,
    "kinds": {"shapes": 1.0},
    "pool": 2,
    "fresh": 1,
    "validation": 1,
    "schedule.epochs": 1,
    "schedule.steps": 3,
    "schedule.batch": 2,
    "schedule.warmup": 1,
    "schedule.score_every": 1,
    "schedule.deterministic": False,
}


def tiny(name="registration", **settings):
    return recipes.changed(recipes.recipe(name), SETTINGS | settings)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Return a run of three steps."""
    path = tmp_path_factory.mktemp("runs") / "registration"
    progress = train(tiny(), path, quiet=True)
    assert progress.step == 3
    return path


@pytest.fixture
def movie(tmp_path, rng):
    """Return the path of a movie that moves by whole pixels."""
    large = 500 + 400 * ndimage.gaussian_filter(rng.normal(size=(100, 110)), 2)
    shifts = rng.integers(-3, 4, (12, 2))
    frames = np.stack([large[10 + y : 80 + y, 10 + x : 90 + x] for y, x in shifts])
    path = tmp_path / "movie.tif"
    write_movie(path, np.clip(frames, 0, None).astype(np.uint16))
    return path


def test_run_is_scored_by_level_of_light(trained):
    run = load_run(trained)
    (row,) = [line for line in (trained / "history.csv").read_text().splitlines()[1:]]
    header = (trained / "history.csv").read_text().splitlines()[0].split(",")
    values = dict(zip(header, map(float, row.split(",")), strict=True))
    errors = [values[f"epe_{photons}"] for photons in ("12", "3", "0.7")]
    assert values["score"] == pytest.approx(1 / (1 + np.mean(errors)), rel=1e-6)
    assert run.sources == ("simulation",)


def test_batches_are_functions_of_seed_epoch_and_step():
    first, second = tiny().data(), tiny().data()
    try:
        for data in (first, second):
            data.prepare(0)
        (inputs, target), (again, other) = first.batch(0, 1), second.batch(0, 1)
        np.testing.assert_array_equal(target, other)
        for name, array in inputs.items():
            np.testing.assert_array_equal(array, again[name])
        assert not np.array_equal(first.batch(0, 2)[1], target)
        assert first.fingerprint() == second.fingerprint()
    finally:
        first.close()
        second.close()


def test_keras_run_registers_and_is_scored_beside_baselines(trained):
    register = keras_registrar(load_run(trained))
    scores = score_simulated_pairs(register, pairs=1, size=100)
    assert [s.metric for s in scores] == ["EPE interior (px)", "EPE border (px)"] * 3
    assert all(np.isfinite(s.value) and s.baseline is not None and s.chance > 0 for s in scores)


def test_law_is_scored_by_variant_and_light(tmp_path):
    law = tmp_path / "law.py"
    # The frame shows at (y, x) what lies at (y + 3, x - 5) of the template.
    law.write_text(
        "import numpy as np\n"
        "from scipy import ndimage\n"
        "from types import SimpleNamespace\n"
        "VARIANTS, PHOTONS = ('shifted',), (2.0,)\n"
        "def make_pair(seed, photons, variant):\n"
        "    large = ndimage.gaussian_filter(np.random.default_rng(seed).random((96, 96)), 1.5)\n"
        "    template, frame = large[16:80, 16:80], large[19:83, 11:75]\n"
        "    flow = np.broadcast_to(np.float32([3, -5]), (64, 64, 2))\n"
        "    return SimpleNamespace(frame=frame, template=template, flow=flow)\n"
    )
    scores = score_registration_law(rigid_registrar, law, seeds=range(2))
    assert [(s.data, s.protocol) for s in scores] == [("law", "shifted, 2 photons, seeds 0-1")] * 2
    assert scores[0].value < 0.35
    assert scores[0].chance == pytest.approx(np.hypot(3, 5), rel=1e-3)
    law.write_text("x = 1")
    with pytest.raises(CalzooError, match="a function make_pair"):
        score_registration_law(rigid_registrar, law)


def test_run_becomes_a_file_that_the_command_runs(trained, movie, rng, tmp_path, capsys):
    pytest.importorskip("tf2onnx")
    from calzoo.export import export_run

    report = export_run(trained, tmp_path / "net.onnx", timing=False)
    assert report["name"] == "registration-2p"
    out = tmp_path / "out.tif"
    assert (
        main(
            ["register", str(movie), "-o", str(out), "--model", str(tmp_path / "net.onnx"), "--threads", "1"]
        )
        == 0
    )
    facts = json.loads(out.with_suffix(".json").read_text())["report"]
    assert facts["correlation_after"] > facts["correlation_before"]
    large = 500 + 400 * ndimage.gaussian_filter(rng.normal(size=(120, 120)), 2)
    template, frame = large[10:90, 10:100], large[13:93, 5:95]
    flow = onnx_registrar(load_model(tmp_path / "net.onnx", provider="cpu"))(template, frame)
    np.testing.assert_allclose(flow, keras_registrar(load_run(trained))(template, frame), atol=1e-2)
    np.testing.assert_allclose(flow.mean(axis=(0, 1)), [-3, 5], atol=1)
    assert main(["evaluate", str(trained)]) == 0
    assert "simulated pairs" in capsys.readouterr().out
    assert (trained / "scores.json").exists()


def test_network_is_fitted_to_a_movie_without_truth(trained, movie, tmp_path):
    run = tmp_path / "run"
    arguments = ["train", "registration", "--movie", str(movie), "-o", str(run), "--init", str(trained)]
    settings = {"schedule.epochs": 1, "schedule.steps": 2, "schedule.batch": 1, "tile": 64}
    network = json.dumps(SETTINGS["network"])
    options = [f"{k}={v}" for k, v in settings.items()] + [
        f"network={network}",
        "schedule.deterministic=false",
    ]
    assert main([*arguments, *(part for option in options for part in ("--set", option))]) == 0
    assert load_run(run).sources == ("movies", "simulation")  # of the weights it began with
    assert (run / "weights.safetensors").exists()


def test_a_movie_is_read_as_the_command_says(movie, tmp_path, monkeypatch):
    frames = tifffile.imread(movie)
    write_movie(tmp_path / "chosen.tif", frames)
    np.save(tmp_path / "two.npy", np.stack([np.zeros_like(frames), frames], axis=1))
    asked = []

    def train_nothing(recipe, run, folders, **more):
        asked.extend(folders)
        return SimpleNamespace(step=10**9)

    monkeypatch.setattr("calzoo.training.trainer.train", train_nothing)
    command = ["train", "registration", "--movie", str(tmp_path / "two.npy"), "-o", str(tmp_path / "run")]
    assert main([*command, "--axes", "tcyx", "--channel", "1"]) == 0
    data = tiny("registration-movie").data(asked)
    chosen = tiny("registration-movie").data([tmp_path / "chosen.tif"])
    assert data.fingerprint()["movies/two.npy"] == chosen.fingerprint()["movies/chosen.tif"]


@pytest.mark.parametrize("folder", ["fmi_2p_raw", "mine"])
def test_frames_of_the_fmi_sample_alone_are_squared(rng, tmp_path, folder):
    frames = rng.integers(0, 200, (12, 64, 64)).astype(np.uint8)
    (tmp_path / folder).mkdir()
    path = tmp_path / folder / "frames_sqrt8.npy"
    np.save(path, frames)
    is_sample = folder != "mine"
    with open_movie(path) as movie:
        np.testing.assert_array_equal(sample_frames(movie), frames.astype(float) ** (1 + is_sample))
    for given in (path, path.parent):
        sources = tiny("registration-movie").data([given]).sources
        assert sources == ("fmi" if is_sample else "movies",)


def test_movies_become_scenes_beside_simulated_ones(movie):
    data = tiny(movies=1.0).data([movie])
    try:
        data.prepare(0)
        inputs, target = data.batch(0, 0)
        assert data.sources == ("simulation", "movies")
        assert inputs["frame"].shape == (2, 64, 64, 1)
        assert np.isfinite(target).all()
    finally:
        data.close()


def test_without_movies_nothing_can_be_learnt_from_them(tmp_path):
    with pytest.raises(CalzooError, match="name them with --data or --movie"):
        tiny("registration-movie").data()
    with pytest.raises(CalzooError, match=r"expected movies .* found none"):
        tiny().data([tmp_path])


def test_one_frame_shows_no_motion_to_learn(tmp_path):
    np.save(tmp_path / "one.npy", np.ones((1, 32, 32), np.uint8))
    with pytest.raises(CalzooError, match=r"one\.npy: expected a movie of two frames or more, got 1"):
        recipes.recipe("registration-movie").data([tmp_path / "one.npy"])


def test_use_of_an_unknown_kind_is_refused():
    with pytest.raises(CalzooError, match="use must be 'pairs' or 'movies', got 'both'"):
        tiny(use="both")


@pytest.mark.parametrize("offset", [1000, 32768])
@pytest.mark.parametrize("kind", ["ncc", "image_mse"])
def test_an_offset_of_the_camera_changes_no_loss(rng, tmp_path, kind, offset):
    tissue = 30 * ndimage.gaussian_filter(rng.normal(size=(12, 64, 64)), (0, 2, 2)) + 100
    losses = []
    for name, light in (("plain", tissue), ("offset", tissue + offset)):
        np.save(tmp_path / f"{name}.npy", light.astype(np.uint16))
        data = tiny("registration-movie").data([tmp_path / f"{name}.npy"])
        inputs, target = data.batch(0, 0)
        assert inputs["frame"].min() >= 50 + offset * (name == "offset")  # the network sees what was recorded
        losses.append(float(registration_loss(kind)(target, np.zeros((2, 32, 8, 3), np.float32))))
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)


def test_a_movie_without_a_scene_is_refused(rng, tmp_path):
    np.save(tmp_path / "short.npy", rng.poisson(20, (8, 64, 64)).astype(np.uint16))
    with pytest.raises(CalzooError, match=r"short\.npy: expected a movie of 10 frames or more, .* got 8"):
        tiny().data([tmp_path])


def test_movies_that_no_pair_is_cut_from_are_not_among_the_data(movie):
    data = tiny(movies=0.0).data([movie])
    data.close()
    assert data.sources == ("simulation",)
    assert list(data.fingerprint()) == ["simulation/scene"]


def test_fingerprint_shows_any_change_of_a_movie_whatever_its_name(movie, tmp_path, rng):
    frames = rng.poisson(20, (40, 64, 64)).astype(np.uint16)

    def prints(changed):
        for folder, array in (("a", frames), ("b", changed)):
            (tmp_path / folder).mkdir(exist_ok=True)
            np.save(tmp_path / folder / "movie.npy", array)
        data = tiny("registration-movie").data([tmp_path / "a", tmp_path / "b"])
        return json.loads(json.dumps(data.fingerprint()))

    between = frames.copy()
    between[1] = between[1, ::-1]
    before, later, shorter, inside = (
        prints(frames),
        prints(np.concatenate([frames[:1], 0 * frames[1:]])),
        prints(frames[:30]),
        prints(between),
    )
    assert list(before) == ["movies/movie.npy", "movies/movie.npy (2)"]
    assert before["movies/movie.npy"] == before["movies/movie.npy (2)"]
    assert before["movies/movie.npy (2)"]["shape"] == [40, 64, 64]
    for other in (later, shorter, inside):
        assert other["movies/movie.npy"] == before["movies/movie.npy"]
        assert other["movies/movie.npy (2)"] != before["movies/movie.npy (2)"]


def test_without_validation_there_are_no_scores():
    recipe = tiny(validation=0)
    data = recipe.data()
    data.close()
    assert data.validation == {}
    assert recipe.score(None, data) == ({}, [])


STEP = """
    import json, sys
    import numpy as np
    import keras
    from calzoo.training import recipes
    from calzoo.training.trainer import train
    recipe = recipes.changed(recipes.recipe("registration"), json.loads(sys.argv[3]))
    progress = train(recipe, sys.argv[1], init=sys.argv[2], quiet=True)
    row = progress.history[0]
    print(keras.backend.backend(), row["loss"], row["score"])
"""


@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="the jax backend needs jax")
def test_training_works_with_jax_as_with_tensorflow(trained, tmp_path):
    settings = json.dumps(SETTINGS | {"schedule.steps": 2})
    backends = ["jax", "tensorflow"]
    lines = [
        python(STEP, tmp_path / b, trained / "weights.safetensors", settings, KERAS_BACKEND=b).split()
        for b in backends
    ]
    assert [line[0] for line in lines] == backends
    numbers = np.array([line[1:] for line in lines], float)
    np.testing.assert_allclose(numbers[0], numbers[1], rtol=5e-3)


def test_tiles_of_a_movie_reach_its_last_row_and_column(tmp_path, rng):
    frames = rng.normal(100, 10, (3, 76, 70)).astype(np.float32)
    frames[:, -1, -1] = 9999
    np.save(tmp_path / "movie.npy", frames)
    with open_movie(tmp_path / "movie.npy") as movie:
        tiles = MovieTiles([movie], 64)
    corners = [tiles.draw(rng).frame[-1, -1] for _ in range(600)]
    assert 9999 in corners
