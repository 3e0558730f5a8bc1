"""Seconds per tile of a released network: TensorFlow, ONNX Runtime with each file, OpenVINO.

    python benchmarks/export_speed.py [--preset axons] [--role model] [--tile 32,128,128] [--threads 2]

Batch 1, one process, runs take turns (A B C D A B C D ...), medians count. `processor`
is the time that all threads spent: with --threads 1 it compares on a busy machine too.
Bar: ONNX Runtime at most 1.0 of TensorFlow, OpenVINO at most 0.85.
"""

import argparse
import dataclasses
import os
import pkgutil
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from calzoo.export.timing import time_files
from calzoo.inference.models import load_model
from calzoo.training.variables import load_weights
from calzoo.weights import registry


def files_of(preset, role):
    """Return the bytes of the plain file and, if there is one, of that for processors."""
    kinds = registry.preset(preset).network(role).files
    names = {"onnx": "plain.onnx", "onnx_cpu": "planes.onnx"}
    return {
        name: Path(registry.resolve(preset, role, kind=kind)).read_bytes()
        for kind, name in names.items()
        if kind in kinds
    }


def network_of(preset, role):
    """Return the Keras network with its released weights."""
    entry = registry.preset(preset).network(role)
    model = pkgutil.resolve_name(entry.builder)(**entry.config)
    load_weights(model, registry.resolve(preset, role, kind="safetensors"))
    return model


def main():
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--preset", default="axons")
    parser.add_argument("--role", default="model")
    parser.add_argument("--tile", help="sides in the order of the card's axes (default: the card's tile)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)
    args = parser.parse_args()
    card = load_model(args.preset, role=args.role, provider="cpu").card
    if args.tile:
        axes = [axis for axis in card.inputs[0].axes if axis in card.tile]
        sides = [int(side) for side in args.tile.split(",")]
        card = dataclasses.replace(card, tile=dict(zip(axes, sides, strict=True)))
    files = files_of(args.preset, args.role)
    model = network_of(args.preset, args.role)
    seconds = time_files(model, files, card, threads=args.threads, rounds=args.rounds)
    tile = ", ".join(f"{axis} {side}" for axis, side in seconds["tile"].items())
    print(f"{args.preset}: tile {tile}, {args.threads} threads, {args.rounds} rounds")
    print(f"{'':24}{'median s':>10}{'ratio':>7}{'processor s':>13}{'ratio':>7}{'MB':>7}")
    names = ["tensorflow", *(name for name in seconds["median"] if name != "tensorflow")]
    for name in names:
        line = f"{name:24}"
        for word, width in (("median", 10), ("processor", 13)):
            value = seconds[word][name]
            line += f"{value:{width}.3f}{value / seconds[word]['tensorflow']:7.2f}"
        size = files.get(name.split()[0])
        print(line + (f"{len(size) / 2**20:7.1f}" if size else ""))


if __name__ == "__main__":
    main()
