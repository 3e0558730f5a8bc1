"""The pipeline of the centres: from a movie to points, traces, masks and files."""

import csv
import json
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import tifffile

import calzoo.cli
from calzoo.annotation.curate import Curation
from calzoo.errors import CalzooError
from calzoo.imaging import center_drawings as drawings
from calzoo.imaging.center_channels import smoothed
from calzoo.imaging.center_traces import extract_activity
from calzoo.imaging.figures import save_figure, subplots
from calzoo.imaging.frames import ArrayMovie
from calzoo.imaging.imagej_rois import read_rois
from calzoo.imaging.mask_pictures import read_mask
from calzoo.imaging.masks import Masks, read_masks, write_masks
from calzoo.inference import centers
from calzoo.inference.center_network import CenterNetwork
from calzoo.inference.centers import Centers, find_centers, run_centers
from calzoo.inference.models import load_model
from calzoo.metrics.centers import score_centers, trace_correlation

MODELS = Path(__file__).resolve().parent / "models"
SUMMITS = {"model": MODELS / "summits.onnx", "provider": "cpu", "threads": 1}
FILES = [
    "centers.csv",
    "labels.tif",
    "masks.npz",
    "overlay.png",
    "rois.zip",
    "run.json",
    "stages.png",
    "traces.csv",
]
EXTRA = ["histograms.png", "on_mask.png", "pictures.png"]
AT = np.array([(14.0, 20.0), (31.5, 44.0), (40.0, 11.0), (17.0, 52.0)])


def blinking(rng, at=AT, shape=(120, 54, 66), sigma=2.4, height=25.0):
    """Return a noisy movie of cells that blink one after the other, and their brightness (N, T)."""
    rows, columns = np.mgrid[: shape[1], : shape[2]]
    light = np.zeros((len(at), shape[0]))
    for number in range(len(at)):
        for start in (6 + 11 * number, 66 + 12 * number):
            light[number, start : start + 6] = height
    spots = [np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / (2 * sigma**2)) for y, x in at]
    movie = np.tensordot(light.T, np.reshape(spots, (len(at), *shape[1:])), axes=1)
    return (movie + rng.normal(100, 1, shape)).astype(np.float32), light


class Counted(ArrayMovie):
    """A movie that remembers how many frames were asked for at a time."""

    def __init__(self, array):
        super().__init__(array)
        self.asked = []

    def frames(self, start, stop):
        frames = super().frames(start, stop)
        self.asked.append(len(frames))
        return frames


@pytest.fixture
def movie_file(rng, tmp_path):
    path = tmp_path / "movie.tif"
    tifffile.imwrite(
        path, blinking(rng)[0].astype(np.uint16), photometric="minisblack", metadata={"axes": "TYX"}
    )
    return path


def test_cells_that_blink_are_found_where_they_are(rng):
    movie, light = blinking(rng)
    found = find_centers(movie, diameter=8, **SUMMITS)
    scores = score_centers(AT, found.points, diameter=2.0)
    assert (scores.hits, scores.found) == (4, 4)
    order = [int(np.hypot(*(found.points - place).T).argmin()) for place in AT]
    assert trace_correlation(light, found.traces[order]).min() > 0.97
    assert found.hits[order].tolist() == pytest.approx([12] * 4, abs=2)
    assert (np.diff(found.scores) <= 0).all()
    np.testing.assert_allclose(found.radii, 4.0, rtol=0.05)


def test_masks_belong_to_their_centres_and_do_not_overlap(rng):
    found = find_centers(blinking(rng)[0], diameter=8, **SUMMITS)
    assert found.masks.count().max() == 1
    assert np.abs(found.masks.centers - found.points).max() < 1.5


