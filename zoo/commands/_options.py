"""Options that several commands share, and how their values are read."""

import argparse
import contextlib
import functools
import os
import re
from pathlib import Path

from calzoo.errors import CalzooError

_MOVIE_READING = ("axes", "channel", "plane", "dataset", "frame_shape", "frame_rate_hz", "pixel_um")
#: What readers advise in the end: to say by an option what a file does not.
_ADVICE = re.compile(r"[;:] [^;:]*--(axes|channel|plane|dataset|frame-shape)\b.*", re.DOTALL)
PROVIDERS = ("auto", "cpu", "cuda", "tensorrt", "openvino")


def add_inputs(parser, metavar, what):
    """Add one or many recordings, and the folder of their results."""
    parser.add_argument("inputs", nargs="+", type=Path, metavar=metavar, help=what)
    parser.add_argument(
        "-o",
        "--output",
        required=True,
        type=Path,
        metavar="DIR",
        help="folder of the results; of several inputs each gets a folder of its name in it",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="do again what is finished (default: skip it)"
    )


def add_reading(parser):
    """Add how a recording is to be understood, where its file does not say."""
    group = parser.add_argument_group("reading")
    group.add_argument(
        "--axes", help="order of the file's axes, e.g. zyx, zcyx (default: what the file says)"
    )
    group.add_argument("--channel", help="which channel, by number from 0 or by name")
    group.add_argument(
        "--voxel",
        type=voxel,
        metavar="Z,Y,X",
        help="voxel size in micrometres (default: what the file says; without any, lengths are in pixels)",
    )


def add_movie_reading(parser, title="reading"):
    """Add how a movie is to be understood, where its files do not say; `movie_reading` reads it."""
    group = parser.add_argument_group(title)
    group.add_argument(
        "--axes", help="order of the file's axes, e.g. tyx, tzcyx (default: what the file says)"
    )
    group.add_argument("--channel", help="which channel, by number from 0 or by name")
    group.add_argument("--plane", type=int, metavar="N", help="which plane of several, counted from 0")
    group.add_argument(
        "--dataset", metavar="PATH", help="which data set of an HDF5, MATLAB or NWB file, e.g. /data/movie"
    )
    group.add_argument(
        "--frame-shape",
        type=functools.partial(shape, axes="Y,X", example="512,512"),
        metavar="Y,X",
        help="rows and columns of the frames of a data.bin without its ops.npy",
    )
    group.add_argument(
        "--rate",
        dest="frame_rate_hz",
        type=positive_number,
        metavar="HZ",
        help="frames per second (default: what the file says)",
    )
    group.add_argument(
        "--voxel",
        "--pixel",
        dest="pixel_um",
        type=pixel,
        metavar="[Z,]Y,X",
        help="pixel size in micrometres (default: what the file says; without any, lengths are in pixels)",
    )


def add_valid(parser):
    """Add which part of a registered movie is looked at."""
    parser.add_argument(
        "--valid",
        type=Path,
        metavar="PICTURE",
        help="OUT.valid.png of calzoo register: nothing is found where it is 0",
    )


def add_network(parser):
    """Add which network runs, and where."""
    group = parser.add_argument_group("network")
    either = group.add_mutually_exclusive_group()
    either.add_argument("--preset", metavar="NAME", help="released network (see: calzoo list)")
    either.add_argument(
        "--model",
        action="append",
        default=[],
        metavar="[ROLE=]FILE.onnx",
        help="network from a file; once for each role where the task has several",
    )
    add_provider(group)


def add_provider(parser):
    """Add where a network runs."""
    parser.add_argument(
        "--provider",
        choices=PROVIDERS,
        default="auto",
        help="what computes; auto tries, a named one never falls back (default: auto)",
    )
    parser.add_argument(
        "--threads",
        type=positive,
        metavar="N",
        help="threads of the CPU (default: all cores; 2 where pictures of a movie are made)",
    )


def positive(text):
    """Read a whole number from 1 on."""
    return _number(text, int, "a whole number from 1 on")


def positive_number(text):
    """Read a number above 0."""
    return _number(text, float, "a number above 0")


def seed(text):
    """Read a whole number from 0 on."""
    if not text.isdecimal():
        message = f"expected a whole number from 0 on, got {text!r}"
        raise argparse.ArgumentTypeError(message)
    return int(text)


def voxel(text):
    """Read ``Z,Y,X`` as three sizes in micrometres."""
    parts = text.split(",")
    if len(parts) != 3:
        message = f"expected three sizes Z,Y,X in micrometres, such as 2,0.5,0.5; got {text!r}"
        raise argparse.ArgumentTypeError(message)
    return tuple(_number(part, float, "a size in micrometres above 0") for part in parts)


def shape(text, axes="Z,Y,X", example="32,256,256"):
    """Read whole numbers, one for each of `axes`."""
    parts = text.split(",")
    if len(parts) != len(axes.split(",")):
        message = f"expected whole numbers {axes}, such as {example}; got {text!r}"
        raise argparse.ArgumentTypeError(message)
    return tuple(positive(part) for part in parts)


def pixel(text):
    """Read ``Y,X`` or ``Z,Y,X`` as the sides (y, x) of a pixel in micrometres."""
    parts = text.split(",")
    if len(parts) not in (2, 3):
        message = f"expected sizes Y,X or Z,Y,X in micrometres, such as 1.2,1.2; got {text!r}"
        raise argparse.ArgumentTypeError(message)
    return tuple(_number(part, float, "a size in micrometres above 0") for part in parts)[-2:]


def movie_reading(args):
    """Return what `add_movie_reading` read, as arguments of `calzoo.open_movie`."""
    return {name: getattr(args, name) for name in _MOVIE_READING}


@contextlib.contextmanager
def without_reading():
    """While files of ``--data`` are read, to which no option of reading applies, advise to save them anew.

    Raises
    ------
    CalzooError
        Within the block a reader's, whose advice ends in an option such as ``--axes``: with another one.
    """
    try:
        yield
    except CalzooError as error:
        text, advised = _ADVICE.subn("", str(error))
        if not advised:
            raise
        message = (
            f"{text}; save what is meant of it, one channel and one plane or one stack, as a TIFF that names "
            "its axes (Fiji does): for files of --data no option says it."
        )
        raise CalzooError(message) from error


def models(args, roles=("model",)):
    """Read ``--model [ROLE=]FILE.onnx`` as a dict of role to path.

    Raises
    ------
    CalzooError
        If a role is not one of `roles`, comes twice, or is not given where there are several.
    """
    found = {}
    for text in args.model:
        role, equals, path = text.partition("=")
        if not equals or os.path.exists(text):
            role, path = (roles[0], text) if len(roles) == 1 else ("", text)
        if role not in roles or role in found:
            message = (
                f"--model: expected each of {', '.join(f'{r}=FILE.onnx' for r in roles)} once, got {text!r}."
            )
            raise CalzooError(message)
        found[role] = Path(path)
    if found and set(found) != set(roles):
        message = f"--model: this task needs all of {', '.join(roles)}; got only {', '.join(found)}."
        raise CalzooError(message)
    return found


def _number(text, kind, what):
    try:
        value = kind(text)
    except ValueError:
        value = 0
    if not 0 < value < float("inf"):
        message = f"expected {what}, got {text!r}"
        raise argparse.ArgumentTypeError(message)
    return value
