"""Training the networks of the centres: truth of simulated movies, samples, losses, runs, fits."""

import csv
import functools
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import ndimage

pytestmark = pytest.mark.train
keras = pytest.importorskip("keras")

import calzoo.cli
from calzoo.errors import CalzooError
from calzoo.imaging.center_channels import CELL_PX, CHANNELS, grid_for
from calzoo.imaging.frames import ArrayMovie
from calzoo.imaging.masks import read_masks
from calzoo.imaging.outputs import CURATION_FILES, output_folder, write_run_json
from calzoo.inference.center_network import CenterNetwork
from calzoo.inference.centers import find_centers
from calzoo.metrics.centers import score_centers
from calzoo.simulation.one_photon import simulate_one_photon
from calzoo.training import centers_baselines as baselines
from calzoo.training import centers_data, recipes
from calzoo.training import centers_evaluate as evaluate
from calzoo.training import centers_pool as pools
from calzoo.training import centers_visibility as visibility
from calzoo.training import centers_windows as drawn
from calzoo.training.centers_data import target_of
from calzoo.training.centers_diameter import measured_diameter
from calzoo.training.centers_fit import CentersFit, fit_centers, reconstruction_loss
from calzoo.training.centers_fit_run import fit_recording
from calzoo.training.centers_losses import center_loss, heat_loss
from calzoo.training.recipes.centers import CentersRecipe
from calzoo.training.recipes.centers_fit import CentersFitRecipe
from calzoo.training.runs import load_run
from calzoo.training.trainer import train
from calzoo.weights.card import Card

SUMMITS = Path(__file__).resolve().parent / "models" / "summits.onnx"
TINY = {
    "recordings": 1,
    "validation": 1,
    "tile": 32,
    "network": {"filters": [3, 4], "bottom": 4},
    "schedule.epochs": 2,
    "schedule.steps": 2,
    "schedule.batch": 2,
    "schedule.warmup": 1,
    "schedule.score_every": 1,
    "schedule.frozen_norm": 0.0,
    "schedule.deterministic": False,
}


@pytest.fixture(autouse=True)
def forget_networks():
    yield
    keras.backend.clear_session()


def window(shape=(24, 30), centers=((6.2, 7.9), (15.0, 20.0)), clear=(True, False)):
    """Return a window with two cells, one of which may be missed."""
    labels = np.zeros(shape, np.int16)
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    for number, (y, x) in enumerate(centers):
        labels[(rows - y) ** 2 + (columns - x) ** 2 <= 9] = number + 1
    return drawn.Window(
        np.zeros((*shape, len(CHANNELS)), np.float16),
        np.float32(centers),
        np.full(len(centers), 3.0, np.float32),
        np.array(clear),
        labels,
        100,
    )


def blinking(rng, at, shape=(120, 54, 66), sigma=2.4, height=25.0):
    rows, columns = np.mgrid[: shape[1], : shape[2]]
    movie = rng.normal(100, 1, shape)
    for number, (y, x) in enumerate(at):
        spot = height * np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / (2 * sigma**2))
        for start in (5 + 9 * number, 60 + 7 * number):
            movie[start : start + 6] += spot
    return movie.astype(np.float32)


@pytest.fixture
def small_pool(monkeypatch):
    """Make recordings of the pool small."""
    monkeypatch.setattr(drawn, "_SIDE", 40)
    draw = drawn.simulate_one_photon

    def quick(seed, shape, **options):
        return draw(seed, (180, *shape[1:]), **options | {"frame_rate_hz": 8.0, "density": 3000.0})

    monkeypatch.setattr(drawn, "simulate_one_photon", quick)


# The truth.


@pytest.fixture(scope="module")
def recording():
    return simulate_one_photon(
        4, (150, 72, 80), style="raw", pixel_um=1.5, cell_um=13.5, density=2500.0, rate_hz=0.3, residual=0.01,
        frame_rate_hz=8.0, cell_level=0.1, depth_um=20.0, background_photons=2000.0,
    )  # fmt: skip


