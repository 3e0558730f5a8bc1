"""The glare of the axon simulator: wide, but around what it comes from, and no light more."""

import numpy as np
import pytest

from calzoo.simulation.axon_microscopes import glare


def centroid(light):
    """Return the centre of mass, (z, y, x)."""
    return np.array([(light * axis).sum() for axis in np.indices(light.shape)]) / light.sum()


@pytest.mark.parametrize("shape", [(9, 64, 72), (9, 65, 71), (9, 66, 75)])
@pytest.mark.parametrize("at", [(30, 31), (31, 34), (32, 37), (33, 36)])  # all places on the coarse grid
def test_glare_lies_around_the_light_that_is_scattered(shape, at):
    light = np.zeros(shape, np.float32)
    light[4, at[0], at[1]] = 1000
    scattered = glare(light, {"anisotropy": 3.0, "glare_px": 6.0})
    assert scattered.shape == shape
    np.testing.assert_allclose(centroid(scattered), (4, *at), atol=0.1)
    # What filters cut off and sampling adds is little: all of the light is found again.
    assert scattered.sum() == pytest.approx(1000, rel=0.05)


def test_glare_reaches_as_far_as_it_says_and_less_far_in_thick_planes():
    light = np.zeros((25, 96, 96), np.float32)
    light[12, 48, 48] = 1000
    scattered = glare(light, {"anisotropy": 2.0, "glare_px": 8.0})
    place = centroid(scattered)
    width = [
        np.sqrt((scattered * (axis - middle) ** 2).sum() / scattered.sum())
        for axis, middle in zip(np.indices(light.shape), place, strict=True)
    ]
    # Gaussians that are cut at two standard deviations are a little narrower.
    np.testing.assert_allclose(width, (4, 8, 8), rtol=0.2)


def test_without_light_there_is_no_glare():
    assert not glare(np.zeros((3, 17, 18), np.float32), {"anisotropy": 1.0, "glare_px": 5.0}).any()
