"""An exported file is the Keras network, explains itself, or is not written at all."""

import dataclasses
import json
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

pytestmark = pytest.mark.train
keras = pytest.importorskip("keras")
onnx = pytest.importorskip("onnx")
if keras.backend.backend() != "tensorflow":
    pytest.skip("export goes by way of TensorFlow", allow_module_level=True)

import conformance
import onnxruntime

from calzoo.errors import CalzooError
from calzoo.export import export_model, export_run, verification
from calzoo.export import models as exporter
from calzoo.export.graph import Graph
from calzoo.export.passes import simplify
from calzoo.export.planes import to_planes
from calzoo.export.tolerances import TOLERANCES
from calzoo.export.tracing import OWN_NAMES, channels_first
from calzoo.export.verification import keras_outputs
from calzoo.export.writing import Writer
from calzoo.inference.models import load_model

UNET = conformance.CASES[0]


@pytest.fixture(scope="module", params=conformance.CASES, ids=lambda case: case.name)
def exported(request, tmp_path_factory):
    """Return each network of the list, written once: case, model, path of the file, report."""
    case = request.param
    model = case.build()
    path = tmp_path_factory.mktemp(case.name) / "network.onnx"
    return case, model, path, export_model(model, case.card(model), path, timing=False)


@pytest.fixture(autouse=True)
def forget_networks():
    yield
    keras.backend.clear_session()


def first(axes, array):
    """Turn an array of Keras' axes to channels first."""
    return np.transpose(array, [axes.index(axis) for axis in channels_first(axes)])


def test_exported_file_is_the_network_and_explains_itself(exported):
    case, model, path, report = exported
    proto = onnx.load(path, load_external_data=False)
    onnx.checker.check_model(proto, full_check=True)
    assert [(o.domain, o.version) for o in proto.opset_import] == [("", 17)]
    assert proto.ir_version == 8
    names = {"b": "batch", "t": "time", "z": "z", "y": "y", "x": "x"}
    for values, tensors in ((proto.graph.input, case.inputs), (proto.graph.output, case.outputs)):
        assert [value.name for value in values] == list(tensors)
        for value, axes in zip(values, tensors.values(), strict=True):
            sides = dict(zip(channels_first(axes), value.type.tensor_type.shape.dim, strict=True))
            free = [axis for axis in axes if axis != "c" and not sides[axis].dim_value]
            own = names | OWN_NAMES.get(value.name, {})
            assert [sides[axis].dim_param for axis in free] == [own[axis] for axis in free]
    operators = set(report["files"][path.name]["operators"])
    assert not operators & ({"Transpose", "Unsqueeze", "Tile", "Slice", "Softmax"} - {*case.operators})

    loaded = load_model(path, provider="cpu", threads=1)
    assert loaded.card.inputs[0].axes == channels_first(next(iter(case.inputs.values())))
    assert {"calzoo", "keras", "tensorflow", "tf2onnx", "onnx", "opset"} <= set(loaded.card.versions)
    for size in (0, 1):
        feeds = {name: first(case.inputs[name], array) for name, array in case.feeds(size).items()}
        expected = keras_outputs(model, loaded.card, feeds)
        for name, array in loaded.run(feeds).items():
            np.testing.assert_allclose(array, expected[name], atol=TOLERANCES["cpu"])

    assert sorted(p.name for p in path.parent.iterdir()) == ["network.json", "network.onnx"]
    assert json.loads(path.with_name("network.json").read_text()) == report
    facts = report["files"]["network.onnx"]
    assert facts["bytes"] == path.stat().st_size
    assert facts["sha256"] == loaded.sha256
    assert len(facts["parity"]) == 2
    assert all(size["largest_difference"] <= TOLERANCES["cpu"] for size in facts["parity"])
    assert facts["parity"][0]["shapes"] != facts["parity"][1]["shapes"]


def test_embedded_card_passes_the_published_schema(exported):
    jsonschema = pytest.importorskip("jsonschema")
    import calzoo.weights.card as cards

    _, _, path, _ = exported
    schema = json.loads(Path(cards.__file__).with_name("card.schema.json").read_text(encoding="utf-8"))
    properties = {p.key: p.value for p in onnx.load(path).metadata_props}
    jsonschema.validate(json.loads(properties["calzoo.card"]), schema)


def test_planes_of_a_whole_network_are_the_network(exported):
    case, model, path, _ = exported
    planes = to_planes(Graph(onnx.load(path)), case.divisor.get("z", 1))
    assert (planes is None) == ("z" not in case.divisor)
    if planes is None:
        return
    data = planes.model().SerializeToString()
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    for size in (0, 1):
        feeds = {name: first(case.inputs[name], array) for name, array in case.feeds(size).items()}
        expected = keras_outputs(model, exporter._file_card(case.card(model)), feeds)
        for output, array in zip(session.get_outputs(), session.run(None, feeds), strict=True):
            np.testing.assert_allclose(array, expected[output.name], atol=TOLERANCES["cpu"])


