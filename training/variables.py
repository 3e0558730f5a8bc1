"""Weights as .safetensors files: variable path -> array."""

import contextlib
import itertools
import os

import keras
import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from calzoo.errors import CalzooError
from calzoo.imaging.outputs import output_file

_LARGEST = 6e4  # that float16 holds


def save_weights(model, path):
    """Write the weights of a model (not of its optimiser) atomically, kernels in half precision.

    Eleven bits are enough for a kernel, and halve what is downloaded: the file and the
    network that is exported from it, whose numbers are those of the file.

    Parameters
    ----------
    model : keras.Model
    path : path-like
        Ends in ``.safetensors``.
    """
    _write({variable.path: _halved(variable) for variable in model.weights}, path)


def _halved(variable):
    """Return a kernel as float16 where it is small enough for that, and anything else as it is."""
    array = keras.ops.convert_to_numpy(variable)
    kernel = array.ndim > 1 and array.dtype == np.float32
    return array.astype(np.float16) if kernel and np.abs(array).max(initial=0) < _LARGEST else array


@contextlib.contextmanager
def restored(variables):
    """Give variables back, at the end, the values that they have now."""
    own = values_of(variables)
    try:
        yield
    finally:
        assign(variables, own)


@contextlib.contextmanager
def as_saved(model):
    """Give a model the numbers that `save_weights` writes, and its own back at the end."""
    rounded = [(variable, _halved(variable)) for variable in model.weights]
    rounded = [(variable, array) for variable, array in rounded if array.dtype == np.float16]
    kernels = [variable for variable, _ in rounded]
    with restored(kernels):
        assign(kernels, [array for _, array in rounded])
        yield


@contextlib.contextmanager
def as_averaged(model):
    """Give a model the running average of its weights, and its own back at the end."""
    # Under float16 another optimiser, which scales the loss, stands around the one that averages.
    optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    if not optimizer.use_ema:
        yield
        return
    variables = model.trainable_variables
    with restored(variables):
        optimizer.finalize_variable_values(variables)
        # JAX would let the variables share the averages' memory, and prediction gives memory away.
        assign(variables, values_of(variables))
        yield


def values_of(variables):
    """Return copies of the values of variables, which share no memory with them."""
    return [np.array(keras.ops.convert_to_numpy(variable)) for variable in variables]


def assign(variables, values):
    """Give each variable its value."""
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


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
    _write({key: keras.ops.convert_to_numpy(v) for key, v in _by_path(variables).items()}, path)


def _by_path(variables):
    """Return variables by path; random generators counted, as Keras numbers them over the process."""
    number = itertools.count()
    return {f"seed_generator/{next(number)}" if "seed_generator" in v.path else v.path: v for v in variables}


def _write(arrays, path):
    with output_file(path) as part:
        # The package's own way of writing makes files that nobody else may read.
        part.write_bytes(save({name: np.asarray(array, order="C") for name, array in arrays.items()}))
        _to_disk(part)


def assign_variables(variables, path):
    """Read what `save_variables` wrote into the same variables; all must be there."""
    arrays, own = read_arrays(path), _by_path(variables)
    wrong = [key for key, v in own.items() if key not in arrays or arrays[key].shape != tuple(v.shape)]
    if wrong or len(arrays) != len(own):
        message = (
            f"{path}: expected {len(own)} variables of this network, got {len(arrays)}; "
            f"{', '.join(wrong[:3]) or 'too many'} do not fit. "
            "The run was made with another network or version."
        )
        raise CalzooError(message)
    for key, variable in own.items():
        variable.assign(arrays[key])


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
