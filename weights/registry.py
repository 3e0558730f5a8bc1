"""The presets: which networks are released, and where their files are.

A preset is an entry of ``registry.json`` beside this file, which only
``calzoo release`` writes. Files lie in one of three places: in the wheel
(``released/``), in a checkout of the repository (``outside/``), or at an
address. Whatever the place, a file is used only if its size and sha256 are
those of the registry.
"""

import difflib
import hashlib
import json
import re
import sys
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from types import MappingProxyType

from calzoo.errors import CalzooError
from calzoo.weights import download
from calzoo.weights.card import ROLES, TASKS, Score

SCHEMA_VERSION = 1
FOLDER = Path(__file__).resolve().parent
PLACES = MappingProxyType({"wheel": "released", "checkout": "outside"})
# The network; the same one written for processors, where that is faster; its Keras
# weights; an input with its output.
KINDS = ("onnx", "onnx_cpu", "safetensors", "golden")

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_SHA256 = re.compile(r"[0-9a-f]{64}")

_verified: dict[Path, tuple[int, int, str]] = {}  # path -> size, mtime, sha256: hashed once per process
_announced: set[str] = set()  # presets whose terms were printed in this process


@dataclass(frozen=True, kw_only=True)
class File:
    """One released file."""

    name: str
    sha256: str
    size: int  # bytes
    where: str  # "wheel", "checkout" or an address

    def __post_init__(self):
        if not _FILE_NAME.fullmatch(str(self.name)):
            _refuse(f"a file's name must be letters, digits, '.', '_' and '-', got {self.name!r}")
        if not _SHA256.fullmatch(str(self.sha256)):
            _refuse(f"sha256 of {self.name!r} must be 64 hexadecimal digits, got {self.sha256!r}")
        if not isinstance(self.size, int) or self.size <= 0:
            _refuse(f"size of {self.name!r} must be a positive number of bytes, got {self.size!r}")
        if self.where not in PLACES and not str(self.where).startswith("https://"):
            _refuse(f"{self.name!r} must lie in 'wheel', 'checkout' or at 'https://...', got {self.where!r}")


@dataclass(frozen=True, kw_only=True)
class Network:
    """One network of a preset: its files, how it is built, how well it does."""

    builder: str  # "module:function", imported only when the network is built
    config: Mapping[str, object]  # every argument of the builder that decides a weight's shape
    recipe: str
    onnx: File
    safetensors: File  # variable path -> array
    golden: File  # .npz: the inputs and outputs of the .onnx file by name
    onnx_cpu: File | None = None  # the same network in a form that processors run faster
    scores: tuple[Score, ...] = ()

    def __post_init__(self):
        if not re.fullmatch(r"[\w.]+:\w+", str(self.builder)):
            _refuse(f"builder must be 'module:function', got {self.builder!r}")
        object.__setattr__(self, "config", MappingProxyType(dict(self.config)))

    @property
    def files(self):
        """Its files by kind, without those that it does not have."""
        files = {kind: getattr(self, kind) for kind in KINDS}
        return MappingProxyType({kind: file for kind, file in files.items() if file is not None})


@dataclass(frozen=True, kw_only=True)
class Preset:
    """A task's released networks, one for each role."""

    name: str
    alias: str  # for people
    task: str
    licence: str
    terms: str = ""  # printed when the preset is first loaded; empty where the licence says it all
    networks: Mapping[str, Network] = field(default_factory=dict)  # by role

    def __post_init__(self):
        if not _NAME.fullmatch(str(self.name)):
            _refuse(f"a preset's name must be lower-case words joined by '-', got {self.name!r}")
        if self.task not in TASKS:
            _refuse(f"task of {self.name!r} must be one of {', '.join(TASKS)}, got {self.task!r}")
        if not self.networks or set(self.networks) - set(ROLES):
            got = ", ".join(self.networks) or "none"
            _refuse(f"roles of {self.name!r} must be among {', '.join(ROLES)}, got {got}")
        object.__setattr__(self, "networks", MappingProxyType(dict(self.networks)))

    @property
    def files(self):
        """The .onnx file of each role."""
        return MappingProxyType({role: network.onnx for role, network in self.networks.items()})

    @property
    def scores(self):
        """The scores of all its networks."""
        return tuple(score for network in self.networks.values() for score in network.scores)

    def network(self, role="model"):
        """Return the network of a role, or say which roles there are."""
        if role not in self.networks:
            message = (
                f"preset {self.name!r}, which is for the task {self.task!r}, has the roles "
                f"{', '.join(self.networks)}; got {role!r}. 'calzoo list' says what each preset is for."
            )
            raise CalzooError(message)
        return self.networks[role]


