import numpy as np
import pytest

from calzoo.errors import CalzooError
from calzoo.simulation.axon_styles import STYLES
from calzoo.simulation.axons import simulate_axons

SMALL = (10, 48, 56)


@pytest.mark.parametrize("style", sorted(STYLES))
def test_every_style_draws_a_stack_with_axons_and_its_truth(style):
    stack = simulate_axons(3, SMALL, style=style)
    assert stack.volume.shape == stack.instances.shape == SMALL
    assert stack.volume.dtype in (np.uint8, np.uint16)
    assert stack.instances.dtype == np.int32
    assert stack.instances.max() > 0
    assert stack.style["name"] == style
    z, y, x = stack.voxel_um
    assert y == x
    assert z / y == pytest.approx(stack.style["anisotropy"])


def test_the_same_seed_gives_the_same_stack_and_another_seed_another():
    first, again, other = (simulate_axons(seed, SMALL) for seed in (5, [5], 6))
    np.testing.assert_array_equal(first.volume, again.volume)
    np.testing.assert_array_equal(first.instances, again.instances)
    assert not np.array_equal(first.volume, other.volume)


def test_a_given_parameter_replaces_the_drawn_one():
    assert simulate_axons(1, SMALL, style="confocal", anisotropy=2.5).style["anisotropy"] == 2.5


def test_an_unknown_parameter_names_the_nearest():
    with pytest.raises(CalzooError, match="'diameter'; did you mean 'diameter_px'"):
        simulate_axons(0, SMALL, diameter=4)


def test_an_unknown_style_lists_the_styles():
    with pytest.raises(CalzooError, match=r"one of confocal, .*got 'electron'"):
        simulate_axons(0, SMALL, style="electron")


def test_a_shape_of_two_axes_is_refused():
    with pytest.raises(CalzooError, match=r"shape must be \(Z, Y, X\).*got \(64, 64\)"):
        simulate_axons(0, (64, 64))
