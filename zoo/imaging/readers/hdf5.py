"""Movies in HDF5 files: plain data sets, MATLAB's v7.3 files and NWB.

An NWB file is an HDF5 file with known places for the frames, their rate and the
size of the pixels, so h5py reads it; pynwb is not needed.
"""

import math

import numpy as np

from calzoo.errors import CalzooError
from calzoo.imaging.readers import axes as axis_names
from calzoo.imaging.readers.pages import Facts, SlicedPages
from calzoo.imaging.readers.units import micrometres, seconds

_NWB_SERIES = ("TwoPhotonSeries", "OnePhotonSeries", "ImageSeries")


def open_hdf5(path, axes=None, dataset=None):
    """Open a data set of an HDF5 file as pages.

    Parameters
    ----------
    path : pathlib.Path
        The file.
    axes : str, optional
        Letters of the data set's axes, as h5py shows them. Without it: (T, X, Y) in
        MATLAB's files, whose axes come in reverse, and in NWB, which defines it so;
        else the first axis of three counts the pages.
    dataset : str, optional
        Path inside the file; not needed where only one data set can be a movie.

    Returns
    -------
    Pages
    """
    h5py = _h5py(path)
    file = None
    try:
        file = h5py.File(path, "r")
        data = _dataset(path, h5py, file, dataset)
        letters, facts = _letters(path, file, data, axes)
        return DatasetPages(path, file, data, letters, facts)
    except CalzooError:
        file.close()
        raise
    # The library meets a damaged file with several exceptions.
    except Exception as error:
        if file is not None:
            file.close()
        reason = (str(error).splitlines() or [type(error).__name__])[0][:120]
        message = (
            f"{path}: expected an HDF5 file, got a damaged or truncated one ({reason}); copy or export it "
            "again."
        )
        raise CalzooError(message) from error


def _h5py(path):
    try:
        import h5py
    except ImportError as error:
        message = (
            f"{path}: HDF5, MATLAB v7.3 and NWB files need h5py, which is not installed: pip install "
            "calzoo[hdf5]."
        )
        raise CalzooError(message) from error
    return h5py


class DatasetPages(SlicedPages):
    """Pages of a data set."""

    def __init__(self, path, file, data, axes, facts):
        super().__init__(path, axes, data.shape, data.dtype, facts)
        self._file, self._data = file, data

    def fetch(self, index):
        """Return what the data set holds at `index`."""
        try:
            return self._data[index]
        except (OSError, RuntimeError, ValueError) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0][:120]
            message = (
                f"{self.name}: data set {self._data.name} cannot be read ({reason}); is the file damaged?"
            )
            raise CalzooError(message) from error

    def close(self):
        """Close the file."""
        self._file.close()


def _dataset(path, h5py, file, name):
    found = _candidates(h5py, file)
    if name is not None:
        if name.strip("/") not in file or not isinstance(file[name], h5py.Dataset):
            message = f"{path}: no data set {name!r}; those that can be movies: {_listed(found)}."
            raise CalzooError(message)
        return file[name]
    series = [d for d in found if _neurodata(d.parent) in _NWB_SERIES]
    found = series or found
    if len(found) != 1:
        message = (
            f"{path}: expected one data set of three or more axes, got {_listed(found) or 'none'}; name the "
            "one you mean with --dataset /group/name."
        )
        raise CalzooError(message)
    if found[0].parent.get("external_file") is not None and not math.prod(found[0].shape):
        names = ", ".join(
            str(n, "utf-8") if isinstance(n, bytes) else str(n) for n in found[0].parent["external_file"][:4]
        )
        message = f"{path}: its frames lie in files of their own ({names}); open those."
        raise CalzooError(message)
    return found[0]


def _candidates(h5py, file):
    found = []

    def visit(_, item):
        if isinstance(item, h5py.Dataset) and item.ndim >= 3 and item.dtype.kind in "buif":
            found.append(item)

    file.visititems(visit)
    return found


def _listed(found):
    return ", ".join(f"{d.name} {d.shape}" for d in found[:6])


def _neurodata(group):
    kind = group.attrs.get("neurodata_type", "")
    return kind.decode() if isinstance(kind, bytes) else str(kind)


def _letters(path, file, data, axes):
    matlab, nwb = _is_matlab(path), _neurodata(data.parent) in _NWB_SERIES
    facts = _nwb_facts(data) if nwb else _plain_facts(data)
    if axes is not None:
        letters = axis_names.normalised(axes)
        if len(letters) != data.ndim:
            message = (
                f"{path}: axes {axes!r} name {len(letters)} axes, {data.name} has shape {data.shape}; give "
                "one letter for each."
            )
            raise CalzooError(message)
        return letters, facts
    if nwb and data.ndim in (3, 4):
        return _nwb_letters(data), facts
    if data.ndim == 3:
        return ("txy" if matlab else "qyx"), facts
    message = (
        f"{path}: {data.name} has shape {data.shape}, and the file does not say what its axes mean: pass one "
        "letter for each, e.g. --axes TZYX."
    )
    raise CalzooError(message)


def _is_matlab(path):
    with open(path, "rb") as file:
        return file.read(10) == b"MATLAB 7.3"


def _plain_facts(data):
    rate = None
    for name in ("frame_rate", "fr", "fps", "rate"):
        rate = rate or seconds(np.ravel(data.attrs[name])[0]) if name in data.attrs else rate
    return Facts(frame_rate_hz=rate, is_stack=True)


def _nwb_letters(data):
    """Return the axes of an NWB series: (T, X, Y[, Z]) by definition, unless its own sizes say otherwise."""
    tail = "z" if data.ndim == 4 else ""
    size = np.ravel(data.parent["dimension"][()]) if "dimension" in data.parent else ()
    swapped = len(size) >= 2 and size[0] != size[1] and tuple(data.shape[1:3]) == (size[1], size[0])
    return ("tyx" if swapped else "txy") + tail


def _nwb_facts(data):
    series = data.parent
    rate = None
    if "starting_time" in series:
        rate = seconds(series["starting_time"].attrs.get("rate"))
    elif "timestamps" in series and len(series["timestamps"]) > 1:
        interval = seconds(np.median(np.diff(series["timestamps"][:1000])))
        rate = 1 / interval if interval else None
    return Facts(frame_rate_hz=rate, voxel_um=_nwb_voxel(series), is_stack=True)


def _nwb_voxel(series):
    plane = series.get("imaging_plane")
    spacing = plane.get("grid_spacing") if plane is not None else None
    if spacing is None:
        return None
    unit = spacing.attrs.get("unit", "meters")
    unit = unit.decode() if isinstance(unit, bytes) else str(unit)
    sides = [micrometres(v, {"meters": "m", "metres": "m"}.get(unit, unit)) for v in np.ravel(spacing[()])]
    return (sides[2] if len(sides) > 2 else None, sides[1], sides[0]) if len(sides) >= 2 else None
