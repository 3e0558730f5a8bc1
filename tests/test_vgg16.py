"""The VGG16 network is the one of segmentation-models-3D, and starts from ImageNet's 2-D kernels."""

import sys
from unittest import mock

import numpy as np
import pytest

pytestmark = pytest.mark.train
keras = pytest.importorskip("keras")
h5py = pytest.importorskip("h5py")

from calzoo.errors import CalzooError
from calzoo.networks import vgg16_unet3d as vgg16
from calzoo.networks.vgg16_unet3d import POOL, SEED, STAGES, divisor, halo, start_from_imagenet, vgg16_unet3d

# The pooling that leaves the smallest legal stack: (2, 32, 32).
SMALL = {"pool": ((1, 2, 2), (1, 2, 2), (1, 2, 2), (1, 2, 2), (2, 2, 2))}


@pytest.fixture(scope="module")
def network():
    keras.utils.set_random_seed(0)
    return vgg16_unet3d(**SMALL)


def package():
    """Return segmentation-models-3D, or skip: it is installed by hand, without its dependencies."""
    pytest.importorskip("segmentation_models_3D", reason="pip install --no-deps (see calzoo.sm3d)")
    from calzoo import sm3d

    return sm3d


def test_seed_has_the_parameters_of_the_published_network():
    assert vgg16_unet3d(**SEED).count_params() == 71_233_107


@pytest.mark.filterwarnings("ignore")  # the package's own
def test_equal_weights_give_the_output_of_segmentation_models_3d(rng):
    theirs = package().build("unet", "vgg16", channels=3)
    keras.utils.set_random_seed(1)
    ours = vgg16_unet3d(**SEED)
    assert theirs.count_params() == ours.count_params()
    for layer in ours.layers:
        if layer.weights:
            theirs.get_layer(layer.name).set_weights(layer.get_weights())
    image = rng.random((1, 32, 32, 64, 3), dtype="float32")
    difference = np.abs(np.asarray(ours(image)) - np.asarray(theirs(image))).max()
    assert difference <= 1e-5


def test_absent_package_error_gives_the_install_line(monkeypatch):
    from calzoo import sm3d

    monkeypatch.setitem(sys.modules, "segmentation_models_3D", None)
    with pytest.raises(
        CalzooError, match=r"expected the package.*pip install --no-deps segmentation-models-3D"
    ):
        sm3d.build()


@pytest.mark.filterwarnings("ignore")  # the package's own
def test_unknown_architecture_and_backbone_are_named():
    sm3d = package()
    with pytest.raises(CalzooError, match="one of unet, fpn, linknet, pspnet, got 'segnet'"):
        sm3d.build("segnet")
    with pytest.raises(CalzooError, match=r"backbone must be one of .*vgg16.*, got 'vgg11'"):
        sm3d.build("unet", "vgg11")


def test_any_multiple_of_the_divisor_is_a_legal_size(network, rng):
    assert divisor(SMALL["pool"]) == (2, 32, 32)
    for size in ((2, 32, 64), (4, 64, 32)):
        probability = np.asarray(network(rng.random((1, *size, 1), dtype="float32")))
        assert probability.shape == (1, *size, 3)
        np.testing.assert_allclose(probability.sum(-1), 1, atol=1e-5)


def test_wrong_size_error_names_the_divisor():
    with pytest.raises(ValueError, match=r"multiples of \(4, 32, 32\), got shape=\(5, 64, 64\)"):
        vgg16_unet3d((5, 64, 64))
    with pytest.raises(ValueError, match=r"pool must have 5 entries.*got 2"):
        vgg16_unet3d(pool=POOL[:2])


def test_halo_is_what_an_output_voxel_depends_on():
    """On one row, with kernels that average three neighbours: nothing beyond the halo matters."""
    pool = ((1, 1, 2), (1, 1, 1), (1, 1, 2), (1, 1, 1), (1, 1, 1))
    few = [(convolutions, 1) for convolutions, _ in STAGES]  # channels: they do not matter here
    with mock.patch.multiple(vgg16, STAGES=few, CENTER=1, DECODER=(1,) * 5):
        model = vgg16_unet3d((1, 1, 256), pool=pool)
    for layer in model.layers:
        if isinstance(layer, keras.layers.Conv3D):
            kernel, *rest = layer.get_weights()
            kernel[:] = 0
            kernel[1, 1] = 1 / (3 * kernel.shape[-2])
            layer.set_weights([kernel, *(np.zeros_like(w) for w in rest)])
    logits = keras.Model(model.input, model.get_layer("final_conv").output)
    farthest = 0
    for place in range(126, 130):  # every place within the pooling grid
        image = np.zeros((1, 1, 1, 256, 1), "float32")
        image[0, 0, 0, place] = 1e9
        touched = np.flatnonzero(np.asarray(logits(image))[0, 0, 0, :, 0])
        farthest = max(farthest, *np.abs(touched - place))
    assert farthest == halo(pool)[2]


def write_keras_file(path, rng):
    """Write a file with the names and shapes of Keras' VGG16 weights without top, random numbers in it."""
    kernels = {}
    with h5py.File(path, "w") as file:
        names, channels = [], 3
        for stage, (convolutions, filters) in enumerate(STAGES, start=1):
            for i in range(1, convolutions + 1):
                name = f"block{stage}_conv{i}"
                kernels[name] = rng.normal(size=(3, 3, channels, filters)).astype("float32")
                group = file.create_group(name)
                weights = [f"{name}_W_1:0", f"{name}_b_1:0"]
                group.attrs["weight_names"] = [w.encode() for w in weights]
                group[weights[0]] = kernels[name]
                group[weights[1]] = np.full(filters, 0.5, "float32")
                names.append(name)
                channels = filters
            file.create_group(f"block{stage}_pool").attrs["weight_names"] = []
            names.append(f"block{stage}_pool")
        file.attrs["layer_names"] = [n.encode() for n in ["input_1", *names]]
        file.create_group("input_1").attrs["weight_names"] = []
    return kernels


def test_imagenet_kernels_are_spread_over_depth_and_summed_over_colours(network, rng, tmp_path):
    path = tmp_path / "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5"
    kernels = write_keras_file(path, rng)
    start_from_imagenet(network, path)
    stem, bias = network.get_layer("block1_conv1").get_weights()
    np.testing.assert_allclose(
        stem.sum(axis=0), kernels["block1_conv1"].sum(axis=2, keepdims=True), rtol=1e-5
    )
    np.testing.assert_array_equal(bias, 0.5)
    deep, _ = network.get_layer("block5_conv3").get_weights()
    for plane in deep:
        np.testing.assert_allclose(plane, kernels["block5_conv3"] / 3, rtol=1e-6)


def test_missing_imagenet_file_error_says_where_to_get_it(network, tmp_path):
    with pytest.raises(ValueError, match=r"expected the weights of Keras' VGG16, got none.*notop\.h5"):
        start_from_imagenet(network, tmp_path / "absent.h5")
