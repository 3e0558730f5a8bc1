"""Tell which neurons were stimulated before each frame, and map what spoke for it.

Of each recording: predictions.csv, cams.tif (mean map of each condition), zncc.csv,
ssd.csv, blocks.csv, pictures, report.html and run.json. --table says what was stimulated
when: a CSV with columns time_s or frame, and cells; or one row per frame. A
laboratory trains its own network first: calzoo train stimulus --frames F --table T.
"""

from pathlib import Path

from calzoo.commands import _options
from calzoo.commands._messages import tell

GROUP = "recordings"


def add_arguments(parser):
    """Add recordings, tables and network."""
    _options.add_inputs(parser, "FRAMES", "movies, or frames after the onsets: TIFF, NPY, HDF5, ...")
    add_tables(parser)
    parser.add_argument(
        "--masks", type=Path, metavar="FILE.npz", help="let the network see the stimulated cells alone"
    )
    _options.add_movie_reading(parser)
    _options.add_network(parser)


def add_tables(parser, nargs=None):
    """Add the tables of stimuli, and what the maps explain."""
    parser.add_argument(
        "--table",
        type=Path,
        nargs=nargs,
        metavar="FILE.csv",
        help="stimuli, or the label of each frame (default: stimuli.csv or labels.csv beside the frames)",
    )
    parser.add_argument("--conditions", type=Path, metavar="FILE.csv", help="cells of each condition")
    parser.add_argument(
        "--target",
        choices=("largest", "stimulated"),
        default="largest",
        help="what the maps explain: the largest output, or those of the stimulated cells (default: largest)",
    )


def table_beside(path):
    """Return the table in the folder of a recording.

    Raises
    ------
    CalzooError
        If there is none.
    """
    from calzoo.errors import CalzooError

    folder = path if path.is_dir() else path.parent
    for name in ("stimuli.csv", "labels.csv"):
        if (folder / name).is_file():
            return folder / name
    message = (
        f"{path}: found neither stimuli.csv nor labels.csv beside it; say with --table what was stimulated."
    )
    raise CalzooError(message)


def load_network(args):
    """Return the network that is named, or the preset, which knows no field of a laboratory."""
    from calzoo.inference.models import load_model
    from calzoo.inference.stimulus import PRESET

    name = _options.models(args).get("model", args.preset)
    if name is None:
        tell(
            f"the preset {PRESET} is used, which knows one simulated field only; of any other field train a "
            "network (calzoo train stimulus --frames F --table T) and give it with --model."
        )
    return load_model(name or PRESET, provider=args.provider, threads=args.threads)


def run(args):
    """Decode one recording after the other, all with one network."""
    from tqdm import tqdm

    from calzoo.commands._batch import run_each
    from calzoo.stimulus.folders import asked_options, run_stimulus

    model = load_network(args)
    reading = _options.movie_reading(args)
    files = {"conditions": args.conditions, "masks": args.masks}

    def table_of(path):
        return args.table or table_beside(path)

    def decode(path, folder):
        with tqdm(unit="frame", desc=path.name, disable=None) as bar:
            result = run_stimulus(
                path,
                folder,
                table_of(path),
                open_options=reading,
                model=model,
                progress=bar.update,
                target=args.target,
                **files,
            )
        scores = result.scores
        tell(
            f"{path}: exactly right {scores['exact']:.3f}, macro-F1 {scores['macro_f1']:.3f}, computed on "
            f"{model.provider}"
        )
        print(folder)

    return run_each(
        args.inputs,
        args.output,
        decode,
        network=model.sha256,
        options=lambda path: asked_options(table_of(path), **files, target=args.target, **reading),
        overwrite=args.overwrite,
    )