def presets(folder=None):
    """Return all presets.

    Parameters
    ----------
    folder : path, optional
        Holds registry.json; the package's own where absent.

    Returns
    -------
    Mapping of str to Preset

    Raises
    ------
    CalzooError
        If registry.json is missing or damaged.
    """
    path = Path(folder or FOLDER) / "registry.json"
    try:
        plain = json.loads(path.read_text(encoding="utf-8"))
        if plain["schema"] != SCHEMA_VERSION:
            _refuse(f"expected schema {SCHEMA_VERSION}, got {plain['schema']!r}")
        found = [_preset(entry) for entry in plain["presets"]]
        check_unique(found)
    except (OSError, TypeError, KeyError, ValueError, AttributeError) as error:
        reason = f"{error.args[0]!r} is missing" if isinstance(error, KeyError) else str(error)
        message = f"the registry of presets cannot be read ({path}): {reason}. Install calzoo again."
        raise CalzooError(message) from error
    return MappingProxyType({p.name: p for p in found})


def preset(name):
    """Return one preset.

    Parameters
    ----------
    name : str
        As `presets` and ``calzoo list`` name it.

    Returns
    -------
    Preset

    Raises
    ------
    CalzooError
        If there is none of that name; a near name is suggested.
    """
    known = presets()
    if name in known:
        return known[name]
    near = difflib.get_close_matches(str(name), known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(known) or 'none'}."
    message = f"no preset is called {name!r}; {hint}"
    raise CalzooError(message)


def resolve(name, role="model", *, kind="onnx", cache=None):
    """Find a file of a preset and verify it.

    Parameters
    ----------
    name : str
        Of the preset.
    role : str, optional
        Of the network, where the preset has several.
    kind : {"onnx", "onnx_cpu", "safetensors", "golden"}, optional
        Which of the network's files; not every network has a form for processors ("onnx_cpu").
    cache : path, optional
        Folder for what must be downloaded; the user's cache where absent.

    Returns
    -------
    pathlib.Path
        Of a file whose size and sha256 are those of the registry.

    Raises
    ------
    CalzooError
        If there is no such preset, role or file, it is damaged, or it cannot be downloaded.
    """
    chosen = preset(name)
    files = chosen.network(role).files
    if kind not in files:
        message = f"preset {name!r} has the files {', '.join(files)} for the role {role!r}; got {kind!r}."
        raise CalzooError(message)
    path = _locate(files[kind], cache)
    if chosen.terms and name not in _announced:
        print(f"calzoo: terms of preset {name!r}: {chosen.terms}", file=sys.stderr)
        _announced.add(name)
    return path


def sha256(path):
    """Return the sha256 of a file as 64 hexadecimal digits."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _locate(file, cache):
    if file.where in PLACES:
        path = FOLDER / PLACES[file.where] / file.name
        if path.is_file():
            return _verify(path, file)
        if file.where == "wheel":
            message = f"{path} is missing, though it is part of the installation. Install calzoo again."
            raise CalzooError(message)
    path = download.cache_folder(cache) / file.name
    if not _is_intact(path, file):
        download.download(file, path)
    return _verify(path, file)


def _verify(path, file):
    if not _is_intact(path, file):
        message = (
            f"{path} is damaged: expected {file.size} bytes with sha256 {file.sha256}, "
            f"got {path.stat().st_size} bytes with {sha256(path)}. Install calzoo again."
        )
        raise CalzooError(message)
    return path


def _is_intact(path, file):
    if not path.is_file():
        return False
    stat = path.stat()
    if stat.st_size != file.size:
        return False
    known = _verified.get(path)
    if known is None or known[:2] != (stat.st_size, stat.st_mtime_ns):
        known = _verified[path] = (stat.st_size, stat.st_mtime_ns, sha256(path))
    return known[2] == file.sha256


def _preset(plain):
    networks = {role: _network(network) for role, network in plain["networks"].items()}
    return _build(Preset, plain | {"networks": networks})


def _network(plain):
    files = {kind: _build(File, plain[kind]) for kind in KINDS if kind in plain}
    return _build(Network, plain | files | {"scores": tuple(_score(s) for s in plain.get("scores", ()))})


def _score(plain):
    spread = plain.get("spread")
    return _build(Score, plain | {"spread": None if spread is None else tuple(spread)})


def _build(cls, plain):
    unknown = set(plain) - {f.name for f in fields(cls)}
    if unknown:
        _refuse(f"a {cls.__name__.lower()} has no {', '.join(sorted(unknown))}")
    required = {f.name for f in fields(cls) if f.default is MISSING and f.default_factory is MISSING}
    if required - set(plain):
        _refuse(f"a {cls.__name__.lower()} lacks {', '.join(sorted(required - set(plain)))}")
    return cls(**plain)


def check_unique(found):
    """Refuse presets of which two have one name, or files of one name."""
    found = list(found)
    for what, names in (
        ("name", [p.name for p in found]),
        ("file", [file.name for p in found for n in p.networks.values() for file in n.files.values()]),
    ):
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            _refuse(f"the {what} {', '.join(twice)} stands there twice")


def _refuse(reason):
    raise CalzooError(reason)