def test_example_in_the_documentation_runs(tmp_path, monkeypatch, capsys):
    page = Path(__file__).resolve().parents[1] / "docs" / "card.md"
    if not page.exists():
        pytest.skip("the documentation is not installed with the package")
    model = UNET.build()
    export_model(model, UNET.card(model), tmp_path / "axons.onnx", timing=False)
    monkeypatch.chdir(tmp_path)
    exec(re.search(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)[1], {})
    assert capsys.readouterr().out.startswith("bczyx {'x': 4, 'y': 4, 'z': 2}")


def refuse(model, card, folder, match):
    """Export must fail, and leave the folder and the older file in it as they were."""
    older = folder / "network.onnx"
    older.write_bytes(b"older")
    with pytest.raises(CalzooError, match=match):
        export_model(model, card, older, timing=False)
    assert [p.name for p in folder.iterdir()] == ["network.onnx"]
    assert older.read_bytes() == b"older"


def test_weights_that_are_not_finite_are_refused(tmp_path):
    model = UNET.build()
    model.get_layer("up0_conv1").bias.assign(np.array([0, np.nan, 0]))
    refuse(model, UNET.card(model), tmp_path, r"finite weights, got NaN or infinity in '.*up0_conv1/bias'")


def test_graph_that_differs_from_the_network_is_refused(tmp_path, monkeypatch):
    def spoil(graph):
        simplify(graph)
        name = graph.nodes[0].input[1]
        graph.constants[name] = graph.constants[name] * 1.01

    monkeypatch.setattr(exporter, "simplify", spoil)
    model = UNET.build()
    refuse(
        model, UNET.card(model), tmp_path, r"differs from the Keras network by .* at most 0.0001 is allowed"
    )


def test_outputs_that_are_not_numbers_are_refused_whichever_they_are(monkeypatch):
    image = keras.Input((None, None, 1), name="image")
    heads = [keras.layers.Conv2D(1, 1, name=name)(image) for name in ("first", "second")]
    model = keras.Model(image, heads)
    card = SimpleNamespace(
        inputs=(SimpleNamespace(name="image", axes="byxc", channels=()),),
        outputs=tuple(SimpleNamespace(name=name, axes="byxc") for name in ("first", "second")),
    )
    good = np.zeros((1, 4, 4, 1), np.float32)
    session = SimpleNamespace(run=lambda names, feeds: [good, good * np.nan])
    monkeypatch.setattr(verification, "_session", lambda data: session)
    monkeypatch.setattr(verification, "_shape", lambda *args: (1, 4, 4, 1))
    monkeypatch.setattr(verification, "keras_outputs", lambda *args: {"first": good, "second": good})
    with pytest.raises(CalzooError, match="differs from the Keras network by nan"):
        verification.differences(model, b"", card)


def test_network_that_tf2onnx_writes_wrongly_is_refused(tmp_path):
    """Grouped convolutions become calls of a function that is not there, without an error."""
    image = keras.Input((4, 4, 4, 2), name="image")
    grouped = keras.layers.Conv3D(4, 1, groups=2)(image)
    model = keras.Model(image, keras.layers.Softmax(name="probability")(grouped))
    refuse(model, UNET.card(model), tmp_path, "expected a network that tf2onnx can write|valid ONNX graph")


def test_card_of_another_network_is_refused(tmp_path):
    model = UNET.build()
    card = UNET.card(model)
    tensor = dataclasses.replace(card.outputs[0], name="flow")
    refuse(
        model,
        dataclasses.replace(card, outputs=(tensor,)),
        tmp_path,
        "declares the outputs {'flow': 'bzyxc'}",
    )
    tensor = dataclasses.replace(card.inputs[0], axes="byxc")
    refuse(model, dataclasses.replace(card, inputs=(tensor,)), tmp_path, r"the network has {'image': 5}")


def test_full_disk_leaves_nothing_behind(tmp_path, monkeypatch):
    def full(path, data):
        raise OSError(28, "No space left on device")

    model = UNET.build()
    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        export_model(model, UNET.card(model), tmp_path / "network.onnx", timing=False)
    assert list(tmp_path.iterdir()) == []


