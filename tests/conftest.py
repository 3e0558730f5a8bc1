"""Fixtures that every test may use."""

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