def test_masks_of_large_cells_have_no_steps_of_the_grid(rng, monkeypatch):
    """A body that is round on the grid, three pixels of the frame apart, is round in the frame."""
    heat = CenterNetwork.heat

    def with_round_body(self, pictures):
        result = heat(self, pictures)
        y, x = np.indices(result.shape[:2])
        result[..., 1] = np.clip(0.5 + (4 - np.hypot(y - 19.5, x - 19.5)) / 8, 0, 1)
        return result

    monkeypatch.setattr(CenterNetwork, "heat", with_round_body)
    found = find_centers(
        blinking(rng, at=[(59.5, 59.5)], shape=(60, 120, 120), sigma=7.2)[0], diameter=24, **SUMMITS
    )
    rows, columns = np.indices((120, 120))
    disk = np.hypot(rows - 59.5, columns - 59.5) <= 12
    mask = found.masks.count() > 0
    assert found.count == 1
    assert (mask & disk).sum() > 0.97 * (mask | disk).sum()


def test_cells_that_blink_in_one_window_only_are_found(rng):
    movie, _ = blinking(rng)
    movie[60:] = rng.normal(100, 1, (60, *movie.shape[1:]))
    assert score_centers(AT, find_centers(movie, diameter=8, **SUMMITS).points, diameter=2).recall == 1


def test_diameter_is_measured_where_it_is_not_given(rng, monkeypatch):
    at = np.stack(np.meshgrid([16, 42, 68, 94], [18, 44, 70, 96], indexing="ij"), -1).reshape(-1, 2)
    movie, _ = blinking(rng, at=at, shape=(200, 112, 116), sigma=3.2)
    found = find_centers(movie, **SUMMITS)
    # The tiny network always says 4 pixels, so the first guess that shows enough cells stays.
    assert found.diameter_px == 10.0
    assert score_centers(at, found.points, diameter=3).recall == 1
    heat = CenterNetwork.heat

    def seven_pixels_of_the_frame(self, pictures):
        result = heat(self, pictures)
        result[..., 2] = 7 * pictures.shape[0] / movie.shape[1]
        return result

    monkeypatch.setattr(CenterNetwork, "heat", seven_pixels_of_the_frame)
    assert find_centers(movie, **SUMMITS).diameter_px == pytest.approx(14, rel=0.05)


def test_large_cells_are_seen_without_a_diameter(rng):
    at = np.array([(30.0, 32.0), (84.0, 40.0), (40.0, 100.0), (104.0, 110.0)])
    rows, columns = np.mgrid[:140, :150]
    movie = rng.normal(200, 3, (60, 140, 150)).astype(np.float32)
    for number, (y, x) in enumerate(at):
        movie[6 + 12 * number : 13 + 12 * number] += 60 * (np.hypot(rows - y, columns - x) <= 20)
    found = find_centers(movie, provider="cpu", threads=1)
    assert 24 < found.diameter_px < 45
    assert score_centers(at, found.points, diameter=20).f1 == 1


def test_a_movie_is_read_in_parts(rng):
    movie = Counted(rng.poisson(50, (1500, 40, 50)).astype(np.uint16))
    find_centers(movie, diameter=8, **SUMMITS)
    assert max(movie.asked) < 750


def test_traces_of_large_frames_are_read_few_at_a_time():
    movie = Counted(np.zeros((64, 512, 512), np.uint8))
    extract_activity(movie, [[200, 300]], [6.0])
    assert (max(movie.asked), sum(movie.asked)) == (32, 64)


def test_count_returns_so_many_and_score_only_the_likely(rng):
    movie, _ = blinking(rng)
    assert find_centers(movie, diameter=8, count=2, **SUMMITS).count == 2
    many = find_centers(movie, diameter=8, count=9, **SUMMITS)
    assert many.count == 9  # more than there are: the next likely
    high = find_centers(movie, diameter=8, score=0.97, **SUMMITS)
    assert high.count < many.count
    assert (high.scores >= 0.97).all()


def test_fast_movies_are_averaged_for_the_search_and_traces_keep_every_frame(rng):
    movie, _ = blinking(rng)
    fast = ArrayMovie(movie.repeat(3, axis=0), frame_rate_hz=30.0)
    found = find_centers(fast, diameter=8, **SUMMITS)
    assert found.traces.shape == (4, 360)
    assert score_centers(AT, found.points, diameter=2).f1 == 1