def test_a_stop_between_two_names_leaves_no_second_file_of_another_network(tmp_path, monkeypatch):
    (tmp_path / "network-cpu.onnx").write_bytes(b"of another network")

    def stopped(source, target):
        if target.name == "network-cpu.onnx":
            raise KeyboardInterrupt
        source.rename(target)

    monkeypatch.setattr(exporter.os, "replace", stopped)
    files = {"network.onnx": b"one", "network-cpu.onnx": b"two"}
    with pytest.raises(KeyboardInterrupt):
        exporter._write(tmp_path, files, stale=["network-cpu.onnx"])
    assert [path.name for path in tmp_path.iterdir()] == ["network.onnx"]


@pytest.mark.parametrize("name", ["network.onnx", "network-cpu.onnx", "network.json"])
def test_a_name_that_is_a_folder_is_refused_before_anything_is_written(tmp_path, name):
    (tmp_path / name).mkdir()
    with pytest.raises(CalzooError, match=f"{name}: expected the name of a file to write, got a folder"):
        export_model(None, None, tmp_path / "network.onnx")
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_writer_refuses_what_is_no_operator():
    assert Writer().Add("a", "b") == "Add_1"
    with pytest.raises(AttributeError, match="expected the name of an operator of ONNX, got 'Ad'"):
        Writer().Ad("a", "b")


@pytest.mark.parametrize(
    ("seconds", "asked", "kept"),
    [(0.5, {}, True), (0.8, {}, False), (0.8, {"speed_up": 1.2}, True), (0.5, {"speed_up": 2.5}, False)],
)
def test_second_file_is_kept_only_if_it_is_clearly_faster(tmp_path, monkeypatch, seconds, asked, kept):
    stale = tmp_path / "network-cpu.onnx"
    stale.write_bytes(b"of another network")
    times = {"network.onnx cpu": 1.0, "network-cpu.onnx cpu": seconds}
    monkeypatch.setattr(exporter, "time_files", lambda *_: {"smallest": times})
    model = UNET.build()
    report = export_model(model, UNET.card(model), tmp_path / "network.onnx", **asked)
    assert stale.exists() == kept
    assert ("network-cpu.onnx" in report["written"]) == kept
    if kept:
        plain, planes = (load_model(tmp_path / name, provider="cpu") for name in report["written"])
        assert plain.card == planes.card


def test_files_are_timed_beside_tensorflow(tmp_path):
    model = UNET.build()
    card = UNET.card(model)
    export_model(model, card, tmp_path / "network.onnx", timing=False)
    timing = exporter.time_files(
        model, {"network.onnx": (tmp_path / "network.onnx").read_bytes()}, exporter._file_card(card), rounds=1
    )
    assert timing["threads"] == 2
    assert {"tensorflow", "network.onnx cpu"} <= set(timing["median"])
    assert all(seconds > 0 for seconds in timing["median"].values())
    assert timing["median"] == timing["smallest"]  # of one round


def test_run_is_exported_with_the_card_of_its_recipe(tmp_path):
    from calzoo.training import recipes
    from calzoo.training.checkpoints import write_json
    from calzoo.training.variables import load_weights, save_weights

    run = tmp_path / "run"
    run.mkdir()
    recipe = recipes.changed(recipes.recipe("axons"), {"network": {"filters": [2, 2, 2, 2], "bottom": 2}})
    model = recipe.build()
    (run / "recipe.json").write_text(recipes.to_json(recipe), encoding="utf-8")
    save_weights(model, run / "weights.safetensors")
    load_weights(model, run / "weights.safetensors")  # rounded
    write_json(run / "fingerprint.json", {"simulation/0": {}})
    write_json(run / "ledger.json", {"seed": 3, "sessions": [], "versions": {"jax": "0.6.2"}})

    export_run(run, tmp_path / "network.onnx", name="dots", timing=False)

    loaded = load_model(tmp_path / "network.onnx", provider="cpu")
    assert loaded.card.name == "dots"
    assert loaded.card.config == {"filters": [2, 2, 2, 2], "bottom": 2}
    assert loaded.card.training["seed"] == 3
    assert loaded.card.versions["jax"] == "0.6.2"
    assert loaded.card.parameters == model.count_params()
    stack = np.random.default_rng(0).normal(size=(1, 1, 4, 16, 32)).astype(np.float32)
    expected = keras_outputs(model, loaded.card, {"image": stack})["probability"]
    np.testing.assert_allclose(loaded.run({"image": stack})["probability"], expected, atol=TOLERANCES["cpu"])


def test_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(CalzooError, match="expected the folder of a run"):
        export_run(tmp_path, tmp_path / "network.onnx")


def test_axes_with_channels_first():
    assert channels_first("bzyxc") == "bczyx"
    assert channels_first("bc") == "bc"
    assert channels_first("byx") == "byx"
