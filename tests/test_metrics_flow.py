import numpy as np
import pytest

from calzoo.errors import CalzooError
from calzoo.imaging.motion import invert, smooth_field
from calzoo.metrics.flow import end_point_error, flow_error, inverse_consistency


def test_the_inverse_of_a_motion_has_next_to_no_error(rng):
    motion = smooth_field(rng, (96, 128), largest=4, sigma=24)
    error = end_point_error(invert(motion), motion, border=10)
    assert max(error.interior, error.border, error.percentile_95) < 0.02


def test_the_error_of_doing_nothing_is_the_length_of_the_motion():
    motion = np.full((64, 80, 2), [3.0, -4.0], np.float32)
    error = end_point_error(np.zeros_like(motion), motion, border=8)
    assert (error.interior, error.median, error.percentile_95) == (5.0, 5.0, 5.0)


def test_pixels_whose_tissue_left_the_frame_do_not_count():
    motion = np.zeros((40, 40, 2), np.float32)
    motion[..., 1] = 10.0  # the tissue of template column x lies at frame column x - 10
    wrong = np.full_like(motion, [0.0, -10.0])
    wrong[:, :10] = 99.0
    assert end_point_error(wrong, motion, border=5).interior == 0.0


def test_border_is_scored_apart():
    motion = np.zeros((40, 40, 2), np.float32)
    flow = np.zeros_like(motion)
    flow[0] = [0.0, 1.0]
    error = end_point_error(flow, motion, border=5)
    assert error.interior == 0.0
    # Of the first row, one pixel in column 39 looks outside but its tissue is inside: all 40 count.
    assert error.border == pytest.approx(40 / (40 * 40 - 30 * 30), rel=1e-6)


def test_flow_error_follows_the_flow_to_where_the_motion_is():
    motion = np.zeros((4, 6, 2), np.float32)
    motion[:, 3] = [1.0, 0.0]
    flow = np.full_like(motion, [0.0, 1.0])
    error = flow_error(flow, motion)
    np.testing.assert_array_equal(error[1, 2], [1.0, 1.0])
    np.testing.assert_array_equal(error[1, 3], [0.0, 1.0])


def test_there_and_back_is_zero_for_a_shift():
    flow = np.full((32, 32, 2), [2.0, -1.0], np.float32)
    assert inverse_consistency(flow, -flow) == 0.0
    assert inverse_consistency(flow, 0 * flow) == pytest.approx(np.sqrt(5))


def test_shapes_that_differ_are_refused():
    with pytest.raises(CalzooError, match=r"of one shape, got \(4, 4, 2\) and \(4, 5, 2\)"):
        end_point_error(np.zeros((4, 4, 2)), np.zeros((4, 5, 2)))


def test_the_border_is_that_of_each_axis_where_a_frame_is_not_square():
    motion = np.zeros((80, 140, 2), np.float32)
    flow = np.zeros_like(motion)
    flow[25:55, 25:115] = (0, 3)  # all of the interior, and nothing of the border
    error = end_point_error(flow, motion, known=np.ones((80, 140), bool))
    assert error.interior == pytest.approx(3)
    assert error.border == 0
    assert (error.median, error.percentile_95) == (0, 3)


def test_what_is_known_may_be_told_and_nothing_known_is_no_error():
    motion = np.zeros((40, 40, 2), np.float32)
    flow = np.full_like(motion, [0.0, 1.0])
    flow[:, 20:] = [0.0, 2.0]
    known = np.zeros((40, 40), bool)
    known[:, :20] = True
    assert end_point_error(flow, motion, border=5, known=known).median == 1
    nothing = end_point_error(flow, motion, known=known & False)
    assert np.isnan([nothing.interior, nothing.border, nothing.median, nothing.percentile_95]).all()
