"""Maps of any .onnx classifier, against networks whose answers are known."""

from pathlib import Path

import numpy as np
import pytest

import calzoo
from calzoo.errors import CalzooError

pytest.importorskip("onnxruntime")
import onnxruntime

from calzoo.inference.explain import METHODS, explain, stretch
from calzoo.inference.models import load_model
from calzoo.inference.onnx_layers import last_maps, nodes, with_output

MODELS = Path(__file__).parent / "models"
STIMULUS = MODELS / "stimulus.onnx"


@pytest.fixture
def picture():
    """Return a frame in which cell 2 (square 5 of 4 x 4) has answered, and rest."""
    rest = np.full((32, 32), 100.0, np.float32)
    frame = rest.copy()
    frame[8:16, 8:16] = 180
    return np.stack([frame, rest])


@pytest.mark.parametrize("method", METHODS)
def test_every_method_points_at_what_decides(picture, method):
    rest = np.stack([picture[1]] * 2)
    found = explain(STIMULUS, picture, method=method, baseline=rest)
    assert found.target == 1
    assert found.map.shape == (32, 32)
    inside = np.zeros((32, 32), bool)
    inside[8:16, 8:16] = True
    assert found.map[inside].min() > found.map[~inside].mean()
    assert inside[np.unravel_index(found.map.argmax(), found.map.shape)]


def test_occlusion_is_the_loss_of_score(picture):
    """The patch covers the cell and nothing else: what is lost is the score above that of a frame at rest."""
    rest = np.stack([picture[1]] * 2)
    found = explain(STIMULUS, picture, method="occlusion", baseline=rest, patch=8)
    with_rest = explain(STIMULUS, rest, method="occlusion", target=1, baseline=rest)
    assert found.map[8:16, 8:16].max() <= found.score - with_rest.score + 1e-4
    np.testing.assert_allclose(with_rest.map, 0, atol=1e-4)
    all_hidden = explain(STIMULUS, picture, method="occlusion", baseline=rest, patch=32)
    np.testing.assert_allclose(all_hidden.map, found.score - with_rest.score, rtol=1e-4)
    assert found.score - with_rest.score > 1


def test_the_target_can_be_chosen(picture):
    for target in (0, 3):
        assert explain(STIMULUS, picture, method="occlusion", target=target).target == target
    with pytest.raises(CalzooError, match="expected a class from 0 to 3, got 4"):
        explain(STIMULUS, picture, target=4)


def test_a_loaded_model_serves_as_well(picture):
    one, other = (explain(m, picture, method="eigen-cam") for m in (STIMULUS, load_model(STIMULUS)))
    np.testing.assert_array_equal(one.map, other.map)
    assert calzoo.explain is explain


def test_eigen_cam_is_the_first_singular_vector(picture):
    data = STIMULUS.read_bytes()
    layer = last_maps(data)
    session = onnxruntime.InferenceSession(with_output(data, layer), providers=["CPUExecutionProvider"])
    maps = session.run([layer], {"frame": picture[None], "target": np.zeros((1, 4), np.float32)})[0][0]
    # One channel: the map itself, from 0 to 1.
    expected = (maps[0] - maps[0].min()) / np.ptp(maps[0])
    found = explain(STIMULUS, picture, method="eigen-cam")
    np.testing.assert_allclose(found.map, expected, atol=1e-5)
    assert found.layer == layer


def test_a_tensor_inside_becomes_an_output_and_nothing_else_changes(picture):
    data = STIMULUS.read_bytes()
    feeds = {"frame": picture[None], "target": np.zeros((1, 4), np.float32)}
    plain = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    more = onnxruntime.InferenceSession(
        with_output(data, last_maps(data)), providers=["CPUExecutionProvider"]
    )
    names = [o.name for o in plain.get_outputs()]
    assert [o.name for o in more.get_outputs()] == [*names, last_maps(data)]
    for first, second in zip(plain.run(names, feeds), more.run(names, feeds), strict=True):
        np.testing.assert_array_equal(first, second)
    assert with_output(with_output(data, last_maps(data)), last_maps(data)) == with_output(
        data, last_maps(data)
    )
    assert "Conv" in {node.kind for node in nodes(data)}


def test_enlarging_is_linear_between_the_middles_of_pixels():
    ramp = np.arange(4.0)[None, None] * np.ones((1, 3, 1))
    big = stretch(ramp, (3, 8))[0]
    np.testing.assert_allclose(big[0], [0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3], atol=1e-6)
    np.testing.assert_allclose(stretch(np.full((1, 2, 5), 3.0), (7, 9)), 3, rtol=1e-6)


@pytest.mark.parametrize(
    ("image", "options", "match"),
    [
        (np.zeros((2, 8, 8)), {"method": "guess"}, "method must be one of score-cam, eigen-cam, occlusion"),
        (np.zeros((3, 8, 8)), {}, r"picture of 2 channels, got shape \(3, 8, 8\)"),
        (np.zeros(8), {}, "one finite picture of two or three axes"),
        (np.full((2, 8, 8), np.nan), {}, "one finite picture"),
        (np.zeros((2, 8, 8)), {"layer": "nothing"}, "expected the name of a tensor inside .* got 'nothing'"),
        (np.zeros((2, 8, 8)), {"output_name": "other"}, "expected the output 'other', got logits"),
        (np.zeros((2, 8, 8)), {"method": "occlusion", "patch": 9}, "a side from 1 to 8 pixels, got 9"),
        (np.zeros((2, 8, 8)), {"axes": "xx"}, "axes must be one of bcyx, byxc, got 'xx'"),
        (np.zeros((2, 8, 8)), {"target": 1.7}, "target: expected a whole number, got 1.7"),
        (np.zeros((2, 8, 8)), {"patch": "a"}, "patch: expected a whole number, got 'a'"),
        (np.zeros((2, 8, 8)), {"threads": -1}, "threads must be a whole number of at least 1, got -1"),
        (
            np.zeros((2, 8, 8)),
            {"baseline": np.zeros(3)},
            r"baseline: expected a number, or an array .*\(3,\)",
        ),
        (np.zeros((2, 8, 8)), {"baseline": "a", "method": "occlusion"}, "baseline: expected a number"),
        ("picture", {}, "expected a picture of real numbers, got str"),
    ],
)
def test_what_does_not_fit_is_refused(image, options, match):
    with pytest.raises(CalzooError, match=match):
        explain(STIMULUS, image, **options)


def test_files_that_are_no_classifier_are_refused(tmp_path, picture):
    with pytest.raises(CalzooError, match=r"expected the path of an \.onnx file .*, got 5"):
        explain(5, picture)
    with pytest.raises(CalzooError, match="cannot be read"):
        explain(tmp_path / "none.onnx", picture)
    with pytest.raises(CalzooError, match=r"'centers-1p' is a preset; .* or load_model\('centers-1p'\)"):
        explain("centers-1p", picture)
    (tmp_path / "bad.onnx").write_bytes(b"not a network")
    with pytest.raises(CalzooError, match="got a damaged one"):
        explain(tmp_path / "bad.onnx", picture)
    with pytest.raises(CalzooError, match=r"expected the (input|output) one of [42] axes"):
        explain(MODELS / "smooth.onnx", picture, method="occlusion")
