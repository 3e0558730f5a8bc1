"""Windows of simulated one-photon recordings, kept on disk.

Simulating takes longer than training, and the pictures that the network sees are
small: so every recording is drawn once and kept as ``NUMBER.npz`` in a folder::

    python -m calzoo.training.centers_pool -o POOL --processes 2
    calzoo train centers -o RUN --data POOL

A recording depends on the seed and its number alone. What is missing in the folder
is drawn when it is needed.
"""

import argparse
import os
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from tqdm import tqdm

from calzoo.errors import CalzooError
from calzoo.imaging.center_channels import CHANNELS
from calzoo.training.centers_windows import Window, training_windows
from calzoo.training.pools import claim
from calzoo.training.simulated import VALIDATION

#: Changes whenever the same number would give another recording.
POOL_VERSION = 8


class Pool:
    """Windows of recordings by number, kept in a folder.

    Parameters
    ----------
    seed : int
    folder : path-like, optional
        Absent: nothing is kept.

    Raises
    ------
    CalzooError
        If the folder holds recordings of another seed or version, or something else.
    """

    def __init__(self, seed, folder=None):
        self.seed, self.folder = seed, None if folder is None else Path(folder)
        if self.folder is not None:
            pool = f"centers pool, version {POOL_VERSION}, seed {seed}, {len(CHANNELS)} pictures"
            claim(self.folder, pool, hint="Mind that this recipe learns from no other data. ")

    def windows(self, number):
        """Return the windows of a recording, list of Window."""
        path = None if self.folder is None else self.folder / f"{number:07d}.npz"
        if path is not None and path.exists():
            return _read(path)
        made = training_windows(self.seed, number)
        if path is not None:
            _write(path, made)
        return made


def _write(path, made):
    arrays = {f"{name}_{i}": value for i, window in enumerate(made) for name, value in vars(window).items()}
    # Several processes may draw the same recording: each has a file of its own until it is whole.
    part = path.with_suffix(f".{os.getpid()}.part")
    with open(part, "wb") as file:
        np.savez_compressed(file, **arrays)
    os.replace(part, path)


def _read(path):
    """Read what `_write` wrote.

    Raises
    ------
    CalzooError
        If the file is damaged.
    """
    try:
        return _windows(path)
    except (OSError, EOFError, ValueError, KeyError, BadZipFile) as error:
        message = f"{path}: expected a recording of a pool, got {error}; remove it, and it is drawn again."
        raise CalzooError(message) from error


def _windows(path):
    with open(path, "rb") as raw, np.load(raw) as file:
        count = sum(name.startswith("frames_") for name in file.files)
        names = Window.__dataclass_fields__
        return [
            Window(
                **{
                    name: file[f"{name}_{i}"] if name != "frames" else int(file[f"{name}_{i}"])
                    for name in names
                }
            )
            for i in range(count)
        ]


def main(argv=None):
    """Draw recordings into a folder; recordings that are there are left as they are."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("-o", "--output", required=True, type=Path, metavar="POOL")
    parser.add_argument("-n", "--recordings", type=int, default=900)
    parser.add_argument("--validation", type=int, default=24, help="recordings for validation")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=1, help="recordings that are drawn at a time")
    args = parser.parse_args(argv)
    Pool(args.seed, args.output)  # refuses a folder of another seed before the work begins
    numbers = [*range(VALIDATION, VALIDATION + args.validation), *range(args.recordings)]
    if args.processes == 1:
        for number in tqdm(numbers):
            _draw(args.seed, args.output, number)
        return
    with ProcessPoolExecutor(args.processes) as processes:
        waiting = [processes.submit(_draw, args.seed, args.output, number) for number in numbers]
        for done in tqdm(waiting):
            done.result()


def _draw(seed, folder, number):
    Pool(seed, folder).windows(number)


if __name__ == "__main__":
    main()
