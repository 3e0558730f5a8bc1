from pathlib import Path

import numpy as np
import pytest
import tifffile
from scipy import ndimage
from tiny_recipe import tiny_recipe

pytestmark = pytest.mark.train
keras = pytest.importorskip("keras")
filters = pytest.importorskip("skimage.filters")

from calzoo.errors import CalzooError
from calzoo.imaging.borders import semantic_from_instances
from calzoo.imaging.images import as_volume
from calzoo.imaging.normalisation import measure
from calzoo.inference.axon_network import AxonNetwork
from calzoo.inference.axons import segment_axons
from calzoo.simulation.axons import simulate_axons
from calzoo.training import axons_evaluate
from calzoo.training.axons_baselines import classical_axons, components, otsu_threshold
from calzoo.training.fingerprints import digest
from calzoo.training.runs import load_run, save_scores
from calzoo.training.scores import report
from calzoo.training.trainer import train
from calzoo.weights.card import Score

MODELS = Path(__file__).resolve().parent / "models"
LAW = """
import numpy as np
from dataclasses import dataclass

@dataclass
class Stack:
    volume: np.ndarray
    instances: np.ndarray
    field: np.ndarray

def make_stack(seed):
    instances = np.zeros((6, 48, 48), np.int32)
    instances[1:5, 10:16] = 1
    instances[1:5, 30:36] = 2
    noise = np.random.default_rng(seed).normal(0, 2, instances.shape)
    volume = np.clip(20 + 100 * (instances > 0) + noise, 0, 255).astype(np.uint8)
    return Stack(volume, instances, np.ones((48, 48), bool))
"""


@pytest.fixture
def law(tmp_path):
    path = tmp_path / "a_law.py"
    path.write_text(LAW)
    return path


def oracle(volume):
    """Segment the stacks of `LAW` without an error."""
    instances = components(volume > 70, smallest=1)
    return semantic_from_instances(instances), instances


def by_metric(scores):
    return {score.metric: score for score in scores}


def test_axons_of_a_keras_run_are_those_of_the_pipeline(rng):
    network = AxonNetwork.load(MODELS / "smooth.onnx", None, provider="cpu", threads=1)
    blobs = ndimage.gaussian_filter(rng.random((12, 40, 50)), 1.5)
    volume = as_volume(np.uint16(1000 * (blobs > 0.51)) + rng.integers(0, 400, blobs.shape, np.uint16))
    scaling = measure(lambda: [volume.planes(0, 12)], network.card.normalisation)
    grid = network.plan(volume.shape, (1, 1, 1))
    classes = np.concatenate(list(network.classes(volume, scaling, grid)))
    assert set(np.unique(classes)) == {0, 1, 2}
    semantic, labels = axons_evaluate.separate_axons(classes, 20, steps=network.card.postprocessing["grow"])
    found = segment_axons(volume, model=network.model, min_voxels=20)
    np.testing.assert_array_equal(semantic, found.semantic)
    np.testing.assert_array_equal(labels > 0, found.instances > 0)
    pairs = np.unique(np.stack([labels, found.instances]).reshape(2, -1), axis=1)
    assert pairs.shape[1] == found.count + 1 == labels.max() + 1 > 5
    np.testing.assert_array_equal(labels, found.instances)


def test_otsus_threshold_is_that_of_scikit_image(rng):
    values = np.concatenate([rng.normal(10, 2, 5000), rng.normal(20, 3, 1000)])
    assert otsu_threshold(values) == pytest.approx(filters.threshold_otsu(values), abs=1e-9)


def test_components_below_the_smallest_are_dropped_and_ids_have_no_gaps():
    mask = np.zeros((1, 3, 12), bool)
    mask[0, 0, :4] = mask[0, 2, 0] = mask[0, 0, 6:12] = True
    labels = components(mask, smallest=4)
    assert np.bincount(labels.ravel()).tolist() == [26, 4, 6]


def test_of_six_neighbours_none_is_at_an_edge_or_a_corner():
    mask = np.zeros((2, 2, 2), bool)
    mask[0, 0, 0] = mask[1, 1, 0] = mask[1, 1, 1] = True
    assert [components(mask, smallest=1, neighbours=n).max() for n in (6, 18, 26)] == [2, 1, 1]


def test_the_baseline_finds_bright_tubes_on_uneven_ground(rng):
    truth = np.zeros((5, 80, 80), bool)
    truth[:, 20:24] = truth[:, 50:54] = True
    volume = 100 * truth + np.linspace(0, 300, 80) + rng.normal(0, 2, truth.shape)
    labels = classical_axons(volume)
    np.testing.assert_array_equal(labels > 0, truth)
    assert labels.max() == 2


def test_the_baseline_looks_only_into_the_field_of_view(rng):
    volume = rng.normal(10, 1, (3, 60, 60))
    volume[:, 10:13], volume[:, 40:43] = 60, 900
    field = np.zeros((60, 60), bool)
    field[:30] = True
    labels = classical_axons(volume, where=field)
    assert (labels[:, 10:13] == 1).all()
    assert not labels[:, 30:].any()


