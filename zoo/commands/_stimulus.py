"""What 'calzoo evaluate' and 'calzoo release' do with networks for stimuli."""


def score_run(trained, paths=()):
    """Score a run on the last trials of its recording; without folders, of its simulated field.

    Parameters
    ----------
    trained : calzoo.training.runs.Run
    paths : sequence of pathlib.Path, optional
        Folders with frames and table.

    Returns
    -------
    list of calzoo.weights.card.Score
    """
    from calzoo.training.stimulus_evaluate import keras_decoder, recordings_of, score_stimulus

    recordings = recordings_of(trained.recipe, paths)
    trials = max(trained.recipe.test_trials, 1)
    return score_stimulus(keras_decoder(trained), recordings, test_trials=trials)


def score_file(model, paths=()):
    """Score an exported network, a Model; without folders, on the simulated field of its recipe."""
    import numpy as np

    from calzoo.inference.stimulus import StimulusNetwork
    from calzoo.training.recipes import recipe
    from calzoo.training.stimulus_data import read_recorded
    from calzoo.training.stimulus_evaluate import recordings_of, score_stimulus

    network = StimulusNetwork(model)

    def decode(recorded):
        rows = network.rows(recorded.stimuli)
        numbers, target = recorded.stimuli.frames[rows], np.zeros((len(rows), network.cells + 1), np.float32)
        return rows, np.concatenate([some for _, some, _ in network.blocks(recorded.frames, numbers, target)])

    if paths:
        recordings = [read_recorded(f, after=network.after, cells=network.cells) for f in paths]
    else:
        recordings = recordings_of(recipe(network.card.recipe))
    return score_stimulus(decode, recordings)
