"""Find the centres of the cells of a one-photon movie: points, radii, masks, traces."""

import contextlib
import os
import sys
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calzoo.errors import CalzooError
from calzoo.imaging.cell_files import STALE
from calzoo.imaging.cell_pictures import resize
from calzoo.imaging.center_channels import CELL_PX, CHANNELS, grid_for, window_channels
from calzoo.imaging.center_files import center_table, write_centers
from calzoo.imaging.center_peaks import local_maxima, refine
from calzoo.imaging.center_traces import cell_masks, extract_activity
from calzoo.imaging.diameters import aspect_of, diameter_px
from calzoo.imaging.frames import MovieLike, as_movie, sides_of
from calzoo.imaging.masks import Masks, count_of_cells
from calzoo.imaging.movies import scales_of
from calzoo.imaging.valid_area import as_valid, read_valid, steady_outside
from calzoo.inference.center_network import OUTPUTS, CenterNetwork
from calzoo.inference.models import Model, Provider
from calzoo.inference.progress import progress_bar

#: Faster movies are averaged down to about this for the search; traces keep every frame.
FASTEST_HZ = 10.0
_FEWEST_FRAMES = 50
_FILES = ("centers.csv", "traces.csv", "masks.npz", "labels.tif", "rois.zip", "overlay.png", "stages.png")
_DETAILS = ("pictures.png", "histograms.png")


