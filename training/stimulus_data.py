"""Recordings with stimuli as a network trains on them: parted by trial, varied."""

import numpy as np

from calzoo.errors import CalzooError
from calzoo.imaging.normalisation import normalise
from calzoo.imaging.rest import RestTrack, noise_level, rest_picture, scaled
from calzoo.training.batches import samples_of, stacked
from calzoo.training.fingerprints import digest, numbered


class StimulusData:
    """Batches of a stimulus recipe, and the frames that it is scored on.

    Parameters
    ----------
    recipe : calzoo.training.recipes.stimulus.StimulusRecipe
    recordings : list of calzoo.training.stimulus_recordings.Recorded
        Of one field.
    """

    def __init__(self, recipe, recordings):
        self.recipe = recipe
        self.recordings = recordings
        self._check()
        self.prepared = [_Prepared(recipe, recording) for recording in recordings]
        train = [(i, r) for i, p in enumerate(self.prepared) for r in np.flatnonzero(p.first & ~p.held)]
        self.test = [(i, r) for i, p in enumerate(self.prepared) for r in np.flatnonzero(p.first & p.held)]
        some = np.array([self.prepared[i].any[r] for i, r in train])
        self._with = [row for row, is_some in zip(train, some, strict=True) if is_some]
        self._without = [row for row, is_some in zip(train, some, strict=True) if not is_some]
        if not self._with:
            frames = recipe.network.get("frames", 1)
            message = (
                f"expected stimuli followed by {frames} frames ('after' is {recipe.after}), got none to "
                f"train on. Set after to {frames} or more if so many are recorded, or fewer network.frames."
            )
            raise CalzooError(message)

    def prepare(self, epoch):
        """Do nothing: all frames are there."""

    def batch(self, epoch, step):
        """Return the batch of a step: a function of (seed, epoch, step) alone.

        Returns
        -------
        x : ndarray of float32, (B, Y, X, C)
        y : ndarray of float32, (B, K + 1)
        """
        return stacked(samples_of(self.recipe, epoch, step, self._sample))

    def samples(self, rows):
        """Return frames as they are, (B, Y, X, C), and their targets, (B, K + 1)."""
        return stacked([self.prepared[i].sample(r) for i, r in rows])

    def fingerprint(self):
        """Return what the data are, as JSON."""
        return numbered((f"{r.source}/{r.name}", _fingerprint(r)) for r in self.recordings)

    def close(self):
        """Do nothing: all frames are in memory."""

    def _sample(self, rng):
        recipe = self.recipe
        pool = self._without if self._without and rng.random() < recipe.none_share else self._with
        i, row = pool[rng.integers(len(pool))]
        return self.prepared[i].varied(rng, row)

    def _check(self):
        recipe, cells = self.recipe, self.recipe.network["cells"]
        shapes = {r.frames.shape[1:] for r in self.recordings}
        if len(shapes) > 1:
            message = f"expected recordings of one field, got frames of {sorted(shapes)} pixels."
            raise CalzooError(message)
        for recording in self.recordings:
            stimuli = recording.stimuli
            if stimuli.cells.shape[1] > cells:
                message = (
                    f"{recording.name}: stimulates cell {stimuli.cells.shape[1]}, but the network has "
                    f"{cells} cells; set network.cells of the recipe."
                )
                raise CalzooError(message)
            trials = len(np.unique(stimuli.trial))
            if trials < recipe.test_trials + 2:
                message = (
                    f"{recording.name}: expected at least {recipe.test_trials + 2} trials, two to train on "
                    f"and {recipe.test_trials} to test on, got {trials}. Record more, or set test_trials."
                )
                raise CalzooError(message)
            _check_test(recording, recipe.test_trials)
            if recipe.masked and recording.masks is None:
                message = (
                    f"{recording.name}: the recipe is masked, but there is no masks.npz beside the frames."
                )
                raise CalzooError(message)


def _fingerprint(recording):
    frames, stimuli = recording.frames, recording.stimuli
    return {
        "shape": list(frames.shape),
        "dtype": str(frames.dtype),
        "frames_sha256": digest(frames),
        "conditions": len(stimuli.conditions),
        "trials": int(stimuli.trial.max()),
        "labels_sha256": digest(stimuli.targets),
        # Which rows are tested on, and what lies around them, hangs on these too.
        "rows_sha256": digest(np.stack([stimuli.frames, stimuli.trial, stimuli.offset, stimuli.event])),
        "masks_sha256": None if recording.masks is None else digest(recording.masks),
    }


def _last_trials(stimuli, count):
    """Return which rows belong to the last `count` trials."""
    return np.isin(stimuli.trial, np.unique(stimuli.trial)[-count:] if count else [])


