import importlib.util
import os
import re
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from tiny_recipe import tiny_recipe

pytestmark = pytest.mark.train
keras = pytest.importorskip("keras")

from calzoo.errors import CalzooError
from calzoo.training import distribute, tensorboard
from calzoo.training.checkpoints import read_json
from calzoo.training.precision import computed_in
from calzoo.training.schedule import Schedule
from calzoo.training.trainer import train
from calzoo.training.variables import read_arrays


def have(package):
    return importlib.util.find_spec(package) is not None


def python(script, *arguments, **environment):
    """Run a script in an interpreter of its own; return what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), *map(str, arguments)],
        env={
            **os.environ,
            "PYTHONPATH": os.path.dirname(__file__),
            "TF_CPP_MIN_LOG_LEVEL": "3",
            **environment,
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


STEP = """
    import sys
    import numpy as np
    from calzoo.training.trainer import train
    from calzoo.training.runs import build_model, load_run
    from tiny_recipe import tiny_recipe
    import keras
    recipe = tiny_recipe(schedule__epochs=1, schedule__steps=2)
    progress = train(recipe, sys.argv[1], init=sys.argv[2], quiet=True)
    x = np.linspace(-1, 2, 8 * 16 * 16, dtype="float32").reshape(1, 8, 16, 16, 1)
    p = keras.ops.convert_to_numpy(build_model(load_run(sys.argv[1]))(x, training=False))
    print(keras.backend.backend(), progress.history[0]["loss"], float(p[..., 1].mean()))
"""


@pytest.mark.skipif(not have("jax"), reason="the jax backend needs jax")
def test_training_and_scoring_work_with_jax_as_with_the_backend_in_use(tmp_path):
    start = tmp_path / "start"
    train(tiny_recipe(schedule__epochs=1, schedule__steps=1), start, quiet=True)
    init = start / "weights.safetensors"
    backends = ["jax"] + (["tensorflow"] if have("tensorflow") else [])
    lines = [python(STEP, tmp_path / b, init, KERAS_BACKEND=b).split() for b in backends]
    assert [line[0] for line in lines] == backends
    numbers = np.array([line[1:] for line in lines], float)
    assert np.isfinite(numbers).all()
    # The same data and first weights: two steps later the networks still agree.
    np.testing.assert_allclose(numbers, np.broadcast_to(numbers[0], numbers.shape), rtol=2e-3)


MIRRORED = """
    import sys
    import tensorflow as tf
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    from calzoo.training.distribute import mirrored
    from calzoo.training.trainer import train
    from tiny_recipe import tiny_recipe
    strategy = mirrored(["CPU:0", "CPU:1"])
    recipe = tiny_recipe(schedule__epochs=2, schedule__batch=2)
    for _ in range(2):  # the second time it finds the run finished
        progress = train(recipe, sys.argv[1], strategy=strategy, quiet=True)
    print(strategy.num_replicas_in_sync, progress.step, progress.history[0]["loss"])
"""


@pytest.mark.skipif(not have("tensorflow"), reason="tf.distribute needs tensorflow")
def test_two_devices_share_each_batch(tmp_path):
    replicas, step, loss = python(MIRRORED, tmp_path / "run", KERAS_BACKEND="tensorflow").split()
    assert (replicas, step) == ("2", "6")
    assert 0 < float(loss) < 10
    assert (tmp_path / "run" / "weights.safetensors").exists()
    assert [s["steps"] for s in read_json(tmp_path / "run" / "ledger.json")["sessions"]] == [6, 0]


ALIKE = """
    import keras
    import numpy as np
    import tensorflow as tf
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    from calzoo.training.distribute import mirrored, replicated_step

    def build():
        keras.utils.set_random_seed(1)
        inputs = {name: keras.Input((3,), name=name) for name in ("a", "b")}
        model = keras.Model(inputs, keras.layers.Dense(3)(keras.layers.Concatenate()(list(inputs.values()))))
        model.compile(optimizer=keras.optimizers.SGD(0.1), loss="mse")
        model.optimizer.build(model.trainable_variables)
        return model

    rng = np.random.default_rng(0)
    x = {name: rng.normal(size=(4, 3)).astype("f") for name in ("a", "b")}
    y = rng.normal(size=(4, 3)).astype("f")
    one = build()
    losses = [[float(one.train_on_batch(x, y)) for _ in range(3)]]
    strategy = mirrored(["CPU:0", "CPU:1"])
    with strategy.scope():
        two = build()
        step = replicated_step(two, strategy)
        losses.append([step(x, y) for _ in range(3)])
    weights = [np.concatenate([w.ravel() for w in m.get_weights()]) for m in (one, two)]
    print(np.ptp(losses, axis=0).max(), np.abs(weights[0] - weights[1]).max(), losses[0][0], losses[0][2])
