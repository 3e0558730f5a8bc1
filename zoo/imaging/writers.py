"""Writers of volumes and movies: TIFFs that Fiji opens with the right axes, voxel size and contrast."""

import contextlib
import math
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calzoo import __version__
from calzoo.errors import CalzooError
from calzoo.imaging.frames import MovieLike, as_movie
from calzoo.imaging.images import voxel_size
from calzoo.imaging.outputs import check_target, in_bytes, refuse_existing, refuse_inputs, written
from calzoo.imaging.parts import clear_part, part_path
from calzoo.imaging.readers.files import as_path

# What ImageJ's own reader opens. It shows int32 (labels) as 32-bit float, exact up to 2**24.
_DTYPES = ("uint8", "uint16", "int16", "int32", "float32")
# A classic TIFF counts bytes in 32 bits; each page's directory takes some 250 of them.
_CLASSIC_LIMIT = 2**32 - 2**20
_BYTES_PER_DIRECTORY = 512
_CHUNK_BYTES = 64 * 2**20
_IMAGEJ_ORDER = "tzcyx"
_IMAGEJ_NAMES = {"c": "channels", "z": "slices", "t": "frames"}


class VolumeWriter:
    """Write a stack plane by plane; it gets its name when it is complete.

    Below 4 GB the file is an uncompressed TIFF with ImageJ's metadata, which Fiji opens
    by itself; above, an OME-BigTIFF, which Fiji opens with Bio-Formats. As ImageJ has
    no 32-bit integers, it shows int32 labels as 32-bit float; the file keeps int32.

    Parameters
    ----------
    path : str or os.PathLike
        The file.
    shape : tuple of int
        Lengths of the axes.
    dtype : dtype
        bool (written as uint8), uint8, uint16, int16, int32 or float32.
    voxel_um : tuple of (float or None), optional
        Side of a voxel in micrometres, (z, y, x).
    axes : str, optional
        Order of the axes: of "tzcyx" those that there are, in that order.
    frame_rate_hz : float, optional
        Frames per second, where there is an axis "t".

    Raises
    ------
    CalzooError
        If the data type cannot be opened by Fiji, the disk is full, or fewer planes
        came than were announced.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "labels.tif"
    >>> with VolumeWriter(path, (2, 8, 8), "int32", (2.0, 0.5, 0.5)) as writer:
    ...     for plane in range(2):
    ...         writer.append(np.zeros((1, 8, 8), "int32"))
    """

    def __init__(self, path, shape, dtype, voxel_um=None, axes="zyx", *, frame_rate_hz=None):
        self.path = as_path(path, "the name of a TIFF file to write")
        self.shape = tuple(int(n) for n in shape)
        self.dtype = _writable(path, dtype)
        self.axes = _checked_axes(path, axes, self.shape)
        self._voxel = (None, None, None) if voxel_um is None else voxel_size(voxel_um)
        self._rate = None if frame_rate_hz is None else float(frame_rate_hz)
        self._done = 0
        self._range = (math.inf, -math.inf)
        self._part = part_path(self.path)
        self._tif = None
        self._open()

    def _open(self):
        import tifffile

        check_target(self.path)
        clear_part(self._part)
        pages = math.prod(self.shape[:-2])
        size = math.prod(self.shape) * self.dtype.itemsize + pages * _BYTES_PER_DIRECTORY
        self._big = size > _CLASSIC_LIMIT
        with written(self.path):
            free = shutil.disk_usage(self.path.absolute().parent).free
        if free < size:
            message = (
                f"{self.path}: needs {in_bytes(size)}, the disk has {in_bytes(free)} free; make room "
                "or choose another place."
            )
            raise CalzooError(message)
        with written(self.path):
            self._tif = tifffile.TiffWriter(self._part, bigtiff=self._big)

    def append(self, planes):
        """Write the next planes.

        Parameters
        ----------
        planes : numpy.ndarray, shape (n, ...)
            As many as there are along the first axis; the other axes are whole.
        """
        planes = np.asarray(planes)
        if planes.shape[1:] != self.shape[1:] or self._done + len(planes) > self.shape[0]:
            message = (
                f"{self.path}: expected at most {self.shape[0] - self._done} more of shape {self.shape[1:]}, "
                f"got an array of shape {planes.shape}."
            )
            self.abort()
            raise CalzooError(message)
        try:
            planes = _converted(self.path, planes, self.dtype)
            if planes.size:
                self._range = (
                    min(self._range[0], planes.min()),
                    max(self._range[1], planes.max()),
                )
            with written(self.path):
                for page in planes.reshape(-1, *self.shape[-2:]):
                    self._tif.write(page, **self._tags())
        except BaseException:
            self.abort()
            raise
        self._done += len(planes)

    def _tags(self):
        """Return the arguments of every page; the metadata count on the first one only."""
        _, y, x = self._voxel
        cm = 1e4 if self._big else 1.0  # ImageJ gives the unit in its description
        known = x is not None and y is not None
        return {
            "contiguous": True,
            "photometric": "minisblack",
            "metadata": None,
            "description": self._description(),
            "software": f"calzoo {__version__}",
            "resolution": (cm / x, cm / y) if known else (1, 1),
            "resolutionunit": "CENTIMETER" if self._big and known else "NONE",
        }

    def _description(self, contrast=""):
        return self._ome_description() if self._big else self._imagej_description(contrast)

    def _imagej_description(self, contrast):
        lines = ["ImageJ=1.11a", f"images={math.prod(self.shape[:-2])}"]
        lines += [f"{_IMAGEJ_NAMES[a]}={n}" for a, n in zip(self.axes, self.shape, strict=True) if a in "czt"]
        lines += ["hyperstack=true", "mode=grayscale"]
        z, y, x = self._voxel
        if y is not None and x is not None:  # one unit counts for all axes: pixels are 1 where it is given
            lines += ["unit=um"] + ([] if z is None else [f"spacing={z!r}"])
        if self._rate:
            lines += [f"finterval={1 / self._rate!r}", f"fps={self._rate!r}"]
        return "\n".join([*lines, "loop=false", contrast]) + "\n"

    def _ome_description(self):
        import tifffile

        sizes = {f"PhysicalSize{a}": v for a, v in zip("ZYX", self._voxel, strict=True) if v is not None}
        if self._rate:
            sizes["TimeIncrement"] = 1 / self._rate
        xml = tifffile.OmeXml(Creator=f"calzoo {__version__}")
        stored = (math.prod(self.shape[:-2]), 1, 1, *self.shape[-2:], 1)
        xml.addimage(self.dtype, self.shape, stored, axes=self.axes.upper(), Name=self.path.stem, **sizes)
        return xml.tostring()

    def close(self):
        """Finish the file and give it its name."""
        if self._tif is None:
            return
        if self._done < self.shape[0]:
            done = self._done
            self.abort()
            message = f"{self.path}: expected {self.shape[0]} planes, got {done}; nothing was written."
            raise CalzooError(message)
        try:
            with written(self.path):
                self._tif.close()
                self._set_contrast()
                os.replace(self._part, self.path)
        except BaseException:
            self.abort()
            raise
        self._tif = None

    def _set_contrast(self):
        """Tell ImageJ the range of values: classes 0, 1, 2 are black on its scale of 0 to 255."""
        low, high = self._range
        if self._big or not low < high or not math.isfinite(float(high) - float(low)):
            return
        if self.dtype == np.int16:  # kept as unsigned there, shifted by this much
            low, high = low + 2.0**15, high + 2.0**15
        import tifffile

        contrast = f"min={float(low)!r}\nmax={float(high)!r}"
        with tifffile.TiffFile(self._part, mode="r+b") as tif:
            tif.pages.first.tags["ImageDescription"].overwrite(self._description(contrast))

    def abort(self):
        """Give up: nothing is left on the disk."""
        if self._tif is not None:
            # A half-written file may refuse to be closed; it goes anyway.
            with contextlib.suppress(Exception):
                self._tif.close()
            self._tif = None
        self._part.unlink(missing_ok=True)

    def __enter__(self):
        return self

    def __exit__(self, kind, *error):
        if kind is None:
            self.close()
        else:
            self.abort()


