"""The recipes of stimulus networks: a lab trains on its own frames; the demo on a simulated field."""

import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from calzoo.errors import CalzooError
from calzoo.imaging.rest import noise_level, rest_picture
from calzoo.metrics.decoding import decoding_scores
from calzoo.networks.stimulus import SEED, THESIS
from calzoo.training.cards import common_fields
from calzoo.training.prediction import predicted
from calzoo.training.schedule import Schedule
from calzoo.training.stimulus_data import StimulusData
from calzoo.training.stimulus_losses import stimulus_loss
from calzoo.training.stimulus_recordings import read_recorded, simulated
from calzoo.weights.card import Normalisation, Tensor, TrainingData

#: What may be used of each source of data, and under which licence.
TERMS = {
    "own": TrainingData(name="own recording", licence="of its owner", source="given by --data or --frames"),
    "simulation": TrainingData(
        name="calzoo stimulation simulator",
        licence="MIT",
        source="calzoo.simulation.stimulus",
        note="one simulated field: the network knows this field alone, a laboratory trains its own",
    ),
}


@dataclass(frozen=True, kw_only=True)
class StimulusRecipe:
    """Everything that decides what a stimulus network becomes.

    Attributes
    ----------
    name : str
    seed : int
        Of the first weights and every sample.
    builder : str
        "module:function" that builds the network.
    network : mapping
        Arguments of the builder; `fitted` sets the cells and the noise.
    after : int
        Frames after the onset that show the answer.
    test_trials : int
        The last so many trials are never trained on.
    none_share : float
        Share of the samples that show no stimulus, however many such frames there are:
        it takes the place of class weights.
    masked : bool
        Whether everything outside the stimulated cells is black; needs masks.npz.
    rest_every : int
        Frames after which the picture at rest is taken anew, for tissue that drifts; 0: one
        for the whole recording. See `calzoo.imaging.rest.RestTrack`.
    amplitude : tuple of float
        Answers are multiplied by a number between these two.
    extra_noise : float
        Added to the frames, in parts of the noise that they have.
    shift_px : int
        Largest shift of frames and rest together.
    brightness, contrast : tuple of float
        For networks that see intensities: range of the factors of the authors; empty: none.
    cam : str
        Kind of the map in the exported graph; see `calzoo.networks.gradcam.with_cam`. Where a
        grid keeps places apart, "grad-cam" averages the gradients of places that speak for a
        cell with those that speak against it, and its maps hardly beat chance.
    simulation : mapping
        Arguments of `calzoo.simulation.stimulus.simulate_stimulus` for a field to train on
        where no recordings are given; empty: recordings must be given.
    schedule : Schedule
    """

    name: str = "stimulus"
    seed: int = 0
    builder: str = "calzoo.networks.stimulus:stimulus"
    network: Mapping = field(default_factory=lambda: {"cells": 24})
    after: int = 5
    test_trials: int = 2
    none_share: float = 0.06
    masked: bool = False
    rest_every: int = 0
    amplitude: tuple[float, float] = (0.35, 1.1)
    extra_noise: float = 0.0
    shift_px: int = 2
    brightness: tuple = ()
    contrast: tuple = ()
    cam: str = "hires-cam"
    simulation: Mapping = field(default_factory=dict)
    schedule: Schedule = field(
        default_factory=lambda: Schedule(
            epochs=15,
            steps=200,
            batch=32,
            learning_rate=2e-3,
            warmup=100,
            weight_decay=1e-2,
            average=0.99,
            score_every=5,
            frozen_norm=0.0,
        )
    )

    @property
    def rests(self):
        """Whether the network sees a picture of the field at rest beside the frames."""
        return self.network.get("rest", True)

    def fitted(self, folders=()):
        """Return the recipe with the number of cells and the noise of some recordings.

        Parameters
        ----------
        folders : sequence
            As `data` takes them.
        """
        recordings = self._recordings(folders, None)
        cells = max(recording.stimuli.cells.shape[1] for recording in recordings)
        noise = noise_level(recordings[0].frames, rest_picture(recordings[0].frames))
        network = {**self.network, "cells": cells}
        if self.rests and noise > 0:
            network["gain"] = round(1 / noise, 3)
        if network.get("grid", 16) is None:
            network["shape"] = tuple(recordings[0].frames.shape[1:])
        return replace(self, network=network)

    def build(self):
        """Return the untrained network, a `keras.Model`."""
        return pkgutil.resolve_name(self.builder)(**self.network)

    def graph(self, model):
        """Return what is exported: the network with its map."""
        from calzoo.networks.gradcam import with_cam

        return with_cam(model, self.cam)

    def loss(self):
        """Return the mean cross-entropy of all logits, for `keras.Model.compile`."""
        return stimulus_loss

    def data(self, folders=()):
        """Read recordings with their tables.

        Parameters
        ----------
        folders : sequence
            See `calzoo.training.stimulus_recordings.read_recorded`.

        Returns
        -------
        StimulusData
        """
        return StimulusData(self, self._recordings(folders, self.network["cells"]))

    def normalisation(self):
        """Return what turns intensities into network input; networks that see rest do it themselves."""
        if self.rests:
            return Normalisation()
        return Normalisation(kind="percentile", low=1.0, high=99.9, clip=(0.0, 1.0))

    def predict(self, model, data, rows, *, batch=64):
        """Return the logits of some rows of the data, (N, K + 1)."""
        parts = [data.samples(rows[i : i + batch])[0] for i in range(0, len(rows), batch)]
        return np.concatenate([predicted(model, part) for part in parts])

    def score(self, model, data):
        """Return scores of the trials that are held out.

        There is no ``"score"`` among them, so the last weights are kept, not those that
        happen to be best on the test.
        """
        rows = data.test
        if not rows:
            return {}, []
        logits = self.predict(model, data, rows)
        targets = np.array([data.prepared[i].targets[r] for i, r in rows])
        scores = decoding_scores(logits, targets > 0)
        return {name: value for name, value in scores.items() if np.isfinite(value)}, []

    def card_fields(self, model, sources=("own",)):
        """Return the arguments of a card that follow from the recipe."""
        count, cells = self.network.get("frames", 1), self.network["cells"]
        pictures = ("frame",) if count == 1 else tuple(f"frame {i}" for i in range(1, count + 1))
        classes = tuple(f"cell {i}" for i in range(1, cells + 1)) + ("none",)
        step = self.network.get("stem", 2) * 2 ** (len(self.network.get("filters", (0, 0))) - 1)
        known = tuple(self.network.get("shape", (128, 128)))
        return common_fields(self, model, TERMS, sources) | {
            "name": self.name,
            "alias": "Stimulated neurons in calcium frames",
            "task": "stimulus",
            "description": "Which neurons of one field were stimulated just before, and what speaks for it.",
            "inputs": (
                Tensor(
                    name="frame",
                    axes="byxc",
                    units="intensity" if self.rests else "normalised intensity, 0 to 255",
                    channels=(*pictures, "rest") if self.rests else pictures,
                ),
                Tensor(name="target", axes="bc", units="weight of each logit in the map", channels=classes),
            ),
            "outputs": (
                Tensor(name="logits", axes="bc", units="logit", channels=classes),
                Tensor(name="cam", axes="byx", units="0 to 1 in each frame"),
            ),
            "normalisation": self.normalisation(),
            "divisor": dict.fromkeys("yx", step if "shape" not in self.network else 1),
            "halo": dict.fromkeys("yx", 0),
            "tile": dict(zip("yx", known, strict=True)),
            "postprocessing": {
                "threshold": 0.5,
                "frames_after": self.after,
                "test_trials": self.test_trials,
                "scale": 1.0 if self.rests else 255.0,
                "masked": self.masked,
                "rest_every": self.rest_every,
            },
            "builder": "calzoo.networks.gradcam:stimulus_cam",
            "config": {**self.network, "cam": self.cam},
        }

    def _recordings(self, folders, cells):
        if folders:
            return [read_recorded(folder, after=self.after, cells=cells) for folder in folders]
        if not self.simulation:
            message = (
                f"recipe {self.name!r} trains on your own recording; give --frames FILE --table FILE, or "
                "--data DIR. 'calzoo simulate stimulus -o DIR' writes an example."
            )
            raise CalzooError(message)
        return [simulated(self.simulation, after=self.after)]


