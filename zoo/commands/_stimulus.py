"""What 'calzoo evaluate' and 'calzoo release' do with networks for stimuli."""

from pathlib import Path


def is_stimulus(network):
    """Tell whether a run, a preset or a file is for stimuli.

    Parameters
    ----------
    network : str or path
    """
    if Path(network).is_dir():
        from calzoo.training.runs import load_run

        return hasattr(load_run(network).recipe, "test_trials")
    if Path(network).suffix == ".onnx":
        from calzoo.inference.models import load_model

        return load_model(network, provider="cpu", threads=1).card.task == "stimulus"
    from calzoo.weights import registry

    return registry.preset(str(network)).task == "stimulus"


def score_run(trained, folders=()):
    """Score a run on the last trials of its recording; without folders, of its simulated field."""
    from calzoo.training.stimulus_evaluate import keras_decoder, recordings_of, score_stimulus

    recordings = recordings_of(trained.recipe, folders)
    trials = max(trained.recipe.test_trials, 1)
    return score_stimulus(keras_decoder(trained), recordings, test_trials=trials)


def evaluate(args):
    """Print one line for each score; those of a run are kept in its folder."""
    from calzoo.training import evaluate as axons
    from calzoo.training import runs

    if Path(args.network).is_dir():
        trained = runs.load_run(args.network)
        scores = score_run(trained, args.data)
        runs.save_scores(trained, scores)
    else:
        scores = _score_file(args)
    print(axons.report(scores))


def _score_file(args):
    import numpy as np

    from calzoo.inference.models import load_model
    from calzoo.inference.stimulus import StimulusNetwork
    from calzoo.training.recipes import recipe
    from calzoo.training.stimulus_data import read_recorded
    from calzoo.training.stimulus_evaluate import recordings_of, score_stimulus

    network = StimulusNetwork(load_model(args.network, provider=args.provider, threads=args.threads))

    def decode(recorded):
        rows = network.rows(recorded.stimuli)
        numbers, target = recorded.stimuli.frames[rows], np.zeros((len(rows), network.cells + 1), np.float32)
        return rows, np.concatenate([some for _, some, _ in network.blocks(recorded.frames, numbers, target)])

    if args.data:
        recordings = [read_recorded(f, after=network.after, cells=network.cells) for f in args.data]
    else:
        recordings = recordings_of(recipe(network.card.recipe))
    return score_stimulus(decode, recordings)
