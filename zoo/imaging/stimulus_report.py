"""Pictures and a self-contained page of what a network says of photostimulation."""

import base64
import html

import numpy as np

from calzoo.imaging.figures import save_figure, subplots

_STYLE = """body{font:15px/1.5 system-ui,sans-serif;max-width:62rem;margin:2rem auto;padding:0 1rem}
img{max-width:100%}table{border-collapse:collapse;margin:1rem 0}
td,th{border:1px solid #ccc;padding:.25rem .6rem;text-align:right}
th{background:#f3f3f3}h2{margin-top:2.2rem}p.note{color:#555}"""
#: What `write_report` and `write_comparison` draw.
PICTURES = ("zncc.png", "overlay.png", "gallery.png", "accuracy.png", "trials.png")
PICTURES_OF_PAIRS = ("matrices.png", "changes.png", "spread.png", "maps.png")
_SHOWN = 40  # conditions of a gallery
_NAMED = 45  # conditions of a matrix whose names find room


def write_report(folder, analysis, blocks, name):
    """Write zncc.png, gallery.png, overlay.png, accuracy.png, trials.png and report.html.

    Parameters
    ----------
    folder : pathlib.Path
    analysis : calzoo.stimulus.analysis.StimulusAnalysis
    blocks : dict of str to list
        Columns of blocks.csv.
    name : str
        Of the recording.
    """
    draw_matrices(
        folder / "zncc.png", [("ZNCC", analysis.zncc), ("ZNCC squared", analysis.zncc**2)], analysis
    )
    draw_overlay(folder / "overlay.png", analysis)
    draw_gallery(folder / "gallery.png", analysis)
    draw_accuracy(folder / "accuracy.png", analysis)
    draw_trials(folder / "trials.png", analysis)
    scores = [[_label(k), _number(v)] for k, v in analysis.scores.items()]
    sections = [
        (
            "Which cells were stimulated",
            _table(("score", "value"), scores) + _NOTES["scores"],
            "accuracy.png",
        ),
        ("Over trials and frames", _NOTES["trials"], "trials.png"),
        ("What the answers rest on", _NOTES["overlay"], "overlay.png"),
        ("Mean map of each condition", "", "gallery.png"),
        (
            "How alike the maps of the conditions are",
            _table(blocks, zip(*([_number(v) for v in c] for c in blocks.values()), strict=True)),
            "zncc.png",
        ),
    ]
    _write_page(folder, f"Stimuli decoded from {name}", _facts(analysis), sections)


def write_comparison(folder, comparison, columns, names):
    """Write spread.png, matrices.png, changes.png, maps.png and report.html.

    Parameters
    ----------
    folder : pathlib.Path
    comparison : calzoo.stimulus.comparison.StimulusComparison
    columns : dict of str to list
        Columns of comparison.csv.
    names : tuple of str
        Of both recordings.
    """
    before, after = comparison.before, comparison.after
    draw_matrices(
        folder / "matrices.png",
        [("before", before.zncc), ("after", after.zncc), ("after - before", after.zncc - before.zncc)],
        before,
        comparison.changes,
    )
    draw_changes(folder / "changes.png", comparison.changes, "mean similarity of maps")
    draw_changes(folder / "spread.png", comparison.spreads, "spread beyond the stimulated cells")
    draw_pairs(folder / "maps.png", before, after)
    rows = zip(*([_number(v) for v in c] for c in columns.values()), strict=True)
    sections = [
        ("Do answers spread farther?", _table(columns, rows) + _NOTES["spread"], "spread.png"),
        ("Are maps of different conditions more alike?", _NOTES["changes"], "changes.png"),
        ("Similarity of the maps of all conditions", _NOTES["matrices"], "matrices.png"),
        ("Maps that changed most", "", "maps.png"),
    ]
    _write_page(folder, f"{names[0]} and {names[1]}", _facts(before), sections)


