"""Releasing: the files, the registry, and what is refused."""

import dataclasses
import errno
import json
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from calzoo.commands.doctor import _tiny_card
from calzoo.commands.release import _missing
from calzoo.errors import CalzooError
from calzoo.inference.cell_networks import ROLES
from calzoo.weights import release
from calzoo.weights.card import Score, TrainingData

SIMULATED = TrainingData(name="simulator", licence="MIT", source="here")
RECORDED = TrainingData(name="recordings", licence="research use", source="there")


@pytest.fixture
def checkout(registry):
    """The registry of the test, as that of a checkout."""
    (registry.FOLDER.parent / "setup.cfg").touch()
    return registry


@pytest.fixture
def files(tmp_path):
    """The three files of a network; their contents are their kinds."""
    paths = {kind: tmp_path / "made" / f"new.{kind}" for kind in ("onnx", "safetensors", "golden")}
    for kind, path in paths.items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(kind)
    return paths


def card(**changes):
    score = Score(data="made up", metric="F1", value=0.7, protocol="none", spread=(0.6, 0.8), chance=0.1)
    known = {"name": "stars", "scores": (score,), "data": (SIMULATED,), "config": {"pool": [[1, 2, 2]]}}
    return dataclasses.replace(_tiny_card(), **known | changes)


def test_a_released_network_is_found_again(checkout, files):
    released = release.add_network(card(), files)
    assert list(checkout.presets()) == ["dots", "stars"]
    assert checkout.preset("stars") == released
    assert released.scores == card().scores
    for kind in files:
        assert checkout.resolve("stars", kind=kind).read_text() == kind
    network = released.network()
    assert (network.onnx.where, network.golden.where, network.safetensors.where) == (
        "wheel",
        "wheel",
        "checkout",
    )
    assert network.config == {"pool": [[1, 2, 2]]}


def test_the_form_for_processors_is_a_file_of_its_own(checkout, files, tmp_path):
    files["onnx_cpu"] = tmp_path / "made" / "new-cpu.onnx"
    files["onnx_cpu"].write_text("quick")
    network = release.add_network(card(), files).network()
    assert network.onnx_cpu.name == "stars-cpu.onnx"
    assert checkout.resolve("stars", kind="onnx_cpu").read_text() == "quick"
    del files["onnx_cpu"]
    release.add_network(card(), files, overwrite=True)
    assert not (checkout.FOLDER / "released" / "stars-cpu.onnx").exists()


def test_the_registry_stays_as_it_is_read(checkout, files):
    """Writing what was read changes no entry."""
    before = json.loads((checkout.FOLDER / "registry.json").read_text())["presets"][0]
    dots = checkout.preset("dots")
    release.add_network(card(), files)
    assert checkout.preset("dots") == dots
    plain = json.loads((checkout.FOLDER / "registry.json").read_text())["presets"][0]
    assert plain["terms"] == ""
    assert plain["networks"]["model"]["onnx"] == before["networks"]["model"]["onnx"]


def test_roles_of_one_preset_are_released_one_after_the_other(checkout, files):
    release.add_network(card(role="proposal"), files)
    released = release.add_network(card(role="instance"), files)
    assert {role: file.name for role, file in released.files.items()} == {
        "proposal": "stars-proposal.onnx",
        "instance": "stars-instance.onnx",
    }


def test_a_second_network_of_one_name_is_refused_unless_it_replaces(checkout, files):
    release.add_network(card(), files)
    files["onnx"].write_text("better")
    with pytest.raises(CalzooError, match=r"'stars' has a network of role 'model' already.*--replace"):
        release.add_network(card(), files)
    assert checkout.resolve("stars").read_text() == "onnx"
    release.add_network(card(), files, overwrite=True)
    assert checkout.resolve("stars").read_text() == "better"


def test_a_network_that_grew_too_large_moves_out_of_the_wheel(checkout, files, monkeypatch):
    release.add_network(card(), files)
    monkeypatch.setattr(release, "FILE_LIMIT", 5)
    files["onnx"].write_text("larger")
    released = release.add_network(card(), files, overwrite=True)
    assert released.files["model"].where == "checkout"
    names = {path.name for path in (checkout.FOLDER / "released").iterdir()}
    assert names == {"dots.onnx"}
    assert checkout.resolve("stars").read_text() == "larger"


def test_a_disk_that_fills_up_before_the_registry_changes_nothing(checkout, files, tmp_path, monkeypatch):
    release.add_network(card(), files)

    def contents():
        return {p: p.read_bytes() for p in checkout.FOLDER.rglob("*") if p.is_file()}

    before, write_text = contents(), Path.write_text
    files["onnx"].write_text("another network")

    def full(self, *args, **kwargs):
        if self.name == "registry.json.part":
            raise OSError(errno.ENOSPC, "No space left on device")
        return write_text(self, *args, **kwargs)

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match="No space left"):
        release.add_network(card(), files, overwrite=True)
    assert contents() == before