def test_a_perfect_segmentation_scores_one_on_a_law(law):
    scores = by_metric(axons_evaluate.score_law(oracle, law, seeds=[0, 1]))
    for metric in (
        "F1 background",
        "F1 axon",
        "F1 border",
        "IoU axon",
        "F1 whole axons",
        "clDice",
        "instance F1",
    ):
        assert scores[metric].value == 1
        assert scores[metric].spread == (1, 1)
    assert scores["F1 axon"].data == "a_law"
    assert scores["F1 axon"].chance == pytest.approx(2 * 4 * 6 * 48 / (6 * 48 * 48), abs=1e-4)
    assert 0.5 < scores["F1 whole axons"].baseline < 1


def test_scores_are_means_over_stacks_with_their_range(law):
    def worse_and_worse(volume, calls=[]):  # noqa: B006
        calls.append(1)
        semantic, instances = oracle(volume)
        return semantic, np.where(instances <= 3 - len(calls), instances, 0)

    score = by_metric(axons_evaluate.score_law(worse_and_worse, law, seeds=[0, 1]))["instance F1"]
    assert score.spread == pytest.approx((2 / 3, 1), abs=1e-4)
    assert score.value == pytest.approx(5 / 6, abs=1e-4)


@pytest.mark.parametrize(
    ("name", "reason"), [("missing.py", "expected the Python file of a law"), ("empty.py", "make_stack")]
)
def test_a_file_that_is_no_law_is_refused(tmp_path, name, reason):
    (tmp_path / "empty.py").write_text("")
    with pytest.raises(CalzooError, match=reason):
        axons_evaluate.score_law(oracle, tmp_path / name)


def test_simulated_scores_cover_every_style_class_and_metric():
    def truthful(volume, seeds=[11, 12]):  # noqa: B006
        stack = simulate_axons(seeds.pop(0), (8, 48, 48), style="lightsheet")
        np.testing.assert_array_equal(stack.volume, volume)
        return semantic_from_instances(stack.instances), stack.instances

    options = {"styles": ("lightsheet",), "seeds": [11, 12], "shape": (8, 48, 48)}
    matrices = {}
    scores = axons_evaluate.score_simulated(truthful, **options, matrices=matrices)
    (matrix,) = matrices.values()
    assert list(matrices) == ["simulated lightsheet"]
    assert matrix.sum() == np.trace(matrix) == 2 * 8 * 48 * 48  # both stacks, and no mistake
    assert {s.data for s in scores} == {"simulated lightsheet"}
    assert len(scores) == 15
    assert all(s.value == 1 for s in scores)
    assert scores[0].protocol == "2 stacks of 8x48x48, seeds 11-12"


def write_trailmap(folder):
    """A validation volume whose axons are bright and whose edges are told by their codes."""
    codes = np.zeros((70, 40, 40), np.uint8)
    for z in axons_evaluate.TRAILMAP_PLANES:
        codes[z] = 1
        codes[z, 10:13] = 4
        codes[z, 11] = 2
    known = np.ones(codes.shape, np.uint8)
    known[:, :, 30:] = 0
    volume = np.where(codes == 2, 500, np.where(codes == 4, 300, 100)).astype(np.uint16)
    for name, array in (("val_volume_partial", volume), ("val_known_mask", known), ("val_label", codes)):
        tifffile.imwrite(folder / f"{name}.tif", array, metadata={"axes": "ZYX"})


def test_trailmaps_edge_is_ignored_or_background(tmp_path):
    write_trailmap(tmp_path)

    def thick(volume):
        semantic = (volume > 200).astype(np.uint8)
        return semantic, semantic

    matrices = {}
    ignored, background = axons_evaluate.score_trailmap(thick, tmp_path, matrices=matrices)
    # Of each of three planes 30 of 40 columns are known: one row of axon, two of edge.
    assert matrices["TRAILMAP validation, edge ignored"].tolist() == [[3 * 37 * 30, 0], [0, 3 * 30]]
    assert matrices["TRAILMAP validation, edge as background"].tolist() == [[3 * 37 * 30, 180], [0, 90]]
    assert ignored.value == 1
    # One row of axon, two of edge: precision 1/3, recall 1.
    assert background.value == pytest.approx(0.5)
    assert background.chance == pytest.approx(1 / 40)


def test_a_predicted_border_counts_as_background_on_trailmap(tmp_path):
    write_trailmap(tmp_path)

    def with_border(volume):
        semantic = np.where(volume > 400, 1, np.where(volume > 200, 2, 0)).astype(np.uint8)
        return semantic, semantic

    assert [score.value for score in axons_evaluate.score_trailmap(with_border, tmp_path)] == [1, 1]


