"""The networks of the centres: the default encoder, the splats, and the authors' networks."""

import numpy as np
import pytest

pytestmark = pytest.mark.train
keras = pytest.importorskip("keras")

from calzoo.networks import centers as default
from calzoo.networks import centers_seed as seed
from calzoo.networks.centers_splats import Splats, mirrored, splat_autoencoder


@pytest.fixture(autouse=True)
def forget_networks():
    yield
    keras.backend.clear_session()


def array(tensor):
    return keras.ops.convert_to_numpy(tensor)


def test_seeds_have_the_parameters_of_the_published_networks():
    assert seed.seed_encoder().count_params() == 137_537
    assert seed.seed_encoder(released=True).count_params() == 123_681
    assert seed.seed_renderer().count_params() == 23_401
    assert seed.seed_renderer(smeared=True).count_params() == 601
    assert seed.seed_decoder().count_params() == 6_058_401
    assert set(seed.PARAMETERS.values()) == {137_537, 123_681, 23_401, 601, 6_058_401}


def test_seed_networks_fit_together(rng):
    encoder, renderer, decoder = seed.seed_encoder(16), seed.seed_renderer(16), seed.seed_decoder(16, count=5)
    heat = array(encoder(rng.random((2, 16, 16, 1), np.float32)))
    pictures = array(renderer(rng.random((5, 2), np.float32)))
    assert (heat.shape, pictures.shape) == ((2, 16, 16, 1), (5, 256))
    np.testing.assert_allclose(pictures.sum(axis=1), 1, rtol=1e-5)
    similarity = heat.reshape(2, -1) @ pictures.T
    latent = np.concatenate([np.tile(rng.random((1, 5, 2)), (2, 1, 1)), similarity[..., None]], axis=-1)
    assert array(decoder(latent.astype(np.float32))).shape == (2, 16, 16, 1)


@pytest.mark.parametrize("build", [seed.seed_encoder, seed.seed_decoder])
def test_sides_that_do_not_halve_twice_are_refused(build):
    with pytest.raises(ValueError, match="side must be a multiple of 4, got 18; choose 20"):
        build(18)


def test_default_encoder_is_small_and_finds_nothing_at_first(rng):
    model = default.centers_encoder()
    assert model.count_params() == 251_163
    heat = array(model(rng.normal(size=(1, 16, 24, 7)).astype(np.float32)))
    assert heat.shape == (1, 16, 24, 3)
    assert heat[..., 0].mean() < 0.2
    assert heat[..., 2].min() > 0


@pytest.mark.parametrize("config", [{"coords": True}, {"blur_pool": True}], ids=["CoordConv", "BlurPool"])
def test_variants_of_the_encoder_run(rng, config):
    model = default.centers_encoder(filters=(4, 4), bottom=4, **config)
    assert array(model(rng.normal(size=(1, 8, 12, 7)).astype(np.float32))).shape == (1, 8, 12, 3)


def test_illegal_side_is_refused_with_the_next_legal_one():
    with pytest.raises(
        ValueError, match=r"multiples of 8, got shape=\(60, 64\). Pad the pictures to \(64, 64\)"
    ):
        default.centers_encoder((60, 64))


@pytest.mark.parametrize("filters", [(1,), (1, 1)])
def test_halo_is_how_far_the_encoder_really_looks(filters):
    model = default.centers_encoder(channels=1, filters=filters, bottom=1)
    for variable in model.weights:
        if variable.path.endswith("kernel"):
            variable.assign(np.ones(variable.shape))
    logits = keras.Model(model.input, model.get_layer("center_logits").output)
    step, halo = default.divisor(filters), default.halo(filters)
    side = -(-(2 * halo + 3 * step) // step) * step
    flat = np.ones((1, side, side, 1), np.float32)
    background = array(logits(flat))
    farthest = 0
    for offset in range(step):
        bright = flat.copy()
        place = side // 2 + offset
        bright[0, place, place, 0] = 1e3
        changed = np.argwhere(array(logits(bright)) != background)
        farthest = max(farthest, np.abs(changed[:, 1] - place).max())
    assert farthest == halo


def blobs(rng, at, shape=(24, 28), frames=64, sigma=2.0):
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    spots = [np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / (2 * sigma**2)) for y, x in at]
    light = rng.gamma(0.3, 1, (frames, len(at)))
    return np.tensordot(light, spots, axes=1)[..., None].astype(np.float32), light


