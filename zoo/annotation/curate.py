"""Go through the cells of a result, one after the other, and say which are kept."""

import csv
from pathlib import Path

import numpy as np

from calzoo.errors import CalzooError
from calzoo.imaging.masks import read_masks, write_masks
from calzoo.imaging.outputs import CURATION_FILES, output_file, write_table

STATE_FILE, KEPT_FILE = CURATION_FILES


class Curation:
    """Which cells of a result are kept, and which one is being looked at.

    Parameters
    ----------
    folder : path-like
        A result of ``calzoo cells``, with masks.npz; goes on with its curation.csv if there is one.

    Attributes
    ----------
    masks : Masks
    kept : ndarray of bool, (N,)
    current : int
        Counted from 0.

    Raises
    ------
    CalzooError
        If the folder holds no masks, or a curation of other ones.
    """

    def __init__(self, folder):
        self.folder = Path(folder)
        path = self.folder / "masks.npz"
        if not path.is_file():
            message = f"{folder}: expected the result of 'calzoo cells' with masks.npz, found none."
            raise CalzooError(message)
        self.masks = read_masks(path)
        self.kept = np.ones(len(self.masks), bool)
        self.current = 0
        if (self.folder / STATE_FILE).is_file():
            self._resume()

    def _resume(self):
        path = self.folder / STATE_FILE
        try:
            with open(path, newline="", encoding="utf-8") as file:
                rows = list(csv.DictReader(file))
            kept = np.array([row["kept"] == "1" for row in rows], bool)
            seen = [row["seen"] == "1" for row in rows]
            same = [int(row["id"]) for row in rows] == list(range(1, len(self.masks) + 1))
            places = np.array([[float(row[axis] or "nan") for axis in ("y", "x")] for row in rows])
        except (KeyError, ValueError, TypeError) as error:
            message = (
                f"{path}: expected a table with y, x, id, kept and seen, got {error!r}; remove the file."
            )
            raise CalzooError(message) from error
        # The table keeps seven digits of a place.
        if not (
            same and np.allclose(places.reshape(-1, 2), self._centers(), rtol=0, atol=0.01, equal_nan=True)
        ):
            message = (
                f"{path}: it is about {len(rows)} other cells than masks.npz with {len(self.masks)}; "
                "remove it to begin again."
            )
            raise CalzooError(message)
        self.kept = kept.reshape(-1)
        # Go on at the first cell that was not looked at.
        self.current = seen.index(False) if False in seen else 0
        self._seen = np.array(seen, bool)

    def _centers(self):
        """Return (y, x) of each cell, (N, 2)."""
        return self.masks.centers if len(self.masks) else np.empty((0, 2))

    @property
    def seen(self):
        """Which cells have been looked at, bool (N,)."""
        if not hasattr(self, "_seen"):
            self._seen = np.zeros(len(self.masks), bool)
        return self._seen

    def step(self, by):
        """Go to another cell, around the ends."""
        if len(self.masks):
            self.seen[self.current] = True
            self.current = (self.current + by) % len(self.masks)

    def toggle(self):
        """Keep the current cell, or no longer."""
        if len(self.masks):
            self.kept[self.current] ^= True

    def save(self):
        """Write curation.csv, the masks that are kept to curated.npz, and which these are for Suite2p."""
        if len(self.masks):
            self.seen[self.current] = True
        centers = self._centers()
        columns = {
            "y": centers[:, 0],
            "x": centers[:, 1],
            "id": np.arange(1, len(self.masks) + 1),
            "kept": self.kept,
            "seen": self.seen,
        }
        write_table(self.folder / STATE_FILE, columns)
        write_masks(self.folder / KEPT_FILE, cells=self.masks.select(self.kept))
        self._tell_suite2p()

    def _tell_suite2p(self):
        """Write which cells are kept into suite2p/plane0/iscell.npy, beside the scores there."""
        path = self.folder / "suite2p" / "plane0" / "iscell.npy"
        cells = np.load(path) if path.is_file() else np.empty((0, 2))
        if cells.shape != (len(self.masks), 2) or not len(cells):  # a folder of another program
            return
        cells[:, 0] = self.kept
        with output_file(path) as part, open(part, "wb") as file:
            np.save(file, cells)
