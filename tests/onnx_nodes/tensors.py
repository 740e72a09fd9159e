"""Functions of values, merges, shapes, normalization, matrix products, resizing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from keras import layers, ops

from tests.onnx_nodes.expressed import Array, Expressed, Node, last, need, predicted

MERGES = {
    "Add": layers.Add,
    "Sum": layers.Add,
    "Sub": layers.Subtract,
    "Mul": layers.Multiply,
    "Max": layers.Maximum,
    "Min": layers.Minimum,
    "Mean": layers.Average,
}
# What a function takes from attributes: our argument, ONNX's name, its default.
_FUNCTIONS: dict[str, tuple[Callable[..., Any], tuple[tuple[str, str, float], ...]]] = {
    "Relu": (ops.relu, ()),
    "LeakyRelu": (ops.leaky_relu, (("negative_slope", "alpha", 0.01),)),
    "Elu": (ops.elu, (("alpha", "alpha", 1.0),)),
    "Celu": (ops.celu, (("alpha", "alpha", 1.0),)),
    "Selu": (ops.selu, ()),
    "Sigmoid": (ops.sigmoid, ()),
    "HardSwish": (ops.hard_swish, ()),
    "Tanh": (ops.tanh, ()),
    "Softplus": (ops.softplus, ()),
    "Softsign": (ops.softsign, ()),
    "Mish": (lambda tensor: layers.Activation("mish")(tensor), ()),
    "Abs": (ops.abs, ()),
    "Neg": (ops.negative, ()),
    "Exp": (ops.exp, ()),
    "Log": (ops.log, ()),
    "Sqrt": (ops.sqrt, ()),
    "Reciprocal": (ops.reciprocal, ()),
}
FUNCTIONS = tuple(_FUNCTIONS)


def function(node: Node) -> Expressed:
    """A function of one value."""
    call, arguments = _FUNCTIONS[node.operation]
    given = {ours: node.attributes.get(name, default) for ours, name, default in arguments}
    if node.operation == "Selu":
        need(not node.attributes, "Keras' selu has no arguments")
    x, golden = _images(node.inputs[0]), _images(node.outputs[0])
    return predicted(lambda tensor: call(tensor, **given), [x], golden)


def gelu(node: Node) -> Expressed:
    near = node.text("approximate", "none") == "tanh"
    x, golden = _images(node.inputs[0]), _images(node.outputs[0])
    return predicted(lambda tensor: ops.gelu(tensor, approximate=near), [x], golden)


def hard_sigmoid(node: Node) -> Expressed:
    slope, offset = node.attributes.get("alpha", 0.2), node.attributes.get("beta", 0.5)
    need(slope == 1 / 6 and offset == 0.5, "Keras' slope is 1/6")
    return predicted(ops.hard_sigmoid, [_images(node.inputs[0])], _images(node.outputs[0]))


def prelu(node: Node) -> Expressed:
    x, slope = node.inputs[0], np.broadcast_to(node.inputs[1], node.inputs[0].shape)
    return predicted(layers.PReLU(), [x[None]], node.outputs[0][None], [slope.copy()])


def merge(node: Node) -> Expressed:
    need(len(node.inputs) > 1, "Keras merges two tensors or more")
    rank = max(array.ndim for array in node.inputs)
    inputs = [array.reshape((1,) * (rank - array.ndim + 1) + array.shape) for array in node.inputs]
    return predicted(MERGES[node.operation](), inputs, node.outputs[0][None])


def softmax(node: Node) -> Expressed:
    call = ops.softmax if node.operation == "Softmax" else ops.log_softmax
    axis = node.attributes.get("axis", -1) % node.inputs[0].ndim
    x, golden, axis = _whole(node.inputs[0], node.outputs[0], axis)
    return predicted(lambda tensor: call(tensor, axis=axis), [x], golden)


def flatten(node: Node) -> Expressed:
    x, golden = node.inputs[0], node.outputs[0]
    axis = node.attributes.get("axis", 1) % x.ndim
    need(axis in (0, 1), "splits images")
    if axis == 0:
        x = x[None]
    return predicted([layers.Flatten(), layers.Activation("linear")], [x], golden)


def concatenate(node: Node) -> Expressed:
    axis = node.attributes["axis"] % node.inputs[0].ndim
    whole = axis == 0
    inputs = [array[None] for array in node.inputs] if whole else list(node.inputs)
    golden = node.outputs[0][None] if whole else node.outputs[0]
    return predicted(layers.Concatenate(axis + whole), inputs, golden)


def pad(node: Node) -> Expressed:
    """Zeros around the rows and columns; another value is taken off before, and added behind."""
    need(node.text("mode", "constant") == "constant", "Keras pads with zeros")
    x, golden = node.inputs[0], node.outputs[0]
    value = 0.0 if node.input(2) is None else float(node.inputs[2])
    axes = (
        range(x.ndim) if node.input(3) is None else [int(axis) % x.ndim for axis in node.inputs[3]]
    )
    pairs = dict.fromkeys(range(x.ndim), (0, 0))
    pads = [int(n) for n in node.inputs[1]]
    pairs |= {axis: (pads[at], pads[at + len(axes)]) for at, axis in enumerate(axes)}
    need(pairs[0] == pairs[1] == (0, 0) and x.ndim == 4, "pads images or channels")
    steps = [
        layers.Rescaling(1.0, offset=-value),
        layers.ZeroPadding2D((pairs[2], pairs[3])),
        layers.Rescaling(1.0, offset=value),
    ]
    return predicted(steps if value else steps[1], [last(x)], last(golden))


def gemm(node: Node) -> Expressed:
    """A Dense layer; a matrix that is added is a second input."""
    a, b, c = node.inputs[0], node.inputs[1], node.input(2)
    a = a.T if node.attributes.get("transA") else a
    b = (b.T if node.attributes.get("transB") else b) * node.attributes.get("alpha", 1.0)
    units, golden = b.shape[1], node.outputs[0]
    if c is None:
        return predicted(layers.Dense(units, use_bias=False), [a], golden, [b])
    c = c * node.attributes.get("beta", 1.0)
    if c.size in (1, units) and c.shape[:-1] in ((), (1,)):
        bias = np.broadcast_to(c.reshape(-1), (units,)).copy()
        return predicted(layers.Dense(units), [a], golden, [b, bias])
    dense = layers.Dense(units, use_bias=False)
    return predicted(lambda pair: dense(pair[0]) + pair[1], [a, c], golden, [b])


def matmul(node: Node) -> Expressed:
    a, b = node.inputs
    need(b.ndim == 2, "a matrix for each image")
    return predicted(layers.Dense(b.shape[1], use_bias=False), [a], node.outputs[0], [b])


def batch_normalization(node: Node) -> Expressed:
    need(not node.attributes.get("training_mode"), "what training writes stands in training.py")
    x, *weights = node.inputs
    layer = layers.BatchNormalization(epsilon=node.attributes.get("epsilon", 1e-5))
    return predicted(layer, [last(x)], last(node.outputs[0]), weights)


def normalization(node: Node) -> Expressed:
    """LayerNormalization and RMSNormalization: the axes from one on; the first output."""
    x, *weights = node.inputs
    x, golden, axis = _whole(x, node.outputs[0], node.attributes.get("axis", -1) % x.ndim)
    kind = getattr(layers, node.operation)
    epsilon = node.attributes.get("epsilon", 1e-5)
    axes = list(range(axis, x.ndim))
    return predicted(kind(axis=axes, epsilon=epsilon), [x], golden, weights)


def group_normalization(node: Node) -> Expressed:
    x, *weights = node.inputs
    groups, epsilon = node.attributes["num_groups"], node.attributes.get("epsilon", 1e-5)
    layer = layers.GroupNormalization(groups, epsilon=epsilon)
    return predicted(layer, [last(x)], last(node.outputs[0]), weights)


def transpose(node: Node) -> Expressed:
    order = list(node.attributes.get("perm", range(node.inputs[0].ndim)[::-1]))
    dims = [axis + 1 for axis in order]
    return predicted(layers.Permute(dims), [node.inputs[0][None]], node.outputs[0][None])


def resize(node: Node) -> Expressed:
    """Nearest, linear and cubic, from the middle of places, as jax.image does it."""
    x, golden = node.inputs[0], node.outputs[0]
    mode = node.text("mode", "nearest")
    place = node.text("coordinate_transformation_mode", "half_pixel")
    need(place == "half_pixel", f"places by {place}")
    need(x.ndim == 4 and x.shape[:2] == golden.shape[:2], "channels are resized")
    scales = node.input(2)
    if scales is not None and scales.size:
        axes = node.attributes.get("axes", range(4))
        exact = all(
            golden.shape[axis] == x.shape[axis] * scale
            for axis, scale in zip(axes, scales, strict=True)
        )
        need(exact, "a scale that does not divide")
    antialias = bool(node.attributes.get("antialias", 0))
    outside = bool(node.attributes.get("exclude_outside", 0))
    need(outside or not antialias, "what lies outside counts")
    if mode == "nearest":
        _check_nearest(node, x, golden)
    if mode == "cubic":
        cubic = node.attributes.get("cubic_coeff_a", -0.75)
        need(cubic == -0.5 and outside, "another cubic")
    name = {"nearest": "nearest", "linear": "bilinear", "cubic": "bicubic"}[mode]
    layer = layers.Resizing(*golden.shape[2:], interpolation=name, antialias=antialias)
    return predicted(layer, [last(x)], last(golden))


def _check_nearest(node: Node, x: Array, golden: Array) -> None:
    """Where a place lies between two, ONNX and jax.image may take another one."""
    wanted = node.text("nearest_mode", "round_prefer_floor")
    need(wanted == "round_prefer_floor", f"nearest by {wanted}")
    for read, made in zip(x.shape[2:], golden.shape[2:], strict=True):
        middle = (np.arange(made) + 0.5) * read / made
        ours, theirs = np.floor(middle), np.ceil(middle - 1.0).clip(0)
        need(bool((ours == theirs).all()), "halfway between two places")


def _images(array: Array) -> Array:
    """As a batch: one image of a vector."""
    return array.reshape(1, -1) if array.ndim < 2 else array


def _whole(x: Array, golden: Array, axis: int) -> tuple[Array, Array, int]:
    """As one image where an axis is the first, which Keras' layers keep apart."""
    return (x, golden, axis) if axis else (x[None], golden[None], 1)


def identity(node: Node) -> Expressed:
    x, golden = _images(node.inputs[0]), _images(node.outputs[0])
    return predicted([layers.Identity(), layers.Activation("linear")], [x], golden)
