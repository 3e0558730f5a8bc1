"""Cells told apart where labels only say how many cover each pixel."""

import numpy as np
import pytest

pytestmark = pytest.mark.train
pytest.importorskip("keras")

from calzoo.errors import CalzooError
from calzoo.imaging.masks import Masks
from calzoo.metrics.matching import match_points
from calzoo.training import cells_data, cells_evaluate
from calzoo.training.cells_cover import masks_from_cover
from calzoo.training.cells_scores import score_cells
from calzoo.training.cells_sources import read_cell_pictures


def disks(shape, *cells):
    """Return masks of disks, each (y, x, radius)."""
    y, x = np.indices(shape)
    return Masks.from_stack(np.stack([(y - cy) ** 2 + (x - cx) ** 2 <= r * r for cy, cx, r in cells]))


def same(truth, found):
    """Return the smallest overlap of true masks with the found ones, which must be as many."""
    assert len(found) == len(truth)
    shared = (truth.matrix() @ found.matrix().T).toarray()
    union = truth.areas[:, None] + found.areas[None] - shared
    return (shared / union).max(axis=1).min()


def test_cells_apart_are_found_as_they_are(rng):
    truth = disks((60, 90), (12, 15, 6), (40, 20, 7), (30, 70, 5))
    assert same(truth, masks_from_cover(truth.count())) == 1.0


def test_shared_pixels_belong_to_both():
    truth = disks((40, 60), (20, 20, 7), (20, 31, 7))
    found = masks_from_cover(truth.count())
    assert (truth.count() == 2).sum() > 10
    assert same(truth, found) == 1.0
    np.testing.assert_array_equal(found.count(), truth.count())


def test_cells_that_touch_are_parted_at_their_waist():
    truth = disks((50, 60), (15, 16, 6), (15, 28, 6), (27, 22, 6))
    assert same(truth, masks_from_cover(truth.count() > 0)) > 0.85


def test_small_cell_beside_a_large_one_keeps_its_size():
    truth = disks((50, 90), (25, 20, 9), (25, 33, 4), (25, 55, 7), (25, 75, 7))
    assert same(truth, masks_from_cover(np.minimum(truth.count(), 1))) > 0.8


def test_specks_are_left_out():
    truth = disks((40, 60), (20, 20, 5), (20, 50, 2))
    assert len(masks_from_cover(truth.count())) == 1
    assert len(masks_from_cover(truth.count(), min_pixels=4)) == 2
    assert len(masks_from_cover(np.zeros((40, 60), int))) == 0


def test_dense_tissue_is_told_apart(rng):
    """As in the pictures of many labs: hundreds of cells, neighbours touch or overlap."""
    places = np.stack(np.meshgrid(np.arange(10, 230, 15), np.arange(10, 230, 15)), -1).reshape(-1, 2)
    places = places + rng.uniform(-3, 3, places.shape)
    truth = disks((240, 240), *((y, x, rng.uniform(5, 8)) for y, x in places))
    found = masks_from_cover(truth.count())
    assert score_cells(truth, found).f1 > 0.97
    assert len(match_points(truth.centers, found.centers, distance=3).true) > 0.97 * len(truth)


@pytest.fixture
def neurofinder(rng, tmp_path):
    """A folder of pictures named as Neurofinder's, two of which have covers alone."""
    import tifffile

    for name in ("00.00", "00.01", "00.04", "01.00"):
        cells = disks((60, 70), (15, 15, 6), (15, 27, 6), (40, 40, 6))
        tifffile.imwrite(tmp_path / f"{name}_mean.tif", rng.random((60, 70), np.float32))
        tifffile.imwrite(tmp_path / f"{name}_semantic.tif", cells.count().astype(np.uint8))
        if name in ("00.00", "01.00"):
            tifffile.imwrite(tmp_path / f"{name}_label.tif", cells.labels())
    return tmp_path


def test_covers_are_read_where_there_are_no_other_labels(neurofinder):
    pictures = {p.name: p for p in read_cell_pictures(neurofinder)}
    assert {name: p.parted for name, p in pictures.items()} == {
        "00.00": True,
        "00.01": False,
        "00.04": False,
        "01.00": True,
    }
    assert {len(p.masks) for p in pictures.values()} == {3}
    assert pictures["00.01"].scaled(12.0).parted is False


def test_planes_of_one_volume_never_part(neurofinder):
    pictures = read_cell_pictures(neurofinder)
    assert [p.field for p in pictures] == [f"neurofinder/{f}" for f in ("00.00", "00.00", "00.04", "01.00")]
    assert cells_data.held_out(pictures, 0, 0) == {"neurofinder/00.00"}
    assert cells_data.held_out(pictures, 1, 0) == {"neurofinder/01.00"}
    assert [cells_data.held_out(pictures, fold, 0) for fold in (2, 3)] == [set(), set()]


def test_covers_are_trained_on_and_never_scored(neurofinder):
    from calzoo.training import recipes

    recipe = recipes.changed(recipes.recipe("cells-proposal-research"), {"fold": 0})
    data = recipe.data([neurofinder])
    assert [p.name for p in data.validation] == ["00.00"]
    assert len(data.training["neurofinder"]) == 2
    told = []
    pictures = cells_evaluate.pictures_of([neurofinder], report=told.append)
    assert [p.name for p in pictures] == ["00.00", "01.00"]
    reason = "not scored, as NAME_semantic.tif does not tell one cell from another"
    assert told == [f"{reason}: 00.01, 00.04"]


def test_folder_of_covers_alone_cannot_be_scored(neurofinder):
    for path in neurofinder.glob("*_label.tif"):
        path.unlink()
    with pytest.raises(CalzooError, match=r"labels that tell one cell from another.*NAME_labels.tif"):
        cells_evaluate.pictures_of([neurofinder])


def test_cover_that_is_no_picture_is_refused(neurofinder):
    (neurofinder / "00.01_semantic.tif").write_bytes(b"no TIFF")
    with pytest.raises(CalzooError, match="expected a label image as TIFF"):
        read_cell_pictures(neurofinder)
