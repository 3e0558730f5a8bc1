"""The tiler against the whole volume."""

from pathlib import Path

import numpy as np
import pytest

from calzoo.errors import CalzooError
from calzoo.inference.models import load_model
from calzoo.inference.tiling import BLENDINGS, plan, predict

MODELS = Path(__file__).resolve().parent / "models"
VOLUMES = [(9, 20, 23), (1, 1, 1), (30, 5, 3), (2, 40, 2)]


def onnx(name):
    """Return a network from (B, z, y, x) to (B, C, z, y, x)."""
    model = load_model(MODELS / f"{name}.onnx", provider="cpu", threads=1)
    if name == "pixel":
        return lambda batch: np.moveaxis(model.run({"image": batch[..., None]})["probability"], -1, 1)
    return lambda batch: model.run({"image": batch[:, None]})["probability"]


def tiled(run, volume, grid, **options):
    slabs = list(predict(run, lambda start, stop: volume[start:stop], grid, **options))
    return np.concatenate(slabs, axis=-3)


@pytest.mark.parametrize("blending", BLENDINGS)
@pytest.mark.parametrize("overlap", [0, 0.25, 0.5, 0.8])
@pytest.mark.parametrize("tile", [(1, 6, 9), (4, 7, 5), (8, 8, 8), (64, 64, 64)])
def test_with_a_network_that_sees_one_voxel_tiled_is_whole_to_the_last_bit(rng, blending, overlap, tile):
    run = onnx("pixel")
    volume = rng.random((9, 20, 23), dtype=np.float32)
    volume[2:, :9] = 0  # with tiles that hold nothing
    grid = plan(volume.shape, tile=tile, overlap=overlap)
    result = tiled(run, volume, grid, blending=blending, batch=3)
    np.testing.assert_array_equal(result, run(volume[None])[0])


@pytest.mark.parametrize(("name", "halo", "divisor"), [("smooth", 1, 1), ("pooled", (1, 2, 2), 2)])
@pytest.mark.parametrize("tile", [(4, 8, 12), (6, 24, 6), (9, 8, 8)])
def test_with_a_halo_of_half_the_receptive_field_tiled_is_whole(rng, name, halo, divisor, tile):
    run = onnx(name)
    volume = rng.random((13, 26, 32), dtype=np.float32)
    grid = plan(volume.shape, tile=tile, divisor=(1, divisor, divisor), overlap=0.6)
    halo = np.broadcast_to(halo, 3)
    result = tiled(run, volume, grid, blending="constant", halo=halo)
    assert len(grid.starts[1]) > 2 or len(grid.starts[2]) > 2
    np.testing.assert_allclose(result, run(volume[None])[0], atol=1e-5)


def test_without_a_halo_the_seams_show(rng):
    """The test above can fail."""
    run = onnx("smooth")
    volume = rng.random((13, 26, 32), dtype=np.float32)
    grid = plan(volume.shape, tile=(4, 8, 12), overlap=0)
    difference = tiled(run, volume, grid, blending="constant") - run(volume[None])[0]
    assert np.abs(difference).max() > 0.1


@pytest.mark.parametrize("shape", VOLUMES)
@pytest.mark.parametrize("divisor", [1, 4])
def test_sides_below_a_tile_or_the_divisor_are_mirrored_and_cropped(rng, shape, divisor):
    volume = rng.random(shape, dtype=np.float32)
    grid = plan(shape, tile=(8, 8, 8), divisor=(divisor,) * 3)
    seen = []

    def run(batch):
        seen.append(batch.shape[1:])
        return np.stack([batch, 1 - batch], axis=1)

    result = tiled(run, volume, grid)
    np.testing.assert_array_equal(result, np.stack([volume, 1 - volume]))
    assert set(seen) == {grid.tile}  # one tile shape in a run
    assert not any(side % divisor for side in grid.tile)


def test_the_padding_is_the_mirror_image():
    volume = np.arange(3, dtype=np.float32).reshape(3, 1, 1)
    tiles = []
    run = lambda batch: tiles.append(batch) or batch[:, None]  # noqa: E731
    tiled(run, volume, plan(volume.shape, tile=(8, 1, 1), divisor=(8, 1, 1)))
    np.testing.assert_array_equal(tiles[0].ravel(), [0, 1, 2, 1, 0, 1, 2, 1])


@pytest.mark.parametrize(("depth", "block"), [(33, 32), (65, 32), (9, 4), (33, 8), (41, 8)])
def test_the_last_plane_is_its_own_where_a_tile_begins_on_it(rng, depth, block):
    volume = rng.random((depth, 8, 8), dtype=np.float32)
    grid = plan(volume.shape, tile=(block, 8, 8), divisor=(block, 8, 8))
    np.testing.assert_array_equal(tiled(lambda batch: batch[:, None], volume, grid)[0], volume)


