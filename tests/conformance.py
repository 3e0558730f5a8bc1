"""The list of all networks: one entry each, which drives the common tests.

To add a network, add a `Case` to `CASES`. test_networks.py then builds it, counts
its parameters, runs it at two sizes, saves and loads it, looks at every gradient and
trains two steps on TensorFlow and on JAX; test_export.py writes it as an .onnx file
and compares that with Keras at both sizes. Configurations are tiny: what is tested
is the wiring, not the skill, and the whole list must take seconds.

A picture of two channels to a map and a score, for example:

    Case(
        builder="calzoo.networks.example:example",
        config={"filters": 3},
        inputs={"image": "byxc"},  # by name, axes as Keras has them
        outputs={"map": "byx", "score": "bc"},
        divisor={"y": 4, "x": 4},
        sizes=(  # of all inputs, of all outputs
            ({"image": (2, 8, 12, 2)}, {"map": (2, 8, 12), "score": (2, 1)}),
            ({"image": (1, 16, 4, 2)}, {"map": (1, 16, 4), "score": (1, 1)}),
        ),
        parameters=123,
        task="cells",
    )
"""

import contextlib
import importlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from unittest import mock

import numpy as np

from calzoo.weights.card import Card, Normalisation, Tensor


@dataclass(frozen=True, kw_only=True)
class Case:
    """One network in a tiny configuration.

    `inputs` and `outputs` give the axes by name, as Keras has them; `sizes` pairs
    the shapes of all inputs with those of all outputs, for two legal sizes.
    `constants` take the place of the module's own while the network is built, where
    a network is large by definition. `operators` are those that its file may hold
    although in other networks they are what tracing left behind. `rate` is a step
    that lowers the mean squared distance to random targets.
    """

    builder: str
    config: Mapping[str, object]
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]
    divisor: Mapping[str, int]
    sizes: tuple
    parameters: int
    task: str = "axons"
    role: str = "model"
    constants: Mapping[str, object] = field(default_factory=dict)
    operators: tuple = ()
    rate: float = 1e-3

    @property
    def name(self):
        return self.builder.split(":")[1]

    def build(self):
        """Return the network with weights, biases and statistics that are all at work."""
        import keras

        keras.utils.set_random_seed(0)
        module, function = self.builder.split(":")
        module = importlib.import_module(module)
        with mock.patch.multiple(module, **self.constants) if self.constants else contextlib.nullcontext():
            model = getattr(module, function)(**self.config)
        rng = np.random.default_rng(0)
        for variable in model.weights:
            if variable.path.endswith("variance"):
                variable.assign(rng.uniform(0.5, 1.5, variable.shape))
            elif len(variable.shape) == 1:  # biases, scales, shifts, means
                variable.assign(variable + rng.normal(size=variable.shape, scale=0.1))
            elif not np.any(variable):  # heads that begin with nothing
                variable.assign(rng.normal(size=variable.shape, scale=0.1))
        return model

    def feeds(self, size=0):
        """Return inputs of one of the legal sizes, by name."""
        rng = np.random.default_rng(size)
        return {name: rng.normal(size=s).astype(np.float32) for name, s in self.sizes[size][0].items()}

    def card(self, model):
        """Return a card that fits the network."""
        last = dict(zip(model.output_names, (t.shape[-1] for t in model.outputs), strict=True))
        channels = {
            name: tuple(f"class {i}" for i in range(last[name])) if "c" in axes else ()
            for name, axes in self.outputs.items()
        }
        tensors = [Tensor(name=name, axes=axes, units="1") for name, axes in self.inputs.items()]
        results = [
            Tensor(name=name, axes=axes, units="1", channels=channels[name])
            for name, axes in self.outputs.items()
        ]
        return Card(
            name=self.name.replace("_", "-"),
            alias="a tiny network",
            task=self.task,
            role=self.role,
            description="For tests.",
            inputs=tuple(tensors),
            outputs=tuple(results),
            normalisation=Normalisation(),
            divisor=self.divisor,
            halo=dict.fromkeys(self.divisor, 0),
            tile={axis: 2 * step for axis, step in self.divisor.items()},
            builder=self.builder,
            config=self.config,
            parameters=model.count_params(),
            recipe="none",
        )


