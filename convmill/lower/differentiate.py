"""Which gradients a stage must compute: pure data, before anything is chosen.

    [frozen conv] -> [conv] -> [relu] -> [dense]
    =>  nothing;      weights;  input;    input and weights

The gradient of a stage's weights is wanted where one of them is trained, that of its input where a
stage that the input comes from is trained.
"""

from __future__ import annotations

from collections.abc import Sequence

from convmill.lower.stages import Gradients, Stage
from convmill.plan.graph import Parameter


def differentiate(stages: Sequence[Stage], parameters: Sequence[Parameter]) -> list[Gradients]:
    """The gradients of each stage that training wants."""
    trained: dict[int, bool] = {}  # by buffer: whether weights that it depends on are trained
    wanted = []
    for stage in stages:
        behind = any(trained.get(tensor.buffer, False) for tensor in stage.inputs)
        own = any(parameters[index].trainable for index in stage.parameters)
        trained[stage.output.buffer] = behind or own
        wanted.append(Gradients(behind, own))
    return wanted
