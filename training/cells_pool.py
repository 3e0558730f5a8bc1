"""Summary pictures of simulated recordings with the truth about their cells: what cell networks learn from.

To draw a recording takes seconds, to read its pictures nothing, so they are drawn once:

    python -m calzoo.training.cells_pool -o POOL -n 600

One file each, ``NNNNN.npz``; what is there is kept, so that a pool can grow and an
interrupted command goes on. ``pool.txt`` says the seed, which is the same for all.
"""

import argparse
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from calzoo.errors import CalzooError
from calzoo.imaging.masks import FIELDS, Masks
from calzoo.imaging.outputs import output_file
from calzoo.imaging.summary import summary_images
from calzoo.simulation.fields import log_uniform
from calzoo.simulation.two_photon import simulate_two_photon
from calzoo.simulation.two_photon_style import draw_two_photon_style
from calzoo.training.pools import claim

#: Changes whenever the same number would give another scene.
POOL_VERSION = 1
#: Pictures of a scene, in the order of `Scene.pictures`.
PICTURES = (
    "correlation",
    "gaussian_correlation",
    "mean",
    "median",
    "maximum",
    "standard_deviation",
    "peak_to_noise",
)
#: What is known about each cell; see `calzoo.simulation.recordings.CellTruth`.
FACTS = ("in_focus", "active", "snr", "clarity")
#: Field of view in cell diameters, and its limits in pixels.
FIELD, SIDES = 16.0, (144, 272)
#: Share of the scenes in which cells are as dense as in recordings that people analyse, and of these the
#: share with cells and cut dendrites much brighter than the neuropil, as in mean pictures of GCaMP6 mice.
CROWDED, BRIGHT = 0.8, 0.4
#: By how much less than other simulated recordings every second line is displaced: cells are looked for in
#: recordings that were registered.
ALIGNED = 0.4


@dataclass(frozen=True)
class Scene:
    """Pictures of one simulated recording.

    Attributes
    ----------
    pictures : dict of str to ndarray of float32, (Y, X)
        By the names of `PICTURES`.
    masks : Masks
        Of all true cells, visible or not.
    facts : dict of str to ndarray, (N,)
        By the names of `FACTS`; `snr` counts the noise of the pictures' movie, a mean over many
        frames, and the height of an answer before it: too much where answers are shorter than a mean.
    """

    pictures: dict
    masks: Masks
    facts: dict


def draw_scene(seed, number):
    """Simulate recording `number` of a pool and sum it up.

    Parameters
    ----------
    seed, number : int
        The same pair gives the same scene.

    Returns
    -------
    Scene
    style : dict
        What was drawn.
    """
    rng = np.random.default_rng([seed, number])
    style = populated(rng, draw_two_photon_style(rng))
    side = int(np.clip(FIELD * style.soma_um / style.pixel_um, *SIDES))
    # Long recordings cost no more than short ones: what is drawn are means of many frames.
    size = int(np.exp(rng.uniform(0, np.log(64))))
    frames = int(rng.integers(40, 81))
    recording = simulate_two_photon([seed, number], (frames * size, side, side), style=style)
    movie = recording.binned(size)
    images = summary_images(movie.frames().astype(np.float32), threads=1)
    cells = recording.cells
    facts = {name: np.asarray(getattr(cells, name)) for name in FACTS}
    facts["snr"] = facts["snr"] * np.float32(np.sqrt(size))
    pictures = {name: np.asarray(getattr(images, name), np.float32) for name in PICTURES}
    return Scene(pictures, cells.masks, facts), asdict(style) | {"bin": size, "frames": frames}


def populated(rng, style):
    """Return a style with more cells in the plane, most of the time.

    Recordings are made where cells are: of the simulator's own draws half show fewer than ten, from
    which there is little to learn.
    """
    style = replace(style, alternate_px=ALIGNED * style.alternate_px)
    if style.packed or rng.random() >= CROWDED:
        return style
    if rng.random() < BRIGHT:
        return replace(style, **_bright(rng))
    return replace(
        style,
        density=max(style.density, log_uniform(rng, 100_000, 400_000)),
        labelled=rng.uniform(0.6, 1),
        cell_level=max(style.cell_level, log_uniform(rng, 1.2, 6)),
    )


