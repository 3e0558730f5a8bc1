"""Several recordings one after the other: a long acquisition in many files."""

import numpy as np

from calzoo.errors import CalzooError
from calzoo.imaging.readers.pages import Pages


class JoinedPages(Pages):
    """Pages of several files, of which only one is open at a time.

    Parameters
    ----------
    path : pathlib.Path or None
        The folder, for messages.
    parts : sequence of (callable, numpy.ndarray)
        For each file what opens it as Pages, and the numbers of its pages that count.
    first : Pages
        The first file, open: it says what the others must be like.
    """

    def __init__(self, path, parts, first):
        self._parts = parts
        self._ends = np.cumsum([len(numbers) for _, numbers in parts])
        self._open = (0, first)
        super().__init__(path, "tyx", (int(self._ends[-1]), *first.page_shape), first.dtype, first.facts)

    def read(self, numbers):
        """Return the pages `numbers`, counted over all files."""
        numbers = np.asarray(numbers, dtype=np.int64)
        out = np.empty((len(numbers), *self.page_shape), self.dtype)
        which = np.searchsorted(self._ends, numbers, side="right")
        start = 0
        while start < len(numbers):
            part = int(which[start])
            run = which[start:] != part
            stop = start + int(run.argmax()) if run.any() else len(numbers)
            first = int(self._ends[part - 1]) if part else 0
            out[start:stop] = self._part(part).read(self._parts[part][1][numbers[start:stop] - first])
            start = stop
        return out

    def _part(self, number):
        if self._open[0] != number:
            self._open[1].close()
            pages = self._parts[number][0]()
            check_alike(pages, self.page_shape, self.dtype)
            self._open = (number, pages)
        return self._open[1]

    def close(self):
        """Close the file that is open."""
        self._open[1].close()


def check_alike(pages, page_shape, dtype):
    """Say so if a file's pages differ from those of the first one."""
    if pages.page_shape != page_shape or pages.dtype != dtype:
        message = (
            f"{pages.name}: expected pages of {page_shape} {dtype} as in the first file of the recording, "
            f"got {pages.page_shape} {pages.dtype}; give the files of one recording only."
        )
        raise CalzooError(message)
