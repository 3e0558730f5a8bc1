"""The house: packages, guards, what importing costs, and that README.md is true."""

import configparser
import os
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import calzoo
from calzoo import commands
from calzoo.commands import _options

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = {
    "zoo": "calzoo",
    "training": "calzoo.training",
    "export": "calzoo.export",
    "weights": "calzoo.weights",
}
HEAVY = ("jax", "keras", "onnx", "skimage", "tensorflow", "tf2onnx", "torch")
HEAVY_HALF = ("calzoo.networks", "calzoo.training", "calzoo.export")

needs_checkout = pytest.mark.skipif(
    not (ROOT / "setup.cfg").is_file(), reason="these tests are not in a checkout"
)


def python(*args, **options):
    return subprocess.run([sys.executable, *args], capture_output=True, text=True, timeout=120, **options)


def light_modules():
    found = pkgutil.walk_packages(calzoo.__path__, "calzoo.")
    names = [module.name for module in found if not module.name.startswith(HEAVY_HALF)]
    return [name for name in names if name != "calzoo.__main__"]


@needs_checkout
def test_setup_cfg_lists_the_packages_that_there_are():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    there = set()
    for folder, name in FOLDERS.items():
        for path in (ROOT / folder).rglob("__init__.py"):
            there.add(".".join((name, *path.parent.relative_to(ROOT / folder).parts)))
    assert set(config["options"]["packages"].split()) == there


@needs_checkout
def test_every_folder_with_modules_is_a_package():
    modules = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")]
    assert [path for path in modules if not (path.parent / "__init__.py").is_file()] == []


@needs_checkout
@pytest.mark.parametrize(("folder", "name"), FOLDERS.items())
def test_a_folder_refuses_to_be_imported_under_its_own_name(folder, name):
    answer = python("-c", f"import {folder}", cwd=ROOT)
    assert answer.returncode == 1
    assert f"this folder is the package '{name}', but it was imported as '{folder}'" in answer.stderr


@needs_checkout
def test_the_versions_agree():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    assert config["metadata"]["version"] == calzoo.__version__
    assert f"version: {calzoo.__version__}" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")


@needs_checkout
def test_the_full_suite_runs_with_the_oldest_runtime_that_is_allowed():
    allowed = re.search(r"onnxruntime>=([\d.]+)", (ROOT / "setup.cfg").read_text(encoding="utf-8"))
    assert f"onnxruntime=={allowed[1]}.*" in (ROOT / "Makefile").read_text(encoding="utf-8")


def test_importing_calzoo_is_quick_and_imports_nothing_large():
    code = (
        "import sys, time; start = time.process_time(); import calzoo; spent = time.process_time() - start;"
        "print(spent, *sorted({name.split('.')[0] for name in sys.modules}))"
    )
    answers = [python("-c", code).stdout.split() for _ in range(3)]
    assert min(float(answer[0]) for answer in answers) < 0.3
    assert not {"numpy", "scipy", "onnxruntime", "matplotlib", "pooch", *HEAVY} & set(answers[0][1:])


def test_the_help_is_answered_without_numpy():
    code = "import sys; from calzoo.cli import main; main(['--help']); sys.exit('numpy' in sys.modules)"
    answer = python("-c", code)
    assert answer.returncode == 0, answer.stderr
    assert "doctor" in answer.stdout


def test_the_light_half_works_where_the_heavy_packages_cannot_be_imported():
    code = f"""
import importlib, sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {HEAVY}:
            raise ImportError(name)
sys.meta_path.insert(0, Absent())
for name in {light_modules()}:
    importlib.import_module(name)
"""
    answer = python("-c", code)
    assert answer.returncode == 0, answer.stderr


def test_every_public_name_can_be_imported():
    for name in calzoo.__all__:
        assert getattr(calzoo, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'segment_whales'"):
        _ = calzoo.segment_whales


def test_every_command_keeps_the_form_of_a_command():
    names = [module.name for module in pkgutil.iter_modules(commands.__path__) if module.name[0] != "_"]
    from calzoo.cli import GROUPS, _commands

    assert list(_commands()) == names
    for module in _commands().values():
        assert module.GROUP in GROUPS
        assert re.fullmatch(r"[A-Z].*\.", module.__doc__.splitlines()[0])


def test_the_options_name_the_providers_that_there_are():
    from calzoo.inference.models import PROVIDERS

    assert _options.PROVIDERS == PROVIDERS


def blocks():
    """Yield (what the comment before it says, language, code) of each block of README.md."""
    text = (ROOT / "README.md").read_text(encoding="utf-8") if (ROOT / "README.md").is_file() else ""
    for match in re.finditer(r"(?:<!-- (.*?) -->\n)?```(\w*)\n(.*?)```", text, re.DOTALL):
        yield match[1], match[2], match[3]


@needs_checkout
def test_every_block_of_the_readme_says_whether_it_is_run():
    found = list(blocks())
    assert found
    for comment, language, code in found:
        assert comment == "run" or re.match("not run: .+", comment or ""), code
        assert comment != "run" or language in ("bash", "python"), code


@needs_checkout
def test_the_readme_is_true(tmp_path):
    """All its blocks that are run, one after the other, in one empty folder."""
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    ran = [(language, code) for comment, language, code in blocks() if comment == "run"]
    assert ran
    for language, code in ran:
        command = ["bash", "-ec", code] if language == "bash" else [sys.executable, "-c", code]
        answer = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300
        )
        assert answer.returncode == 0, f"{code}\n{answer.stdout}\n{answer.stderr}"
