"""Where a net keeps places apart, and where they come together: its last feature maps."""

from __future__ import annotations

import math
from typing import Literal

from convmill.design.steps import Design, Step
from convmill.plan.graph.shapes import Shape
from convmill.plan.reads import Flat, Same, Unknown, Whole

# What brings the places of a map together: weights for each place (a dense layer, or a convolution
# as large as the map), their mean, their maximum; or a layer that we do not know.
Joint = Literal["weights", "average", "max", "unknown"]


def places(shape: Shape) -> int:
    """Rows times columns of a map; a vector is one place."""
    return math.prod(shape[:2]) if len(shape) == 3 else 1


def last_maps(design: Design) -> tuple[Step, ...]:
    """The last feature map of each tower: steps that compute a map from places of another one, and
    behind which no other such step lies.

    What is left of a map when all of its places have come together is no feature map, however that
    is spelled: global pooling that keeps two axes of one place, a window as large as the map, and
    1x1 convolutions behind them. Steps that work on each value alone belong to the map before them.
    """
    found: list[Step] = []
    behind: set[str] = set()  # steps with a feature map behind them
    for step in reversed(design.steps):
        if _computes_map(step):
            if step.name not in behind:
                found.append(step)
            behind.add(step.name)
        if step.name in behind:
            behind |= set(step.inputs)
    return tuple(reversed(found))


def _computes_map(step: Step) -> bool:
    alone = step.is_elementwise or step.kind == "input" or isinstance(step.reads, Whole)
    return step.is_map and places(step.shape) > 1 and not alone


def joints(design: Design, step: Step) -> set[Joint]:
    """What brings the places of a last feature map together; nothing where the model hands it out.

    A map, or a vector, that the model hands out has its head still to come.
    """
    found: set[Joint] = set()
    for reader in design.readers(step.name):
        if isinstance(reader.reads, Unknown):
            found.add("unknown")
        elif isinstance(reader.reads, Flat):
            found |= joints(design, reader) or {"weights"}
        elif reader.is_elementwise or isinstance(reader.reads, Same):
            found |= joints(design, reader)
        else:
            found.add(reader.pool or "weights")
    return found
