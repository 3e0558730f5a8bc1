"""Correct the motion of movies: rigid, non-rigid, and from scan line to scan line.

Of each movie: OUT.tif in the data type of the input where Fiji opens it (else bool as
uint8, int8 as int16, all others as float32), OUT.json (correlation with the template
before and after, crispness, residual motion, bad frames, valid area), OUT.png, OUT.valid.png (255 where
all good frames saw something, else 0), and with
--flow OUT.flow.npy, (T, Y, X, 2) float32: registered(y, x) = movie(y + dy, x + dx); with --bidirectional
odd lines of the movie are to be moved first, by "scan_offset_px" of OUT.json.
What was interrupted goes on from OUT.part.
"""

from pathlib import Path

from calzoo.commands import _options
from calzoo.commands._messages import tell

GROUP = "recordings"


def add_arguments(parser):
    """Add movies, how they move, reading and network."""
    parser.add_argument(
        "inputs",
        nargs="+",
        type=Path,
        metavar="MOVIE",
        help="raw movies: TIFF, NPY, HDF5, NWB, video, folders",
    )
    parser.add_argument(
        "-o",
        "--output",
        required=True,
        type=Path,
        metavar="OUT.tif",
        help="the registered movie; or a folder, in which each movie gets a file of its name",
    )
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="do again what is finished or was begun, and replace files of the same names",
    )
    parser.add_argument(
        "--flow", action="store_true", help="also write OUT.flow.npy, 8 bytes per pixel and frame"
    )
    parser.add_argument(
        "--uncertainty",
        action="store_true",
        help="also write OUT.uncertainty.npy, (T, Y/8, X/8) float32: expected error of the flow in pixels",
    )
    parser.add_argument(
        "--rigid",
        action="store_true",
        help="move each frame as a whole: exact to some hundredths of a pixel, fast, without a network",
    )
    parser.add_argument(
        "--template",
        type=Path,
        metavar="FILE",
        help="picture to bring frames to (default: made of the movie)",
    )
    parser.add_argument(
        "--reach",
        type=_options.positive_number,
        metavar="PX",
        help="largest rigid displacement (default: a fifth of the smaller side)",
    )
    parser.add_argument(
        "--smooth", type=float, default=0.0, metavar="FRAMES", help="smooth the motion over time (default: 0)"
    )
    parser.add_argument(
        "--cubic", action="store_true", help="interpolate by cubic splines: sharper and slower"
    )
    parser.add_argument(
        "--highpass",
        type=_options.positive_number,
        metavar="PX",
        help="see only structure narrower than this when motion is estimated; one-photon: about a cell",
    )
    parser.add_argument(
        "--bidirectional",
        nargs="?",
        const="auto",
        metavar="PX",
        help="bring odd scan lines under even ones; measured where no number is given",
    )
    parser.add_argument(
        "--all-channels",
        action="store_true",
        help="write all channels in their order, moved like the chosen one (--channel)",
    )
    parser.add_argument(
        "--joint",
        action="store_true",
        help="estimate motion on all channels of a movie that has several, and write them all",
    )
    _options.add_movie_reading(parser)
    _options.add_network(parser)


def run(args):
    """Register one movie after the other, all with the same network."""
    from calzoo.commands._batch import run_each, stem_of
    from calzoo.imaging.outputs import refuse_inputs
    from calzoo.inference.registration import run_registration
    from calzoo.inference.registration_files import SERIES, asked_options, result_files
    from calzoo.inference.registration_options import PRESET, checked_options, estimator

    network = estimator(
        args.rigid,
        _options.models(args).get("model"),
        args.preset or PRESET,
        provider=args.provider,
        threads=args.threads,
    )
    output, in_folder = args.output, len(args.inputs) > 1 or args.output.is_dir()
    if in_folder and len(args.inputs) == 1:
        output /= stem_of(args.inputs[0])
    template = None if args.template is None else _picture(args.template, _options.movie_reading(args))
    options = checked_options(
        joint=args.joint,
        rigid=args.rigid,
        reach=args.reach,
        smoothing=args.smooth,
        interpolation="cubic" if args.cubic else "linear",
        highpass=args.highpass,
        bidirectional=_offset(args.bidirectional),
    )
    series = [name for name in SERIES if getattr(args, name)]
    writing = {
        "open_options": _options.movie_reading(args),
        "all_channels": args.all_channels or args.joint,
    }

    def file_of(place):
        return place.with_name(f"{place.name}.tif") if in_folder else place

    def register(path, place):
        out = file_of(place)
        result = run_registration(
            path,
            out,
            model=network,
            template=template,
            overwrite=args.overwrite,
            **dict.fromkeys(series, True),
            **writing,
            **options,
        )
        report = result.report
        tell(
            f"{path}: correlation {_short(report['correlation_before'])} -> "
            f"{_short(report['correlation_after'])}, "
            f"{len(report['bad_frames'])} bad frames of {report['frames']}, computed on {result.provider}"
        )
        print(out)

    def results(place):
        files = result_files(file_of(place))  # the flow of an earlier result goes too
        refuse_inputs(files, [] if args.template is None else [args.template])
        return files

    made = in_folder and not args.output.exists()
    if made:
        args.output.mkdir(parents=True)
    try:
        return run_each(
            args.inputs,
            output,
            register,
            network=network.origin["sha256"],
            options=asked_options(options, template, series, **writing),
            overwrite=args.overwrite,
            results=results,
        )
    finally:
        if made and not any(args.output.iterdir()):
            args.output.rmdir()


def _picture(path, reading):
    """Read a template: a picture, or a movie, of which the mean of the first 200 frames is taken.

    What tells how the movies are read holds for the template too, where it can.
    """
    from calzoo.errors import CalzooError
    from calzoo.imaging.movies import open_movie
    from calzoo.imaging.picture_files import SUFFIXES, read_pictures

    reasons = []
    said = any(value is not None for value in reading.values())
    for options in (reading, {}) if said else (reading,):
        try:
            with open_movie(path, **options) as movie:
                return movie.frames(0, 200).mean(axis=0)
        except CalzooError as error:
            reasons.append(error)
    if path.suffix.lower() not in SUFFIXES:
        raise reasons[0]
    pictures = read_pictures(path)
    if "brightness" not in pictures:
        message = (
            f"{path}: expected a template, a picture of the tissue such as the mean, got "
            f"{', '.join(pictures)}; give the mean of a movie."
        )
        raise CalzooError(message)
    return pictures["brightness"]


def _offset(text):
    from calzoo.errors import CalzooError

    if text in (None, "auto"):
        return text
    try:
        return float(text)
    except ValueError:
        message = f"--bidirectional: expected a number of pixels, or nothing, got {text!r}."
        raise CalzooError(message) from None


def _short(value):
    return "-" if value is None else f"{value:.3f}"
