"""Numbers of a run for TensorBoard, where TensorFlow is installed."""

from calzoo.training import backend


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
        tensorflow = backend.tensorflow()
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