def write_volume(path, array, *, voxel_um=None, axes="zyx"):
    """Write an array as a TIFF that Fiji opens with the right axes and voxel size.

    Parameters
    ----------
    path : str or os.PathLike
        The file.
    array : numpy.ndarray
        Its axes as in `axes`; data types as for `VolumeWriter`.
    voxel_um : tuple of (float or None), optional
        Side of a voxel in micrometres, (z, y, x).
    axes : str, optional
        Order of the axes, of "tzcyx".

    Raises
    ------
    CalzooError
        As `VolumeWriter`.
    """
    array = np.asarray(array)
    with VolumeWriter(path, array.shape, array.dtype, voxel_um, axes) as writer:
        for plane in range(array.shape[0]):
            writer.append(array[plane : plane + 1])


def _writable(path, dtype):
    dtype = np.dtype(dtype)
    if dtype.kind == "b":
        return np.dtype("uint8")
    if dtype.newbyteorder("=").name not in _DTYPES:
        message = (
            f"{path}: Fiji cannot open {dtype} as TIFF; convert to one of {', '.join(_DTYPES)}, e.g. "
            "array.astype('float32')."
        )
        raise CalzooError(message)
    return dtype.newbyteorder("=")


def _checked_axes(path, axes, shape):
    letters = str(axes).lower()
    ordered = "".join(a for a in _IMAGEJ_ORDER if a in letters)
    if letters != ordered or not letters.endswith("yx") or len(letters) < 3 or len(letters) != len(shape):
        message = (
            f"{path}: expected axes out of 'tzcyx' in that order, one for each of the lengths {shape} and at "
            f"least one before 'yx', got {axes!r}; transpose the array."
        )
        raise CalzooError(message)
    if 0 in shape:
        message = f"{path}: expected an image, got an empty array of shape {shape}."
        raise CalzooError(message)
    return letters


