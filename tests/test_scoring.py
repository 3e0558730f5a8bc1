"""Which task a network is for, and who scores it."""

import pytest

pytestmark = pytest.mark.train
pytest.importorskip("keras")

from calzoo.commands._scoring import scorer, task_of, task_of_recipe
from calzoo.training import recipes
from calzoo.weights import registry
from calzoo.weights.card import TASKS


@pytest.mark.parametrize("name", recipes.RECIPES)
def test_name_of_a_recipe_begins_with_its_task(name):
    task = task_of_recipe(recipes.recipe(name))
    assert task in TASKS
    assert {"score_run", "score_file"} <= set(vars(scorer(task)))


@pytest.mark.parametrize("name", registry.presets())
def test_task_of_a_preset_is_that_of_the_registry(name):
    assert task_of(name) == registry.preset(name).task
