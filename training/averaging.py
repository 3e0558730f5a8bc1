"""The mean of the weights of runs of one lineage: a network between an older one and what it became.

    python -m calzoo.training.averaging RUNS/older RUNS/newer -o RUNS/mean

A network that went on training on other data does better on those, and often worse on what it knew.
Where the later run began from the earlier one, their weights lie in one valley, and the network half
way keeps most of both (Wortsman et al., Robust fine-tuning of zero-shot models, CVPR 2022). The new
folder is a run like any other, to evaluate, export and release; its ledger names the runs that it is
the mean of.
"""

import argparse
from pathlib import Path

import numpy as np

from calzoo.errors import CalzooError
from calzoo.training.runs import build_model, load_run, refuse_existing_run, write_run
from calzoo.training.variables import assign, read_arrays


def average_runs(runs, out):
    """Write a run whose weights are the mean of others'.

    Parameters
    ----------
    runs : sequence of path-like
        Folders of at least two runs of the same network. The recipe is that of the last; the sources of
        data are those of all.
    out : path-like
        A folder that does not exist yet.

    Returns
    -------
    calzoo.training.runs.Run

    Raises
    ------
    CalzooError
        If there are fewer than two runs, their networks differ, or `out` exists.
    """
    runs, out = [load_run(path) for path in runs], Path(out)
    if len(runs) < 2:
        message = f"expected at least two runs to average, got {len(runs)}."
        raise CalzooError(message)
    refuse_existing_run(out)
    weights = [read_arrays(run.weights) for run in runs]
    shapes = [{name: array.shape for name, array in one.items()} for one in weights]
    for run, found in zip(runs[1:], shapes[1:], strict=True):
        if found != shapes[0]:
            message = (
                f"{run.path}: expected the variables of {runs[0].path}, got others or other shapes; only "
                "runs of one network can be averaged."
            )
            raise CalzooError(message)
    last = runs[-1]
    model = build_model(last)
    same = [[one[variable.path] for one in weights] for variable in model.weights]
    assign(model.weights, [np.mean(arrays, axis=0, dtype=np.float64) for arrays in same])
    # What any of them has seen, the mean has.
    seen = list(dict.fromkeys(source for run in runs for source in run.sources))
    init = last.init | ({"sources": seen} if set(seen) - set(last.sources) else {})
    averaged = [run.identity() | {"steps": run.ledger.get("steps")} for run in runs]
    ledger = last.cost | {"averaged": averaged}
    return write_run(out, model, last.recipe, fingerprint=last.fingerprint, ledger=ledger, init=init)


def main(argv=None):
    """Average runs, as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="RUN")
    args = parser.parse_args(argv)
    print(average_runs(args.runs, args.output).path)


if __name__ == "__main__":
    main()
