"""What `import calzoo` offers to a program: names, annotations, results that can be printed and compared."""

import ast
import dataclasses
import inspect
from pathlib import Path
from types import MappingProxyType, SimpleNamespace

import numpy as np
import pytest

import calzoo
from calzoo.metrics.permutation import Change

PUBLIC = [getattr(calzoo, name) for name in calzoo.__all__ if name != "__version__"]
#: Made by functions of calzoo alone.
MADE_FOR_THE_USER = (calzoo.Model, calzoo.Movie, calzoo.Volume)


def zeros(*shape, dtype="float32"):
    return np.zeros(shape, dtype)


def masks():
    return calzoo.Masks.from_stack(np.ones((2, 4, 6), bool))


def stimuli():
    names = ("condition", "trial", "offset", "event")
    whole = {name: zeros(5, dtype=int) for name in names}
    return calzoo.Stimuli(
        frames=np.arange(5),
        cells=zeros(5, 3, dtype=bool),
        conditions=((1,), ()),
        groups=zeros(2, dtype=int),
        **whole,
    )


def analysis():
    maps = [zeros(1, 4, 6)] * 3 + [zeros(1, dtype=int)] * 2
    return calzoo.StimulusAnalysis(stimuli(), zeros(5, 4), 0.5, *maps, zeros(4, 6), {"exact": 0.912}, {})


def results():
    """Yield one of each result, and how it is printed."""
    change = Change(1.0, 1.5, 0.5, (0.1, 0.9), 0.03125)
    traces = calzoo.Traces(zeros(2, 9), zeros(2, 9), zeros(2, dtype=int), zeros(2, dtype=int))
    pictures = {name.name: zeros(4, 6) for name in dataclasses.fields(calzoo.SummaryImages)}
    yield (
        calzoo.AxonSegmentation(zeros(2, 4, 6), zeros(2, 4, 6), MappingProxyType({"id": [1]}), "cpu"),
        "AxonSegmentation(1 axon in 2 x 4 x 6 voxels)",
    )
    yield (
        calzoo.CellDetection(masks(), zeros(2), zeros(4, 6), {}, 12.34, traces, "cpu", 0.5),
        "CellDetection(2 cells in 4 x 6 pixels, diameter 12.3 px, 9 frames)",
    )
    yield (
        calzoo.CellDetection(masks(), zeros(2), zeros(4, 6), {}, 12.34, None, "cpu", 0.5),
        "CellDetection(2 cells in 4 x 6 pixels, diameter 12.3 px, no traces)",
    )
    ones = (zeros(2), zeros(2), zeros(2, 9), zeros(2), zeros(2))
    yield (
        calzoo.Centers(zeros(2, 2), *ones, masks(), zeros(2, 3, 3), 8.0, "cpu"),
        "Centers(2 cells in 4 x 6 pixels, diameter 8.0 px, 9 frames)",
    )
    yield (
        calzoo.Registration(
            zeros(9, 4, 6), None, zeros(4, 6), zeros(9, 2), zeros(9), np.arange(9) > 6, zeros(4, 6), {}, "cpu"
        ),
        "Registration(9 frames of 4 x 6 pixels, 2 of them bad)",
    )
    yield (
        calzoo.Registered(zeros(4, 6), zeros(4, 6, 2), 0.126, 7.25, True),
        "Registered(4 x 6 pixels, uncertainty 0.13 px, clarity 7.2, bad=True)",
    )
    yield (
        calzoo.StimulusDecoding(np.arange(5), zeros(5, 4), zeros(5, 4, 6), 0.5, "cpu"),
        "StimulusDecoding(5 frames, 3 cells, maps of 4 x 6 pixels)",
    )
    yield (
        calzoo.StimulusDecoding(np.arange(5), zeros(5, 4), None, 0.5, "cpu"),
        "StimulusDecoding(5 frames, 3 cells, no maps)",
    )
    yield (
        analysis(),
        "StimulusAnalysis(5 frames of 4 x 6 pixels, 2 conditions, exact match 0.91)",
    )
    yield (
        calzoo.StimulusComparison(analysis(), analysis(), {1: change}, change, {1: change}, change),
        "StimulusComparison(spread of answers 1.00 before and 1.50 after, p = 0.031)",
    )
    yield (
        calzoo.Explanation(zeros(4, 6), 3, 0.98765, "occlusion", ""),
        "Explanation(occlusion of class 3, 4 x 6 pixels, score 0.988)",
    )
    yield (
        calzoo.SummaryImages(**pictures | {"n_frames": 9, "flashes": ()}),
        "SummaryImages(9 frames of 4 x 6 pixels)",
    )
    yield traces, "Traces(2 cells, 9 frames)"
    yield masks(), "Masks(2 in 4 x 6 pixels)"
    yield stimuli(), "Stimuli(5 frames, 3 cells, 2 conditions)"


def test_editors_are_told_the_names_that_are_imported_when_they_are_used():
    tree = ast.parse(Path(calzoo.__file__).read_text(encoding="utf-8"))
    block = next(
        node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    )
    told = {alias.asname: (node.module, alias.name) for node in block.body for alias in node.names}
    assert told == {name: (module, name) for name, module in calzoo._WHERE.items()}


