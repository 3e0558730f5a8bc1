"""What --set changes, listed."""

import numpy as np
import pytest
import tifffile

pytestmark = pytest.mark.train
pytest.importorskip("keras")

from calzoo import cli
from calzoo.training import recipes
from calzoo.training.recipes.centers_fit import CentersFitRecipe
from calzoo.training.recipes.centers_seed import CentersSeedRecipe
from calzoo.training.settings import listed, settings_of

ALL = [*map(recipes.recipe, recipes.RECIPES), CentersFitRecipe(), CentersSeedRecipe()]


@pytest.mark.parametrize("recipe", ALL, ids=lambda recipe: recipe.name)
def test_every_setting_is_described_and_can_be_set_to_what_it_is(recipe):
    settings = settings_of(recipe)
    assert [name for name, _, text in settings if not text.endswith(".")] == []
    assert recipes.changed(recipe, {name: value for name, value, _ in settings}) == recipe


def test_a_setting_is_listed_as_it_is_given(capsys):
    assert cli.main(["train", "axons", "--list-settings"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines == listed(recipes.recipe("axons")).splitlines()
    found = dict(line.split("  ", 1) for line in lines)
    assert found["tile=[16,96,96]"].strip() == "(z, y, x) of a training tile, y = x."
    assert (
        found["network.bottom=192"].strip() == "Arguments of the builder that decide the shape of a weight."
    )
    assert found["schedule.precision=float32"].strip().endswith("half precision needs a GPU.")
    assert found["schedule.epochs=60"].strip().startswith("Epochs, and steps (batches) in each: after each")


@pytest.mark.parametrize(
    ("words", "recipe"),
    [
        (["centers"], recipes.recipe("centers")),
        (["centers", "--movie", "m.tif"], CentersFitRecipe()),
        (["centers-seed"], CentersSeedRecipe()),
        (["registration", "--movie", "m.tif"], recipes.recipe("registration-movie")),
        (["cells-instance"], recipes.recipe("cells-instance")),
    ],
)
def test_settings_are_those_of_what_the_command_would_do(capsys, words, recipe):
    assert cli.main(["train", *words, "--list-settings"]) == 0
    assert capsys.readouterr().out == listed(recipe) + "\n"


def test_a_run_needs_a_folder(capsys):
    assert cli.main(["train", "axons"]) == 2
    assert "one of the arguments -o/--output --list-settings is required" in capsys.readouterr().err


def test_a_setting_like_no_other_gets_the_command_that_lists_them(tmp_path, capsys):
    assert cli.main(["train", "axons", "-o", str(tmp_path / "run"), "--set", "zzz=1"]) == 1
    assert "no setting 'zzz'; 'calzoo train RECIPE --list-settings' lists them" in capsys.readouterr().err


def two_channels(path, axes):
    shape = [{"c": 2, "y": 32, "x": 32}.get(axis, 8) for axis in axes]
    tifffile.imwrite(path, np.zeros(shape, np.uint8), metadata={"axes": axes.upper()}, imagej=True)


@pytest.mark.parametrize(
    ("words", "names", "axes"),
    [
        (["train", "axons"], ["a_volume.tif", "a_label.tif"], "zcyx"),
        (["train", "registration"], ["a.tif"], "tcyx"),
        (["train", "registration"], ["a.tif"], "tzyx"),
        (["evaluate", "axons", "--provider", "cpu"], ["a_volume.tif", "a_label.tif"], "zcyx"),
    ],
)
def test_for_files_of_data_no_option_of_reading_is_advised(tmp_path, capsys, words, names, axes):
    (tmp_path / "data").mkdir()
    for name in names:
        two_channels(tmp_path / "data" / name, axes)
    output = ["-o", str(tmp_path / "run")] if words[0] == "train" else []
    assert cli.main([*words, *output, "--data", str(tmp_path / "data")]) == 1
    complaint = capsys.readouterr().err.splitlines()[-1]
    assert "expected one" in complaint
    assert complaint.endswith(
        "; save what is meant of it, one channel and one plane or one stack, as a TIFF that names its axes "
        "(Fiji does): for files of --data no option says it."
    )
    assert "--channel" not in complaint
    assert "--plane" not in complaint


def test_for_one_movie_the_options_of_reading_are_advised(tmp_path, capsys):
    two_channels(tmp_path / "m.tif", "tcyx")
    words = ["train", "registration", "-o", str(tmp_path / "run"), "--movie", str(tmp_path / "m.tif")]
    assert cli.main(words) == 1
    assert "choose one with --channel (0 to 1)" in capsys.readouterr().err
