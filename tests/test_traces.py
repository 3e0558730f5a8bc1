"""Traces against direct means, deconvolution against a general solver."""

import numpy as np
import pytest
from scipy import ndimage, optimize, signal

from calzoo.errors import CalzooError
from calzoo.imaging.deconvolution import deconvolve, estimate_decay, estimate_noise
from calzoo.imaging.frames import ComputedMovie, as_movie
from calzoo.imaging.masks import Masks
from calzoo.imaging.traces import extract_traces, neuropil_rings, trace_delta_f_over_f, without_shared


@pytest.fixture
def masks():
    """Return four masks in a frame of 40 x 50: two overlap, one lies at the corner."""
    stack = np.zeros((4, 40, 50), bool)
    stack[0, 10:16, 10:16] = True
    stack[1, 14:20, 14:20] = True
    stack[2, 0:5, 0:6] = True
    stack[3, 30:36, 35:40] = True
    return Masks.from_stack(stack)


@pytest.mark.parametrize("dtype", ["u2", "f4", "i4", "f8"])
def test_traces_are_means_over_own_pixels(rng, masks, dtype):
    movie = rng.integers(0, 30000, size=(300, 40, 50)).astype(dtype)
    rings = neuropil_rings(masks)
    traces = extract_traces(movie, masks)
    assert traces.cells.shape == traces.neuropil.shape == (4, 300)
    alone = masks.stack() & (masks.count() == 1)
    for cell in range(4):
        np.testing.assert_allclose(traces.cells[cell], movie[:, alone[cell]].mean(axis=1), rtol=1e-5)
        ring = rings.stack()[cell]
        np.testing.assert_allclose(traces.neuropil[cell], movie[:, ring].mean(axis=1), rtol=1e-5)
    np.testing.assert_array_equal(traces.own_pixels, alone.sum(axis=(1, 2)))
    np.testing.assert_array_equal(traces.ring_pixels, rings.areas)
    np.testing.assert_allclose(traces.corrected(0.5), traces.cells - 0.5 * traces.neuropil, rtol=1e-6)


def test_a_mask_without_pixels_of_its_own_keeps_all():
    stack = np.zeros((3, 6, 6), bool)
    stack[0, 1:3, 1:3] = stack[1, 1:5, 1:5] = stack[2, 5, 5] = True
    own = without_shared(Masks.from_stack(stack))
    assert own.areas.tolist() == [4, 12, 1]
    np.testing.assert_array_equal(own.stack()[1], stack[1] & ~stack[0])


def test_a_ring_is_free_of_cells_and_keeps_its_distance(masks):
    rings = neuropil_rings(masks, gap=3, pixels=120)
    cells = masks.count() > 0
    for ring, mask in zip(rings.stack(), masks.stack(), strict=True):
        distance = ndimage.distance_transform_edt(~mask)
        assert not (ring & cells).any()
        assert distance[ring].min() > 3
        assert ring.sum() >= 120
        free = ~cells & (distance > 3)
        # All of the nearest pixels, and no others.
        np.testing.assert_array_equal(ring, free & (distance <= distance[ring].max()))
        assert (free & (distance < distance[ring].max())).sum() < 120


def test_a_ring_reaches_as_far_on_all_sides():
    """Everything nearer belongs to another cell: what is left is a band as wide as the reach."""
    away = np.hypot(*np.ogrid[-30:31, -30:31])
    reach = np.ceil(2 + np.sqrt(4 * 350 / np.pi))
    masks = Masks.from_stack(np.stack([away == 0, (away > 0) & (away < reach - 2)]))
    np.testing.assert_array_equal(neuropil_rings(masks).stack()[0], (away >= reach - 2) & (away <= reach))


def test_cells_without_room_have_a_small_ring_or_none():
    crowded = Masks.from_labels(np.arange(1, 26).reshape(5, 5).repeat(4, axis=0).repeat(4, axis=1))
    assert neuropil_rings(crowded).areas.max() == 0
    traces = extract_traces(np.ones((5, 20, 20)), crowded)
    assert (traces.neuropil == 0).all()
    np.testing.assert_allclose(traces.cells, 1)


