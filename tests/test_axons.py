"""The axon pipeline: from a stack to labels, a table and a picture."""

import csv
import errno
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile

from calzoo.errors import CalzooError
from calzoo.imaging.images import as_volume, open_volume
from calzoo.imaging.specks import surroundings
from calzoo.imaging.writers import VolumeWriter, write_volume
from calzoo.inference import axons, models
from calzoo.inference.axon_network import AxonNetwork
from calzoo.inference.axon_scale import least_voxels, scale_factors
from calzoo.inference.axons import run_axons, segment_axons
from calzoo.inference.models import load_model

MODELS = Path(__file__).resolve().parent / "models"
SMOOTH = {"model": MODELS / "smooth.onnx", "provider": "cpu", "threads": 1}
PIXEL = {"model": MODELS / "pixel.onnx", "provider": "cpu", "threads": 1}
FILES = ["axons.csv", "instances.tif", "overlay.png", "run.json", "semantic.tif"]


def stack(scale=1, dtype=np.uint16):
    """Return three straight axons of 8 x 6 voxels across, of lengths 70, 50 and 30, and a speck."""
    volume = np.full((40, 60 * scale, 70 * scale), 100, np.float64)
    for row, length in ((4, 50), (20, 70), (40, 30)):
        volume[10:18, row * scale : (row + 6) * scale, : length * scale] = 1000
    volume[30, 30 * scale, 30 * scale] = 1000
    return volume.astype(dtype)


