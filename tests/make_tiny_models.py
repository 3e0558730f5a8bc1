"""Write the .onnx files of tests/models: networks of a few weights, for tests of what runs networks.

python tests/make_tiny_models.py   (needs the package onnx; the files are committed)

All three tell background, axon and border by the intensity of a neighbourhood:
above .5 axon, between .25 and .5 border.

pixel   looks at one voxel; axes "bzyxc".
smooth  looks at the mean of 3 x 3 x 3 voxels; axes "bczyx"; halo 1.
pooled  smooth, with a round through the largest of 2 x 2 voxels of a plane; divisor (1, 2, 2).
"""

from pathlib import Path

import numpy as np
from onnx import TensorProto, checker, helper, numpy_helper

from calzoo.weights.card import Card, Normalisation, Tensor

FOLDER = Path(__file__).resolve().parent / "models"
CLASSES = ("background", "axon", "border")
SLOPE = 40.0
# Logits 0, 3 * SLOPE * (x - .4167) and SLOPE * (x - .25): border wins from .25, axon from .5.
LOGIT_WEIGHTS = SLOPE * np.float32([0, 3, 1])
LOGIT_BIASES = SLOPE * np.float32([0, -1.25, -0.25])


def conv(name, source, target, weights, biases):
    """Return a convolution that keeps the size, and its weights."""
    pads = [side // 2 for side in weights.shape[2:]] * 2
    node = helper.make_node("Conv", [source, f"{name}_w", f"{name}_b"], [target], name=name, pads=pads)
    return node, [numpy_helper.from_array(np.float32(weights), f"{name}_w"),
                  numpy_helper.from_array(np.float32(biases), f"{name}_b")]  # fmt: skip


def logits(source):
    """Return the last convolution and the softmax over axis 1, with output ``probability``."""
    node, weights = conv("logits", source, "scores", LOGIT_WEIGHTS.reshape(3, 1, 1, 1, 1), LOGIT_BIASES)
    return [node, helper.make_node("Softmax", ["scores"], ["probability"], axis=1, name="softmax")], weights


def mean(source, target):
    """Return a convolution by the mean of 3 x 3 x 3 voxels."""
    return conv("mean", source, target, np.full((1, 1, 3, 3, 3), 1 / 27), np.zeros(1))


def pixel():
    """Return nodes and weights of the network that looks at one voxel, channels last."""
    nodes, weights = logits("first")
    first = helper.make_node("Transpose", ["image"], ["first"], perm=(0, 4, 1, 2, 3), name="channels_first")
    nodes[-1].output[0] = "p"
    last = helper.make_node("Transpose", ["p"], ["probability"], perm=(0, 2, 3, 4, 1), name="channels_last")
    return [first, *nodes, last], weights


def smooth():
    """Return nodes and weights of the network that looks at 3 x 3 x 3 voxels."""
    node, weights = mean("image", "mean_out")
    nodes, more = logits("mean_out")
    return [node, *nodes], weights + more


def pooled():
    """Return nodes and weights of the network whose result depends on the pooling grid."""
    node, weights = mean("image", "mean_out")
    down = helper.make_node(
        "MaxPool", ["mean_out"], ["down"], kernel_shape=(1, 2, 2), strides=(1, 2, 2), name="down"
    )
    up_weights = numpy_helper.from_array(np.ones((1, 1, 1, 2, 2), np.float32), "up_w")
    up = helper.make_node("ConvTranspose", ["down", "up_w"], ["up"], strides=(1, 2, 2), name="up")
    nodes, more = logits("up")
    return [node, down, up, *nodes], [*weights, *more, up_weights]


def write(name, axes, divisor, halo, nodes, weights):
    """Write one network with its card."""
    sides = {"b": "batch", "z": "z", "y": "y", "x": "x"}
    tensors = [
        helper.make_tensor_value_info(tensor, TensorProto.FLOAT, [sides.get(axis, channels) for axis in axes])
        for tensor, channels in (("image", 1), ("probability", 3))
    ]
    graph = helper.make_graph(nodes, name, tensors[:1], tensors[1:], weights)
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])
    card = Card(
        name=name,
        alias="a network for tests",
        task="axons",
        description="Thresholds of the intensity.",
        inputs=(Tensor(name="image", axes=axes, units="normalised intensity"),),
        outputs=(Tensor(name="probability", axes=axes, units="probability", channels=CLASSES),),
        normalisation=Normalisation(kind="percentile", low=0.0, high=100.0, clip=(0.0, 1.0)),
        divisor=dict(zip("zyx", divisor, strict=True)),
        halo=dict(zip("zyx", halo, strict=True)),
        tile={"z": 16, "y": 32, "x": 32},
        postprocessing={"min_voxels": 5, "grow": 1},
        scale={"axon_diameter_px": 4.0},
        builder="tests.make_tiny_models:" + name,
        parameters=int(sum(np.prod(w.dims) for w in weights)),
        recipe="python tests/make_tiny_models.py",
    )
    helper.set_model_props(model, {"calzoo.card": card.to_json()})
    checker.check_model(model, full_check=True)
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / f"{name}.onnx").write_bytes(model.SerializeToString(deterministic=True))


if __name__ == "__main__":
    write("pixel", "bzyxc", (1, 1, 1), (0, 0, 0), *pixel())
    write("smooth", "bczyx", (1, 1, 1), (1, 1, 1), *smooth())
    write("pooled", "bczyx", (1, 2, 2), (1, 2, 2), *pooled())
