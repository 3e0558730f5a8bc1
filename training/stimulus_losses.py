"""The loss of stimulus networks: several cells may be right at once."""

import keras


@keras.saving.register_keras_serializable("calzoo")
def stimulus_loss(truth, logits):
    """Return the binary cross-entropy of each sample, the mean over all logits.

    Parameters
    ----------
    truth : tensor of float, (B, K + 1)
        1 for each stimulated cell; the last column: no stimulus.
    logits : tensor of float, (B, K + 1)

    Returns
    -------
    tensor of float, (B,)
    """
    return keras.losses.binary_crossentropy(truth, logits, from_logits=True)
