"""OME-Zarr in and out."""

import json
import os
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from calzoo import cli
from calzoo.errors import CalzooError
from calzoo.imaging.images import open_volume
from calzoo.imaging.movies import open_movie
from calzoo.imaging.outputs import source_facts
from calzoo.imaging.zarr_writer import ZarrWriter
from calzoo.inference.axons import run_axons, segment_axons

zarr = pytest.importorskip("zarr")

SMOOTH = Path(__file__).resolve().parent / "models" / "smooth.onnx"


def store(path, array, letters, *, scale=None, units=None, version="0.4", **more):
    """Write an OME-Zarr image field by field, as another program would."""
    group = zarr.create_group(str(path), zarr_format=3 if version == "0.5" else 2)
    chunks = tuple(min(n, 8) for n in array.shape)
    group.create_array("full", shape=array.shape, chunks=chunks, dtype=array.dtype)[...] = array
    kinds = {"t": "time", "c": "channel"}
    axes = [{"name": a, "type": kinds.get(a, "space")} for a in letters]
    for axis in axes:
        if axis["name"] in (units or {}):
            axis["unit"] = units[axis["name"]]
    finest = {"path": "full"}
    if scale:
        finest["coordinateTransformations"] = [{"type": "scale", "scale": scale}]
    image = {"axes": axes, "datasets": [finest], **more}
    group.attrs.update(
        {"ome": {"version": "0.5", "multiscales": [image]}} if version == "0.5" else {"multiscales": [image]}
    )
    return path


UM = dict.fromkeys("zyx", "micrometer")


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("dtype", ["uint8", ">u2", "float32", "bool"])
def test_an_image_is_a_volume(tmp_path, rng, version, dtype):
    array = (4 * rng.random((10, 24, 20))).astype(dtype)
    path = store(tmp_path / "a.zarr", array, "zyx", scale=[2, 0.5, 0.4], units=UM, version=version)
    with open_volume(path) as volume:
        assert volume.shape == (10, 24, 20)
        assert volume.voxel_um == (2, 0.5, 0.4)
        assert volume.dtype.isnative
        np.testing.assert_array_equal(volume.read(), array)
        np.testing.assert_array_equal(volume.planes(3, 9), array[3:9])


def test_time_and_channel_of_length_1_do_not_matter_and_units_are_converted(tmp_path, rng):
    array = rng.integers(0, 99, (1, 1, 6, 12, 14), np.uint16)
    units = {"z": "nanometer", "y": "millimeter"}
    path = store(tmp_path / "a.zarr", array, "tczyx", scale=[1, 1, 1500, 0.001, 7], units=units)
    with open_volume(path) as volume:
        assert volume.voxel_um == (1.5, 1.0, None)  # of what has no unit, the length is not known
        np.testing.assert_array_equal(volume.planes(2, 5), array[0, 0, 2:5])


def test_scales_of_image_and_level_are_multiplied(tmp_path):
    more = {"coordinateTransformations": [{"type": "scale", "scale": [3.0, 1, 1]}]}
    array = np.zeros((2, 8, 8), np.uint8)
    with open_volume(store(tmp_path / "a.zarr", array, "zyx", scale=[2.0, 1, 1], units=UM, **more)) as volume:
        assert volume.voxel_um == (6, 1, 1)


def test_a_channel_is_chosen_by_number_or_name(tmp_path, rng):
    array = rng.integers(0, 99, (2, 5, 12, 14), np.uint16)
    path = store(tmp_path / "a.zarr", array, "czyx")
    with pytest.raises(CalzooError, match=r"got 2 channels: CZYX .*--channel \(0 to 1\)"):
        open_volume(path)
    with open_volume(path, channel=1) as volume:
        np.testing.assert_array_equal(volume.read(), array[1])
    group = zarr.open_group(str(path))
    group.attrs["omero"] = {"channels": [{"label": "DAPI"}, {"label": "GFP"}]}
    with open_volume(path, channel="GFP") as volume:
        np.testing.assert_array_equal(volume.read(), array[1])


def test_an_array_alone_is_read_like_npy(tmp_path, rng):
    array = rng.integers(0, 99, (3, 2, 12, 14), np.uint16)
    zarr.create_array(str(tmp_path / "a.zarr"), data=array)
    with pytest.raises(CalzooError, match=r"got shape \(3, 2, 12, 14\).*--axes ZCYX"):
        open_volume(tmp_path / "a.zarr")
    with open_volume(tmp_path / "a.zarr", axes="zcyx", channel=0) as volume:
        np.testing.assert_array_equal(volume.read(), array[:, 0])


