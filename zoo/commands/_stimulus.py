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
    return score_stimulus(
        keras_decoder(trained),
        recordings,
        test_trials=trained.recipe.test_trials,
        together=trained.recipe.network.get("frames", 1),
    )


def score_file(model, paths=()):
    """Score an exported network, a Model; without folders, on the simulated field of its recipe."""
    import numpy as np

    from calzoo.errors import CalzooError
    from calzoo.inference.stimulus import StimulusNetwork
    from calzoo.training.recipes import recipe
    from calzoo.training.recipes.stimulus import StimulusRecipe
    from calzoo.training.stimulus_evaluate import recordings_of, score_stimulus
    from calzoo.training.stimulus_recordings import read_recorded

    network = StimulusNetwork(model)

    def decode(recorded):
        rows, mask = network.rows(recorded.stimuli), None
        if network.masked:
            if recorded.masks is None:
                message = (
                    f"{recorded.name}: the network {network.card.name!r} sees the stimulated cells alone, "
                    "but there is no masks.npz beside the frames; write one."
                )
                raise CalzooError(message)
            mask = recorded.masks[: network.cells].any(axis=0)
        numbers, target = recorded.stimuli.frames[rows], np.zeros((len(rows), network.cells + 1), np.float32)
        blocks = network.blocks(recorded.frames, numbers, target, mask=mask)
        return rows, np.concatenate([some for _, some, _ in blocks])

    if paths:
        recordings = [read_recorded(f, after=network.after, cells=network.cells) for f in paths]
    else:
        recordings = recordings_of(recipe(network.card.recipe))
    # Cards of before this was written in them are those of the recipe's default.
    trials = int(network.card.postprocessing.get("test_trials", StimulusRecipe.test_trials))
    return score_stimulus(decode, recordings, test_trials=trials, together=network.together)
