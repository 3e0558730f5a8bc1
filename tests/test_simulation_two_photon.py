"""Two-photon movies: the same from the same seed, and true to their own truth."""

import itertools
import time

import numpy as np
import pytest

from calzoo.errors import CalzooError
from calzoo.imaging.masks import read_masks
from calzoo.imaging.movies import open_movie
from calzoo.imaging.summary import summary_images
from calzoo.imaging.warping import warp
from calzoo.simulation.activity import (
    INDICATORS,
    calcium_kernel,
    draw_spikes,
    indicator,
    relative_fluorescence,
)
from calzoo.simulation.files import SIMULATORS, write_recording
from calzoo.simulation.noise import Detector, count_photons, detect
from calzoo.simulation.two_photon import simulate_registration, simulate_two_photon
from calzoo.simulation.two_photon_style import KINDS, TwoPhotonStyle, draw_two_photon_style

# Many small cells, so that a small frame holds enough of them.
STYLE = TwoPhotonStyle(
    pixel_um=1.2,
    density=150_000,
    active=1.0,
    rate_hz=0.4,
    cell_level=3.0,
    neuropil_photons=20.0,
    bleaching=0.1,
)
STILL = {"drift_um": 0.0, "jitter_um": 0.0, "burst_um": 0.0, "deformation_um": 0.0}


@pytest.fixture(scope="module")
def still():
    return simulate_two_photon(5, (40, 72, 80), style=STYLE, **STILL)


@pytest.fixture(scope="module")
def moving():
    return simulate_two_photon(6, (24, 72, 80), style=STYLE, pixel_um=0.7, drift_um=3.0, deformation_um=0.8)


def test_the_same_seed_gives_the_same_frames_in_any_order():
    first, second = (simulate_two_photon((3, 1), (40, 48, 48)) for _ in range(2))
    whole = first.frames()
    np.testing.assert_array_equal(second.frames(35, 40), whole[35:])
    np.testing.assert_array_equal(second.frames(3, 7), whole[3:7])
    np.testing.assert_array_equal(np.concatenate(list(second.chunks(9))), whole)
    np.testing.assert_array_equal(second[[5, -1]], whole[[5, -1]])


def test_reading_ends_with_the_last_frame():
    recording = simulate_two_photon(3, (5, 32, 32))
    assert len(list(itertools.islice(recording, 9))) == 5
    np.testing.assert_array_equal(recording[-5], recording[0])
    for index in (5, -6, [0, 5]):
        with pytest.raises(IndexError, match=r"no frame (5|-6): there are 5"):
            recording[index]


def test_another_seed_gives_another_recording():
    first, second = (simulate_two_photon(seed, (4, 48, 48), style=STYLE).clean() for seed in (1, 2))
    assert np.corrcoef(first.ravel(), second.ravel())[0, 1] < 0.9


def test_without_motion_the_light_is_background_plus_footprints_times_traces(still):
    cells = still.cells
    assert still.motion.reach == 0
    assert len(cells) > 5
    light = (cells.footprints @ cells.traces).T.reshape(still.shape)
    np.testing.assert_allclose(
        still.clean(), still.illumination * (still.background() + light), rtol=1e-4, atol=1e-4
    )


def test_with_motion_the_light_is_the_scene_where_the_field_points(moving):
    height, width = moving.shape[1:]
    fields = np.zeros((len(moving), *np.add((height, width), 2 * moving.margin), 2), np.float32)
    inside = np.s_[:, moving.margin : -moving.margin, moving.margin : -moving.margin]
    fields[inside] = moving.fields()
    expected = moving.illumination * warp(moving.scene(), fields)[inside]
    np.testing.assert_allclose(moving.clean(), expected, rtol=1e-5)


def test_the_flow_undoes_the_motion(moving):
    """What is left is the blur of interpolating twice: small beside what the motion did."""
    scene = moving.scene()[:, moving.margin : -moving.margin, moving.margin : -moving.margin]
    seen = moving.clean() / moving.illumination
    inside = np.s_[:, 12:-12, 12:-12]
    before = np.abs(seen - scene)[inside].mean()
    after = np.abs(warp(seen, moving.flow(), order=3) - scene)[inside].mean()
    assert np.abs(moving.fields()).max() > 1
    assert after < 0.2 * before


def test_tissue_without_motion_has_a_flow_of_zero(moving):
    fixed = moving.without_motion()
    assert np.abs(fixed.flow()).max() == 0
    np.testing.assert_array_equal(fixed.cells.traces, moving.cells.traces)
    assert not np.array_equal(fixed.frames(0, 1), moving.frames(0, 1))


