"""The Recipe: how a Graph is trained, as data. Losses, optimizers, clipping; no Keras in it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

LossName = Literal[
    "bridged",
    "categorical_crossentropy",
    "categorical_focal_crossentropy",
    "sparse_categorical_crossentropy",
    "binary_crossentropy",
    "binary_focal_crossentropy",
    "mean_squared_error",
    "mean_absolute_error",
    "mean_absolute_percentage_error",
    "mean_squared_logarithmic_error",
    "huber",
    "log_cosh",
    "poisson",
    "kl_divergence",
    "cosine_similarity",
    "hinge",
    "squared_hinge",
    "categorical_hinge",
]
OptimizerName = Literal[
    "sgd",
    "rmsprop",
    "adam",
    "adadelta",
    "adagrad",
    "adamax",
    "nadam",
    "ftrl",
    "lion",
    "schedule_free_adam",
    "bridged",  # Keras' own optimizer moves the weights, by the gradients that it is handed
]
Accuracy = Literal["categorical", "sparse", "binary"]

# Keras clips probabilities to [EPSILON, 1 - EPSILON] before it takes their logarithm.
EPSILON = 1e-7


@dataclass(frozen=True)
class Loss:
    """A loss of each place of an output: of what lies along its last axis. y has the output's
    shape, or holds one class index for each place (sparse).

    ``reduction`` "mean" divides the sum over a batch's places by their number (Keras'
    ``sum_over_batch_size``), "sum" does not. ``epsilon`` is Keras'. ``delta`` is Huber's. The focal
    ones have ``alpha`` (one number, or one a class), ``gamma`` and whether classes are
    ``balanced``. Of a "bridged" loss nothing is known here: it is computed outside, for a whole
    batch, from predictions; its value and its gradient come back.
    """

    name: LossName
    from_logits: bool = False
    label_smoothing: float = 0.0
    reduction: Literal["mean", "sum"] = "mean"
    epsilon: float = EPSILON
    delta: float = 1.0
    alpha: tuple[float, ...] = (0.25,)
    gamma: float = 2.0
    balanced: bool = False

    @property
    def bridged(self) -> bool:
        """Whether the loss is computed outside."""
        return self.name == "bridged"

    @property
    def sparse(self) -> bool:
        """Whether labels are class indices."""
        return self.name == "sparse_categorical_crossentropy"


@dataclass(frozen=True)
class Clip:
    """Gradient clipping, one kind at a time, as Keras does it."""

    kind: Literal["norm", "global_norm", "value"]
    limit: float


@dataclass(frozen=True)
class Average:
    """The moving average of the weights, Keras' ``use_ema``. Behind every ``overwrite`` steps the
    weights become their average; 0 is never."""

    momentum: float
    overwrite: int = 0


@dataclass(frozen=True)
class Leader:
    """What only FTRL ("follow the regularized leader") asks for: the ``power`` of the sum of
    squared gradients by which rates fall, its penalties, and ``beta``, which holds rates down."""

    power: float = -0.5
    l1: float = 0.0
    l2: float = 0.0
    shrinkage: float = 0.0
    beta: float = 0.0


# Slots that are no rule's own: the weights' moving average, and the sum of gradients so far.
AVERAGE, GATHERED = "average", "gradient_accumulator"
# The slots of each rule, in Keras' order; some of them depend on constants.
_SLOTS: dict[OptimizerName, tuple[str, ...]] = {
    "sgd": ("momentum",),
    "rmsprop": ("velocity", "momentum", "average_gradient"),
    "adam": ("momentum", "velocity", "velocity_hat"),
    "adadelta": ("accumulated_grad", "accumulated_delta_var"),
    "adagrad": ("accumulator",),
    "adamax": ("momentum", "norm"),
    "nadam": ("momentum", "velocity"),
    "ftrl": ("accumulator", "linear"),
    "lion": ("momentum",),
    "schedule_free_adam": ("momentum", "velocity"),
    "bridged": (),
}

# What a step is told beside its learning rate: factors that depend on how many there were before.
_FACTORS: dict[OptimizerName, tuple[str, ...]] = {
    "adam": ("corrected",),
    "adamax": ("corrected",),
    "nadam": ("of_momentum", "of_gradient", "of_velocity"),
    "schedule_free_adam": ("warmed", "of_velocity", "share"),
}


@dataclass(frozen=True)
class Optimizer:
    """An update rule and its constants; the learning rate comes with every step.

    ``weight_decay`` is decoupled: ``w -= w * weight_decay * learning_rate`` before the step. AdamW
    is ``adam`` with weight decay. ``rho`` is RMSprop's and Adadelta's, the betas are those of Lion
    and of Adam's relatives; ``warmup`` steps are ScheduleFreeAdamW's. With ``accumulate`` above 1,
    only one batch of so many makes a step, on the mean of their gradients.
    """

    name: OptimizerName
    momentum: float = 0.0
    nesterov: bool = False
    rho: float = 0.9
    centered: bool = False
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-7
    amsgrad: bool = False
    leader: Leader = Leader()
    warmup: float = 0.0
    weight_decay: float = 0.0
    clip: Clip | None = None
    accumulate: int = 1
    average: Average | None = None

    @property
    def bridged(self) -> bool:
        """Whether native code leaves the weights as they are."""
        return self.name == "bridged"

    @property
    def slots(self) -> tuple[str, ...]:
        """Names of the state kept for every trainable parameter, in Keras' order."""
        asked = {
            ("sgd", "momentum"): self.momentum != 0,
            ("rmsprop", "momentum"): self.momentum > 0,
            ("rmsprop", "average_gradient"): self.centered,
            ("adam", "velocity_hat"): self.amsgrad,
        }
        average = (AVERAGE,) if self.average else ()
        gathered = (GATHERED,) if self.accumulate > 1 else ()
        own = (slot for slot in _SLOTS[self.name] if asked.get((self.name, slot), True))
        return (*average, *gathered, *own)

    @property
    def factors(self) -> tuple[str, ...]:
        """Names of the numbers that every batch is told, the learning rate first."""
        gathered = ("moves",) if self.accumulate > 1 else ()
        average = ("lasts", "overwrites") if self.average else ()
        return ("rate", *_FACTORS.get(self.name, ()), *gathered, *average)