def table_in(folder):
    with open(folder / "axons.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_axons_are_found_numbered_by_size_and_measured():
    volume = stack()
    found = segment_axons(volume, **SMOOTH)
    assert (found.semantic.dtype, found.instances.dtype) == (np.uint8, np.int32)
    assert found.count == 3
    assert [found.instances[14, row, 5] for row in (23, 7, 43)] == [1, 2, 3]
    assert found.table["id"] == [1, 2, 3]
    for i, label in enumerate(found.table["id"]):
        inside = found.instances == label
        assert found.table["voxels"][i] == inside.sum()
        assert found.table["mean_intensity"][i] == pytest.approx(volume[inside].mean())
        assert found.table["summed_intensity"][i] == volume[inside].sum()
        for axis, name in enumerate("zyx"):
            reached = np.flatnonzero(inside.any(axis=tuple({0, 1, 2} - {axis})))
            assert found.table[f"{name}_first"][i] == reached[0]
            assert found.table[f"{name}_last"][i] == reached[-1]
            assert found.table[f"{name}_mean"][i] == pytest.approx(np.nonzero(inside)[axis].mean())
    assert found.table["touches_edge"] == [True, True, True]
    assert list(found.table)[-4:] == ["touches_edge", "z_mean", "y_mean", "x_mean"]
    # The network blurs by one voxel; the axons have 8 x 6 voxels across.
    expected = np.sqrt(8 * 6 / np.pi)
    np.testing.assert_allclose(found.table["radius_voxels"], expected, rtol=0.15)
    np.testing.assert_allclose(found.table["length_voxels"], [70, 50, 30], atol=2)


def test_lengths_volumes_and_radii_are_in_micrometres_where_the_voxel_is_known():
    plain = segment_axons(stack(), **SMOOTH).table
    table = segment_axons(stack(), voxel_um=(2.0, 0.5, 0.5), **SMOOTH).table
    np.testing.assert_allclose(table["volume_um3"], np.multiply(plain["voxels"], 0.5))
    # Straight axons along x: their length is in steps of half a micrometre.
    np.testing.assert_allclose(table["length_um"], np.multiply(plain["length_voxels"], 0.5), rtol=0.1)
    expected = np.sqrt(np.divide(table["volume_um3"], np.multiply(table["length_um"], np.pi)))
    np.testing.assert_allclose(table["radius_um"], expected)


def test_a_file_gets_what_an_array_gets(tmp_path, capsys):
    volume, voxel = stack(), (2.0, 0.5, 0.5)
    write_volume(tmp_path / "stack.tif", volume, voxel_um=voxel)
    run = run_axons(tmp_path / "stack.tif", tmp_path / "out", **SMOOTH)
    expected = segment_axons(volume, voxel_um=voxel, **SMOOTH)
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == FILES
    assert not (tmp_path / "out.part").exists()
    assert (run.count, run.provider, run.folder) == (3, "cpu", tmp_path / "out")
    assert run.table == expected.table
    for name in ("semantic", "instances"):
        array, written = getattr(expected, name), open_volume(tmp_path / "out" / f"{name}.tif")
        with written:
            np.testing.assert_array_equal(written.read(), array)
            assert written.dtype == array.dtype
            assert written.voxel_um == pytest.approx(voxel)
    rows = table_in(tmp_path / "out")
    assert [int(row["voxels"]) for row in rows] == run.table["voxels"]
    assert list(rows[0]) == list(run.table)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("name", ["axons.csv", "overlay.png", "semantic.zarr", "instances.tif"])
def test_files_of_another_program_are_refused_before_the_work(tmp_path, name):
    (tmp_path / name).touch()
    with pytest.raises(CalzooError, match=f"{name} is there already, which would be replaced"):
        run_axons("no stack", tmp_path, zarr=name.endswith(".zarr"))


def test_run_json_says_how_it_was_done(tmp_path):
    write_volume(tmp_path / "stack.tif", stack(), voxel_um=(2.0, 0.5, 0.5))
    run_axons(tmp_path / "stack.tif", tmp_path / "out", min_voxels=7, **SMOOTH)
    facts = json.loads((tmp_path / "out" / "run.json").read_text())
    assert facts["axons"] == 3
    assert facts["shape"] == [40, 60, 70]
    assert facts["model"] == {
        "name": "smooth",
        "file": "smooth.onnx",
        "sha256": load_model(SMOOTH["model"], provider="cpu").sha256,
        "provider": "cpu",
    }
    assert facts["parameters"]["min_voxels"] == 7
    assert (facts["parameters"]["offset"], facts["parameters"]["span"]) == (100, 900)
    assert facts["seconds"] > 0


def test_without_a_voxel_size_columns_in_um_are_empty_and_one_line_says_so(tmp_path, capsys):
    write_volume(tmp_path / "stack.tif", stack())
    run_axons(tmp_path / "stack.tif", tmp_path / "out", **SMOOTH)
    rows = table_in(tmp_path / "out")
    assert {row[name] for row in rows for name in ("volume_um3", "length_um", "radius_um")} == {""}
    assert all(float(row["length_voxels"]) > 0 for row in rows)
    complaint = capsys.readouterr().err.strip()
    assert re.fullmatch(r"calzoo: .*stack\.tif: the voxel size is not known.*give --voxel Z,Y,X\.", complaint)


def test_intensities_are_measured_in_every_channel(tmp_path):
    volume = stack()
    both = np.stack([volume[::-1, ::-1] // 3, volume])
    found = segment_axons(both, axes="czyx", channel=1, **SMOOTH)
    np.testing.assert_array_equal(found.instances, segment_axons(volume, **SMOOTH).instances)
    for number, channel in enumerate(both):
        sums = [channel[found.instances == label].sum() for label in (1, 2, 3)]
        assert found.table[f"summed_intensity_{number}"] == sums
    np.save(tmp_path / "both.npy", both)
    run = run_axons(tmp_path / "both.npy", tmp_path / "out", axes="czyx", channel="1", **SMOOTH)
    assert run.table == found.table


@pytest.mark.parametrize(
    ("names", "endings"), [(["GFP", "tdTomato"], ["GFP", "tdTomato"]), (["GFP", "GFP"], ["0", "1"])]
)
def test_intensities_have_the_names_of_channels_where_these_tell_them_apart(tmp_path, names, endings):
    both = np.stack([stack() // 3, stack()])
    metadata = {"axes": "CZYX", "Channel": {"Name": names}}
    tifffile.imwrite(tmp_path / "both.ome.tif", both, metadata=metadata, photometric="minisblack")
    run_axons(tmp_path / "both.ome.tif", tmp_path / "out", channel=1, **SMOOTH)
    columns = [name for name in table_in(tmp_path / "out")[0] if "intensity" in name]
    assert columns == [f"{what}_intensity_{name}" for name in endings for what in ("mean", "summed")]
    rows = table_in(tmp_path / "out")
    dim, bright = (np.array([float(row[f"mean_intensity_{name}"]) for row in rows]) for name in endings)
    np.testing.assert_allclose(dim, bright / 3, rtol=0.02)


def test_a_volume_and_a_model_that_are_open_may_be_given():
    model = load_model(**{"name_or_path": SMOOTH["model"], "provider": "cpu"})
    found = segment_axons(as_volume(stack(), voxel_um=(2, 1, 1)), model=model)
    assert found.count == 3
    assert found.table["volume_um3"] == [2 * n for n in found.table["voxels"]]


def test_an_open_volume_takes_the_voxel_size_that_is_given(tmp_path):
    np.save(tmp_path / "stack.npy", stack())
    with open_volume(tmp_path / "stack.npy") as volume:
        found = segment_axons(volume, voxel_um=(1, 1, 1), axon_diameter="6um", **PIXEL)
    expected = segment_axons(stack(), voxel_um=(1, 1, 1), axon_diameter="6um", **PIXEL)
    assert found.table == expected.table
    np.testing.assert_array_equal(found.instances, expected.instances)


def test_every_dtype_gives_the_same_axons():
    expected = segment_axons(stack(), **PIXEL).instances
    assert expected.max() == 3
    for dtype in ("u1", "i1", ">u2", "i2", "u4", "i4", "i8", "f2", "f4", ">f8"):
        volume = (stack(dtype=float) / 10).astype(dtype)
        np.testing.assert_array_equal(segment_axons(volume, **PIXEL).instances, expected)
    np.testing.assert_array_equal(segment_axons(stack() > 500, **PIXEL).instances, expected)


@pytest.mark.parametrize("shape", [(1, 5, 7), (3, 1, 40), (40, 2, 2), (2, 33, 31)])
def test_small_and_odd_stacks_come_back_in_their_own_shape(rng, shape):
    found = segment_axons(rng.integers(0, 100, shape).astype(np.uint16), model=MODELS / "pooled.onnx")
    assert found.semantic.shape == found.instances.shape == shape


@pytest.mark.parametrize("value", [0, 77])
def test_a_constant_stack_has_no_axons(tmp_path, value):
    np.save(tmp_path / "flat.npy", np.full((20, 30, 30), value, np.uint16))
    run = run_axons(tmp_path / "flat.npy", tmp_path / "out", **SMOOTH)
    assert run.count == 0
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == FILES
    assert table_in(tmp_path / "out") == []


@pytest.mark.parametrize("depth", [3, 32])
def test_small_axons_and_their_borders_are_background_in_the_classes_too(monkeypatch, depth):
    monkeypatch.setattr(axons._Job, "depth", depth)
    everything = segment_axons(stack(), min_voxels=0, **SMOOTH)
    found = segment_axons(stack(), min_voxels=2000, **SMOOTH)
    near = surroundings((everything.semantic == 1) & (found.instances > 0))
    gone = (everything.semantic > 0) & ~near
    assert set(everything.semantic[gone]) == {1, 2}
    np.testing.assert_array_equal(found.semantic, np.where(gone, 0, everything.semantic))


def test_small_axons_go():
    found = segment_axons(stack(), min_voxels=2000, **SMOOTH)
    sizes = segment_axons(stack(), **SMOOTH).table["voxels"]
    assert found.table["voxels"] == [size for size in sizes if size >= 2000]
    assert 0 < found.count < 3
    found = segment_axons(stack(), min_um3=1000, voxel_um=(2.0, 0.5, 0.5), **SMOOTH)
    assert found.table["voxels"] == [size for size in sizes if size >= 2000]


def test_thick_axons_are_found_once_the_network_is_told_how_thick_they_are():
    """Results have the voxels of the stack, whatever the network saw."""
    volume = stack(scale=2)
    found = segment_axons(volume, axon_diameter="8px", **SMOOTH)
    assert found.instances.shape == volume.shape
    assert found.count == 3
    for label, row in ((1, 20), (2, 4), (3, 40)):
        inside = found.instances == label
        truth = np.zeros(volume.shape, bool)
        length = (70, 50, 30)[label - 1]
        truth[10:18, 2 * row : 2 * row + 12, : 2 * length] = True
        # The network blurs by a voxel of its own, which is two of the stack.
        assert (inside & truth).sum() / (inside | truth).sum() > 0.7


def test_a_file_is_scaled_as_an_array_is(tmp_path):
    np.save(tmp_path / "stack.npy", stack())
    expected = segment_axons(stack(), axon_diameter=6, **SMOOTH)
    run_axons(tmp_path / "stack.npy", tmp_path / "out", axon_diameter=6, **SMOOTH)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "out" / "instances.tif"), expected.instances)


CARD = load_model(SMOOTH["model"], provider="cpu").card


@pytest.mark.parametrize(
    ("diameter", "voxel_um", "factors"),
    [
        (None, None, (1, 1, 1)),
        (4, None, (1, 1, 1)),
        ("2px", None, (1, 2, 2)),  # planes stay: they are as thick as before, in fewer pixels
        (8.0, None, (0.5, 0.5, 0.5)),  # cubes stay cubes
        ("2um", (1.0, 0.25, 0.25), (1, 0.5, 0.5)),
        ("2 um", (0.25, 0.25, 0.25), (0.5, 0.5, 0.5)),
        ("2um", (None, 0.25, 0.25), (0.5, 0.5, 0.5)),
        ("2µm", (1.0, 0.5, 0.25), (1, 1, 0.5)),
    ],
)
def test_rows_and_columns_follow_the_axons(diameter, voxel_um, factors):
    assert scale_factors(CARD, voxel_um, diameter, (9, 64, 64)) == pytest.approx(factors)


def test_diameters_that_mean_nothing_are_refused():
    for diameter in ("thick", -3, "0px", "nan", "infum"):
        with pytest.raises(CalzooError, match=r"a size above 0, such as 6, 6px or 1.5um; got "):
            scale_factors(CARD, (1, 1, 1), diameter, (9, 64, 64))
    with pytest.raises(
        CalzooError, match="'2um' is in micrometres, but the voxel size is not known; give it"
    ):
        scale_factors(CARD, None, "2um", (9, 64, 64))


def test_axons_wider_than_half_of_the_stack_are_refused():
    with pytest.raises(
        CalzooError,
        match=r"axon diameter: expected at most 32 pixels, half .* got 100 of '50um'; is it the unit",
    ):
        scale_factors(CARD, (1, 2, 0.5), "50um", (9, 40, 64))
    assert scale_factors(CARD, None, 32, (9, 40, 64))[1] < 1


def test_the_smallest_axon_follows_card_caller_and_scale():
    assert least_voxels(CARD, None, (1, 1, 1)) == 5
    assert least_voxels(CARD, None, (1, 0.5, 0.5)) == 20  # in voxels of the stack
    assert least_voxels(CARD, None, (1, 0.5, 0.5), min_voxels=8) == 8
    assert least_voxels(CARD, (2, 0.5, 0.5), (1, 1, 1), min_um3=10) == 20
    with pytest.raises(
        CalzooError, match=r"10 um\^3 was asked for, but the voxel size is not known; give it"
    ):
        least_voxels(CARD, (None, 1, 1), (1, 1, 1), min_um3=10)
    with pytest.raises(CalzooError, match=r"expected a size of at least 0, got 'a'"):
        least_voxels(CARD, None, (1, 1, 1), min_voxels="a")
    with pytest.raises(CalzooError, match=r"expected a size of at least 0, got -1"):
        least_voxels(CARD, None, (1, 1, 1), min_voxels=-1)
    with pytest.raises(CalzooError, match=r"expected min_voxels or min_um3, got both \(1, 2\)"):
        least_voxels(CARD, None, (1, 1, 1), min_voxels=1, min_um3=2)


def test_a_threshold_of_the_card_decides_what_is_axon():
    """Read as: the likeliest class without it, axon from the threshold on with it."""
    probability = np.float32([[0.5, 0.3, 0.1], [0.3, 0.4, 0.6], [0.2, 0.3, 0.3]]).reshape(3, 1, 1, 3)
    network = AxonNetwork(load_model(SMOOTH["model"], provider="cpu"))
    assert network._classify(probability).ravel().tolist() == [0, 1, 1]
    network._threshold = 0.5
    assert network._classify(probability).ravel().tolist() == [0, 0, 1]
    with pytest.raises(CalzooError, match="expected probabilities of 3 classes, got 2; export it again"):
        network._classify(probability[:2])


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (b'"task": "axons"', b'"task": "cells"', "task 'axons' that sees one channel, got one for 'cells'"),
        (b'"border"', b'"borde1"', "expected the classes"),
        (
            b'"border"',
            b'"sheath"',
            "expected the classes background, axon, border, got background, axon, sheath",
        ),
        (
            b'"axes": "bczyx"',
            b'"axes": "btzyx"',
            "expected the axes b, c, z, y and x of 'image', got 'btzyx'",
        ),
    ],
)
def test_networks_that_are_not_for_axons_are_refused(tmp_path, old, new, reason):
    path = tmp_path / "other.onnx"
    path.write_bytes((MODELS / "smooth.onnx").read_bytes().replace(old, new))
    with pytest.raises(CalzooError, match=f"other.onnx: .*{reason}"):
        segment_axons(stack(), model=path, provider="cpu")


def broken(name, folder):
    """Write a file that no axons can be found in."""
    path = folder / f"{name}.tif"
    volume = stack()
    if name == "truncated":
        tifffile.imwrite(path, volume)
        path.write_bytes(path.read_bytes()[:-100_000])
    elif name == "compressed-truncated":
        tifffile.imwrite(path, volume, compression="zlib")
        path.write_bytes(path.read_bytes()[:-1000])
    elif name == "empty":
        path.write_bytes(b"")
    elif name == "text":
        path.write_text("not an image")
    elif name == "rgb":
        tifffile.imwrite(path, np.zeros((5, 20, 20, 3), np.uint8), photometric="rgb")
    elif name == "picture":
        tifffile.imwrite(path, volume[0])
    elif name in ("nan", "inf"):
        volume = volume.astype(np.float32)
        volume[35, 3, 3] = float(name)
        tifffile.imwrite(path, volume)
    elif name == "complex":
        path = path.with_suffix(".npy")
        np.save(path, volume.astype(np.complex64))
    elif name == "no-planes":
        path = path.with_suffix(".npy")
        np.save(path, volume[:0])
    return path


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("missing", "expected a file, found none"),
        ("truncated", "truncated|damaged|incomplete|ends"),
        ("compressed-truncated", "truncated|damaged|incomplete|ends"),
        ("empty", "empty"),
        ("text", "expected"),
        ("rgb", "RGB"),
        ("picture", "one picture"),
        ("nan", "NaN"),
        ("inf", "NaN|infinit"),
        ("complex", "complex"),
        ("no-planes", "empty|no planes|0"),
    ],
)
def test_bad_input_is_one_clear_line_and_nothing_is_written(tmp_path, name, reason):
    path = broken(name, tmp_path)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(CalzooError, match=f"(?i){re.escape(path.name)}.*({reason})") as error:
        run_axons(path, tmp_path / "out", **SMOOTH)
    assert "\n" not in str(error.value)
    assert sorted(tmp_path.iterdir()) == before


