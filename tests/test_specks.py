import numpy as np
import pytest

from calzoo.imaging.specks import surroundings, without_specks


def test_axon_without_a_label_and_border_far_from_all_are_background_and_all_else_stays(rng):
    classes = rng.choice(np.uint8([0, 1, 2]), (5, 6, 7))
    axons = rng.choice(np.int32([0, 0, 3]), classes.shape)
    near = rng.choice([False, True], classes.shape)
    given = classes.copy()
    found = without_specks(classes, axons, near)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(classes, given)
    for voxel in np.ndindex(classes.shape):
        speck = axons[voxel] == 0 and (classes[voxel] == 1 or not near[voxel])
        assert found[voxel] == (0 if speck else classes[voxel])


def test_where_all_axons_are_kept_the_classes_stay(rng):
    classes = rng.choice(np.uint8([0, 1, 2]), (3, 4, 5))
    axons = np.int32(classes == 1)
    np.testing.assert_array_equal(without_specks(classes, axons, np.ones(axons.shape, bool)), classes)


def test_a_border_that_came_back_to_an_axon_is_still_border():
    """Grown labels reach into the border class, which is no speck with a label or near one."""
    classes, axons = np.uint8([[[1, 2, 2]]]), np.int32([[[4, 4, 0]]])
    np.testing.assert_array_equal(without_specks(classes, axons, surroundings(axons > 0)), classes)


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_surroundings_are_voxels_by_their_steps_through_faces(steps):
    mask = np.zeros((9, 9, 9), bool)
    mask[4, 4, 1] = True
    z, y, x = np.indices(mask.shape)
    apart = abs(z - 4) + abs(y - 4) + abs(x - 1)
    np.testing.assert_array_equal(surroundings(mask, steps), apart <= steps)
    assert mask.sum() == 1
