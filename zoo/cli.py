"""The command line: ``calzoo COMMAND ...``.

A command is a module of `calzoo.commands` with a docstring, a ``GROUP``, a
function ``add_arguments(parser)`` and a function ``run(args)``, which returns
the exit status or None for 0. It imports what it runs inside ``run``, so that
help and mistyped options are answered at once. Results go to stdout, messages
and progress to stderr. The exit status is 0, 1 for an error that the user can
mend (one line, no traceback), 2 for a command line that is wrong.
"""

import argparse
import codecs
import importlib
import os
import pkgutil
import sys
import warnings

import calzoo
from calzoo import commands
from calzoo.commands._messages import tell
from calzoo.errors import CalzooError

GROUPS = ("recordings", "networks", "presets", "help")
INTERRUPTED = 130  # what shells give a program that Ctrl-C stopped
# Read when NumPy or TensorFlow is imported, which is later.
_ENVIRONMENT = {
    # Commands share their work out themselves; threads of a BLAS within theirs wait for each other.
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    # Of TensorFlow errors alone; what it says while it is loaded no variable silences.
    "TF_CPP_MIN_LOG_LEVEL": "2",
}

# Which extra installs the module that is missing.
_EXTRA = {
    "h5py": "train",
    "keras": "train",
    "onnx": "train",
    "onnxruntime": "cpu",
    "openvino": "openvino",
    "patchify": "train",
    "safetensors": "train",
    "tensorflow": "train",
    "tf2onnx": "train",
    "zarr": "zarr",
}


def main(argv=None):
    """Run a command.

    Parameters
    ----------
    argv : sequence of str, optional
        The arguments; those of the process where absent.

    Returns
    -------
    int
        The exit status: 0, 1, 2, or 130 after Ctrl-C.
    """
    _mend_streams()
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    try:
        args = _parser().parse_args(argv)
        if args.command != "curate":  # All others draw into files, whatever can show a window here or not.
            os.environ["MPLBACKEND"] = "agg"
        with warnings.catch_warnings():
            warnings.filterwarnings("default", category=UserWarning)
            warnings.showwarning = _show_warning
            status = args.execute(args)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader of stdout has gone; nothing may be written there any more, not even at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except SystemExit as stop:  # of argparse, which has said why
        return stop.code
    except KeyboardInterrupt:
        tell("interrupted")
        return INTERRUPTED
    except ModuleNotFoundError as error:
        package = (error.name or "").split(".")[0]
        if package not in _EXTRA:
            raise
        tell(_missing(package))
        return 1
    except (CalzooError, OSError, MemoryError) as error:
        tell(error)
        return 1
    return status or 0


def _mend_streams():
    """Have both streams, and let no name of a file be too much for the first."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by who started this
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
    if hasattr(sys.stdout, "reconfigure"):
        # Names that are not UTF-8 come out as they are; elsewhere what an encoding lacks is spelled out.
        utf8 = codecs.lookup(sys.stdout.encoding).name == "utf-8"
        sys.stdout.reconfigure(errors="surrogateescape" if utf8 else "backslashreplace")


def _show_warning(message, category, filename, lineno, file=None, line=None):
    tell(f"warning: {message}")


def _missing(package):
    remedy = f"python -m pip install 'calzoo[{_EXTRA[package]}]'"
    return f"this command needs {package}, which is not installed; run: {remedy}"


def _parser():
    modules = _commands()
    parser = argparse.ArgumentParser(
        prog="calzoo",
        description=calzoo.__doc__.splitlines()[0],
        epilog=_epilog(modules),
        usage="calzoo COMMAND ... (calzoo COMMAND --help says more)",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"calzoo {calzoo.__version__}")
    subparsers = parser.add_subparsers(
        dest="command", required=True, help=argparse.SUPPRESS, metavar="COMMAND", prog="calzoo"
    )
    for name, module in modules.items():
        subparser = subparsers.add_parser(name, description=module.__doc__)
        module.add_arguments(subparser)
        subparser.set_defaults(execute=module.run)
    return parser


def _commands():
    names = [found.name for found in pkgutil.iter_modules(commands.__path__) if found.name[0] != "_"]
    return {name: importlib.import_module(f"calzoo.commands.{name}") for name in names}


def _epilog(modules):
    lines = []
    for group in GROUPS:
        lines.append(f"{group}:")
        for name, module in modules.items():
            if group == module.GROUP:
                lines.append(f"  {name:<12}{module.__doc__.splitlines()[0].rstrip('.')}")
    return "\n".join(lines)