def temporal_recipe():
    """Return the recipe that sees the five frames after each onset together."""
    return StimulusRecipe(name="stimulus-temporal", network={"cells": 24, "frames": 5})


def demo_recipe():
    """Return the recipe of the preset `stimulus-demo`: what ``calzoo simulate stimulus`` writes."""
    return StimulusRecipe(name="stimulus-demo", network={"cells": 12, "gain": 6.65}, simulation={"seed": 0})


def seed_recipe():
    """Return the authors' network and training, for frames of their size or any other."""
    return _as_published("stimulus-seed", SEED)


def thesis_recipe():
    """Return the narrower network that the authors' thesis draws."""
    return _as_published("stimulus-thesis", THESIS)


def _as_published(name, network):
    """Return a recipe with the authors' batches, rate, augmentation; no regularisation."""
    schedule = Schedule(
        epochs=30,
        steps=200,
        batch=10,
        learning_rate=1e-4,
        warmup=0,
        last_rate=1.0,
        weight_decay=0.0,
        clip_norm=1e9,
        average=0.0,
        score_every=5,
        frozen_norm=0.0,
    )
    return StimulusRecipe(
        name=name,
        network=dict(network),
        cam="grad-cam",
        shift_px=0,
        brightness=(0.01, 2.5),
        contrast=(0.01, 2.5),
        schedule=schedule,
    )
