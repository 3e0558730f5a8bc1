"""Stacks that are simulated while a network trains: a pool in which old ones make room for new ones."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from calzoo.simulation.axons import simulate_axons
from calzoo.training.progress import shown
from calzoo.training.sources import Recording

#: Stack numbers from here on are for validation, never for training.
VALIDATION = 1_000_000
#: Last words of the seeds: the style has a stream of its own, or it would decide the first numbers of the
#: stack; and no stack is one that `calzoo simulate axons` writes for a report.
_STYLE, _STACK = 1, 2


def simulated_recording(seed, number, shape, styles):
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

    Returns
    -------
    Recording
        With instances.
    """
    shares = np.array(list(styles.values()), float)
    rng = np.random.default_rng([seed, number, _STYLE])
    style = str(rng.choice(list(styles), p=shares / shares.sum()))
    stack = simulate_axons([seed, number, _STACK], shape, style=style)
    return Recording(f"{style}-{number}", "simulation", stack.volume, stack.instances, instances=True)


class SimulatedPool:
    """The stacks to draw tiles from in each epoch, a function of the epoch alone.

    The pool begins with `fresh` stacks; each epoch brings `fresh` more, and beyond
    `size` the oldest leave. One thread works ahead of the training.

    Parameters
    ----------
    make : callable
        ``make(number)`` returns what is kept of stack `number`.
    size, fresh : int
    """

    def __init__(self, make, *, size, fresh):
        self.make, self.size, self.fresh = make, size, fresh
        self._worker = ThreadPoolExecutor(1)
        self._stacks = {}  # number -> future

    def numbers(self, epoch):
        """Return the numbers of the stacks of an epoch."""
        last = (epoch + 1) * self.fresh
        return range(max(0, last - self.size), last)

    def stacks(self, epoch):
        """Return the stacks of an epoch, oldest first, and let the next epoch's be made."""
        wanted = self.numbers(epoch)
        for number in [n for n in self._stacks if n < wanted.start]:
            self._stacks.pop(number).cancel()
        for number in (*wanted, *self.numbers(epoch + 1)):
            if number not in self._stacks:
                self._stacks[number] = self._worker.submit(self.make, number)
        return [self._stacks[number].result() for number in shown(wanted, "recording", "drawing the pool")]

    def close(self):
        """Stop the thread after the stack that it is making."""
        self._worker.shutdown(cancel_futures=True)
