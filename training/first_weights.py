"""The weights that a run begins from, and what they have seen."""

import warnings
from dataclasses import dataclass
from pathlib import Path

from calzoo.errors import CalzooError
from calzoo.training import recipes
from calzoo.training.runs import WEIGHTS, load_run
from calzoo.training.variables import load_weights
from calzoo.weights.card import Card
from calzoo.weights.onnx_file import card_text
from calzoo.weights.registry import resolve, sha256
from calzoo.weights.release import RESEARCH


@dataclass(frozen=True)
class FirstWeights:
    """What a run begins from.

    Attributes
    ----------
    path : pathlib.Path
        A .safetensors file, or the folder of a run.
    sources : list of str
        What the weights have seen, in the words of the recipe, as far as that is known.
    """

    path: Path
    sources: list

    def sha256(self):
        """Return the SHA-256 of the file."""
        return sha256(self._file)

    def load(self, model):
        """Load the weights; say how many variables they leave as they are.

        Parameters
        ----------
        model : keras.Model
            Changed in place.

        Raises
        ------
        CalzooError
            If they leave most of the variables as they are.
        """
        missing, count = load_weights(model, self._file), len(model.weights)
        if not missing:
            return
        what = (
            f"{self.path}: {len(missing)} of the {count} variables of the network are not in it "
            f"({missing[0]} ...)"
        )
        if len(missing) > count / 2:
            message = f"{what}; give weights of the same kind of network, with the settings of its recipe."
            raise CalzooError(message)
        warnings.warn(f"{what}; they begin at random.", stacklevel=2)

    @property
    def _file(self):
        return self.path / WEIGHTS if self.path.is_dir() else self.path


def first_weights(init, recipe):
    """Find the weights that a run is to begin from.

    Parameters
    ----------
    init : path-like or str
        A .safetensors file, the folder of a run, or a preset; of several networks that of the recipe's role.
    recipe : dataclass

    Returns
    -------
    FirstWeights

    Raises
    ------
    CalzooError
        If there is nothing of that name.
    """
    role = getattr(recipe, "role", "model")
    return FirstWeights(sources=sources_of(init, recipe, role), path=located(init, role))


def located(init, role):
    """Return where weights are: the file or folder itself, or the file of a preset."""
    path = Path(init)
    return path if path.exists() else resolve(str(init), role, kind="safetensors")


def sources_of(init, recipe, role):
    """Return what weights have seen that has terms of its own, as far as that is known, list of str."""
    path = Path(init)
    if path.name == WEIGHTS and (path.parent / "recipe.json").is_file():
        path = path.parent
    if path.is_dir():
        before = load_run(path)
        return list(before.sources) if type(before.recipe) is type(recipe) else []
    if not path.exists():  # a preset
        card = Card.from_json(card_text(resolve(str(init), role).read_bytes()))
        return recipes.sources_of(recipe, card)
    name = recipe.name.removesuffix(RESEARCH) + RESEARCH
    if RESEARCH in path.name and name in recipes.RECIPES:
        return [source for source in recipes.recipe(name).shares if source != "own"]
    return []
