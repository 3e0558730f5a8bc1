"""Curation: keys, state, what is written."""

from types import SimpleNamespace

import numpy as np
import pytest

from calzoo import cli
from calzoo.annotation.curate import Curation
from calzoo.commands import curate
from calzoo.errors import CalzooError
from calzoo.imaging.masks import Masks, read_masks, write_masks


@pytest.fixture
def folder(tmp_path):
    stack = np.zeros((3, 20, 30), bool)
    stack[0, 2:6, 3:7] = stack[1, 10:15, 4:9] = stack[2, 8:12, 20:26] = True
    write_masks(tmp_path / "masks.npz", cells=Masks.from_stack(stack))
    return tmp_path


def test_dropped_cell_is_not_among_the_curated_ones(folder):
    curation = Curation(folder)
    curation.step(1)
    curation.toggle()
    curation.save()
    kept = read_masks(folder / "curated.npz")
    np.testing.assert_array_equal(kept.areas, [16, 24])
    assert (folder / "curation.csv").read_text().splitlines()[1:] == [
        "3.5,4.5,1,1,1",
        "12,6,2,0,1",
        "9.5,22.5,3,1,0",
    ]


def test_suite2p_is_told_what_is_kept(folder):
    plane = folder / "suite2p" / "plane0"
    plane.mkdir(parents=True)
    np.save(plane / "iscell.npy", [[1, 0.9], [1, 0.8], [1, 0.7]])
    curation = Curation(folder)
    curation.step(1)
    curation.toggle()
    curation.save()
    np.testing.assert_array_equal(np.load(plane / "iscell.npy"), [[1, 0.9], [0, 0.8], [1, 0.7]])
    others = [[0, 0.2]]  # what Suite2p found by itself
    np.save(plane / "iscell.npy", others)
    curation.save()
    np.testing.assert_array_equal(np.load(plane / "iscell.npy"), others)


def test_curation_goes_on_where_it_was_left(folder):
    curation = Curation(folder)
    curation.toggle()
    curation.step(1)
    curation.save()
    again = Curation(folder)
    assert again.kept.tolist() == [False, True, True]
    assert again.current == 2
    again.toggle()
    again.toggle()
    assert again.kept.tolist() == [False, True, True]


def test_curation_goes_on_whatever_the_digits_of_its_places(tmp_path, rng):
    places = rng.integers(0, 2048, (40, 7, 2)) // [3, 1]
    nothing = np.empty(0, int), np.empty(0, int)  # has no place
    masks = Masks.from_pixels((2048, 2048), [nothing, *(pixels.T for pixels in places)])
    write_masks(tmp_path / "masks.npz", cells=masks)
    curation = Curation(tmp_path)
    curation.toggle()
    curation.save()
    assert Curation(tmp_path).kept.tolist() == [False] + [True] * 40


def test_first_and_last_cell_are_neighbours(folder):
    curation = Curation(folder)
    curation.step(-1)
    assert curation.current == 2
    curation.step(1)
    assert curation.current == 0


def test_curation_of_nothing_can_be_saved(tmp_path):
    write_masks(tmp_path / "masks.npz", cells=Masks.from_pixels((5, 5), []))
    curation = Curation(tmp_path)
    curation.step(1)
    curation.toggle()
    curation.save()
    assert len(read_masks(tmp_path / "curated.npz")) == 0


def test_folder_without_masks_or_with_those_of_others_is_refused(folder, tmp_path):
    with pytest.raises(
        CalzooError, match=r"expected the result of 'calzoo cells' with masks\.npz, found none"
    ):
        Curation(tmp_path / "nothing")
    (folder / "curation.csv").write_text("y,x,id,kept,seen\n1,1,1,1,1\n")
    with pytest.raises(CalzooError, match=r"it is about 1 other cells than masks\.npz with 3"):
        Curation(folder)
    (folder / "curation.csv").unlink()
    Curation(folder).save()
    stack = read_masks(folder / "masks.npz").stack()
    write_masks(folder / "masks.npz", cells=Masks.from_stack(np.roll(stack, 1, axis=2)))
    with pytest.raises(CalzooError, match=r"it is about 3 other cells than masks\.npz with 3"):
        Curation(folder)
    (folder / "curation.csv").write_text("y,x\n1,1\n")
    with pytest.raises(CalzooError, match="expected a table with y, x, id, kept and seen"):
        Curation(folder)


