"""Gradients with respect to the output of a layer, which Keras itself does not have."""

import keras

from calzoo.training.backend import tensorflow


def layer_gradient(model, layer, inputs, class_index):
    """Return the output of a layer, and the gradient of one score of each sample with respect to it.

    By TensorFlow or JAX, whichever computes.

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
        tf = tensorflow()
        both = keras.Model(model.inputs[0], [maps, model.output])
        with tf.GradientTape() as tape:
            watched = tf.convert_to_tensor(inputs)
            tape.watch(watched)  # so that what depends on no variable is recorded too
            features, scores = both(watched, training=False)
            total = tf.reduce_sum(scores * chosen)
        return features.numpy(), tape.gradient(total, features).numpy()
    import jax

    features = keras.Model(model.inputs[0], maps)(inputs, training=False)
    head = keras.Model(maps, model.output)
    gradients = jax.grad(lambda x: keras.ops.sum(head(x, training=False) * chosen))(features)
    return keras.ops.convert_to_numpy(features), keras.ops.convert_to_numpy(gradients)
