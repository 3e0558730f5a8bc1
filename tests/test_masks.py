"""Masks in ragged form, in memory and on disk."""

import numpy as np
import pytest
import tifffile

from calzoo.errors import CalzooError
from calzoo.imaging.masks import Masks, read_labels, read_masks, write_masks


@pytest.fixture
def stack(rng):
    """Return three pictures of 12 x 9: two overlap."""
    stack = np.zeros((3, 12, 9), bool)
    stack[0, 1:5, 1:5] = True
    stack[1, 3:6, 3:6] = True
    stack[2, 10, 8] = True
    return stack


def same(one, other):
    assert one.shape == other.shape
    np.testing.assert_array_equal(one.stack(), other.stack())


def test_masks_remember_their_pixels(stack):
    masks = Masks.from_stack(stack)
    assert len(masks) == 3
    assert masks.areas.tolist() == [16, 9, 1]
    np.testing.assert_array_equal(masks.stack(), stack)
    for mask, picture in zip(masks, stack, strict=True):
        np.testing.assert_array_equal(np.transpose(mask), np.argwhere(picture))
    same(Masks.from_pixels((12, 9), list(masks)), masks)
    np.testing.assert_array_equal(np.transpose(masks[-1]), [[10, 8]])
    with pytest.raises(IndexError):
        masks[3]


def test_centers_and_counts_are_those_of_the_pictures(stack):
    masks = Masks.from_stack(stack)
    np.testing.assert_allclose(masks.centers, [np.argwhere(picture).mean(axis=0) for picture in stack])
    np.testing.assert_array_equal(masks.count(), stack.sum(axis=0))
    np.testing.assert_array_equal(masks.matrix().toarray(), stack.reshape(3, -1))


def test_labels_go_to_masks_and_back(rng):
    labels = rng.integers(0, 5, size=(10, 11)).astype(np.uint16)
    labels[labels == 2] = 0
    masks = Masks.from_labels(labels)
    assert len(masks) == 3
    for mask, number in zip(masks, (1, 3, 4), strict=True):
        np.testing.assert_array_equal(np.transpose(mask), np.argwhere(labels == number))
    expected = np.searchsorted([0, 1, 3, 4], labels)
    assert masks.labels().dtype == np.int32
    np.testing.assert_array_equal(masks.labels(), expected)


def test_label_images_are_read_and_others_refused(tmp_path, stack):
    masks = Masks.from_stack(stack[[0, 2]])
    tifffile.imwrite(tmp_path / "labels.tif", masks.labels())
    same(read_labels(tmp_path / "labels.tif"), masks)
    tifffile.imwrite(tmp_path / "grey.tif", np.zeros((4, 5), np.float32))
    with pytest.raises(CalzooError, match=r"grey.tif: .* of integers, got float32 \(4, 5\)"):
        read_labels(tmp_path / "grey.tif")
    (tmp_path / "bad.tif").write_bytes(b"no picture")
    with pytest.raises(CalzooError, match=r"bad.tif: expected a label image as TIFF"):
        read_labels(tmp_path / "bad.tif")
    with pytest.raises(CalzooError, match=r"gone.tif: expected a file, found none"):
        read_labels(tmp_path / "gone.tif")


def test_the_smallest_mask_lies_on_top(stack):
    for order, smaller in (([0, 1, 2], 2), ([1, 0, 2], 1)):
        labels = Masks.from_stack(stack[order]).labels()
        assert (labels[3:5, 3:5] == smaller).all()
        assert (labels > 0).sum() == stack.any(axis=0).sum()


def test_masks_are_selected_by_number_or_bool(stack):
    masks = Masks.from_stack(stack)
    same(masks.select([2, 0]), Masks.from_stack(stack[[2, 0]]))
    same(masks.select(masks.areas > 5), Masks.from_stack(stack[:2]))


def test_no_masks_are_masks_too(tmp_path):
    none = Masks.from_labels(np.zeros((4, 5), int))
    same(Masks.from_pixels((4, 5), []), none)
    same(Masks.from_stack(np.zeros((0, 4, 5))), none)
    assert len(none) == 0
    assert none.centers.shape == (0, 2)
    assert none.labels().max() == 0
    write_masks(tmp_path / "none.npz", cells=none)
    same(read_masks(tmp_path / "none.npz"), none)


