"""The Recipe: how a Graph is trained, as data. Losses, optimizers, clipping; no Keras in it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

LossName = Literal[
    "categorical_crossentropy",
    "sparse_categorical_crossentropy",
    "binary_crossentropy",
    "mean_squared_error",
    "mean_absolute_error",
]
OptimizerName = Literal["sgd", "rmsprop", "adam"]
Accuracy = Literal["categorical", "sparse", "binary"]

# Keras clips probabilities to [EPSILON, 1 - EPSILON] before it takes their logarithm.
EPSILON = 1e-7


@dataclass(frozen=True)
class Loss:
    """A loss of each place of an output: of what lies along its last axis. y has the output's
    shape, or holds one class index for each place (sparse).

    ``reduction`` "mean" divides the sum over a batch's places by their number (Keras'
    ``sum_over_batch_size``), "sum" does not.
    """

    name: LossName
    from_logits: bool = False
    label_smoothing: float = 0.0
    reduction: Literal["mean", "sum"] = "mean"
    epsilon: float = EPSILON

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
class Optimizer:
    """An update rule and its constants; the learning rate comes with every step.

    ``weight_decay`` is decoupled: ``w -= w * weight_decay * learning_rate`` before the step.
    AdamW is ``adam`` with weight decay. ``rho`` is RMSprop's; ``beta_1`` and ``beta_2`` Adam's.
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
    weight_decay: float = 0.0
    clip: Clip | None = None

    @property
    def slots(self) -> tuple[str, ...]:
        """Names of the state kept for every trainable parameter, in Keras' order."""
        if self.name == "sgd":
            return ("momentum",) if self.momentum else ()
        if self.name == "rmsprop":
            extra = ("momentum",) if self.momentum > 0 else ()
            average = ("average_gradient",) if self.centered else ()
            return ("velocity", *extra, *average)
        return ("momentum", "velocity", *(("velocity_hat",) if self.amsgrad else ()))


@dataclass(frozen=True)
class Recipe:
    """What ``compile`` said: a loss, an optimizer, and how accuracy is counted (or not)."""

    loss: Loss
    optimizer: Optimizer = field(default_factory=lambda: Optimizer("rmsprop"))
    accuracy: Accuracy | None = None
