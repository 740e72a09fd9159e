"""Whether a Graph is compiled: the one place that knows which operations the compiler has."""

from __future__ import annotations

import math
from collections.abc import Iterator

from convmill.plan.facts import activation_of
from convmill.plan.graph.moves import Crop, Flatten, Move, Pad, Resample, Reshape, Upsample
from convmill.plan.graph.nodes import Graph, Node
from convmill.plan.graph.operations import (
    Activate,
    AdaptivePooling,
    AddedLoss,
    Affine,
    Concatenate,
    Convolution,
    Dense,
    Input,
    Lookup,
    Merge,
    Normalize,
    Operation,
    Penalize,
    Pooling,
    Prelu,
    Reduce,
    Rescale,
    Separable,
    Weight,
)
from convmill.plan.graph.random import AUGMENTATIONS, Draw, Dropout, Erase, Noise, RandomCrop
from convmill.plan.graph.shapes import Shape
from convmill.plan.refusals import NotCovered, Refusal
from convmill.plan.resampling import INTERPOLATIONS

ACTIVATIONS = (
    *("linear", "relu", "leaky_relu", "elu", "selu", "celu", "sigmoid", "tanh", "softmax", "silu"),
    *("log_softmax", "prelu"),
    *("gelu", "gelu_tanh", "softplus", "softsign", "mish", "exponential", "log_sigmoid"),
    *("hard_sigmoid", "hard_silu", "hard_tanh", "hard_shrink", "soft_shrink", "tanh_shrink"),
    *("threshold", "squareplus", "sparse_plus", "sparse_sigmoid"),
    # operations of Keras in a graph
    *("log", "log1p", "expm1", "square", "sqrt", "rsqrt", "absolute", "negative", "reciprocal"),
)
NO_KERNELS = "this layer is not covered"
MOST_VALUES = 2**31 - 1  # of a tensor: kernels keep places in it as 32-bit integers


def refusal(graph: Graph) -> NotCovered | None:
    """Why ``graph`` is not compiled, the first of all reasons; None where it is."""
    for found in _refusals(graph):
        if found is not None:
            return NotCovered(found.reason, found.remedy)
    return None


def check_covered(graph: Graph) -> None:
    """Raises unless ``graph`` is compiled.

    Raises:
        NotCovered: it is not; the first of all reasons, and the remedy.
        ValueError: it makes no sense: a number that is not finite.
    """
    found = refusal(graph)
    if found is not None:
        raise found
    for node in graph.nodes:
        if isinstance(node.operation, Rescale):
            for argument in ("scale", "offset"):
                value = getattr(node.operation, argument)
                if not math.isfinite(value):
                    raise ValueError(
                        f"{argument} of layer {node.name!r} must be finite. "
                        f"Received: {argument}={value}"
                    )


def _refusals(graph: Graph) -> Iterator[Refusal | None]:
    yield graph.refusal
    for node in graph.nodes:  # a layer that is not covered says more than a branch
        yield _of_layer(node)
    for node in graph.nodes:
        yield _of_place(graph, node)
    yield _of_parameters(graph)
    for either in (graph, graph.outside_training()):
        for node in either.nodes:
            yield _of_size(either, node)
    if all(isinstance(node.operation, (Input, Flatten)) for node in graph.nodes):
        yield Refusal("the model computes nothing", "add a layer such as Dense or Conv2D")


def _of_layer(node: Node) -> Refusal | None:
    """What the node computes, its place in the graph aside."""
    if _has_kernels(node.operation):
        return _of_arguments(node) or node.refusal
    return node.refusal or _refuse(
        node, NO_KERNELS, "use layers that are compiled; docs/coverage.md lists them"
    )


def _has_kernels(operation: Operation) -> bool:
    """Whether the compiler has kernels for an operation, some of its arguments aside."""
    if isinstance(operation, Convolution):
        return True
    if isinstance(operation, AdaptivePooling):
        return operation.kind == "average"
    if isinstance(operation, Normalize):
        scaled = operation.gamma is not None or operation.beta is not None
        return operation.kind != "fixed" or scaled
    return isinstance(operation, _COMPILED)


