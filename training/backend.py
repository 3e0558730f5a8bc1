"""The backend before it computes: threads, repeatable kernels. TensorFlow is imported here alone, lazily."""

import os

import keras


def tensorflow():
    """Import TensorFlow, which takes seconds and may be absent, and return it."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import tensorflow

    return tensorflow


def make_deterministic(seed):
    """Seed everything and make kernels repeatable, so that a run gives the same weights twice.

    Lasts for the process. TensorFlow is told only where it is the backend; XLA on
    CPU, which JAX uses, is repeatable as it is.

    Parameters
    ----------
    seed : int
    """
    keras.utils.set_random_seed(seed)
    if keras.backend.backend() == "tensorflow":
        tensorflow().config.experimental.enable_op_determinism()


def limit_threads(threads):
    """Let TensorFlow use `threads` cores; only before its first operation."""
    if keras.backend.backend() == "tensorflow":
        threading = tensorflow().config.threading
        threading.set_intra_op_parallelism_threads(threads)
        threading.set_inter_op_parallelism_threads(1)
