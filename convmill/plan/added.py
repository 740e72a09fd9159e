"""What a layer adds to the loss, by ``add_loss``: tensors of which the sum over all their values is
taken, and over a batch's images the mean or the sum."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import keras
import numpy as np

Over = Literal["mean", "sum"]


class Unadded(Exception):
    """A loss of another form, and why."""


@dataclass(frozen=True)
class Term:
    """``factor`` times the sum of a tensor's values, ``over`` the images of a batch."""

    symbol: Any
    factor: float
    over: Over


def terms_of(loss: Any) -> Iterator[Term]:
    """The terms of a loss that was given to ``add_loss``, made of symbols; Keras takes the sum of
    all its values. Raises Unadded."""
    if not isinstance(loss, keras.KerasTensor):
        raise Unadded("that is not computed from its input")
    yield from _terms(loss, 1.0)


def _terms(symbol: Any, factor: float) -> Iterator[Term]:
    if _has_batch(symbol):
        yield _of_images(symbol, factor, "sum")
        return
    kind, operands, axes = _producer(symbol)
    first, *rest = operands or (None,)
    if kind in ("Sum", "Mean") and _has_batch(first):
        inner = factor / _count(first, axes) if kind == "Mean" else factor
        yield _of_images(first, inner, "mean" if kind == "Mean" else "sum")
    elif kind in ("Add", "Subtract") and all(_is_alike(each, symbol) for each in operands):
        yield from _terms(first, factor)
        yield from _terms(rest[0], factor if kind == "Add" else -factor)
    else:
        scaled = _scaled(symbol, factor)
        if scaled is None:
            raise Unadded("that is no sum or mean over images")
        yield from _terms(*scaled)


def _of_images(symbol: Any, factor: float, over: Over) -> Term:
    """The term of values that all have the same ``factor``, before what only scales them."""
    scaled = _scaled(symbol, factor)
    while scaled is not None and _has_batch(scaled[0]):
        symbol, factor = scaled
        scaled = _scaled(symbol, factor)
    return Term(symbol, factor, over)


def _scaled(symbol: Any, factor: float) -> tuple[Any, float] | None:
    """What a symbol is the sum of, or a multiple, and the factor of its values; None otherwise."""
    kind, operands, axes = _producer(symbol)
    first, *rest = operands or (None,)
    number = _number(rest[0]) if rest else None
    match kind:
        case "Sum":
            return first, factor
        case "Mean":
            return first, factor / _count(first, axes)
        case "Negative":
            return first, -factor
        case "Multiply" if number is not None:
            return first, factor * number
        case "Multiply" if rest and _number(first) is not None:
            return rest[0], factor * float(_number(first) or 0.0)
        case "Divide" | "TrueDivide" if number:
            return first, factor / number
    return None


def _producer(symbol: Any) -> tuple[str, tuple[Any, ...], tuple[int, ...]]:
    """The kind of the operation that made a symbol, what that was called with, and its axes."""
    history = getattr(symbol, "_keras_history", None)
    if history is None or isinstance(history.operation, keras.Layer | None):
        return "", (), ()
    operation = history.operation
    arguments = operation._inbound_nodes[history.node_index].arguments
    operands = (*arguments.args, *arguments.kwargs.values())
    axes = getattr(operation, "axis", None)
    rank = len(operands[0].shape) if operands and hasattr(operands[0], "shape") else 0
    listed = range(rank) if axes is None else np.atleast_1d(axes).tolist()
    return type(operation).__name__, operands, tuple(axis % rank for axis in listed if rank)


def _count(symbol: Any, axes: tuple[int, ...]) -> int:
    """Values of one image along axes; the batch counts none."""
    return math.prod(symbol.shape[axis] or 1 for axis in axes)


def _has_batch(value: Any) -> bool:
    return isinstance(value, keras.KerasTensor) and bool(value.shape) and value.shape[0] is None


def _is_alike(value: Any, symbol: Any) -> bool:
    return isinstance(value, keras.KerasTensor) and value.shape == symbol.shape


def _number(value: Any) -> float | None:
    is_number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    return float(value) if is_number else None
