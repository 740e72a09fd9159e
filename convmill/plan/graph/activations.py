"""Activation functions, of layers of their own and behind others."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Activation:
    """An activation function, by Keras' name for it; any name, compiled or not.

    ``slope`` is the slope below zero (relu, leaky_relu) or alpha (elu, celu); ``ceiling`` is relu's
    ``max_value``. ``constants`` are further ones in Keras' order: thresholds (of relu where it is
    not zero, of shrinks, of ``threshold`` with its default value), b of squareplus. ``gelu`` is the
    exact one (erf), ``gelu_tanh`` the approximation.
    """

    name: str = "linear"
    slope: float = 0.0
    ceiling: float | None = None
    constants: tuple[float, ...] = ()


LINEAR = Activation()