def draw_matrices(path, matrices, analysis, changes=None):
    """Draw matrices between conditions side by side, with the groups framed.

    Parameters
    ----------
    path : path-like
    matrices : list of (str, ndarray)
        Title and (C, C); a title with " - " is a difference, drawn about 0.
    analysis : StimulusAnalysis
        For names and groups of the conditions.
    changes : dict of int to Change, optional
        Whose p is written into the groups' frames of a difference.
    """
    figure, panels = subplots(1, len(matrices), 6.2 * len(matrices), 5.6, "constrained")
    names, groups = analysis.stimuli.names, analysis.groups
    for panel, (title, matrix) in zip(np.ravel(panels), matrices, strict=True):
        difference = " - " in title
        limit = max(float(np.nanmax(np.abs(matrix))) if np.isfinite(matrix).any() else 1.0, 1e-6)
        style = {"cmap": "RdBu_r", "vmin": -limit, "vmax": limit} if difference else {"cmap": "plasma"}
        shown = panel.imshow(matrix, interpolation="nearest", **style)
        figure.colorbar(shown, ax=panel, shrink=0.8)
        panel.set_title(title)
        _name_axes(panel, names)
        for group in np.unique(groups[groups > 0]):
            places = np.flatnonzero(groups == group)
            first, side = places[0] - 0.5, len(places)
            from matplotlib.patches import Rectangle

            panel.add_patch(Rectangle((first, first), side, side, fill=False, color="black", linewidth=1.2))
            if difference and changes and group in changes:
                text = f"p = {changes[group].p:.3f}"
                panel.text(first + side / 2, first + side / 2, text, ha="center", va="center", fontsize=9,
                           bbox={"facecolor": "white", "alpha": 0.7, "linewidth": 0})  # fmt: skip
    save_figure(figure, path, dpi=90)


def draw_overlay(path, analysis, count=6):
    """Draw the mean maps of some conditions over the mean frame."""
    conditions = analysis.stimuli.conditions
    some = [i for i, cells in enumerate(conditions) if cells]
    chosen = [
        some[i] for i in np.unique(np.linspace(0, len(some) - 1, min(count, len(some))).round().astype(int))
    ]
    figure, panels = subplots(1, len(chosen) + 1, 2.6 * (len(chosen) + 1), 2.9, "constrained")
    grey = _grey(analysis.average)
    panels[0].imshow(grey, cmap="gray", vmin=0, vmax=1)
    panels[0].set_title("mean frame", fontsize=9)
    for panel, c in zip(panels[1:], chosen, strict=True):
        cam = analysis.mean_cams[c]
        panel.imshow(grey, cmap="gray", vmin=0, vmax=1)
        panel.imshow(cam, cmap="jet", alpha=np.clip(0.15 + 0.6 * _spread(cam), 0, 1))
        panel.set_title(f"cells {analysis.stimuli.names[c]}", fontsize=9)
    for panel in panels:
        panel.set_axis_off()
    save_figure(figure, path, dpi=90)


