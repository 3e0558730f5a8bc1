"""Holes in labels, against scipy."""

import numpy as np
import pytest
from scipy import ndimage

from calzoo.inference.holes import without_holes


def box(*, sides=14, tunnel=None):
    labels = np.zeros((20, 20, 20), np.int32)
    labels[3 : 3 + sides, 3 : 3 + sides, 3 : 3 + sides] = 7
    if tunnel is not None:
        labels[tunnel] = 0
    return labels


def test_cavities_are_filled_as_scipy_fills_them(rng):
    mask = ndimage.binary_closing(rng.random((24, 25, 26)) < 0.3)
    filled = without_holes(7 * mask.astype(np.int32)) == 7
    assert (filled & ~mask).any()
    np.testing.assert_array_equal(ndimage.binary_fill_holes(filled), filled)
    for axis in range(3):
        for plane, known in zip(np.moveaxis(mask, axis, 0), np.moveaxis(filled, axis, 0), strict=True):
            assert known[ndimage.binary_fill_holes(plane)].all()  # no hole in a section is larger than 150


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_narrow_tunnels_are_filled_and_wide_ones_stay(axis):
    narrow, wide = ([slice(5, 5 + width)] * 3 for width in (8, 13))
    narrow[axis] = wide[axis] = slice(None)
    np.testing.assert_array_equal(without_holes(box(tunnel=tuple(narrow))), box())
    labels = box(sides=16, tunnel=tuple(wide))
    np.testing.assert_array_equal(without_holes(labels), labels)


@pytest.mark.parametrize("planes", [slice(0, 10), slice(10, 20)])
def test_a_large_cavity_that_a_slab_cuts_is_filled(planes):
    labels = box(tunnel=(slice(4, 16),) * 3).repeat(2, 1).repeat(2, 2)
    solid = box().repeat(2, 1).repeat(2, 2)
    np.testing.assert_array_equal(without_holes(labels), solid)
    np.testing.assert_array_equal(without_holes(labels[planes]), solid[planes])


def test_what_two_axons_enclose_together_stays():
    labels = box(sides=16, tunnel=(slice(4, 18),) * 3)
    labels[:, :, 9:][labels[:, :, 9:] > 0] = 8
    before = labels.copy()
    np.testing.assert_array_equal(without_holes(labels), before)


def test_an_empty_block_stays_empty():
    assert not without_holes(np.zeros((3, 4, 5), np.int32)).any()
    assert without_holes(np.ones((3, 4, 5), np.int32)).all()
