"""Turn a movie into a film to look at, with the outlines of masks.

OUT.avi opens in Fiji and in players, OUT.gif in browsers; a GIF takes one to two bytes for each
pixel of each frame, and of films above 50 MB the size is told before. OUT.png is one picture:
the mean of the movie and the correlation of neighbouring pixels, with the outlines.
"""

import argparse
import itertools
from pathlib import Path

from calzoo.commands import _options
from calzoo.commands._messages import tell

GROUP = "recordings"
UNKNOWN_RATE_HZ = 10.0
LARGE_BYTES = 50e6  # of a film: more than most mails and slides take


def add_arguments(parser):
    """Add the movie, the masks, and how to show them."""
    parser.add_argument("movie", type=Path, metavar="MOVIE", help="any recording that calzoo reads")
    parser.add_argument("-o", "--output", required=True, type=Path, metavar="OUT", help=".avi, .gif or .png")
    parser.add_argument("--overwrite", action="store_true", help="replace a file of that name")
    parser.add_argument("--masks", type=Path, metavar="M", help="masks.npz, or a label image as TIFF")
    parser.add_argument("--group", help="which group of masks.npz (default: the only one, or 'cells')")
    parser.add_argument(
        "--frames",
        type=frame_range,
        metavar="A:B",
        help="from frame A to before frame B (default: all); the last twenty are --frames=-20:",
    )
    parser.add_argument(
        "--average", type=_options.positive, default=1, metavar="N", help="show the mean of every N frames"
    )
    parser.add_argument(
        "--speed",
        type=_options.positive_number,
        default=1.0,
        metavar="X",
        help="speed in terms of real time (default: 1)",
    )
    parser.add_argument(
        "--zoom", type=_options.positive, metavar="N", help="enlarge N times (default: enough to be seen)"
    )
    _options.add_movie_reading(parser)


def run(args):
    """Write the film or the picture."""
    from calzoo.errors import CalzooError
    from calzoo.imaging.movies import open_movie
    from calzoo.imaging.outputs import refuse_existing, refuse_inputs

    if args.output.suffix.lower() not in (".avi", ".gif", ".png"):
        message = f"{args.output}: expected a name that ends in .avi, .gif or .png."
        raise CalzooError(message)
    refuse_inputs([args.output], [args.movie, *([args.masks] if args.masks else [])])
    if not args.overwrite:
        refuse_existing([args.output])
    with open_movie(args.movie, **_options.movie_reading(args)) as movie:
        masks = _read_masks(args.masks, args.group) if args.masks else None
        shown = _shown(movie, args)
        if args.output.suffix.lower() == ".png":
            _write_picture(args.output, shown, masks, args.zoom)
        else:
            _write_film(args.output, shown, masks, args)
    print(args.output)


def frame_range(text):
    """Read ``A:B``, either of which may be left out, as a slice."""
    first, colon, last = text.partition(":")
    try:
        numbers = [int(number) if number else None for number in (first, last)]
    except ValueError:
        colon = ""
    if not colon:
        message = f"expected two frame numbers A:B, such as 100:200; got {text!r}"
        raise argparse.ArgumentTypeError(message)
    return slice(*numbers)


def _shown(movie, args):
    """Cut the movie to the frames that are asked for, and average them."""
    from calzoo.imaging.frames import cut
    from calzoo.imaging.preprocessing import bin_frames

    if args.frames:
        movie = cut(movie, args.frames)
    return bin_frames(movie, args.average) if args.average > 1 else movie


def _read_masks(path, group):
    """Read masks from either kind of file."""
    from calzoo.imaging.masks import read_labels, read_masks

    return read_labels(path) if path.suffix.lower() in (".tif", ".tiff") else read_masks(path, group)


def _write_film(path, movie, masks, args):
    """Write every frame; say before that the file will be large."""
    from tqdm import tqdm

    from calzoo.imaging.animations import frame_bytes, write_animation
    from calzoo.imaging.films import film_frames
    from calzoo.imaging.outputs import in_bytes

    rate = (movie.frame_rate_hz or UNKNOWN_RATE_HZ) * args.speed
    frames = film_frames(movie, masks, zoom=args.zoom)
    first = next(frames)
    size = frame_bytes(path, first) * movie.shape[0]
    if size > LARGE_BYTES:
        height, width = first.shape[:2]
        tell(
            f"{path}: about {in_bytes(size)}, {movie.shape[0]} frames of {width} x {height} pixels; "
            "--average N, --frames A:B and --zoom 1 make it smaller."
        )
    frames = itertools.chain([first], frames)
    write_animation(path, tqdm(frames, total=movie.shape[0], unit="frame", disable=None), frame_rate_hz=rate)


def _write_picture(path, movie, masks, zoom):
    """Write the mean and the correlation side by side."""
    import numpy as np
    from PIL import Image

    from calzoo.imaging.contours import contour_picture
    from calzoo.imaging.masks import Masks
    from calzoo.imaging.outputs import output_file
    from calzoo.imaging.summary import summary_images

    images = summary_images(movie)
    masks = masks or Masks.from_pixels(movie.shape[1:], [])
    panels = [contour_picture(image, masks, zoom=zoom) for image in (images.mean, images.correlation)]
    gap = np.zeros((len(panels[0]), 8, 3), np.uint8)
    with output_file(path) as part:
        Image.fromarray(np.concatenate([panels[0], gap, panels[1]], axis=1)).save(part, format="PNG")
