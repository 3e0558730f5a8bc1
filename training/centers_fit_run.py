"""``calzoo train centers --movie``: the cells that a recording is fitted with, in a folder."""

import time
from dataclasses import asdict

import numpy as np

from calzoo.imaging import center_drawings as drawings
from calzoo.imaging.center_files import write_centers
from calzoo.imaging.diameters import aspect_of, diameter_px
from calzoo.imaging.masks import count_of_cells
from calzoo.imaging.movies import open_movie
from calzoo.imaging.outputs import CURATION_FILES, output_folder, shown_name, write_run_json
from calzoo.training.centers_diameter import measured_diameter
from calzoo.training.centers_fit import fit_centers
from calzoo.training.recipes import to_json


def fit_recording(path, run, recipe, *, diameter=None, network=None, model=None, quiet=False, **reading):
    """Fit a recording into a folder.

    The folder gets recipe.json, centers.csv, centers.npz (points, scores, heights, radii,
    trajectories), traces.csv, masks.npz, labels.tif, rois.zip, overlay.png, stages.png,
    trajectories.png, losses.png, histograms.png and run.json.

    Parameters
    ----------
    path : path
        A movie that `open_movie` reads.
    run : path
        The folder.
    recipe : calzoo.training.recipes.centers_fit.CentersFitRecipe
    diameter : float or str, optional
        Of a cell, in pixels (``11``) or micrometres (``"14um"``); by default it is measured from the movie.
    network : callable, optional
        ``network(movie, diameter)`` returns where a trained network sees cells, an object with
        ``points``, ``scores`` and ``diameter_px``; coordinates begin there.
    model : mapping, optional
        What run.json says of that network.
    quiet : bool, optional
    **reading
        As for `open_movie`.

    Returns
    -------
    calzoo.training.centers_fit.CentersFit

    Raises
    ------
    CalzooError
        If the diameter is no size, or in micrometres where no pixel size is known.
    """
    began = time.perf_counter()
    # What was kept of the cells of an earlier fit is not of these.
    with (
        open_movie(path, **reading) as movie,
        output_folder(run, stale=CURATION_FILES, inputs=[path]) as folder,
    ):
        given = diameter_px(diameter, movie.pixel_um)
        seen = None if network is None else network(movie, given)
        width = given or (measured_diameter(movie) if seen is None else seen.diameter_px)
        fit = fit_centers(movie, recipe, diameter=width, seen=seen, quiet=quiet)
        _write_tables(folder, fit, recipe, movie)
        _draw(folder, fit, movie, title=f"{shown_name(path)}   {count_of_cells(fit.count)}, fitted")
        write_run_json(
            folder,
            input=path,
            shape=movie.shape,
            dtype=str(movie.dtype),
            frame_rate_hz=movie.frame_rate_hz,
            pixel_um=movie.pixel_um,
            model=model,
            recipe=asdict(recipe),
            options={"diameter": diameter, **reading},
            diameter_px=width,
            began_from="the movie alone" if seen is None else f"{len(seen.points)} points of a network",
            cells=fit.count,
            seconds=round(time.perf_counter() - began, 3),
        )
    return fit


def _write_tables(folder, fit, recipe, movie):
    (folder / "recipe.json").write_text(to_json(recipe) + "\n", encoding="utf-8")
    rate, more = movie.frame_rate_hz, {"height_sd": fit.heights}
    write_centers(folder, fit, pixel_um=movie.pixel_um, frame_rate_hz=rate, more=more)
    arrays = ("points", "scores", "heights", "radii", "trajectories", "kept")
    np.savez_compressed(folder / "centers.npz", **{name: getattr(fit, name) for name in arrays})


def _draw(folder, fit, movie, *, title):
    picture = drawings.still_picture(movie, fit.diameter_px, aspect_of(fit.pixel_um))
    drawings.draw_overlay(folder / "overlay.png", fit, movie, title=title)
    drawings.draw_stages(folder / "stages.png", fit, movie)
    drawings.draw_trajectories(folder / "trajectories.png", picture, fit.trajectories, fit.kept)
    drawings.draw_losses(folder / "losses.png", fit.history)
    values = {"pixels": picture, "heights": fit.heights, "hits": fit.hits, "s(t)": fit.traces}
    drawings.draw_histograms(folder / "histograms.png", values)
