"""Packages: all that a program without calzoo needs of a network, in one zip archive."""

import io
import zipfile
from importlib import metadata
from pathlib import Path

from calzoo import __version__
from calzoo.errors import CalzooError
from calzoo.imaging.outputs import output_file, refuse_existing
from calzoo.inference.golden import write_golden
from calzoo.inference.models import load_model
from calzoo.weights import registry


def write_package(network, path, *, overwrite=False):
    """Write a network with its card, a golden input and output, a script and its licence as a zip archive.

    Parameters
    ----------
    network : str
        A preset, or an .onnx file with a card.
    path : path
        Ends in ``.zip``. All its files lie in one folder of its name.
    overwrite : bool, optional
        Replace a file that is there.

    Returns
    -------
    list of str
        Names of the files in the archive.

    Raises
    ------
    CalzooError
        If there is no such preset or file, it cannot be used, or `path` cannot be written.
    """
    path = Path(path)
    if path.suffix != ".zip":
        message = f"{path}: expected a name that ends in .zip."
        raise CalzooError(message)
    if not overwrite:
        refuse_existing([path])
    if Path(network).suffix == ".onnx":
        contents = _contents(_of_file(Path(network)))
    elif Path(network).is_dir():
        message = (
            f"{network}: expected a preset or an .onnx file, got a folder; of a run write the file first: "
            f"calzoo export {network} -o NAME.onnx."
        )
        raise CalzooError(message)
    else:
        contents = _contents(_of_preset(network), registry.preset(network).terms)
    with output_file(path) as part, zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in contents.items():
            entry = zipfile.ZipInfo(f"{path.stem}/{name}")  # without a date: one network makes one archive
            entry.external_attr = 0o644 << 16  # everybody may read it
            archive.writestr(entry, data, zipfile.ZIP_DEFLATED)
    return list(contents)


def _of_preset(name):
    """Return for each network of a preset its files by kind."""
    return [
        {kind: registry.resolve(name, role, kind=kind) for kind in network.files if kind != "safetensors"}
        for role, network in registry.preset(name).networks.items()
    ]


def _of_file(path):
    """Return an .onnx file and that for processors beside it; its golden output is still to be made."""
    if path.stem.endswith("-cpu"):
        plain = path.with_name(f"{path.stem.removesuffix('-cpu')}.onnx")
        message = f"{path}: expected the file that all providers run, got that for processors; pack {plain}."
        raise CalzooError(message)
    quick = path.with_name(f"{path.stem}-cpu.onnx")
    return [{"onnx": path} | ({"onnx_cpu": quick} if quick.is_file() else {})]


def _contents(networks, terms=""):
    """Return what a package holds, bytes by the name of the file."""
    contents, cards = {}, []
    for files in networks:
        path = files["onnx"]
        model = load_model(path, provider="cpu")
        cards.append(model.card)
        contents |= {files[kind].name: files[kind].read_bytes() for kind in files if kind.startswith("onnx")}
        contents[f"{path.stem}.json"] = model.card.to_json().encode()
        contents[f"{path.stem}.npz"] = files["golden"].read_bytes() if "golden" in files else _golden(model)
    return {
        "README.txt": _readme(cards, terms, any("onnx_cpu" in files for files in networks)).encode(),
        "LICENSE.txt": _licence_text(),
        "run.py": Path(__file__).with_name("packaged_script.py").read_bytes(),
        "card.schema.json": (registry.FOLDER / "card.schema.json").read_bytes(),
        **contents,
    }


def _golden(model):
    """Return a golden file of what the network makes today."""
    content = io.BytesIO()
    write_golden(model, content)
    return content.getvalue()


def _licence_text():
    """Return the text of calzoo's own licence, as it was installed."""
    try:
        files = metadata.files("calzoo") or ()
    except metadata.PackageNotFoundError:
        files = ()
    texts = [file.read_text() for file in files if file.name == "LICENSE"]
    if not texts:
        message = "expected the licence of an installed calzoo beside it, found none; install it with pip."
        raise CalzooError(message)
    return texts[0].encode()


def _readme(cards, terms, quick):
    """Return what a package is, how it is run, and what may be done with it."""
    lines = [f"Packed by calzoo {__version__}.", ""]
    for card in cards:
        lines += [f"{card.name} ({card.role}): {card.description}", f"  licence: {card.licence}"]
        lines += [f"  trained on {data.name} ({data.licence}; {data.source})" for data in card.data]
    lines += ["", f"Terms: {terms}"] if terms else []
    lines += [
        "",
        "  pip install numpy onnxruntime",
        "  python run.py",
        "",
        "run.py runs each network on the inputs of its .npz and compares the outputs. The card",
        "(.json, and inside of the .onnx file) says what goes in and comes out, how intensities are",
        "scaled, which numbers sides are multiples of, and how well the network does; card.schema.json",
        "is its schema, and docs/card.md of calzoo explains each field. LICENSE.txt is calzoo's.",
        *(["NAME-cpu.onnx is the same network, faster on processors."] if quick else []),
        "",
    ]
    return "\n".join(lines)
