"""The pipeline of registration, with a network that moves frames by the shift it is given alone."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from scipy import ndimage

pytest.importorskip("onnxruntime")

import calzoo.inference.registration_files as files
from calzoo.cli import main
from calzoo.errors import CalzooError
from calzoo.imaging.movies import open_movie
from calzoo.imaging.scanning import correct_scan_offset
from calzoo.imaging.warping import warp
from calzoo.imaging.writers import VolumeWriter, write_movie
from calzoo.inference.models import load_model
from calzoo.inference.registration import Registrar, register_movie, run_registration
from calzoo.inference.registration_job import _as, _joint_weights
from calzoo.inference.registration_network import Aligner, RegistrationNetwork, mean_flow, trusted
from calzoo.inference.registration_options import checked_options
from calzoo.inference.registration_quality import Quality, _middle

RIGID = Path(__file__).resolve().parent / "models" / "rigid.onnx"
INSIDE = np.s_[..., 12:-12, 12:-12]


@pytest.fixture(scope="module")
def network():
    return RegistrationNetwork.load(RIGID, threads=2, provider="cpu")


@pytest.fixture
def still(rng):
    """Return a picture of 100 x 120 pixels: fine and coarse texture, from 0 to some 2000."""
    fine, coarse = (ndimage.gaussian_filter(rng.normal(size=(100, 120)), s) * s for s in (1.5, 5))
    return np.clip(600 + 900 * fine + 900 * coarse, 0, None)


def moving(still, shifts):
    """Return frames that `shifts` bring back: frame(y) = still(y - shift)."""
    fields = [np.broadcast_to(-np.float32(s), (*still.shape, 2)) for s in shifts]
    return np.stack([warp(still.astype(np.float32), f) for f in fields])


@pytest.fixture
def shifts(rng):
    return rng.integers(-5, 6, (14, 2))


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32", "float64", ">u2", "int32"])
def test_registered_frames_lie_on_the_template_in_the_type_of_the_movie(network, still, shifts, dtype):
    scale = 0.1 if dtype == "uint8" else 1.0
    still = scale * still
    movie = moving(still, shifts).round().astype(dtype)
    result = register_movie(movie, model=network, template=still, return_flow=True)
    assert result.movie.dtype == np.dtype(dtype).newbyteorder("=")
    np.testing.assert_allclose(result.flow.mean(axis=(1, 2)), shifts, atol=0.3)
    np.testing.assert_allclose(result.motion, shifts, atol=0.3)
    off = np.abs(result.movie[INSIDE].astype(float) - still[INSIDE]).mean()
    assert off < 0.25 * np.abs(movie[INSIDE].astype(float) - still[INSIDE]).mean()
    assert not result.bad.any()


@pytest.mark.parametrize("unit", [1e-15, 1e13])
def test_frames_may_be_in_any_unit(network, still, shifts, unit):
    movie = moving(still, shifts)
    usual = register_movie(movie, model=network)
    result = register_movie(movie * unit, model=network)
    np.testing.assert_allclose(result.motion, usual.motion, atol=1e-3)
    np.testing.assert_allclose(result.movie / unit, usual.movie, atol=0.01, rtol=1e-4)
    np.testing.assert_allclose(result.template / unit, usual.template, atol=0.01, rtol=1e-4)
    assert result.report["bad_frames"] == []
    assert result.report["correlation_after"] == pytest.approx(usual.report["correlation_after"], abs=1e-4)
    flows = [Registrar(still * u, provider="cpu", threads=1)(movie[0] * u).flow for u in (1, unit)]
    np.testing.assert_allclose(*flows, atol=0.01)


def test_flow_says_where_each_registered_pixel_was_read(network, still, shifts):
    movie = moving(still, shifts)
    result = register_movie(movie, model=network, return_flow=True)
    np.testing.assert_allclose(result.movie, warp(movie, result.flow), atol=0.2)
    cubic = register_movie(movie, model=network, return_flow=True, interpolation="cubic")
    np.testing.assert_allclose(cubic.movie, warp(movie, cubic.flow, order=3), atol=1e-3)


def test_report_tells_that_it_went_well(network, still, shifts):
    result = register_movie(moving(still, shifts), model=network)
    report = result.report
    assert report["correlation_after"] > 0.97 > report["correlation_before"]
    assert report["crispness_after"] > report["crispness_before"]
    assert report["residual_flow_px"] < 0.5
    assert report["frames"] == 14
    assert report["bad_frames"] == []
    assert report["uncertainty_px"] == 0.25
    assert json.loads(json.dumps(report)) == report


def test_only_pixels_that_all_frames_saw_are_valid(network, still):
    shifts = [(0, 0), (6, 0), (0, -4)] * 3
    result = register_movie(moving(still, shifts), model=network, template=still)
    # A shift of +6 rows reads beyond the bottom, one of -4 columns before the left edge.
    assert result.report["valid_rows"][0] <= 1
    assert result.report["valid_rows"][1] in (93, 94, 95)
    assert result.report["valid_columns"][0] in (3, 4, 5)
    assert result.report["valid_columns"][1] >= 119
    assert result.valid.mean() == pytest.approx(94 / 100 * 116 / 120, abs=0.03)


@pytest.mark.parametrize("bad", [0, 20])
def test_pixels_that_good_frames_did_not_see_are_not_valid_however_many_are_bad(network, still, bad):
    movie = moving(still, [(0, 0)] * 40 + [(-8, 0)] * 3)  # reads beyond the top
    movie[:bad] = 0
    result = register_movie(movie, model=network, template=still)
    assert np.flatnonzero(result.bad).tolist() == list(range(bad))
    assert result.report["valid_rows"][0] in (7, 8, 9)
    assert not result.valid[:7].any()


def test_pixels_that_bad_frames_alone_did_not_see_are_valid(network, rng, still):
    movie = moving(still, [(0, 0)] * 12)
    movie[5] = (
        0.01 * np.roll(movie[5], 9, 0) + ndimage.gaussian_filter(rng.normal(size=still.shape), 3) * 2000
    )
    result = register_movie(movie, model=network, template=still)
    assert np.flatnonzero(result.bad).tolist() == [5]
    assert result.valid[2:-2, 2:-2].all()


def test_frames_without_light_and_without_likeness_are_flagged(network, rng, still, shifts):
    movie = moving(still, shifts)
    movie[3] = 0
    movie[7] = ndimage.gaussian_filter(rng.normal(size=still.shape), 3) * 2000
    result = register_movie(movie, model=network, template=still)
    assert np.flatnonzero(result.bad).tolist() == [3, 7]
    assert result.report["bad_frames"] == [3, 7]


def test_noise_is_flagged_and_said_to_be_noise(network, rng):
    """A template made of noise is found in the very frames that it was made of."""
    noise = rng.poisson(3, (24, 100, 120)).astype(np.uint16)
    message = "the movie: expected frames that show the template's tissue, got 24 of 24 that cannot be told"
    with pytest.warns(UserWarning, match=message):
        result = register_movie(noise, model=network)
    assert result.bad.all()


def test_frames_of_noise_are_flagged_and_no_part_of_the_template(network, rng, still, shifts):
    movie = moving(still, shifts)
    movie[4:7] = rng.poisson(600, (3, *still.shape))
    result = register_movie(movie, model=network)
    assert np.flatnonzero(result.bad).tolist() == [4, 5, 6]
    registrar = Registrar(still, model=network.model)
    assert [registrar(frame).bad for frame in movie[3:7]] == [False, True, True, True]


def test_noise_is_still_noise_where_work_goes_on(rng, tmp_path, monkeypatch, network):
    write_movie(tmp_path / "raw.tif", rng.poisson(3, (14, 100, 120)).astype(np.uint16))
    with monkeypatch.context() as patched:
        patched.setattr(files._Work, "add", interrupt)
        with pytest.raises(KeyboardInterrupt):
            run_registration(tmp_path / "raw.tif", tmp_path / "out.tif", model=network)
    with pytest.warns(UserWarning, match="raw.tif: expected frames .* got 14 of 14 that cannot be told"):
        result = run_registration(tmp_path / "raw.tif", tmp_path / "out.tif", model=network)
    assert len(result.report["bad_frames"]) == 14


@pytest.mark.parametrize("bad", [[], [3, 7], list(range(2, 14))])
def test_bad_frames_are_not_in_the_means(network, rng, still, shifts, bad):
    movie = moving(still, shifts)
    movie[bad] = rng.uniform(0, 60000, (len(bad), *still.shape))
    good = np.setdiff1d(np.arange(14), bad)
    result = register_movie(movie, model=network, template=still)
    assert result.report["bad_frames"] == bad
    expected = register_movie(movie[good], model=network, template=still).report
    for name in ("crispness_before", "crispness_after", "correlation_after"):
        assert result.report[name] == pytest.approx(expected[name], rel=1e-3)


def test_a_given_template_decides_where_frames_come_to_lie(network, still, shifts):
    there = moving(still, [(-7, 3)])[0]
    result = register_movie(moving(still, shifts), model=network, template=there)
    np.testing.assert_allclose(result.motion, shifts + [7, -3], atol=0.35)


def test_other_channels_move_with_the_first(network, rng, still, shifts):
    movie = moving(still, shifts)
    other = moving(np.roll(still, 17, axis=1), shifts).astype(np.uint16)
    result = register_movie(movie, model=network, others=[other], return_flow=True)
    assert result.others[0].dtype == np.uint16
    np.testing.assert_allclose(result.others[0], warp(other, result.flow), atol=0.51)


def test_channels_are_estimated_together(network, rng, still, shifts):
    """The first channel alone is noise; with the second the motion is known."""
    noise = rng.normal(500, 50, (len(shifts), *still.shape))
    result = register_movie(noise, model=network, others=[moving(still, shifts)], joint=True)
    fixed = result.motion - result.motion.mean(axis=0)
    np.testing.assert_allclose(fixed, shifts - shifts.mean(axis=0), atol=0.6)
    # What was compared is measured: noise alone correlates with nothing.
    assert result.report["correlation_after"] > 0.8
    assert result.report["correlation_after"] > result.report["correlation_before"] + 0.1
    assert result.report["residual_flow_px"] < 0.5


def test_channels_weigh_by_their_noise_whichever_frames_are_blank(rng):
    samples = [rng.normal(0, noise, (20, 64, 64)) for noise in (1, 100)]
    expected = _joint_weights(samples)
    assert expected[0] == pytest.approx(100 * expected[1], rel=0.1)
    samples[0][:3] = 7
    np.testing.assert_allclose(_joint_weights(samples), expected, rtol=0.05)


def test_smoothing_averages_the_flow_over_time(network, still):
    shifts = np.array([(0, 0)] * 8 + [(4, 0)] + [(0, 0)] * 8)
    plain = register_movie(moving(still, shifts), model=network, template=still)
    smooth = register_movie(
        moving(still, shifts), model=network, template=still, smoothing=1.5, return_flow=True
    )
    weights = np.exp(-0.5 * (np.arange(-5, 6) / 1.5) ** 2)
    expected = np.convolve(plain.motion[:, 0], weights / weights.sum(), mode="same")
    np.testing.assert_allclose(smooth.motion[5:-5, 0], expected[5:-5], atol=0.02)
    np.testing.assert_allclose(smooth.flow[:, 0, 0, 0], smooth.motion[:, 0], atol=1e-4)


def test_smoothing_leaves_out_what_bad_frames_say(network, rng, still):
    shifts = np.stack([np.linspace(0, 6, 17), np.zeros(17)], axis=1)
    movie = moving(still, shifts)
    movie[7] = 0
    movie[8:10] = rng.poisson(600, (2, *still.shape))
    smooth = register_movie(movie, model=network, template=still, smoothing=1.5)
    np.testing.assert_allclose(smooth.motion[3:-3], shifts[3:-3], atol=0.5)
    assert np.flatnonzero(smooth.bad).tolist() == [7, 8, 9]


def test_smoothing_keeps_the_flow_of_frames_without_good_neighbours(network, rng, still):
    noise = rng.poisson(600, (5, *still.shape))
    with pytest.warns(UserWarning, match="cannot be told from noise"):
        plain = register_movie(noise, model=network, template=still)
    with pytest.warns(UserWarning, match="cannot be told from noise"):
        smooth = register_movie(noise, model=network, template=still, smoothing=1)
    np.testing.assert_array_equal(smooth.motion, plain.motion)


def test_highpass_sees_cells_through_a_glow_that_stands_still(network, rng, still, shifts):
    y, x = np.mgrid[:100, :120]
    glow = 20000 * np.exp(-((y - 50) ** 2 + (x - 60) ** 2) / (2 * 25**2))
    movie = moving(still, shifts) + glow
    seen = register_movie(movie, model=network, highpass=6, template=still + glow)
    np.testing.assert_allclose(seen.motion, shifts, atol=0.5)


def test_shifted_odd_lines_are_brought_back(network, still, shifts):
    movie = moving(still, shifts)
    movie[:, 1::2] = np.roll(movie[:, 1::2], 3, axis=2)
    result = register_movie(movie, model=network, bidirectional="auto")
    given = register_movie(movie, model=network, bidirectional=3.0, return_flow=True)
    assert given.scan_offset == 3
    lines = correct_scan_offset(movie, given.scan_offset).frames(0, len(movie))
    again = [warp(frame, flow) for frame, flow in zip(lines, given.flow, strict=True)]
    np.testing.assert_allclose(np.stack(again)[:, 8:-8, 8:-8], given.movie[:, 8:-8, 8:-8], atol=0.01)
    for r in (result, given):
        rows = r.movie.mean(axis=0)[12:-12, 12:-12]
        even = (rows[:-2:2] + rows[2::2]) / 2
        assert np.corrcoef(even.ravel(), rows[1:-1:2].ravel())[0, 1] > 0.9


def test_a_blank_flyback_stripe_does_not_hold_the_frame_fast(network, still, shifts):
    movie = moving(still, shifts)
    movie[:, :8] = 0
    result = register_movie(movie, model=network)
    fixed = result.motion - result.motion.mean(axis=0)
    np.testing.assert_allclose(fixed, shifts - shifts.mean(axis=0), atol=0.5)


def test_a_bright_flyback_stripe_spoils_neither_motion_nor_report(network, rng, still, shifts):
    still = np.pad(still, ((0, 0), (0, 12)), mode="reflect")
    clean = moving(still, shifts)
    movie = clean.copy()
    movie[:, :, 120:] = rng.poisson(30000, movie[:, :, 120:].shape)
    result = register_movie(movie, model=network)
    fixed = result.motion - result.motion.mean(axis=0)
    np.testing.assert_allclose(fixed, shifts - shifts.mean(axis=0), atol=0.5)
    report, expected = result.report, register_movie(clean, model=network).report
    for name in ("correlation_before", "correlation_after"):
        assert report[name] == pytest.approx(expected[name], abs=0.05)
    assert report["residual_flow_px"] < 0.5
    assert report["crispness_after"] == pytest.approx(expected["crispness_after"], rel=0.2)
    assert report["crispness_after"] > report["crispness_before"]


def test_pixels_that_saw_a_bad_line_are_not_valid(network, still):
    movie = moving(still, [(0, 0), (0, 3), (4, 0)] * 4)
    movie[:, :, 110:] = 0
    movie[:, 50] = 0
    result = register_movie(movie, model=network, template=still)
    assert result.report["bad_frames"] == []
    assert not result.valid[:, 107:].any()  # 3 columns to the left of the stripe look into it
    assert not result.valid[[46, 50]].any()  # the line, and what looks at it 4 rows further down
    assert result.valid[4:40, 4:105].all()
    assert result.report["valid_columns"][1] in (106, 107)


def test_pixels_that_odd_lines_bring_from_beyond_the_edge_are_not_valid(network, still):
    movie = moving(still, [(0, 0)] * 6)
    movie[:, 1::2] = np.roll(movie[:, 1::2], 4, axis=2)
    result = register_movie(movie, model=network, bidirectional=4, template=still)
    assert not result.valid[1::2, -4:].any()
    assert result.valid[2:-2, 2:-5].all()


@pytest.mark.parametrize("bad", [[], [0, 1], [50], [0, 1, 2, 97, 98, 99]])
def test_the_middle_is_what_lies_away_from_the_border_and_bad_lines(bad):
    rows, columns = np.zeros(100, bool), np.zeros(60, bool)
    rows[bad] = True
    index = _middle((100, 60), (rows, columns))
    kept = np.zeros((100, 60), bool)
    kept[index] = True
    measured = np.abs(np.arange(100)[:, None] - np.array([0, 99, *bad])).min(axis=1) > 4
    np.testing.assert_array_equal(kept.any(axis=1), measured)
    assert kept.any(axis=0).sum() == 54


class Doubtful:
    """The network for tests, which invents motion in the first 48 rows and says so."""

    def __init__(self, error):
        self.error, self.model = error, load_model(RIGID, provider="cpu", threads=1)

    def __getattr__(self, name):
        return getattr(self.model, name)

    def run(self, feeds):
        found = self.model.run(feeds)
        found["flow"][:, :, :48] += np.linspace(-9, 9, 48, dtype=np.float32)[:, None]
        found["uncertainty"][:, :, :6] = self.error
        return found


@pytest.mark.parametrize("error", [0.9, 3.0])
def test_motion_that_the_network_does_not_know_is_that_of_the_frame(still, error):
    (frame,) = moving(still, [(3, -4)])
    found = Aligner(RegistrationNetwork(Doubtful(error), 1), still)(frame[None])
    off = np.abs(found.flow[0] - [3, -4]).max(axis=(1, 2))
    if error > 1:
        assert off[:40].max() < 0.5
        assert off[56:].max() < 0.3
        np.testing.assert_allclose(found.registered[0], warp(frame, found.flow[0]), rtol=1e-5)
    else:
        assert off[:40].max() > 8


def test_rigid_motion_is_exact_and_takes_no_network(still, shifts):
    shifts = shifts + np.float32((0.3, -0.4))
    movie = moving(still, shifts)
    result = register_movie(movie, template=still, return_flow=True, rigid=True, threads=2)
    np.testing.assert_array_equal(result.flow, np.broadcast_to(result.flow[:, :1, :1], result.flow.shape))
    np.testing.assert_allclose(result.motion, shifts, atol=0.03)
    np.testing.assert_allclose(result.movie, warp(movie, result.flow), rtol=1e-4)
    assert result.uncertainty.max() < 0.1
    assert not result.bad.any()
    assert result.provider == "cpu"
    assert result.report["motion_px"]["deformation_95"] == pytest.approx(0, abs=1e-5)
    one = Registrar(still, rigid=True)(movie[3])
    np.testing.assert_allclose(one.frame, result.movie[3], atol=1e-3)
    assert one.uncertainty == pytest.approx(result.uncertainty[3], rel=1e-3)


def test_no_frame_leaves_the_template_of_a_dark_rigid_movie(rng, still):
    """A frame fits better what it is a part of: those that are left out once would never come back."""
    frames = rng.poisson(np.stack([still] * 24) / 2000)
    result = register_movie(frames, rigid=True)
    with_template = [np.corrcoef(frame.ravel(), result.template.ravel())[0, 1] for frame in frames]
    assert np.ptp(with_template) < 0.1
    assert not result.bad.any()


@pytest.mark.parametrize(
    ("named", "message"),
    [
        (
            {"model": RIGID},
            "no preset, model or provider, .* got a model on 'auto'; leave these out, or leave rigid out",
        ),
        ({"preset": "mine"}, "got preset 'mine' on 'auto'"),
        ({"provider": "cuda"}, "got preset 'registration-2p' on 'cuda'"),
    ],
)
def test_a_network_for_rigid_motion_is_refused(still, shifts, named, message):
    with pytest.raises(CalzooError, match=message):
        register_movie(moving(still, shifts), rigid=True, **named)
    with pytest.raises(CalzooError, match=message):
        Registrar(still, rigid=True, **named)


def test_what_the_network_knows_best_weighs_most_in_the_mean_flow():
    flow = np.zeros((16, 24, 2), np.float32)
    flow[:8], flow[8:] = (1, -2), (3, 4)
    errors = np.repeat(np.float32([[0.1], [0.2]]), 3, axis=1)
    mean = mean_flow(flow, errors, 8)
    assert mean.shape == flow.shape
    np.testing.assert_allclose(mean[5, 7], [(4 * 1 + 3) / 5, (4 * -2 + 4) / 5], rtol=1e-6)
    np.testing.assert_array_equal(mean, np.broadcast_to(mean[0, 0], mean.shape))


@pytest.mark.parametrize("shape", [(37, 50), (64, 64)])
def test_a_flow_gives_way_as_far_as_it_is_not_known(rng, shape):
    flow = rng.normal(size=(*shape, 2)).astype(np.float32)
    cells = [-(-side // 8) for side in shape]
    assert trusted(flow, np.full(cells, 0.9, np.float32), 8) is flow
    for error, share in ((1.25, 0.5), (1.5, 0), (4, 0)):
        known = trusted(flow, np.full(cells, error, np.float32), 8)
        mean = known[0, 0] if share == 0 else 2 * known[0, 0] - flow[0, 0]
        np.testing.assert_allclose(known, share * flow + (1 - share) * mean, atol=1e-5)
    errors = np.full(cells, 30, np.float32)
    errors[:2] = 0.1  # what is known decides
    flow[:20] = 2
    np.testing.assert_allclose(trusted(flow, errors, 8), 2, atol=0.01)


def test_a_still_field_of_few_cells_stays_still(rng):
    """Between cells the network invents motion of whole lines, several pixels, and knows that it does."""
    y, x = np.mgrid[:200, :220]
    picture = np.ones((200, 220))
    for row, column in rng.uniform(0, 200, (9, 2)):
        picture += 10 * np.exp(-((np.hypot(y - row, x - column) - 2.5) ** 2) / 4.5)
    registrar = Registrar(picture, provider="cpu", threads=1)
    flows = [registrar(frame).flow for frame in rng.poisson(picture, (3, *picture.shape))]
    assert np.linalg.norm(flows, axis=-1).mean() < 0.4
    assert np.linalg.norm(flows, axis=-1).mean(axis=2).max() < 3


def test_a_frame_at_a_time_gives_the_same(network, still, shifts):
    movie = moving(still, shifts)
    registrar = Registrar(still, model=load_model(RIGID, provider="cpu", threads=1))
    whole = register_movie(movie, model=network, template=still)
    one = registrar(movie[4])
    np.testing.assert_allclose(one.frame, whole.movie[4], atol=1e-3)
    assert one.flow.shape == (100, 120, 2)
    assert one.uncertainty == 0.25
    assert one.clarity > 5
    assert not one.bad
    with pytest.raises(CalzooError, match=r"one frame \(Y, X\)"):
        registrar(movie)


@pytest.mark.parametrize("level", [0, 0.1, 65535])
def test_a_blank_frame_does_not_move_and_is_bad(still, level):
    one = Registrar(still, model=load_model(RIGID, provider="cpu", threads=1))(np.full(still.shape, level))
    assert np.abs(one.flow).max() < 1
    assert one.clarity == 0
    assert one.bad


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"interpolation": "nearest"}, "'linear' or 'cubic', got 'nearest'"),
        *(
            ({"smoothing": v}, "smoothing must be a number of frames from 0 on")
            for v in (-1, np.nan, "1", None)
        ),
        *(
            ({"reach": v}, "reach must be a displacement in pixels above 0")
            for v in (-1, 0, np.nan, "3", True)
        ),
        *(({"highpass": v}, "highpass must be a width in pixels above 0") for v in (0, -3, np.inf, "9")),
        ({"highpass": 1001.0}, "highpass must be at most 1000 pixels, got 1001.0"),
        ({"smoothing": 1e9}, "smoothing must be at most 1000 frames, got 1000000000.0"),
        ({"bidirectional": "left"}, "a number of pixels or 'auto', got 'left'"),
        ({"bidirectional": np.nan}, "a number of pixels or 'auto', got nan"),
        *(
            ({"bidirectional": v}, rf"at most a quarter of the width, 30 of 120 pixels, got {v}; give it in")
            for v in (500, -31)
        ),
        ({"template": np.zeros((50, 60))}, r"template of the movie's shape \(100, 120\), got \(50, 60\)"),
        ({"template": np.full((100, 120), np.nan)}, "template holds NaN"),
        ({"others": [np.zeros((14, 50, 60))]}, "channels of one shape"),
        (
            {"joint": True},
            "expected several channels to estimate the motion on together, got one; leave joint",
        ),
    ],
)
def test_options_that_cannot_be_meant_are_refused(network, still, shifts, options, message):
    with pytest.raises(CalzooError, match=message):
        register_movie(moving(still, shifts), model=network, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"interpolation": "x"}, "'linear' or 'cubic', got 'x'"),
        ({"highpass": -3}, "highpass must be a width in pixels above 0, or None, got -3"),
        ({"reach": np.float32("nan")}, "reach must be a displacement in pixels above 0, or None, got"),
    ],
)
def test_a_frame_at_a_time_refuses_the_same_options(still, options, message):
    with pytest.raises(CalzooError, match=message):
        Registrar(still, model=RIGID, **options)


@pytest.mark.parametrize("threads", [0, -1, 1.5, True])
def test_a_number_of_threads_is_a_whole_number_from_1_on(still, threads):
    with pytest.raises(CalzooError, match="threads must be a whole number of at least 1, got"):
        register_movie(np.stack([still] * 3), model=RIGID, threads=threads)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1j])
def test_a_frame_of_no_numbers_is_refused(still, value):
    registrar = Registrar(still, model=RIGID, threads=np.int64(1))
    frame = still.astype(type(value))
    frame[3, 4] = value
    with pytest.raises(CalzooError, match="expected a frame of finite real numbers, got"):
        registrar(frame)


def test_numbers_of_numpy_are_numbers(recorded, network, tmp_path):
    options = {"reach": np.float32(8), "smoothing": np.int64(0), "bidirectional": np.float32(1)}
    run_registration(recorded[0], tmp_path / "out.tif", model=network, **options)
    found = json.loads((tmp_path / "out.json").read_text())["options"]
    assert checked_options(reach=8.0, bidirectional=1.0).items() <= found.items()


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (["--bidirectional", "nan"], "bidirectional must be a number of pixels or 'auto', got nan"),
        (["--smooth", "inf"], "smoothing must be a number of frames from 0 on, got inf"),
        (["--joint"], "expected several channels to estimate the motion on together, got one"),
    ],
)
def test_an_option_that_cannot_be_meant_is_one_line(recorded, tmp_path, capsys, option, message):
    command = ["register", str(recorded[0]), "-o", str(tmp_path / "out.tif"), "--model", str(RIGID)]
    assert main([*command, *option]) == 1
    told = capsys.readouterr().err.strip()
    assert message in told
    assert "\n" not in told
    assert [path.name for path in tmp_path.iterdir()] == ["raw.tif"]


@pytest.mark.parametrize(
    ("movie", "message"),
    [
        (np.zeros((100, 120)), "a movie has three axes"),
        (np.zeros((1, 100, 120)), r"at least 2 frame\(s\)"),
        (np.zeros((5, 20, 120)), "at least 32 x 32 pixels, got 20 x 120"),
        (np.full((4, 64, 64), np.inf), "NaN or infinity"),
        (np.zeros((4, 64, 64), complex), "real numbers"),
    ],
)
def test_movies_that_cannot_be_registered_are_refused(network, movie, message):
    with pytest.raises(CalzooError, match=message):
        register_movie(movie, model=network)


@pytest.mark.parametrize("value", [0, 7])
def test_a_constant_movie_stays_as_it_is_and_is_flagged(network, value):
    movie = np.full((4, 64, 70), value, np.uint8)
    result = register_movie(movie, model=network)
    np.testing.assert_array_equal(result.movie, movie)
    assert result.bad.all()


def test_a_network_for_something_else_is_refused(still):
    with pytest.raises(CalzooError, match=r"for the task 'registration'.*got one for 'axons'"):
        register_movie(np.stack([still] * 3), model=RIGID.with_name("smooth.onnx"))


# On disk.


def interrupt(*args):
    raise KeyboardInterrupt


@pytest.fixture
def recorded(tmp_path, still, shifts):
    movie = moving(still, shifts).round().astype(np.uint16)
    path = tmp_path / "raw.tif"
    write_movie(path, movie, frame_rate_hz=30.0, pixel_um=(1.2, 0.6))
    return path, movie


def test_command_writes_movie_report_picture_and_flow(recorded, network, tmp_path, capsys):
    path, movie = recorded
    out = tmp_path / "out.tif"
    command = ["register", str(path), "-o", str(out), "--model", str(RIGID), "--flow", "--uncertainty"]
    assert main(command) == 0
    printed = capsys.readouterr()
    assert printed.out.strip() == str(out)
    assert "0 bad frames of 14" in printed.err
    expected = register_movie(movie, model=network, return_flow=True)
    with open_movie(out) as registered:
        assert (registered.dtype, registered.frame_rate_hz) == (np.uint16, pytest.approx(30))
        assert registered.pixel_um == pytest.approx((1.2, 0.6), rel=1e-3)
        np.testing.assert_array_equal(registered.frames(0, 14), expected.movie)
    np.testing.assert_allclose(np.load(tmp_path / "out.flow.npy"), expected.flow, atol=1e-4)
    np.testing.assert_array_equal(np.load(tmp_path / "out.uncertainty.npy"), np.full((14, 13, 15), 0.25, "f"))
    with Image.open(tmp_path / "out.valid.png") as valid:
        np.testing.assert_array_equal(np.array(valid), np.where(expected.valid, 255, 0))
    assert 0 < expected.valid.mean() < 1
    facts = json.loads((tmp_path / "out.json").read_text())
    assert facts["report"]["bad_frames"] == []
    found = np.transpose([facts["by_frame"][name] for name in ("dy", "dx")])
    np.testing.assert_allclose(found, expected.motion, rtol=1e-3, atol=1e-3)
    spread = [facts["report"]["motion_px"][name] for name in ("sd_y", "sd_x")]
    np.testing.assert_allclose(spread, expected.motion.std(axis=0), rtol=1e-3)
    assert facts["model"]["name"] == "rigid"
    assert (tmp_path / "out.png").read_bytes()[:4] == b"\x89PNG"
    assert not (tmp_path / "out.part").exists()


@pytest.mark.parametrize("kind", ["picture", "movie", "npy"])
def test_template_comes_from_a_picture_or_a_movie(recorded, network, tmp_path, kind):
    path, movie = recorded
    template = movie[2].astype(np.float32)
    file = tmp_path / ("template.npy" if kind == "npy" else "template.tif")
    if kind == "npy":
        np.save(file, template)
    elif kind == "movie":
        write_movie(file, np.stack([template] * 3))
    else:
        tifffile.imwrite(file, template)
    out = tmp_path / "out.tif"
    command = ["register", str(path), "-o", str(out), "--model", str(RIGID), "--template", str(file)]
    assert main(command) == 0
    expected = register_movie(movie, model=network, template=template)
    with open_movie(out) as registered:
        np.testing.assert_array_equal(registered.frames(0, 14), expected.movie)


def test_the_template_of_a_summary_is_the_picture_of_the_tissue(recorded, network, tmp_path, capsys):
    path, movie = recorded
    mean = movie.mean(axis=0).astype(np.float32)
    np.savez(tmp_path / "summary.npz", corr=np.zeros_like(mean), mean=mean)
    np.savez(tmp_path / "corr.npz", corr=np.zeros_like(mean))
    command = ["register", str(path), "-o", str(tmp_path / "out.tif"), "--model", str(RIGID), "--template"]
    assert main([*command, str(tmp_path / "corr.npz")]) == 1
    assert (
        "expected a template, a picture of the tissue such as the mean, got corr" in capsys.readouterr().err
    )
    assert main([*command, str(tmp_path / "summary.npz")]) == 0
    expected = register_movie(movie, model=network, template=mean)
    with open_movie(tmp_path / "out.tif") as registered:
        np.testing.assert_array_equal(registered.frames(0, 14), expected.movie)


def test_the_template_is_read_as_the_movie_is(recorded, network, tmp_path, capsys):
    h5py = pytest.importorskip("h5py")
    _, movie = recorded
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["a"], file["b"] = movie, movie[:3]
    command = ["register", str(tmp_path / "a.h5"), "-o", str(tmp_path / "out.tif"), "--model", str(RIGID)]
    template = ["--template", str(tmp_path / "a.h5")]
    assert main([*command, *template, "--dataset", "/b"]) == 0
    expected = register_movie(movie[:3], model=network, template=movie[:3].mean(axis=0))
    with open_movie(tmp_path / "out.tif") as registered:
        np.testing.assert_array_equal(registered.frames(0, 3), expected.movie)
    tifffile.imwrite(tmp_path / "t.tif", movie[:3], photometric="minisblack")  # knows no data sets
    again = ["--template", str(tmp_path / "t.tif"), "--dataset", "/b", "--overwrite"]
    assert main([*command, *again]) == 0
    assert main([*command, *template, "--overwrite"]) == 1
    assert "--dataset" in capsys.readouterr().err


def test_finished_movies_are_skipped_and_others_are_not_replaced(recorded, tmp_path, capsys):
    path, _ = recorded
    arguments = ["register", str(path), "-o", str(tmp_path / "out.tif"), "--model", str(RIGID)]
    assert main(arguments) == 0
    before = (tmp_path / "out.tif").stat().st_mtime_ns
    assert main(arguments) == 0
    assert "is finished" in capsys.readouterr().err
    assert (tmp_path / "out.tif").stat().st_mtime_ns == before
    other = tmp_path / "other.tif"
    other.write_bytes(path.read_bytes())
    assert main(["register", str(other), *arguments[2:]]) == 1
    assert "holds the result of another input" in capsys.readouterr().err
    tifffile.imwrite(tmp_path / "template.tif", np.ones((100, 120), np.float32))
    more = ["--cubic", "--flow", "--rate", "3", "--template", str(tmp_path / "template.tif")]
    assert main([*arguments, *more]) == 1
    assert "other options (flow, frame_rate_hz, interpolation, template);" in capsys.readouterr().err


@pytest.mark.parametrize("target", ["raw.tif", "folder", "frames/out.tif", "template.tif"])
def test_what_is_read_is_never_replaced(recorded, tmp_path, capsys, target):
    path, movie = recorded
    (tmp_path / "frames").mkdir()
    for number, frame in enumerate(movie):
        tifffile.imwrite(tmp_path / "frames" / f"{number:02}.tif", frame)
    tifffile.imwrite(tmp_path / "template.tif", movie[0])
    inputs, output, more = [path], tmp_path / target, []
    if target == "folder":
        (tmp_path / "other.tif").write_bytes(path.read_bytes())
        inputs, output = [path, tmp_path / "other.tif"], tmp_path
    if target == "frames/out.tif":
        inputs = [tmp_path / "frames"]
    if target == "template.tif":
        more = ["--template", str(output)]
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    command = ["register", *map(str, inputs), "-o", str(output), "--model", str(RIGID), "--overwrite", *more]
    assert main(command) == 1
    assert "got an input, which is never replaced; give another -o" in capsys.readouterr().err
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before


def test_movies_that_cannot_be_told_apart_leave_no_folder(tmp_path, capsys):
    paths = [str(tmp_path / folder / "000_movie.tif") for folder in "ab"]
    for output in (tmp_path / "new", tmp_path):
        assert main(["register", *paths, "-o", str(output), "--rigid"]) == 1
        assert "expected inputs of different names" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["out.tif", "out.json", "out.png", "out.valid.png", "out.flow.npy"])
def test_files_of_the_user_are_replaced_on_request_only(recorded, tmp_path, capsys, name):
    (tmp_path / name).write_text("mine")
    command = ["register", str(recorded[0]), "-o", str(tmp_path / "out.tif"), "--model", str(RIGID), "--flow"]
    assert main(command) == 1
    assert f"{name}: expected a name that is free, got a file that is there" in capsys.readouterr().err
    assert (tmp_path / name).read_text() == "mine"
    assert main([*command, "--overwrite"]) == 0
    assert (tmp_path / name).read_bytes() != b"mine"


def test_the_flow_of_an_earlier_result_does_not_stay(recorded, tmp_path, capsys):
    out = tmp_path / "out.tif"
    command = ["register", str(recorded[0]), "-o", str(out), "--model", str(RIGID)]
    assert main([*command, "--flow", "--uncertainty"]) == 0
    assert main([*command, "--overwrite"]) == 0
    assert json.loads((tmp_path / "out.json").read_text())["options"]["flow"] is False
    assert not list(tmp_path.glob("out.*.npy"))
    np.save(tmp_path / "out.flow.npy", recorded[1][0])
    template = ["--template", str(tmp_path / "out.flow.npy")]
    assert main([*command, "--overwrite", *template]) == 1
    assert "got an input, which is never replaced" in capsys.readouterr().err
    np.testing.assert_array_equal(np.load(tmp_path / "out.flow.npy"), recorded[1][0])


def test_a_movie_that_is_called_as_a_flow_is_not_taken_for_an_old_one(recorded, network, tmp_path):
    np.save(tmp_path / "out.flow.npy", recorded[1])
    (tmp_path / "out.json").write_text("{}")
    with pytest.raises(CalzooError, match="got an input, which is never replaced"):
        run_registration(tmp_path / "out.flow.npy", tmp_path / "out.tif", model=network, overwrite=True)
    np.testing.assert_array_equal(np.load(tmp_path / "out.flow.npy"), recorded[1])


@pytest.mark.parametrize("name", ["Zelle_\udce4.tif", "a$_$.tif"])
def test_names_of_any_kind_are_drawn(recorded, tmp_path, name):
    (tmp_path / name).write_bytes(recorded[0].read_bytes())
    assert (
        main(["register", str(tmp_path / name), "-o", str(tmp_path / "out.tif"), "--model", str(RIGID)]) == 0
    )
    assert (tmp_path / "out.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize("more", [[], ["--overwrite"]])
def test_a_folder_of_the_user_is_not_taken_for_begun_work(recorded, tmp_path, capsys, more):
    (tmp_path / "out.part").mkdir()
    (tmp_path / "out.part" / "notes.txt").write_text("mine")
    command = ["register", str(recorded[0]), "-o", str(tmp_path / "out.tif"), "--model", str(RIGID), *more]
    assert main(command) == 1
    assert "out.part: work goes there until it is finished, but" in capsys.readouterr().err
    assert (tmp_path / "out.part" / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("name", ["out.png", "out.valid.png", "out.tif", "out.flow.npy", "out.json"])
def test_a_result_that_is_half_replaced_does_not_pass_for_finished(recorded, tmp_path, monkeypatch, name):
    command = ["register", str(recorded[0]), "-o", str(tmp_path / "out.tif"), "--model", str(RIGID), "--flow"]
    assert main(command) == 0
    replace = os.replace

    def killed(source, target):
        if Path(target) == tmp_path / name:
            raise KeyboardInterrupt
        replace(source, target)

    monkeypatch.setattr(os, "replace", killed)
    assert main([*command, "--overwrite"]) == 130
    monkeypatch.undo()
    assert not (tmp_path / "out.json").exists()
    if name == "out.json":  # the flow has its name, and is made once more
        assert main(command) == 1
        command.append("--overwrite")
    assert main(command) == 0
    assert json.loads((tmp_path / "out.json").read_text())["report"]["frames"] == 14
    assert not (tmp_path / "out.part").exists()


def test_a_disk_that_is_too_small_is_said_before_the_work(recorded, network, tmp_path, monkeypatch):
    usage = type(files.shutil.disk_usage(tmp_path))
    with monkeypatch.context() as patched:
        patched.setattr(files.shutil, "disk_usage", lambda path: usage(10**9, 10**9, 14 * 100 * 120 * 12 - 1))
        with pytest.raises(
            CalzooError, match=r"expected 2\.0 MB of free space .*, got 2\.0 MB; make room, or give an -o"
        ):
            run_registration(recorded[0], tmp_path / "out.tif", model=network, flow=True)
        run_registration(recorded[0], tmp_path / "out.tif", model=network)


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="the system cannot take space")
def test_mapped_files_take_their_space_at_once(recorded, network, tmp_path, monkeypatch):
    """Where they have holes, a full disk ends the process without a word."""

    def full(*args):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(files._Work, "add", interrupt)
        with pytest.raises(KeyboardInterrupt):
            run_registration(recorded[0], tmp_path / "out.tif", model=network, flow=True)
    for name in ("frames.raw", "flow.npy"):
        stat = (tmp_path / "out.part" / name).stat()
        assert stat.st_blocks * 512 >= stat.st_size
    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(CalzooError, match=r"out\.part: cannot be written \(No space left on device\)"):
        run_registration(recorded[0], tmp_path / "out.tif", model=network, overwrite=True)


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_what_failed_at_the_very_end_is_gone_on_with(recorded, network, tmp_path, monkeypatch, error):
    def fail(*args):
        raise error

    out = tmp_path / "out.tif"
    with monkeypatch.context() as patched:
        patched.setattr(VolumeWriter, "append", fail)
        with pytest.raises((CalzooError, KeyboardInterrupt)):
            run_registration(recorded[0], out, model=network, flow=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out.part", "raw.tif"]
    (tmp_path / "out.part" / "out.tif.part").touch()  # as a process leaves it that is killed
    run_registration(recorded[0], out, model=network, flow=True)
    names = ["out.flow.npy", "out.json", "out.png", "out.tif", "out.valid.png", "raw.tif"]
    assert sorted(p.name for p in tmp_path.iterdir()) == names


def test_several_movies_go_into_a_folder_and_one_that_fails_stops_no_other(recorded, tmp_path, capsys):
    path, _ = recorded
    bad = tmp_path / "bad.tif"
    bad.write_bytes(b"no tiff")
    folder = tmp_path / "many"
    assert main(["register", str(bad), str(path), "-o", str(folder), "--model", str(RIGID)]) == 1
    assert (folder / "raw.tif").exists()
    assert (folder / "raw.json").exists()
    assert "1 of 2 failed" in capsys.readouterr().err


def test_movies_whose_results_would_share_a_file_are_refused_before_the_work(recorded, tmp_path, capsys):
    raw, other = recorded[0], tmp_path / "raw.valid.tif"
    shutil.copy(raw, other)
    folder = tmp_path / "many"
    command = ["register", str(raw), str(other), "-o", str(folder), "--model", str(RIGID), "--overwrite"]
    assert main(command) == 1
    said = f"different names, got {raw} and {other}, which would both write {folder / 'raw.valid.png'}; run"
    assert said in capsys.readouterr().err
    assert not folder.exists()


def test_one_movie_goes_into_a_folder_that_is_there(recorded, tmp_path, capsys):
    folder = tmp_path / "many.files"
    folder.mkdir()
    command = ["register", str(recorded[0]), "-o", str(folder), "--model", str(RIGID)]
    assert main(command) == 0
    assert capsys.readouterr().out.strip() == str(folder / "raw.tif")
    assert sorted(p.name for p in folder.iterdir()) == ["raw.json", "raw.png", "raw.tif", "raw.valid.png"]
    assert main(command) == 0
    assert "is finished" in capsys.readouterr().err


def test_frames_that_cannot_be_read_are_not_called_unwritten(recorded, network, tmp_path, monkeypatch):
    opened = files.open_movie

    def failing(*args, **options):
        reader = opened(*args, **options)
        frames = reader.frames

        def read(start, stop):
            if 0 < start < 14:
                raise OSError(5, "Input/output error")
            return frames(start, stop)

        reader.frames = read
        return reader

    with monkeypatch.context() as patched:
        patched.setattr(files, "open_movie", failing)
        with pytest.raises(CalzooError, match=r"raw.tif: frames from \d+ on cannot be read \(Input/output"):
            run_registration(recorded[0], tmp_path / "out.tif", model=network)
    run_registration(recorded[0], tmp_path / "out.tif", model=network)  # what was done is kept


def test_interrupted_work_goes_on_where_it_stopped(recorded, network, tmp_path, monkeypatch):
    path, movie = recorded
    out = tmp_path / "out.tif"
    add, seen = files._Work.add, []

    def stopping(work, piece, job):
        add(work, piece, job)
        seen.append(work.done)
        if len(seen) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(files._Work, "add", stopping)
    with pytest.raises(KeyboardInterrupt):
        run_registration(path, out, model=network, flow=True, uncertainty=True)
    assert not out.exists()
    assert (tmp_path / "out.part").is_dir()
    run_registration(path, out, model=network, flow=True, uncertainty=True)
    assert seen[2] > seen[1]  # not from the beginning
    expected = register_movie(movie, model=network, return_flow=True)
    with open_movie(out) as registered:
        np.testing.assert_array_equal(registered.frames(0, 14), expected.movie)
    np.testing.assert_allclose(np.load(tmp_path / "out.flow.npy"), expected.flow, atol=1e-4)
    assert (np.load(tmp_path / "out.uncertainty.npy") == 0.25).all()
    facts = json.loads((tmp_path / "out.json").read_text())
    assert facts["report"] == expected.report
    done = seen[1]
    assert facts["frames_per_second"] == pytest.approx((14 - done) / facts["seconds"], rel=0.01, abs=0.1)
    assert not (tmp_path / "out.part").exists()


def test_rigid_work_goes_on_and_is_skipped_when_it_is_finished(recorded, tmp_path, monkeypatch, capsys):
    path, movie = recorded
    command = ["register", str(path), "-o", str(tmp_path / "out.tif"), "--rigid", "--uncertainty"]
    with monkeypatch.context() as patched:
        patched.setattr(files, "_finish", interrupt)
        assert main(command) != 0
    assert (tmp_path / "out.part").is_dir()
    monkeypatch.setattr(files._Work, "add", interrupt)  # nothing is left to be added
    assert main(command) == 0
    assert main(command) == 0
    assert "is finished" in capsys.readouterr().err
    expected = register_movie(movie, rigid=True)
    with open_movie(tmp_path / "out.tif") as registered:
        np.testing.assert_array_equal(registered.frames(0, 14), expected.movie)
    errors = np.load(tmp_path / "out.uncertainty.npy")
    assert errors.shape == (14, 13, 15)
    np.testing.assert_allclose(errors[:, 5, 5], expected.uncertainty, rtol=1e-3)
    facts = json.loads((tmp_path / "out.json").read_text())
    assert facts["model"] == {"name": None, "file": None, "sha256": None}
    assert facts["report"] == expected.report


def test_no_frame_is_counted_twice_whenever_work_is_interrupted(recorded, network, tmp_path, monkeypatch):
    path, movie = recorded
    out = tmp_path / "out.tif"
    add, seen = Quality.add, []

    def stopping(quality, start, *measured):
        add(quality, start, *measured)
        seen.append(start)
        if len(seen) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(files, "_SAVE_SECONDS", 0)
    monkeypatch.setattr(Quality, "add", stopping)
    with pytest.raises(KeyboardInterrupt):
        run_registration(path, out, model=network)
    run_registration(path, out, model=network)
    assert seen[2] == seen[1]
    facts = json.loads((tmp_path / "out.json").read_text())
    assert facts["report"] == register_movie(movie, model=network).report


def test_begun_work_of_other_options_begins_anew(recorded, network, tmp_path, monkeypatch):
    path, _ = recorded
    out = tmp_path / "out.tif"
    add, stops = files._Work.add, []

    def stopping(work, piece, job):
        add(work, piece, job)
        stops.append(work.done)
        if len(stops) == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(files._Work, "add", stopping)
    with pytest.raises(KeyboardInterrupt):
        run_registration(path, out, model=network)
    run_registration(path, out, model=network, reach=3.0)
    assert stops[1] == stops[0]


@pytest.mark.parametrize("joint", [False, True])
@pytest.mark.parametrize("interrupted", [False, True])
def test_all_channels_are_written_in_the_order_of_the_input(
    network, tmp_path, still, shifts, monkeypatch, joint, interrupted
):
    both = np.stack([moving(np.roll(still, 9, 0), shifts), moving(still, shifts)], axis=1).astype(np.uint16)
    path, out = tmp_path / "two.tif", tmp_path / "out.tif"
    with VolumeWriter(path, both.shape, "uint16", None, "tcyx") as writer:
        writer.append(both)
    asked = {"open_options": {"channel": 1}, "all_channels": True, "joint": joint}
    if interrupted:
        with monkeypatch.context() as patched:
            patched.setattr(files, "_finish", interrupt)
            with pytest.raises(KeyboardInterrupt):
                run_registration(path, out, model=network, **asked)
    run_registration(path, out, model=network, **asked)
    with open_movie(out, channel=0) as first, open_movie(out, channel=1) as second:
        assert first.n_channels == 2
        moved, chosen = first.frames(0, 14), second.frames(0, 14)
    expected = register_movie(both[:, 1], model=network, others=[both[:, 0]], joint=joint)
    assert json.loads((tmp_path / "out.json").read_text())["report"] == expected.report
    np.testing.assert_array_equal(chosen, expected.movie)
    np.testing.assert_array_equal(moved, expected.others[0])


@pytest.mark.parametrize(
    ("dtype", "written"),
    [
        ("bool", "uint8"),
        ("int8", "int16"),
        ("int32", "int32"),
        ("uint32", "float32"),
        ("int64", "float32"),
        ("float16", "float32"),
        ("float64", "float32"),
    ],
)
def test_a_file_has_a_data_type_that_fiji_opens(network, tmp_path, still, shifts, dtype, written):
    movie = moving(still, shifts)[:3] / still.max() * 100
    movie = (movie > movie.mean() if dtype == "bool" else movie.round()).astype(dtype)
    np.save(tmp_path / "raw.npy", movie)
    run_registration(tmp_path / "raw.npy", tmp_path / "out.tif", model=network, template=still / 20)
    kept = register_movie(movie, model=network, template=still / 20).movie
    assert kept.dtype == ("uint8" if dtype == "bool" else dtype)
    registered = tifffile.imread(tmp_path / "out.tif")
    assert registered.dtype == written
    np.testing.assert_array_equal(registered, kept.astype(written))


@pytest.mark.parametrize("dtype", ["uint8", "int16", "int32", "uint32", "int64", "uint64"])
def test_the_brightest_and_the_darkest_pixels_do_not_wrap(dtype):
    limits = np.iinfo(dtype)
    frames = np.array([limits.max, limits.min], dtype).astype(np.float32)
    brightest, darkest = _as(frames, np.dtype(dtype)).tolist()
    assert brightest == pytest.approx(limits.max, rel=1e-6)
    assert darkest == limits.min


def test_the_result_must_be_a_tiff(recorded, network, tmp_path):
    with pytest.raises(CalzooError, match=r"TIFF file for the result \(OUT.tif\), got .*out.avi"):
        run_registration(recorded[0], tmp_path / "out.avi", model=network)


def test_memory_does_not_hold_the_movie(recorded, network, tmp_path, monkeypatch):
    """Frames are asked for a few at a time, but for the sample that the template is made of."""
    from calzoo.inference import registration_template

    path, _movie = recorded
    monkeypatch.setattr(registration_template, "SAMPLE_FRAMES", 4)
    asked = []
    opened = files.open_movie

    def watched(*args, **options):
        reader = opened(*args, **options)
        frames = reader.frames

        def counted(start, stop):
            asked.append(min(stop, 14) - start)
            return frames(start, stop)

        reader.frames = counted
        return reader

    monkeypatch.setattr(files, "open_movie", watched)
    run_registration(path, tmp_path / "out.tif", model=network)
    assert max(asked) <= 4
