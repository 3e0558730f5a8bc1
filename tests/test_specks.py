import numpy as np

from calzoo.imaging.specks import without_specks


def test_axon_without_a_label_is_background_and_all_else_stays(rng):
    classes = rng.choice(np.uint8([0, 1, 2]), (5, 6, 7))
    axons = rng.choice(np.int32([0, 0, 3]), classes.shape)
    given = classes.copy()
    found = without_specks(classes, axons)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(classes, given)
    for voxel in np.ndindex(classes.shape):
        speck = classes[voxel] == 1 and axons[voxel] == 0
        assert found[voxel] == (0 if speck else classes[voxel])


def test_where_all_axons_are_kept_the_classes_stay(rng):
    classes = rng.choice(np.uint8([0, 1, 2]), (3, 4, 5))
    np.testing.assert_array_equal(without_specks(classes, np.int32(classes == 1)), classes)


def test_a_border_that_came_back_to_an_axon_is_still_border():
    """Grown labels reach into the border class, which is no speck with a label or without."""
    classes, axons = np.uint8([[[1, 2, 2]]]), np.int32([[[4, 4, 0]]])
    np.testing.assert_array_equal(without_specks(classes, axons), classes)
