"""History, curves and previews of a run."""

import csv
import re
from pathlib import Path

import numpy as np

from calzoo.imaging.figures import save_figure, subplots
from calzoo.imaging.outputs import output_file

_COLOURS = np.array([(0, 0, 0), (255, 176, 0), (100, 143, 255)], np.uint8)  # background, axon, border


def write_history(path, rows):
    """Write one line per epoch as CSV, atomically; a number that an epoch lacks stays empty.

    Parameters
    ----------
    path : path-like
    rows : list of dict
    """
    columns = list(dict.fromkeys(name for row in rows for name in row))
    with output_file(path) as part, open(part, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)


def draw_curves(path, rows):
    """Draw the loss and all scores over epochs as PNG.

    Parameters
    ----------
    path : path-like
    rows : list of dict
        As for `write_history`.
    """
    names = [
        n
        for n in dict.fromkeys(k for row in rows for k in row)
        if n not in ("epoch", "step", "learning_rate", "loss")
    ]
    figure, (left, right) = subplots(1, 2, 11, 4)
    _plot(left, rows, "loss", label="training loss")
    for name in names:
        style = {"color": "black", "linewidth": 2.5} if name == "score" else {}
        _plot(right, rows, name, label=name, **style)
    # Most scores end at 1, but errors in pixels do not.
    values = [row[name] for row in rows for name in names if name in row]
    right.set_ylim(0, max([1.0, *(value for value in values if np.isfinite(value))]))
    for axes in (left, right) if names else (left,):
        axes.set_xlabel("epoch")
        axes.grid(alpha=0.3)
        axes.legend(fontsize=7)
    save_figure(figure, path)


def _plot(axes, rows, name, **style):
    """Draw a quantity over the epochs that have it: a line, or a dot of the only one."""
    have = [row for row in rows if name in row]
    marker = "o" if len(have) == 1 else None
    axes.plot([row["epoch"] for row in have], [row[name] for row in have], marker=marker, **style)


def draw_preview(path, title, picture, truth, prediction):
    """Draw a picture, its truth and what was predicted side by side as PNG.

    Parameters
    ----------
    path : path-like
    title : str
    picture : ndarray of float, (Y, X)
        Normalised intensities.
    truth, prediction : ndarray of int, (Y, X)
        0 background, 1 axon, 2 border; any other value is drawn grey.
    """
    figure, panels = subplots(1, 3, 12, 4.4)
    panels[0].imshow(picture, cmap="gray", vmin=np.percentile(picture, 1), vmax=np.percentile(picture, 99.8))
    panels[1].imshow(colours(truth))
    panels[2].imshow(colours(prediction))
    for axes, name in zip(panels, (title, "truth", "prediction"), strict=True):
        axes.set_title(name, fontsize=9)
        axes.set_axis_off()
    save_figure(figure, path)


def draw_confusions(folder, matrices, names):
    """Draw confusion matrices as PNG, each named after the data that it counts.

    Parameters
    ----------
    folder : path-like
    matrices : dict of str to ndarray of int, (C, C)
        By the name of the data.
    names : sequence of str
        Of the classes; a matrix of fewer classes has the first ones.

    Returns
    -------
    list of pathlib.Path
    """
    from calzoo.metrics.segmentation import draw_confusion

    paths = []
    for data, matrix in matrices.items():
        side = 1.9 + 1.1 * len(matrix)
        figure, axes = subplots(1, 1, side, side)
        draw_confusion(matrix, names[: len(matrix)], axes)
        axes.set_title(data, fontsize=9)
        name = re.sub("[^a-z0-9]+", "_", data.lower()).strip("_")
        paths.append(Path(folder) / f"confusion_{name}.png")
        save_figure(figure, paths[-1])
    return paths


def colours(classes):
    """Return classes (Y, X) as RGB: axon orange, border blue, not known grey."""
    known = (classes >= 0) & (classes < len(_COLOURS))
    return np.where(known[..., None], _COLOURS[np.where(known, classes, 0)], np.uint8(60))
