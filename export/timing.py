"""Seconds per tile of exported files, beside TensorFlow on the same tile.

TensorFlow takes its number of threads only before its first operation, so the
measurement runs in a process of its own: ``python -m calzoo.export.timing``.
"""

import importlib
import importlib.util
import json
import os
import pkgutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from calzoo.errors import CalzooError

THREADS = 2
ROUNDS = 7


def time_files(model, files, card, *, threads=THREADS, rounds=ROUNDS):
    """Time one tile in TensorFlow's ``predict`` and in each file, taking turns.

    Parameters
    ----------
    model : keras.Model
    files : dict of str to bytes
        .onnx files by name. The first is also run by OpenVINO, where it is installed.
    card : calzoo.weights.card.Card
        The tile to be timed, batch 1.
    threads, rounds : int, optional

    Returns
    -------
    dict
        ``tile``, ``threads``, ``rounds``, and the ``median`` and ``smallest`` seconds of
        ``"tensorflow"``, ``"NAME.onnx cpu"`` and, where OpenVINO runs the file,
        ``"NAME.onnx openvino"``. The smallest ``processor`` seconds, summed over threads,
        hold on a busy machine too; with more than one thread they count the waiting of
        threads for each other.

    Raises
    ------
    CalzooError
        If the process fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        build = {}
        try:
            model.save(folder / "model.keras")
        except NotImplementedError:  # layers that hold others; seconds do not depend on weights
            build = {"builder": card.builder, "config": dict(card.config)}
        for name, data in files.items():
            (folder / name).write_bytes(data)
        job = {
            "files": list(files),
            "threads": threads,
            "rounds": rounds,
            "shapes": _shapes(model, card),
        } | build
        # Keras finds our own layers only after their modules have been imported.
        job["modules"] = sorted({type(layer).__module__ for layer in model.layers})
        (folder / "job.json").write_text(json.dumps(job), encoding="utf-8")
        # No GPU: the comparison is of processors, whatever the machine has.
        environment = os.environ | {"CUDA_VISIBLE_DEVICES": "-1", "KERAS_BACKEND": "tensorflow"}
        command = [sys.executable, "-m", "calzoo.export.timing", str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        message = f"the exported network could not be timed: {done.stderr.strip()[-500:]}"
        raise CalzooError(message)
    return {"tile": dict(card.tile)} | json.loads(done.stdout.splitlines()[-1])


def main(folder):
    """Time what `time_files` has laid in a folder and print the result as JSON."""
    import keras
    import tensorflow as tf

    from calzoo.export.registration_planes import FEATURES, KNOWN
    from calzoo.inference.models import load_model

    folder = Path(folder)
    job = json.loads((folder / "job.json").read_text(encoding="utf-8"))
    tf.config.threading.set_intra_op_parallelism_threads(job["threads"])
    tf.config.threading.set_inter_op_parallelism_threads(job["threads"])
    for module in job["modules"]:
        importlib.import_module(module)
    if "builder" in job:
        network = pkgutil.resolve_name(job["builder"])(**job["config"])
    else:
        network = keras.models.load_model(folder / "model.keras", compile=False)
    rng = np.random.default_rng(0)
    feeds = {name: rng.normal(size=shape).astype(np.float32) for name, shape in job["shapes"].items()}
    last = [np.ascontiguousarray(np.moveaxis(feeds[s.name], 1, -1)) for s in network.inputs]
    runs = {"tensorflow": lambda: network.predict(last if len(last) > 1 else last[0], verbose=0)}
    for name in job["files"]:
        loaded = load_model(folder / name, provider="cpu", threads=job["threads"])
        # As in a pipeline, which computes the features of a template once.
        known = {KNOWN: loaded.run(feeds, [FEATURES])[FEATURES]} if KNOWN in loaded.optional else {}
        runs[f"{name} cpu"] = lambda loaded=loaded, given=feeds | known: loaded.run(given)
    if importlib.util.find_spec("openvino"):
        try:
            loaded = load_model(folder / job["files"][0], provider="openvino", threads=job["threads"])
            loaded.run(feeds)
        except CalzooError as error:  # it reads fewer graphs than ONNX Runtime
            print(error, file=sys.stderr)
        else:
            runs[f"{job['files'][0]} openvino"] = lambda loaded=loaded: loaded.run(feeds)
    taken = _in_turns(runs, job["rounds"])
    seconds = {"threads": job["threads"], "rounds": job["rounds"]}
    columns = {"median": (np.median, 0), "smallest": (np.min, 0), "processor": (np.min, 1)}
    for word, (statistic, column) in columns.items():
        times = {name: statistic(np.array(pairs)[:, column]) for name, pairs in taken.items()}
        seconds[word] = {name: round(float(value), 5) for name, value in times.items()}
    print(json.dumps(seconds))


def _in_turns(runs, rounds):
    """Return (seconds, processor seconds) of each round; runs take turns: a busy machine is busy for all."""
    taken = {name: [] for name in runs}
    for run in runs.values():
        run()  # warm: memory is taken, programs are compiled
    for _ in range(rounds):
        for name, run in runs.items():
            start, worked = time.perf_counter(), time.process_time()
            run()
            taken[name].append((time.perf_counter() - start, time.process_time() - worked))
    return taken


def _shapes(model, card):
    shapes = {}
    for tensor in card.inputs:
        symbol = next(s for s in model.inputs if s.name == tensor.name)
        sides = dict(card.tile) | {"b": 1, "c": symbol.shape[-1]}
        shapes[tensor.name] = [sides[axis] for axis in tensor.axes]
    return shapes


if __name__ == "__main__":
    main(sys.argv[1])
