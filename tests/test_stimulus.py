"""From frames to answers, maps and comparisons, with a network whose answers are known."""

import csv
import json
import os
import re
import shutil
import tracemalloc
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from calzoo import cli
from calzoo.errors import CalzooError
from calzoo.imaging import stimulus_report
from calzoo.imaging.images import open_volume
from calzoo.imaging.masks import Masks, write_masks
from calzoo.imaging.outputs import write_run_json, write_table
from calzoo.imaging.rest import RestTrack, noise_level, rest_picture, scaled
from calzoo.imaging.stimuli import read_stimuli
from calzoo.imaging.stimulus_report import draw_gallery, write_comparison
from calzoo.simulation.stimulus import simulate_stimulus
from calzoo.stimulus import folders
from calzoo.stimulus.analysis import analyse_stimuli, blocks, predictions
from calzoo.stimulus.answers import roi_answers
from calzoo.stimulus.comparison import check_trials, compare_analyses, comparison_table, overlapping_trials
from calzoo.stimulus.folders import run_compare, run_stimulus, stimulated_pixels

pytest.importorskip("onnxruntime")

from calzoo.inference.models import load_model
from calzoo.inference.stimulus import StimulusNetwork, _check_values, decode_stimuli

MODEL = Path(__file__).parent / "models" / "stimulus.onnx"
SQUARES = (0, 5, 15)  # of cells 1, 2, 3 in a grid of 4 x 4; see make_tiny_stimulus.py
CONDITIONS = ((1,), (2,), (3,), (1, 2), (1, 3), (2, 3), ())
FILES = {"predictions.csv", "zncc.csv", "ssd.csv", "blocks.csv", "cams.tif", "report.html"}
FILES |= {"zncc.png", "gallery.png", "overlay.png", "accuracy.png", "trials.png"}
OF_PAIRS = {"comparison.csv", "zncc_before.csv", "zncc_after.csv", "report.html"}
OF_PAIRS |= {"matrices.png", "changes.png", "spread.png", "maps.png"}


class Lazy:
    """An array that is none of NumPy's, as those of Zarr and h5py are."""

    def __init__(self, array):
        self.array, self.shape, self.dtype = array, array.shape, array.dtype

    def __array__(self, dtype=None, copy=None):
        return np.array(self.array, dtype)


def recording(
    rng, *, side=32, trials=5, bright=1.0, noise=0.02, answer=0.6, coupling=0.0, drives=0.0, dtype=np.uint16
):
    """Return frames, two after each stimulus, and the rows of their table.

    Cells that are not stimulated answer to every stimulus (coupling); all are driven by each
    other stimulated cell (drives).
    """
    rest = bright * 1000 * (1 + 0.3 * np.sin(np.arange(side) / 3)[:, None] * np.cos(np.arange(side) / 5))
    frames, rows = [], []
    step = side // 4
    for trial in range(1, trials + 1):
        for cells in CONDITIONS:
            rows.append(f"{len(frames)},{'+'.join(map(str, cells))},{trial},1")
            change = np.ones((side, side))
            for cell, square in enumerate(SQUARES, 1):
                drive = (cell in cells or coupling * bool(cells)) + drives * len({*cells} - {cell})
                y, x = divmod(square, 4)
                change[y * step : (y + 1) * step, x * step : (x + 1) * step] += answer * drive
            for _ in range(2):
                frames.append(rest * change * (1 + noise * rng.normal(size=rest.shape)))
    frames = np.array(frames)
    return (frames.round() if np.dtype(dtype).kind == "u" else frames).astype(dtype), rows


