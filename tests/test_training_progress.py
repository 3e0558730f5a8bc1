"""What takes long before and beside the training is counted on a terminal, and nowhere else."""

import io

import pytest

pytestmark = pytest.mark.train
pytest.importorskip("keras")

import functools
import re
import time

import numpy as np

from calzoo.training import axons_evaluate, progress
from calzoo.training.simulated import SimulatedPool


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture(params=[Terminal, io.StringIO])
def record(request, monkeypatch):
    """Return a function that makes stderr a terminal, or none, and returns what is written there."""

    def begin():
        stream = request.param()
        monkeypatch.setattr("sys.stderr", stream)
        monkeypatch.setattr(progress, "_DELAY", 0)
        return stream

    return begin


def lines(stream):
    """Return what is seen on a terminal, one state after the other; elsewhere there must be nothing."""
    if not stream.isatty():
        assert stream.getvalue() == ""
        return None
    return stream.getvalue().split("\r")


def test_the_stacks_of_a_pool_are_counted_while_they_are_drawn(record):
    stderr = record()
    pool = SimulatedPool(str, size=3, fresh=2)
    assert pool.stacks(0) == ["0", "1"]
    pool.close()
    seen = lines(stderr)
    assert seen is None or any(line.startswith("drawing the pool:   0%") and "0/2" in line for line in seen)


def test_the_stacks_of_an_evaluation_are_counted(record):
    stderr = record()

    def segment(volume):
        return np.zeros(volume.shape, np.uint8), np.zeros(volume.shape, np.int32)

    score = functools.partial(axons_evaluate.score_simulated, styles=("lightsheet",), seeds=(1, 2))
    assert score(segment, shape=(4, 32, 32))
    seen = lines(stderr)
    assert seen is None or any("simulated lightsheet" in line and "0/2" in line for line in seen)


def test_steps_are_drawn_often_on_a_terminal_and_now_and_then_in_a_log(record):
    stderr = record()
    for _ in progress.steps_bar(range(200)):
        time.sleep(0.005)
    states = [state for state in re.split("[\r\n]", stderr.getvalue()) if "step" in state]
    assert (len(states) >= 5) if stderr.isatty() else (len(states) <= 2)
    assert "200/200" in states[-1]
