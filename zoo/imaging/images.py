"""Volumes: one interface to stacks of planes, whatever file they lie in.

A volume is read a few planes at a time, so that its size does not matter. Axes
are (plane, row, column); sizes are in micrometres, in the same order.
"""

import copy
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from calzoo.errors import CalzooError
from calzoo.imaging.diameters import warn_of_large_pixels
from calzoo.imaging.frames import as_array, refuse_file
from calzoo.imaging.readers import axes as axis_names
from calzoo.imaging.readers import files, folders, npy, ome_zarr, tiff
from calzoo.imaging.readers.pages import ArrayPages, Facts, finite


class Volume:
    """Planes of one channel, read when they are asked for.

    Made by `open_volume` and `as_volume`.

    Attributes
    ----------
    shape : tuple of int
        Planes, rows, columns (Z, Y, X).
    dtype : numpy.dtype
        Type of a voxel, native byte order; bool becomes uint8.
    voxel_um : tuple of (float or None) or None
        Side of a voxel in micrometres, (z, y, x); None where nothing is known.
    n_channels : int
        Channels in the file, of which this volume is one.
    channel_names : tuple of str
        Their names where the file gives them, else empty.
    path : pathlib.Path or None
        The file.
    """

    shape: tuple[int, int, int]
    dtype: np.dtype[Any]
    voxel_um: tuple[float | None, float | None, float | None] | None
    n_channels: int
    channel_names: tuple[str, ...]
    path: Path | None

    def __init__(self, pages, numbers, *, voxel_um, n_channels):
        self._pages, self._numbers = pages, numbers
        self.shape = (len(numbers), *pages.page_shape)
        self.dtype = np.dtype("uint8") if pages.dtype == bool else pages.dtype
        self.voxel_um = voxel_um
        warn_of_large_pixels(pages.name, voxel_um and voxel_um[1:])
        self.n_channels = n_channels
        self.channel_names = pages.facts.channel_names
        self.path = pages.path

    def planes(self, start: int, stop: int) -> NDArray[Any]:
        """Return some planes.

        Parameters
        ----------
        start, stop : int
            First plane, and the one after the last, as in a slice.

        Returns
        -------
        numpy.ndarray, shape (n, Y, X)
            The caller's own, in native byte order.

        Raises
        ------
        CalzooError
            If a value is NaN or infinite, or the file is truncated or damaged.
        """
        start, stop, _ = slice(start, stop).indices(self.shape[0])
        block = finite(self._pages.read(self._numbers[start:stop]), range(start, stop), self._pages, "plane")
        return block.view(self.dtype) if block.dtype == bool else block

    def read(self) -> NDArray[Any]:
        """Return all planes as one array, shape (Z, Y, X)."""
        try:
            return self.planes(0, self.shape[0])
        except MemoryError as error:
            need = math.prod(self.shape) * self.dtype.itemsize / 1e9
            message = (
                f"{self._pages.name}: {need:.1f} GB do not fit into memory; read some planes at a time with "
                "planes()."
            )
            raise CalzooError(message) from error

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self.read(), dtype)  # so that np.asarray(volume) is the stack

    def close(self) -> None:
        """Let go of the file."""
        self._pages.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Volume(shape={self.shape}, dtype={self.dtype}, voxel_um={self.voxel_um}, path={self.path})"


def open_volume(
    path: str | os.PathLike[str],
    *,
    axes: str | None = None,
    channel: int | str | None = None,
    voxel_um: Sequence[float | None] | None = None,
) -> Volume:
    """Open a stack of planes.

    Parameters
    ----------
    path : str or os.PathLike
        TIFF (BigTIFF, OME-TIFF, ImageJ hyperstack), NPY or OME-Zarr (the finest level), or a
        folder that holds the planes as one TIFF or PNG each, taken in natural order.
    axes : str, optional
        One letter per axis of the file, e.g. "ZYX", "CZYX", "TYX": what they mean
        where the metadata say nothing, or say it wrongly. Without it the metadata
        decide; the pages of a TIFF without metadata, and the first axis of a 3-D
        NPY, are planes.
    channel : int or str, optional
        Which channel, counted from 0, or by its name; needed where there are several.
    voxel_um : tuple of float, optional
        Side of a voxel in micrometres, (z, y, x), in place of what the metadata say.

    Returns
    -------
    Volume
        Open; its planes are read when they are asked for.

    Raises
    ------
    CalzooError
        If the file is missing, foreign, empty, truncated, not a volume, or ambiguous.

    Examples
    --------
    >>> np.save("stack.npy", np.zeros((12, 48, 64), np.uint16))
    >>> with open_volume("stack.npy", voxel_um=(2, 0.5, 0.5)) as volume:
    ...     volume.planes(0, 4).shape, volume.read().shape, volume.voxel_um
    ((4, 48, 64), (12, 48, 64), (2.0, 0.5, 0.5))
    """
    pages = _open(files.existing(path), axes)
    try:
        return _volume(pages, axes, channel, voxel_um)
    except CalzooError:
        pages.close()
        raise


