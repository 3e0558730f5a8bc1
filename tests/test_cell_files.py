"""What other programs read: ROIs of ImageJ, a Suite2p folder, CaImAn seeds, NWB; and the command line."""

import itertools
import sys

import cell_fakes
import numpy as np
import pytest
from scipy import sparse

from calzoo import cli
from calzoo.errors import CalzooError
from calzoo.imaging import cell_files, imagej_rois, suite2p_folder
from calzoo.imaging.cell_overlay import _light_palette, draw_cells
from calzoo.imaging.deconvolution import deconvolve
from calzoo.imaging.masks import Masks
from calzoo.imaging.traces import extract_traces, neuropil_rings, without_shared
from calzoo.inference.cells import run_cells


@pytest.fixture
def masks(rng):
    """Return round masks, two of which overlap, and one that is cut off by the edge."""
    y, x = np.indices((50, 64))
    disks = [np.hypot(y - a, x - b) <= r for a, b, r in ((12, 15, 6), (14, 23, 5), (35, 40, 7), (48, 61, 6))]
    return Masks.from_stack(np.stack(disks))


@pytest.fixture
def traces(rng, masks):
    movie = rng.poisson(50, (40, 50, 64)).astype(np.uint16)
    return extract_traces(movie, masks)


def test_rois_are_read_back_as_the_masks_that_they_were(masks, tmp_path):
    pytest.importorskip("roifile")
    imagej_rois.write_rois(tmp_path / "rois.zip", masks)
    again = imagej_rois.read_rois(tmp_path / "rois.zip", masks.shape)
    np.testing.assert_array_equal(again.stack(), masks.stack())


def test_every_roi_is_a_polygon_with_the_number_of_its_cell(masks, tmp_path):
    roifile = pytest.importorskip("roifile")
    imagej_rois.write_rois(tmp_path / "rois.zip", masks)
    rois = roifile.roiread(tmp_path / "rois.zip")
    assert [roi.name for roi in rois] == ["cell_0001", "cell_0002", "cell_0003", "cell_0004"]
    assert all(roi.roitype == roifile.ROI_TYPE.POLYGON for roi in rois)
    assert (rois[3].bottom, rois[3].right) == (50, 64)


def test_cells_without_pixels_are_refused(tmp_path):
    empty = Masks.from_pixels((8, 8), [([1, 1, 2, 2], [1, 2, 1, 2]), ([], [])])
    for write in (
        lambda: imagej_rois.write_rois(tmp_path / "a.zip", empty),
        lambda: suite2p_folder.suite2p_stat(empty, 3.0),
    ):
        with pytest.raises(
            CalzooError, match="pixels in every mask, got none in 1 of them, the first is 1; leave"
        ):
            write()
    assert not list(tmp_path.iterdir())


def test_rectangles_and_ovals_are_areas_too(tmp_path):
    roifile = pytest.importorskip("roifile")
    box = roifile.ImagejRoi(roitype=roifile.ROI_TYPE.RECT, top=2, left=3, bottom=6, right=10)
    oval = roifile.ImagejRoi(roitype=roifile.ROI_TYPE.OVAL, top=10, left=10, bottom=20, right=20)
    roifile.roiwrite(tmp_path / "r.zip", [box, oval])
    masks = imagej_rois.read_rois(tmp_path / "r.zip", (30, 30))
    assert masks.areas[0] == 4 * 7
    assert masks.areas[1] == pytest.approx(np.pi * 25, rel=0.05)
    np.testing.assert_allclose(masks.centers[1], (14.5, 14.5))


def composite(*path):
    """Return a region of several outlines: 0, y, x begins one, 1, y, x goes on, 4 closes it."""
    roifile = pytest.importorskip("roifile")
    roi = roifile.ImagejRoi(roitype=roifile.ROI_TYPE.RECT, top=2, left=2, bottom=14, right=16, name="two")
    roi.multi_coordinates = np.array(path, np.float32)
    roi.shape_roi_size = len(path)
    return roi


