"""Write tests/models/stimulus.onnx: a network whose weights are set by hand, so that its answers are known.

    python tests/make_tiny_stimulus.py

A grid of 4 x 4 squares; cell k is stimulated where square SQUARES[k] has brightened.
"""

import dataclasses
from pathlib import Path

import numpy as np

SQUARES = (0, 5, 15)  # of the cells 1, 2, 3, row by row


def network():
    """Return the Keras network."""
    from calzoo.networks.stimulus import stimulus

    model = stimulus(**CONFIG)
    kernels = {layer.name: layer for layer in model.layers}
    kernels["conv0"].set_weights([np.ones((1, 1, 1, 1)), np.zeros(1)])
    kernels["hidden0"].set_weights([np.eye(16), np.zeros(16)])
    weights = np.zeros((16, 4))
    weights[SQUARES, range(3)] = 8
    weights[SQUARES, 3] = -8
    kernels["logits"].set_weights([weights, np.array([-4.0, -4.0, -4.0, 4.0])])
    return model


CONFIG = {
    "cells": 3,
    "gain": 4.0,
    "stem": 1,
    "filters": (1,),
    "kernel": 1,
    "grid": 4,
    "hidden": (16,),
    "dropout": 0.0,
}


def main():
    from calzoo.export import export_model
    from calzoo.training.recipes.stimulus import StimulusRecipe
    from calzoo.weights.card import Card

    recipe = StimulusRecipe(name="tiny-stimulus", network=CONFIG)
    model = network()
    card = dataclasses.replace(Card(**recipe.card_fields(model, ())), versions={})
    path = Path(__file__).parent / "models" / "stimulus.onnx"
    export_model(recipe.graph(model), card, path, timing=False)
    path.with_suffix(".json").unlink()


if __name__ == "__main__":
    main()