@pytest.mark.parametrize("size", [1, 17, 36, 63, 64, 65, 100, 303, 1024])
@pytest.mark.parametrize(("tile", "divisor"), [(64, 16), (32, 4), (96, 8)])
@pytest.mark.parametrize("overlap", [0, 0.25, 0.5])
def test_a_plan_covers_the_volume_with_aligned_overlapping_tiles(size, tile, divisor, overlap):
    grid = plan((size, 1, 1), tile=(tile, 1, 1), divisor=(divisor, 1, 1), overlap=overlap)
    starts, side = np.array(grid.starts[0]), grid.tile[0]
    assert starts[0] == 0
    assert size <= starts[-1] + side < size + divisor  # shifted back, not padded
    assert not (starts % divisor).any()
    assert side <= max(1.25 * tile, divisor)
    common = side - np.diff(starts).max(initial=0)
    assert common >= overlap * side - divisor / 2
    assert common > 0 or overlap == 0 or side == divisor
    assert np.diff(starts).min(initial=1) > 0


def test_a_thin_stack_is_computed_once():
    grid = plan((36, 1024, 1024), tile=(32, 64, 64), divisor=(4, 16, 16))
    assert (grid.tile[0], grid.starts[0]) == (36, (0,))
    assert plan((17, 64, 64), tile=(32, 64, 64), divisor=(4, 16, 16)).tile == (20, 64, 64)


def test_a_narrow_stack_is_computed_in_deep_tiles():
    """As many voxels at once as the card's tile has, so that small stacks are one tile."""
    assert plan((64, 64, 64), tile=(32, 128, 128), divisor=(4, 16, 16)).tile == (64, 64, 64)
    grid = plan((1000, 64, 64), tile=(32, 128, 128), divisor=(4, 16, 16))
    assert grid.tile[1:] == (64, 64)
    assert 50 < grid.tile[0] <= 64


@pytest.mark.parametrize("shape", [(512, 512, 512), (303, 303, 303), (36, 1024, 1024), (151, 160, 150)])
def test_the_overlap_costs_at_most_two_and_a_half_times_no_overlap(shape):
    tiles = {"tile": (32, 64, 64), "divisor": (4, 16, 16)}
    cost = plan(shape, **tiles, overlap=0.25).voxels / plan(shape, **tiles, overlap=0).voxels
    assert cost <= 2.5


def test_planes_are_read_in_order_and_slabs_come_as_they_are_finished():
    """Nothing is read twice but the planes of the overlap, and nothing is held back."""
    volume = np.zeros((40, 6, 6), np.uint16)
    grid = plan(volume.shape, tile=(8, 4, 4), overlap=0.25)
    reads, slabs = [], []
    read = lambda start, stop: reads.append((start, stop)) or volume[start:stop]  # noqa: E731
    for slab in predict(lambda batch: np.float32(batch)[:, None], read, grid):
        slabs.append(slab.shape)
        assert len(reads) == len(slabs)
    assert reads == [(start, start + grid.tile[0]) for start in grid.starts[0]]
    assert sum(shape[1] for shape in slabs) == 40


def test_finished_blocks_are_reduced_before_they_are_gathered(rng):
    volume = rng.random((9, 20, 23), dtype=np.float32)
    grid = plan(volume.shape, tile=(4, 8, 8))
    run = lambda batch: np.stack([1 - batch, batch], axis=1)  # noqa: E731
    labels = tiled(run, volume, grid, reduce=lambda p: (p[1] > p[0]).astype(np.uint8))
    assert labels.dtype == np.uint8
    np.testing.assert_array_equal(labels, volume > 0.5)


def test_empty_tiles_are_run_once():
    volume = np.zeros((16, 16, 16), np.uint16)
    volume[0, 0, 0] = 1
    calls = []
    run = lambda batch: calls.append(len(batch)) or np.float32(batch)[:, None] + 0.5  # noqa: E731
    result = tiled(run, volume, plan(volume.shape, tile=(4, 4, 4), overlap=0))
    np.testing.assert_array_equal(result[0], volume + np.float32(0.5))
    assert sum(calls) == 2  # the corner, and one for the other 63


def test_batches_are_full_where_tiles_are_left(rng):
    volume, sizes = rng.random((4, 4, 28), dtype=np.float32), []
    run = lambda batch: sizes.append(len(batch)) or batch[:, None]  # noqa: E731
    tiled(run, volume, plan(volume.shape, tile=(4, 4, 4), overlap=0), batch=3)
    assert sizes == [3, 3, 1]


def test_tiles_count_alike_on_both_sides_of_their_middle(rng):
    """Of a network that says how far from the middle of its tile a voxel is."""
    volume = rng.random((1, 1, 80), dtype=np.float32)
    grid = plan(volume.shape, tile=(1, 1, 32), overlap=0.5)
    middle = (grid.tile[2] - 1) / 2
    result = tiled(lambda batch: (np.indices(batch.shape)[3] - middle)[:, None], volume, grid)[0, 0, 0]
    assert len(grid.starts[2]) > 1
    np.testing.assert_allclose(result, -result[::-1], atol=1e-5)