def test_light_behind_the_band_pass_is_that_of_the_clean_frames(recording):
    """The matrices that the truth is computed with agree with filtering the frames themselves."""
    still = recording.without_motion()
    grid = grid_for(recording.shape[1:], CELL_PX)  # one pixel of the grid is one of the frame
    seen = visibility.visibility(still, grid)
    frames = still.clean(0, 40)
    if still.absorption is not None:  # vessels that pulse are left out of the truth
        frames = frames[:1]
    narrow, wide = (ndimage.gaussian_filter(frames, (0, s, s), truncate=2.5) for s in (2.2, 5.0))
    inside = np.flatnonzero(
        ((recording.cells.centers > 14) & (recording.cells.centers < np.array(frames.shape[1:]) - 15)).all(
            axis=1
        )
    )
    rows, columns = np.round(recording.cells.centers[inside]).astype(int).T
    change = (narrow - wide)[:, rows, columns].T
    assert len(inside) > 3
    r = np.corrcoef(change[:, 0], seen.total[inside, 0])[0, 1]
    assert r > 0.9


def test_a_cell_alone_has_all_the_light_and_one_out_of_focus_no_contrast():
    quiet = {"vessels": 0, "background_activity": 0.0, "fast_activity": 0.0, "spots": 0.0, "dust": 0}
    sharp = simulate_one_photon(
        1, (100, 64, 64), style="raw", pixel_um=1.5, density=250.0, depth_um=1.0, rate_hz=0.5, active=1.0,
        halo=0.0, dendrite_share=0.0, bleaching=0.0, **quiet,
    )  # fmt: skip
    grid = grid_for((64, 64), 10.0)
    seen = visibility.visibility(sharp, grid)
    _, share = visibility.clarity(sharp, seen, (0, 100))
    apart = sharp.cells.centers
    near = np.linalg.norm(apart[:, None] - apart[None], axis=-1) + 1e3 * np.eye(len(apart))
    alone = (near.min(axis=1) > 15) & (sharp.cells.spikes.sum(axis=1) > 0)
    inner = ((apart > 8) & (apart < 56)).all(axis=1) & alone
    assert inner.any()
    assert share[inner].min() > 0.8
    assert seen.contrast[inner].min() > 0.6
    assert seen.contrast.max() < 1.2
    blurred = simulate_one_photon(1, (20, 64, 64), style="raw", pixel_um=1.5, density=1500.0, psf_um=15.0)
    assert np.median(visibility.visibility(blurred, grid).contrast) < visibility.SHARP


def test_windows_hold_what_should_be_found(recording):
    made = drawn.windows(drawn.Simulated(recording, 9.0), [(0, 150), (20, 80)])
    whole, part = made
    assert whole.channels.shape == (*grid_for(recording.shape[1:], 9.0).shape, len(CHANNELS))
    assert (whole.frames, part.frames) == (150, 60)
    assert whole.clear.sum() >= part.clear.sum() > 0
    assert whole.labels.max() <= len(whole.centers)
    inside = np.round(whole.centers[whole.clear]).astype(int)
    covered = whole.labels[tuple(np.clip(inside, 0, np.array(whole.labels.shape) - 1).T)] > 0
    assert covered.mean() > 0.8


def test_streaks_are_bright_bars_of_some_frames(rng):
    frames = rng.integers(90, 110, (40, 50, 60)).astype(np.uint8)
    streaked = drawn.with_streaks(rng, frames, 9.0)
    assert streaked.dtype == np.uint8
    added = streaked.astype(int) - frames
    assert added.min() >= 0
    assert added.max() > 20
    assert (added > 5).any(axis=0).mean() < 0.5
    np.testing.assert_array_equal(
        drawn.with_streaks(np.random.default_rng(5), frames, 9.0),
        drawn.with_streaks(np.random.default_rng(5), frames, 9.0),
    )


