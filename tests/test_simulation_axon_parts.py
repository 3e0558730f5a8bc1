"""The parts that axon stacks are made of, each against what can be computed by hand."""

import numpy as np
import pytest
from scipy import ndimage

from calzoo.simulation.axon_clutter import draw_bodies
from calzoo.simulation.axon_geometry import visible_px, walk
from calzoo.simulation.axon_microscopes import blur, digitise, expose
from calzoo.simulation.axon_painting import Samples, paint_labels, paint_light
from calzoo.simulation.fields import enlarge, log_uniform, smooth_field

DETECTOR = {
    "speckle": 0.0, "photons": 20.0, "excess_noise": 0.0, "read_noise": 0.0, "hot_pixels": 0.0,
    "smoothing_px": 0.0,
}  # fmt: skip


def samples(position, radius=3.0, brightness=1.0, owner=1, labelled=True):
    position = np.atleast_2d(np.asarray(position, np.float32))
    number = len(position)
    return Samples(
        position,
        np.full(number, radius, np.float32),
        np.full(number, brightness, np.float32),
        np.full(number, owner, np.int32),
        np.full(number, labelled),
    )


def test_the_light_of_a_ball_is_its_volume_times_its_brightness():
    light = paint_light(samples([12.3, 14.1, 13.6], radius=6, brightness=2.0), (25, 28, 28), anisotropy=1)
    assert light.max() == 2
    assert light.sum() == pytest.approx(2 * 4 / 3 * np.pi * 6**3, rel=0.02)


def test_labels_are_the_voxels_whose_centres_lie_in_the_ellipsoid():
    centre, radius, stretch, anisotropy = np.array([15.2, 11.7, 12.4]), 4.3, 1.5, 3.0
    labels = paint_labels(
        samples(centre, radius, owner=7), (11, 25, 24), anisotropy=anisotropy, axial_stretch=stretch
    )
    z, y, x = np.mgrid[:11, :25, :24]
    distance = ((anisotropy * z - centre[0]) / stretch) ** 2 + (y - centre[1]) ** 2 + (x - centre[2]) ** 2
    np.testing.assert_array_equal(labels, 7 * (distance <= radius**2))


def test_what_is_visible_widens_labels_in_quadrature():
    labels = paint_labels(samples([20, 20, 20], 3.0), (41, 41, 41), anisotropy=1, visible_px=(8.0, 4.5))
    across, along = labels[20, 20].sum(), labels[:, 20, 20].sum()
    assert (across, along) == (2 * 5 + 1, 2 * 8 + 1)  # radii 5.4 and 8.5


def test_bright_axons_are_labelled_as_far_as_they_outshine_typical_ones():
    style = {
        "label_reach": 0.5,
        "label_reach_axial": 1.0,
        "psf_px": 2.0,
        "psf_axial_px": 4.0,
        "label_glow": 1.0,
    }
    dim, typical, bright = np.transpose(visible_px(style, np.array([0.5, 1.0, 5.0])))
    np.testing.assert_allclose([dim, typical], [[4, 1], [4, 1]])
    # There the Gaussian of the blur has fallen to what it is of a typical axon where its label ends.
    sigma = np.array([4.0, 2.0])
    np.testing.assert_allclose(
        5 * np.exp(-((bright / sigma) ** 2) / 2), np.exp(-((typical / sigma) ** 2) / 2)
    )
    np.testing.assert_allclose(visible_px(style | {"label_glow": 0.0}, 5.0), [4, 1])


def test_spots_are_seen_through_the_blur(rng):
    """They shine as a typical axon does when blurred, whose brightness is then taken for 1."""
    style = {
        "anisotropy": 1.5, "diameter_px": 1.8, "psf_px": 1.0, "psf_axial_px": 4.0, "psf_growth": 1.0,
        "cells": 0.0, "granules": 60.0, "vessels": 0,
    }  # fmt: skip
    light = blur(rng, draw_bodies(rng, (40, 90, 90), style), style)
    summits = light[(light == ndimage.maximum_filter(light, 9)) & (light > 0.05)]
    assert len(summits) > 10
    assert 0.4 < np.median(summits) < 1.3


def test_a_voxel_between_two_axons_belongs_to_the_nearer():
    x = np.arange(0, 40, 1.0)
    lines = [np.stack([0 * x, 0 * x + y, x], 1) for y in (6, 11)]
    both = Samples.concatenate([samples(line, 4.2, owner=i + 1) for i, line in enumerate(lines)])
    labels = paint_labels(both, (1, 18, 40), anisotropy=1)
    assert labels[0, :, 20].tolist() == [0, 0] + [1] * 7 + [2] * 7 + [0] * 2


def test_the_order_of_painting_does_not_matter(rng):
    many = samples(rng.uniform(0, 20, (60, 3)), 3.0)
    many.owner[:] = rng.integers(1, 9, 60)
    turned = many.take(slice(None, None, -1))
    shape = (10, 20, 20)
    np.testing.assert_array_equal(
        paint_labels(many, shape, anisotropy=2), paint_labels(turned, shape, anisotropy=2)
    )
    np.testing.assert_array_equal(
        paint_light(many, shape, anisotropy=2), paint_light(turned, shape, anisotropy=2)
    )


