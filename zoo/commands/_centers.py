"""What 'calzoo evaluate' and 'calzoo release' do with networks for centres."""

from calzoo.commands._messages import tell
from calzoo.errors import CalzooError
from calzoo.inference.center_network import CenterNetwork


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
