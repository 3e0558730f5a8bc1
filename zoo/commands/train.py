"""Train a recipe's network into a folder, or go on where it was stopped.

SIGTERM and Ctrl-C save a checkpoint and stop; the same command goes on from there
(not with --movie and the recipes centers and centers-seed, which begin anew, and replace
what they made of the same movie; a folder with any other result is refused: remove it before).
The folder gets history.csv, curves.png and weights.safetensors, preview_*.png where the recipe
draws them; of a movie that centers or centers-seed fit, the files that docs/centers.md names.
"""

import json
import re
from contextlib import nullcontext
from pathlib import Path

from calzoo.commands import _options
from calzoo.commands._messages import tell
from calzoo.errors import CalzooError

GROUP = "networks"
REGISTRATION, STIMULUS = "registration", "stimulus"


def add_arguments(parser):
    """Add recipe, run folder, data and settings."""
    parser.add_argument("recipe", metavar="RECIPE", help="such as: axons; a name that is none lists them all")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("-o", "--output", type=Path, metavar="RUN", help="folder of the run")
    what.add_argument(
        "--list-settings",
        action="store_true",
        help="print what --set can change (with --movie: of the fit), each with its value and what it is",
    )
    parser.add_argument(
        "--data",
        action="append",
        default=[],
        type=Path,
        metavar="DIR",
        help="folder of recordings; may be repeated (recipe centers: one pool of simulated ones, or an "
        "empty folder for it)",
    )
    movie = parser.add_argument_group(
        "one movie, without labels (recipes centers, centers-seed and registration)"
    )
    movie.add_argument("--movie", type=Path, metavar="MOVIE", help="fit this movie, in place of --data")
    movie.add_argument(
        "--diameter",
        metavar="SIZE",
        help="of its cells, in pixels (11) or micrometres (14um) (default: measured)",
    )
    own = parser.add_argument_group("one recording of photostimulation, in place of --data")
    own.add_argument("--frames", type=Path, metavar="FILE", help="movie, or frames after the onsets")
    own.add_argument("--table", type=Path, metavar="FILE.csv", help="stimuli, or the label of each frame")
    own.add_argument("--conditions", type=Path, metavar="FILE.csv", help="cells of each condition")
    _options.add_movie_reading(parser, "reading of --frames or --movie")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="FIELD=VALUE",
        help="change a setting of the recipe, such as schedule.epochs=20 or 'tile=[16,64,64]'; may be "
        "repeated (calzoo train RECIPE --list-settings names them)",
    )
    parser.add_argument("--init", metavar="PRESET|RUN|FILE", help="weights to start from")
    parser.add_argument(
        "--threads", type=_options.positive, metavar="N", help="of the CPU (default: all cores)"
    )
    parser.add_argument("--gpus", choices=("one", "all"), default="one", help="split batches over all GPUs")


def run(args):
    """Train until the end of the schedule or until a signal; the status is 1 if it was stopped."""
    if args.list_settings:
        from calzoo.training.settings import listed

        print(listed(_untouched(args)))
        return 0
    reading = _reading(args)
    if args.movie is not None and args.recipe != REGISTRATION:
        from calzoo.commands._fit_centers import fit

        return fit(args, dict(map(setting, args.set)), reading)
    if args.frames is None and args.movie is None and reading:
        given = ", ".join(reading)
        message = (
            f"{given} tells how --frames or --movie is to be read; this run has neither. Leave it away, or "
            "name the movie with --movie."
        )
        raise CalzooError(message)
    if args.diameter is not None:
        message = (
            "--diameter is that of the cells of a movie, which 'calzoo train centers --movie' fits; "
            f"the recipe {args.recipe!r} has no use for it. Leave it away."
        )
        raise CalzooError(message)
    from calzoo.training import backend, distribute
    from calzoo.training.trainer import train

    folders = _folders(args)
    with _options.without_reading() if args.movie is None and args.frames is None else nullcontext():
        recipe = _recipe(args, folders)
        if args.threads:
            backend.limit_threads(args.threads)
        progress = train(
            recipe,
            args.output,
            folders=folders,
            init=args.init,
            strategy=distribute.mirrored() if args.gpus == "all" else None,
            threads=args.threads,
        )
    total = recipe.schedule.epochs * recipe.schedule.steps
    if progress.step < total:
        tell(f"stopped after step {progress.step} of {total}; the same command goes on from there")
        return 1
    print(args.output)
    return 0


def _recipe(args, folders):
    """Return the recipe of the run, or a new one with the settings."""
    from calzoo.training import recipes

    recipe = _untouched(args)
    begun = args.output / "recipe.json"
    if begun.is_file() and not args.set:
        earlier = recipes.from_json(begun.read_text(encoding="utf-8"))
        if earlier.name != recipe.name:
            message = f"{args.output} holds a run of the recipe {earlier.name!r}, not of {recipe.name!r}."
            raise CalzooError(message)
        return earlier
    if folders and hasattr(recipe, "fitted"):
        recipe = recipe.fitted(folders)
    return recipes.changed(recipe, dict(map(setting, args.set)))


def _untouched(args):
    """Return the recipe that the command names, with its default settings."""
    from calzoo.commands._fit_centers import fitted_recipe
    from calzoo.training import recipes

    if args.recipe == REGISTRATION and args.movie is not None:
        return recipes.recipe(f"{REGISTRATION}-movie")
    if args.movie is not None or (args.list_settings and args.recipe == "centers-seed"):
        return fitted_recipe(args.recipe)
    return recipes.recipe(args.recipe)


def _folders(args):
    """Return the data: folders, or one recording with its table."""
    if (args.frames is None) != (args.table is None) or (args.conditions and not args.table):
        message = "a recording needs both --frames FILE and --table FILE.csv; one of them is missing."
        raise CalzooError(message)
    if args.frames is None:
        return args.data if args.movie is None else [*args.data, (args.movie, _reading(args))]
    if not args.recipe.startswith(STIMULUS):
        message = (
            f"--frames and --table are a recording of photostimulation, for the recipes {STIMULUS}...; "
            f"give {args.recipe!r} its recordings with --data."
        )
        raise CalzooError(message)
    return [*args.data, (args.frames, args.table, args.conditions, _reading(args))]


def _reading(args):
    """Return how --frames or --movie is to be read, as far as the command says."""
    return {name: value for name, value in _options.movie_reading(args).items() if value is not None}


def setting(text):
    """Read ``FIELD=VALUE`` as a field and a value of JSON, a number of Python or a text."""
    name, equals, value = text.partition("=")
    if not (name and equals):
        message = f"--set: expected FIELD=VALUE, such as schedule.epochs=20; got {text!r}."
        raise CalzooError(message)
    for read in (json.loads, _number):
        try:
            return name, read(value)
        except ValueError:
            pass
    return name, value  # a text needs no quotes


def _number(text):
    """Read what Python takes for a number and JSON does not: .1, 1., +2, 1_000."""
    if not re.fullmatch(r"[+-]?[0-9_.]+(e[+-]?[0-9]+)?", text, re.IGNORECASE):
        raise ValueError(text)
    return int(text) if text.lstrip("+-").replace("_", "").isdecimal() else float(text)
