"""Labels by slabs against labels of the whole volume."""

import numpy as np
import pytest
from scipy import ndimage

from calzoo.imaging.borders import semantic_from_instances
from calzoo.imaging.growth import grow
from calzoo.imaging.specks import numbering
from calzoo.inference.instances import Components, GrownLabels, Measures, components
from calzoo.inference.scratch import Scratch


def scratch(array, folder=None):
    store = Scratch(array.shape, array.dtype, folder)
    for plane in array:
        store.append(plane[None])
    return store


def labelled_by_slabs(mask, depths, connectivity=6):
    found, parts, start = Components(connectivity), [], 0
    for depth in depths:
        parts.append(found.append(mask[start : start + depth]))
        start += depth
    return found.roots()[np.concatenate(parts)]


def structure(connectivity):
    return ndimage.generate_binary_structure(3, {6: 1, 18: 2, 26: 3}[connectivity])


@pytest.mark.parametrize("connectivity", [6, 18, 26])
@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 1, 40), (1, 30, 1), (50, 1, 1), (1, 20, 21), (7, 8, 9)])
@pytest.mark.parametrize("density", [0, 0.05, 0.2, 0.6, 1])
def test_components_are_those_of_scipy(rng, shape, density, connectivity):
    mask = rng.random(shape) < density
    expected, count = ndimage.label(mask, structure(connectivity))
    labels, found = components(mask, connectivity)
    assert (found, labels.dtype) == (count, np.int32)
    np.testing.assert_array_equal(labels, expected)


def test_a_long_winding_component_is_one():
    """A snake through all rows, whose runs connect only at alternating ends."""
    snake = np.zeros((1, 101, 50), bool)
    snake[0, ::2] = True
    snake[0, 1::4, -1] = snake[0, 3::4, 0] = True
    np.testing.assert_array_equal(components(snake)[0], snake)


@pytest.mark.parametrize("depths", [[12], [1] * 12, [5, 7], [2, 3, 1, 6]])
@pytest.mark.parametrize(("density", "connectivity"), [(0.04, 26), (0.1, 18), (0.3, 6), (0.3, 26)])
def test_components_by_slabs_are_those_of_the_whole(rng, depths, density, connectivity):
    mask = rng.random((12, 15, 18)) < density
    whole, count = ndimage.label(mask, structure(connectivity))
    assert count > 0
    np.testing.assert_array_equal(labelled_by_slabs(mask, depths, connectivity), whole)


def test_branches_that_meet_only_in_the_last_slab_are_one():
    """A comb: its teeth are separate in every slab but the last."""
    comb = np.zeros((6, 1, 9), bool)
    comb[:, 0, ::2] = True
    comb[5] = True
    np.testing.assert_array_equal(labelled_by_slabs(comb, [2, 2, 2]), comb)


def test_an_empty_volume_has_no_components():
    np.testing.assert_array_equal(labelled_by_slabs(np.zeros((4, 3, 3), bool), [2, 2]), 0)


def test_touching_axons_get_back_what_they_lost_to_the_border():
    """Two axons along x that touch, the border drawn by the recipe of the training data."""
    truth = np.zeros((7, 14, 6), np.int32)
    truth[2:5, 3:7], truth[2:5, 7:11] = 1, 2
    semantic = semantic_from_instances(truth)
    axons = np.where(semantic == 1, truth, 0)
    assert (axons != truth).any()
    np.testing.assert_array_equal(grow(axons, semantic), truth)


def test_the_outer_border_stays_border():
    truth = np.zeros((7, 9, 6), np.int32)
    truth[2:5, 3:6] = 1
    semantic = semantic_from_instances(truth)
    np.testing.assert_array_equal(grow(truth, semantic, steps=5), truth)


def test_labels_spread_no_farther_than_asked():
    semantic = np.full((1, 1, 9), 2, np.uint8)
    semantic[..., 0] = 1
    labels = np.int32(semantic == 1) * 7
    np.testing.assert_array_equal(grow(labels, semantic, steps=3).ravel(), [7] * 4 + [0] * 5)
    np.testing.assert_array_equal(labels.ravel(), [7] + [0] * 8)


def test_where_two_labels_arrive_together_the_larger_one_wins():
    semantic = np.uint8([[[1, 2, 1]]])
    np.testing.assert_array_equal(grow(np.int32([[[4, 0, 3]]]), semantic).ravel(), [4, 4, 3])


@pytest.mark.parametrize("depth", [1, 2, 5, 30])
@pytest.mark.parametrize("steps", [0, 1, 3])
@pytest.mark.parametrize("on_disk", [False, True])
def test_growth_by_slabs_is_growth_of_the_whole(rng, tmp_path, depth, steps, on_disk):
    semantic = rng.choice(np.uint8([0, 1, 2]), (13, 10, 11), p=[0.05, 0.15, 0.8])
    components = Components()
    labels = components.append(semantic == 1)
    folder = tmp_path if on_disk else None
    with scratch(semantic, folder) as classes, scratch(labels, folder) as names:
        slabs = list(GrownLabels(classes, names, components.roots(), steps).slabs(depth))
    starts, grown = zip(*slabs, strict=True)
    assert list(starts) == list(range(0, 13, depth))
    whole = grow(labels, semantic, steps)
    assert (whole != labels).any() == (steps > 0)
    np.testing.assert_array_equal(np.concatenate(grown), whole)


@pytest.mark.parametrize("depth", [1, 4, 20])
def test_measures_by_slabs_are_those_of_the_whole(rng, depth):
    labels = np.where(rng.random((9, 7, 8)) < 0.3, rng.integers(1, 12, (9, 7, 8)), 0)
    channels = rng.integers(0, 65535, (2, 9, 7, 8)).astype(np.uint16)
    labels[0, 0, 0] = 12  # nowhere else
    measures = Measures.empty(13, 2)
    for start in range(0, 9, depth):
        part = slice(start, start + depth)
        measures.add(labels[part], start, channels[:, part])
    assert measures.voxels[13] == 0
    for label, box in enumerate(ndimage.find_objects(labels, 12), 1):
        assert measures.voxels[label] == (labels == label).sum()
        assert tuple(measures.low[label]) == tuple(side.start for side in box)
        assert tuple(measures.high[label]) == tuple(side.stop - 1 for side in box)
        expected = [channel[labels == label].sum(dtype=float) for channel in channels]
        np.testing.assert_array_equal(measures.sums[:, label], expected)
        np.testing.assert_array_equal(measures.places[label], np.argwhere(labels == label).sum(axis=0))


def test_axons_are_numbered_by_size_and_small_ones_go():
    voxels = np.array([99, 5, 20, 4, 20, 30])
    np.testing.assert_array_equal(numbering(voxels, 5), [0, 4, 2, 0, 3, 1])
    np.testing.assert_array_equal(numbering(np.array([99, 0, 1]), 0), [0, 0, 1])


@pytest.mark.parametrize("on_disk", [False, True])
def test_scratch_returns_what_was_written(rng, tmp_path, on_disk):
    array = rng.integers(0, 2**31, (9, 4, 5)).astype(np.int32)
    with Scratch(array.shape, array.dtype, tmp_path if on_disk else None) as store:
        store.append(array[:4])
        np.testing.assert_array_equal(store.planes(1, 9), array[1:4])
        store.append(array[4:])
        np.testing.assert_array_equal(store.planes(7, 12), array[7:])
        np.testing.assert_array_equal(store.planes(-3, 2), array[-3:2])
        np.testing.assert_array_equal(store.read(), array)
    assert not list(tmp_path.iterdir())