def table_of(folder, rows):
    path = folder / "stimuli.csv"
    path.write_text("\n".join(["frame,cells,trial,group", *rows]) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def recorded(rng, tmp_path):
    frames, rows = recording(rng)
    return frames, read_stimuli(table_of(tmp_path, rows), frames=len(frames), after=2)


def test_stimulated_cells_are_found(recorded):
    frames, stimuli = recorded
    result = decode_stimuli(frames, stimuli=stimuli, model=MODEL)
    np.testing.assert_array_equal(result.found, stimuli.cells)
    np.testing.assert_array_equal(result.probability[:, -1] > 0.5, ~stimuli.cells.any(axis=1))
    assert result.cams.shape == frames.shape
    assert result.provider == "cpu"


@pytest.mark.parametrize("dtype", ["uint8", "<f4", ">f4", "f8", ">u2", "i4"])
def test_every_dtype_gives_the_same_answers(rng, dtype):
    frames, _ = recording(rng, bright=0.05, dtype="f8")
    expected = decode_stimuli(np.round(frames), model=MODEL, cams=False)
    result = decode_stimuli(np.round(frames).astype(dtype), model=MODEL, cams=False)
    np.testing.assert_allclose(result.logits, expected.logits, atol=1e-3)
    assert result.cams is None


def test_arrays_that_are_not_numpys_give_the_same_answers(recorded):
    frames, stimuli = recorded
    given = (frames, Lazy(frames), frames.tolist())
    mine, *others = (decode_stimuli(f, model=MODEL, stimuli=stimuli) for f in given)
    for other in others:
        np.testing.assert_allclose(mine.logits, other.logits, atol=1e-4)
    mine, other = (analyse_stimuli(f, stimuli=stimuli, model=MODEL) for f in (frames, Lazy(frames)))
    np.testing.assert_array_equal(mine.mean_cams, other.mean_cams)


def test_brightness_of_a_frame_does_not_matter(recorded):
    """Bleaching and dimmer light multiply whole frames."""
    frames, stimuli = recorded
    dimmed = frames * np.linspace(1, 0.5, len(frames))[:, None, None]
    plain, dim = (decode_stimuli(f, stimuli=stimuli, model=MODEL, cams=False) for f in (frames, dimmed))
    np.testing.assert_allclose(plain.logits, dim.logits, atol=0.3)
    np.testing.assert_array_equal(plain.found, dim.found)


def test_a_map_shows_the_cell_that_answered(recorded):
    frames, stimuli = recorded
    result = decode_stimuli(frames, stimuli=stimuli, model=MODEL, target="stimulated")
    for cell, square in enumerate(SQUARES):
        row = int(np.flatnonzero(stimuli.cells[:, cell] & (stimuli.cells.sum(axis=1) == 1))[0])
        y, x = np.unravel_index(result.cams[row].argmax(), frames.shape[1:])
        assert (y // 8, x // 8) == divmod(square, 4)
    assert result.cams.min() >= 0
    assert result.cams.max() == pytest.approx(1)


def test_a_target_can_be_given_for_each_frame(recorded):
    frames, stimuli = recorded
    largest = decode_stimuli(frames, stimuli=stimuli, model=MODEL)
    named = np.eye(4, dtype=np.float32)[largest.logits.argmax(axis=1)]
    again = decode_stimuli(frames, stimuli=stimuli, model=MODEL, target=named)
    np.testing.assert_allclose(again.cams, largest.cams, atol=1e-5)


def test_sides_need_not_be_multiples_of_anything(rng):
    frames, _ = recording(rng, side=34)
    result = decode_stimuli(frames[:, :33, :], model=MODEL)
    assert result.cams.shape == (len(frames), 33, 34)


def test_hidden_pixels_do_not_count(recorded):
    frames, _ = recorded
    spoilt = frames.copy()
    mask = np.ones(frames.shape[1:], bool)
    mask[:8, 8:16] = False
    rng = np.random.default_rng(0)
    spoilt[:, ~mask] = rng.integers(0, 3000, spoilt[:, ~mask].shape)
    plain, other = (decode_stimuli(f, model=MODEL, mask=mask, cams=False).logits for f in (frames, spoilt))
    # The median of frames that are each divided by their mean, hidden pixels included, hardly differs.
    np.testing.assert_allclose(plain, other, atol=0.3)


def test_masks_that_do_not_fit_are_refused(recorded, tmp_path):
    frames, _ = recorded
    with pytest.raises(CalzooError, match=r"expected a mask of \(32, 32\) pixels, got \(4, 4\)"):
        decode_stimuli(frames, model=MODEL, mask=np.ones((4, 4), bool))
    write_masks(tmp_path / "masks.npz", cells=Masks.from_stack(np.eye(32, dtype=bool)[None]))
    with pytest.raises(CalzooError, match="expected masks of 3 stimulated cells, the first ones, got 1"):
        stimulated_pixels(tmp_path / "masks.npz", 3)


def test_a_network_of_masked_frames_asks_for_the_mask(recorded):
    network = StimulusNetwork.load(MODEL)
    network.masked = True
    with pytest.raises(CalzooError, match="frames that show the stimulated cells alone; give the mask"):
        decode_stimuli(recorded[0], model=network)


def test_rest_is_the_median_whatever_the_light(rng):
    scene = rng.uniform(0.5, 2, (20, 20))
    frames = scene * np.linspace(3, 1, 60)[:, None, None]
    frames[::10, 5:9, 5:9] *= 2
    np.testing.assert_allclose(rest_picture(frames), scene / scene.mean(), rtol=0.03)


def test_rest_follows_tissue_that_drifts(rng):
    y, x = np.mgrid[:24, :24]
    middles = 8 + 8 * np.arange(1200) / 1200
    frames = 1 + np.exp(-((y - middles[:, None, None]) ** 2 + (x - 12) ** 2) / 8)
    track = RestTrack(frames)
    assert track.pictures.shape == (3, 24, 24)
    for number in (200, 600, 1000):
        found = np.unravel_index(track.at([number])[0].argmax(), (24, 24))
        assert abs(found[0] - middles[number]) <= 1
    still = track.at([400, 0, 1199])
    np.testing.assert_allclose(still[0], track.pictures[:2].mean(axis=0), rtol=1e-5)
    np.testing.assert_array_equal(still[1:], track.pictures[[0, 2]])
    short = RestTrack(frames[:60])
    np.testing.assert_array_equal(short.at([3])[0], rest_picture(frames[:60]))


def test_noise_is_that_of_a_pixel_of_mean_brightness(rng):
    scene = rng.uniform(0.5, 1.5, (40, 40))
    frames = rng.poisson(100 * scene, (50, 40, 40))
    assert noise_level(frames, rest_picture(frames)) == pytest.approx(0.1, rel=0.05)
    assert noise_level(frames[:1], scaled(frames[:1])[0]) == 0


@pytest.mark.parametrize(
    ("frames", "match"),
    [
        (np.zeros((4, 4)), r"expected frames \(T, Y, X\), got .*\(4, 4\)"),
        (np.zeros((0, 8, 8)), "expected frames"),
        (np.full((3, 8, 8), np.nan), "frame 0 of the movie holds NaN or infinity"),
        (
            np.where(np.arange(3)[:, None, None] < 2, np.ones((3, 8, 8)), np.inf),
            "frame 2 of the movie holds NaN",
        ),
        (np.zeros((3, 8, 8), complex), "expected intensities .*complex128"),
        (Lazy(np.full((3, 8, 8), np.nan)), "frame 0 of the movie holds NaN or infinity"),
    ],
)
def test_what_is_no_movie_is_refused(frames, match):
    with pytest.raises(CalzooError, match=match):
        decode_stimuli(frames, model=MODEL)


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_looking_for_nan_takes_little_memory(dtype):
    movie = np.broadcast_to(np.ones(1, dtype), (500, 64, 64))
    tracemalloc.start()
    _check_values(movie)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100_000


def test_a_constant_movie_shows_no_stimulus():
    result = decode_stimuli(np.full((4, 16, 16), 7, np.uint8), model=MODEL)
    assert not result.found.any()
    assert np.isfinite(result.cams).all()


@pytest.mark.usefixtures("checkout_is_the_cache")
def test_frames_without_light_show_no_stimulus():
    """The released network takes the lack of light for the answer of one cell."""
    frames = simulate_stimulus(0, trials=1).frames[:8]
    expected = decode_stimuli(frames, rest=frames[0])
    dark = frames.copy()
    dark[[1, 4]] = 0
    for found, where in (
        (decode_stimuli(dark, rest=frames[0]), [1, 4]),
        (decode_stimuli(0 * dark), slice(8)),
    ):
        assert (found.probability[where].round(6) == [0] * 12 + [1]).all()
        assert not found.found[where].any()
        assert not found.cams[where].any()
    lit = [0, 2, 3, 5, 6, 7]
    found = decode_stimuli(dark, rest=frames[0])
    np.testing.assert_array_equal(found.logits[lit], expected.logits[lit])
    np.testing.assert_array_equal(found.cams[lit], expected.cams[lit])


def test_options_that_do_not_fit_are_refused(recorded):
    frames, stimuli = recorded
    with pytest.raises(CalzooError, match="target must be one of largest, stimulated, got 'best'"):
        decode_stimuli(frames, stimuli=stimuli, model=MODEL, target="best")
    with pytest.raises(CalzooError, match="needs the table of stimuli"):
        decode_stimuli(frames, model=MODEL, target="stimulated")
    with pytest.raises(CalzooError, match=r"expected a target of shape \(70, 4\), got \(1, 4\)"):
        decode_stimuli(frames, stimuli=stimuli, model=MODEL, target=np.ones((1, 4)))
    with pytest.raises(CalzooError, match=r"picture at rest of \(32, 32\) pixels, got \(8, 8\)"):
        decode_stimuli(frames, model=MODEL, rest=np.ones((8, 8)))
    with pytest.raises(CalzooError, match="a picture at rest of finite numbers, got NaN"):
        decode_stimuli(frames, model=MODEL, rest=np.full((32, 32), np.nan))
    with pytest.raises(CalzooError, match="a picture at rest of numbers, got str"):
        decode_stimuli(frames, model=MODEL, rest="rest.tif")
    with pytest.raises(CalzooError, match="a target of finite numbers, got NaN"):
        decode_stimuli(frames, model=MODEL, target=np.full((70, 4), np.nan))
    with pytest.raises(CalzooError, match="target must be one of largest, stimulated, got 'x'"):
        decode_stimuli(frames, model=MODEL, target="x")
    with pytest.raises(CalzooError, match=r"a mask of True and False, got float32; .* mask > 0"):
        decode_stimuli(frames, model=MODEL, mask=np.full((32, 32), 0.5))
    with pytest.raises(CalzooError, match=r"a mask of \(32, 32\) pixels, got \(2, 1\)"):
        decode_stimuli(frames, model=MODEL, mask=[[True], [False]])
    hidden = np.ones((32, 32), bool).tolist()
    assert len(decode_stimuli(frames[:3], model=MODEL, mask=hidden).logits) == 3


@pytest.mark.parametrize("function", [decode_stimuli, analyse_stimuli])
def test_a_table_of_a_longer_recording_is_refused(recorded, function):
    frames, stimuli = recorded
    with pytest.raises(CalzooError, match=r"goes to frame 69, but the recording has the frames 0 to 59"):
        function(frames[:60], stimuli=stimuli, model=MODEL)
    with pytest.raises(CalzooError, match="got the name of a file; open it"):
        function("movie.tif", stimuli=stimuli, model=MODEL)


def test_what_is_no_table_or_analysis_is_refused(recorded):
    with pytest.raises(
        CalzooError, match=r"stimuli: expected what calzoo\.read_stimuli returns, got NoneType"
    ):
        analyse_stimuli(recorded[0], None, model=MODEL)
    analysis = analyse_stimuli(*recorded, model=MODEL)
    for pair, name in (((1, analysis), "before"), ((analysis, 2), "after")):
        with pytest.raises(
            CalzooError, match=rf"{name}: expected what calzoo\.analyse_stimuli returns, got int"
        ):
            compare_analyses(*pair)


def test_a_network_of_another_task_is_refused():
    with pytest.raises(CalzooError, match="expected a network of the task 'stimulus'"):
        decode_stimuli(np.zeros((2, 16, 16)), model=MODEL.with_name("pixel.onnx"))


def test_a_table_of_another_field_is_refused(recorded, tmp_path):
    frames, _ = recorded
    path = tmp_path / "other.csv"
    path.write_text("frame,cells\n0,5\n")
    stimuli = read_stimuli(path, frames=len(frames))
    with pytest.raises(CalzooError, match="cells up to 5, the network 'tiny-stimulus' knows 3"):
        decode_stimuli(frames, stimuli=stimuli, model=MODEL)


def test_analysis_averages_maps_by_condition(recorded):
    frames, stimuli = recorded
    result = decode_stimuli(frames, stimuli=stimuli, model=MODEL)
    analysis = analyse_stimuli(frames, stimuli, model=MODEL)
    for c in range(len(CONDITIONS)):
        mean = result.cams[stimuli.condition == c].mean(axis=0)
        np.testing.assert_allclose(analysis.mean_cams[c], mean, atol=1e-5)
    assert analysis.scores["exact"] == 1
    assert len(analysis.event_cams) == len(CONDITIONS) * 5
    # Conditions with a cell in common are more alike than those without.
    zncc = dict(zip(stimuli.names, analysis.zncc, strict=True))
    names = stimuli.names
    assert zncc["1"][names.index("1+2")] > zncc["1"][names.index("2+3")]
    assert blocks(analysis)["pairs"] == [15]


def test_scores_and_predictions_follow_the_threshold_of_the_card(recorded):
    network = StimulusNetwork.load(MODEL)
    network.threshold = 1 - 1e-9  # of a cell that is never found
    analysis = analyse_stimuli(*recorded, model=network)
    assert analysis.scores["exact"] == np.mean(predictions(analysis)["exact"]) < 0.2
    assert analysis.scores["macro_f1"] == 0


def test_analysis_takes_the_trials_that_are_asked_for(recorded):
    frames, stimuli = recorded
    analysis = analyse_stimuli(frames, stimuli, model=MODEL, trials=(4, 5))
    assert set(analysis.event_trial) == {4, 5}
    with pytest.raises(CalzooError, match=r"expected trials \[9\]"):
        analyse_stimuli(frames, stimuli, model=MODEL, trials=[9])


def analysed(rng, folder, **changes):
    frames, rows = recording(rng, **changes)
    stimuli = read_stimuli(table_of(folder, rows), frames=len(frames), after=2)
    return analyse_stimuli(frames, stimuli, model=MODEL, target="stimulated")


def test_stronger_connections_are_found_and_a_repetition_is_not(rng, tmp_path):
    before = analysed(rng, tmp_path, trials=8, noise=0.2)
    again = analysed(rng, tmp_path, trials=8, noise=0.2)
    after = analysed(rng, tmp_path, trials=8, noise=0.2, coupling=0.5)
    change = compare_analyses(before, after).changes[1]
    assert change.difference > 0
    assert change.p < 0.02
    assert compare_analyses(before, again).changes[1].p > 0.02


def test_answers_that_spread_farther_are_found_whatever_the_light(rng, tmp_path):
    before = analysed(rng, tmp_path, trials=8, noise=0.1, drives=0.3)
    again = analysed(rng, tmp_path, trials=8, noise=0.15, drives=0.3, answer=0.5)
    after = analysed(rng, tmp_path, trials=8, noise=0.1, drives=0.45)
    grown = compare_analyses(before, after)
    # Each frame is divided by its mean, in which answers count too.
    assert 1.4 < grown.spread.after / grown.spread.before < 1.9
    assert grown.spread.p == 2 / 2**8
    assert grown.spreads[1].after == grown.spread.after  # one group alone is all there is
    repeated = compare_analyses(before, again).spread
    assert repeated.after / repeated.before == pytest.approx(1, abs=0.2)
    assert repeated.p > 0.02


def test_a_similarity_that_is_not_defined_is_left_out(rng, tmp_path):
    """Of one group no map repeats: of it nothing is said, and the mean is that of the other."""
    frames, rows = recording(rng)
    groups = dict.fromkeys(("1", "2"), "1") | dict.fromkeys(("3", "1+2", "1+3", "2+3", ""), "2")
    rows = [f"{row[: row.rindex(',')]},{groups[row.split(',')[1]]}" for row in rows]
    stimuli = read_stimuli(table_of(tmp_path, rows), frames=len(frames), after=2)
    before = analyse_stimuli(frames, stimuli, model=MODEL)
    dark = np.where((before.groups == 1)[before.event_condition][:, None, None], 0, before.event_cams)
    comparison = compare_analyses(before, replace(before, event_cams=dark))
    assert np.isnan([comparison.changes[1].difference, comparison.changes[1].p]).all()
    assert comparison.overall == comparison.changes[2]
    columns = comparison_table(comparison)
    write_table(tmp_path / "comparison.csv", columns)
    assert (tmp_path / "comparison.csv").read_text().splitlines()[1].split(",")[2:7] == [""] * 5
    write_run_json(tmp_path, groups=columns)
    write_comparison(tmp_path, comparison, columns, ("a", "b"))
    assert "<td>nan</td>" in (tmp_path / "report.html").read_text()


def test_a_group_of_one_condition_has_no_part_in_the_means(rng, tmp_path):
    frames, rows = recording(rng)
    groups = {"1": "1"} | dict.fromkeys(("2", "3", "1+2", "1+3", "2+3", ""), "2")
    rows = [f"{row[: row.rindex(',')]},{groups[row.split(',')[1]]}" for row in rows]
    stimuli = read_stimuli(table_of(tmp_path, rows), frames=len(frames), after=2)
    analysis = analyse_stimuli(frames, stimuli, model=MODEL)
    masks = np.indices(frames.shape[1:])[0] // 16 == np.arange(2)[:, None, None]
    answers = [roi_answers(frames, stimuli, masks)] * 2
    columns = comparison_table(compare_analyses(analysis, analysis, answers=answers))
    assert np.isnan(columns["mean_zncc_before"][0])
    assert columns["mean_zncc_before"][2] == columns["mean_zncc_before"][1]
    assert np.isfinite(columns["similarity_before"][1:]).all()


def test_recordings_that_cannot_be_compared_are_refused(rng, tmp_path):
    two, eight = (analysed(rng, tmp_path, trials=n) for n in (2, 8))
    with pytest.raises(
        CalzooError, match=r"after: expected at least 3 trials .* got 2 such trials of 2\. Repeat"
    ):
        compare_analyses(eight, two)
    frames, rows = recording(rng)
    kept = [row for row in rows if ",1+2," not in row]
    stimuli = read_stimuli(table_of(tmp_path, kept), frames=len(frames), after=2)
    other = analyse_stimuli(frames, stimuli, model=MODEL)
    with pytest.raises(CalzooError, match=r"only one of them has 1\+2"):
        compare_analyses(eight, other)


def test_groups_that_moved_cannot_be_compared(folder, capsys):
    rows = (folder / "stimuli.csv").read_text().splitlines()
    moved = folder / "moved.csv"
    moved.write_text("\n".join(re.sub("^(.*,1[+]2,.*),1$", r"\1,2", row) for row in rows))
    assert moved.read_text() != "\n".join(rows)
    path = str(folder / "frames.npy")
    tables = ["--table", str(folder / "stimuli.csv"), str(moved)]
    assert cli.main(["compare", path, path, *tables, "--model", str(MODEL), "-o", str(folder / "out")]) == 1
    said = capsys.readouterr().err
    assert "expected the same groups in both tables; cells 1+2 are of group 1 before and 2 after" in said


def test_fields_of_two_sizes_are_not_compared(folder, rng, tmp_path, capsys):
    np.save(folder / "cut.npy", np.load(folder / "frames.npy")[:, :28])
    paths = [str(folder / "frames.npy"), str(folder / "cut.npy")]
    table = str(folder / "stimuli.csv")
    command = ["compare", *paths, "--table", table, table, "--model", str(MODEL), "-o", str(folder / "out")]
    assert cli.main(command) == 1
    assert (
        "expected two recordings of one field, got frames of (32, 32) and of (28, 32)"
        in capsys.readouterr().err
    )
    frames, rows = recording(rng)
    stimuli = read_stimuli(table_of(tmp_path, rows), frames=len(frames), after=2)
    whole, cut = (analyse_stimuli(f, stimuli, model=MODEL) for f in (frames, frames[:, :28]))
    with pytest.raises(CalzooError, match="expected two recordings of one field"):
        compare_analyses(whole, cut)


def test_trials_that_count_all_stimuli_are_refused(folder, rng, tmp_path, capsys):
    frames, rows = recording(rng)
    numbered = [re.sub(",[0-9],1$", f",{i},1", row) for i, row in enumerate(rows, 1)]
    stimuli = read_stimuli(table_of(tmp_path, numbered), frames=len(frames), after=2)
    analysis = analyse_stimuli(frames, stimuli, model=MODEL)
    match = (
        "the table of the recording before: expected at least 3 trials with each of the 6 conditions of "
        "group 1, got 0 such trials of 30; trial 1 lacks cells 2, 3, .* or leave it out"
    )
    with pytest.raises(CalzooError, match=match):
        compare_analyses(analysis, analysis)
    path = str(folder / "frames.npy")
    assert cli.main(["compare", path, path, "--model", str(MODEL), "-o", str(folder / "out")]) == 1
    assert "stimuli.csv: expected at least 3 trials with each of the 6 conditions" in capsys.readouterr().err


def test_trials_that_lack_conditions_do_not_count(rng, tmp_path):
    frames, rows = recording(rng)
    short = {"2": ("1+2", "3"), "3": ("1+2",), "4": ("1",)}

    def table(lacking):
        kept = [row for row in rows if row.split(",")[1] not in lacking.get(row.split(",")[2], ())]
        return read_stimuli(table_of(tmp_path, kept), frames=len(frames), after=2)

    match = (
        "stimuli.csv: expected at least 3 trials with each of the 6 conditions of group 1, "
        r"got 2 such trials of 5; trial 3 lacks cells 1\+2\. "
    )
    with pytest.raises(CalzooError, match=match):
        check_trials(table(short), "stimuli.csv")
    short.pop("4")
    check_trials(table(short))


def rows_of(order):
    """Return rows of a table: a stimulus every other frame, of (cells, trial, group)."""
    return [f"{2 * i},{cells},{trial},{group}" for i, (cells, trial, group) in enumerate(order)]


@pytest.mark.parametrize("counted", [False, True])
def test_trials_that_overlap_are_told(tmp_path, counted):
    """What drifts is taken for a change there: of such recordings without one, half raised an alarm."""
    rows = rows_of((cells, trial, 1) for cells in "123" for trial in (1, 2, 3))
    path = table_of(tmp_path, rows)
    if counted:
        lines = [line.split(",") for line in path.read_text().splitlines()]
        path.write_text("\n".join(f"{frame},{cells}" for frame, cells, *_ in lines))
    stimuli = read_stimuli(path, frames=18, after=2)
    check_trials(stimuli)
    told = overlapping_trials(stimuli)
    assert told.startswith(
        "trial 2 of group 1 begins at frame 2, before trial 1 ends at frame 13: slow drift"
    )


@pytest.mark.parametrize("first", [1, 4])
def test_groups_may_be_recorded_one_after_the_other(tmp_path, first):
    order = [(cells, trial, 1) for trial in (3, 1, 2) for cells in "123"]
    order += [(cells, trial + first, 2) for trial in range(3) for cells in "654"]
    stimuli = read_stimuli(table_of(tmp_path, rows_of(order)), frames=36, after=2)
    check_trials(stimuli)
    assert overlapping_trials(stimuli) == ""


@pytest.mark.parametrize("swapped", [False, True])
def test_the_command_tells_of_overlapping_trials(folder, capsys, swapped):
    table = folder / "stimuli.csv"
    if swapped:  # trials 1 and 2 of the condition that comes first
        head, *rows = table.read_text().splitlines()
        first = [i for i, row in enumerate(rows) if row.split(",")[1] == rows[0].split(",")[1]][:2]
        for i, other in zip(first, "21", strict=True):
            frame, cells, _, *rest = rows[i].split(",")
            rows[i] = ",".join([frame, cells, other, *rest])
        table.write_text("\n".join([head, *rows]))
    path = str(folder / "frames.npy")
    assert cli.main(["compare", path, path, "--model", str(MODEL), "-o", str(folder / "out")]) == 0
    assert ("stimuli.csv: trial 1 of group 1 begins" in capsys.readouterr().err) == swapped


def test_maps_of_two_networks_are_not_compared(rng, tmp_path):
    one, other = analysed(rng, tmp_path), analysed(rng, tmp_path)
    other.facts["model"]["sha256"] = "of another one"
    with pytest.raises(CalzooError, match="seen by one network, got two"):
        compare_analyses(one, other)


def test_the_card_names_what_a_pipeline_needs():
    network = StimulusNetwork.load(MODEL)
    assert (network.cells, network.together, network.rests, network.after) == (3, 1, True, 5)


# The commands.


@pytest.fixture
def folder(rng, tmp_path):
    frames, rows = recording(rng)
    np.save(tmp_path / "frames.npy", frames)
    table_of(tmp_path, rows)
    return tmp_path


def test_the_command_writes_tables_maps_pictures_and_a_page(folder, capsys):
    out = folder / "out"
    assert cli.main(["stimulus", str(folder / "frames.npy"), "--model", str(MODEL), "-o", str(out)]) == 0
    assert capsys.readouterr().out.strip() == str(out)
    names = {path.name for path in out.iterdir()}
    assert names == FILES | {"run.json"}
    facts = json.loads((out / "run.json").read_text())
    assert facts["model"]["name"] == "tiny-stimulus"
    assert facts["scores"]["exact"] > 0.9
    frames = np.load(folder / "frames.npy")
    stimuli = read_stimuli(folder / "stimuli.csv", frames=len(frames))
    expected = analyse_stimuli(frames, stimuli, model=MODEL)
    with open_volume(out / "cams.tif") as cams:
        assert cams.shape == (len(CONDITIONS), 32, 32)
        np.testing.assert_allclose(cams.read(), expected.mean_cams, atol=1e-5)
    zncc = np.genfromtxt(out / "zncc.csv", delimiter=",", skip_header=1)[:, 1:]
    np.testing.assert_allclose(zncc, expected.zncc, atol=1e-5)
    page = (out / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 5
    assert "http" not in page  # self-contained
    with open(out / "predictions.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    names = ["p_cell_1", "p_cell_2", "p_cell_3", "p_none"]
    columns = ["frame", "condition", "trial", "offset", "found", "exact", "authors_rule", *names]
    assert list(rows[0]) == columns
    assert len(rows) == 70
    assert [row["found"] for row in rows] == [row["condition"] for row in rows]
    decoded = decode_stimuli(frames, stimuli=stimuli, model=MODEL, cams=False)
    chance = [[float(row[name]) for name in names] for row in rows]
    np.testing.assert_allclose(chance, decoded.probability, atol=1e-4)


def test_what_was_decoded_otherwise_is_not_taken_for_finished(folder, capsys):
    command = ["stimulus", str(folder / "frames.npy"), "--model", str(MODEL), "-o", str(folder / "out")]
    assert cli.main(command) == cli.main(command) == 0
    assert "skipped" in capsys.readouterr().err
    assert cli.main([*command, "--target", "stimulated"]) == 1
    assert "holds the result of other options (target)" in capsys.readouterr().err


@pytest.mark.parametrize("name", sorted(FILES))
def test_files_of_another_program_are_refused_before_the_work(tmp_path, name):
    (tmp_path / name).touch()
    with pytest.raises(CalzooError, match=f"{name} is there already, which would be replaced"):
        run_stimulus("no frames", tmp_path, "no table")


def test_where_nothing_can_be_written_nothing_is_computed(folder, monkeypatch):
    path, table = folder / "frames.npy", folder / "stimuli.csv"
    (folder / "out.part").mkdir()
    (folder / "out.part" / "mine.txt").touch()
    monkeypatch.setattr(
        folders, "analyse_stimuli", lambda *args, **options: pytest.fail("the work was begun")
    )
    with pytest.raises(CalzooError, match="work goes there until it is finished"):
        run_stimulus(path, folder / "out", table, model=MODEL)
    with pytest.raises(CalzooError, match="work goes there until it is finished"):
        run_compare(path, path, folder / "out", (table, table), model=MODEL)


def test_masks_of_another_field_are_refused_before_a_comparison(folder, monkeypatch):
    path, table, masks = folder / "frames.npy", folder / "stimuli.csv", folder / "masks.npz"
    write_masks(masks, cells=Masks.from_stack(np.eye(28, dtype=bool)[None]))
    monkeypatch.setattr(
        folders, "analyse_stimuli", lambda *args, **options: pytest.fail("the work was begun")
    )
    match = r"masks\.npz: expected masks of \(32, 32\) pixels, as .*frames\.npy has, got \(28, 28\)"
    with pytest.raises(CalzooError, match=match):
        run_compare(path, path, folder / "out", (table, table), masks=masks, model=MODEL)


@pytest.mark.parametrize("name", sorted(OF_PAIRS))
def test_files_of_another_program_are_refused_before_a_comparison(tmp_path, name):
    (tmp_path / name).touch()
    with pytest.raises(CalzooError, match=f"{name} is there already, which would be replaced"):
        run_compare("no frames", "no frames", tmp_path, ["no table"] * 2)


@pytest.mark.parametrize("file", ["table", "conditions", "masks"])
def test_what_was_decoded_with_another_table_is_not_taken_for_finished(folder, capsys, file):
    write_masks(folder / "masks.npz", cells=Masks.from_stack(np.ones((3, 32, 32), bool)))
    (folder / "conditions.csv").write_text("condition,cells\n1,1\n")
    given = {"table": "stimuli.csv", "conditions": "conditions.csv", "masks": "masks.npz"}
    command = ["stimulus", str(folder / "frames.npy"), "--model", str(MODEL), "-o", str(folder / "out")]
    for option, name in list(given.items())[1:]:
        command += [f"--{option}", str(folder / name)]
    assert cli.main(command) == cli.main(command) == 0
    assert "skipped" in capsys.readouterr().err
    os.utime(folder / given[file], (0, 0))
    assert cli.main(command) == 1
    assert f"holds the result of other options ({file})" in capsys.readouterr().err
    copied = shutil.copy2(folder / given[file], folder / "other")
    assert cli.main([*command, f"--{file}", str(copied)]) == 1
    assert f"holds the result of other options ({file})" in capsys.readouterr().err


def test_a_recording_is_not_written_over_by_its_comparison(folder):
    (folder / "later").mkdir()
    frames = [folder / "frames.npy", folder / "later"]
    tables = [folder / "stimuli.csv"] * 2
    with pytest.raises(CalzooError, match="got an input, which is never replaced; give another -o"):
        run_compare(*frames, folder / "later", tables, model=MODEL)


def test_a_channel_of_the_frames_is_chosen(folder, capsys):
    frames = np.load(folder / "frames.npy")
    np.save(folder / "two.npy", np.stack([frames, np.zeros_like(frames)], axis=1))
    path, network = str(folder / "two.npy"), ["--model", str(MODEL)]
    for name, inputs in (("stimulus", [path]), ("compare", [path, path])):
        command = [name, *inputs, *network, "-o", str(folder / name), "--axes", "tcyx"]
        assert cli.main(command) == 1
        assert "choose one with --channel (0 to 1)" in capsys.readouterr().err
        assert cli.main([*command, "--channel", "0"]) == 0
    assert json.loads((folder / "stimulus" / "run.json").read_text())["scores"]["exact"] > 0.9


def test_the_command_says_where_the_table_should_be(folder, capsys):
    (folder / "stimuli.csv").unlink()
    command = ["stimulus", str(folder / "frames.npy"), "--model", str(MODEL), "-o", str(folder / "out")]
    assert cli.main(command) == 1
    assert "neither stimuli.csv nor labels.csv beside it; say with --table" in capsys.readouterr().err
    assert not (folder / "out").exists()


@pytest.mark.parametrize(("named", "warned"), [([], True), (["--preset", "stimulus-demo"], False)])
def test_the_preset_is_not_used_on_any_field_without_a_word(folder, monkeypatch, capsys, named, warned):
    network = load_model(MODEL)
    monkeypatch.setattr("calzoo.inference.models.load_model", lambda name, **options: network)
    path = str(folder / "frames.npy")
    for command in (["stimulus", path], ["compare", path, path]):
        assert cli.main([*command, *named, "-o", str(folder / command[0])]) == 0
        said = "the preset stimulus-demo is used, which knows one simulated field only"
        assert (said in capsys.readouterr().err) == warned


def test_the_command_compares_two_recordings(folder, rng, capsys):
    other = folder / "later"
    other.mkdir()
    for place, drives in ((folder, 0.3), (other, 0.45)):
        frames, rows = recording(rng, drives=drives)
        np.save(place / "frames.npy", frames)
        table_of(place, rows)
    out = folder / "out"
    paths = [str(folder / "frames.npy"), str(other / "frames.npy")]
    stack = np.zeros((3, 32, 32), bool)
    for mask, square in zip(stack, SQUARES, strict=True):
        y, x = divmod(square, 4)
        mask[8 * y : 8 * y + 8, 8 * x : 8 * x + 8] = True
    write_masks(folder / "masks.npz", cells=Masks.from_stack(stack))
    options = ["--masks", str(folder / "masks.npz"), "--model", str(MODEL), "-o", str(out)]
    assert cli.main(["compare", *paths, *options]) == 0
    captured = capsys.readouterr()
    assert captured.out.strip() == str(out)
    assert "group 1: spread" in captured.err
    assert "group 1: similarity of maps" in captured.err
    assert "all groups: cosine of cells" in captured.err
    names = {path.name for path in out.iterdir()}
    assert names == OF_PAIRS | {"run.json"}
    head, row, whole, cells = (line.split(",") for line in (out / "comparison.csv").read_text().splitlines())
    values = dict(zip(head, row, strict=True))
    assert values["group"] == "1"
    assert 0 <= float(values["p"]) <= 1
    assert float(values["spread_before"]) < float(values["spread_after"])
    assert 0 <= float(values["spread_p"]) <= 1
    assert float(values["interval_low"]) <= float(values["interval_high"])
    # One group alone is all there is.
    assert whole[0] == "all"
    assert whole[1] == row[1]
    assert cells[0] == "all (cosine of cells)"


def test_a_result_is_replaced_by_a_comparison_on_request_only(folder, capsys):
    path, out = str(folder / "frames.npy"), folder / "out"
    command = ["compare", path, path, "--model", str(MODEL), "-o", str(out)]
    assert cli.main(["stimulus", path, "--model", str(MODEL), "-o", str(out)]) == 0
    before = (out / "run.json").read_bytes()
    capsys.readouterr()
    assert cli.main(command) == 1
    assert "got one with run.json; give another -o, or replace it with --overwrite" in capsys.readouterr().err
    assert (out / "run.json").read_bytes() == before
    assert cli.main([*command, "--overwrite"]) == 0
    assert (out / "comparison.csv").exists()


def test_a_simulated_recording_is_what_the_pipeline_reads(tmp_path, capsys):
    out = tmp_path / "sim"
    options = ["--cells", "4", "--groups", "2", "--trials", "3", "--size", "64"]
    assert cli.main(["simulate", "stimulus", *options, "-o", str(out)]) == 0
    names = {path.name for path in out.iterdir()}
    assert names == {"frames.tif", "stimuli.csv", "masks.npz", "coupling.csv", "run.json"}
    from calzoo.imaging.movies import open_movie

    with open_movie(out / "frames.tif") as movie:
        assert movie.frame_rate_hz == 2
        stimuli = read_stimuli(out / "stimuli.csv", frames=len(movie))
    assert stimuli.names == ("1", "2", "1+2", "3", "4", "3+4", "none")
    assert len(stimuli) == len(movie)


@pytest.mark.parametrize(("count", "heading"), [(43, "40 of 43 conditions"), (40, "")])
def test_a_gallery_says_that_it_shows_some_conditions_only(tmp_path, monkeypatch, count, heading):
    drawn = []
    monkeypatch.setattr(stimulus_report, "save_figure", lambda figure, path, dpi: drawn.append(figure))
    names = [str(number) for number in range(count)]
    analysis = SimpleNamespace(stimuli=SimpleNamespace(names=names), mean_cams=np.zeros((count, 4, 4)))
    draw_gallery(tmp_path / "gallery.png", analysis)
    assert drawn[0].get_suptitle() == heading
