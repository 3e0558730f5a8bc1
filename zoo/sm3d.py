"""The networks of segmentation-models-3D, built so that calzoo trains and exports them.

The package pins ``keras==3.3.3``, which current releases of TensorFlow refuse, but
its code runs on newer ones: it is installed without its dependencies. It is not
part of any extra for that reason.
"""

import contextlib
import importlib
import sys

from calzoo.errors import CalzooError

INSTALL = "pip install --no-deps segmentation-models-3D==1.1.1 classification-models-3D==1.1.0"

#: Architectures, as `build` names them, and their names in the package.
ARCHITECTURES = {"unet": "Unet", "fpn": "FPN", "linknet": "Linknet", "pspnet": "PSPNet"}


def build(
    architecture="unet",
    backbone="vgg16",
    *,
    shape=(None, None, None),
    channels=1,
    classes=3,
    encoder_weights=None,
    **options,
):
    """Build a network of segmentation-models-3D [1]_ with calzoo's input and output.

    Some backbones of the package (resnext, seresnet, mobilenet, efficientnet) have
    layers that Keras cannot copy or save: train those with ``frozen_norm`` 0 in the
    schedule, and export them without timing.

    Parameters
    ----------
    architecture : {"unet", "fpn", "linknet", "pspnet"}, optional
        The decoder.
    backbone : str, optional
        The encoder, e.g. "vgg16" or "resnet18".
    shape : tuple of (int or None), optional
        Planes, rows and columns; multiples of 32 for most backbones. PSPNet needs them given.
    channels, classes : int, optional
        Channels of the picture; classes that are told apart.
    encoder_weights : str or None, optional
        "imagenet": downloaded by the package, three channels only.
    **options
        Handed to the package's class, e.g. ``decoder_filters``.

    Returns
    -------
    keras.Model
        Input ``image``: float32, (B, Z, Y, X, channels), normalised intensity.
        Output ``probability``: float32, (B, Z, Y, X, classes), softmax.

    Raises
    ------
    CalzooError
        If the package is not installed, or does not know the architecture or the backbone.

    References
    ----------
    .. [1] Solovyev et al., "3D convolutional neural networks for stalled brain capillary
       detection", Computers in Biology and Medicine 141, 2022. arXiv:2104.01687
    """
    if architecture not in ARCHITECTURES:
        message = f"sm3d: architecture must be one of {', '.join(ARCHITECTURES)}, got {architecture!r}."
        raise CalzooError(message)
    package = _package()
    import keras  # after the package is known to be there: it takes seconds

    known = package.get_available_backbone_names()
    if backbone not in known:
        message = f"sm3d: backbone must be one of {', '.join(known)}, got {backbone!r}."
        raise CalzooError(message)
    network = getattr(package, ARCHITECTURES[architecture])(
        backbone,
        input_shape=(*shape, channels),
        classes=classes,
        activation="softmax",
        encoder_weights=encoder_weights,
        **options,
    )
    image = keras.Input((*shape, channels), name="image", dtype="float32")
    # The same layers behind our input: a network within a network would hide them from the trainer.
    network = keras.models.clone_model(network, image, clone_function=lambda layer: layer)
    probability = keras.layers.Activation("linear", dtype="float32", name="probability")(network.output)
    return keras.Model(image, probability, name=f"{architecture}_{backbone}")


def divisor():
    """Return what each side (z, y, x) of a stack must be a multiple of: most backbones halve it five times.

    Examples
    --------
    >>> divisor()
    (32, 32, 32)
    """
    return (32, 32, 32)


def halo():
    """Return how far the VGG16 U-Net looks along each axis (z, y, x), in voxels; others look less or farther.

    Examples
    --------
    >>> halo()
    (248, 248, 248)
    """
    # Of `calzoo.networks.vgg16_unet3d`, which is that network, without importing Keras.
    return (248, 248, 248)


def _package():
    """Import segmentation-models-3D, whose greeting goes to stderr, or say how to install it."""
    try:
        with contextlib.redirect_stdout(sys.stderr):
            return importlib.import_module("segmentation_models_3D")
    except ImportError as error:
        message = (
            f"sm3d: expected the package segmentation-models-3D, got {error}. Install it without its "
            f"pinned dependencies: {INSTALL}"
        )
        raise CalzooError(message) from error