def test_a_missing_preset_is_said_before_anything_is_written(tmp_path):
    np.save(tmp_path / "stack.npy", stack())
    with pytest.raises(CalzooError, match="no preset is called 'nothing'"):
        run_axons(tmp_path / "stack.npy", tmp_path / "out", preset="nothing")
    assert [p.name for p in tmp_path.iterdir()] == ["stack.npy"]


class Stop(BaseException):
    """Stands for Ctrl-C, which would stop pytest."""


@pytest.mark.parametrize("raised", [OSError(errno.ENOSPC, "No space left on device"), Stop()])
def test_a_full_disk_or_an_interruption_leaves_nothing(tmp_path, monkeypatch, raised):
    np.save(tmp_path / "stack.npy", stack())
    append = VolumeWriter.append

    def fail_late(self, planes):
        if self.path.name == "instances.tif" and self._done:
            raise raised
        append(self, planes)

    monkeypatch.setattr(VolumeWriter, "append", fail_late)
    with pytest.raises((CalzooError, Stop)) as error:
        run_axons(tmp_path / "stack.npy", tmp_path / "out", **SMOOTH)
    if isinstance(raised, OSError):
        assert "No space left on device" in str(error.value)
    assert [p.name for p in tmp_path.iterdir()] == ["stack.npy"]


