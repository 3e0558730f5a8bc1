"""Run a network over a volume of any depth, tile by tile, in memory that does not grow with depth.

Tiles of one shape lie on a grid, overlap, and are blended. The tiles of one row
of the grid (one z, one y) are averaged first; rows that no later tile touches go
on to be averaged along z. Only the planes that the next layer of tiles covers
again are kept.
"""

import math
import sys
from dataclasses import dataclass

import numpy as np

from calzoo.errors import CalzooError
from calzoo.imaging.frames import sides_of

BLENDINGS = ("gaussian", "constant")
_ALONE, _AMONG = 1.25, 1.125  # how much longer than the card's a side may be, as the only tile or one of many
_DEEP = 52  # planes, or a quarter more: a stack of 64 is one tile, and a deeper one needs no more memory


@dataclass(frozen=True)
class Grid:
    """Where the tiles of a volume lie.

    Attributes
    ----------
    shape : tuple of int
        Of the volume, (Z, Y, X).
    tile : tuple of int
        Of every tile, (z, y, x), multiples of the network's divisor.
    starts : tuple of tuple of int
        First plane, row and column of the tiles along each axis. They are
        multiples of the divisor, so that pooling sees the same blocks in every
        tile; the last tile of an axis ends at its padded end.
    divisor, overlap
        As for `plan`.
    """

    shape: tuple[int, int, int]
    tile: tuple[int, int, int]
    starts: tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]
    divisor: tuple[int, int, int] = (1, 1, 1)
    overlap: float = 0.25

    @property
    def padded(self):
        """Shape that the tiles cover: the volume's, filled up by reflection."""
        return tuple(starts[-1] + side for starts, side in zip(self.starts, self.tile, strict=True))

    @property
    def count(self):
        """Number of tiles."""
        return math.prod(len(starts) for starts in self.starts)

    @property
    def voxels(self):
        """Voxels that the network sees, those seen twice counted twice."""
        return self.count * math.prod(self.tile)


def plan(shape, *, tile, divisor=(1, 1, 1), overlap=0.25):
    """Choose one tile shape and the places of the tiles for a volume.

    A tile is never larger than the padded volume: a stack of 17 planes is not
    computed as 32. Its sides are a little longer than those of `tile` where fewer
    voxels cover the volume then: one of 70 planes is one tile and not two of 64.
    Where the volume is narrower than `tile`, tiles are deeper, up to some 64 planes.

    Parameters
    ----------
    shape : tuple of int
        Of the volume, (Z, Y, X).
    tile : tuple of int
        What a network was tuned for, and what fits into memory, (z, y, x).
    divisor : tuple of int, optional
        What the sides of a tile must be multiples of.
    overlap : float, optional
        Share of a tile that its neighbour covers again, 0 to below 1; it is
        rounded to a multiple of the divisor, but not to 0 unless a tile is
        no longer than the divisor.

    Returns
    -------
    Grid

    Raises
    ------
    CalzooError
        If a side is below 1, or the overlap is outside its range.
    """
    if min(*shape, *tile, *divisor) < 1 or not 0 <= overlap < 1:
        message = (
            "expected sides of at least 1 and an overlap of 0 to below 1, got "
            f"shape={tuple(shape)}, tile={tuple(tile)}, divisor={tuple(divisor)}, overlap={overlap}."
        )
        raise CalzooError(message)
    axes = [_plan_axis(*sides, overlap) for sides in zip(shape[1:], tile[1:], divisor[1:], strict=True)]
    # Where rows and columns need less than a tile, the memory that is left goes into depth.
    room = math.prod(tile[1:]) / math.prod(side for side, _ in axes)
    deep = max(tile[0], min(int(tile[0] * room), _DEEP))
    axes.insert(0, _plan_axis(shape[0], deep, divisor[0], overlap))
    tile, starts = (tuple(part) for part in zip(*axes, strict=True))
    return Grid(tuple(shape), tile, starts, tuple(divisor), overlap)