def test_cells_are_round_where_pixels_are_not_square(rng):
    # Columns are half as far apart as rows: in pixels, cells are twice as wide as high.
    rows, columns = np.mgrid[:54, :132]
    spots = [np.exp(-((rows - y) ** 2 + (0.5 * columns - x) ** 2) / 11.5) for y, x in AT]
    light = blinking(rng)[1]
    movie = np.tensordot(light.T, np.array(spots), axes=1) + rng.normal(100, 1, (120, 54, 132))
    found = find_centers(movie, diameter="16um", pixel_um=(2.0, 1.0), **SUMMITS)
    assert score_centers(AT * (1, 2), found.points, diameter=3).f1 == 1
    assert found.diameter_px == pytest.approx(8 * np.sqrt(2))  # of pixels of the mean side
    np.testing.assert_allclose(found.table["radius_um"], 8, rtol=0.1)
    order = [int(np.hypot(*(found.points - place).T).argmin()) for place in AT * (1, 2)]
    assert trace_correlation(light, found.traces[order]).min() > 0.97
    for rows, columns in found.masks:
        assert 1.5 < np.ptp(columns) / np.ptp(rows) < 2.6


def test_arrays_take_pixel_size_and_frame_rate(rng, monkeypatch):
    movie, _ = blinking(rng)
    asked, slowed = [], centers._slowed

    def spied(movie, rate):
        asked.append(rate)
        return slowed(movie, rate)

    monkeypatch.setattr(centers, "_slowed", spied)
    found = find_centers(movie, diameter="16um", pixel_um=(2, 2), frame_rate_hz=30.0, **SUMMITS)
    assert (found.diameter_px, asked) == (8.0, [30.0])
    np.testing.assert_allclose(found.table["y_um"], 2 * found.points[:, 0])
    with pytest.raises(CalzooError, match=r"pixel size: expected two lengths in micrometres \(y, x\)"):
        find_centers(movie, pixel_um=2, **SUMMITS)


@pytest.mark.parametrize("dtype", [np.uint8, ">u2", np.int16, np.float64])
def test_every_data_type_gives_the_same_cells(rng, dtype):
    found = find_centers(np.round(blinking(rng)[0]).astype(dtype), diameter=8, **SUMMITS)
    assert score_centers(AT, found.points, diameter=2).f1 == 1


def test_a_shift_of_the_movie_shifts_the_cells(rng):
    movie, _ = blinking(rng)
    here = find_centers(movie, diameter=8, **SUMMITS).points
    there = find_centers(
        np.pad(movie, ((0, 0), (8, 0), (16, 0)), mode="symmetric"), diameter=8, **SUMMITS
    ).points
    assert score_centers(here + (8, 16), there, diameter=1.5).recall == 1


@pytest.mark.parametrize("movie", ["noise", "constant", "black"])
def test_a_movie_without_cells_has_none(rng, movie):
    frames = {
        "noise": rng.normal(100, 3, (80, 40, 50)),
        "constant": np.full((60, 40, 50), 9, np.uint8),
        "black": np.zeros((60, 40, 50), np.uint16),
    }[movie]
    found = find_centers(frames, **SUMMITS)
    assert found.count <= 1
    assert found.traces.shape == (found.count, len(frames))
    assert np.isfinite(found.traces).all()


def test_short_movies_are_searched_with_a_warning(rng):
    with pytest.warns(UserWarning, match="the movie has 2 frames; from fewer than some 50 cells are missed"):
        found = find_centers(rng.normal(100, 3, (2, 40, 50)), **SUMMITS)
    assert found.count <= 1
    assert found.traces.shape == (found.count, 2)


def test_one_cell_is_one_cell(rng):
    found = find_centers(blinking(rng, at=AT[:1])[0], **SUMMITS)
    assert found.count == 1
    np.testing.assert_allclose(found.points, AT[:1], atol=0.5)


def test_constant_pixels_are_no_cells(rng):
    movie, _ = blinking(rng)
    movie[:, 5:9] = 0
    movie[:, :, 30:33] = 255
    found = find_centers(movie, diameter=8, **SUMMITS)
    assert score_centers(AT, found.points, diameter=3).f1 == 1


def test_frames_smaller_than_the_divisor_are_padded(rng):
    movie, _ = blinking(rng, at=np.array([(3.0, 4.0)]), shape=(60, 7, 9))
    found = find_centers(movie, diameter=4, **SUMMITS)
    assert found.count == 1
    assert ((found.points >= 0) & (found.points <= (6, 8))).all()


