"""Fit the cells of a recording without labels: coordinates settle where frames cannot do without them.

The fit needs no network that was trained before. It works on the frames with most
activity, band-passed and in units of the noise; `calzoo.networks.centers_splats`
rebuilds them from spots, whose coordinates follow the gradient. What explains
nothing of its own is pruned in the end, and what lies together is merged.
"""

from dataclasses import dataclass

import keras
import numpy as np
from scipy import ndimage

from calzoo.errors import CalzooError
from calzoo.imaging.center_channels import CELL_PX, SURROUND_SIGMA, grid_for
from calzoo.imaging.center_peaks import local_maxima
from calzoo.imaging.center_rest import MAD_OF_STEPS
from calzoo.imaging.center_traces import cell_masks, extract_activity, merge_near
from calzoo.imaging.diameters import aspect_of
from calzoo.imaging.frames import as_movie, chunks
from calzoo.imaging.masks import Masks
from calzoo.networks.centers_splats import splat_autoencoder
from calzoo.training.progress import steps_bar

_MOMENTS = 40  # points on a trajectory


@dataclass(frozen=True)
class CentersFit:
    """The cells that a recording was fitted with, the surest first.

    Attributes
    ----------
    points : ndarray of float64, (N, 2)
        (y, x) in pixels of the frame.
    scores : ndarray of float32, (N,)
        Probabilities by the network that the fit began with, the highest first; NaN where it began with none.
    heights : ndarray of float32, (N,)
        Highest level of each that lasts for two frames, in standard deviations of the noise of a typical
        pixel of the grid; without a network the highest is first.
    radii : ndarray of float32, (N,)
        In pixels: that of the diameter which was given.
    traces : ndarray of float32, (N, T)
        s(t) in the units of the movie.
    noise, hits
        As in `calzoo.imaging.center_traces.Activity`.
    masks : Masks
    heat : ndarray of float32, (h, w, 1)
        The spots, each as bright as its score (without a network: its height), over the brightest.
    diameter_px : float
    pixel_um : tuple of float or None
        As in `calzoo.inference.centers.Centers`.
    trajectories : ndarray of float32, (S, M, 2)
        Ways of all M coordinates in pixels of the frame, those left out too.
    kept : ndarray of int, (N,)
        Rows of the coordinates that are left.
    history : dict of str to list of float
        Loss, its parts and the width of the spots, by step.
    """

    points: np.ndarray
    scores: np.ndarray
    heights: np.ndarray
    radii: np.ndarray
    traces: np.ndarray
    noise: np.ndarray
    hits: np.ndarray
    masks: Masks
    heat: np.ndarray
    diameter_px: float
    pixel_um: tuple | None
    trajectories: np.ndarray
    kept: np.ndarray
    history: dict

    @property
    def count(self):
        """Number of cells."""
        return len(self.points)


def fit_centers(movie, recipe, *, diameter, seen=None, quiet=False):
    """Fit coordinates to a recording.

    Parameters
    ----------
    movie : movie or ndarray, (T, Y, X)
        At least two frames, without motion; its ``pixel_um`` counts, where pixels are not square.
    recipe : calzoo.training.recipes.centers_fit.CentersFitRecipe
    diameter : float
        Of a cell, in pixels (of the mean side).
    seen : object, optional
        What a trained network found, with ``points`` (N, 2) in pixels and ``scores`` (N,): coordinates begin
        at its points, in place of the recipe's start, stay within the recipe's leash, and keep its
        scores; what it is sure of is not pruned.
    quiet : bool, optional
        No progress bar.

    Returns
    -------
    CentersFit

    Raises
    ------
    CalzooError
        If the movie cannot be used, nothing in it changes, or the network found nothing.
    """
    movie = as_movie(movie, at_least=2)
    keras.utils.set_random_seed(recipe.seed)
    pixel_um = getattr(movie, "pixel_um", None)
    aspect = aspect_of(pixel_um)
    grid = grid_for(movie.shape[1:], diameter, aspect)
    frames, picture = active_frames(movie, grid, recipe.frames)
    start = first_coordinates(recipe, picture) if seen is None else _told(grid, seen)
    model = splat_autoencoder(
        start,
        grid.shape,
        sigma=recipe.sigma,
        surround=SURROUND_SIGMA,
        radius=recipe.repulsion_radius,
        repulsion=recipe.repulsion,
        sparsity=recipe.sparsity,
        leash=0.0 if seen is None else recipe.leash,
    )
    ways, history = _train(model, frames, recipe, quiet)
    kept, scores, heights, spots = _keep(model.get_layer("rebuilt"), frames, recipe, seen)
    points = np.clip(grid.to_frame(ways[-1][kept]), 0, np.array(movie.shape[1:]) - 1)
    radii = np.full(len(kept), diameter / 2, np.float32)
    activity = extract_activity(movie, points, radii, aspect)
    ranks = heights if seen is None else scores
    heat = np.max(ranks[:, None, None] * spots, axis=0, initial=0) / max(ranks.max(initial=0), 1e-9)
    masks = cell_masks(np.ones(movie.shape[1:]), points, radii, reach=1.0, aspect=aspect)
    trajectories = np.stack([grid.to_frame(way) for way in ways]).astype(np.float32)
    heat = np.clip(heat, 0, 1).reshape(*grid.shape, 1).astype(np.float32)
    return CentersFit(
        points, scores, heights, radii, activity.traces, activity.noise, activity.hits, masks, heat,
        float(diameter), pixel_um, trajectories, kept, history,
    )  # fmt: skip


