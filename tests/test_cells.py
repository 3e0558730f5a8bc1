"""The cell pipeline, with networks that recognise disks; and the parts that it is made of."""

import csv
import itertools
import json

import cell_fakes
import numpy as np
import pytest
from scipy import ndimage
from test_centers import Counted

from calzoo.errors import CalzooError
from calzoo.imaging.cell_files import TRACE_TABLES
from calzoo.imaging.masks import Masks, read_masks
from calzoo.imaging.traces import trace_delta_f_over_f
from calzoo.inference import cell_masks, cell_scale, cells
from calzoo.inference.cell_networks import CellNetworks, _spans
from calzoo.inference.cells import find_cells, run_cells
from calzoo.metrics.matching import assign

#: Most movies here are short.
pytestmark = pytest.mark.filterwarnings("ignore:the movie has:UserWarning")
FILES = {"masks.npz", "labels.tif", "rois.zip", "cells.csv", "overlay.png", "caiman_A.npz", *TRACE_TABLES}
FILES |= {f"suite2p/plane0/{name}.npy" for name in ("F", "Fneu", "iscell", "ops", "spks", "stat")}


def matched(truth, masks, least=0.6):
    """Return how many true masks are found with at least this IoU."""
    found = masks.stack()
    common = np.einsum("iyx,jyx->ij", truth.astype(float), found.astype(float))
    union = truth.sum((1, 2))[:, None] + found.sum((1, 2))[None] - common
    iou = common / np.maximum(union, 1)
    return len(assign(iou, iou >= least)[0])


@pytest.mark.parametrize("diameter", [7.0, 12.0, 19.0])
def test_every_disk_is_found_once_in_the_pixels_of_the_recording(rng, diameter):
    picture, truth = cell_fakes.disks(rng, (180, 260), diameter, 20)
    found = find_cells(summary=picture, model=cell_fakes.fake_networks(), diameter=diameter)
    assert found.masks.shape == (180, 260)
    assert found.count == len(truth) == matched(truth, found.masks, 0.65)
    assert found.heat.shape == (180, 260)
    assert (np.diff(found.scores) <= 0).all()


@pytest.fixture
def no_doubt(monkeypatch):
    """Let the estimate count: to networks that take all that is bright for cells noise is full of them."""
    monkeypatch.setattr(cell_scale, "_stands_out", lambda *args: True)


@pytest.mark.usefixtures("no_doubt")
@pytest.mark.parametrize("diameter", [6.0, 9.0, 14.0, 25.0])
def test_diameter_is_estimated_from_the_picture(rng, diameter):
    side = int(18 * diameter)
    picture, truth = cell_fakes.disks(rng, (side, side), diameter, 30)
    found = find_cells(summary=picture, model=cell_fakes.fake_networks())
    assert found.diameter_px == pytest.approx(diameter, rel=0.15)
    assert matched(truth, found.masks) >= 0.9 * len(truth)


@pytest.mark.parametrize(("finer", "expected"), [(1.0, 16.5), (1.15, 16.5), (1.3, 5.5)])
def test_of_scales_that_are_about_as_sure_the_coarsest_is_taken(monkeypatch, finer, expected):
    """Parts of cells look like small cells, but not much more so than the cells themselves."""
    sure = {5.5: finer, 8.0: 0.3, 11.5: 0.5, 16.5: 1.0, 24.0: 0.7, 34.0: 0.0}
    monkeypatch.setattr(cell_scale, "_try", lambda networks, seen, d: (sure.get(d, 1.0), 1.0))
    assert cell_scale.estimate_diameter(None, None) == (expected, max(finer, 1.0) if expected == 5.5 else 1.0)


def test_a_correction_after_which_the_networks_are_less_sure_goes_half_of_the_way(monkeypatch):
    sure = {11.5: (1.0, 0.5), 5.75: (0.8, 0.9)}
    monkeypatch.setattr(cell_scale, "_try", lambda networks, seen, d: sure.get(d, (0.1, 1.0)))
    found, _ = cell_scale.estimate_diameter(None, None)
    assert found == pytest.approx(np.sqrt(11.5 * 5.75))


