"""What only TensorFlow can do: several GPUs, repeatable kernels, TensorBoard, gradients. Lazily imported."""

import os

import keras

from calzoo.errors import CalzooError


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
        _tensorflow().config.experimental.enable_op_determinism()


def limit_threads(threads):
    """Let TensorFlow use `threads` cores; only before its first operation."""
    if keras.backend.backend() == "tensorflow":
        tensorflow = _tensorflow()
        tensorflow.config.threading.set_intra_op_parallelism_threads(threads)
        tensorflow.config.threading.set_inter_op_parallelism_threads(1)


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
    return _tensorflow().distribute.MirroredStrategy(devices)


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
    tensorflow = _tensorflow()

    @tensorflow.function
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
            # What keeps the losses of several outputs has variables, which a function must not make.
            model._symbolic_build(data_batch=(x, y))
            built.append(True)
        model.reset_metrics()
        x, y = keras.tree.map_structure(lambda array: _shares(strategy, array), (x, y))
        return float(on_all(x, y))

    return step


def scalar_writer(folder):
    """Return a function that writes scalars for TensorBoard, or None where TensorFlow is absent.

    Parameters
    ----------
    folder : path-like

    Returns
    -------
    callable or None
        ``write(step, {name: value})``.
    """
    try:
        tensorflow = _tensorflow()
    except ImportError:
        return None
    writer = tensorflow.summary.create_file_writer(str(folder))
    # tf.summary.scalar needs the tensorboard package; this is what it writes.
    plugin = tensorflow.compat.v1.SummaryMetadata.PluginData(plugin_name="scalars")
    metadata = tensorflow.compat.v1.SummaryMetadata(plugin_data=plugin)

    def write(step, values):
        with writer.as_default():
            for name, value in values.items():
                tensorflow.summary.write(
                    name, tensorflow.constant(float(value)), step=step, metadata=metadata
                )
        writer.flush()

    return write


def layer_gradient(model, layer, inputs, class_index):
    """Return the output of a layer, and the gradient of one score of each sample with respect to it.

    Keras itself has no gradients: TensorFlow or JAX, whichever computes, has.

    Parameters
    ----------
    model : keras.Model
        Of one input and one output (N, K).
    layer : str
    inputs : ndarray, (N, ...)
    class_index : int or sequence of int
        One for all samples, or one for each.

    Returns
    -------
    features, gradients : ndarray of float32
    """
    chosen = keras.ops.one_hot([class_index] * len(inputs) if isinstance(class_index, int) else class_index,
                               model.output.shape[-1])  # fmt: skip
    maps = model.get_layer(layer).output
    if keras.backend.backend() == "tensorflow":
        tensorflow = _tensorflow()
        both = keras.Model(model.inputs[0], [maps, model.output])
        with tensorflow.GradientTape() as tape:
            watched = tensorflow.convert_to_tensor(inputs)
            tape.watch(watched)  # so that what depends on no variable is recorded too
            features, scores = both(watched, training=False)
            total = tensorflow.reduce_sum(scores * chosen)
        return features.numpy(), tape.gradient(total, features).numpy()
    import jax

    features = keras.Model(model.inputs[0], maps)(inputs, training=False)
    head = keras.Model(maps, model.output)
    gradients = jax.grad(lambda x: keras.ops.sum(head(x, training=False) * chosen))(features)
    return keras.ops.convert_to_numpy(features), keras.ops.convert_to_numpy(gradients)


def _shares(strategy, array):
    """Split a batch into one part per replica."""
    share = len(array) // strategy.num_replicas_in_sync

    def part(context):
        start = context.replica_id_in_sync_group * share
        return _tensorflow().convert_to_tensor(array[start : start + share])

    return strategy.experimental_distribute_values_from_function(part)


def _tensorflow():
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import tensorflow

    return tensorflow
