"""Registration of real movies: template from odd frames, score on even ones, for this project and for others.

    python benchmarks/registration_movies.py NETWORK MOVIE... [--peer FOLDER]

Each way makes a template of the odd frames (the mean of what it has registered, twice) and
registers the even ones to it. Scores, without 10 % at each edge: correlation of each frame with the
template, mean; crispness of the mean of the registered even frames (after a Gaussian of 0.5 px, so that
noise counts less).
Ways: "none", "rigid" and "calzoo"; with --peer also what registration_peers.py has written
to FOLDER from the same movies. Frames named *_sqrt8.tif are squared first.
"""

import argparse
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter

from calzoo.imaging.movies import open_movie
from calzoo.imaging.rigid import RigidSearch, rigid_template
from calzoo.imaging.warping import warp
from calzoo.inference.registration_network import Aligner, RegistrationNetwork
from calzoo.inference.registration_quality import crispness


def read(path):
    """Return a movie as float32."""
    with open_movie(path) as movie:
        frames = movie.frames(0, movie.shape[0]).astype(np.float32)
    return frames**2 if "_sqrt8" in Path(path).name else frames


def rigid(template, frames):
    """Register by the rigid search alone, with the same interpolation."""
    shifts, _ = RigidSearch(template)(frames)
    return np.stack([warp(f, np.broadcast_to(s, (*f.shape, 2))) for f, s in zip(frames, shifts, strict=True)])


def calzoo(network):
    """Return a function that registers with a network."""

    def register(template, frames):
        align = Aligner(network, template)
        return np.concatenate([align(frames[i : i + 4]).registered for i in range(0, len(frames), 4)])

    return register


def score(template, registered):
    """Return the mean correlation with the template, and the crispness of the mean."""
    margin = [side // 10 for side in template.shape]
    middle = tuple(slice(m, -m) for m in margin)
    centred = template[middle] - template[middle].mean()
    values = []
    for frame in registered:
        other = frame[middle] - frame[middle].mean()
        values.append((centred * other).sum() / np.sqrt((centred**2).sum() * (other**2).sum()))
    return float(np.mean(values)), crispness(gaussian_filter(registered.mean(axis=0), 0.5)[middle])


def main():
    """Print a line per movie and way."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("network")
    parser.add_argument("movies", nargs="+", type=Path)
    parser.add_argument("--peer", type=Path, help="folder of registration_peers.py")
    args = parser.parse_args()
    network = RegistrationNetwork.load(args.network, provider="cpu", threads=1)
    ways = {"none": lambda template, frames: frames, "rigid": rigid, "calzoo": calzoo(network)}
    for path in args.movies:
        frames = read(path)
        odd, even = frames[1::2], frames[0::2]
        results = {}
        for name, register in ways.items():
            template = rigid_template(odd) if name != "none" else odd.mean(axis=0)
            for _ in range(0 if name == "none" else 2):
                template = register(template, odd).mean(axis=0)
            results[name] = template, register(template, even)
        for peer in sorted(args.peer.glob(f"{path.stem}_*.npz")) if args.peer else ():
            with np.load(peer) as arrays:
                results[peer.stem.removeprefix(f"{path.stem}_")] = arrays["template"], arrays["registered"]
        for name, (template, registered) in results.items():
            alike, crisp = score(template, registered)
            print(f"{path.stem:<32}{name:<12}correlation {alike:.4f}  crispness {crisp:.6g}", flush=True)


if __name__ == "__main__":
    main()