@pytest.fixture
def pyplot():
    """Return matplotlib's pyplot, which draws without a screen."""
    matplotlib = pytest.importorskip("matplotlib")
    before = matplotlib.get_backend()
    matplotlib.use("agg")
    from matplotlib import pyplot

    yield pyplot
    pyplot.close("all")
    matplotlib.use(before)


@pytest.fixture
def window(folder, pyplot):
    from calzoo.annotation.curate_window import CurationWindow

    return CurationWindow(Curation(folder), np.random.default_rng(0).random((20, 30)), np.zeros((3, 50)))


def press(window, *keys):
    for key in keys:
        window.on_key(SimpleNamespace(key=key))


def test_keys_walk_toggle_save_and_close(window, folder, pyplot):
    press(window, "right", "enter", "right", "left", "x")
    assert "cell 2 of 3: dropped" in window.title()
    assert not (folder / "curation.csv").exists()
    press(window, "escape")
    assert Curation(folder).kept.tolist() == [True, False, True]
    assert not pyplot.fignum_exists(window.figure.number)


def test_current_cell_fills_the_second_picture(window):
    press(window, "right")
    left, right = window._near.get_xlim()
    assert (left + right) / 2 == pytest.approx(6)
    assert (window.figure.axes[0].images[0].get_array() > 0).any()


def test_keys_only_change_the_colours_of_what_was_drawn_once(window):
    from matplotlib.colors import to_hex

    before = [axes.get_children() for axes in window.figure.axes[:2]]
    press(window, "enter", "right")
    assert [axes.get_children() for axes in window.figure.axes[:2]] == before
    for axes in window.figure.axes[:2]:
        (outlines,) = axes.collections
        assert [to_hex(c) for c in outlines.get_colors()] == ["#555555", "#ffb000", "#648fff"]
        assert outlines.get_linewidths() == [0.6, 2.0, 0.6]
        np.testing.assert_allclose(outlines.get_segments()[0].mean(axis=0), (4.5, 3.5), atol=0.5)


@pytest.fixture
def movie(folder, rng):
    """Return the path of the recording that the cells are in."""
    path = folder / "movie.npy"
    np.save(path, rng.poisson(20, (8, 20, 30)).astype(np.uint16))
    return path


def test_command_shows_the_recording_and_says_what_is_kept(folder, movie, monkeypatch, capsys, pyplot):
    from calzoo.annotation import curate_window

    opened = []
    build = curate_window.CurationWindow
    monkeypatch.setattr(
        curate_window, "CurationWindow", lambda *shown: opened.extend([*shown, build(*shown)])
    )
    monkeypatch.setattr(curate, "_check_screen", lambda: None)

    def show():
        _, picture, traces, window = opened
        np.testing.assert_allclose(picture, np.load(movie).mean(axis=0), rtol=1e-5)
        assert traces.shape == (3, 8)
        press(window, "enter", "escape")

    monkeypatch.setattr(pyplot, "show", show)
    assert cli.main(["curate", str(movie), str(folder)]) == 0
    told = capsys.readouterr()
    assert told.out.strip() == str(folder / "curation.csv")
    assert "2 of 3 cells are kept" in told.err
    np.testing.assert_array_equal(read_masks(folder / "curated.npz").areas, [25, 24])


def test_command_needs_a_screen_and_the_recording_of_the_cells(folder, movie, capsys, pyplot, monkeypatch):
    assert cli.main(["curate", str(movie), str(folder)]) == 1
    assert "needs a window, but matplotlib has none here (backend 'agg')" in capsys.readouterr().err
    monkeypatch.setattr(curate, "_check_screen", lambda: None)
    np.save(movie, np.zeros((8, 21, 30), np.uint16))
    assert cli.main(["curate", str(movie), str(folder)]) == 1
    reason = "its frames have (21, 30) pixels, the masks (20, 30); give the recording that they were found in"
    assert reason in capsys.readouterr().err
    assert not (folder / "curation.csv").exists()
