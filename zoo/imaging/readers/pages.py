"""Pages: two-dimensional pictures of one size, numbered, read when they are asked for.

Every format comes down to this. Axis letters are lower case: t time, z plane,
c channel, s sample of a colour, y row, x column; q and i are axes that the
file does not name.
"""

import contextlib
import itertools
import math
import os
import threading
from dataclasses import dataclass, replace

import numpy as np

from calzoo.errors import CalzooError
from calzoo.imaging.frames import all_finite


@dataclass(frozen=True)
class Facts:
    """What the metadata of a recording say beside its pixels; None or empty where they are silent."""

    voxel_um: tuple[float | None, float | None, float | None] | None = None  # z, y, x in micrometres
    frame_rate_hz: float | None = None  # frames (or volumes, where there are planes) per second
    channel_names: tuple[str, ...] = ()
    plain_stack: bool = False  # "z" is only ImageJ's default name for the pages of a plain stack
    is_stack: bool = False  # said to be a stack of pages, even if there is but one


class Pages:
    """Numbered pages of one recording.

    Parameters
    ----------
    path : pathlib.Path or None
        Where they come from, for messages.
    axes : str
        Letters of all axes, e.g. "tzyx". The axes other than y and x count the pages.
    shape : tuple of int
        Lengths, in the order of `axes`.
    dtype : numpy.dtype
        Type of one pixel; native byte order.
    facts : Facts, optional
        What the metadata say.
    """

    def __init__(self, path, axes, shape, dtype, facts=None):
        self.path = path
        self.name = "array" if path is None else os.fspath(path)
        self.axes = axes
        self.shape = tuple(int(n) for n in shape)
        self.dtype = np.dtype(dtype).newbyteorder("=")
        self.facts = Facts() if facts is None else facts
        self.numbers = None  # of the pages that the axes count, where they are not 0, 1, 2...
        self._check()

    def _check(self):
        if self.dtype.kind not in "buif" or self.dtype.itemsize > 8:
            message = (
                f"{self.name}: expected grey values (bool, integer or float), got {self.dtype}; convert it, "
                "e.g. in Fiji with Image > Type > 16-bit."
            )
            raise CalzooError(message)
        if 0 in self.shape:
            message = (
                f"{self.name}: expected an image, got an empty array of shape {self.shape} ({self.axes})."
            )
            raise CalzooError(message)

    @property
    def lead_axes(self):
        """Letters of the axes that count the pages, in file order."""
        return self.axes.replace("y", "").replace("x", "")

    @property
    def lead_shape(self):
        """Lengths of the axes that count the pages."""
        return tuple(n for letter, n in zip(self.axes, self.shape, strict=True) if letter not in "yx")

    @property
    def page_shape(self):
        """Height and width of a page in pixels."""
        return self.shape[self.axes.index("y")], self.shape[self.axes.index("x")]

    @property
    def page_bytes(self):
        """Bytes of one page in memory."""
        return math.prod(self.page_shape) * self.dtype.itemsize

    def relabelled(self, axes, shape, **facts):
        """Give the axes other names, or drop axes of length 1; the pages and their order stay."""
        self.axes, self.shape = axes, tuple(shape)
        self.facts = replace(self.facts, **facts)
        return self

    def read(self, numbers):
        """Return the pages `numbers` as one array.

        Parameters
        ----------
        numbers : sequence of int
            Positions in C order of the axes that count the pages.

        Returns
        -------
        numpy.ndarray, shape (len(numbers), Y, X)
            In native byte order, the caller's own.
        """
        raise NotImplementedError

    def close(self):
        """Let go of the file."""

    def __del__(self):
        # An open file that is forgotten is closed quietly: arrays out is all that most callers want.
        with contextlib.suppress(Exception):
            self.close()


class ArrayPages(Pages):
    """Pages of an array that is already in memory (or behaves as if it were)."""

    def __init__(self, array, axes, path=None, facts=None):
        super().__init__(path, axes, array.shape, array.dtype, facts)
        self._array = np.moveaxis(array, (axes.index("y"), axes.index("x")), (-2, -1))
        self._lead = self._array.shape[:-2]

    def read(self, numbers):
        """Return the pages `numbers`, copied."""
        out = np.empty((len(numbers), *self._array.shape[-2:]), self.dtype)
        for i, number in enumerate(numbers):
            out[i] = self._array[np.unravel_index(int(number), self._lead)]
        return out


