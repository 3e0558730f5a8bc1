"""Batches and validation recordings of the axon recipes: simulated stacks and recordings from folders."""

import functools
from dataclasses import replace

import numpy as np

from calzoo.errors import CalzooError
from calzoo.imaging.borders import semantic_from_instances
from calzoo.imaging.normalisation import normalise
from calzoo.training.axons_augmentation import Variation, vary
from calzoo.training.axons_simulated import simulated_recording
from calzoo.training.axons_sources import labelled_planes, only_planes
from calzoo.training.batches import samples_of, stacked
from calzoo.training.fingerprints import digest, numbered
from calzoo.training.progress import shown
from calzoo.training.simulated import VALIDATION, SimulatedPool
from calzoo.training.tiles import IGNORE, cut_tiles


class AxonData:
    """Batches and validation recordings of an axon recipe.

    Parameters
    ----------
    recipe : calzoo.training.recipes.axons.AxonsRecipe
    recordings : list of Recording
        As recorded; the simulator's are made here.
    """

    def __init__(self, recipe, recordings):
        self.recipe = recipe
        self._normalise = functools.partial(normalise, normalisation=recipe.normalisation())
        found = dict.fromkeys(["simulation", *(r.source for r in recordings)])
        self.sources = tuple(source for source in found if recipe.shares.get(source))
        if not self.sources:
            message = (
                f"recipe {recipe.name!r} trains on {', '.join(recipe.shares)}, but no such recording was "
                "given. Name their folders with --data."
            )
            raise CalzooError(message)
        self._recorded = recordings
        self.validation = []
        self._tiles = {}
        for recording in recordings:
            if recording.source not in self.sources:
                continue
            train, held_out = _split(recording, recipe)
            if held_out is not None:
                self.validation.append(replace(held_out, volume=self._normalise(held_out.volume)))
            self._tiles.setdefault(recording.source, []).append(self._cut(train))
        self._pool = None
        if "simulation" in self.sources:
            stacks = [(style, k) for style in recipe.styles for k in range(recipe.validation_stacks)]
            stacks = shown(stacks, "stack", "drawing validation stacks")
            self.validation += [self._validation_stack(style, k) for style, k in stacks]
            self._pool = SimulatedPool(self._simulated_tiles, size=recipe.pool, fresh=recipe.fresh)

    def prepare(self, epoch):
        """Have the tiles of an epoch ready."""
        if self._pool is not None:
            self._tiles["simulation"] = self._pool.stacks(epoch)

    def batch(self, epoch, step):
        """Return the batch of a step: a function of (seed, epoch, step) alone.

        Returns
        -------
        x : ndarray of float32, (B, Z, Y, X, 1)
            Normalised intensities.
        y : ndarray of float32, (B, Z, Y, X, 2)
            Class and weight of each voxel.
        """
        return stacked(samples_of(self.recipe, epoch, step, self._sample))

    def fingerprint(self):
        """Return what the data are, as JSON: recordings by name, and hashes of simulated stacks."""
        used = [r for r in self._recorded if r.source in self.sources]
        prints = numbered((f"{r.source}/{r.name}", r.fingerprint()) for r in used)
        if self._pool is not None:
            for style in self.recipe.styles:
                stack = simulated_recording(self.recipe.seed, 0, (8, 64, 64), {style: 1})
                prints[f"simulation/{style}"] = digest(stack.volume) + digest(stack.labels)
        return prints

    def close(self):
        """Stop simulating."""
        if self._pool is not None:
            self._pool.close()

    def _sample(self, rng):
        recipe = self.recipe
        shares = np.array([recipe.shares.get(source, 0.0) for source in self.sources])
        source = str(rng.choice(self.sources, p=shares / shares.sum()))
        tiles, instances = self._tiles[source][rng.integers(len(self._tiles[source]))]
        image, labels = tiles[rng.integers(len(tiles))]
        # Labels leave the tile as -1, also where they were not known.
        labels = labels.astype(np.int32)
        if not instances:
            labels[labels == IGNORE] = -1
        image, labels = vary(rng, image, labels, Variation(**recipe.variation[source]))
        classes = (
            semantic_from_instances(np.maximum(labels, 0), recipe=recipe.border_recipe)
            if instances
            else labels
        )
        inside = tuple(slice(m, m + side) for m, side in zip(recipe.margin, recipe.tile, strict=True))
        known = labels[inside] >= 0
        target = np.stack([np.where(known, classes[inside], 0), known * recipe.trust[source]], axis=-1)
        return np.clip(image[inside], *recipe.clip)[..., None].astype(np.float32), target.astype(np.float32)

    def _cut(self, recording):
        """Return the tiles of a recording, and whether its labels are instances."""
        recipe = self.recipe
        tile = tuple(side + 2 * m for side, m in zip(recipe.tile, recipe.margin, strict=True))
        step = tuple(max(side // 4, 1) for side in recipe.tile)
        volume = self._normalise(recording.volume)
        # An axon may have any number.
        unknown = -1 if recording.instances else IGNORE
        tiles = cut_tiles(volume, recording.labels, tile, step, margin=recipe.margin, ignore=unknown)
        if not len(tiles):
            message = (
                f"{recording.name}: expected known labels to train on, at least {list(recipe.margin)} voxels "
                f"(z, y, x) from the ends, got none but {IGNORE} (not known). Label some, or leave this "
                "recording away."
            )
            raise CalzooError(message)
        return tiles, recording.instances

    def _simulated_tiles(self, number):
        recipe = self.recipe
        recording = simulated_recording(
            recipe.seed, number, recipe.stack, recipe.styles, recipe.magnification
        )
        return self._cut(recording)

    def _validation_stack(self, style, number):
        recipe = self.recipe
        recording = simulated_recording(recipe.seed, VALIDATION + number, recipe.validation_stack, {style: 1})
        return replace(recording, volume=self._normalise(recording.volume))


def _split(recording, recipe):
    """Part a recording into what is trained on and what is scored (None: nothing)."""
    if recording.source == "own" and recipe.own_planes:
        inside = slice(*recipe.own_planes)
        if not len(recording.volume[inside]):
            message = (
                f"{recording.name}: expected planes {list(recipe.own_planes)} (own_planes) to train on, got "
                f"{len(recording.volume)} planes; set own_planes, [] for all."
            )
            raise CalzooError(message)
        return replace(recording, volume=recording.volume[inside], labels=recording.labels[inside]), None
    if recording.source != "trailmap":
        return recording, None
    planes = labelled_planes(recording)
    held = [z for z in planes if z in recipe.validation_planes]
    if not held:
        return recording, None
    return only_planes(recording, [z for z in planes if z not in held]), only_planes(recording, held)
