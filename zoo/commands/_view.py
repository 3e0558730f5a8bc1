"""Stacks and their axons in napari, where it is installed."""

import contextlib
import importlib.util
from pathlib import Path

import numpy as np

from calzoo.errors import CalzooError

_RESULTS = ("semantic", "instances")


def check():
    """Say so if napari is not installed."""
    if importlib.util.find_spec("napari") is None:
        message = (
            "--view needs napari, which is not installed; run: python -m pip install 'napari[all]', or leave "
            "--view out: overlay.png shows the result."
        )
        raise CalzooError(message)


def show(results, *, axes=None, channel=None):
    """Open a window for each result, and wait until they are closed.

    Parameters
    ----------
    results : sequence of (pathlib.Path, pathlib.Path)
        Stack, and folder of its result.
    axes, channel : optional
        How the stack was read.
    """
    import napari

    from calzoo.imaging.images import open_volume

    if not results:
        return
    with contextlib.ExitStack() as files:
        for path, folder in results:
            viewer = napari.Viewer(title=f"calzoo axons {Path(path).name}")
            stack = files.enter_context(open_volume(path, axes=axes, channel=channel))
            layers = [viewer.add_image(Planes(stack), name=Path(path).name)]
            for name in _RESULTS:
                found = next(
                    folder / f"{name}{end}" for end in (".tif", ".zarr") if (folder / f"{name}{end}").exists()
                )
                volume = files.enter_context(open_volume(found))
                layers.append(viewer.add_labels(Planes(volume), name=name, visible=name == "instances"))
            voxel = volume.voxel_um
            if voxel is not None and None not in voxel:
                for layer in layers:
                    layer.scale = voxel
        napari.run()


class Planes:
    """A volume as an array of which only the planes that are looked at are read.

    Parameters
    ----------
    volume : Volume
    """

    ndim = 3

    def __init__(self, volume):
        self._volume = volume
        self.shape, self.dtype = volume.shape, volume.dtype
        self.size = int(np.prod(volume.shape))

    def __getitem__(self, index):
        index = index if isinstance(index, tuple) else (index,)
        planes = index[0] if index and index[0] is not Ellipsis else slice(None)
        rest = tuple(i for i in index[1:] if i is not Ellipsis)
        if isinstance(planes, slice):
            numbers = range(*planes.indices(self.shape[0]))
            if not len(numbers):
                return np.empty((0, *self.shape[1:]), self.dtype)[(slice(None), *rest)]
            low, high = min(numbers[0], numbers[-1]), max(numbers[0], numbers[-1])
            block = self._volume.planes(low, high + 1)[:: abs(numbers.step)]
            return (block if numbers.step > 0 else block[::-1])[(slice(None), *rest)]
        number = int(planes) % self.shape[0]
        return self._volume.planes(number, number + 1)[0][rest]

    def __len__(self):
        return self.shape[0]

    def __array__(self, dtype=None, copy=None):
        return self._volume.read().astype(dtype or self.dtype, copy=False)