def test_regions_of_several_pieces_and_with_holes_are_what_they_show(tmp_path):
    outer = [0, 2, 3, 1, 8, 3, 1, 8, 9, 1, 2, 9, 4]
    hole = [0, 4, 5, 1, 6, 5, 1, 6, 7, 1, 4, 7, 4]
    piece = [0, 12, 10, 1, 16, 10, 1, 16, 14, 1, 12, 14, 4]
    composite(*outer, *hole, *piece).tofile(tmp_path / "r.roi")
    expected = np.zeros((20, 15), bool)  # (x, y) in the file; what lies beyond the frame is cut off
    expected[3:9, 2:8], expected[5:7, 4:6], expected[10:14, 12:16] = True, False, True
    found = imagej_rois.read_rois(tmp_path / "r.roi", (20, 15))
    np.testing.assert_array_equal(found.stack()[0], expected)


def test_regions_with_curved_sides_are_refused(tmp_path):
    composite(0, 2, 2, 3, 6, 2, 6, 6, 2, 6, 4).tofile(tmp_path / "r.roi")
    with pytest.raises(CalzooError, match="expected regions with straight sides, got 'two', whose outline"):
        imagej_rois.read_rois(tmp_path / "r.roi", (20, 20))


def test_file_that_holds_no_rois_is_refused(tmp_path):
    pytest.importorskip("roifile")
    (tmp_path / "r.zip").write_bytes(b"PK nothing")
    with pytest.raises(CalzooError, match="expected regions of interest of ImageJ"):
        imagej_rois.read_rois(tmp_path / "r.zip", (30, 30))


def test_polygon_is_filled_by_the_centres_of_pixels():
    square = np.array([(1, 2), (1, 5), (4, 5), (4, 2)], float)
    filled = imagej_rois.fill_polygon(square)
    assert filled.sum() == 9
    assert filled[1:4, 2:5].all()


def test_suite2p_folder_has_what_its_viewer_asks_for(masks, traces, tmp_path):
    scores = np.array([0.9, 0.8, 0.7, 0.6])
    picture = {"brightness": np.ones((50, 64)), "correlation": np.zeros((50, 64))}
    suite2p_folder.write_suite2p(
        tmp_path, masks, scores, traces, pictures=picture, diameter=12.0, frame_rate_hz=15.0
    )
    plane = tmp_path / "plane0"
    stat = np.load(plane / "stat.npy", allow_pickle=True)
    ops = np.load(plane / "ops.npy", allow_pickle=True).item()
    fluorescence, neuropil, spikes, iscell = (
        np.load(plane / f"{n}.npy") for n in ("F", "Fneu", "spks", "iscell")
    )
    assert fluorescence.shape == neuropil.shape == spikes.shape == (4, 40)
    np.testing.assert_array_equal(iscell, np.stack([np.ones(4), scores], axis=1))
    np.testing.assert_array_equal(fluorescence, traces.cells)
    np.testing.assert_array_equal(neuropil, traces.neuropil)
    np.testing.assert_allclose(spikes, suite2p_folder.deconvolved(traces), rtol=1e-5)
    assert spikes.any()
    assert (ops["Ly"], ops["Lx"], ops["nframes"], ops["fs"]) == (50, 64, 40, 15.0)
    assert ops["meanImg"].shape == (50, 64)
    own, rings = without_shared(masks), neuropil_rings(masks)
    for index, (cell, (rows, cols)) in enumerate(zip(stat, masks, strict=True)):
        np.testing.assert_array_equal(cell["ypix"], rows)
        np.testing.assert_array_equal(cell["xpix"], cols)
        np.testing.assert_allclose(cell["med"], masks.centers[index], atol=1)
        for name, (y, x) in (("ipix_own", own[index]), ("neuropil_mask", rings[index])):
            np.testing.assert_array_equal(np.unravel_index(cell[name], masks.shape), (y, x))
        assert len(cell["lam"]) == len(cell["overlap"]) == cell["npix"] == len(rows)
        assert cell["lam"].sum() == pytest.approx(1)
        assert all(np.isfinite(cell[name]) for name in ("radius", "aspect_ratio", "compact", "skew", "std"))
    assert stat[0]["overlap"].sum() == stat[1]["overlap"].sum() > 0
    assert stat[2]["overlap"].sum() == 0
    assert stat[2]["radius"] == pytest.approx(7, rel=0.1)
    assert stat[2]["compact"] == pytest.approx(1, abs=0.05)


