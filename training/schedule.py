"""How long, how fast and with which optimiser a recipe trains."""

import math
from dataclasses import dataclass

import keras

from calzoo.errors import CalzooError
from calzoo.training.precision import FULL, PRECISIONS


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """The part of a recipe that is the same for every task.

    Attributes
    ----------
    epochs, steps : int
        Epochs, and steps (batches) in each: after each epoch the run is saved.
    batch : int
        Samples in a batch.
    learning_rate : float
        The largest one: reached after `warmup` steps, then falling along a cosine to
        `last_rate` times itself.
    warmup : int
        Steps in which the learning rate rises.
    last_rate : float
        Share of the learning rate that is left at the end.
    weight_decay, clip_norm : float
        Of AdamW; the norm of all gradients together is cut at `clip_norm`.
    average : float
        Momentum of the running average of the weights, which is what is scored and
        kept; 0 keeps the last weights themselves.
    score_every : int
        Epochs between scores on the validation data; the last epoch is always scored.
    frozen_norm : float
        Share of the epochs, at the end, in which batch normalisation uses its running
        averages; see `calzoo.training.frozen`.
    precision : str
        "float32", "mixed_float16" or "mixed_bfloat16": half precision needs a GPU.
    deterministic : bool
        Repeatable kernels: slower on GPUs, needed for bit-equal resumption.
    """

    epochs: int = 60
    steps: int = 50
    batch: int = 2
    learning_rate: float = 2e-3
    warmup: int = 100
    last_rate: float = 0.01
    weight_decay: float = 1e-4
    clip_norm: float = 1.0
    average: float = 0.99
    score_every: int = 2
    frozen_norm: float = 0.5
    precision: str = FULL
    deterministic: bool = True

    def __post_init__(self):
        for name in ("epochs", "steps", "batch", "score_every"):
            if getattr(self, name) < 1:
                message = f"schedule: {name} must be at least 1, got {getattr(self, name)}."
                raise CalzooError(message)
        if not 0 <= self.average < 1:
            message = f"schedule: average must be from 0 to below 1, got {self.average}."
            raise CalzooError(message)
        if self.precision not in PRECISIONS:
            message = f"schedule: precision must be one of {', '.join(PRECISIONS)}, got {self.precision!r}."
            raise CalzooError(message)

    @property
    def frozen_from(self):
        """The first epoch, counted from 0, in which batch normalisation is frozen."""
        return self.epochs - round(self.frozen_norm * self.epochs)

    def rate(self, step):
        """Return the learning rate of step `step`, counted from 0.

        Examples
        --------
        >>> schedule = Schedule(epochs=1, steps=100, warmup=10, learning_rate=1.0, last_rate=0.0)
        >>> schedule.rate(4), schedule.rate(10), round(schedule.rate(55), 3)
        (0.5, 1.0, 0.5)
        """
        if step < self.warmup:
            return self.learning_rate * (step + 1) / self.warmup
        past = (step - self.warmup) / max(self.epochs * self.steps - self.warmup, 1)
        fall = 0.5 * (1 + math.cos(math.pi * min(past, 1.0)))
        return self.learning_rate * (self.last_rate + (1 - self.last_rate) * fall)

    def optimizer(self, replicas=1):
        """Build the optimiser.

        Parameters
        ----------
        replicas : int, optional
            Devices that share a batch.

        Returns
        -------
        keras.optimizers.AdamW
        """
        return keras.optimizers.AdamW(
            self.learning_rate,
            weight_decay=self.weight_decay,
            # Each device cuts its own part, and the parts are summed.
            global_clipnorm=self.clip_norm / replicas,
            use_ema=self.average > 0,
            ema_momentum=self.average or 0.99,
            name="optimizer",  # its variables are saved by path: no number may be added to it
        )


def check_sides(recipe, tile, divisor):
    """Refuse training tiles that a network cannot take.

    Parameters
    ----------
    recipe : dataclass
    tile, divisor : tuple of int
        Sides of a tile, and what each must be a multiple of.

    Raises
    ------
    CalzooError
        If one is not.
    """
    if any(side < 1 or side % by for side, by in zip(tile, divisor, strict=True)):
        sides = ", ".join(map(str, divisor))
        message = f"recipe {recipe.name!r}: sides of a tile must be multiples of {sides}, got {tile}."
        raise CalzooError(message)
