"""Run the networks of this package without calzoo: Python, NumPy and onnxruntime are enough.

``python run.py`` runs each NAME.onnx beside this file on the inputs of its NAME.npz, and tells how far its
outputs are from those that stand there. ``load`` and ``run`` are a beginning for a program of your own: how
intensities are scaled, sides padded and answers read stands in the card, NAME.json.
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime

TOLERANCE = 1e-3  # processors add up in different orders


def load(path):
    """Return a network as a session of onnxruntime, and its card, the JSON in the file, as a dict."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return session, json.loads(session.get_modelmeta().custom_metadata_map["calzoo.card"])


def run(session, card, inputs):
    """Run a network on arrays of float32 by the names of its inputs; return its outputs by name."""
    names = [tensor["name"] for tensor in card["outputs"]]
    return dict(zip(names, session.run(names, inputs), strict=True))


def main():
    """Compare each network with its golden outputs; return 1 if one differs."""
    failed = False
    for path in sorted(Path(__file__).resolve().parent.glob("*.onnx")):
        session, card = load(path)
        golden = dict(np.load(path.with_name(path.stem.removesuffix("-cpu") + ".npz")))
        outputs = run(session, card, {tensor["name"]: golden[tensor["name"]] for tensor in card["inputs"]})
        largest = max(float(np.abs(output - golden[name]).max()) for name, output in outputs.items())
        good = largest <= TOLERANCE  # NaN is not
        failed |= not good
        shapes = ", ".join(f"{name} {output.shape}" for name, output in outputs.items())
        print(f"{path.name}: {shapes}; {'as' if good else 'NOT as'} the golden output, within {largest:.1e}")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