def test_batches_are_halved_when_the_memory_is_short(rng, capsys):
    volume = rng.random((4, 4, 32), dtype=np.float32)
    sizes = []

    def run(batch):
        sizes.append(len(batch))
        if len(batch) > 2:
            message = "cuda ran out of memory"
            raise MemoryError(message)
        return batch[:, None]

    result = tiled(run, volume, plan(volume.shape, tile=(4, 4, 4), overlap=0), batch=8)
    np.testing.assert_array_equal(result[0], volume)
    assert sizes == [8, 4, 2, 2, 2, 2]  # and never a large one again
    complaints = capsys.readouterr().err.splitlines()
    assert complaints[-1] == "calzoo: cuda ran out of memory; going on with 2 tile(s) at once."
    assert len(complaints) == 2


@pytest.mark.parametrize("limit", [8 * 16 * 16 // 2, 1000, 4 * 4 * 4])
def test_a_tile_too_large_for_the_memory_is_computed_in_parts(rng, capsys, limit):
    volume = rng.random((20, 40, 44), dtype=np.float32)
    sizes = []

    def run(batch):
        sizes.append(batch.size)
        if batch.size > limit:
            message = "cuda ran out of memory"
            raise MemoryError(message)
        assert all(side % 4 == 0 for side in batch.shape[1:])
        return np.stack([batch, 1 - batch], axis=1)

    grid = plan(volume.shape, tile=(8, 16, 16), divisor=(4, 4, 4))
    result = tiled(run, volume, grid, batch=2)
    np.testing.assert_array_equal(result, np.stack([volume, 1 - volume]))
    assert max(sizes[sizes.index(next(n for n in sizes if n <= limit)) :]) <= limit  # never a large one again
    complaints = capsys.readouterr().err.splitlines()
    assert complaints[0] == "calzoo: cuda ran out of memory; going on with 1 tile(s) at once."
    assert complaints[1] == "calzoo: cuda ran out of memory; going on with tiles of 8 x 8 x 16 voxels."


def test_parts_of_a_tile_overlap_and_are_blended(rng):
    run = onnx("smooth")
    volume = rng.random((16, 24, 24), dtype=np.float32)
    grid = plan(volume.shape, tile=(16, 24, 24))

    def short_of_memory(batch):
        if batch.size > 16 * 12 * 15:
            raise MemoryError
        return run(batch)

    whole, parts = tiled(run, volume, grid), tiled(short_of_memory, volume, grid)
    # The network sees one voxel around: only seams differ, and blending keeps them faint.
    assert 0 < np.abs(whole - parts).max() < 0.5 * np.ptp(whole)
    assert np.mean(np.abs(whole - parts) > 1e-5) < 0.35


def test_a_tile_that_does_not_fit_at_any_size_is_a_clear_error(rng):
    def run(batch):
        raise MemoryError

    with pytest.raises(
        CalzooError, match=r"expected memory for one tile of 2 x 2 x 2 voxels.*provider 'cpu'"
    ):
        tiled(run, rng.random((4, 4, 4)), plan((4, 4, 4), tile=(4, 4, 4), divisor=(2, 2, 2)))


def test_progress_counts_every_tile(rng):
    volume = rng.random((9, 20, 23), dtype=np.float32)
    volume[:, :9] = 0
    grid = plan(volume.shape, tile=(4, 8, 8))
    counts = []
    tiled(lambda batch: batch[:, None], volume, grid, batch=3, progress=counts.append)
    assert sum(counts) == np.prod([len(starts) for starts in grid.starts])


def test_impossible_plans_are_refused():
    with pytest.raises(
        CalzooError, match=r"sides of at least 1 and an overlap of 0 to below 1, got.*overlap=1"
    ):
        plan((4, 4, 4), tile=(2, 2, 2), overlap=1)
    with pytest.raises(CalzooError, match=r"got shape=\(0, 4, 4\)"):
        plan((0, 4, 4), tile=(2, 2, 2))


def test_tiles_too_small_for_the_halo_are_refused(rng):
    volume = rng.random((16, 4, 4), dtype=np.float32)
    grid = plan(volume.shape, tile=(4, 4, 4))
    with pytest.raises(CalzooError, match=r"overlap by at least twice the halo \(2, 0, 0\), got tiles of"):
        tiled(lambda batch: batch[:, None], volume, grid, blending="constant", halo=(2, 0, 0))


def test_an_unknown_blending_is_refused():
    grid = plan((4, 4, 4), tile=(4, 4, 4))
    with pytest.raises(CalzooError, match="blending must be one of gaussian, constant; got 'linear'"):
        next(predict(lambda b: b, lambda a, b: np.zeros((4, 4, 4)), grid, blending="linear"))
