"""What 'calzoo evaluate' and 'calzoo release' do with networks for registration."""

from pathlib import Path


def is_registration(network, trained=None):
    """Tell whether a run, a preset or a file is for registration.

    Parameters
    ----------
    network : str or path
    trained : Run, optional
        The run, where it has been loaded.
    """
    if trained is not None:
        return trained.recipe.name.startswith("registration")
    if Path(network).is_dir():
        from calzoo.training.runs import load_run

        return is_registration(network, load_run(network))
    if Path(network).suffix == ".onnx":
        from calzoo.inference.models import load_model

        return load_model(network, provider="cpu", threads=1).card.task == "registration"
    from calzoo.weights import registry

    return registry.preset(str(network)).task == "registration"


def score(register, paths=()):
    """Score on laws (.py files with ``make_pair``), or on simulated pairs."""
    from calzoo.training.registration_evaluate import score_registration_law, score_simulated_pairs

    if not paths:
        return score_simulated_pairs(register)
    return [result for path in paths for result in score_registration_law(register, path)]


def evaluate(args):
    """Print one line for each score; those of a run are kept in its folder."""
    from calzoo.training import evaluate as axons
    from calzoo.training import runs
    from calzoo.training.registration_evaluate import keras_registrar

    if Path(args.network).is_dir():
        trained = runs.load_run(args.network)
        scores = score(keras_registrar(trained), args.data)
        runs.save_scores(trained, scores)
    else:
        scores = score(onnx_registrar(args.network, args.provider, args.threads), args.data)
    print(axons.report(scores))


def onnx_registrar(network, provider="auto", threads=None):
    """Make a function that registers with an exported network, as the pipeline does."""
    from calzoo.inference.models import load_model
    from calzoo.inference.registration_network import Aligner, RegistrationNetwork

    loaded = RegistrationNetwork(load_model(network, provider=provider, threads=threads), 1)

    def register(template, frame):
        return Aligner(loaded, template)(frame[None]).flow[0]

    return register
