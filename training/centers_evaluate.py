"""Score centres on simulated movies that no recipe trains on, beside chance and the classical ways.

A cell should be found if it once stands out by `CLEAR` standard deviations of the noise
behind a band-pass, is in focus, and has at least half of the light at its centre; cells that
stand out less may be found or not (`calzoo.training.centers_visibility`). Points and cells are matched
one to one within half a cell diameter.
"""

from dataclasses import dataclass

import numpy as np

from calzoo.errors import CalzooError
from calzoo.imaging.center_channels import grid_for
from calzoo.metrics.centers import CenterScores, count_points, trace_correlation
from calzoo.metrics.matching import match_points
from calzoo.simulation.fields import log_uniform
from calzoo.simulation.one_photon import simulate_one_photon
from calzoo.training.centers_baselines import WAYS, Classical, random_points
from calzoo.training.centers_visibility import CLEAR, DOUBTFUL, SHARE, SHARP, clarity, visibility
from calzoo.training.scores import mean_score

#: Seeds of movies that no recipe trains on.
SEEDS = tuple(range(2_000_000, 2_000_009))
_LOOKS = ("raw", "df", "background_removed")
_PROTOCOL = "F1 of centres matched within half a cell diameter; cells that hardly stand out do not count"


@dataclass(frozen=True)
class TestMovie:
    """A simulated movie with the cells that should be found.

    Attributes
    ----------
    name : str
    recording : calzoo.simulation.recordings.Recording
    diameter_px : float
        Of the cells.
    centers, maybe : ndarray of float, (N, 2) and (K, 2)
        Cells that should, and that may, be found; (y, x) in pixels.
    rows : ndarray of int, (N,)
        Of the former in the truth of the recording.
    """

    __test__ = False  # not a test of pytest's

    name: str
    recording: object
    diameter_px: float
    centers: np.ndarray
    maybe: np.ndarray
    rows: np.ndarray


def simulated_movie(seed, shape=(400, 160, 160)):
    """Draw a test movie: 400 frames at most at 10 Hz, looks in turn.

    Parameters
    ----------
    seed : int
    shape : tuple of int, optional
        (T, Y, X).

    Returns
    -------
    TestMovie
    """
    rng = np.random.default_rng([seed, 1])
    look = _LOOKS[seed % len(_LOOKS)]
    cell_um, diameter = rng.uniform(10, 17), rng.uniform(8, 13)
    recording = simulate_one_photon(
        seed,
        shape,
        style=look,
        cell_um=cell_um,
        pixel_um=cell_um / diameter,
        frame_rate_hz=float(rng.uniform(5, 10)),
        density=log_uniform(rng, 600, 4000),
        rate_hz=log_uniform(rng, 0.03, 0.3),
        residual=float(rng.uniform(0, 0.2)),  # the movie has been registered
    )
    return known_cells(recording, diameter, f"{look}-{seed}")


def known_cells(recording, diameter, name):
    """Tell which cells of a simulated recording should be found, as a TestMovie."""
    seen = visibility(recording, grid_for(recording.shape[1:], diameter))
    snr, share = clarity(recording, seen, (0, recording.shape[0]))
    centers = recording.cells.centers
    inside = ((centers >= 0) & (centers <= np.array(recording.shape[1:]) - 1)).all(axis=1)
    clear = inside & (snr >= CLEAR) & (seen.contrast >= SHARP) & (share >= SHARE)
    maybe = inside & ~clear & (snr >= DOUBTFUL) & (share >= 0.5 * SHARE)
    return TestMovie(name, recording, diameter, centers[clear], centers[maybe], np.flatnonzero(clear))


def score_points(movie, points):
    """Score points on a TestMovie, as CenterScores."""
    distance = movie.diameter_px / 2
    return CenterScores(*count_points(movie.centers, points, distance=distance, maybe=movie.maybe))


def best_cut(movie, points):
    """Return the scores of as many of the points, the likeliest first, as are best on this very movie."""
    counts = np.unique(np.geomspace(1, max(len(points), 1), 40).round().astype(int))
    scores = [score_points(movie, points[:count]) for count in counts]
    return max(scores, key=lambda s: np.nan_to_num(s.f1))


