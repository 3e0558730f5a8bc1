"""The training loop: the same weights whether a run was killed and resumed or not."""

import signal
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import keras
import numpy as np
from tqdm import tqdm

from calzoo.errors import CalzooError
from calzoo.imaging.outputs import output_file
from calzoo.training import recipes
from calzoo.training.checkpoints import (
    has_checkpoint,
    load_checkpoint,
    read_json,
    save_checkpoint,
    write_json,
)
from calzoo.training.distribute import make_deterministic, replicated_step, scalar_writer, shared_loss
from calzoo.training.frozen import has_frozen_norm, with_frozen_norm
from calzoo.training.ledger import Ledger
from calzoo.training.pictures import draw_curves, draw_preview, write_history
from calzoo.training.runs import SCORES, WEIGHTS, load_run
from calzoo.training.variables import (
    as_saved,
    assign,
    load_weights,
    restored,
    save_weights,
    values_of,
)
from calzoo.weights.card import Card
from calzoo.weights.onnx_file import card_text
from calzoo.weights.registry import resolve, sha256
from calzoo.weights.release import RESEARCH

_AHEAD = 3  # batches that are made while the network trains


@dataclass
class Progress:
    """Where a run stands: what a checkpoint stores besides variables."""

    step: int = 0
    best: float | None = None
    history: list = field(default_factory=list)  # one dict per finished epoch
    losses: list = field(default_factory=list)  # of the epoch that was begun


def train(recipe, run, *, folders=(), init=None, strategy=None, threads=None, quiet=False):
    """Train a recipe into a folder, or go on where the folder's run was stopped.

    Every epoch ends with a checkpoint. SIGTERM and Ctrl-C save one after the
    running step and return; after a kill the run goes on from the last one. Either
    way the weights are those of an uninterrupted run (bit-equal on CPU, where
    ``recipe.schedule.deterministic``).

    Parameters
    ----------
    recipe : dataclass
        See `calzoo.training.recipes`.
    run : path-like
        The run's folder; see `calzoo.training.runs.load_run` for what is written.
    folders : sequence of path-like, optional
        Folders with recordings, as the recipe's `data` takes them.
    init : path-like or str, optional
        What to start from: a .safetensors file, the folder of a run, or a preset (of several
        networks, that of the recipe's role).
    strategy : tf.distribute.Strategy, optional
        From `calzoo.training.distribute.mirrored`.
    threads : int, optional
        Written to the ledger only; see `calzoo.training.distribute.limit_threads`.
    quiet : bool, optional
        No bar of the steps.

    Returns
    -------
    Progress
        ``progress.step`` is smaller than ``epochs * steps`` if the run was stopped.

    Raises
    ------
    CalzooError
        If the folder holds a run of another recipe or of other data, there is nothing
        to start from where `init` says, or the loss is not finite.
    """
    run = Path(run)
    if recipe.seed < 0:
        message = f"recipe {recipe.name!r}: seed must be 0 or more, got {recipe.seed}."
        raise CalzooError(message)
    seen = []  # what the weights to begin with have seen
    if init is not None:
        role = getattr(recipe, "role", "model")
        seen = _sources_of(init, recipe, role)
        init = _located(init, role)
    _check_recipe(run, recipe)
    _check_init(run, init)
    schedule = recipe.schedule
    if schedule.deterministic:
        make_deterministic(recipe.seed)
    else:
        keras.utils.set_random_seed(recipe.seed)
    data = recipe.data(folders)
    try:
        fingerprint = data.fingerprint()
        _check_fingerprint(run, fingerprint)
        with _policy(schedule.precision), strategy.scope() if strategy else _nothing():
            loop = _Loop(recipe, run, data, init, strategy, quiet)
            _begin(run, recipe, fingerprint, init, seen)
            with Ledger(run, recipe, threads=threads) as ledger, _stop_signals() as stop:
                loop.go(stop, ledger)
        return loop.progress
    finally:
        data.close()