def test_pool_keeps_recordings_and_refuses_another_seed(small_pool, tmp_path, monkeypatch):
    made = pools.Pool(3, tmp_path / "pool").windows(2)
    monkeypatch.setattr(pools, "training_windows", lambda *_: pytest.fail("drawn again"))
    again = pools.Pool(3, tmp_path / "pool").windows(2)
    assert len(made) == len(again) == 3
    for a, b in zip(made, again, strict=True):
        for name in ("channels", "centers", "radii", "clear", "labels"):
            np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
        assert a.frames == b.frames
    with pytest.raises(
        CalzooError, match=r"expected a centers pool, version \d+, seed 4.*got a centers pool"
    ):
        pools.Pool(4, tmp_path / "pool")


def test_a_damaged_recording_of_a_pool_is_named(small_pool, tmp_path):
    pools.Pool(3, tmp_path / "pool").windows(2)
    (path,) = (tmp_path / "pool").glob("*.npz")
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(CalzooError, match=r"2\.npz: expected a recording of a pool, got .*drawn again"):
        pools.Pool(3, tmp_path / "pool").windows(2)


def test_pool_is_not_mixed_with_other_data(small_pool, tmp_path, capsys):
    movies, pool = tmp_path / "movies", tmp_path / "pool"
    movies.mkdir()
    (movies / "movie.tif").write_bytes(b"mine")
    for folder in (movies, movies / "movie.tif"):
        with pytest.raises(CalzooError, match=r"expected a pool of simulated recordings or an empty folder"):
            pools.Pool(0, folder)
    assert [p.name for p in movies.iterdir()] == ["movie.tif"]
    recipe = recipes.changed(CentersRecipe(), TINY)
    with pytest.raises(
        CalzooError, match=r"expected one pool of simulated recordings .* got .*pool, .*movies"
    ):
        recipe.data([pool, movies])
    words = ["train", "centers", "-o", str(tmp_path / "run"), "--data", str(movies)]
    assert calzoo.cli.main(words) == 1
    assert "this recipe learns from no other data" in capsys.readouterr().err


def test_command_fills_a_pool(small_pool, tmp_path):
    pools.main(["-o", str(tmp_path / "pool"), "-n", "1", "--validation", "1"])
    assert sorted(p.name for p in (tmp_path / "pool").glob("*.npz")) == ["0000000.npz", "1000000.npz"]


# Targets and losses.


def test_target_marks_centres_and_leaves_out_what_may_be_missed():
    target = target_of(window(), near=1.2)
    near, counts, body, body_counts, radius = np.moveaxis(target, -1, 0)
    assert np.argwhere(near == 1).tolist() == [[6, 8]]
    assert near[15, 20] < 0.01
    assert counts[15, 20] == 0
    assert counts[6, 8] == 1
    assert body[6, 8] == 1
    assert (body[15, 20], body_counts[15, 20], body_counts[0, 0]) == (0, 0, 1)
    assert (radius[6, 8], np.count_nonzero(radius)) == (3, 1)


def test_focal_loss_is_that_of_the_formula():
    near = np.float32([[[1.0, 0.5, 0.0]]])
    heat = np.float32([[[0.8, 0.4, 0.1]]])
    expected = 0.2**2 * -np.log(0.8) + 0.5**4 * 0.4**2 * -np.log(0.6) + 0.1**2 * -np.log(0.9)
    assert float(center_loss(near, np.ones_like(near), heat)) == pytest.approx(expected, rel=1e-5)


def test_loss_ignores_what_does_not_count_and_is_small_for_the_truth(rng):
    target = target_of(window(), near=1.2)[None]
    perfect = np.stack([target[..., 0] == 1, target[..., 2], np.maximum(target[..., 4], 1)], axis=-1)
    loss = heat_loss()
    best = float(loss(target, np.float32(perfect)))
    assert best < 0.01
    changed = perfect.copy()
    changed[0, 15, 20, :2] = 0.9  # on the cell that may be found or not
    assert float(loss(target, np.float32(changed))) == pytest.approx(best, abs=1e-4)
    missed = perfect.copy()
    missed[0, 6, 8, 0] = 0.0
    assert float(loss(target, np.float32(missed))) > 1


