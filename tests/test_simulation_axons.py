import json

import numpy as np
import pytest
from scipy import ndimage

from calzoo.errors import CalzooError
from calzoo.simulation.axon_styles import LIMITS, STYLES, check, draw
from calzoo.simulation.axons import simulate_axons

SMALL = (10, 48, 56)
OPEN = {"margin": "none", "boundary_level": 1.0}  # tissue everywhere, all of it recorded


@pytest.mark.parametrize("style", sorted(STYLES))
def test_every_style_draws_a_stack_with_axons_and_its_truth(style):
    stack = simulate_axons(3, SMALL, style=style, **OPEN)
    assert stack.volume.shape == stack.instances.shape == SMALL
    assert stack.volume.dtype in (np.uint8, np.uint16)
    assert stack.instances.dtype == np.int32
    labels = np.unique(stack.instances)
    np.testing.assert_array_equal(labels, np.arange(len(labels)))
    assert len(labels) > 1
    assert stack.style["name"] == style
    z, y, x = stack.voxel_um
    assert y == x
    assert z / y == pytest.approx(stack.style["anisotropy"])


@pytest.mark.parametrize("style", sorted(STYLES))
def test_what_was_drawn_can_be_written_as_json(rng, style):
    drawn = draw(rng, style)
    assert json.loads(json.dumps(drawn)) == drawn


def test_all_styles_draw_the_same_parameters(rng):
    names = [set(style(rng)) for style in STYLES.values()]
    assert all(name == names[0] for name in names)


def test_the_same_seed_gives_the_same_stack_and_another_seed_another():
    first, again, other = (simulate_axons(seed, SMALL) for seed in (5, [5], 6))
    np.testing.assert_array_equal(first.volume, again.volume)
    np.testing.assert_array_equal(first.instances, again.instances)
    assert not np.array_equal(first.volume, other.volume)


def test_clutter_haze_and_the_detector_leave_the_labels_alone():
    plain = simulate_axons(2, SMALL, style="twophoton", **OPEN, cells=0, vessels=0, haze=0, granules=0)
    busy = simulate_axons(
        2, SMALL, style="twophoton", **OPEN, cells=900, vessels=1, haze=1, granules=900, photons=3
    )
    np.testing.assert_array_equal(plain.instances, busy.instances)
    assert not np.array_equal(plain.volume, busy.volume)


@pytest.mark.parametrize("share", [0.02, 0.1])
def test_axons_fill_about_the_share_that_is_asked_for(share):
    form = {"style": "confocal", "diameter_px": 5.0, "gap_share": 0.0, **OPEN}
    stack = simulate_axons(4, (16, 96, 96), **form, axon_share=share)
    assert 0.6 * share < np.mean(stack.instances > 0) < 1.5 * share


def test_a_share_of_zero_is_tissue_without_axons():
    stack = simulate_axons(6, SMALL, style="lightsheet", **OPEN, axon_share=0)
    assert not stack.instances.any()
    assert stack.volume.std() > 0


def test_axons_are_brighter_than_the_tissue_around_them():
    stack = simulate_axons(1, (12, 80, 80), style="lightsheet", background=0.5, axon_share=0.05, **OPEN)
    axon = stack.instances > 0
    assert np.median(stack.volume[axon]) > np.percentile(stack.volume[~axon], 75)


def test_beyond_the_field_of_view_all_is_black_and_nothing_is_labelled():
    form = {"style": "confocal", "boundary_level": 1.0, "black_level": -2.0, "axon_share": 0.3}
    whole = simulate_axons(0, SMALL, **form, margin="none")
    assert whole.volume.min() > 0
    cut = simulate_axons(0, SMALL, **form, margin="polygon")
    outside = cut.volume == 0
    assert 0.05 < outside.mean() < 0.95
    assert not cut.instances[outside].any()
    np.testing.assert_array_equal(cut.volume[~outside], whole.volume[~outside])


def test_where_there_is_no_tissue_there_are_no_axons():
    form = {"style": "confocal", "margin": "none", "axon_share": 0.2, "dark_cells": 0, "dark_vessels": 0}
    dark = {"background": 0.0, "haze": 0.0, "glare": 0.0, "cells": 0, "granules": 0, "vessels": 0}
    clean = {"read_noise": 0.0, "hot_pixels": 0.0, "black_level": 0.0, "photons": 1e4, "white_point": 5.0}
    stack = simulate_axons(6, SMALL, **form, **dark, **clean, levels=256, boundary_level=0.0)
    empty = ndimage.uniform_filter((stack.volume == 0).astype(float), 5) > 0.999
    assert 0.03 < empty.mean() < 0.97
    assert not stack.instances[empty].any()
    assert stack.instances.any()


