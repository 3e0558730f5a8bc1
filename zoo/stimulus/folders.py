"""From files to folders: what the commands ``stimulus`` and ``compare`` write."""

import contextlib
import sys
import time

from calzoo.errors import CalzooError
from calzoo.imaging.stimulus_report import PICTURES, PICTURES_OF_PAIRS
from calzoo.inference.stimulus import PRESET, StimulusNetwork
from calzoo.stimulus.analysis import analyse_stimuli, blocks, matrix_table, predictions
from calzoo.stimulus.answers import roi_answers
from calzoo.stimulus.comparison import (
    check_pair,
    check_trials,
    compare_analyses,
    comparison_table,
    overlapping_trials,
)

_FILES = ("predictions.csv", "zncc.csv", "ssd.csv", "blocks.csv", "cams.tif", *PICTURES, "report.html")
_OF_PAIRS = ("comparison.csv", "zncc_before.csv", "zncc_after.csv", *PICTURES_OF_PAIRS, "report.html")


def run_stimulus(
    path, out, table, *, conditions=None, open_options=None, masks=None, progress=None, **options
):
    """Decode a recording into a folder.

    The folder gets predictions.csv, cams.tif (mean map of each condition), zncc.csv,
    ssd.csv, blocks.csv, pictures, report.html and run.json, all of them or none.

    Parameters
    ----------
    path : path-like
        What `open_movie` reads.
    out : path-like
        The folder.
    table : path-like
        See `calzoo.imaging.stimuli`.
    conditions : path-like, optional
        Cells of each condition.
    open_options : mapping, optional
        Further arguments of `open_movie`.
    masks : path-like, optional
        Masks of the cells, the stimulated ones first: the network sees these alone.
    progress : callable, optional
        As for `analyse_stimuli`.
    **options
        As for `analyse_stimuli`.

    Returns
    -------
    StimulusAnalysis

    Raises
    ------
    CalzooError
        If a file, the network or an option cannot be used, or the disk is full.
    """
    from calzoo.imaging.movies import open_movie
    from calzoo.imaging.outputs import output_folder, refuse_others, shown_name, write_run_json

    began = time.perf_counter()
    refuse_others(out, _FILES)
    network = _network(options)
    if masks is not None:
        options["mask"] = stimulated_pixels(masks, network.cells)
    with contextlib.ExitStack() as files:
        movie = files.enter_context(open_movie(path, **open_options or {}))
        stimuli = _read_stimuli(movie, path, table, network, conditions)
        # Before the work: where nothing can be written, hours of it would be lost.
        folder = files.enter_context(output_folder(out, inputs=_given(path, table, conditions, masks)))
        analysis = analyse_stimuli(movie, stimuli, model=network, progress=progress, **options)
        _write_analysis(folder, analysis, shown_name(path))
        write_run_json(
            folder,
            input=path,
            table=table,
            **analysis.facts,
            options=asked_options(
                table, conditions, masks, target=options.get("target", "largest"), **(open_options or {})
            ),
            scores=analysis.scores,
            seconds=round(time.perf_counter() - began, 3),
        )
    return analysis


def asked_options(table, conditions, masks, **options):
    """Return "options" of run.json: what must be the same for a result to be of this table.

    Parameters
    ----------
    table, conditions, masks : path or None
        As for `run_stimulus`. Their sizes and ages count, as a table is often corrected under its name.
    **options
        All others.
    """
    from calzoo.imaging.outputs import source_facts

    read = {"table": table, "conditions": conditions, "masks": masks}
    return {**{name: path and source_facts(path) for name, path in read.items()}, **options}