def _plan_axis(size, tile, divisor, overlap):
    """Return the side of the tiles along one axis and their starts."""
    blocks = math.ceil(size / divisor)  # in units of the divisor from here on
    usual = max(tile // divisor, 1)
    if blocks <= usual * _ALONE:
        return blocks * divisor, (0,)
    # Little more than the card's, never less: memory must not depend on how deep a stack is.
    sides = range(usual, int(usual * _AMONG) + 1)
    # Fewest voxels; of equal ones the larger tiles, which see more around each voxel.
    side = min(sides, key=lambda side: (_count(blocks, side, overlap) * side, -side))
    count = _count(blocks, side, overlap)
    # Evenly spread: what the last tile must be shifted back is shared by all.
    starts = [round(i * (blocks - side) / (count - 1)) for i in range(count)]
    return side * divisor, tuple(start * divisor for start in starts)


def _count(blocks, side, overlap):
    """Return how many tiles of `side` cover an axis."""
    step = round(side * (1 - overlap))
    if overlap:
        step = min(step, side - 1)
    return 1 + math.ceil((blocks - side) / max(step, 1))


def predict(
    run,
    read,
    grid,
    *,
    blending="gaussian",
    halo=(0, 0, 0),
    batch=1,
    reduce=None,
    progress=None,
):
    """Run a network over a volume and yield finished planes, first to last.

    Where tiles overlap, their results are averaged with weights that fall from
    the centre of a tile to its edge ("gaussian", a standard deviation of an
    eighth of the tile) or that are equal but for `halo` voxels at inner edges,
    which do not count ("constant"). Equal results stay equal to the last bit.
    Tiles of one value (padding) are run once, not again.

    Parameters
    ----------
    run : callable
        From a batch (B, z, y, x) to probabilities (B, C, z, y, x) float32. A
        MemoryError halves the batch for the rest of the volume, and after that the
        tile: each is then computed in parts, which overlap and are blended as well.
    read : callable
        ``read(start, stop)`` returns planes (n, Y, X) of any dtype; `run` gets
        what it returned, so that only one batch at a time is made float32.
    grid : Grid
        From `plan`.
    blending : {"gaussian", "constant"}, optional
        How overlapping tiles are averaged.
    halo : tuple of int, optional
        For "constant": half of the network's receptive field, so that what remains
        is what the network gives on the whole volume.
    batch : int, optional
        Tiles that are run at once.
    reduce : callable, optional
        From probabilities (C, n, y, x) of any block of finished voxels to what is
        kept of them, (n, y, x) or (C', n, y, x); all of them where absent.
    progress : callable, optional
        Called with the number of tiles that were just finished.

    Yields
    ------
    ndarray
        Planes (..., n, Y, X) as `reduce` made them, in order.

    Raises
    ------
    CalzooError
        If the smallest tile is too large for the memory, or the tiles do not overlap
        enough for the halo.
    """
    runner = _Runner(run, batch, progress or (lambda tiles: None), grid)
    reduce = reduce or (lambda probability: probability)
    yield from _slabs(runner, read, grid, _windows(grid, blending, halo), reduce)


def _slabs(runner, read, grid, windows, reduce):
    """Yield the finished planes of a volume, layer by layer."""
    carry = None  # mean (C, n, Y, X) of the planes that the next layer covers again
    seen = np.zeros(0, np.float32)  # weight along z of what `carry` holds
    starts, depth = grid.starts[0], grid.tile[0]
    for layer, start in enumerate(starts):
        planes = _read_padded(read, start, grid)
        window = windows[0][layer]
        last = layer + 1 == len(starts)
        finished = depth if last else starts[layer + 1] - start
        weight_before = np.pad(seen, (0, depth - len(seen)))
        weight = weight_before + window
        share = np.divide(window, weight, out=np.zeros_like(window), where=weight > 0)
        done, kept = [], None
        for rows, mean in _rows(runner, planes, grid, windows):
            covered = len(seen)
            if covered:
                before = carry[:, :, rows]
                mean[:, :covered] = before + share[:covered, None, None] * (mean[:, :covered] - before)
            done.append(reduce(mean[:, :finished]))
            if not last:
                if kept is None:
                    kept = np.empty((len(mean), depth - finished, grid.padded[1], grid.padded[2]), np.float32)
                kept[:, :, rows] = mean[:, finished:]
        carry, seen = kept, weight[finished:]
        height, width = grid.shape[1:]
        slab = np.concatenate(done, axis=-2)[..., :height, :width]
        yield slab[..., : grid.shape[0] - start, :, :]


def _rows(runner, planes, grid, windows):
    """Yield (slice of rows, mean (C, z, rows, X)) of one layer, each row once."""
    strip = None
    starts, height = grid.starts[1], grid.tile[1]
    seen = np.zeros(0, np.float32)
    across = _sums_before(grid.starts[2], grid.tile[2], windows[2], grid.padded[2])
    total = across[-1]
    for row, start in enumerate(starts):
        window = windows[1][row]
        below = np.pad(seen, (0, height - len(seen)))
        tiles = (planes[:, start : start + height, x : x + grid.tile[2]] for x in grid.starts[2])
        fresh = None
        for column, tile in enumerate(runner.results(tiles)):
            x = slice(grid.starts[2][column], grid.starts[2][column] + grid.tile[2])
            if fresh is None:
                fresh = np.zeros((len(tile), grid.tile[0], height, grid.padded[2]), np.float32)
                if strip is not None:
                    fresh[:, :, : strip.shape[2]] = strip
            # Weight of all that this mean holds already: rows above, and tiles to the left.
            own = np.outer(window, windows[2][column])
            before = np.outer(below, total[x]) + np.outer(window, across[column][x])
            weight = before + own
            share = np.divide(own, weight, out=np.zeros_like(own), where=weight > 0)
            target = fresh[..., x]
            target += share * (tile - target)
        last = row + 1 == len(starts)
        finished = height if last else starts[row + 1] - start
        yield slice(start, start + finished), fresh[:, :, :finished]
        strip, seen = fresh[:, :, finished:], (below + window)[finished:]


def _sums_before(starts, side, windows, size):
    """Return, for each tile of an axis and for the end, the summed windows of the tiles before it."""
    sums = np.zeros((len(starts) + 1, size), np.float32)
    for i, (start, window) in enumerate(zip(starts, windows, strict=True)):
        sums[i + 1] = sums[i]
        sums[i + 1, start : start + side] += window
    return sums


class _Runner:
    """Runs tiles in batches; remembers the result of tiles of one value."""

    def __init__(self, run, batch, progress, grid):
        self._run = run
        self._batch = batch
        self._progress = progress
        self._grid = grid
        self._part = grid.tile  # what is run at once: less where a tile is too large for the memory
        self._constant = None  # (value, result) of the last tile that held nothing else

    def results(self, tiles):
        """Yield the result (C, z, y, x) of each tile, in order."""
        waiting = []
        for tile in tiles:
            if _is_constant(tile):
                yield from self._results(waiting)
                waiting = []
                yield self._result_of_constant(tile)
                self._progress(1)
                continue
            waiting.append(tile)
            if len(waiting) >= self._batch:
                yield from self._results(waiting)
                waiting = []
        yield from self._results(waiting)

    def _result_of_constant(self, tile):
        value = tile.flat[0]
        if self._constant is None or self._constant[0] != value:
            self._constant = value, self._run_batch([tile])[0]
        return self._constant[1]

    def _results(self, tiles):
        done = 0
        while done < len(tiles):
            results = self._run_batch(tiles[done : done + self._batch])
            yield from results
            done += len(results)
            self._progress(len(results))

    def _run_batch(self, tiles):
        """Return the results of as many of the first tiles as the memory allows."""
        while True:
            try:
                if self._part != self._grid.tile:
                    return [self._in_parts(tiles[0])]
                return self._run(np.stack(tiles[: self._batch]))
            except MemoryError as error:
                self._halve(error)

    def _halve(self, error):
        if self._batch > 1:
            self._batch //= 2
            going_on = f"{self._batch} tile(s) at once"
        else:
            self._part = self._smaller(error)
            going_on = f"tiles of {sides_of(self._part)} voxels"
        print(f"calzoo: {error or 'out of memory'}; going on with {going_on}.", file=sys.stderr)

    def _smaller(self, error):
        """Return the part with its longest side halved, in whole units of the divisor."""
        blocks = [side // unit for side, unit in zip(self._part, self._grid.divisor, strict=True)]
        sides = [side if count > 1 else 0 for side, count in zip(self._part, blocks, strict=True)]
        longest = sides.index(max(sides))
        if not sides[longest]:
            message = (
                f"expected memory for one tile of {sides_of(self._part)} voxels, got none "
                f"({error}); close other programs, or use provider 'cpu'."
            )
            raise CalzooError(message) from error
        half = -(-blocks[longest] // 2) * self._grid.divisor[longest]
        return tuple(half if axis == longest else side for axis, side in enumerate(self._part))

    def _in_parts(self, tile):
        """Return the result (C, z, y, x) of a tile that is computed as a small volume of its own."""
        grid = plan(tile.shape, tile=self._part, divisor=self._grid.divisor, overlap=self._grid.overlap)
        slabs = _slabs(
            _Simple(self._run),
            lambda start, stop: tile[start:stop],
            grid,
            _windows(grid, "gaussian", (0, 0, 0)),
            lambda probability: probability,
        )
        return np.concatenate(list(slabs), axis=1)


class _Simple:
    """Runs one tile after the other; running out of memory is the caller's affair."""

    def __init__(self, run):
        self._run = run

    def results(self, tiles):
        """Yield the result (C, z, y, x) of each tile."""
        for tile in tiles:
            yield self._run(np.ascontiguousarray(tile)[None])[0]


def _is_constant(tile):
    value = tile.flat[0]
    # The corner tells at once in nearly every tile.
    return tile[-1, -1, -1] == value and bool((tile == value).all())


def _windows(grid, blending, halo):
    """Return, for each axis, the weights along it of each tile."""
    if blending not in BLENDINGS:
        message = f"blending must be one of {', '.join(BLENDINGS)}; got {blending!r}."
        raise CalzooError(message)
    windows = []
    for starts, side, edge in zip(grid.starts, grid.tile, halo, strict=True):
        if blending == "gaussian":
            windows.append([_gaussian(side)] * len(starts))
            continue
        axis = [np.ones(side, np.float32) for _ in starts]
        for i, window in enumerate(axis):
            window[: edge if i else 0] = 0
            window[side - edge if i + 1 < len(axis) else side :] = 0
        covered = _sums_before(starts, side, axis, starts[-1] + side)[-1]
        if covered.min() == 0:
            message = (
                f"expected tiles that overlap by at least twice the halo {tuple(halo)}, got tiles of "
                f"{grid.tile}; use larger tiles or a larger overlap."
            )
            raise CalzooError(message)
        windows.append(axis)
    return windows


def _gaussian(side):
    offset = np.arange(side) - (side - 1) / 2
    # At the edge, four standard deviations out, 3e-4 is left: no weight is 0, none needs a floor.
    return np.exp(-0.5 * (offset / (side / 8)) ** 2).astype(np.float32)


def _read_padded(read, start, grid):
    """Read one layer of tiles from a volume that goes on as its mirror image."""
    z, y, x = (
        _mirror(first, count, size)
        for first, count, size in zip(
            (start, 0, 0), (grid.tile[0], *grid.padded[1:]), grid.shape, strict=True
        )
    )
    planes = read(z.min(), z.max() + 1)
    if not np.array_equal(z, np.arange(z.min(), z.max() + 1)):
        planes = planes[z - z.min()]
    return planes if planes.shape[1:] == grid.padded[1:] else planes[:, y[:, None], x]


def _mirror(first, count, size):
    """Return indices of a line of `size` that is reflected at its ends, the ends not repeated."""
    period = max(2 * (size - 1), 1)
    position = np.arange(first, first + count) % period
    return np.minimum(position, period - position) if size > 1 else np.zeros(count, int)
