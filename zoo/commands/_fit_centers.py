"""``calzoo train centers --movie``: fit the cells of one movie, without labels."""

from calzoo.commands._messages import tell
from calzoo.errors import CalzooError


def fit(args, settings):
    """Fit a movie into the folder of the run.

    Parameters
    ----------
    args : argparse.Namespace
        Of ``calzoo train``.
    settings : dict
        Fields of the recipe to change.
    """
    if args.recipe != "centers":
        message = f"--movie fits the recipe 'centers' to a movie; {args.recipe!r} is trained with --data."
        raise CalzooError(message)
    if args.data or args.init:
        message = "--movie fits one movie, from nothing but itself: leave --data and --init away."
        raise CalzooError(message)
    from calzoo.inference.diameters import diameter_px
    from calzoo.training import distribute, recipes
    from calzoo.training.centers_fit import fit_recording
    from calzoo.training.recipes.centers_fit import CentersFitRecipe

    recipe = recipes.changed(CentersFitRecipe(), settings)
    if args.threads:
        distribute.limit_threads(args.threads)
    found = fit_recording(args.movie, args.output, recipe, diameter=diameter_px(args.diameter, None))
    tell(f"{args.movie}: {found.count} cells of about {found.diameter_px:.1f} px")
    print(args.output)
    return 0
