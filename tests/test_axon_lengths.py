"""Lengths of axons, against tubes of which they are known."""

import math

import numpy as np
import pytest
from scipy import ndimage

from calzoo.inference import axon_lengths
from calzoo.inference.axon_lengths import lengths_of
from calzoo.inference.axon_table import table_of
from calzoo.inference.axons import segment_axons
from calzoo.inference.instances import Measures
from calzoo.inference.scratch import Scratch


def tube(shape, voxel, direction, length, radius, centre=None):
    """Return a straight tube with flat ends, around the middle of the stack; sizes in micrometres."""
    middle = (np.array(shape) - 1) / 2 * voxel if centre is None else np.array(centre)
    place = np.stack(np.indices(shape), axis=-1) * voxel - middle
    direction = np.array(direction) / np.linalg.norm(direction)
    along = place @ direction
    across = np.linalg.norm(place - along[..., None] * direction, axis=-1)
    return ((across <= radius) & (np.abs(along) <= length / 2)).astype(np.int32)


def measured(labels, voxel=None, depth=32):
    with Scratch(labels.shape, np.int32) as store:
        store.append(labels)
        return lengths_of(store, np.arange(labels.max() + 1, dtype=np.int32), depth, voxel)


def in_plane(degrees):
    return 0, math.sin(math.radians(degrees)), math.cos(math.radians(degrees))


def out_of_plane(degrees):
    return math.sin(math.radians(degrees)), 0, math.cos(math.radians(degrees))


@pytest.mark.parametrize(
    ("shape", "voxel", "direction", "length", "radius"),
    [
        *[((24, 120, 120), (1, 1, 1), in_plane(a), 100, 4) for a in (0, 10, 22.5, 45)],
        *[((30, 24, 110), (2, 0.5, 0.5), out_of_plane(a), 44, 2) for a in (0, 10, 22.5, 30, 45, 60, 90)],
        ((17, 70, 90), (5, 1, 1), (0.42, 0.4, 0.91), 70, 4),
    ],
)
def test_tubes_that_end_within_the_stack(shape, voxel, direction, length, radius):
    labels = tube(shape, voxel, direction, length, radius)
    um = measured(labels, voxel)[1][1]
    assert um == pytest.approx(length, rel=0.08)
    measures = Measures.empty(1, 1)
    measures.add(labels, 0, [labels])
    table = table_of(measures, np.array([0, 1]), (np.array([0, 1]), np.array([0, um])), shape, voxel)
    assert table["radius_um"][0] == pytest.approx(radius, rel=0.08)


@pytest.mark.parametrize(
    ("shape", "voxel", "direction", "length", "radius"),
    [
        ((24, 40, 100), (1, 1, 1), (0, 0, 1), 100, 4),
        ((24, 40, 100), (1, 1, 1), (0, 0, 1), 100, 8),
        ((17, 40, 40), (5, 1, 1), (1, 0, 0), 85, 4),
        ((6, 40, 40), (5, 1, 1), (1, 0, 0), 30, 4),
        ((6, 40, 40), (1, 1, 1), (1, 0, 0), 6, 4),
        ((20, 40, 90), (2, 0.5, 0.5), out_of_plane(60), 40 / math.sin(math.radians(60)), 2),
    ],
)
def test_tubes_that_leave_the_stack_at_both_ends(shape, voxel, direction, length, radius):
    labels = tube(shape, voxel, direction, 1000, radius)
    assert measured(labels, voxel)[1][1] == pytest.approx(length, rel=0.04)


@pytest.mark.parametrize("row", [-2, 0, 3, 6])
def test_a_tube_that_a_face_cuts_open_lengthwise_keeps_its_length(row):
    labels = tube((24, 40, 100), (1, 1, 1), (0, 0, 1), 1000, 4, centre=(12, row, 50))
    assert measured(labels)[0][1] == pytest.approx(100, rel=0.02)


