"""Other voxel sizes: exact where interpolation is exact, and the same by slabs as of the whole."""

import numpy as np
import pytest

from calzoo.errors import CalzooError
from calzoo.imaging.resampling import Resampled, SlabReader, Taps, resampled_shape


class Stack:
    """An array with the interface of a volume."""

    def __init__(self, array):
        self.array = array
        self.shape = array.shape[-3:]

    def planes(self, start, stop):
        assert 0 <= start < stop <= self.shape[0]
        return self.array[..., start:stop, :, :]


@pytest.mark.parametrize(
    ("size", "new_size"), [(10, 10), (10, 20), (10, 33), (20, 10), (33, 10), (7, 1), (1, 5)]
)
def test_a_constant_stays_constant(size, new_size):
    taps = Taps(size, new_size)
    np.testing.assert_allclose(taps.apply(np.full(size, 3.0), 0), 3, rtol=1e-6)


@pytest.mark.parametrize(("size", "new_size"), [(12, 24), (12, 30), (24, 12), (30, 7)])
def test_a_ramp_stays_a_ramp_away_from_the_ends(size, new_size):
    """In units of the axis' length, the value at a place is the same before and after."""
    ramp = (np.arange(size) + 0.5) / size
    result = Taps(size, new_size).apply(ramp, 0)
    expected = (np.arange(new_size) + 0.5) / new_size
    edge = int(np.ceil(max(new_size / size, 1) + 1))
    # Where samples lie unevenly within the triangle, their centre is off by a part of a sample.
    tolerance = 1e-6 if new_size > size or size % new_size == 0 else 0.1 / size
    np.testing.assert_allclose(result[edge:-edge], expected[edge:-edge], atol=tolerance)


def test_halving_is_a_triangle_of_four():
    impulse = np.zeros(8)
    impulse[3] = 1
    np.testing.assert_allclose(Taps(8, 4).apply(impulse, 0), [0, 3 / 8, 1 / 8, 0], atol=1e-7)


def test_equal_sizes_change_nothing(rng):
    array = rng.random((3, 4, 5)).astype(np.float32)
    result = Resampled(Stack(array), array.shape).planes(0, 3)
    np.testing.assert_array_equal(result, array)


def test_a_thin_bright_line_is_not_missed_when_the_volume_shrinks():
    volume = np.zeros((1, 60, 8), np.uint16)
    volume[:, 29] = 100
    small = Resampled(Stack(volume), (1, 10, 8)).planes(0, 1)
    assert small.sum(axis=1).ravel() == pytest.approx(100 / 6, rel=0.01)


@pytest.mark.parametrize("shape", [(9, 10, 11), (18, 5, 30), (4, 20, 6), (23, 10, 11)])
@pytest.mark.parametrize("leading", [(), (3,)])
def test_planes_by_slabs_are_those_of_the_whole(rng, shape, leading):
    array = rng.random((*leading, 9, 10, 11)).astype(np.float32)
    resampled = Resampled(Stack(array), shape)
    whole = resampled.planes(0, shape[0])
    assert whole.shape == (*leading, *shape)
    assert whole.dtype == np.float32
    for depth in (1, 3):
        stream = SlabReader((array[..., i : i + 2, :, :] for i in range(0, 9, 2)), (9, 10, 11))
        streamed = Resampled(stream, shape)
        slabs = [streamed.planes(z, min(z + depth, shape[0])) for z in range(0, shape[0], depth)]
        np.testing.assert_array_equal(np.concatenate(slabs, axis=-3), whole)


def test_a_slab_reader_forgets_what_is_past(rng):
    array = rng.random((9, 2, 2))
    reader = SlabReader(iter([array[:4], array[4:]]), array.shape)
    np.testing.assert_array_equal(reader.planes(1, 6), array[1:6])
    np.testing.assert_array_equal(reader.planes(5, 9), array[5:])
    assert len(reader._kept) == 4


def test_shapes_follow_the_factors():
    assert resampled_shape((17, 100, 101), (1, 2, 0.5)) == (17, 200, 50)
    assert resampled_shape((3, 3, 3), (0.01, 1, 1)) == (1, 3, 3)
    with pytest.raises(CalzooError, match=r"factors above 0 for z, y and x, got \(1, 0, 1\)"):
        resampled_shape((3, 3, 3), (1, 0, 1))
