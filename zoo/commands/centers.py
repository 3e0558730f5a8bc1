"""Find the centres of cells in one-photon movies.

Of each movie: centers.csv, traces.csv, masks.npz, labels.tif, rois.zip, overlay.png,
stages.png and run.json. The movie should be registered. To fit the cells of one recording without a
released network, see: calzoo train centers --movie.
"""

from pathlib import Path

from calzoo.commands import _options
from calzoo.commands._messages import tell

GROUP = "recordings"


def add_arguments(parser):
    """Add movies, cells, reading and network."""
    _options.add_inputs(
        parser, "MOVIE", "movies: TIFF, NPY, HDF5, NWB, AVI, or a folder or ZIP archive of frames"
    )
    parser.add_argument(
        "--diameter",
        metavar="SIZE",
        help="of the cells, in pixels (11) or micrometres (14um) (default: the network measures it)",
    )
    parser.add_argument(
        "--count", type=_options.positive, metavar="N", help="the N likeliest centres, whatever their score"
    )
    parser.add_argument(
        "--score",
        type=_options.positive_number,
        metavar="P",
        help="least score of a centre, between 0 and 1 (default: what the network's card says)",
    )
    parser.add_argument(
        "--mask",
        type=Path,
        metavar="FILE",
        help="known cells, as masks.npz or picture: drawn under the centres in on_mask.png; the share of "
        "centres on them, that of random points and the chance-corrected score go to run.json",
    )
    parser.add_argument("--group", help="which group of that masks.npz (default: the only one, or 'cells')")
    parser.add_argument(
        "--details",
        action="store_true",
        help="also draw what the network sees and says (pictures.png), and histograms",
    )
    _options.add_valid(parser)
    _options.add_movie_reading(parser)
    _options.add_network(parser)


def run(args):
    """Find the centres of one movie after the other, all with one network."""
    from calzoo.commands._batch import run_each
    from calzoo.commands._centers import counted, on_mask, verdict
    from calzoo.imaging.outputs import source_facts
    from calzoo.inference.centers import run_centers
    from calzoo.inference.models import load_model

    name = _options.models(args).get("model", args.preset or "centers-1p")
    model = load_model(name, provider=args.provider, threads=args.threads)

    options = {
        "diameter": args.diameter,
        "count": args.count,
        "score": args.score,
        "mask": args.mask,
        "group": args.group,
        "details": args.details,
        "valid": args.valid,
        **_options.movie_reading(args),
    }

    def find(path, folder):
        def judge(points, known):
            facts = on_mask(points, known)
            tell(f"{path}: {verdict(facts)}")
            return facts

        found = run_centers(path, folder, model=model, threads=args.threads, judge=judge, **options)
        tell(f"{path}: {counted(found)}, computed on {found.provider}")
        print(folder)

    return run_each(
        args.inputs,
        args.output,
        find,
        network=model.sha256,
        options={
            **options,
            "mask": args.mask and source_facts(args.mask),
            "valid": args.valid and source_facts(args.valid),
        },
        overwrite=args.overwrite,
    )
