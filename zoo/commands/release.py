"""Release a run's network: evaluate, export, verify, and enter it into the registry.

Writes into the checkout that is installed (make dev): the .onnx file and a golden
input with its output into weights/released, the Keras weights into
weights/outside, the entry into weights/registry.json. Commit them together.
"""

import tempfile
from pathlib import Path

from calzoo.commands import _options
from calzoo.export import WORTH_A_FILE

GROUP = "networks"


def add_arguments(parser):
    """Add the run, and under which name and terms it is released."""
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of 'calzoo train'")
    parser.add_argument("--preset", metavar="NAME", help="name of the preset (default: that of the recipe)")
    parser.add_argument(
        "--terms", default="", help="what users of the preset must know, printed on its first load"
    )
    parser.add_argument("--replace", action="store_true", help="replace the network of this name")
    parser.add_argument(
        "--speed-up",
        type=_options.positive_number,
        default=WORTH_A_FILE,
        metavar="FACTOR",
        help="how many times faster the file for processors must be here to be kept (default: %(default)s)",
    )


def run(args):
    """Do all of it in a temporary folder; the repository changes at the end, or not at all."""
    from calzoo.commands._messages import tell
    from calzoo.export import export_run
    from calzoo.export.run import card_of
    from calzoo.inference.golden import write_golden
    from calzoo.inference.models import load_model
    from calzoo.training.runs import build_model, load_run
    from calzoo.weights.release import add_network, check_checkout, check_network

    check_checkout()
    trained = load_run(args.run)
    card = card_of(trained, build_model(trained), args.preset)
    check_network(card, terms=args.terms, overwrite=args.replace)
    if not trained.scores:
        _evaluate(trained)
    with tempfile.TemporaryDirectory() as folder:
        files = {
            "onnx": Path(folder) / "network.onnx",
            "golden": Path(folder) / "golden.npz",
            "safetensors": trained.weights,
        }
        export_run(args.run, files["onnx"], name=args.preset, speed_up=args.speed_up)
        quick = files["onnx"].with_name("network-cpu.onnx")
        if quick.exists():
            files["onnx_cpu"] = quick
        model = load_model(files["onnx"], provider="cpu")
        write_golden(model, files["golden"])
        preset = add_network(model.card, files, terms=args.terms, overwrite=args.replace)
    for kind, file in preset.network(model.card.role).files.items():
        print(f"{kind:<12}{file.name}  {file.size / 2**20:.1f} MB, {file.where}")
    for role in _missing(preset, model.card.role):
        tell(f"{preset.name} is not complete: release its {role!r} network too, with --preset {preset.name}")


def _missing(preset, role):
    """Return the roles of networks that a preset still lacks, where its task has several."""
    from calzoo.inference.cell_networks import ROLES

    return [other for other in ROLES if other not in preset.networks] if role in ROLES else []


def _evaluate(trained):
    """Score a run that was not scored, so that no network is released without numbers."""
    from calzoo.commands._scoring import scorer, task_of_recipe
    from calzoo.training import runs

    runs.save_scores(trained, scorer(task_of_recipe(trained.recipe)).score_run(trained))
