"""Scores of the cell networks, beside the classical way and chance."""

from dataclasses import replace

import cell_fakes
import numpy as np
import pytest

pytestmark = pytest.mark.train
keras = pytest.importorskip("keras")

from calzoo.commands import _cells
from calzoo.errors import CalzooError
from calzoo.imaging.masks import Masks, write_masks
from calzoo.inference.cells import detect
from calzoo.training import cells_evaluate, recipes
from calzoo.training.cells_baselines import log_watershed, random_disks, summit_of
from calzoo.training.cells_scores import score_cells
from calzoo.training.cells_sources import CellPicture
from calzoo.training.checkpoints import write_json
from calzoo.training.ledger import versions
from calzoo.training.runs import load_run
from calzoo.training.variables import save_weights


@pytest.fixture
def disks(rng):
    """A labelled picture of disks."""
    picture, truth = cell_fakes.disks(rng, (120, 150), 12.0, 15)
    pictures = {"mean": picture.astype(np.float32)}
    return CellPicture(
        "disks", "own", "own/disks", pictures, Masks.from_stack(truth), np.ones((120, 150), bool), {}
    )


def squares(*corners, side=8, shape=(64, 64)):
    stack = np.zeros((len(corners), *shape), bool)
    for mask, (y, x) in zip(stack, corners, strict=True):
        mask[y : y + side, x : x + side] = True
    return Masks.from_stack(stack)


def test_cell_that_is_hardly_seen_is_no_mistake_and_no_hit():
    truth, unsure = squares((4, 4)), squares((30, 30), (44, 10))
    found = squares((4, 4), (30, 31), (50, 50))
    strict, fair = score_cells(truth, found), score_cells(truth, found, unsure=unsure)
    assert (strict.hits, strict.misses, strict.false) == (1, 0, 2)
    assert (fair.hits, fair.misses, fair.false) == (1, 0, 1)
    assert (fair.center_hits, fair.center_misses, fair.center_false) == (1, 0, 1)


def test_a_picture_whose_cells_lie_outside_of_what_was_marked_is_not_scored(disks):
    reaching = squares((20, 20))  # its centre lies in column 23.5
    known = np.zeros((64, 64), bool)
    known[:, :22] = True
    picture = replace(disks, pictures={"mean": np.ones((64, 64), np.float32)}, masks=reaching, known=known)
    assert not cells_evaluate.Case(picture, [None, "mean", None]).scored
    assert cells_evaluate.Case(replace(picture, known=~known), [None, "mean", None]).scored


def test_blobs_are_outlined_without_a_network(disks):
    found = log_watershed(disks.pictures["mean"], sigma=3.0, threshold=90)
    assert score_cells(disks.masks, found).f1 == 1.0
    assert not len(log_watershed(np.zeros((40, 50)), sigma=3.0, threshold=90))


def test_each_pixel_climbs_to_its_summit():
    y, x = np.indices((20, 30))
    picture = np.exp(-((y - 10.0) ** 2 + (x - 8.0) ** 2) / 20) + np.exp(
        -((y - 10.0) ** 2 + (x - 23.0) ** 2) / 20
    )
    top = summit_of(picture)
    assert np.array_equal(top, np.where(x < 16, 10 * 30 + 8, 10 * 30 + 23))


def test_disks_of_chance_have_the_area_of_a_disk(rng):
    masks = random_disks((200, 300), 50, 10.0, rng)
    assert len(masks) == 50
    assert masks.areas.max() == pytest.approx(25 * np.pi, rel=0.05)
    assert len(np.unique(masks.centers, axis=0)) > 45


def found_by_fakes(picture, shown, diameter):
    return detect(cell_fakes.fake_networks(), shown, diameter=diameter)


def test_networks_that_find_all_disks_score_one(disks):
    lines = []
    scores = cells_evaluate.score_pictures(found_by_fakes, [disks], report=lines.append)
    assert [s.metric for s in scores] == ["F1 of masks at IoU 0.5", "F1 of centres"]
    assert [s.value for s in scores] == [1.0, 1.0]
    assert all(s.baseline == 1.0 and s.chance < 0.5 for s in scores)
    assert scores[0].protocol == "mean over 1 pictures, diameter estimated"
    assert "15 cells" in lines[0]


def test_picture_without_cells_that_can_be_seen_is_left_out(disks):
    facts = {name: np.zeros(15) for name in ("clarity", "snr", "active", "in_focus")}
    hidden = CellPicture(
        "hidden", "simulation", "simulation/hidden", disks.pictures, disks.masks, disks.known, facts
    )
    assert cells_evaluate.score_pictures(found_by_fakes, [hidden]) == []


def test_picture_without_cells_where_labels_were_made_is_left_out(disks):
    known = disks.masks.count() == 0
    empty = CellPicture("empty", "own", "own/empty", disks.pictures, disks.masks, known, {})
    assert cells_evaluate.score_pictures(found_by_fakes, [empty]) == []
    both = cells_evaluate.score_pictures(found_by_fakes, [empty, disks])
    assert both[0].protocol.startswith("mean over 1 pictures")


def test_simulated_recordings_are_scored_where_no_folder_is_given(disks, monkeypatch):
    monkeypatch.setattr(cells_evaluate, "simulated_pictures", lambda: [disks])
    scores = _cells.score_file(cell_fakes.fake_networks())
    assert scores[0].value == 1.0


def test_scenes_that_are_scored_come_from_no_pool():
    (picture,) = cells_evaluate.simulated_pictures(1)
    assert picture.source == "simulation"
    assert len(picture.masks) == len(picture.status((True, True, True)))


def write_run(folder, role):
    """Write what 'calzoo train' leaves of a network that learned nothing."""
    recipe = recipes.changed(recipes.recipe(f"cells-{role}"), {"network": {"filters": [4, 4], "bottom": 4}})
    run = folder / role
    run.mkdir()
    keras.utils.set_random_seed(0)
    (run / "recipe.json").write_text(recipes.to_json(recipe))
    write_json(run / "fingerprint.json", {"simulation/00000": {}})
    write_json(run / "ledger.json", {"versions": versions(), "sessions": []})
    save_weights(recipe.build(), run / "weights.safetensors")
    return run


@pytest.mark.filterwarnings("ignore:the recording")  # untrained networks see nothing
def test_runs_of_both_roles_are_scored_together(tmp_path, disks):
    import tifffile

    run = write_run(tmp_path, "proposal")
    tifffile.imwrite(tmp_path / "a.tif", disks.pictures["mean"])
    write_masks(tmp_path / "a_masks.npz", cells=disks.masks)
    with pytest.raises(CalzooError, match=r"scored together; expected the run of the instance network"):
        _cells.score_run(load_run(run), [tmp_path])
    write_run(tmp_path, "instance")
    scores = _cells.score_run(load_run(run), [tmp_path])
    assert [s.data for s in scores] == ["own pictures (a)"] * 2
    assert 0 <= scores[0].value < 0.5


def test_file_of_the_other_role_lies_beside():
    from pathlib import Path

    path = Path("x/cells-2p-proposal.onnx")
    assert _cells._beside(path, "proposal", "instance") == Path("x/cells-2p-instance.onnx")
