"""One Keras network to one .onnx file that explains itself."""

import collections
import dataclasses
import hashlib
import importlib
import json
import os
import platform
from pathlib import Path

import onnx
from onnx import helper

from calzoo.errors import CalzooError
from calzoo.export import WORTH_A_FILE, registration_planes
from calzoo.export.halves import store_halves
from calzoo.export.passes import simplify
from calzoo.export.planes import to_planes
from calzoo.export.timing import time_files
from calzoo.export.tracing import IR_VERSION, OPSET, channels_first, trace
from calzoo.export.verification import check_file, check_weights, differences
from calzoo.weights.card import CARD_KEY

_PACKAGES = ("calzoo", "keras", "tensorflow", "tf2onnx", "onnx", "onnxruntime", "numpy")


def export_model(model, card, path, *, timing=True, speed_up=WORTH_A_FILE):
    """Write a network as an .onnx file with its card, after it has been verified.

    The graph is traced with free sides and batch, simplified, turned to channels
    first, checked, and compared with Keras on two sizes. Beside ``NAME.onnx`` stands
    a report, ``NAME.json``. A 3-D network, and that for registration, gets a second file,
    ``NAME-cpu.onnx``, with the same card, inputs and outputs, if 2-D convolutions, or operators
    chosen by hand, make it enough faster in ONNX Runtime on this machine's processor. On failure
    nothing is written.

    Parameters
    ----------
    model : keras.Model
        Functional, channels last; names of inputs and outputs are the card's.
    card : calzoo.weights.card.Card
        Its axes may have the channels anywhere; the file's card has them first.
    path : path-like
        Ends in ``.onnx``.
    timing : bool, optional
        Whether to time the files against TensorFlow, in a process of its own; without
        it there is no second file.
    speed_up : float, optional
        How many times faster the second file must be to be kept. Processors differ: what is
        1.6 times faster on one may be 1.2 times faster on another.

    Returns
    -------
    dict
        The report: bytes, operators, differences, seconds per tile, by file.

    Raises
    ------
    CalzooError
        If a name is that of a folder, the network cannot be traced, is not valid, differs from Keras by more
        than the tolerance, has weights that are not finite, or is not the card's.
    """
    path = Path(path)
    twin, report_name = f"{path.stem}-cpu.onnx", f"{path.stem}.json"
    _check_targets(path.parent, (path.name, twin, report_name))
    check_weights(model)
    inputs, outputs = (tuple(map(_channels_last, tensors)) for tensors in (card.inputs, card.outputs))
    graph = trace(model, inputs, outputs)
    simplify(graph)
    card = _file_card(card)
    planes = _for_processors(model, graph, card) if timing else None
    files = {path.name: _finish(graph, card)}
    if planes is not None:
        files[twin] = _finish(planes, card)
    report = {"name": card.name, "parameters": model.count_params(), "opset": OPSET, "ir_version": IR_VERSION}
    report["files"] = {name: _facts(model, data, card) for name, data in files.items()}
    if timing:
        report["timing"] = time_files(model, files, card)
        if planes is not None and _speed_up(report["timing"], path.name, twin) < speed_up:
            del files[twin]
    report["written"] = list(files)
    # An earlier second file goes first: a stop in between must not leave it beside another network's.
    _write(path.parent, files | {report_name: json.dumps(report, indent=1).encode()}, stale=[twin])
    return report


def _check_targets(folder, names):
    """Refuse names that are folders, before the long work begins."""
    for name in names:
        if (folder / name).is_dir():
            message = f"{folder / name}: expected the name of a file to write, got a folder; give another -o."
            raise CalzooError(message)


def _for_processors(model, graph, card):
    """Return the graph in a form that processors run faster, or None."""
    if card.builder == registration_planes.BUILDER:
        return registration_planes.registration_planes(model, **card.config)
    return to_planes(graph, card.divisor.get("z", 1))


def _channels_last(tensor):
    axes = tensor.axes.replace("c", "") + "c" if "c" in tensor.axes else tensor.axes
    return dataclasses.replace(tensor, axes=axes)


def _file_card(card):
    """Return the card as it stands in the file: channels first, with the versions that wrote it."""
    turned = [
        tuple(dataclasses.replace(t, axes=channels_first(t.axes)) for t in tensors)
        for tensors in (card.inputs, card.outputs)
    ]
    return dataclasses.replace(
        card, inputs=turned[0], outputs=turned[1], versions={**card.versions, **_versions()}
    )


def _versions():
    # Not by the names of distributions: TensorFlow has several.
    found = {name: importlib.import_module(name).__version__ for name in _PACKAGES}
    return {"python": platform.python_version(), "opset": str(OPSET), **found}


def _finish(graph, card):
    """Return the bytes of a file."""
    store_halves(graph)
    model = graph.model()
    helper.set_model_props(model, {CARD_KEY: card.to_json()})
    data = model.SerializeToString()
    check_file(data)
    return data


def _facts(model, data, card):
    nodes = onnx.load_from_string(data).graph.node
    return {
        "bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
        "operators": dict(collections.Counter(node.op_type for node in nodes).most_common()),
        "parity": differences(model, data, card),
    }


def _speed_up(timing, plain, other):
    seconds = timing["smallest"]  # whatever else a machine does only adds to it
    return seconds[f"{plain} cpu"] / seconds[f"{other} cpu"]


def _write(folder, files, stale):
    """Write all files or none: each gets its name only when all are complete."""
    folder.mkdir(parents=True, exist_ok=True)
    parts = {name: folder / f"{name}.part" for name in files}
    try:
        for name, data in files.items():
            parts[name].write_bytes(data)
        for name in stale:
            (folder / name).unlink(missing_ok=True)
        for name, part in parts.items():
            os.replace(part, folder / name)
    finally:
        for part in parts.values():
            part.unlink(missing_ok=True)
