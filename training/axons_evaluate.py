"""Score axon networks: simulated stacks, a law, TRAILMAP's validation planes, OCT-A.

A network comes as a function ``segment(volume) -> (semantic, instances)``, so that the same
protocols score a Keras run (`keras_segmenter`) and the exported pipeline. Every score
stands beside the classical baseline (`calzoo.training.axons_baselines`) and chance on the same
data; chance labels voxels at random, as often as they are true, so its F1 is that share.
"""

from pathlib import Path

import numpy as np

from calzoo.imaging.borders import semantic_from_instances
from calzoo.imaging.growth import AXON, GROWTH, grow
from calzoo.imaging.images import open_volume
from calzoo.imaging.normalisation import measure
from calzoo.imaging.specks import numbering, surroundings, without_specks
from calzoo.metrics.matching import instance_f1
from calzoo.metrics.segmentation import cl_dice, confusion, scores_by_class
from calzoo.simulation.axons import simulate_axons
from calzoo.training.axons_baselines import classical_axons, components
from calzoo.training.axons_sources import decode_trailmap, read_recordings
from calzoo.training.fingerprints import digest
from calzoo.training.laws import load_law
from calzoo.training.progress import shown
from calzoo.training.recipes.axons import CLASSES
from calzoo.training.runs import build_model
from calzoo.training.scores import mean_score
from calzoo.training.tiles import IGNORE

#: Seeds of simulated stacks that no recipe trains on.
SIMULATED_SEEDS = tuple(range(2_000_000, 2_000_004))
TRAILMAP_PLANES = (21, 48, 69)
OCTA_TRAINING, OCTA_VALIDATION, OCTA_SHAPE = slice(0, 32), slice(40, 64), (64, 128, 128)
#: SHA-256 of the sample's labels.
OCTA_LABELS = "9ba0f7ba57f013f0c6b4f39acfe90d786caef6ff993442cf6e05dfab8c16ee4a"
_BASELINE = "top-hat 21x21, Otsu"
# Without a Gaussian first, photon noise leaves the top-hat nothing to find.
_SMOOTH = {"confocal": (1, 2, 2)}


def keras_segmenter(run, *, overlap=0.25):
    """Make a function that segments with the network of a run, as the pipeline does with its file.

    Parameters
    ----------
    run : calzoo.training.runs.Run
    overlap : float, optional
        Share of a tile that its neighbour covers again.

    Returns
    -------
    callable
        ``segment(volume)``: intensities (Z, Y, X) to classes (uint8) and labels (int32).
    """
    model, recipe = build_model(run), run.recipe

    def segment(volume):
        scaling = measure(lambda: iter(volume), recipe.normalisation())
        image = scaling.apply(volume)
        semantic = recipe.predict(model, image, overlap=overlap).argmax(-1).astype(np.uint8)
        semantic[~scaling.recorded(volume)] = 0
        return separate_axons(semantic, recipe.min_voxels)

    return segment


def separate_axons(semantic, least, steps=GROWTH):
    """Label axons: parts of the axon class that share faces, grown over the border between them.

    Parameters
    ----------
    semantic : ndarray of uint8, (Z, Y, X)
        0 background, 1 axon, 2 border. Never changed.
    least : int
        Voxels of the smallest axon; what is smaller is background in the classes too.
    steps : int, optional
        How many voxels a label grows.

    Returns
    -------
    semantic : ndarray of uint8, (Z, Y, X)
    labels : ndarray of int32, (Z, Y, X)
        The largest axon is 1.
    """
    parts = components(semantic == AXON, smallest=1, neighbours=6)
    grown = grow(parts, semantic, steps)
    names = numbering(np.bincount(grown.ravel(), minlength=parts.max() + 1), least)
    labels = names[grown]
    return without_specks(semantic, labels, surroundings(names[parts] > 0)), labels


