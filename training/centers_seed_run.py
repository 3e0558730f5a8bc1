"""``calzoo train centers-seed --movie``: what the authors' networks make of a recording, in a folder."""

import time
from dataclasses import asdict

import keras
import numpy as np

from calzoo.imaging import center_drawings as drawings
from calzoo.imaging.movies import open_movie
from calzoo.imaging.outputs import CURATION_FILES, output_folder, write_run_json, write_table
from calzoo.training.centers_seed import feature_maps, fit_seed, latent_errors
from calzoo.training.recipes import to_json

_SHEET = "down1_concat"  # the layer of the encoder whose channels are drawn


def fit_seed_recording(path, run, recipe, *, quiet=False, **reading):
    """Fit the authors' networks to a recording, into a folder.

    The folder gets recipe.json, centers.csv (y, x), centers.npz (points, trajectories),
    latent.csv (see `calzoo.training.centers_seed.latent_errors`), trajectories.png, losses.png,
    feature_maps.png (channels of the encoder), histograms.png, reconstruction.png and run.json.

    Parameters
    ----------
    path : path
        A movie that `open_movie` reads.
    run : path
        The folder.
    recipe : calzoo.training.recipes.centers_seed.CentersSeedRecipe
    quiet : bool, optional
    **reading
        As for `open_movie`.

    Returns
    -------
    dict of str to float
        Those of latent.csv.
    """
    began = time.perf_counter()
    with (
        open_movie(path, **reading) as movie,
        output_folder(run, stale=CURATION_FILES, inputs=[path]) as folder,
    ):
        fit = fit_seed(movie, recipe, quiet=quiet)
        picture = drawings.still_picture(movie, min(movie.shape[1:]) / 15)
        errors = latent_errors(fit)
        (folder / "recipe.json").write_text(to_json(recipe) + "\n", encoding="utf-8")
        write_table(folder / "centers.csv", {"y": fit.points[:, 0], "x": fit.points[:, 1]})
        np.savez_compressed(folder / "centers.npz", points=fit.points, trajectories=fit.trajectories)
        write_table(folder / "latent.csv", {"points": list(errors), "mse": list(errors.values())})
        drawings.draw_trajectories(folder / "trajectories.png", picture, fit.trajectories)
        drawings.draw_losses(folder / "losses.png", {"loss": fit.history})
        _draw_insides(folder, fit)
        write_run_json(
            folder,
            input=path,
            shape=movie.shape,
            recipe=asdict(recipe),
            renderer_accuracy=fit.accuracy,
            latent=errors,
            seconds=round(time.perf_counter() - began, 3),
        )
    return errors


def _draw_insides(folder, fit):
    """Draw what the networks make of the frame with most light."""
    frame = fit.frames[int(fit.frames.sum(axis=(1, 2, 3)).argmax())]
    encoder = fit.model.get_layer("seed_encoder")
    heat = feature_maps(encoder, frame, "heat")
    rebuilt = keras.ops.convert_to_numpy(fit.model(frame[None], training=False))[0]
    drawings.draw_feature_maps(folder / "feature_maps.png", feature_maps(encoder, frame, _SHEET))
    stages = np.concatenate([frame, heat, rebuilt], axis=-1)
    drawings.draw_feature_maps(folder / "reconstruction.png", stages, names=("frame", "heat", "rebuilt"))
    drawings.draw_histograms(folder / "histograms.png", {"frame": frame, "heat": heat, "rebuilt": rebuilt})
