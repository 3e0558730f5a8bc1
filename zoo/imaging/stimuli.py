"""Tables that say which neurons were stimulated when.

Two kinds are read, both CSV with one header line; cells are numbered from 1:

=============================== ==========================================================================
one row per stimulus            ``time_s`` or ``frame`` (the first one after the onset, from 0), and the cells
one row per frame               the cells; ``offset``, the frame's number after the onset from 1, tells it
                                from the other kind where there are times too, and a stimulus from the
                                next: without it, and without ``trial``, rows of the same cells in
                                succession are one stimulus
=============================== ==========================================================================

The cells stand in ``cells`` (``3``, ``3+17``; empty: no stimulus), or in ``cell1``,
``cell2``, ... (0: none), or a number in ``condition`` is looked up in a second table
with the columns ``condition`` and cells. ``trial`` (repetition, from 1) and ``group``
(conditions that are compared with each other) may be given.
"""

import csv
import itertools
import math
import os
import re
from dataclasses import dataclass, replace
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calzoo.errors import CalzooError

AFTER = 5  # frames after the onset that show the answer


@dataclass(frozen=True, eq=False)
class Stimuli:
    """Frames with what was stimulated before them.

    Attributes
    ----------
    frames : ndarray of int, (N,)
        Number of each frame in the recording, from 0.
    cells : ndarray of bool, (N, K)
        Which of K cells were stimulated; none of them: no stimulus.
    condition : ndarray of int, (N,)
        Place in `conditions`.
    trial, offset, event : ndarray of int, (N,)
        Repetition of the condition from 1; number of the frame after the onset from 1;
        number of the stimulus from 0.
    conditions : tuple of tuple of int
        Cells of each condition, from 1; the last is () if there are frames without stimulus.
    groups : ndarray of int, (C,)
        Of each condition; 0 where none is known.
    """

    frames: NDArray[np.int64]
    cells: NDArray[np.bool_]
    condition: NDArray[np.int64]
    trial: NDArray[np.int64]
    offset: NDArray[np.int64]
    event: NDArray[np.int64]
    conditions: tuple[tuple[int, ...], ...]
    groups: NDArray[np.int64]

    def __repr__(self) -> str:
        return f"Stimuli({len(self)} frames, {self.cells.shape[1]} cells, {len(self.conditions)} conditions)"

    def __len__(self) -> int:
        return len(self.frames)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the conditions: "3", "3+17", "none"."""
        return tuple("+".join(map(str, cells)) or "none" for cells in self.conditions)

    @property
    def targets(self) -> NDArray[np.float32]:
        """Float32, (N, K + 1): 1 for each stimulated cell, and in the last column for no stimulus."""
        return np.column_stack([self.cells, ~self.cells.any(axis=1)]).astype(np.float32)

    def only(self, rows: NDArray[Any]) -> "Stimuli":
        """Return some of the frames.

        Parameters
        ----------
        rows : ndarray of bool or int
        """
        names = ("frames", "cells", "condition", "trial", "offset", "event")
        return replace(self, **{name: getattr(self, name)[rows] for name in names})


def read_stimuli(
    path: str | os.PathLike[str],
    *,
    frames: int,
    frame_rate_hz: float | None = None,
    conditions: str | os.PathLike[str] | None = None,
    cells: int | None = None,
    after: int = AFTER,
    label: str = "recording",
) -> Stimuli:
    """Read a table of stimuli, or of labels, for a recording.

    Frames that follow no stimulus are frames without stimulus, unless the table has
    rows without cells: then only those are.

    Parameters
    ----------
    path : path-like
    frames : int
        Frames of the recording.
    frame_rate_hz : float, optional
        Frames per second; needed for times.
    conditions : path-like, optional
        Table in which conditions are looked up.
    cells : int, optional
        K; by default the largest number of a cell.
    after : int, optional
        Frames after the onset that count to a stimulus.
    label : str, optional
        What the recording is called in errors.

    Returns
    -------
    Stimuli

    Raises
    ------
    CalzooError
        If `frames` is no number of frames, a column is missing, a value cannot be read, a cell is not one
        of K, or a time lies beyond the recording.

    Examples
    --------
    >>> from calzoo.imaging.outputs import write_table
    >>> write_table("stimuli.csv", {"frame": [4, 12], "cells": ["1", "2+3"]})
    >>> stimuli = read_stimuli("stimuli.csv", frames=20)
    >>> stimuli.names, len(stimuli)
    (('1', '2+3', 'none'), 20)
    """
    path = Path(path)
    if not isinstance(frames, Integral) or frames is True or frames < 1:
        message = (
            f"frames: expected the number of frames of the {label}, a whole number from 1 on, got {frames!r}."
        )
        raise CalzooError(message)
    rows = _read(path, frames)
    names = rows[0].keys()
    found = _cells_of(path, rows, conditions)
    count = _count(path, found, cells)
    per_frame = "offset" in names or not {"time_s", "frame"} & set(names)
    if per_frame:
        return _by_frame(path, rows, found, count, frames, after, label)
    return _by_stimulus(path, rows, found, count, frames, frame_rate_hz, after, label)


def _read(path, frames=0):
    """Read the rows of a table; of one column as many as there are frames, the last ones empty or not."""
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            text = file.read()
    except OSError as error:
        message = f"{path}: expected a table of stimuli (CSV), but it cannot be read ({error.strerror})."
        raise CalzooError(message) from error
    except UnicodeDecodeError as error:
        message = f"{path}: expected a table of stimuli in UTF-8, got other bytes; save it as CSV again."
        raise CalzooError(message) from error
    lines = text.splitlines()
    written = [number for number, line in enumerate(lines) if line.strip()]
    lines, filled = (lines[written[0] :], written[-1] - written[0] + 1) if written else ([""], 1)
    delimiter = max(",;\t", key=lines[0].count)
    if delimiter in lines[0]:
        lines = [line for line in lines if line.strip()]
    else:  # of one column, an empty line is a row without stimulus
        lines = lines[: max(filled, 1 + frames)]
    try:
        names, *values = csv.reader(lines, delimiter=delimiter)
        names = [name.strip().lower() for name in names]
        rows = [
            {name: value.strip() for name, value in itertools.zip_longest(names, row, fillvalue="") if name}
            for row in values
        ]
    except csv.Error as error:
        message = f"{path}: expected a table of stimuli (CSV), got one that cannot be read: {error}."
        raise CalzooError(message) from error
    for i, row in enumerate(values):
        if any(value.strip() for value in row[len(names) :]):
            message = (
                f"{path}: row {i + 2}: expected {len(names)} values, as there are columns, got {len(row)}; "
                "write cells of one stimulus as 3+17."
            )
            raise CalzooError(message)
    if not rows:
        message = f"{path}: expected a table with a header and at least one row, got none."
        raise CalzooError(message)
    return rows


def _cells_of(path, rows, conditions):
    """Return the cells of each row, a sorted tuple."""
    numbered = [name for name in rows[0] if re.fullmatch(r"cell\d+", name)]
    if "cells" in rows[0]:
        return [_parse_cells(path, i, row["cells"]) for i, row in enumerate(rows)]
    if numbered:
        return [_parse_cells(path, i, " ".join(row[name] for name in numbered)) for i, row in enumerate(rows)]
    if "condition" not in rows[0]:
        message = (
            f"{path}: expected the columns 'cells', or 'cell1', 'cell2', ..., or 'condition'; got "
            f"{', '.join(rows[0])}. Name the column of the stimulated cells."
        )
        raise CalzooError(message)
    if conditions is None:
        message = (
            f"{path}: has conditions but no cells; give the table that says which cells each condition "
            "stimulates (columns 'condition' and 'cells')."
        )
        raise CalzooError(message)
    listed = _read(Path(conditions))
    if "condition" not in listed[0]:
        message = f"{conditions}: expected a column 'condition', got {', '.join(listed[0])}."
        raise CalzooError(message)
    known = dict(zip((row["condition"] for row in listed), _cells_of(conditions, listed, None), strict=True))
    for i, row in enumerate(rows):
        if row["condition"] not in known:
            message = (
                f"{path}: row {i + 2} has condition {row['condition']!r}, which {conditions} does not list; "
                "add it there."
            )
            raise CalzooError(message)
    return [known[row["condition"]] for row in rows]


def _parse_cells(path, row, text):
    if text.strip().lower() in ("", "none"):
        return ()
    try:
        numbers = [int(part) for part in re.split(r"[\s;+,/]+", text) if part]
    except ValueError:
        numbers = []
    if min(numbers, default=-1) < 0:
        message = f"{path}: row {row + 2}: expected cells such as 3 or 3+17, got {text!r}."
        raise CalzooError(message)
    return tuple(sorted({n for n in numbers if n}))


def _count(path, found, cells):
    largest = max((max(row) for row in found if row), default=0)
    if not largest:
        message = f"{path}: expected stimulated cells, got rows without any; are the columns right?"
        raise CalzooError(message)
    if cells is not None and largest > cells:
        where = next(i for i, row in enumerate(found) if row and max(row) == largest)
        message = (
            f"{path}: row {where + 2} stimulates cell {largest}, but cells are numbered 1 to {cells}. "
            "Correct the table, or train a network with more cells."
        )
        raise CalzooError(message)
    return cells or largest


def _by_frame(path, rows, found, count, frames, after, label):
    if len(rows) != frames:
        message = (
            f"{path}: expected one row for each of the {frames} frames of {label}, got {len(rows)}. A table "
            "with one row per stimulus needs a column 'time_s' or 'frame'."
        )
        raise CalzooError(message)
    offsets = _numbers(path, rows, "offset", 1)
    starts = _starts(found, offsets, rows)
    event = np.cumsum(starts) - 1
    if offsets is None:
        first = np.flatnonzero(starts)[event]
        offsets = np.arange(len(rows)) - first + 1
    kept = (offsets >= 1) & (offsets <= after)
    heads = np.flatnonzero(starts)
    trials = _trials(path, rows, [found[i] for i in heads], heads)
    made = _stimuli(
        found, count, np.arange(frames), event, trials[event], offsets, _groups(path, rows, found)
    )
    return made if kept.all() else made.only(kept)


def _starts(found, offsets, rows):
    """Tell where a new stimulus begins: where the offset falls back, or the cells or the trial change."""
    starts = np.ones(len(rows), bool)
    for i in range(1, len(rows)):
        same = found[i] == found[i - 1] and rows[i].get("trial") == rows[i - 1].get("trial")
        starts[i] = not same or (offsets is not None and offsets[i] <= offsets[i - 1])
    return starts


def _by_stimulus(path, rows, found, count, frames, rate, after, label):
    onset = _onsets(path, rows, rate)
    late = np.flatnonzero((onset < 0) | (onset >= frames))
    if late.size:
        row = int(late[0])
        what = "frame" if "frame" in rows[0] else "time_s"  # as onsets are read
        message = (
            f"{path}: row {row + 2} has {what} {rows[row][what]}, "
            + (f"which is frame {onset[row]}, " if what == "time_s" else "")
            + f"but {label} has the frames 0 to {frames - 1}"
            + (f" at {rate:g} Hz" if rate and what == "time_s" else "")
            + ". Is it the table of another recording, or the frame rate wrong?"
        )
        raise CalzooError(message)
    order = np.argsort(onset, kind="stable")
    twice = np.flatnonzero(np.diff(onset[order]) == 0)
    if twice.size:
        first, second = order[twice[0]], order[twice[0] + 1]
        message = (
            f"{path}: expected one row for each onset, got frame {onset[first]} in the rows {first + 2} and "
            f"{second + 2}; write the cells of one stimulus in one row, as 3+17."
        )
        raise CalzooError(message)
    trials = _trials(path, rows, found, range(len(rows)))
    claimed = {}  # frame -> (row, offset): a later stimulus takes over
    for row in order:
        for offset in range(after):
            if onset[row] + offset < frames:
                claimed[int(onset[row]) + offset] = (int(row), offset + 1)
    found = list(found)
    groups = _groups(path, rows, found)
    if all(found):  # no rows without stimulus: what is left over shows none
        trials, claimed = _fill(order, onset, trials, claimed, frames, found)
    numbers = np.array(sorted(claimed))
    event, offset = np.array([claimed[n] for n in numbers]).T
    return _stimuli([found[e] for e in event], count, numbers, event, trials[event], offset, groups)


def _fill(order, onset, trials, claimed, frames, found):
    """Let each run of frames between stimuli be an event without stimulus, of the trial before it."""
    trials = list(trials)
    before = None
    for n in range(frames):
        if n in claimed:
            continue
        if n == 0 or (n - 1 in claimed and found[claimed[n - 1][0]]):
            earlier = [row for row in order if onset[row] <= n]
            found.append(())
            trials.append(trials[earlier[-1]] if earlier else trials[order[0]])
            before = n
        claimed[n] = (len(found) - 1, n - before + 1)
    return np.array(trials), claimed


def _onsets(path, rows, rate):
    if "frame" in rows[0]:
        return _numbers(path, rows, "frame", 0)
    if rate is None:
        message = (
            f"{path}: has times, but the frame rate of the recording is not known; give it in Hz, or give "
            "the numbers of the frames in a column 'frame'."
        )
        raise CalzooError(message)
    try:
        times = np.array([float(row["time_s"]) for row in rows])
    except ValueError as error:
        message = f"{path}: expected numbers in the column 'time_s': {error}."
        raise CalzooError(message) from error
    if not np.isfinite(times).all():
        message = f"{path}: expected finite numbers in the column 'time_s'."
        raise CalzooError(message)
    if not np.isfinite(times * rate).all():
        message = f"{path}: expected seconds in the column 'time_s', got one that no recording reaches."
        raise CalzooError(message)
    # The first frame that is not before the onset; a thousandth of a frame forgives rounding.
    return np.array([math.ceil(t * rate - 1e-3) for t in times])


def _numbers(path, rows, name, smallest):
    if name not in rows[0]:
        return None
    numbers = [_whole(row[name]) for row in rows]
    wrong = next((i for i, number in enumerate(numbers) if number < smallest), None)
    if wrong is not None:
        message = (
            f"{path}: row {wrong + 2}: expected whole numbers from {smallest} on in the column {name!r}, got "
            f"{rows[wrong][name]!r}."
        )
        raise CalzooError(message)
    return np.array(numbers)


def _whole(text):
    """Return a whole number, which a spreadsheet may have written as 5.0, or -1."""
    try:
        number = float(text)
    except ValueError:
        return -1
    return int(number) if number.is_integer() and number < 2**53 else -1


def _trials(path, rows, found, heads):
    """Return the trial of each stimulus: as given, or how often its cells were stimulated before."""
    given = _numbers(path, rows, "trial", 1)
    if given is not None:
        return given[list(heads)]
    seen = {}
    trials = []
    for cells in found:
        seen[cells] = seen.get(cells, 0) + 1
        trials.append(seen[cells])
    return np.array(trials)


def _groups(path, rows, found):
    """Return the group of each set of cells."""
    given = _numbers(path, rows, "group", 0)
    groups = {}
    for row, (cells, group) in enumerate(zip(found, [] if given is None else given.tolist(), strict=False)):
        # Frames without stimulus are recorded beside every group.
        if cells and groups.setdefault(cells, group) != group:
            message = (
                f"{path}: row {row + 2}: expected one group for each condition, got group {group} for cells "
                f"{' and '.join(map(str, cells))}, which were in group {groups[cells]} before."
            )
            raise CalzooError(message)
    return groups


def _stimuli(found, count, numbers, event, trial, offset, groups):
    def order(cells):  # singles, then pairs, of each group; no stimulus last
        return (not cells, groups.get(cells, 0), len(cells), cells)

    conditions = tuple(sorted(set(found), key=order))
    place = {cells: i for i, cells in enumerate(conditions)}
    hot = np.zeros((len(found), count), bool)
    for row, cells in enumerate(found):
        hot[row, [c - 1 for c in cells]] = True
    # The group of frames without stimulus says only when they were recorded.
    of_condition = np.array([groups.get(cells, 0) if cells else 0 for cells in conditions])
    return Stimuli(
        np.asarray(numbers),
        hot,
        np.array([place[cells] for cells in found]),
        np.asarray(trial),
        np.asarray(offset),
        np.asarray(event),
        conditions,
        of_condition,
    )
