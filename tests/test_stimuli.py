"""Tables of stimuli: both kinds are read, and what does not fit is said."""

import numpy as np
import pytest

from calzoo.errors import CalzooError
from calzoo.imaging.stimuli import read_stimuli


def write(path, *lines):
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def table(tmp_path):
    return tmp_path / "stimuli.csv"


def test_each_stimulus_claims_the_frames_after_its_onset(table):
    write(table, "time_s,cells", "1.0,2", "4.5,1+3")
    stimuli = read_stimuli(table, frames=20, frame_rate_hz=2, after=3)
    some = stimuli.cells.any(axis=1)
    np.testing.assert_array_equal(stimuli.frames[some], [2, 3, 4, 9, 10, 11])
    np.testing.assert_array_equal(stimuli.offset[some], [1, 2, 3, 1, 2, 3])
    assert stimuli.names == ("2", "1+3", "none")
    np.testing.assert_array_equal(stimuli.cells[stimuli.frames == 10], [[True, False, True]])
    np.testing.assert_array_equal(stimuli.targets[stimuli.frames == 2], [[0, 1, 0, 0]])


def test_frames_between_stimuli_show_none(table):
    write(table, "frame,cells", "2,1", "8,1")
    stimuli = read_stimuli(table, frames=12, after=3)
    none = ~stimuli.cells.any(axis=1)
    np.testing.assert_array_equal(stimuli.frames[none], [0, 1, 5, 6, 7, 11])
    np.testing.assert_array_equal(stimuli.trial[none], [1, 1, 1, 1, 1, 2])
    assert len(set(stimuli.event[none])) == 3
    np.testing.assert_array_equal(stimuli.targets[none][:, -1], 1)


def test_rows_without_cells_are_the_only_frames_without_stimulus(table):
    write(table, "frame,cells", "0,1", "6,", "9,none")
    stimuli = read_stimuli(table, frames=12, after=2)
    np.testing.assert_array_equal(stimuli.frames, [0, 1, 6, 7, 9, 10])
    np.testing.assert_array_equal(stimuli.cells[:, 0], [1, 1, 0, 0, 0, 0])


def test_trials_are_counted_where_they_are_not_given(table):
    write(table, "frame,cells", "0,1", "2,2", "4,1", "6,1+2", "8,1")
    stimuli = read_stimuli(table, frames=10, after=1)
    first = stimuli.cells.any(axis=1)
    np.testing.assert_array_equal(stimuli.trial[first], [1, 1, 2, 1, 3])


def test_labels_are_read_frame_by_frame(table):
    write(
        table,
        "condition,cell1,cell2,group,trial,offset",
        "7,2,0,1,1,1",
        "7,2,0,1,1,2",
        "9,1,2,1,1,1",
        "9,1,2,1,1,2",
        "109,0,0,1,1,1",
        "7,2,0,1,2,1",
    )
    stimuli = read_stimuli(table, frames=6)
    np.testing.assert_array_equal(stimuli.event, [0, 0, 1, 1, 2, 3])
    np.testing.assert_array_equal(stimuli.trial, [1, 1, 1, 1, 1, 2])
    assert stimuli.conditions == ((2,), (1, 2), ())
    np.testing.assert_array_equal(stimuli.groups, [1, 1, 0])
    np.testing.assert_array_equal(stimuli.condition, [0, 0, 1, 1, 2, 0])


def test_a_condition_of_two_groups_is_refused(table):
    write(table, "frame,cells,group,trial", "0,2,1,1", "2,,1,1", "4,3,2,1", "6,,2,1", "8,2,2,2")
    with pytest.raises(
        CalzooError, match=r"row 6: expected one group .* group 2 for cells 2, .* group 1 before"
    ):
        read_stimuli(table, frames=10, after=1)


def test_conditions_are_looked_up(table, tmp_path):
    write(table, "condition", "5", "5", "6", "8")
    listed = write(tmp_path / "conditions.csv", "condition,cells", "5,4", "6,2+4", "8,")
    stimuli = read_stimuli(table, frames=4, conditions=listed)
    assert [stimuli.conditions[c] for c in stimuli.condition] == [(4,), (4,), (2, 4), ()]
    assert stimuli.cells.shape == (4, 4)
    np.testing.assert_array_equal(stimuli.offset, [1, 2, 1, 1])


def test_tables_of_spreadsheets_are_read(table):
    table.write_bytes("\ufeffFrame;Cells\r\n0;3 1\r\n4;2\r\n".encode())
    stimuli = read_stimuli(table, frames=6, after=2)
    assert stimuli.names == ("2", "1+3", "none")


def test_blank_lines_and_empty_columns_count_for_nothing(table):
    write(table, "", " ", "frame,cell1,cell2,trial", "0,1,,1", "", "5.0,,,1")
    stimuli = read_stimuli(table, frames=10)
    assert stimuli.names == ("1", "none")
    np.testing.assert_array_equal(stimuli.frames, range(10))


def test_an_empty_line_of_the_only_column_is_no_stimulus(table):
    write(table, "", "cells", "1", "", "2", "", "", "none", "")
    stimuli = read_stimuli(table, frames=6)
    assert [stimuli.names[c] for c in stimuli.condition] == ["1", "none", "2", "none", "none", "none"]


