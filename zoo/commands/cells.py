"""Find neurons in two-photon movies, or in summary pictures of them.

Of each recording: masks.npz, labels.tif, rois.zip (ImageJ), cells.csv, overlay.png,
caiman_A.npz and run.json; of a movie also traces.csv (F), neuropil.csv (Fneu), corrected.csv
(F - 0.7 Fneu), dff.csv (its change over a running baseline) and a suite2p folder.
"""

import json
from pathlib import Path

from calzoo.commands import _options
from calzoo.commands._messages import tell
from calzoo.errors import CalzooError

GROUP = "recordings"


def add_arguments(parser):
    """Add recordings, sizes, thresholds, reading and networks."""
    _options.add_inputs(parser, "MOVIE", "two-photon movies, registered; with --summary pictures of them")
    parser.add_argument(
        "--summary",
        action="store_true",
        help="each input is one picture (a mean, median or maximum), or a stack of correlation, median and "
        "standard deviation; of the options for reading only --pixel applies",
    )
    parser.add_argument(
        "--diameter",
        metavar="SIZE",
        help="median diameter of the cells, such as 12px or 10um (default: estimated)",
    )
    parser.add_argument(
        "--score",
        type=_options.positive_number,
        metavar="S",
        help="least score of a cell, above 0 and up to 1",
    )
    parser.add_argument(
        "--prior", action="store_true", help="multiply masks by their mean, which suppresses neighbours"
    )
    parser.add_argument(
        "--no-traces", action="store_true", help="masks only: the movie is read once, not twice"
    )
    parser.add_argument(
        "--baseline",
        type=_options.positive_number,
        metavar="SECONDS",
        help="window in which the baseline of dF/F is the tenth percentile (default: 60)",
    )
    parser.add_argument(
        "--nwb",
        nargs="?",
        const=True,
        metavar="META.json",
        help="also write cells.nwb (needs pynwb), with experimenter, subject, ... from a JSON file",
    )
    _options.add_valid(parser)
    _options.add_movie_reading(parser)
    _options.add_network(parser)


def run(args):
    """Find cells in one recording after the other, all with the same networks."""
    from calzoo.commands._batch import run_each
    from calzoo.imaging.masks import count_of_cells
    from calzoo.imaging.outputs import source_facts
    from calzoo.inference.cell_networks import ROLES, CellNetworks
    from calzoo.inference.cells import PRESET, network_hash, run_cells

    files = _options.models(args, ROLES) or None
    networks = CellNetworks.load(files, args.preset or PRESET, provider=args.provider, threads=args.threads)

    options = {
        "summary": args.summary,
        "diameter": args.diameter,
        "score": args.score,
        "prior": args.prior,
        "traces": not args.no_traces,
        "baseline_s": args.baseline,
        "nwb": _metadata(args.nwb),
        "valid": args.valid,
        **_options.movie_reading(args),
    }

    def find(path, folder):
        result = run_cells(path, folder, model=networks, threads=args.threads, **options)
        size = f" of about {result.diameter_px:.1f} px" if result.count else ""
        tell(f"{path}: {count_of_cells(result.count)}{size}, computed on {result.provider}")
        print(folder)

    return run_each(
        args.inputs,
        args.output,
        find,
        network=network_hash(networks),
        options={**options, "valid": args.valid and source_facts(args.valid)},
        overwrite=args.overwrite,
    )


def _metadata(path):
    """Read the metadata of an NWB file; False without one, True where it is to be written without."""
    if path is None or path is True:
        return bool(path)
    try:
        metadata = json.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError as error:
        message = f"{path}: expected a JSON object with metadata of NWB, got {error}."
        raise CalzooError(message) from error
    if not isinstance(metadata, dict):
        message = f"{path}: expected a JSON object with metadata of NWB, got {type(metadata).__name__}."
        raise CalzooError(message)
    return metadata
