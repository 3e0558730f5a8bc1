"""How wide things are, as users write it."""

import pytest

from calzoo.errors import CalzooError
from calzoo.imaging.diameters import diameter_px


def test_diameters_are_read_in_pixels_and_micrometres():
    assert diameter_px("11px", None) == diameter_px(11, None) == diameter_px(" 11 PX", None) == 11
    assert (
        diameter_px("10um", (0.5, 0.5)) == diameter_px("10 µm", (1.0, 0.25)) == diameter_px("10um", 0.5) == 20
    )
    assert diameter_px("1.2e1", None) == 12
    assert diameter_px(None, None) is None


@pytest.mark.parametrize("diameter", ["0", "-3px", "two", "12 nm", "nan", "inf", "1.2.3"])
def test_what_is_no_size_is_refused(diameter):
    with pytest.raises(CalzooError, match="diameter: expected a size above 0, such as 12, 12px or 10um; got"):
        diameter_px(diameter, None)


def test_what_is_smaller_than_anything_can_be_is_refused():
    assert diameter_px("2", None, least=2.0) == 2.0
    with pytest.raises(CalzooError, match=r"expected at least 2 pixels, got .* of '1um'"):
        diameter_px("1um", (2.0, 2.0), least=2.0)


def test_micrometres_need_the_pixel_size():
    with pytest.raises(
        CalzooError, match=r"the pixel size is not known; give it \(pixel_um, --voxel Y,X\), or give the"
    ):
        diameter_px("10um", None)


def test_messages_say_what_the_caller_calls_it():
    with pytest.raises(CalzooError, match=r"axon width: '5um' .* but the voxel size is not known, or give"):
        diameter_px("5um", None, name="axon width", unknown="the voxel size is not known")