def test_half_of_the_way_is_no_diameter_that_is_too_small(monkeypatch):
    sure = {1.5: (1.0, 0.5)}
    monkeypatch.setattr(cell_scale, "_try", lambda networks, seen, d: sure.get(d, (0.1, 1.0)))
    assert cell_scale.estimate_diameter(None, None, first=1.5)[0] == cell_scale.SMALLEST


DOUBT = "hardly more than noise would, so the diameter cannot be estimated"


def movie_of(rng, centers, diameter):
    """Return a noisy movie (120, 100, 110) of cells that fire now and then."""
    y, x = np.indices((100, 110))
    movie = rng.normal(200, 8, (120, 100, 110))
    for number, (a, b) in enumerate(centers):
        shape = 1 / (1 + np.exp((np.hypot(y - a, x - b) - diameter / 2) / 0.7))
        movie += 60 * (np.arange(120) % 40 // 8 == number)[:, None, None] * shape
    return movie.astype(np.float32)


@pytest.mark.parametrize("blur", [0, 1])
def test_noise_is_no_movie_of_many_small_cells(rng, blur):
    movie = ndimage.gaussian_filter(rng.normal(200, 20, (120, 100, 110)), (0, blur, blur))
    with pytest.warns(UserWarning, match=DOUBT):
        found = find_cells(movie.astype(np.float32), threads=1, traces=False)
    assert found.count <= 1
    assert found.least_score == 0.85


@pytest.mark.parametrize("diameter", [8.0, 13.0, 24.0])
def test_few_cells_are_found_without_what_only_might_be_some(rng, diameter):
    centers = [(30, 30), (65, 75)]
    with pytest.warns(UserWarning, match=DOUBT):
        found = find_cells(movie_of(rng, centers, diameter), threads=1, traces=False)
    assert found.count == 2
    np.testing.assert_allclose(sorted(found.centers.tolist()), centers, atol=1.5)


def test_a_least_score_that_is_given_counts_in_doubt_too(rng):
    with pytest.warns(UserWarning, match="with a score of at least 0.3"):
        found = find_cells(movie_of(rng, [(30, 30)], 13.0), threads=1, traces=False, score=0.3)
    assert found.least_score == 0.3


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("diameter", ["12um", None])
def test_cells_are_round_in_micrometres(rng, axis, diameter):
    """Every third row or column: disks in micrometres are ellipses in pixels."""
    picture, truth = cell_fakes.disks(rng, (260, 260), 12.0, 25)
    thin = (slice(None), slice(1, None, 3))[:: -1 if axis == 0 else 1]
    pixel_um = (1.0, 3.0)[:: -1 if axis == 0 else 1]
    found = find_cells(
        summary=picture[thin], model=cell_fakes.fake_networks(), diameter=diameter, pixel_um=pixel_um
    )
    assert found.masks.shape == picture[thin].shape
    assert found.diameter_px == pytest.approx(12 / np.sqrt(3), rel=0.15)
    assert found.count == len(truth) == matched(truth[:, *thin], found.masks, 0.6)


def test_pixel_size_is_where_the_estimate_begins(rng):
    picture, _ = cell_fakes.disks(rng, (200, 200), 10.0, 20)
    found = find_cells(summary=picture, model=cell_fakes.fake_networks(), pixel_um=(1.1, 1.1))
    assert found.diameter_px == pytest.approx(10.0, rel=0.15)


@pytest.mark.usefixtures("no_doubt")
@pytest.mark.parametrize("side", [0.02, 1e6, 1e-9])
def test_wrong_pixel_size_in_a_file_does_no_harm(rng, side):
    picture, _ = cell_fakes.disks(rng, (200, 200), 10.0, 20)
    found = find_cells(summary=picture, model=cell_fakes.fake_networks(), pixel_um=(side, side))
    assert found.diameter_px == pytest.approx(10.0, rel=0.15)


def test_cells_wider_than_half_of_the_picture_are_refused(rng):
    options = {"model": cell_fakes.fake_networks(), "diameter": "50um", "pixel_um": (0.5, 2.0)}
    picture = rng.random((80, 40))  # of 40 um x 80 um
    with pytest.raises(CalzooError, match=r"at most 40 pixels, half of the longer side, got 50 of '50um'"):
        find_cells(summary=picture, **options)
    with pytest.raises(CalzooError, match=r"at most 40 pixels, half of the longer side, got 50 of '50um'"):
        find_cells(Unread((60, 80, 40)), **options)


class Unread:
    """A movie that nobody may read."""

    def __init__(self, shape):
        self.shape, self.dtype = shape, np.dtype("uint16")

    def frames(self, start, stop):
        raise AssertionError


def test_cell_at_the_edge_is_cut_off_there(rng):
    picture, truth = cell_fakes.disks(rng, (96, 96), 12.0, 4, edge=1.5)
    y, x = np.indices((96, 96))
    disk = np.hypot(y - 1, x - 50) <= 6
    found = find_cells(summary=picture + 400 * disk, model=cell_fakes.fake_networks(), diameter=12)
    assert matched(np.concatenate([truth, disk[None]]), found.masks, 0.6) == 5


@pytest.mark.parametrize("diameter", [24.0, None])
def test_there_are_no_cells_where_nothing_was_recorded(rng, diameter):
    """Black edges go on as what is nearest: a cell that is cut there would be seen once more, or longer."""
    picture, _ = cell_fakes.disks(rng, (240, 240), 24.0, 9, edge=1.5)
    y, x = np.indices(picture.shape)
    cut = [(0, 60), (0, 150), (239, 100), (120, 0), (100, 239)]
    picture += 400 * sum(np.hypot(y - a, x - b) <= 12 for a, b in cut)
    framed = np.pad(picture + 200, 40)
    found = find_cells(summary=framed, model=cell_fakes.fake_networks(), diameter=diameter)
    assert found.diameter_px == pytest.approx(24, rel=0.15)
    assert found.count >= 9
    assert not found.masks.count()[framed == 0].any()
    assert not found.heat[framed == 0].any()


def test_mask_is_whole_where_one_pixel_of_the_detector_is_dead(rng):
    picture, truth = cell_fakes.disks(rng, (80, 80), 12.0, 4)
    middle = tuple(np.argwhere(truth[0]).mean(axis=0).round().astype(int))
    picture[middle] = 0
    found = find_cells(summary=picture, model=cell_fakes.fake_networks(), diameter=12)
    assert matched(truth, found.masks) == len(truth)
    assert found.masks.count()[middle] == 1


def test_movie_gives_masks_and_traces(rng):
    picture, truth = cell_fakes.disks(rng, (64, 80), 12.0, 5)
    activity = rng.gamma(1, 1, (60, len(truth)))
    movie = picture + 200 * np.einsum("tn,nyx->tyx", activity, truth) + rng.normal(0, 5, (60, 64, 80))
    found = find_cells(
        np.clip(movie, 0, None).astype(np.uint16), model=cell_fakes.fake_networks(), diameter=12
    )
    assert set(found.pictures) == {"correlation", "brightness", "deviation"}
    assert matched(truth, found.masks, 0.5) == len(truth)
    assert found.traces.cells.shape == (found.count, 60)
    order = [int(np.argmax([t[tuple(np.rint(c).astype(int))] for t in truth])) for c in found.centers]
    for trace, cell in zip(found.traces.cells, order, strict=True):
        assert np.corrcoef(trace, activity[:, cell])[0, 1] > 0.95


@pytest.mark.parametrize("diameter", ["wide", "12um", 0.1])
def test_diameter_is_checked_before_the_movie_is_read(rng, diameter):
    movie = Counted(rng.poisson(50, (100, 40, 50)).astype(np.uint16))
    with pytest.raises(CalzooError, match="diameter: "):
        find_cells(movie, model=cell_fakes.fake_networks(), diameter=diameter)
    assert movie.asked == []


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize(("frames", "told"), [(2, 1), (49, 1), (50, 0)])
def test_short_movie_is_said_to_be_short(rng, recwarn, frames, told):
    movie = rng.poisson(50, (frames, 40, 50)).astype(np.uint16)
    find_cells(movie, model=cell_fakes.fake_networks(), diameter=12)
    assert [f"the movie has {frames} frames" in str(w.message) for w in recwarn] == [True] * told


def test_movie_is_read_in_parts(rng):
    movie = Counted(rng.poisson(50, (1500, 40, 50)).astype(np.uint16))
    find_cells(movie, model=cell_fakes.fake_networks(), diameter=12)
    assert max(movie.asked) < 750


def test_where_nothing_can_be_written_nothing_is_computed(rng, tmp_path, monkeypatch):
    np.save(tmp_path / "movie.npy", rng.random((10, 40, 50)))
    (tmp_path / "out.part").mkdir()
    (tmp_path / "out.part" / "mine.txt").touch()
    monkeypatch.setattr(cells, "find_cells", lambda *args, **options: pytest.fail("the work was begun"))
    with pytest.raises(CalzooError, match="work goes there until it is finished"):
        run_cells(tmp_path / "movie.npy", tmp_path / "out", model=cell_fakes.fake_networks())


@pytest.mark.parametrize("value", [0, 65535])
def test_movie_without_anything_gives_no_cells(value):
    with pytest.warns(UserWarning, match=DOUBT):
        found = find_cells(np.full((10, 40, 50), value, np.uint16), model=cell_fakes.fake_networks())
    assert found.count == 0
    assert found.diameter_px == 12
    assert found.traces.cells.shape == (0, 10)
    assert found.labels.shape == (40, 50)


def test_blank_and_saturated_frames_do_no_harm(rng):
    picture, truth = cell_fakes.disks(rng, (64, 80), 12.0, 5)
    movie = picture + rng.normal(0, 20, (80, 64, 80))
    movie[30], movie[50] = 0, 65535
    found = find_cells(movie.clip(0, 65535).astype(np.uint16), model=cell_fakes.fake_networks(), diameter=12)
    assert matched(truth, found.masks, 0.5) >= len(truth) - 1


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int16", ">u2", "float64", "uint32"])
def test_any_real_dtype_gives_the_same_cells(rng, dtype):
    picture, truth = cell_fakes.disks(rng, (72, 72), 12.0, 5)
    picture = picture > 300 if dtype == "bool" else np.clip(picture, 0, 255 if dtype == "uint8" else None)
    found = find_cells(summary=picture.astype(dtype), model=cell_fakes.fake_networks(), diameter=12)
    assert matched(truth, found.masks, 0.6) == len(truth)


def test_input_that_is_no_movie_is_refused():
    networks = cell_fakes.fake_networks()
    with pytest.raises(CalzooError, match=r"expected a movie \(T, Y, X\), got one picture .* as summary="):
        find_cells(np.zeros((20, 20)), model=networks)
    with pytest.raises(CalzooError, match="got neither"):
        find_cells(model=networks)
    with pytest.raises(CalzooError, match="at least 2 frame"):
        find_cells(np.zeros((1, 20, 20)), model=networks)
    with pytest.raises(CalzooError, match="NaN or infinity"):
        find_cells(summary=np.full((20, 20), np.nan), model=networks)
    with pytest.raises(CalzooError, match=r"the summary has \(20, 20\) pixels, the movie \(20, 30\)"):
        find_cells(np.zeros((5, 20, 30)), summary=np.zeros((20, 20)), model=networks)


@pytest.mark.parametrize("score", [0, -0.1, 1.01, 5, np.nan, "0.5"])
def test_score_is_a_probability(score):
    with pytest.raises(
        CalzooError, match="score: expected the least probability of a cell, above 0 and up to 1"
    ):
        find_cells(summary=np.zeros((40, 50)), model=cell_fakes.fake_networks(), score=score)


@pytest.mark.parametrize("pixel_um", [(0, 0), (-1, -1), (1, np.nan), (1, 1, 1), 1.0, "1,1"])
@pytest.mark.parametrize("diameter", [None, "12um"])
def test_pixel_size_is_two_sizes_above_0(pixel_um, diameter):
    picture = np.zeros((40, 50))
    with pytest.raises(
        CalzooError, match=r"pixel size: expected two lengths in micrometres \(y, x\), above 0"
    ):
        find_cells(summary=picture, model=cell_fakes.fake_networks(), pixel_um=pixel_um, diameter=diameter)


def test_pixel_size_may_be_an_array(rng):
    picture, truth = cell_fakes.disks(rng, (60, 70), 12.0, 4)
    options = {"summary": picture, "model": cell_fakes.fake_networks()}
    assert find_cells(pixel_um=np.array([1, 1]), diameter="12um", **options).count == len(truth)


def test_network_of_another_role_or_size_is_refused():
    networks = cell_fakes.fake_networks()
    with pytest.raises(CalzooError, match="expected the network of role 'proposal'"):
        CellNetworks(networks.instance, networks.proposal)
    other = cell_fakes.FakeModel(
        cell_fakes.fake_card("instance", scale={"cell_diameter_px": 20.0}), cell_fakes.outline, "instance"
    )
    with pytest.raises(CalzooError, match=r"cells of the same size, got 12.0 and 20.0 pixels"):
        CellNetworks(networks.proposal, other)
    with pytest.raises(CalzooError, match="a mapping with the networks proposal and instance"):
        CellNetworks.load({"proposal": "a.onnx"}, None, provider="cpu", threads=None)


def test_tiles_give_what_the_whole_picture_gives(rng):
    image = np.stack([np.zeros((500, 333)), rng.random((500, 333)), np.zeros((500, 333))]).astype(np.float32)
    present = np.float32([0, 1, 0])
    networks = cell_fakes.fake_networks()
    tiled, _ = networks.heat(image, present)
    assert len(networks.proposal.calls) > 4
    assert max(max(call["image"][2:]) for call in networks.proposal.calls) <= 160
    whole = cell_fakes.propose({"image": image[None], "present": present[None]})["heat"][0, 2]
    # Beyond the far ends the picture is mirrored up to legal sides.
    np.testing.assert_allclose(tiled[:-8, :-8], whole[:-8, :-8], atol=1e-6)


@pytest.mark.parametrize("size", [1, 7, 160, 201, 999])
def test_tiles_cover_an_axis_without_gap(size):
    spans = _spans(size, 160, 16, 8)
    assert spans[0][0] == 0
    assert spans[-1][1] == size
    assert all(a[1] == b[0] for a, b in itertools.pairwise(spans))
    assert all(side % 8 == 0 and side <= 200 for _, _, _, side in spans)


def test_piece_nearest_to_the_middle_is_kept_and_its_holes_are_filled():
    mask = np.zeros((9, 12), bool)
    mask[0:2, 0:12] = True
    mask[4:9, 4:9] = True
    mask[6, 6] = False
    kept = cell_masks.one_piece(mask, np.array([5, 6]))
    assert kept[6, 6]
    assert kept.sum() == 25


def stamps(*squares, side=48):
    """Return masks and corners of squares (top, left, size) in a frame."""
    masks, corners = np.zeros((len(squares), side, side), bool), []
    for mask, (top, left, size) in zip(masks, squares, strict=True):
        mask[20 : 20 + size, 20 : 20 + size] = True
        corners.append((top - 20, left - 20))
    return masks, np.array(corners)


def test_of_two_masks_of_one_cell_the_better_stays():
    masks, corners = stamps((30, 30, 10), (31, 30, 10), (60, 30, 10))
    kept = cell_masks.suppressed(masks, corners, np.array([0.6, 0.9, 0.7]), overlap=0.4)
    assert kept.tolist() == [1, 2]


def test_neighbours_that_overlap_a_little_both_stay():
    masks, corners = stamps((30, 30, 10), (30, 37, 10))
    assert len(cell_masks.suppressed(masks, corners, np.array([0.6, 0.9]), overlap=0.4)) == 2


def test_piece_inside_of_a_better_cell_goes():
    masks, corners = stamps((30, 30, 20), (32, 32, 6))
    assert cell_masks.suppressed(masks, corners, np.array([0.9, 0.8]), overlap=0.4).tolist() == [0]


def test_prior_takes_neighbours_out_of_a_mask():
    middle = np.hypot(*(np.indices((48, 48)) - 24)) <= 6
    masks = np.repeat(middle[None], 5, axis=0).astype(np.float32)
    masks[0, :6, :6] = 1
    masks[0, 40:, 20:30] = 1
    masked = cell_masks.with_prior(masks, np.ones(5, np.float32))
    assert (masked[0] >= 0.5).sum() == pytest.approx(middle.sum(), rel=0.1)


def test_mask_at_the_same_scale_is_pasted_as_it_is():
    mask = np.zeros((1, 48, 48), np.float32)
    mask[0, 20:30, 18:27] = 1
    masks = cell_masks.pasted(mask, np.array([[5, 7]]), 0.5, (100, 90), (100, 90))
    expected = np.zeros((100, 90), bool)
    expected[25:35, 25:34] = True
    np.testing.assert_array_equal(masks.stack()[0], expected)


def test_five_thousand_cells_are_told_apart(rng):
    """A lattice of disks, larger than any recording; every one is found."""
    y, x = np.indices((24, 24))
    disk = 100 + 400 / (1 + np.exp((np.hypot(y - 12, x - 12) - 6) / 0.6))
    picture = np.tile(disk, (72, 70))
    found = find_cells(summary=picture, model=cell_fakes.fake_networks(), diameter=12)
    assert found.count == 72 * 70
    assert found.masks.count().max() == 1


def test_folder_holds_all_files_of_a_movie(rng, tmp_path):
    tifffile = pytest.importorskip("tifffile")
    picture, truth = cell_fakes.disks(rng, (64, 80), 12.0, 5)
    activity = rng.gamma(1, 1, (40, len(truth)))
    movie = picture + 200 * np.einsum("tn,nyx->tyx", activity, truth) + rng.normal(0, 5, (40, 64, 80))
    movie = movie.clip(0).astype(np.uint16)
    tifffile.imwrite(tmp_path / "movie.tif", movie, photometric="minisblack")
    result = run_cells(
        tmp_path / "movie.tif",
        tmp_path / "out",
        model=cell_fakes.fake_networks(),
        diameter=12,
        frame_rate_hz=10.0,
        pixel_um=(2.0, 0.75),
    )
    expected = find_cells(movie, model=cell_fakes.fake_networks(), diameter=12, pixel_um=(2.0, 0.75))
    names = {p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*") if p.is_file()}
    assert names == FILES | {"run.json"}
    masks = read_masks(tmp_path / "out" / "masks.npz")
    assert len(masks) == result.count == len(truth)
    np.testing.assert_array_equal(masks.stack(), expected.masks.stack())
    labels = tifffile.imread(tmp_path / "out" / "labels.tif")
    assert labels.dtype == np.int32
    np.testing.assert_array_equal(labels, masks.labels())
    with open(tmp_path / "out" / "cells.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0])[:5] == ["y", "x", "score", "id", "area_px"]
    area_um2 = 1.5 * masks.areas
    columns = {
        "y": expected.centers[:, 0],
        "x": expected.centers[:, 1],
        "score": expected.scores,
        "area_px": masks.areas,
        "area_um2": area_um2,
        "diameter_um": 2 * np.sqrt(area_um2 / np.pi),
        "shared_px": np.zeros(len(truth)),
        "at_edge": np.zeros(len(truth)),
    }
    for name, values in columns.items():
        np.testing.assert_allclose([float(row[name]) for row in rows], values, rtol=1e-5, err_msg=name)
    cells, neuropil = expected.traces.cells, expected.traces.neuropil
    corrected = cells - 0.7 * neuropil
    tables = {
        "traces": cells,
        "neuropil": neuropil,
        "corrected": corrected,
        "dff": trace_delta_f_over_f(corrected, window=600),
    }
    for name, values in tables.items():
        header, *lines = (tmp_path / "out" / f"{name}.csv").read_text().splitlines()
        assert header == "frame,time_s," + ",".join(f"cell_{i + 1}" for i in range(len(truth)))
        frames, times, *traces = np.loadtxt(lines, delimiter=",").T
        np.testing.assert_array_equal(frames, np.arange(40))
        np.testing.assert_allclose(times, np.arange(40) / 10, rtol=1e-5)
        np.testing.assert_allclose(traces, values, rtol=1e-4, atol=1e-5, err_msg=name)
    facts = json.loads((tmp_path / "out" / "run.json").read_text())
    assert facts["cells"] == len(truth)
    assert facts["model"]["proposal"]["sha256"] == "proposal" * 8


@pytest.mark.parametrize(
    ("rate", "seconds", "frames"), [(20.0, None, 1200), (20.0, 2.5, 50), (None, 3.0, 30)]
)
def test_window_of_the_baseline_is_in_seconds(tmp_path, rate, seconds, frames):
    np.save(tmp_path / "movie.npy", np.full((60, 32, 40), 7, np.uint16))
    options = {"model": cell_fakes.fake_networks(), "diameter": 12, "frame_rate_hz": rate}
    run_cells(tmp_path / "movie.npy", tmp_path / "out", baseline_s=seconds, **options)
    facts = json.loads((tmp_path / "out" / "run.json").read_text())
    assert facts["parameters"]["baseline_frames"] == frames


def test_result_of_a_movie_without_a_baseline_above_0_is_complete_without_dff(rng, tmp_path):
    picture, truth = cell_fakes.disks(rng, (64, 80), 12.0, 5)
    movie = picture + rng.normal(0, 5, (60, 64, 80)) - 3000
    np.save(tmp_path / "movie.npy", movie.astype(np.float32))
    with pytest.warns(UserWarning, match=r"dff.csv stays empty. .* its median is -\d+"):
        run_cells(tmp_path / "movie.npy", tmp_path / "out", model=cell_fakes.fake_networks(), diameter=12)
    tables = {name: np.genfromtxt(tmp_path / "out" / name, delimiter=",")[1:, 2:] for name in TRACE_TABLES}
    assert {table.shape for table in tables.values()} == {(60, len(truth))}
    assert np.isnan(tables["dff.csv"]).all()
    assert np.isfinite(tables["corrected.csv"]).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"traces": False, "baseline_s": 30}, r"baseline_s=30 \(--baseline\) is for the dF/F of traces"),
        ({"summary": True, "baseline_s": 30}, r"there are none of a picture \(summary\)"),
        ({"baseline_s": 0}, "expected a number of seconds above 0, got 0"),
        ({"baseline_s": np.nan}, "expected a number of seconds above 0, got nan"),
    ],
)
def test_baseline_without_traces_or_sense_is_refused(tmp_path, options, message):
    with pytest.raises(CalzooError, match=message):
        run_cells("no movie", tmp_path / "out", **options)


