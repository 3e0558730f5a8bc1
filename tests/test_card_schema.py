"""The published schema of the card, card.schema.json, says what the dataclasses of card.py say."""

import dataclasses
import json
from pathlib import Path

import pytest

from calzoo.weights import card as cards
from calzoo.weights import onnx_file, registry
from calzoo.weights.card import Card, Normalisation, Score, Tensor, TrainingData

jsonschema = pytest.importorskip("jsonschema")

SCHEMA = json.loads(Path(cards.__file__).with_name("card.schema.json").read_text(encoding="utf-8"))
PARTS = {
    Card: SCHEMA,
    Tensor: SCHEMA["$defs"]["tensor"],
    Normalisation: SCHEMA["$defs"]["normalisation"],
    TrainingData: SCHEMA["$defs"]["trainingData"],
    Score: SCHEMA["$defs"]["score"],
}


def full_card():
    """Return a card in which every field says something."""
    return Card(
        name="dots",
        alias="Dots",
        task="axons",
        role="model",
        description="Dots in stacks.",
        inputs=(Tensor(name="image", axes="bczyx", units="normalised intensity"),),
        outputs=(Tensor(name="probability", axes="bczyx", units="probability", channels=("no", "yes")),),
        normalisation=Normalisation(kind="percentile", low=1.0, high=99.8, clip=(-1.0, 4.0)),
        divisor={"z": 4, "y": 16, "x": 16},
        halo={"z": 0, "y": 9, "x": 9},
        tile={"z": 32, "y": 128, "x": 128},
        postprocessing={"threshold": 0.5},
        scale={"axon_diameter_px": 6.0},
        builder="calzoo.networks.unet3d:unet3d",
        config={"classes": 2},
        parameters=10,
        recipe="axons",
        training={"seed": 0},
        data=(TrainingData(name="simulator", licence="MIT", source="calzoo"),),
        scores=(Score(data="law", metric="F1", value=0.9, protocol="8 seeds", spread=(0.8, 1.0)),),
        versions={"keras": "3.15.1"},
    )


def problems(plain):
    return [error.message for error in jsonschema.Draft202012Validator(SCHEMA).iter_errors(plain)]


def test_schema_is_valid():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("kind", PARTS, ids=lambda kind: kind.__name__)
def test_schema_has_the_fields_of_the_dataclass(kind):
    fields = dataclasses.fields(kind)
    missing = dataclasses.MISSING
    required = [f.name for f in fields if f.default is missing and f.default_factory is missing]
    assert sorted(PARTS[kind]["properties"]) == sorted(f.name for f in fields)
    assert sorted(PARTS[kind]["required"]) == sorted(required)
    assert PARTS[kind]["additionalProperties"] is False


def test_schema_has_the_vocabularies_of_the_dataclasses():
    properties = SCHEMA["properties"]
    assert properties["task"]["enum"] == list(cards.TASKS)
    assert properties["role"]["enum"] == list(cards.ROLES)
    assert properties["schema"]["const"] == cards.SCHEMA_VERSION
    assert PARTS[Normalisation]["properties"]["kind"]["enum"] == list(cards.NORMALISATIONS)
    assert PARTS[Tensor]["properties"]["axes"]["pattern"] == f"^[{cards.AXES}]+$"


def test_card_passes_the_schema_and_comes_back_from_json():
    card = full_card()
    text = card.to_json()
    assert problems(json.loads(text)) == []
    assert Card.from_json(text) == card


@pytest.mark.parametrize(
    ("field", "value", "complaint"),
    [
        ("task", "neurons", "'neurons' is not one of"),
        ("divisor", {"y": 0}, "0 is less than the minimum"),
        ("tile", {"c": 3}, "'c' is not one of"),
        ("builder", "unet3d", "does not match"),
        ("overlap", 1.0, "greater than or equal to the maximum"),
        ("colour", "red", "Additional properties are not allowed"),
        ("inputs", [], "should be non-empty"),
    ],
)
def test_schema_refuses(field, value, complaint):
    plain = json.loads(full_card().to_json())
    plain[field] = value
    assert any(complaint in problem for problem in problems(plain)), problems(plain)


def test_documentation_names_every_field():
    page = Path(__file__).resolve().parents[1] / "docs" / "card.md"
    if not page.exists():
        pytest.skip("the documentation is not installed with the package")
    text = page.read_text(encoding="utf-8")
    for kind in PARTS:
        for field in dataclasses.fields(kind):
            assert f"`{field.name}`" in text, f"{kind.__name__}.{field.name}"


IN_WHEEL = [
    network.onnx
    for preset in registry.presets().values()
    for network in preset.networks.values()
    if network.onnx.where == "wheel"
]


@pytest.mark.parametrize("file", IN_WHEEL, ids=lambda file: file.name)
def test_cards_of_released_files_follow_the_schema(file):
    data = (registry.FOLDER / registry.PLACES["wheel"] / file.name).read_bytes()
    assert problems(json.loads(onnx_file.card_text(data))) == []
