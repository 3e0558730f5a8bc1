"""What a file is, by its first bytes: names lie, and a wrong name deserves a clear answer."""

import os
from pathlib import Path

from calzoo.errors import CalzooError

_MAGIC = (
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
    (b"\x93NUMPY", "NPY"),
    (b"\x89HDF\r\n\x1a\n", "HDF5"),
    (b"PK\x03\x04", "ZIP"),
    (b"PK\x05\x06", "ZIP"),  # an empty archive
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"\xff\xd8\xff", "JPEG"),
    (b"GIF8", "GIF"),
    (b"\x1aE\xdf\xa3", "Matroska"),
    (b"%PDF", "PDF"),
    (b"\x1f\x8b", "gzip"),
    (b"MATLAB 5.0", "MATLAB 5"),
)
_HDF5_AT = (0, 512, 1024, 2048)  # a user block may precede the signature: MATLAB writes 512 bytes


def as_path(path, expected, remedy="") -> Path:
    """Return the name of a file as a Path, or say what was expected."""
    if not isinstance(path, (str, os.PathLike)):
        message = f"expected {expected}, got {type(path).__name__}{remedy}."
        raise CalzooError(message)
    return Path(path)


def existing(path):
    """Return `path` as a Path that is there, or say that it is not."""
    path = as_path(path, "the name of a file or folder", "; what is an array already need not be opened")
    if not path.exists():
        message = f"{path}: expected a file, found none; check the name and the folder (now in {Path.cwd()})."
        raise CalzooError(message)
    return path


def kind_of(path):
    """Return what the first bytes of a file say that it is.

    Parameters
    ----------
    path : str or os.PathLike
        A file.

    Returns
    -------
    str
        "TIFF", "NPY", "HDF5", "ZIP", "PNG", "JPEG", "GIF", "AVI", "MP4", ..., or "unknown".

    Raises
    ------
    CalzooError
        If there is no such file, or it is a folder, unreadable or empty.
    """
    path = existing(path)
    if path.is_dir():
        message = f"{path}: expected a file, got a folder; give the file itself."
        raise CalzooError(message)
    try:
        with open(path, "rb") as file:
            head = file.read(_HDF5_AT[-1] + 8)
    except OSError as error:
        message = f"{path}: cannot be read ({error.strerror}); check its permissions and the disk."
        raise CalzooError(message) from error
    if not head:
        message = f"{path}: expected an image, got an empty file (0 bytes); copy or export it again."
        raise CalzooError(message)
    if any(head[at : at + 8] == b"\x89HDF\r\n\x1a\n" for at in _HDF5_AT):
        return "HDF5"
    for magic, kind in _MAGIC:
        if head.startswith(magic):
            return kind
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return "AVI"
    if head[4:8] == b"ftyp":
        return "MP4"
    return "unknown"


def natural_key(name):
    """Return a sorting key that puts "frame_2" before "frame_10"."""
    parts, number = [], ""
    for letter in os.fspath(name):
        # Not str.isdigit: it also accepts superscripts, which int() refuses.
        if letter in "0123456789":
            number += letter
            continue
        if number:
            parts.append((0, int(number), number))
            number = ""
        parts.append((1, 0, letter.casefold()))
    if number:
        parts.append((0, int(number), number))
    return parts, os.fspath(name)
