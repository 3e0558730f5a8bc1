"""The simulator of photostimulation: its truth is what its frames show."""

import numpy as np
import pytest

from calzoo.errors import CalzooError
from calzoo.simulation.stimulus import StimulusStyle, simulate_stimulus

SMALL = {"cells": 4, "groups": 2, "bystanders": 2, "trials": 3, "size": 64}


def test_the_same_seed_gives_the_same_recording():
    first, second = (simulate_stimulus(5, **SMALL) for _ in range(2))
    np.testing.assert_array_equal(first.frames, second.frames)
    assert first.table == second.table
    assert (simulate_stimulus(6, **SMALL).frames != first.frames).any()


def test_another_session_is_the_same_field_with_other_activity():
    first, second = (simulate_stimulus(5, session=s, **SMALL) for s in (0, 1))
    np.testing.assert_array_equal(first.masks, second.masks)
    np.testing.assert_array_equal(first.coupling, second.coupling)
    assert first.table["cells"] != second.table["cells"]


def test_a_factor_multiplies_connections_but_not_the_direct_answer():
    plain, strong = (simulate_stimulus(5, factor=f, **SMALL).coupling for f in (1.0, 1.5))
    direct = np.zeros(plain.shape, bool)
    direct[range(4), range(4)] = True
    np.testing.assert_array_equal(plain[direct], 1)
    np.testing.assert_array_equal(strong[direct], 1)
    np.testing.assert_allclose(strong[~direct], 1.5 * plain[~direct])


def test_every_condition_comes_once_in_each_trial():
    recording = simulate_stimulus(0, **SMALL)
    table = recording.table
    listed = list(zip(table["group"], table["trial"], table["cells"], strict=True))
    assert len(set(listed)) == len(listed)
    for trial in (1, 2, 3):
        assert sorted(c for g, t, c in listed if g == 1 and t == trial and c) == ["1", "1+2", "2"]
    assert {t for _, t, c in listed if not c} == {1, 2, 3}
    assert len(recording.frames) == 5 * len(listed)


def test_stimulated_cells_brighten_by_what_the_truth_says():
    style = StimulusStyle(
        variation=0.0, fading=0.0, spontaneous_hz=0.0, drift_px=0.0, bleaching=0.0, photons=400, connected=0.0
    )
    recording = simulate_stimulus(1, style=style, **SMALL)
    frames = recording.frames.astype(float) - style.offset
    cells = recording.table["cells"]
    none, one = cells.index("") * 5, cells.index("1") * 5
    for cell, mask in enumerate(recording.masks):
        change = frames[one][mask].mean() / frames[none][mask].mean() - 1
        if cell == 0:
            assert change == pytest.approx(style.amplitude, rel=0.35)  # neuropil dilutes it
        else:
            assert abs(change) < 0.15
    assert recording.response[one, 0] == pytest.approx(style.amplitude)
    assert recording.response[one + 4, 0] == pytest.approx(style.amplitude * np.exp(-4 / 2 / style.decay_s))


def test_answers_fade_and_light_bleaches():
    style = StimulusStyle(variation=0.0, fading=0.2, bleaching=0.5, spontaneous_hz=0.0)
    recording = simulate_stimulus(2, style=style, **SMALL)
    rows = [i for i, c in enumerate(recording.table["cells"]) if c == "1"]
    answers = recording.response[[5 * i for i in rows], 0]
    np.testing.assert_allclose(answers[1:] / answers[:-1], 0.8, rtol=1e-5)
    light = recording.frames.mean(axis=(1, 2)) - style.offset
    assert light[-10:].mean() / light[:10].mean() == pytest.approx(0.5, abs=0.06)


def test_drift_moves_the_tissue():
    style = StimulusStyle(drift_px=4.0, photons=400, spontaneous_hz=0.0, bleaching=0.0)
    frames = simulate_stimulus(3, style=style, **SMALL).frames.astype(float)
    first, last = (np.median(part, axis=0) for part in (frames[:20], frames[-20:]))
    power = np.fft.ifft2(np.fft.fft2(first) * np.conj(np.fft.fft2(last))).real
    shift = [(s + 32) % 64 - 32 for s in np.unravel_index(power.argmax(), power.shape)]
    assert 2 <= np.hypot(*shift) <= 5


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"cells": 5, "groups": 2}, "equal groups of two or more, .* got 5 cells in 2 groups"),
        ({"cells": 2, "groups": 2}, "got 2 cells in 2 groups"),
        ({"cells": 40, "groups": 2, "size": 64}, "do not fit into 64 x 64 pixels"),
        ({"size": 1}, "6 cells of radius 5 px do not fit into 1 x 1 pixels; use a larger frame"),
        ({"session": -1}, "a session and a factor from 0 on, got session -1 and factor 1"),
        ({"factor": -3.0}, "got session 0 and factor -3"),
        ({"groups": 0}, "got 4 cells in 0 groups"),
        ({"bystanders": -1}, "bystanders from 0 on, .* got 4 cells in 2 groups, -1 bystanders"),
        ({"seed": -1}, "seed must be a whole number from 0 up, .* got -1"),
        ({"factor": float("nan")}, "got session 0 and factor nan"),
        ({"factor": "a"}, "got session 0 and factor 'a'"),
        ({"cells": 4.5}, "cells: expected a whole number, got 4.5"),
        ({"trials": "a"}, "trials: expected a whole number, got 'a'"),
    ],
)
def test_impossible_fields_are_refused(settings, match):
    with pytest.raises(CalzooError, match=match):
        simulate_stimulus(**({"seed": 0} | SMALL | settings))


def test_a_style_that_means_nothing_is_refused():
    with pytest.raises(CalzooError, match=r"StimulusStyle: photons must be between 0.001 and 1e\+06, got 0"):
        StimulusStyle(photons=0)
    with pytest.raises(CalzooError, match=r"StimulusStyle: gain must be between 0.001 and 10000, got 'a'"):
        StimulusStyle(gain="a")