def test_the_last_frames_may_be_without_stimulus(table):
    for ends in ([""] * 3, [""] * 5):  # editors add lines
        table.write_text("\n".join(["cells", "3", "", "2", *ends]))
        found = read_stimuli(table, frames=5)
        assert [found.names[c] for c in found.condition] == ["3", "none", "2", "none", "none"]


def test_rows_of_the_same_cells_in_succession_are_one_stimulus_unless_offset_or_trial_part_them(table):
    write(table, "cells", "1", "1", "2", "2")
    np.testing.assert_array_equal(read_stimuli(table, frames=4).event, [0, 0, 1, 1])
    write(table, "cells,offset", "1,1", "1,1", "2,1", "2,2")
    np.testing.assert_array_equal(read_stimuli(table, frames=4).event, [0, 1, 2, 2])
    write(table, "cells,trial", "1,1", "1,2", "2,1", "2,1")
    np.testing.assert_array_equal(read_stimuli(table, frames=4).event, [0, 1, 2, 2])


def test_some_rows_can_be_taken(table):
    write(table, "frame,cells", "0,1", "4,2")
    stimuli = read_stimuli(table, frames=6, after=2)
    part = stimuli.only(stimuli.cells[:, 1])
    np.testing.assert_array_equal(part.frames, [4, 5])
    assert part.names == stimuli.names


@pytest.mark.parametrize(
    ("lines", "options", "match"),
    [
        (
            ["time_s,cells", "12.0,1"],
            {"frame_rate_hz": 2},
            r"row 2 has time_s 12.0, .* frame 24, .* 0 to 19 at 2",
        ),
        (["frame,cells", "3,1", "20,1"], {}, r"row 3 has frame 20, but recording has the frames 0 to 19"),
        (["frame,cells", "3,1", "9,2", "3,17"], {}, r"frame 3 in the rows 2 and 4; write .* as 3\+17"),
        (["time_s,cells", "1.1,1", "1.2,2"], {"frame_rate_hz": 2}, r"frame 3 in the rows 2 and 3"),
        (["time_s,cells", "1,1"], {}, "frame rate of the recording is not known"),
        (["time_s,cells", "soon,1"], {"frame_rate_hz": 2}, "expected numbers in the column 'time_s'"),
        (["time_s,cells", "nan,1"], {"frame_rate_hz": 2}, "expected finite numbers"),
        (["frame,cells", "1.x,1"], {}, "whole numbers from 0 on in the column 'frame'"),
        (["frame,cells", "1,1", "5.9,1"], {}, r"row 3: expected whole numbers .* 'frame', got '5\.9'"),
        (["frame,cells", "inf,1"], {}, "got 'inf'"),
        (["frame,cells", "1,+"], {}, r"row 2: expected cells such as 3 or 3\+17, got '\+'"),
        (
            ["frame,cells", "1," + "9" * 140_000],
            {},
            r"table of stimuli \(CSV\), got one that cannot be read: ",
        ),
        (["frame,cells", "1,3,17"], {}, r"row 2: expected 2 values, .* got 3; write cells .* as 3\+17"),
        (["frame,cells", "1,five"], {}, r"row 2: expected cells such as 3 or 3\+17, got 'five'"),
        (["frame,cells", "1,-2"], {}, "row 2: expected cells"),
        (["frame,cells", "1,7"], {"cells": 6}, "row 2 stimulates cell 7, but cells are numbered 1 to 6"),
        (["frame,cells", "1,"], {}, "rows without any"),
        (["frame,neuron", "1,2"], {}, "expected the columns 'cells', .* got frame, neuron"),
        (["frame,condition", "1,2"], {}, "has conditions but no cells"),
        (["cells", "1", "2"], {}, "one row for each of the 20 frames of recording, got 2"),
        (["frame,cells,trial", "1,2,0"], {}, "whole numbers from 1 on in the column 'trial'"),
        (["frame,cells"], {}, "at least one row, got none"),
        ([""], {}, "at least one row, got none"),
    ],
)
def test_what_cannot_be_meant_is_refused(table, lines, options, match):
    write(table, *lines)
    with pytest.raises(CalzooError, match=match):
        read_stimuli(table, frames=20, **options)


@pytest.mark.parametrize("frames", ["a", 0, 2.5, True])
def test_frames_that_are_no_number_of_them_are_refused(table, frames):
    write(table, "frame,cells", "1,2")
    with pytest.raises(CalzooError, match="frames: expected the number of frames of the recording, a whole"):
        read_stimuli(table, frames=frames)


def test_a_condition_that_is_not_listed_is_refused(table, tmp_path):
    write(table, "condition", "5", "6")
    listed = write(tmp_path / "conditions.csv", "condition,cells", "5,4")
    with pytest.raises(CalzooError, match=r"row 3 has condition '6', which .*conditions\.csv does not list"):
        read_stimuli(table, frames=2, conditions=listed)


def test_a_file_that_is_no_table_is_refused(tmp_path):
    with pytest.raises(CalzooError, match="cannot be read"):
        read_stimuli(tmp_path / "none.csv", frames=2)
    (tmp_path / "bytes.csv").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(CalzooError, match="in UTF-8"):
        read_stimuli(tmp_path / "bytes.csv", frames=2)
