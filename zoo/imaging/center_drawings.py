"""Pictures of found centres: over the movie, over known cells, stage by stage, along a fit."""

import numpy as np

from calzoo.imaging.center_channels import smoothed
from calzoo.imaging.center_traces import splats
from calzoo.imaging.contours import Outlines, display_range, enlarge, palette, screen_zoom, to_grey
from calzoo.imaging.diameters import aspect_of
from calzoo.imaging.figures import save_figure, subplots
from calzoo.imaging.frames import as_movie

_SAMPLES = 200  # frames that a still picture is made of, at most,
_PIXELS = 2**26  # and pixels, though 16 frames are taken of any movie
_RESTING = 60  # of these frames, that the median needs: about so many are held
_PIECE = 8  # frames that are smoothed together
_TRACES = 12
_MANY = 5000  # values of a histogram, among which the rare ones would not be seen


def still_picture(movie, diameter_px, aspect=(1.0, 1.0)):
    """Return the highest level of each pixel over its surroundings and its median, (Y, X).

    It shows most cells that fired; the mean of a one-photon movie shows vessels.

    Parameters
    ----------
    movie : movie or ndarray, (T, Y, X)
    diameter_px : float
        Of the cells.
    aspect : tuple of float, optional
        Sides of a pixel over their geometric mean, (y, x).
    """
    movie = as_movie(movie)
    most = int(np.clip(_PIXELS // np.prod(movie.shape[1:]), 16, _SAMPLES))
    step = -(-movie.shape[0] // most)
    sample = range(0, movie.shape[0], step)
    every = max(len(sample) // _RESTING, 1)
    resting = np.empty((len(sample[::every]), *movie.shape[1:]), np.float32)
    highest = np.full(movie.shape[1:], -np.inf, np.float32)
    for first in range(0, len(sample), _PIECE):
        numbers = sample[first : first + _PIECE]
        frames = np.concatenate([movie.frames(t, t + 1) for t in numbers]).astype(np.float32)
        frames -= smoothed(frames, 0.75 * diameter_px / np.asarray(aspect))
        np.maximum(highest, frames.max(axis=0), out=highest)
        kept = frames[-first % every :: every]
        at = -(-first // every)
        resting[at : at + len(kept)] = kept
    # Row by row: the median takes its frames to pieces, and all of them at once would be held twice.
    for row in range(len(highest)):
        highest[row] -= np.median(resting[:, row], axis=0)
    return highest


def draw_overlay(path, found, movie, *, title):
    """Draw centres and outlines over what fired, beside the traces of the likeliest cells.

    Parameters
    ----------
    path : path
        A .png file.
    found : calzoo.inference.centers.Centers
    movie : movie or ndarray, (T, Y, X)
    title : str
    """
    picture = still_picture(movie, found.diameter_px, aspect_of(found.pixel_um))
    zoom = screen_zoom(picture.shape)
    low, high = display_range(picture)
    outlined = np.repeat(enlarge(to_grey(picture, low, high), zoom)[..., None], 3, axis=-1)
    if found.count:
        Outlines(found.masks, zoom).draw(outlined)
    figure, (left, right) = subplots(1, 2, 15, 7.5)
    edge = (-0.5, picture.shape[1] - 0.5, picture.shape[0] - 0.5, -0.5)
    left.imshow(outlined, extent=edge, interpolation="nearest")
    left.scatter(found.points[:, 1], found.points[:, 0], s=9, c="red", marker="+", linewidths=0.8)
    for number, (y, x) in enumerate(found.points[:_TRACES]):
        left.annotate(str(number + 1), (x, y), color="white", fontsize=7)
    left.set_title(title, fontsize=9, parse_math=False)
    left.set_axis_off()
    colours = palette(found.count) / 255
    for number in range(min(found.count, _TRACES)):
        trace = found.traces[number]
        scale = max(float(np.ptp(trace)), 1e-9)
        right.plot(trace / scale - number, color=colours[number], linewidth=0.7)
    right.set_yticks(-np.arange(min(found.count, _TRACES)))
    right.set_yticklabels([str(n + 1) for n in range(min(found.count, _TRACES))])
    right.set_xlabel("frame")
    right.set_title("s(t) of the likeliest, each to its own scale", fontsize=9)
    save_figure(figure, path)


def draw_stages(path, found, movie, *, frame=None):
    """Draw the way of one frame: input, heat map, coordinates as rendered, reconstruction, and what is left.

    Parameters
    ----------
    path : path
        A .png file.
    found : calzoo.inference.centers.Centers
    movie : movie or ndarray, (T, Y, X)
    frame : int, optional
        By default the one with most activity.
    """
    movie = as_movie(movie)
    if frame is None:
        frame = int(found.traces.sum(axis=0).argmax()) if found.count else 0
    picture, rendered, made = stages(found, movie, frame)
    figure, panels = subplots(1, 5, 20, 4.4)
    limits = display_range(picture)
    _show(panels[0], picture, f"frame {frame}, less its surroundings", limits)
    _show(panels[1], found.heat[..., 0], "heat map, highest of all windows", (0, 1), "magma")
    _show(panels[2], rendered, "coordinates, rendered", (0, 1.2), "magma")
    _show(panels[3], made, "reconstruction: s(t) times splats, alike", limits)
    _show(panels[4], picture - made, "what is left", limits)
    save_figure(figure, path)


def stages(found, movie, frame):
    """Return a frame, the coordinates as rendered, and the frame as rebuilt from them, (Y, X) each.

    Frame and reconstruction are less their surroundings, both in the same way, so that what is left is
    what the cells do not explain.

    Parameters
    ----------
    found : calzoo.inference.centers.Centers
    movie : movie
    frame : int
    """
    aspect = aspect_of(found.pixel_um)
    picture = movie.frames(frame, frame + 1).astype(np.float32)[0]
    basis = splats(found.points, found.radii, picture.shape, aspect)
    rendered = np.asarray(basis.sum(axis=0)).reshape(picture.shape)
    made = (basis.T @ found.traces[:, frame]).reshape(picture.shape) if found.count else rendered
    both = np.stack([picture, made])
    both -= smoothed(both, 0.75 * found.diameter_px / np.asarray(aspect))
    return both[0], rendered, both[1]


def draw_on_mask(path, mask, points, *, corrected=None):
    """Draw centres over known cells: green inside, red outside.

    Parameters
    ----------
    path : path
        A .png file.
    mask : ndarray of bool, (Y, X)
    points : ndarray of float, (N, 2)
        (y, x) in pixels.
    corrected : float, optional
        Share inside beyond chance, for the title.
    """
    rows, columns = np.clip(np.round(points).astype(int), 0, np.array(mask.shape) - 1).reshape(-1, 2).T
    inside = mask[rows, columns]
    figure, axes = subplots(1, 1, 7, 7)
    axes.imshow(0.5 * mask, cmap="gray", vmin=0, vmax=1)
    axes.scatter(columns, rows, s=18, c=np.where(inside, "lime", "red"), edgecolors="black", linewidths=0.4)
    share = f"{inside.mean():.0%}" if len(inside) else "none"
    title = f"{inside.sum()} of {len(inside)} centres ({share}) on {mask.mean():.0%} of the frame"
    if corrected is not None and np.isfinite(corrected):
        title += f", chance-corrected {corrected:.2f}"
    axes.set_title(title, fontsize=9)
    axes.set_axis_off()
    save_figure(figure, path)


def draw_trajectories(path, picture, trajectories, kept=None):
    """Draw the ways of coordinates during a fit.

    Parameters
    ----------
    path : path
        A .png file.
    picture : ndarray, (Y, X)
        What they were fitted to.
    trajectories : ndarray of float, (S, N, 2)
        (y, x) in pixels of each of N coordinates at S moments.
    kept : ndarray of int, optional
        Coordinates that are left after pruning and merging.
    """
    figure, axes = subplots(1, 1, 8, 8)
    _show(
        axes,
        picture,
        f"{trajectories.shape[1]} coordinates over {len(trajectories)} moments",
        display_range(picture),
    )
    for way in trajectories.transpose(1, 0, 2):
        axes.plot(way[:, 1], way[:, 0], color="deepskyblue", linewidth=0.6)
    first, last = trajectories[0], trajectories[-1]
    axes.scatter(first[:, 1], first[:, 0], s=6, c="deepskyblue", label="start")
    chosen = last if kept is None else last[kept]
    axes.scatter(chosen[:, 1], chosen[:, 0], s=22, c="red", marker="+", linewidths=0.9, label="end")
    axes.legend(fontsize=8, loc="lower right")
    save_figure(figure, path)


def draw_feature_maps(path, maps, *, names=None):
    """Draw channels as a sheet of pictures, each to its own scale.

    Parameters
    ----------
    path : path
        A .png file.
    maps : ndarray, (Y, X, C)
        Pictures of a window, or the channels of a layer.
    names : sequence of str, optional
    """
    count = maps.shape[-1]
    columns = int(np.ceil(np.sqrt(count)))
    rows = -(-count // columns)
    figure, panels = subplots(rows, columns, 2.4 * columns, 2.5 * rows)
    for number, axes in enumerate(np.ravel(panels)):
        if number < count:
            title = str(number) if names is None else names[number]
            _show(axes, maps[..., number], title, display_range(maps[..., number]))
        axes.set_axis_off()
    save_figure(figure, path)


def draw_histograms(path, values):
    """Draw how often values occur, one panel for each; on a logarithmic axis where they are thousands.

    Parameters
    ----------
    path : path
        A .png file.
    values : dict of str to ndarray
        For example pixels of the frames, heat, scores, radii.
    """
    figure, panels = subplots(1, max(len(values), 1), 3.4 * max(len(values), 1), 2.8)
    for axes, (name, numbers) in zip(np.ravel(panels), values.items(), strict=False):
        axes.hist(np.ravel(numbers), bins=60, color="steelblue", log=np.size(numbers) >= _MANY)
        axes.set_title(name, fontsize=9)
    save_figure(figure, path)


def draw_losses(path, history):
    """Draw quantities over the steps of a fit, one panel for each.

    Parameters
    ----------
    path : path
        A .png file.
    history : dict of str to sequence of float
    """
    figure, panels = subplots(1, max(len(history), 1), 3.6 * max(len(history), 1), 3)
    for axes, (name, numbers) in zip(np.ravel(panels), history.items(), strict=False):
        axes.plot(np.asarray(numbers, float), linewidth=0.9)
        axes.set_title(name, fontsize=9)
        axes.grid(alpha=0.3)
    save_figure(figure, path)


def _show(axes, picture, title, limits, colours="gray"):
    axes.imshow(picture, cmap=colours, vmin=limits[0], vmax=limits[1])
    axes.set_title(title, fontsize=9)
    axes.set_axis_off()
