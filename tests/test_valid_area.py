"""The part of a registered movie that was seen in all frames: outside nothing is found."""

import json

import cell_fakes
import numpy as np
import pytest
from PIL import Image
from test_centers import AT, SUMMITS, blinking

from calzoo.cli import main
from calzoo.errors import CalzooError
from calzoo.imaging.cell_summary import cell_pictures
from calzoo.imaging.center_traces import cell_masks
from calzoo.imaging.frames import ArrayMovie
from calzoo.imaging.traces import neuropil_rings
from calzoo.imaging.valid_area import as_valid, read_valid, steady_outside
from calzoo.inference.cell_input import network_input
from calzoo.inference.cells import find_cells, run_cells
from calzoo.inference.centers import find_centers, run_centers

#: Most movies here are short.
pytestmark = pytest.mark.filterwarnings("ignore:the movie has:UserWarning")


def framed(movie, rng, margin=20):
    """Return a movie as registration leaves it, edges repeated by turns, and its valid area."""
    inner = np.s_[:, margin:-margin, margin:-margin]
    wide = np.pad(movie, ((0, 0), (margin, margin), (margin, margin)), mode="edge")
    valid = np.zeros(wide.shape[1:], bool)
    valid[inner[1:]] = True
    for number in range(1, len(wide), 3):  # here the tissue was seen farther out
        wide[number][~valid] = movie.mean() + rng.normal(0, movie.std(), np.count_nonzero(~valid))
    return wide, valid


def test_masks_of_centers_are_one_piece_within_the_valid_area():
    """A mask whose middle is not valid keeps the piece at its centre."""
    valid = np.ones((40, 40), bool)
    valid[24:26] = False
    masks = cell_masks(np.ones((40, 40)), [[18.0, 20.0]], [8.0], valid=valid)
    ((rows, columns),) = masks
    assert valid[rows, columns].all()
    assert rows.max() == 23
    assert len(rows) > 100


@pytest.mark.parametrize("kind", ["movie", "summary"])
def test_no_cell_lies_where_a_movie_is_not_valid(rng, kind):
    picture, truth = cell_fakes.disks(rng, (100, 110), 12.0, 6, edge=1.5)
    y, x = np.indices(picture.shape)
    picture += 400 * sum(np.hypot(y - a, x - b) <= 6 for a, b in [(0, 60), (99, 30), (50, 109)])
    movie, valid = framed(picture + rng.normal(0, 30, (60, *picture.shape)), rng)
    given = {"movie": movie} if kind == "movie" else {"summary": movie.mean(axis=0)}
    options = {"model": cell_fakes.fake_networks(), "diameter": 12}
    spoilt, found = find_cells(**given, **options), find_cells(**given, **options, valid=valid)
    assert spoilt.masks.count()[~valid].any()
    assert not found.masks.count()[~valid].any()
    assert not found.heat[~valid].any()
    centers = np.stack([np.argwhere(t).mean(axis=0) + 20 for t in truth])
    away = np.hypot(*(centers[:, None] - found.centers).transpose(2, 0, 1))
    assert (away.min(axis=1) < 2).all()


def test_what_lies_outside_does_not_tell_how_bright_cells_are(rng):
    picture, truth = cell_fakes.disks(rng, (100, 110), 12.0, 6, edge=1.5)
    valid = np.zeros((160, 170), bool)
    valid[30:-30, 30:-30] = True
    wide = np.where(valid, np.pad(picture, 30), 50_000 * rng.random(valid.shape))
    found = find_cells(summary=wide, model=cell_fakes.fake_networks(), diameter=12, valid=valid)
    assert found.count == len(truth)


def test_the_networks_see_nothing_of_what_lies_outside(rng):
    picture, _ = cell_fakes.disks(rng, (60, 70), 12.0, 4)
    movie, valid = framed(picture + rng.normal(0, 30, (60, *picture.shape)), rng)
    other = np.where(valid, movie, rng.normal(300, 90, movie.shape))
    seen, same = (
        network_input(cell_fakes.fake_networks(), cell_pictures(m), valid=valid).image for m in (movie, other)
    )
    np.testing.assert_allclose(seen, same, atol=1e-5)
    assert np.ptp(seen, axis=(1, 2)).min() > 0.1


def test_neuropil_is_valid(rng):
    _, truth = cell_fakes.disks(rng, (100, 110), 12.0, 6)
    movie = rng.normal(100, 3, (60, 100, 110)) + 400 * truth.any(axis=0)
    valid = np.zeros((100, 110), bool)
    valid[8:-8, 8:-8] = True
    movie[:, ~valid] = 1e6
    found = find_cells(movie, model=cell_fakes.fake_networks(), diameter=12, valid=valid)
    assert found.count
    assert found.traces.neuropil.max() < 1000
    rings = neuropil_rings(found.masks, where=valid)
    assert valid[rings.row, rings.col].all()


