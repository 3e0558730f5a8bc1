"""One-photon movies: true to their own truth, raw and preprocessed."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from calzoo.errors import CalzooError
from calzoo.imaging.warping import warp
from calzoo.simulation.one_photon import simulate_one_photon
from calzoo.simulation.one_photon_style import LOOKS, OnePhotonStyle, draw_one_photon_style

STYLE = OnePhotonStyle(
    density=2500, cell_level=0.1, rate_hz=0.3, active=1.0, depth_um=30.0, background_photons=800.0, bits=12
)
STILL = {"drift_um": 0.0, "jitter_um": 0.0, "burst_um": 0.0, "deformation_um": 0.0}
BARE = {
    "vessels": 0,
    "dust": 0,
    "spots": 0.0,
    "vignette": 0.0,
    "unevenness": 0.0,
    "leak": 0.0,
    "texture": 0.0,
}


@pytest.fixture(scope="module")
def still():
    return simulate_one_photon(5, (60, 80, 88), style=STYLE, **STILL)


def test_the_same_seed_gives_the_same_frames_in_any_order():
    first, second = (simulate_one_photon(4, (36, 48, 48), style="df") for _ in range(2))
    whole = first.frames()
    np.testing.assert_array_equal(second.frames(30, 36), whole[30:])
    np.testing.assert_array_equal(second[3:5], whole[3:5])


def test_without_motion_and_pulsation_the_light_is_background_plus_footprints_times_traces():
    calm = simulate_one_photon(5, (20, 80, 88), style=STYLE, **STILL, pulsation=0.0)
    cells = calm.cells
    assert len(cells) > 5
    light = (cells.footprints @ cells.traces).T.reshape(calm.shape)
    expected = calm.illumination * (calm.background() + light) + calm.glow
    np.testing.assert_allclose(calm.clean(), expected, rtol=1e-4)


def test_vessels_that_pulsate_change_the_light_where_they_are():
    parameters = BARE | STILL | {"background_activity": 0.0, "fast_activity": 0.0, "bleaching": 0.0}
    parameters |= {"density": 0.0, "dendrite_share": 0.0, "vessels": 2}
    still, moving = (
        simulate_one_photon(3, (30, 64, 64), style=STYLE, **parameters, pulsation=size) for size in (0.0, 0.1)
    )
    dark = still.clean(0, 1)[0]
    assert dark.min() < 0.9 * dark.max()
    assert still.clean().std(axis=0).max() < 1e-3 * dark.max()
    change = moving.clean().std(axis=0)
    assert np.corrcoef(change.ravel(), -dark.ravel())[0, 1] > 0.5
    assert np.median(change[dark > 0.99 * dark.max()]) < 0.1 * change.max()


def test_the_flow_undoes_the_motion():
    moving = simulate_one_photon(6, (20, 80, 80), style=STYLE, deformation_um=1.0, pulsation=0.0)
    scene = moving.scene()[:, moving.margin : -moving.margin, moving.margin : -moving.margin]
    seen = (moving.clean() - moving.glow) / moving.illumination
    inside = np.s_[:, 14:-14, 14:-14]
    before = np.abs(seen - scene)[inside].mean()
    after = np.abs(warp(seen, moving.flow(), order=3) - scene)[inside].mean()
    assert after < 0.1 * before


def test_after_registration_the_tissue_stands_still_and_the_vignette_moves():
    parameters = BARE | {"vignette": 0.9, "background_activity": 0.0, "fast_activity": 0.0, "bleaching": 0.0}
    parameters |= {"density": 0.0, "dendrite_share": 0.0, "burst_um": 10.0, "residual": 0.0}
    recording = simulate_one_photon(2, (20, 64, 64), style=STYLE, **parameters)
    assert np.abs(recording.motion.rigid).max() > 1
    assert np.abs(recording.flow()).max() == 0
    clean = recording.clean()
    scene = recording.scene()[:, recording.margin :, recording.margin :][:, :64, :64]
    assert np.ptp(scene, axis=0).max() < 1e-3 * scene.max()
    shift = -recording.motion.rigid[9, 0]
    expected = warp(recording.illumination, np.broadcast_to(shift, (64, 64, 2))) * scene[9]
    np.testing.assert_allclose(clean[9], expected, rtol=1e-5)


def test_cells_shine_where_their_masks_are(still):
    cells = still.cells
    assert len(cells) > 5
    np.testing.assert_allclose(cells.footprints.max(axis=0).toarray()[cells.radii > 0], 1, atol=0.5)
    for cell in range(len(cells)):
        rows, cols = cells.masks[cell]
        footprint = cells.footprints[:, [cell]].toarray().reshape(still.shape[1:])
        outside = footprint.copy()
        outside[rows, cols] = 0
        assert footprint[rows, cols].mean() > 3 * outside[outside > 0].mean()
        if (cells.centers[cell] > 12).all() and (
            cells.centers[cell] < np.subtract(still.shape[1:], 13)
        ).all():
            np.testing.assert_allclose(cells.centers[cell], (rows.mean(), cols.mean()), rtol=1e-4)


def test_cells_far_from_the_focal_plane_are_blurred():
    recording = simulate_one_photon(
        3, (4, 128, 128), style=STYLE, depth_um=100.0, cell_spread=0.0, roundness=1.0, defocus=0.2
    )
    cells = recording.cells
    near, far = np.abs(cells.depths_um) < 30, np.abs(cells.depths_um) > 70
    assert cells.in_focus[near].mean() > cells.in_focus[far].mean()
    assert np.median(cells.radii[far]) > 1.2 * np.median(cells.radii[near])


def test_scattered_light_follows_the_cells():
    with_halo, without = (
        simulate_one_photon(7, (30, 64, 64), style=STYLE, **STILL, halo=size, pulsation=0.0)
        for size in (0.2, 0.0)
    )
    extra = with_halo.background() - without.background()
    sources = [with_halo.layers[name] for name in ("cells", "edge cells")]
    trace = sum((layer.weights @ layer.traces).mean(axis=0) for layer in sources)
    assert np.corrcoef(trace, extra.mean(axis=(1, 2)))[0, 1] > 0.7
    side = 64 + 2 * with_halo.margin
    light = sum(layer.weights @ layer.traces.mean(axis=1) for layer in sources).reshape(side, side)
    wide = gaussian_filter(light, STYLE.halo_um / STYLE.pixel_um, mode="constant")
    wide = wide[with_halo.margin :, with_halo.margin :][:64, :64]
    assert np.corrcoef(wide.ravel(), extra.mean(axis=0).ravel())[0, 1] > 0.7


def test_the_noise_of_a_movie_follows_its_mean(still):
    noise = still.frames().astype(float) - (STYLE.gain * still.clean() + STYLE.offset)
    photons = still.clean().mean(axis=0)
    for low, high in ((0, 50), (50, 100)):
        chosen = (photons >= np.percentile(photons, low)) & (photons <= np.percentile(photons, high))
        expected = STYLE.gain**2 * photons[chosen].mean() + STYLE.read_noise**2 + 1 / 12
        assert noise[:, chosen].var() == pytest.approx(expected, rel=0.05)


def test_the_lamp_fades_by_the_bleaching(still):
    fades = simulate_one_photon(
        1,
        (30, 48, 48),
        style=STYLE,
        **(BARE | STILL),
        density=0.0,
        background_activity=0.0,
        fast_activity=0.0,
        bleaching=0.4,
    )
    light = fades.clean().mean(axis=(1, 2))
    assert light[-1] / light[0] == pytest.approx(0.6, rel=1e-4)
    assert (np.diff(light) < 0).all()


def test_dust_darkens_the_same_place_in_every_frame():
    clean, dusty = (
        simulate_one_photon(1, (3, 64, 64), style=STYLE, dust=count, drift_um=3.0) for count in (0, 3)
    )
    ratio = dusty.illumination / clean.illumination
    assert ratio.max() <= 1.0001
    assert 0.3 < ratio.min() < 0.97


def test_the_mean_of_the_relative_change_is_nothing():
    recording = simulate_one_photon(8, (60, 64, 64), style=STYLE, look="df", drift_um=1.0)
    assert recording.dtype == np.uint8
    values = recording.frames().astype(float) / 255 * (recording.look.high - recording.look.low)
    values += recording.look.low
    mean = values.mean(axis=0)
    assert abs(np.median(mean)) < 0.01
    assert values.std() > 5 * np.abs(np.median(mean))


def test_a_removed_background_leaves_the_cells():
    recording = simulate_one_photon(
        8, (60, 80, 80), style=STYLE, **STILL, look="background_removed", vessels=0
    )
    raw = simulate_one_photon(8, (60, 80, 80), style=STYLE, **STILL, vessels=0)
    frames = recording.frames().astype(float)
    assert recording.dtype == np.uint8
    cells = recording.cells
    best = np.argsort(cells.snr)[-3:]
    for cell in best:
        rows, cols = cells.masks[cell]
        trace = frames[:, rows, cols].mean(axis=1)
        assert np.corrcoef(trace, cells.traces[cell])[0, 1] > 0.8
    # The background is most of the raw light and next to nothing here.
    assert np.median(frames) < 0.1 * frames.max()
    assert np.median(raw.frames()) > 0.3 * raw.frames().max()


def test_smoothing_makes_neighbours_alike():
    sharp, smooth = (
        simulate_one_photon(2, (8, 64, 64), style=STYLE, smoothing_px=size, smoothing_aspect=2.0)
        for size in (0.0, 1.5)
    )
    assert smooth.dtype == sharp.dtype
    noise = [np.diff(r.frames().astype(float), axis=0) for r in (sharp, smooth)]
    alike = [np.corrcoef(n[:, :, 1:].ravel(), n[:, :, :-1].ravel())[0, 1] for n in noise]
    down = np.corrcoef(noise[1][:, 1:].ravel(), noise[1][:, :-1].ravel())[0, 1]
    assert alike[1] > max(0.7, alike[0] + 0.2)
    assert alike[1] > down  # the blur is wider along the rows


def test_binned_frames_are_means_of_frames(still):
    binned = still.binned(10)
    np.testing.assert_allclose(binned.clean(), still.clean().reshape(6, 10, 80, 88).mean(1), rtol=2e-3)
    assert binned.frames().dtype == np.float32


@pytest.mark.parametrize("look", LOOKS)
def test_every_look_can_be_drawn(rng, look):
    recording = simulate_one_photon(9, (4, 48, 56), style=look)
    frames = recording.frames()
    assert recording.style.look == look
    assert frames.shape == recording.shape == (4, 48, 56)
    assert frames.dtype == recording.dtype
    assert frames.std() > 0
    for _ in range(40):
        draw_one_photon_style(rng, look)


def test_cells_of_drawn_recordings_are_some_ten_pixels_wide(rng):
    styles = [draw_one_photon_style(rng) for _ in range(80)]
    diameters = np.array([style.cell_um / style.pixel_um for style in styles])
    assert diameters.min() >= 7
    assert diameters.max() <= 17
    assert {style.look for style in styles} == set(LOOKS)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"look": "pretty"}, r"look must be one of raw, df, background_removed, got 'pretty'"),
        ({"background_photons": 0.0}, r"background_photons must be between 1 and 1e\+06, got 0.0"),
        ({"cell_um": 50.0}, r"cell_um must be between 4 and 40, got 50.0"),
        ({"pixel_um": 0.2}, r"cells must be 3 to 40 pixels wide.*gives 75"),
        ({"halos": 1.0}, r"OnePhotonStyle has no parameter 'halos'; did you mean 'halo'"),
        ({"indicator": "dye"}, r"no indicator is called 'dye'"),
    ],
)
def test_parameters_that_cannot_be_are_refused(parameters, message):
    with pytest.raises(CalzooError, match=message):
        simulate_one_photon(0, (2, 48, 48), style=STYLE, **parameters)
