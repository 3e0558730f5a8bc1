"""Results on disk: all or nothing. Work goes to NAME.part; only a finished result gets its name."""

import contextlib
import csv
import datetime
import json
import math
import os
import shutil
from pathlib import Path

import numpy as np

from calzoo import __version__
from calzoo.errors import CalzooError
from calzoo.imaging.parts import MARK, clear_part, finish_part, make_part, part_path, release_part
from calzoo.imaging.readers.ome_zarr import is_store

RUN_FILE = "run.json"
#: What a result gets when its cells are looked through: which were kept, and their masks.
CURATION_FILES = ("curation.csv", "curated.npz")
_CELLS_AT_A_TIME = 2**16  # of a table
_FIRST_COLUMNS = ("y", "x", "score")


@contextlib.contextmanager
def written(path):
    """Turn the system's errors of writing `path` into words: full disk, no permission, no folder."""
    try:
        yield
    except CalzooError:
        raise
    except OSError as error:
        # NumPy reports a short write without the system's reason: "4096 requested and 1392 written".
        reason = error.strerror or f"is the disk full? {error}"
        message = (
            f"{path}: cannot be written ({reason}); check the free space and the permissions of "
            f"{Path(path).absolute().parent}."
        )
        raise CalzooError(message) from error


@contextlib.contextmanager
def output_file(path):
    """Write a file under another name, and give it its own when it is finished.

    Parameters
    ----------
    path : str or os.PathLike
        The file. One that is there is replaced, but only by a finished one.

    Yields
    ------
    pathlib.Path
        Where to write. It is removed if the block is left by an error or Ctrl-C.

    Raises
    ------
    CalzooError
        If the file cannot be written.
    """
    path = Path(path)
    check_target(path)
    part = part_path(path)
    clear_part(part)
    try:
        with written(path):
            yield part
            os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def check_target(path):
    """Say so if `path` cannot be the name of a file to write."""
    if path.is_dir():
        message = f"{path}: expected the name of a file to write, got a folder; give a name inside it."
        raise CalzooError(message)
    if not path.absolute().parent.is_dir():
        message = f"{path}: there is no folder {path.absolute().parent}; make it, or choose another place."
        raise CalzooError(message)


def refuse_inputs(targets, inputs):
    """Refuse to write where something is read from: recordings are never replaced, whatever was asked for.

    Parameters
    ----------
    targets : sequence of path
        Files and folders that are to be written.
    inputs : sequence of path
        Files and folders that are read.

    Raises
    ------
    CalzooError
        If one of them is both.
    """
    for target in map(Path, targets):
        if any(target.exists() and os.path.exists(path) and target.samefile(path) for path in inputs):
            message = (
                f"{target}: expected a place of its own for the result, got an input, which is never "
                "replaced; give another -o."
            )
            raise CalzooError(message)


def refuse_existing(files):
    """Refuse to replace files that are there, whoever wrote them.

    Parameters
    ----------
    files : sequence of pathlib.Path
        What is to be written.

    Raises
    ------
    CalzooError
        If one of them is there.
    """
    for file in files:
        if file.exists():
            message = (
                f"{file}: expected a name that is free, got a file that is there already; give another -o, "
                "or replace it with --overwrite (overwrite=True)."
            )
            raise CalzooError(message)


def refuse_others(path, names):
    """Refuse to replace files in a folder that holds no result of calzoo, such as those of Suite2p.

    `output_folder` does so at the end; called before, it saves the work.

    Parameters
    ----------
    path : path
        Folder of a result.
    names : sequence of path
        What is to be written into it.

    Raises
    ------
    CalzooError
        If one of them is there, and neither run.json nor calzoo's mark.
    """
    path = Path(path)
    if (path / RUN_FILE).exists() or (path / MARK).exists():
        return
    there = next((path / name for name in names if (path / name).exists()), None)
    if there is not None:
        message = (
            f"{path}: expected a free folder, or one with a result of calzoo ({RUN_FILE}), got one in which "
            f"{there} is there already, which would be replaced; give another -o."
        )
        raise CalzooError(message)


def refuse_result(folder, remedy):
    """Refuse a folder that holds a result already, or what was curated of one.

    Parameters
    ----------
    folder : path
    remedy : str
        What the message advises.

    Raises
    ------
    CalzooError
        If there is a run.json or a file of `CURATION_FILES`.
    """
    there = next((name for name in (RUN_FILE, *CURATION_FILES) if (Path(folder) / name).exists()), None)
    if there is not None:
        message = f"{folder}: expected a folder without a result, got one with {there}; {remedy}."
        raise CalzooError(message)


