"""Batches whose samples depend on nothing but seed, epoch and number: a run that goes on draws the same."""

import numpy as np


def samples_of(recipe, epoch, step, draw):
    """Draw the samples of a step.

    Parameters
    ----------
    recipe : dataclass
        Its `seed`, and the `batch` of its schedule.
    epoch, step : int
        Counted from 0, the step within the epoch.
    draw : callable
        ``draw(rng)`` returns a sample.

    Returns
    -------
    list
    """
    size = recipe.schedule.batch
    numbers = range(step * size, (step + 1) * size)
    return [draw(np.random.default_rng([recipe.seed, epoch, number])) for number in numbers]


def stacked(samples):
    """Return samples, each a tuple of arrays, as a tuple of arrays whose first axis counts samples."""
    return tuple(np.stack(arrays) for arrays in zip(*samples, strict=True))
