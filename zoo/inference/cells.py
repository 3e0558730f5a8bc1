"""Find the neurons of a two-photon recording: one mask each, a score, traces."""

import contextlib
import os
import sys
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calzoo.errors import CalzooError
from calzoo.imaging.cell_files import OF_MOVIES, STALE, cell_table, write_cells
from calzoo.imaging.cell_pictures import resize, scaled_shape
from calzoo.imaging.cell_summary import cell_pictures
from calzoo.imaging.diameters import aspect_of, diameter_px
from calzoo.imaging.frames import MovieLike, as_array, as_movie, refuse_file, sides_of
from calzoo.imaging.masks import Masks, count_of_cells
from calzoo.imaging.movies import scales_of
from calzoo.imaging.peaks import local_maxima
from calzoo.imaging.picture_files import as_pictures
from calzoo.imaging.suite2p_folder import UNKNOWN_RATE_HZ
from calzoo.imaging.summary import SummaryImages
from calzoo.imaging.traces import Traces, extract_traces, neuropil_rings
from calzoo.imaging.valid_area import as_valid, read_valid
from calzoo.inference.cell_input import network_input
from calzoo.inference.cell_masks import binarised, pasted, suppressed, with_prior
from calzoo.inference.cell_networks import CellNetworks
from calzoo.inference.cell_scale import DOUBTFUL_SCORE, possible_diameters
from calzoo.inference.models import Model, Provider

PRESET = "cells-2p"
_LEAST_PX = 2.0  # of a diameter: smaller ones would be enlarged beyond all memory
_FEWEST_FRAMES = 50
_BASELINE_S = 60.0
_FILES = ("masks.npz", "labels.tif", "rois.zip", "cells.csv", "caiman_A.npz", "overlay.png")