# The recipe.


def test_recipe_survives_json_and_makes_a_card():
    recipe = recipes.changed(CentersRecipe(), {"window": 150})
    assert recipes.from_json(recipes.to_json(recipe)) == recipe
    card = Card(**recipe.card_fields(recipe.build()))
    assert card.postprocessing["window_frames"] == 150
    assert card.inputs[0].channels == CHANNELS
    assert (card.divisor["y"], card.halo["x"]) == (8, 51)


def test_samples_depend_on_seed_epoch_and_step_alone(small_pool, tmp_path):
    recipe = recipes.changed(CentersRecipe(), TINY)
    first, second = recipe.data([tmp_path]), recipe.data([tmp_path])
    x, y = first.batch(1, 3)
    assert (x.shape, y.shape) == ((2, 32, 32, len(CHANNELS)), (2, 32, 32, 5))
    first.batch(0, 0)
    for a, b in zip((x, y), second.batch(1, 3), strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(x, first.batch(1, 4)[0])
    assert first.fingerprint() == second.fingerprint()


@pytest.mark.parametrize(
    "change",
    [
        lambda one, other: (other, one),
        lambda one, other: (replace(one, channels=one.channels[:, ::-1]), other),
        lambda one, other: (replace(one, labels=one.labels[::-1]), other),
        lambda one, other: (replace(one, centers=one.centers[:, ::-1]), other),
    ],
    ids=["exchanged", "mirrored pictures", "mirrored labels", "transposed centres"],
)
def test_the_fingerprint_tells_recordings_that_were_exchanged_or_mirrored(monkeypatch, rng, change):
    """Neither changes how many cells there are, nor the mean of all pictures."""
    channels = rng.random((2, 24, 24, len(CHANNELS))).astype(np.float16)
    drawn_windows = [replace(window((24, 24)), channels=one) for one in channels]
    prints = []
    for windows in (drawn_windows, change(*drawn_windows)):
        pool = SimpleNamespace(windows=lambda number, windows=windows: [windows[number % 2]])
        monkeypatch.setattr(centers_data, "Pool", lambda *_, pool=pool: pool)
        recipe = recipes.changed(CentersRecipe(), TINY | {"recordings": 2, "validation": 0})
        prints.append(recipe.data().fingerprint()["simulation/one-photon"])
    assert prints[0]["cells"] == prints[1]["cells"]
    assert prints[0] != prints[1]


def test_run_trains_exports_finds_and_is_scored(small_pool, tmp_path, rng, recording, monkeypatch, capsys):
    from calzoo.export.run import export_run

    recipe = recipes.changed(CentersRecipe(), TINY)
    train(recipe, tmp_path / "run", folders=[tmp_path / "pool"], quiet=True)
    assert {"threshold", "precision", "recall"} < set(
        (tmp_path / "run" / "history.csv").read_text().split("\n")[0].split(",")
    )
    export_run(tmp_path / "run", tmp_path / "centers.onnx", timing=False)
    assert load_run(tmp_path / "run").sources == ("simulation",)
    found = find_centers(
        blinking(rng, [(20, 30)]), model=tmp_path / "centers.onnx", diameter=8, count=3, threads=1
    )
    assert found.heat.shape == (54, 66, 3)
    network = CenterNetwork.load(tmp_path / "centers.onnx", None, provider="cpu", threads=1)
    assert (network.threshold, network.window) == (recipe.threshold, recipe.window)

    monkeypatch.setattr(
        evaluate, "simulated_movie", lambda seed: evaluate.known_cells(recording, 9.0, f"seed {seed}")
    )
    few = functools.partial(evaluate.score_simulated, seeds=(5,), classical=False)
    monkeypatch.setattr(evaluate, "score_simulated", few)
    printed = []
    for network in ("run", "centers.onnx"):
        assert calzoo.cli.main(["evaluate", str(tmp_path / network)]) == 0
        printed.append(capsys.readouterr())
    assert "seed 5: F1 " in printed[0].err
    assert "correlation of s(t) with the truth" in printed[0].out
    assert printed[0].out == printed[1].out  # Keras and ONNX Runtime find the same
    assert load_run(tmp_path / "run").scores[0].metric == "F1"
    assert calzoo.cli.main(["evaluate", str(tmp_path / "run"), "--data", str(tmp_path)]) == 1
    assert "scored on simulated movies, without --data" in capsys.readouterr().err


# The fit.

AT = np.array([(14.0, 20.0), (31.5, 44.0), (40.0, 11.0), (17.0, 52.0)])
QUICK = CentersFitRecipe(steps=40, batch=12, learning_rate=0.15)


@pytest.mark.parametrize("start", ["summits", "grid"])
def test_fit_finds_cells_without_labels(rng, start):
    recipe = recipes.changed(QUICK, {"start": start, "steps": 40 if start == "summits" else 90})
    fit = fit_centers(blinking(rng, AT), recipe, diameter=8, quiet=True)
    assert score_centers(AT, fit.points, diameter=2.0 if start == "summits" else 4.0).recall == 1
    assert fit.heights[:4].min() > 3 * fit.heights[4:].max(initial=0)
    assert np.isnan(fit.scores).all()  # a height is no probability
    assert fit.trajectories.shape[2] == 2
    assert len(fit.history["loss"]) == recipe.steps
    np.testing.assert_allclose(fit.trajectories[-1][fit.kept], fit.points, atol=0.51)


def test_coordinates_without_a_source_are_pruned_and_twins_are_merged(rng):
    movie = blinking(rng, AT)
    fit = fit_centers(movie, recipes.changed(QUICK, {"start": "random", "count": 40}), diameter=8, quiet=True)
    assert fit.trajectories.shape[1] == 40
    assert len(fit.kept) == fit.count < 15
    apart = np.linalg.norm(fit.points[:, None] - fit.points[None], axis=-1) + 99 * np.eye(fit.count)
    assert apart.min() > QUICK.merge


def test_the_same_seed_gives_the_same_fit(rng):
    movie = blinking(rng, AT)
    first, second = (fit_centers(movie, QUICK, diameter=8, quiet=True) for _ in range(2))
    np.testing.assert_allclose(first.points, second.points, atol=1e-3)


def test_one_cell_is_one_cell(rng):
    fit = fit_centers(blinking(rng, AT[:1]), QUICK, diameter=8, quiet=True)
    assert fit.count == 1
    np.testing.assert_allclose(fit.points, AT[:1], atol=0.7)


def test_a_movie_without_cells_has_none(rng):
    fit = fit_centers(rng.normal(100, 2, (60, 40, 44)), QUICK, diameter=8, quiet=True)
    assert isinstance(fit, CentersFit)
    assert fit.count <= 2


def test_a_movie_in_which_nothing_changes_is_refused():
    with pytest.raises(CalzooError, match="something changes over time"):
        fit_centers(np.full((30, 40, 44), 5, np.uint8), QUICK, diameter=8, quiet=True)


def test_blurred_loss_forgives_fine_differences(rng):
    frames = rng.random((1, 16, 18, 1)).astype(np.float32)
    fine = frames + 0.1 * (-1.0) ** np.add.outer(np.arange(16), np.arange(18))[None, ..., None].astype(
        np.float32
    )
    plain = float(np.mean((fine - frames) ** 2))
    assert float(reconstruction_loss(1.5)(frames, fine)) < 0.05 * plain
    assert reconstruction_loss(0.0) == "mean_squared_error"


@pytest.mark.parametrize("sigma", [2.0, 3.5])
def test_diameter_is_measured_without_a_network(rng, sigma):
    movie = blinking(rng, AT, shape=(120, 64, 72), sigma=sigma, height=60)
    # A Gaussian answers the Laplacian of its own sigma most: a disk 2.83 sigma wide would.
    assert measured_diameter(movie) == pytest.approx(2 * np.sqrt(2) * sigma, rel=0.35)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"start": "anywhere"}, "start must be one of summits, random, grid, got 'anywhere'"),
        ({"steps": 0}, "steps must be at least 1, got 0"),
        ({"count": -1}, "count must be 0"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, reason):
    with pytest.raises(CalzooError, match=reason):
        CentersFitRecipe(**settings)


