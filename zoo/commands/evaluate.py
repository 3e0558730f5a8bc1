"""Score a network, beside the classical baseline and chance on the same data.

Without --data on simulated stacks that no recipe trains on; the scores of a run
are kept in its folder and go into the card at export. Each --data is told by what
it holds: val_volume_partial.tif (TRAILMAP), volume.tif and label.tif (OCT-A), or
a .py file with make_stack(seed), or any other folder of labelled stacks, named as for 'calzoo train
axons', which should hold none that was trained on. Confusion matrices are drawn as confusion_DATA.png.
Networks for registration are scored on simulated pairs, or with --data on a .py file
with make_pair(seed, photons, variant); networks for centres on simulated movies. Networks for stimuli
are scored on the last trials of the recording whose folder (frames and table) is given with --data.
The two networks for cells are scored together (a run with that of the other role beside it) on simulated
recordings, or on the labelled pictures of a folder that is given with --data.
"""

import os
from pathlib import Path

from calzoo.commands import _options
from calzoo.errors import CalzooError

GROUP = "networks"


def add_arguments(parser):
    """Add what is scored, on what."""
    parser.add_argument(
        "network", metavar="RUN|PRESET|FILE.onnx", help="a run is scored by Keras, others by ONNX Runtime"
    )
    parser.add_argument(
        "--data", action="append", default=[], type=Path, metavar="PATH", help="may be repeated"
    )
    parser.add_argument(
        "--pictures",
        type=Path,
        metavar="DIR",
        help="where the confusion matrices are drawn (default: the folder of a run, nowhere for others)",
    )
    _options.add_provider(parser)


def run(args):
    """Print one line for each score."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    from calzoo.commands._scoring import check_data, scorer, task_of

    check_data(args.data)
    name = task_of(args.network)
    from calzoo.inference.models import load_model
    from calzoo.training import distribute, evaluate, runs
    from calzoo.training.pictures import draw_confusions
    from calzoo.training.scores import report

    task, matrices, pictures = scorer(name), {}, args.pictures
    if Path(args.network).is_dir():
        if args.provider != "auto":
            message = (
                f"--provider {args.provider}: applies to .onnx files and presets; the run {args.network} is "
                "scored by Keras, leave it out or export the run."
            )
            raise CalzooError(message)
        if args.threads:
            distribute.limit_threads(args.threads)
        trained = runs.load_run(args.network)
        scores = task.score_run(trained, args.data) if task else score_run(trained, args.data, matrices)
        runs.save_scores(trained, scores)
        pictures = pictures or Path(args.network)
    else:
        # A task of several networks loads them itself.
        load = getattr(task, "load", load_model)
        model = load(args.network, provider=args.provider, threads=args.threads)
        scores = task.score_file(model, args.data) if task else score(_segmenter(model), args.data, matrices)
    print(report(scores))
    if pictures and matrices:
        pictures.mkdir(parents=True, exist_ok=True)
        draw_confusions(pictures, matrices, evaluate.CLASSES)


def score_run(trained, paths=(), matrices=None):
    """Score a run of an axon recipe, as `score` does."""
    from calzoo.training import evaluate

    return score(evaluate.keras_segmenter(trained), paths, matrices)


def score(segment, paths=(), matrices=None):
    """Score a segmenter on each of some data, or on simulated stacks.

    Parameters
    ----------
    segment : callable
        ``segment(volume) -> (semantic, instances)``.
    paths : sequence of pathlib.Path, optional
    matrices : dict, optional
        Gets the confusion matrices, by the name of the data.

    Returns
    -------
    list of calzoo.weights.card.Score
    """
    from calzoo.training import evaluate

    if not paths:
        return evaluate.score_simulated(segment, matrices=matrices)
    scorers = [_scorer(path) for path in paths]  # all are known before the first is run
    return [
        result
        for scorer, path in zip(scorers, paths, strict=True)
        for result in scorer(segment, path, matrices=matrices)
    ]


def _scorer(path):
    from calzoo.training import evaluate

    if path.suffix == ".py":
        return evaluate.score_law
    if (path / "val_volume_partial.tif").is_file():
        return evaluate.score_trailmap
    return evaluate.score_octa if evaluate.is_octa(path) else evaluate.score_own


def _segmenter(model):
    from calzoo.inference.axons import segment_axons

    def segment(volume):
        result = segment_axons(volume, model=model)
        return result.semantic, result.instances

    return segment
