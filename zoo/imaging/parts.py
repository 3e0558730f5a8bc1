"""Begun work: NAME.part, marked as calzoo's, and held by the process that works there."""

import shutil
from pathlib import Path
from typing import IO

from calzoo.errors import CalzooError

try:
    import fcntl
except ImportError:  # Windows: nobody is kept out there
    fcntl = None  # type: ignore[assignment]

MARK = ".calzoo-part"  # in every folder of begun work: such folders may be removed
_held: dict[Path, IO[str]] = {}  # folder of this process -> its mark, open and locked


def part_path(path):
    """Return where work on `path` goes until it is finished."""
    path = Path(path)
    return path.with_name(path.name + ".part")


def check_part(part, command=""):
    """Refuse to work in a folder that is not calzoo's, is in use, or is what another command goes on with.

    A single file is taken for what a process that was killed has left: were it refused, an
    unattended command could not go on.

    Parameters
    ----------
    part : pathlib.Path
        File or folder where work is to begin, from `part_path`.
    command : str, optional
        The command that works there, where it goes on with what was interrupted.

    Raises
    ------
    CalzooError
        If a folder that is not empty stands there without the mark of `make_part`, another process works
        in it, or it holds work of another command that can go on.
    """
    if not part.is_dir():
        return
    mark = part / MARK
    if not mark.exists():
        if any(part.iterdir()):
            message = (
                f"{part}: work goes there until it is finished, but a folder is there already that calzoo "
                "cannot tell to be its own; move or remove it, or choose another place."
            )
            raise CalzooError(message)
        return
    if _in_use(part):
        message = (
            f"{part}: a process that still runs is writing this result; wait for it, or choose another place."
        )
        raise CalzooError(message)
    begun = mark.read_text(encoding="utf-8", errors="replace")
    if begun not in ("", command):
        message = (
            f"{part}: holds what 'calzoo {begun}' has done and goes on with; finish it by the same command, "
            "remove the folder, or choose another place."
        )
        raise CalzooError(message)


def clear_part(part, command=""):
    """Remove what an earlier run left of its work, after `check_part`."""
    check_part(part, command)
    if part.is_dir() and not part.is_symlink():
        shutil.rmtree(part, ignore_errors=True)
    else:
        part.unlink(missing_ok=True)


def make_part(part, command=""):
    """Make a folder to work in, with the mark by which `check_part` knows it, and hold it."""
    part.mkdir(parents=True)
    (part / MARK).write_text(command, encoding="utf-8")
    hold_part(part)


def hold_part(part):
    """Keep other processes out of a folder, until `release_part` or the end of this process."""
    release_part(part)
    if fcntl is None:
        return
    file = open(part / MARK, "a", encoding="utf-8")  # noqa: SIM115, it stays open
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # a disk that knows no locks
        file.close()
        return
    _held[part.absolute()] = file


def release_part(part):
    """Let others into a folder again."""
    file = _held.pop(part.absolute(), None)
    if file is not None:
        file.close()


def finish_part(part):
    """Take the mark of `make_part` away: the folder is finished and gets its name."""
    release_part(part)
    (part / MARK).unlink()


def _in_use(part):
    """Tell whether another process holds a folder; what this one holds, an interrupted call has left."""
    if fcntl is None or part.absolute() in _held:
        return False
    try:
        with open(part / MARK, "a", encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:  # a disk that knows no locks has others
        return isinstance(error, BlockingIOError)
    return False
