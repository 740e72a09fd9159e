"""A whole graph forward, backward and through optimizer steps, node by node, in float64.

Every native program is held against this; nothing here is fast.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from convmill.plan.graph.moves import Flatten
from convmill.plan.graph.nodes import Graph, Node
from convmill.plan.graph.operations import (
    Activate,
    Convolution,
    Dense,
    Input,
    Penalize,
    Pooling,
    Rescale,
    Separable,
)
from convmill.plan.graph.random import Dropout
from convmill.plan.recipe import Recipe
from tests.twin import convolution, dense, elementwise, losses, pooling, updates

Arrays = Sequence[np.ndarray]


def forward(
    graph: Graph, parameters: Arrays, x: np.ndarray, training_masks: Arrays | None = None
) -> dict[str, np.ndarray]:
    """Outputs of every node: name -> float64 (n, *node.shape).

    x (n, *graph.input_shape), any real dtype; ``parameters`` in the graph's order, Keras' layout;
    ``training_masks``: in training one (n, *shape) array of 0 and 1 for each dropout, by its seed
    (1 keeps); None outside training, where dropout does nothing.
    """
    weights = [np.asarray(value, dtype=np.float64) for value in parameters]
    outputs: dict[str, np.ndarray] = {}
    for node in graph.nodes:
        read = outputs[node.inputs[0]] if node.inputs else np.asarray(x, dtype=np.float64)
        y = _forward(node, weights, read, training_masks)
        outputs[node.name] = y.reshape(len(x), *node.shape)
    return outputs


def gradients(
    graph: Graph,
    recipe: Recipe,
    parameters: Arrays,
    x: np.ndarray,
    y: np.ndarray,
    sample_weight: np.ndarray | None = None,
    training_masks: Arrays | None = None,
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Losses of the images (n,), each the sum over its places of loss times sample weight, and the
    gradient of every parameter.

    The weights are one for each image, (n,), or for each place. The gradients are those of
    ``sum(losses) / (n x places for the reduction "mean", else 1)`` plus the regularizers' penalty;
    they are not clipped. Frozen parameters have one too.
    """
    outputs = forward(graph, parameters, x, training_masks)
    each, by_output = losses.loss(recipe.loss, outputs[graph.nodes[-1].name], y)
    share = np.ones(len(x)) if sample_weight is None else np.asarray(sample_weight, np.float64)
    share = share.reshape(*share.shape, *(1,) * (each.ndim - share.ndim))
    divisor = each.size if recipe.loss.reduction == "mean" else 1
    by_output = by_output * share[..., None] / divisor
    _, result = backward(graph, parameters, outputs, by_output, training_masks)
    for gradient, parameter, value in zip(result, graph.parameters, parameters, strict=True):
        gradient += updates.penalty_gradient(parameter.regularizer, np.asarray(value, np.float64))
    return (each * share).reshape(len(x), -1).sum(axis=1), result


def backward(
    graph: Graph,
    parameters: Arrays,
    outputs: Mapping[str, np.ndarray],
    by_output: np.ndarray,
    training_masks: Arrays | None = None,
) -> tuple[dict[str, np.ndarray], list[np.ndarray]]:
    """Gradients of every node's output, by name, and of every parameter, without regularizers.

    ``outputs`` is what ``forward`` returned for the same parameters and masks; ``by_output``
    (n, *graph.output_shape) is the gradient of the last node's output.
    """
    weights = [np.asarray(value, dtype=np.float64) for value in parameters]
    by_node = {name: np.zeros(output.shape) for name, output in outputs.items()}
    by_node[graph.nodes[-1].name] += by_output
    by_parameter = [np.zeros(weight.shape) for weight in weights]
    for node in reversed(graph.nodes[1:]):
        read = outputs[node.inputs[0]]
        d_read, found = _backward(node, weights, read, by_node[node.name], training_masks)
        by_node[node.inputs[0]] += d_read.reshape(read.shape)
        for index, gradient in found.items():
            by_parameter[index] += gradient
    return by_node, by_parameter


def penalty(graph: Graph, parameters: Arrays) -> float:
    """The regularizers' part of the loss."""
    return sum(
        updates.penalty(parameter.regularizer, np.asarray(weight, dtype=np.float64))
        for parameter, weight in zip(graph.parameters, parameters, strict=True)
    )


@dataclass
class State:
    """Parameters in the graph's order; slots: name -> one array per trainable parameter."""

    parameters: list[np.ndarray]
    slots: dict[str, list[np.ndarray]]
    iterations: int = 0


def start(graph: Graph, recipe: Recipe, parameters: Arrays) -> State:
    """The state before the first step: slots are zeros."""
    trainable = [parameter.shape for parameter in graph.parameters if parameter.trainable]
    return State(
        parameters=[np.asarray(value, dtype=np.float64) for value in parameters],
        slots={slot: [np.zeros(shape) for shape in trainable] for slot in recipe.optimizer.slots},
    )


