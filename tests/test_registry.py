"""The registry: read, checked, and every file verified before it is used."""

import hashlib
import json

import pytest

from calzoo.errors import CalzooError
from calzoo.weights import registry as released


def edit(registry, change):
    path = registry.FOLDER / "registry.json"
    plain = json.loads(path.read_text())
    change(plain["presets"][0])
    path.write_text(json.dumps(plain))


def test_presets_are_read_with_their_files_by_role(registry):
    assert list(registry.presets()) == ["dots"]
    dots = registry.preset("dots")
    assert dots.files["model"].name == "dots.onnx"
    assert dots.network().config == {"classes": 3}
    assert [(s.metric, s.value, s.baseline, s.chance) for s in dots.scores] == [("F1", 0.9, 0.5, 0.1)]


def test_a_preset_cannot_be_changed(registry):
    dots = registry.preset("dots")
    with pytest.raises(AttributeError):
        dots.name = "other"
    with pytest.raises(TypeError):
        dots.network().config["classes"] = 4


def test_an_unknown_name_is_answered_with_a_near_one(registry):
    with pytest.raises(CalzooError, match=r"no preset is called 'dot'; did you mean 'dots'\?"):
        registry.preset("dot")
    with pytest.raises(CalzooError, match="no preset is called 'whales'; there are: dots"):
        registry.preset("whales")


def test_an_unknown_role_is_answered_with_the_known_ones(registry):
    with pytest.raises(
        CalzooError, match=r"'dots', which is for the task 'axons', has the roles model; got 'proposal'"
    ):
        registry.resolve("dots", "proposal")


def test_a_file_that_a_network_does_not_have_is_answered_with_those_that_it_has(registry):
    with pytest.raises(CalzooError, match="has the files onnx, safetensors, golden for the role 'model'"):
        registry.resolve("dots", kind="onnx_cpu")


@pytest.mark.parametrize("kind", ["onnx", "safetensors", "golden"])
def test_files_of_wheel_and_checkout_are_found(registry, kind):
    path = registry.resolve("dots", kind=kind)
    assert path.read_text() == path.name


def test_a_damaged_file_is_refused(registry):
    (registry.FOLDER / "released" / "dots.onnx").write_text("sotd.onnx")
    with pytest.raises(CalzooError, match=r"dots\.onnx is damaged: expected 9 bytes with sha256"):
        registry.resolve("dots")


def test_a_missing_file_of_the_wheel_is_named(registry):
    (registry.FOLDER / "released" / "dots.onnx").unlink()
    with pytest.raises(CalzooError, match=r"dots\.onnx is missing.*Install calzoo again"):
        registry.resolve("dots")


def test_a_file_is_hashed_once_unless_it_changes(registry, monkeypatch):
    hashed = []
    true_sha256 = registry.sha256
    monkeypatch.setattr(registry, "sha256", lambda path: hashed.append(path) or true_sha256(path))
    path = registry.resolve("dots")
    registry.resolve("dots")
    assert hashed == [path]
    path.write_text("onnx.stod")
    with pytest.raises(CalzooError, match="is damaged"):
        registry.resolve("dots")


def test_terms_are_printed_on_the_first_load_only(registry, capsys):
    edit(registry, lambda p: p.update(terms="Research use only."))
    registry.resolve("dots")
    registry.resolve("dots")
    out, err = capsys.readouterr()
    assert not out
    assert err == "calzoo: terms of preset 'dots': Research use only.\n"


def onnx(preset):
    return preset["networks"]["model"]["onnx"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda p: p.update(name="Dots 2"), "lower-case words joined by '-', got 'Dots 2'"),
        (lambda p: p.update(task="cooking"), "task of 'dots' must be one of axons, .*, got 'cooking'"),
        (lambda p: p.update(networks={}), "roles of 'dots' must be among .*, got none"),
        (lambda p: p.update(networks={"chef": p["networks"]["model"]}), "roles .*, got chef"),
        (lambda p: p.update(colour="red"), "a preset has no colour"),
        (lambda p: p["networks"]["model"].pop("golden"), "a network lacks golden"),
        (lambda p: p["networks"]["model"].update(builder="unet3d"), "'module:function', got 'unet3d'"),
        (lambda p: onnx(p).update(name="../dots.onnx"), r"letters, digits.*got '\.\./dots\.onnx'"),
        (lambda p: onnx(p).update(sha256="abc"), "64 hexadecimal digits, got 'abc'"),
        (lambda p: onnx(p).update(size=0), "positive number of bytes, got 0"),
        (
            lambda p: onnx(p).update(where="http://example.org/dots.onnx"),
            "'https://...', got 'http://example",
        ),
        (lambda p: onnx(p).update(name="dots.npz"), r"the file dots\.npz stands there twice"),
    ],
)
def test_a_damaged_registry_says_what_is_wrong(registry, change, reason):
    edit(registry, change)
    with pytest.raises(
        CalzooError, match=f"registry of presets cannot be read .*{reason}.*Install calzoo again"
    ):
        registry.presets()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "Expecting property name"),
        ('{"schema": 2, "presets": []}', "expected schema 1, got 2"),
        ('{"schema": 1}', "'presets' is missing"),
        ("[]", "list indices must be integers"),
    ],
)
def test_a_file_that_is_no_registry_is_refused(registry, text, reason):
    (registry.FOLDER / "registry.json").write_text(text)
    with pytest.raises(CalzooError, match=reason):
        registry.presets()


def test_two_presets_of_one_name_are_refused(registry):
    path = registry.FOLDER / "registry.json"
    plain = json.loads(path.read_text())
    path.write_text(json.dumps({"schema": 1, "presets": plain["presets"] * 2}))
    with pytest.raises(CalzooError, match="the name dots stands there twice"):
        registry.presets()


def test_sha256_is_that_of_hashlib(tmp_path):
    (tmp_path / "x").write_bytes(b"abc")
    assert released.sha256(tmp_path / "x") == hashlib.sha256(b"abc").hexdigest()


def test_every_released_file_is_what_the_registry_says():
    """Of the released registry: sizes, hashes, and the limits of the wheel (16 MB a file, 40 MB together)."""
    in_wheel = {}
    for preset in released.presets().values():
        for role, network in preset.networks.items():
            for kind, file in network.files.items():
                if file.where == "wheel":
                    in_wheel[file.name] = file.size
                    assert released.resolve(preset.name, role, kind=kind).stat().st_size == file.size
    assert all(size <= 16 * 2**20 for size in in_wheel.values())
    assert sum(in_wheel.values()) <= 40 * 2**20


def test_the_wheel_holds_no_file_that_the_registry_does_not_name():
    named = {
        file.name
        for preset in released.presets().values()
        for network in preset.networks.values()
        for file in network.files.values()
    }
    folder = released.FOLDER / "released"
    assert not folder.is_dir() or {path.name for path in folder.iterdir()} <= named
