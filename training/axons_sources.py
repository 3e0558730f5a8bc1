"""Recordings of axons with labels, from folders, as the recipe `axons` trains on them.

Four kinds of folder are told apart by their files:

=============================================== ===================================================
``train_volume.tif`` and ``train_label.tif``    TRAILMAP [1]_: three planes labelled by hand
``cube*_volume.tif`` and ``cube*_finelabel.tif`` D-LMBmap [2]_: labels by a machine, weak
``volume.tif`` and ``instances.tif``            one integer per axon; what ``calzoo simulate`` writes
``volume.tif`` and ``label.tif``                0 background, 1 axon, 2 border, 255 not known
=============================================== ===================================================

The last two kinds may also be ``NAME_volume.tif`` with ``NAME_instances.tif`` or
``NAME_label.tif``, several to a folder.

References
----------
.. [1] Friedmann et al., PNAS 2020. doi:10.1073/pnas.1918465117
.. [2] Li et al., Nature Methods 2023. doi:10.1038/s41592-023-01998-6
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy import ndimage

from calzoo.errors import CalzooError
from calzoo.imaging.borders import semantic_from_instances
from calzoo.imaging.images import open_volume
from calzoo.training.axons_baselines import components, otsu_threshold, top_hat
from calzoo.training.fingerprints import digest
from calzoo.training.tiles import IGNORE

#: Classes of the annotators' codes: 1 background, 2 axon, 3 artefact, 4 edge.
_TRAILMAP_EDGE = 4
_TRAILMAP_CODES = {1: 0, 2: 1, 3: 0, _TRAILMAP_EDGE: 2}
_LARGEST_SPECK = 40  # voxels: a piece of axon as long as it is thick
_KNOWN_CLASSES = (0, 1, 2, IGNORE)


@dataclass(frozen=True)
class Recording:
    """One volume with its truth.

    Attributes
    ----------
    name : str
    source : str
        "simulation", "trailmap", "dlmbmap" or "own".
    volume : ndarray, (Z, Y, X)
        Intensities as recorded, or normalised.
    labels : ndarray of int, (Z, Y, X)
        Where `instances`: one integer per axon, 0 background. Otherwise 0 background,
        1 axon, 2 border, `IGNORE` not known.
    instances : bool
        What `labels` are.
    """

    name: str
    source: str
    volume: np.ndarray
    labels: np.ndarray
    instances: bool

    def semantic(self, recipe=3):
        """Return the classes, (Z, Y, X) uint8; of instances the borders are drawn by the given recipe."""
        if not self.instances:
            return self.labels.astype(np.uint8)
        return semantic_from_instances(self.labels, recipe=recipe)

    def with_labels(self, labels):
        """Return the recording with other labels."""
        return replace(self, labels=labels)

    def fingerprint(self):
        """Return what the recording is, as JSON: shape, hashes, percentiles, share of each class."""
        classes, counts = np.unique(self.semantic(), return_counts=True)
        return {
            "shape": list(self.volume.shape),
            "dtype": str(self.volume.dtype),
            "volume_sha256": digest(self.volume),
            "labels_sha256": digest(self.labels),
            "percentiles": {str(q): float(np.percentile(self.volume, q)) for q in (1, 50, 99.8)},
            "classes": {str(c): round(n / self.labels.size, 6) for c, n in zip(classes, counts, strict=True)},
        }


def read_recordings(folder):
    """Read all recordings of a folder.

    Parameters
    ----------
    folder : path-like

    Returns
    -------
    list of Recording
        By name.

    Raises
    ------
    CalzooError
        If the folder holds no pair of volume and labels, or a pair does not fit.
    """
    folder = Path(folder)
    if _is_trailmap(folder):
        return [_trailmap(folder)]
    cubes = sorted(folder.glob("cube*_volume.tif"))
    if cubes:
        return [_weak_cube(path) for path in cubes]
    pairs = sorted([*folder.glob("volume.tif"), *folder.glob("*_volume.tif")])
    if not pairs:
        message = (
            f"{folder}: expected a volume and its labels (volume.tif with instances.tif or label.tif, or "
            "NAME_volume.tif with NAME_instances.tif or NAME_label.tif), found none. "
            "'calzoo simulate axons -o DIR' writes an example."
        )
        raise CalzooError(message)
    return [_own(path) for path in pairs]


def _is_trailmap(folder):
    """Tell TRAILMAP's volume from an own one that is called "train" by a code that own labels do not have."""
    label = folder / "train_label.tif"
    if not ((folder / "train_volume.tif").is_file() and label.is_file()):
        return False
    with open_volume(label) as codes:
        return bool((codes.read() == _TRAILMAP_EDGE).any())


def only_planes(recording, planes):
    """Return a recording whose labels are known in some planes only.

    Parameters
    ----------
    recording : Recording
        With semantic labels.
    planes : sequence of int
    """
    labels = np.full_like(recording.labels, IGNORE)
    labels[list(planes)] = recording.labels[list(planes)]
    return recording.with_labels(labels)