def as_volume(array, *, axes=None, channel=None, voxel_um=None):
    """Give an array the interface of a volume; a Volume is returned as it is, but for `voxel_um`.

    Parameters
    ----------
    array : array_like or Volume
        Shape (Z, Y, X), or as `axes` say.
    axes, channel, voxel_um
        As for `open_volume`.

    Returns
    -------
    Volume

    Examples
    --------
    >>> import numpy as np
    >>> as_volume(np.zeros((4, 32, 48), "uint16"), voxel_um=(2, 0.5, 0.5)).shape
    (4, 32, 48)
    """
    if isinstance(array, Volume):
        if voxel_um is None:
            return array
        volume = copy.copy(array)
        volume.voxel_um = voxel_size(voxel_um)
        return volume
    refuse_file(array, "open_volume")
    array = as_array(array)
    letters = npy.letters_of("array", array.shape, axes)
    facts = Facts(is_stack=array.ndim > 2)
    return _volume(ArrayPages(array, letters, facts=facts), axes, channel, voxel_um)


def _open(path, axes):
    if path.is_dir() and ome_zarr.is_store(path):
        return ome_zarr.open_zarr(path, axes)
    if path.is_dir():
        return _open_folder(path, axes)
    kind = files.kind_of(path)
    if kind == "TIFF":
        pages = tiff.open_tiff(path)
        try:
            return pages if axes is None else axis_names.relabel(pages, axes)
        except CalzooError:
            pages.close()
            raise
    if kind == "NPY":
        return npy.open_npy(path, axes)
    what = "an unknown kind of file" if kind == "unknown" else f"{kind}, whatever its name says"
    message = (
        f"{path}: expected a volume as TIFF, NPY or OME-Zarr, got {what}; save it as TIFF (in Fiji: "
        "File > Save As > Tiff)."
    )
    raise CalzooError(message)


def _open_folder(folder, axes):
    paths = folders.pictures_in(folder)
    stacks = [p for p in paths if not folders.is_picture(p)]
    if stacks:
        message = (
            f"{folder}: expected a folder of single planes, got a stack in it ({stacks[0].name}); give the "
            "file of the stack itself."
        )
        raise CalzooError(message)
    pages = folders.open_pictures(folder, paths)
    return pages if axes is None else axis_names.relabel(pages, axes)


def _volume(pages, axes, channel, voxel_um):
    is_stack = pages.facts.is_stack or "z" in pages.axes
    if axes is None:
        axis_names.squeeze(pages)
    number, n_channels = axis_names.channel_number(pages, channel)
    fixed = axis_names.fixed_channel(pages, number)
    along = _plane_axis(pages, is_stack)
    numbers = axis_names.page_numbers(pages, along, fixed)
    voxel = pages.facts.voxel_um if voxel_um is None else voxel_size(voxel_um)
    return Volume(pages, numbers, voxel_um=voxel, n_channels=n_channels)


def _plane_axis(pages, is_stack):
    """Return the letter of the axis that counts planes, or say why there is none."""
    sizes = dict(zip(pages.lead_axes, pages.lead_shape, strict=True))
    others = [a for a in pages.lead_axes if a not in "zcs" and sizes[a] > 1]
    if "z" in sizes and not others:
        return "z"
    if not others:
        if is_stack:
            return "z"
        height, width = pages.page_shape
        message = (
            f"{pages.name}: expected a volume (a stack of planes), got one picture of {height} x {width} "
            "pixels; give the whole stack, or pass "
            f"{axis_names.asked(pages.name, 'axes', 'ZYX')} if one plane is all there is."
        )
        raise CalzooError(message)
    if len(others) == 1 and others[0] in axis_names.UNNAMED and "z" not in sizes:
        return others[0]  # pages without a name are planes: a stack is what was asked for
    if others == ["t"] and "z" not in sizes:
        example = pages.axes.upper().replace("T", "Z")
        message = (
            f"{pages.name}: expected planes, got time points: {axis_names.described(pages)}; if they are "
            f"planes that were saved as time points, pass {axis_names.asked(pages.name, 'axes', example)}."
        )
    elif "t" in others:
        message = (
            f"{pages.name}: expected one volume, got several time points: {axis_names.described(pages)}; "
            "save one of them (in Fiji: Image > Duplicate), or take the mean over time."
        )
    else:
        message = (
            f"{pages.name}: which axis counts the planes? The file does not say: "
            f"{axis_names.described(pages)}; pass one letter per axis, e.g. "
            f"{axis_names.asked(pages.name, 'axes', 'CZYX')}."
        )
    raise CalzooError(message)


def voxel_size(voxel_um):
    """Return (z, y, x) in micrometres as floats, or say what is wrong.

    Parameters
    ----------
    voxel_um : sequence of 3 (float or None)
        Side of a voxel along z, y and x.
    """
    try:
        sizes = tuple(None if v is None else float(v) for v in voxel_um)
    except (TypeError, ValueError):
        sizes = ()
    if len(sizes) != 3 or any(v is not None and not (math.isfinite(v) and v > 0) for v in sizes):
        message = (
            f"voxel size: expected three lengths in micrometres (z, y, x), all above 0, got {voxel_um!r}; "
            "e.g. (2, 0.5, 0.5), on the command line --voxel 2,0.5,0.5."
        )
        raise CalzooError(message)
    return sizes
