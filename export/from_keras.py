"""Networks that were trained with segmentation-models-3D, read from the files that Keras writes.

Only names and arrays are read from a file: loading a Keras model runs what the file says.
"""

import io
import json
import zipfile
from pathlib import Path

import h5py
import numpy as np

from calzoo.errors import CalzooError
from calzoo.export.models import export_model
from calzoo.networks.vgg16_unet3d import DECODER, SEED, STAGES, vgg16_unet3d
from calzoo.training.recipes.axons import AxonsRecipe
from calzoo.weights.card import Card, Normalisation

_STEM, _HEAD = "block1_conv1", "final_conv"
_GROUPS = ("layers", "_layer_checkpoint_dependencies")  # Keras 3, Keras 2.12 to 2.15


def export_keras(source, path, *, name=None, normalisation="none", timing=True):
    """Write a VGG16 U-Net that was trained with segmentation-models-3D as an .onnx file with its card.

    A network of three channels, which sees a grey stack three times, becomes one
    of one channel: the kernels of the first convolution are summed.

    Parameters
    ----------
    source : path-like
        ``.keras``, ``.weights.h5`` or ``.h5``: a model or its weights.
    path : path-like
        Ends in ``.onnx``.
    name : str, optional
        Name in the card, by default that of the file.
    normalisation : {"none", "percentile", "zscore"}, optional
        What the network was trained on: intensities as they are, between their
        percentiles 1 and 99.8, or in standard deviations.
    timing : bool, optional
        See `calzoo.export.models.export_model`.

    Returns
    -------
    dict
        The report of `calzoo.export.models.export_model`.

    Raises
    ------
    CalzooError
        If the file cannot be read or holds another network, or a check fails;
        nothing is written then.
    """
    names = _counted_names()
    arrays = {names.get(name, name): values for name, values in read_layers(source).items()}
    if _STEM not in arrays or _HEAD not in arrays:
        message = (
            f"{source}: expected a VGG16 U-Net of segmentation-models-3D (layers {_STEM} ... {_HEAD}), got "
            f"{', '.join(sorted(arrays)[:3]) or 'no weights'} ... Build another network with calzoo.sm3d."
        )
        raise CalzooError(message)
    _check_activation(source)
    kernel, bias = arrays[_STEM]
    arrays[_STEM] = [kernel.sum(axis=-2, keepdims=True), bias]
    config = {"channels": 1, "classes": int(arrays[_HEAD][0].shape[-1]), "pool": SEED["pool"]}
    model = vgg16_unet3d(**config)
    assign_layers(model, arrays, source)
    return export_model(model, _card(model, config, Path(source), name, normalisation), path, timing=timing)


def load_by_name(model, source):
    """Give a network the weights of a file, layer by layer, by the layers' names.

    Parameters
    ----------
    model : keras.Model
        Changed in place; networks in it, as in those of `calzoo.sm3d.build`, are looked into.
    source : path-like
        ``.keras``, ``.weights.h5`` or ``.h5``.

    Raises
    ------
    CalzooError
        If the file cannot be read, or lacks a layer, or a layer has other shapes.
    """
    assign_layers(model, read_layers(source), source)


def read_layers(source):
    """Read the weights of a Keras file without running anything that it says.

    Parameters
    ----------
    source : path-like
        ``.keras``, ``.weights.h5`` or ``.h5``.

    Returns
    -------
    dict of str to list of ndarray
        By the name of the layer, in the order of ``layer.get_weights()``. Early
        versions of Keras 3 write no names: layers are counted there, "conv3d_12".

    Raises
    ------
    CalzooError
        If the file cannot be read.
    """
    try:
        with h5py.File(_h5(source), "r") as file:
            if any(group in file for group in _GROUPS):
                return dict(_nested(file))
            return dict(_listed(file.get("model_weights", file)))
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        message = (
            f"{source}: expected a file that Keras wrote (.keras, .weights.h5 or .h5), but it cannot "
            f"be read: {error}"
        )
        raise CalzooError(message) from error


def assign_layers(model, arrays, source="the file"):
    """Give every layer of a network the arrays of its name; see `load_by_name`."""
    for layer in _leaves(model):
        found = [array.shape for array in arrays.get(layer.name, ())]
        wanted = [tuple(weight.shape) for weight in layer.weights]
        if found != wanted:
            message = (
                f"{source}: expected weights {wanted} of the layer {layer.name!r} of {model.name!r}, got "
                f"{found or 'none'}. The file must be of the same architecture and backbone."
            )
            raise CalzooError(message)
        layer.set_weights(arrays[layer.name])