@dataclass(frozen=True)
class Goal:
    """What is asked of one output: its loss, what that weighs in the sum over all outputs, and how
    accuracy is counted (or not)."""

    loss: Loss
    accuracy: Accuracy | None = None
    weight: float = 1.0


@dataclass(frozen=True)
class Recipe:
    """What ``compile`` said: a goal for each output, None where nothing is asked of it, and an
    optimizer."""

    goals: tuple[Goal | None, ...]
    optimizer: Optimizer = field(default_factory=lambda: Optimizer("rmsprop"))

    @property
    def asked(self) -> tuple[int, ...]:
        """The numbers of the outputs that have a goal."""
        return tuple(number for number, goal in enumerate(self.goals) if goal is not None)

    @property
    def bridged(self) -> tuple[int, ...]:
        """The numbers of the outputs whose loss is computed outside."""
        return tuple(
            number
            for number, goal in enumerate(self.goals)
            if goal is not None and goal.loss.bridged
        )

    @property
    def loss(self) -> Loss:
        """The loss of the first output that has one."""
        return next(goal.loss for goal in self.goals if goal is not None)

    @property
    def accuracy(self) -> Accuracy | None:
        """The accuracy of that output."""
        return next(goal.accuracy for goal in self.goals if goal is not None)


def one_goal(loss: Loss, optimizer: Optimizer, accuracy: Accuracy | None = None) -> Recipe:
    """The recipe of a net with one output."""
    return Recipe((Goal(loss, accuracy),), optimizer)