def trace_correlations(movie, found):
    """Return Pearson's r of s(t) with the true brightness of the cells that were found, (K,)."""
    matching = match_points(movie.centers, found.points, distance=movie.diameter_px / 2)
    true = movie.recording.cells.traces[movie.rows[matching.true]]
    return trace_correlation(true, found.traces[matching.found])


def compare(movie, frames, points, *, classical=True, seed=0):
    """Score points on a movie beside chance and the classical ways.

    Parameters
    ----------
    movie : TestMovie
    frames : ndarray, (T, Y, X)
    points : ndarray of float, (N, 2)
    classical : bool, optional
        Whether the classical ways run too; each gets the best number of points on this very movie.
    seed : int, optional
        Of the random points.

    Returns
    -------
    ours : CenterScores
    others : dict of str to float
        F1 of ``random`` and of the classical ways.
    line : str
        All of it, to be read.
    """
    ours = score_points(movie, points)
    chance = random_points(frames.shape[1:], len(movie.centers), np.random.default_rng(seed))
    others = {"random": score_points(movie, chance).f1}
    if classical:
        found = Classical(frames, movie.diameter_px).points()
        others |= {name: best_cut(movie, found[name]).f1 for name in WAYS}
    rest = ", ".join(f"{name} {f1:.2f}" for name, f1 in others.items())
    line = (
        f"{movie.name}: F1 {ours.f1:.3f} (precision {ours.precision:.2f}, recall {ours.recall:.2f}, "
        f"{ours.true} cells); {rest}"
    )
    return ours, others, line


def f1_score(data, compared, protocol=_PROTOCOL):
    """Return the mean F1 over movies, beside the best classical way and chance.

    Parameters
    ----------
    data : str
        What the movies are.
    compared : sequence of (CenterScores, dict)
        From `compare`.
    protocol : str, optional

    Returns
    -------
    calzoo.weights.card.Score
    """
    f1 = [ours.f1 for ours, _ in compared]
    others = {name: [others[name] for _, others in compared] for name in compared[0][1]}
    best = max((name for name in WAYS if name in others), key=lambda n: np.nanmean(others[n]), default="")
    beside = {"baseline": others.get(best), "chance": others["random"]}
    beside["baseline_name"] = f"{best}, best cut on each movie" if best else ""
    return mean_score(data, "F1", protocol, f1, **beside, digits=None)


def score_simulated(find, seeds=SEEDS, *, classical=True, report=lambda line: None):
    """Score a way to find centres on simulated movies.

    Parameters
    ----------
    find : callable
        ``find(frames)`` returns an object with ``points`` (N, 2) and ``traces`` (N, T).
    seeds : sequence of int, optional
    classical : bool, optional
        Whether the classical ways run too.
    report : callable, optional
        Called with a line of text for each movie.

    Returns
    -------
    list of calzoo.weights.card.Score
        F1, beside the best classical way and chance; correlation of traces.

    Raises
    ------
    CalzooError
        If in no movie a cell stands out.
    """
    compared, correlations = [], []
    for seed in seeds:
        movie = simulated_movie(seed)
        if not len(movie.centers):
            report(f"{movie.name}: no cell stands out")
            continue
        frames = movie.recording.frames()
        found = find(frames)
        *scores, line = compare(movie, frames, found.points, classical=classical, seed=seed)
        compared.append(scores)
        r = trace_correlations(movie, found)
        correlations.append(float(np.nanmedian(r)) if np.isfinite(r).any() else 0.0)
        report(f"{line}; r of traces {correlations[-1]:.2f}")
    if not compared:
        message = f"expected movies in which cells stand out, got none among the seeds {tuple(seeds)}."
        raise CalzooError(message)
    data = f"simulated one-photon movies, seeds {seeds[0]}-{seeds[-1]}"
    return [
        f1_score(data, compared),
        mean_score(
            data,
            "correlation of s(t) with the truth",
            "median Pearson's r over the cells that were found, mean over movies",
            correlations,
            digits=None,
        ),
    ]
