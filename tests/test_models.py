"""Loading an .onnx file: which ones, on which provider, and which are refused."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from calzoo.errors import CalzooError
from calzoo.inference import models
from calzoo.inference.models import Model, load_model
from calzoo.weights import onnx_file

MODELS = Path(__file__).resolve().parent / "models"
PIXEL = MODELS / "pixel.onnx"


def field(number, value):
    """Return one field of a protocol buffer: a number, or bytes."""
    if isinstance(value, int):
        return bytes([number << 3, value])
    tag = number << 3 | 2
    return (bytes([tag]) if tag < 128 else bytes([tag & 127 | 128, tag >> 7])) + bytes([len(value)]) + value


def image(rng, shape=(4, 5, 6)):
    return rng.random((1, *shape, 1), dtype=np.float32)


def test_the_network_runs_under_the_names_of_its_card(rng):
    model = load_model(PIXEL, provider="cpu", threads=1)
    array = image(rng)
    probability = model.run({"image": array})["probability"]
    assert probability.shape == (1, 4, 5, 6, 3)
    np.testing.assert_allclose(probability.sum(axis=-1), 1, atol=1e-6)
    # The network's own rule: background below .25, axon (1) above .5, border (2) between.
    expected = np.where(array < 0.25, 0, np.where(array < 0.5, 2, 1))[..., 0]
    np.testing.assert_array_equal(probability.argmax(axis=-1), expected)


def test_a_model_says_what_it_is():
    model = load_model(str(PIXEL), provider="cpu")
    assert model.provider == "cpu"
    assert model.card.name == "pixel"
    assert len(model.sha256) == 64


def test_auto_reports_what_really_runs():
    onnxruntime = pytest.importorskip("onnxruntime")
    cuda = "CUDAExecutionProvider" in onnxruntime.get_available_providers()
    assert load_model(PIXEL).provider in (("cuda", "cpu") if cuda else ("cpu",))


def test_auto_says_so_when_a_listed_device_does_not_start(monkeypatch, capsys):
    onnxruntime = pytest.importorskip("onnxruntime")
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("a CUDA build: its device may well start")
    listed = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: listed)
    assert load_model(PIXEL).provider == "cpu"
    assert "a CUDA device was tried and does not start" in capsys.readouterr().err
    with pytest.raises(CalzooError, match="provider 'cuda' was asked for, but"):
        load_model(PIXEL, provider="cuda")


@pytest.mark.parametrize("provider", ["cuda", "tensorrt"])
def test_an_explicit_provider_never_falls_back(monkeypatch, provider):
    onnxruntime = pytest.importorskip("onnxruntime")
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    remedy = r"pip uninstall -y onnxruntime onnxruntime-gpu && pip install 'calzoo\[gpu\]'"
    with pytest.raises(
        CalzooError, match=f"'{provider}' was asked for, but onnxruntime .* offers .*{remedy}"
    ):
        load_model(PIXEL, provider=provider)


def test_openvino_gives_what_onnxruntime_gives(rng):
    pytest.importorskip("openvino")
    for name in ("pixel", "smooth"):
        plain = load_model(MODELS / f"{name}.onnx", provider="cpu")
        model = load_model(MODELS / f"{name}.onnx", provider="openvino", threads=1)
        assert model.provider == "openvino"
        for shape in [(4, 5, 6), (3, 8, 8), (4, 5, 6)]:
            array = image(rng, shape).reshape((1, *shape, 1) if name == "pixel" else (1, 1, *shape))
            results = [m.run({"image": array})["probability"] for m in (plain, model)]
            np.testing.assert_allclose(*results, atol=1e-5)


def test_openvino_answers_several_threads_as_it_answers_one(rng):
    pytest.importorskip("openvino")
    model = load_model(MODELS / "smooth.onnx", provider="openvino", threads=1)
    arrays = [rng.random((1, 1, 12, side, 16), np.float32) for side in (16, 24, 32, 16)]
    alone = [model.run({"image": array}, ["probability"])["probability"] for array in arrays]

    def several(number):
        return [model.run({"image": arrays[number]})["probability"] for _ in range(20)]

    with ThreadPoolExecutor(len(arrays)) as pool:
        for expected, found in zip(alone, pool.map(several, range(len(arrays))), strict=True):
            for result in found:
                np.testing.assert_allclose(result, expected, atol=1e-6)


@pytest.mark.parametrize(("package", "provider"), [("openvino", "openvino"), ("onnxruntime", "cpu")])
def test_a_missing_runtime_is_named_with_the_line_that_installs_it(monkeypatch, package, provider):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(
        CalzooError, match=rf"{package}.* is not installed; pip install 'calzoo\[{provider}\]'"
    ):
        load_model(PIXEL, provider=provider)


def test_unknown_providers_and_threads_are_refused():
    with pytest.raises(CalzooError, match=r"provider must be one of auto, cpu, .*got 'gpu'"):
        load_model(PIXEL, provider="gpu")
    with pytest.raises(CalzooError, match="threads must be a whole number of at least 1, got 0"):
        load_model(PIXEL, threads=0)


@pytest.mark.parametrize("twin", [False, True])
def test_a_preset_is_found_and_a_processor_gets_the_form_made_for_it(monkeypatch, twin):
    from calzoo.weights import registry

    files = {"onnx": PIXEL, "safetensors": None} | ({"onnx_cpu": MODELS / "smooth.onnx"} if twin else {})
    network = SimpleNamespace(network={"model": SimpleNamespace(files=files)}.get)
    monkeypatch.setattr(registry, "preset", {"axons": network}.get)
    monkeypatch.setattr(registry, "resolve", lambda name, role, kind: files[kind])
    assert load_model("axons", provider="cpu").card.name == ("smooth" if twin else "pixel")
    pytest.importorskip("openvino")
    assert load_model("axons", provider="openvino").card.name == "pixel"


@pytest.mark.parametrize("name", [None, 5, b"axons"])
def test_what_is_no_name_is_refused(name):
    with pytest.raises(CalzooError, match=r"expected the name of a preset or the path of an \.onnx file"):
        load_model(name)


def test_what_is_no_model_is_refused():
    with pytest.raises(CalzooError, match=r"model: expected the path of an \.onnx file or .*, got 5"):
        models.model_of(5, "axons", provider="cpu", threads=1)


def test_an_unknown_name_is_refused():
    with pytest.raises(CalzooError, match="no preset is called 'no-such-preset'"):
        load_model("no-such-preset")


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(CalzooError, match=r"none\.onnx: expected an \.onnx file, but it cannot be read"):
        load_model(tmp_path / "none.onnx")


def test_a_file_above_the_size_cap_is_not_even_read(monkeypatch):
    monkeypatch.setattr(models, "MAX_BYTES", 100)
    with pytest.raises(CalzooError, match=r"of at most 100 bytes, got \d+; is it the right file"):
        load_model(PIXEL)


@pytest.mark.parametrize(
    ("tail", "reason"),
    [
        (field(7, field(5, field(14, 1))), "weights in another file"),
        (field(7, field(5, field(13, b""))), "weights in another file"),
        (field(7, field(1, field(5, field(5, field(14, 1))))), "weights in another file"),
        (field(7, field(15, field(1, field(14, 1)))), "weights in another file"),
        (
            field(7, field(1, field(5, field(6, field(1, field(7, b"evil")))))),
            "operators of the domain 'evil'",
        ),
        (field(25, b""), "functions of its own"),
    ],
)
def test_a_file_that_does_not_stand_alone_is_refused(tmp_path, tail, reason):
    path = tmp_path / "model.onnx"
    path.write_bytes(PIXEL.read_bytes() + tail)  # messages of a protocol buffer are merged
    with pytest.raises(
        CalzooError, match=f"model.onnx: expected .* stands alone, got one with {reason}; export"
    ):
        load_model(path)


def test_a_file_without_a_card_is_refused(tmp_path):
    path = tmp_path / "foreign.onnx"
    path.write_bytes(PIXEL.read_bytes().replace(b"calzoo.card", b"someone.els"))
    with pytest.raises(CalzooError, match=r"foreign\.onnx: expected an \.onnx file with a model card"):
        load_model(path)


def test_a_card_of_another_network_is_refused(tmp_path):
    path = tmp_path / "mixed.onnx"
    path.write_bytes(PIXEL.read_bytes().replace(b'"name": "image"', b'"name": "movie"'))
    with pytest.raises(CalzooError, match=r"card names inputs \['movie'\].*network has \['image'\]"):
        load_model(path, provider="cpu")


@pytest.mark.parametrize("content", [b"", b"II*\0 not a network", b"\x00" * 64, b"\xff" * 64])
def test_what_is_no_onnx_file_is_refused(tmp_path, content):
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(CalzooError, match=r"expected an \.onnx file, got a damaged one"):
        load_model(path)


def test_damage_anywhere_is_an_error_that_can_be_read(rng, tmp_path):
    """Cut off anywhere, or with a byte changed: a model that loads, or a CalzooError, nothing else."""
    data = PIXEL.read_bytes()
    path = tmp_path / "model.onnx"
    complaints = []
    for place in rng.integers(0, len(data), 150):
        changed = bytearray(data)
        changed[place] ^= int(rng.integers(1, 256))
        for damaged in (data[:place], bytes(changed)):
            path.write_bytes(damaged)
            try:
                load_model(path, provider="cpu", threads=1)
            except CalzooError as error:
                complaints.append(str(error))
    assert len(complaints) > 150
    assert not any("\n" in complaint for complaint in complaints)


def test_the_card_is_read_without_a_runtime():
    assert '"name": "pixel"' in onnx_file.card_text(PIXEL.read_bytes())


def test_wrong_input_names_are_refused():
    with pytest.raises(CalzooError, match="has the inputs image; got picture"):
        load_model(PIXEL, provider="cpu").run({"picture": np.zeros((1, 1, 1, 1, 1), np.float32)})


def test_an_array_that_the_network_refuses_is_one_clear_error():
    model = load_model(MODELS / "pooled.onnx", provider="cpu")
    with pytest.raises(CalzooError, match=r"'pooled' failed on cpu with image \(1, 2, 4, 4, 4\)"):
        model.run({"image": np.zeros((1, 2, 4, 4, 4), np.float32)})


def test_any_runtime_s_lack_of_memory_is_a_memory_error():
    def run(feeds):
        message = "CUDA failure 2: out of memory"
        raise RuntimeError(message)

    card = load_model(PIXEL, provider="cpu").card
    with pytest.raises(MemoryError, match="cuda ran out of memory"):
        Model(card, "cuda", PIXEL, "", run).run({"image": np.zeros((1, 1, 1, 1, 1))})


def test_loading_imports_no_training_framework():
    code = (
        "import sys; from calzoo.inference.models import load_model; "
        f"load_model({str(PIXEL)!r}, provider='cpu'); "
        "print({'tensorflow', 'keras', 'onnx', 'torch', 'jax', 'skimage'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
