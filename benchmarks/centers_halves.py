"""Do both halves of an unlabelled recording show the same cells? A network, chance and the classical ways.

    python benchmarks/centers_halves.py NETWORK MOVIE... [--run RUN]

NETWORK is a preset or an .onnx file; --run keeps the score for the card of that run. Points of the first and
the second half of the frames are matched one to one within half a cell diameter. Chance and the
classical ways give as many points as the network, with the diameter that it measured. Cells that
are active in one half only, and dust, limit what the number can say.
"""

import argparse
from pathlib import Path

import numpy as np

from calzoo.imaging.movies import open_movie
from calzoo.inference.centers import find_centers
from calzoo.inference.models import load_model
from calzoo.metrics.centers import score_centers
from calzoo.training.centers_baselines import WAYS, Classical, random_points
from calzoo.weights.card import Score


def agreement(frames, model, threads):
    """Return F1 between the halves of a movie by way, and how many points the network found in each."""
    halves = np.array_split(frames, 2)
    found = [find_centers(half, model=model, threads=threads) for half in halves]
    counts, diameter = [f.count for f in found], found[0].diameter_px
    f1 = {"network": score_centers(*(f.points for f in found), diameter=diameter).f1}
    rng = np.random.default_rng(0)
    chance = [random_points(frames.shape[1:], count, rng) for count in counts]
    f1["random"] = score_centers(*chance, diameter=diameter).f1
    shared = [Classical(half, diameter) for half in halves]
    for way in WAYS:
        points = [c.points_of(way, count) for c, count in zip(shared, counts, strict=True)]
        f1[way] = score_centers(*points, diameter=diameter).f1
    return f1, counts


def main(argv=None):
    """Print F1 between halves."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("network")
    parser.add_argument("movies", nargs="+", type=Path)
    parser.add_argument("--run", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args(argv)
    model, scores = load_model(args.network, provider="cpu", threads=args.threads), []
    for path in args.movies:
        with open_movie(path) as movie:
            f1, counts = agreement(movie.frames(0, movie.shape[0]), model, args.threads)
        print(
            f"{path.name}: {counts[0]} and {counts[1]} points;",
            ", ".join(f"{k} {v:.2f}" for k, v in f1.items()),
        )
        best = max(WAYS, key=f1.get)
        scores.append(
            Score(
                data=f"{path.stem}, unlabelled",
                metric="F1 between halves",
                value=f1["network"],
                protocol="points of both halves matched within half a cell diameter, as many for all ways",
                baseline=f1[best],
                baseline_name=best,
                chance=f1["random"],
            )
        )
    if args.run:
        from calzoo.training.runs import load_run, save_scores

        save_scores(load_run(args.run), scores)


if __name__ == "__main__":
    main()
