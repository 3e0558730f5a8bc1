"""The ledger of a run: what it cost and what it ran on, summed over its sessions."""

import platform
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import keras

from calzoo.training.checkpoints import read_json, write_json

_PACKAGES = ("calzoo", "keras", "tensorflow", "tensorflow-cpu", "jax", "numpy", "scipy")


class Ledger:
    """Count steps, samples, voxels and seconds of one session; a context manager.

    Parameters
    ----------
    run : path-like
        RUN/ledger.json is read, if it is there, and written at the end.
    recipe : dataclass
    threads : int, optional
    """

    def __init__(self, run, recipe, *, threads=None):
        self.path = Path(run) / "ledger.json"
        facts = read_json(self.path) if self.path.exists() else {"sessions": []}
        self.facts = facts | {
            "recipe": recipe.name,
            "seed": recipe.seed,
            "backend": keras.backend.backend(),
            "machine": platform.machine(),
            "versions": versions(),
        }
        self.session = {"steps": 0, "samples": 0, "voxels": 0, "seconds": 0.0, "threads": threads}
        self.facts["sessions"].append(self.session)

    def __enter__(self):
        self.started = time.monotonic()
        return self

    def __exit__(self, *error):
        self.save()

    def step(self, samples, voxels):
        """Count one step of `samples` samples with `voxels` voxels each."""
        self.session["steps"] += 1
        self.session["samples"] += samples
        self.session["voxels"] += samples * voxels

    def note(self, **facts):
        """Write down further facts of the run."""
        self.facts |= facts

    def save(self):
        """Write the ledger with the totals over all sessions; steps that a kill undid are counted as work."""
        self.session["seconds"] = round(time.monotonic() - self.started, 1)
        for name in ("steps", "samples", "voxels", "seconds"):
            self.facts[name] = sum(session[name] for session in self.facts["sessions"])
        write_json(self.path, self.facts)


def versions():
    """Return the versions of the packages that decide a result, where installed."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