def test_octa_is_scored_on_planes_that_no_fine_tuning_sees(tmp_path):
    label = np.zeros((64, 32, 32), np.uint8)
    label[:, 8:12] = 1
    tifffile.imwrite(tmp_path / "volume.tif", 100 * label, metadata={"axes": "ZYX"})
    tifffile.imwrite(tmp_path / "label.tif", label, metadata={"axes": "ZYX"})
    seen = []

    def segment(volume):
        seen.append(volume.shape)
        return (volume > 50).astype(np.uint8), None

    (score,) = axons_evaluate.score_octa(segment, tmp_path)
    assert (score.value, seen) == (1, [(24, 32, 32)])
    assert score.chance == pytest.approx(4 / 32)


def test_the_octa_sample_is_told_from_own_stacks_of_the_same_names(tmp_path, monkeypatch):
    assert not axons_evaluate.is_octa(tmp_path)
    sample = np.zeros((64, 128, 128), np.uint8)
    sample[0] = 1
    monkeypatch.setattr(axons_evaluate, "OCTA_LABELS", digest(sample))
    for label, octa in ((sample, True), (sample[::-1], False), (sample[:8, :9, :9], False)):
        tifffile.imwrite(tmp_path / "label.tif", label, metadata={"axes": "ZYX"})
        assert axons_evaluate.is_octa(tmp_path) == octa


def write_own(folder, name, volume, **labels):
    (kind, array) = next(iter(labels.items()))
    tifffile.imwrite(folder / f"{name}_volume.tif", volume, metadata={"axes": "ZYX"})
    tifffile.imwrite(folder / f"{name}_{kind}.tif", array, metadata={"axes": "ZYX"})


def test_own_stacks_with_numbered_axons_are_scored_by_class_and_by_axon(tmp_path):
    instances = np.zeros((6, 48, 48), np.uint16)
    instances[1:5, 10:16], instances[1:5, 30:36] = 1, 2
    volume = (20 + 100 * (instances > 0)).astype(np.uint8)
    write_own(tmp_path, "a", volume, instances=instances)
    write_own(tmp_path, "b", volume, instances=instances)
    matrices = {}
    scores = axons_evaluate.score_own(oracle, tmp_path, matrices=matrices)
    found = by_metric(scores)
    assert [found[m].value for m in ("F1 axon", "F1 border", "clDice", "instance F1")] == [1, 1, 1, 1]
    assert found["F1 axon"].protocol == "a, b; border recipe 3"
    assert found["F1 axon"].chance == pytest.approx((instances > 0).mean(), abs=1e-4)
    assert matrices[f"own stacks, {tmp_path.name}"].sum() == 2 * volume.size


def test_what_is_not_known_of_own_stacks_does_not_count(tmp_path):
    label = np.zeros((6, 32, 32), np.uint8)
    label[:, 8:12] = 1
    label[:, 20:] = 255
    write_own(tmp_path, "a", np.where(label > 0, 100, 10).astype(np.uint8), label=label)

    def segment(volume):  # right but for one row of four; all that is not known is called axon
        semantic = (volume > 50).astype(np.uint8)
        semantic[:, 8] = 0
        return semantic, semantic.astype(np.int32)

    found = by_metric(axons_evaluate.score_own(segment, tmp_path))
    assert found["F1 axon"].value == pytest.approx(6 / 7, abs=1e-4)
    assert (found["precision axon"].value, found["recall axon"].value) == (1, 0.75)
    for metric in ("F1 axon", "precision axon", "recall axon"):
        assert found[metric].chance == pytest.approx(4 / 20)
    assert "instance F1" not in found


@pytest.mark.data
def test_the_baseline_on_trailmap_is_the_known_reference(shared_data):
    def nothing(volume):
        return np.zeros(volume.shape, np.uint8), None

    ignored, background = axons_evaluate.score_trailmap(nothing, shared_data / "trailmap")
    assert (ignored.value, background.value) == (0, 0)
    assert ignored.baseline == pytest.approx(0.75, abs=0.03)
    assert background.baseline == pytest.approx(0.55, abs=0.03)


def test_a_run_is_scored_by_its_best_weights_and_keeps_the_scores(tmp_path, law):
    folder = tmp_path / "run"
    train(tiny_recipe(schedule__epochs=1, schedule__steps=1), folder, quiet=True)
    run = load_run(folder)
    scores = axons_evaluate.score_law(axons_evaluate.keras_segmenter(run), law, seeds=[0])
    save_scores(run, scores)
    assert load_run(folder).scores == tuple(scores)
    newer = [Score(**{**vars(scores[0]), "value": 0.5})]
    save_scores(load_run(folder), newer)
    assert load_run(folder).scores == tuple(newer)  # in place of those of the same data and protocol


def test_a_report_has_one_line_for_each_score(law):
    scores = axons_evaluate.score_law(oracle, law, seeds=[0])
    lines = report(scores).splitlines()
    assert len(lines) == 1 + len(scores)
    assert lines[0].split() == ["data", "metric", "score", "range", "baseline", "chance", "protocol"]
    assert all(score.metric in line for score, line in zip(scores, lines[1:], strict=True))
