"""Results are there as a whole or not at all."""

import csv
import json
import math
import os
import shutil
import subprocess
import sys
import tracemalloc
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

import calzoo
from calzoo.errors import CalzooError
from calzoo.imaging.outputs import (
    output_file,
    output_folder,
    shown_name,
    source_facts,
    write_run_json,
    write_table,
)
from calzoo.imaging.parts import check_part, make_part
from calzoo.imaging.writers import VolumeWriter


def fail_after_writing(path, error):
    path.write_text("half")
    raise error


def test_a_folder_gets_its_name_when_it_is_finished(tmp_path):
    with output_folder(tmp_path / "new" / "result") as folder:
        (folder / "a.txt").write_text("a")
        assert not (tmp_path / "new" / "result").exists()
    assert (tmp_path / "new" / "result" / "a.txt").read_text() == "a"
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["result"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_a_folder_that_is_not_finished_leaves_nothing(tmp_path, error):
    with pytest.raises(error), output_folder(tmp_path / "result") as folder:
        fail_after_writing(folder / "a.txt", error)
    assert list(tmp_path.iterdir()) == []


def test_the_current_folder_is_a_folder(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with output_folder(".") as folder:
        (folder / "a.txt").write_text("a")
    assert [p.name for p in tmp_path.iterdir()] == ["here"]
    assert (tmp_path / "here" / "a.txt").read_text() == "a"


def test_an_error_leaves_the_earlier_result_as_it_was(tmp_path):
    (tmp_path / "result").mkdir()
    (tmp_path / "result" / "a.txt").write_text("old")
    with pytest.raises(KeyboardInterrupt), output_folder(tmp_path / "result") as folder:
        fail_after_writing(folder / "a.txt", KeyboardInterrupt)
    assert (tmp_path / "result" / "a.txt").read_text() == "old"


def test_a_folder_that_is_there_keeps_what_is_not_ours(tmp_path):
    result = tmp_path / "result"
    (result / "sub").mkdir(parents=True)
    for name in ("notes.txt", "a.txt", "run.json", "sub/c.txt"):
        (result / name).write_text("old")
    with output_folder(result) as folder:
        (folder / "sub").mkdir()
        for name in ("a.txt", "sub/b.txt"):
            (folder / name).write_text("new")
    found = {p.relative_to(result).as_posix(): p.read_text() for p in result.rglob("*") if p.is_file()}
    # No run.json came: the old one must not vouch for the new files.
    assert found == {"notes.txt": "old", "a.txt": "new", "sub/b.txt": "new", "sub/c.txt": "old"}


def test_the_remains_of_a_killed_run_are_cleared(tmp_path):
    make_part(tmp_path / "result.part")
    (tmp_path / "result.part" / "old.txt").touch()
    with output_folder(tmp_path / "result") as folder:
        assert not (folder / "old.txt").exists()
    assert list((tmp_path / "result").iterdir()) == []


HOLD = """
import sys
from pathlib import Path
from calzoo.imaging.parts import make_part
make_part(Path(sys.argv[1]), "register")
print("held", flush=True)
sys.stdin.read()
"""


@pytest.mark.skipif(os.name != "posix", reason="there are no such locks")
def test_a_result_that_another_process_writes_is_left_alone(tmp_path):
    part = tmp_path / "result.part"
    command = [sys.executable, "-c", HOLD, str(part)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        (part / "work.txt").touch()
        with pytest.raises(CalzooError, match="a process that still runs is writing this result"):
            output_folder(tmp_path / "result").__enter__()
        process.kill()
        process.wait()
    # What the other can go on with is not thrown away by a command that cannot.
    with pytest.raises(
        CalzooError, match=r"holds what 'calzoo register' has done .* finish it by the same command"
    ):
        output_folder(tmp_path / "result").__enter__()
    assert (part / "work.txt").exists()
    check_part(part, "register")


def test_what_a_call_in_this_process_left_is_in_nobodys_way(tmp_path):
    with output_folder(tmp_path / "result") as outer:
        (outer / "old.txt").touch()
        with output_folder(tmp_path / "result") as folder:
            assert not (folder / "old.txt").exists()


def test_an_error_of_reading_is_not_called_one_of_writing(tmp_path):
    missing = tmp_path / "movie.tif"
    with pytest.raises(FileNotFoundError), output_folder(tmp_path / "result"):
        missing.read_bytes()
    with (
        pytest.raises(CalzooError, match="result: cannot be written"),
        output_folder(tmp_path / "result") as folder,
    ):
        (folder / "missing" / "a.txt").write_text("a")
    assert list(tmp_path.iterdir()) == []


WRITERS = [output_file, output_folder, lambda p: VolumeWriter(p, (1, 8, 8), "uint8")]


@pytest.mark.parametrize("write", WRITERS)
def test_work_does_not_begin_where_a_folder_of_the_user_stands(tmp_path, write):
    mine = tmp_path / "result.part" / "notes.txt"
    mine.parent.mkdir()
    mine.write_text("mine")
    with pytest.raises(CalzooError, match=r"result\.part: work goes there.*move or remove it"):
        write(tmp_path / "result").__enter__()
    assert mine.read_text() == "mine"


@pytest.mark.parametrize("write", WRITERS)
def test_a_file_that_a_killed_process_left_is_replaced(tmp_path, write):
    (tmp_path / "result.part").write_text("half a result")
    with pytest.raises(KeyboardInterrupt), write(tmp_path / "result"):
        raise KeyboardInterrupt
    assert not (tmp_path / "result.part").exists()


def test_what_only_an_earlier_result_has_goes(tmp_path):
    names = ["stale.txt", "sub/empty/stale.txt", "full/stale.txt", "full/mine.txt"]
    for name in names:
        (tmp_path / "result" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "result" / name).touch()

    def left(kept):
        with output_folder(tmp_path / "result", stale=names[:3] + ["sub/none.txt"]) as folder:
            (folder / "run.json").touch()
        found = [p.relative_to(tmp_path / "result").as_posix() for p in (tmp_path / "result").rglob("*")]
        assert sorted(found) == sorted(kept)

    left([*names, "run.json", "sub", "sub/empty", "full"])  # no run.json: not calzoo's
    left(["full", "full/mine.txt", "run.json"])


@pytest.mark.parametrize("source", ["result", "result/a.txt", "result/sub", "result/old"])
def test_an_input_is_never_replaced(tmp_path, source):
    result = tmp_path / "result"
    for name in ("sub", "old"):
        (result / name).mkdir(parents=True)
    for name in ("a.txt", "sub/b.txt", "old/c.txt", "run.json"):
        (result / name).write_text("raw")
    new = shutil.copytree(result, tmp_path / "new", ignore=shutil.ignore_patterns("old"))
    reason = r"an input, which is never replaced|belongs to the input.*another -o"
    with (
        pytest.raises(CalzooError, match=reason),
        output_folder(result, stale=["old"], inputs=[tmp_path / source]) as folder,
    ):
        shutil.copytree(new, folder, dirs_exist_ok=True)
    shutil.rmtree(new)
    assert [p.name for p in tmp_path.iterdir()] == ["result"]
    assert {p.read_text() for p in result.rglob("*") if p.is_file()} == {"raw"}
    assert len(list(result.rglob("*"))) == 6


@pytest.mark.parametrize("source", ["result/raw.txt", "."])
def test_results_may_stand_beside_an_input_or_in_one(tmp_path, source):
    (tmp_path / "result").mkdir()
    (tmp_path / "result" / "raw.txt").write_text("raw")
    for _ in range(2):
        with output_folder(tmp_path / "result", inputs=[tmp_path / source]) as folder:
            for name in ("a.txt", "run.json"):
                (folder / name).write_text("new")
    assert sorted(p.name for p in (tmp_path / "result").iterdir()) == ["a.txt", "raw.txt", "run.json"]


@pytest.mark.parametrize("name", ["suite2p/plane0/F.npy", "b.zarr/0/c"])
def write_result(path, names):
    with output_folder(path) as folder:
        for name in names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text("new")


@pytest.mark.parametrize("name", ["suite2p/plane0/F.npy", "b.zarr/0/c"])
def test_files_that_are_no_result_of_calzoo_are_not_replaced(tmp_path, name):
    theirs = tmp_path / "result" / name
    theirs.parent.mkdir(parents=True)
    theirs.write_text("theirs")
    with pytest.raises(CalzooError, match=r"a result of calzoo \(run\.json\), got one.*give another -o"):
        write_result(tmp_path / "result", ["suite2p/plane0/F.npy", "b.zarr/0/d", "run.json"])
    assert [p.read_text() for p in tmp_path.rglob("*") if p.is_file()] == ["theirs"]


def test_what_a_killed_process_has_half_replaced_is_calzoos(tmp_path, monkeypatch):
    names = ["a.txt", "b.txt", "run.json"]
    replace = os.replace

    def killed(source, target):
        if Path(target).name == "b.txt":
            raise KeyboardInterrupt
        replace(source, target)

    write_result(tmp_path / "result", names)
    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        write_result(tmp_path / "result", names)
    assert not (tmp_path / "result" / "run.json").exists()
    monkeypatch.undo()
    write_result(tmp_path / "result", names)
    assert sorted(p.name for p in (tmp_path / "result").iterdir()) == names


def test_a_folder_cannot_take_the_name_of_a_file(tmp_path):
    (tmp_path / "result").touch()
    with (
        pytest.raises(CalzooError, match="expected a folder for the results, got a file"),
        output_folder(tmp_path / "result"),
    ):
        pass


def test_the_root_of_the_disk_is_no_result():
    with pytest.raises(CalzooError, match="got the root of the disk; name one inside it"), output_folder("/"):
        pass


def test_names_that_are_not_utf8_are_written_as_what_they_are(tmp_path):
    name = os.fsdecode(b"Zelle_\xe4.tif")
    (tmp_path / name).write_bytes(b"x")
    write_run_json(tmp_path, input=tmp_path / name)
    facts = json.loads((tmp_path / "run.json").read_text(encoding="utf-8"))
    assert facts["source"] == source_facts(tmp_path / name)
    assert shown_name(tmp_path / name) == "Zelle_\N{REPLACEMENT CHARACTER}.tif"
    assert shown_name("lab/Zelle_\N{LATIN SMALL LETTER A WITH DIAERESIS}.tif")[6] == "\xe4"


def test_a_file_is_replaced_by_a_finished_one_only(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), output_file(path) as part:
        fail_after_writing(part, KeyboardInterrupt)
    assert path.read_text() == "old"
    with output_file(path) as part:
        part.write_text("new")
    assert path.read_text() == "new"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_a_full_disk_is_named(tmp_path):
    with (
        pytest.raises(CalzooError, match=r"a\.txt: cannot be written \(No space left on device\); check"),
        output_file(tmp_path / "a.txt"),
    ):
        raise OSError(28, "No space left on device")


def test_a_file_needs_a_name_in_a_folder_that_is_there(tmp_path):
    with pytest.raises(CalzooError, match="got a folder; give a name inside it"), output_file(tmp_path):
        pass
    with pytest.raises(CalzooError, match="there is no folder"), output_file(tmp_path / "no" / "a.txt"):
        pass


def test_a_table_has_positions_first_and_empty_cells_for_what_is_unknown(tmp_path):
    columns = {
        "length_um": [1.5, math.nan, 1 / 3],
        "score": np.float32([0.5, 1, 0]),
        "name": ["a", "b,c", None],
        "x": np.array([1, 2, 3]),
        "y": [4, 5, 6],
        "kept": [True, False, True],
    }
    write_table(tmp_path / "t.csv", columns)
    text = (tmp_path / "t.csv").read_text(encoding="utf-8")
    assert text == 'y,x,score,length_um,name,kept\n4,1,0.5,1.5,a,1\n5,2,1,,"b,c",0\n6,3,0,0.3333333,,1\n'
    with open(tmp_path / "t.csv", newline="", encoding="utf-8") as file:
        assert next(csv.DictReader(file))["length_um"] == "1.5"


def test_a_table_may_be_empty_but_not_ragged(tmp_path):
    write_table(tmp_path / "t.csv", {"y": [], "x": []})
    assert (tmp_path / "t.csv").read_text() == "y,x\n"
    with pytest.raises(ValueError, match="columns of one length"):
        write_table(tmp_path / "t.csv", {"y": [1], "x": []})


def test_memory_of_a_table_is_not_that_of_all_its_values(tmp_path):
    columns = {f"cell_{number}": np.linspace(0, number, 20_000, dtype=np.float32) for number in range(30)}
    tracemalloc.start()
    write_table(tmp_path / "traces.csv", columns)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10e6  # all values at once: 41e6
    with open(tmp_path / "traces.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    assert rows[0] == list(columns)
    np.testing.assert_allclose(np.float32(rows[1:]), np.stack(list(columns.values()), axis=1), rtol=1e-6)


def test_a_run_is_recorded_in_plain_json(tmp_path):
    @dataclass(frozen=True)
    class Options:
        size: tuple
        path: Path

    write_run_json(
        tmp_path,
        seconds=np.float32(1.5),
        missing=math.nan,
        shape=np.array([1, 2]),
        options=Options((np.int64(3),), Path("a") / "b"),
        counts={1: True, "none": None},
    )
    record = json.loads((tmp_path / "run.json").read_text(encoding="utf-8"))
    assert record.pop("written").endswith("+00:00")
    assert record == {
        "calzoo": calzoo.__version__,
        "seconds": 1.5,
        "missing": None,
        "shape": [1, 2],
        "options": {"size": [3], "path": str(Path("a") / "b")},
        "counts": {"1": True, "none": None},
    }