@dataclass(frozen=True, eq=False)
class CellDetection:
    """The cells of a recording.

    Attributes
    ----------
    masks : Masks
        One for each cell, in the pixels of the recording, the best score first; they may overlap.
    scores : ndarray of float32, (N,)
        Probability that each is a cell.
    heat : ndarray of float32, (Y, X)
        How likely each pixel belongs to a cell.
    pictures : Mapping of str to ndarray, (Y, X)
        What the networks saw: correlation, brightness, deviation, those that there are.
    diameter_px : float
        Of the cells as they were looked for, in pixels (of their geometric mean, where their sides
        differ).
    traces : Traces or None
        Fluorescence and neuropil of each cell, where a movie was given.
    provider : str
        What ran the networks.
    least_score : float
        What the cells score at least.
    pixel_um : tuple of float or None
        Side of a pixel (y, x), where it is known.
    frame_rate_hz : float or None
        Frames per second, where they are known.
    """

    masks: Masks
    scores: NDArray[np.float32]
    heat: NDArray[np.float32]
    pictures: Mapping[str, NDArray[np.float32]]
    diameter_px: float
    traces: Traces | None
    provider: str
    least_score: float
    pixel_um: tuple[float, float] | None = None
    frame_rate_hz: float | None = None

    def __repr__(self) -> str:
        frames = "no traces" if self.traces is None else f"{self.traces.cells.shape[1]} frames"
        return (
            f"CellDetection({count_of_cells(self.count)} in {sides_of(self.masks.shape)} pixels, "
            f"diameter {self.diameter_px:.1f} px, {frames})"
        )

    @property
    def count(self) -> int:
        """Number of cells."""
        return len(self.masks)

    @property
    def centers(self) -> NDArray[np.float64]:
        """Mean (y, x) of the pixels of each cell, (N, 2)."""
        return self.masks.centers

    @property
    def labels(self) -> NDArray[np.int32]:
        """Label image, int32 (Y, X): cell i is i + 1, the smallest on top where several overlap."""
        return self.masks.labels()

    @property
    def table(self) -> dict[str, NDArray[Any]]:
        """Columns of cells.csv, dict of str to ndarray; NaN in micrometres without `pixel_um`."""
        return cell_table(self, self.pixel_um)

    def save(self, folder: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write what ``calzoo cells`` writes into a folder, all of it or nothing.

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
        from calzoo.imaging.outputs import saved_folder

        facts = {
            "pixel_um": self.pixel_um,
            "frame_rate_hz": self.frame_rate_hz,
            "provider": self.provider,
            "parameters": {"diameter_px": self.diameter_px, "least_score": self.least_score},
            "cells": self.count,
        }
        with saved_folder(folder, overwrite, stale=STALE) as part:
            write_cells(
                part,
                self,
                title=Path(folder).name,
                pixel_um=self.pixel_um,
                frame_rate_hz=self.frame_rate_hz,
                baseline_frames=_baseline_frames(self.frame_rate_hz),
                facts=facts,
            )


def find_cells(
    movie: NDArray[Any] | MovieLike | None = None,
    *,
    summary: NDArray[Any] | Mapping[str, NDArray[Any]] | SummaryImages | None = None,
    preset: str = PRESET,
    model: Mapping[str, str | os.PathLike[str] | Model] | None = None,
    provider: Provider = "auto",
    threads: int | None = None,
    diameter: float | str | None = None,
    pixel_um: Sequence[float] | None = None,
    frame_rate_hz: float | None = None,
    score: float | None = None,
    prior: bool = False,
    traces: bool = True,
    valid: NDArray[Any] | None = None,
) -> CellDetection:
    """Find the neurons of a movie, or of one picture.

    Parameters
    ----------
    movie : ndarray or Movie, (T, Y, X)
        Registered, or nearly so. Any real dtype. A warning says if it has fewer than 50 frames.
    summary : ndarray, mapping or SummaryImages, optional
        In place of a movie: one picture (Y, X) (a mean, median or maximum), a stack (3, Y, X) of
        correlation, median and standard deviation, or pictures by the names "correlation", "brightness" and
        "deviation". With a movie: its summary, if it is known already.
    preset : str, optional
        Released networks, where `model` is absent.
    model : Mapping of str to (str, path or Model), optional
        The networks of the roles "proposal" and "instance".
    provider, threads : optional
        As for `calzoo.load_model`.
    diameter : float or str, optional
        Median diameter of the cells in pixels (``12``, ``"12px"``) or micrometres (``"10um"``). By default
        it is estimated from the recording, beginning at 12 um where the pixel size is known. Of a recording
        that does not stand out of noise a warning says so, and only cells that score at least 0.85 count.
    pixel_um : tuple of float, optional
        Side of a pixel in micrometres, (y, x); by default that of the movie. Where the sides differ
        pictures are resampled so that cells look round to the networks.
    frame_rate_hz : float, optional
        Frames per second, for the tables; by default that of the movie.
    score : float, optional
        Least score of a cell, above 0 and up to 1, in place of the card's.
    prior : bool, optional
        Multiply each mask by the mean of all, which suppresses parts of neighbours.
    traces : bool, optional
        Whether to average the movie over the masks.
    valid : ndarray of bool, (Y, X), optional
        Which pixels a registered movie saw in all frames (`Registration.valid`): outside nothing is found
        and nothing is measured.

    Returns
    -------
    CellDetection

    Raises
    ------
    CalzooError
        If the recording, a network or an option cannot be used.

    Examples
    --------
    >>> from calzoo.simulation.two_photon import simulate_two_photon
    >>> movie = simulate_two_photon(3, (60, 96, 96)).frames(0, 60)
    >>> found = find_cells(movie, diameter=12)
    >>> found.traces.cells.shape == (found.count, 60)
    True
    >>> find_cells(summary=movie.mean(axis=0), diameter=12).traces is None
    True
    """
    _check_score(score)
    size, rate = scales_of(movie, pixel_um, frame_rate_hz)
    networks = CellNetworks.load(model, preset, provider=provider, threads=threads)
    if movie is None and summary is None:
        message = "find_cells: expected a movie (T, Y, X), or one picture as summary=; got neither."
        raise CalzooError(message)
    if movie is not None:
        movie = _checked_movie(movie)
        _diameter_in(movie.shape[1:], diameter, size)  # before the movie is read
    if movie is not None and summary is None:
        _warn_of_few(movie.shape[0])
        summary = cell_pictures(movie, threads=threads or 2)
    pictures = as_pictures(summary)
    shape = next(iter(pictures.values())).shape
    if movie is not None and shape != tuple(movie.shape[1:]):
        message = f"find_cells: the summary has {shape} pixels, the movie {tuple(movie.shape[1:])}."
        raise CalzooError(message)
    valid = as_valid(valid, shape)
    found = detect(
        networks, pictures, diameter=diameter, pixel_um=size, score=score, prior=prior, valid=valid
    )
    measured = None
    if movie is not None and traces:
        measured = traces_of(movie, found.masks, valid)
    return replace(found, traces=measured, pixel_um=size, frame_rate_hz=rate)


def _warn_of_few(frames):
    """Say that a movie is short: what correlates in it, and how much pixels vary, is noise then."""
    if frames < _FEWEST_FRAMES:
        warnings.warn(
            f"the movie has {frames} frames; from fewer than some {_FEWEST_FRAMES} cells are missed whose "
            "activity would show them.",
            stacklevel=3,
        )


def _checked_movie(movie):
    if not hasattr(movie, "frames"):
        refuse_file(movie, "open_movie")
        movie = as_array(movie)
    if len(movie.shape) == 2:
        message = (
            f"find_cells: expected a movie (T, Y, X), got one picture {movie.shape}; give it as summary= "
            "(--summary on the command line)."
        )
        raise CalzooError(message)
    return as_movie(movie, at_least=2)


def _check_score(score):
    """Refuse a score that means nothing."""
    if score is not None and not (isinstance(score, Real) and 0 < score <= 1):
        message = f"score: expected the least probability of a cell, above 0 and up to 1, got {score!r}."
        raise CalzooError(message)


def _baseline_frames(frame_rate_hz, seconds=None):
    """Return how many frames the window of the running baseline holds."""
    return max(round((seconds or _BASELINE_S) * (frame_rate_hz or UNKNOWN_RATE_HZ)), 1)


def _check_baseline(seconds, traces):
    """Refuse a window of the baseline without traces, or one that means nothing."""
    if seconds is None:
        return
    if not traces:
        message = (
            f"baseline_s={seconds!r} (--baseline) is for the dF/F of traces, and there are none of a picture "
            "(summary) or of masks alone (traces=False, --no-traces); leave it out."
        )
        raise CalzooError(message)
    if not (isinstance(seconds, Real) and 0 < seconds < np.inf):
        message = f"baseline_s: expected a number of seconds above 0, got {seconds!r}."
        raise CalzooError(message)


def detect(networks, pictures, *, diameter=None, pixel_um=None, score=None, prior=False, valid=None):
    """Find cells in pictures.

    Parameters
    ----------
    networks : CellNetworks
    pictures : Mapping of str to ndarray, (Y, X)
        From `calzoo.imaging.picture_files.as_pictures`.
    diameter, pixel_um, score, prior, valid : optional
        As for `find_cells`.

    Returns
    -------
    CellDetection
        Without traces, pixel size and frame rate.
    """
    _check_score(score)
    pixel_um, _ = scales_of(None, pixel_um)
    seen = network_input(networks, pictures, pixel_um, valid)
    diameter = _diameter_in(seen.shape, diameter, pixel_um)
    if diameter is None:
        first = networks.diameter_um / float(np.sqrt(np.prod(pixel_um))) if pixel_um else None
        possible = possible_diameters(networks, seen, first=first)
        if len(possible) > 1:
            return _of_few(networks, seen, pictures, possible, score, prior)
        diameter = possible[0]
    score = networks.options["score_threshold"] if score is None else score
    masks, scores, heat = _at_scale(networks, seen, diameter, score, prior)
    return CellDetection(masks, scores, heat, pictures, diameter, None, networks.provider, score)


def _diameter_in(shape, diameter, pixel_um):
    """Return the diameter of the cells of a picture in pixels, None if it is not told."""
    sides = np.multiply(shape, aspect_of(pixel_um))
    return diameter_px(diameter, pixel_um, least=_LEAST_PX, most=0.5 * float(sides.max()))


def _of_few(networks, seen, pictures, diameters, score, prior):
    """Find cells that are too few, or none, to tell their diameter: what the networks are very sure of."""
    score = DOUBTFUL_SCORE if score is None else score
    best, surest = None, -1.0
    for diameter in diameters:
        found = _at_scale(networks, seen, diameter, score, prior)
        # Not how many there are: at small diameters noise has some that are just sure enough.
        sure = float(np.maximum(found[1] - DOUBTFUL_SCORE, 0).sum())
        if sure > surest:
            best, surest = (*found, pictures, diameter, None, networks.provider, score), sure
    found = CellDetection(*best)
    warnings.warn(
        f"the recording ({sides_of(seen.shape)}) shows hardly more than noise would, so the "
        f"diameter cannot be estimated; {count_of_cells(found.count)} with a score of at least {score:g} at "
        f"{found.diameter_px:.1f} px. If there are more, give their diameter, e.g. 12px or 10um.",
        stacklevel=2,
    )
    return found


def _at_scale(networks, seen, diameter, score, prior):
    """Find cells of a known diameter."""
    options = networks.options
    shape, present = seen.shape, seen.present
    scaled = resize(seen.image, scaled_shape(shape, seen.factors(networks.diameter / diameter)))
    network_shape = scaled.shape[1:]
    center, heat = networks.heat(scaled, present)
    places, values = local_maxima(
        center,
        distance=max(options["peak_distance"] * networks.diameter, 1),
        threshold=options["heat_threshold"],
    )
    places = np.rint(places).astype(int)
    soft, scores = networks.outline(scaled, present, places)
    for _ in range(int(options.get("passes", 1)) - 1):
        places = _recentred(soft, places, options["mask_threshold"], network_shape)
        soft, scores = networks.outline(scaled, present, places)
    share = float(options.get("heat_weight", 0.0))
    scores = (scores ** (1 - share) * values**share).astype(np.float32) if share else scores
    soft = with_prior(soft, scores) if prior else soft
    solid = binarised(soft, options["mask_threshold"])
    sizes = 2 * np.sqrt(solid.sum(axis=(1, 2)) / np.pi) / networks.diameter
    good = scores >= score
    good &= (sizes >= options["smallest_diameter"]) & (sizes <= options["largest_diameter"])
    good &= seen.recorded_share(solid, places, network_shape) >= 0.5
    soft, solid, scores = soft[good], solid[good], scores[good]
    corners = places[good] - networks.crop // 2
    kept = suppressed(solid, corners, scores, overlap=options["overlap_threshold"])
    masks = pasted(
        soft[kept] * solid_around(solid[kept]),
        corners[kept],
        options["mask_threshold"],
        shape,
        network_shape,
        seen.recorded,
    )
    inside = masks.areas > 0
    heat = resize(heat[0], shape)
    heat = heat if seen.recorded is None else heat * seen.recorded
    return masks.select(inside), scores[kept][inside], heat


def solid_around(solid):
    """Return masks (N, side, side) one pixel wider: where soft masks belong to the piece that was chosen."""
    from scipy import ndimage

    return ndimage.binary_dilation(solid, np.ones((1, 3, 3))) if len(solid) else solid


def _recentred(soft, places, threshold, shape):
    """Move places to the middle of the masks that were found there."""
    side = soft.shape[-1]
    axis = np.arange(side) - side // 2
    solid = binarised(soft, threshold).astype(np.float32)
    areas = np.maximum(solid.sum(axis=(1, 2)), 1)
    shift = np.stack([solid.sum(axis=2) @ axis, solid.sum(axis=1) @ axis], axis=1) / areas[:, None]
    limit = side / 8
    moved = np.rint(places + np.clip(shift, -limit, limit)).astype(int)
    return np.clip(moved, 0, np.array(shape) - 1)


def traces_of(movie, masks, valid=None):
    """Average a movie over masks and over the valid neuropil around them; also of no mask at all."""
    if not len(masks):
        nothing = np.empty((0, movie.shape[0]), np.float32)
        return Traces(nothing, nothing.copy(), np.empty(0, int), np.empty(0, int))
    return extract_traces(movie, masks, rings=neuropil_rings(masks, where=valid))


@dataclass(frozen=True)
class CellRun:
    """What `run_cells` wrote.

    Attributes
    ----------
    folder : pathlib.Path
    count : int
        Number of cells.
    diameter_px : float
    provider : str
    """

    folder: Path
    count: int
    diameter_px: float
    provider: str


def run_cells(
    path,
    out,
    *,
    summary=False,
    preset=PRESET,
    model=None,
    provider="auto",
    threads=None,
    diameter=None,
    score=None,
    prior=False,
    traces=True,
    baseline_s=None,
    nwb=False,
    valid=None,
    pixel_um=None,
    frame_rate_hz=None,
    **reading,
):
    """Find the neurons of a file, and write all results into a folder.

    The folder gets masks.npz, labels.tif, rois.zip, cells.csv, overlay.png, caiman_A.npz
    and run.json; of a movie also traces.csv, neuropil.csv, corrected.csv, dff.csv and the folder suite2p; all
    of them or none. What an earlier run or `calzoo curate` left there of other cells goes.

    Parameters
    ----------
    path : path
        A movie that `open_movie` reads; with `summary` what `read_pictures` reads.
    out : path
        The folder.
    summary : bool, optional
        `path` is one picture, or a stack of correlation, median and standard deviation.
    preset, model, provider, threads, diameter, score, prior, traces
        As for `find_cells`.
    baseline_s : float, optional
        Seconds in the window of the running baseline of dF/F, by default 60; where the frame rate is not
        known it is taken to be 10 Hz. See `calzoo.imaging.traces.trace_delta_f_over_f`.
    nwb : bool or mapping, optional
        Also write cells.nwb, with metadata where a mapping is given; needs pynwb.
    valid : path, optional
        A picture that is not 0 where a registered movie is valid (OUT.valid.png); see `find_cells`.
    pixel_um, frame_rate_hz, **reading : optional
        As for `calzoo.open_movie`; of a picture only its pixel size can be given, in place of its TIFF's.

    Returns
    -------
    CellRun

    Raises
    ------
    CalzooError
        If the file, a network or an option cannot be used, or the disk is full.
    """
    from calzoo.imaging.movies import open_movie
    from calzoo.imaging.nwb_output import check_nwb
    from calzoo.imaging.outputs import output_folder, refuse_others, source_facts
    from calzoo.imaging.picture_files import picture_pixel_um, read_pictures

    began = time.perf_counter()
    names = [*_FILES, *(["cells.nwb"] if nwb else [])]
    refuse_others(out, names if summary or not traces else [*names, *OF_MOVIES])
    given = {"frame_rate_hz": frame_rate_hz, **reading}
    given = [f"{name}={value!r}" for name, value in given.items() if value is not None]
    if summary and given:
        message = (
            f"{path}: of a picture (summary) expected the pixel size and nothing else about reading, got "
            f"{', '.join(given)}, which applies to movies; leave it out."
        )
        raise CalzooError(message)
    _check_score(score)
    pixel_um, _ = scales_of(None, pixel_um)
    _check_baseline(baseline_s, traces and not summary)
    if nwb:
        check_nwb(None if nwb is True else nwb)
    networks = CellNetworks.load(model, preset, provider=provider, threads=threads)
    options = {"diameter": diameter, "score": score, "prior": prior}
    asked = {**options, "summary": summary, "traces": traces, "nwb": nwb, "pixel_um": pixel_um}
    asked |= {"baseline_s": baseline_s, "frame_rate_hz": frame_rate_hz, **reading}
    asked["valid"] = valid and source_facts(valid)
    with contextlib.ExitStack() as files:
        length, rate = None, None
        if summary:
            pictures = read_pictures(path)
            shape = next(iter(pictures.values())).shape
            pixel_um = pixel_um or picture_pixel_um(path)
        else:
            movie = files.enter_context(
                open_movie(path, pixel_um=pixel_um, frame_rate_hz=frame_rate_hz, **reading)
            )
            shape = movie.shape[1:]
            length, rate, pixel_um = movie.shape[0], movie.frame_rate_hz, movie.pixel_um
        area = read_valid(valid, shape)
        baseline_frames = _baseline_frames(rate, baseline_s)
        if pixel_um is None:
            print(
                f"calzoo: {path}: the pixel size is not known, columns in um stay empty; give --pixel Y,X.",
                file=sys.stderr,
            )
        # Before the work: where nothing can be written, hours of it would be lost.
        folder = files.enter_context(
            output_folder(out, stale=STALE, inputs=[path, *([valid] if valid else [])])
        )
        if summary:
            found = find_cells(summary=pictures, model=networks, pixel_um=pixel_um, valid=area, **options)
        else:
            found = find_cells(movie, model=networks, threads=threads, traces=traces, valid=area, **options)
        facts = {
            "input": path,
            "kind": "pictures" if summary else "movie",
            "frames": length,
            "frame_rate_hz": rate,
            "pixel_um": pixel_um,
            "model": model_facts(networks),
            "options": asked,
            "parameters": {
                **networks.options,
                **options,
                "diameter_px": found.diameter_px,
                "least_score": found.least_score,
                **({} if found.traces is None else {"baseline_frames": baseline_frames}),
            },
            "cells": found.count,
            "seconds": round(time.perf_counter() - began, 3),
        }
        write_cells(
            folder,
            found,
            title=Path(path).name,
            pixel_um=pixel_um,
            frame_rate_hz=rate,
            baseline_frames=baseline_frames,
            nwb=nwb,
            facts=facts,
        )
    return CellRun(Path(out), found.count, found.diameter_px, networks.provider)


def model_facts(networks):
    """Return what run.json says about the networks."""
    both = {"proposal": networks.proposal, "instance": networks.instance}
    roles = {role: {"file": m.path.name, "sha256": m.sha256} for role, m in both.items()}
    return {
        "name": networks.proposal.card.name,
        "sha256": network_hash(networks),
        "provider": networks.provider,
        **roles,
    }


def network_hash(networks):
    """Return one sha256 for both networks."""
    import hashlib

    return hashlib.sha256((networks.proposal.sha256 + networks.instance.sha256).encode()).hexdigest()