def score_simulated(
    segment,
    *,
    styles=("confocal", "lightsheet", "twophoton"),
    seeds=None,
    shape=(32, 192, 192),
    matrices=None,
):
    """Score on simulated stacks whose seeds no recipe trains on.

    Parameters
    ----------
    segment : callable
    styles : sequence of str, optional
        Of `calzoo.simulation.axons`.
    seeds : sequence of int, optional
        By default `SIMULATED_SEEDS`.
    shape : tuple of int, optional
        (Z, Y, X) of each stack.
    matrices : dict, optional
        Gets the confusion matrix of the classes, summed over what is scored, under the name of the data.

    Returns
    -------
    list of Score
        Of each style: F1, precision, recall and IoU of each class, clDice and instance F1, mean over stacks.
    """
    seeds = SIMULATED_SEEDS if seeds is None else seeds
    scores = []
    for style in styles:
        rows = []
        for seed in shown(seeds, "stack", f"simulated {style}"):
            stack = simulate_axons(seed, shape, style=style)
            found = classical_axons(stack.volume, smooth=_SMOOTH.get(style, (0, 0, 0)))
            segmented = segment(stack.volume)
            truth = semantic_from_instances(stack.instances)
            rows.append(_measure(truth, stack.instances, segmented, found))
            _count(matrices, f"simulated {style}", truth, segmented[0])
        protocol = f"{len(rows)} stacks of {'x'.join(map(str, shape))}, seeds {seeds[0]}-{seeds[-1]}"
        scores += _scores(f"simulated {style}", protocol, rows)
    return scores


def score_law(segment, path, *, seeds=range(8), matrices=None):
    """Score on the confocal law, which is no part of this project.

    Parameters
    ----------
    segment : callable
    path : path-like
        A Python file with ``make_stack(seed)``, which returns ``volume``,
        ``instances`` and ``field`` (Y, X).
    seeds : sequence of int, optional
    matrices : dict, optional
        Gets the confusion matrix of the classes, summed over what is scored, under the name of the data.

    Returns
    -------
    list of Score

    Raises
    ------
    CalzooError
        If the file is no such module.
    """
    law = load_law(path, "make_stack(seed)")
    rows = []
    for seed in shown(seeds, "stack", Path(path).stem):
        stack = law.make_stack(seed)
        found = classical_axons(stack.volume, smooth=(1, 2, 2), smallest=300, where=stack.field)
        segmented = segment(stack.volume)
        truth = semantic_from_instances(stack.instances)
        rows.append(_measure(truth, stack.instances, segmented, found))
        _count(matrices, Path(path).stem, truth, segmented[0])
    return _scores(Path(path).stem, f"seeds {seeds[0]}-{seeds[-1]}, whole frame, border recipe 3", rows)


def score_trailmap(segment, folder, *, matrices=None):
    """Score on the labelled planes of TRAILMAP's validation volume.

    An axon is where the most probable class is axon; a predicted border counts as
    background. The annotators' edge is left out in one score, and background in
    the other.

    Parameters
    ----------
    segment : callable
    folder : path-like
        With ``val_volume_partial.tif``, ``val_known_mask.tif`` and ``val_label.tif``.
    matrices : dict, optional
        Gets the confusion matrix of the classes, summed over what is scored, under the name of the data.

    Returns
    -------
    list of Score
        Over the voxels of the three planes together.
    """
    folder = Path(folder)
    volume, known, codes = (
        _read(folder / name) for name in ("val_volume_partial.tif", "val_known_mask.tif", "val_label.tif")
    )
    planes, known = list(TRAILMAP_PLANES), known > 0
    truth = np.where(known, decode_trailmap(codes), IGNORE)[planes]
    semantic = segment(volume)[0][planes]
    found = (classical_axons(volume, where=known) > 0)[planes]
    scores = []
    for name, edge in (("edge ignored", IGNORE), ("edge as background", 0)):
        target = np.where(truth == 2, edge, truth)
        value, baseline = (_f1(target, mask) for mask in (semantic == 1, found))
        share = float((target == 1).sum() / (target != IGNORE).sum())
        _count(matrices, f"TRAILMAP validation, {name}", target, semantic == 1)
        protocol = f"planes z {', '.join(map(str, planes))}, {name}; most probable class is axon"
        scores.append(_score("TRAILMAP validation", f"F1 axon, {name}", protocol, value, baseline, share))
    return scores


def score_octa(segment, folder, *, matrices=None):
    """Score on the planes of the OCT-A sample that no fine-tuning sees.

    Parameters
    ----------
    segment : callable
        Of any network; `octa_recipe` of the axon recipes makes a copy fine-tuned on `OCTA_TRAINING`.
    folder : path-like
        With ``volume.tif`` and ``label.tif``.
    matrices : dict, optional
        Gets the confusion matrix of the classes, summed over what is scored, under the name of the data.

    Returns
    -------
    list of Score
    """
    folder = Path(folder)
    volume, truth = _read(folder / "volume.tif"), _read(folder / "label.tif") > 0
    held = OCTA_VALIDATION
    last = OCTA_TRAINING.stop - 1
    protocol = f"planes z {held.start}-{held.stop - 1}; a fine-tuned copy has seen z 0-{last} alone"
    semantic = segment(volume[held])[0]
    # The border that the network learnt elsewhere belongs to the vessels' surroundings here.
    value = _f1(truth[held].astype(int), semantic == 1)
    _count(matrices, "OCT-A", truth[held].astype(int), semantic == 1)
    baseline = _f1(truth[held].astype(int), classical_axons(volume[held], smooth=(1, 1, 1)) > 0)
    return [_score("OCT-A", "F1 vessel", protocol, value, baseline, float(truth[held].mean()))]


