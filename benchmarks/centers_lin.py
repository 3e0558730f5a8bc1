"""Centres on the four sessions of lin_1p with masks, beside chance and the classical ways.

    python benchmarks/centers_lin.py DATA [--model FILE.onnx [--run RUN]] [--fit FITS] [--count 100]
                                     [--setting 11,0.5]

A session is fitted by: calzoo train centers --movie DATA/DG13_NAME_frames_jpg.zip -o FITS/NAME

DATA is the folder lin_1p; FITS has a folder of 'calzoo train centers --movie' for each session. For
each way: recall of the sparse regions and the chance-corrected score on the dense mask, at COUNT centres;
their pool, with 95 % intervals of a bootstrap over blocks of the frames, and of the gain over each
classical way. Classical ways get the best of several settings on these very data, which the network
does not; --setting gives them one that was chosen beforehand, as the network has. The masks are used for
nothing but this report.
"""

import argparse
import itertools
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import ndimage

from calzoo.imaging.movies import open_movie
from calzoo.metrics.centers import score_on_mask
from calzoo.training.centers_baselines import WAYS, Classical, random_points

SESSIONS = ("7-12-17", "8-11-17", "8-3-17", "8-8-17")
DIAMETERS, APART = (8.0, 11.0, 14.0), (0.35, 0.5, 0.7)
BLOCKS = 4  # along each side of a frame
DRAWS = 2000


@dataclass
class Session:
    """Frames and masks of one session."""

    name: str
    frames: np.ndarray
    sparse: np.ndarray
    dense: np.ndarray
    known: np.ndarray


def read(data, name):
    """Read a session."""
    with (
        open_movie(data / f"DG13_{name}_frames_jpg.zip") as movie,
        np.load(data / f"DG13_{name}_masks.npz") as masks,
    ):
        dense = masks["dense100"]
        return Session(name, movie.frames(0, movie.shape[0]), masks["sparse100"] > 0, dense == 1, dense >= 0)