def active_frames(movie, grid, count):
    """Return the frames with most activity, and the highest level of each pixel over time.

    Parameters
    ----------
    movie : movie
    grid : calzoo.imaging.center_channels.Grid
    count : int
        Frames at most.

    Returns
    -------
    frames : ndarray of float32, (n, h, w)
        Band-passed, less the resting level, over the noise of a typical pixel; in the order of time.
    highest : ndarray of float32, (h, w)
        The highest level that lasts for two frames.

    Raises
    ------
    CalzooError
        If nothing changes.
    """
    pairs = np.unique(np.linspace(0, movie.shape[0] - 2, 40).astype(int))
    frames = np.concatenate([movie.frames(int(t), int(t) + 2) for t in pairs])
    sample = grid.band_passed(frames)[0]
    rest = np.median(sample, axis=0)
    noise = float(np.median(np.median(np.abs(sample[1::2] - sample[::2]), axis=0)) / MAD_OF_STEPS)
    noise = noise or float(sample.std(axis=0).mean())
    # Where frames are alike, what the band-pass leaves of them is the rounding of its sums.
    if not noise > 1e-6 * max(float(np.abs(frames).max()), 1e-9):
        message = "expected a movie in which something changes over time, got frames that are all alike."
        raise CalzooError(message)
    levels, kept, highest, before = [], [], np.full(grid.shape, -np.inf, np.float32), None
    for _, block in chunks(movie):
        sharp = (grid.band_passed(block)[0] - rest) / np.float32(noise)
        pairs = sharp if before is None else np.concatenate([before, sharp])
        if len(pairs) > 1:
            highest = np.maximum(highest, np.minimum(pairs[1:], pairs[:-1]).max(axis=0))
        before = sharp[-1:].copy()
        levels.extend(np.maximum(sharp - 4, 0).sum(axis=(1, 2)))
        kept.extend(sharp)
        if len(kept) > count:  # only the most active so far are kept in memory
            best = np.sort(np.argsort(-np.asarray(levels), kind="stable")[:count])
            levels, kept = [levels[i] for i in best], [kept[i] for i in best]
    return np.stack(kept).astype(np.float32), highest


def first_coordinates(recipe, picture):
    """Return where coordinates begin, (N, 2) in pixels of the grid.

    Parameters
    ----------
    recipe : CentersFitRecipe
    picture : ndarray of float32, (h, w)
        Highest level of each pixel, in standard deviations of the noise.
    """
    shape = np.array(picture.shape)
    room = max(int(shape.prod() / recipe.densest**2), 1)
    count = min(recipe.count, room) if recipe.count else room
    if recipe.start == "summits":
        smooth = ndimage.gaussian_filter(picture, 1.0)
        points = local_maxima(smooth, distance=0.4 * CELL_PX, threshold=recipe.rise, count=count)
        if not len(points):  # nothing rises above the noise: the highest summit, which will be pruned
            points = local_maxima(smooth, distance=0.4 * CELL_PX, count=1)
        return points.astype(float) if len(points) else (shape[None] - 1) / 2
    rng = np.random.default_rng(recipe.seed)
    if recipe.start == "random":
        return rng.uniform(0, 1, (count, 2)) * (shape - 1)
    sides = np.maximum(np.round(shape * np.sqrt(count / shape.prod())), 1).astype(int)
    ends = [(np.arange(n) + 0.5) * side / n - 0.5 for n, side in zip(sides, shape, strict=True)]
    return np.stack(np.meshgrid(*ends, indexing="ij"), axis=-1).reshape(-1, 2)


def _told(grid, seen):
    """Return where a network saw cells, in pixels of the grid."""
    if not len(seen.points):
        message = (
            "expected a network that finds cells in this movie, to begin from; it found none. Leave it out."
        )
        raise CalzooError(message)
    return np.clip(grid.to_grid(seen.points), 0, np.array(grid.shape) - 1)