def test_every_second_line_is_displaced_and_the_flow_knows_nothing_of_it():
    straight = simulate_two_photon(7, (2, 64, 64), style=STYLE, **STILL, alternate_px=1e-6)
    shifted = simulate_two_photon(7, (2, 64, 64), style=STYLE, **STILL, alternate_px=1.0)
    assert np.abs(shifted.flow()).max() == 0
    a, b = (r.clean(0, 1)[0] / r.illumination for r in (straight, shifted))
    np.testing.assert_allclose(b[::2, 4:-4], a[::2, 4:-4], rtol=0.2)
    assert np.corrcoef(b[1::2, 4:-5].ravel(), a[1::2, 5:-4].ravel())[0, 1] > 0.99


def test_masks_lie_where_the_cells_are(still):
    cells = still.cells
    assert cells.masks.shape == still.shape[1:]
    whole = (cells.centers >= 12).all(1) & (cells.centers < np.subtract(still.shape[1:], 12)).all(1)
    assert whole.any()
    for cell in np.flatnonzero(whole & cells.in_focus):
        rows, cols = cells.masks[cell]
        assert np.hypot(rows.mean() - cells.centers[cell, 0], cols.mean() - cells.centers[cell, 1]) < 1.5
        assert cells.radii[cell] == pytest.approx(np.sqrt(len(rows) / np.pi), rel=1e-5)
        footprint = cells.footprints[:, [cell]].toarray().reshape(still.shape[1:])
        assert footprint[rows, cols].sum() > 0.6 * footprint.sum()
    np.testing.assert_allclose(cells.footprints.max(axis=0).toarray()[whole], 1, rtol=1e-5)


def test_bright_cells_stand_out_and_dim_or_noisy_ones_do_not():
    def clarity(**parameters):
        cells = simulate_two_photon(12, (30, 80, 80), style=STYLE, active=0.0, **parameters).cells
        assert cells.in_focus.any()
        assert np.array_equal(cells.visible, cells.clarity >= 0.5)
        return np.median(cells.clarity[cells.in_focus])

    assert clarity(cell_level=10.0, cell_spread=0.2) > 0.7
    assert clarity(cell_level=0.3, cell_spread=0.2) < 0.3
    assert clarity(cell_level=10.0, cell_spread=0.2, neuropil_photons=0.002) < 0.3


def test_only_cells_with_the_indicator_are_true():
    none = simulate_two_photon(8, (4, 64, 64), style=STYLE, labelled=0.0)
    assert len(none.cells) == 0
    assert none.cells.masks.shape == (64, 64)
    assert none.frames().std() > 0


def test_a_silent_cell_follows_the_bleaching_alone():
    silent = simulate_two_photon(9, (30, 64, 64), style=STYLE, active=0.0, bleaching=0.5)
    cells = silent.cells
    assert not cells.spikes.any()
    assert not cells.active.any()
    relative = cells.traces / cells.baselines[:, None]
    np.testing.assert_allclose(relative, np.broadcast_to(relative[0], relative.shape), rtol=1e-4)
    assert cells.traces[0, -1] / cells.traces[0, 0] == pytest.approx(0.5, abs=0.03)


def test_empty_margins_are_zero_and_hold_no_cells():
    blank = simulate_two_photon(4, (3, 72, 72), style=STYLE, offset=100.0, blank=(5, 0, 9, 20))
    frames = blank.frames()
    assert not frames[:, :5].any()
    assert not frames[:, :, :9].any()
    assert not frames[:, :, -20:].any()
    assert (frames[:, 5:, 9:-20] > 0).all()
    assert len(blank.cells) > 0
    assert blank.cells.masks.col.min() >= 9
    assert blank.cells.masks.col.max() < 52
    assert blank.cells.masks.row.min() >= 5


@pytest.mark.parametrize("pulse_spread", [0.0, 0.7])
@pytest.mark.parametrize("expected", [0.3, 2.0, 5.0, 60.0])
def test_counts_have_the_mean_and_the_variance_of_photons(rng, expected, pulse_spread):
    counts = count_photons(rng, np.full(200_000, expected, np.float32), pulse_spread)
    variance = expected * (1 + pulse_spread**2)
    assert counts.min() >= 0
    assert counts.mean() == pytest.approx(
        expected, abs=5 * np.sqrt(variance / counts.size) + 0.003 * expected
    )
    assert counts.var() == pytest.approx(variance, rel=0.03)


def test_the_noise_of_a_movie_follows_its_mean():
    """Cells fire and tissue moves in the movie, so the clean frames are taken away first."""
    recording = simulate_two_photon(
        2, (60, 64, 64), style=STYLE, gain=7.0, offset=300.0, read_noise=4.0, pulse_spread=0.6
    )
    clean = recording.clean()
    noise = recording.frames().astype(float) - (7.0 * clean + 300.0)
    edges = np.quantile(clean, np.linspace(0, 1, 6))
    for low, high in itertools.pairwise(edges):
        chosen = (clean >= low) & (clean <= high)
        expected = 49 * (1 + 0.36) * clean[chosen].mean() + 16 + 1 / 12  # the last: rounding
        assert noise[chosen].var() == pytest.approx(expected, rel=0.05)
        assert noise[chosen].mean() == pytest.approx(0, abs=0.05 * float(np.sqrt(expected)))


