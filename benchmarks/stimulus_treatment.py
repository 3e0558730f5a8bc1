"""Is a change of connections found, and does none raise an alarm? Pairs of recordings of simulated fields.

    python benchmarks/stimulus_treatment.py --fields 20 --pairs 10 --workers 2 -o RUNS
    python benchmarks/stimulus_treatment.py --fields 4 --pairs 5 --maps --workers 2 -o RUNS

Pairs of recordings: the one before, and after it the same field with connections x 1.0,
1.25 and 1.5, and x 1.0 with 30 % fewer photons, 2 px of drift and bleaching of 40 %. An
alarm is p < 0.05 of all groups together: of how far answers spread, and of the classical
way, the cosine similarity of the answers of the true cells. With --maps a network is
trained on another recording of each field, and the similarity of its maps stands beside
them. Results go on where they were stopped.
"""

import argparse
import dataclasses
import json
import os
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from calzoo.imaging.outputs import write_table
from calzoo.imaging.stimuli import read_stimuli
from calzoo.inference.models import load_model
from calzoo.metrics.correlation import MeanSimilarity, TrialSimilarity
from calzoo.metrics.permutation import compare_means
from calzoo.metrics.spread import compare_spread, influence
from calzoo.simulation.stimulus import StimulusStyle, simulate_stimulus
from calzoo.stimulus.analysis import analyse_stimuli
from calzoo.stimulus.answers import event_pictures, roi_answers

POOR = StimulusStyle(photons=16 * 0.7, drift_px=2.0, bleaching=0.4)
TREATMENTS = {
    "x 1.0": (1.0, None),
    "x 1.0, poor": (1.0, POOR),
    "x 1.25": (1.25, None),
    "x 1.5": (1.5, None),
}
SETTINGS = {"cells": 12, "groups": 2}


def network(field, folder, threads):
    """Train and export the network of a field, if it is not there yet; return its file."""
    from calzoo.export import export_run
    from calzoo.training import backend, recipes
    from calzoo.training.trainer import train

    path = folder / f"field{field}.onnx"
    if path.exists():
        return path
    run = folder / f"field{field}"
    settings = {"simulation": {"seed": 1000 + field, **SETTINGS}, "test_trials": 0}
    recipe = recipes.changed(recipes.recipe("stimulus-demo"), settings)
    if threads:
        backend.limit_threads(threads)
    progress = train(recipe, run, threads=threads)
    if progress.step < recipe.schedule.epochs * recipe.schedule.steps:
        message = f"{run}: stopped at step {progress.step}; the same command goes on"
        raise SystemExit(message)
    export_run(run, path, timing=False)
    return path


def measured(model, field, session, treatment, target):
    """Return what is compared of a recording, by name: influences of cells, similarities, exact match."""
    factor, style = TREATMENTS[treatment]
    recording = simulate_stimulus(1000 + field, session=session, factor=factor, style=style, **SETTINGS)
    with tempfile.TemporaryDirectory() as folder:
        write_table(Path(folder) / "stimuli.csv", recording.table)
        stimuli = read_stimuli(Path(folder) / "stimuli.csv", frames=len(recording.frames))
    answers, condition, trial = roi_answers(recording.frames, stimuli, recording.masks)
    pictures = event_pictures(recording.frames, stimuli)
    cells = np.array([[k + 1 in c for k in range(SETTINGS["cells"])] for c in stimuli.conditions])[condition]
    found = {"spread": [], "cells": []}
    for group in np.unique(stimuli.groups[stimuli.groups > 0]):
        rows = stimuli.groups[condition] == group
        found["spread"].append(influence(pictures[rows], cells[rows], trial[rows]))
        inside = np.flatnonzero(stimuli.groups == group).tolist()
        found["cells"].append(TrialSimilarity(answers, condition, trial, inside, centred=False))
    found["cells"] = MeanSimilarity(found["cells"])
    if model is not None:
        analysis = analyse_stimuli(recording.frames, stimuli, model=model, target=target)
        groups = np.unique(analysis.groups[analysis.groups > 0])
        found["maps"] = MeanSimilarity([analysis.similarity(g) for g in groups])
        found["exact"] = analysis.scores["exact"]
    return found


def one_pair(job):
    """Return the line of one pair."""
    path, field, pair, target = job
    model = load_model(path, provider="cpu", threads=1) if path else None
    before = measured(model, field, 100 + 10 * pair, "x 1.0", target)
    line = {"field": field, "pair": pair, "target": target, "exact": before.pop("exact", None)}
    for number, treatment in enumerate(TREATMENTS, 1):
        after = measured(model, field, 100 + 10 * pair + number, treatment, target)
        for kind, first in before.items():
            rng = np.random.default_rng(pair)
            if kind == "spread":
                change = compare_spread(list(zip(first, after[kind], strict=True)), rng=rng)
            else:
                change = compare_means(first, after[kind], rng=rng)
            line[f"{treatment}: {kind}"] = dataclasses.astuple(change)
    return line


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fields", type=int, default=4)
    parser.add_argument("--pairs", type=int, default=50, help="of each field")
    parser.add_argument("--maps", action="store_true", help="also maps, of a network for each field")
    parser.add_argument("--target", choices=("largest", "stimulated"), default="largest")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--threads", type=int, help="of the training")
    parser.add_argument("-o", "--output", type=Path, required=True)
    args = parser.parse_args(argv)
    args.output.mkdir(parents=True, exist_ok=True)
    results = args.output / (f"treatment-{args.target}.jsonl" if args.maps else "treatment.jsonl")
    lines = [json.loads(text) for text in results.read_text().splitlines()] if results.exists() else []
    done = {(line["field"], line["pair"]) for line in lines}
    fields = range(args.fields)
    paths = {field: network(field, args.output, args.threads) if args.maps else None for field in fields}
    jobs = [
        (paths[field], field, pair, args.target)
        for pair in range(args.pairs)
        for field in range(args.fields)
        if (field, pair) not in done
    ]
    with ProcessPoolExecutor(args.workers) as pool, open(results, "a") as file:
        for line in pool.map(one_pair, jobs):
            lines.append(line)
            file.write(json.dumps(line) + "\n")
            file.flush()
    report(lines)


def report(lines):
    """Print how often p < 0.05, and in which direction."""
    kinds = [kind for kind in ("spread", "cells", "maps") if f"x 1.0: {kind}" in lines[0]]
    print(f"{len(lines)} pairs; part with p < 0.05 (of these, with more after)")
    if "maps" in kinds:
        print(f"before: exact match {np.mean([line['exact'] for line in lines]):.3f}")
    print(" " * 14 + "".join(f"{kind:>22}" for kind in kinds))
    for treatment in TREATMENTS:
        text = f"{treatment:<14}"
        for kind in kinds:
            changes = np.array(
                [[*line[f"{treatment}: {kind}"][2:3], line[f"{treatment}: {kind}"][4]] for line in lines]
            )
            alarms = changes[:, 1] < 0.05
            more = (alarms & (changes[:, 0] > 0)).mean()
            text += f"{alarms.mean():>8.3f} ({more:.3f} more)"
        print(text)


if __name__ == "__main__":
    main()