class _Loop:
    """One session of a run: from the last checkpoint to the end or to a signal."""

    def __init__(self, recipe, run, data, init, strategy, quiet):
        self.recipe, self.schedule, self.run = recipe, recipe.schedule, run
        self.data, self.strategy, self.quiet = data, strategy, quiet
        self._take(self._compiled(_network(recipe)))
        if init is not None and not has_checkpoint(run):
            _start_from(self.model, init)
        state = load_checkpoint(run, self.model)
        self.progress = Progress(**state) if state else Progress()

    def _take(self, model):
        self.model = model
        self.step = replicated_step(model, self.strategy) if self.strategy else _single_step(model)

    def _compiled(self, model):
        # XLA makes 3-D convolutions on CPU 20 times slower in TensorFlow; JAX has nothing else.
        model.compile(
            optimizer=self.schedule.optimizer(self.strategy.num_replicas_in_sync if self.strategy else 1),
            loss=shared_loss(self.recipe.loss()) if self.strategy else self.recipe.loss(),
            jit_compile=keras.backend.backend() == "jax",
        )
        model.optimizer.build(model.trainable_variables)
        return model

    def _freeze(self):
        """Go on with a network whose normalisation is what it will be at inference."""
        frozen = self._compiled(with_frozen_norm(_network(self.recipe)))
        for old, new in ((self.model, frozen), (self.model.optimizer, frozen.optimizer)):
            for source, target in zip(old.variables, new.variables, strict=True):
                target.assign(source)
        self._take(frozen)

    def go(self, stop, ledger):
        self.write_scalars = scalar_writer(self.run / "tensorboard")
        total = self.schedule.epochs * self.schedule.steps
        bar = tqdm(
            total=total,
            initial=self.progress.step,
            disable=self.quiet,
            unit="step",
            smoothing=0.05,
            # In the log of a job a bar cannot be drawn over: a line now and then is enough.
            mininterval=0.1 if sys.stderr.isatty() else 30,
        )
        with bar, ThreadPoolExecutor(1) as maker:
            while self.progress.step < total and not stop.is_set():
                self._epoch(stop, maker, bar, ledger)
        if stop.is_set():
            self._save()

    def _epoch(self, stop, maker, bar, ledger):
        """Do what is left of the running epoch."""
        progress, steps = self.progress, self.schedule.steps
        epoch, done = divmod(progress.step, steps)
        if epoch >= self.schedule.frozen_from and not has_frozen_norm(self.model):
            self._freeze()
        self.data.prepare(epoch)
        futures = [maker.submit(self.data.batch, epoch, s) for s in range(done, min(done + _AHEAD, steps))]
        for step in range(done, steps):
            x, y = futures.pop(0).result()
            if step + _AHEAD < steps:
                futures.append(maker.submit(self.data.batch, epoch, step + _AHEAD))
            loss = self._train_on(x, y)
            progress.losses.append(loss)
            progress.step += 1
            first = next(iter(x.values())) if isinstance(x, dict) else x  # of several inputs
            ledger.step(len(first), first[0].size)
            best = "" if progress.best is None else f", best {progress.best:.3f}"
            bar.set_postfix_str(f"loss {loss:.3f}{best}", refresh=False)
            bar.update()
            if stop.is_set() and step + 1 < steps:
                return
        self._finish(epoch, ledger)

    def _train_on(self, x, y):
        self.model.optimizer.learning_rate.assign(self.schedule.rate(self.progress.step))
        loss = self.step(x, y)
        if loss != loss or loss in (float("inf"), float("-inf")):
            message = (
                f"{self.run}: the loss of step {self.progress.step} is {loss}; lower the learning rate "
                f"(now {self.schedule.learning_rate}) and start again in another folder."
            )
            raise CalzooError(message)
        return loss

    def _check_finite(self):
        """Refuse weights that the last step has spoilt, whose own loss was a number still."""
        spoilt = [v.path for v in self.model.weights if not np.isfinite(keras.ops.convert_to_numpy(v)).all()]
        if spoilt:
            message = (
                f"{self.run}: step {self.progress.step} made {len(spoilt)} variables NaN or infinite "
                f"({spoilt[0]} ...); lower the learning rate (now {self.schedule.learning_rate}) and start "
                "again in another folder."
            )
            raise CalzooError(message)

    def _finish(self, epoch, ledger):
        """Score, keep the best, write history and checkpoint at the end of an epoch."""
        self._check_finite()
        progress = self.progress
        row = {
            "epoch": epoch + 1,
            "step": progress.step,
            "loss": sum(progress.losses) / len(progress.losses),
            "learning_rate": self.schedule.rate(progress.step - 1),
        }
        progress.losses = []
        last = epoch + 1 == self.schedule.epochs
        if last or (epoch + 1) % self.schedule.score_every == 0:
            row |= self._score(epoch, ledger)
        progress.history.append(row)
        write_history(self.run / "history.csv", progress.history)
        draw_curves(self.run / "curves.png", progress.history)
        if self.write_scalars:
            self.write_scalars(progress.step, {k: v for k, v in row.items() if k not in ("epoch", "step")})
        ledger.save()  # before the checkpoint: what a kill undoes is noted once more
        self._save()

    def _score(self, epoch, ledger):
        """Score the averaged weights and keep them if they are the best."""
        progress = self.progress
        with _averaged(self.model), as_saved(self.model):
            scores, previews = self.recipe.score(self.model, self.data)
            best = scores.get("score")
            if best is None or progress.best is None or best > progress.best:
                progress.best = best
                (self.run / SCORES).unlink(missing_ok=True)  # of the weights that are replaced
                ledger.note(best_epoch=epoch + 1, best_score=best)
                ledger.save()  # before the weights, which are those of no run without it
                save_weights(self.model, self.run / WEIGHTS)
            for number, preview in enumerate(previews):
                draw_preview(self.run / f"preview_{number}.png", *preview)
        return scores

    def _save(self):
        save_checkpoint(self.run, self.model, vars(self.progress))