def labelled_planes(recording):
    """Return the numbers of the planes that hold a known label, from semantic labels."""
    return [int(z) for z in np.flatnonzero((recording.labels != IGNORE).any(axis=(1, 2)))]


def decode_trailmap(codes):
    """Turn TRAILMAP's codes into classes.

    Parameters
    ----------
    codes : ndarray of uint8, (Z, Y, X)
        0 not labelled, 1 background, 2 axon, 3 artefact, 4 edge.

    Returns
    -------
    ndarray of uint8, (Z, Y, X)
        0 background, 1 axon, 2 border (their edge), `IGNORE`.
    """
    classes = np.full(256, IGNORE, np.uint8)
    for code, value in _TRAILMAP_CODES.items():
        classes[code] = value
    return classes[codes]


def weak_classes(volume, axon):
    """Turn labels that a machine made into classes that can be trusted.

    Thresholds miss dim axons, so of what stands out only specks are trusted to be
    background; and they misjudge thickness, so the voxels around a label are not
    trusted either.

    Parameters
    ----------
    volume : ndarray, (Z, Y, X)
        Intensities.
    axon : ndarray of bool, (Z, Y, X)
        Where the machine found an axon.

    Returns
    -------
    ndarray of uint8, (Z, Y, X)
        0 background, 1 axon, `IGNORE`.
    """
    ridge = top_hat(ndimage.gaussian_filter(volume.astype(np.float32), (0.5, 1, 1)))
    # A third of the classical threshold: what lies above may well be an axon, unless it is a speck.
    doubtful = components(ridge > otsu_threshold(ridge) / 3, smallest=_LARGEST_SPECK + 1) > 0
    near = ndimage.binary_dilation(axon, np.ones((3, 3, 3)), iterations=2)
    return np.where(axon, 1, np.where(doubtful | near, IGNORE, 0)).astype(np.uint8)


def _trailmap(folder):
    volume, codes = _pair(folder / "train_volume.tif", folder / "train_label.tif")
    return Recording("trailmap", "trailmap", volume, decode_trailmap(codes), instances=False)


def _weak_cube(path):
    name = path.name.removesuffix("_volume.tif")
    volume, axon = _pair(path, path.with_name(f"{name}_finelabel.tif"))
    return Recording(name, "dlmbmap", volume, weak_classes(volume, axon > 0), instances=False)


def _own(path):
    stem = path.name.removesuffix("volume.tif")
    instances = path.with_name(f"{stem}instances.tif")
    name = stem.rstrip("_") or path.parent.name
    if instances.exists():
        volume, labels = _pair(path, instances)
        return Recording(name, "own", volume, _numbered(labels, instances), instances=True)
    classes = path.with_name(f"{stem}label.tif")
    if not classes.exists():
        message = (
            f"{path}: expected labels of this volume ({instances.name} or {classes.name}), found none; "
            "add them, or move the volume to another folder."
        )
        raise CalzooError(message)
    volume, labels = _pair(path, classes)
    found = np.unique(labels)
    if IGNORE in found and set(found.tolist()) <= {0, IGNORE}:
        message = (
            f"{stem}label.tif: expected 0 background, 1 axon, 2 border, 255 not known, got {found.tolist()}, "
            "which looks like a binary mask. If 255 is axon, divide by 255 (in Fiji: Process > Math > "
            "Divide); in a stack that holds no axon write 0 everywhere, or leave it out."
        )
        raise CalzooError(message)
    strange = np.setdiff1d(found, _KNOWN_CLASSES)
    if strange.size:
        message = (
            f"{stem}label.tif: expected 0 background, 1 axon, 2 border, 255 not known, "
            f"got {strange[:5].tolist()}. Axons that are numbered belong into {instances.name}."
        )
        raise CalzooError(message)
    return Recording(name, "own", volume, labels.astype(np.uint8), instances=False)


def _numbered(labels, path):
    """Return labels of axons as int32, numbered anew where they would not fit; refuse what is no number."""
    if labels.dtype.kind == "f" and (labels != np.rint(labels)).any():
        message = (
            f"{path}: expected one whole number per axon and 0 for none, got {labels.dtype} values between "
            "whole numbers; save the labels without scaling them, e.g. as uint16."
        )
        raise CalzooError(message)
    if labels.min(initial=0) < 0:
        message = f"{path}: expected one number from 1 on per axon and 0 for none, got {labels.min()}."
        raise CalzooError(message)
    if labels.max(initial=0) > np.iinfo(np.int32).max:
        names, numbers = np.unique(labels, return_inverse=True)
        labels = numbers.reshape(labels.shape) + (0 if names[0] == 0 else 1)
    return labels.astype(np.int32)


def _pair(volume_path, labels_path):
    with open_volume(volume_path) as volume, open_volume(labels_path) as labels:
        if volume.shape != labels.shape:
            message = (
                f"{labels_path}: expected labels of the volume's shape {volume.shape}, got {labels.shape}; "
                "check that both files belong together."
            )
            raise CalzooError(message)
        return volume.read(), labels.read()