def test_traces_that_do_not_change_have_no_events(masks):
    flat = extract_traces(np.full((10, 50, 64), 3, np.uint16), masks)
    assert not suite2p_folder.deconvolved(flat).any()


def test_few_cells_are_deconvolved_at_a_time(masks, traces, monkeypatch):
    together = suite2p_folder.deconvolved(traces)
    counts = []

    def counting(some):
        counts.append(len(some))
        return deconvolve(some)

    monkeypatch.setattr("calzoo.imaging.deconvolution.deconvolve", counting)
    monkeypatch.setattr(suite2p_folder, "_SAMPLES", 3 * traces.cells.shape[1])
    np.testing.assert_allclose(suite2p_folder.deconvolved(traces), together, rtol=1e-3, atol=1e-2)
    assert counts == [3, 1]


def test_seeds_of_caiman_run_down_the_columns_of_the_frame(masks, tmp_path):
    cell_files.write_caiman(tmp_path / "A.npz", masks)
    matrix = sparse.load_npz(tmp_path / "A.npz")
    assert matrix.shape == (50 * 64, 4)
    for index, mask in enumerate(masks.stack()):
        column = matrix[:, [index]].toarray()[:, 0]
        np.testing.assert_array_equal(column.reshape((50, 64), order="F") > 0, mask)
        assert np.linalg.norm(column) == pytest.approx(1)


def test_nwb_holds_masks_and_traces(masks, traces, tmp_path):
    pynwb = pytest.importorskip("pynwb")
    from calzoo.imaging.nwb_output import write_nwb

    write_nwb(
        tmp_path / "cells.nwb",
        masks,
        np.array([0.9, 0.8, 0.7, 0.6]),
        traces,
        pictures={"brightness": np.arange(50 * 64).reshape(50, 64)},
        frame_rate_hz=15.0,
        pixel_um=(1.0, 0.5),
        spikes=suite2p_folder.deconvolved(traces),
        metadata={"experimenter": ["Doe, Jane"], "subject": {"subject_id": "m1", "species": "Mus musculus"}},
    )
    with pynwb.NWBHDF5IO(str(tmp_path / "cells.nwb"), "r") as file:
        content = file.read()
        assert content.subject.subject_id == "m1"
        module = content.processing["ophys"]
        table = module["ImageSegmentation"]["PlaneSegmentation"]
        assert len(table) == 4
        pixels = np.array([(p[1], p[0]) for p in table["pixel_mask"][2]])
        assert {tuple(p) for p in pixels} == set(zip(*(a.tolist() for a in masks[2]), strict=True))
        series = module["Fluorescence"]["RoiResponseSeries"]
        np.testing.assert_array_equal(series.data[:], traces.cells.T)
        assert series.rate == 15.0
        assert module["SummaryImages"]["brightness"].data.shape == (64, 50)
        plane = content.imaging_planes["ImagingPlane"]
        assert plane.grid_spacing[:].tolist() == [0.5, 1.0]  # x before y, as in the pixels
        assert plane.grid_spacing_unit == "micrometers"
        neuropil = module["Fluorescence"]["Neuropil"]
        np.testing.assert_array_equal(neuropil.data[:], traces.neuropil.T)
        expected = suite2p_folder.deconvolved(traces).T
        np.testing.assert_allclose(module["Deconvolved"]["DeconvolvedActivity"].data[:], expected, rtol=1e-6)


def test_nwb_is_checked_before_the_work(tmp_path, monkeypatch):
    """No movie is read where pynwb is missing, or what a laboratory says is nothing that NWB knows."""
    monkeypatch.setitem(sys.modules, "pynwb", None)
    with pytest.raises(CalzooError, match="needs pynwb, which is not installed"):
        run_cells("no movie", tmp_path / "out", nwb=True, model=cell_fakes.fake_networks())
    monkeypatch.undo()
    pytest.importorskip("pynwb")
    for metadata in ({"foo": 1}, {"session_start_time": "yesterday"}, {"location": 3}):
        with pytest.raises(CalzooError, match=r"NWB metadata: expected fields of pynwb\.NWBFile"):
            run_cells("no movie", tmp_path / "out", nwb=metadata, model=cell_fakes.fake_networks())