def step(
    graph: Graph,
    recipe: Recipe,
    state: State,
    rate: float,
    x: np.ndarray,
    y: np.ndarray,
    sample_weight: np.ndarray | None = None,
    training_masks: Arrays | None = None,
) -> tuple[State, np.ndarray]:
    """The state after one step on one batch, and the losses that ``gradients`` returns."""
    each, found = gradients(graph, recipe, state.parameters, x, y, sample_weight, training_masks)
    indices = [index for index, one in enumerate(graph.parameters) if one.trainable]
    limited = updates.clipped(recipe.optimizer.clip, [found[index] for index in indices])
    after = State(list(state.parameters), {slot: [] for slot in state.slots}, state.iterations + 1)
    for position, (index, gradient) in enumerate(zip(indices, limited, strict=True)):
        after.parameters[index], slots = updates.update(
            recipe.optimizer,
            rate,
            state.iterations,
            state.parameters[index],
            gradient,
            {slot: values[position] for slot, values in state.slots.items()},
            decays=graph.parameters[index].decays,
        )
        for slot in after.slots:
            after.slots[slot].append(slots[slot])
    return after, each


def _forward(node: Node, weights: Arrays, x: np.ndarray, masks: Arrays | None) -> np.ndarray:
    match node.operation:
        case Input():
            return x
        case Flatten():
            return x.reshape(len(x), -1)
        case Penalize():
            return x
        case Rescale(scale, offset):
            return elementwise.rescale(x, scale, offset)
        case Dropout(rate, seed):
            return x if masks is None else elementwise.dropout(x, masks[seed], rate)
        case Activate(activation):
            return elementwise.activation(activation, x)
        case Pooling() as op:
            return pooling.forward(op.kind, _image(x), op.pool_size, op.strides, op.padding)
        case Separable(first, second):
            middle = _linear(first, weights, x, _size(node))
            return elementwise.activation(
                second.activation, _linear(second, weights, middle, _size(node))
            )
        case Convolution() | Dense() as op:
            return elementwise.activation(op.activation, _linear(op, weights, x, _size(node)))


def _linear(
    op: Convolution | Dense, weights: Arrays, x: np.ndarray, size: tuple[int, int]
) -> np.ndarray:
    """What the operation's activation reads; ``size`` are rows and columns of the output."""
    bias = None if op.bias is None else weights[op.bias]
    if isinstance(op, Dense):
        return dense.forward(x, weights[op.kernel], bias)
    x, kernel = _image(x), _kernel(op, weights)
    if op.transposed:
        return convolution.transposed(x, kernel, bias, op.strides, op.padding, op.dilation, size)
    return convolution.forward(x, kernel, bias, op.strides, op.padding, op.dilation)


def _image(x: np.ndarray) -> np.ndarray:
    """What one axis has places along is one row of places."""
    return x[:, None] if x.ndim == 3 else x


def _kernel(op: Convolution, weights: Arrays) -> np.ndarray:
    """(height, width, channels of a group, filters); of a transposed one the last two change
    places."""
    kernel = weights[op.kernel].reshape(*op.kernel_size, *weights[op.kernel].shape[-2:])
    return kernel.reshape(*op.kernel_size, 1, -1) if op.depthwise else kernel


def _size(node: Node) -> tuple[int, int]:
    """Rows and columns of a node's output."""
    rows, columns = (1, 1, *node.shape)[-3:-1]
    return rows, columns


def _backward(
    node: Node, weights: Arrays, x: np.ndarray, gradient: np.ndarray, masks: Arrays | None
) -> tuple[np.ndarray, dict[int, np.ndarray]]:
    """Gradient of what the node read, and of its parameters by their index."""
    match node.operation:
        case Rescale(scale, _):
            return gradient * scale, {}
        case Penalize(regularizer):
            return gradient + updates.penalty_gradient(regularizer, x) / len(x), {}
        case Dropout(rate, seed) if masks is not None:
            return elementwise.dropout(gradient, masks[seed], rate), {}
        case Activate(activation):
            return elementwise.activation_gradient(activation, x, gradient), {}
        case Pooling() as op:
            wide = gradient.reshape(len(x), *_size(node), node.shape[-1])
            size = (op.pool_size, op.strides, op.padding)
            return pooling.backward(op.kind, _image(x), wide, *size, shared=op.ties == "share"), {}
        case Separable(first, second):
            middle = _linear(first, weights, x, _size(node))
            d_middle, found = _backward_linear(second, weights, middle, gradient)
            d_x, others = _backward_linear(first, weights, x, d_middle)
            return d_x, found | others
        case Convolution() | Dense() as op:
            return _backward_linear(op, weights, x, gradient)
    return gradient, {}  # Flatten, and dropout outside training: only the shape changes


def _backward_linear(
    op: Convolution | Dense, weights: Arrays, x: np.ndarray, gradient: np.ndarray
) -> tuple[np.ndarray, dict[int, np.ndarray]]:
    """The same of one product with its bias and activation."""
    rows, columns = (1, 1, *gradient.shape[1:])[-3:-1]
    linear = _linear(op, weights, x, (rows, columns))
    behind = gradient.reshape(linear.shape)
    before = elementwise.activation_gradient(op.activation, linear, behind)
    if isinstance(op, Dense):
        found = dense.backward(x, weights[op.kernel], before)
    else:
        options = (op.strides, op.padding, op.dilation)
        of = convolution.transposed_backward if op.transposed else convolution.backward
        found = of(_image(x), _kernel(op, weights), before, *options)
    d_x, d_kernel, d_bias = found
    d_kernel = d_kernel.reshape(weights[op.kernel].shape)
    return d_x, {op.kernel: d_kernel} | ({} if op.bias is None else {op.bias: d_bias})
