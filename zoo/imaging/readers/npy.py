"""NPY files: the header says it all, except what the axes mean."""

import math

import numpy as np

from calzoo.errors import CalzooError
from calzoo.imaging.readers import axes as axis_names
from calzoo.imaging.readers.pages import ArrayPages, Facts, RawPages


def open_npy(path, axes=None):
    """Open a NumPy array file as pages.

    Parameters
    ----------
    path : pathlib.Path
        The file.
    axes : str, optional
        Letters of all axes. Without them a 2-D array is (row, column) and of a
        3-D array the first axis, not yet named, counts the pages.

    Returns
    -------
    Pages
    """
    shape, fortran, stored, offset = _header(path)
    letters = letters_of(path, shape, axes)
    if letters.endswith("yx") and not fortran:
        return RawPages(path, letters, shape, stored, offset, Facts(is_stack=len(shape) > 2))
    needed = offset + math.prod(shape) * stored.itemsize
    if path.stat().st_size < needed:
        message = (
            f"{path}: the file is truncated: its header promises {needed} bytes; copy or export it again."
        )
        raise CalzooError(message)
    # Pages are not in one piece here (Fortran order, or rows and columns first): map the file and pick.
    array = (
        np.memmap(path, stored, "r", offset, shape, "F" if fortran else "C")
        if 0 not in shape
        else np.empty(shape)
    )
    return ArrayPages(array, letters, path, Facts(is_stack=len(shape) > 2))


def _header(path):
    with open(path, "rb") as file:
        try:
            version = np.lib.format.read_magic(file)
            if version == (1, 0):
                shape, fortran, stored = np.lib.format.read_array_header_1_0(file)
            else:
                shape, fortran, stored = np.lib.format.read_array_header_2_0(file)
        # The header is Python text: its tokens may fail as well as its values.
        except Exception as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0][:120]
            message = f"{path}: damaged NPY header ({reason}); save the array again with numpy.save."
            raise CalzooError(message) from error
        offset = file.tell()
    if stored.hasobject or stored.names:
        message = (
            f"{path}: expected an array of numbers, got dtype {stored}; pickled objects are never loaded."
        )
        raise CalzooError(message)
    return shape, fortran, stored, offset


def letters_of(name, shape, axes):
    """Return the axis letters of an array that says nothing about them itself.

    Parameters
    ----------
    name : str or pathlib.Path
        What to call the array in a message.
    shape : tuple of int
        Its shape.
    axes : str or None
        What the user says.
    """
    if axes is not None:
        letters = axis_names.normalised(axes)
        if len(letters) != len(shape):
            message = (
                f"{name}: axes {axes!r} name {len(letters)} axes, the array has shape {shape}; give one "
                "letter for each."
            )
            raise CalzooError(message)
        return letters
    if len(shape) in (2, 3):
        return "qyx"[-len(shape) :]
    message = (
        f"{name}: expected an array of 2 or 3 axes, got shape {shape}; an array does not say what its axes "
        f"mean: pass them, e.g. {axis_names.asked(name, 'axes', 'ZCYX')}."
    )
    raise CalzooError(message)