def test_command_fits_a_movie(rng, tmp_path, capsys):
    np.save(tmp_path / "movie.npy", blinking(rng, AT).astype(np.uint8))
    command = [
        "train",
        "centers",
        "--movie",
        tmp_path / "movie.npy",
        "-o",
        tmp_path / "fit",
        "--diameter",
        "8",
    ]
    command += ["--set", "steps=30", "--set", "batch=8"]
    assert calzoo.cli.main([str(word) for word in command]) == 0
    assert "cells of about 8.0 px" in capsys.readouterr().err
    names = {p.name for p in (tmp_path / "fit").iterdir()}
    assert {
        "centers.csv",
        "traces.csv",
        "trajectories.png",
        "stages.png",
        "overlay.png",
        "recipe.json",
    } <= names
    with np.load(tmp_path / "fit" / "centers.npz") as file:
        assert score_centers(AT, file["points"], diameter=3).recall == 1
    rows = list(csv.DictReader((tmp_path / "fit" / "centers.csv").read_text().splitlines()))
    assert {"id", "y_um", "area_px", "peak_to_noise"} < set(rows[0])
    assert rows[0]["score"] == ""  # no network has said what is likely
    assert float(rows[0]["height_sd"]) > 5
    assert (
        len(read_masks(tmp_path / "fit" / "masks.npz"))
        == json.loads((tmp_path / "fit" / "run.json").read_text())["cells"]
    )


