"""Centres on movies of an independent simulator: minisim's Miniscope V4 over CA1 and layer 2/3 of the cortex.

    pip install minisim                                      (in an environment of its own: GPL-3)
    python benchmarks/centers_minisim.py draw -o MOVIES      (there)
    python benchmarks/centers_minisim.py score MOVIES NETWORK [--run RUN]

NETWORK is a preset or an .onnx file; --run keeps the scores for the card of that run. Cells that
minisim calls detectable should be found; the others may be found or not. The classical ways are
told the diameter of the cells and get the best number of points on each movie, the network
is told nothing.
"""

import argparse
from pathlib import Path

import numpy as np

REGIONS = {"ca1": "ca1", "l23": "cortex_l23"}
PROTOCOL = "F1 of detectable cells, matched within half a cell diameter; other cells do not count"


def draw(args):
    """Simulate movies with minisim: frames, centres in pixels, what is detectable."""
    from minisim import presets, simulate

    args.output.mkdir(parents=True, exist_ok=True)
    for name, region in REGIONS.items():
        for seed in range(args.seeds):
            scope, place = presets.miniscope_v4(), getattr(presets, region)()
            spec = presets.build_spec(scope, place, duration_s=args.seconds, fps=args.rate, seed=seed)
            made = simulate(spec)
            truth = made.ground_truth
            shape = np.array(made.observed.shape[1:])
            centers = (shape - 1) / 2 + np.asarray(truth.centers_um)[:, 1:] / scope.pixel_size_um
            np.savez(
                args.output / f"v4_{name}_{seed}.npz",
                frames=np.asarray(made.observed).astype(np.uint8),
                centers=centers,
                detectable=truth.detectable,
                diameter=2 * place.population.soma_radius_um / scope.pixel_size_um,
            )
            print(
                f"v4_{name}_{seed}: {made.observed.shape}, {truth.detectable.sum()} of {len(centers)} cells"
            )


def score(args):
    """Print F1 of the network and of the classical ways on each movie, and on all of a region."""
    from calzoo.inference.centers import find_centers
    from calzoo.inference.models import load_model
    from calzoo.training.centers_evaluate import TestMovie, compare, f1_score
    from calzoo.training.runs import load_run, save_scores
    from calzoo.training.scores import report

    model = load_model(args.network, provider="cpu", threads=args.threads)
    scores = []
    for name in REGIONS:
        compared = []
        for path in sorted(args.movies.glob(f"v4_{name}_*.npz")):
            with np.load(path) as file:
                frames, centers, seen = file["frames"], file["centers"], file["detectable"]
                diameter = float(file["diameter"])
            inside = ((centers >= 0) & (centers <= np.array(frames.shape[1:]) - 1)).all(axis=1)
            movie = TestMovie(
                path.stem, None, diameter, centers[seen & inside], centers[~seen & inside], np.empty(0, int)
            )
            found = find_centers(frames, model=model, threads=args.threads)
            *both, line = compare(movie, frames, found.points)
            print(f"{line}; diameter {found.diameter_px:.1f} for {diameter:.1f}", flush=True)
            compared.append(both)
        data = f"minisim V4 {name}, {len(compared)} movies"
        scores.append(f1_score(data, compared, PROTOCOL))
    print(report(scores))
    if args.run:
        save_scores(load_run(args.run), scores)


def main(argv=None):
    """Draw or score."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="what", required=True)
    drawing = commands.add_parser("draw", help="needs minisim")
    drawing.add_argument("-o", "--output", type=Path, required=True)
    drawing.add_argument("--seeds", type=int, default=2, help="movies of each region")
    drawing.add_argument("--seconds", type=float, default=40.0)
    drawing.add_argument("--rate", type=float, default=10.0, help="frames per second")
    scoring = commands.add_parser("score", help="needs calzoo[train]")
    scoring.add_argument("movies", type=Path)
    scoring.add_argument("network")
    scoring.add_argument("--run", type=Path)
    scoring.add_argument("--threads", type=int, default=2)
    args = parser.parse_args(argv)
    (draw if args.what == "draw" else score)(args)


if __name__ == "__main__":
    main()
