"""The table: which function reads which class."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from typing import Any

import keras
import numpy as np

from convmill.plan.calls import CONSTANT, Call, Penalty
from convmill.plan.drawn import Drawn
from convmill.plan.graph.operations import Opaque, Operation, Weight
from convmill.plan.graph.parameters import Role
from convmill.plan.graph.random import Draw
from convmill.plan.operations import (
    activations,
    convolutions,
    crops,
    dense,
    merges,
    noise,
    normalization,
    pooling,
    shapes,
)
from convmill.plan.operations.parameters import Parameters
from convmill.plan.written import class_of, is_keras_class

Reader = Callable[[Call, Parameters], Operation]

LAYERS: dict[type, Reader] = {
    **shapes.TABLE,
    **crops.TABLE,
    **normalization.TABLE,
    **convolutions.TABLE,
    **pooling.TABLE,
    **dense.TABLE,
    **noise.TABLE,
    **activations.TABLE,
    **merges.TABLE,
}
# Operations of Keras, such as ``x + y``, have classes without public names.
OPERATIONS: dict[str, Reader] = {
    **activations.OPERATIONS,
    **pooling.OPERATIONS,
    **shapes.OPERATIONS,
    **merges.OPERATIONS,
    **dense.OPERATIONS,
}


def operation_of(call: Call, parameters: Parameters) -> Operation:
    """What a call computes; Opaque for a layer that nobody knows."""
    if isinstance(call.layer, keras.Variable):
        role: Role = "constant" if call.layer.name == CONSTANT else "weight"
        return Weight(parameters.index(call.layer, role))
    if isinstance(call.layer, Penalty):
        return call.layer.operation
    if isinstance(call.layer, Drawn):
        one = call.layer
        return Draw(one.kind, one.first, one.second, parameters.dropout(one.generator))
    reader = _reader(call.layer)
    operation: Operation = _plain(reader(call, parameters)) if reader else Opaque()
    return operation


def _plain(value: Any) -> Any:
    """With Python's numbers in the place of NumPy's, which Keras takes in tuples."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, tuple):
        return tuple(map(_plain, value))
    if is_dataclass(value) and not isinstance(value, type):
        parts = {one.name: _plain(getattr(value, one.name)) for one in fields(value)}
        return replace(value, **parts)
    return value


def _reader(layer: object) -> Reader | None:
    name = type(layer).__name__
    if not isinstance(layer, keras.Layer):
        return OPERATIONS.get(name) if is_keras_class(type(layer)) else None
    known = class_of(layer, LAYERS)
    if known is not None:
        return LAYERS[known]
    return normalization.SCALES.get(name) if is_keras_class(type(layer)) else None
