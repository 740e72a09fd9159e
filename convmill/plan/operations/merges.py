"""Several tensors into one: sums and their like, and concatenation."""

from __future__ import annotations

from collections.abc import Callable

from keras import layers

from convmill.plan.graph import Concatenate, Merge, MergeKind, Opaque, Operation
from convmill.plan.operations.layout import from_last
from convmill.plan.operations.parameters import Parameters
from convmill.plan.walk import Call

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


def _concatenate(call: Call, parameters: Parameters) -> Operation:
    axes = from_last(call.layer.axis, len(call.shape))
    return Opaque("merge", 0) if axes is None else Concatenate(axes[0])


TABLE = {
    **{known: _merge(kind) for known, kind in _KINDS.items()},
    layers.Concatenate: _concatenate,
}
OPERATIONS = {
    **{name: _merge(kind) for name, kind in _OPERATIONS.items()},
    "Concatenate": _concatenate,
}
