import numpy as np
import pytest
from tiny_recipe import tiny_recipe

pytestmark = pytest.mark.train
keras = pytest.importorskip("keras")

from calzoo.commands.train import setting
from calzoo.errors import CalzooError
from calzoo.training import pictures, recipes
from calzoo.training.frozen import has_frozen_norm, with_frozen_norm
from calzoo.training.prediction import predict_volume
from calzoo.training.schedule import Schedule
from calzoo.training.simulated import SimulatedPool
from calzoo.training.tiles import IGNORE


@pytest.mark.parametrize("name", recipes.RECIPES)
def test_a_recipe_survives_json(name):
    recipe = recipes.recipe(name)
    assert recipe.name == name
    assert recipes.from_json(recipes.to_json(recipe)) == recipe


def test_an_unknown_recipe_gets_a_suggestion():
    with pytest.raises(CalzooError, match="no recipe is called 'axon'; did you mean 'axons'"):
        recipes.recipe("axon")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (".1", 0.1),
        ("1.", 1.0),
        ("+2", 2),
        ("1_000", 1000),
        ("-.5e-1", -0.05),
        ("1.2.3", "1.2.3"),
        ("_", "_"),
        ("[1]", [1]),
    ],
)
def test_numbers_of_settings_are_written_as_in_python_or_json(text, value):
    name, read = setting(f"a.b={text}")
    assert (name, read, type(read)) == ("a.b", value, type(value))


def test_settings_change_fields_and_fields_of_fields():
    recipe = recipes.changed(recipes.recipe("axons"), {"seed": 4, "schedule.epochs": 2, "tile": [8, 32, 32]})
    assert (recipe.seed, recipe.schedule.epochs, recipe.tile) == (4, 2, (8, 32, 32))


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"schedule.epoch": 2}, "no setting 'schedule.epoch'; did you mean 'epochs'"),
        ({"schedule.epochs": "many"}, "expected a number, got 'many'"),
        ({"schedule.epochs": 0}, "epochs must be at least 1, got 0"),
        ({"schedule.precision": "float8"}, "precision must be one of float32"),
        ({"name": "mine"}, "'axons' keeps its name"),
        ({"builder": 3}, "expected a text, got 3"),
        ({"schedule.average": 1.5}, "average must be from 0 to below 1, got 1.5"),
        ({"schedule.epochs": float("inf")}, "cannot take schedule.epochs=inf"),
        ({"schedule.deterministic": "False"}, "expected true or false, got 'False'"),
        ({"schedule.epochs": 1.9}, "expected a whole number, got 1.9"),
        ({"schedule.epochs": True}, "expected a number, got True"),
        ({"tile": 16}, "expected a list of 3, got 16"),
        ({"styles": "confocal"}, "expected fields with their values, got 'confocal'"),
        ({"schedule": 3}, "expected fields with their values, got 3"),
        ({"schedule.epochs.x": 1}, r"no setting 'schedule\.epochs\.x'"),
        ({"percentiles": [1]}, r"expected a list of 2, got \[1\]"),
        ({"class_weights": [1, 1, "much"]}, "expected a number, got 'much'"),
        ({"own_planes": 3}, "expected a list, got 3"),
        ({"network": {"filter": [8, 16]}}, "unet3d has no argument filter; choose from shape, .*filters"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, reason):
    with pytest.raises(CalzooError, match=reason):
        recipes.changed(recipes.recipe("axons"), settings)


@pytest.mark.parametrize(
    "text",
    ["", "{}", '{"kind": "os:system"}', '{"kind": "calzoo.training.recipes.axons:AxonsRecipe", "x": 1}'],
)
def test_a_text_that_is_no_recipe_is_refused(text):
    with pytest.raises(CalzooError, match=r"expected a recipe \(recipe.json of a run\)"):
        recipes.from_json(text)


def test_the_learning_rate_rises_to_its_peak_and_falls_to_its_end():
    schedule = Schedule(epochs=2, steps=50, warmup=10, learning_rate=2.0, last_rate=0.1)
    rates = [schedule.rate(step) for step in range(101)]
    assert rates[0] == pytest.approx(0.2)
    assert max(rates) == rates[10] == 2.0
    assert all(np.diff(rates[10:]) < 0)
    assert rates[100] == pytest.approx(0.2)


