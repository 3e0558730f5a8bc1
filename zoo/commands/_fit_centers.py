"""``calzoo train centers --movie``: fit the cells of one movie, without labels."""

from pathlib import Path

from calzoo.commands._messages import tell
from calzoo.errors import CalzooError

#: A network tells the fit of every cell that may be one; what explains nothing is pruned.
_LEAST_SCORE = 0.1


def fit(args, settings, reading):
    """Fit a movie into the folder of the run.

    Parameters
    ----------
    args : argparse.Namespace
        Of ``calzoo train``, with the recipe ``centers`` or ``centers-seed``.
    settings : dict
        Fields of the recipe to change.
    reading : dict
        What the command says of how the movie is to be read, as `calzoo.open_movie` takes it.
    """
    recipe = fitted_recipe(args.recipe)
    seed = args.recipe == "centers-seed"
    if args.data or (seed and (args.init or args.diameter)):
        message = f"the recipe {args.recipe!r} fits one movie, from nothing but itself: leave --data" + (
            ", --init and --diameter away." if seed else " away."
        )
        raise CalzooError(message)
    from calzoo.commands._batch import refuse_another
    from calzoo.training import backend, recipes

    refuse_another(args.output, args.movie, recipe.name)
    if args.threads:
        backend.limit_threads(args.threads)
    (_fit_seed if seed else _fit)(args, recipes.changed(recipe, settings), reading)
    print(args.output)
    return 0


def fitted_recipe(name):
    """Return what fits a movie where ``calzoo train`` is given one with a recipe of this name."""
    from calzoo.training.recipes.centers_fit import CentersFitRecipe
    from calzoo.training.recipes.centers_seed import CentersSeedRecipe

    if name not in ("centers", "centers-seed"):
        message = (
            f"--movie fits the recipes centers, centers-seed and registration to a movie; {name!r} is "
            "trained with --data."
        )
        raise CalzooError(message)
    return CentersSeedRecipe() if name == "centers-seed" else CentersFitRecipe()


def _fit(args, recipe, reading):
    from calzoo.commands._centers import counted
    from calzoo.training.centers_fit_run import fit_recording

    network, facts = (None, None) if args.init is None else _network(args.init, args.threads)
    found = fit_recording(
        args.movie, args.output, recipe, diameter=args.diameter, network=network, model=facts, **reading
    )
    tell(f"{args.movie}: {counted(found)}")


def _network(name, threads):
    """Return a function that finds cells with a run, a preset or a file, and what run.json says of it."""
    from calzoo.commands._centers import KerasCenterNetwork
    from calzoo.inference.center_network import CenterNetwork
    from calzoo.inference.centers import find_centers, model_facts
    from calzoo.inference.models import load_model
    from calzoo.training.runs import load_run
    from calzoo.weights.registry import sha256

    if Path(name).is_dir():
        run = load_run(name)
        network = KerasCenterNetwork(run)
        facts = {"name": run.path.name, "file": run.weights.name, "sha256": sha256(run.weights)}
        facts["provider"] = network.provider
    else:
        network = CenterNetwork(load_model(name, threads=threads))
        facts = model_facts(network)

    def find(movie, diameter):
        return find_centers(movie, model=network, diameter=diameter, threads=threads, score=_LEAST_SCORE)

    return find, facts


def _fit_seed(args, recipe, reading):
    from calzoo.training.centers_seed_run import fit_seed_recording

    errors = fit_seed_recording(args.movie, args.output, recipe, **reading)
    for name, error in errors.items():
        tell(f"mean squared error of frames rebuilt from points {name}: {error:.5f}")
