"""Suite2p, pystackreg, pyflowreg and OpenCV on the movies of registration_movies.py and on a law.

They stand in an environment of their own:

    python -m venv ENV && ENV/bin/pip install suite2p pystackreg opencv-python-headless
    ENV/bin/pip install --pre pyflowreg
    ENV/bin/python benchmarks/registration_peers.py movies FOLDER MOVIE...
    ENV/bin/python benchmarks/registration_peers.py law LAW.py [--seeds 0-5] [--way suite2p ...]

"movies" writes FOLDER/NAME_WAY.npz (odd, even: the flow of each frame, dy and dx in pixels, float16), which
registration_movies.py scores with the interpolation that all ways get; "law" prints the end-point
error. Needs NumPy, SciPy, tifffile and the peers, not this project. Suite2p is GPL-3: it is run,
nothing of it is copied.
"""

import argparse
import importlib.util
import sys
import time
from pathlib import Path

import numpy as np

LARGEST = 8000  # of the template in the int16 that Suite2p takes


def suite2p(template, frames, *, nonrigid=True, block=128):
    """Return the flow (n, Y, X, 2) along which Suite2p looks frames up, and its mean registered frame."""
    import torch
    from suite2p.registration import register

    scale = LARGEST / np.percentile(template, 99.9)
    size = tuple(min(block, side // 2) for side in template.shape)  # it fails where one block fills a side
    moved = np.empty(frames.shape, np.int16)
    *_, found, blocks, _, _, _ = register.register_frames(
        np.clip(frames * scale, 0, 32000).astype(np.int16),
        (template * scale).astype(np.int16),
        f_align_out=moved,
        block_size=size,
        nonrigid=nonrigid,
        device=torch.device("cpu"),
    )
    flow = np.empty((*frames.shape, 2), np.float32)
    for axis in (0, 1):
        flow[..., axis] = np.asarray(found[axis])[:, None, None]
        if nonrigid:
            flow[..., axis] += _between_blocks(np.asarray(found[3 + axis]), blocks, frames.shape[1:])
    return flow, moved.mean(axis=0) / scale


def _between_blocks(shifts, blocks, shape):
    """Interpolate the shifts of blocks (n, blocks) linearly between their middles."""
    from scipy.ndimage import map_coordinates

    rows, columns = (np.asarray(edges).mean(axis=1) for edges in blocks[:2])
    rows, columns = np.unique(rows), np.unique(columns)
    at = [np.interp(np.arange(n), m, np.arange(len(m))) for n, m in zip(shape, (rows, columns), strict=True)]
    at = np.meshgrid(*at, indexing="ij")
    shifts = shifts.reshape(len(shifts), len(rows), len(columns))
    return np.stack([map_coordinates(one, at, order=1, mode="nearest") for one in shifts])


def suite2p_rigid(template, frames):
    """Return what `suite2p` does, with rigid shifts alone."""
    return suite2p(template, frames, nonrigid=False)


def pyflowreg(template, frames):
    """Return the flow of pyflowreg at its best quality, and the mean registered frame.

    Both pictures are smoothed (1 px), as its pipeline does, and scaled to the template's range.
    """
    from pyflowreg.core.optical_flow import get_displacement
    from scipy.ndimage import gaussian_filter

    low, high = np.percentile(template, [0.5, 99.5])

    def ready(picture):
        return ((gaussian_filter(picture, 1) - low) / (high - low)).astype(np.float64)[..., None]

    still = ready(template)
    flows = [get_displacement(still, ready(frame))[..., ::-1].astype(np.float32) for frame in frames]
    return np.stack(flows), _mean(frames, flows)


def pystackreg(template, frames, *, kind="RIGID_BODY"):
    """Return the flow of TurboReg with one matrix a frame, and the mean registered frame."""
    from pystackreg import StackReg

    search = StackReg(getattr(StackReg, kind))
    y, x = np.mgrid[: template.shape[0], : template.shape[1]].astype(np.float32)
    places = np.stack([x, y, np.ones_like(x)], axis=-1)
    flows = [(places @ search.register(template, frame)[:2].T)[..., ::-1] for frame in frames]
    flows = np.stack(flows).astype(np.float32) - np.stack([y, x], axis=-1)
    return flows, _mean(frames, flows)


def pystackreg_affine(template, frames):
    """Return what `pystackreg` does, with affine motion: the most that it can do."""
    return pystackreg(template, frames, kind="AFFINE")


def dis(template, frames):
    """Return the flow of OpenCV's DIS, ultrafast, after a Gaussian, and the mean registered frame."""
    import cv2
    from scipy.ndimage import gaussian_filter

    search = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
    top = np.percentile(gaussian_filter(template, 1.5), 99.5)

    def ready(picture):
        return (255 * np.clip(gaussian_filter(picture, 1.5) / top, 0, 1)).astype(np.uint8)

    flows = np.stack([search.calc(ready(template), ready(frame), None)[..., ::-1] for frame in frames])
    return flows, _mean(frames, flows)


def _mean(frames, flows):
    """Return the mean of frames looked up along their flows, bilinearly."""
    from scipy.ndimage import map_coordinates

    places = np.mgrid[: frames.shape[1], : frames.shape[2]] + np.moveaxis(flows, -1, 1)
    moved = [map_coordinates(f, p, order=1, mode="nearest") for f, p in zip(frames, places, strict=True)]
    return np.mean(moved, axis=0)


WAYS = {
    "suite2p": suite2p,
    "suite2p-rigid": suite2p_rigid,
    "pystackreg": pystackreg,
    "pystackreg-affine": pystackreg_affine,
    "pyflowreg": pyflowreg,
    "dis": dis,
}


def main():
    """Run the peers."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("movies", "law"))
    parser.add_argument("place", type=Path)
    parser.add_argument("movies", nargs="*", type=Path)
    parser.add_argument("--seeds", default="0-5")
    parser.add_argument("--way", action="append", choices=list(WAYS))
    args = parser.parse_args()
    ways = {name: WAYS[name] for name in args.way or WAYS}
    if args.what == "movies":
        _movies(args.place, args.movies, ways)
    else:
        _law(args.place, range(*(int(n) + i for i, n in enumerate(args.seeds.split("-")))), ways)


def _movies(folder, paths, ways):
    import tifffile

    folder.mkdir(exist_ok=True)
    for path in paths:
        frames = tifffile.imread(path).astype(np.float32)
        frames = frames**2 if "_sqrt8" in path.name else frames
        for name, register in ways.items():
            template = frames[1::2].mean(axis=0)
            for _ in range(3):
                odd, template = register(template, frames[1::2])
            even, _ = register(template, frames[0::2])
            flows = {"odd": odd.astype(np.float16), "even": even.astype(np.float16)}
            np.savez(folder / f"{path.stem}_{name}.npz", **flows)
            print(path, name, flush=True)


def _law(path, seeds, ways):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    law = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = law
    spec.loader.exec_module(law)
    for variant in law.VARIANTS:
        for photons in law.PHOTONS:
            errors = {name: [] for name in ways}
            for seed in seeds:
                pair = law.make_pair(seed, photons, variant)
                for name, register in ways.items():
                    began = time.perf_counter()
                    flow, _ = register(pair.template, pair.frame[None])
                    taken = time.perf_counter() - began
                    found = law.epe(flow[0], pair.flow)
                    errors[name].append((found["interior"], found["border"], taken))
            for name, values in errors.items():
                inner, border, taken = np.mean(values, axis=0)
                numbers = f"interior {inner:.3f}  border {border:.3f}  {1e3 * taken:.0f} ms"
                print(
                    f"{variant:<8}{photons:>5g} photons  {name:<18}{numbers}  ({len(values)} pairs)",
                    flush=True,
                )


if __name__ == "__main__":
    main()
