"""The picture of a registration: means before and after, the template over them, motion over time."""

import numpy as np

from calzoo.imaging.figures import new_figure, save_figure
from calzoo.imaging.normalisation import percentile_range

_BAD = "#d55e00"


def draw_registration(path, quality, report, *, title=""):
    """Draw how a registration went as PNG.

    Parameters
    ----------
    path : path-like
    quality : object
        With ``template``, ``means``, ``valid``, (Y, X) each, ``measured``, which pixels are compared, and
        ``motion``, ``before``, ``after``, ``uncertainty``, ``deformation``, ``bad`` for each frame; see
        `calzoo.inference.registration_quality`.
    report : mapping
        Its numbers stand in the titles.
    title : str, optional
    """
    figure = new_figure(15, 7.8, "constrained")
    figure.suptitle(title, fontsize=11, parse_math=False)
    top, bottom = figure.subfigures(2, 1, height_ratios=(4.2, 3.6))
    _draw_means(top.subplots(1, 4), quality, report)
    _draw_traces(bottom.subplots(3, 1, sharex=True), quality)
    save_figure(figure, path, dpi=90)


def red_green(first, second, kept=...):
    """Return two pictures as red and green: yellow where they agree.

    Parameters
    ----------
    first, second : ndarray, (Y, X)
    kept : index, optional
        Of the pixels that decide what is dark and bright.

    Returns
    -------
    ndarray of float, (Y, X, 3)
        From 0 to 1.
    """
    red, green = (_stretched(picture, kept) for picture in (first, second))
    return np.stack([red, green, np.zeros_like(red)], axis=-1)


def _draw_means(panels, quality, report):
    before, after = quality.means
    crisp = [report[f"crispness_{when}"] for when in ("before", "after")]
    alike = [report[f"correlation_{when}"] for when in ("before", "after")]
    low, high = percentile_range(after[quality.measured], 1, 99.7)
    for axes, picture, name, value in zip(
        panels[:2], (before, after), ("before", "after"), crisp, strict=True
    ):
        axes.imshow(picture, cmap="gray", vmin=low, vmax=high)
        axes.set_title(f"mean {name}, crispness {_text(value)}", fontsize=9)
    edge = quality.valid.astype(float)
    if 0 < edge.mean() < 1:
        panels[1].contour(edge, levels=[0.5], colors=[_BAD], linewidths=0.8)
    for axes, picture, name, value in zip(
        panels[2:], (before, after), ("before", "after"), alike, strict=True
    ):
        axes.imshow(red_green(quality.template, picture, quality.measured))
        axes.set_title(f"template red, mean {name} green, r {_text(value)}", fontsize=9)
    for axes in panels:
        axes.set_axis_off()


def _draw_traces(panels, quality):
    frames = np.arange(len(quality.bad))
    panels[0].plot(frames, quality.motion[:, 0], linewidth=0.8, label="dy")
    panels[0].plot(frames, quality.motion[:, 1], linewidth=0.8, label="dx")
    panels[0].plot(frames, quality.deformation, linewidth=0.8, label="deformation, 95 %", color="gray")
    panels[0].set_ylabel("px")
    panels[1].plot(frames, quality.before, linewidth=0.8, label="correlation before", color="gray")
    panels[1].plot(frames, quality.after, linewidth=0.8, label="after", color="black")
    panels[2].plot(frames, quality.uncertainty, linewidth=0.8, label="expected error", color="black")
    panels[2].set_ylabel("px")
    panels[2].set_xlabel("frame")
    for axes in panels:
        for number in np.flatnonzero(quality.bad)[:500]:
            axes.axvspan(number - 0.5, number + 0.5, color=_BAD, alpha=0.3, linewidth=0)
        axes.grid(alpha=0.3)
        axes.legend(fontsize=7, loc="upper right", ncols=3)
        axes.margins(x=0)


def _stretched(picture, kept):
    low, high = percentile_range(picture[kept], 1, 99.7)
    return np.clip((np.asarray(picture, float) - low) / max(high - low, 1e-12), 0, 1)


def _text(value):
    return "-" if value is None else f"{value:.3g}"
