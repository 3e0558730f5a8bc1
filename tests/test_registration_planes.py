"""The form of the registration network that is written for processors."""

import numpy as np
import pytest

pytestmark = pytest.mark.train
keras = pytest.importorskip("keras")
onnxruntime = pytest.importorskip("onnxruntime")

from calzoo.export.registration_planes import FEATURES, KNOWN, registration_planes
from calzoo.networks.registration import registration

OUTPUTS = ("flow", "registered", "uncertainty")
CONFIGS = (
    {"filters": (2, 2, 4), "features": (3, 1), "width": 4, "steps": ((8, 32), (2, 16), (2, 8))},
    {"filters": (3, 2, 4), "features": (2, 2), "width": 3, "steps": ((8, 8), (2, 8))},
    {"filters": (2, 2, 4), "features": (2, 1), "width": 4, "steps": ((8, 16), (8, 16))},
)


def network(config):
    keras.utils.set_random_seed(0)
    model = registration(**config)
    rng = np.random.default_rng(1)
    for variable in model.weights:  # gains are zero at first
        variable.assign(variable + rng.normal(0, 0.1, variable.shape))
    return model


def session(model, config):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    data = registration_planes(model, **config).model().SerializeToString()
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def pair(rng, frames, templates, shape=(64, 128)):
    return {
        "frame": rng.gamma(2, 50, (frames, 1, *shape)).astype(np.float32),
        "template": rng.gamma(2, 50, (templates, 1, *shape)).astype(np.float32),
        "shift": rng.uniform(-9, 9, (frames, 2)).astype(np.float32),
    }


@pytest.mark.parametrize(
    ("config", "frames", "templates"), [(CONFIGS[0], 3, 1), (CONFIGS[1], 2, 2), (CONFIGS[2], 1, 1)]
)
def test_it_computes_what_keras_computes(rng, config, frames, templates):
    model = network(config)
    feeds = pair(rng, frames, templates)
    found = session(model, config).run(OUTPUTS, feeds)
    last = {name: np.moveaxis(array, 1, -1) for name, array in feeds.items()}
    expected = model(last, training=False)
    for one, other, tolerance in zip(found, expected, (1e-3, 0.1, 1e-3), strict=True):
        other = np.moveaxis(keras.ops.convert_to_numpy(other), -1, 1)
        assert one.shape == other.shape
        np.testing.assert_allclose(one, other, rtol=0, atol=tolerance)


def test_features_of_a_template_stand_in_for_it(rng):
    model = network(CONFIGS[0])
    run = session(model, CONFIGS[0]).run
    feeds = pair(rng, 2, 1)
    *expected, features = run([*OUTPUTS, FEATURES], feeds)
    blank = feeds | {"template": np.zeros_like(feeds["template"])}
    for one, other in zip(run(OUTPUTS, blank | {KNOWN: features}), expected, strict=True):
        np.testing.assert_array_equal(one, other)
    assert np.abs(run(["flow"], blank)[0] - expected[0]).max() > 0.01


def test_equal_pictures_lie_still(rng):
    feeds = pair(rng, 1, 1)
    feeds = feeds | {"template": feeds["frame"], "shift": np.zeros((1, 2), np.float32)}
    flow, registered = session(network(CONFIGS[0]), CONFIGS[0]).run(["flow", "registered"], feeds)
    assert np.abs(flow).max() < 1e-5
    np.testing.assert_allclose(registered, feeds["frame"], rtol=1e-4)