def test_few_grey_levels(rng):
    detector = Detector(gain=3.0, offset=10.0, step=16.0, bits=8)
    grey = detect(rng, np.full((50, 50), 30.0, np.float32), detector)
    assert grey.dtype == np.uint8
    assert set(np.unique(grey) % 16) == {0}


def test_lines_that_were_lost_are_dark(rng):
    detector = Detector(gain=10.0, dropped_lines=3.0)
    grey = detect(rng, np.full((40, 400), 50.0, np.float32), detector)
    rows = grey.mean(axis=1)
    assert 1 <= (rows < 300).sum() <= 9
    assert (np.abs(rows[rows >= 300] - 500) < 20).all()


@pytest.mark.parametrize("name", INDICATORS)
def test_one_spike_answers_with_the_amplitude_at_the_peak_of_the_kernel(name):
    kind = indicator(name)
    spikes = np.zeros((1, 3000))
    spikes[0, 100] = 1
    light = relative_fluorescence(spikes, kind, 500.0)[0]
    kernel = calcium_kernel(kind, 500.0)
    assert kernel.max() == pytest.approx(1, abs=0.02)
    assert light.max() - 1 == pytest.approx(kind.amplitude, rel=0.05)
    np.testing.assert_allclose(light[:100], 1, atol=1e-6)
    assert 100 + kernel.argmax() == light.argmax()


def test_spikes_become_fluorescence_by_the_stated_kernel(still):
    kind = indicator("GCaMP6s")
    spikes = np.zeros((1, 200))
    spikes[0, [10, 12, 90]] = 1, 2, 1
    light = relative_fluorescence(spikes, kind, 15.0)[0]
    calcium = np.convolve(spikes[0], calcium_kernel(kind, 15.0))[:200]
    half = kind.saturation**kind.cooperativity
    power = calcium**kind.cooperativity
    np.testing.assert_allclose(light, 1 + kind.amplitude * power * (1 + half) / (power + half), rtol=1e-4)


def test_traces_rise_after_spikes(still):
    cells = still.cells
    busy = np.flatnonzero((cells.spikes[:, 5:-3].max(axis=1) >= 4) & ~cells.spikes[:, :2].any(axis=1))
    assert busy.size
    for cell in busy:
        frame = 5 + cells.spikes[cell, 5:-3].argmax()
        assert cells.traces[cell, frame + 2] > cells.traces[cell, frame - 1]


def test_active_cells_spike_as_often_as_asked(rng):
    spikes = draw_spikes(rng, 400, 1500, 10.0, rate_hz=0.2, rate_spread=0.0, burst_size=3.0, synchrony=0.5)
    assert spikes.mean() * 10 == pytest.approx(0.2 * 3, rel=0.1)
    state = spikes.mean(axis=0)
    alone = draw_spikes(rng, 400, 1500, 10.0, rate_hz=0.2, rate_spread=0.0, burst_size=3.0, synchrony=0.0)
    assert state.std() > 1.5 * alone.mean(axis=0).std()


def test_binned_frames_are_means_of_frames_with_less_noise(still):
    binned = still.binned(8)
    assert binned.shape == (5, 72, 80)
    assert binned.frame_rate_hz == pytest.approx(still.frame_rate_hz / 8)
    np.testing.assert_allclose(binned.clean(), still.clean().reshape(5, 8, 72, 80).mean(1), rtol=1e-4)
    assert binned.cells.spikes.sum() == still.cells.spikes.sum()
    frames = binned.frames()
    assert frames.dtype == np.float32
    noise = frames - STYLE.gain * binned.clean()
    expected = STYLE.gain**2 * 1.25 * binned.clean().mean() / 8
    assert noise.var() == pytest.approx(expected, rel=0.1)


def test_bins_longer_than_the_movie_are_refused(still):
    with pytest.raises(CalzooError, match=r"between 1 and the number of frames 40, got 41"):
        still.binned(41)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_preparation_can_be_drawn(rng, kind):
    recording = simulate_two_photon(1, (3, 48, 56), style=kind)
    frames = recording.frames()
    assert frames.shape == recording.shape == (3, 48, 56)
    assert frames.dtype == recording.dtype
    assert frames.std() > 0
    assert recording.cells.traces.shape == (len(recording.cells), 3)
    assert np.isfinite(recording.cells.snr).all()
    for _ in range(40):  # the limits hold for whatever is drawn
        draw_two_photon_style(rng, kind)


