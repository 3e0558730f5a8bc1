"""Weights as .safetensors files: variable path -> array."""

import os
from pathlib import Path

import keras
import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from calzoo.errors import CalzooError


def save_weights(model, path):
    """Write the weights of a model (not of its optimiser) atomically.

    Parameters
    ----------
    model : keras.Model
    path : path-like
        Ends in ``.safetensors``.
    """
    save_variables(model.weights, path)


def load_weights(model, path):
    """Read weights into a model by variable path.

    Variables of the file whose path or shape is another than the model's are left
    out, so a network with another number of classes starts from what fits.

    Parameters
    ----------
    model : keras.Model
        Changed in place.
    path : path-like

    Returns
    -------
    list of str
        Paths of the model's variables that the file did not fit; empty if all did.

    Raises
    ------
    CalzooError
        If the file cannot be read, or fits no variable at all.
    """
    arrays = read_arrays(path)
    missing = []
    for variable in model.weights:
        array = arrays.get(variable.path)
        if array is None or array.shape != tuple(variable.shape):
            missing.append(variable.path)
        else:
            variable.assign(array)
    if len(missing) == len(model.weights):
        message = (
            f"expected weights of {model.name!r} ({model.weights[0].path} ...), but no variable of {path} "
            f"fits ({', '.join(sorted(arrays)[:3])} ...). Take a file that was written for this network."
        )
        raise CalzooError(message)
    return missing


def save_variables(variables, path):
    """Write variables by path, complete or not at all, and on the disk when this returns."""
    path = Path(path)
    part = path.with_name(path.name + ".part")
    save_file({v.path: np.asarray(keras.ops.convert_to_numpy(v), order="C") for v in variables}, part)
    _to_disk(part)
    os.replace(part, path)


def assign_variables(variables, path):
    """Read what `save_variables` wrote into the same variables; all must be there."""
    arrays = read_arrays(path)
    wrong = [v.path for v in variables if v.path not in arrays or arrays[v.path].shape != tuple(v.shape)]
    if wrong or len(arrays) != len(variables):
        message = (
            f"{path}: expected {len(variables)} variables of this network, got {len(arrays)}; "
            f"{', '.join(wrong[:3]) or 'too many'} do not fit. "
            "The run was made with another network or version."
        )
        raise CalzooError(message)
    for variable in variables:
        variable.assign(arrays[variable.path])


def read_arrays(path):
    """Read a .safetensors file as a dict of arrays, or raise a `CalzooError`."""
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        message = f"cannot read weights from {path}: {error}. Expected a complete .safetensors file."
        raise CalzooError(message) from error


def _to_disk(path):
    with open(path, "rb+") as file:
        os.fsync(file.fileno())
