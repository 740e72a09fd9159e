"""What a net costs before it is trained: parameters, multiply-adds, bytes, borders."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from convmill.design.sparsity import DENSE, Sparsity, fused_activation, sparsity
from convmill.design.steps import Design, Step
from convmill.plan.algorithms import FUSABLE, is_narrow
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
    ``thinned`` is what max pooling leaves of its places. ``counted`` is False where arithmetic, and
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
    counted: bool = True


def costs(design: Design) -> dict[str, Cost]:
    """The cost of every step, by name, in the design's order."""
    own = {step.name: _trainable(design, step) for step in design.steps}
    thinned = sparsity(design)
    trained: dict[str, bool] = {}  # whether a step or one before it is trained
    for step in design.steps:
        trained[step.name] = own[step.name] or any(trained[name] for name in step.inputs)
    read_by_trained, found = _read_by(design, trained), {}
    for step in design.steps:
        before = any(trained[name] for name in step.inputs)
        cost = _cost(design, step, thinned, input_gradient=before, weight_gradient=own[step.name])
        kept = trained[step.name] or step.name in read_by_trained
        found[step.name] = cost if kept else replace(cost, kept_bytes=0)
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


def dropped(design: Design, step: Step) -> tuple[int, int]:
    """Rows and columns at the end of what ``step`` reads that none of its windows reaches."""
    if not isinstance(step.reads, Windows) or step.kind == "shape" or len(step.inputs) != 1:
        return (0, 0)
    windows, read = step.reads, step.read[0]
    left = []
    for axis in (0, 1):
        reach = (step.shape[axis] - 1) * windows.strides[axis] + windows.extent[axis]
        left.append(max(read[axis] + windows.padding[2 * axis] - reach, 0))
    return left[0], left[1]


def _trainable(design: Design, step: Step) -> bool:
    """Whether the step's weights are trained; a shared layer's are counted elsewhere."""
    return (design.step(step.shared_with) if step.shared_with else step).trainable > 0


def _cost(
    design: Design,
    step: Step,
    thinned: Mapping[str, Sparsity],
    *,
    input_gradient: bool,
    weight_gradient: bool,
) -> Cost:
    thin = thinned.get(step.name, DENSE)
    backward = int(input_gradient) + int(weight_gradient)
    # values go back once, scale and shift with them
    once = int(input_gradient or weight_gradient)
    work, operations = step.multiply_adds, step.operations
    # a first layer of few taps computes the gradient of its weights over all places
    narrow = not input_gradient and is_narrow(taps(step), thin.window)
    live = thin.computed if narrow else thin.live
    return Cost(
        parameters=step.parameters,
        trainable=step.trainable,
        forward=work,
        training=work * (1 + backward),
        sparse_training=round(work * (thin.computed + backward * live)),
        forward_operations=operations,
        training_operations=operations * (1 + once),
        sparse_training_operations=round(operations * (thin.computed + once * live)),
        output_bytes=math.prod(step.shape) * FLOAT_BYTES,
        kept_bytes=_kept_bytes(design, step, thinned),
        border=_border(design, step),
        dropped=dropped(design, step),
        thinned=thin,
        counted=step.counted,
    )


def taps(step: Step) -> int:
    """Multiply-adds for one value of what a convolution writes: the weights of a filter."""
    return step.multiply_adds // max(math.prod(step.shape), 1)


def _kept_bytes(design: Design, step: Step, thinned: Mapping[str, Sparsity]) -> int:
    values = math.prod(step.shape)
    if step.kind == "shape" or thinned.get(step.name, DENSE).is_fused:
        return 0
    if step.pool == "max":
        fused = thinned.get(step.inputs[0], DENSE).is_fused
        return values * (FLOAT_BYTES + (FUSED_ARGMAX_BYTES if fused else ARGMAX_BYTES))
    if step.is_weighted and step.activation not in FUSABLE:
        return 2 * values * FLOAT_BYTES  # the derivative follows from what the activation reads
    overwritten = step.is_weighted and fused_activation(design, step) is not None
    return 0 if overwritten else values * FLOAT_BYTES


def _border(design: Design, step: Step) -> tuple[int, int]:
    if not isinstance(step.reads, Windows) or step.kind == "shape" or not step.is_map:
        return (0, 0)
    read = step.read[0]
    lost = []
    for axis in (0, 1):
        stride = step.reads.strides[axis]
        lost.append(max(-(-read[axis] // stride) - step.shape[axis], 0))
    return lost[0], lost[1]