@pytest.mark.parametrize(
    ("frames", "reason"),
    [
        (np.ones((20, 30)), "a movie has three axes"),
        (np.ones((1, 20, 30)), r"at least 2 frame\(s\)"),
        (np.ones((9, 20, 30, 3)), "a movie has three axes"),
        (np.full((60, 20, 30), np.nan), "NaN or infinity"),
        (np.ones((9, 20, 30), complex), "real numbers"),
    ],
    ids=["picture", "one frame", "colours", "NaN", "complex"],
)
def test_what_is_no_movie_is_refused(frames, reason):
    with pytest.raises(CalzooError, match=reason):
        find_centers(frames, diameter=5, **SUMMITS)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"score": 1.5}, "score: expected the least probability of a centre, between 0 and 1, got 1.5"),
        ({"count": 0}, "count: expected a whole number from 1 on, got 0"),
        ({"count": True}, "count: expected a whole number from 1 on, got True"),
        ({"score": "x"}, "score: expected the least probability of a centre, between 0 and 1, got 'x'"),
        ({"diameter": "wide"}, "diameter: expected a size above 0, such as 12, 12px or 10um; got 'wide'"),
        ({"diameter": "14um"}, "the pixel size is not known"),
        ({"diameter": 90}, "expected 2 pixels to half of the longer side"),
        ({"diameter": 1}, "expected 2 pixels to half of the longer side .*, got 1"),
    ],
)
def test_options_that_make_no_sense_are_refused(rng, options, reason):
    with pytest.raises(CalzooError, match=reason):
        find_centers(rng.random((10, 30, 40)), **options, **SUMMITS)


def test_frames_in_which_no_cell_fits_are_refused(rng):
    with pytest.raises(CalzooError, match=r"frames with a side of 4 pixels or more, .* got frames of 2 x 2"):
        find_centers(rng.random((10, 2, 2)), **SUMMITS)


def test_a_network_of_another_task_is_refused():
    with pytest.raises(CalzooError, match="expected a network for the task 'centers', got one for 'axons'"):
        CenterNetwork(load_model(MODELS / "smooth.onnx", provider="cpu"))


def test_windows_cover_every_frame_once():
    network = CenterNetwork(load_model(MODELS / "summits.onnx", provider="cpu"))
    assert network.spans(2) == [(0, 2)]
    spans = network.spans(200)
    assert [b for _, b in spans[:-1]] == [a for a, _ in spans[1:]]
    assert (spans[0][0], spans[-1][1], len(spans)) == (0, 200, 3)


def test_where_nothing_can_be_written_nothing_is_computed(movie_file, tmp_path, monkeypatch):
    (tmp_path / "out.part").mkdir()
    (tmp_path / "out.part" / "mine.txt").touch()
    monkeypatch.setattr(centers, "find_centers", lambda *args, **options: pytest.fail("the work was begun"))
    with pytest.raises(CalzooError, match="work goes there until it is finished"):
        run_centers(movie_file, tmp_path / "out", diameter=8, **SUMMITS)


def test_a_run_writes_all_files_with_their_columns(movie_file, tmp_path, capsys):
    found = run_centers(movie_file, tmp_path / "out", diameter=8, **SUMMITS)
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == FILES
    with open(tmp_path / "out" / "centers.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0])[:4] == ["y", "x", "score", "id"]
    assert [float(row["y"]) for row in rows] == pytest.approx(found.points[:, 0])
    assert rows[0]["y_um"] == ""
    assert "pixel size is not known, columns in um stay empty; give --pixel Y,X." in capsys.readouterr().err
    with open(tmp_path / "out" / "traces.csv", newline="") as file:
        traces = list(csv.DictReader(file))
    assert len(traces) == 120
    assert float(traces[7]["cell_1"]) == pytest.approx(found.traces[0, 7], rel=1e-4, abs=1e-4)
    assert len(read_masks(tmp_path / "out" / "masks.npz")) == found.count == 4
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "out" / "labels.tif"), found.masks.labels())
    rois = read_rois(tmp_path / "out" / "rois.zip", found.masks.shape)
    np.testing.assert_array_equal(rois.areas, found.masks.areas)
    facts = json.loads((tmp_path / "out" / "run.json").read_text())
    assert (facts["cells"], facts["parameters"]["diameter_px"], facts["model"]["name"]) == (4, 8.0, "summits")