@pytest.mark.parametrize("anisotropy", [1.0, 2.5, 5.0])
def test_the_thinnest_axon_is_labelled_without_a_break(rng, anisotropy):
    start, heading = np.full((1, 3), 30.0), np.array([[0.3, 0.8, 0.5]])
    path = walk(rng, start, heading, 120, step=0.5, tortuosity=1.0, flatness=0.0, bend=6.0)[:, 0]
    labels = paint_labels(samples(path, 0.6), (90, 100, 100), anisotropy=anisotropy)
    assert ndimage.label(labels, np.ones((3, 3, 3)))[1] == 1


def test_gaps_shine_no_label():
    line = samples([[0, 10, x] for x in range(30)], 2)
    line.labelled[10:20] = False
    labels = paint_labels(line, (1, 20, 30), anisotropy=1)
    assert labels[0, 10, 15] == 0
    assert labels[0, 10, 5] == labels[0, 10, 25] == 1


def test_a_walk_without_turns_is_straight(rng):
    path = walk(rng, np.zeros((3, 3)), np.eye(3), 10, step=2.0, tortuosity=0.0, flatness=0.0, bend=10.0)
    np.testing.assert_allclose(path[-1], 20 * np.eye(3), atol=1e-5)


def test_a_walk_turns_as_much_as_its_tortuosity_says(rng):
    heading = np.tile([[0.0, 0.0, 1.0]], (800, 1))
    path = walk(rng, np.zeros((800, 3)), heading, 110, step=1.0, tortuosity=0.3, flatness=1.0, bend=5.0)
    np.testing.assert_allclose(np.linalg.norm(np.diff(path, axis=0), axis=2), 1, atol=1e-3)
    assert not path[..., 0].any()
    last = path[101] - path[100]
    assert np.std(np.arctan2(last[:, 1], last[:, 2])) == pytest.approx(0.3, rel=0.1)


def test_photons_scatter_as_their_root(rng):
    image = expose(rng, np.full((20, 60, 60), 1.0, np.float32), DETECTOR)  # 20 photons
    assert image.mean() == pytest.approx(1, rel=0.01)
    assert image.var() == pytest.approx(1 / 20, rel=0.02)
    assert np.allclose(image * 20, np.rint(image * 20), atol=1e-4)  # whole photons


def test_bright_light_is_as_noisy_as_counting_would_make_it(rng):
    image = expose(rng, np.full((20, 60, 60), 5.0, np.float32), DETECTOR)  # 100 photons
    assert image.mean() == pytest.approx(5, rel=0.01)
    assert image.var() == pytest.approx(5 / 20, rel=0.02)


@pytest.mark.parametrize(
    ("bits", "levels", "expected"),
    [(8, 16, [0, 0, 17, 119, 255, 255]), (16, 16, [0, 0, 1, 7, 15, 15]), (8, 256, [0, 0, 17, 119, 255, 255])],
)
def test_grey_values_start_at_the_black_level_and_saturate_at_the_white_point(bits, levels, expected):
    style = {"levels": levels, "bits": bits, "black_level": 1.0, "white_point": 15.0}
    grey = digitise(np.array([0.0, 1.0, 2.0, 8.0, 16.0, 99.0]), style)
    assert grey.dtype == (np.uint8 if bits == 8 else np.uint16)
    assert grey.tolist() == expected


def test_a_smooth_field_has_unit_variance_everywhere_and_is_smooth(rng):
    fields = np.stack([smooth_field(rng, (40,), 10) for _ in range(1500)])
    np.testing.assert_allclose(fields.mean(0), 0, atol=0.12)
    np.testing.assert_allclose(fields.std(0), 1, atol=0.1)
    near, far = (np.mean(fields[:, n:] * fields[:, :-n]) / fields.var() for n in (1, 25))
    assert near > 0.97
    assert abs(far) < 0.08


@pytest.mark.parametrize("correlation", [3, 8])
def test_a_field_correlates_alike_along_rows_and_along_diagonals(rng, correlation):
    step = int(np.ceil(correlation))
    diagonal = round(step / np.sqrt(2))
    fields = np.stack([smooth_field(rng, (200, 200), correlation) for _ in range(40)])
    row = np.mean(fields[:, step:] * fields[:, :-step])
    across = np.mean(fields[:, diagonal:, diagonal:] * fields[:, :-diagonal, :-diagonal])
    assert row == pytest.approx(np.exp(-((step / correlation) ** 2)), abs=0.08)
    assert across == pytest.approx(np.exp(-2 * (diagonal / correlation) ** 2), abs=0.08)


def test_neighbours_are_independent_at_a_correlation_of_one_voxel(rng):
    field = smooth_field(rng, (300, 300), 1)
    assert abs(np.mean(field[1:] * field[:-1])) < 0.02


def test_a_ramp_stays_a_ramp_when_it_is_enlarged():
    ramp = np.linspace(0, 6, 4, dtype=np.float32)[:, None] + np.linspace(0, 1, 2, dtype=np.float32)
    expected = np.linspace(0, 6, 13)[:, None] + np.linspace(0, 1, 5)
    np.testing.assert_allclose(enlarge(ramp, (13, 5)), expected, atol=1e-6)


def test_log_uniform_numbers_are_uniform_in_their_logarithm(rng):
    logs = np.log10([log_uniform(rng, 0.1, 1000) for _ in range(4000)])
    assert (logs.min() > -1, logs.max() < 3) == (True, True)
    np.testing.assert_allclose(np.percentile(logs, [25, 50, 75]), [0, 1, 2], atol=0.15)