@pytest.mark.parametrize("depth", [3, 8, 18])
def test_lengths_are_the_same_for_all_slabs(monkeypatch, depth):
    voxel = (2.0, 0.5, 0.7)
    labels = np.zeros((64, 60, 60), np.int32)
    for label, direction in enumerate(((1, 0, 0.3), (1, 0.2, 0), (0.4, 1, 1)), 1):
        centre = (63, 7 + 6 * label, 21)
        labels[tube(labels.shape, voxel, direction, 60, 1.6, centre) > 0] = label
    whole = measured(labels, voxel, depth=64)
    monkeypatch.setattr(axon_lengths, "_DEPTH", 1)
    for one, other in zip(measured(labels, voxel, depth), whole, strict=True):
        np.testing.assert_allclose(one, other, rtol=0.005)


def test_only_voxels_of_known_size_have_micrometres():
    labels = tube((9, 12, 40), (1, 1, 1), (0, 0, 1), 30, 3)
    assert measured(labels)[1] is None
    assert measured(labels, (2.0, None, 0.5))[1] is None


def test_a_point_has_no_length():
    labels = np.zeros((5, 5, 5), np.int32)
    labels[2, 2, 2] = 1
    assert measured(labels)[0].tolist() == [0, 0]


def test_axons_that_touch_at_an_edge_keep_their_own_lengths():
    """Thinned together they would be one curve."""
    labels = np.zeros((12, 12, 60), np.int32)
    labels[1:6, 1:6, 2:58], labels[6:11, 6:11, 2:58] = 1, 2
    np.testing.assert_allclose(measured(labels)[0][1:], 56, rtol=0.05)


def test_holes_in_an_axon_do_not_change_its_length(rng):
    labels = tube((48, 48, 100), (1, 1, 1), (0.5, 0, 1), 80, 9)
    hollow = labels.copy()
    hollow[tube(labels.shape, (1, 1, 1), (0.5, 0, 1), 50, 5) > 0] = 0
    hollow[24, :, 50] = hollow[:, 24, 40] = 0  # tunnels through and through
    hollow[ndimage.binary_erosion(hollow) & (rng.random(labels.shape) < 0.01)] = 0
    assert measured(hollow)[0][1] == pytest.approx(measured(labels)[0][1], rel=0.03)


@pytest.mark.parametrize("depth", [32, 48])
def test_a_hollow_axon_at_the_end_of_a_slab_keeps_its_length(depth):
    labels = tube((60, 40, 100), (1, 1, 1), (0, 0, 1), 80, 9, centre=(34, 20, 50))
    labels[tube(labels.shape, (1, 1, 1), (0, 0, 1), 70, 5, centre=(34, 20, 50)) > 0] = 0
    assert measured(labels, depth=depth)[0][1] == pytest.approx(80, rel=0.05)


def test_an_axon_that_is_a_ring_keeps_its_hole():
    place = np.stack(np.indices((20, 60, 60)), axis=-1) - [10, 30, 30]
    across = np.hypot(np.linalg.norm(place[..., 1:], axis=-1) - 20, place[..., 0])
    assert measured((across <= 3).astype(np.int32))[0][1] == pytest.approx(2 * math.pi * 20, rel=0.05)


@pytest.mark.usefixtures("checkout_is_the_cache")
@pytest.mark.parametrize(("radius", "diameter", "wider"), [(5, None, 1.0), (6, None, 1.0), (8, 16, 1.15)])
def test_the_released_network_measures_thick_axons(rng, radius, diameter, wider):
    """Where a stack is scaled, axons come out a pixel wider; thicker ones than these need that."""
    pytest.importorskip("onnxruntime")
    axon = tube((36, 64, 144), (1, 1, 1), (0.12, 0.2, 1), 110, radius)
    light = ndimage.gaussian_filter(axon * 100.0, 0.6) + 10
    stack = rng.poisson(light).astype(np.uint16)
    found = segment_axons(stack, voxel_um=(1, 1, 1), provider="cpu", axon_diameter=diameter)
    assert found.table["length_um"][0] == pytest.approx(110, rel=0.1)
    assert found.table["radius_um"][0] == pytest.approx(wider * radius, rel=0.1)
