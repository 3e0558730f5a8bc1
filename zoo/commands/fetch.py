"""Bring the files of presets onto this machine, and verify them.

Prints the path of each file. The folder that --all fills can be copied to a
machine without a network and named there in CALZOO_CACHE, or served or shared with
others, whose CALZOO_MIRROR is then its address or path.
"""

import os
import shutil
from pathlib import Path

from calzoo.commands._messages import tell
from calzoo.errors import CalzooError

GROUP = "presets"


def add_arguments(parser):
    """Add what to fetch, and where to."""
    parser.add_argument("names", nargs="*", metavar="PRESET", help="presets to fetch into the cache")
    parser.add_argument("--all", type=Path, metavar="DIR", help="copy every file of every preset into DIR")


def run(args):
    """Fetch the named presets, or all files of all presets into one folder."""
    from calzoo.weights.registry import preset, presets

    if args.all is None and not args.names:
        message = "fetch: expected names of presets or --all DIR, got neither; 'calzoo list' shows the names."
        raise CalzooError(message)
    chosen = [preset(name) for name in args.names]
    if args.all is not None:
        args.all.mkdir(parents=True, exist_ok=True)
        chosen = chosen or list(presets().values())
    wanted = [
        (p.name, role, kind)
        for p in chosen
        for role, network in p.networks.items()
        for kind in network.files
        if args.all is not None or kind.startswith("onnx")
    ]
    failed = sum([not _fetch(*which, args.all) for which in wanted])
    if failed:
        tell(f"{failed} of {len(wanted)} files are missing")
    return 1 if failed else 0


def _fetch(name, role, kind, folder):
    from calzoo.weights.registry import resolve

    try:
        path = resolve(name, role, kind=kind, cache=folder)
    except CalzooError as error:
        tell(error)
        return False
    if folder is not None and path.parent != folder.absolute():
        path = _copy(path, folder.absolute() / path.name)
    print(path)
    return True


def _copy(source, target):
    part = target.with_name(target.name + ".part")
    try:
        shutil.copyfile(source, part)
        os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)
    return target
