"""What takes long is counted on a terminal, and nowhere else."""

import io
from pathlib import Path

import numpy as np
import pytest
import tqdm
from scipy import ndimage

from calzoo.imaging.writers import write_movie
from calzoo.inference.axons import segment_axons
from calzoo.inference.centers import find_centers
from calzoo.inference.progress import progress_bar
from calzoo.inference.registration import run_registration

MODELS = Path(__file__).resolve().parent / "models"


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("stream", [io.StringIO(), None])
def test_without_a_terminal_nothing_is_shown(monkeypatch, stream):
    monkeypatch.setattr("sys.stderr", stream)
    with progress_bar("frame", total=3) as bar:
        bar.update(2)
    assert stream is None or stream.getvalue() == ""


def axons(stack, folder):
    segment_axons(stack, model=MODELS / "smooth.onnx")


def scaled_axons(stack, folder):
    segment_axons(stack, model=MODELS / "smooth.onnx", axon_diameter=4)


def centers(stack, folder):
    find_centers(stack, model=MODELS / "summits.onnx")


def registration(stack, folder):
    write_movie(folder / "movie.tif", stack)
    run_registration(folder / "movie.tif", folder / "out.tif", model=MODELS / "rigid.onnx")


@pytest.mark.parametrize(
    ("work", "unit"), [(axons, "tile"), (scaled_axons, "tile"), (centers, "window"), (registration, "frame")]
)
def test_work_is_counted_to_its_end_and_leaves_no_bar(rng, tmp_path, monkeypatch, work, unit):
    ended = []

    class Recorded(tqdm.tqdm):
        def close(self):
            if not self.disable:  # of a bar that is not closed yet
                ended.append((self.n, self.total, self.unit))
            super().close()

    monkeypatch.setattr("tqdm.tqdm", Recorded)
    monkeypatch.setattr("sys.stderr", stderr := Terminal())
    cells = ndimage.gaussian_filter(rng.random((64, 64)), 2)
    frames = 2000 * cells * rng.uniform(0.5, 1, (64, 1, 1)) + rng.normal(0, 1, (64, 64, 64))
    work(frames.astype(np.uint16), tmp_path)
    ((done, total, counted),) = ended
    assert (done, counted) == (total, unit)
    assert f"0/{total} [" in stderr.getvalue()
    assert stderr.getvalue().endswith(" \r")
