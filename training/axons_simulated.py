"""Simulated stacks of axons, by the number that they have in a run."""

import numpy as np

from calzoo.simulation.axons import simulate_axons
from calzoo.training.axons_sources import Recording

#: Last words of the seeds: the style has a stream of its own, or it would decide the first numbers of the
#: stack; and no stack is one that `calzoo simulate axons` writes for a report.
_STYLE, _STACK, _SIZE = 1, 2, 3


def simulated_recording(seed, number, shape, styles, largest=1.0):
    """Simulate stack `number` of a run.

    Parameters
    ----------
    seed : int
        Of the recipe.
    number : int
        Any; the same pair of `seed` and `number` gives the same stack.
    shape : tuple of int
        (Z, Y, X).
    styles : dict of str to float
        Style -> how often it is drawn, relative to the others.
    largest : float, optional
        Half of the stacks show everything larger than their style draws it, by up to this factor.

    Returns
    -------
    Recording
        With instances.
    """
    shares = np.array(list(styles.values()), float)
    rng = np.random.default_rng([seed, number, _STYLE])
    style = str(rng.choice(list(styles), p=shares / shares.sum()))
    factor = largest ** max(0.0, np.random.default_rng([seed, number, _SIZE]).uniform(-1, 1))
    stack = simulate_axons([seed, number, _STACK], shape, style=style, magnification=factor)
    return Recording(f"{style}-{number}", "simulation", stack.volume, stack.instances, instances=True)