def test_a_store_over_time_is_a_movie(tmp_path, rng):
    array = rng.integers(0, 99, (7, 2, 12, 14), np.uint16)
    path = store(tmp_path / "a.zarr", array, "tcyx", scale=[50, 1, 2, 3], units=UM | {"t": "millisecond"})
    with open_movie(path, channel=1) as movie:
        assert (movie.shape, movie.frame_rate_hz, movie.pixel_um) == ((7, 12, 14), 20, (2, 3))
        np.testing.assert_array_equal(movie.take([5, 1, 2]), array[[5, 1, 2], 1])
    with pytest.raises(CalzooError, match=r"expected planes, got time points"):
        open_volume(path, channel=0)


def test_what_is_no_image_says_what_is_in_it(tmp_path):
    group = zarr.create_group(str(tmp_path / "a.zarr"), zarr_format=2)
    group.create_array("0", shape=(4, 8, 8), dtype="u1")
    with pytest.raises(CalzooError, match=r"got a group without multiscales.*a\.zarr/0\)"):
        open_volume(tmp_path / "a.zarr")


def test_damaged_metadata_and_chunks_are_refused(tmp_path, rng):
    path = store(tmp_path / "a.zarr", rng.integers(0, 99, (4, 8, 8), np.uint16), "zyx")
    chunk = next(p for p in (path / "full").rglob("*") if p.is_file() and p.name[0] != ".")
    chunk.write_bytes(chunk.read_bytes()[:9])
    with open_volume(path) as volume, pytest.raises(CalzooError, match=r"a chunk cannot be read.*damaged"):
        volume.read()
    (path / "full" / ".zarray").write_text("{")
    with pytest.raises(CalzooError, match="damaged or foreign Zarr metadata"):
        open_volume(path)


def test_nan_is_refused_with_its_place(tmp_path):
    array = np.zeros((4, 8, 8), np.float32)
    array[2, 3, 4] = np.nan
    with (
        open_volume(store(tmp_path / "a.zarr", array, "zyx")) as volume,
        pytest.raises(CalzooError, match="got nan at plane 2, row 3, column 4"),
    ):
        volume.read()


def test_without_the_package_the_line_that_installs_it_is_named(tmp_path, monkeypatch):
    path = store(tmp_path / "a.zarr", np.zeros((4, 8, 8), np.uint8), "zyx")
    monkeypatch.setitem(sys.modules, "zarr", None)
    with pytest.raises(CalzooError, match=r"needs the package zarr.*pip install 'calzoo\[zarr\]'"):
        open_volume(path)
    with pytest.raises(CalzooError, match=r"out\.zarr.*pip install 'calzoo\[zarr\]'"):
        ZarrWriter(tmp_path / "out.zarr", (4, 8, 8), np.uint8)


# Out.


@pytest.mark.parametrize("portion", [1, 7, 16, 40])
def test_what_is_written_is_read(tmp_path, rng, portion):
    array = rng.integers(0, 2**20, (37, 30, 300), np.int32)
    with ZarrWriter(tmp_path / "a.zarr", array.shape, "int32", (2, 0.5, 0.4), labels=True) as writer:
        for start in range(0, len(array), portion):
            writer.append(array[start : start + portion])
    with open_volume(tmp_path / "a.zarr") as volume:
        np.testing.assert_array_equal(volume.read(), array)
        assert volume.voxel_um == (2, 0.5, 0.4)
    assert [p.name for p in tmp_path.iterdir()] == ["a.zarr"]


def test_the_metadata_are_those_of_ome_zarr_0_4(tmp_path):
    with ZarrWriter(tmp_path / "a.zarr", (3, 16, 3000), "uint8", (2, 0.5, None)) as writer:
        writer.append(np.arange(3 * 16 * 3000).reshape(3, 16, 3000) % 251)
    metadata = json.loads((tmp_path / "a.zarr" / ".zattrs").read_text())
    (image,) = metadata["multiscales"]
    assert image["version"] == "0.4"
    assert image["axes"] == [
        {"name": "z", "type": "space", "unit": "micrometer"},
        {"name": "y", "type": "space", "unit": "micrometer"},
        {"name": "x", "type": "space"},
    ]
    scales = [d["coordinateTransformations"][0] for d in image["datasets"]]
    assert scales == [{"type": "scale", "scale": [2.0, 0.5 * n, 1.0 * n]} for n in (1, 2, 4)]
    levels = [zarr.open_array(str(tmp_path / "a.zarr" / d["path"]), mode="r") for d in image["datasets"]]
    assert [level.shape for level in levels] == [(3, 16, 3000), (3, 8, 1500), (3, 4, 750)]
    for number, level in enumerate(levels):
        np.testing.assert_array_equal(level[:], levels[0][:, :: 2**number, :: 2**number])
    assert "image-label" not in metadata


