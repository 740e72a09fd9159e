"""What a net costs before it is trained: parameters, multiply-adds, bytes, borders."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from convmill.design.sparsity import DENSE, Sparsity, sparsity
from convmill.design.steps import Design, Step
from convmill.lower.choices import ConvolutionChoice, Narrow
from convmill.lower.machine import Machine
from convmill.lower.network import Gradients
from convmill.lower.passes import Lowered, lower_stages
from convmill.lower.stages import ConvolutionStage, Stage, WeightedStage
from convmill.plan.facts import multiply_adds
from convmill.plan.graph.operations import Separable
from convmill.plan.reads import Windows

FLOAT_BYTES = 4
# The window's largest value is remembered by its place: one byte where the pooling is fused with
# the convolution before it, four where it stands alone.
FUSED_ARGMAX_BYTES, ARGMAX_BYTES = 1, 4


@dataclass(frozen=True)
class Cost:
    """What one step costs for one image.

    ``forward`` counts multiply-adds with the values of a kernel, as the literature does.
    ``training`` is forward, plus as much for the gradient of what the step reads (where a layer
    before it is trained), plus as much for the gradient of its weights (where they are trained).
    ``sparse_training`` leaves out the zeros that max pooling brings, as the compiler does
    (``sparsity.py``): a convolution whose map only a max pooling reads has at most one gradient a
    window, and where the two are fused, places that no window reads are not computed. A first layer
    of few taps computes the gradient of its weights over all places. What relu turns off comes on
    top and is known in training only. The three of ``operations`` are the same of everything else:
    each comparison, addition, activation or scaled value is one, and one for its gradient.

    ``output_bytes`` is the output as float32; ``kept_bytes`` what of it stays for the backward
    pass: nothing of a convolution with max pooling fused behind it, one byte a window for the
    pooling.

    ``border`` counts rows and columns that the map loses at its borders, compared with "same"
    padding; ``dropped`` rows and columns of what the step reads that no window reaches at the end.
    ``thinned`` is what max pooling leaves of its places, ``choice`` how the compiler computes a
    convolution. ``counted`` is False where arithmetic, and
    what is kept, are not known, or not of all steps in a sum, which then is the least there is.
    """

    parameters: int = 0
    trainable: int = 0
    forward: int = 0
    training: int = 0
    sparse_training: int = 0
    forward_operations: int = 0
    training_operations: int = 0
    sparse_training_operations: int = 0
    output_bytes: int = 0
    kept_bytes: int = 0
    border: tuple[int, int] = (0, 0)
    dropped: tuple[int, int] = (0, 0)
    thinned: Sparsity = DENSE
    choice: ConvolutionChoice | None = None
    counted: bool = True


@dataclass(frozen=True)
class _Computed:
    """How a step is computed: the gradients that are wanted of it and of each of its products, what
    pooling leaves of it, the algorithms of its stage, and the bytes that are kept of its output."""

    gradients: Gradients
    parts: tuple[tuple[int, Gradients], ...]
    thinned: Sparsity
    choice: ConvolutionChoice | None
    kept_bytes: int


def costs(design: Design, machine: Machine) -> dict[str, Cost]:
    """The cost of every step, by name, in the design's order, as its graph is lowered for
    ``machine``: the same stages that would be compiled, where they are."""
    lowered = lower_stages(design.graph, machine)
    computed = _computed(design, lowered)
    trained = {name: one.gradients.output for name, one in computed.items()}
    read_by_trained, found = _read_by(design, trained), {}
    for step in design.steps:
        cost = _cost(step, computed[step.name])
        kept = trained[step.name] or step.name in read_by_trained
        found[step.name] = cost if kept else replace(cost, kept_bytes=0)
    return found


def _computed(design: Design, lowered: Lowered) -> dict[str, _Computed]:
    thinned = sparsity(design, lowered)
    first: dict[int, tuple[Stage, Gradients]] = {}  # by the number of a stage's first node
    products: dict[int, list[Gradients]] = {}
    ends: dict[int, list[Stage]] = {}  # by the number of its last
    for stage, gradients in zip(lowered.stages, lowered.gradients, strict=True):
        first.setdefault(stage.nodes[0], (stage, gradients))
        ends.setdefault(stage.nodes[-1], []).append(stage)
        if isinstance(stage, WeightedStage):
            products.setdefault(stage.nodes[0], []).append(gradients)
    found: dict[str, _Computed] = {}
    for number, step in enumerate(design.steps):
        # what is fused, or is but another view, hands on the gradient that it is given
        before = any(found[name].gradients.output for name in step.inputs)
        wanted, choice = Gradients((before,)), None
        if number in first:
            stage, wanted = first[number]
            choice = stage.choice if isinstance(stage, ConvolutionStage) else None
        thin, kept = thinned.get(step.name, DENSE), _kept_bytes(step, ends.get(number, []))
        parts = _parts(step, products.get(number, [wanted]))
        found[step.name] = _Computed(wanted, parts, thin, choice, kept)
    return found


def _read_by(design: Design, trained: dict[str, bool]) -> set[str]:
    """Steps that a trained step reads, directly or through steps that only move values."""
    found: set[str] = set()
    for step in reversed(design.steps):
        if trained[step.name] or (step.kind == "shape" and step.name in found):
            found |= set(step.inputs)
    return found


SUMMED = (
    *("parameters", "trainable", "forward", "training", "sparse_training"),
    *("forward_operations", "training_operations", "sparse_training_operations"),
    *("output_bytes", "kept_bytes"),
)


def total(design: Design, found: Mapping[str, Cost]) -> Cost:
    """The sum of all steps' costs, with the parameters that lie in no layer; borders are no sum."""
    held = Cost(parameters=design.held, trainable=design.held_trainable)
    each = [*found.values(), held]
    sums = {name: sum(getattr(cost, name) for cost in each) for name in SUMMED}
    return Cost(**sums, counted=all(cost.counted for cost in each))


