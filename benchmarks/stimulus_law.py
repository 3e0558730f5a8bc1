"""Train on trials 1-8 of a recording by the stimulation law, score on trials 9-10, beside ROIs and chance.

    python benchmarks/stimulus_law.py --law ../shared/laws/stimulus_law.py --seeds 0 1 2 -o RUNS
    python benchmarks/stimulus_law.py --law ... --seeds 0 --recipe stimulus-temporal -o RUNS
    python benchmarks/stimulus_law.py --law ... --seeds 0 --snr 1 2 4 8 -o RUNS         the curve over noise
    python benchmarks/stimulus_law.py --law ... --seeds 0 --recipe stimulus-seed --size 256 -o RUNS
    python benchmarks/stimulus_law.py --law ... --seeds 0 --cams -o RUNS                 where the maps point

A run that is there already is only scored; one that was stopped goes on. The baseline
is what the law's own table has: logistic regression on the mean of each *true* cell.
"""

import argparse
import importlib.util
import json
import os
import sys
import tempfile
from pathlib import Path

import numpy as np

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from scipy import ndimage

from calzoo.metrics.decoding import decoding_scores
from calzoo.training.stimulus_evaluate import logistic_regression, roi_means

HELD = 8  # trials above this one are for testing
SHOWN = ("exact", "exact_single", "exact_pair", "exact_none", "rule_single", "rule_pair", "macro_f1")