def test_fewer_or_other_planes_than_announced_leave_nothing(tmp_path):
    writer = ZarrWriter(tmp_path / "a.zarr", (4, 8, 8), "uint8")
    writer.append(np.zeros((3, 8, 8)))
    with pytest.raises(CalzooError, match="expected 4 planes, got 3; nothing was written"):
        writer.close()
    writer = ZarrWriter(tmp_path / "a.zarr", (4, 8, 8), "uint8")
    writer.append(np.zeros((3, 8, 8)))
    with pytest.raises(CalzooError, match=r"at most 1 more planes of \(8, 8\), got.*\(2, 8, 8\)"):
        writer.append(np.zeros((2, 8, 8)))
    writer.abort()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["file", "folder", "array", "plate"])
def test_what_is_no_image_is_not_replaced(tmp_path, kind):
    path = tmp_path / "a.zarr"
    if kind == "file":
        path.write_text("mine")
    elif kind == "folder":
        (path / "sub").mkdir(parents=True)
        (path / "sub" / "notes.txt").write_text("mine")
    elif kind == "array":
        zarr.create_array(str(path), shape=(4,), dtype="u1")[...] = 1
    else:
        zarr.create_group(str(path), zarr_format=2).attrs["plate"] = {}
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(CalzooError, match=r"a\.zarr: expected a free name, or that of an OME-Zarr image"):
        ZarrWriter(path, (4, 8, 8), "uint8")
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("version", ["0.4", "0.5", "empty"])
def test_an_image_and_an_empty_folder_are_replaced(tmp_path, version):
    path = tmp_path / "a.zarr"
    if version == "empty":
        path.mkdir()
    else:
        store(path, np.ones((4, 8, 8), np.uint8), "zyx", version=version)
    with ZarrWriter(path, (2, 8, 8), "uint8") as writer:
        writer.append(np.full((2, 8, 8), 3))
    with open_volume(path) as volume:
        np.testing.assert_array_equal(volume.read(), np.full((2, 8, 8), 3))


def test_an_error_or_a_full_disk_leaves_nothing(tmp_path, monkeypatch):
    def fail(*args, **kwargs):
        raise OSError(28, "No space left on device")

    def write(spoil):
        with ZarrWriter(tmp_path / "a.zarr", (32, 8, 8), "uint8") as writer:
            writer.append(np.ones((16, 8, 8)))
            spoil()
            writer.append(np.ones((16, 8, 8)))

    def fill():
        for name in ("open", "write_bytes"):
            monkeypatch.setattr(Path, name, fail)

    with pytest.raises(CalzooError, match=r"a\.zarr: cannot be written \(No space left on device\)"):
        write(fill)
    monkeypatch.undo()
    with pytest.raises(ZeroDivisionError, match="division"):
        write(lambda: 1 / 0)
    assert list(tmp_path.iterdir()) == []


def test_planes_wait_for_a_chunk_and_no_longer(tmp_path):
    """A writer holds at most a chunk's planes and those that just came."""
    slab = np.ones((16, 256, 256), np.int32)
    with ZarrWriter(tmp_path / "a.zarr", (640, 256, 256), "int32") as writer:
        writer.append(slab)
        tracemalloc.start()
        for _ in range(38):
            writer.append(slab)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        writer.append(slab)
    assert peak < 6 * slab.nbytes


# The command.


def bars():
    volume = np.full((20, 48, 60), 100, np.uint16)
    volume[6:14, 4:10, :50] = volume[6:14, 30:36, :40] = 1000
    return volume


def test_a_store_is_segmented_into_stores(tmp_path, capsys):
    pytest.importorskip("onnxruntime")
    path = store(tmp_path / "a.ome.zarr", bars(), "zyx", scale=[2, 0.5, 0.5], units=UM)
    argv = ["axons", str(path), "--model", str(SMOOTH), "--provider", "cpu", "--zarr"]
    assert cli.main([*argv, "-o", str(tmp_path / "out")]) == 0
    assert "2 axons" in capsys.readouterr().err
    names = sorted(p.name for p in (tmp_path / "out").iterdir())
    assert names == ["axons.csv", "instances.zarr", "overlay.png", "run.json", "semantic.zarr"]
    expected = segment_axons(bars(), model=SMOOTH, provider="cpu")
    for name in ("semantic", "instances"):
        with open_volume(tmp_path / "out" / f"{name}.zarr") as volume:
            np.testing.assert_array_equal(volume.read(), getattr(expected, name))
            assert volume.voxel_um == (2, 0.5, 0.5)
        metadata = json.loads((tmp_path / "out" / f"{name}.zarr" / ".zattrs").read_text())
        assert metadata["image-label"] == {"version": "0.4"}


