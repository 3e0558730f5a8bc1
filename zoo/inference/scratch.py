"""Room for intermediate volumes: in memory, or in a file that leaves memory free."""

import tempfile

import numpy as np


class Scratch:
    """A volume that is written plane by plane and read back in any order.

    Parameters
    ----------
    shape : tuple of int
        (Z, Y, X).
    dtype : dtype
        Of a voxel.
    folder : path, optional
        Where the file lies; in memory where absent.
    """

    def __init__(self, shape, dtype, folder=None):
        self.shape, self.dtype = tuple(shape), np.dtype(dtype)
        self._done = 0
        # Plain reads and writes: pages of a mapped file would count as memory in use.
        self._file = None if folder is None else tempfile.TemporaryFile(dir=folder)  # noqa: SIM115
        self._array = np.empty(self.shape, self.dtype) if folder is None else None

    def append(self, planes):
        """Write the next planes, (n, Y, X)."""
        if self._file is None:
            self._array[self._done : self._done + len(planes)] = planes
        else:
            self._file.seek(self._done * self._plane_bytes)
            self._file.write(np.ascontiguousarray(planes, self.dtype))
        self._done += len(planes)

    def planes(self, start, stop):
        """Return planes `start` to `stop` (clipped to what there is), (n, Y, X)."""
        start, stop, _ = slice(start, stop).indices(self._done)
        if self._file is None:
            return self._array[start:stop]
        planes = np.empty((max(stop - start, 0), *self.shape[1:]), self.dtype)
        self._file.seek(start * self._plane_bytes)
        self._file.readinto(planes)
        return planes

    def read(self):
        """Return all planes."""
        return self.planes(0, self.shape[0])

    def close(self):
        """Let go of memory or file."""
        if self._file is not None:
            self._file.close()
        self._array = None

    @property
    def _plane_bytes(self):
        return self.shape[1] * self.shape[2] * self.dtype.itemsize

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()
