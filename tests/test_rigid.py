import numpy as np
import pytest
from scipy import ndimage

from calzoo.errors import CalzooError
from calzoo.imaging.rigid import CLEAR, RigidFit, RigidSearch, binned, rigid_template, shift_frames


def texture(rng, shape=(160, 192), sigma=2.0):
    return 100 + 40 * ndimage.gaussian_filter(rng.normal(size=shape), sigma) / 0.15


def views(picture, shifts, size=(96, 128), origin=(32, 32)):
    """Return frames of a larger picture that `shifts` undo: frame(y) = picture(origin + y - shift)."""
    frames = []
    for dy, dx in shifts:
        y, x = origin[0] - dy, origin[1] - dx
        frames.append(picture[y : y + size[0], x : x + size[1]])
    return np.stack(frames)


@pytest.mark.parametrize("shift", [(0, 0), (5, -3), (-12, 14), (1, 0)])
def test_whole_shifts_are_found(rng, shift):
    template, frame = views(texture(rng), [(0, 0), shift])
    found, clarity = RigidSearch(template)(frame[None])
    np.testing.assert_allclose(found[0], shift, atol=0.35)
    assert clarity[0] > 8


def test_equal_pictures_have_no_shift_at_all(rng):
    (template,) = views(texture(rng), [(0, 0)])
    found, _ = RigidSearch(template)(template[None])
    np.testing.assert_allclose(found, 0, atol=1e-3)


@pytest.mark.parametrize("shift", [(2.4, -1.6), (-0.5, 3.3)])
def test_parts_of_a_pixel_are_found(rng, shift):
    picture = texture(rng)
    moved = ndimage.shift(picture, shift, order=5, mode="reflect")
    template, frame = (p[32:-32, 32:-32] for p in (picture, moved))
    found, _ = RigidSearch(template)(frame[None])
    np.testing.assert_allclose(found[0], shift, atol=0.12)


def test_rows_and_columns_count_alike(rng):
    picture = texture(rng, (400, 400), 3.0)
    template, *frames = views(picture, [(0, 0), (6, -9), (-4, 3)], (300, 330), (40, 40))
    frames = rng.poisson(np.clip(np.stack(frames) / 100, 0, None)).astype(np.float32)
    found, clarity = RigidSearch(template)(frames)
    turned, turned_clarity = RigidSearch(template.T)(frames.transpose(0, 2, 1))
    np.testing.assert_allclose(turned[:, ::-1], found, atol=1e-3)
    np.testing.assert_allclose(turned_clarity, clarity, rtol=1e-3)


def test_light_that_stays_where_it_is_does_not_hold_the_tissue(rng):
    y, x = np.mgrid[-1:1:96j, -1:1:128j]
    template, frame = views(texture(rng, sigma=1.5), [(0, 0), (5, -7)])
    light = 400 * np.exp(-((y - 0.2) ** 2 + x**2) / 0.3)
    found, clarity = RigidSearch(template + light)((frame + light)[None])
    np.testing.assert_allclose(found[0], (5, -7), atol=0.35)
    assert clarity[0] > 8


def test_a_reach_beyond_half_the_picture_is_as_long_as_can_be(rng):
    template, frame = views(texture(rng, (96, 96)), [(0, 0), (3, -2)], (32, 33))
    found, _ = RigidSearch(template, reach=1000)(frame[None])
    np.testing.assert_allclose(found[0], (3, -2), atol=0.6)


@pytest.mark.parametrize("unit", [2.0**-45, 2.0**40])
def test_units_of_light_do_not_matter(rng, unit):
    frames = views(texture(rng), [(0, 0), (5, -3), (-2, 4)]).astype(np.float32)
    usual, scaled = (RigidSearch(f[0])(f) for f in (frames, frames * np.float32(unit)))
    for one, other in zip(usual, scaled, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)
    np.testing.assert_allclose(rigid_template(frames * np.float32(unit)) / unit, rigid_template(frames))