def test_recordings_differ_in_what_matters(rng):
    styles = [draw_two_photon_style(rng) for _ in range(60)]
    diameters = np.array([style.soma_um / style.pixel_um for style in styles])
    assert diameters.min() < 9
    assert diameters.max() > 20
    assert len({style.bits for style in styles}) > 2
    assert any(style.packed for style in styles)
    assert {style.indicator for style in styles} == set(INDICATORS)


def test_a_recording_for_registration_moves():
    recording = simulate_registration(5, (30, 64, 64), neuropil_photons=3.0)
    assert recording.style.neuropil_photons == 3.0
    assert recording.style.drift_um + recording.style.burst_um > 0.2
    assert np.abs(recording.flow(0, 30)).max() > 0.1


def test_summaries_are_made_from_a_recording_as_from_a_movie(still):
    images = summary_images(still)
    np.testing.assert_allclose(images.mean, still.frames().mean(axis=0), rtol=1e-4)


@pytest.mark.parametrize("task", SIMULATORS)
def test_a_written_recording_is_read_back(tmp_path, task):
    recording = SIMULATORS[task](11, (5, 48, 48))
    facts = write_recording(tmp_path, recording, prefix="000_", flow=True)
    assert facts["cells"] == len(recording.cells)
    assert facts["style"]["pixel_um"] == recording.pixel_um[0]
    with open_movie(tmp_path / "000_movie.tif") as movie:
        np.testing.assert_array_equal(movie.frames(0, 5), recording.frames())
        assert movie.frame_rate_hz == pytest.approx(recording.frame_rate_hz, rel=1e-3)
        assert movie.pixel_um == pytest.approx(recording.pixel_um, rel=1e-3)
    masks = read_masks(tmp_path / "000_masks.npz")
    np.testing.assert_array_equal(masks.row, recording.cells.masks.row)
    flow = np.load(tmp_path / "000_flow.npy")
    np.testing.assert_array_equal(flow, recording.flow())
    traces = np.loadtxt(tmp_path / "000_traces.csv", delimiter=",", skiprows=1, ndmin=2)
    assert traces.shape == (5, 2 + len(recording.cells))
    np.testing.assert_allclose(traces[:, 2:].T, recording.cells.traces, rtol=1e-4)


def test_drawing_is_fast_enough_to_train_on():
    """Some 0.5 s of processor time on a quiet machine; the bound only catches accidents."""
    start = time.process_time()
    simulate_two_photon(0, (40, 128, 128), style="cortex").frames()
    assert time.process_time() - start < 10


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"psf_um": 0.0}, r"psf_um must be between 0.1 and 3, got 0.0"),
        ({"labelled": 1.5}, r"labelled must be between 0 and 1, got 1.5"),
        ({"bits": 7}, r"bits must be a whole number between 8 and 16, got 7"),
        ({"surface_vessels": 1.5}, r"surface_vessels must be a whole number between 0 and 20, got 1.5"),
        ({"density": "a"}, r"density must be between 0 and 2e\+06, got 'a'"),
        ({"gain": float("nan")}, r"gain must be between 0.001 and 100000, got nan"),
        ({"pixel_um": 0.1}, r"cells must be 4 to 48 pixels wide.*gives 120"),
        ({"indicator": "GCaMP9"}, r"no indicator is called 'GCaMP9'; choose one of GCaMP6f"),
        ({"neuropil_photon": 3}, r"no parameter 'neuropil_photon'; did you mean 'neuropil_photons'"),
        ({"xyz": 3}, r"TwoPhotonStyle has no parameter 'xyz'$"),
    ],
)
def test_parameters_that_cannot_be_are_refused(parameters, message):
    with pytest.raises(CalzooError, match=message):
        simulate_two_photon(0, (2, 48, 48), style=STYLE, **parameters)


def test_an_unknown_kind_is_refused():
    with pytest.raises(CalzooError, match=r"recording is called 'retina'; choose one of cortex, hippocampus"):
        simulate_two_photon(0, style="retina")


@pytest.mark.parametrize("shape", [(0, 64, 64), (10, 16, 64), (64, 64), (4, 64, 64.5), "abc", 8])
def test_a_shape_that_holds_no_movie_is_refused(shape):
    with pytest.raises(CalzooError, match=r"at least one frame and 32 pixels on a side; got"):
        simulate_two_photon(0, shape)


@pytest.mark.parametrize("seed", [-1, (3, -2), (1.5,)])
def test_a_seed_that_is_no_number_is_refused(seed):
    with pytest.raises(CalzooError, match=r"seed must be a whole number from 0 up"):
        simulate_two_photon(seed, (2, 48, 48))