@dataclass
class Pooled:
    """Points of one way on all sessions, as the bootstrap needs them: one row per point or region."""

    hit: np.ndarray
    expected: np.ndarray
    block: np.ndarray
    region_hit: np.ndarray
    region_block: np.ndarray

    @classmethod
    def of(cls, sessions, points):
        """Collect the points of each session."""
        parts = [
            cls._session(number, s, p) for number, (s, p) in enumerate(zip(sessions, points, strict=True))
        ]
        return cls(*(np.concatenate([part[i] for part in parts]) for i in range(5)))

    @staticmethod
    def _session(number, session, points):
        shape = session.frames.shape[1:]
        dense = score_on_mask(points, session.dense, shape, known=session.known)
        places = np.minimum(((points + 0.5) / shape * 100).astype(int), 99)
        counts = session.known[tuple(places.T)]
        labels, regions = ndimage.label(session.sparse, np.ones((3, 3)))
        centers = np.array(ndimage.center_of_mass(session.sparse, labels, range(1, regions + 1)))
        sparse = score_on_mask(points, session.sparse, shape)
        blocks = [
            number * BLOCKS**2 + (p * BLOCKS // 100).astype(int) @ (BLOCKS, 1) for p in (places, centers)
        ]
        return dense.hit, np.full(counts.sum(), dense.expected), blocks[0][counts], sparse.regions, blocks[1]

    def mean_of_sessions(self):
        """Return the mean over sessions of recall and chance-corrected score."""
        count = BLOCKS**2
        sessions = int(self.block.max()) // count + 1
        each = [self.scores(np.repeat(np.eye(sessions)[s], count)) for s in range(sessions)]
        return np.mean(each, axis=0)

    def scores(self, weights=None):
        """Return recall of regions and chance-corrected score; `weights` says how often each block counts."""
        w = np.ones(len(self.hit)) if weights is None else weights[self.block]
        r = np.ones(len(self.region_hit)) if weights is None else weights[self.region_block]
        expected = (w * self.expected).sum()
        corrected = ((w * self.hit).sum() - expected) / (w.sum() - expected)
        return np.array([(r * self.region_hit).sum() / r.sum(), corrected])


def bootstrap(ways, sessions, rng):
    """Return scores of every way in every draw, (draws, ways, 2), with the same blocks for all ways."""
    count = BLOCKS**2
    draws = []
    for _ in range(DRAWS):
        chosen = rng.integers(0, count, (sessions, count)) + count * np.arange(sessions)[:, None]
        weights = np.bincount(chosen.ravel(), minlength=sessions * count)
        draws.append([way.scores(weights) for way in ways])
    return np.array(draws)


def classical_points(sessions, count, keep=None, *, diameters=DIAMETERS, aparts=APART):
    """Return the points of every session by (way, diameter, apart); `keep` is a file that keeps them."""
    kept = dict(np.load(keep)) if keep and keep.exists() else {}
    found = {}
    for diameter, session in itertools.product(diameters, sessions):
        shared = None
        for apart, way in itertools.product(aparts, WAYS):
            name = f"{session.name} {way} {diameter:g} {apart:g} {count}"
            if name not in kept:
                shared = shared or Classical(session.frames, diameter)
                kept[name] = shared.points_of(way, count, apart=apart)
            found.setdefault((way, diameter, apart), []).append(kept[name])
        if keep and shared:
            np.savez_compressed(keep, **kept)
    return found


def classical(sessions, count, keep=None, setting=None):
    """Return points of each classical way by session: with its best setting, or with the one given."""
    best = {}
    tried = {"diameters": setting[:1], "aparts": setting[1:]} if setting else {}
    for (way, diameter, apart), points in classical_points(sessions, count, keep, **tried).items():
        pooled = Pooled.of(sessions, points)
        key = pooled.scores().sum()
        if way not in best or key > best[way][0]:
            best[way] = (key, pooled, f"{way} (cells {diameter:g} px, apart {apart:g})")
    return {name: pooled for _, pooled, name in best.values()}


def network(sessions, model, count):
    """Return points of the network, by session, with nothing told but the frames."""
    from calzoo.inference.centers import find_centers
    from calzoo.inference.models import load_model

    model = load_model(model, threads=2)
    return [find_centers(session.frames, model=model, threads=2, count=count) for session in sessions]


def fitted(folder, sessions, count):
    """Return points of the runs of 'calzoo train centers --movie' in FOLDER/SESSION, by session."""
    return [np.load(folder / s.name / "centers.npz")["points"][:count] for s in sessions]


def report(ways, others, draws):
    """Print scores with intervals, and the gain of ours over the others; return the table."""
    table = {}
    for number, (name, pooled) in enumerate(ways.items()):
        low, high = np.percentile(draws[:, number], (2.5, 97.5), axis=0)
        recall, corrected = pooled.scores()
        mean = pooled.mean_of_sessions()
        print(
            f"{name:44s} recall {recall:.3f} [{low[0]:.2f}, {high[0]:.2f}]   "
            f"chance-corrected {corrected:.3f} [{low[1]:.2f}, {high[1]:.2f}]   "
            f"mean of sessions {mean[0]:.3f} / {mean[1]:.3f}"
        )
        table[name] = {"recall": recall, "corrected": corrected, "low": low.tolist(), "high": high.tolist()}
    for ours in range(others, len(ways)):
        for number, name in enumerate(list(ways)[:others]):
            low, high = np.percentile(draws[:, ours] - draws[:, number], (2.5, 97.5), axis=0)
            print(
                f"{list(ways)[ours]} over {name:38s} recall [{low[0]:+.2f}, {high[0]:+.2f}]   "
                f"chance-corrected [{low[1]:+.2f}, {high[1]:+.2f}]"
            )
    return table


def keep(run, table, count):
    """Write the scores of the network into the folder of its run."""
    from calzoo.training.runs import load_run, save_scores
    from calzoo.weights.card import Score

    ours = table["network"]
    scores = []
    for number, (metric, what) in enumerate(
        (("recall", "regions of the sparse masks that hold a centre"),
         ("corrected", "centres on the dense masks, hits beyond chance"))
    ):  # fmt: skip
        best = max(
            (n for n in table if n not in ("network", "fit", "random")), key=lambda n: table[n][metric]
        )
        scores.append(
            Score(
                data=f"lin_1p, four sessions, {count} centres each, zero-shot",
                metric="recall" if metric == "recall" else "chance-corrected score",
                value=float(ours[metric]),
                protocol=f"{what}, pooled; spread: 95 % interval of a bootstrap over blocks",
                spread=(ours["low"][number], ours["high"][number]),
                baseline=float(table[best][metric]),
                baseline_name=f"{best}, best setting on these data",
                chance=float(table["random"][metric]),
            )
        )
    save_scores(load_run(run), scores)


def _setting(text):
    """Read a diameter and a distance that are among those tried."""
    diameter, apart = map(float, text.split(","))
    if diameter not in DIAMETERS or apart not in APART:
        message = f"expected one of {DIAMETERS} and one of {APART}, got {text}"
        raise argparse.ArgumentTypeError(message)
    return diameter, apart


def main(argv=None):
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", help="a preset or an .onnx file")
    parser.add_argument("--run", type=Path, help="folder of the run of --model, which keeps its scores")
    parser.add_argument(
        "--fit", type=Path, help="folder with a fit of each session, in folders of their names"
    )
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument(
        "--keep",
        type=Path,
        metavar="FILE.npz",
        help="keep the points of the classical ways for the next time",
    )
    parser.add_argument(
        "--setting",
        type=_setting,
        metavar="DIAMETER,APART",
        help=f"of the classical ways: one of {DIAMETERS} pixels, and of {APART} of it between two points",
    )
    parser.add_argument("--json", type=Path, help="also write the numbers here")
    args = parser.parse_args(argv)
    rng = np.random.default_rng(0)
    sessions = [read(args.data, name) for name in SESSIONS]
    chance = [random_points(s.frames.shape[1:], args.count, rng) for s in sessions]
    ways = {"random": Pooled.of(sessions, chance)} | classical(sessions, args.count, args.keep, args.setting)
    others = len(ways)
    if args.model:
        found = network(sessions, args.model, args.count)
        ways["network"] = Pooled.of(sessions, [f.points for f in found])
        print("diameters that were measured:", *(f"{f.diameter_px:.1f}" for f in found))
    if args.fit:
        ways["fit"] = Pooled.of(sessions, fitted(args.fit, sessions, args.count))
    table = report(ways, others, bootstrap(list(ways.values()), len(sessions), rng))
    if args.json:
        args.json.write_text(json.dumps(table, indent=1))
    if args.run and args.model:
        keep(args.run, table, args.count)


if __name__ == "__main__":
    main()
