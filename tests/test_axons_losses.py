import numpy as np
import pytest

pytestmark = pytest.mark.train
keras = pytest.importorskip("keras")

from calzoo.errors import CalzooError
from calzoo.training.axons_losses import class_weights, dice_loss, focal_loss, voxel_loss


def softmax(rng, shape):
    p = rng.uniform(0.05, 1, (*shape, 3)).astype("float32")
    return p / p.sum(-1, keepdims=True)


def one_hot(labels):
    return np.eye(3, dtype="float32")[labels]


def value(tensor):
    return float(keras.ops.convert_to_numpy(tensor))


def target(labels, weight=1.0):
    return np.stack([labels, np.broadcast_to(weight, labels.shape)], -1).astype("float32")


def test_weights_sum_to_the_number_of_classes():
    np.testing.assert_allclose(class_weights((0.2, 1.5, 0.05)), np.array([0.2, 1.5, 0.05]) * 3 / 1.75)
    assert class_weights((0, 1, 3)) == (0, 0.75, 2.25)  # a class may count for nothing


@pytest.mark.parametrize("weights", [(1, -1, 1), (0, 0, 0)])
def test_weights_that_are_negative_or_all_zero_are_refused(weights):
    with pytest.raises(CalzooError, match="class weights of at least 0"):
        class_weights(weights)


def test_dice_is_the_weighted_mean_of_soft_f1(rng):
    labels, p = rng.integers(0, 3, (2, 3, 4, 5)), softmax(rng, (2, 3, 4, 5))
    counts = rng.uniform(0, 1, (2, 3, 4, 5, 1)).astype("float32")
    weights = class_weights((1, 3, 2))
    f1 = []
    for c in range(3):
        truth = labels == c
        f1.append(
            2 * (counts[..., 0] * truth * p[..., c]).sum() / (counts[..., 0] * (truth + p[..., c])).sum()
        )
    expected = 1 - np.mean(np.array(weights) * f1)
    assert value(dice_loss(one_hot(labels), p, counts, weights)) == pytest.approx(expected, rel=1e-5)


def test_dice_of_a_perfect_result_is_zero_whatever_the_weights(rng):
    labels = rng.integers(0, 3, (1, 2, 4, 4))
    truth = one_hot(labels)
    counts = np.ones((1, 2, 4, 4, 1), "float32")
    assert value(dice_loss(truth, truth, counts, class_weights((0.2, 1.5, 0.05)))) == pytest.approx(
        0, abs=1e-6
    )


def test_dice_leaves_absent_classes_out(rng):
    labels, p = np.zeros((1, 2, 4, 4), int), softmax(rng, (1, 2, 4, 4))
    counts = np.ones((1, 2, 4, 4, 1), "float32")
    expected = 1 - 2 * p[..., 0].sum() / (32 + p[..., 0].sum())
    assert value(dice_loss(one_hot(labels), p, counts, (0.5, 2.0, 0.5))) == pytest.approx(expected, rel=1e-5)


def test_cross_entropy_is_the_mean_surprise_weighted_by_class(rng):
    labels, p = rng.integers(0, 3, (2, 2, 3, 3)), softmax(rng, (2, 2, 3, 3))
    counts = rng.integers(0, 2, (2, 2, 3, 3, 1)).astype("float32")
    weights = np.array([0.5, 2.0, 0.5])
    right = np.take_along_axis(p, labels[..., None], -1)[..., 0]
    per_voxel = counts[..., 0] * weights[labels] * -np.log(right)
    expected = per_voxel.sum() / counts.sum()
    assert value(focal_loss(one_hot(labels), p, counts, tuple(weights))) == pytest.approx(expected, rel=1e-5)
    focal = (counts[..., 0] * weights[labels] * (1 - right) ** 2 * -np.log(right)).sum() / counts.sum()
    assert value(focal_loss(one_hot(labels), p, counts, tuple(weights), focus=2)) == pytest.approx(
        focal, rel=1e-5
    )


