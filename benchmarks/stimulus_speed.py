"""What the map in the graph costs: the network with it against the network alone, 512 x 512, two threads.

    python benchmarks/stimulus_speed.py [--threads 2] [--rounds 15]

Both are files of the same untrained default network. Runs alternate (A B A B ...);
medians count; aim: at most 1.3. With tf-keras-vis installed, its Grad-CAM of the same
Keras network stands beside.
"""

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np

from calzoo.export import export_model
from calzoo.inference.models import load_model
from calzoo.training.recipes.stimulus import StimulusRecipe
from calzoo.weights.card import Card

#: Seconds before each run: threads of the run before wait actively for a while, which would slow this one.
PAUSE = 0.2


def files(folder, recipe, model):
    """Export both forms; return their paths by name."""
    import dataclasses

    card = Card(**recipe.card_fields(model))
    plain = dataclasses.replace(card, inputs=card.inputs[:1], outputs=card.outputs[:1])
    paths = {"network": folder / "plain.onnx", "with map": folder / "cam.onnx"}
    export_model(model, plain, paths["network"], timing=False)
    export_model(recipe.graph(model), card, paths["with map"], timing=False)
    return paths


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--batch", type=int, default=4)
    args = parser.parse_args(argv)
    recipe = StimulusRecipe()
    model = recipe.build()
    frames = np.random.default_rng(0).uniform(0.5, 1.5, (args.batch, 2, 512, 512)).astype(np.float32)
    target = np.zeros((args.batch, 25), np.float32)
    with tempfile.TemporaryDirectory() as folder:
        loaded = {
            name: load_model(path, provider="cpu", threads=args.threads)
            for name, path in files(Path(folder), recipe, model).items()
        }
    feeds = {"network": {"frame": frames}, "with map": {"frame": frames, "target": target}}
    jobs = {name: lambda name=name: loaded[name].run(feeds[name]) for name in loaded}
    visual = peer(model, frames)
    if visual:
        jobs["tf-keras-vis"] = visual
    seconds = {name: [] for name in jobs}
    for job in jobs.values():
        job()
    for _ in range(args.rounds):
        for name, job in jobs.items():
            time.sleep(PAUSE)
            began = time.perf_counter()
            job()
            seconds[name].append(time.perf_counter() - began)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    for name, value in medians.items():
        each = 1000 * value / args.batch
        print(f"{name:<14}{each:8.2f} ms a frame  {value / medians['network']:6.2f} x the network alone")


def peer(model, frames):
    """Return tf-keras-vis' Grad-CAM of the same frames, or None where it is not installed."""
    try:
        from tf_keras_vis.gradcam import Gradcam
        from tf_keras_vis.utils.scores import CategoricalScore
    except ImportError:
        return None
    pictures = np.moveaxis(frames, 1, -1)
    explainer, score = Gradcam(model, clone=False), CategoricalScore([0] * len(frames))
    return lambda: explainer(score, pictures, penultimate_layer="features", seek_penultimate_conv_layer=False)


if __name__ == "__main__":
    main()