"""


@pytest.mark.skipif(not have("tensorflow"), reason="tf.distribute needs tensorflow")
def test_two_devices_learn_what_one_does():
    """Gradients are averaged over devices, not added: the step is that of the whole batch."""
    losses, weights, first, third = map(float, python(ALIKE, KERAS_BACKEND="tensorflow").split())
    assert losses < 1e-5
    assert weights < 1e-6
    assert third < 0.9 * first


ONE_NUMBER = """
    import keras
    import numpy as np
    import tensorflow as tf
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    from calzoo.training.distribute import mirrored, replicated_step, shared_loss
    from calzoo.training.prediction import predicted

    def build(wrap):
        keras.utils.set_random_seed(1)
        image = keras.Input((3,), name="image")
        outputs = [keras.layers.Dense(2, name=name)(image) for name in ("mask", "score")]
        model = keras.Model(image, outputs)
        square = lambda target, prediction: keras.ops.mean(keras.ops.square(target - prediction))
        model.compile(keras.optimizers.SGD(0.1), wrap({"mask": square, "score": square}))
        model.optimizer.build(model.trainable_variables)
        return model

    rng = np.random.default_rng(0)
    x = rng.normal(size=(4, 3)).astype("f")
    y = {name: rng.normal(size=(4, 2)).astype("f") for name in ("mask", "score")}
    one = build(dict)
    losses = [[float(one.train_on_batch(x, y, return_dict=True)["loss"]) for _ in range(3)]]
    strategy = mirrored(["CPU:0", "CPU:1"])
    with strategy.scope():
        two = build(shared_loss)
        step = replicated_step(two, strategy)
        losses.append([step(x, y) for _ in range(3)])
        found = predicted(two, x[:3])
    weights = [np.concatenate([w.ravel() for w in m.get_weights()]) for m in (one, two)]
    same = np.abs(np.asarray(found) - np.asarray(predicted(one, x[:3]))).max()
    print(np.ptp(losses, axis=0).max(), np.abs(weights[0] - weights[1]).max(), same)
"""


@pytest.mark.skipif(not have("tensorflow"), reason="tf.distribute needs tensorflow")
def test_two_devices_learn_the_same_from_losses_of_one_number_and_predict_each_sample_once():
    losses, weights, predictions = map(float, python(ONE_NUMBER, KERAS_BACKEND="tensorflow").split())
    assert losses < 1e-5
    assert weights < 1e-6
    assert predictions < 1e-5


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="tf.distribute needs tensorflow")
def test_a_batch_that_devices_cannot_share_is_refused():
    class Strategy:
        num_replicas_in_sync = 3

    with pytest.raises(CalzooError, match="3 replicas can share equally, got 2 samples"):
        distribute.replicated_step(None, Strategy())({"image": np.zeros((2, 1))}, np.zeros((2, 1)))


def test_each_device_cuts_its_part_of_the_gradients():
    one, four = (Schedule(clip_norm=2.0).optimizer(replicas=n) for n in (1, 4))
    assert (one.global_clipnorm, four.global_clipnorm) == (2.0, 0.5)


def test_several_devices_need_tensorflow(monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(CalzooError, match="several GPUs need the tensorflow backend, got 'jax'"):
        distribute.mirrored()


@pytest.mark.skipif(not have("tensorflow"), reason="TensorBoard's files are written by tensorflow")
def test_scalars_can_be_read_back_from_the_event_file(tmp_path):
    import tensorflow

    write = tensorboard.scalar_writer(tmp_path)
    write(5, {"loss": 0.25, "score": 0.5})
    (path,) = tmp_path.iterdir()
    found = {}
    for record in tensorflow.data.TFRecordDataset(str(path)):
        event = tensorflow.compat.v1.Event.FromString(record.numpy())
        for value in event.summary.value:
            found[value.tag] = (event.step, float(tensorflow.make_ndarray(value.tensor)))
    assert found == {"loss": (5, 0.25), "score": (5, 0.5)}


def test_without_tensorflow_there_is_no_event_file(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    assert tensorboard.scalar_writer(tmp_path) is None


HALF = """
    import sys
    from calzoo.errors import CalzooError
    from calzoo.training.trainer import train
    from tiny_recipe import tiny_recipe
    try:
        train(tiny_recipe(schedule__epochs=1, schedule__precision="mixed_float16"), sys.argv[1], quiet=True)
    except CalzooError as error:
        print(error)
"""


@pytest.mark.skipif(not have("tensorflow"), reason="TensorFlow has no 3-D kernels of float16 for processors")
def test_half_precision_on_a_processor_ends_in_words(tmp_path):
    message = python(HALF, tmp_path / "run", KERAS_BACKEND="tensorflow", CUDA_VISIBLE_DEVICES="")
    assert re.search(r"cannot be trained in mixed_float16 on this machine \(No OpKernel", message)
    assert "set schedule.precision=float32 and start again in another folder" in message


@pytest.mark.parametrize(
    ("precision", "error"), [("float32", TypeError("x")), ("mixed_float16", MemoryError("x"))]
)
def test_other_errors_of_a_step_stay_as_they_are(precision, error):
    with pytest.raises(type(error), match="x"), computed_in(precision, "run"):
        raise error


MIXED = """
    import sys
    import keras
    from calzoo.training.trainer import train
    from tiny_recipe import tiny_recipe
    recipe = tiny_recipe(schedule__epochs=1, schedule__steps=2, schedule__precision="mixed_bfloat16")
    print(train(recipe, sys.argv[1], quiet=True).history[0]["loss"], keras.config.dtype_policy().name)
"""


@pytest.mark.skipif(not have("jax"), reason="the jax backend needs jax")
def test_mixed_precision_keeps_masters_in_full_precision(tmp_path):
    # On a processor TensorFlow 2.21's convolutions in bfloat16 give NaN now and then; they are for GPUs.
    loss, policy = python(MIXED, tmp_path / "run", KERAS_BACKEND="jax").split()
    assert np.isfinite(float(loss))
    assert policy == "float32"
    masters = read_arrays(next((tmp_path / "run").glob("checkpoint-*/model.safetensors")))
    assert {a.dtype for path, a in masters.items() if path.endswith("kernel")} == {np.dtype("float32")}
