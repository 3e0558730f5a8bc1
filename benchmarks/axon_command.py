"""What `calzoo axons` costs: from start to picture, seconds per megavoxel, overlap, memory.

    python benchmarks/axon_command.py [--model FILE.onnx | --preset axons] [--provider cpu] [--rounds 3]

start     a 64 x 64 x 64 stack, from the start of the process to the finished folder; aim: under 2 s
command   a 64 x 256 x 256 stack, in seconds per million voxels
overlap   the network alone with the card's overlap against none; aim: at most 2.5
memory    peak of the whole command with 512 planes against 64; aim: at most 1.1 (Linux)

Runs that are compared alternate (A B A B ...); medians count.
"""

import argparse
import dataclasses
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import tifffile

from calzoo.imaging.images import as_volume
from calzoo.imaging.normalisation import measure
from calzoo.inference.axon_network import AxonNetwork
from calzoo.inference.models import load_model
from calzoo.simulation.axons import simulate_axons

COMMAND = """
import sys
from pathlib import Path
from calzoo.cli import main
status = main(sys.argv[1:])
proc = Path("/proc/self/status")
print("peak", proc.read_text() if proc.exists() else "")
sys.exit(status)
"""


def write_stack(folder, planes, side):
    slab = simulate_axons(0, (32, side, side), style="confocal").volume
    path = folder / f"{planes}x{side}.tif"
    tifffile.imwrite(path, np.tile(slab, (-(-planes // len(slab)), 1, 1))[:planes])
    return path


def run(options, path, folder):
    """Return the seconds and the peak in kB (None where the system does not tell) of one command."""
    command = [sys.executable, "-c", COMMAND, "axons", path, "-o", folder / "out", "--overwrite", *options]
    began = time.perf_counter()
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    seconds = time.perf_counter() - began
    peak = re.search(r"VmHWM:\s*(\d+) kB", done.stdout)
    return seconds, peak and int(peak[1])


def overlap_cost(model, rounds):
    """Return the median seconds of the network with the card's overlap and with none."""
    volume = as_volume(simulate_axons(0, (64, 256, 256), style="confocal").volume)
    network = AxonNetwork(model)
    scaling = measure(lambda: iter([volume.read()]), network.card.normalisation)
    seconds = {network.card.overlap: [], 0.0: []}
    for _ in range(rounds):
        for overlap, times in seconds.items():
            network.card = dataclasses.replace(model.card, overlap=overlap)
            grid = network.plan(volume.shape, (1, 1, 1))
            began = time.perf_counter()
            for _slab in network.classes(volume, scaling, grid):
                pass
            times.append(time.perf_counter() - began)
    return [statistics.median(times) for times in seconds.values()]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path)
    parser.add_argument("--preset", default="axons")
    parser.add_argument("--provider", default="cpu")
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    options = ["--model", args.model] if args.model else ["--preset", args.preset]
    options += ["--provider", args.provider]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        small, large = write_stack(folder, 64, 64), write_stack(folder, 64, 256)
        starts = [run(options, small, folder)[0] for _ in range(args.rounds)]
        print(f"start     {statistics.median(starts):.2f} s")
        commands = [run(options, large, folder)[0] for _ in range(args.rounds)]
        print(f"command   {statistics.median(commands) / (64 * 256 * 256 / 1e6):.2f} s per million voxels")
        peaks = [run(options, write_stack(folder, planes, 128), folder)[1] for planes in (64, 512)]
        if all(peaks):
            print(f"memory    {peaks[1] / peaks[0]:.3f} ({peaks[0] / 1e3:.0f} and {peaks[1] / 1e3:.0f} MB)")
    model = load_model(args.model or args.preset, provider=args.provider)
    with_overlap, without = overlap_cost(model, args.rounds)
    print(f"overlap   {with_overlap / without:.2f} times the cost of none")


if __name__ == "__main__":
    main()