def test_known_pixels_and_frame_rate_give_micrometres_and_seconds(movie_file, tmp_path):
    found = run_centers(
        movie_file, tmp_path / "out", diameter="8px", pixel_um=(2.0, 0.5), frame_rate_hz=5.0, **SUMMITS
    )
    table = np.genfromtxt(tmp_path / "out" / "centers.csv", delimiter=",", names=True)
    for name, values in (("y_um", 2 * found.points[:, 0]), ("x_um", found.points[:, 1] / 2)):
        np.testing.assert_allclose(table[name], values, rtol=1e-5)
    np.testing.assert_allclose(table["radius_um"], found.radii, rtol=1e-5)  # sides of 1 um in the mean
    traces = np.genfromtxt(tmp_path / "out" / "traces.csv", delimiter=",", names=True)
    np.testing.assert_allclose(traces["time_s"], np.arange(120) / 5, rtol=1e-5)


def test_without_noise_there_is_no_peak_to_noise():
    masks = Masks.from_pixels((9, 9), [([2], [2]), ([6], [6])])
    traces, noise = np.float32([[0, 8, 0], [0, 0, 0]]), np.float32([2, 0])
    points, ones = np.array([(2.0, 2.0), (6.0, 6.0)]), np.ones(2, np.float32)
    found = Centers(points, ones, ones, traces, noise, np.array([1, 0]), masks, None, 2.0, "cpu")
    np.testing.assert_array_equal(found.table["peak_to_noise"], [4, np.nan])


def test_a_movie_without_cells_is_written_too(tmp_path, capsys):
    np.save(tmp_path / "still.npy", np.full((12, 30, 40), 5, np.uint8))
    words = [
        "centers",
        tmp_path / "still.npy",
        "-o",
        tmp_path / "out",
        "--model",
        SUMMITS["model"],
        "--details",
    ]
    assert calzoo.cli.main(list(map(str, words))) == 0
    assert "no cells, looked for at about 10.0 px, computed on" in capsys.readouterr().err
    assert {p.name for p in (tmp_path / "out").iterdir()} == {*FILES, *EXTRA} - {"on_mask.png"}


def test_command_finds_centres_draws_them_on_a_mask_and_skips_what_is_finished(movie_file, tmp_path, capsys):
    known = np.ones((1, 54, 66), bool)
    known[:, 27:, 33:] = False  # one of the four
    write_masks(tmp_path / "known.npz", cells=Masks.from_stack(known))
    command = ["centers", movie_file, "-o", tmp_path / "out", "--model", MODELS / "summits.onnx"]
    command += ["--diameter", "8px", "--provider", "cpu", "--mask", tmp_path / "known.npz", "--details"]
    assert calzoo.cli.main([str(word) for word in command]) == 0
    said = capsys.readouterr()
    assert "4 cells of about 8.0 px, computed on cpu" in said.err
    assert "3 of 4 centres on the mask (75%), of random ones 75%: chance-corrected score 0.000" in said.err
    facts = json.loads((tmp_path / "out" / "run.json").read_text())["on_mask"]
    assert facts == {"points": 4, "hits": 3, "share": 0.75, "expected": 0.75, "chance_corrected": 0}
    assert said.out.strip() == str(tmp_path / "out")
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == sorted([*FILES, *EXTRA])
    assert calzoo.cli.main([str(word) for word in command]) == 0
    assert "skipped" in capsys.readouterr().err
    assert calzoo.cli.main([*map(str, command), "--count", "2"]) == 1
    assert "holds the result of other options (count)" in capsys.readouterr().err
    write_masks(tmp_path / "known.npz", cells=Masks.from_stack(np.ones((2, 54, 66), bool)))
    assert calzoo.cli.main([str(word) for word in command]) == 1
    assert "holds the result of other options (mask)" in capsys.readouterr().err


