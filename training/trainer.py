"""The training loop: the same weights whether a run was killed and resumed or not."""

import math
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import keras
import numpy as np

from calzoo.errors import CalzooError
from calzoo.training.backend import make_deterministic
from calzoo.training.beginnings import begin, check_fingerprint, check_first_weights, check_recipe
from calzoo.training.checkpoints import has_checkpoint, load_checkpoint, save_checkpoint
from calzoo.training.distribute import replicated_step, shared_loss
from calzoo.training.first_weights import first_weights
from calzoo.training.frozen import has_frozen_norm, with_frozen_norm
from calzoo.training.ledger import Ledger
from calzoo.training.pictures import draw_curves, draw_preview, write_history
from calzoo.training.precision import FULL, computed_in, policy
from calzoo.training.progress import steps_bar
from calzoo.training.runs import SCORES, WEIGHTS
from calzoo.training.stopping import stop_signals
from calzoo.training.tensorboard import scalar_writer
from calzoo.training.variables import as_averaged, as_saved, assign, save_weights

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
        Written to the ledger only; see `calzoo.training.backend.limit_threads`.
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
    run, schedule = Path(run), recipe.schedule
    check_recipe(run, recipe)
    weights = None if init is None else first_weights(init, recipe)
    check_first_weights(run, weights)
    if schedule.deterministic:
        make_deterministic(recipe.seed)
    else:
        keras.utils.set_random_seed(recipe.seed)
    data = recipe.data(folders)
    try:
        fingerprint = data.fingerprint()
        check_fingerprint(run, fingerprint)
        with policy(schedule.precision), strategy.scope() if strategy else nullcontext():
            loop = _Loop(recipe, run, data, weights, strategy, quiet)
            begin(run, recipe, fingerprint, weights)
            with Ledger(run, recipe, threads=threads) as ledger, stop_signals() as stop:
                loop.go(stop, ledger)
        return loop.progress
    finally:
        data.close()


class _Loop:
    """One session of a run: from the last checkpoint to the end or to a signal."""

    def __init__(self, recipe, run, data, weights, strategy, quiet):
        self.recipe, self.schedule, self.run = recipe, recipe.schedule, run
        self.data, self.strategy, self.quiet = data, strategy, quiet
        self._take(self._compiled(_network(recipe)))
        if weights is not None and not has_checkpoint(run):
            weights.load(self.model)
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
            assign(new.variables, old.variables)
        self._take(frozen)

    def go(self, stop, ledger):
        self.write_scalars = scalar_writer(self.run / "tensorboard")
        total = self.schedule.epochs * self.schedule.steps
        bar = steps_bar(total=total, done=self.progress.step, quiet=self.quiet)
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
        with computed_in(self.schedule.precision, self.run):
            loss = self.step(x, y)
        if not math.isfinite(loss):
            message = f"{self.run}: the loss of step {self.progress.step} is {loss}; {self._remedy()}"
            raise CalzooError(message)
        return loss

    def _check_finite(self):
        """Refuse weights that the last step has spoilt, whose own loss was a number still."""
        spoilt = [v.path for v in self.model.weights if not np.isfinite(keras.ops.convert_to_numpy(v)).all()]
        if spoilt:
            message = (
                f"{self.run}: step {self.progress.step} made {len(spoilt)} variables NaN or infinite "
                f"({spoilt[0]} ...); {self._remedy()}"
            )
            raise CalzooError(message)

    def _remedy(self):
        """Return what to do about numbers that are not finite."""
        half = "" if self.schedule.precision == FULL else f"set schedule.precision={FULL} or "
        rate = self.schedule.learning_rate
        return f"{half}lower the learning rate (now {rate}) and start again in another folder."

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
        with as_averaged(self.model), as_saved(self.model):
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


def _network(recipe):
    """Return the network to train: where another than the one that is kept, both have the same variables."""
    return recipe.build_for_training() if hasattr(recipe, "build_for_training") else recipe.build()


def _single_step(model):
    def step(x, y):
        # Of several outputs the sum of their losses comes first.
        return float(np.ravel(model.train_on_batch(x, y))[0])

    return step