def dropped(step: Step) -> tuple[int, int]:
    """Rows and columns at the end of what ``step`` reads that none of its windows reaches."""
    if not isinstance(step.reads, Windows) or step.kind == "shape" or len(step.inputs) != 1:
        return (0, 0)
    windows, read = step.reads, step.read[0]
    left = []
    for axis in (0, 1):
        reach = (step.shape[axis] - 1) * windows.strides[axis] + windows.extent[axis]
        left.append(max(read[axis] + windows.padding[2 * axis] - reach, 0))
    return left[0], left[1]


def _cost(step: Step, computed: _Computed) -> Cost:
    thin, wanted = computed.thinned, computed.gradients
    once = int(wanted.output)  # values go back once, scale and shift with them
    operations = step.operations
    narrow = computed.choice is not None and isinstance(computed.choice.weight_gradient, Narrow)
    live = thin.computed if narrow else thin.live
    *whole, (last, gradients) = computed.parts
    dense = sum(work * (1 + _count(one)) for work, one in whole)
    return Cost(
        parameters=step.parameters,
        trainable=step.trainable,
        forward=step.multiply_adds,
        training=dense + last * (1 + _count(gradients)),
        sparse_training=dense + round(last * (thin.computed + _count(gradients) * live)),
        forward_operations=operations,
        training_operations=operations * (1 + once),
        sparse_training_operations=round(operations * (thin.computed + once * live)),
        output_bytes=math.prod(step.shape) * FLOAT_BYTES,
        kept_bytes=computed.kept_bytes,
        border=_border(step),
        dropped=dropped(step),
        thinned=thin,
        choice=computed.choice,
        counted=step.counted,
    )


def _count(wanted: Gradients) -> int:
    """How often as much as forward is computed for gradients."""
    return int(wanted.input) + int(wanted.weights)


def _parts(step: Step, wanted: Sequence[Gradients]) -> tuple[tuple[int, Gradients], ...]:
    """Multiply-adds with what is wanted, of a step's products: a separable convolution has two, of
    which pooling thins out the last alone."""
    operation = step.node.operation
    if not isinstance(operation, Separable) or len(wanted) < 2:
        return ((step.multiply_adds, wanted[0]),)
    middle = (*step.shape[:-1], operation.depthwise.filters)
    first = multiply_adds(operation.depthwise, step.read[0], middle)
    return (first, wanted[0]), (step.multiply_adds - first, wanted[1])


def _kept_bytes(step: Step, ends: list[Stage]) -> int:
    """What the stages leave in memory that end with this step; an activation that is split off
    leaves its own output beside what it read."""
    values = math.prod(step.shape)
    if step.kind == "input":
        return values * FLOAT_BYTES
    if step.kind == "shape":
        return 0
    kept = sum(stage.output.values for stage in ends) * FLOAT_BYTES
    if step.pool == "max":
        fused = any(len(stage.nodes) > 1 for stage in ends)
        kept += values * (FUSED_ARGMAX_BYTES if fused else ARGMAX_BYTES)
    return kept


def _border(step: Step) -> tuple[int, int]:
    if not isinstance(step.reads, Windows) or step.kind == "shape" or not step.is_map:
        return (0, 0)
    read = step.read[0]
    lost = []
    for axis in (0, 1):
        stride = step.reads.strides[axis]
        lost.append(max(-(-read[axis] // stride) - step.shape[axis], 0))
    return lost[0], lost[1]
