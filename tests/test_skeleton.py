import numpy as np
import pytest
from scipy import ndimage

from calzoo.errors import CalzooError
from calzoo.imaging.skeleton import skeleton_length, skeletonize

ALL_AROUND = np.ones((3, 3, 3))


def components(mask):
    return ndimage.label(mask, np.ones((3,) * mask.ndim))[1]


def smooth_blobs(rng, shape, sigma):
    return ndimage.gaussian_filter(rng.standard_normal(shape), sigma) > 0


@pytest.mark.parametrize("share", [0.1, 0.3, 0.6])
@pytest.mark.parametrize("shape", [(12, 20, 25), (40, 50)])
def test_random_masks_keep_their_components_and_their_euler_number(rng, shape, share):
    measure = pytest.importorskip("skimage.measure")
    mask = rng.random(shape) < share
    skeleton = skeletonize(mask)
    assert components(skeleton) == components(mask)
    connectivity = len(shape)
    assert measure.euler_number(skeleton, connectivity) == measure.euler_number(mask, connectivity)


def test_a_smooth_body_keeps_its_components_and_its_euler_number(rng):
    measure = pytest.importorskip("skimage.measure")
    mask = smooth_blobs(rng, (30, 40, 40), 3)
    skeleton = skeletonize(mask)
    assert not np.any(skeleton & ~mask)
    assert skeleton.sum() < 0.05 * mask.sum()
    assert components(skeleton) == components(mask)
    assert measure.euler_number(skeleton, 3) == measure.euler_number(mask, 3)


def test_tubes_are_as_long_as_scikit_image_finds_them(rng):
    morphology = pytest.importorskip("skimage.morphology")
    t = np.linspace(-1, 1, 400)[:, None]
    ours, theirs = 0.0, 0.0
    for _ in range(10):
        mask = np.ones((24, 60, 90), bool)
        start, bend = rng.uniform(0.45, 0.55, 3), rng.uniform(-0.4, 0.4, (2, 3))
        curve = (start + t * bend[0] + t**2 * bend[1]) * mask.shape
        mask[tuple(np.clip(np.rint(curve).astype(int), 0, np.array(mask.shape) - 1).T)] = False
        mask = ndimage.distance_transform_edt(mask) <= 3
        ours += skeleton_length(skeletonize(mask))
        theirs += skeleton_length(morphology.skeletonize(mask) > 0)
    assert ours == pytest.approx(theirs, rel=0.04)


@pytest.mark.parametrize("shape", [(20, 20, 20), (30, 30)])
def test_thinning_a_skeleton_changes_nothing(rng, shape):
    skeleton = skeletonize(smooth_blobs(rng, shape, 2))
    np.testing.assert_array_equal(skeletonize(skeleton), skeleton)


def test_a_straight_bar_becomes_its_axis():
    bar = np.zeros((9, 9, 40), bool)
    bar[2:7, 2:7, 3:37] = True
    z, y, x = np.nonzero(skeletonize(bar))
    assert set(z) == set(y) == {4}
    assert np.all(np.diff(np.sort(x)) == 1)
    assert x.min() <= 7
    assert x.max() >= 32


def test_a_ring_stays_closed():
    z, y, x = np.mgrid[-5:6, -20:21, -20:21]
    ring = (np.hypot(y, x) - 13) ** 2 + z**2 <= 9
    skeleton = skeletonize(ring)
    neighbours = ndimage.convolve(skeleton.astype(int), ALL_AROUND.astype(int), mode="constant") - 1
    assert np.all(neighbours[skeleton] >= 2)
    assert skeleton_length(skeleton) == pytest.approx(2 * np.pi * 13, rel=0.1)


def test_a_hollow_ball_keeps_its_cavity():
    distance = np.sqrt(np.sum(np.mgrid[-9:10, -9:10, -9:10] ** 2, axis=0))
    shell = skeletonize((distance < 8) & (distance > 5))
    outside, number = ndimage.label(~shell)
    assert number == 2
    assert outside[9, 9, 9] != outside[0, 0, 0]


def test_a_mask_that_touches_the_edges_is_thinned_as_if_background_went_on(rng):
    mask = smooth_blobs(rng, (12, 14, 16), 2)
    np.testing.assert_array_equal(skeletonize(mask), skeletonize(np.pad(mask, 2))[2:-2, 2:-2, 2:-2])


def test_nothing_stays_nothing_and_a_voxel_stays_a_voxel():
    assert not skeletonize(np.zeros((3, 4, 5))).any()
    assert skeletonize(np.ones((1, 1, 1))).all()


def test_a_mask_with_one_axis_is_refused():
    with pytest.raises(CalzooError, match=r"needs the axes \(Z, Y, X\) or \(Y, X\), got shape \(5,\)"):
        skeletonize(np.ones(5))


@pytest.mark.parametrize(
    ("voxels", "length"),
    [
        ([(0, 0, 0)], 0),
        ([(0, 0, 0), (1, 0, 0)], 3),
        ([(0, 0, 0), (0, 3, 4)], 0),
        ([(0, 0, 0), (0, 1, 1)], np.hypot(2, 0.5)),
        ([(0, 0, 0), (1, 1, 1)], np.sqrt(9 + 4 + 0.25)),
        # A corner of three: the diagonal is a detour's short cut, not a curve.
        ([(0, 0, 0), (0, 1, 0), (0, 1, 1)], 2.5),
        ([(0, 2, 1), (1, 1, 1), (1, 0, 2)], np.hypot(3, 2) + np.hypot(2, 0.5)),
    ],
)
def test_a_length_is_the_sum_of_the_shortest_steps(voxels, length):
    skeleton = np.zeros((2, 5, 6), bool)
    skeleton[tuple(np.transpose(voxels))] = True
    assert skeleton_length(skeleton, voxel=(3.0, 2.0, 0.5)) == pytest.approx(length)


def test_the_length_of_a_curve_in_a_picture_uses_the_last_two_sizes():
    assert skeleton_length(np.eye(3), voxel=(9.0, 3.0, 4.0)) == pytest.approx(10)
