"""Batch normalisation that no longer looks at the batch.

While a network trains, batch normalisation uses the mean and variance of a few tiles;
at inference it uses their running averages. With two or three tiles from different
microscopes in a batch these differ much. So the last part of a training goes on with
the averages, as inference will.
"""

import keras


class FrozenBatchNormalization(keras.layers.BatchNormalization):
    """Batch normalisation with its running averages, while its scale and shift still learn."""

    def call(self, inputs, training=None, mask=None):
        """Normalise as at inference."""
        return super().call(inputs, training=False, mask=mask)


def with_frozen_norm(model):
    """Copy a functional model that is not compiled, its batch normalisations frozen.

    Parameters
    ----------
    model : keras.Model

    Returns
    -------
    keras.Model
        With variables of its own, in the same order, of the same paths and values.
    """

    def clone(layer):
        frozen = isinstance(layer, keras.layers.BatchNormalization)
        return (FrozenBatchNormalization if frozen else type(layer)).from_config(layer.get_config())

    copy = keras.models.clone_model(model, clone_function=clone)
    copy.set_weights(model.get_weights())
    return copy


def has_frozen_norm(model):
    """Tell whether a model has no batch normalisation that looks at the batch."""
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    return all(isinstance(layer, FrozenBatchNormalization) for layer in norms)
