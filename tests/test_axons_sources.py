import json

import numpy as np
import pytest
import tifffile

pytestmark = pytest.mark.train
pytest.importorskip("keras")

from calzoo.errors import CalzooError
from calzoo.imaging.borders import semantic_from_instances
from calzoo.training.axons_sources import (
    decode_trailmap,
    labelled_planes,
    only_planes,
    read_recordings,
    weak_classes,
)
from calzoo.training.tiles import IGNORE


def write(path, array):
    tifffile.imwrite(path, array, photometric="minisblack", metadata={"axes": "ZYX"})


@pytest.fixture
def volume(rng):
    return rng.integers(0, 1000, (4, 12, 16)).astype(np.uint16)


def test_instances_become_axons_and_borders(tmp_path, volume):
    labels = np.zeros(volume.shape, np.int32)
    labels[1, 2:5] = 9
    write(tmp_path / "volume.tif", volume)
    write(tmp_path / "instances.tif", labels)
    (recording,) = read_recordings(tmp_path)
    assert (recording.name, recording.source, recording.instances) == (tmp_path.name, "own", True)
    np.testing.assert_array_equal(recording.volume, volume)
    np.testing.assert_array_equal(recording.semantic(), semantic_from_instances(labels))


def test_several_labelled_volumes_of_a_folder_come_by_name(tmp_path, volume):
    for name in ("b", "a"):
        write(tmp_path / f"{name}_volume.tif", volume)
        write(tmp_path / f"{name}_label.tif", np.full(volume.shape, 1, np.uint8))
    assert [(r.name, r.instances) for r in read_recordings(tmp_path)] == [("a", False), ("b", False)]


def test_what_simulate_writes_can_be_trained_on(tmp_path):
    from calzoo import cli

    assert (
        cli.main(["simulate", "axons", "-o", str(tmp_path / "set"), "--shape", "4,32,32", "--seed", "3"]) == 0
    )
    folder = next((tmp_path / "set").rglob("*volume.tif")).parent
    (recording, *_) = read_recordings(folder)
    assert recording.instances
    assert recording.volume.shape == (4, 32, 32)


def test_codes_of_trailmap_become_classes():
    codes = np.arange(6, dtype=np.uint8).reshape(1, 1, 6)
    np.testing.assert_array_equal(decode_trailmap(codes).ravel(), [IGNORE, 0, 1, 0, 2, IGNORE])


def test_an_own_stack_that_is_called_train_is_an_own_stack(tmp_path, volume):
    labels = (volume > np.median(volume)).astype(np.uint8)
    for name in ("train", "second"):
        write(tmp_path / f"{name}_volume.tif", volume)
        write(tmp_path / f"{name}_label.tif", labels)
    recordings = read_recordings(tmp_path)
    assert [r.name for r in recordings] == ["second", "train"]
    assert {r.source for r in recordings} == {"own"}
    np.testing.assert_array_equal(recordings[1].labels, labels)


def test_a_trailmap_folder_is_known_by_its_files(tmp_path, volume):
    codes = np.zeros(volume.shape, np.uint8)
    codes[[1, 3]] = 2
    codes[[1, 3], 0] = 4
    write(tmp_path / "train_volume.tif", volume)
    write(tmp_path / "train_label.tif", codes)
    (recording,) = read_recordings(tmp_path)
    assert recording.source == "trailmap"
    assert labelled_planes(recording) == [1, 3]
    assert labelled_planes(only_planes(recording, [3])) == [3]
    assert (only_planes(recording, [3]).labels[1] == IGNORE).all()


def test_weak_background_is_trusted_only_where_nothing_is_bright(rng):
    volume = rng.normal(100, 1, (5, 60, 60)).astype(np.float32)
    volume[2, 10:13] += 100  # found by the machine
    volume[2, 40:43] += 60  # missed
    volume[1, 26, 30:33] += 90  # a speck
    axon = np.zeros(volume.shape, bool)
    axon[2, 10:13] = True
    classes = weak_classes(volume, axon)
    assert (classes[axon] == 1).all()
    assert (classes[2, 41] == IGNORE).all()
    assert (classes[2, 8:10] == IGNORE).all()  # beside the label: its width is not known
    assert (classes[1, 26, 30:33] == 0).all()
    assert (classes[:, 25:28] == 0).mean() > 0.9


