"""Look at the cells of a result one by one, and keep or drop each.

A small window: left and right go to the previous or next cell, Enter keeps or drops it,
Esc saves and closes. The state is in DIR/curation.csv, where the same command goes
on; the masks that are kept are in DIR/curated.npz. Where DIR has a suite2p folder, its iscell.npy
says so too.
"""

import os
from pathlib import Path

from calzoo.commands import _options
from calzoo.commands._messages import tell
from calzoo.errors import CalzooError

GROUP = "recordings"


def add_arguments(parser):
    """Add movie and result."""
    parser.add_argument(
        "movie", type=Path, metavar="MOVIE", help="the recording, or with --summary a picture"
    )
    parser.add_argument("folder", type=Path, metavar="DIR", help="what 'calzoo cells' wrote of it")
    parser.add_argument("--summary", action="store_true", help="MOVIE is a picture")
    _options.add_movie_reading(parser)


def run(args):
    """Open the window until it is closed."""
    from calzoo.annotation.curate import STATE_FILE, Curation

    curation = Curation(args.folder)
    _check_screen()
    picture, traces = _shown(args, curation.masks)
    from matplotlib import pyplot

    from calzoo.annotation.curate_window import CurationWindow

    CurationWindow(curation, picture, traces)
    pyplot.show()
    tell(f"{int(curation.kept.sum())} of {len(curation.masks)} cells are kept")
    print(args.folder / STATE_FILE)


def _shown(args, masks):
    """Return the picture and the traces."""
    from calzoo.imaging.movies import open_movie
    from calzoo.imaging.picture_files import read_pictures
    from calzoo.imaging.traces import extract_traces

    if args.summary:
        pictures = read_pictures(args.movie)
        picture, traces = pictures.get("brightness", next(iter(pictures.values()))), None
    else:
        from calzoo.imaging.summary import summary_images

        with open_movie(args.movie, **_options.movie_reading(args)) as movie:
            if movie.shape[1:] == masks.shape:
                picture = summary_images(movie).mean
                traces = extract_traces(movie, masks).cells if len(masks) else None
            else:
                picture = movie.frames(0, 1)[0]
    if picture.shape != masks.shape:
        message = (
            f"{args.movie}: its frames have {picture.shape} pixels, the masks {masks.shape}; give "
            "the recording that they were found in."
        )
        raise CalzooError(message)
    return picture, traces


def _check_screen():
    """Refuse where matplotlib can show no window: it says so only once there is a figure."""
    try:
        from matplotlib import get_backend, pyplot

        figure = pyplot.figure()
        shows = figure.canvas.required_interactive_framework is not None
        pyplot.close(figure)
    except (ImportError, RuntimeError, ValueError):  # of backends that are named, but not there
        shows = False
    if not shows:
        backend = os.environ.get("MPLBACKEND") or get_backend()
        message = (
            f"calzoo curate needs a window, but matplotlib has none here (backend {backend!r}); run it on a "
            "computer with a screen, with a toolkit installed, e.g. python -m pip install PyQt6."
        )
        raise CalzooError(message)