def test_a_confocal_stack_has_few_grey_levels_and_many_exact_zeros():
    stack = simulate_axons(
        7, (12, 96, 96), style="confocal", levels=16, background=0.6, photons=0.8, black_level=0.0,
        excess_noise=0.0, read_noise=0.0, smoothing_px=0.0, hot_pixels=0.0, white_point=15 / 0.8, **OPEN,
    )  # fmt: skip
    assert set(np.unique(stack.volume)) <= set(range(0, 256, 17))
    # Background voxels see about half a photon: exp(-0.48) = 0.62 of them see none.
    assert 0.45 < np.mean(stack.volume == 0) < 0.7


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 9, 9), (40, 6, 6)])
def test_any_size_can_be_drawn(shape):
    assert simulate_axons(0, shape, style="lightsheet").volume.shape == shape


def test_a_given_parameter_replaces_the_drawn_one():
    assert simulate_axons(1, (2, 9, 9), style="confocal", anisotropy=2.5).style["anisotropy"] == 2.5


def width(instances):
    """Return how wide axons are in the plane, in pixels: twice their area over their perimeter."""
    inside = instances > 0
    edges = sum((np.diff(inside, axis=axis) != 0).sum() for axis in (1, 2))
    return 2 * inside.sum() / (np.pi / 4 * edges)


@pytest.mark.parametrize("style", ["confocal", "twophoton"])
def test_magnified_axons_are_wider_and_as_noisy(style):
    ratios = []
    for seed in range(4):
        once, twice = (
            simulate_axons(seed, (8, 160, 160), style=style, margin="none", magnification=m) for m in (1, 2)
        )
        ratios.append(width(twice.instances) / width(once.instances))
        assert once.style["photons"] == twice.style["photons"]
        assert twice.style["diameter_px"] == 2 * once.style["diameter_px"]
    assert np.median(ratios) == pytest.approx(2, rel=0.2)


@pytest.mark.parametrize("magnification", [0.2, 5])
@pytest.mark.parametrize("style", ["confocal", "lightsheet", "twophoton", "neuropil", "anything"])
def test_every_stack_can_be_magnified(style, magnification):
    for seed in range(5):
        simulate_axons(seed, (2, 16, 16), style=style, magnification=magnification)


def test_a_magnification_that_means_nothing_is_refused():
    with pytest.raises(CalzooError, match=r"magnification must be between 0\.2 and 5, got 0"):
        simulate_axons(1, (4, 16, 16), style="confocal", magnification=0)


def test_an_unknown_parameter_names_the_nearest():
    with pytest.raises(CalzooError, match="'diameter'; did you mean 'diameter_px'"):
        simulate_axons(0, SMALL, diameter=4)
    with pytest.raises(CalzooError, match="'qqq'; choose from name, anisotropy"):
        simulate_axons(0, SMALL, qqq=4)


@pytest.mark.parametrize(
    ("parameter", "reason"),
    [
        ({"diameter_px": -1}, "diameter_px must be between 0.5 and 50, got -1"),
        ({"diameter_px": "a"}, "diameter_px must be between 0.5 and 50, got 'a'"),
        ({"read_noise": float("nan")}, "read_noise must be between 0 and 10, got nan"),
        ({"photons": 0}, r"photons must be between 0.001 and 1e\+07, got 0"),
        ({"vessels": 1.5}, "vessels must be a whole number between 0 and 100, got 1.5"),
        ({"bits": 99}, "bits must be one of 8, 16, got 99"),
        ({"bits": 8, "levels": 4096}, "levels, with bits=8, must be a whole number between 2 and 256"),
        ({"margin": "round"}, "margin must be one of none, polygon, boxes, got 'round'"),
    ],
)
def test_values_that_mean_nothing_are_refused(parameter, reason):
    with pytest.raises(CalzooError, match=f"axon parameter {reason}"):
        simulate_axons(0, SMALL, style="confocal", **parameter)


@pytest.mark.parametrize("style", STYLES)
def test_what_is_drawn_is_within_the_limits(style):
    for seed in range(200):
        drawn = draw(np.random.default_rng(seed), style)
        check(drawn)
    assert {*LIMITS, "bits", "margin"} == set(drawn)


def test_an_unknown_style_lists_the_styles():
    with pytest.raises(CalzooError, match=r"one of confocal, .*got 'electron'"):
        simulate_axons(0, SMALL, style="electron")


@pytest.mark.parametrize("shape", [(64, 64), (0, 8, 8), (8, 8, 8.5), (8, 8, "8"), 8, "abc"])
def test_a_shape_that_is_no_volume_is_refused(shape):
    with pytest.raises(CalzooError, match=r"shape must be \(Z, Y, X\).*got "):
        simulate_axons(0, shape)
