"""Which gradients a stage must compute, and where they go: pure data, before anything is chosen.

    differentiate  [frozen conv] -> [conv] -> [relu] -> [dense]  =>  nothing; weights; input; both
    number_uses    [conv] -> [a], [b]                            =>  gradients of uses 1 and 2

The gradient of a stage's weights is wanted where one of them is trained, that of an input where a
stage that it comes from is trained; both only where a loss looks at what the stage writes, or is
what it computes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Sequence
from dataclasses import replace

from convmill.lower.network import Gradients
from convmill.lower.stages import PlainStage, Stage
from convmill.lower.tensors import Tensor
from convmill.plan.graph.operations import AddedLoss
from convmill.plan.graph.parameters import Parameter


def differentiate(
    stages: Sequence[Stage], parameters: Sequence[Parameter], measured: Container[int]
) -> list[Gradients]:
    """The gradients of each stage that training wants; ``measured`` are the buffers that losses
    look at."""
    trained: dict[int, bool] = {}  # by buffer: whether weights that it depends on are trained
    wanted = []
    for stage in stages:
        behind = tuple(trained.get(tensor.buffer, False) for tensor in stage.inputs)
        own = any(parameters[index].trainable for index in stage.parameters)
        trained[stage.output.buffer] = any(behind) or own
        wanted.append(Gradients(behind, own))
    seen: set[int] = set()  # buffers that have a gradient
    for number in reversed(range(len(stages))):
        stage = stages[number]
        adds = isinstance(stage, PlainStage) and isinstance(stage.operation, AddedLoss)
        if adds or stage.output.buffer in seen or stage.output.buffer in measured:
            pairs = zip(stage.inputs, wanted[number].inputs, strict=True)
            seen |= {tensor.buffer for tensor, is_wanted in pairs if is_wanted}
        else:
            wanted[number] = Gradients(tuple(False for _ in stage.inputs))
    return wanted


def number_uses(
    stages: Sequence[Stage], wanted: Sequence[Gradients], measured: Sequence[Tensor]
) -> tuple[list[Stage], tuple[Tensor, ...]]:
    """Stages and ``measured`` tensors with the ``use`` of all that leave a gradient; those of a
    buffer that has but one such reader stay at 0."""
    readers = Counter(tensor.buffer for tensor in measured)
    for stage, gradients in zip(stages, wanted, strict=True):
        pairs = zip(stage.inputs, gradients.inputs, strict=True)
        readers.update(tensor.buffer for tensor, is_wanted in pairs if is_wanted)
    used: Counter[int] = Counter()

    def next_use(tensor: Tensor) -> Tensor:
        if readers[tensor.buffer] < 2:
            return tensor
        used[tensor.buffer] += 1
        return replace(tensor, use=used[tensor.buffer])

    numbered: list[Stage] = []
    for stage, gradients in zip(stages, wanted, strict=True):
        read = tuple(
            next_use(tensor) if is_wanted else tensor
            for tensor, is_wanted in zip(stage.inputs, gradients.inputs, strict=True)
        )
        if isinstance(stage, PlainStage):
            numbered.append(replace(stage, inputs=read))
        else:
            numbered.append(replace(stage, input=read[0]))
    return numbered, tuple(next_use(tensor) for tensor in measured)
