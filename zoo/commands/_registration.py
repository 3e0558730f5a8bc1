"""What 'calzoo evaluate' and 'calzoo release' do with networks for registration."""


def score_run(trained, paths=()):
    """Score a run on laws (.py files with ``make_pair``), or on simulated pairs.

    Parameters
    ----------
    trained : calzoo.training.runs.Run
    paths : sequence of pathlib.Path, optional

    Returns
    -------
    list of calzoo.weights.card.Score
    """
    from calzoo.training.registration_evaluate import keras_registrar

    return _score(keras_registrar(trained), paths)


def score_file(model, paths=()):
    """Score an exported network, a Model, as `score_run` does."""
    return _score(onnx_registrar(model), paths)


def _score(register, paths):
    from calzoo.training.registration_evaluate import score_registration_law, score_simulated_pairs

    if not paths:
        return score_simulated_pairs(register)
    return [result for path in paths for result in score_registration_law(register, path)]


def onnx_registrar(model):
    """Make a function that registers with an exported network, as the pipeline does.

    Parameters
    ----------
    model : calzoo.inference.models.Model

    Returns
    -------
    callable
        ``register(template, frame)``, two (Y, X), to the flow (Y, X, 2).
    """
    from calzoo.inference.registration_network import Aligner, RegistrationNetwork

    network = RegistrationNetwork(model, 1)

    def register(template, frame):
        return Aligner(network, template)(frame[None]).flow[0]

    return register
