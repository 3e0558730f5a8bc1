"""Suite2p on the movies of registration_movies.py and on a law, in an environment of its own.

    python -m venv ENV && ENV/bin/pip install suite2p
    ENV/bin/python benchmarks/registration_peers.py movies FOLDER MOVIE...
    ENV/bin/python benchmarks/registration_peers.py law LAW.py [--seeds 0-5]

"movies" writes FOLDER/NAME_suite2p.npz (template, registered); "law" prints the end-point error of
rigid and non-rigid registration. Needs NumPy, SciPy, tifffile and Suite2p, not this project. Suite2p is
GPL-3: it is run, nothing of it is copied.
"""

import argparse
import importlib.util
import sys
from pathlib import Path

import numpy as np


def suite2p_register(template, frames, *, nonrigid=True, block=128):
    """Return frames registered by Suite2p, and the flow (n, Y, X, 2) that they were looked up along."""
    import torch
    from scipy.interpolate import RectBivariateSpline
    from suite2p.registration import register

    device = torch.device("cpu")
    settings = dict(register.default_settings()) if hasattr(register, "default_settings") else {}
    settings |= {"nonrigid": nonrigid, "block_size": (block, block)}
    masks = register.compute_filters_and_norm(
        template,
        norm_frames=True,
        spatial_smooth=1.15,
        spatial_taper=3.45,
        block_size=(block, block),
        device=device,
    )
    moved, *found = register.register_frames(masks, frames.astype(np.int16), device=device)
    shift_y, shift_x = np.asarray(found[0]), np.asarray(found[1])
    flow = np.empty((*frames.shape, 2), np.float32)
    flow[..., 0], flow[..., 1] = shift_y[:, None, None], shift_x[:, None, None]
    if nonrigid:
        blocks_y, blocks_x = np.asarray(found[3]), np.asarray(found[4])
        count = int(np.sqrt(blocks_y.shape[1]))
        for axis, values in enumerate((blocks_y, blocks_x)):
            for index, value in enumerate(values.reshape(len(frames), count, -1)):
                sides = zip(frames.shape[1:], value.shape, strict=True)
                at = [np.linspace(block / 2, side - block / 2, n) for side, n in sides]
                order = min(1, value.shape[0] - 1), min(1, value.shape[1] - 1)
                spline = RectBivariateSpline(*at, value, kx=max(order[0], 1), ky=max(order[1], 1))
                flow[index, ..., axis] += spline(np.arange(frames.shape[1]), np.arange(frames.shape[2]))
    return np.asarray(moved, np.float32), flow


def main():
    """Run Suite2p."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("movies", "law"))
    parser.add_argument("place", type=Path)
    parser.add_argument("movies", nargs="*", type=Path)
    parser.add_argument("--seeds", default="0-5")
    args = parser.parse_args()
    if args.what == "movies":
        _movies(args.place, args.movies)
    else:
        _law(args.place, *map(int, args.seeds.split("-")))


def _movies(folder, paths):
    import tifffile

    folder.mkdir(exist_ok=True)
    for path in paths:
        frames = tifffile.imread(path).astype(np.float32)
        frames = frames**2 if "_sqrt8" in path.name else frames
        odd, even = frames[1::2], frames[0::2]
        template = odd.mean(axis=0)
        for _ in range(3):
            template = suite2p_register(template, odd)[0].mean(axis=0)
        registered = suite2p_register(template, even)[0]
        np.savez(folder / f"{path.stem}_suite2p.npz", template=template, registered=registered)
        print(path, flush=True)


def _law(path, first, last):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    law = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = law
    spec.loader.exec_module(law)
    for variant in law.VARIANTS:
        for photons in law.PHOTONS:
            for name, nonrigid in (("rigid", False), ("non-rigid", True)):
                errors = []
                for seed in range(first, last + 1):
                    pair = law.make_pair(seed, photons, variant)
                    _, flow = suite2p_register(50 * pair.template, 50 * pair.frame[None], nonrigid=nonrigid)
                    errors.append(law.epe(flow[0], pair.flow)["interior"])
                print(
                    f"{variant:<8}{photons:>5g} photons  Suite2p {name:<10}{np.mean(errors):.2f} px",
                    flush=True,
                )


if __name__ == "__main__":
    main()
