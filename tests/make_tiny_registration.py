"""Write tests/models/rigid.onnx: a network for registration that moves frames by the shift it is given.

python tests/make_tiny_registration.py   (needs the package onnx; the file is committed)
"""

from pathlib import Path

import numpy as np
from onnx import TensorProto, checker, helper, numpy_helper

from calzoo.weights.card import Card, Normalisation, Tensor

FOLDER = Path(__file__).resolve().parent / "models"
CONSTANTS = {"zero": 0.0, "one": 1.0, "two": 2.0, "error": 0.25}


def nodes():
    """Return the nodes: positions are sums of ones, as shapes are not known."""
    steps = [
        ("Mul", ["frame", "zero"], ["zeros"], {}),
        ("Unsqueeze", ["shift", "last_axes"], ["shift4"], {}),
        ("Add", ["shift4", "zeros"], ["flow"], {}),
        ("Add", ["zeros", "one"], ["ones"], {}),
        ("CumSum", ["ones", "rows"], ["y_from_one"], {}),
        ("CumSum", ["ones", "columns"], ["x_from_one"], {}),
        ("Split", ["flow"], ["dy", "dx"], {"axis": 1}),
    ]
    for axis in "yx":
        steps += [
            ("ReduceMax", [f"{axis}_from_one"], [f"{axis}_size"], {"keepdims": 1}),
            ("Sub", [f"{axis}_size", "one"], [f"{axis}_last"], {}),
            ("Sub", [f"{axis}_from_one", "one"], [f"{axis}_here"], {}),
            ("Add", [f"{axis}_here", f"d{axis}"], [f"{axis}_there"], {}),
            ("Mul", [f"{axis}_there", "two"], [f"{axis}_twice"], {}),
            ("Div", [f"{axis}_twice", f"{axis}_last"], [f"{axis}_part"], {}),
            ("Sub", [f"{axis}_part", "one"], [f"{axis}_grid"], {}),
        ]
    steps += [
        ("Concat", ["x_grid", "y_grid"], ["grid_first"], {"axis": 1}),
        ("Transpose", ["grid_first"], ["grid"], {"perm": (0, 2, 3, 1)}),
        ("GridSample", ["frame", "grid"], ["registered"], {"align_corners": 1, "padding_mode": "border"}),
        ("Add", ["zeros", "error"], ["errors"], {}),
        ("AveragePool", ["errors"], ["uncertainty"], {"kernel_shape": (8, 8), "strides": (8, 8)}),
    ]
    return [helper.make_node(kind, a, b, name=b[0], **more) for kind, a, b, more in steps]


def main():
    """Write the network with its card."""
    picture = ["batch", 1, "y", "x"]
    floats = {
        "frame": picture,
        "template": ["templates", 1, "y", "x"],
        "shift": ["batch", 2],
        "flow": ["batch", 2, "y", "x"],
        "registered": picture,
        "uncertainty": ["batch", 1, "cells_y", "cells_x"],
    }
    tensors = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in floats.items()]
    constants = [numpy_helper.from_array(np.float32(v), n) for n, v in CONSTANTS.items()]
    constants += [numpy_helper.from_array(np.int64(v), n) for n, v in (("rows", 2), ("columns", 3))]
    constants.append(numpy_helper.from_array(np.int64([2, 3]), "last_axes"))
    graph = helper.make_graph(nodes(), "rigid", tensors[:3], tensors[3:], constants)
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])
    units = {"shift": "px", "flow": "px", "uncertainty": "px"}
    named = {
        n: Tensor(
            name=n,
            axes="bc" if n == "shift" else "bcyx",
            units=units.get(n, "intensity"),
            channels=("dy", "dx") if n in ("shift", "flow") else (),
        )
        for n in floats
    }
    card = Card(
        name="rigid",
        alias="a network for tests",
        task="registration",
        description="Moves frames by the shift that it is given.",
        inputs=tuple(named[n] for n in ("frame", "template", "shift")),
        outputs=tuple(named[n] for n in ("flow", "registered", "uncertainty")),
        normalisation=Normalisation(),
        divisor={"y": 16, "x": 16},
        halo={"y": 0, "x": 0},
        tile={"y": 64, "x": 64},
        postprocessing={"bad_uncertainty_px": 1.5},
        builder="tests.make_tiny_registration:main",
        parameters=0,
        recipe="python tests/make_tiny_registration.py",
    )
    helper.set_model_props(model, {"calzoo.card": card.to_json()})
    checker.check_model(model, full_check=True)
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / "rigid.onnx").write_bytes(model.SerializeToString(deterministic=True))


if __name__ == "__main__":
    main()