@pytest.mark.parametrize("name", sorted(FILES | {"cells.nwb"}))
def test_files_of_another_program_are_refused_before_the_work(tmp_path, name):
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).touch()
    with pytest.raises(CalzooError, match=f"{name} is there already, which would be replaced"):
        run_cells("no movie", tmp_path, nwb=True)


def test_folder_of_nothing_is_complete_too(tmp_path, capsys):
    tifffile = pytest.importorskip("tifffile")
    tifffile.imwrite(tmp_path / "movie.tif", np.full((12, 32, 40), 7, np.uint16), photometric="minisblack")
    with pytest.warns(UserWarning, match=DOUBT):
        result = run_cells(tmp_path / "movie.tif", tmp_path / "out", model=cell_fakes.fake_networks())
    assert result.count == 0
    assert len(read_masks(tmp_path / "out" / "masks.npz")) == 0
    assert (tmp_path / "out" / "cells.csv").read_text().count("\n") == 1
    assert np.load(tmp_path / "out" / "suite2p" / "plane0" / "F.npy").shape == (0, 12)
    assert (tmp_path / "out" / "dff.csv").read_text().count("\n") == 1 + 12
    assert "the pixel size is not known" in capsys.readouterr().err


def test_nothing_of_other_cells_stays_beside_new_masks(tmp_path):
    tifffile = pytest.importorskip("tifffile")
    tifffile.imwrite(tmp_path / "movie.tif", np.full((12, 32, 40), 7, np.uint16), photometric="minisblack")
    out = tmp_path / "out"
    run_cells(tmp_path / "movie.tif", out, model=cell_fakes.fake_networks(), diameter=12)
    stale = ("curation.csv", "curated.npz", "cells.nwb", "centers.csv", "stages.png", "losses.png")
    for name in (*stale, "notes.txt", "suite2p/plane0/data.bin"):
        (out / name).touch()
    run_cells(tmp_path / "movie.tif", out, model=cell_fakes.fake_networks(), diameter=12, traces=False)
    names = {p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file()}
    results = {"masks.npz", "labels.tif", "rois.zip", "cells.csv", "overlay.png", "caiman_A.npz", "run.json"}
    assert names == results | {"notes.txt", "suite2p/plane0/data.bin"}
    run_cells(tmp_path / "movie.tif", tmp_path / "out", model=cell_fakes.fake_networks(), diameter=12)
    (out / "suite2p" / "plane0" / "data.bin").unlink()
    run_cells(tmp_path / "movie.tif", out, model=cell_fakes.fake_networks(), diameter=12, traces=False)
    assert not (out / "suite2p").exists()


