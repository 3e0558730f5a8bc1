"""A wider proposal network that computes what it began from."""

import json

import numpy as np
import pytest

pytestmark = pytest.mark.train
keras = pytest.importorskip("keras")

from calzoo.errors import CalzooError
from calzoo.training import recipes
from calzoo.training.cells_widening import main, widen_run
from calzoo.training.runs import build_model, load_run
from calzoo.training.variables import save_weights


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of a small proposal network with weights that are all different."""
    folder = tmp_path_factory.mktemp("runs") / "narrow"
    network = {"filters": (4, 6, 8), "bottom": 10}
    recipe = recipes.changed(recipes.recipe("cells-proposal"), {"network": network})
    keras.utils.set_random_seed(0)
    model = recipe.build()
    for number, variable in enumerate(model.weights):
        if variable.ndim == 1:
            variable.assign(np.random.default_rng(number).uniform(0.5, 1.5, variable.shape))
    folder.mkdir()
    (folder / "recipe.json").write_text(recipes.to_json(recipe))
    (folder / "fingerprint.json").write_text(json.dumps({"simulation/pool": "0"}))
    (folder / "ledger.json").write_text(json.dumps({"steps": 7, "versions": {}}))
    save_weights(model, folder / "weights.safetensors")
    return folder


@pytest.mark.parametrize("widths", [(4, 6, 8, 10), (5, 6, 8, 10), (6, 10, 12, 17)])
def test_a_wider_network_computes_what_the_trained_one_does(run, tmp_path, rng, widths):
    made = widen_run(run, tmp_path / "wide", filters=widths[:-1], bottom=widths[-1])
    narrow, wide = build_model(load_run(run)), build_model(made)
    grown = sum(widths) > 28
    assert (wide.count_params() > narrow.count_params()) == grown
    pictures = {
        "image": rng.random((2, 32, 48, 3), dtype=np.float32),
        "present": np.array([[1, 1, 1], [0, 1, 0]], np.float32),
    }
    # Kernels are kept with eleven bits, as those that were kept before are already.
    np.testing.assert_allclose(wide(pictures), narrow(pictures), atol=1e-5)
    assert made.recipe.network["filters"] == widths[:-1]
    assert made.ledger["widened"]["name"] == "narrow"
    assert made.sources == ("simulation",)


def test_the_same_widening_gives_the_same_weights(run, tmp_path):
    made = [widen_run(run, tmp_path / name, filters=(6, 8, 10), bottom=12) for name in ("one", "other")]
    assert made[0].weights.read_bytes() == made[1].weights.read_bytes()


def test_the_new_channels_learn(run, tmp_path, rng):
    wide = build_model(widen_run(run, tmp_path / "wide", filters=(6, 8, 10), bottom=12))
    wide.compile(keras.optimizers.SGD(0.1), loss="mse")
    kernel = wide.get_layer("down1_conv1").kernel
    assert (np.asarray(kernel)[:, :, 4:, :6] == 0).all()
    pictures = {"image": rng.random((2, 32, 32, 3), dtype=np.float32), "present": np.ones((2, 3), np.float32)}
    wide.train_on_batch(pictures, rng.random((2, 32, 32, 3), dtype=np.float32))
    assert (np.asarray(kernel)[:, :, 4:, :6] != 0).any()


def test_the_command_names_the_new_run(run, tmp_path, capsys):
    main([str(run), "--filters", "8,8,8", "--bottom", "12", "-o", str(tmp_path / "wide")])
    assert capsys.readouterr().out.strip() == str(tmp_path / "wide")


@pytest.mark.parametrize(
    ("filters", "match"),
    [
        ((4, 5, 8), r"not narrower than those of .*narrow, \[4, 6, 8, 10\], got \[4, 5, 8, 10\]"),
        ((8, 8), "expected 3 filters and a bottom"),
    ],
)
def test_a_narrower_or_flatter_network_is_refused(run, tmp_path, filters, match):
    with pytest.raises(CalzooError, match=match):
        widen_run(run, tmp_path / "wide", filters=filters, bottom=10)


def test_a_folder_that_exists_is_refused(run, tmp_path):
    with pytest.raises(CalzooError, match="exists; name a folder that does not"):
        widen_run(run, tmp_path, filters=(4, 6, 8), bottom=10)


def test_a_run_of_another_network_is_refused(run, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    for name in ("fingerprint.json", "ledger.json", "weights.safetensors"):
        (other / name).write_bytes((run / name).read_bytes())
    (other / "recipe.json").write_text(recipes.to_json(recipes.recipe("cells-instance")))
    with pytest.raises(
        CalzooError, match="expected a run of a proposal network, got one of the recipe 'cells-instance'"
    ):
        widen_run(other, tmp_path / "wide", filters=(4, 6, 8), bottom=10)
