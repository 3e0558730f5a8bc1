"""Registration of real movies: template from odd frames, score on even ones, for this project and for others.

    python benchmarks/registration_movies.py NETWORK MOVIE... [--peer FOLDER] [--interpolation cubic]

Each way finds the flow of the odd frames against a template that it makes of them (the mean of what it
has registered, again and again), and the flow of the even frames against that template. All
frames are then moved with the same interpolation and scored where every way has seen the tissue: the
correlation of each even frame with the mean of the odd ones, mean; and the crispness of the mean of the
even frames (norm of the gradient after a Gaussian of 0.5 px, so that noise counts less).
Ways: "none", "search" (the rigid search alone), "rigid" (--rigid) and "calzoo"; with --peer also those whose
flows registration_peers.py has written to FOLDER from the same movies. Frames named *_sqrt8.tif are squared
first.
"""

import argparse
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter

from calzoo.imaging.movies import open_movie
from calzoo.imaging.rigid import RigidFit, RigidSearch, rigid_template
from calzoo.imaging.warping import looks_inside, warp
from calzoo.inference.registration_network import Aligner, RegistrationNetwork

ORDERS = {"linear": 1, "cubic": 3}


def read(path):
    """Return a movie as float32."""
    with open_movie(path) as movie:
        frames = movie.frames(0, movie.shape[0]).astype(np.float32)
    return frames**2 if "_sqrt8" in Path(path).name else frames


def rigid(search):
    """Return a function that gives the flow of frames that move as a whole."""

    def register(template, frames):
        shifts = search(template)(frames)[0]
        return np.broadcast_to(shifts[:, None, None], (*frames.shape, 2)).astype(np.float32)

    return register


def calzoo(network):
    """Return a function that gives the flow of a network."""

    def register(template, frames):
        align = Aligner(network, template)
        size = network.batch
        return np.concatenate([align(frames[i : i + size]).flow for i in range(0, len(frames), size)])

    return register


def seen(flow):
    """Return which pixels are seen in all but a twentieth of the frames."""
    return looks_inside(flow).mean(axis=0) >= 0.95


def score(template, registered, valid):
    """Return the mean correlation with the template, and the crispness of the mean, where it is valid."""
    centred = template[valid] - template[valid].mean()
    values = []
    for frame in registered:
        other = frame[valid] - frame[valid].mean()
        values.append((centred * other).sum() / np.sqrt((centred**2).sum() * (other**2).sum()))
    along = np.gradient(gaussian_filter(registered.mean(axis=0), 0.5))
    return float(np.mean(values)), float(np.sqrt(sum((a[valid] ** 2).sum() for a in along)))


def main():
    """Print a line per movie and way."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("network")
    parser.add_argument("movies", nargs="+", type=Path)
    parser.add_argument("--peer", type=Path, help="folder of registration_peers.py")
    parser.add_argument("--interpolation", choices=list(ORDERS), default="linear")
    args = parser.parse_args()
    network = RegistrationNetwork.load(args.network, provider="cpu", threads=1)
    ways = {"search": rigid(RigidSearch), "rigid": rigid(RigidFit), "calzoo": calzoo(network)}
    for path in args.movies:
        frames = read(path)
        odd, even = frames[1::2], frames[0::2]
        flows = {"none": [np.zeros((*part.shape, 2), np.float32) for part in (odd, even)]}
        for name, register in ways.items():
            template = rigid_template(odd)
            for _ in range(2):
                found = register(template, odd)
                template = warp(odd, found).mean(axis=0)
            flows[name] = found, register(template, even)
        for peer in sorted(args.peer.glob(f"{path.stem}_*.npz")) if args.peer else ():
            with np.load(peer) as arrays:
                both = [arrays[name].astype(np.float32) for name in ("odd", "even")]
                flows[peer.stem.removeprefix(f"{path.stem}_")] = both
        valid = np.logical_and.reduce([seen(flow) for both in flows.values() for flow in both])
        for name, both in flows.items():
            order = ORDERS[args.interpolation]
            moved = [warp(part, flow, order=order) for part, flow in zip((odd, even), both, strict=True)]
            alike, crisp = score(moved[0].mean(axis=0), moved[1], valid)
            print(
                f"{path.stem:<32}{name:<18}correlation {alike:.4f}  crispness {crisp:.5g}  "
                f"({valid.mean():.2f} of the field)",
                flush=True,
            )


if __name__ == "__main__":
    main()
