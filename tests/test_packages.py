"""Packages run where calzoo is not: with Python, NumPy and onnxruntime alone."""

import dataclasses
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from calzoo import cli
from calzoo.errors import CalzooError
from calzoo.inference.packages import write_package
from calzoo.weights import registry

pytest.importorskip("onnxruntime")
pytestmark = pytest.mark.usefixtures("checkout_is_the_cache")

MODELS = Path(__file__).resolve().parent / "models"
# Any import of calzoo, or of what only calzoo needs, ends the script.
_ALONE = """
import runpy, sys
for name in ("calzoo", "scipy", "tifffile", "PIL", "matplotlib", "onnx", "keras", "tensorflow"):
    sys.modules[name] = None
runpy.run_path("run.py", run_name="__main__")
"""


def unpacked(path, folder):
    with zipfile.ZipFile(path) as archive:
        archive.extractall(folder)
    return folder / path.stem


def run_alone(folder):
    command = [sys.executable, "-c", _ALONE]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", ["axons", "cells-2p", "registration-2p"])
def test_the_script_of_a_package_repeats_the_golden_output(name, tmp_path, capsys):
    path = tmp_path / f"my-{name}.zip"
    assert cli.main(["package", name, "-o", str(path)]) == 0
    printed = capsys.readouterr()
    assert printed.out == f"{path}\n"
    with zipfile.ZipFile(path) as archive:
        assert {entry.external_attr >> 16 for entry in archive.infolist()} == {0o644}
    folder = unpacked(path, tmp_path)
    networks = list(registry.preset(name).networks.values())
    files = {f.name for n in networks for kind, f in n.files.items() if kind.startswith("onnx")}
    assert {p.name for p in folder.glob("*.onnx")} == files
    done = run_alone(folder)
    assert (done.returncode, done.stderr) == (0, "")
    assert {line.split(":")[0] for line in done.stdout.splitlines()} == files
    cards = [json.loads((folder / n.onnx.name).with_suffix(".json").read_text()) for n in networks]
    assert {card["name"] for card in cards} == {name}
    assert "Permission is hereby granted" in (folder / "LICENSE.txt").read_text()


def test_another_output_is_told_by_the_script(tmp_path):
    write_package(str(MODELS / "smooth.onnx"), tmp_path / "smooth.zip")
    folder = unpacked(tmp_path / "smooth.zip", tmp_path)
    assert run_alone(folder).returncode == 0
    golden = dict(np.load(folder / "smooth.npz"))
    (output,) = set(golden) - {"image"}
    for wrong in (golden[output] + 0.01, np.full_like(golden[output], np.nan)):
        np.savez(folder / "smooth.npz", **golden | {output: wrong})
        done = run_alone(folder)
        assert done.returncode == 1
        assert "NOT as the golden output" in done.stdout


def test_one_network_makes_one_archive(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write_package(str(MODELS / "smooth.onnx"), tmp_path / name / "smooth.zip")
    assert (tmp_path / "a" / "smooth.zip").read_bytes() == (tmp_path / "b" / "smooth.zip").read_bytes()


def test_terms_stand_in_the_package(tmp_path, monkeypatch):
    """Those of the preset, beside the licences of what its network was trained on."""
    preset = dataclasses.replace(registry.preset("stimulus-demo"), terms="For research.")
    monkeypatch.setattr(registry, "preset", lambda name: preset)
    write_package("stimulus-demo", tmp_path / "a.zip")
    text = (unpacked(tmp_path / "a.zip", tmp_path) / "README.txt").read_text()
    assert "Terms: For research." in text
    assert "(MIT; " in text


@pytest.mark.parametrize(
    ("network", "output", "reason"),
    [
        ("axon", "a.zip", "no preset is called 'axon'; did you mean 'axons'"),
        ("axons", "a.tar", r"a\.tar: expected a name that ends in \.zip"),
        ("axons", "there.zip", r"there\.zip: expected a name that is free"),
        (".", "a.zip", r"got a folder; of a run write the file first: calzoo export \. -o NAME\.onnx"),
        ("none.onnx", "a.zip", "it cannot be read"),
        ("x-cpu.onnx", "a.zip", r"x-cpu\.onnx: expected the file that all providers run, .* pack x\.onnx"),
    ],
)
def test_what_cannot_be_packed_is_refused(tmp_path, network, output, reason):
    (tmp_path / "there.zip").touch()
    with pytest.raises(CalzooError, match=reason):
        write_package(network, tmp_path / output)
    assert [p.name for p in tmp_path.iterdir()] == ["there.zip"]