def run_compare(
    first,
    second,
    out,
    tables,
    *,
    conditions=None,
    masks=None,
    open_options=None,
    seed=0,
    progress=None,
    **options,
):
    """Compare two recordings of a field into a folder.

    The folder gets comparison.csv, both matrices as tables, pictures, report.html and run.json.

    Parameters
    ----------
    first, second : path-like
        What `open_movie` reads: before and after.
    out : path-like
        The folder.
    tables : pair of path-like
        Stimuli of each.
    masks : path-like, optional
        A file of `calzoo.imaging.masks` with cells of the field: their answers are compared too.
    conditions, open_options, progress
        As for `run_stimulus`.
    seed : int, optional
        Of the resampling.
    **options
        As for `analyse_stimuli`.

    Returns
    -------
    StimulusComparison
    """
    from calzoo.imaging.movies import open_movie
    from calzoo.imaging.outputs import output_folder, refuse_inputs, refuse_others, shown_name, write_run_json

    began = time.perf_counter()
    refuse_inputs([out], [first, second])
    refuse_others(out, _OF_PAIRS)
    network = _network(options)
    if masks is not None and network.masked:
        options["mask"] = stimulated_pixels(masks, network.cells)
    with contextlib.ExitStack() as files:
        movies = [files.enter_context(open_movie(path, **open_options or {})) for path in (first, second)]
        # All that tables can have wrong, before the network has seen every frame.
        stimuli = [
            _read_stimuli(movie, path, table, network, conditions)
            for movie, path, table in zip(movies, (first, second), tables, strict=True)
        ]
        for one, table in zip(stimuli, tables, strict=True):
            check_trials(one, str(table))
            if warning := overlapping_trials(one):
                print(f"calzoo: {table}: {warning}", file=sys.stderr)
        check_pair(*stimuli, [tuple(movie.shape[1:]) for movie in movies])
        stack = None if masks is None else _masks_of(masks, movies[0], first)
        inputs = _given(first, second, *tables, conditions, masks)
        folder = files.enter_context(output_folder(out, inputs=inputs))
        sides = [
            analyse_stimuli(movie, one, model=network, progress=progress, **options)
            for movie, one in zip(movies, stimuli, strict=True)
        ]
        answers = None
        if stack is not None:
            answers = [
                roi_answers(movie, side.stimuli, stack) for movie, side in zip(movies, sides, strict=True)
            ]
        comparison = compare_analyses(*sides, answers=answers, seed=seed)
        _write_comparison(folder, comparison, (shown_name(first), shown_name(second)))
        write_run_json(
            folder,
            input=[first, second],
            tables=list(tables),
            **sides[0].facts,
            groups=comparison_table(comparison),
            seed=seed,
            seconds=round(time.perf_counter() - began, 3),
        )
    return comparison


def stimulated_pixels(masks, cells):
    """Return where the stimulated cells are, (Y, X) bool, from a file of masks, theirs first."""
    from calzoo.imaging.masks import read_masks

    stack = read_masks(masks).stack()
    if len(stack) < cells:
        message = f"{masks}: expected masks of {cells} stimulated cells, the first ones, got {len(stack)}."
        raise CalzooError(message)
    return stack[:cells].any(axis=0)


def _given(*paths):
    return [path for path in paths if path is not None]


def _network(options):
    """Load the network that some options name; they are taken out."""
    return StimulusNetwork.load(
        options.pop("model", None),
        options.pop("preset", PRESET),
        provider=options.pop("provider", "auto"),
        threads=options.pop("threads", None),
    )


def _masks_of(path, movie, name):
    """Return the masks of a file, (A, Y, X) bool, as large as the frames of a movie."""
    from calzoo.imaging.masks import read_masks

    stack = read_masks(path).stack()
    wanted, got = tuple(movie.shape[1:]), stack.shape[1:]
    if got != wanted:
        message = f"{path}: expected masks of {wanted} pixels, as {name} has, got {got}."
        raise CalzooError(message)
    return stack


def _read_stimuli(movie, path, table, network, conditions):
    from calzoo.imaging.stimuli import read_stimuli

    return read_stimuli(
        table,
        frames=len(movie),
        frame_rate_hz=movie.frame_rate_hz,
        conditions=conditions,
        cells=network.cells,
        after=network.after,
        label=str(path),
    )


def _write_analysis(folder, analysis, name):
    from calzoo.imaging.outputs import write_table
    from calzoo.imaging.stimulus_report import write_report
    from calzoo.imaging.writers import write_volume

    write_table(folder / "predictions.csv", predictions(analysis))
    write_table(folder / "zncc.csv", matrix_table(analysis.zncc, analysis.stimuli.names))
    write_table(folder / "ssd.csv", matrix_table(analysis.ssd, analysis.stimuli.names))
    write_table(folder / "blocks.csv", blocks(analysis))
    write_volume(folder / "cams.tif", analysis.mean_cams)
    write_report(folder, analysis, blocks(analysis), name)


def _write_comparison(folder, comparison, names):
    from calzoo.imaging.outputs import write_table
    from calzoo.imaging.stimulus_report import write_comparison

    columns = comparison_table(comparison)
    write_table(folder / "comparison.csv", columns)
    for name, side in (("before", comparison.before), ("after", comparison.after)):
        write_table(folder / f"zncc_{name}.csv", matrix_table(side.zncc, side.stimuli.names))
    write_comparison(folder, comparison, columns, names)