def test_fit_begins_where_a_network_sees_cells_and_keeps_its_scores(rng, tmp_path):
    movie = blinking(rng, AT)
    wrong = np.array([(44.0, 60.0), (3.0, 3.0)])  # nothing is there
    seen = SimpleNamespace(points=np.concatenate([wrong, AT + 1.5]), scores=np.linspace(0.9, 0.4, 6))
    assert fit_centers(movie, QUICK, diameter=8, seen=seen, quiet=True).count == 6  # it is sure of them
    fit = fit_centers(movie, replace(QUICK, sure=1.0), diameter=8, seen=seen, quiet=True)
    np.testing.assert_array_equal(fit.kept, [2, 3, 4, 5])  # by the scores of the network
    np.testing.assert_allclose(fit.scores, [0.7, 0.6, 0.5, 0.4], atol=1e-6)
    away = np.linalg.norm(fit.points - AT, axis=1)
    assert away.max() < 1  # they were 2.1 pixels off
    assert np.abs(fit.trajectories[:, 2:] - (AT + 1.5)).max() <= QUICK.leash + 1e-3  # a cell is 8 wide
    none = SimpleNamespace(points=np.empty((0, 2)), scores=np.empty(0))
    with pytest.raises(CalzooError, match="expected a network that finds cells in this movie"):
        fit_centers(movie, QUICK, diameter=8, seen=none, quiet=True)


