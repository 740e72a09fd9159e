"""What a net costs before it is trained: parameters, multiply-adds, bytes, borders."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from convmill.plan.graph import Convolution, Dense, Node, Plan
from convmill.plan.outline import Outline, Step, Windows

FLOAT_BYTES = 4
# The window's largest value is remembered by its place: one byte where the pooling is fused with
# the convolution before it, four where it stands alone.
FUSED_ARGMAX_BYTES, ARGMAX_BYTES = 1, 4


@dataclass(frozen=True)
class Cost:
    """What one step costs for one image.

    ``forward`` counts multiply-adds, and each comparison, addition or activation as one.
    ``training`` is forward, plus as much for the gradient of what the step reads (where a layer
    before it is trained), plus as much for the gradient of its weights (where they are trained).
    ``sparse_training`` leaves out the zeros that max pooling brings: a convolution whose map only a
    max pooling reads has at most one gradient a window, and places that no window reads are never
    computed. What relu turns off comes on top and is known in training only.

    ``output_bytes`` is the float32 output; ``kept_bytes`` what of it stays for the backward pass:
    nothing of a convolution with max pooling fused behind it, one byte a window for the pooling.

    ``border`` counts rows and columns that the map loses at its borders, compared with "same"
    padding; ``dropped`` rows and columns of what the step reads that no window reaches at the end.
    """

    parameters: int = 0
    trainable: int = 0
    forward: int = 0
    training: int = 0
    sparse_training: int = 0
    output_bytes: int = 0
    kept_bytes: int = 0
    border: tuple[int, int] = (0, 0)
    dropped: tuple[int, int] = (0, 0)


def costs(outline: Outline) -> dict[str, Cost]:
    """The cost of every step, by name, in the outline's order."""
    own = {step.name: _trainable(outline, step) for step in outline.steps}
    trained: dict[str, bool] = {}  # whether a step or one before it is trained
    for step in outline.steps:
        trained[step.name] = own[step.name] or any(trained[name] for name in step.inputs)
    read_by_trained, found = _read_by(outline, trained), {}
    for step in outline.steps:
        before = any(trained[name] for name in step.inputs)
        cost = _cost(outline, step, input_gradient=before, weight_gradient=own[step.name])
        kept = trained[step.name] or step.name in read_by_trained
        found[step.name] = cost if kept else replace(cost, kept_bytes=0)
    return found


def _read_by(outline: Outline, trained: dict[str, bool]) -> set[str]:
    """Steps that a trained step reads, directly or through steps that only move values."""
    found: set[str] = set()
    for step in reversed(outline.steps):
        if trained[step.name] or (step.kind == "shape" and step.name in found):
            found |= set(step.inputs)
    return found


def total(outline: Outline, found: dict[str, Cost]) -> Cost:
    """The sum of all steps' costs, with the parameters that lie in no layer; borders are no sum."""
    held = Cost(parameters=outline.held, trainable=outline.held_trainable)
    counts = ("parameters", "trainable", "forward", "training", "sparse_training")
    fields = (*counts, "output_bytes", "kept_bytes")
    each = [*found.values(), held]
    return Cost(**{name: sum(getattr(cost, name) for cost in each) for name in fields})


def node_multiply_adds(plan: Plan, node: Node) -> int:
    """Forward multiply-adds of a node of a Plan: each place reads the whole kernel once."""
    operation = node.operation
    if not isinstance(operation, (Convolution, Dense)):
        return 0
    return math.prod(node.shape[:-1]) * math.prod(plan.parameters[operation.kernel].shape)


def pooled_by(outline: Outline, step: Step) -> Step | None:
    """The max pooling without overlap that alone reads a convolution's map, activations and dropout
    between them aside; None where there is none."""
    if step.kind != "convolution":
        return None
    reader = _only_reader(outline, step)
    while reader is not None and reader.kind in ("activation", "dropout"):
        reader = _only_reader(outline, reader)
    if reader is None or reader.pool != "max" or not isinstance(reader.reads, Windows):
        return None
    windows = reader.reads
    apart = all(windows.strides[axis] >= windows.size[axis] for axis in (0, 1))
    return reader if apart and not any(windows.padding) else None


def dropped(outline: Outline, step: Step) -> tuple[int, int]:
    """Rows and columns at the end of what ``step`` reads that none of its windows reaches."""
    if not isinstance(step.reads, Windows) or not step.is_map or len(step.inputs) != 1:
        return (0, 0)
    windows, read = step.reads, step.read[0]
    left = []
    for axis in (0, 1):
        reach = (step.shape[axis] - 1) * windows.strides[axis] + windows.extent[axis]
        left.append(max(read[axis] + windows.padding[2 * axis] - reach, 0))
    return left[0], left[1]


def _only_reader(outline: Outline, step: Step) -> Step | None:
    readers = outline.readers(step.name)
    return readers[0] if len(readers) == 1 and step.name not in outline.outputs else None


def _trainable(outline: Outline, step: Step) -> bool:
    """Whether the step's weights are trained; a shared layer's are counted elsewhere."""
    return (outline.step(step.shared_with) if step.shared_with else step).trainable > 0


def _cost(outline: Outline, step: Step, *, input_gradient: bool, weight_gradient: bool) -> Cost:
    weighted = step.kind in ("convolution", "dense")
    backward = int(input_gradient) + int(weight_gradient)
    if not weighted:
        backward = min(backward, 1)  # values go back once, scale and shift with them
    activated = int(input_gradient or weight_gradient)
    work, extra = step.multiply_adds, step.activation_work
    read, live = shares(outline, step)
    return Cost(
        parameters=step.parameters,
        trainable=step.trainable,
        forward=work + extra,
        training=work * (1 + backward) + extra * (1 + activated),
        sparse_training=round(work * (read + backward * live) + extra * (read + activated * live)),
        output_bytes=math.prod(step.shape) * FLOAT_BYTES,
        kept_bytes=_kept_bytes(outline, step),
        border=_border(outline, step),
        dropped=dropped(outline, step),
    )


def shares(outline: Outline, step: Step) -> tuple[float, float]:
    """Shares of a step's places that are read at all, and that can have a gradient."""
    pooling = pooled_by(outline, step)
    if pooling is None:
        return 1.0, 1.0
    assert isinstance(pooling.reads, Windows)
    places = math.prod(step.shape[:2])
    windows = math.prod(pooling.shape[:2])
    return windows * math.prod(pooling.reads.size) / places, windows / places


def _kept_bytes(outline: Outline, step: Step) -> int:
    values = math.prod(step.shape)
    if step.kind == "shape" or pooled_by(outline, step) is not None:
        return 0
    if step.pool == "max":
        return values * (FLOAT_BYTES + _argmax_bytes(outline, step))
    reader = _only_reader(outline, step)
    if step.kind in ("convolution", "dense") and reader and reader.kind == "activation":
        return 0  # an activation layer overwrites what it reads
    return values * FLOAT_BYTES


def _argmax_bytes(outline: Outline, pooling: Step) -> int:
    fused = any(pooled_by(outline, step) is pooling for step in outline.steps)
    return FUSED_ARGMAX_BYTES if fused else ARGMAX_BYTES


def _border(outline: Outline, step: Step) -> tuple[int, int]:
    if not isinstance(step.reads, Windows) or step.kind == "shape" or not step.is_map:
        return (0, 0)
    read = step.read[0]
    lost = []
    for axis in (0, 1):
        stride = step.reads.strides[axis]
        lost.append(max(-(-read[axis] // stride) - step.shape[axis], 0))
    return lost[0], lost[1]