def test_a_class_that_was_ruled_out_is_a_finite_surprise():
    truth, ruled_out = one_hot(np.zeros((1, 2, 2, 2), int)), one_hot(np.ones((1, 2, 2, 2), int))
    loss = value(focal_loss(truth, ruled_out, np.ones((1, 2, 2, 2, 1), np.float32), (1.0, 1.0, 1.0)))
    assert loss == pytest.approx(-np.log(1e-7), rel=1e-3)


def test_the_loss_is_dice_plus_entropy(rng):
    labels, p = rng.integers(0, 3, (1, 2, 4, 4)), softmax(rng, (1, 2, 4, 4))
    counts = np.ones((1, 2, 4, 4, 1), "float32")
    weights = class_weights((1, 2, 1))
    expected = value(dice_loss(one_hot(labels), p, counts, weights)) + 0.5 * value(
        focal_loss(one_hot(labels), p, counts, weights)
    )
    assert value(voxel_loss((1, 2, 1), entropy=0.5)(target(labels), p)) == pytest.approx(expected, rel=1e-6)


def test_voxels_of_weight_zero_change_nothing(rng):
    labels, p = rng.integers(0, 3, (2, 2, 4, 4)), softmax(rng, (2, 2, 4, 4))
    weight = rng.integers(0, 2, labels.shape)
    other, q = np.where(weight, labels, 2 - labels), np.where(weight[..., None], p, p[..., ::-1])
    loss = voxel_loss((1, 2, 1))
    assert value(loss(target(labels, weight), p)) == value(loss(target(other, weight), q))


def test_a_batch_in_which_nothing_counts_has_no_loss_and_no_gradient(rng):
    layer = keras.layers.Dense(3, activation="softmax")
    x = rng.normal(size=(1, 2, 3, 3, 4)).astype("float32")
    model = keras.Sequential([keras.Input((2, 3, 3, 4)), layer])
    model.compile(keras.optimizers.SGD(1.0), voxel_loss((1, 2, 1)), jit_compile=False)
    before = [w.copy() for w in model.get_weights()]
    assert float(model.train_on_batch(x, target(np.zeros((1, 2, 3, 3), int), 0))) == 0
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_the_gradient_of_the_loss_is_that_of_finite_differences(rng):
    """Checked through one step of plain gradient descent, which both backends can do."""
    labels = rng.integers(0, 3, (1, 1, 3, 3))
    x = rng.normal(size=(1, 1, 3, 3, 2)).astype("float32")
    weight = rng.uniform(0, 1, labels.shape)
    model = keras.Sequential(
        [keras.Input((1, 3, 3, 2)), keras.layers.Dense(3, use_bias=False, activation="softmax")]
    )
    loss = voxel_loss((1, 2, 1), focus=2)
    model.compile(keras.optimizers.SGD(1.0), loss, jit_compile=False)
    kernel = model.get_weights()[0]

    def at(k):
        logits = x.astype(float) @ k
        p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
        return numpy_loss(labels, p, weight)

    numeric = np.zeros_like(kernel, dtype=float)
    for i in np.ndindex(*kernel.shape):
        up, down = kernel.astype(float), kernel.astype(float)
        up[i] += 1e-5
        down[i] -= 1e-5
        numeric[i] = (at(up) - at(down)) / 2e-5
    model.train_on_batch(x, target(labels, weight))
    np.testing.assert_allclose(kernel - model.get_weights()[0], numeric, atol=2e-5)


def numpy_loss(labels, p, weight):
    """The loss of weights (1, 2, 1) and focus 2, in float64."""
    weights = np.array(class_weights((1, 2, 1)))
    truth = np.eye(3)[labels]
    counts = weight[..., None]
    present = (counts * truth).sum((0, 1, 2, 3))
    f1 = 2 * (counts * truth * p).sum((0, 1, 2, 3)) / (present + (counts * p).sum((0, 1, 2, 3)))
    used = weights * (present > 0)
    right = (truth * p).sum(-1)
    entropy = (weight * weights[labels] * (1 - right) ** 2 * -np.log(right)).sum() / weight.sum()
    return (used * (1 - f1)).sum() / used.sum() + entropy