class RawPages(Pages):
    """Pages that lie one after the other, uncompressed, in a file.

    They are read, not mapped: a mapped file counts as memory of the process, and
    a file that shrinks while it is mapped kills the process instead of raising.
    """

    def __init__(self, path, axes, shape, stored, offset, facts=None):
        super().__init__(path, axes, shape, stored, facts)
        self._stored = np.dtype(stored)
        self._offset = offset
        self._lock = threading.Lock()
        needed = offset + math.prod(self.shape) * self._stored.itemsize
        there = os.path.getsize(path)
        if there < needed:
            message = (
                f"{path}: the file is truncated: its header promises {needed} bytes (shape {self.shape}, "
                f"{self.dtype}), it has {there}; copy or export it again."
            )
            raise CalzooError(message)
        self._file = open(path, "rb", buffering=0)  # noqa: SIM115 (closed by close)

    def read(self, numbers):
        """Return the pages `numbers`; neighbours are read in one go."""
        numbers = np.asarray(numbers, dtype=np.int64)
        out = np.empty((len(numbers), *self.page_shape), self._stored)
        breaks = np.flatnonzero(np.diff(numbers) != 1) + 1
        for first, last in itertools.pairwise([0, *breaks, len(numbers)]):
            if first < last:
                self._fill(out[first:last], int(numbers[first]))
        if not self._stored.isnative:
            out = out.byteswap(inplace=True).view(self.dtype)
        return out

    def _fill(self, block, number):
        view = memoryview(block).cast("B") if block.dtype.isnative else memoryview(block.view("u1")).cast("B")
        done = 0
        with self._lock:
            self._file.seek(self._offset + number * self.page_bytes)
            while done < len(view):
                count = self._file.readinto(view[done:])
                if not count:
                    message = f"{self.name}: the file ended while it was read; was it changed or cut short?"
                    raise CalzooError(message)
                done += count

    def close(self):
        """Close the file."""
        self._file.close()


class SlicedPages(Pages):
    """Pages of an array that is read by slices; runs of neighbours along one axis are read in one go.

    A class of a format says in `fetch` how it is sliced. The axes may be renamed, and
    those of length 1 dropped; the array keeps its own.
    """

    def __init__(self, path, axes, shape, dtype, facts=None):
        super().__init__(path, axes, shape, dtype, facts)
        self._own_axes = self.axes
        self._own_lead = tuple((a, n) for a, n in zip(self.axes, self.shape, strict=True) if a not in "yx")

    def fetch(self, index):
        """Return what ``array[index]`` holds, of a tuple of ints and slices."""
        raise NotImplementedError

    def read(self, numbers):
        """Return the pages `numbers`."""
        numbers = np.asarray(numbers, dtype=np.int64)
        out = np.empty((len(numbers), *self.page_shape), self.dtype)
        start = 0
        while start < len(numbers):
            stop, block = self._run(numbers, start)
            out[start:stop] = block
            start = stop
        return out

    def _run(self, numbers, start):
        """Return the end of the longest regular run from `start`, and its pages."""
        index, count, moving = {}, 1, None
        if self._own_lead:
            letters, lengths = zip(*self._own_lead, strict=True)
            positions = np.stack(np.unravel_index(numbers[start:], lengths), axis=1)
            index = dict(zip(letters, (int(i) for i in positions[0]), strict=True))
            steps = np.diff(positions, axis=0)
            if len(steps) and np.abs(steps[0]).sum() == 1 and steps[0].max() == 1:
                moving = letters[int(steps[0].argmax())]
                other = (steps != steps[0]).any(axis=1)
                count = 1 + (int(other.argmax()) if other.any() else len(steps))
                index[moving] = slice(index[moving], index[moving] + count)
        block = self.fetch(tuple(index.get(a, slice(None)) for a in self._own_axes))
        left = [a for a in self._own_axes if a in "yx" or a == moving]
        order = [left.index(a) for a in ([moving] if moving else []) + ["y", "x"]]
        return start + count, block.transpose(order)


def finite(block, numbers, pages, kind):
    """Return `block` if all its values are finite and not too large, else say where the first one is not.

    Parameters
    ----------
    block : numpy.ndarray, shape (n, Y, X)
        Some pages.
    numbers : sequence of int
        The number of each, for the message.
    pages : Pages
        Where they come from.
    kind : str
        What a page is called, "plane" or "frame".
    """
    if all_finite(block):
        return block
    page, row, column = (int(i) for i in np.argwhere(~np.isfinite(block))[0])
    message = (
        f"{pages.name}: expected finite values, got {block[page, row, column]} at {kind} {numbers[page]}, "
        f"row {row}, column {column}; replace NaN and infinity, e.g. with numpy.nan_to_num."
    )
    raise CalzooError(message)