def test_a_network_that_fails_leaves_nothing(tmp_path, monkeypatch):
    np.save(tmp_path / "stack.npy", stack())

    def fail(self, feeds):
        message = "the network failed"
        raise CalzooError(message)

    monkeypatch.setattr(models.Model, "run", fail)
    with pytest.raises(CalzooError, match="the network failed"):
        run_axons(tmp_path / "stack.npy", tmp_path / "out", **SMOOTH)
    assert [p.name for p in tmp_path.iterdir()] == ["stack.npy"]


def test_an_old_result_stays_until_the_new_one_is_complete(tmp_path):
    out = tmp_path / "out"
    np.save(tmp_path / "stack.npy", stack())
    run_axons(tmp_path / "stack.npy", out, **SMOOTH)
    before = {p.name: p.read_bytes() for p in out.iterdir()}
    bad = stack().astype(np.float32)
    bad[39] = np.nan
    np.save(tmp_path / "bad.npy", bad)
    with pytest.raises(CalzooError, match="NaN"):
        run_axons(tmp_path / "bad.npy", out, **SMOOTH)
    assert {p.name: p.read_bytes() for p in out.iterdir()} == before


# Not resource.getrusage: its peak is at least what the parent held when it started the child.
MEASURE = """
import re, sys
from calzoo.inference.axons import run_axons
run_axons(sys.argv[1], sys.argv[2], model=sys.argv[3], provider="cpu", threads=1)
print(re.search(r"VmHWM:\\s*(\\d+) kB", open("/proc/self/status").read())[1])
"""


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_memory_does_not_grow_with_the_number_of_planes(tmp_path, compression):
    """Peak of the whole command; the longer stack alone would be a third of it."""
    if not Path("/proc/self/status").exists():
        pytest.skip("this system does not tell the peak of a process' memory")
    model = tmp_path / "model.onnx"  # of wide tiles, which take less time
    model.write_bytes((MODELS / "pixel.onnx").read_bytes().replace(b": 32,\n", b": 99,\n"))
    assert load_model(model, provider="cpu").card.tile == {"z": 16, "y": 99, "x": 99}
    slab = np.tile(stack()[5:21].astype(np.float32), (1, 2, 1))
    slab[:, 12:] = 100  # one axon: thinning more would take time, not memory
    peaks = []
    for repeats in (4, 32):
        path = tmp_path / f"{repeats}.tif"
        tifffile.imwrite(path, np.tile(slab, (repeats, 1, 1)), compression=compression)
        command = [sys.executable, "-c", MEASURE, path, tmp_path / "out", model]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        peaks.append(int(done.stdout))
    assert peaks[1] < 1.1 * peaks[0]


def test_the_pipeline_imports_neither_scipy_nor_a_plotting_library(tmp_path):
    """They would take longer to import than a small stack takes to segment."""
    np.save(tmp_path / "stack.npy", stack())
    code = (
        "import sys; from calzoo.inference.axons import run_axons; "
        f"run_axons({str(tmp_path / 'stack.npy')!r}, {str(tmp_path / 'out')!r}, "
        f"model={str(SMOOTH['model'])!r}, provider='cpu'); "
        "print({'scipy', 'matplotlib', 'tensorflow', 'keras', 'onnx', 'skimage'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