def test_picture_in_place_of_a_movie(rng, tmp_path):
    image = pytest.importorskip("PIL.Image")
    picture, truth = cell_fakes.disks(rng, (64, 80), 12.0, 5)
    image.fromarray(np.clip(picture / 2, 0, 255).astype(np.uint8)).save(tmp_path / "mean.png")
    result = run_cells(
        tmp_path / "mean.png", tmp_path / "out", summary=True, model=cell_fakes.fake_networks(), diameter=12
    )
    assert result.count == len(truth)
    assert not any((tmp_path / "out" / name).exists() for name in TRACE_TABLES)


def test_pixel_size_of_a_picture_is_that_of_its_file(rng, tmp_path, capsys):
    tifffile = pytest.importorskip("tifffile")
    picture, _ = cell_fakes.disks(rng, (64, 80), 12.0, 5)
    sizes = {"PhysicalSizeX": 0.8, "PhysicalSizeY": 0.8, "PhysicalSizeXUnit": "µm", "PhysicalSizeYUnit": "µm"}
    tifffile.imwrite(tmp_path / "mean.ome.tif", picture.astype(np.uint16), metadata={"axes": "YX", **sizes})
    options = {"summary": True, "model": cell_fakes.fake_networks(), "diameter": "9.6um"}
    assert run_cells(tmp_path / "mean.ome.tif", tmp_path / "out", **options).diameter_px == pytest.approx(12)
    assert json.loads((tmp_path / "out" / "run.json").read_text())["pixel_um"] == [0.8, 0.8]
    assert "not known" not in capsys.readouterr().err
    result = run_cells(tmp_path / "mean.ome.tif", tmp_path / "other", pixel_um=(0.6, 0.6), **options)
    assert result.diameter_px == pytest.approx(16)


def test_masks_that_overlap_keep_their_overlap():
    first, second = np.zeros((2, 40, 40), bool)
    first[5:17, 5:17], second[5:17, 14:26] = True, True
    masks = Masks.from_stack(np.stack([first, second]))
    assert (masks.count() == 2).sum() == 36
