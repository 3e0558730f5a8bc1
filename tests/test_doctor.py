"""The doctor: a provider runs or does not, and what must be mended is said."""

import pytest

from calzoo import cli
from calzoo.commands import doctor
from calzoo.inference.models import PROVIDERS
from calzoo.weights import onnx_file
from calzoo.weights.card import Card

onnxruntime = pytest.importorskip("onnxruntime")


def section(text, title):
    lines = text.split(f"{title}\n", 1)[1].splitlines()
    return [
        line.strip() for line in lines[: next((i for i, x in enumerate(lines) if x[0] != " "), len(lines))]
    ]


@pytest.fixture
def installed(monkeypatch):
    """Pretend that certain runtimes are installed."""
    return lambda *names: monkeypatch.setattr(doctor, "_runtimes", lambda: set(names))


def test_a_sound_installation_has_no_problems(capsys):
    assert cli.main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert section(out, "problems") == ["none"]
    assert any("onnxruntime" in line and "numpy" in line for line in section(out, "versions"))
    assert "cpu       runs" in section(out, "providers")


def test_every_provider_is_tried():
    starts = doctor.try_providers()
    assert set(starts) == set(PROVIDERS) - {"auto"}
    assert starts["cpu"] == "runs"


@pytest.mark.skipif(
    "CUDAExecutionProvider" in onnxruntime.get_available_providers(),
    reason="onnxruntime for CUDA is installed",
)
def test_a_provider_that_does_not_start_says_why():
    assert doctor.try_providers()["cuda"].startswith("no: onnxruntime")


def test_two_runtimes_are_a_problem_with_its_remedy(installed):
    installed("onnxruntime", "onnxruntime-gpu")
    problems = doctor._problems({"cpu": "runs"})
    assert problems == [doctor._BOTH_RUNTIMES]
    assert "python -m pip uninstall -y onnxruntime onnxruntime-gpu" in problems[0]


def test_no_runtime_is_a_problem_with_its_remedy(installed):
    installed()
    assert doctor._problems({"cpu": "no: not installed"}) == [doctor._NO_RUNTIME]


def test_a_problem_is_status_1(monkeypatch, capsys):
    monkeypatch.setattr(doctor, "_problems", lambda starts: ["the moon is too close"])
    assert cli.main(["doctor"]) == 1
    assert section(capsys.readouterr().out, "problems") == ["the moon is too close"]


def test_extras_are_listed_with_versions_and_licences(capsys):
    cli.main(["doctor"])
    lines = {line.split()[0]: line for line in section(capsys.readouterr().out, "extras")}
    assert set(lines) >= {"cpu", "gpu", "openvino", "train", "zarr", "dev"}
    assert "installed: onnxruntime" in lines["cpu"]
    assert "(MIT" in lines["cpu"]


def test_an_extra_that_is_missing_names_its_packages(monkeypatch):
    requirements = {
        "calzoo": [
            "numpy>=1.26",
            'whale-song>=2; extra == "sea"',
            'numpy[deep,blue]<3; extra == "sea"',
            "numpy>=1.26; extra == 'land'",
        ],
        "numpy": ['scipy; extra == "deep"', 'kelp~=1.0; extra == "blue"', 'sand; extra == "beach"'],
    }
    monkeypatch.setattr(doctor.metadata, "requires", requirements.get)
    sea, land = doctor._extras()
    assert sea == "sea         not installed: whale-song, kelp"
    assert land.startswith("land        installed: numpy")


def test_the_cache_and_the_switches_are_shown(registry, capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("CALZOO_OFFLINE", "1")
    monkeypatch.setenv("CALZOO_MIRROR", "https://mirror.invalid")
    cli.main(["doctor"])
    cache, released = section(capsys.readouterr().out, "presets")
    assert cache == f"cache {tmp_path / 'cache'}, CALZOO_OFFLINE is set, mirror https://mirror.invalid"
    assert released == "released: dots"


def test_the_tiny_network_is_a_sound_file_with_a_card():
    card = Card.from_json(onnx_file.card_text(doctor.tiny_network()))
    assert card.name == "tiny"
    onnx = pytest.importorskip("onnx")
    onnx.checker.check_model(onnx.load_from_string(doctor.tiny_network()), full_check=True)