def _train(model, frames, recipe, quiet):
    """Move the coordinates; return their ways, list of (N, 2), and the history."""
    spots = model.get_layer("rebuilt")
    model.compile(
        optimizer=keras.optimizers.Adam(recipe.learning_rate, name="optimizer"),
        loss=reconstruction_loss(recipe.blur),
        jit_compile=False,
    )
    rng = np.random.default_rng([recipe.seed, 1])
    activity = np.maximum(frames, 0).sum(axis=(1, 2)) + 1e-3
    ways = [keras.ops.convert_to_numpy(spots.centers())]
    history = {"loss": [], "crowding": [], "sigma": []}
    every = max(recipe.steps // _MOMENTS, 1)
    for step in steps_bar(range(recipe.steps), quiet=quiet):
        share = min(2 * step / max(recipe.steps - 1, 1), 1.0)
        sigma = recipe.sigma * (recipe.last_sigma / recipe.sigma) ** share
        spots.sigma.assign(sigma)
        # The last steps are small: coordinates settle.
        model.optimizer.learning_rate.assign(recipe.learning_rate * (1 - 0.9 * step / recipe.steps))
        chosen = rng.choice(len(frames), size=recipe.batch, p=activity / activity.sum())
        batch = frames[np.sort(chosen)][..., None]
        loss = float(np.ravel(model.train_on_batch(batch, batch))[0])
        if not np.isfinite(loss):
            message = f"the loss of step {step} is {loss}; lower learning_rate (now {recipe.learning_rate})."
            raise CalzooError(message)
        history["loss"].append(loss)
        history["sigma"].append(sigma)
        if (step + 1) % every == 0 or step + 1 == recipe.steps:
            ways.append(keras.ops.convert_to_numpy(spots.centers()))
            history["crowding"].append(float(spots.crowding()))
    return ways, history


def reconstruction_loss(blur=0.0):
    """Build the loss between frames and their reconstruction: mean square, both blurred first.

    Parameters
    ----------
    blur : float, optional
        Standard deviation in pixels; 0: not blurred.

    Returns
    -------
    callable
    """
    if not blur:
        return "mean_squared_error"
    offset = np.arange(-int(np.ceil(3 * blur)), int(np.ceil(3 * blur)) + 1)
    weights = np.exp(-0.5 * (offset / blur) ** 2).astype(np.float32)
    weights /= weights.sum()

    def loss(frames, rebuilt):
        wrong = frames - rebuilt
        for shape in ((-1, 1, 1, 1), (1, -1, 1, 1)):
            wrong = keras.ops.conv(wrong, keras.ops.convert_to_tensor(weights.reshape(shape)), padding="same")
        return keras.ops.mean(wrong**2)

    return loss


def _keep(layer, frames, recipe, seen=None):
    """Prune and merge; return the rows that are left, their scores, heights, and spots (N, h, w)."""
    traces, spots = [], None
    for start in range(0, len(frames), 64):
        s, spots, _ = layer.solve(frames[start : start + 64][..., None])
        traces.append(keras.ops.convert_to_numpy(s))
    spots = keras.ops.convert_to_numpy(spots).astype(np.float64)
    traces = np.concatenate(traces).T  # (N, T)
    # A spike of one frame is noise; frames are in the order of time, most of them neighbours.
    held = np.minimum(traces[:, 1:], traces[:, :-1]) if traces.shape[1] > 1 else traces
    heights = held.max(axis=1).astype(np.float32)
    sunk = -np.maximum(traces[:, 1:], traces[:, :-1]).min(axis=1) if traces.shape[1] > 1 else -heights
    # Whatever moves or pulses sinks as far as it rises; cells do not.
    rises = (heights >= recipe.rise) & (heights >= recipe.asymmetry * sunk)
    proven = rises & (_alone(spots) >= recipe.alone)
    # A height is no probability: without a network there are no scores.
    scores, ranks = np.full(len(heights), np.nan, np.float32), heights
    if seen is not None:  # pruned like the rest, what it is sure of was a cell more often than not
        ranks = scores = np.asarray(seen.scores, np.float32)
        proven |= scores >= recipe.sure
    rows = np.flatnonzero(proven)
    points = keras.ops.convert_to_numpy(layer.centers())
    rows = rows[merge_near(points[rows], ranks[rows], recipe.merge)]
    return rows, scores[rows], heights[rows], spots[rows].reshape(len(rows), *layer.frame_shape)


def _alone(spots):
    """Return which part of each spot no sum of the others can explain, (N,)."""
    norms = np.sqrt((spots**2).sum(axis=1, keepdims=True))
    unit = spots / np.maximum(norms, 1e-12)
    inverse = np.linalg.inv(unit @ unit.T + 1e-6 * np.eye(len(unit)))
    return 1 / np.maximum(np.diag(inverse), 1e-12)
