"""Write tests/models/summits.onnx: a network of a few weights that takes summits of the peak for centres.

python tests/make_tiny_centers.py   (needs the package onnx; the file is committed)

Centre: peak to noise, smoothed, above 1.3. Body: sharp peak above 1. Radius: 4 pixels.
"""

from pathlib import Path

import numpy as np
from onnx import TensorProto, checker, helper, numpy_helper

from calzoo.imaging.center_channels import CELL_PX, CHANNELS
from calzoo.weights.card import Card, Normalisation, Tensor

FOLDER = Path(__file__).resolve().parent / "models"
SLOPE = 5.0


def main():
    """Write the file."""
    weights = np.zeros((3, len(CHANNELS), 3, 3), np.float32)
    weights[0, CHANNELS.index("peak to noise")] = SLOPE * np.outer([1, 2, 1], [1, 2, 1]) / 16
    weights[1, CHANNELS.index("sharp peak"), 1, 1] = SLOPE
    biases = np.float32([-1.3 * SLOPE, -1.0 * SLOPE, 4.0])
    arrays = [numpy_helper.from_array(weights, "w"), numpy_helper.from_array(biases, "b")]
    nodes = [
        helper.make_node("Conv", ["pictures", "w", "b"], ["raw"], pads=[1, 1, 1, 1], name="conv"),
    ]
    arrays.append(numpy_helper.from_array(np.int64([2, 1]), "sizes"))
    nodes.append(helper.make_node("Split", ["raw", "sizes"], ["logits", "radius"], axis=1, name="split"))
    nodes.append(helper.make_node("Sigmoid", ["logits"], ["p"], name="sigmoid"))
    nodes.append(helper.make_node("Concat", ["p", "radius"], ["heat"], axis=1, name="heat"))
    sides = ("batch", "{}", "y", "x")
    tensors = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [count if s == "{}" else s for s in sides])
        for name, count in (("pictures", len(CHANNELS)), ("heat", 3))
    ]
    graph = helper.make_graph(nodes, "summits", tensors[:1], tensors[1:], arrays)
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])
    card = Card(
        name="summits",
        alias="a network for tests",
        task="centers",
        description="Summits of the peak-to-noise picture.",
        inputs=(Tensor(name="pictures", axes="bcyx", units="1", channels=CHANNELS),),
        outputs=(Tensor(name="heat", axes="bcyx", units="1", channels=("center", "body", "radius")),),
        normalisation=Normalisation(),
        divisor={"y": 8, "x": 8},
        halo={"y": 1, "x": 1},
        tile={"y": 64, "x": 64},
        postprocessing={"threshold": 0.5, "apart_diameters": 0.5, "window_frames": 60},
        scale={"cell_diameter_px": CELL_PX},
        builder="tests.make_tiny_centers:main",
        parameters=int(weights.size + biases.size),
        recipe="python tests/make_tiny_centers.py",
    )
    helper.set_model_props(model, {"calzoo.card": card.to_json()})
    checker.check_model(model, full_check=True)
    (FOLDER / "summits.onnx").write_bytes(model.SerializeToString(deterministic=True))


if __name__ == "__main__":
    main()
