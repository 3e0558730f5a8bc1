"""Golden files: an input of a network with its output, by which it is known again."""

import numpy as np


def write_golden(model, path, *, seed=0):
    """Write an input and what the network makes of it, by the names of the graph.

    Parameters
    ----------
    model : calzoo.inference.models.Model
    path : path
        A .npz file. Each side of the input is two of the card's divisors, and 16 at least, or a map of noise
        may be 0 everywhere; where the tile is the divisor, it is the tile.
    seed : int, optional
        Of the input: uniform noise between 0 and 1.
    """
    rng = np.random.default_rng(seed)
    card = model.card
    arrays = {}
    for tensor in card.inputs:
        sizes = {"b": 1, "t": 1, "c": len(tensor.channels) or 1}
        for axis, divisor in card.divisor.items():
            only = divisor == card.tile.get(axis)  # crops have one size
            sizes[axis] = divisor if only else max(2 * divisor, 16 + -16 % divisor)
        arrays[tensor.name] = rng.random([sizes[axis] for axis in tensor.axes], np.float32)
    np.savez_compressed(path, **arrays, **model.run(arrays))