def test_command_fits_from_a_network(rng, tmp_path):
    np.save(tmp_path / "movie.npy", blinking(rng, AT).astype(np.uint8))
    words = ["train", "centers", "--movie", tmp_path / "movie.npy", "-o", tmp_path / "fit", "--init", SUMMITS]
    words += ["--diameter", "16um", "--pixel", "2,2", "--rate", "5", "--set", "steps=20", "--set", "batch=8"]
    assert calzoo.cli.main([str(word) for word in words]) == 0
    facts = json.loads((tmp_path / "fit" / "run.json").read_text())
    assert facts["began_from"].endswith("points of a network")
    assert facts["diameter_px"] == 8.0
    assert (facts["pixel_um"], facts["frame_rate_hz"], facts["model"]["name"]) == ([2, 2], 5, "summits")
    assert set(facts["model"]) == {"name", "file", "sha256", "provider"}
    rows = np.genfromtxt(tmp_path / "fit" / "centers.csv", delimiter=",", names=True)
    assert rows["score"].max() <= 1
    np.testing.assert_allclose(rows["x_um"], 2 * rows["x"], rtol=1e-5)
    traces = np.genfromtxt(tmp_path / "fit" / "traces.csv", delimiter=",", names=True)
    np.testing.assert_allclose(traces["time_s"], np.arange(120) / 5, rtol=1e-5)
    with np.load(tmp_path / "fit" / "centers.npz") as file:
        assert score_centers(AT, file["points"], diameter=3).recall == 1


@pytest.fixture
def fast_fit(monkeypatch):
    """Take the work out of the commands that fit a movie."""
    from calzoo.training import centers_fit_run, centers_seed_run

    def fit(path, run, recipe, **options):
        with output_folder(run, stale=CURATION_FILES) as folder:
            write_run_json(folder, input=path, recipe={"name": recipe.name})
        return SimpleNamespace(count=0, diameter_px=8.0, items=lambda: ())

    monkeypatch.setattr(centers_fit_run, "fit_recording", fit)
    monkeypatch.setattr(centers_seed_run, "fit_seed_recording", fit)


@pytest.mark.parametrize(("recipe", "other"), [("centers", "centers-seed"), ("centers-seed", "centers")])
def test_fit_of_another_movie_or_recipe_is_not_replaced(fast_fit, tmp_path, capsys, recipe, other):
    for name in ("mine.npy", "other.npy"):
        np.save(tmp_path / name, np.zeros((2, 4, 5)))
    words = ["train", recipe, "-o", str(tmp_path / "fit"), "--movie"]
    assert calzoo.cli.main([*words, str(tmp_path / "mine.npy")]) == 0
    (tmp_path / "fit" / "notes.txt").touch()
    assert calzoo.cli.main([*words, str(tmp_path / "mine.npy")]) == 0  # its own: done again
    for refused in (
        [*words, str(tmp_path / "other.npy")],
        ["train", other, *words[2:], str(tmp_path / "mine.npy")],
    ):
        assert calzoo.cli.main(refused) == 1
        assert "is of another input or another command; give another -o" in capsys.readouterr().err
    (tmp_path / "fit" / "run.json").write_text("{}")  # of no fit
    assert calzoo.cli.main([*words, str(tmp_path / "mine.npy")]) == 1


def test_what_was_kept_of_an_earlier_fit_goes_with_it(rng, tmp_path):
    np.save(tmp_path / "movie.npy", blinking(rng, AT).astype(np.uint8))
    for _ in range(2):
        fit_recording(tmp_path / "movie.npy", tmp_path / "fit", QUICK, diameter=8, quiet=True)
        assert not (tmp_path / "fit" / CURATION_FILES[0]).exists()
        for name in CURATION_FILES:
            (tmp_path / "fit" / name).touch()


