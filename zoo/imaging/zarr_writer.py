"""OME-Zarr images, written slab by slab."""

import os
import shutil
from pathlib import Path

import numpy as np

from calzoo import __version__
from calzoo.errors import CalzooError
from calzoo.imaging.images import voxel_size
from calzoo.imaging.outputs import written
from calzoo.imaging.parts import clear_part, finish_part, make_part, part_path, release_part
from calzoo.imaging.readers.ome_zarr import import_zarr, one_chunk_at_a_time

_CHUNK = (16, 256, 256)
_COARSEST = 1024  # rows and columns of the coarsest level at most


class ZarrWriter:
    """Write a volume plane by plane as OME-Zarr 0.4; it gets its name when it is complete.

    Version 0.4, in Zarr's format 2, is what Fiji, napari and most other programs read. Each
    coarser level keeps every second row and column of the one before, so labels stay labels.

    Parameters
    ----------
    path : str or os.PathLike
        The folder, such as ``labels.zarr``. An OME-Zarr image that is there is replaced.
    shape : tuple of int
        (Z, Y, X).
    dtype : dtype
        Of a voxel.
    voxel_um : tuple of (float or None), optional
        Side of a voxel in micrometres, (z, y, x).
    labels : bool, optional
        The values name classes or objects.

    Raises
    ------
    CalzooError
        If zarr is not installed, something else has the name, the disk is full, or fewer planes came
        than were announced.
    """

    def __init__(self, path, shape, dtype, voxel_um=None, *, labels=False):
        self.path = Path(path)
        self.shape, self.dtype = tuple(int(n) for n in shape), np.dtype(dtype)
        self._voxel = (None, None, None) if voxel_um is None else voxel_size(voxel_um)
        self._waiting, self._done = [], 0  # planes until they fill a chunk; planes that are written
        self._part = part_path(self.path)
        zarr = import_zarr(path)
        _check_target(self.path)
        clear_part(self._part)
        with written(self.path):
            make_part(self._part)
            group = zarr.create_group(os.fspath(self._part), zarr_format=2)
            self._levels = [self._level(group, number) for number in range(self._level_count())]
            group.attrs.update(self._metadata(labels))

    def _level_count(self):
        count, side = 1, max(self.shape[1:])
        while side > _COARSEST:
            count, side = count + 1, -(-side // 2)
        return count

    def _level(self, group, number):
        step = 2**number
        shape = (self.shape[0], *(-(-side // step) for side in self.shape[1:]))
        return group.create_array(
            str(number),
            shape=shape,
            chunks=tuple(min(side, chunk) for side, chunk in zip(shape, _CHUNK, strict=True)),
            dtype=self.dtype,
            fill_value=0,
            chunk_key_encoding={"name": "v2", "separator": "/"},
        )

    def _metadata(self, labels):
        axes = [{"name": name, "type": "space"} for name in "zyx"]
        for axis, side in zip(axes, self._voxel, strict=True):
            if side is not None:
                axis["unit"] = "micrometer"
        datasets = []
        for number in range(len(self._levels)):
            steps = (1, 2**number, 2**number)
            scale = [(side or 1.0) * step for side, step in zip(self._voxel, steps, strict=True)]
            transformations = [{"type": "scale", "scale": scale}]
            datasets.append({"path": str(number), "coordinateTransformations": transformations})
        image = {"version": "0.4", "name": self.path.stem, "axes": axes, "datasets": datasets}
        more = {"image-label": {"version": "0.4"}} if labels else {}
        return {"multiscales": [image], "creator": f"calzoo {__version__}", **more}

    def append(self, planes):
        """Write the next planes, (n, Y, X)."""
        planes = np.asarray(planes, self.dtype)
        came = self._done + sum(map(len, self._waiting))
        if planes.shape[1:] != self.shape[1:] or came + len(planes) > self.shape[0]:
            message = (
                f"{self.path}: expected at most {self.shape[0] - came} more planes of {self.shape[1:]}, got "
                f"an array of shape {planes.shape}."
            )
            raise CalzooError(message)
        self._waiting.append(planes)
        depth, count = _CHUNK[0], came + len(planes) - self._done
        if count >= depth:
            self._flush(count // depth * depth)

    def _flush(self, count):
        """Write `count` of the planes that wait."""
        planes = np.concatenate(self._waiting)
        # A copy: a view of a few planes would hold on to them all.
        self._waiting = [planes[count:].copy()]
        with written(self.path), one_chunk_at_a_time():
            for number, level in enumerate(self._levels):
                level[self._done : self._done + count] = planes[:count, :: 2**number, :: 2**number]
        self._done += count

    def close(self):
        """Finish the image and give it its name."""
        rest = sum(map(len, self._waiting))
        if self._done + rest < self.shape[0]:
            message = (
                f"{self.path}: expected {self.shape[0]} planes, got {self._done + rest}; nothing was written."
            )
            self.abort()
            raise CalzooError(message)
        try:
            if rest:
                self._flush(rest)
            with written(self.path):
                shutil.rmtree(self.path, ignore_errors=True)
                finish_part(self._part)
                os.replace(self._part, self.path)
        except BaseException:
            self.abort()
            raise

    def abort(self):
        """Give up: nothing is left on the disk."""
        shutil.rmtree(self._part, ignore_errors=True)
        release_part(self._part)

    def __enter__(self):
        return self

    def __exit__(self, kind, *error):
        if kind is None:
            self.close()
        else:
            self.abort()


def _check_target(path):
    """Refuse the name of anything but an OME-Zarr image."""
    if not path.exists() or (path.is_dir() and not any(path.iterdir())):
        return
    metadata = [path / name for name in (".zattrs", "zarr.json")]
    if not any(file.is_file() and '"multiscales"' in file.read_text("utf-8", "replace") for file in metadata):
        message = (
            f"{path}: expected a free name, or that of an OME-Zarr image to replace, got something else; "
            "move or remove it, or choose another name."
        )
        raise CalzooError(message)
