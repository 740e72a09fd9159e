"""Several tensors into one: sums and their like, and concatenation."""

from __future__ import annotations

import math
from collections.abc import Callable

import keras
import numpy as np
from keras import layers
from numpy.typing import NDArray

from convmill.plan.calls import Call
from convmill.plan.graph.activations import Activation
from convmill.plan.graph.operations import (
    Activate,
    Concatenate,
    Merge,
    MergeKind,
    Opaque,
    Operation,
)
from convmill.plan.operations.layout import from_last
from convmill.plan.operations.normalization import affine
from convmill.plan.operations.parameters import Parameters

_KINDS: dict[type, MergeKind] = {
    layers.Add: "add",
    layers.Subtract: "subtract",
    layers.Multiply: "multiply",
    layers.Average: "average",
    layers.Maximum: "maximum",
    layers.Minimum: "minimum",
}
# Operations that Keras makes of ``x + y`` and its like; they have classes, and no public ones.
_OPERATIONS: dict[str, MergeKind] = {
    "Add": "add",
    "Subtract": "subtract",
    "Multiply": "multiply",
    "Divide": "divide",
    "TrueDivide": "divide",
    "Maximum": "maximum",
    "Minimum": "minimum",
}


def _merge(kind: MergeKind) -> Callable[[Call, Parameters], Operation]:
    return lambda call, parameters: Merge(kind)


def _arithmetic(call: Call, parameters: Parameters) -> Operation:
    """``x + y`` and its like, of two tensors, or of one and numbers."""
    kind = _OPERATIONS[type(call.layer).__name__]
    if len(call.sources) > 1:
        fits = all(len(shape) <= len(call.shape) for shape in call.read)
        return Merge(kind) if fits else Opaque("merge", math.prod(call.shape))
    numbers = [one for one in call.operands if not isinstance(one, str)]
    if len(numbers) != 1 or len(call.operands) != 2:
        return Opaque("merge", math.prod(call.shape))
    try:
        number = np.asarray(keras.ops.convert_to_numpy(numbers[0]), np.float64)
    except (TypeError, ValueError):
        return Opaque("merge", math.prod(call.shape))
    return _with_numbers(call, kind, number, behind=isinstance(call.operands[0], str))


def _with_numbers(
    call: Call, kind: MergeKind, number: NDArray[np.float64], *, behind: bool
) -> Operation:
    """``x + number`` and its like, or ``number - x`` where the number does not stand ``behind``."""
    zero, one = np.zeros(()), np.ones(())
    match kind, behind:
        case "add", _:
            return affine(call, zero, one, number)
        case "subtract", True:
            return affine(call, number, one, zero)
        case "subtract", False:
            return affine(call, zero, -one, number)
        case "multiply", _:
            return affine(call, zero, number, zero)
        case "divide", True if np.all(number != 0):
            return affine(call, zero, 1 / number, zero)
    return Opaque("merge", math.prod(call.shape))


_POWERS = {2.0: "square", 0.5: "sqrt", -0.5: "rsqrt", -1.0: "reciprocal", 1.0: "linear"}


def _power(call: Call, parameters: Parameters) -> Operation:
    """A tensor to the power of a number."""
    exponent = call.operands[-1]
    is_number = len(call.sources) == 1 and isinstance(exponent, float)
    name = _POWERS.get(exponent) if is_number else None
    if name is None:
        return Opaque("activation", math.prod(call.shape))
    return Activate(Activation(name))


def _concatenate(call: Call, parameters: Parameters) -> Operation:
    axes = from_last(call.layer.axis, len(call.shape))
    return Opaque("merge", 0) if axes is None else Concatenate(axes[0])


TABLE = {
    **{known: _merge(kind) for known, kind in _KINDS.items()},
    layers.Concatenate: _concatenate,
}
OPERATIONS = {
    **dict.fromkeys(_OPERATIONS, _arithmetic),
    "Power": _power,
    "Concatenate": _concatenate,
}