_COMPILED = (
    *AUGMENTATIONS,
    *(Input, Weight, Lookup, Separable, Rescale, Affine, Prelu, Pooling, Reduce),
    *(Flatten, Dense),
    *(Dropout, Noise, Draw, RandomCrop, Erase),
    *(Penalize, AddedLoss, Activate, Merge, Concatenate),
    *(Reshape, Pad, Crop, Upsample, Resample, Move),
)


def _of_arguments(node: Node) -> Refusal | None:
    operation, activation = node.operation, activation_of(node.operation)
    if isinstance(operation, Normalize) and operation.kind == "batch" and operation.axes != (-1,):
        return _refuse(node, f"axes={operation.axes}", "use axis=-1")
    known = getattr(operation, "interpolation", "nearest") in INTERPOLATIONS
    if isinstance(operation, (Upsample, Resample)) and not known:
        remedy = f"use one of {', '.join(INTERPOLATIONS)}"
        return _refuse(node, f"interpolation={operation.interpolation}", remedy)
    axes = _axes_of(operation)
    if axes is None or min(axes) < -_axes_known(node.shape):
        which = "an axis that kernels do not know" if axes is None else f"axes {axes}"
        return _refuse(node, f"{which}, in shape {node.shape}", "use the last axis")
    if activation.name not in ACTIVATIONS:
        return _refuse(
            node,
            f"activation={activation.name}",
            "use an activation of Keras",
        )
    return None


def _axes_of(operation: Operation) -> tuple[int, ...] | None:
    """The axes along which it works, counted from the last; None where they are of the batch."""
    match operation:
        case Dropout() | Noise():
            return operation.shared or (-1,)
        case Activate(activation, axes) if activation.name in ("softmax", "log_softmax"):
            return axes
        case Normalize(kind="layer" | "rms" | "unit", axes=axes):
            return axes
        case Normalize(kind="group", axes=axes):
            return axes if axes == (-1,) else None
    return (-1,)


def _axes_known(shape: Shape) -> int:
    """How many of the last axes kernels tell apart: they see rows, columns and channels, and the
    axes before the last two as rows."""
    return 3 if len(shape) <= 3 else 2


def _of_place(graph: Graph, node: Node) -> Refusal | None:
    """How the node stands among the others."""
    if isinstance(node.operation, AUGMENTATIONS) and _reads_trained(graph, node):
        return _refuse(node, "stands behind trained weights", "put it before the first of them")
    if node.read:
        return _refuse(node, "reads one of several outputs of a layer", "use layers of one output")
    if isinstance(node.operation, Merge) and len(node.inputs) < 2:
        return _refuse(node, "reads one tensor", "merge two tensors or more")
    if (
        isinstance(node.operation, Concatenate)
        and not -min(len(node.shape), 3) <= node.operation.axis
    ):
        return _refuse(node, f"axis={node.operation.axis}", "use one of the last three axes")
    return None


def _reads_trained(graph: Graph, node: Node) -> bool:
    """Whether anything that the node depends on has trained weights."""
    before = {name: graph.node(name) for name in node.inputs}
    waiting = list(before.values())
    while waiting:
        one = waiting.pop()
        if any(graph.parameters[index].trainable for index in one.parameters):
            return True
        waiting += [graph.node(name) for name in one.inputs if name not in before]
        before |= {name: graph.node(name) for name in one.inputs}
    return False


def _of_parameters(graph: Graph) -> Refusal | None:
    held = {index for node in graph.nodes for index in node.parameters}
    for index, parameter in enumerate(graph.parameters):
        if index not in held:
            return Refusal(
                f"weight {parameter.name!r} belongs to no layer of the chain",
                "keep weights in the model's layers",
            )
    return None


def _of_size(graph: Graph, node: Node) -> Refusal | None:
    """Whether kernels can count the values that the node reads, padding included, and writes."""
    values = math.prod(node.shape)
    if isinstance(node.operation, Convolution):
        height, width, channels = (1, *graph.read(node)[0])[-3:]
        top, bottom, left, right = node.operation.padding
        values = max(values, (top + height + bottom) * (left + width + right) * channels)
    if values <= MOST_VALUES:
        return None
    return _refuse(node, f"{values:,} values of one image", "use smaller images or fewer filters")


def _refuse(node: Node, what: str, remedy: str) -> Refusal:
    layer = f" ({node.layer})" if node.layer else ""
    return Refusal(f"layer {node.name!r}{layer}: {what}", remedy)