def test_traces_are_taken_in_one_pass(rng, masks):
    asked = []

    def read(frames, start):
        asked.append(len(frames))
        return frames

    extract_traces(ComputedMovie(as_movie(rng.random((400, 40, 50))), read), masks)
    assert sum(asked) == 400
    assert max(asked) <= 135


def test_no_masks_give_no_traces(rng):
    traces = extract_traces(rng.random((10, 8, 8)), Masks.from_pixels((8, 8), []))
    assert traces.cells.shape == traces.neuropil.shape == (0, 10)


def test_masks_of_another_frame_are_refused(masks):
    with pytest.raises(CalzooError, match=r"frames of \(40, 50\) pixels, the movie has \(50, 40\)"):
        extract_traces(np.zeros((3, 50, 40)), masks)


def test_an_empty_mask_is_refused():
    with pytest.raises(CalzooError, match="none in 1 of them, the first is 1"):
        extract_traces(np.zeros((3, 4, 4)), Masks((4, 4), [0, 1, 1], [0], [0]))


def test_dff_of_traces_is_that_of_pixels():
    traces = np.full((2, 600), [[100.0], [20.0]])
    traces[0, 300:310] = 150
    change = trace_delta_f_over_f(traces, window=200)
    assert change.shape == (2, 600)
    np.testing.assert_allclose(change[0, 300:310], 0.5, rtol=1e-6)
    np.testing.assert_array_equal(change[1], 0)


def test_dff_of_a_cell_with_hardly_a_baseline_is_of_a_tenth_of_the_usual_one():
    traces = np.array([[100.0], [100.0], [-5.0]]) + np.zeros(400)
    traces[:, 200:205] += 20
    change = trace_delta_f_over_f(traces, window=200)
    np.testing.assert_allclose(change[:, 202], [0.2, 0.2, 20 / (0.1 * 100)], rtol=1e-5)


def test_dff_of_no_cells_has_no_cells():
    assert trace_delta_f_over_f(np.empty((0, 30), np.float32), window=10).shape == (0, 30)


def by_general_solver(trace, decay, penalty):
    """Minimise |y - K s|^2 / 2 + penalty * sum s over s >= 0, with K the matrix of decays."""
    length = len(trace)
    delay = np.subtract.outer(np.arange(length), np.arange(length))
    kernel = np.where(delay >= 0, float(decay) ** np.maximum(delay, 0), 0)
    # penalty * sum s is linear in y: K^T (y - p) = K^T y - penalty.
    price = np.linalg.solve(kernel.T, np.full(length, penalty))
    return optimize.nnls(kernel, trace - price, maxiter=100 * length)[0]


@pytest.mark.parametrize("decay", [0.5, 0.9, 0.98])
@pytest.mark.parametrize("penalty", [0.0, 0.3, 3.0])
def test_deconvolution_finds_the_optimum(rng, decay, penalty):
    spikes = (rng.random((4, 150)) < 0.05) * rng.uniform(0.5, 2, size=(4, 150))
    spikes[3] = 0
    traces = signal.lfilter([1], [1, -decay], spikes, axis=1) + rng.normal(0, 0.3, size=(4, 150))
    result = deconvolve(traces, decay=decay, baseline=0, penalty=penalty)
    for cell in range(4):
        expected = by_general_solver(traces[cell], decay, penalty)
        np.testing.assert_allclose(result.events[cell], expected, atol=1e-5)
        calcium = signal.lfilter([1], [1, -decay], expected)
        np.testing.assert_allclose(result.calcium[cell], calcium, atol=1e-5)


def test_events_of_a_trace_without_noise_are_exact():
    spikes = np.zeros(200)
    spikes[[20, 50, 51, 120]] = [1, 2, 0.5, 3]
    result = deconvolve(signal.lfilter([1], [1, -0.9], spikes), decay=0.9, baseline=0, penalty=0)
    np.testing.assert_allclose(result.events[0], spikes, atol=1e-6)
    cell, frame, size = result.find_events()
    assert cell.tolist() == [0, 0, 0]
    assert frame.tolist() == [20, 50, 120]
    np.testing.assert_allclose(size, [1, 2.5, 3], rtol=1e-5)


