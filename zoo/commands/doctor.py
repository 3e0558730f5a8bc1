"""Check the installation: versions, what can compute, extras and their licences.

Each provider of ONNX Runtime is made to run a tiny network, as a provider that
is listed may still not start. The exit status is 1 where something must be mended.
"""

import os
import platform
import re
import tempfile
from importlib import metadata
from pathlib import Path

GROUP = "help"

_BOTH_RUNTIMES = (
    "onnxruntime and onnxruntime-gpu are both installed; they share one module, and the GPU is lost. Run: "
    "python -m pip uninstall -y onnxruntime onnxruntime-gpu && python -m pip install 'calzoo[gpu]'"
)
_NO_RUNTIME = "no network can run. Run: python -m pip install 'calzoo[cpu]'"


def add_arguments(parser):
    """Add nothing: everything is checked."""


def run(args):
    """Print what was found; return 1 if something must be mended."""
    starts = try_providers()
    problems = _problems(starts)
    for title, lines in (
        ("versions", _versions()),
        ("providers", [f"{name:<10}{answer}" for name, answer in starts.items()]),
        ("extras", _extras()),
        ("presets", _presets()),
        ("problems", problems or ["none"]),
    ):
        print(title)
        for line in lines:
            print(f"  {line}")
    return 1 if problems else 0


def try_providers():
    """Run a tiny network on each provider.

    Returns
    -------
    dict of str to str
        Provider name to "runs", or why it does not.
    """
    from calzoo.inference.models import PROVIDERS

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tiny.onnx"
        path.write_bytes(tiny_network())
        return {name: _try_provider(name, path) for name in PROVIDERS if name != "auto"}


def _try_provider(name, path):
    import numpy as np

    from calzoo.errors import CalzooError
    from calzoo.inference.models import load_model

    one = np.ones((1, 1, 1, 1, 1), np.float32)
    try:
        model = load_model(path, provider=name, threads=1)
        same = np.array_equal(model.run({"image": one})["probability"], one)
    except CalzooError as error:
        reason = " ".join(str(error).removeprefix(f"{path}: ").split())
        return f"no: {reason.removeprefix(f'provider {name!r} was asked for, but ')}"
    return "runs" if same else "no: it computes something else"


def tiny_network():
    """Return an .onnx file that gives back its input, written field by field.

    Returns
    -------
    bytes
        Opset 17; the numbers are those of onnx.proto3.
    """
    dimension = _field(1, _field(1, 1))
    tensor = _field(1, _field(1, 1) + _field(2, dimension * 5))  # float32, (1, 1, 1, 1, 1)
    ends = [_field(1, name) + _field(2, tensor) for name in (b"image", b"probability")]
    node = _field(1, b"image") + _field(2, b"probability") + _field(4, b"Identity")
    graph = _field(1, node) + _field(2, b"tiny") + _field(11, ends[0]) + _field(12, ends[1])
    card = _field(1, b"calzoo.card") + _field(2, _tiny_card().to_json().encode())
    return _field(1, 8) + _field(7, graph) + _field(8, _field(2, 17)) + _field(14, card)


def _tiny_card():
    from calzoo.weights.card import Card, Normalisation, Tensor

    ones = dict.fromkeys("zyx", 1)
    return Card(
        name="tiny",
        alias="Gives back its input",
        task="axons",
        description="Tells whether a provider starts.",
        inputs=(Tensor(name="image", axes="bczyx", units="any"),),
        outputs=(Tensor(name="probability", axes="bczyx", units="any"),),
        normalisation=Normalisation(),
        divisor=ones,
        halo=dict.fromkeys("zyx", 0),
        tile=ones,
        builder="calzoo.commands.doctor:tiny_network",
        parameters=0,
        recipe="none",
    )


def _field(number, value):
    """Return one field of a protocol buffer: a number, or bytes with their length."""
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _varint(value):
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])


def _versions():
    yield f"calzoo {_version('calzoo')}, {Path(__file__).resolve().parents[1]}"
    system = f"{platform.system()} {platform.machine()}"
    yield f"Python {platform.python_version()}, {system}, {os.cpu_count()} cores"
    names = sorted({name for name, _, extra in _requirements() if extra is None} | _runtimes())
    yield ", ".join(f"{name} {_version(name)}" for name in names)


def _runtimes():
    """Return the installed distributions that provide the module onnxruntime."""
    names = {(d.metadata["Name"] or "").lower().replace("_", "-") for d in metadata.distributions()}
    return {name for name in names if re.fullmatch("onnxruntime(-[a-z]+)?", name)}


def _problems(starts):
    problems = []
    if {"onnxruntime", "onnxruntime-gpu"} <= _runtimes():
        problems.append(_BOTH_RUNTIMES)
    if starts["cpu"] != "runs":
        problems.append(_NO_RUNTIME)
    return problems


def _requirements(of="calzoo"):
    """Yield (distribution, its own extras, extra of `of` or None) from the metadata of an installation."""
    for line in metadata.requires(of) or ():
        extra = re.search(r"extra == [\"']([\w-]+)[\"']", line)
        name, asked = re.match(r"([\w.-]+)(?:\[([\w,-]+)\])?", line).groups()
        yield name.lower(), asked.split(",") if asked else [], extra and extra[1]


def _with_extras(name, asked):
    """Yield a distribution, and what its extras `asked` bring where it is installed."""
    yield name
    found = _distribution(name)
    if found is not None and asked:
        yield from (part for part, _, extra in _requirements(found.name) if extra in asked)


def _extras():
    found = {}
    for name, asked, extra in _requirements():
        if extra is not None:
            found.setdefault(extra, []).extend(_with_extras(name, asked))
    for extra, names in found.items():
        missing = [name for name in names if _distribution(name) is None]
        if missing:
            yield f"{extra:<12}not installed: {', '.join(missing)}"
        else:
            parts = (f"{name} {_version(name)} ({_licence(name)})" for name in names)
            yield f"{extra:<12}installed: {', '.join(parts)}"


def _distribution(name):
    """Return an installed distribution, or None."""
    # TensorFlow without CUDA may be installed under its own name.
    for variant in (name, f"{name}-cpu"):
        try:
            return metadata.distribution(variant)
        except metadata.PackageNotFoundError:
            continue
    return None


def _version(name):
    return _distribution(name).version


def _licence(name):
    facts = _distribution(name).metadata
    classifiers = [c.split(" :: ")[-1] for c in facts.get_all("Classifier") or () if c.startswith("License")]
    text = facts.get("License-Expression") or " / ".join(classifiers) or facts.get("License") or "unknown"
    return text.strip().splitlines()[0][:60]


def _presets():
    from calzoo.weights import download
    from calzoo.weights.registry import presets

    offline = ", CALZOO_OFFLINE is set" if download.is_offline() else ""
    mirror = os.environ.get("CALZOO_MIRROR")
    yield f"cache {download.cache_folder()}{offline}" + (f", mirror {mirror}" if mirror else "")
    yield f"released: {', '.join(presets()) or 'none'}"