def test_the_pool_of_an_epoch_depends_on_the_epoch_alone():
    made = []
    straight = SimulatedPool(lambda n: made.append(n) or n, size=4, fresh=2)
    expected = [[0, 1], [0, 1, 2, 3], [2, 3, 4, 5], [4, 5, 6, 7]]
    assert [straight.stacks(epoch) for epoch in range(4)] == expected
    straight.close()
    assert sorted(made) == sorted(set(made))  # nothing is simulated twice
    resumed = SimulatedPool(lambda n: n, size=4, fresh=2)
    assert resumed.stacks(3) == expected[3]
    resumed.close()


@pytest.mark.parametrize(
    ("name", "settings", "reason"),
    [
        ("axons", {"tile": [4, 30, 30]}, r"multiples of 4, 16, 16, got \(4, 30, 30\)"),
        ("registration", {"tile": 100}, r"multiples of 64, got \(100,\)"),
        ("centers", {"tile": 90}, r"multiples of 8, 8, got \(90, 90\)"),
        ("cells-proposal", {"side": 100}, r"multiples of 8, 8, got \(100, 100\)"),
        ("cells-instance", {"crop": 40}, "as large as the network takes them, 48 pixels, got crop=40"),
    ],
)
def test_tiles_that_the_network_cannot_take_are_refused(name, settings, reason):
    with pytest.raises(CalzooError, match=reason):
        recipes.changed(recipes.recipe(name), settings).data([])


def test_freezing_keeps_weights_and_order_and_stops_looking_at_the_batch(rng):
    model = tiny_recipe().build()
    x = rng.normal(5, 3, (2, 4, 16, 16, 1)).astype("float32")
    model(x, training=True)  # moves the running averages
    frozen = with_frozen_norm(model)
    assert [v.path for v in frozen.variables] == [v.path for v in model.variables]
    assert has_frozen_norm(frozen)
    assert not has_frozen_norm(model)
    at_inference = keras.ops.convert_to_numpy(model(x, training=False))
    np.testing.assert_allclose(keras.ops.convert_to_numpy(frozen(x, training=True)), at_inference, atol=1e-6)


def test_prediction_by_tiles_of_a_pointwise_network_is_that_of_the_whole(rng):
    image = keras.Input((None, None, None, 1))
    model = keras.Model(image, keras.layers.Conv3D(3, 1, activation="softmax")(image))
    volume = rng.normal(size=(9, 50, 21)).astype("float32")
    tiled = predict_volume(model, volume, tile=(4, 16, 16), divisor=(2, 4, 4), overlap=0.25)
    whole = model.predict_on_batch(volume[None, ..., None])[0]
    np.testing.assert_allclose(tiled, whole, atol=1e-5)


def test_prediction_pads_small_volumes_and_crops_back(rng):
    image = keras.Input((8, 16, 16, 1))
    model = keras.Model(image, keras.layers.Conv3D(3, 1, activation="softmax")(image))
    volume = rng.normal(size=(5, 9, 13)).astype("float32")
    predicted = predict_volume(model, volume, tile=(8, 16, 16), divisor=(8, 16, 16))
    assert predicted.shape == (5, 9, 13, 3)
    np.testing.assert_allclose(predicted.sum(-1), 1, atol=1e-5)


def test_classes_that_are_not_known_are_grey():
    colours = pictures.colours(np.array([[-1, 0, 1, 2, 3, IGNORE]]))
    assert colours[0, [0, 4, 5]].tolist() == [[60, 60, 60]] * 3
    assert len(np.unique(colours[0, :4], axis=0)) == 4


@pytest.mark.parametrize(("error", "top"), [(0.4, 1.0), (3.5, 3.5), (float("inf"), 1.0)])
def test_curves_show_scores_above_one(monkeypatch, tmp_path, error, top):
    drawn = []
    monkeypatch.setattr(pictures, "save_figure", lambda figure, path: drawn.append(figure))
    rows = [{"epoch": 1, "loss": 2.0}, {"epoch": 2, "loss": 1.0, "score": 0.5, "epe_12": error}]
    pictures.draw_curves(tmp_path / "curves.png", rows)
    assert drawn[0].axes[1].get_ylim() == (0, top)
    lines = {line.get_label(): line.get_marker() for axes in drawn[0].axes for line in axes.get_lines()}
    assert lines == {"training loss": "None", "score": "o", "epe_12": "o"}  # one dot is no line