def test_groups_of_masks_are_written_and_read(tmp_path, stack):
    one, other = Masks.from_stack(stack), Masks.from_stack(stack[1:])
    path = tmp_path / "masks.npz"
    write_masks(path, cells=one, grader_2=other)
    same(read_masks(path), one)
    same(read_masks(path, "grader_2"), other)
    assert [item.name for item in tmp_path.iterdir()] == ["masks.npz"]
    fields = ("shape", "indptr", "row", "col")
    with np.load(path) as file:
        assert set(file.files) == {f"{group}_{field}" for group in ("cells", "grader_2") for field in fields}


def test_a_missing_group_is_named(tmp_path, stack):
    path = tmp_path / "masks.npz"
    write_masks(path, a=Masks.from_stack(stack), b=Masks.from_stack(stack))
    with pytest.raises(CalzooError, match="no group of masks 'c'; found: a, b"):
        read_masks(path, "c")
    with pytest.raises(CalzooError, match="no group of masks 'cells'; found: a, b"):
        read_masks(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(CalzooError, match=r"expected the name of an \.npz file, got int"):
        read_masks(3)
    with pytest.raises(CalzooError, match=r"gone\.npz: there is no such file"):
        read_masks(tmp_path / "gone.npz")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 and no more", b"text", b"\x93NUMPY\x01\x00"])
def test_a_file_that_is_no_archive_is_refused(tmp_path, content):
    path = tmp_path / "masks.npz"
    path.write_bytes(content)
    with pytest.raises(CalzooError, match=r"masks\.npz: expected masks in an \.npz file, got something else"):
        read_masks(path)


def test_an_archive_of_other_arrays_is_refused(tmp_path):
    np.savez(tmp_path / "half.npz", cells_indptr=[0, 1], cells_row=[0])
    with pytest.raises(CalzooError, match=r"expected the arrays GROUP_shape.*cells_shape"):
        read_masks(tmp_path / "half.npz")
    np.savez(
        tmp_path / "objects.npz", cells_shape=np.array([None]), cells_indptr=[0], cells_row=[], cells_col=[]
    )
    with pytest.raises(CalzooError, match="expected the arrays GROUP_shape"):
        read_masks(tmp_path / "objects.npz")
    np.savez(tmp_path / "stack.npz", masks=np.ones((2, 3, 4), bool))
    with pytest.raises(CalzooError, match=r"got others; .* with Masks\.from_stack or Masks\.from_labels"):
        read_masks(tmp_path / "stack.npz")
    np.savez(tmp_path / "flat.npz", cells_shape=7, cells_indptr=[0], cells_row=[], cells_col=[])
    with pytest.raises(CalzooError, match="expected the arrays GROUP_shape"):
        read_masks(tmp_path / "flat.npz")


@pytest.mark.parametrize(
    ("indptr", "row", "col", "message"),
    [
        ([0, 2], [1, 4], [0, 0], r"pixel \(4, 0\) lies outside the frame \(4, 5\)"),
        ([0, 2], [1, 1], [0, -1], r"pixel \(1, -1\) lies outside"),
        ([0, 3], [1, 1], [0, 1], "indptr ends with 3 pixels, row has 2, col 2"),
        ([0, 2], [1, 1], [0], "row has 2, col 1"),
        ([0, 2, 1], [1], [1], "begins with 0 and never falls"),
        ([1, 2], [1, 1], [0, 0], "begins with 0 and never falls"),
        ([], [], [], "begins with 0"),
        ([[0, 1]], [1], [1], "one axis each"),
    ],
)
def test_masks_that_contradict_themselves_are_refused(indptr, row, col, message):
    with pytest.raises(CalzooError, match=message):
        Masks((4, 5), np.array(indptr), np.array(row), np.array(col))


@pytest.mark.data
def test_every_mask_file_of_the_real_data_is_read(shared_data):
    paths = sorted(shared_data.glob("abo20_summary/*_masks.npz")) + [shared_data / "nf0000_movie/masks.npz"]
    assert len(paths) > 5
    for path in paths:
        with np.load(path) as file:
            groups = {name[: -len("_indptr")] for name in file.files if name.endswith("_indptr")}
        for group in groups:
            masks = read_masks(path, group)
            assert len(masks) > 50
            assert masks.areas.min() > 0
            assert masks.labels().max() <= len(masks)


def test_pixels_that_are_listed_twice_count_once():
    masks = Masks.from_pixels((9, 9), [([5, 1, 5, 2], [5, 1, 5, 2]), ([], []), ([1, 1], [1, 1])])
    assert masks.areas.tolist() == [3, 0, 1]
    rows, columns = masks[0]
    assert (rows.tolist(), columns.tolist()) == ([5, 1, 2], [5, 1, 2])