def test_fit_finds_round_cells_where_pixels_are_not_square(rng):
    rows, columns = np.mgrid[:54, :132]
    movie = rng.normal(100, 1, (120, 54, 132)).astype(np.float32)
    for number, (y, x) in enumerate(AT):
        spot = 25 * np.exp(-((rows - y) ** 2 + (0.5 * columns - x) ** 2) / 11.5)
        movie[6 + 9 * number : 12 + 9 * number] += spot
    movie = ArrayMovie(movie)
    movie.pixel_um = (2.0, 1.0)
    fit = fit_centers(movie, QUICK, diameter=8 * np.sqrt(2), quiet=True)
    assert score_centers(AT * (1, 2), fit.points, diameter=3).f1 == 1
    for rows, columns in fit.masks:
        assert 1.5 < np.ptp(columns) / np.ptp(rows) < 2.6
    # A sigma of 2.4 rows is one of 3.4 pixels of the mean side.
    assert measured_diameter(movie) == pytest.approx(2 * np.sqrt(2) * 3.4, rel=0.35)


def test_fit_in_micrometres_needs_the_size_of_a_pixel(rng, tmp_path):
    np.save(tmp_path / "movie.npy", blinking(rng, AT).astype(np.uint8))
    with pytest.raises(CalzooError, match="'14um' is in micrometres, but the pixel size is not known"):
        fit_recording(tmp_path / "movie.npy", tmp_path / "fit", QUICK, diameter="14um", quiet=True)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["axons"], "--movie fits the recipes centers, centers-seed and registration"),
        (["centers", "--data", "x"], "leave --data away"),
        (["centers-seed", "--init", "x"], "leave --data, --init and --diameter away"),
    ],
)
def test_movie_goes_with_the_recipe_of_centres_only(words, reason, tmp_path, capsys):
    assert calzoo.cli.main(["train", *words, "-o", str(tmp_path / "r"), "--movie", "m.tif"]) == 1
    assert reason in capsys.readouterr().err


# Baselines and evaluation.


@pytest.mark.parametrize("way", baselines.WAYS)
def test_every_classical_way_finds_bright_cells_first(rng, way):
    movie = blinking(rng, AT, height=60)
    points = baselines.Classical(movie, 8.0).points_of(way, 6)
    assert score_centers(AT, points, diameter=8).recall == 1


def test_random_points_fill_the_frame(rng):
    points = baselines.random_points((30, 60), 4000, rng)
    assert (points.min(axis=0) >= -0.5).all()
    np.testing.assert_allclose(points.mean(axis=0), (14.5, 29.5), atol=1)


def test_points_are_scored_on_simulated_movies_beside_the_classical_ways(monkeypatch, recording):
    movie = evaluate.known_cells(recording, 9.0, "one")
    monkeypatch.setattr(evaluate, "simulated_movie", lambda seed: movie)
    lines = []
    half = slice(None, None, 2)  # every second cell, with its true trace
    found = SimpleNamespace(points=movie.centers[half], traces=movie.recording.cells.traces[movie.rows[half]])
    scores = evaluate.score_simulated(lambda frames: found, (5,), report=lines.append)
    assert [s.metric for s in scores] == ["F1", "correlation of s(t) with the truth"]
    hits, true = len(found.points), len(movie.centers)
    assert scores[0].value == pytest.approx(2 * hits / (hits + true))
    assert scores[1].value == pytest.approx(1)
    assert 0 <= scores[0].chance < scores[0].baseline < 1
    assert len(lines) == 1


def test_movies_without_cells_cannot_be_scored(monkeypatch, recording):
    nothing = evaluate.TestMovie("none", recording, 9.0, np.empty((0, 2)), np.empty((0, 2)), np.empty(0, int))
    monkeypatch.setattr(evaluate, "simulated_movie", lambda seed: nothing)
    with pytest.raises(
        CalzooError, match=r"movies in which cells stand out, got none among the seeds \(5,\)"
    ):
        evaluate.score_simulated(lambda frames: None, (5,))


def test_the_best_cut_is_not_below_any_cut(recording):
    movie = evaluate.known_cells(recording, 9.0, "x")
    points = np.concatenate([movie.centers, [[1, 1], [2, 70]]])
    assert evaluate.best_cut(movie, points).f1 == 1.0
    assert evaluate.score_points(movie, points).hits == len(movie.centers)
