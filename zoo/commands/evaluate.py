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
    from calzoo.commands._scoring import check_data, task_of

    check_data(args.data)
    task, is_run, matrices = task_of(args.network), Path(args.network).is_dir(), {}
    # Only of axons are classes scored.
    more = {"matrices": matrices} if task == "axons" else {}
    with _options.without_reading():
        scores = (_run_scores if is_run else _file_scores)(args, task, more)
    from calzoo.training.pictures import draw_confusions
    from calzoo.training.scores import report

    print(report(scores))
    pictures = args.pictures or (Path(args.network) if is_run else None)
    if pictures and matrices:
        from calzoo.training.recipes.axons import CLASSES

        pictures.mkdir(parents=True, exist_ok=True)
        draw_confusions(pictures, matrices, CLASSES)


def _run_scores(args, task, more):
    """Score a run, which keeps its scores."""
    from calzoo.commands._scoring import scorer
    from calzoo.training import backend, runs

    if args.provider != "auto":
        message = (
            f"--provider {args.provider}: applies to .onnx files and presets; the run {args.network} is "
            "scored by Keras, leave it out or export the run."
        )
        raise CalzooError(message)
    if args.threads:
        backend.limit_threads(args.threads)
    trained = runs.load_run(args.network)
    scores = scorer(task).score_run(trained, args.data, **more)
    runs.save_scores(trained, scores)
    return scores


def _file_scores(args, task, more):
    """Score a preset or an .onnx file."""
    from calzoo.commands._scoring import scorer
    from calzoo.inference.models import load_model

    # A task of several networks loads them itself.
    load = getattr(scorer(task), "load", load_model)
    model = load(args.network, provider=args.provider, threads=args.threads)
    return scorer(task).score_file(model, args.data, **more)
