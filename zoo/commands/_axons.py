"""What 'calzoo evaluate' and 'calzoo release' do with networks for axons."""


def score_run(trained, paths=(), matrices=None):
    """Score a run on each of some data, or on simulated stacks.

    Parameters
    ----------
    trained : calzoo.training.runs.Run
    paths : sequence of pathlib.Path, optional
    matrices : dict, optional
        Gets the confusion matrices, by the name of the data.

    Returns
    -------
    list of calzoo.weights.card.Score
    """
    from calzoo.training import axons_evaluate

    return _score(axons_evaluate.keras_segmenter(trained), paths, matrices)


def score_file(model, paths=(), matrices=None):
    """Score an exported network, a Model, as `score_run` does."""
    return _score(onnx_segmenter(model), paths, matrices)


def _score(segment, paths, matrices):
    from calzoo.training import axons_evaluate

    if not paths:
        return axons_evaluate.score_simulated(segment, matrices=matrices)
    scorers = [_scorer(path) for path in paths]  # all are known before the first is run
    return [
        result
        for scorer, path in zip(scorers, paths, strict=True)
        for result in scorer(segment, path, matrices=matrices)
    ]


def _scorer(path):
    from calzoo.training import axons_evaluate

    if path.suffix == ".py":
        return axons_evaluate.score_law
    if (path / "val_volume_partial.tif").is_file():
        return axons_evaluate.score_trailmap
    return axons_evaluate.score_octa if axons_evaluate.is_octa(path) else axons_evaluate.score_own


def onnx_segmenter(model):
    """Make a function that segments with an exported network, as the pipeline does.

    Parameters
    ----------
    model : calzoo.inference.models.Model

    Returns
    -------
    callable
        ``segment(volume)``: intensities (Z, Y, X) to classes (uint8) and labels (int32).
    """
    from calzoo.inference.axons import segment_axons

    def segment(volume):
        result = segment_axons(volume, model=model)
        return result.semantic, result.instances

    return segment
