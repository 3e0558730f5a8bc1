"""The template that frames are brought to, made of the frames themselves."""

import numpy as np

from calzoo.imaging.rigid import CLEAR, RigidSearch, rigid_template
from calzoo.inference.registration_network import align_all

SAMPLE_BYTES = 96 * 2**20  # float32 frames that the template is made of
SAMPLE_FRAMES = 200
NOISE = 0.1  # of frames is clear at most where there is nothing that could be registered


def template_sample(movie):
    """Return up to 200 frames, evenly spread, as float32."""
    frame_bytes = 4 * int(np.prod(movie.shape[1:]))
    count = int(np.clip(SAMPLE_BYTES // frame_bytes, 2, SAMPLE_FRAMES))
    if movie.shape[0] <= count:
        return movie.frames(0, movie.shape[0]).astype(np.float32)
    # Runs of four, as neighbours look alike.
    starts = np.linspace(0, movie.shape[0] - 4, max(count // 4, 1)).astype(int)
    return np.concatenate([movie.frames(s, s + 4) for s in starts]).astype(np.float32)


def shows_noise(sample, reach, prepare):
    """Tell whether frames have nothing in common: a template of every other one is not found in the rest.

    A template that a frame is part of is always found in it, also if both are noise.
    """
    if len(sample) < 4:
        return False
    template = rigid_template(sample[::2])[None]
    search = RigidSearch((template if prepare is None else prepare(template))[0], reach=reach)
    rest, clear, seen = sample[1::2], 0, 0
    for start in range(0, len(rest), 16):
        frames = rest[start : start + 16]
        _, clarity = search(frames if prepare is None else prepare(frames))
        clear, seen = clear + (clarity >= CLEAR).sum(), seen + (clarity > 0).sum()
    return bool(clear < NOISE * seen)


def make_template(network, sample, reach, prepare, rounds=2):
    """Make a template of some frames: by rigid search, then twice the mean of what was registered."""
    template = rigid_template(sample)
    for _ in range(rounds):
        parts = aligned(network, network.aligner(template, reach=reach, prepare=prepare), sample)
        unsure = np.concatenate([p.uncertainty.mean(axis=(1, 2)) for p in parts])
        clear = np.concatenate([p.clarity for p in parts]) >= CLEAR
        moved = np.concatenate([p.registered for p in parts])
        kept = unsure <= np.median(unsure) * network.spread
        if (kept & clear).any():  # else there is nothing better
            kept &= clear
        template = moved[kept].mean(axis=0)
    return template


def aligned(network, align, frames):
    """Return what is found of frames (T, Y, X), in pieces."""
    pieces = (frames[i : i + network.batch] for i in range(0, len(frames), network.batch))
    return [found for _, found in align_all(align, pieces, network.workers)]
