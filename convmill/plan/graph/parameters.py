"""Parameters of a Graph: weights, and what training adds to the loss or asks of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from convmill.plan.graph.shapes import Shape

Role = Literal["weight", "statistic", "constant"]


@dataclass(frozen=True)
class Regularizer:
    """Adds ``l1 * sum(|w|) + l2 * sum(w**2)`` to the loss, as Keras' L1, L2 and L1L2 do."""

    l1: float = 0.0
    l2: float = 0.0


@dataclass(frozen=True)
class NonNegative:
    """Behind each step weights below zero become zero, as Keras' NonNeg says."""


@dataclass(frozen=True)
class NormRange:
    """Behind each step weights are scaled, so that their norms along ``axes`` become
    ``rate * norm within [least, most] + (1 - rate) * norm``: Keras' MaxNorm, UnitNorm, MinMaxNorm.
    ``epsilon``, Keras', is added to what is divided by.
    """

    axes: tuple[int, ...]  # of Keras' layout
    least: float
    most: float
    rate: float = 1.0
    epsilon: float = 1e-7


Constraint = NonNegative | NormRange


@dataclass(frozen=True)
class Parameter:
    """One weight of the model, in Keras' layout (convolution kernels height, width, in, out).

    A "statistic" is written by the forward pass of training, and by no gradient; a "constant" is
    an array that an operation of Keras computes with, and none of the model's weights.
    """

    name: str
    shape: Shape
    trainable: bool = True
    regularizer: Regularizer | None = None
    decays: bool = True  # False where the optimizer's exclude_from_weight_decay names it
    role: Role = "weight"
    constraint: Constraint | None = None