def is_octa(folder):
    """Tell the OCT-A sample, whose files are named as own stacks may be, by its labels."""
    label = Path(folder) / "label.tif"
    if not label.is_file():
        return False
    with open_volume(label) as labels:
        return labels.shape == OCTA_SHAPE and digest(labels.read()) == OCTA_LABELS


def score_own(segment, folder, *, matrices=None):
    """Score on labelled stacks of one's own.

    Parameters
    ----------
    segment : callable
    folder : path-like
        As `calzoo.training.axons_sources.read_recordings` takes it; nothing in it was trained on.
    matrices : dict, optional
        Gets the confusion matrix of the classes, summed over what is scored, under the name of the data.

    Returns
    -------
    list of Score
        F1, precision, recall and IoU of each class over the voxels that are known, and where all axons
        are numbered, F1 of whole axons, clDice and instance F1 too: means over stacks.
    """
    recordings = read_recordings(folder)
    numbered = all(recording.instances for recording in recordings)
    name, rows = f"own stacks, {Path(folder).resolve().name}", []
    for recording in shown(recordings, "stack", name):
        segmented, truth = segment(recording.volume), recording.semantic()
        instances = recording.labels if numbered else None
        rows.append(_measure(truth, instances, segmented, classical_axons(recording.volume)))
        _count(matrices, name, truth, segmented[0])
    stacks = ", ".join(recording.name for recording in recordings)
    return _scores(name, f"{stacks}; border recipe 3" if numbered else stacks, rows)


def _count(matrices, name, truth, predicted):
    """Add to the confusion matrix of some data: of three classes, or of axon against the rest."""
    if matrices is None:
        return
    classes = 2 if predicted.dtype == bool else len(CLASSES)
    matrix = confusion(truth, predicted.astype(np.uint8), classes, ignore=IGNORE)
    matrices[name] = matrices.get(name, 0) + matrix


def _measure(truth, instances, segmented, classical):
    """Return metric -> (score, baseline, chance) of one stack; `instances` may be None."""
    ours = _numbers(truth, instances, *segmented)
    theirs = _numbers(truth, instances, semantic_from_instances(classical), classical)
    known = truth[truth != IGNORE]
    shares = dict(zip(CLASSES, np.bincount(known, minlength=3) / max(known.size, 1), strict=True))
    chance = {
        f"{metric} {name}": shares[name] for metric in ("F1", "precision", "recall") for name in CLASSES
    }
    return {name: (ours[name], theirs[name], chance.get(name)) for name in ours}


def _numbers(truth, instances, semantic, labels):
    by_class = scores_by_class(confusion(truth, semantic, 3, ignore=IGNORE))
    by_metric = {
        "F1": by_class.f1,
        "precision": by_class.precision,
        "recall": by_class.recall,
        "IoU": by_class.iou,
    }
    numbers = {
        f"{metric} {name}": of[c] for metric, of in by_metric.items() for c, name in enumerate(CLASSES)
    }
    if instances is not None:
        # Whole axons: the border between two of them is a part of both.
        numbers["F1 whole axons"] = _f1((instances > 0).astype(int), labels > 0)
        numbers["clDice"] = cl_dice(instances > 0, labels > 0)
        numbers["instance F1"] = instance_f1(instances, labels)
    return numbers


def _scores(data, protocol, rows):
    """Return the mean of each metric over stacks, with the range."""
    scores = []
    for metric in rows[0]:
        ours, theirs, chance = (np.array([row[metric][i] for row in rows], float) for i in range(3))
        if not np.isnan(ours).all():  # else there is nothing of the kind in any stack, neither true nor found
            scores.append(_score(data, metric, protocol, ours, theirs, chance))
    return scores


def _score(data, metric, protocol, ours, theirs, chance):
    return mean_score(data, metric, protocol, ours, baseline=theirs, baseline_name=_BASELINE, chance=chance)


def _f1(truth, mask):
    """Return the F1 of class 1 against a mask; `IGNORE` does not count."""
    return float(scores_by_class(confusion(truth, mask.astype(np.uint8), 2, ignore=IGNORE)).f1[1])


def _read(path):
    with open_volume(path) as volume:
        return volume.read()
