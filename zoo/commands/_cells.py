"""What 'calzoo evaluate' and 'calzoo release' do with networks for cells: both are scored together."""

from pathlib import Path

from calzoo.commands._messages import tell
from calzoo.errors import CalzooError


def score_run(trained, paths=()):
    """Score a run, with that of the other role beside it.

    Parameters
    ----------
    trained : calzoo.training.runs.Run
    paths : sequence of pathlib.Path, optional
        Folders with labelled pictures; without them simulated recordings are scored.

    Returns
    -------
    list of calzoo.weights.card.Score
    """
    return score_file(_keras_networks(trained), paths)


def score_file(networks, paths=()):
    """Score CellNetworks, as `score_run` does."""
    from calzoo.inference.cells import detect
    from calzoo.training.cells_evaluate import pictures_of, score_pictures

    def find(picture, shown, diameter):
        return detect(networks, shown, diameter=diameter)

    return score_pictures(find, pictures_of(paths, report=tell), report=tell)


def load(network, *, provider, threads):
    """Load both networks of a preset, or of an .onnx file and that of the other role beside it.

    Parameters
    ----------
    network : str
        Of a file, its name holds its role, and that of the other file the other role.
    provider, threads
        As for `calzoo.load_model`.

    Returns
    -------
    calzoo.inference.cell_networks.CellNetworks
    """
    from calzoo.inference.cell_networks import ROLES, CellNetworks
    from calzoo.inference.models import load_model

    if Path(network).suffix != ".onnx":
        return CellNetworks.load(None, network, provider=provider, threads=threads)
    own = load_model(Path(network), provider=provider, threads=threads)
    files = {role: _beside(Path(network), own.card.role, role) for role in ROLES}
    return CellNetworks.load(files, None, provider=provider, threads=threads)


class _KerasModel:
    """The network of a run, as the pipeline takes that of an .onnx file.

    Parameters
    ----------
    run : calzoo.training.runs.Run
    """

    provider = "keras"

    def __init__(self, run):
        from calzoo.training.runs import build_model
        from calzoo.weights.card import Card

        self.path, self.sha256 = run.path, ""
        self._model = build_model(run)
        self.card = Card(**run.card_fields(self._model))

    def run(self, feeds):
        """Return the outputs by name."""
        import keras

        # Not compiled: each picture has a size of its own, at each scale another.
        results = self._model(feeds, training=False)
        results = results if isinstance(results, (list, tuple)) else [results]
        return {
            name: keras.ops.convert_to_numpy(r)
            for name, r in zip(self._model.output_names, results, strict=True)
        }


def _keras_networks(run):
    """Return both networks, from a run in a folder named as its role and the other one beside it."""
    from calzoo.inference.cell_networks import ROLES, CellNetworks
    from calzoo.training.runs import load_run

    runs = {role: run if role == run.recipe.role else run.path.resolve().parent / role for role in ROLES}
    for role, one in runs.items():
        if one is not run and not (one / "recipe.json").is_file():
            message = (
                f"{run.path}: proposal and instance network are scored together; expected the run of the "
                f"{role} network as {one}."
            )
            raise CalzooError(message)
    return CellNetworks(
        *(_KerasModel(one if one is run else load_run(one)) for one in (runs[role] for role in ROLES))
    )


def _beside(path, own, role):
    """Return the path of the file of another role."""
    before, _, after = path.name.rpartition(own)
    return path.with_name(before + role + after)
