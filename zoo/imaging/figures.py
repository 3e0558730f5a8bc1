"""Figures of matplotlib, drawn into PNG files without touching the user's backend."""

import warnings

from calzoo.imaging.outputs import output_file


def new_figure(width, height, layout="tight"):
    """Return an empty figure.

    Parameters
    ----------
    width, height : float
        In inches.
    layout : str, optional
        As for `matplotlib.figure.Figure`.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure((width, height), layout=layout)
    FigureCanvasAgg(figure)
    return figure


def subplots(rows, columns, width, height, layout="tight", grid=None):
    """Return an empty figure and its axes; `grid` is what `matplotlib.gridspec.GridSpec` takes."""
    figure = new_figure(width, height, layout)
    return figure, figure.subplots(rows, columns, gridspec_kw=grid)


def save_figure(figure, path, dpi=80):
    """Write a figure as PNG.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
    path : path-like
    dpi : float, optional

    Raises
    ------
    CalzooError
        If the file cannot be written.
    """
    with output_file(path) as part, warnings.catch_warnings():
        # Names of recordings may have letters that the font lacks: boxes stand for them.
        warnings.filterwarnings("ignore", r"Glyph .* missing from")
        figure.savefig(part, format="png", dpi=dpi)
