"""The authors' way to fit coordinates, and what can be seen inside."""

import numpy as np
import pytest
from PIL import Image

pytestmark = pytest.mark.train
keras = pytest.importorskip("keras")

from calzoo.cli import main
from calzoo.errors import CalzooError
from calzoo.training import centers_seed as seed
from calzoo.training import recipes
from calzoo.training.recipes.centers_seed import CentersSeedRecipe

TINY = CentersSeedRecipe(side=16, count=6, margin=2, render_steps=4, steps=4, batch=2)


@pytest.fixture(autouse=True)
def forget_networks():
    yield
    keras.backend.clear_session()


def test_recipe_survives_json():
    assert recipes.from_json(recipes.to_json(TINY)) == TINY


@pytest.mark.parametrize("render", ["one-hot", "smeared", "squares"])
def test_pictures_to_render_lie_at_their_coordinate(render):
    recipe = recipes.changed(TINY, {"render": render, "render_size": 3.0})
    coordinates, pictures = seed.render_targets(recipe)
    assert len(coordinates) == 12**2
    rows = np.array([0, 40, 143])
    drawn = pictures(rows).reshape(3, 16, 16)
    np.testing.assert_allclose(drawn.sum(axis=(1, 2)), 1, rtol=1e-5)
    pixels = np.indices((16, 16))
    if render == "one-hot":
        assert (drawn.max(axis=(1, 2)) == 1).all()
    if render == "squares":
        assert (np.count_nonzero(drawn, axis=(1, 2)) == 9).all()
    if render != "smeared":  # a blob near the border is cut off
        middle = np.einsum("nyx,ayx->na", drawn, pixels)
        np.testing.assert_allclose(middle, coordinates[rows] * 15, atol=1e-4)


def test_renderer_learns_where_blobs_lie():
    recipe = recipes.changed(TINY, {"render": "smeared", "render_steps": 250})
    model, accuracy = seed.pretrain_renderer(recipe, quiet=True)
    assert model.count_params() == 601
    assert accuracy > 0.3  # chance is 9 / 256


def test_fit_lowers_the_loss_and_moves_coordinates(rng):
    recipe = recipes.changed(TINY, {"steps": 20, "learning_rate": 3e-3, "blur": 1.0, "black_white": 0.01})
    movie = rng.random((12, 20, 32))
    fit = seed.fit_seed(movie, recipe, quiet=True)
    assert np.mean(fit.history[-5:]) < np.mean(fit.history[:5])
    assert fit.points.shape == (6, 2)
    assert ((fit.points >= -0.5) & (fit.points <= (19.5, 31.5))).all()
    assert np.abs(fit.trajectories[-1] - fit.trajectories[0]).max() > 0.2
    renderer = fit.model.get_layer("latent").renderer
    assert not renderer.trainable_variables


def test_inside_of_a_fit_can_be_seen(rng):
    fit = seed.fit_seed(rng.random((5, 16, 16)), TINY, quiet=True)
    errors = seed.latent_errors(fit, frames=3)
    assert set(errors) == {"as it is", "sorted by row", "half dropped"}
    assert all(np.isfinite(value) and value > 0 for value in errors.values())
    maps = seed.feature_maps(fit.model.get_layer("seed_encoder"), fit.frames[0], "down0_conv")
    assert maps.shape == (16, 16, 128)


def test_command_shows_what_the_authors_networks_make_of_a_movie(rng, tmp_path, capsys):
    np.save(tmp_path / "movie.npy", rng.random((6, 20, 24)).astype(np.float32))
    words = ["train", "centers-seed", "--movie", str(tmp_path / "movie.npy"), "-o", str(tmp_path / "run")]
    for name in ("side", "count", "margin", "render_steps", "steps", "batch"):
        words += ["--set", f"{name}={getattr(TINY, name)}"]
    assert main(words) == 0
    assert "frames rebuilt from points half dropped" in capsys.readouterr().err
    folder = tmp_path / "run"
    for name in ("trajectories", "losses", "feature_maps", "reconstruction", "histograms"):
        with Image.open(folder / f"{name}.png") as picture:
            assert min(picture.size) > 100
    latent = (folder / "latent.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in latent] == ["points", "as it is", "sorted by row", "half dropped"]
    with np.load(folder / "centers.npz") as file:
        assert file["points"].shape == (6, 2)
        assert file["trajectories"].shape[1:] == (6, 2)


def test_sparsity_ignores_what_is_rendered_below_the_threshold(rng):
    """With a threshold above 1 every pixel should be empty: the loss is that of a heat map against zeros."""
    from calzoo.networks.centers_seed import seed_renderer

    heat = rng.uniform(0.1, 0.9, (2, 8, 8, 1)).astype(np.float32)
    layer = seed.Similarity(
        rng.uniform(1, 6, (3, 2)), 8, seed_renderer(8), unit=1.0, sparsity=1.0, threshold=1.1, black_white=0.0
    )
    layer(heat)
    assert float(sum(layer.losses)) == pytest.approx(-np.log(1 - heat).mean(), rel=1e-4)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"render": "stars"}, "render must be one of one-hot, smeared, squares"),
        ({"side": 18}, "multiple of 4"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, reason):
    with pytest.raises(CalzooError, match=reason):
        CentersSeedRecipe(**settings)