@pytest.mark.data
def test_the_real_training_data_are_read_as_their_readme_says(shared_data):
    (trailmap,) = read_recordings(shared_data / "trailmap")
    assert labelled_planes(trailmap) == [17, 48, 77]
    assert np.bincount(trailmap.labels[48].ravel(), minlength=3)[:3].tolist() == [8521, 2769, 3110]
    cubes = read_recordings(shared_data / "dlmbmap")
    assert [(c.name, c.source, c.volume.shape) for c in cubes] == [
        ("cube1000", "dlmbmap", (97, 150, 150)),
        ("cube1001", "dlmbmap", (33, 150, 150)),
    ]
    for cube in cubes:
        shares = np.bincount(cube.labels.ravel(), minlength=256) / cube.labels.size
        assert 0.005 < shares[1] < 0.1
        assert shares[0] > 0.3
    octa = read_recordings(shared_data / "tubenet-octa")[0]
    assert (octa.source, octa.instances, octa.volume.shape) == ("own", False, (64, 128, 128))


def test_the_fingerprint_is_json_and_changes_with_one_voxel(tmp_path, volume):
    write(tmp_path / "volume.tif", volume)
    write(tmp_path / "label.tif", np.zeros(volume.shape, np.uint8))
    (recording,) = read_recordings(tmp_path)
    before = json.loads(json.dumps(recording.fingerprint()))
    assert before["shape"] == [4, 12, 16]
    assert before["classes"] == {"0": 1.0}
    recording.volume[0, 0, 0] += 1
    after = recording.fingerprint()
    assert after["volume_sha256"] != before["volume_sha256"]
    assert after["labels_sha256"] == before["labels_sha256"]


def test_a_folder_without_recordings_says_what_is_expected(tmp_path):
    with pytest.raises(CalzooError, match=r"expected a volume and its labels \(volume.tif with"):
        read_recordings(tmp_path)


def test_labels_of_another_shape_are_refused(tmp_path, volume):
    write(tmp_path / "volume.tif", volume)
    write(tmp_path / "label.tif", np.zeros((3, 12, 16), np.uint8))
    with pytest.raises(CalzooError, match=r"labels of the volume's shape \(4, 12, 16\), got \(3, 12, 16\)"):
        read_recordings(tmp_path)


def test_a_volume_without_labels_beside_labelled_ones_is_named(tmp_path, volume):
    for name in ("a_volume", "a_label", "b_volume"):
        write(tmp_path / f"{name}.tif", volume.astype(np.uint8) % 2)
    reason = r"b_volume\.tif: expected labels of this volume \(b_instances\.tif or b_label\.tif\), found none"
    with pytest.raises(CalzooError, match=reason):
        read_recordings(tmp_path)


@pytest.mark.parametrize(
    ("labels", "reason"),
    [(np.float32([0, 0.25, 1]), "float32 values between whole numbers"), (np.int32([-1, 0, 1]), "got -1")],
)
def test_labels_that_number_no_axons_are_refused(tmp_path, volume, labels, reason):
    write(tmp_path / "a_volume.tif", volume)
    write(tmp_path / "a_instances.tif", np.resize(labels, volume.shape))
    with pytest.raises(CalzooError, match=reason):
        read_recordings(tmp_path)


def test_axons_may_have_any_number(tmp_path, volume):
    labels = np.resize(np.uint32([0, 3_000_000_000, 7]), volume.shape)
    write(tmp_path / "a_volume.tif", volume)
    write(tmp_path / "a_instances.tif", labels)
    (recording,) = read_recordings(tmp_path)
    np.testing.assert_array_equal(recording.labels, np.resize([0, 2, 1], volume.shape))


def test_numbered_axons_in_a_file_of_classes_are_refused(tmp_path, volume):
    labels = np.zeros(volume.shape, np.uint8)
    labels[0, 0, :3] = [1, 2, 17]
    write(tmp_path / "volume.tif", volume)
    write(tmp_path / "label.tif", labels)
    with pytest.raises(CalzooError, match=r"expected 0 background, .* got \[17\].* into instances.tif"):
        read_recordings(tmp_path)


def test_a_binary_mask_in_place_of_classes_is_refused(tmp_path, volume):
    """Fiji's masks are 0 and 255, and 255 would mean that nothing is known of all axons."""
    write(tmp_path / "volume.tif", volume)
    mask = np.where(volume > 500, 255, 0).astype(np.uint8)
    write(tmp_path / "label.tif", mask)
    with pytest.raises(CalzooError, match=r"got \[0, 255\], which looks like a binary mask.* divide by 255"):
        read_recordings(tmp_path)
    write(tmp_path / "label.tif", np.where(mask, mask, 1).astype(np.uint8))
    assert len(read_recordings(tmp_path)) == 1