def test_a_mask_may_be_one_group_of_several(movie_file, tmp_path, capsys):
    for name in ("two", "one"):
        known = Masks.from_stack(np.full((1, 54, 66), name == "two"))
        write_masks(tmp_path / f"{name}.npz", bright=known, dim=Masks.from_stack(np.eye(54, 66)[None] > 0))
    command = ["centers", movie_file, "-o", tmp_path / "out", "--model", SUMMITS["model"], "--mask"]
    command = [str(word) for word in [*command, tmp_path / "two.npz"]]
    assert calzoo.cli.main(command) == 1
    told = capsys.readouterr().err
    assert "there is no group of masks 'cells'; found: bright, dim; name one as group" in told
    assert calzoo.cli.main([*command, "--group", "bright"]) == 0
    assert "4 of 4 centres on the mask (100%)" in capsys.readouterr().err
    assert calzoo.cli.main([*command, "--group", "dim"]) == 1  # another result
    assert "another" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("mask", "reason"),
    [(None, "there are none; give them as mask"), ("m.png", "a picture has no groups of masks")],
)
def test_a_group_without_groups_is_refused(movie_file, tmp_path, mask, reason):
    pytest.importorskip("PIL.Image").fromarray(np.zeros((54, 66), np.uint8)).save(tmp_path / "m.png")
    with pytest.raises(CalzooError, match=reason):
        run_centers(movie_file, tmp_path / "out", mask=mask and tmp_path / mask, group="cells", **SUMMITS)


def test_what_was_kept_of_earlier_cells_goes_with_them(movie_file, tmp_path):
    run_centers(movie_file, tmp_path / "out", **SUMMITS)
    curation = Curation(tmp_path / "out")
    curation.toggle()
    curation.save()
    run_centers(movie_file, tmp_path / "out", **SUMMITS | {"count": 2})
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == FILES


def test_what_other_commands_left_of_other_cells_goes(movie_file, tmp_path):
    (tmp_path / "out" / "suite2p" / "plane0").mkdir(parents=True)
    of_cells = ("cells.csv", "dff.csv", "neuropil.csv", "caiman_A.npz", "cells.nwb", "suite2p/plane0/F.npy")
    for name in (*of_cells, "centers.npz", "curation.csv", "run.json"):
        (tmp_path / "out" / name).touch()
    run_centers(movie_file, tmp_path / "out", **SUMMITS)
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == FILES


def test_a_mask_that_is_read_is_not_replaced(movie_file, tmp_path):
    (tmp_path / "out").mkdir()
    mask = tmp_path / "out" / "masks.npz"
    write_masks(mask, cells=Masks.from_stack(np.ones((1, 54, 66), bool)))
    (tmp_path / "out" / "run.json").touch()
    before = mask.read_bytes()
    with pytest.raises(CalzooError, match=r"would replace .*masks\.npz, which belongs to the input"):
        run_centers(movie_file, tmp_path / "out", mask=mask, **SUMMITS)
    assert mask.read_bytes() == before


@pytest.mark.parametrize("name", sorted({*FILES, *EXTRA} - {"run.json"}))
def test_files_of_another_program_are_refused_before_the_work(tmp_path, name):
    (tmp_path / name).touch()
    with pytest.raises(CalzooError, match=f"{name} is there already, which would be replaced"):
        run_centers("no movie", tmp_path, mask="no mask", details=True)


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int16", "int32", "int64", "float32", "float64"])
def test_a_mask_may_be_a_label_image_of_any_type(tmp_path, dtype):
    labels = np.zeros((20, 30), dtype)
    labels[3:6, 4:9] = min(100, 1 if dtype == "bool" else 100)
    tifffile.imwrite(tmp_path / "labels.tif", labels, photometric="minisblack")
    np.testing.assert_array_equal(read_mask(tmp_path / "labels.tif", (20, 30)), labels > 0)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "RGB", "RGBA"])
def test_a_mask_may_be_a_picture(tmp_path, mode):
    image = pytest.importorskip("PIL.Image")
    mask = np.zeros((20, 30), bool)
    mask[3:6, 4:9] = True
    image.fromarray(mask.astype(np.uint8) * 255).convert(mode).save(tmp_path / "mask.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.png", (20, 30)), mask)


