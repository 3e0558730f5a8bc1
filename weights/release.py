"""Add a network to the registry: the only code that writes ``registry.json``."""

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from calzoo.errors import CalzooError
from calzoo.weights import registry
from calzoo.weights.registry import PLACES, File, Network, Preset

FILE_LIMIT = 16 * 2**20  # bytes of a file in the wheel
WHEEL_LIMIT = 40 * 2**20  # bytes of all files in the wheel
SUFFIXES = {"onnx": ".onnx", "onnx_cpu": "-cpu.onnx", "safetensors": ".safetensors", "golden": ".npz"}

# Data under these terms may train a network that everybody may use; other data
# train networks of their own, named "...-research", outside the wheel.
PERMISSIVE = (
    "MIT",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "Apache-2.0",
    "CC0-1.0",
    "CC-BY-4.0",
    "PDDL-1.0",
    "ODC-By-1.0",
)
RESEARCH = "-research"


def add_network(card, files, *, name=None, terms="", overwrite=False, folder=None):
    """Copy a network's files into the repository and enter it into registry.json.

    Parameters
    ----------
    card : calzoo.weights.card.Card
        That of the .onnx file; the entry takes role, builder, config and scores from it.
    files : Mapping of str to path
        The files of the kinds "onnx", "safetensors" and "golden", and "onnx_cpu" if there is one.
    name : str, optional
        Of the preset; the card's where absent.
    terms : str, optional
        What a user is told when the preset is first loaded.
    overwrite : bool, optional
        Replace the network that has this name and role.
    folder : path, optional
        The folder weights/ of a checkout; the one that is imported where absent.

    Returns
    -------
    Preset

    Raises
    ------
    CalzooError
        If `folder` is not in a checkout, the network is there already, its name
        does not fit the terms of its data, a file would take the name of another preset's, a
        score is no number, or the wheel would become too large.
    """
    folder = Path(folder or registry.FOLDER)
    name = name or card.name
    check_network(card, name=name, terms=terms, overwrite=overwrite, folder=folder)
    known = dict(registry.presets(folder))
    before = known.get(name)
    terms = terms or (before.terms if before else "")
    network = _network(card, files, name)
    networks = {**(before.networks if before else {}), card.role: network}
    known[name] = Preset(
        name=name, alias=card.alias, task=card.task, licence=card.licence, terms=terms, networks=networks
    )
    _check_wheel(known.values())
    registry.check_unique(known.values())
    text = _registry_text([known[n] for n in sorted(known)])
    _install(files, network, text, folder)
    if before is not None and card.role in before.networks:
        _remove_moved(before.networks[card.role], network, folder)
    return known[name]


def check_network(card, *, name=None, terms="", overwrite=False, folder=None):
    """Refuse a network whose name, terms or place `add_network` would refuse; its files are not needed.

    Parameters
    ----------
    card, name, terms, overwrite, folder
        As for `add_network`.

    Raises
    ------
    CalzooError
    """
    folder = Path(folder or registry.FOLDER)
    name = name or card.name
    before = registry.presets(folder).get(name)
    check_checkout(folder)
    _check_terms(card, name, terms or (before.terms if before else ""))
    if before is not None:
        _check_before(card, before, overwrite)


def check_checkout(folder=None):
    """Refuse to release into a folder that is not in a checkout; by default the one that is imported."""
    folder = Path(folder or registry.FOLDER)
    if not (folder.parent / "setup.cfg").is_file():
        message = (
            f"a release is written into a checkout of the repository, but {folder} is not in one. "
            "Run 'make dev' in a checkout and release from there."
        )
        raise CalzooError(message)


def _check_terms(card, name, terms):
    others = sorted({data.licence for data in card.data if data.licence not in PERMISSIVE})
    if others and not (name.endswith(RESEARCH) and terms):
        licences = ", ".join(map(repr, others))
        message = (
            f"{name!r} was trained on data whose licence is {licences}, which not everybody may use. "
            f"Name it '...{RESEARCH}' with --preset, and give the terms with --terms."
        )
        raise CalzooError(message)


def _check_before(card, before, overwrite):
    if card.task != before.task:
        message = f"preset {before.name!r} is for the task {before.task!r}, the network for {card.task!r}."
        raise CalzooError(message)
    if card.role in before.networks and not overwrite:
        message = (
            f"preset {before.name!r} has a network of role {card.role!r} already. "
            "Give another name with --preset, or replace it with --replace."
        )
        raise CalzooError(message)


def _network(card, files, name):
    stem = name if card.role == "model" else f"{name}-{card.role}"
    sizes = {kind: Path(path).stat().st_size for kind, path in files.items()}
    for_all = not name.endswith(RESEARCH) and sizes["onnx"] <= FILE_LIMIT
    entries = {
        kind: File(
            name=stem + SUFFIXES[kind],
            sha256=registry.sha256(files[kind]),
            size=sizes[kind],
            # Keras weights are for those who train, and they have a checkout.
            where="wheel" if for_all and kind != "safetensors" else "checkout",
        )
        for kind in files
    }
    return Network(
        builder=card.builder, config=card.config, recipe=card.recipe, scores=card.scores, **entries
    )


def _check_wheel(presets):
    networks = [network for preset in presets for network in preset.networks.values()]
    files = [file for network in networks for file in network.files.values()]
    total = sum(file.size for file in files if file.where == "wheel")
    if total > WHEEL_LIMIT:
        message = (
            f"the files of the wheel would be {total / 2**20:.1f} MB together, more than "
            f"{WHEEL_LIMIT / 2**20:.0f} MB. Release a smaller network."
        )
        raise CalzooError(message)


def _install(files, network, text, folder):
    """Write the files and the registry under other names first, so that a full disk changes nothing."""
    parts = []
    try:
        for kind, file in network.files.items():
            target = _place(file, folder)
            target.parent.mkdir(exist_ok=True)
            part = target.with_name(target.name + ".part")
            parts.append((part, target))
            shutil.copyfile(files[kind], part)
        target = folder / "registry.json"
        part = target.with_name(target.name + ".part")
        parts.append((part, target))
        part.write_text(text, encoding="utf-8")
        for part, target in parts:
            os.replace(part, target)
    finally:
        for part, _ in parts:
            part.unlink(missing_ok=True)


def _remove_moved(before, after, folder):
    """Remove files that were replaced by others in another place."""
    kept = {_place(file, folder) for file in after.files.values()}
    for file in before.files.values():
        if file.where in PLACES and _place(file, folder) not in kept:
            _place(file, folder).unlink(missing_ok=True)


def _place(file, folder):
    return folder / PLACES[file.where] / file.name


def _registry_text(presets):
    plain = {"schema": registry.SCHEMA_VERSION, "presets": [_plain(p) for p in presets]}
    try:
        return json.dumps(plain, indent=1, allow_nan=False) + "\n"
    except ValueError as error:
        message = "expected scores that are numbers, got NaN or infinity; score the run again."
        raise CalzooError(message) from error


def _plain(value):
    """Return a preset, or a part of it, in the types of JSON."""
    if hasattr(value, "__dataclass_fields__"):
        value = {name: getattr(value, name) for name in value.__dataclass_fields__}
        value = {name: item for name, item in value.items() if item is not None}
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value