CASES = (
    Case(
        builder="calzoo.networks.unet3d:unet3d",
        config={"filters": (3, 4), "bottom": 5, "pool": ((1, 2, 2), (2, 2, 2))},
        inputs={"image": "bzyxc"},
        outputs={"probability": "bzyxc"},
        divisor={"z": 2, "y": 4, "x": 4},
        sizes=(
            ({"image": (2, 4, 8, 12, 1)}, {"probability": (2, 4, 8, 12, 3)}),
            ({"image": (1, 2, 16, 4, 1)}, {"probability": (1, 2, 16, 4, 3)}),
        ),
        parameters=4432,
    ),
    Case(
        builder="calzoo.networks.vgg16_unet3d:vgg16_unet3d",
        config={"pool": ((1, 2, 2), (1, 2, 2), (1, 1, 1), (1, 1, 1), (2, 2, 2))},
        constants={
            "STAGES": ((2, 4), (2, 6), (3, 8), (3, 8), (3, 8)),
            "CENTER": 8,
            "DECODER": (3, 2, 3, 2, 2),
        },
        inputs={"image": "bzyxc"},
        outputs={"probability": "bzyxc"},
        divisor={"z": 2, "y": 8, "x": 8},
        sizes=(
            ({"image": (2, 4, 8, 16, 1)}, {"probability": (2, 4, 8, 16, 3)}),
            ({"image": (1, 2, 24, 8, 1)}, {"probability": (1, 2, 24, 8, 3)}),
        ),
        parameters=25257,
    ),
    Case(
        builder="calzoo.networks.centers:centers_encoder",
        config={"filters": (3, 4), "bottom": 5},
        inputs={"pictures": "byxc"},
        outputs={"heat": "byxc"},
        divisor={"y": 4, "x": 4},
        sizes=(
            ({"pictures": (2, 8, 12, 7)}, {"heat": (2, 8, 12, 3)}),
            ({"pictures": (1, 16, 4, 7)}, {"heat": (1, 16, 4, 3)}),
        ),
        parameters=1901,
        task="centers",
    ),
    Case(
        builder="calzoo.networks.centers:centers_encoder",
        config={"filters": (3,), "bottom": 4, "coords": True, "blur_pool": True},
        inputs={"pictures": "byxc"},
        outputs={"heat": "byxc"},
        divisor={"y": 2, "x": 2},
        sizes=(
            ({"pictures": (2, 8, 12, 7)}, {"heat": (2, 8, 12, 3)}),
            ({"pictures": (1, 16, 6, 7)}, {"heat": (1, 16, 6, 3)}),
        ),
        parameters=962,
        operators=("Slice", "Unsqueeze"),
        task="centers",
    ),
    Case(
        builder="calzoo.networks.centers_seed:seed_encoder",
        config={"side": 16, "dropout": 0.0},
        inputs={"image": "byxc"},
        outputs={"heat": "byxc"},
        divisor={},
        sizes=(
            ({"image": (2, 16, 16, 1)}, {"heat": (2, 16, 16, 1)}),
            ({"image": (1, 16, 16, 1)}, {"heat": (1, 16, 16, 1)}),
        ),
        parameters=137_537,
        operators=("Slice",),
        task="centers",
    ),
    Case(
        builder="calzoo.networks.centers_seed:seed_renderer",
        config={"side": 6},
        inputs={"coordinate": "bx"},
        outputs={"render": "bx"},
        divisor={},
        sizes=(
            ({"coordinate": (2, 2)}, {"render": (2, 36)}),
            ({"coordinate": (3, 2)}, {"render": (3, 36)}),
        ),
        parameters=23_401,
        operators=("Slice", "Softmax", "Tile", "Transpose", "Unsqueeze"),
        task="centers",
        rate=10.0,  # shares of a picture are small, and so are their gradients
    ),
    Case(
        builder="calzoo.networks.centers_seed:seed_decoder",
        config={"side": 8, "count": 3},
        inputs={"latent": "byx"},
        outputs={"frame": "byxc"},
        divisor={},
        sizes=(
            ({"latent": (2, 3, 3)}, {"frame": (2, 8, 8, 1)}),
            ({"latent": (1, 3, 3)}, {"frame": (1, 8, 8, 1)}),
        ),
        parameters=39681,
        operators=("Slice", "Transpose"),
        task="centers",
    ),
    Case(
        builder="calzoo.networks.stimulus:stimulus",
        config={"cells": 4, "filters": (3, 4), "grid": 2, "hidden": (5,), "dropout": 0.0},
        inputs={"frame": "byxc"},
        outputs={"logits": "bc"},
        divisor={"y": 4, "x": 4},
        sizes=(
            ({"frame": (2, 12, 16, 2)}, {"logits": (2, 5)}),
            ({"frame": (1, 20, 8, 2)}, {"logits": (1, 5)}),
        ),
        parameters=497,
        operators=("Slice", "Transpose", "Unsqueeze"),
        task="stimulus",
    ),
    Case(
        builder="calzoo.networks.proposal:proposal",
        config={"filters": (3, 4), "bottom": 5},
        inputs={"image": "byxc", "present": "bc"},
        outputs={"heat": "byxc"},
        divisor={"y": 4, "x": 4},
        sizes=(
            ({"image": (2, 8, 12, 3), "present": (2, 3)}, {"heat": (2, 8, 12, 3)}),
            ({"image": (1, 16, 4, 3), "present": (1, 3)}, {"heat": (1, 16, 4, 3)}),
        ),
        parameters=2737,
        task="cells",
        role="proposal",
        operators=("Slice", "Transpose", "Unsqueeze"),
    ),
    Case(
        builder="calzoo.networks.instance:instance",
        config={"side": 16, "filters": (3, 4), "bottom": 5, "hidden": 4, "dropout": 0.0},
        inputs={"image": "byxc", "present": "bc"},
        outputs={"mask": "byxc", "score": "bc"},
        divisor={"y": 16, "x": 16},
        sizes=(
            (
                {"image": (2, 16, 16, 3), "present": (2, 3)},
                {"mask": (2, 16, 16, 1), "score": (2, 1)},
            ),
            (
                {"image": (3, 16, 16, 3), "present": (3, 3)},
                {"mask": (3, 16, 16, 1), "score": (3, 1)},
            ),
        ),
        parameters=3134,
        task="cells",
        role="instance",
        operators=("Slice", "Transpose", "Unsqueeze"),
    ),
    Case(
        builder="calzoo.networks.registration:registration",
        config={
            "filters": (2, 2, 4),
            "features": (3, 1),
            "width": 4,
            "steps": ((8, 32), (2, 16), (2, 8)),
        },
        inputs={"frame": "byxc", "template": "byxc", "shift": "bc"},
        outputs={"flow": "byxc", "registered": "byxc", "uncertainty": "byxc"},
        divisor={"y": 64, "x": 64},
        sizes=(
            (
                {"frame": (2, 64, 128, 1), "template": (2, 64, 128, 1), "shift": (2, 2)},
                {"flow": (2, 64, 128, 2), "registered": (2, 64, 128, 1), "uncertainty": (2, 8, 16, 1)},
            ),
            (
                {"frame": (1, 128, 64, 1), "template": (1, 128, 64, 1), "shift": (1, 2)},
                {"flow": (1, 128, 64, 2), "registered": (1, 128, 64, 1), "uncertainty": (1, 16, 8, 1)},
            ),
        ),
        parameters=9451,
        operators=("Slice", "Transpose", "Unsqueeze"),
        task="registration",
    ),
)


def losses_of_two_steps(case):
    """Train two steps on the same batch and return both losses."""
    import keras

    model = case.build()
    rng = np.random.default_rng(1)
    targets = {name: rng.random(shape, np.float32) for name, shape in case.sizes[0][1].items()}
    targets = targets if len(targets) > 1 else next(iter(targets.values()))
    feeds = case.feeds()
    feeds = feeds if len(feeds) > 1 else next(iter(feeds.values()))
    # TensorFlow would spend ten times longer on tracing than on the steps.
    eager = keras.backend.backend() == "tensorflow"
    model.compile(optimizer=keras.optimizers.SGD(case.rate), loss="mse", run_eagerly=eager)
    return [float(np.ravel(model.train_on_batch(feeds, targets))[0]) for _ in range(2)]


if __name__ == "__main__":  # in a process of its own, with KERAS_BACKEND set
    losses = [losses_of_two_steps(case) for case in CASES]
    print(json.dumps({"backend": os.environ["KERAS_BACKEND"], "losses": losses}))