def load_law(path):
    spec = importlib.util.spec_from_file_location("stimulus_law", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["stimulus_law"] = module
    spec.loader.exec_module(module)
    return module


def recording_folder(law, seed, settings, folder):
    """Write frames.npy and labels.csv as a laboratory would have them; return the recording."""
    recording = law.make_recording(seed, **settings)
    np.save(folder / "frames.npy", recording.frames)
    names = ("condition", "cell1", "cell2", "group", "trial", "offset")
    np.savetxt(
        folder / "labels.csv",
        np.array([recording.table[n] for n in names]).T,
        "%d",
        delimiter=",",
        header=",".join(names),
        comments="",
    )
    return recording


def logistic_rois(recording, together=1):
    """Return the logits of one logistic regression per cell, on the mean of each true cell."""
    table = recording.table[::together]
    numbers = np.arange(0, len(recording.table), together)
    features = roi_means(recording.frames, numbers, recording.masks[:24], together)
    return logistic_regression(features, law_targets(table), table["trial"] <= HELD)


def law_targets(table):
    """Return (N, 25) bool."""
    hot = np.zeros((len(table), 26), bool)
    for name in ("cell1", "cell2"):
        hot[np.arange(len(table)), table[name]] = True
    return np.column_stack([hot[:, 1:25], table["cell1"] == 0])


def trained(recipe_name, folder, run, settings, threads):
    """Train, or go on, or find it done; return the model, the recipe and the data."""
    from calzoo.training import backend, recipes
    from calzoo.training.runs import build_model, load_run
    from calzoo.training.trainer import train

    if (run / "recipe.json").exists():
        recipe = recipes.from_json((run / "recipe.json").read_text(encoding="utf-8"))
    else:
        recipe = recipes.changed(recipes.recipe(recipe_name).fitted([folder]), settings)
    if threads:
        backend.limit_threads(threads)
    progress = train(recipe, run, folders=[folder], threads=threads)
    if progress.step < recipe.schedule.epochs * recipe.schedule.steps:
        print(f"{run}: stopped at step {progress.step}; the same command goes on", file=sys.stderr)
        raise SystemExit(1)
    return build_model(load_run(run)), recipe, recipe.data([folder])


def cam_scores(model, recipe, data, recording, count=200):
    """Return how well maps point at cells that truly respond, beside chance and occlusion.

    energy: share of the map within the responding cells; pointing: the map's peak is in one of
    them. Chance: their share of the frame. Means over frames, with a 95 % interval by bootstrap.
    """
    import keras

    from calzoo.networks.gradcam import METHODS, with_cam

    rng = np.random.default_rng(0)
    numbers = np.array([data.prepared[i].numbers[r] for i, r in data.test])
    some = recording.responding[numbers].any(axis=1)
    rows = [
        data.test[k] for k in rng.choice(np.flatnonzero(some), min(count, int(some.sum())), replace=False)
    ]
    frames, targets = data.samples(rows)
    numbers = np.array([data.prepared[i].numbers[r] for i, r in rows])
    inside = np.array([recording.masks[recording.responding[n]].any(axis=0) for n in numbers])
    maps = {}
    for method in METHODS:
        both = with_cam(model, method)
        parts = [
            both([frames[i : i + 50], np.zeros_like(targets[i : i + 50])])[1] for i in range(0, len(rows), 50)
        ]
        maps[method] = np.concatenate([keras.ops.convert_to_numpy(p) for p in parts])
    maps["occlusion"] = np.array([_occluded(model, x) for x in frames[: count // 4]])
    found = {"chance": _interval(inside.mean(axis=(1, 2)), rng)}
    for name, cams in maps.items():
        truth = inside[: len(cams)]
        total = np.maximum(cams.sum(axis=(1, 2)), 1e-9)
        peak = cams.reshape(len(cams), -1).argmax(axis=1)
        found[f"{name}: energy"] = _interval((cams * truth).sum(axis=(1, 2)) / total, rng)
        found[f"{name}: pointing"] = _interval(truth.reshape(len(cams), -1)[np.arange(len(cams)), peak], rng)
        found[f"{name}: empty maps"] = float((cams.max(axis=(1, 2)) <= 0).mean())
    return found


def _occluded(model, frame, patch=12, step=6):
    """Return the loss of the largest logit where a patch shows the field at rest instead."""
    side = frame.shape[0]
    starts = range(0, side - patch + 1, step)
    covered = np.repeat(frame[None], len(starts) ** 2, axis=0)
    for n, (y, x) in enumerate((y, x) for y in starts for x in starts):
        covered[n, y : y + patch, x : x + patch, :-1] = frame[y : y + patch, x : x + patch, -1:]
    logits = np.asarray(model.predict_on_batch(np.concatenate([frame[None], covered])))
    lost = logits[0].max() - logits[1:, logits[0].argmax()]
    return np.maximum(ndimage.zoom(lost.reshape(len(starts), -1), side / len(starts), order=1), 0)[
        :side, :side
    ]


def _interval(values, rng):
    values = np.asarray(values, float)
    means = rng.choice(values, (1000, len(values))).mean(axis=1)
    return [float(values.mean()), *(float(x) for x in np.percentile(means, (2.5, 97.5)))]


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--law", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--snr", type=float, nargs="+", default=[4.0])
    parser.add_argument("--size", type=int, default=128, help="pixels")
    parser.add_argument("--recipe", default="stimulus")
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=JSON")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--cams", action="store_true", help="also where the maps point")
    parser.add_argument(
        "-o", "--output", type=Path, required=True, help="folder of the runs and of the scores"
    )
    args = parser.parse_args(argv)
    law, results = load_law(args.law), []
    settings = {name: json.loads(value) for name, _, value in (text.partition("=") for text in args.set)}
    for snr in args.snr:
        for seed in args.seeds:
            with tempfile.TemporaryDirectory() as temporary:
                # The run remembers this folder's name, and goes on only with data of that name.
                folder = Path(temporary) / f"seed{seed}"
                folder.mkdir()
                recording = recording_folder(law, seed, {"snr": snr, "size": args.size}, folder)
                run = args.output / f"{args.recipe}-seed{seed}-snr{snr:g}-{args.size}px"
                model, recipe, data = trained(args.recipe, folder, run, settings, args.threads)
                logits = recipe.predict(model, data, data.test)
                truth = np.array([data.prepared[i].targets[r] > 0 for i, r in data.test])
                entry = {"seed": seed, "snr": snr, "network": decoding_scores(logits, truth)}
                together = recipe.network.get("frames", 1)
                table = recording.table[::together]
                held = table["trial"] > HELD
                rois = logistic_rois(recording, together)[held]
                entry["ROI"] = decoding_scores(rois, law_targets(table)[held])
                shuffled = np.random.default_rng(seed).permutation(len(truth))
                entry["chance"] = decoding_scores(logits[shuffled], truth)
                if args.cams:
                    entry["cams"] = cam_scores(model, recipe, data, recording)
            results.append(entry)
            args.output.mkdir(parents=True, exist_ok=True)
            (args.output / f"{args.recipe}-{args.size}px.json").write_text(json.dumps(results, indent=1))
            print(f"seed {seed}, SNR {snr:g}")
            for name in ("network", "ROI", "chance"):
                print(f"  {name:<9}" + "  ".join(f"{n} {entry[name][n]:.3f}" for n in SHOWN))
            for name, value in entry.get("cams", {}).items():
                text = (
                    f"{value:.3f}" if isinstance(value, float) else "{:.3f} [{:.3f}, {:.3f}]".format(*value)
                )
                print(f"  {name:<22}{text}")
    if len(args.snr) > 1:
        draw_noise(args.output / f"{args.recipe}-noise.png", results)


def draw_noise(path, results):
    """Draw exact match and macro-F1 over the noise, network and true cells."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure((9, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    levels = sorted({entry["snr"] for entry in results})
    for panel, score in zip(figure.subplots(1, 2), ("exact", "macro_f1"), strict=True):
        for name in ("network", "ROI", "chance"):
            rows = [[e[name][score] for e in results if e["snr"] == level] for level in levels]
            panel.plot(levels, [np.mean(row) for row in rows], "o-", label=name)
        panel.set(xscale="log", xlabel="SNR of a pixel", ylabel=score.replace("_", " "), ylim=(0, 1.02))
        panel.set_xticks(levels, [f"{level:g}" for level in levels])
        panel.grid(alpha=0.3)
        panel.legend(fontsize=8)
    figure.savefig(path, dpi=90)


if __name__ == "__main__":
    main()
