"""OME-Zarr images (0.1 to 0.5) and plain Zarr arrays: folders of compressed chunks."""

import contextlib
import os

from calzoo.errors import CalzooError
from calzoo.imaging.readers import axes as axis_names
from calzoo.imaging.readers import npy
from calzoo.imaging.readers.pages import Facts, SlicedPages
from calzoo.imaging.readers.units import micrometres, seconds

_MARKS = ("zarr.json", ".zgroup", ".zarray")


def is_store(path):
    """Return whether a folder is a Zarr store, or a group or an array in one."""
    return any((path / mark).is_file() for mark in _MARKS)


def open_zarr(path, axes=None):
    """Open an image as pages; of several resolutions the finest.

    Parameters
    ----------
    path : pathlib.Path
        The folder of an OME-Zarr image or of an array.
    axes : str, optional
        Letters of all axes, where the store does not name them or names them wrongly.

    Returns
    -------
    Pages
    """
    zarr = import_zarr(path)
    try:
        node = zarr.open(os.fspath(path), mode="r")
        if isinstance(node, zarr.Array):
            array, letters, facts = node, None, Facts(is_stack=node.ndim > 2)
        else:
            array, letters, facts = _image(path, node)
    except CalzooError:
        raise
    # The library meets damaged metadata with many exceptions.
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:120]
        message = f"{path}: damaged or foreign Zarr metadata ({reason}); copy or export it again."
        raise CalzooError(message) from error
    if letters is None:
        return ZarrPages(path, array, npy.letters_of(path, array.shape, axes), facts)
    pages = ZarrPages(path, array, letters, facts)
    return pages if axes is None else axis_names.relabel(pages, axes)


def import_zarr(path):
    """Return the package zarr, or say how to get it to read or write `path`."""
    try:
        import zarr
    except ImportError as error:
        message = (
            f"{path}: OME-Zarr needs the package zarr, which is not installed; run: "
            "python -m pip install 'calzoo[zarr]'."
        )
        raise CalzooError(message) from error
    return zarr


@contextlib.contextmanager
def one_chunk_at_a_time():
    """Let zarr use one thread: the memory of many would grow for as long as they read."""
    import zarr

    with zarr.config.set({"async.concurrency": 1}):
        yield


class ZarrPages(SlicedPages):
    """Pages of a Zarr array; chunks that were never written are zero, as the format has it."""

    def __init__(self, path, array, axes, facts):
        super().__init__(path, axes, array.shape, array.dtype, facts)
        self._array = array

    def fetch(self, index):
        """Return what the array holds at `index`."""
        try:
            with one_chunk_at_a_time():
                return self._array[index]
        except MemoryError:
            raise
        # Each codec has exceptions of its own for a damaged chunk.
        except Exception as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0][:120]
            message = f"{self.name}: a chunk cannot be read ({reason}); is the store damaged or incomplete?"
            raise CalzooError(message) from error


def _image(path, group):
    """Return the finest array of an OME-Zarr image, its axes and what the metadata say."""
    attributes = group.attrs.asdict()
    attributes = attributes.get("ome", attributes)  # from version 0.5 on
    if not attributes.get("multiscales"):
        inside = sorted(group.keys())
        listed = ", ".join(f"{path}/{name}" for name in inside[:6]) or "nothing"
        message = (
            f"{path}: expected an OME-Zarr image or an array, got a group without multiscales; give one of "
            f"the images in it ({listed})."
        )
        raise CalzooError(message)
    image = attributes["multiscales"][0]
    finest = image["datasets"][0]
    array = group[finest["path"]]
    axes = [a if isinstance(a, dict) else {"name": a} for a in image.get("axes") or "tczyx"]
    letters = "".join(str(a["name"]).lower() for a in axes)
    wrong = len(letters) != array.ndim or set(letters) - set("tczyx") or not {"y", "x"} <= set(letters)
    if wrong or len(set(letters)) != len(letters):
        return array, None, Facts(is_stack=array.ndim > 2)
    labels = [c.get("label") for c in (attributes.get("omero") or {}).get("channels") or ()]
    facts = Facts(
        voxel_um=_voxel(axes, finest, image),
        frame_rate_hz=_rate(axes, finest, image),
        channel_names=tuple(map(str, labels)) if all(labels) else (),
        is_stack=array.ndim > 2,
    )
    return array, letters, facts


def _scales(axes, *places):
    """Return axis -> length of a step, from all scales that are applied one after the other."""
    scales = dict.fromkeys((str(a["name"]).lower() for a in axes), 1.0)
    for place in places:
        for transformation in place.get("coordinateTransformations") or ():
            if transformation.get("type") == "scale" and "scale" in transformation:
                for letter, factor in zip(scales, transformation["scale"], strict=True):
                    scales[letter] *= float(factor)
    return scales


def _voxel(axes, *places):
    """Return (z, y, x) in micrometres, None without a unit: a scale of 1 may mean anything."""
    scales, units = _scales(axes, *places), {str(a["name"]).lower(): a.get("unit") for a in axes}
    sides = tuple(micrometres(scales.get(letter), units.get(letter)) for letter in "zyx")
    return sides if any(side is not None for side in sides) else None


def _rate(axes, *places):
    unit = {str(a["name"]).lower(): a.get("unit") for a in axes}.get("t")
    interval = seconds(_scales(axes, *places).get("t"), unit)
    return 1 / interval if interval else None
