"""Registered movies on disk: work that goes on where it was stopped, then TIFF, JSON, pictures and flow."""

import contextlib
import errno
import hashlib
import json
import math
import os
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from calzoo.errors import CalzooError
from calzoo.imaging.movies import open_movie
from calzoo.imaging.outputs import (
    check_target,
    in_bytes,
    output_file,
    plain,
    refuse_existing,
    refuse_inputs,
    shown_name,
    source_facts,
    written,
)
from calzoo.imaging.parts import check_part, clear_part, hold_part, make_part, part_path, release_part
from calzoo.imaging.writers import VolumeWriter, tiff_name
from calzoo.inference.progress import progress_bar
from calzoo.inference.registration_job import RegistrationJob
from calzoo.inference.registration_options import checked_options, estimator

#: What can be kept of every frame: fields of `Aligned`, each in OUT.NAME.npy.
SERIES = ("flow", "uncertainty")
_COMMAND = "register"  # whose begun work is in OUT.part
_SAVE_SECONDS = 5.0  # between notes of how far the work has come
#: Data types that Fiji opens as TIFF, and what holds int8; all others are written as float32.
_KEPT = ("uint8", "uint16", "int16", "int32", "float32")
_WRITTEN_AS = {"bool": "uint8", "int8": "int16"}


@dataclass(frozen=True)
class RegistrationRun:
    """What `run_registration` wrote.

    Attributes
    ----------
    path : pathlib.Path
        The movie.
    report : Mapping
    provider : str
        What ran the network.
    """

    path: Path
    report: Mapping
    provider: str


def register_file(path, out, *, series, open_options, all_channels, overwrite, **options):
    """Register a file; see `calzoo.inference.registration.run_registration`."""
    began = time.perf_counter()
    check_target(tiff_name(out))
    # A file in a folder of frames would be the next frame; the flow of an earlier result goes too.
    refuse_inputs(
        [*result_files(out), out.parent],
        [path] if isinstance(path, (str, os.PathLike)) else path,
    )
    model, preset = options.pop("model", None), options.pop("preset", "registration-2p")
    provider, threads = options.pop("provider", "auto"), options.pop("threads", None)
    template, options = options.pop("template", None), checked_options(**options)
    network = estimator(options["rigid"], model, preset, provider=provider, threads=threads)
    with contextlib.ExitStack() as files:
        movies, channels = _open(path, open_options, all_channels, files)
        folder = out.with_suffix(".part")
        asked = asked_options(options, template, series, open_options, all_channels)
        facts = {
            "source": source_facts(path),
            "shape": [len(movies), *movies[0].shape],
            "channels": channels,
            "first_frame": hashlib.sha256(np.ascontiguousarray(movies[0].frames(0, 1))).hexdigest(),
            "network": network.origin["sha256"],
            "options": asked,
        }
        del options["rigid"]  # the network stands for it
        work = _Work(folder, facts, overwrite)
        if not (overwrite or work.done):
            refuse_existing(result_files(out, series))
        template = work.template(template)  # begun work keeps the one it was begun with
        job = RegistrationJob(movies[0], network, template=template, others=movies[1:], **options)
        dtype = _file_type(job.inputs)
        files.callback(release_part, folder)
        with written(folder):
            work.begin(job, dtype, series)
            before = work.done
            report = _run(job, work)
            seconds = round(time.perf_counter() - began, 3)
            speed = round((job.movie.shape[0] - before) / seconds, 1)  # of this call
            _finish(job, work, out, movies[0], report, path, (seconds, speed))
    shutil.rmtree(folder, ignore_errors=True)
    return RegistrationRun(out, report, network.provider)


def result_files(out, series=SERIES):
    """Return the files of a registered movie: TIFF, report, pictures, and what is kept of frames."""
    endings = (".json", ".png", ".valid.png", *(f".{name}.npy" for name in series))
    return [out, *(out.with_suffix(ending) for ending in endings)]