def test_splat_is_a_gaussian_at_its_coordinate():
    layer = Splats([[5.25, 7.5]], (12, 16), sigma=2.0, radius=3.0)
    layer.build()
    rows, columns = np.mgrid[:12, :16]
    expected = np.exp(-((rows - 5.25) ** 2 + (columns - 7.5) ** 2) / 8)
    np.testing.assert_allclose(array(layer.render()).reshape(12, 16), expected, atol=1e-6)


def test_frames_made_of_splats_are_rebuilt_with_their_brightness(rng):
    at = [[6, 7], [16.5, 20]]
    frames, light = blobs(rng, at)
    layer = Splats(at, frames.shape[1:3], sigma=2.0, radius=3.0, ridge=1e-6)
    np.testing.assert_allclose(array(layer(frames)), frames, atol=1e-3)
    np.testing.assert_allclose(array(layer.solve(frames)[0]), light, atol=2e-3)


def test_the_order_of_coordinates_means_nothing(rng):
    frames, _ = blobs(rng, [[6, 7], [16.5, 20]])
    options = {"frame_shape": frames.shape[1:3], "sigma": 2.0, "radius": 3.0}
    there = array(Splats([[5, 7], [16, 19], [9, 20]], **options)(frames))
    back = array(Splats([[9, 20], [16, 19], [5, 7]], **options)(frames))
    np.testing.assert_allclose(back, there, atol=1e-4)


def test_coordinates_settle_on_sources(rng):
    at = np.array([[6.0, 7.0], [16.5, 20.0]])
    frames, _ = blobs(rng, at)
    model = splat_autoencoder(at + [[2, -2], [-1.5, 2]], frames.shape[1:3], sigma=2.5, radius=3.0)
    model.compile(optimizer=keras.optimizers.Adam(0.2), loss="mse")
    layer = model.get_layer("rebuilt")
    for step in range(80):
        layer.sigma.assign(2.5 - 0.5 * min(step / 40, 1))
        model.train_on_batch(frames, frames)
    np.testing.assert_allclose(array(layer.centers()), at, atol=0.1)


def test_coordinates_beyond_the_border_are_mirrored_and_keep_their_gradient():
    layer = Splats([[-2.0, 3.0], [13.0, 3.0]], (12, 16), sigma=2.0, radius=1.0)
    layer.build()
    np.testing.assert_allclose(array(layer.centers()), [[2, 3], [9, 3]], atol=1e-5)


def test_coordinates_that_are_near_repel_each_other():
    apart = Splats([[2, 2], [9, 12]], (12, 16), sigma=1.0, radius=4.0)
    near = Splats([[5, 5], [5, 7]], (12, 16), sigma=1.0, radius=4.0)
    for layer in (apart, near):
        layer.build()
    assert float(apart.crowding()) == pytest.approx(0, abs=1e-6)
    # Each intrudes by half a radius: (0.25 + 0.25) / 2.
    assert float(near.crowding()) == pytest.approx(0.25, rel=1e-3)


def test_splats_come_back_from_a_file(rng, tmp_path):
    frames, _ = blobs(rng, [[6, 7]])
    model = splat_autoencoder(
        [[5.0, 6.0]], frames.shape[1:3], sigma=2.0, radius=3.0, repulsion=0.1, sparsity=0.1
    )
    model.save(tmp_path / "splats.keras")
    again = keras.models.load_model(tmp_path / "splats.keras")
    np.testing.assert_allclose(array(again(frames)), array(model(frames)), atol=1e-6)


def test_coordinates_are_mirrored_at_the_border_as_often_as_needed():
    inside = mirrored(np.float32([[-3, 4], [12, 11], [30, -25]]), (10, 12))
    np.testing.assert_allclose(array(inside), [[3, 4], [6, 11], [6, 3]], atol=1e-5)


def test_a_leash_keeps_coordinates_near_where_they_began(rng):
    frames = rng.random((1, 12, 16, 1)).astype(np.float32)
    layer = Splats([[5.0, 7.0], [2.0, 3.0]], (12, 16), sigma=2.0, radius=3.0, leash=1.5)
    layer(frames)
    np.testing.assert_allclose(array(layer.centers()), [[5, 7], [2, 3]], atol=1e-5)
    layer.coordinates.assign([[50.0, 7.5], [-9.0, 3.0]])
    moved = array(layer.centers()) - [[5, 7], [2, 3]]
    assert np.abs(moved).max() <= 1.5 + 1e-5
    np.testing.assert_allclose(moved[:, 0], [1.5, -1.5], atol=1e-3)
    assert Splats.from_config(layer.get_config()).leash == 1.5
