"""The folder of a training run, read back.

=========================== ==================================================================
``recipe.json``             the recipe, complete
``init.json``               the weights that the run began from, if any: name and SHA-256
``fingerprint.json``        shapes, hashes and class frequencies of the data
``history.csv``             one line per epoch; drawn in ``curves.png``
``weights.safetensors``     the weights of the best score, or the last: variable path -> array
``preview_*.png``           picture, truth and prediction at the last score
``ledger.json``             steps, samples, seconds, backend, versions, summed over sessions
``scores.json``             what ``calzoo evaluate`` measured, if it was run
``checkpoint-a``, ``-b``    two generations of everything that resuming needs
``tensorboard``             the history again, where TensorFlow is installed
=========================== ==================================================================
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from calzoo.errors import CalzooError
from calzoo.training import recipes
from calzoo.training.checkpoints import read_json, write_json
from calzoo.training.variables import load_weights, save_weights
from calzoo.weights.card import Score
from calzoo.weights.registry import sha256

WEIGHTS = "weights.safetensors"
SCORES = "scores.json"


@dataclass(frozen=True)
class Run:
    """A training run.

    Attributes
    ----------
    path : pathlib.Path
    recipe : dataclass
        See `calzoo.training.recipes`.
    weights : pathlib.Path
        The .safetensors file of the best score.
    fingerprint, ledger : mapping
        What the run was trained on, and what it cost.
    scores : tuple of Score
        Empty until ``calzoo evaluate`` was run.
    """

    path: Path
    recipe: object
    weights: Path
    fingerprint: Mapping
    ledger: Mapping
    scores: tuple[Score, ...]

    @property
    def sources(self):
        """Where the recordings came from, e.g. ("simulation", "trailmap"), those of the first weights too."""
        before = self.init.get("sources", [])
        return tuple(dict.fromkeys([*(name.split("/")[0] for name in self.fingerprint), *before]))

    @property
    def init(self):
        """The weights that the run began from, as JSON; empty without any."""
        path = self.path / "init.json"
        return read_json(path) if path.exists() else {}

    @property
    def cost(self):
        """The ledger without the score of the weights, for others that are made of them."""
        return {key: value for key, value in self.ledger.items() if key not in ("best_epoch", "best_score")}

    def identity(self):
        """Return what tells the run's weights from others, as JSON: name and SHA-256."""
        return {"name": self.path.name, "sha256": sha256(self.weights)}

    def card_fields(self, model):
        """Return the arguments of a card: those of the recipe, the ledger and the scores."""
        facts = {k: v for k, v in self.ledger.items() if k not in ("sessions", "versions")}
        if self.init:
            facts["init"] = self.init
        return {
            **self.recipe.card_fields(model, self.sources),
            "training": {"schedule": asdict(self.recipe.schedule), **facts},
            "versions": dict(self.ledger["versions"]),
            "scores": self.scores,
        }


def load_run(path):
    """Read a run.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    Run

    Raises
    ------
    CalzooError
        If the folder is no run, or one that has not been scored yet.
    """
    path = Path(path)
    if not (path / "recipe.json").is_file():
        message = f"{path}: expected the folder of a run (with recipe.json); 'calzoo train' makes one."
        raise CalzooError(message)
    if not (path / WEIGHTS).is_file():
        message = f"{path}: the run has no weights yet; go on with 'calzoo train' until its first score."
        raise CalzooError(message)
    scores = read_json(path / SCORES) if (path / SCORES).exists() else []
    return Run(
        path,
        recipes.from_json((path / "recipe.json").read_text(encoding="utf-8")),
        path / WEIGHTS,
        read_json(path / "fingerprint.json"),
        read_json(path / "ledger.json"),
        tuple(Score(**{**s, "spread": s["spread"] and tuple(s["spread"])}) for s in scores),
    )


def refuse_existing_run(out):
    """Raise CalzooError where a folder that is to become a new run is there already."""
    if out.exists():
        message = f"{out} exists; name a folder that does not."
        raise CalzooError(message)


def write_run(out, model, recipe, *, fingerprint, ledger, init=None):
    """Write the folder of a run that was made of others, without training.

    Parameters
    ----------
    out : pathlib.Path
        A folder that does not exist yet.
    model : keras.Model
        With its weights.
    recipe : dataclass
    fingerprint, ledger : mapping
    init : mapping, optional
        What the weights began from.

    Returns
    -------
    Run
    """
    out.mkdir(parents=True)
    (out / "recipe.json").write_text(recipes.to_json(recipe) + "\n", encoding="utf-8")
    write_json(out / "fingerprint.json", dict(fingerprint))
    write_json(out / "ledger.json", dict(ledger))
    if init:
        write_json(out / "init.json", dict(init))
    save_weights(model, out / WEIGHTS)
    return load_run(out)


def build_model(run):
    """Build the network of a run with its best weights.

    Parameters
    ----------
    run : Run

    Returns
    -------
    keras.Model

    Raises
    ------
    CalzooError
        If the weights do not fit the network.
    """
    model = run.recipe.build()
    missing = load_weights(model, run.weights)
    if missing:
        message = (
            f"{run.weights} lacks {len(missing)} variables of the network ({', '.join(missing[:3])} ...); "
            f"it was trained with another version of {run.recipe.builder}."
        )
        raise CalzooError(message)
    return model


def save_scores(run, scores):
    """Write scores to a run's folder, in place of those of the same data and protocol.

    Parameters
    ----------
    run : Run
    scores : sequence of Score
    """
    new = {(s.data, s.protocol) for s in scores}
    kept = [s for s in run.scores if (s.data, s.protocol) not in new]
    write_json(run.path / SCORES, [asdict(s) for s in (*kept, *scores)])
