"""Print what a network is, how it was made, and how well it does.

Of a released preset or of an .onnx file: the model card, and each score beside
the classical baseline and chance on the same data.
"""

import json
import os

GROUP = "presets"


def add_arguments(parser):
    """Add the network to describe."""
    parser.add_argument("name", metavar="PRESET|FILE.onnx", help="a preset (see: calzoo list) or a file")
    parser.add_argument(
        "--json",
        action="store_true",
        help="print the card as it stands in the file; of several files, one object by role",
    )


def run(args):
    """Print the card of each of the network's files."""
    from calzoo.inference.models import load_model
    from calzoo.weights.registry import preset

    is_file = os.path.isfile(args.name) or args.name.endswith(".onnx")
    roles = ["model"] if is_file else list(preset(args.name).networks)
    cards = {role: load_model(args.name, provider="cpu", role=role).card for role in roles}
    if not args.json:
        for card in cards.values():
            print("\n".join(_describe(card)))
    elif len(cards) == 1:
        print(cards[roles[0]].to_json())
    else:
        by_role = {role: json.loads(card.to_json()) for role, card in cards.items()}
        print(json.dumps(by_role, indent=1, sort_keys=True))


def _describe(card):
    yield f"{card.name} ({card.role}): {card.alias}"
    yield f"  {card.description}"
    yield from _facts(card)
    yield "  scores" if card.scores else "  scores: none were measured"
    where = dict.fromkeys((score.data, score.protocol) for score in card.scores)
    for data, protocol in where:
        yield f"    on {data}; {protocol}"
        yield from (_score(s) for s in card.scores if (s.data, s.protocol) == (data, protocol))


def _facts(card):
    facts = {
        "task": card.task,
        "inputs": "; ".join(map(_tensor, card.inputs)),
        "outputs": "; ".join(map(_tensor, card.outputs)),
        "intensities": _normalisation(card.normalisation),
        "sides": f"multiples of {_by_axis(card.divisor)} (padded and cropped back)",
        "tile": f"{_by_axis(card.tile)}, halo {_by_axis(card.halo)}, overlap {card.overlap:g}",
        "thresholds": ", ".join(f"{key} {_setting(value)}" for key, value in card.postprocessing.items()),
        "scale": ", ".join(f"{key} {value:g}" for key, value in card.scale.items()),
        "network": f"{card.builder}, {card.parameters:,} parameters",
        "recipe": card.recipe,
        "trained on": "; ".join(f"{data.name} ({data.licence}; {data.source})" for data in card.data),
        "licence": card.licence,
        "versions": ", ".join(f"{key} {value}" for key, value in card.versions.items()),
    }
    for name, value in facts.items():
        if value:
            yield f"  {name:<12}{value}"


def _setting(value):
    return f"{value:g}" if isinstance(value, float) else str(value)


def _tensor(tensor):
    channels = f" = {', '.join(tensor.channels)}" if tensor.channels else ""
    return f"{tensor.name} {tensor.dtype} ({', '.join(tensor.axes)}), {tensor.units}{channels}"


def _normalisation(normalisation):
    if normalisation.kind != "percentile":
        return normalisation.kind
    text = (
        f"percentiles {normalisation.low:g} to {normalisation.high:g} of each {normalisation.scope} to 0..1"
    )
    if normalisation.clip:
        text += f", clipped to {normalisation.clip[0]:g}..{normalisation.clip[1]:g}"
    return text


def _by_axis(sizes):
    return " x ".join(f"{size} {axis}" for axis, size in sorted(sizes.items(), key=_order))


def _order(item):
    from calzoo.weights.card import AXES

    return AXES.index(item[0])


def _score(score):
    beside = []
    if score.spread is not None:
        beside.append(f"{score.spread[0]:.3g} to {score.spread[1]:.3g}")
    if score.baseline is not None:
        beside.append(f"{score.baseline_name or 'baseline'} {score.baseline:.3g}")
    if score.chance is not None:
        beside.append(f"chance {score.chance:.3g}")
    return f"      {score.metric:<27} {score.value:<7.3g}{'; '.join(beside)}".rstrip()
