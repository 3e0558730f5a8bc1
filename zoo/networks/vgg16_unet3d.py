"""A 3-D U-Net on a VGG16 encoder, layer for layer that of segmentation-models-3D."""

import math

import keras
import numpy as np
from keras import layers

#: Convolutions and channels of the five stages of VGG16.
STAGES = ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512))

#: Channels of the two convolutions below the last pooling.
CENTER = 512

#: Channels of the decoder's stages, deepest first.
DECODER = (256, 128, 64, 32, 16)

#: Pooling (z, y, x) after each stage: stacks of microscopes have few planes, and thick ones.
POOL = ((1, 2, 2), (1, 2, 2), (2, 2, 2), (2, 2, 2), (1, 2, 2))

#: Arguments of `vgg16_unet3d` that rebuild the network of the axon system's authors (71,233,107 parameters).
SEED = {"channels": 3, "pool": ((2, 2, 2),) * 5}


def vgg16_unet3d(shape=(None, None, None), *, channels=1, classes=3, pool=POOL):
    """Build a U-Net whose encoder is VGG16 [1]_ with 3 x 3 x 3 kernels.

    Layers, names and weights are those of ``segmentation_models_3D.Unet("vgg16")``
    [2]_, so that models trained with that package load by name. It has no skip at
    full resolution, which is why thin axons cost it more than `unet3d`. Pooling per
    axis and one input channel are ours.

    Parameters
    ----------
    shape : tuple of (int or None), optional
        Planes, rows and columns, multiples of ``divisor(pool)``; None is any such.
    channels, classes : int, optional
        Channels of the picture (1, or 3 as in the original); classes that are told apart.
    pool : tuple of tuple of int, optional
        Pooling (z, y, x) after each of the five stages.

    Returns
    -------
    keras.Model
        Input ``image``: float32, (B, Z, Y, X, channels), normalised intensity.
        Output ``probability``: float32, (B, Z, Y, X, classes), softmax.

    Raises
    ------
    ValueError
        If `pool` has not five entries or a side of `shape` is no multiple of the divisor.

    References
    ----------
    .. [1] Simonyan and Zisserman, "Very deep convolutional networks", ICLR 2015. arXiv:1409.1556
    .. [2] Solovyev et al., "3D convolutional neural networks for stalled brain capillary
       detection", Computers in Biology and Medicine 141, 2022. arXiv:2104.01687

    Examples
    --------
    >>> vgg16_unet3d((4, 32, 64)).output_shape
    (None, 4, 32, 64, 3)
    """
    if len(pool) != len(STAGES):
        message = (
            f"vgg16_unet3d: pool must have {len(STAGES)} entries, one per stage of VGG16, got {len(pool)}."
        )
        raise ValueError(message)
    by = divisor(pool)
    if any(side is not None and side % d for side, d in zip(shape, by, strict=True)):
        message = (
            f"vgg16_unet3d: planes, rows and columns must be multiples of {by}, got shape={tuple(shape)}. "
            "Build the network with shape=(None, None, None) and pad at run time, or pool less."
        )
        raise ValueError(message)

    image = keras.Input((*shape, channels), name="image", dtype="float32")
    x = image
    skips = []
    for stage, (convolutions, filters) in enumerate(STAGES, start=1):
        for i in range(1, convolutions + 1):
            name = f"block{stage}_conv{i}"
            x = layers.Conv3D(filters, 3, padding="same", activation="relu", name=name)(x)
        skips.append(x)
        x = layers.MaxPooling3D(pool[stage - 1], name=f"block{stage}_pool")(x)
    for i in (1, 2):
        x = _conv_bn_relu(x, CENTER, name=f"center_block{i}")
    # The skips are those before each pooling but the first: the last stage up has none.
    for stage, (filters, skip) in enumerate(zip(DECODER, [*skips[:0:-1], None], strict=True)):
        x = layers.UpSampling3D(pool[-1 - stage], name=f"decoder_stage{stage}_upsampling")(x)
        if skip is not None:
            x = layers.Concatenate(name=f"decoder_stage{stage}_concat")([x, skip])
        x = _conv_bn_relu(x, filters, name=f"decoder_stage{stage}a")
        x = _conv_bn_relu(x, filters, name=f"decoder_stage{stage}b")
    x = layers.Conv3D(classes, 3, padding="same", name="final_conv")(x)
    # float32 also under mixed precision: the sum over classes must be 1.
    probability = layers.Softmax(dtype="float32", name="probability")(x)
    return keras.Model(image, probability, name="vgg16_unet3d")