def test_no_centre_lies_where_a_movie_is_not_valid(rng):
    at = np.concatenate([AT, [(0.0, 33.0), (53.0, 60.0)]])
    movie, valid = framed(blinking(rng, at=at)[0], rng)
    spoilt, found = (find_centers(movie, diameter=8, valid=v, **SUMMITS) for v in (None, valid))
    assert not valid[tuple(np.rint(spoilt.points).astype(int).T)].all()
    assert valid[tuple(np.rint(found.points).astype(int).T)].all()
    assert not found.masks.count()[~valid].any()
    away = np.hypot(*(AT[:, None] + 20 - found.points).transpose(2, 0, 1))
    assert (away.min(axis=1) < 1).all()
    assert found.count <= len(at)
    other = np.where(valid, movie, 10 * rng.random(movie.shape))
    same = find_centers(other, diameter=8, valid=valid, **SUMMITS)
    np.testing.assert_allclose(same.points, found.points)
    np.testing.assert_allclose(same.traces, found.traces, rtol=1e-5)


def test_a_centre_just_outside_takes_the_place_of_no_other(rng):
    movie, _ = blinking(rng)
    first, *rest = find_centers(movie, diameter=8, **SUMMITS).points
    valid = np.ones(movie.shape[1:], bool)
    rows, columns = np.indices(valid.shape)
    valid[np.hypot(rows - first[0], columns - first[1]) < 1.5] = False  # its light around it is seen
    far = np.hypot(rows - first[0], columns - first[1]) > 9
    movie[:, far] += rng.normal(0, 6, (len(movie), far.sum()))  # the others are less sure
    found = find_centers(movie, diameter=8, count=1, valid=valid, **SUMMITS).points
    assert found.shape == (1, 2)
    assert np.abs(np.array(rest) - found[0]).max(axis=1).min() < 2


def test_a_margin_changes_with_the_whole_frame_only(rng):
    movie = rng.integers(0, 500, (30, 40, 50)).astype(np.uint16)
    movie[:, 10:30, 10:40] = 100 + np.arange(30)[:, None, None]
    valid = np.zeros((40, 50), bool)
    valid[10:30, 10:40] = True
    steady = steady_outside(ArrayMovie(movie), valid)
    assert steady.shape == movie.shape
    expected = np.broadcast_to(100.0 + np.arange(30)[:, None, None], movie.shape)
    np.testing.assert_allclose(steady.frames(0, 30), expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("valid", "message"),
    [
        (
            np.ones((4, 6), bool),
            r"valid area of frames \(4, 5\), bool, got \(4, 6\), bool; give that of this",
        ),
        (np.ones((4, 5)), r"bool, got \(4, 5\), float64"),
        (np.zeros((4, 5), np.uint8), "pixels are valid, got an empty one; leave it out, or register"),
        ("a.png", r"a valid area \(Y, X\)"),
    ],
)
def test_an_area_that_cannot_be_meant_is_refused(valid, message):
    with pytest.raises(CalzooError, match=message):
        as_valid(valid, (4, 5))


def test_pictures_of_another_size_or_of_nothing_are_refused(tmp_path):
    path = tmp_path / "out.valid.png"
    Image.fromarray(np.full((4, 5), 255, np.uint8)).save(path)
    assert read_valid(path, (4, 5)).all()
    with pytest.raises(CalzooError, match=r"out.valid.png: expected a mask of .* \(8, 5\), got \(4, 5\)"):
        read_valid(path, (8, 5))
    Image.fromarray(np.zeros((4, 5), np.uint8)).save(path)
    with pytest.raises(CalzooError, match=r"out.valid.png: expected an area .* got an empty one"):
        read_valid(path, (4, 5))


@pytest.mark.parametrize("task", ["cells", "centers"])
def test_the_files_of_a_movie_with_a_valid_area(rng, tmp_path, task):
    movie, valid = framed(blinking(rng)[0], rng)
    np.save(tmp_path / "a.npy", movie.astype(np.float32))
    Image.fromarray(np.where(valid, 255, 0).astype(np.uint8)).save(tmp_path / "a.valid.png")
    run, options = (
        (run_cells, {"model": cell_fakes.fake_networks()}) if task == "cells" else (run_centers, SUMMITS)
    )
    run(tmp_path / "a.npy", tmp_path / "out", diameter=8, valid=tmp_path / "a.valid.png", **options)
    facts = json.loads((tmp_path / "out" / "run.json").read_text())
    assert facts["options"]["valid"]["path"] == str(tmp_path / "a.valid.png")
    assert (tmp_path / "out" / "overlay.png").exists()


def test_the_command_asks_again_for_another_valid_area(rng, tmp_path, capsys):
    movie, valid = framed(blinking(rng)[0], rng)
    np.save(tmp_path / "a.npy", movie.astype(np.float32))
    for name in ("a", "b"):
        Image.fromarray(np.where(valid, 255, 0).astype(np.uint8)).save(tmp_path / f"{name}.valid.png")
    command = ["centers", str(tmp_path / "a.npy"), "-o", str(tmp_path / "out"), "--diameter", "8"]
    command += ["--model", str(SUMMITS["model"]), "--valid"]
    assert main([*command, str(tmp_path / "a.valid.png")]) == 0
    assert main([*command, str(tmp_path / "a.valid.png")]) == 0
    assert "is finished" in capsys.readouterr().err
    assert main([*command, str(tmp_path / "b.valid.png")]) == 1
    assert "other options (valid)" in capsys.readouterr().err