@contextlib.contextmanager
def output_folder(path, *, stale=(), inputs=()):
    """Work in a folder of another name, and give it its own when everything is finished.

    Parameters
    ----------
    path : str or os.PathLike
        The folder. Where it is there already, everything in it stays, but for files of the same
        names: those of an earlier result (run.json) are replaced at the end, others never.
    stale : sequence of str, optional
        Names in the folder that only an earlier result has; they go if there is one (run.json),
        and so do folders that this empties.
    inputs : sequence of path, optional
        What the results are made of: it is not replaced.

    Yields
    ------
    pathlib.Path
        A folder to work in, empty but for calzoo's mark. It is removed if the block is left by an error
        or Ctrl-C, and `path` is as it was.

    Raises
    ------
    CalzooError
        If `path` is a file or an input, an input or a file that is no result of calzoo lies where
        a result goes, the folder cannot be written, or another process is writing this result.
    """
    path = Path(os.path.abspath(path))  # "." has no name to add to
    refuse_inputs([path], inputs)
    if not path.name:
        message = f"{path}: expected a folder for the results, got the root of the disk; name one inside it."
        raise CalzooError(message)
    if path.exists() and not path.is_dir():
        message = f"{path}: expected a folder for the results, got a file; choose another name."
        raise CalzooError(message)
    part = part_path(path)
    with written(path):
        clear_part(part)
        make_part(part)
    try:
        try:
            yield part
        except OSError as error:
            if not _is_of(error, part):
                raise
            with written(path):
                raise
        with written(path):
            _publish(part, path, stale, inputs)
    finally:
        shutil.rmtree(part, ignore_errors=True)
        release_part(part)


def saved_folder(folder, overwrite, *, stale=()):
    """Return the folder of a result that is saved by a function, to work in: see `output_folder`.

    Parameters
    ----------
    folder : path
    overwrite : bool
        Replace an earlier result, and what was curated of it.
    stale : sequence of str, optional
        As for `output_folder`.

    Raises
    ------
    CalzooError
        As `refuse_result`, unless `overwrite`; and as `output_folder`.
    """
    if not overwrite:
        refuse_result(
            folder, "give another folder, or overwrite=True, which replaces it and what was curated of it"
        )
    return output_folder(folder, stale=stale)


def _is_of(error, part):
    """Tell whether an error of the system may be of writing into `part`, not of reading something else."""
    name = error.filename
    return not isinstance(name, (str, bytes)) or Path(os.fsdecode(name)).is_relative_to(part)


def _publish(part, path, stale, inputs):
    if not path.exists():
        os.replace(part, path)
        finish_part(path)
        return
    stores = [store.relative_to(part) for store in part.rglob("*.zarr") if store.is_dir()]
    earlier = stale if (path / RUN_FILE).exists() else ()
    old = [path / name for name in [*earlier, *stores]]  # of a store also the chunks that the new one lacks
    files = sorted(
        (f for f in part.rglob("*") if f.is_file() and f.name != MARK), key=lambda f: f.name == RUN_FILE
    )
    targets = [path / file.relative_to(part) for file in files]
    _refuse_replacing(inputs, [*old, *targets], path)
    refuse_others(path, [target.relative_to(path) for target in [*old, *targets]])
    (path / MARK).touch()  # until all are there, what a process that is killed leaves is calzoo's too
    # run.json says that a result is complete: it goes first and comes last.
    (path / RUN_FILE).unlink(missing_ok=True)
    for name in old:
        _remove(name, path)
    for file, target in zip(files, targets, strict=True):
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(file, target)
    finish_part(path)


def _refuse_replacing(inputs, targets, path):
    """Refuse targets in a folder that are an input, hold one, or lie in one."""
    sources = [Path(source).resolve() for source in inputs]
    # Of an input around the whole folder nothing is replaced.
    sources = [source for source in sources if source not in path.resolve().parents]
    for target in targets:
        place = target.resolve()
        for source in sources:
            if target.exists() and (place == source or place in source.parents or source in place.parents):
                message = (
                    f"{path}: the result would replace {target}, which belongs to the input {source}; give "
                    "another -o."
                )
                raise CalzooError(message)