def _open(path, options, all_channels, files):
    """Return the movies of the chosen channel and, if wanted, of all others; and their places in OUT.tif.

    Places are those of the input.
    """
    channel = options.get("channel")
    if all_channels and channel is None:
        options = options | {"channel": 0}
    first = files.enter_context(open_movie(path, **options))
    if not all_channels or first.n_channels == 1:
        return [first], [0]
    names = first.channel_names
    chosen = names.index(channel) if channel in names else int(options["channel"])
    chosen %= first.n_channels
    rest = [n for n in range(first.n_channels) if n != chosen]
    others = [files.enter_context(open_movie(path, **options | {"channel": n})) for n in rest]
    return [first, *others], [chosen, *rest]


def asked_options(options, template, series, open_options, all_channels):
    """Return "options" of OUT.json: what must be the same for a result, or begun work, to be this one.

    Parameters
    ----------
    options : dict
        From `checked_options`.
    template : ndarray of shape (Y, X), or None
    series : sequence of str
        Which of `SERIES` are kept.
    open_options, all_channels
        As for `run_registration`.
    """
    known = None if template is None else hashlib.sha256(np.ascontiguousarray(template)).hexdigest()
    kept = {name: name in series for name in SERIES}
    return plain({**options, "template": known, **kept, "all_channels": all_channels, **open_options})