def test_nwb_without_pynwb_says_how_to_get_it(masks, tmp_path, monkeypatch):
    from calzoo.imaging.nwb_output import write_nwb

    monkeypatch.setitem(sys.modules, "pynwb", None)
    with pytest.raises(CalzooError, match=r"needs pynwb, which is not installed; run: .*calzoo\[nwb\]"):
        write_nwb(tmp_path / "cells.nwb", masks, np.ones(4))


def test_overlay_shows_outlines_heat_and_traces(masks, traces, tmp_path, rng):
    image = pytest.importorskip("PIL.Image")
    picture, heat = rng.random((50, 64)), (masks.count() > 0).astype(np.float32)
    draw_cells(
        tmp_path / "o.png",
        {"brightness": picture, "correlation": rng.random((50, 64))},
        masks,
        heat,
        scores=np.ones(4),
        traces=traces.cells,
        frame_rate_hz=10.0,
    )
    drawn = np.asarray(image.open(tmp_path / "o.png"))
    zoom = 10
    assert drawn.shape[1] == 3 * 64 * zoom + 2 * 8
    assert drawn.shape[0] > 50 * zoom + 4 * 30
    panels = drawn[24 : 24 + 50 * zoom].astype(int)
    right = panels[:, 2 * (64 * zoom + 8) :]
    np.testing.assert_array_equal((right[::zoom, ::zoom] == 255).all(axis=-1), masks.count() > 0)
    colourful = [np.ptp(panels[:, left : left + 64 * zoom], axis=-1) > 60 for left in (0, 64 * zoom + 8)]
    assert 0.003 < colourful[0].mean() < 0.3
    np.testing.assert_array_equal(*colourful)


def test_traces_with_jumps_are_one_line(tmp_path):
    """A step between two columns of a long trace leaves no gap."""
    image = pytest.importorskip("PIL.Image")
    masks = Masks.from_pixels((20, 20), [(np.arange(5), np.arange(5))])
    trace = np.repeat([0.0, 1.0, 0.2, 0.9], 5000)[None]
    draw_cells(
        tmp_path / "o.png", {"brightness": np.eye(20)}, masks, np.eye(20), scores=np.ones(1), traces=trace
    )
    below = np.asarray(image.open(tmp_path / "o.png"))[-34:, 44:-8].max(axis=-1) > 100
    spans = [np.flatnonzero(column)[[0, -1]] for column in below.T]
    apart = [max(b[0] - a[1], a[0] - b[1]) for a, b in itertools.pairwise(spans)]
    assert max(apart) <= 1
    assert max(bottom - top for top, bottom in spans) > 15


def test_repeated_edges_do_not_take_the_contrast(tmp_path, rng):
    image = pytest.importorskip("PIL.Image")
    correlation = rng.uniform(0, 0.1, (50, 64))
    correlation[20:30, 20:30] = 0.5
    correlation[:, :3] = 1
    nothing = Masks.from_pixels((50, 64), [])
    draw_cells(tmp_path / "o.png", {"correlation": correlation}, nothing, np.zeros((50, 64)), scores=[])
    assert np.asarray(image.open(tmp_path / "o.png"))[24 + 250, 250].min() > 250


