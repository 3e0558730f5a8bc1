"""The weights that the loss gives the classes, changed after the training.

    python -m calzoo.training.axons_class_weights RUNS/axons --weights 1,1.1,0.9 -o RUNS/weighted

A network that was trained with a class of twice the weight gives it twice the odds that the data have. So for
other weights the odds of each class change by the ratio of the weights, which the last biases of the network
hold as logarithms (Saerens et al., Neural Computation 14, 2002, do so for other shares of the classes). Dice,
the other part of the loss, is left aside. The new folder is a run like any other.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

from calzoo.errors import CalzooError
from calzoo.training.runs import build_model, load_run, refuse_existing_run, write_run
from calzoo.training.variables import assign, values_of


def reweight_run(run, out, weights):
    """Write a run whose network gives the classes the odds that training with other weights would give.

    Parameters
    ----------
    run : path-like
        Folder of a run of an axon recipe.
    out : path-like
        A folder that does not exist yet.
    weights : sequence of float
        Of background, axon and border, all above 0.

    Returns
    -------
    calzoo.training.runs.Run

    Raises
    ------
    CalzooError
        If the run is of another recipe, the weights are no three positive numbers, or `out` exists.
    """
    run, out = load_run(run), Path(out)
    trained = getattr(run.recipe, "class_weights", None)
    if trained is None:
        message = f"{run.path}: expected a run of axons, whose loss weighs classes, got {run.recipe.name!r}."
        raise CalzooError(message)
    weights = tuple(map(_number, weights))
    if len(weights) != len(trained) or not all(0 < weight < np.inf for weight in weights):
        message = f"expected {len(trained)} weights of classes above 0, got {list(weights)}."
        raise CalzooError(message)
    refuse_existing_run(out)
    model = build_model(run)
    values = values_of(model.weights)
    last = max(i for i, variable in enumerate(model.weights) if variable.path.endswith("/bias"))
    values[last] = values[last] + np.log(_shares(weights) / _shares(trained)).astype(values[last].dtype)
    assign(model.weights, values)
    recipe = replace(run.recipe, class_weights=weights)
    ledger = run.cost | {"reweighted": run.identity() | {"weights": list(trained)}}
    return write_run(out, model, recipe, fingerprint=run.fingerprint, ledger=ledger, init=run.init)


def _number(weight):
    try:
        return float(weight)
    except ValueError:
        return np.nan


def _shares(weights):
    return np.asarray(weights, float) / np.sum(weights)


def main(argv=None):
    """Change the weights of a run's classes, as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, metavar="RUN")
    parser.add_argument("--weights", required=True, help="of background, axon and border, e.g. 1,1.1,0.9")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="RUN")
    args = parser.parse_args(argv)
    print(reweight_run(args.run, args.output, args.weights.split(",")).path)


if __name__ == "__main__":
    main()
