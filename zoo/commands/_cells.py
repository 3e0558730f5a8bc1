"""What 'calzoo evaluate' and 'calzoo release' do with networks for cells: both are scored together."""

from pathlib import Path

from calzoo.commands._messages import tell


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
    from calzoo.training.cells_evaluate import keras_networks

    return score_file(keras_networks(trained), paths)


def score_file(networks, paths=()):
    """Score CellNetworks, as `score_run` does."""
    from calzoo.training.cells_evaluate import score_networks

    return score_networks(networks, paths, report=tell)


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


def _beside(path, own, role):
    """Return the path of the file of another role."""
    before, _, after = path.name.rpartition(own)
    return path.with_name(before + role + after)
