"""A wider proposal network that computes what a trained one does, to go on training from.

    python -m calzoo.training.cells_widening RUNS/proposal --filters 24,48,96 --bottom 160 -o RUNS/wide

Channels are added that nothing listens to yet: their own weights are random, those from them to the channels
that were there are 0 (after Chen et al., Net2Net, ICLR 2016, who copy channels instead). The new folder is a
run to begin from: ``--init RUNS/wide --set network.filters=[24,48,96] --set network.bottom=160``.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np

from calzoo.errors import CalzooError
from calzoo.training.runs import build_model, load_run, refuse_existing_run, write_run
from calzoo.training.variables import assign, values_of


def widen_run(run, out, *, filters, bottom):
    """Write a run of a wider proposal network with the outputs of a trained one.

    Parameters
    ----------
    run : path-like
        Folder of a run of the recipe `cells-proposal` or `cells-proposal-research`.
    out : path-like
        A folder that does not exist yet.
    filters : sequence of int
        Channels of each level.
    bottom : int
        Channels of the coarsest level.

    Returns
    -------
    calzoo.training.runs.Run

    Raises
    ------
    CalzooError
        If the run is of another network, a level would become narrower, or `out` exists.
    """
    run, out = load_run(run), Path(out)
    old = getattr(run.recipe, "network", {})
    widths = (*old.get("filters", ()), old.get("bottom", 0))
    wider = (*map(int, filters), int(bottom))
    if getattr(run.recipe, "role", None) != "proposal":
        message = (
            f"{run.path}: expected a run of a proposal network, got one of the recipe {run.recipe.name!r}."
        )
        raise CalzooError(message)
    if len(wider) != len(widths) or any(new < was for new, was in zip(wider, widths, strict=True)):
        message = (
            f"expected {len(widths) - 1} filters and a bottom that are not narrower than those of "
            f"{run.path}, {list(widths)}, got {list(wider)}."
        )
        raise CalzooError(message)
    refuse_existing_run(out)
    recipe = replace(run.recipe, network={**old, "filters": wider[:-1], "bottom": wider[-1]})
    trained = build_model(run)
    keras.utils.set_random_seed(recipe.seed)
    model = recipe.build()
    assign(model.weights, _widened(trained, model))
    return write_run(
        out,
        model,
        recipe,
        fingerprint=run.fingerprint,
        ledger={**run.ledger, "widened": run.identity()},
        init={**run.identity(), "sources": list(run.sources)},
    )


def _widened(trained, model):
    """Return the values of the wider model's variables."""
    values = []
    for variable, fresh, kept in zip(
        trained.weights, values_of(model.weights), values_of(trained.weights), strict=True
    ):
        layer, kind = variable.path.split("/")[-2:]
        if kind == "kernel" and kept.ndim == 4 and fresh.shape != kept.shape:
            # Axes (y, x, in, out); a transposed convolution has them the other way round.
            turned = layer.endswith("_expand")
            fresh, kept = (np.swapaxes(k, 2, 3) if turned else k for k in (fresh, kept))
            inputs = _inputs(layer, fresh.shape[2], kept.shape[2])
            fresh[:, :, :, : kept.shape[3]] = 0
            fresh[:, :, inputs, : kept.shape[3]] = kept
            fresh = np.swapaxes(fresh, 2, 3) if turned else fresh
        else:  # one number, or one row of them, for each channel
            fresh[..., : kept.shape[-1]] = kept
        values.append(fresh)
    return values


def _inputs(layer, wider, narrower):
    """Return where the channels that were there are among those that a layer of the wider model sees."""
    if not (layer.startswith("up") and layer.endswith("_conv1")):
        return np.arange(narrower)
    # Two joined tensors: from below, and from the level itself, with as many channels each.
    half = np.arange(narrower // 2)
    return np.concatenate([half, wider // 2 + half])


def main(argv=None):
    """Widen a network, as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, metavar="RUN")
    parser.add_argument("--filters", required=True, help="channels of each level, e.g. 24,48,96")
    parser.add_argument("--bottom", required=True, type=int, help="channels of the coarsest level")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="RUN")
    args = parser.parse_args(argv)
    filters = [int(width) for width in args.filters.split(",")]
    print(widen_run(args.run, args.output, filters=filters, bottom=args.bottom).path)


if __name__ == "__main__":
    main()