def divisor(pool=POOL):
    """Return what each side (z, y, x) of a stack must be a multiple of, in voxels.

    Examples
    --------
    >>> divisor()
    (4, 32, 32)
    """
    return tuple(math.prod(axis) for axis in zip(*pool, strict=True))


def halo(pool=POOL):
    """Return how far the network looks along each axis (z, y, x), in voxels, at most.

    Examples
    --------
    >>> halo()
    (55, 248, 248)
    """
    return tuple(_reach(axis) for axis in zip(*pool, strict=True))


def start_from_imagenet(model, source="imagenet"):
    """Give the encoder the ImageNet weights of the 2-D VGG16, spread over depth.

    A 2-D kernel becomes three equal planes of a third each, so that a stack of
    equal planes is seen as the one picture was. Where `model` takes one channel,
    the kernels of the three colours are summed: a grey picture is seen as its
    grey RGB copy was.

    Parameters
    ----------
    model : keras.Model
        What `vgg16_unet3d` returned; changed in place.
    source : str or path, optional
        "imagenet": the weights that Keras downloads. A path: Keras' file
        ``vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5``, fetched elsewhere.

    Raises
    ------
    ValueError
        If the weights cannot be had, or are not those of VGG16.
    """
    try:
        flat = keras.applications.VGG16(include_top=False, weights=str(source), input_shape=(None, None, 3))
    except Exception as error:  # Keras raises a bare Exception where a download fails
        message = (
            f"start_from_imagenet: expected the weights of Keras' VGG16, got none from {str(source)!r} "
            f"({_first_line(error)}). Without a network, fetch "
            "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5 elsewhere and give its path."
        )
        raise ValueError(message) from error
    for stage, (convolutions, _) in enumerate(STAGES, start=1):
        for i in range(1, convolutions + 1):
            name = f"block{stage}_conv{i}"
            kernel, bias = flat.get_layer(name).get_weights()  # (3, 3, in, out), (out,)
            layer = model.get_layer(name)
            if layer.kernel.shape[-2] == 1:
                kernel = kernel.sum(axis=2, keepdims=True)
            layer.set_weights([np.repeat(kernel[None] / 3, 3, axis=0), bias])


def _first_line(error):
    return str(error).strip().split("\n")[0][:160]


def _reach(pool):
    """Return half of the receptive field along one axis, at the worst place within the pooling grid."""
    reach = 0
    for x in range(math.prod(pool)):
        first, last = x - 1, x + 1  # final_conv
        for factor in pool:  # two convolutions, then the voxels below that were up-sampled
            first, last = (first - 2) // factor, (last + 2) // factor
        first, last = first - 2, last + 2  # the center
        for (convolutions, _), factor in zip(reversed(STAGES), reversed(pool), strict=True):
            first, last = first * factor - convolutions, (last + 1) * factor - 1 + convolutions
        reach = max(reach, x - first, last - x)
    return reach


def _conv_bn_relu(x, filters, *, name):
    x = layers.Conv3D(
        filters, 3, padding="same", use_bias=False, kernel_initializer="he_uniform", name=f"{name}_conv"
    )(x)
    x = layers.BatchNormalization(name=f"{name}_bn")(x)
    return layers.ReLU(name=f"{name}_relu")(x)
