"""The examples in the documentation of every module give what they say."""

import doctest
import importlib
import pkgutil
from importlib import util
from pathlib import Path

import matplotlib
import pytest

import calzoo

HEAVY_HALF = ("calzoo.networks", "calzoo.training", "calzoo.export", "calzoo.sm3d")


def with_examples():
    """Yield the names of modules that hold an example, without importing them."""
    for module in pkgutil.walk_packages(calzoo.__path__, "calzoo."):
        path = Path(util.find_spec(module.name).origin)
        if ">>> " in path.read_text(encoding="utf-8"):
            heavy = module.name.startswith(HEAVY_HALF)
            yield pytest.param(module.name, marks=[pytest.mark.train] if heavy else [])


@pytest.mark.parametrize("name", list(with_examples()))
def test_the_examples_of_a_module_are_true(name, tmp_path, monkeypatch):
    if name.startswith(HEAVY_HALF):
        pytest.importorskip("keras")
    monkeypatch.chdir(tmp_path)
    matplotlib.use("Agg")
    module = importlib.import_module(name)
    failed, tried = doctest.testmod(module, report=True)
    assert tried > 0
    assert failed == 0
