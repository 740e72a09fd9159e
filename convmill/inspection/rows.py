"""One layer of an inspection."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from convmill.design.costs import Cost
from convmill.design.fields import Field
from convmill.design.steps import Step

# Figures of a cost that are known whatever a layer computes.
KNOWN_OF_ANY_LAYER = ("parameters", "trainable", "output_bytes")


@dataclass(frozen=True)
class Path:
    """One of the branches that come together in a layer: its last layer, and what it sees of each
    input of the model."""

    source: str
    fields: Mapping[str, Field]


@dataclass(frozen=True)
class Row:
    """One layer: what it computes, what it costs for one image, and what its units see.

    ``fields`` is by input of the model, and so are ``local_fields``, along the paths that keep
    places (without gates from global pooling); ``paths`` is for layers that read several others.
    ``step_seconds`` is the predicted time in one step of training, None where there is none.
    """

    step: Step
    cost: Cost
    fields: Mapping[str, Field]
    paths: tuple[Path, ...] = ()
    step_seconds: float | None = None
    local_fields: Mapping[str, Field] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Name of the layer."""
        return self.step.name

    def knows(self, figure: str) -> bool:
        """Whether a figure of ``cost`` is known."""
        return self.cost.counted or figure in KNOWN_OF_ANY_LAYER
