"""Movies: one interface to recordings over time, whatever files they lie in.

A movie is read a few frames at a time, so that its length does not matter. Axes
are (frame, row, column).
"""

import functools
import math
import operator
import os
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from calzoo.errors import CalzooError
from calzoo.imaging.diameters import warn_of_large_pixels
from calzoo.imaging.readers import axes as axis_names
from calzoo.imaging.readers import files, folders, hdf5, npy, ome_zarr, suite2p, tiff, video
from calzoo.imaging.readers.joined import JoinedPages, check_alike
from calzoo.imaging.readers.pages import finite

CHUNK_BYTES = 64 * 2**20
_VIDEOS = ("AVI", "MP4", "Matroska", "GIF")
_VIDEO_SUFFIXES = (".avi", ".mp4", ".m4v", ".mov", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".ogv", ".flv")


class Movie:
    """Frames of one channel and one plane, read when they are asked for.

    Made by `open_movie`.

    Attributes
    ----------
    shape : tuple of int
        Frames, rows, columns (T, Y, X).
    dtype : numpy.dtype
        Type of a pixel, native byte order; bool becomes uint8.
    frame_rate_hz : float or None
        Frames per second (volumes per second where the recording has several planes).
    pixel_um : tuple of (float, float) or None
        Side of a pixel in micrometres, (y, x).
    n_channels, n_planes : int
        Channels and planes in the recording, of which this movie is one each.
    channel_names : tuple of str
        Names of the channels where the file gives them, else empty.
    path : pathlib.Path or None
        The file or folder; None for a list of files.
    """

    shape: tuple[int, int, int]
    dtype: np.dtype[Any]
    frame_rate_hz: float | None
    pixel_um: tuple[float, float] | None
    n_channels: int
    n_planes: int
    channel_names: tuple[str, ...]
    path: Path | None

    def __init__(self, pages, numbers, *, frame_rate_hz, pixel_um, n_channels=1, n_planes=1):
        self._pages, self._numbers = pages, numbers
        self.shape = (len(numbers), *pages.page_shape)
        self.dtype = np.dtype("uint8") if pages.dtype == bool else pages.dtype
        self.frame_rate_hz = frame_rate_hz
        self.pixel_um = pixel_um
        warn_of_large_pixels(pages.name, pixel_um)
        self.n_channels, self.n_planes = n_channels, n_planes
        self.channel_names = pages.facts.channel_names
        self.path = pages.path

    def frames(self, start: int, stop: int) -> NDArray[Any]:
        """Return neighbouring frames.

        Parameters
        ----------
        start, stop : int
            First frame, and the one after the last, as in a slice.

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
        return self._read(np.arange(start, stop))

    def take(self, indices: Sequence[int] | NDArray[Any]) -> NDArray[Any]:
        """Return any frames, in the order that is asked for.

        Parameters
        ----------
        indices : sequence of int, or of bool
            Frame numbers, negative ones from the end, of which increasing ones are fastest; or
            for each frame whether it is taken.

        Returns
        -------
        numpy.ndarray, shape (n, Y, X)

        Raises
        ------
        IndexError
            If there is no such frame, or the indices are not of this kind.
        """
        indices, length = np.asarray(indices), self.shape[0]
        if indices.dtype == bool and indices.shape == (length,):
            indices = np.flatnonzero(indices)
        elif indices.ndim != 1 or (indices.size and indices.dtype.kind not in "iu"):
            message = (
                f"{self._pages.name}: expected whole numbers of frames, or True or False for each of the "
                f"{length} frames, got {indices.dtype} of shape {indices.shape}."
            )
            raise IndexError(message)
        indices = indices.astype(np.int64)
        if indices.size and not (-length <= indices.min() and indices.max() < length):
            message = f"{self._pages.name}: no frame {indices[np.abs(indices).argmax()]}: there are {length}."
            raise IndexError(message)
        return self._read(indices % length)

    def __getitem__(self, index: int | slice | Sequence[int] | NDArray[Any]) -> NDArray[Any]:
        if isinstance(index, slice):
            return self.take(np.arange(self.shape[0])[index])
        if isinstance(index, tuple) or index is Ellipsis or index is None:
            message = (
                f"{self._pages.name}: expected the number of a frame, a slice or a list of them, got "
                f"{index!r}; cut the frames that it gives, as in movie[0][:, :64]."
            )
            raise IndexError(message)
        return self.take(np.array([index]))[0] if np.ndim(index) == 0 else self.take(np.asarray(index))

    def __len__(self) -> int:
        return self.shape[0]

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self.frames(0, self.shape[0]), dtype)  # in one piece, not frame by frame

    def chunks(self, size: int | None = None) -> Iterator[NDArray[Any]]:
        """Yield the movie in pieces of `size` frames (default: some 64 MB), each (n, Y, X)."""
        size = size or max(CHUNK_BYTES // max(self._pages.page_bytes, 1), 1)
        for start in range(0, self.shape[0], size):
            yield self.frames(start, start + size)

    def _read(self, indices):
        block = self._pages.read(self._numbers[indices])
        finite(block, indices, self._pages, "frame")
        return block.view(self.dtype) if block.dtype == bool else block

    def close(self) -> None:
        """Let go of the file."""
        self._pages.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return (
            f"Movie(shape={self.shape}, dtype={self.dtype}, frame_rate_hz={self.frame_rate_hz}, "
            f"pixel_um={self.pixel_um}, path={self.path})"
        )


def open_movie(
    path: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    axes: str | None = None,
    channel: int | str | None = None,
    plane: int | None = None,
    frame_rate_hz: float | None = None,
    pixel_um: Sequence[float] | None = None,
    dataset: str | None = None,
    frame_shape: Sequence[int] | None = None,
) -> Movie:
    """Open a recording.

    Parameters
    ----------
    path : str, os.PathLike or a sequence of them
        TIFF (BigTIFF, OME, ImageJ, ScanImage), NPY, HDF5, MATLAB v7.3, NWB, OME-Zarr, a
        video, Suite2p's ``data.bin``; a folder or ZIP archive of TIFF, PNG or JPEG frames, or of
        TIFF stacks, taken in natural order; several files, taken in the order given.
    axes : str, optional
        One letter per axis of a file, e.g. "TYX", "TCYX": what they mean where the
        metadata say nothing, or say it wrongly.
    channel : int or str, optional
        Which channel, counted from 0, or by its name; needed where there are several.
    plane : int, optional
        Which plane, counted from 0; needed where there are several.
    frame_rate_hz : float, optional
        Frames per second, in place of what the metadata say.
    pixel_um : tuple of float, optional
        Side of a pixel in micrometres, (y, x), in place of what the metadata say.
    dataset : str, optional
        Path inside an HDF5 file, where several data sets could be the movie.
    frame_shape : tuple of int, optional
        Height and width of the frames of a ``data.bin`` without its ops.npy.

    Returns
    -------
    Movie
        Open; its frames are read when they are asked for.

    Raises
    ------
    CalzooError
        If a file is missing, foreign, empty, truncated, not a movie, or ambiguous, or an option
        cannot apply to it.

    Examples
    --------
    >>> np.save("movie.npy", np.zeros((90, 48, 64), np.uint16))
    >>> with open_movie("movie.npy", frame_rate_hz=30) as movie:
    ...     movie.shape, movie[:10].shape, movie.frame_rate_hz
    ((90, 48, 64), (10, 48, 64), 30.0)
    """
    options = {"axes": axes, "dataset": dataset, "frame_shape": _frame_shape(frame_shape)}
    choice = {"channel": channel, "plane": plane, "named": axes is not None, "member": False}
    pages, numbers, counts = _opened(path, options, choice)
    voxel = pages.facts.voxel_um
    return Movie(
        pages,
        numbers,
        frame_rate_hz=frame_rate(frame_rate_hz) if frame_rate_hz is not None else pages.facts.frame_rate_hz,
        pixel_um=pixel_size(pixel_um) if pixel_um is not None else _both(voxel),
        **counts,
    )


def frame_rate(value):
    """Return frames per second as a number above 0, or raise CalzooError."""
    try:
        rate = float(value)
    except (TypeError, ValueError):
        rate = math.nan
    if not (math.isfinite(rate) and rate > 0):
        message = f"frame rate: expected frames per second, above 0, got {value!r}."
        raise CalzooError(message)
    return rate


def pixel_size(value):
    """Return the sides of a pixel (y, x) in micrometres, both above 0, or raise CalzooError."""
    try:
        sides = tuple(float(v) for v in value)
    except (TypeError, ValueError):
        sides = ()
    if len(sides) != 2 or not all(math.isfinite(v) and v > 0 for v in sides):
        message = f"pixel size: expected two lengths in micrometres (y, x), above 0, got {value!r}."
        raise CalzooError(message)
    return sides


def scales_of(movie, pixel_um=None, frame_rate_hz=None):
    """Return the sides of a pixel and the frame rate: what was given, else what the movie says, else None."""
    pixel_um = getattr(movie, "pixel_um", None) if pixel_um is None else pixel_size(pixel_um)
    rate = getattr(movie, "frame_rate_hz", None) if frame_rate_hz is None else frame_rate(frame_rate_hz)
    return pixel_um, rate


def _frame_shape(value):
    if value is None:
        return None
    try:
        height, width = (operator.index(n) for n in value)
    except (TypeError, ValueError):
        height = width = 0
    if height < 1 or width < 1:
        message = f"frame_shape: expected height and width in pixels, above 0, got {value!r}."
        raise CalzooError(message)
    return height, width


def _both(voxel):
    return voxel[1:] if voxel is not None and None not in voxel[1:] else None


def _opened(path, options, choice):
    """Return pages, the numbers of the frames among them, and the counts of channels and planes."""
    if not isinstance(path, (str, os.PathLike)):
        return _joined(None, _paths(path), options, choice)
    path = files.existing(path)
    if path.is_dir():
        if (path / "data.bin").exists():
            return _opened(path / "data.bin", options, choice)
        if ome_zarr.is_store(path):
            _refuse_unused(path, options, ("axes",))
            return _chosen(ome_zarr.open_zarr(path, options["axes"]), **choice)
        return _joined(path, folders.pictures_in(path), options, choice)
    return _chosen(_pages(path, options), **choice)


def _paths(paths):
    try:
        return [Path(p) for p in paths]
    except TypeError as error:
        message = (
            f"expected the file or folder of a recording, or a list of files, got {type(paths).__name__}; "
            "what is an array already need not be opened."
        )
        raise CalzooError(message) from error


def _refuse_unused(path, options, used):
    """Refuse options that say nothing about a recording of this kind."""
    for name, value in options.items():
        if value is not None and name not in used:
            option = "--" + name.replace("_", "-")
            message = (
                f"{path}: {option} cannot apply to such a recording, got {value!r}; leave {option} away."
            )
            raise CalzooError(message)


def _pages(path, options):
    """Open one file, whatever it is."""
    if path.name == "ops.npy" or path.suffix == ".bin":
        files.kind_of(path)
        _refuse_unused(path, options, ("frame_shape",))
        return suite2p.open_binary(
            path.with_name("data.bin") if path.name == "ops.npy" else path, options["frame_shape"]
        )
    kind, axes = files.kind_of(path), options["axes"]
    is_video = kind in _VIDEOS or (kind == "unknown" and path.suffix.lower() in _VIDEO_SUFFIXES)
    used = ("axes", "dataset") if kind == "HDF5" else ("axes",)
    _refuse_unused(path, options, () if is_video else used)
    if kind == "TIFF":
        return _named(tiff.open_tiff(path), axes)
    if kind == "NPY":
        return npy.open_npy(path, axes)
    if kind == "HDF5":
        return hdf5.open_hdf5(path, axes, options["dataset"])
    if kind == "ZIP":
        return _named(folders.open_archive(path), axes)
    if is_video:
        return video.open_video(path)
    if kind == "MATLAB 5":
        what, remedy = "an old MATLAB file", "save it in MATLAB with save(..., '-v7.3')"
    elif kind in ("PNG", "JPEG"):
        what, remedy = f"one {kind} picture", "give the folder or the list of all frames"
    else:
        what = "an unknown kind of file" if kind == "unknown" else f"{kind}, whatever its name says"
        remedy = "save it as TIFF"
    message = (
        f"{path}: expected a movie (TIFF, NPY, HDF5, NWB, video, data.bin, frames in a ZIP), got {what}; "
        f"{remedy}."
    )
    raise CalzooError(message)


def _named(pages, axes):
    return pages if axes is None else _or_close(pages, axis_names.relabel, axes)


def _or_close(pages, function, *arguments, **options):
    try:
        return function(pages, *arguments, **options)
    except BaseException:
        pages.close()
        raise


def _chosen(pages, *, channel, plane, named, member):
    return _or_close(pages, _choose, channel, plane, named, member)


def _choose(pages, channel, plane, named, member):
    is_stack = pages.facts.is_stack or member  # among several files one page is one frame
    if not named:
        axis_names.squeeze(pages)
    number, n_channels = axis_names.channel_number(pages, channel)
    along = _frame_axis(pages, is_stack)
    fixed = axis_names.fixed_channel(pages, number)
    n_planes = 1
    if "z" in pages.lead_axes and along != "z":
        n_planes = pages.lead_shape[pages.lead_axes.index("z")]
        fixed["z"] = _plane_number(pages, plane, n_planes)
    else:
        _plane_number(pages, plane, 1)
    numbers = axis_names.page_numbers(pages, along, fixed)
    return pages, numbers, {"n_channels": n_channels, "n_planes": n_planes}


def _plane_number(pages, plane, count):
    if plane is None and count > 1:
        message = (
            f"{pages.name}: expected one plane over time, got {count}: {axis_names.described(pages)}; choose "
            f"one with --plane (0 to {count - 1})."
        )
        raise CalzooError(message)
    try:
        number = 0 if plane is None else operator.index(plane)
    except TypeError as error:
        message = f"{pages.name}: expected the number of a plane, counted from 0, got {plane!r}."
        raise CalzooError(message) from error
    if not -count <= number < count:
        message = f"{pages.name}: no plane {plane}: there are {count}, counted from 0; correct --plane."
        raise CalzooError(message)
    return number % count


def _frame_axis(pages, is_stack):
    """Return the letter of the axis that counts frames, or say why there is none."""
    sizes = dict(zip(pages.lead_axes, pages.lead_shape, strict=True))
    unnamed = [a for a in pages.lead_axes if a in axis_names.UNNAMED and sizes[a] > 1]
    described = axis_names.described(pages)
    if unnamed and ("t" in sizes or "z" in sizes or len(unnamed) > 1):
        message = (
            f"{pages.name}: which axis counts the frames? The file does not say: {described}; pass one "
            "letter per axis, e.g. --axes TCYX or TZYX."
        )
        raise CalzooError(message)
    if "t" in sizes:
        return "t"
    if unnamed:
        return unnamed[0]  # pages without a name are frames: a movie is what was asked for
    if sizes.get("z", 1) > 1:
        example = pages.axes.upper().replace("Z", "T")
        if not pages.facts.plain_stack:
            message = (
                f"{pages.name}: expected frames, got planes: {described}; if they are frames that were saved "
                f"as planes, pass --axes {example}."
            )
            raise CalzooError(message)
        warnings.warn(
            f"{pages.name}: ImageJ calls its {sizes['z']} pages slices, as it does for every plain "
            "stack; they are "
            f"taken as frames. To say so yourself, pass --axes {example}.",
            stacklevel=2,
        )
        return "z"
    if is_stack:
        return "t"
    height, width = pages.page_shape
    message = (
        f"{pages.name}: expected a movie (frames over time), got one picture of {height} x {width} pixels; "
        "give the whole recording."
    )
    raise CalzooError(message)


# Recordings in many files.


def _joined(where, paths, options, choice):
    """Open a list of files as one recording."""
    if not paths:
        message = "expected the files of a recording, got an empty list."
        raise CalzooError(message)
    paths = [files.existing(p) for p in paths]
    if len(paths) > 1 and all(folders.is_picture(p) for p in paths):
        _refuse_unused(where or paths[0].parent, options, ("axes",))
        pages = folders.open_pictures(where or paths[0].parent, paths)
        return _chosen(_named(pages, options["axes"]), **choice)
    if len(paths) == 1 and where is None:
        return _opened(paths[0], options, choice)
    return _joined_stacks(where, paths, options, choice)


def _joined_stacks(where, paths, options, choice):
    parts, first, counts = [], None, None
    for path in paths:
        open_one = functools.partial(_pages, path, options)
        pages, numbers, counted = _chosen(open_one(), **choice | {"member": True})
        try:
            if first is None:
                first, counts = pages, counted
            check_alike(pages, first.page_shape, first.dtype)
        finally:
            if pages is not first:
                pages.close()
        parts.append((open_one, numbers))
    joined = JoinedPages(where, parts, first)
    return joined, np.arange(joined.shape[0]), counts