class _Work:
    """The folder OUT.part: raw frames and series, the template, numbers about frames, and how far it is."""

    def __init__(self, folder, facts, overwrite):
        self.folder, self.facts = folder, json.loads(json.dumps(facts))
        self.done, self._arrays = 0, None
        self.whole = True  # what is counted is what is kept
        check_part(folder, _COMMAND)
        if not overwrite and self._fits():
            with np.load(folder / "state.npz") as state:
                self._arrays = {name: state[name] for name in state.files}
            self.done = int(self._arrays.pop("done"))
        self._saved = time.monotonic()

    def _fits(self):
        try:
            facts = json.loads((self.folder / "facts.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return False
        # Series are missing if a process was killed when it gave the results their names.
        series = [f"{name}.npy" for name in SERIES if self.facts["options"][name]]
        needed = ["state.npz", "frames.raw", *series]
        return facts == self.facts and all((self.folder / name).is_file() for name in needed)

    def template(self, given):
        """Return the template of begun work, else the one that is given."""
        return self._arrays["template"] if self._arrays is not None else given

    def begin(self, job, dtype, series):
        """Have the files open behind what is done."""
        if self._arrays is not None:
            job.quality.restore(self._arrays)
            hold_part(self.folder)
        else:
            clear_part(self.folder, _COMMAND)
            make_part(self.folder, _COMMAND)
            (self.folder / "facts.json").write_text(json.dumps(self.facts), encoding="utf-8")
        shape = (job.movie.shape[0], len(job.inputs), *job.movie.shape[1:])
        shapes = {name: (shape[0], *job.shape_of(name)) for name in series}
        new = self._arrays is None
        if new:
            _check_space(self.folder, shape, dtype, shapes.values())
        mode = "w+" if new else "r+"
        self.frames = np.memmap(self.folder / "frames.raw", dtype, mode, shape=shape)
        self.series = {
            name: np.lib.format.open_memmap(
                self.folder / f"{name}.npy", mode, np.float32, shapes[name] if new else None
            )
            for name in series
        }
        if new:
            for array in (self.frames, *self.series.values()):
                _allocate(array.filename)

    def add(self, piece, job):
        """Keep finished frames, and from time to time note how far the work is."""
        stop = self.done + len(piece.found.flow)
        self.whole = False
        for number, frames in zip(self.facts["channels"], piece.frames, strict=True):
            self.frames[self.done : stop, number] = frames
        for name, array in self.series.items():
            array[self.done : stop] = getattr(piece.found, name)
        job.quality.add(*piece.measured)
        self.done, self.whole = stop, True
        if time.monotonic() - self._saved > _SAVE_SECONDS:
            self.save(job)

    def read(self, start, stop):
        """Return registered frames of each channel, the one that motion was estimated on first."""
        return [self.frames[start:stop, number] for number in self.facts["channels"]]

    def save(self, job):
        """Note how far the work is: all files first, then the note."""
        for array in (self.frames, *self.series.values()):
            array.flush()
        part = self.folder / "state.part.npz"
        np.savez(part, done=self.done, template=job.template, **job.quality.state())
        os.replace(part, self.folder / "state.npz")
        self._saved = time.monotonic()


def _check_space(folder, shape, dtype, series):
    """Refuse to begin work that the disk cannot hold: the frames, their copy as TIFF, and float32 series."""
    needed = 2 * math.prod(shape) * dtype.itemsize + 4 * sum(math.prod(one) for one in series)
    free = shutil.disk_usage(folder).free
    if free < needed:
        message = (
            f"{folder}: expected {in_bytes(needed)} of free space for the result, got {in_bytes(free)}; make "
            "room, or give an -o on another disk."
        )
        raise CalzooError(message)


def _allocate(path):
    """Take the space of a file: where one that is mapped has holes, a full disk kills the process."""
    if not hasattr(os, "posix_fallocate"):
        return
    with open(path, "r+b") as file:
        try:
            os.posix_fallocate(file.fileno(), 0, os.path.getsize(path))
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS):  # not every disk can
                raise


def _run(job, work):
    """Register what is left; on an error or Ctrl-C, note how far it came unless a piece is half counted."""
    try:
        with progress_bar("frame", total=job.movie.shape[0], done=work.done) as bar:
            for piece in job.pieces(work.done):
                work.add(piece, job)
                bar.update(len(piece.found.flow))
    finally:
        if work.whole:
            work.save(job)
    quality = job.finish(work.read)
    return quality.report()


def _finish(job, work, out, movie, report, path, timing):
    """Write the TIFF, pictures and the report: it says that all is there, so it goes first, comes last."""
    from PIL import Image

    from calzoo.imaging.registration_report import draw_registration

    voxel = None if movie.pixel_um is None else (None, *movie.pixel_um)
    channels = work.frames.shape[1]
    shape = work.frames.shape if channels > 1 else (work.frames.shape[0], *work.frames.shape[2:])
    quality = job.quality
    facts = {
        "input": str(path),
        "source": work.facts["source"],
        "shape": list(job.movie.shape),
        "model": job.network.origin,
        "provider": job.network.provider,
        "seconds": timing[0],
        "frames_per_second": timing[1],
        "scan_offset_px": job.offset,
        "bad_rows": job.bad_lines[0],
        "bad_columns": job.bad_lines[1],
        "options": work.facts["options"],
        "report": report,
        "by_frame": quality.series(),
    }
    # Here, not beside OUT.tif: what is left of it if the process is killed goes with the folder.
    tif = work.folder / out.name
    part_path(tif).unlink(missing_ok=True)
    with VolumeWriter(
        tif,
        shape,
        work.frames.dtype,
        voxel,
        "tcyx" if channels > 1 else "tyx",
        frame_rate_hz=movie.frame_rate_hz,
    ) as writer:
        for start in range(0, shape[0], 16):
            frames = work.frames[start : start + 16]
            writer.append(frames if channels > 1 else frames[:, 0])
    record = work.folder / "report.json"
    record.write_text(json.dumps(facts, indent=1), encoding="utf-8")
    if out.with_suffix(".json").exists():
        out.with_suffix(".json").unlink()
        for name in SERIES:  # of the earlier result
            out.with_suffix(f".{name}.npy").unlink(missing_ok=True)
    draw_registration(out.with_suffix(".png"), quality, report, title=shown_name(path))
    with output_file(out.with_suffix(".valid.png")) as part:
        Image.fromarray(np.where(quality.valid, 255, 0).astype(np.uint8)).save(part, format="PNG")
    os.replace(tif, out)
    work.frames = None
    while work.series:
        name, array = work.series.popitem()
        array.flush()
        del array  # a mapped file cannot be renamed everywhere
        os.replace(work.folder / f"{name}.npy", out.with_suffix(f".{name}.npy"))
    os.replace(record, out.with_suffix(".json"))


def _file_type(inputs):
    """Return the data type of the file: that of all channels, or what Fiji opens in its place."""
    name = np.result_type(*(m.dtype for m in inputs)).name
    return np.dtype(name if name in _KEPT else _WRITTEN_AS.get(name, "float32"))