@dataclass(frozen=True, eq=False)
class Centers:
    """The cells of a movie, the likeliest first.

    Attributes
    ----------
    points : ndarray of float64, (N, 2)
        (y, x) in pixels of the frame.
    scores : ndarray of float32, (N,)
        Probability, from 0 to 1.
    radii : ndarray of float32, (N,)
        In pixels.
    traces : ndarray of float32, (N, T)
        s(t), the height of a Gaussian in the units of the movie; see `calzoo.imaging.center_traces.Activity`.
    noise : ndarray of float32, (N,)
        Standard deviation of the noise of each trace.
    hits : ndarray of int, (N,)
        Frames in which the cell stands out.
    masks : Masks
        Pixels of each cell; they do not overlap.
    heat : ndarray of float32, (h, w, 3)
        Probability of a centre, probability of a body, radius, on the network's grid.
    diameter_px : float
        How wide the cells were taken to be.
    provider : str
        What ran the network.
    pixel_um : tuple of float or None
        Side of a pixel (y, x), where it is known. Where pixels are not square, diameter and radii count
        pixels of the mean side, and cells are as much wider along an axis as pixels are shorter.
    frame_rate_hz : float or None
        Frames per second, where they are known.
    """

    points: NDArray[np.float64]
    scores: NDArray[np.float32]
    radii: NDArray[np.float32]
    traces: NDArray[np.float32]
    noise: NDArray[np.float32]
    hits: NDArray[np.int64]
    masks: Masks
    heat: NDArray[np.float32]
    diameter_px: float
    provider: str
    pixel_um: tuple[float, float] | None = None
    frame_rate_hz: float | None = None

    def __repr__(self) -> str:
        return (
            f"Centers({count_of_cells(self.count)} in {sides_of(self.masks.shape)} pixels, "
            f"diameter {self.diameter_px:.1f} px, {self.traces.shape[1]} frames)"
        )

    @property
    def count(self) -> int:
        """Number of cells."""
        return len(self.points)

    @property
    def table(self) -> dict[str, NDArray[Any]]:
        """Columns of centers.csv, dict of str to ndarray; NaN in micrometres without `pixel_um`."""
        return center_table(self, self.pixel_um)

    def save(self, folder: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write tables, masks and run.json into a folder, all of them or none.

        The files are those of ``calzoo centers``, but for the pictures, which need the movie.

        Parameters
        ----------
        folder : path
            It is made where it is missing.
        overwrite : bool, optional
            Replace an earlier result in it, and what was curated of that.

        Raises
        ------
        CalzooError
            If the folder holds a result and `overwrite` is False, a file of the same name is no result of
            calzoo, or the folder cannot be written.
        """
        from calzoo.imaging.outputs import saved_folder, write_run_json

        with saved_folder(folder, overwrite, stale=[*STALE, "overlay.png", "stages.png"]) as part:
            write_centers(part, self, pixel_um=self.pixel_um, frame_rate_hz=self.frame_rate_hz)
            write_run_json(
                part,
                pixel_um=self.pixel_um,
                frame_rate_hz=self.frame_rate_hz,
                provider=self.provider,
                parameters={"diameter_px": self.diameter_px},
                cells=self.count,
            )


def find_centers(
    movie: NDArray[Any] | MovieLike,
    *,
    preset: str = "centers-1p",
    model: str | os.PathLike[str] | Model | CenterNetwork | None = None,
    provider: Provider = "auto",
    threads: int | None = None,
    diameter: float | str | None = None,
    count: int | None = None,
    score: float | None = None,
    pixel_um: Sequence[float] | None = None,
    frame_rate_hz: float | None = None,
    valid: NDArray[Any] | None = None,
) -> Centers:
    """Find the centres of the cells of a one-photon movie.

    The movie is summed up in windows of some hundred frames; the network turns each
    into a heat map; their maximum over time has its summits at the centres.

    Parameters
    ----------
    movie : movie or ndarray, (T, Y, X)
        At least two frames, of any integer or float data type, without motion. A warning says if it has
        fewer than 50.
    preset : str, optional
        Released network, where `model` is absent.
    model : str, path, Model or CenterNetwork, optional
        An .onnx file, or what `load_model` returned.
    provider, threads : optional
        As for `load_model`.
    diameter : float or str, optional
        Of the cells, in pixels (``11``, ``"11px"``) or micrometres (``"14um"``). By default the
        network measures it.
    count : int, optional
        How many centres to return at most: the likeliest, whatever their score.
    score : float, optional
        Least score of a centre, between 0 and 1, in place of the card's.
    pixel_um : tuple of float, optional
        Side of a pixel in micrometres, (y, x); by default that of the movie.
    frame_rate_hz : float, optional
        Frames per second; by default that of the movie. Faster ones than ten are averaged for the
        search, while traces keep every frame.
    valid : ndarray of bool, (Y, X), optional
        Which pixels a registered movie saw in all frames (`Registration.valid`): outside nothing is found
        and nothing is measured.

    Returns
    -------
    Centers

    Raises
    ------
    CalzooError
        If the movie, the network or an option cannot be used.

    Examples
    --------
    >>> from calzoo.simulation.one_photon import simulate_one_photon
    >>> movie = simulate_one_photon(7, (60, 64, 64)).frames(0, 60)
    >>> found = find_centers(movie, diameter=11, count=3)
    >>> found.points.shape, found.traces.shape
    ((3, 2), (3, 60))
    """
    movie = as_movie(movie, at_least=2)
    size, rate = scales_of(movie, pixel_um, frame_rate_hz)
    aspect = aspect_of(size)
    valid = as_valid(valid, movie.shape[1:])
    movie = movie if valid is None else steady_outside(movie, valid)
    network = CenterNetwork.load(model, preset, provider=provider, threads=threads)
    score, count = _limits(network, score, count)
    workers = threads or 2
    slow = _slowed(movie, rate)
    width = diameter_px(diameter, size)
    width = network.measured_diameter(slow, threads=workers, aspect=aspect) if width is None else width
    grid = grid_for(movie.shape[1:], width, aspect)
    if movie.shape[0] < _FEWEST_FRAMES:
        warnings.warn(
            f"the movie has {movie.shape[0]} frames; from fewer than some {_FEWEST_FRAMES} cells are missed "
            "that do not fire in them.",
            stacklevel=2,
        )
    heat = projected(network, slow, grid, workers)
    pixels = local_maxima(heat[..., 0], distance=network.apart * CELL_PX, threshold=score)
    points = np.clip(grid.to_frame(refine(heat[..., 0], pixels)), 0, np.array(movie.shape[1:]) - 1)
    inside = ... if valid is None else valid[tuple(np.rint(points).astype(int).T)]
    pixels, points = pixels[inside][:count], points[inside][:count]
    seen = heat[tuple(pixels.T)].reshape(-1, 3)
    radii = (np.clip(seen[:, 2], 0.3 * CELL_PX / 2, 3 * CELL_PX / 2) * grid.mean_step).astype(np.float32)
    activity = extract_activity(movie, points, radii, aspect)
    body = resize(heat[..., 1], grid.frame_shape)
    masks = cell_masks(body, points, radii, aspect=aspect, valid=valid)
    return Centers(
        points,
        seen[:, 0],
        radii,
        activity.traces,
        activity.noise,
        activity.hits,
        masks,
        heat,
        float(width),
        network.provider,
        size,
        rate,
    )


def projected(network, movie, grid, threads=2):
    """Return the highest heat of all windows at each pixel, with the bodies' highest and the radius there.

    Parameters
    ----------
    network : CenterNetwork
    movie : movie
    grid : Grid
    threads : int, optional

    Returns
    -------
    ndarray of float32, (h, w, 3)
    """
    best, spans = None, network.spans(movie.shape[0])
    with progress_bar("window", total=len(spans)) as bar:
        for start, stop in spans:
            heat = network.heat(window_channels(movie, grid, start, stop, threads=threads))
            bar.update()
            if best is None:
                best = heat.copy()
                continue
            higher = heat[..., 0] > best[..., 0]
            best[higher, 0], best[higher, 2] = heat[higher, 0], heat[higher, 2]
            np.maximum(best[..., 1], heat[..., 1], out=best[..., 1])
    return best


def run_centers(
    path,
    out,
    *,
    preset="centers-1p",
    model=None,
    provider="auto",
    threads=None,
    diameter=None,
    count=None,
    score=None,
    mask=None,
    group=None,
    judge=None,
    details=False,
    valid=None,
    **reading,
):
    """Find the centres of the cells of a recording, into a folder.

    The folder gets centers.csv, traces.csv, masks.npz, labels.tif, rois.zip, overlay.png, stages.png and
    run.json, all of them or none; with `mask`, also on_mask.png, with `details` pictures.png and
    histograms.png.

    Parameters
    ----------
    path : path
        A movie that `open_movie` reads.
    out : path
        The folder.
    preset, model, provider, threads, diameter, count, score
        As for `find_centers`.
    mask : path, optional
        Masks (.npz) or a picture (.tif) of known cells, to be drawn under the centres.
    group : str, optional
        Which group of masks.npz, as for `calzoo.read_masks`.
    judge : callable, optional
        ``judge(points, known)`` returns what run.json says, as "on_mask", of points on such a mask (Y, X), a
        mapping; the title of on_mask.png takes "chance_corrected" from it.
    details : bool, optional
        Draw what the network sees of the first window and makes of it, and histograms.
    valid : path, optional
        A picture that is not 0 where a registered movie is valid (OUT.valid.png); see `find_centers`.
    **reading
        As for `open_movie`.

    Returns
    -------
    Centers

    Raises
    ------
    CalzooError
        If the file, the network or an option cannot be used, or the disk is full.
    """
    from calzoo.imaging.center_drawings import draw_on_mask
    from calzoo.imaging.mask_pictures import read_mask
    from calzoo.imaging.movies import open_movie
    from calzoo.imaging.outputs import (
        output_folder,
        refuse_others,
        shown_name,
        source_facts,
        write_run_json,
    )

    began = time.perf_counter()
    names = [*_FILES, *(["on_mask.png"] if mask is not None else []), *(_DETAILS if details else [])]
    refuse_others(out, names)
    if group is not None and mask is None:
        message = (
            f"group {group!r} (--group): of known cells, and there are none; give them as mask (--mask)."
        )
        raise CalzooError(message)
    asked = {"diameter": diameter, "count": count, "score": score, "details": details}
    asked |= {"mask": mask and source_facts(mask), "group": group, "valid": valid and source_facts(valid)}
    with contextlib.ExitStack() as files:
        movie = files.enter_context(open_movie(path, **reading))
        network = CenterNetwork.load(model, preset, provider=provider, threads=threads)
        known = None if mask is None else read_mask(mask, movie.shape[1:], group)
        area = read_valid(valid, movie.shape[1:])
        if movie.pixel_um is None:
            print(
                f"calzoo: {path}: the pixel size is not known, columns in um stay empty; give --pixel Y,X.",
                file=sys.stderr,
            )
        inputs = [path, *(file for file in (mask, valid) if file is not None)]
        # Before the work: where nothing can be written, hours of it would be lost.
        folder = files.enter_context(output_folder(out, stale=STALE, inputs=inputs))
        found = find_centers(
            movie,
            model=network,
            threads=threads,
            diameter=diameter,
            count=count,
            score=score,
            valid=area,
        )
        write_centers(folder, found, pixel_um=movie.pixel_um, frame_rate_hz=movie.frame_rate_hz)
        verdict = None if known is None or judge is None else judge(found.points, known)
        shown = movie if area is None else steady_outside(movie, area)
        _draw(folder, found, shown, name=shown_name(path))
        if known is not None:
            corrected = (verdict or {}).get("chance_corrected")
            draw_on_mask(folder / "on_mask.png", known, found.points, corrected=corrected)
        if details:
            _draw_details(folder, found, shown, network)
        write_run_json(
            folder,
            input=path,
            shape=movie.shape,
            dtype=str(movie.dtype),
            frame_rate_hz=movie.frame_rate_hz,
            pixel_um=movie.pixel_um,
            model=model_facts(network),
            parameters={
                "diameter_px": found.diameter_px,
                "least_score": _limits(network, score, count)[0],
                "count": count,
                "window_frames": network.window,
                "averaged_frames": _bin_size(movie, movie.frame_rate_hz),
            },
            options={**asked, **reading},
            cells=found.count,
            **({} if verdict is None else {"on_mask": verdict}),
            seconds=round(time.perf_counter() - began, 3),
        )
    return found


def model_facts(network):
    """Return what run.json says about a CenterNetwork."""
    model = network.model
    return {
        "name": network.card.name,
        "file": model.path.name,
        "sha256": model.sha256,
        "provider": network.provider,
    }


def _draw(folder, found, movie, *, name):
    from calzoo.imaging import center_drawings as drawings

    title = f"{name}   {sides_of(movie.shape)}   {count_of_cells(found.count)}"
    drawings.draw_overlay(folder / "overlay.png", found, movie, title=title)
    drawings.draw_stages(folder / "stages.png", found, movie)


def _draw_details(folder, found, movie, network):
    """Draw what the network sees of the first window, and how what was found is distributed."""
    from calzoo.imaging import center_drawings as drawings

    slow = _slowed(movie, movie.frame_rate_hz)
    grid = grid_for(movie.shape[1:], found.diameter_px, aspect_of(found.pixel_um))
    seen = window_channels(slow, grid, *network.spans(slow.shape[0])[0])
    maps = np.concatenate([seen, network.heat(seen)], axis=-1)
    drawings.draw_feature_maps(folder / "pictures.png", maps, names=(*CHANNELS, *OUTPUTS))
    values = {"heat": found.heat[..., 0], "scores": found.scores, "radii": found.radii, "hits": found.hits}
    drawings.draw_histograms(folder / "histograms.png", values | {"s(t)": found.traces})


def _limits(network, score, count):
    """Return the least score and the largest number of centres."""
    if score is not None and not (isinstance(score, Real) and 0 < score < 1):
        message = f"score: expected the least probability of a centre, between 0 and 1, got {score!r}."
        raise CalzooError(message)
    if count is not None and not (isinstance(count, Integral) and count is not True and count >= 1):
        message = f"count: expected a whole number from 1 on, got {count!r}."
        raise CalzooError(message)
    if score is None:
        # Whoever asks for a number of centres wants so many.
        score = network.threshold if count is None else 1e-6
    return score, count


def _bin_size(movie, rate):
    return 1 if not rate else max(min(int(np.ceil(rate / FASTEST_HZ)), movie.shape[0] // 2), 1)


def _slowed(movie, rate):
    """Return the movie averaged down to at most some 10 frames per second."""
    from calzoo.imaging.preprocessing import bin_frames

    size = _bin_size(movie, rate)
    return movie if size == 1 else bin_frames(movie, size)