def _counted_names():
    """Return the name of each layer of the VGG16 U-Net by what early Keras 3 calls it in files."""
    encoder = [
        f"block{stage}_conv{i + 1}" for stage, (count, _) in enumerate(STAGES, start=1) for i in range(count)
    ]
    blocks = ["center_block1", "center_block2"]
    blocks += [f"decoder_stage{stage}{half}" for stage in range(len(DECODER)) for half in "ab"]
    convolutions = [*encoder, *(f"{block}_conv" for block in blocks), _HEAD]
    return {
        f"{kind}_{i}".removesuffix("_0"): name
        for kind, names in {
            "conv3d": convolutions,
            "batch_normalization": [f"{block}_bn" for block in blocks],
        }.items()
        for i, name in enumerate(names)
    }


def _h5(source):
    if not zipfile.is_zipfile(source):
        return source
    with zipfile.ZipFile(source) as archive:
        return io.BytesIO(archive.read("model.weights.h5"))


def _nested(group):
    """Yield name and arrays of each layer of a file of Keras 3."""
    for key in _GROUPS:
        for layer in group.get(key, {}).values():
            variables = layer.get("vars", {})
            if len(variables):
                name = variables.attrs.get("name", layer.name.rsplit("/", 1)[-1])
                yield name, [np.asarray(variables[str(i)]) for i in range(len(variables))]
            yield from _nested(layer)


def _listed(group):
    """Yield name and arrays of each layer of a file of Keras 2."""
    for name in map(_text, group.attrs["layer_names"]):
        paths = [_text(path) for path in group[name].attrs["weight_names"]]
        by_layer = {}
        for path in paths:  # those of a network within the network: "block1_conv1/kernel:0" and so on
            layer = path.split("/")[-2] if "/" in path else name
            by_layer.setdefault(layer, []).append(np.asarray(group[name][path]))
        yield from by_layer.items()


def _leaves(model):
    """Yield the layers that hold weights, those of networks within the network too."""
    for layer in model.layers:
        if hasattr(layer, "layers"):
            yield from _leaves(layer)
        elif layer.weights:
            yield layer


def _check_activation(source):
    """Refuse a network that is known to end in anything but softmax."""
    config = _config(source)
    layers = [layer["config"] for layer in config["config"]["layers"]] if config else []
    found = [layer["activation"] for layer in layers if layer["name"] in ("softmax", "sigmoid", "linear")]
    if found and found[-1] != "softmax":
        message = (
            f"{source}: expected a network that ends in softmax, got {found[-1]!r}. Train it with softmax."
        )
        raise CalzooError(message)


def _config(source):
    """Return what a file says about its architecture, or None."""
    if zipfile.is_zipfile(source):
        with zipfile.ZipFile(source) as archive:
            return json.loads(archive.read("config.json"))
    with h5py.File(source, "r") as file:
        return json.loads(file.attrs["model_config"]) if "model_config" in file.attrs else None


def _card(model, config, source, name, normalisation):
    """Return the card of the axon task, with what is known of a network from elsewhere."""
    recipe = AxonsRecipe(
        name="axons-vgg16", builder="calzoo.networks.vgg16_unet3d:vgg16_unet3d", network=config
    )
    fields = recipe.card_fields(model, ())
    (probability,) = fields["outputs"]
    if config["classes"] != len(probability.channels):
        message = (
            f"{source}: expected the classes {', '.join(probability.channels)}, "
            f"got a network of {config['classes']} classes. Export it with calzoo.export.export_model."
        )
        raise CalzooError(message)
    kinds = {
        "none": Normalisation(),
        "percentile": recipe.normalisation(),
        "zscore": Normalisation(kind="zscore"),
    }
    return Card(
        **{
            **fields,
            "name": name or source.name.split(".")[0],
            "alias": "Axons in 3-D stacks (segmentation-models-3D)",
            "normalisation": kinds[normalisation],
            "recipe": "segmentation-models-3D",
        }
    )


def _text(value):
    return value.decode() if isinstance(value, bytes) else str(value)
