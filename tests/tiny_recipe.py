"""A recipe that trains in seconds, for tests."""

from calzoo.training import recipes

SETTINGS = {
    "network": {"filters": [2, 4], "bottom": 4, "pool": [[1, 2, 2], [2, 2, 2]]},
    "tile": [4, 16, 16],
    "margin": [1, 2, 2],
    "stack": [8, 40, 40],
    "pool": 2,
    "fresh": 1,
    "styles": {"confocal": 1.0},
    "validation_stack": [8, 32, 32],
    "validation_stacks": 1,
    "prediction_tile": [8, 32, 32],
    "schedule.epochs": 3,
    "schedule.steps": 3,
    "schedule.warmup": 2,
    "schedule.score_every": 1,
    "schedule.frozen_norm": 0.0,
    # Lasts for the whole process, and other tests need not be deterministic.
    "schedule.deterministic": False,
}


def tiny_recipe(**settings):
    """Return the axon recipe in the smallest size, some settings changed (``schedule__epochs=1``)."""
    dotted = {name.replace("__", "."): value for name, value in settings.items()}
    return recipes.changed(recipes.recipe("axons"), SETTINGS | dotted)
