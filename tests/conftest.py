"""Fixtures that every test may use."""

import hashlib
import json
import zlib
from pathlib import Path

import numpy as np
import pytest


@pytest.fixture
def rng(request):
    """Return a random generator of the test's own: the same numbers in any order of tests."""
    return np.random.default_rng(zlib.crc32(request.node.nodeid.encode()))


@pytest.fixture
def shared_data():
    """Return the folder of real recordings beside the checkout, or skip the test."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the real recordings (../shared/data) are not here")
    return folder


@pytest.fixture
def checkout_is_the_cache(monkeypatch):
    """Find what the wheel does not hold where the repository keeps it."""
    monkeypatch.setenv("CALZOO_CACHE", str(Path(__file__).resolve().parents[1] / "weights" / "outside"))


@pytest.fixture
def registry(tmp_path, monkeypatch):
    """Return the module calzoo.weights.registry, working on a registry of the test's own.

    Its one preset, ``dots``, has its network in the wheel and its Keras weights
    and golden arrays in the checkout; the files' contents are their own names.
    """
    from calzoo.weights import registry

    files = {}
    for kind, name, where in (
        ("onnx", "dots.onnx", "wheel"),
        ("safetensors", "dots.safetensors", "checkout"),
        ("golden", "dots.npz", "checkout"),
    ):
        path = tmp_path / "weights" / registry.PLACES[where] / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
        sha256 = hashlib.sha256(name.encode()).hexdigest()
        files[kind] = {"name": name, "sha256": sha256, "size": len(name), "where": where}
    score = {
        "data": "made up",
        "metric": "F1",
        "value": 0.9,
        "protocol": "none",
        "baseline": 0.5,
        "chance": 0.1,
    }
    network = files | {
        "builder": "calzoo.networks.unet3d:unet3d",
        "config": {"classes": 3},
        "recipe": "axons",
    }
    dots = {"name": "dots", "alias": "Dots", "task": "axons", "licence": "MIT"}
    dots["networks"] = {"model": network | {"scores": [score]}}
    plain = {"schema": 1, "presets": [dots]}
    (tmp_path / "weights" / "registry.json").write_text(json.dumps(plain))
    monkeypatch.setattr(registry, "FOLDER", tmp_path / "weights")
    monkeypatch.setattr(registry, "_verified", {})
    monkeypatch.setattr(registry, "_announced", set())
    for name in ("CALZOO_CACHE", "CALZOO_OFFLINE", "CALZOO_MIRROR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CALZOO_CACHE", str(tmp_path / "cache"))
    return registry
