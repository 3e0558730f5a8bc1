"""Networks of segmentation-models-3D train by our recipes and leave as files of ours."""

import numpy as np
import pytest

pytestmark = [pytest.mark.train, pytest.mark.filterwarnings("ignore")]  # the package's own
keras = pytest.importorskip("keras")
backbones_factory = pytest.importorskip(
    "segmentation_models_3D.backbones.backbones_factory", reason="pip install --no-deps (see calzoo.sm3d)"
)
if keras.backend.backend() != "tensorflow":
    pytest.skip("export goes by way of TensorFlow", allow_module_level=True)

from tiny_recipe import tiny_recipe

from calzoo import sm3d
from calzoo.export import export_run
from calzoo.inference.models import load_model
from calzoo.networks.vgg16_unet3d import SEED, halo
from calzoo.training.frozen import has_frozen_norm
from calzoo.training.runs import build_model, load_run
from calzoo.training.trainer import train

NETWORK = {"architecture": "unet", "backbone": "resnet18", "decoder_filters": [8, 8, 8, 8, 4]}


@pytest.fixture(autouse=True)
def few_channels(monkeypatch):
    """Let the backbone have a sixteenth of its channels; the package has no argument for that."""
    factory = type(backbones_factory.Backbones)
    build = factory.get_backbone
    monkeypatch.setattr(
        factory, "get_backbone", lambda *args, **options: build(*args, init_filters=4, **options)
    )
    yield
    keras.backend.clear_session()


def test_network_trains_by_a_recipe_and_leaves_with_a_card(tmp_path):
    recipe = tiny_recipe(
        tile=[32, 32, 32],
        stack=[34, 40, 40],
        validation_stack=[32, 32, 32],
        prediction_tile=[32, 32, 32],
        schedule__epochs=1,
        schedule__steps=1,
        schedule__batch=1,
    )
    recipe = type(recipe)(**{**vars(recipe), "builder": "calzoo.sm3d:build", "network": NETWORK})
    train(recipe, tmp_path / "run", quiet=True)
    run = load_run(tmp_path / "run")
    assert run.ledger["steps"] == 1
    export_run(tmp_path / "run", tmp_path / "network.onnx", timing=False)  # compares it with Keras

    loaded = load_model(tmp_path / "network.onnx", provider="cpu")
    assert loaded.card.builder == "calzoo.sm3d:build"
    assert dict(loaded.card.config) == NETWORK
    assert dict(loaded.card.divisor) == {"z": 32, "y": 32, "x": 32}
    model = build_model(run)
    assert loaded.card.parameters == model.count_params()
    assert not has_frozen_norm(model)  # its layers can be seen, not only the network that they make
    image = np.random.default_rng(0).random((1, 32, 32, 64, 1), dtype="float32")
    result = loaded.run({"image": np.moveaxis(image, -1, 1)})["probability"]
    np.testing.assert_allclose(np.moveaxis(result, 1, -1), np.asarray(model(image)), atol=1e-4)


def test_reach_is_that_of_the_vgg16_network():
    assert sm3d.halo() == halo(SEED["pool"])
