"""Reports as plain numbers and texts, with units in the keys: what ``--json`` prints."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from convmill.plan.costs import Cost
from convmill.plan.fields import Field

if TYPE_CHECKING:
    from convmill.inspection.compare import Comparison
    from convmill.inspection.report import Inspection, Row


def inspection_dict(inspection: Inspection) -> dict[str, Any]:
    """An Inspection. Costs are those of one image."""
    end = inspection.dead_end
    return {
        "name": inspection.name,
        "inputs": {name: list(shape) for name, shape in inspection.inputs.items()},
        "training_images": inspection.images,
        "batch_size": inspection.batch_size,
        "step_seconds": inspection.step_seconds,
        "not_compiled": inspection.not_compiled or None,
        # None where it is not known of the whole model, and the least that it can be
        "totals": _sums(inspection.total, inspection.knows),
        "totals_at_least": _sums(inspection.total),
        "uncounted_layers": list(inspection.uncounted),
        "last_feature_maps": [_map(row) for row in inspection.last_maps],
        "layers": [_layer(row) for row in inspection.rows],
        "dead_end": None if end is None else asdict(end),
        "findings": [asdict(finding) for finding in inspection.findings],
    }


def comparison_dict(comparison: Comparison) -> dict[str, Any]:
    """A Comparison; ratios are B to A, None where A has nothing, or one is not known."""
    return {
        "a": inspection_dict(comparison.a),
        "b": inspection_dict(comparison.b),
        "aligned_layers": [
            [row.name if row else None for row in pair] for pair in comparison.aligned
        ],
        "ratios": comparison.ratios,
    }


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


def _sums(cost: Cost, known: Callable[[str], bool] = lambda figure: True) -> dict[str, int | None]:
    """The figures of a Cost by name, None for those that are not known."""
    return {key: getattr(cost, figure) if known(figure) else None for key, figure in SUMS.items()}


def _layer(row: Row) -> dict[str, Any]:
    return {
        "name": row.name,
        "layer": row.step.layer,
        "kind": row.step.kind,
        "inputs": list(row.step.inputs),
        "output_shape": list(row.step.shape),
        "multiply_adds_known": row.step.counted,
        **_sums(row.cost, row.knows),
        "border_lost_places": list(row.cost.border),
        "unread_places": list(row.cost.dropped),
        "fields": _fields(row.fields),
        "local_fields": _fields(row.local_fields),
        "paths": [{"from": path.source, "fields": _fields(path.fields)} for path in row.paths],
        "step_seconds": row.step_seconds,
    }


def _map(row: Row) -> dict[str, Any]:
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
