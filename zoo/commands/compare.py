"""Compare two recordings of one field: what has a treatment changed.

Both recordings, of the same conditions, are seen by one network. comparison.csv tells
of each group of conditions how far answers spread beyond the stimulated cells, and how
alike the maps are, before and after, each with a 95 % interval (Student's t over trials)
and p (permutation over trials); matrices, pictures, report.html and run.json stand
beside it. The spread is the test of a treatment: drift and dim light change maps too.
"""

from pathlib import Path

from calzoo.commands import _options
from calzoo.commands._messages import tell
from calzoo.commands.stimulus import add_tables, load_network, table_beside

GROUP = "recordings"


def add_arguments(parser):
    """Add both recordings, their tables and the network."""
    parser.add_argument("before", type=Path, metavar="BEFORE", help="movie, or frames after the onsets")
    parser.add_argument("after", type=Path, metavar="AFTER", help="the same field, later")
    parser.add_argument("-o", "--output", required=True, type=Path, metavar="DIR")
    add_tables(parser, nargs=2)
    parser.add_argument(
        "--masks", type=Path, metavar="FILE.npz", help="cells whose answers are compared too, by their cosine"
    )
    parser.add_argument(
        "--seed",
        type=_options.seed,
        default=0,
        help="of signs that are drawn for p above 14 trials (default: 0)",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier result in DIR")
    _options.add_movie_reading(parser)
    _options.add_network(parser)


def run(args):
    """Compare, and print one line for each group."""
    from tqdm import tqdm

    from calzoo.imaging.outputs import refuse_result
    from calzoo.stimulus.folders import run_compare

    if not args.overwrite:
        refuse_result(args.output, "give another -o, or replace it with --overwrite")
    model = load_network(args)
    tables = args.table or [table_beside(path) for path in (args.before, args.after)]
    with tqdm(unit="frame", disable=None) as bar:
        comparison = run_compare(
            args.before,
            args.after,
            args.output,
            tables,
            conditions=args.conditions,
            masks=args.masks,
            open_options=_options.movie_reading(args),
            seed=args.seed,
            model=model,
            target=args.target,
            progress=bar.update,
        )
    spreads = {f"group {group}": change for group, change in comparison.spreads.items()}
    maps = {f"group {group}": change for group, change in comparison.changes.items()}
    maps["all groups"] = comparison.overall
    _say("spread", {**spreads, "all groups": comparison.spread})
    _say("similarity of maps", maps)
    if comparison.classical is not None:
        _say("cosine of cells", {"all groups": comparison.classical})
    print(args.output)


def _say(what, changes):
    for name, change in changes.items():
        low, high = change.interval
        tell(
            f"{name}: {what} {change.before:.3f} -> {change.after:.3f}, change "
            f"{change.difference:+.3f} [{low:+.3f}, {high:+.3f}], p = {change.p:.3f}"
        )
