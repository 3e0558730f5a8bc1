"""One batch over several GPUs: each device computes its share, and they learn what one device would."""

import keras

from calzoo.errors import CalzooError
from calzoo.training.backend import tensorflow


def mirrored(devices=None):
    """Return the strategy that splits each batch over all GPUs (or the given devices).

    Parameters
    ----------
    devices : list of str, optional
        TensorFlow's names, such as ``"GPU:0"``.

    Returns
    -------
    tf.distribute.MirroredStrategy

    Raises
    ------
    CalzooError
        If another backend than TensorFlow is in use.
    """
    if keras.backend.backend() != "tensorflow":
        message = (
            f"several GPUs need the tensorflow backend, got {keras.backend.backend()!r}; "
            "set KERAS_BACKEND=tensorflow or train on one device."
        )
        raise CalzooError(message)
    return tensorflow().distribute.MirroredStrategy(devices)


def shared_loss(loss):
    """Return a loss for batches that replicas share, from which they learn what one device would.

    Keras divides losses of one number per sample by the number of replicas, before gradients are added
    up, but not a loss of one number for all.

    Parameters
    ----------
    loss : callable, or dict of str to callable
        ``loss(target, prediction)``, of each output where there are several.
    """
    if isinstance(loss, dict):
        return {name: shared_loss(one) for name, one in loss.items()}
    return lambda target, prediction: keras.ops.reshape(loss(target, prediction), (-1,))


def replicated_step(model, strategy):
    """Build a training step that gives each replica its share of the batch.

    Parameters
    ----------
    model : keras.Model
        Built and compiled in the scope of `strategy`, its optimiser built too.
    strategy : tf.distribute.Strategy

    Returns
    -------
    callable
        ``step(x, y) -> float``: the mean loss. The batch must be a multiple of the replicas.
    """

    @tensorflow().function
    def on_all(x, y):
        outputs = strategy.run(model.train_step, args=((x, y),))
        return strategy.reduce("MEAN", outputs["loss"], axis=None)

    built = []

    def step(x, y):
        parts = strategy.num_replicas_in_sync
        size = len(keras.tree.flatten(x)[0])  # there may be several inputs
        if size % parts:
            message = f"expected a batch that {parts} replicas can share equally, got {size} samples."
            raise CalzooError(message)
        if not built:
            # What keeps the losses of several outputs makes its variables when it is first called, which a
            # function must not do.
            model.test_on_batch(*keras.tree.map_structure(lambda array: array[: size // parts], (x, y)))
            built.append(True)
        model.reset_metrics()
        x, y = keras.tree.map_structure(lambda array: _shares(strategy, array), (x, y))
        return float(on_all(x, y))

    return step


def _shares(strategy, array):
    """Split a batch into one part per replica."""
    share = len(array) // strategy.num_replicas_in_sync

    def part(context):
        start = context.replica_id_in_sync_group * share
        return tensorflow().convert_to_tensor(array[start : start + share])

    return strategy.experimental_distribute_values_from_function(part)
