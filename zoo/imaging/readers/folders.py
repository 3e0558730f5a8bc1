"""Folders and ZIP archives: a recording in many files, in natural order."""

import functools
import os
import re
import zipfile
from pathlib import Path

from calzoo.errors import CalzooError
from calzoo.imaging.readers import files, tiff
from calzoo.imaging.readers.pictures import PicturePages

_PICTURES = {".tif": "TIFF", ".tiff": "TIFF", ".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}
_KINDS = _PICTURES | {
    ".avi": "AVI",
    ".mp4": "MP4",
    ".mkv": "MKV",
}  # miniscopes start a new video every minute
_CHANNEL = re.compile(r"(?:^|[_\-. ])ch(?:an|annel)?[_\- ]?(\d+)(?=[_\-. ])", re.IGNORECASE)


def pictures_in(folder):
    """Return the files of a folder that are pictures, stacks or videos, in natural order.

    Parameters
    ----------
    folder : pathlib.Path
        The folder. Files of other kinds and hidden files do not count.

    Returns
    -------
    list of pathlib.Path
    """
    found = [p for p in folder.iterdir() if _counts(p.name, _KINDS)]
    if not found:
        message = (
            f"{folder}: expected pictures (TIFF, PNG, JPEG) or videos in the folder, found none; give the "
            "file itself."
        )
        raise CalzooError(message)
    _check_one_recording(folder, [p.name for p in found])
    return sorted(found, key=lambda p: files.natural_key(p.name))


def _counts(name, kinds):
    return Path(name).suffix.lower() in kinds and not Path(name).name.startswith(".")


def _check_one_recording(where, names):
    kinds = {_KINDS[Path(n).suffix.lower()] for n in names}
    if len(kinds) > 1:
        message = (
            f"{where}: expected the files of one recording, got {' and '.join(sorted(kinds))} files; "
            "separate them."
        )
        raise CalzooError(message)
    marks = {m.group(1) for m in map(_CHANNEL.search, names) if m}
    if len(marks) > 1:
        message = (
            f"{where}: expected the files of one channel, the names tell of channels "
            f"{', '.join(sorted(marks))}; put those of one into a folder of their own, or give the list of "
            "its files."
        )
        raise CalzooError(message)


def is_picture(path):
    """Return whether a file is one picture, not a stack."""
    kind = files.kind_of(path)
    return kind in ("PNG", "JPEG") or (kind == "TIFF" and tiff.is_one_page(path))


def open_pictures(where, paths):
    """Open files of one picture each as pages.

    Parameters
    ----------
    where : pathlib.Path
        Their folder, for messages.
    paths : sequence of pathlib.Path
        The files, in order.

    Returns
    -------
    PicturePages
    """
    return PicturePages(where, [os.fspath(p) for p in paths], _content)


def _content(name):
    try:
        return Path(name).read_bytes()
    except OSError as error:
        message = f"{name}: cannot be read ({error.strerror}); was it moved or removed?"
        raise CalzooError(message) from error


def open_archive(path):
    """Open the pictures in a ZIP archive as pages, in natural order.

    Parameters
    ----------
    path : pathlib.Path
        The archive. Files of other kinds and hidden files in it do not count.

    Returns
    -------
    PicturePages
    """
    try:
        archive = zipfile.ZipFile(path)
    # Damaged archives are met with several exceptions.
    except Exception as error:
        message = f"{path}: expected a ZIP archive, got a damaged or truncated one ({error}); copy it again."
        raise CalzooError(message) from error
    try:
        names = [n for n in archive.namelist() if _counts(n, _PICTURES) and not n.startswith("__MACOSX")]
        if not names:
            message = (
                f"{path}: expected pictures (TIFF, PNG, JPEG) in the archive, found none; unpack it and give "
                "the file itself."
            )
            raise CalzooError(message)
        _check_one_recording(path, names)
        names.sort(key=files.natural_key)
        return PicturePages(path, names, functools.partial(_member, path, archive), archive.close)
    except BaseException:
        archive.close()
        raise


def _member(path, archive, name):
    try:
        return archive.read(name)
    # Damaged data, an unknown method, a password: zipfile has an exception for each.
    except Exception as error:
        message = f"{path}: {name} cannot be taken out of the archive ({error}); copy or unpack it."
        raise CalzooError(message) from error
