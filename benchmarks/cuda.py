"""Each released network on a graphics card beside the processor: the same answers, and how much sooner.

    python benchmarks/cuda.py [--provider cuda] [--preset axons] [--threads 16] [--rounds 9]

One tile of the card's size, batch 1, runs take turns (A B A B ...), medians count. `difference` is the
largest one of any output, over the largest absolute value of that output; where there is a file for
processors, the processor takes it. Ends with 1 if a difference is above 0.02 (TF32 convolutions have three
digits) or a network does not run. `--provider openvino` or `tensorrt` compares these.
"""

import argparse
import sys
import time

import numpy as np

from calzoo.errors import CalzooError
from calzoo.inference.models import PROVIDERS, load_model
from calzoo.weights import registry

_WORST = 0.02
_SIDE = 256  # of axes that the card names no tile for


def feeds_of(card, rng):
    """Return random inputs of a card, a tile each, batch 1."""

    def length(tensor, axis):
        if axis == "b":
            return 1
        if axis == "c":
            return max(len(tensor.channels), 1)
        return card.tile.get(axis, _SIDE)

    shapes = {tensor.name: [length(tensor, axis) for axis in tensor.axes] for tensor in card.inputs}
    return {name: rng.random(shape, dtype=np.float32) for name, shape in shapes.items()}


def compare(name, role, args):
    """Return the medians in seconds, processor first, and the largest relative difference."""
    cpu, device = (
        load_model(name, role=role, provider=provider, threads=args.threads)
        for provider in ("cpu", args.provider)
    )
    feeds = feeds_of(cpu.card, np.random.default_rng(0))
    one, other = cpu.run(feeds), device.run(feeds)  # the first run also sets up
    difference = max(float(np.abs(one[o] - other[o]).max() / np.abs(one[o]).max()) for o in one)
    seconds = ([], [])
    for _ in range(args.rounds):
        for model, taken in zip((cpu, device), seconds, strict=True):
            began = time.perf_counter()
            model.run(feeds)
            taken.append(time.perf_counter() - began)
    return *map(np.median, seconds), difference


def main():
    """Print a table; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "--provider", choices=[p for p in PROVIDERS if p not in ("auto", "cpu")], default="cuda"
    )
    parser.add_argument("--preset", action="append", default=[], help="may be repeated (default: all here)")
    parser.add_argument("--threads", type=int, help="of the processor (default: all cores)")
    parser.add_argument("--rounds", type=int, default=9)
    args = parser.parse_args()
    worst, failed = 0.0, False
    print(f"{'':34}{'cpu s':>9}{args.provider + ' s':>12}{'ratio':>7}{'difference':>12}")
    for preset in map(registry.preset, args.preset or registry.presets()):
        for role in preset.networks:
            label = preset.name if role == "model" else f"{preset.name} {role}"
            try:
                cpu, device, difference = compare(preset.name, role, args)
            except CalzooError as error:  # such as no card, or a preset of which this checkout holds no file
                print(f"{label}: {error}", file=sys.stderr)
                failed = True
                continue
            worst = max(worst, difference)
            print(f"{label:34}{cpu:9.4f}{device:12.4f}{device / cpu:7.2f}{difference:12.1e}")
    return int(failed or worst > _WORST)


if __name__ == "__main__":
    sys.exit(main())
