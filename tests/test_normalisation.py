"""Percentiles by counting, and the scaling that they give."""

import numpy as np
import pytest

from calzoo.errors import CalzooError
from calzoo.imaging.normalisation import Scaling, measure, normalise, percentile_range
from calzoo.weights.card import Normalisation

PERCENTILE = Normalisation(kind="percentile", low=1.0, high=99.5, clip=(0.0, 2.0))


def image(rng, dtype):
    values = rng.normal(100, 40, (7, 11, 13))
    kind = np.dtype(dtype).kind
    if kind == "b":
        return values > 100
    if kind == "i":
        return np.clip(values - 90, -128, 127).astype(dtype)
    return np.clip(values, 0, 255).astype(dtype) if kind == "u" else (values - 100).astype(dtype)


@pytest.mark.parametrize(
    "dtype", ["?", "u1", "i1", "<u2", ">u2", ">i2", "u4", "i4", "i8", "f2", "<f4", ">f4", "f8"]
)
@pytest.mark.parametrize("ignore_zeros", [False, True])
def test_percentiles_by_counting_are_those_of_numpy(rng, dtype, ignore_zeros):
    array = image(rng, dtype)
    array[2:4] = 0
    kept = array[array != 0] if ignore_zeros else array
    # Everything but narrow integers is counted as float32, which is what the network sees.
    narrow = array.dtype.kind in "biu" and array.dtype.itemsize <= 2
    kept = kept.astype(np.float64 if narrow else np.float32).astype(np.float64)
    for low, high in [(0, 100), (1, 99.8), (37.3, 50)]:
        expected = tuple(np.percentile(kept, (low, high)))
        assert percentile_range(array, low, high, ignore_zeros=ignore_zeros) == expected


@pytest.mark.parametrize("dtype", ["u2", "f4"])
def test_percentiles_of_extremes_are_exact(dtype):
    largest = np.iinfo("u2").max if dtype == "u2" else np.finfo("f4").max
    array = np.array([0, largest, 0, 1], dtype)
    assert percentile_range(array, 0, 100) == (0.0, float(largest))


def test_an_outlier_costs_no_precision():
    """A histogram of equal bins between the extremes would put all but one value in one bin."""
    array = np.linspace(0, 1, 1001, dtype="f4")
    array[-1] = 1e30
    low, high = percentile_range(array, 10, 90)
    assert (low, high) == (float(np.float32(0.1)), float(np.float32(0.9)))


def test_minus_zero_is_zero():
    assert percentile_range(np.float32([-0.0, 0.0, -0.0, 5]), 0, 100, ignore_zeros=True) == (5.0, 5.0)


def test_chunks_are_measured_like_the_whole(rng):
    array = image(rng, "f4")
    whole = measure(lambda: iter([array]), PERCENTILE)
    assert measure(lambda: iter(array), PERCENTILE) == whole
    np.testing.assert_array_equal(
        np.stack([whole.apply(plane) for plane in array]), normalise(array, PERCENTILE)
    )


@pytest.mark.parametrize("dtype", ["u1", ">u2", "i8", "f8"])
def test_normalise_maps_the_percentiles_to_zero_and_one(rng, dtype):
    array = image(rng, dtype)
    low, high = np.percentile(array.astype("f8"), (1, 99.5))
    expected = np.clip((array.astype("f8") - low) / (high - low), 0, 2)
    result = normalise(array, PERCENTILE)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, expected, atol=1e-6)


def test_large_integers_keep_their_small_differences():
    array = 2**40 + np.arange(5, dtype="i8")
    scaling = Scaling(offset=float(2**40), span=4.0)
    np.testing.assert_array_equal(scaling.apply(array), np.float32([0, 0.25, 0.5, 0.75, 1]))


def test_zscore_has_mean_zero_and_deviation_one(rng):
    array = image(rng, "u2")
    scaling = measure(lambda: iter(array), Normalisation(kind="zscore"))
    assert scaling.offset == pytest.approx(array.mean(), rel=1e-12)
    assert scaling.span == pytest.approx(array.std(), rel=1e-12)


def test_frames_are_scaled_one_by_one_where_the_card_says_so(rng):
    movie = image(rng, "f4") * np.arange(1, 8, dtype="f4")[:, None, None]
    per_frame = Normalisation(kind="percentile", low=0.0, high=100.0, scope="frame")
    result = normalise(movie, per_frame)
    np.testing.assert_array_equal(result.min(axis=(1, 2)), 0)
    np.testing.assert_allclose(result.max(axis=(1, 2)), 1, rtol=1e-6)


def test_nothing_is_done_where_the_card_says_none(rng):
    array = image(rng, "u2")
    np.testing.assert_array_equal(normalise(array, Normalisation()), array.astype("f4"))