def test_shifts_are_found_in_the_noise_of_few_photons(rng):
    picture = texture(rng, (400, 400), 3.0)
    shifts = [(6, -9), (-4, 3)]
    template, *frames = views(picture / picture.mean() * 0.7, [(0, 0), *shifts], (320, 320), (40, 40))
    noisy = rng.poisson(np.clip(np.stack(frames), 0, None))
    found, _ = RigidSearch(template)(noisy)
    np.testing.assert_allclose(found, shifts, atol=0.8)


def test_no_shift_is_longer_than_the_reach(rng):
    template, frame = views(texture(rng), [(0, 0), (-20, 20)])
    found, _ = RigidSearch(template, reach=6)(frame[None])
    assert np.abs(found).max() <= 6


def test_clarity_tells_tissue_from_noise_whatever_the_reach(rng):
    picture = texture(rng, (400, 400), 3.0)
    template, *frames = views(picture / picture.mean() * 0.7, [(0, 0), (2, -1)], (320, 320), (40, 40))
    frames = rng.poisson(np.clip(np.stack([*frames, np.full((320, 320), 0.7)]), 0, None))
    for reach in (3, None):
        _, (tissue, noise) = RigidSearch(template, reach=reach)(frames)
        assert tissue > CLEAR + 2
        assert noise < CLEAR


def test_a_shift_beyond_the_reach_is_not_clear(rng):
    template, frame = views(texture(rng), [(0, 0), (-20, 20)])
    near, far = (RigidSearch(template, reach=reach)(frame[None])[1][0] for reach in (6, None))
    assert near < CLEAR < far


@pytest.mark.parametrize("level", [0, 0.1, 7, 65535])
def test_constant_frames_do_not_move(rng, level):
    blank = np.full((64, 64), level)
    for template, frame in ((texture(rng, (64, 64)), blank), (blank, texture(rng, (64, 64))), (blank, blank)):
        found, clarity = RigidSearch(template)(frame[None])
        np.testing.assert_array_equal(found, 0)
        np.testing.assert_array_equal(clarity, 0)


def test_faint_structure_on_a_large_offset_is_no_blank_frame(rng):
    template, frame = views(texture(rng), [(0, 0), (5, -3)])
    found, _ = RigidSearch(1e4 + 0.01 * template)((1e4 + 0.01 * frame)[None])
    np.testing.assert_allclose(found[0], (5, -3), atol=0.35)


@pytest.mark.parametrize("shape", [(3, 64, 64), (3, 64)])
def test_a_template_that_is_no_picture_is_refused(shape):
    with pytest.raises(CalzooError, match=r"template \(Y, X\) of at least 4 x 4"):
        RigidSearch(np.zeros(shape))
    RigidSearch(np.eye(4))


@pytest.mark.parametrize(("shape", "limit"), [((160, 192), 0.03), ((530, 600), 0.04)])
def test_a_fit_finds_hundredths_of_a_pixel(rng, shape, limit):
    picture = texture(rng, shape, 3.0)
    shifts = np.array([(2.4, -1.65), (-0.5, 3.3), (0.25, 0.75), (-7.1, 6.0)])
    frames = np.stack([ndimage.shift(picture, s, order=5, mode="reflect") for s in shifts])
    template, frames = picture[24:-24, 24:-24], frames[:, 24:-24, 24:-24]
    found, errors, clarity = RigidFit(template)(frames)
    np.testing.assert_allclose(found, shifts, atol=limit)
    searched, clear = RigidSearch(template)(frames)
    assert np.abs(found - shifts).mean() < 0.5 * np.abs(searched - shifts).mean()
    np.testing.assert_array_equal(clarity, clear)
    assert errors.max() < 0.1