@pytest.fixture(scope="module")
def simulated():
    """Return spikes and traces of 20 cells: 3000 frames at 10 Hz, decay in 1 s, 0.2 spikes per second."""
    rng = np.random.default_rng(5)
    spikes = (rng.random((20, 3000)) < 0.02) * rng.uniform(0.7, 1.5, size=(20, 3000))
    spikes[:, 0] = 0
    calcium = signal.lfilter([1], [1, -np.exp(-0.1)], spikes, axis=1)
    return spikes, 0.4 + calcium + 0.15 * rng.normal(size=(20, 3000))


def test_noise_and_decay_are_estimated(simulated):
    _, traces = simulated
    np.testing.assert_allclose(estimate_noise(traces), 0.15, rtol=0.15)
    np.testing.assert_allclose(estimate_decay(traces), np.exp(-0.1), atol=0.03)


def test_the_residual_has_the_variance_of_the_noise(simulated):
    _, traces = simulated
    result = deconvolve(traces, decay=np.exp(-0.1), baseline=0.4)
    residual = traces - result.baseline[:, None] - result.calcium
    np.testing.assert_allclose(np.sqrt((residual**2).mean(axis=1)), result.noise, rtol=1e-3)
    assert (result.penalty > 0).all()


def test_the_resting_level_is_estimated(simulated):
    np.testing.assert_allclose(deconvolve(simulated[1]).baseline, 0.4, atol=0.1)


def test_events_are_found_where_the_spikes_are(simulated):
    spikes, traces = simulated
    result = deconvolve(traces)
    cell, frame, size = result.find_events()
    near = ndimage.maximum_filter1d((spikes > 0).astype(int), 3, axis=1)
    assert near[cell, frame].mean() > 0.97
    found = np.zeros_like(spikes)
    found[cell, frame] = size
    near = ndimage.maximum_filter1d(found, 3, axis=1)
    assert (near[spikes > 0] > 0).mean() > 0.85
    assert np.corrcoef(result.events.ravel(), spikes.ravel())[0, 1] > 0.9


def test_cells_do_not_influence_each_other(simulated):
    _, traces = simulated
    together = deconvolve(traces[:3], penalty=0.2, decay=0.9)
    for cell in range(3):
        alone = deconvolve(traces[cell], penalty=0.2, decay=0.9)
        np.testing.assert_allclose(alone.events[0], together.events[cell], atol=1e-6)
        assert alone.events.shape == (1, 3000)


def test_a_silent_or_constant_trace_has_no_events(rng):
    noise = rng.normal(size=(1, 1000))
    result = deconvolve(np.concatenate([noise, np.full((1, 1000), 5.0)]), decay=0.9)
    cell, _, _ = result.find_events(threshold=3)
    assert len(cell) < 5
    assert not (cell == 1).any()
    np.testing.assert_allclose(result.calcium[1], 0, atol=1e-6)
    assert np.isfinite(result.penalty).all()


def test_neighbouring_cells_have_separate_events():
    traces = np.zeros((2, 10))
    traces[0, 9] = traces[1, 1] = 1
    cell, frame, _ = deconvolve(traces, decay=0.5, baseline=0, penalty=0).find_events()
    assert cell.tolist() == [0, 1]
    assert frame.tolist() == [9, 1]


def test_no_cells_have_no_events():
    result = deconvolve(np.zeros((0, 100)))
    assert result.events.shape == (0, 100)
    assert len(result.find_events()[0]) == 0


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"traces": np.zeros((2, 2))}, r"at least 3 frames, got shape \(2, 2\)"),
        ({"traces": np.zeros((2, 2, 9))}, r"got shape \(2, 2, 9\)"),
        ({"traces": np.array([[0, 1, 2, 3], [0, np.nan, 1, 2]])}, "trace 1 holds NaN"),
        ({"decay": 1.0}, "0 < decay < 1"),
        ({"decay": 0.0}, "0 < decay < 1"),
        ({"penalty": -1}, "penalty >= 0"),
    ],
)
def test_what_cannot_be_deconvolved_is_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        deconvolve(**{"traces": np.zeros((2, 50)), **wrong})