def test_a_result_of_the_other_form_is_replaced(tmp_path):
    pytest.importorskip("onnxruntime")
    path = store(tmp_path / "a.zarr", bars(), "zyx", scale=[2, 0.5, 0.5], units=UM)
    larger = store(tmp_path / "b.zarr", np.pad(bars(), ((0, 20), (0, 0), (0, 0))), "zyx", units=UM)
    options = {"model": SMOOTH, "provider": "cpu"}
    run_axons(larger, tmp_path / "out", zarr=True, **options)
    (tmp_path / "out" / "notes.txt").write_text("mine")
    run_axons(path, tmp_path / "out", zarr=True, **options)
    with open_volume(tmp_path / "out" / "instances.zarr") as volume:
        np.testing.assert_array_equal(volume.read(), segment_axons(bars(), **options).instances)
    planes = {p.name for p in (tmp_path / "out" / "instances.zarr" / "0").iterdir() if p.is_dir()}
    assert planes <= {"0", "1"}  # chunks of 16 planes: none is left of the larger one
    run_axons(path, tmp_path / "out", **options)
    names = sorted(p.name for p in (tmp_path / "out").iterdir())
    assert names == ["axons.csv", "instances.tif", "notes.txt", "overlay.png", "run.json", "semantic.tif"]


MEMORY = """
import sys
from pathlib import Path
from calzoo.cli import main
status = main(sys.argv[1:])
print("peak", Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
sys.exit(status)
"""


def _peak(volume, out):
    """Return the peak memory in kB of a process that segments a volume."""
    argv = ["axons", volume, "-o", out, "--zarr", "--model", SMOOTH, "--provider", "cpu", "--threads", "1"]
    # glibc keeps freed blocks below a size that rises as it goes, 15 MB of them after a while; below a
    # fixed size it gives them back, and the peak is what the command holds.
    kept = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"}
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, *argv], capture_output=True, text=True, check=True, env=kept
    )
    return int(done.stdout.split("peak")[1])


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux")
def test_memory_does_not_grow_with_the_number_of_planes(tmp_path, rng):
    pytest.importorskip("onnxruntime")
    peaks = []
    for planes in (64, 512):
        group = zarr.create_group(str(tmp_path / f"{planes}.zarr"), zarr_format=2)
        array = group.create_array("0", shape=(planes, 192, 192), chunks=(16, 96, 96), dtype="u2")
        slab = rng.integers(90, 110, (16, 192, 192), np.uint16)
        slab[4:12, 40:46, :100] = 1000
        for start in range(0, planes, 16):
            array[start : start + 16] = slab
        axes = [{"name": a, "type": "space"} for a in "zyx"]
        group.attrs["multiscales"] = [{"version": "0.4", "axes": axes, "datasets": [{"path": "0"}]}]
        peaks.append(_peak(tmp_path / f"{planes}.zarr", tmp_path / f"out-{planes}"))
    assert peaks[1] < 1.1 * peaks[0], peaks


def test_a_store_is_not_begun_where_something_of_the_user_stands(tmp_path):
    (tmp_path / "labels.zarr.part").mkdir()
    (tmp_path / "labels.zarr.part" / "notes.txt").touch()
    with pytest.raises(CalzooError, match="a folder is there already that calzoo cannot tell to be its own"):
        ZarrWriter(tmp_path / "labels.zarr", (2, 8, 8), "uint8")
    assert (tmp_path / "labels.zarr.part" / "notes.txt").exists()


def test_a_store_that_a_killed_process_has_begun_is_begun_anew(tmp_path):
    begun = ZarrWriter(tmp_path / "a.zarr", (4, 8, 8), "uint8")
    begun.append(np.ones((2, 8, 8), "uint8"))
    del begun  # neither closed nor given up
    assert (tmp_path / "a.zarr.part").is_dir()
    with ZarrWriter(tmp_path / "a.zarr", (1, 8, 8), "uint8") as writer:
        writer.append(np.full((1, 8, 8), 3, "uint8"))
    assert [path.name for path in tmp_path.iterdir()] == ["a.zarr"]
    assert not (tmp_path / "a.zarr" / ".calzoo-part").exists()
    with open_volume(tmp_path / "a.zarr") as volume:
        np.testing.assert_array_equal(volume.read(), np.full((1, 8, 8), 3))


def test_pixels_that_changed_in_a_store_are_another_input(tmp_path, rng):
    array = rng.integers(0, 9, (10, 24, 20)).astype("u1")
    path = store(tmp_path / "a.zarr", array, "zyx")
    before = source_facts(path)
    assert source_facts(path) == before
    zarr.open(str(path), mode="r+")["full"][5:] = 9 - array[5:]
    assert source_facts(path) != before
