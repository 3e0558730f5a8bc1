from itertools import product

import numpy as np
import pytest

from calzoo.errors import CalzooError
from calzoo.imaging.borders import semantic_from_instances


def crowded(rng, shape=(6, 9, 8), labels=(0, 0, 0, 1, 2, 3)):
    return rng.choice(labels, shape).astype(np.int32)


def neighbours(instances, voxel, steps):
    for step in steps:
        at = tuple(np.add(voxel, step))
        if all(0 <= a < side for a, side in zip(at, instances.shape, strict=True)):
            yield instances[at]


def by_the_definition(instances, halo, touching):
    """Look at each voxel's neighbours: the definitions of recipes 1 and 3, word by word."""
    semantic = np.zeros(instances.shape, np.uint8)
    for voxel in np.ndindex(instances.shape):
        own = instances[voxel]
        if own == 0:
            semantic[voxel] = 2 * any(neighbours(instances, voxel, halo))
        else:
            other = any(label not in (0, own) for label in neighbours(instances, voxel, touching))
            semantic[voxel] = 2 if other else 1
    return semantic


SPACE = [step for step in product((-1, 0, 1), repeat=3) if any(step)]
PLANE = [step for step in SPACE if step[2] == 0]
CROSS = [step for step in PLANE if np.abs(step).sum() == 1]


def test_recipe_3_is_a_cross_and_eight_neighbours_in_each_zy_plane(rng):
    instances = crowded(rng)
    expected = by_the_definition(instances, CROSS, PLANE)
    np.testing.assert_array_equal(semantic_from_instances(instances), expected)


def test_recipe_1_is_the_same_with_all_neighbours_in_space(rng):
    instances = crowded(rng, labels=(0,) * 12 + (1, 2, 3))
    expected = by_the_definition(instances, SPACE, SPACE)
    np.testing.assert_array_equal(semantic_from_instances(instances, recipe=1), expected)


def test_recipe_2_is_every_window_with_two_axons(rng):
    instances = crowded(rng)
    expected = (instances > 0).astype(np.uint8)
    for first, second in ((1, 2), (0, 1)):
        for corner in np.ndindex(instances.shape):
            window = [slice(c, c + 1) for c in corner]
            window[first] = slice(corner[first], corner[first] + 2)
            window[second] = slice(corner[second], corner[second] + 2)
            if len(set(instances[tuple(window)].ravel()) - {0}) > 1:
                expected[tuple(window)] = 2
    np.testing.assert_array_equal(semantic_from_instances(instances, recipe=2), expected)


@pytest.mark.parametrize("recipe", [1, 3])
def test_a_thicker_border_is_the_same_halo_again(recipe):
    instances = np.zeros((11, 11, 11), np.int32)
    instances[5, 5, 5] = 1
    z, y, x = np.abs(np.mgrid[-5:6, -5:6, -5:6])
    reach = np.maximum(np.maximum(z, y), x) if recipe == 1 else np.where(x == 0, z + y, 99)
    halo = semantic_from_instances(instances, recipe=recipe, thickness=3) == 2
    np.testing.assert_array_equal(halo, (reach > 0) & (reach <= 3))


@pytest.mark.parametrize("recipe", [1, 2, 3])
def test_the_callers_labels_are_not_changed(rng, recipe):
    instances = crowded(rng)
    before = instances.copy()
    semantic_from_instances(instances, recipe=recipe, thickness=2)
    np.testing.assert_array_equal(instances, before)


@pytest.mark.parametrize("recipe", [1, 2, 3])
@pytest.mark.parametrize("dtype", [np.uint16, np.int64, bool])
def test_every_integer_type_gives_the_same_classes(rng, recipe, dtype):
    instances = crowded(rng, labels=(0, 1)) if dtype is bool else crowded(rng)
    expected = semantic_from_instances(instances, recipe=recipe)
    np.testing.assert_array_equal(semantic_from_instances(instances.astype(dtype), recipe=recipe), expected)


def test_a_single_plane_has_a_border_too():
    assert semantic_from_instances(np.array([[[0], [4], [5]]])).ravel().tolist() == [2, 2, 2]


def test_a_picture_or_fractions_are_refused():
    with pytest.raises(CalzooError, match=r"must be a volume .* got 2 axes of int64"):
        semantic_from_instances(np.zeros((4, 4), np.int64))
    with pytest.raises(CalzooError, match=r"got 3 axes of float32"):
        semantic_from_instances(np.zeros((4, 4, 4), np.float32))


def test_unknown_recipes_and_thicknesses_are_refused():
    with pytest.raises(CalzooError, match="recipe must be 1, 2 or 3, got 4"):
        semantic_from_instances(np.zeros((2, 2, 2), int), recipe=4)
    with pytest.raises(CalzooError, match=r"whole number of voxels from 1, got 0"):
        semantic_from_instances(np.zeros((2, 2, 2), int), thickness=0)