@pytest.mark.parametrize("value", [0, 7])
def test_a_constant_image_becomes_zero(value):
    constant = np.full((3, 4, 5), value, "u2")
    np.testing.assert_array_equal(normalise(constant, PERCENTILE), 0)


def test_a_sparse_image_is_scaled_by_its_largest_value():
    sparse = np.zeros(1000, "u2")
    sparse[3] = 50
    result = normalise(sparse, Normalisation(kind="percentile", low=1.0, high=99.0))
    assert result[3] == 1
    assert result.sum() == 1


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_refused(value):
    with pytest.raises(CalzooError, match="finite intensities, got NaN or infinity; replace them"):
        normalise(np.array([1.0, value]), PERCENTILE)


def test_complex_numbers_are_refused():
    with pytest.raises(CalzooError, match="real numbers, got dtype complex64; convert the image"):
        percentile_range(np.zeros(3, "c8"), 1, 99)


def test_padding_takes_the_level_beside_it(rng):
    """A black corner far below the background leaves no edge; what was recorded stays as it was."""
    volume = rng.normal(1000, 10, (3, 60, 80)) + np.linspace(0, 400, 80)
    whole = volume.astype(np.uint16)
    cut = whole.copy()
    cut[:, 30:, 50:] = 0
    cut[2] = 0
    card = Normalisation(kind="percentile", low=1, high=99.8, ignore_zeros=True)
    scaling = measure(lambda: iter([cut]), card)
    assert scaling.padding == 0
    scaled = scaling.apply(cut)
    np.testing.assert_allclose(scaled[:2, :30], (whole[:2, :30] - scaling.offset) / scaling.span, atol=1e-5)
    just_inside, just_outside = scaled[:2, 30:, 44:50].mean(), scaled[:2, 30:, 50:56].mean()
    assert abs(just_inside - just_outside) < 0.05
    np.testing.assert_allclose(scaled[2], scaled[:2][cut[:2] > 0].mean(), rtol=1e-5)


def test_zeros_of_a_photon_starved_stack_are_measurements(rng):
    counts = (26 * rng.poisson(0.5, (4, 50, 50))).astype(np.uint8)
    card = Normalisation(kind="percentile", low=1, high=99.8, clip=(-1.0, 4.0), ignore_zeros=True)
    scaling = measure(lambda: iter([counts]), card)
    scaled = scaling.apply(counts)
    assert len(np.unique(scaled[counts == 0])) == 1
    assert scaled[counts == 0].max() < scaled[counts > 0].min()


@pytest.mark.parametrize("dtype", ["u1", "u2", "i2", "i4", "f4", "f8"])
@pytest.mark.parametrize("offset", [0, 7, 100, -300])
def test_a_detector_with_an_offset_counts_photons_too(rng, dtype, offset):
    """Whatever number stands for no light, the same voxels get the same values."""
    if offset < 0 and dtype[0] == "u":
        offset = 3
    counts = 2 * rng.poisson(0.5, (4, 50, 50))
    card = Normalisation(kind="percentile", low=1, high=99.8, clip=(-1.0, 4.0), ignore_zeros=True)
    plain = measure(lambda: iter(counts.astype("u1")), card).apply(counts)
    shifted = (counts + offset).astype(dtype)
    scaling = measure(lambda: iter(shifted), card)  # plane by plane, as a stream comes
    np.testing.assert_allclose(scaling.apply(shifted), plain, atol=1e-5)
    assert scaling.padding is None


def test_what_was_never_recorded_may_have_any_value(rng):
    volume = rng.normal(1000, 10, (2, 60, 80)).astype(np.float32)
    volume[:, 30:, 50:] = 100
    scaling = measure(
        lambda: iter(volume), Normalisation(kind="percentile", low=1, high=99.8, ignore_zeros=True)
    )
    assert scaling.padding == 100
    scaled = scaling.apply(volume)
    assert abs(scaled[:, 30:, 44:50].mean() - scaled[:, 30:, 50:56].mean()) < 0.05


def test_a_rare_lowest_level_counts(rng):
    volume = rng.normal(1000, 10, (4, 60, 80)).astype("u2")
    card = Normalisation(kind="percentile", low=1, high=99.8, ignore_zeros=True)
    assert measure(lambda: iter(volume), card).offset == np.percentile(volume, 1)


@pytest.mark.parametrize("levels", [(0, 1), (0, 9), (7, 9)])
@pytest.mark.parametrize("dtype", ["u1", "f4"])
def test_of_two_levels_none_is_left_out(rng, levels, dtype):
    counts = np.where(rng.random((3, 20, 20)) < 0.1, levels[1], levels[0]).astype(dtype)
    card = Normalisation(kind="percentile", low=1, high=99.8, ignore_zeros=True)
    scaled = measure(lambda: iter(counts), card).apply(counts)
    np.testing.assert_array_equal(scaled, counts == levels[1])