def _check_test(recording, count):
    """Refuse a test that shows few of the conditions: 'trial' then numbers all stimuli."""
    stimuli = recording.stimuli
    shown = np.unique(stimuli.condition[_last_trials(stimuli, count)])
    conditions = len(np.unique(stimuli.condition))
    if count and 2 * len(shown) < conditions:
        message = (
            f"{recording.name}: expected at least half of the {conditions} conditions in the last {count} "
            f"trials, which are kept for the test, got {len(shown)}. 'trial' counts the repetitions of a "
            "condition, from 1 (without the column they are counted); or set test_trials."
        )
        raise CalzooError(message)


class _Prepared:
    """A recording, ready to be drawn from."""

    def __init__(self, recipe, recording):
        self.recipe = recipe
        stimuli = recording.stimuli
        self.count = recipe.network.get("frames", 1)
        self.rest = rest_picture(recording.frames)
        self.track = RestTrack(recording.frames, every=recipe.rest_every) if recipe.rests else None
        self.noise = noise_level(recording.frames, self.rest)
        self.frames = recording.frames
        if not recipe.rests:  # such networks see intensities: of 0 to 255, as the authors fed them
            self.frames = 255 * normalise(recording.frames, recipe.normalisation())
        self.visible = None
        if recipe.masked:
            self.visible = recording.masks[: stimuli.cells.shape[1]].any(axis=0)
        cells = recipe.network["cells"]
        self.targets = np.zeros((len(stimuli), cells + 1), np.float32)
        self.targets[:, : stimuli.cells.shape[1]] = stimuli.cells
        self.any = stimuli.cells.any(axis=1)
        self.targets[:, -1] = ~self.any
        self.held = _last_trials(stimuli, recipe.test_trials)
        self.numbers = stimuli.frames
        self.first = _complete(stimuli, self.count)
        self.stimuli = stimuli

    def sample(self, row):
        """Return the frames from one row of the table on, (Y, X, C), and its target."""
        frames = self.frames[self.numbers[row : row + self.count]]
        if self.recipe.rests:
            frames = np.concatenate([scaled(frames), self.track.at(self.numbers[row : row + 1])])
        return self._seen(frames), self.targets[row]

    def varied(self, rng, row):
        """Return the same with everything changed that does not matter."""
        recipe = self.recipe
        frames = self.frames[self.numbers[row : row + self.count]]
        if recipe.rests:
            rest = self.track.at(self.numbers[row : row + 1])
            frames = np.concatenate([self._dimmed(rng, scaled(frames), rest), rest])
        else:
            frames = _relit(rng, frames, recipe.brightness, recipe.contrast)
        return self._seen(_moved(rng, frames, recipe.shift_px)), self.targets[row]

    def _dimmed(self, rng, frames, rest):
        """Let answers be fainter or stronger, with the noise that they would have."""
        low, high = self.recipe.amplitude
        amplitude = rng.uniform(low, high)
        missing = np.sqrt(max(1 - amplitude**2, 0.0) + self.recipe.extra_noise**2)
        noise = rng.standard_normal(frames.shape, np.float32) * np.sqrt(np.maximum(rest, 0.1))
        return rest + np.float32(amplitude) * (frames - rest) + np.float32(missing * self.noise) * noise

    def _seen(self, frames):
        if self.visible is not None:
            frames = frames * self.visible
        return np.ascontiguousarray(np.moveaxis(frames, 0, -1), np.float32)


def _complete(stimuli, count):
    """Tell from which rows on `count` frames of one stimulus follow each other."""
    if count == 1:
        return np.ones(len(stimuli), bool)
    last = len(stimuli) - count
    first = stimuli.offset == 1
    first[max(last + 1, 0) :] = False
    rows = np.flatnonzero(first)
    same = (stimuli.event[rows] == stimuli.event[rows + count - 1]) & (
        stimuli.offset[rows + count - 1] == count
    )
    first[rows[~same]] = False
    return first


def _moved(rng, frames, most):
    """Shift all frames together by whole pixels, their edges mirrored."""
    if not most:
        return frames
    dy, dx = rng.integers(0, 2 * most + 1, 2)
    padded = np.pad(frames, ((0, 0), (most, most), (most, most)), mode="reflect")
    return padded[:, dy : dy + frames.shape[1], dx : dx + frames.shape[2]]


def _relit(rng, frames, brightness, contrast):
    """Change brightness, then contrast, each for half of the samples, as the authors did."""
    if brightness and rng.random() < 0.5:
        frames = frames * rng.uniform(*brightness)
    if contrast and rng.random() < 0.5:
        factor = rng.uniform(*contrast)
        frames = factor * frames + (1 - factor) * frames.mean()
    return np.clip(frames, 0, 255).astype(np.float32)