def _converted(path, planes, dtype):
    """Return `planes` in the data type of the file, without changing a whole number."""
    out = planes.astype(dtype, copy=False)
    if dtype.kind in "iu" and planes.dtype != dtype and not (out == planes).all():
        message = (
            f"{path}: values of {planes.dtype} do not fit into {dtype}; write {planes.dtype} or rescale."
        )
        raise CalzooError(message)
    return out


def tiff_name(path) -> Path:
    """Return the name of a TIFF file to write as a Path, or raise CalzooError."""
    path = as_path(path, "the name of a TIFF file for the result (OUT.tif)")
    if path.suffix.lower() not in (".tif", ".tiff"):
        message = f"expected the name of a TIFF file for the result (OUT.tif), got {path}."
        raise CalzooError(message)
    return path


def write_movie(
    path: str | os.PathLike[str],
    movie: NDArray[Any] | MovieLike,
    *,
    frame_rate_hz: float | None = None,
    pixel_um: Sequence[float] | None = None,
    overwrite: bool = False,
) -> None:
    """Write a movie as a TIFF that Fiji opens with the right frame rate and pixel size.

    Parameters
    ----------
    path : str or os.PathLike
        The file, OUT.tif or OUT.tiff.
    movie : numpy.ndarray, shape (T, Y, X), or Movie
        Data types as for `VolumeWriter`. A Movie is read some frames at a time.
    frame_rate_hz : float, optional
        Frames per second; by default the movie's own.
    pixel_um : tuple of float, optional
        Side of a pixel in micrometres, (y, x); by default the movie's own.
    overwrite : bool, optional
        Replace a file that is there, unless the movie is read from it.

    Raises
    ------
    CalzooError
        As `VolumeWriter`; if the name is not that of a TIFF file, or there is a file and `overwrite` is
        False.

    Examples
    --------
    >>> write_movie("movie.tif", np.zeros((20, 32, 48), np.uint16), frame_rate_hz=30, pixel_um=(0.8, 0.8))
    """
    path, movie = tiff_name(path), as_movie(movie)
    if not overwrite:
        refuse_existing([path])
    source = getattr(movie, "path", None)
    refuse_inputs([path], [] if source is None else [source])
    rate = getattr(movie, "frame_rate_hz", None) if frame_rate_hz is None else frame_rate_hz
    pixel = getattr(movie, "pixel_um", None) if pixel_um is None else pixel_um
    voxel = None if pixel is None else (None, *pixel)
    size = max(_CHUNK_BYTES // max(math.prod(movie.shape[1:]) * movie.dtype.itemsize, 1), 1)
    with VolumeWriter(path, movie.shape, movie.dtype, voxel, "tyx", frame_rate_hz=rate) as writer:
        for start in range(0, movie.shape[0], size):
            writer.append(movie.frames(start, start + size))
