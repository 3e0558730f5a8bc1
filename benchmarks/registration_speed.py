"""Frames per second and latency at 512 x 512: rigid search, normalisation, network and warp included.

    python benchmarks/registration_speed.py NETWORK [--threads 2] [--frames 300] [--dis]

The throughput is that of the pipeline on uint16 frames (three rounds, the best and the median); the
latency is that of `calzoo.Registrar`, one frame at a time. With --dis, OpenCV's DIS flow and warp take
turns with it on the same frames.
"""

import argparse
import os
import time

import numpy as np

from calzoo.inference.registration import Registrar
from calzoo.inference.registration_network import Aligner, RegistrationNetwork
from calzoo.simulation.two_photon import simulate_registration


def main():
    """Print frames per second and milliseconds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("network")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--dis", action="store_true")
    args = parser.parse_args()
    recording = simulate_registration(5, (24, 512, 512), style="cortex")
    few = recording.frames()
    template = few.mean(axis=0).astype(np.float32)
    frames = np.concatenate([few] * -(-args.frames // len(few)))[: args.frames]
    network = RegistrationNetwork.load(args.network, provider="cpu", threads=args.threads)
    align = Aligner(network, template)
    ours, theirs = [], []
    for _ in range(args.rounds):
        began = time.perf_counter()
        size = network.batch
        for piece, found in align.all(frames[i : i + size] for i in range(0, len(frames), size)):
            whole = np.rint(found.registered)
            np.clip(whole, 0, 65535, out=whole).astype(piece.dtype)
        ours.append(len(frames) / (time.perf_counter() - began))
        if args.dis:
            theirs.append(_dis(template, frames[:60], args.threads))
    print(f"calzoo {np.median(ours):.1f} frames/s (best {max(ours):.1f}), {args.threads} threads")
    if theirs:
        print(f"OpenCV DIS ultrafast {np.median(theirs):.1f} frames/s (best {max(theirs):.1f})")
    registrar = Registrar(template, model=args.network, provider="cpu", threads=args.threads)
    taken = []
    for frame in frames[:60]:
        began = time.perf_counter()
        registrar(frame)
        taken.append(1e3 * (time.perf_counter() - began))
    print(
        f"Registrar: median {np.median(taken[5:]):.1f} ms a frame, 95 % {np.percentile(taken[5:], 95):.1f} ms"
    )


def _dis(template, frames, threads):
    import cv2

    cv2.setNumThreads(threads)
    flow = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
    top = float(np.percentile(template, 99.5))
    still = cv2.GaussianBlur(cv2.convertScaleAbs(template, alpha=255 / top), (0, 0), 1.5)
    y, x = np.mgrid[: template.shape[0], : template.shape[1]].astype(np.float32)
    began = time.perf_counter()
    for frame in frames:
        moving = cv2.GaussianBlur(cv2.convertScaleAbs(frame, alpha=255 / top), (0, 0), 1.5)
        found = flow.calc(still, moving, None)
        cv2.remap(frame, x + found[..., 0], y + found[..., 1], cv2.INTER_LINEAR)
    return len(frames) / (time.perf_counter() - began)


if __name__ == "__main__":
    main()