def _remove(name, folder):
    """Remove a file or a folder, and the folders around it in `folder` that have become empty."""
    if name.is_dir():
        shutil.rmtree(name)
    else:
        name.unlink(missing_ok=True)
    for parent in name.parents:
        if parent == folder or (parent.exists() and any(parent.iterdir())):
            break
        with contextlib.suppress(FileNotFoundError):
            parent.rmdir()


def in_bytes(count):
    """Return a number of bytes for people.

    Examples
    --------
    >>> in_bytes(1_230_000), in_bytes(4.2e10)
    ('1.2 MB', '42.0 GB')
    """
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"


def shown_name(path):
    """Return the last part of a path as text that can be drawn and written, whatever bytes it holds."""
    return os.fsencode(Path(path).name).decode("utf-8", "replace")


def write_table(path, columns):
    """Write a CSV table with one header line.

    Parameters
    ----------
    path : str or os.PathLike
        The file.
    columns : dict of str to sequence
        Header (with the unit, e.g. "length_um") to values, all of one length. Columns
        "y", "x" and "score" come first; None and NaN become empty cells.

    Raises
    ------
    ValueError
        If the columns differ in length.
    CalzooError
        If the file cannot be written.
    """
    names = [n for n in _FIRST_COLUMNS if n in columns] + [n for n in columns if n not in _FIRST_COLUMNS]
    lengths = {name: len(columns[name]) for name in names}
    if len(set(lengths.values())) > 1:
        message = f"write_table: expected columns of one length, got {lengths}."
        raise ValueError(message)
    with output_file(path) as part, open(part, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(names)
        # As Python's objects, values take ten times the memory.
        step = max(_CELLS_AT_A_TIME // max(len(names), 1), 1)
        for start in range(0, max(lengths.values(), default=0), step):
            rows = (_cells(columns[n][start : start + step]) for n in names)
            writer.writerows(zip(*rows, strict=True))


def _cells(values):
    if isinstance(values, np.ndarray) and values.dtype.kind == "f" and np.isfinite(values).all():
        return map("{:.7g}".format, values.tolist())  # of traces there are millions
    return map(_cell, values)


def _cell(value):
    if value is None:
        return ""
    if isinstance(value, (bool, np.bool_)):
        return int(value)
    if isinstance(value, (float, np.floating)):
        # Seven digits are all that single precision holds.
        return f"{value:.7g}" if math.isfinite(value) else ""
    return value


def write_run_json(folder, **facts):
    """Write run.json: what was done, with what, so that it can be done again.

    Parameters
    ----------
    folder : str or os.PathLike
        The result's folder.
    **facts
        Anything that JSON can hold, and NumPy numbers and arrays, paths and
        dataclasses; NaN and infinity become null. The version and the time are added, and
        of `input`, a path or a sequence of them, what tells it from others: `source_facts`.
    """
    if "input" in facts:
        facts = {"input": facts["input"], "source": source_facts(facts["input"]), **facts}
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    record = {"calzoo": __version__, "written": now, **facts}
    text = json.dumps(plain(record), indent=2, ensure_ascii=False, allow_nan=False)
    if any("\ud800" <= letter <= "\udfff" for letter in text):  # a path that is not UTF-8
        text = json.dumps(plain(record), indent=2, allow_nan=False)
    with output_file(Path(folder) / RUN_FILE) as part:
        part.write_text(text + "\n", encoding="utf-8")


def source_facts(path):
    """Return what tells a recording from others of its name: where it lies, its size and its age.

    Parameters
    ----------
    path : path or sequence of path
        Of a folder, the files that are directly in it count; of a Zarr store all.

    Returns
    -------
    dict, or list of dict
        Name "path", and where the file exists "bytes" and "modified" (nanoseconds).
    """
    if not isinstance(path, (str, os.PathLike)):
        return [source_facts(one) for one in path]
    path = Path(path).resolve()
    files = [path]
    if path.is_dir():
        files = [file for file in path.glob("**/*" if is_store(path) else "*") if file.is_file()]
    found = [file.stat() for file in files if file.exists()]
    if not found:
        return {"path": str(path)}
    newest = max(stat.st_mtime_ns for stat in found)
    return {"path": str(path), "bytes": sum(stat.st_size for stat in found), "modified": newest}


def plain(value):
    """Return `value` in the types of JSON."""
    if hasattr(value, "__dataclass_fields__"):
        value = {name: getattr(value, name) for name in value.__dataclass_fields__}
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, dict) or hasattr(value, "items"):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(v) for v in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, (bool, int, str)):
        return value
    return os.fspath(value) if isinstance(value, os.PathLike) else str(value)
