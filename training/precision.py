"""Half precision, for GPUs: the policy of a run, and words where a machine cannot compute in it."""

from contextlib import contextmanager

import keras

from calzoo.errors import CalzooError

FULL = "float32"
PRECISIONS = (FULL, "mixed_float16", "mixed_bfloat16")
#: What TensorFlow and Keras raise where a layer has no kernel for numbers of half precision.
_REFUSALS = ("InvalidArgumentError", "UnimplementedError", "NotFoundError", "TypeError", "ValueError")


@contextmanager
def policy(name):
    """Build networks by a dtype policy of Keras, one of `PRECISIONS`; the policy before comes back."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


@contextmanager
def computed_in(precision, run):
    """Say what to do where a step cannot be computed in half precision.

    Parameters
    ----------
    precision : str
        One of `PRECISIONS`.
    run : path-like
        The run's folder, for the message.

    Raises
    ------
    CalzooError
        In place of what the backend raised; errors in full precision stay as they are.
    """
    try:
        yield
    except Exception as error:
        if precision == FULL or type(error).__name__ not in _REFUSALS:
            raise
        message = (
            f"{run}: this network cannot be trained in {precision} on this machine "
            f"({str(error).strip().splitlines()[0]}). Half precision is for GPUs, and not for every network: "
            f"set schedule.precision={FULL} and start again in another folder."
        )
        raise CalzooError(message) from error
