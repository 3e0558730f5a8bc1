"""End-point error on a law of registration, beside classical ways, with the pipeline that users run.

    python benchmarks/registration_law.py NETWORK LAW.py [--seeds 0-23] [--method calzoo ...]

NETWORK is a preset or an .onnx file. Methods beside "calzoo": "rigid" (this project's search), "fit" (that of
--rigid), and, where installed, "dis" (OpenCV, ultrafast), "pystackreg", "pyflowreg". Suite2p stands in
registration_peers.py, as it registers movies only. With --still, pictures of scenes that have not moved are
registered instead: without noise, and with noise of their own; the mean length of the flow is printed. With
--shifted, frames moved as a whole by up to 6 px along each axis, parts of a pixel too.
"""

import argparse
import time

import numpy as np
from scipy import ndimage

from calzoo.commands._registration import onnx_registrar
from calzoo.imaging.rigid import RigidFit
from calzoo.inference.models import load_model
from calzoo.metrics.flow import end_point_error, seen_in_frame
from calzoo.training.laws import load_law
from calzoo.training.registration_evaluate import rigid_registrar


def dis(template, frame):
    """Register by OpenCV's DIS flow, ultrafast, after a Gaussian."""
    import cv2
    from scipy.ndimage import gaussian_filter

    pictures = [gaussian_filter(p, 1.5) for p in (template, frame)]
    top = np.percentile(pictures[0], 99.5)
    pictures = [(255 * np.clip(p / top, 0, 1)).astype(np.uint8) for p in pictures]
    flow = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
    return flow.calc(*pictures, None)[..., ::-1]


def pystackreg(template, frame):
    """Register by translation with TurboReg."""
    from pystackreg import StackReg

    matrix = StackReg(StackReg.TRANSLATION).register(template, frame)
    return np.broadcast_to(matrix[[1, 0], 2], (*template.shape, 2)).astype(np.float32)


def pyflowreg(template, frame):
    """Register by variational flow, its best quality."""
    from pyflowreg.core.optical_flow import get_displacement

    top = np.percentile(template, 99.5)
    pictures = [np.clip(p / top, 0, None).astype(np.float64)[..., None] for p in (template, frame)]
    return get_displacement(*pictures)[..., ::-1]


def fit(template, frame):
    """Register by a shift that is exact to parts of a pixel."""
    shift, _, _ = RigidFit(template)(frame[None])
    return np.broadcast_to(shift[0], (*template.shape, 2))


METHODS = {"rigid": rigid_registrar, "fit": fit, "dis": dis, "pystackreg": pystackreg, "pyflowreg": pyflowreg}


def main():
    """Print a line per variant, level of light and method."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("network")
    parser.add_argument("law")
    parser.add_argument("--seeds", default="0-23")
    parser.add_argument("--method", action="append", choices=["calzoo", *METHODS])
    parser.add_argument("--threads", type=int)
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--still", action="store_true")
    what.add_argument("--shifted", action="store_true")
    args = parser.parse_args()
    first, last = map(int, args.seeds.split("-"))
    law = load_law(args.law, "make_pair(seed, photons, variant)")
    names = args.method or ["calzoo", "rigid"]
    model = load_model(args.network, provider="cpu", threads=args.threads) if "calzoo" in names else None
    methods = {n: METHODS.get(n) or onnx_registrar(model) for n in names}
    if args.still:
        _still(law, methods, range(first, last + 1))
        return
    if args.shifted:
        _shifted(law, methods, range(first, last + 1))
        return
    for variant in law.VARIANTS:
        for photons in law.PHOTONS:
            rows = {name: [] for name in methods}
            for seed in range(first, last + 1):
                pair = law.make_pair(seed, photons, variant)
                known = seen_in_frame(pair.flow)
                for name, register in methods.items():
                    began = time.perf_counter()
                    flow = register(pair.template, pair.frame)
                    seconds = time.perf_counter() - began
                    error = end_point_error(flow, pair.flow, known=known)
                    rows[name].append((error.interior, error.border, seconds))
            for name, values in rows.items():
                inner, outer, seconds = np.array(values).T
                print(
                    f"{variant:<8}{photons:>5g} photons  {name:<12}interior {inner.mean():.3f} "
                    f"[{inner.min():.3f}, {inner.max():.3f}]  border {outer.mean():.3f}  "
                    f"{1e3 * np.median(seconds):.0f} ms",
                    flush=True,
                )


def _still(law, methods, seeds):
    for photons in law.PHOTONS:
        rows = {name: [] for name in methods}
        for seed in seeds:
            pair = law.make_pair(seed, photons)
            noisy = np.random.default_rng([seed, 1]).poisson(pair.scene).astype(np.float32)
            for name, register in methods.items():
                flows = register(pair.scene, pair.scene), register(pair.template, noisy)
                rows[name].append([np.linalg.norm(flow, axis=-1).mean() for flow in flows])
        for name, values in rows.items():
            equal, noisy = np.mean(values, axis=0)
            print(f"still   {photons:>5g} photons  {name:<12}equal {equal:.5f}  own noise {noisy:.3f} px")


def _shifted(law, methods, seeds):
    for photons in law.PHOTONS:
        rows = {name: [] for name in methods}
        for seed in seeds:
            rng = np.random.default_rng([seed, 2])
            scene, shift = law.make_pair(seed, photons).scene, rng.uniform(-6, 6, 2)
            moved = ndimage.shift(scene, shift, order=3, mode="mirror")
            template, frame = (np.clip(p[8:-8, 8:-8], 0, None) for p in (scene, moved))
            template, frame = rng.poisson(50 * template) / np.float32(50), rng.poisson(frame)
            for name, register in methods.items():
                began = time.perf_counter()
                flow = register(template.astype(np.float32), frame.astype(np.float32))
                seconds = time.perf_counter() - began
                rows[name].append([np.linalg.norm(flow.mean(axis=(0, 1)) - shift), seconds])
        for name, values in rows.items():
            errors, seconds = np.array(values).T
            print(
                f"shifted {photons:>5g} photons  {name:<12}error of the mean flow {errors.mean():.3f} "
                f"[{errors.min():.3f}, {errors.max():.3f}] px  {1e3 * np.median(seconds):.0f} ms",
                flush=True,
            )


if __name__ == "__main__":
    main()
