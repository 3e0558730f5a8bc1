"""Downloading released files: to a temporary file, verified, then moved into a cache.

Three environment variables rule it. ``CALZOO_CACHE``: the folder of downloaded
files. ``CALZOO_OFFLINE``: never touch the network. ``CALZOO_MIRROR``: the
address of a folder that holds the files by name, used instead of the registry's.
"""

import os
from pathlib import Path

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
    """Download a file of the registry.

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
            "or set CALZOO_MIRROR to an address that serves it."
        )
        raise CalzooError(message)
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


def _retrieve(address, file, path):
    import pooch
    import requests

    http = pooch.HTTPDownloader(progressbar=True, timeout=TIMEOUT_S)
    try:
        pooch.retrieve(address, file.sha256, fname=path.name, path=path.parent, downloader=http)
    except requests.RequestException as error:
        message = (
            f"{file.name!r} could not be downloaded from {address}: {error} "
            "Check the network, or set CALZOO_MIRROR to an address that serves it."
        )
        raise CalzooError(message) from error
    except ValueError as error:
        # Of pooch: another sha256, or an address that is neither http nor https.
        message = f"{file.name!r} from {address} was refused and nothing was kept: {error}"
        raise CalzooError(message) from error