def test_the_wheel_has_a_limit(checkout, files, monkeypatch):
    monkeypatch.setattr(release, "WHEEL_LIMIT", 15)
    with pytest.raises(CalzooError, match=r"wheel would be .* MB together"):
        release.add_network(card(), files)
    assert list(checkout.presets()) == ["dots"]
    assert not (checkout.FOLDER / "released" / "stars.onnx").exists()


def test_the_files_of_the_wheel_may_have_forty_megabytes(checkout, files):
    there = checkout.preset("dots").network().onnx.size
    os.truncate(files["onnx"], 16 * 2**20)
    os.truncate(files["golden"], 24 * 2**20 - there + 1)
    with pytest.raises(CalzooError, match=r"would be 40\.0 MB together, more than 40 MB"):
        release.add_network(card(), files)
    os.truncate(files["golden"], 24 * 2**20 - there)
    assert release.add_network(card(), files).files["model"].where == "wheel"


def test_a_file_above_sixteen_megabytes_stays_out_of_the_wheel(checkout, files):
    os.truncate(files["onnx"], 16 * 2**20 + 1)
    assert release.add_network(card(), files).files["model"].where == "checkout"


@pytest.mark.parametrize(
    ("name", "terms"), [("stars", "For research."), ("stars-research", ""), (None, "For research.")]
)
def test_restricted_data_need_a_name_and_terms_that_say_so(checkout, files, name, terms):
    restricted = card(data=(SIMULATED, RECORDED))
    with pytest.raises(CalzooError, match=r"licence is 'research use'.*\.\.\.-research.*--terms"):
        release.add_network(restricted, files, name=name, terms=terms)


def test_a_research_network_stays_out_of_the_wheel(checkout, files, capsys):
    released = release.add_network(
        card(data=(RECORDED,)), files, name="stars-research", terms="For research."
    )
    assert {getattr(released.network(), kind).where for kind in files} == {"checkout"}
    checkout.resolve("stars-research")
    assert "terms of preset 'stars-research': For research." in capsys.readouterr().err


def test_a_preset_keeps_its_task(checkout, files):
    with pytest.raises(CalzooError, match="'dots' is for the task 'axons', the network for 'centers'"):
        release.add_network(card(task="centers"), files, name="dots", overwrite=True)


def test_a_release_outside_a_checkout_is_refused(registry, files):
    with pytest.raises(CalzooError, match=r"is not in one\. Run 'make dev'"):
        release.add_network(card(), files)


def test_a_file_of_another_preset_keeps_its_name(checkout, files):
    release.add_network(dataclasses.replace(card(), role="proposal"), files)
    files["onnx"].write_text("better")
    with pytest.raises(CalzooError, match=r"the file .*stars-proposal\.onnx.* stands there twice"):
        release.add_network(card(), files, name="stars-proposal")
    assert checkout.resolve("stars", "proposal").read_text() == "onnx"
    assert list(checkout.presets()) == ["dots", "stars"]


def test_scores_that_are_no_numbers_are_refused_before_files_are_replaced(checkout, files):
    release.add_network(card(), files)
    files["onnx"].write_text("better")
    (score,) = card().scores
    wrong = card(scores=(dataclasses.replace(score, value=float("nan")),))
    with pytest.raises(CalzooError, match="expected scores that are numbers, got NaN"):
        release.add_network(wrong, files, overwrite=True)
    assert checkout.resolve("stars").read_text() == "onnx"


def test_a_copy_that_fails_leaves_everything_as_it_was(checkout, files):
    files["golden"].unlink()
    with pytest.raises(OSError, match="No such file"):
        release.add_network(card(), files)
    assert list(checkout.presets()) == ["dots"]
    assert {path.name for path in (checkout.FOLDER / "released").iterdir()} == {"dots.onnx"}


@pytest.mark.parametrize(
    ("roles", "role", "missing"),
    [(["proposal"], "proposal", ["instance"]), (ROLES, "instance", []), (["model"], "model", [])],
)
def test_what_a_preset_of_two_networks_still_lacks_is_named(roles, role, missing):
    assert _missing(SimpleNamespace(networks=dict.fromkeys(roles)), role) == missing


def test_what_is_not_in_a_checkout_is_refused_before_the_work(tmp_path):
    with pytest.raises(CalzooError, match=r"is not in one\. Run 'make dev' in a checkout"):
        release.check_checkout(tmp_path / "weights")
