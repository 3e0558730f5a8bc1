import os
import subprocess
import sys

import numpy as np
import pytest

pytestmark = pytest.mark.train
keras = pytest.importorskip("keras")

from calzoo.errors import CalzooError
from calzoo.training.variables import (
    as_saved,
    assign_variables,
    load_weights,
    read_arrays,
    save_variables,
    save_weights,
)


def network(classes=3, width=4):
    image = keras.Input((None, 5))
    x = keras.layers.Dense(width, name="first")(image)
    x = keras.layers.BatchNormalization(name="norm")(x)
    return keras.Model(image, keras.layers.Dense(classes, name="last")(x), name="tiny")


def test_weights_come_back_by_path(tmp_path, rng):
    model = network()
    model.set_weights([rng.normal(size=w.shape).astype(np.float16) for w in model.get_weights()])
    save_weights(model, tmp_path / "w.safetensors")
    assert set(read_arrays(tmp_path / "w.safetensors")) == {w.path for w in model.weights}
    other = network()
    assert load_weights(other, tmp_path / "w.safetensors") == []
    for one, two in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)


@pytest.mark.skipif(os.name != "posix", reason="permissions are those of POSIX")
def test_weights_may_be_read_by_whom_other_results_may(tmp_path):
    save_weights(network(), tmp_path / "w.safetensors")
    (tmp_path / "other").touch()
    assert (tmp_path / "w.safetensors").stat().st_mode == (tmp_path / "other").stat().st_mode


def test_kernels_are_saved_in_half_precision_and_nothing_else(tmp_path, rng):
    model = network()
    model.set_weights([rng.normal(size=w.shape) for w in model.get_weights()])
    save_weights(model, tmp_path / "w.safetensors")
    other = network()
    load_weights(other, tmp_path / "w.safetensors")
    for variable, one, two in zip(model.weights, model.get_weights(), other.get_weights(), strict=True):
        kernel = variable.path.endswith("kernel")
        np.testing.assert_array_equal(one.astype(np.float16) if kernel else one, two)


def test_a_model_can_be_scored_as_it_will_be_saved(tmp_path, rng):
    model = network()
    model.set_weights([rng.normal(size=w.shape) for w in model.get_weights()])
    own = model.get_weights()
    with as_saved(model):
        inside = model.get_weights()
        save_weights(model, tmp_path / "w.safetensors")
    for before, after in zip(own, model.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)
    assert not np.array_equal(inside[0], own[0])
    for array, variable in zip(inside, model.weights, strict=True):
        np.testing.assert_array_equal(array, read_arrays(tmp_path / "w.safetensors")[variable.path])


def test_kernels_beyond_half_precision_are_saved_as_they_are(tmp_path):
    model = network()
    model.set_weights([np.full(w.shape, 7e4) for w in model.get_weights()])
    save_weights(model, tmp_path / "w.safetensors")
    kinds = {array.dtype for array in read_arrays(tmp_path / "w.safetensors").values()}
    assert kinds == {np.dtype("float32")}


def test_scalars_keep_their_shape(tmp_path):
    variables = [keras.Variable(3.0, name="rate"), keras.Variable(7, dtype="int32", name="count")]
    save_variables(variables, tmp_path / "v.safetensors")
    for variable in variables:
        variable.assign(0)
    assign_variables(variables, tmp_path / "v.safetensors")
    assert [float(v) for v in variables] == [3, 7]


def test_what_does_not_fit_is_left_as_it_was_and_named(tmp_path):
    save_weights(network(classes=3), tmp_path / "w.safetensors")
    other = network(classes=2)
    before = other.get_layer("last").get_weights()
    assert load_weights(other, tmp_path / "w.safetensors") == ["last/kernel", "last/bias"]
    for one, two in zip(before, other.get_layer("last").get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)


def test_weights_of_another_network_are_refused(tmp_path):
    save_variables([keras.Variable(np.zeros(3), name="else")], tmp_path / "w.safetensors")
    with pytest.raises(
        CalzooError, match=r"expected weights of 'tiny' \(first/kernel .* no variable of .* fits \(else"
    ):
        load_weights(network(), tmp_path / "w.safetensors")


def test_a_checkpoint_of_another_network_is_refused(tmp_path):
    save_weights(network(width=5), tmp_path / "w.safetensors")
    with pytest.raises(CalzooError, match="first/kernel, first/bias, norm/gamma do not fit"):
        assign_variables(network().weights, tmp_path / "w.safetensors")


@pytest.mark.parametrize(
    "content", [None, b"", b"\x10\x00\x00\x00\x00\x00\x00\x00not json at all", b"x" * 200]
)
def test_a_file_that_is_damaged_or_missing_is_refused(tmp_path, content):
    path = tmp_path / "w.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CalzooError, match=r"cannot read weights from .*w\.safetensors"):
        read_arrays(path)


@pytest.mark.skipif(os.name != "posix", reason="files are kept small as POSIX does")
def test_weights_that_do_not_fit_on_the_disk_are_one_clear_error(tmp_path):
    """The library that writes them has errors of its own, which are none of the system's."""
    code = (
        "import resource, signal, sys; import numpy as np; from calzoo.errors import CalzooError;"
        "from calzoo.training.variables import _write; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try: _write({'a': np.zeros(10_000)}, sys.argv[1])\n"
        "except CalzooError as error: print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "w.safetensors")], capture_output=True, text=True
    )
    assert "w.safetensors: cannot be written" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_a_truncated_file_is_refused(tmp_path):
    path = tmp_path / "w.safetensors"
    save_weights(network(), path)
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(CalzooError, match=r"Expected a complete \.safetensors file"):
        read_arrays(path)
