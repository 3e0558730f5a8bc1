"""Downloading released files: to a temporary file, verified, then moved into a cache.

Three environment variables rule it. ``CALZOO_CACHE``: the folder of downloaded
files. ``CALZOO_OFFLINE``: never touch the network. ``CALZOO_MIRROR``: a folder that
holds the files by name, used instead of the registry's addresses: its address
(http, https or file) or its path.
"""

import os
import shutil
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from calzoo.errors import CalzooError

TIMEOUT_S = 30  # without one byte from the server


def cache_folder(folder=None):
    """Return the folder for downloaded files; it is made when the first one comes.

    Parameters
    ----------
    folder : path, optional
        Used if given; else ``CALZOO_CACHE``; else the system's place for caches.

    Returns
    -------
    pathlib.Path
    """
    if folder is None:
        folder = os.environ.get("CALZOO_CACHE")
    if folder is None:
        import pooch

        folder = pooch.os_cache("calzoo")
    return Path(folder).expanduser().absolute()


def is_offline():
    """Tell whether ``CALZOO_OFFLINE`` forbids the network."""
    return os.environ.get("CALZOO_OFFLINE", "0") not in ("", "0")


def download(file, path):
    """Download a file of the registry, or copy it from a mirror that is a folder.

    Parameters
    ----------
    file : calzoo.weights.registry.File
        Its name, sha256 and address.
    path : pathlib.Path
        Where it goes. Nothing appears there unless its sha256 is right.

    Raises
    ------
    CalzooError
        If ``CALZOO_OFFLINE`` is set, the file has no address, the server does not
        send it, or what comes is another file.
    """
    address = _address(file)
    if address is None:
        message = (
            f"{file.name!r} is in weights/outside of the repository, but not in this installation. "
            f"Set CALZOO_CACHE to the folder weights/outside of a checkout, or copy the file to {path}, "
            "or set CALZOO_MIRROR to a folder or an address that has it."
        )
        raise CalzooError(message)
    folder = _mirror_folder()
    if folder is not None:
        _copy(folder / file.name, file, path)
        return
    if is_offline():
        message = (
            f"{file.name!r} is not in {path.parent}, and CALZOO_OFFLINE forbids to download it. "
            "Run 'calzoo fetch --all DIR' where there is a network, and set CALZOO_CACHE to DIR here."
        )
        raise CalzooError(message)
    _retrieve(address, file, path)


def _address(file):
    mirror = os.environ.get("CALZOO_MIRROR")
    if mirror:
        return f"{mirror.rstrip('/')}/{file.name}"
    return file.where if "://" in file.where else None


def _mirror_folder():
    """Return the folder that ``CALZOO_MIRROR`` names by its path or a file:// address, or None."""
    mirror = os.environ.get("CALZOO_MIRROR", "")
    if urlsplit(mirror).scheme == "file":
        return Path(url2pathname(urlsplit(mirror).path))
    return Path(mirror).expanduser() if mirror and "://" not in mirror else None


def _copy(source, file, path):
    def fetch(_address, target, _pooch):
        shutil.copyfile(source, target)

    try:
        _verified(str(source), file, path, fetch)
    except OSError as error:
        advice = (
            f"Check {path.parent}, or let CALZOO_CACHE name another folder."
            if os.access(source, os.R_OK)
            else "CALZOO_MIRROR must name the folder that 'calzoo fetch --all DIR' filled, or a copy of it."
        )
        message = f"{file.name!r} could not be copied from {source}: {error.strerror or error}. {advice}"
        raise CalzooError(message) from error


def _retrieve(address, file, path):
    import pooch
    import requests

    http = pooch.HTTPDownloader(progressbar=True, timeout=TIMEOUT_S)
    try:
        _verified(address, file, path, http)
    except requests.RequestException as error:
        message = (
            f"{file.name!r} could not be downloaded from {address}: {error} "
            "Check the network, or set CALZOO_MIRROR to a folder or an address that has it."
        )
        raise CalzooError(message) from error


def _verified(address, file, path, downloader):
    """Bring a file to `path` by way of a temporary one, which gets the name only if its sha256 is right."""
    import pooch

    try:
        pooch.retrieve(address, file.sha256, fname=path.name, path=path.parent, downloader=downloader)
    except ValueError as error:
        # Of pooch: another sha256, or an address that is neither http nor https.
        message = f"{file.name!r} from {address} was refused and nothing was kept: {error}"
        raise CalzooError(message) from error
