"""What 'calzoo evaluate' and 'calzoo release' do with networks for centres."""

from calzoo.commands._messages import tell
from calzoo.errors import CalzooError
from calzoo.imaging.masks import count_of_cells
from calzoo.inference.center_network import CenterNetwork


def counted(found):
    """Return how many cells were found, and how wide they were taken to be, in words.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> counted(SimpleNamespace(count=1, diameter_px=10.0))
    '1 cell of about 10.0 px'
    """
    if not found.count:
        return f"no cells, looked for at about {found.diameter_px:.1f} px"
    return f"{count_of_cells(found.count)} of about {found.diameter_px:.1f} px"


def on_mask(points, known):
    """Return how good points are on known cells (Y, X), for run.json and for `verdict`.

    Returns
    -------
    dict of str to number
        Points and hits; the share of hits, that of random points, and (share - expected) / (1 -
        expected), all NaN without points but the expected one.
    """
    from calzoo.metrics.centers import score_on_mask

    scores = score_on_mask(points, known, known.shape)
    hits, count = int(scores.hit.sum()), len(scores.hit)
    share = hits / count if count else float("nan")
    return {
        "points": count,
        "hits": hits,
        "share": share,
        "expected": scores.expected,
        "chance_corrected": scores.corrected,
    }


def verdict(facts):
    """Return what `on_mask` found, in words."""
    if not facts["points"]:
        return f"no centres; random ones would hit the mask at {facts['expected']:.0%}"
    return (
        f"{facts['hits']} of {facts['points']} centres on the mask ({facts['share']:.0%}), of random ones "
        f"{facts['expected']:.0%}: chance-corrected score {facts['chance_corrected']:.3f}"
    )


class KerasCenterNetwork(CenterNetwork):
    """The network of a run, as `calzoo.inference.centers.find_centers` takes it.

    Parameters
    ----------
    run : calzoo.training.runs.Run
    """

    provider = "keras"

    def __init__(self, run):
        from calzoo.training.runs import build_model

        self.keras_model, self.recipe = build_model(run), run.recipe
        self.threshold, self.apart, self.window = run.recipe.threshold, run.recipe.apart, run.recipe.window

    def heat(self, pictures):
        """Return the heat map (h, w, 3) of the pictures (h, w, C) of a window."""
        return self.recipe.predict(self.keras_model, pictures)


def score_run(trained, paths=()):
    """Score a run on simulated movies that no recipe trains on.

    Parameters
    ----------
    trained : calzoo.training.runs.Run
    paths : sequence of pathlib.Path, optional
        Must be empty.

    Returns
    -------
    list of calzoo.weights.card.Score

    Raises
    ------
    CalzooError
        If there are paths.
    """
    return _score(KerasCenterNetwork(trained), paths)


def score_file(model, paths=()):
    """Score an exported network, a Model, as `score_run` does."""
    return _score(model, paths)


def _score(model, paths):
    from calzoo.inference.centers import find_centers
    from calzoo.training.centers_evaluate import score_simulated

    if paths:
        message = (
            "networks for centres are scored on simulated movies, without --data; on real sessions with "
            "masks: python benchmarks/centers_lin.py."
        )
        raise CalzooError(message)
    return score_simulated(lambda frames: find_centers(frames, model=model), report=tell)
