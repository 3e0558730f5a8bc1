"""What is simulated while a network trains: a pool in which old stacks make room for new ones."""

from concurrent.futures import ThreadPoolExecutor

from calzoo.training.progress import shown

#: Stack numbers from here on are for validation, never for training.
VALIDATION = 1_000_000


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
