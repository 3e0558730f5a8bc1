"""Checkpoints that survive a kill at any moment: two generations, each written whole before it counts."""

import json
import os
import shutil
from pathlib import Path

from calzoo.errors import CalzooError
from calzoo.imaging.outputs import output_file
from calzoo.training.variables import assign_variables, save_variables

_GENERATIONS = ("checkpoint-a", "checkpoint-b")
_MODEL, _OPTIMIZER, _STATE = "model.safetensors", "optimizer.safetensors", "state.json"


def save_checkpoint(run, model, state):
    """Write a new generation in place of the older one.

    Parameters
    ----------
    run : path-like
        The run's folder.
    model : keras.Model
        Compiled; its variables, random states and optimiser are saved.
    state : dict
        JSON-able; ``state["step"]``, the number of steps done, orders the generations.
    """
    run = Path(run)
    target = _older(run)
    part = run / (target.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    save_variables(model.variables, part / _MODEL)
    save_variables(model.optimizer.variables, part / _OPTIMIZER)
    write_json(part / _STATE, state)
    # A kill between these lines leaves the other generation, which is complete.
    shutil.rmtree(target, ignore_errors=True)
    os.replace(part, target)


def load_checkpoint(run, model):
    """Bring a model back to the newest complete generation.

    Parameters
    ----------
    run : path-like
    model : keras.Model
        Compiled, its optimiser built; changed in place.

    Returns
    -------
    dict or None
        The state that was saved; None if there is no checkpoint.

    Raises
    ------
    CalzooError
        If there are checkpoints and none can be read.
    """
    found = sorted(_states(Path(run)), key=lambda pair: pair[0]["step"], reverse=True)
    problems = []
    for state, folder in found:
        try:
            assign_variables(model.variables, folder / _MODEL)
            assign_variables(model.optimizer.variables, folder / _OPTIMIZER)
        except CalzooError as error:
            problems.append((folder, str(error)))
        else:
            for damaged, _ in problems:  # or it would be taken for the newest again
                shutil.rmtree(damaged)
            return state
    if problems:
        reasons = " ".join(reason for _, reason in problems)
        message = f"no checkpoint of {run} can be used: {reasons} Start a new run in another folder."
        raise CalzooError(message)
    return None


def has_checkpoint(run):
    """Tell whether a run can be resumed."""
    return bool(_states(Path(run)))


def write_json(path, value):
    """Write JSON atomically, and to the disk before the name counts."""
    with output_file(path) as part, open(part, "w", encoding="utf-8") as file:
        json.dump(value, file, indent=1)
        file.flush()
        os.fsync(file.fileno())


def read_json(path):
    """Read a JSON file."""
    return json.loads(Path(path).read_text(encoding="utf-8"))


def _states(run):
    """Return (state, folder) of each complete generation."""
    states = []
    for name in _GENERATIONS:
        try:
            states.append((read_json(run / name / _STATE), run / name))
        except (OSError, json.JSONDecodeError):
            continue
    return states


def _older(run):
    """Return the folder of the generation to write next: an absent one, else the one with fewer steps."""
    steps = {folder: state["step"] for state, folder in _states(run)}
    return min((run / name for name in _GENERATIONS), key=lambda folder: steps.get(folder, -1))
