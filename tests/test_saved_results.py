"""Results in memory are written as the commands write those of files."""

import json
import zipfile
from pathlib import Path

import cell_fakes
import numpy as np
import pytest

from calzoo import CalzooError, find_cells, find_centers, segment_axons
from calzoo.inference.axons import run_axons
from calzoo.inference.cells import run_cells
from calzoo.inference.centers import run_centers

MODELS = Path(__file__).resolve().parent / "models"
ONE_CORE = {"provider": "cpu", "threads": 1}


def files(folder):
    """Return the contents of all files by their names, but for what only a run knows."""
    found = {p.relative_to(folder).as_posix(): p for p in folder.rglob("*") if p.is_file()}
    contents = {name: p.read_bytes() for name, p in found.items() if name not in ("run.json", "overlay.png")}
    if "rois.zip" in contents:  # archives also hold the time
        with zipfile.ZipFile(found["rois.zip"]) as archive:
            contents["rois.zip"] = {name: archive.read(name) for name in archive.namelist()}
    return contents


@pytest.fixture
def movie(rng, tmp_path):
    """Return a movie of five cells with its file."""
    picture, truth = cell_fakes.disks(rng, (64, 80), 12.0, 5)
    activity = rng.gamma(1, 1, (60, len(truth)))
    frames = picture + 200 * np.einsum("tn,nyx->tyx", activity, truth) + rng.normal(0, 5, (60, 64, 80))
    frames = frames.clip(0).astype(np.uint16)
    np.save(tmp_path / "movie.npy", frames)
    return frames, tmp_path / "movie.npy"


def test_saved_axons_are_those_of_the_command(tmp_path):
    volume = np.full((24, 40, 50), 100, np.uint16)
    volume[8:16, 4:10, :] = volume[8:16, 20:26, :30] = 1000
    np.save(tmp_path / "stack.npy", volume)
    options = {"model": MODELS / "smooth.onnx", "voxel_um": (2, 0.5, 0.5), **ONE_CORE}
    run_axons(tmp_path / "stack.npy", tmp_path / "run", **options)
    found = segment_axons(volume, **options)
    assert (found.count, found.voxel_um) == (2, (2, 0.5, 0.5))
    found.save(tmp_path / "saved")
    assert files(tmp_path / "saved") == files(tmp_path / "run")
    assert json.loads((tmp_path / "saved" / "run.json").read_text())["axons"] == 2


@pytest.mark.parametrize("traces", [True, False])
def test_saved_cells_are_those_of_the_command(movie, tmp_path, traces):
    frames, path = movie
    options = {"model": cell_fakes.fake_networks(), "diameter": 12, "pixel_um": (2.0, 0.75), "traces": traces}
    run_cells(path, tmp_path / "run", frame_rate_hz=10.0, **options)
    found = find_cells(frames, frame_rate_hz=10.0, **options)
    assert (found.count, found.pixel_um, found.frame_rate_hz) == (5, (2.0, 0.75), 10.0)
    assert found.table["area_um2"] == pytest.approx(1.5 * found.masks.areas)
    found.save(tmp_path / "saved")
    assert (tmp_path / "saved" / "overlay.png").is_file()
    assert files(tmp_path / "saved") == files(tmp_path / "run")
    assert json.loads((tmp_path / "saved" / "run.json").read_text())["cells"] == 5


def test_saved_centers_are_those_of_the_command(movie, tmp_path):
    frames, path = movie
    options = {"model": MODELS / "summits.onnx", "diameter": 12, "count": 3, **ONE_CORE}
    known = {"pixel_um": (1.5, 1.5), "frame_rate_hz": 10.0}
    run_centers(path, tmp_path / "run", **options, **known)
    found = find_centers(frames, **options, **known)
    assert (found.pixel_um, found.frame_rate_hz) == ((1.5, 1.5), 10.0)
    assert found.count == 3
    found.save(tmp_path / "saved")
    written = files(tmp_path / "run")
    written.pop("stages.png")  # made of the movie
    assert files(tmp_path / "saved") == written


def test_a_result_replaces_an_earlier_one_and_no_other_files(movie, tmp_path):
    found = find_cells(movie[0], model=cell_fakes.fake_networks(), diameter=12)
    out = tmp_path / "out"
    found.save(out)
    (out / "curated.npz").touch()
    other = find_cells(summary=movie[0].mean(axis=0), model=cell_fakes.fake_networks(), diameter=12)
    with pytest.raises(CalzooError, match=r"expected a folder without a result, got one with run\.json"):
        other.save(out)
    assert (out / "curated.npz").exists()
    other.save(out, overwrite=True)
    assert not (out / "traces.csv").exists()
    assert not (out / "curated.npz").exists()
    (out / "run.json").unlink()
    with pytest.raises(CalzooError, match=r"(csv|npz|tif|zip|png) is there already, which would be replaced"):
        found.save(out)
    (tmp_path / "curated").mkdir()
    (tmp_path / "curated" / "curation.csv").touch()
    with pytest.raises(
        CalzooError, match=r"got one with curation\.csv; give another folder, or overwrite=True"
    ):
        found.save(tmp_path / "curated")