def test_a_stack_is_no_mask(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((2, 20, 30), np.uint16), photometric="minisblack")
    with pytest.raises(CalzooError, match=r"one picture \(Y, X\) .*, got an array of shape \(2, 20, 30\)"):
        read_mask(tmp_path / "a.tif", (20, 30))
    (tmp_path / "b.tif").write_bytes(b"no picture")
    with pytest.raises(CalzooError, match=r"expected masks \(\.npz\) or a picture .* neither"):
        read_mask(tmp_path / "b.tif", (20, 30))


@pytest.mark.parametrize(("pixels", "frames"), [(None, 120), (50 * 54 * 66, 40), (1, 15)])
def test_a_still_picture_holds_few_frames_of_any_movie(rng, monkeypatch, pixels, frames):
    movie = Counted(blinking(rng)[0])
    if pixels:
        monkeypatch.setattr(drawings, "_PIXELS", pixels)
    drawings.still_picture(movie, 8)
    assert sum(movie.asked) == frames


def test_a_still_picture_takes_hardly_more_memory_for_more_frames(rng):
    frames = rng.normal(100, 3, (512, 64, 64)).astype(np.float32)
    peaks = []
    for count in (64, 512):
        tracemalloc.start()
        picture = drawings.still_picture(frames[:count], 8)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0]
    sharp = frames[::3] - smoothed(frames[::3], 6.0)  # what it is, all at once
    np.testing.assert_allclose(picture, sharp.max(axis=0) - np.median(sharp[::2], axis=0), atol=1e-3)


def test_what_is_left_of_a_frame_is_what_cells_do_not_explain(rng):
    movie, _ = blinking(rng)
    found = find_centers(movie, diameter=8, **SUMMITS)
    frame = int(found.traces.sum(axis=0).argmax())
    picture, rendered, made = drawings.stages(found, ArrayMovie(movie), frame)
    left = picture - made
    assert picture.max() > 15
    assert rendered.max() == pytest.approx(1, abs=0.1)
    assert left.min() > -6  # more than that was taken away where the splats were not band-passed
    assert left.std() < 0.6 * picture.std()


def test_mask_of_another_size_is_refused_before_the_work(movie_file, tmp_path):
    write_masks(tmp_path / "known.npz", cells=Masks.from_stack(np.ones((1, 5, 6), bool)))
    with pytest.raises(CalzooError, match=r"mask of the movie's frames \(54, 66\), got \(5, 6\)"):
        run_centers(movie_file, tmp_path / "out", mask=tmp_path / "known.npz", **SUMMITS)
    assert not (tmp_path / "out").exists()


def test_pictures_of_anything_are_drawn(rng, tmp_path):
    drawings.draw_feature_maps(tmp_path / "maps.png", rng.random((8, 9, 5)))
    drawings.draw_histograms(tmp_path / "counts.png", {"a": rng.random(50), "b": np.zeros(3)})
    drawings.draw_losses(tmp_path / "losses.png", {"loss": [3, 2, 1]})
    ways = rng.uniform(0, 8, (4, 6, 2))
    drawings.draw_trajectories(tmp_path / "ways.png", rng.random((9, 9)), ways, kept=np.array([0, 3]))
    drawings.draw_on_mask(tmp_path / "mask.png", np.eye(9) > 0, np.empty((0, 2)))
    assert len(list(tmp_path.glob("*.png"))) == 5


def test_histograms_of_few_values_count_in_whole_numbers(rng, tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(drawings, "save_figure", lambda figure, path: drawn.append(figure))
    drawings.draw_histograms(tmp_path / "h.png", {"radii": rng.random(99), "heat": rng.random(9999)})
    assert [axes.get_yscale() for axes in drawn[0].axes] == ["linear", "log"]


def test_titles_may_have_letters_that_the_font_lacks(tmp_path):
    figure, axes = subplots(1, 1, 2, 2)
    axes.set_title("\u7ec6\u80de.tif")
    save_figure(figure, tmp_path / "cells.png")
    assert (tmp_path / "cells.png").stat().st_size > 100