def _located(init, role):
    """Return where weights are: the file or folder itself, or the file of a preset."""
    path = Path(init)
    return path if path.exists() else resolve(str(init), role, kind="safetensors")


def _start_from(model, init):
    """Load the weights to begin with; say how many variables they leave as they are, refuse most."""
    missing, count = load_weights(model, _weights_in(init)), len(model.weights)
    if not missing:
        return
    what = f"{init}: {len(missing)} of the {count} variables of the network are not in it ({missing[0]} ...)"
    if len(missing) > count / 2:
        message = f"{what}; give weights of the same kind of network, with the settings of its recipe."
        raise CalzooError(message)
    warnings.warn(f"{what}; they begin at random.", stacklevel=2)


def _weights_in(init):
    return init / WEIGHTS if init.is_dir() else init


def _check_recipe(run, recipe):
    """Refuse a folder that holds a run of another recipe, or the mean of runs, which cannot go on."""
    ledger = run / "ledger.json"
    if ledger.exists() and "averaged" in read_json(ledger):
        message = f"{run} is the mean of other runs; give a new folder, and begin from it with --init {run}."
        raise CalzooError(message)
    path = run / "recipe.json"
    # As texts: lists that Python was given are tuples once they are read again.
    if path.exists() and recipes.to_json(
        recipes.from_json(path.read_text(encoding="utf-8"))
    ) != recipes.to_json(recipe):
        message = (
            f"{run} holds a run of another recipe (recipe.json differs). Go on with that one by leaving the "
            "settings away, or give a new folder."
        )
        raise CalzooError(message)


def _check_init(run, init):
    """Refuse to go on from other weights than the run began with."""
    path = run / "init.json"
    before = read_json(path) if path.exists() else {}
    if init is None and before and not has_checkpoint(run):
        message = (
            f"{run} began from the weights of {before['name']!r}, but was stopped before its first "
            "checkpoint; give --init again, or a new folder."
        )
        raise CalzooError(message)
    if init is not None and has_checkpoint(run) and before.get("sha256") != sha256(_weights_in(init)):
        message = (
            f"{run} began from {before.get('name', 'random weights')!r}, not from {init.name!r}; leave "
            "--init away to go on with it, or give a new folder."
        )
        raise CalzooError(message)


def _check_fingerprint(run, fingerprint):
    """Refuse to go on with other data than the run began with."""
    path = run / "fingerprint.json"
    before = read_json(path) if path.exists() else fingerprint
    if before != fingerprint:
        names = sorted(n for n in before.keys() | fingerprint.keys() if before.get(n) != fingerprint.get(n))
        message = (
            f"{run}: the data are not those that the run began with ({', '.join(names)} changed, see "
            "fingerprint.json). Give the same folders and version, or start in a new folder."
        )
        raise CalzooError(message)


def _begin(run, recipe, fingerprint, init, seen):
    """Write what the run is, now that nothing can keep it from beginning: a later command goes by it."""
    run.mkdir(parents=True, exist_ok=True)
    if init is not None and not has_checkpoint(run):
        facts = {"name": init.name, "sha256": sha256(_weights_in(init))}
        write_json(run / "init.json", facts | {"sources": seen})
    if not (run / "fingerprint.json").exists():
        write_json(run / "fingerprint.json", fingerprint)
    if not (run / "recipe.json").exists():
        with output_file(run / "recipe.json") as part:
            part.write_text(recipes.to_json(recipe) + "\n", encoding="utf-8")


def _sources_of(init, recipe, role):
    """Return what the weights to begin with have seen that has terms of its own, as far as that is known."""
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


def _network(recipe):
    """Return the network to train: where another than the one that is kept, both have the same variables."""
    return recipe.build_for_training() if hasattr(recipe, "build_for_training") else recipe.build()


def _single_step(model):
    def step(x, y):
        # Of several outputs the sum of their losses comes first.
        return float(np.ravel(model.train_on_batch(x, y))[0])

    return step


@contextmanager
def _averaged(model):
    """Put the running average of the weights in place of the weights."""
    # Under float16 another optimiser, which scales the loss, stands around the one that averages.
    optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    if not optimizer.use_ema:
        yield
        return
    variables = model.trainable_variables
    with restored(variables):
        optimizer.finalize_variable_values(variables)
        # JAX would let the variables share the averages' memory, and prediction gives memory away.
        assign(variables, values_of(variables))
        yield


@contextmanager
def _policy(name):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


@contextmanager
def _nothing():
    yield


@contextmanager
def _stop_signals():
    """Turn SIGTERM and Ctrl-C into an event, where signals can be handled (the main thread)."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {}
    for number in (signal.SIGTERM, signal.SIGINT):
        before[number] = signal.signal(number, lambda *_: stop.set())
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