def _bright(rng):
    """Draw cells of similar brightness in a dark neuropil, with many dendrites that cross the plane."""
    level = log_uniform(rng, 2.5, 12)
    return {
        "density": log_uniform(rng, 200_000, 600_000),
        "labelled": rng.uniform(0.6, 1),
        "cell_level": level,
        "cell_spread": rng.uniform(0.25, 0.6),
        "nucleus_level": rng.uniform(0.2, 0.9),
        "apicals": log_uniform(rng, 500, 8000),
        "dendrite_share": rng.uniform(0.2, 0.9),
        "dendrite_level": level * rng.uniform(0.3, 1.2),
    }


def write_scene(path, scene, style):
    """Write a scene; pictures are kept with 16 bits between their smallest and largest value."""
    pictures = np.stack([scene.pictures[name] for name in PICTURES])
    low, high = (f(pictures, axis=(1, 2), keepdims=True) for f in (np.min, np.max))
    scaled = (pictures - low) / np.maximum(high - low, 1e-30)
    arrays = {
        "pictures": np.rint(65535 * scaled).astype(np.uint16),
        "range": np.concatenate([low, high], axis=2)[:, 0].astype(np.float32),
        "style": json.dumps(style),
        **{f"cells_{name}": np.asarray(getattr(scene.masks, name)) for name in FIELDS},
        **scene.facts,
    }
    with output_file(path) as part, open(part, "wb") as file:
        np.savez_compressed(file, **arrays)


def read_scene(path):
    """Read what `write_scene` wrote.

    Returns
    -------
    Scene

    Raises
    ------
    CalzooError
        If the file is damaged or no scene.
    """
    try:
        with open(path, "rb") as raw, np.load(raw, allow_pickle=False) as file:
            low, high = file["range"].T[:, :, None, None]
            pictures = low + (high - low) * (file["pictures"] / np.float32(65535))
            masks = Masks(*(file[f"cells_{name}"] for name in FIELDS))
            facts = {name: file[name] for name in FACTS}
    except (OSError, EOFError, ValueError, KeyError, BadZipFile) as error:
        message = f"{path}: expected a scene of a pool, got {error}; draw it again with cells_pool."
        raise CalzooError(message) from error
    return Scene(dict(zip(PICTURES, pictures.astype(np.float32), strict=True)), masks, facts)


def pool_files(folder):
    """Return the files of a pool, in order; none if the folder is no pool."""
    return sorted(Path(folder).glob("[0-9]" * 5 + ".npz"))


def draw_pool(folder, count, *, seed=0, first=0, progress=None):
    """Draw the scenes that a pool lacks.

    Parameters
    ----------
    folder : path-like
        Made where it is not there.
    count : int
        Scenes `first` to `first` + `count` - 1.
    seed : int, optional
    first : int, optional
    progress : callable, optional
        Wraps the iterable of numbers, as `tqdm` does.

    Raises
    ------
    CalzooError
        If the folder holds scenes of another seed or version, or something else.
    """
    folder = Path(folder)
    claim(folder, f"cells pool, version {POOL_VERSION}, seed {seed}")
    numbers = range(first, first + count)
    for number in progress(numbers) if progress else numbers:
        path = folder / f"{number:05d}.npz"
        if not path.exists():
            write_scene(path, *draw_scene(seed, number))


def main(argv=None):
    """Draw a pool from the command line."""
    from tqdm import tqdm

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", required=True, type=Path, metavar="POOL")
    parser.add_argument("-n", "--count", type=int, default=600, help="scenes (default: 600)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first scene (default: 0)")
    args = parser.parse_args(argv)
    draw_pool(args.output, args.count, seed=args.seed, first=args.first, progress=tqdm)
    print(args.output)


if __name__ == "__main__":
    main()