def test_a_fit_knows_how_long_its_errors_are(rng):
    picture = texture(rng, (400, 400), 3.0)
    shifts = np.repeat([(6, -9), (-4, 3)], 12, axis=0)
    template, *frames = views(picture / picture.mean(), [(0, 0), *shifts], (320, 320), (40, 40))
    for photons in (3, 0.3):
        noisy = rng.poisson(np.clip(np.stack(frames) * photons, 0, None))
        found, errors, _ = RigidFit(template)(noisy)
        true = np.linalg.norm(found - shifts, axis=1).mean()
        assert 0.5 < errors.mean() / true < 2.5
        assert true < 0.3


@pytest.mark.parametrize("unit", [1, 2.0**-45, 2.0**40])
def test_a_fit_of_equal_pictures_has_no_shift_in_any_unit(rng, unit):
    template, frame = views(texture(rng), [(0, 0), (5, -3)]) * np.float32(unit)
    found, errors, _ = RigidFit(template)(np.stack([template, frame]))
    np.testing.assert_allclose(found, [(0, 0), (5, -3)], atol=0.02)
    np.testing.assert_allclose(found[0], 0, atol=1e-6)
    assert errors[0] < 1e-6


def test_a_fit_of_what_has_no_peak_may_be_wrong_by_the_reach(rng):
    template, far = views(texture(rng), [(0, 0), (-20, 20)])
    frames = np.stack([np.full_like(far, 7), far, *rng.normal(size=(6, *far.shape))])
    found, errors, clarity = RigidFit(template, reach=6)(frames)
    np.testing.assert_array_equal(found[0], 0)
    assert clarity[0] == 0
    assert errors[0] == pytest.approx(6 * 2**0.5)
    assert np.abs(found).max() <= 6
    assert errors.max() <= errors[0]


def test_a_fit_keeps_to_a_reach_between_two_steps_of_the_search(rng):
    wide = ndimage.gaussian_filter(rng.normal(size=(300, 300)), 3)
    fit = RigidFit(wide[20:-20, 20:-20], reach=3)
    found, _, _ = fit(np.stack([wide[12:-28, 28:-12], wide[20:-20, 20:-20]]).astype(np.float32))
    assert np.abs(found).max() <= 3


def test_bins_are_means_and_the_rest_is_cut_off(rng):
    frames = rng.normal(size=(2, 9, 13)).astype(np.float32)
    expected = frames[:, :8, :12].reshape(2, 2, 4, 3, 4).mean(axis=(2, 4))
    np.testing.assert_allclose(binned(frames, 4), expected, atol=1e-6)


def test_shifted_frames_are_the_template_inside(rng):
    shifts = [(4, -6), (-3, 2)]
    template, *frames = views(texture(rng), [(0, 0), *shifts])
    moved = shift_frames(np.stack(frames), np.array(shifts))
    inside = np.s_[8:-8, 8:-8]
    for frame in moved:
        np.testing.assert_array_equal(frame[inside], template[inside])


def test_template_of_moving_frames_is_sharper_than_their_mean(rng):
    picture = texture(rng)
    shifts = rng.integers(-6, 7, (30, 2))
    frames = views(picture, shifts) + rng.normal(0, 30, (30, 96, 128))
    template = rigid_template(frames)
    inside = np.s_[12:-12, 12:-12]
    best = max(
        np.corrcoef(template[inside].ravel(), views(picture, [(dy, dx)])[0][inside].ravel())[0, 1]
        for dy in range(-6, 7)
        for dx in range(-6, 7)
    )
    plain = np.corrcoef(frames.mean(axis=0)[inside].ravel(), views(picture, [(0, 0)])[0][inside].ravel())[
        0, 1
    ]
    assert best > 0.95 > plain


def test_the_template_is_of_what_most_frames_show(rng):
    tissue, other = (views(texture(rng), [(0, 0)] * count) for count in (40, 10))
    frames = np.concatenate([other, tissue]) + rng.normal(0, 10, (50, 96, 128))
    template = rigid_template(frames, rounds=0)
    like = [np.corrcoef(template.ravel(), picture[0].ravel())[0, 1] for picture in (tissue, other)]
    assert like[0] > 0.95
    assert abs(like[1]) < 0.3