@pytest.mark.parametrize(("radius", "zoom"), [(4, 3), (10, 2)])
def test_numbers_do_not_hide_small_cells(tmp_path, radius, zoom):
    """Only the best cells have one, beside small cells, which are drawn larger."""
    image = pytest.importorskip("PIL.Image")
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    rows, columns = np.nonzero(np.hypot(y, x) <= radius)
    corners = [(20 + 40 * (n // 10), 20 + 40 * (n % 10)) for n in range(100)]
    masks = Masks.from_pixels((440, 440), [(rows + a, columns + b) for a, b in corners])
    nothing = np.zeros((440, 440))
    draw_cells(tmp_path / "o.png", {"brightness": nothing}, masks, nothing, scores=np.ones(100))
    drawn = np.asarray(image.open(tmp_path / "o.png"))[24:, : 440 * zoom].max(axis=-1)
    assert drawn.shape == (440 * zoom, 440 * zoom)

    def bright(a, b, height, width):
        return (drawn[a * zoom : (a + height) * zoom, b * zoom : (b + width) * zoom] > 100).any()

    middle = [bright(a + radius - 2, b + radius - 2, 5, 5) for a, b in corners]
    beside = [bright(a, b + 2 * radius + 1, 2 * radius, 10) for a, b in corners]
    numbered = [True] * 50 + [False] * 50
    assert (middle, beside) == (numbered, [False] * 100)[:: -1 if radius == 4 else 1]


def test_colours_of_outlines_are_seen_on_dark_tissue():
    assert (_light_palette(100) @ (0.299, 0.587, 0.114)).min() >= 160
    assert len(np.unique(_light_palette(30), axis=0)) == 30


def test_overlay_of_nothing_is_a_picture(tmp_path):
    nothing = Masks.from_pixels((20, 30), [])
    picture = np.zeros((20, 30))
    draw_cells(tmp_path / "o.png", {"correlation": picture}, nothing, picture, scores=np.empty(0))
    assert (tmp_path / "o.png").stat().st_size > 100


@pytest.fixture
def networks(monkeypatch):
    """Let the command line find the networks for disks."""
    from calzoo.inference.cell_networks import CellNetworks

    monkeypatch.setattr(CellNetworks, "load", classmethod(lambda cls, *_, **__: cell_fakes.fake_networks()))


def test_command_finds_cells_in_pictures_and_skips_what_is_finished(rng, tmp_path, capsys, networks):
    np.save(tmp_path / "a.npy", cell_fakes.disks(rng, (60, 70), 12.0, 4)[0])
    command = ["cells", "--summary", str(tmp_path / "a.npy"), "-o", str(tmp_path / "out"), "--diameter", "12"]
    assert cli.main(command) == 0
    told = capsys.readouterr()
    assert told.out.strip() == str(tmp_path / "out")
    assert "4 cells of about 12.0 px" in told.err
    assert cli.main(command) == 0
    assert "skipped" in capsys.readouterr().err


def test_command_counts_one_cell_and_none(rng, tmp_path, capsys, networks):
    y, x = np.indices((64, 80))
    for count, line in ((1, "1 cell of about 12.0 px, computed on cpu"), (0, "0 cells, computed on cpu")):
        picture = 100 + 400 * (np.hypot(y - 30, x - 40) <= 6) * count + rng.normal(0, 4, (64, 80))
        np.save(tmp_path / "mean.npy", picture)
        out = tmp_path / f"out{count}"
        command = ["cells", "--summary", str(tmp_path / "mean.npy"), "-o", str(out), "--diameter", "12"]
        assert cli.main([*command, "--score", "0.99" if count == 0 else "0.5"]) == 0
        assert f"mean.npy: {line}" in capsys.readouterr().err


def test_command_says_what_is_wrong_in_one_line(tmp_path, capsys, networks):
    np.save(tmp_path / "a.npy", np.zeros((60, 70)))
    assert cli.main(["cells", str(tmp_path / "a.npy"), "-o", str(tmp_path / "out")]) == 1
    told = capsys.readouterr().err.strip()
    assert told.startswith("calzoo: ")
    assert "\n" not in told
    assert not (tmp_path / "out").exists()
    model = ["--model", "proposal=a.onnx"]
    assert cli.main(["cells", "a.tif", "-o", str(tmp_path / "out"), *model]) == 1
    assert "this task needs all of proposal, instance" in capsys.readouterr().err


def test_options_for_movies_are_refused_with_a_picture(tmp_path, capsys, networks):
    np.save(tmp_path / "a.npy", np.zeros((60, 70)))
    command = ["cells", "--summary", str(tmp_path / "a.npy"), "-o", str(tmp_path / "out"), "--pixel", "1,1"]
    assert cli.main([*command, "--channel", "5", "--axes", "ZZ", "--rate", "3"]) == 1
    told = capsys.readouterr().err
    assert (
        "expected the pixel size and nothing else about reading, got frame_rate_hz=3.0, axes='ZZ', ch" in told
    )
    assert cli.main([*command, "--score", "5"]) == 1
    assert (
        "score: expected the least probability of a cell, above 0 and up to 1, got 5.0"
        in capsys.readouterr().err
    )
    assert not (tmp_path / "out").exists()