def draw_gallery(path, analysis):
    """Draw the mean map of each condition, at most 40 of them evenly over the table."""
    names = analysis.stimuli.names
    chosen = np.unique(np.linspace(0, len(names) - 1, min(_SHOWN, len(names))).round().astype(int))
    columns = min(10, len(chosen))
    rows = -(-len(chosen) // columns)
    figure, panels = subplots(rows, columns, 1.35 * columns, 1.55 * rows, "constrained")
    for panel in np.ravel(panels):
        panel.set_axis_off()
    for panel, c in zip(np.ravel(panels), chosen, strict=False):
        panel.imshow(analysis.mean_cams[c], cmap="magma", vmin=0)
        panel.set_title(names[c], fontsize=7, pad=2)
    if len(chosen) < len(names):
        figure.suptitle(f"{len(chosen)} of {len(names)} conditions", fontsize=9)
    save_figure(figure, path, dpi=90)


def draw_accuracy(path, analysis):
    """Draw how often each cell is found, alone and in pairs, and which cell is taken for which."""
    truth = analysis.stimuli.targets > 0
    found = analysis.logits > np.log(analysis.threshold / (1 - analysis.threshold))
    alone = truth.sum(axis=1) == 1
    cells = truth.shape[1] - 1
    figure, (left, right) = subplots(1, 2, 13, 4.6, "constrained", {"width_ratios": (1.7, 1)})
    place = np.arange(cells + 1)
    for number, (label, rows) in enumerate((("all", alone | ~alone), ("alone", alone), ("in pairs", ~alone))):
        rate = [_rate(found[rows & truth[:, k], k]) for k in place]
        left.bar(place + 0.27 * (number - 1), rate, 0.27, label=label)
    left.set_xticks(place, [*(str(k + 1) for k in range(cells)), "none"], fontsize=8)
    left.set(xlabel="stimulated cell", ylabel="part of the frames in which it is found", ylim=(0, 1.05))
    left.legend(fontsize=8, ncols=3, loc="lower right", bbox_to_anchor=(1, 1), frameon=False)
    left.grid(axis="y", alpha=0.3)
    confusion = np.zeros((cells + 1, cells + 1))
    np.add.at(confusion, (truth[alone].argmax(axis=1), analysis.logits[alone].argmax(axis=1)), 1)
    confusion /= np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    shown = right.imshow(confusion, cmap="Blues", vmin=0, vmax=1)
    right.set(title="one cell or none: largest output", xlabel="decoded", ylabel="stimulated")
    for set_ticks in (right.set_xticks, right.set_yticks):
        set_ticks(place, [*(str(k + 1) for k in range(cells)), "none"], fontsize=6)
    figure.colorbar(shown, ax=right, shrink=0.85)
    save_figure(figure, path, dpi=90)


def draw_trials(path, analysis):
    """Draw how the answer and its decoding fade over the recording, and over the frames after the onset."""
    shown = analysis.stimuli
    truth = shown.targets > 0
    found = analysis.logits > np.log(analysis.threshold / (1 - analysis.threshold))
    exact = (found[:, :-1] == truth[:, :-1]).all(axis=1)
    some = truth[:, :-1].any(axis=1)
    sure = np.where(truth, 0.5 * (1 + np.tanh(analysis.logits / 2)), 0).sum(axis=1) / truth.sum(axis=1)
    figure, panels = subplots(1, 2, 11, 3.6, "constrained")
    for panel, values, label in zip(
        panels, (shown.trial, shown.offset), ("trial", "frame after the onset"), strict=True
    ):
        listed = np.unique(values[some])
        for name, measure in (("exactly right", exact), ("probability of the stimulated cells", sure)):
            panel.plot(listed, [_rate(measure[some & (values == v)]) for v in listed], "o-", label=name)
        panel.set(xlabel=label, ylim=(0, 1.05))
        panel.set_xticks(listed)
        panel.grid(alpha=0.3)
        panel.legend(fontsize=8, loc="lower left")
    save_figure(figure, path, dpi=90)


def draw_changes(path, changes, what):
    """Draw the difference of each group with its interval and p.

    Parameters
    ----------
    path : path-like
    changes : dict of int to calzoo.metrics.permutation.Change
    what : str
        Has changed.
    """
    figure, panel = subplots(1, 1, 7, 1.2 + 0.6 * len(changes), "constrained")
    for row, change in enumerate(changes.values()):
        colour = "#c03028" if change.p < 0.05 else "#555555"
        panel.plot(change.interval, (row, row), color=colour, linewidth=3)
        panel.plot(change.difference, row, "o", color=colour)
        panel.text(1.02, row, f"p = {change.p:.3f}", transform=panel.get_yaxis_transform(), va="center")
    panel.axvline(0, color="black", linewidth=0.8)
    panel.set_yticks(range(len(changes)), [f"group {group}" for group in changes])
    panel.set(xlabel=f"change of the {what} (95 % interval)", ylim=(len(changes) - 0.5, -0.5))
    save_figure(figure, path, dpi=90)


def draw_pairs(path, before, after, count=6):
    """Draw mean maps before and after, of the conditions that changed most."""
    change = np.sqrt(((after.mean_cams - before.mean_cams) ** 2).mean(axis=(1, 2)))
    change[[not cells for cells in before.stimuli.conditions]] = -1
    chosen = np.argsort(-change)[: min(count, len(change))]
    figure, panels = subplots(3, len(chosen), 2.2 * len(chosen), 6.9, "constrained")
    panels = np.reshape(panels, (3, len(chosen)))
    for column, c in enumerate(chosen):
        pair = before.mean_cams[c], after.mean_cams[c]
        top = max(float(p.max()) for p in pair) or 1.0
        for row, cam in enumerate(pair):
            panels[row, column].imshow(cam, cmap="magma", vmin=0, vmax=top)
        panels[2, column].imshow(pair[1] - pair[0], cmap="RdBu_r", vmin=-top / 2, vmax=top / 2)
        panels[0, column].set_title(f"cells {before.stimuli.names[c]}", fontsize=9)
    for row, label in enumerate(("before", "after", "after - before")):
        panels[row, 0].set_ylabel(label)
    for panel in panels.ravel():
        panel.set_xticks([])
        panel.set_yticks([])
    save_figure(figure, path, dpi=90)


_NOTES = {
    "scores": (
        "<p class=note>exact: exactly the stimulated cells are above the threshold. rule: the authors' rule, "
        "in which one of two stimulated cells among the two largest outputs is enough; by chance 16 % of "
        "the pairs pass. Scores of frames that the network was trained on say nothing about new ones.</p>"
    ),
    "trials": "<p class=note>Frames with stimulated cells.</p>",
    "overlay": (
        "<p class=note>What spoke for the answer, averaged over the frames of a condition; it is a "
        "map of answers, not a proof of connections.</p>"
    ),
    "spread": (
        "<p class=note>spread: what the stimulation of a cell adds beyond the cell itself, over what it adds "
        "at the cell, both in parts of their mean over both recordings; larger after if connections "
        "are stronger. No network takes part. interval: Student's t over trials; p: permutation over "
        "trials. This is the test to rely on.</p>"
    ),
    "changes": (
        "<p class=note>similarity: mean over pairs of conditions of the correlation of their maps, from "
        "pairs of different trials, so that noise does not lower it; interval: Student's t over trials; p: "
        "permutation over trials. Drift and dimmer light change maps too: a small p here is no proof of "
        "a treatment. mean_zncc: the plain ZNCC of mean maps, which dimmer or moved recordings "
        "lower.</p>"
    ),
    "matrices": "<p class=note>ZNCC of mean maps; the frames mark the groups.</p>",
}


def _facts(analysis):
    model = analysis.facts["model"]
    return f"Network {html.escape(model['name'])}, {analysis.facts['frames']} frames, on {model['provider']}."


def _write_page(folder, title, intro, sections):
    parts = [f"<h1>{html.escape(title)}</h1><p>{intro}</p>"]
    for heading, text, picture in sections:
        data = base64.b64encode((folder / picture).read_bytes()).decode("ascii")
        parts.append(
            f"<h2>{heading}</h2>{text}<img alt='{html.escape(heading)}' src='data:image/png;base64,{data}'>"
        )
    page = (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{html.escape(title)}</title>"
        f"<style>{_STYLE}</style><body>{''.join(parts)}</body></html>\n"
    )
    (folder / "report.html").write_text(page, encoding="utf-8", errors="replace")


def _table(heads, rows):
    head = "".join(f"<th>{html.escape(_label(h))}</th>" for h in heads)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(str(c))}</td>" for c in row) + "</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"


def _label(name):
    return name.replace("_", " ")


def _number(value):
    if value is None or isinstance(value, str):
        return value or ""
    return str(value) if float(value).is_integer() and abs(value) > 1 else f"{value:.3f}"


def _rate(values):
    return float(np.mean(values)) if len(values) else np.nan


def _grey(image):
    low, high = np.percentile(image, (1, 99.7))
    return np.clip((image - low) / ((high - low) or 1), 0, 1)


def _spread(cam):
    return (cam - cam.min()) / ((cam.max() - cam.min()) or 1)


def _name_axes(panel, names):
    if len(names) <= _NAMED:
        panel.set_xticks(range(len(names)), names, rotation=90, fontsize=5)
        panel.set_yticks(range(len(names)), names, fontsize=5)
    else:
        panel.set_xticks([])
        panel.set_yticks([])
