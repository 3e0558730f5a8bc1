"""Models of segmentation-models-3D become .onnx files from whatever file Keras wrote."""

import json
import zipfile
from unittest import mock

import numpy as np
import pytest

pytestmark = pytest.mark.train
keras = pytest.importorskip("keras")
h5py = pytest.importorskip("h5py")
if keras.backend.backend() != "tensorflow":
    pytest.skip("export goes by way of TensorFlow", allow_module_level=True)

from calzoo.cli import main
from calzoo.errors import CalzooError
from calzoo.export import export_keras
from calzoo.export.from_keras import load_by_name, read_layers
from calzoo.inference.models import load_model
from calzoo.networks import vgg16_unet3d as vgg

TINY = {"STAGES": ((2, 2), (2, 2), (3, 2), (3, 2), (3, 3)), "CENTER": 2, "DECODER": (3, 2, 2, 2, 2)}


@pytest.fixture(autouse=True)
def tiny():
    """Let the network have the layers that it always has, and few channels."""
    with mock.patch.multiple(vgg, **TINY):
        yield
    keras.backend.clear_session()


def trained(channels=3, classes=3):
    keras.utils.set_random_seed(channels)
    model = vgg.vgg16_unet3d(channels=channels, classes=classes, pool=vgg.SEED["pool"])
    for variable in model.weights:
        if len(variable.shape) == 1:
            variable.assign(np.random.default_rng(0).uniform(0.5, 1.5, variable.shape))
    return model


def write_old_h5(model, path):
    """Write weights as Keras 2 does, which segmentation-models-3D was made for."""
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [layer.name.encode() for layer in model.layers]
        for layer in model.layers:
            names = [f"{layer.name}/{weight.name}:0" for weight in layer.weights]
            group = file.create_group(layer.name)
            group.attrs["weight_names"] = [name.encode() for name in names]
            for name, array in zip(names, layer.get_weights(), strict=True):
                group[name] = array


def forget_names(path):
    """Write a file of Keras 3 as early versions did: layers are counted, and have no names."""
    with h5py.File(path, "r+") as file:
        for layer in file["layers"].values():
            layer["vars"].attrs.clear()


def write(model, folder, kind):
    path = folder / f"trained.{kind}".replace("counted", "weights.h5").replace("old", "h5")
    if kind == "old":
        write_old_h5(model, path)
    elif kind == "h5" or kind == "keras":
        model.save(path)
    else:
        model.save_weights(path)
        if kind == "counted":
            forget_names(path)
    return path


@pytest.mark.parametrize("kind", ["keras", "weights.h5", "counted", "h5", "old"])
def test_weights_are_read_by_name_from_every_kind_of_file(tmp_path, kind):
    model = trained()
    path = write(model, tmp_path, kind)
    if kind == "counted":
        assert {"conv3d", "conv3d_25", "batch_normalization_11"} <= set(read_layers(path))
        return
    other = vgg.vgg16_unet3d(**vgg.SEED)
    load_by_name(other, path)
    for ours, theirs in zip(other.weights, model.weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("kind", ["keras", "counted"])
def test_file_becomes_a_network_of_one_channel(tmp_path, capsys, kind):
    """A stack seen once by summed kernels is the stack seen three times."""
    model = trained()
    path = write(model, tmp_path, kind)
    out = tmp_path / "out.onnx"
    command = ["export", "--from-keras", path, "-o", out, "--no-timing", "--normalisation", "percentile"]
    assert main(list(map(str, command))) == 0
    assert "differs from Keras by" in capsys.readouterr().out
    loaded = load_model(out, provider="cpu")
    assert loaded.card.name == "trained"
    assert loaded.card.outputs[0].channels == ("background", "axon", "border")
    assert dict(loaded.card.divisor) == {"z": 32, "y": 32, "x": 32}
    assert loaded.card.normalisation.kind == "percentile"
    assert loaded.card.data == ()
    stack = np.random.default_rng(0).normal(size=(1, 32, 32, 32)).astype(np.float32)
    expected = keras.ops.convert_to_numpy(model(np.stack([stack] * 3, axis=-1)))
    result = loaded.run({"image": stack[None]})["probability"]
    np.testing.assert_allclose(np.moveaxis(result, 1, -1), expected, atol=1e-5)


def test_weights_of_a_network_in_a_network_are_read_by_name(tmp_path):
    inner = trained()
    image = keras.Input((32, 32, 32, 3), name="image")
    outer = keras.Model(image, inner(image), name="outer")
    outer.save_weights(tmp_path / "outer.weights.h5")
    other = vgg.vgg16_unet3d(**vgg.SEED)
    load_by_name(other, tmp_path / "outer.weights.h5")
    np.testing.assert_array_equal(other.weights[-2], inner.weights[-2])


def test_file_that_is_no_keras_file_is_refused(tmp_path):
    path = tmp_path / "x.keras"
    path.write_bytes(b"something else")
    with pytest.raises(CalzooError, match=r"x.keras: expected a file that Keras wrote.*cannot be read"):
        export_keras(path, tmp_path / "x.onnx")


def test_another_network_is_refused(tmp_path):
    image = keras.Input((4,), name="image")
    keras.Model(image, keras.layers.Dense(2, name="dense")(image)).save(tmp_path / "other.keras")
    with pytest.raises(CalzooError, match=r"expected a VGG16 U-Net .* got dense ... Build another"):
        export_keras(tmp_path / "other.keras", tmp_path / "x.onnx")


def test_layer_of_another_size_is_named(tmp_path):
    model = trained()
    model.save_weights(tmp_path / "tiny.weights.h5")
    with (
        mock.patch.object(vgg, "CENTER", 3),
        pytest.raises(CalzooError, match="the layer 'center_block1_conv'"),
    ):
        export_keras(tmp_path / "tiny.weights.h5", tmp_path / "x.onnx")


def test_other_classes_are_refused(tmp_path):
    trained(channels=1, classes=2).save_weights(tmp_path / "two.weights.h5")
    with pytest.raises(
        CalzooError, match="expected the classes background, axon, border, got a network of 2"
    ):
        export_keras(tmp_path / "two.weights.h5", tmp_path / "x.onnx")


def test_network_that_ends_in_another_activation_is_refused(tmp_path):
    path = tmp_path / "trained.keras"
    trained().save(path)
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(parts["config.json"])
    layer = {
        "name": "sigmoid",
        "class_name": "Activation",
        "config": {"name": "sigmoid", "activation": "sigmoid"},
    }
    config["config"]["layers"][-1] = layer
    parts["config.json"] = json.dumps(config).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in parts.items():
            archive.writestr(name, data)
    with pytest.raises(CalzooError, match="expected a network that ends in softmax, got 'sigmoid'"):
        export_keras(path, tmp_path / "x.onnx")


def test_normalisation_of_a_run_is_not_asked_for(tmp_path, capsys):
    command = ["export", str(tmp_path), "-o", str(tmp_path / "x.onnx"), "--normalisation", "zscore"]
    assert main(command) == 1
    assert "--normalisation goes with --from-keras" in capsys.readouterr().err