def signatures():
    """Yield each public function, method and property of the public API."""
    for public in PUBLIC:
        if not inspect.isclass(public):
            yield public
            continue
        for name, member in vars(public).items():
            hidden = name.startswith("_") and name not in ("__init__", "__call__", "__len__", "__getitem__")
            if hidden or (name == "__init__" and public in MADE_FOR_THE_USER):
                continue
            member = getattr(member, "fget", getattr(member, "__func__", member))
            if inspect.isfunction(member):
                yield member


@pytest.mark.parametrize("function", list(signatures()), ids=lambda function: function.__qualname__)
def test_what_is_public_is_annotated(function):
    signature = inspect.signature(function)
    bare = [
        name
        for name, p in signature.parameters.items()
        if p.annotation is p.empty and name not in ("self", "cls")
    ]
    assert bare == []
    assert function.__name__ == "__init__" or signature.return_annotation is not signature.empty


@pytest.mark.parametrize(("result", "printed"), list(results()), ids=lambda value: type(value).__name__)
def test_a_result_is_printed_in_one_line(result, printed):
    assert repr(result) == printed


@pytest.mark.parametrize(
    "result", [result for result, _ in results()], ids=lambda value: type(value).__name__
)
def test_results_can_be_compared_and_kept_in_a_set(result):
    other = dataclasses.replace(result)
    assert result == result
    assert result != other
    assert {result, other, result} == {other, result}


def test_no_result_is_left_out_of_these_tests():
    classes = {public for public in PUBLIC if dataclasses.is_dataclass(public)}
    assert {type(result) for result, _ in results()} == classes


def test_a_model_is_printed_with_its_card():
    card = SimpleNamespace(name="dots", task="axons")
    model = calzoo.Model(card, "cpu", Path("dots.onnx"), "0" * 64, None)
    assert repr(model) == "Model('dots', task='axons', provider='cpu', path=dots.onnx)"


@pytest.mark.parametrize(
    ("function", "opener"),
    [
        (calzoo.segment_axons, "open_volume"),
        (calzoo.find_cells, "open_movie"),
        (calzoo.find_centers, "open_movie"),
        (calzoo.register_movie, "open_movie"),
        (calzoo.decode_stimuli, "open_movie"),
        (calzoo.summary_images, "open_movie"),
    ],
)
def test_the_name_of_a_file_is_to_be_opened_first(function, opener):
    with pytest.raises(
        calzoo.CalzooError, match=rf"got the name of a file; open it: calzoo.{opener}\('a.tif'\)"
    ):
        function(Path("a.tif"))


@pytest.mark.parametrize(
    "call",
    [
        lambda name: calzoo.find_cells(summary=name),
        lambda name: calzoo.Registrar(name),
        lambda name: calzoo.register_movie(np.zeros((20, 64, 64), np.uint16), template=name),
    ],
)
def test_the_name_of_a_picture_is_to_be_read_first(call):
    with pytest.raises(calzoo.CalzooError, match=r"got the name of a file; read it, .*imread\('a.tif'\)"):
        call("a.tif")


def test_the_name_of_a_movie_is_not_written(tmp_path):
    with pytest.raises(calzoo.CalzooError, match="got the name of a file; open it"):
        calzoo.write_movie(tmp_path / "b.tif", "a.tif")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("checkout_is_the_cache")
@pytest.mark.parametrize("from_file", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "function",
    [
        calzoo.segment_axons,
        calzoo.find_cells,
        calzoo.find_centers,
        calzoo.register_movie,
        calzoo.decode_stimuli,
        calzoo.summary_images,
    ],
)
def test_values_whose_squares_overflow_are_refused(rng, tmp_path, function, dtype, from_file):
    pytest.importorskip("onnxruntime")
    given = (rng.random((50, 64, 64)) * (1e30 if dtype == "float32" else 1e300)).astype(dtype)
    if from_file:
        np.save(tmp_path / "large.npy", given)
        opener = calzoo.open_volume if function is calzoo.segment_axons else calzoo.open_movie
        given = opener(tmp_path / "large.npy")
    with pytest.raises(
        calzoo.CalzooError, match=r"pixel values up to 1e\+17, .* got [\d.]+e\+\d+\. Divide all"
    ):
        function(given)


@pytest.mark.usefixtures("checkout_is_the_cache")
@pytest.mark.parametrize(
    "function",
    [
        calzoo.segment_axons,
        calzoo.find_cells,
        calzoo.find_centers,
        calzoo.register_movie,
        calzoo.Registrar,
        calzoo.decode_stimuli,
        calzoo.summary_images,
        lambda rows: calzoo.write_movie("ragged.tif", rows),
        lambda rows: calzoo.find_cells(summary=rows),
        lambda rows: calzoo.find_centers(np.zeros((50, 64, 64)), valid=rows),
        lambda rows: calzoo.register_movie(np.zeros((20, 64, 64)), template=rows),
    ],
)
def test_lists_of_different_lengths_are_refused(function):
    pytest.importorskip("onnxruntime")
    with pytest.raises(calzoo.CalzooError, match="an array, got list that makes none; are rows of different"):
        function([[1, 2, 3], [4, 5]])
