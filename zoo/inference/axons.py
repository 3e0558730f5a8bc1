"""Segment the axons of a stack: classes, one label per axon, a table, a picture."""

import contextlib
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calzoo.imaging import normalisation
from calzoo.imaging.frames import sides_of
from calzoo.imaging.growth import AXON, GROWTH
from calzoo.imaging.images import Volume, as_volume, open_volume
from calzoo.imaging.specks import WIDTH, numbering, surroundings, without_specks
from calzoo.inference.axon_lengths import lengths_of
from calzoo.inference.axon_network import AxonNetwork
from calzoo.inference.axon_scale import is_known, least_voxels, scale_factors
from calzoo.inference.axon_table import table_of
from calzoo.inference.instances import CONNECTIVITY, Components, GrownLabels, Measures
from calzoo.inference.models import Model, Provider
from calzoo.inference.scratch import Scratch

_VOLUMES = ("semantic", "instances")
_FILES = ("axons.csv", "overlay.png")


@dataclass(frozen=True, eq=False)
class AxonSegmentation:
    """The axons of a stack.

    Attributes
    ----------
    semantic : ndarray of uint8, (Z, Y, X)
        0 background, also where an axon was too small to count, 1 axon, 2 border.
    instances : ndarray of int32, (Z, Y, X)
        0 background, 1 to N one axon each, the largest first.
    table : Mapping of str to list
        Columns of axons.csv; row i is axon i + 1.
    provider : str
        What ran the network.
    voxel_um : tuple of (float or None) or None
        Side of a voxel (z, y, x), where it is known.
    """

    semantic: NDArray[np.uint8]
    instances: NDArray[np.int32]
    table: Mapping[str, list[Any]]
    provider: str
    voxel_um: tuple[float | None, float | None, float | None] | None = None

    def __repr__(self) -> str:
        axons = f"{self.count} axon{'s' * (self.count != 1)}"
        return f"AxonSegmentation({axons} in {sides_of(self.instances.shape)} voxels)"

    @property
    def count(self) -> int:
        """Number of axons."""
        return len(self.table["id"])

    def save(self, folder: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write semantic.tif, instances.tif, axons.csv and run.json into a folder, all of them or none.

        They are those of ``calzoo axons``; its picture needs the stack.

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
        from calzoo.imaging.outputs import saved_folder, write_run_json, write_table
        from calzoo.imaging.writers import write_volume

        stale = [*(f"{name}.zarr" for name in _VOLUMES), "overlay.png"]
        with saved_folder(folder, overwrite, stale=stale) as part:
            for name in _VOLUMES:
                write_volume(part / f"{name}.tif", getattr(self, name), voxel_um=self.voxel_um)
            write_table(part / "axons.csv", self.table)
            write_run_json(part, voxel_um=self.voxel_um, provider=self.provider, axons=self.count)


@dataclass(frozen=True)
class AxonRun:
    """What `run_axons` wrote.

    Attributes
    ----------
    folder : pathlib.Path
    table : Mapping of str to list
        Columns of axons.csv.
    provider : str
        What ran the network.
    """

    folder: Path
    table: Mapping[str, list]
    provider: str

    @property
    def count(self):
        """Number of axons."""
        return len(self.table["id"])


def segment_axons(
    volume: NDArray[Any] | Volume,
    *,
    preset: str = "axons",
    model: str | os.PathLike[str] | Model | None = None,
    provider: Provider = "auto",
    threads: int | None = None,
    axes: str | None = None,
    channel: int | str | None = None,
    voxel_um: Sequence[float | None] | None = None,
    axon_diameter: float | str | None = None,
    min_voxels: float | None = None,
    min_um3: float | None = None,
) -> AxonSegmentation:
    """Segment the axons of a stack that fits into memory.

    Parameters
    ----------
    volume : ndarray or Volume, (Z, Y, X)
        Intensities of any real dtype; other axes as `axes` say.
    preset : str, optional
        Released network, where `model` is absent.
    model : str, path or Model, optional
        An .onnx file, or what `load_model` returned.
    provider, threads : optional
        As for `load_model`.
    axes : str, optional
        One letter per axis of `volume`, e.g. "czyx".
    channel : int or str, optional
        Which channel holds the axons. Intensities are measured in all of them, in
        columns with the names of channels where the file has them, else their numbers.
    voxel_um : tuple of float, optional
        Side of a voxel in micrometres, (z, y, x).
    axon_diameter : float or str, optional
        Thickness of the axons, in pixels (``6``, ``"6px"``) or micrometres
        (``"1.5um"``): the network sees the stack with axons of the thickness that
        it was trained on; results have the voxels of `volume`. By default the
        network sees the stack as it is.
    min_voxels, min_um3 : float, optional
        Smallest axon, in voxels or cubic micrometres, in place of the card's.

    Returns
    -------
    AxonSegmentation

    Raises
    ------
    CalzooError
        If the volume, the network or an option cannot be used.

    Examples
    --------
    >>> from calzoo.simulation.axons import simulate_axons
    >>> stack = simulate_axons(1, (16, 64, 64), style="confocal").volume
    >>> found = segment_axons(stack, voxel_um=(1.0, 0.5, 0.5))
    >>> found.instances.shape, len(found.table["length_um"]) == found.count
    ((16, 64, 64), True)
    """
    if isinstance(volume, Volume):  # one channel of whatever it was opened from
        channel = None
    channels, chosen = _channels(
        lambda number: as_volume(volume, axes=axes, channel=number, voxel_um=voxel_um), channel
    )
    network = AxonNetwork.load(model, preset, provider=provider, threads=threads)
    job = _Job(channels, chosen, network, axon_diameter, min_voxels, min_um3)
    shape = job.volume.shape
    with (
        Scratch(shape, np.uint8) as classes,
        Scratch(shape, np.int32) as labels,
        Scratch(shape, np.uint8) as semantic,
        Scratch(shape, np.int32) as instances,
    ):
        job.classify(classes, labels)
        table = job.label(classes, labels, semantic.append, instances.append)
        return AxonSegmentation(
            semantic.read(), instances.read(), table, network.model.provider, job.volume.voxel_um
        )


def run_axons(
    path,
    out,
    *,
    preset="axons",
    model=None,
    provider="auto",
    threads=None,
    axes=None,
    channel=None,
    voxel_um=None,
    axon_diameter=None,
    min_voxels=None,
    min_um3=None,
    zarr=False,
):
    """Segment the axons of a file of any depth into a folder.

    The folder gets semantic.tif and instances.tif (or semantic.zarr and instances.zarr),
    axons.csv, overlay.png and run.json, all of them or none. Memory does not grow
    with the number of planes.

    Parameters
    ----------
    path : path
        A volume that `open_volume` opens.
    out : path
        The folder.
    preset, model, provider, threads, axes, channel, voxel_um, axon_diameter, min_voxels, min_um3
        As for `segment_axons`.
    zarr : bool, optional
        Write classes and labels as OME-Zarr in place of TIFF.

    Returns
    -------
    AxonRun

    Raises
    ------
    CalzooError
        If the file, the network or an option cannot be used, or the disk is full.
    """
    from calzoo.imaging.outputs import output_folder, refuse_others, write_run_json, write_table
    from calzoo.imaging.overlays import Projection, draw_axons

    began = time.perf_counter()
    ending, other = (".zarr", ".tif") if zarr else (".tif", ".zarr")
    refuse_others(out, [*_FILES, *(name + ending for name in _VOLUMES)])
    with contextlib.ExitStack() as files:
        channels, chosen = _channels(
            lambda number: files.enter_context(
                open_volume(path, axes=axes, channel=number, voxel_um=voxel_um)
            ),
            channel,
        )
        network = AxonNetwork.load(model, preset, provider=provider, threads=threads)
        job = _Job(channels, chosen, network, axon_diameter, min_voxels, min_um3)
        shape, voxel = job.volume.shape, job.volume.voxel_um
        if not is_known(voxel):
            print(
                f"calzoo: {path}: the voxel size is not known, columns in um stay empty; give --voxel Z,Y,X.",
                file=sys.stderr,
            )
        view = Projection(shape[1:])
        with output_folder(out, stale=[name + other for name in _VOLUMES], inputs=[path]) as folder:
            table = _write_volumes(job, folder, view, ending)
            write_table(folder / "axons.csv", table)
            title = f"{Path(path).name}   {sides_of(shape)}   {len(table['id'])} axons"
            draw_axons(folder / "overlay.png", view, title=title, pixel_um=voxel and voxel[2])
            seconds = round(time.perf_counter() - began, 3)
            options = {
                "axes": axes,
                "channel": channel,
                "voxel_um": voxel_um,
                "axon_diameter": axon_diameter,
                "min_voxels": min_voxels,
                "min_um3": min_um3,
                "zarr": zarr,
            }
            count = len(table["id"])
            write_run_json(folder, input=path, **job.facts(), options=options, axons=count, seconds=seconds)
    return AxonRun(Path(out), table, network.model.provider)


def _channels(open_channel, channel):
    """Return the volumes of all channels and the place of the chosen one among them."""
    chosen = open_channel(channel)
    if chosen.n_channels == 1 or channel is None:
        return [chosen], 0
    names = chosen.channel_names
    number = names.index(channel) if channel in names else int(channel) % chosen.n_channels
    return [chosen if i == number else open_channel(i) for i in range(chosen.n_channels)], number


def _write_volumes(job, folder, view, ending):
    """Write classes and instances; return the table."""
    shape, voxel = job.volume.shape, job.volume.voxel_um
    semantic_path, instances_path = (folder / f"{name}{ending}" for name in _VOLUMES)
    with Scratch(shape, np.uint8, folder) as classes, Scratch(shape, np.int32, folder) as labels:
        job.classify(classes, labels)
        with (
            _writer(semantic_path, shape, np.uint8, voxel) as semantic,
            _writer(instances_path, shape, np.int32, voxel) as instances,
        ):
            return job.label(classes, labels, semantic.append, instances.append, view)


def _writer(path, shape, dtype, voxel):
    if path.suffix == ".zarr":
        from calzoo.imaging.zarr_writer import ZarrWriter

        return ZarrWriter(path, shape, dtype, voxel, labels=True)
    from calzoo.imaging.writers import VolumeWriter

    return VolumeWriter(path, shape, dtype, voxel)


class _Job:
    """One stack and one network: from planes to classes, from classes to axons."""

    def __init__(self, channels, chosen, network, axon_diameter, min_voxels, min_um3):
        self.channels, self.chosen, self.network = channels, chosen, network
        self.volume = channels[chosen]
        card, voxel_um = network.card, self.volume.voxel_um
        self.factors = scale_factors(card, voxel_um, axon_diameter, self.volume.shape)
        self.grid = network.plan(self.volume.shape, self.factors)
        self.least = least_voxels(card, voxel_um, self.factors, min_voxels, min_um3)
        self.growth = int(card.postprocessing.get("grow", GROWTH))
        self.connectivity = int(card.postprocessing.get("connectivity", CONNECTIVITY))
        self.scaling = None
        self.seconds = {}

    @property
    def depth(self):
        """Planes at a time, wherever the volume is passed through."""
        return self.grid.tile[0]

    def classify(self, classes, labels):
        """Run the network; fill `classes`, and `labels` with preliminary labels."""
        began = time.perf_counter()
        self._components = Components(self.connectivity)
        self.scaling = normalisation.measure(self._chunks, self.network.card.normalisation)
        for slab in self.network.classes(self.volume, self.scaling, self.grid):
            classes.append(slab)
            labels.append(self._components.append(slab == AXON))
        self.seconds["network"] = round(time.perf_counter() - began, 3)

    def label(self, classes, labels, write_semantic, write_instances, view=None):
        """Make axons of preliminary labels: write classes and axons, and return their table."""
        began = time.perf_counter()
        roots = self._components.roots()
        measures = Measures.empty(int(roots.max(initial=0)), len(self.channels))
        axon_labels = GrownLabels(classes, labels, roots, self.growth)
        for start, grown in axon_labels.slabs(self.depth):
            stop = start + len(grown)
            intensities = [channel.planes(start, stop) for channel in self.channels]
            measures.add(grown, start, intensities)
            if view is not None:
                view.add_image(intensities[self.chosen])
        names = numbering(measures.voxels, self.least)
        for start, grown in axon_labels.slabs(self.depth):
            axons = names[grown]
            first, stop = max(start - WIDTH, 0), start + len(axons)
            near = surroundings(names[roots[labels.planes(first, stop + WIDTH)]] > 0)  # clipped at the end
            semantic = without_specks(classes.planes(start, stop), axons, near[start - first :][: len(axons)])
            write_semantic(semantic)
            write_instances(axons)
            if view is not None:
                view.add_classes(semantic)
                view.add_labels(axons)
        voxel_um = self.volume.voxel_um
        lengths = lengths_of(axon_labels, names, self.depth, voxel_um)
        channels = self.volume.channel_names
        table = table_of(measures, names, lengths, self.volume.shape, voxel_um, channels)
        self.seconds["instances"] = round(time.perf_counter() - began, 3)
        return table

    def facts(self):
        """Return what run.json says beside the result."""
        model, card = self.network.model, self.network.card
        return {
            "shape": self.volume.shape,
            "dtype": self.volume.dtype,
            "voxel_um": self.volume.voxel_um,
            "channel": self.chosen,
            "model": {
                "name": card.name,
                "file": model.path.name,
                "sha256": model.sha256,
                "provider": model.provider,
            },
            "parameters": {
                "offset": self.scaling.offset,
                "span": self.scaling.span,
                "factors": self.factors,
                "tile": self.grid.tile,
                "tiles": self.grid.count,
                "overlap": card.overlap,
                "min_voxels": self.least,
                "grow": self.growth,
                "connectivity": self.connectivity,
            },
            "seconds_by_stage": self.seconds,
        }

    def _chunks(self):
        for start in range(0, self.volume.shape[0], self.depth):
            yield self.volume.planes(start, start + self.depth)
