"""Reports as plain numbers and texts, with units in the keys: what ``--json`` prints."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from convmill.design.costs import Cost
from convmill.design.fields import Field
from convmill.inspection.rows import Row

# Names for programs of the figures of a Cost.
SUMS = {
    "parameters": "parameters",
    "trainable_parameters": "trainable",
    "forward_multiply_adds": "forward",
    "training_multiply_adds": "sparse_training",
    "dense_training_multiply_adds": "training",
    "forward_other_operations": "forward_operations",
    "training_other_operations": "sparse_training_operations",
    "dense_training_other_operations": "training_operations",
    "output_bytes": "output_bytes",
    "kept_bytes": "kept_bytes",
}


def sums_dict(
    cost: Cost, known: Callable[[str], bool] = lambda figure: True
) -> dict[str, int | None]:
    """The figures of a Cost by name, None for those that are not known."""
    return {key: getattr(cost, figure) if known(figure) else None for key, figure in SUMS.items()}


def layer_dict(row: Row) -> dict[str, Any]:
    """One layer. Costs are those of one image."""
    return {
        "name": row.name,
        "layer": row.step.layer,
        "kind": row.step.kind,
        "inputs": list(row.step.inputs),
        "output_shape": list(row.step.shape),
        "multiply_adds_known": row.step.counted,
        **sums_dict(row.cost, row.knows),
        "border_lost_places": list(row.cost.border),
        "unread_places": list(row.cost.dropped),
        "fields": _fields(row.fields),
        "local_fields": _fields(row.local_fields),
        "paths": [{"from": path.source, "fields": _fields(path.fields)} for path in row.paths],
        "step_seconds": row.step_seconds,
    }


def map_dict(row: Row) -> dict[str, Any]:
    """A last feature map; local fields leave out gates from global pooling."""
    return {
        "layer": row.name,
        "coefficients": math.prod(row.step.shape),
        "fields": _fields(row.fields),
        "local_fields": _fields(row.local_fields),
    }


def _fields(fields: Mapping[str, Field]) -> dict[str, Any]:
    """By input; pairs are of rows and columns."""
    return {name: _field(field) for name, field in fields.items()}


def _field(field: Field) -> dict[str, Any] | None:
    if not field.known:
        return None
    axes = (field.rows, field.columns)
    return {
        "size_pixels": [axis.size for axis in axes],
        "jump_pixels": [axis.jump for axis in axes],
        "start_pixel": [axis.start for axis in axes],
        "share_of_input": field.share,
    }
