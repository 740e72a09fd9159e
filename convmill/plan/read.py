"""Reads a Keras model into a Graph. The one file that knows which layers are compiled.

What the Graph cannot express raises ``NotCovered``, which names the layer, the argument and what
would work; a model that makes no sense (an empty image) raises ``ValueError``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Container
from dataclasses import dataclass
from typing import Any, Literal

import keras
import numpy as np
from keras import activations, layers, regularizers

from convmill.plan import graph as ops
from convmill.plan.chain import (
    all_layers,
    chain,
    check_model,
    input_shape,
    not_covered,
)
from convmill.plan.graph import LINEAR, Activation, NotCovered, Shape
from convmill.plan.windows import same_padding
from convmill.plan.written import is_keras_class


@dataclass(frozen=True)
class Reading:
    """A Graph and the Keras objects that it was read from.

    ``variables`` are Keras variables in the order of ``graph.parameters``; ``dropouts`` are the
    Dropout layers in the order of their ``seed``.
    """

    graph: ops.Graph
    variables: tuple[Any, ...]
    dropouts: tuple[Any, ...]


def read(model: Any) -> Reading:
    """Reads a built ``keras.Sequential`` or functional model that is a chain of layers.

    Raises:
        NotCovered: a layer, an argument or a connection that the Graph cannot express.
        ValueError: a size of zero, or a number that is not finite.
    """
    check_model(model)
    for layer in all_layers(model):  # a layer that is not covered says more than a branch
        _check_layer(layer)
    named = tuple(chain(model))
    reader = _Reader(frozenset(id(variable) for variable in model.trainable_variables))
    reader.begin(input_shape(model), {name for name, _ in named})
    for name, layer in named:
        reader.add(name, layer)
    used = {id(variable) for variable in reader.variables}
    for weight in model.weights:
        if id(weight) not in used:
            raise NotCovered(
                f"weight {weight.path!r} belongs to no layer of the chain",
                "keep weights in the model's layers",
            )
    nodes = tuple(reader.nodes)
    graph = ops.Graph(nodes, tuple(reader.parameters), (nodes[0].name,), (nodes[-1].name,))
    return Reading(graph, tuple(reader.variables), tuple(reader.dropouts))


class _Reader:
    """Collects nodes, parameters and the Keras objects behind them."""

    def __init__(self, trainable: frozenset[int]) -> None:
        self.trainable = trainable
        self.layers: list[Any] = []
        self.nodes: list[ops.Node] = []
        self.parameters: list[ops.Parameter] = []
        self.variables: list[Any] = []
        self.dropouts: list[Any] = []

    def begin(self, shape: Shape, taken: Container[str]) -> None:
        name = "input"
        while name in taken:
            name += "_"
        self.nodes.append(ops.Node(name, ops.Input(), (), shape))

    def add(self, name: str, layer: Any) -> None:
        if any(layer is other for other in self.layers):
            raise not_covered(layer, "is used more than once", "use one layer for each place")
        self.layers.append(layer)
        before = self.nodes[-1]
        operation, shape = _OPERATIONS[_covered_class(layer)](self, layer, before.shape)
        self.nodes.append(ops.Node(name, operation, (before.name,), shape))

    def parameter(self, layer: Any, argument: Literal["kernel", "bias"]) -> int:
        """Index of a new parameter: the layer's kernel or bias."""
        variable = getattr(layer, argument)
        if variable.constraint is not None:
            raise not_covered(
                layer,
                f"{argument}_constraint={type(variable.constraint).__name__}",
                f"leave {argument}_constraint out",
            )
        trainable = id(variable) in self.trainable
        regularizer = _regularizer(layer, argument, variable.regularizer)
        self.parameters.append(
            ops.Parameter(
                name=variable.path,
                shape=tuple(variable.shape),
                trainable=trainable,
                # Keras adds no penalty for a frozen weight
                regularizer=regularizer if trainable else None,
            )
        )
        self.variables.append(variable)
        return len(self.parameters) - 1


# What a subclass may define without changing what its layer computes.
_HARMLESS = {
    "__module__",
    "__qualname__",
    "__doc__",
    "__init__",
    "__annotations__",
    "__firstlineno__",
    "__static_attributes__",
    "get_config",
    "from_config",
}


def _covered_class(layer: Any) -> type:
    """The class in the table of operations that computes what ``layer`` computes."""
    for candidate in type(layer).__mro__:
        if candidate in _OPERATIONS:
            if "call" in vars(layer):
                raise not_covered(layer, "its call was replaced", "use the layer as it is")
            return candidate
        changed = sorted(set(vars(candidate)) - _HARMLESS)
        if changed and isinstance(layer, tuple(_OPERATIONS)) and not is_keras_class(candidate):
            raise not_covered(
                layer,
                f"its class defines {', '.join(changed)}",
                "use the layer of keras.layers itself",
            )
        if changed:
            break
    raise not_covered(
        layer, "this layer is not covered", f"use Input, {', '.join(_names())}"
    )


def _names() -> list[str]:
    return [known.__name__ for known in _OPERATIONS]


def _check_layer(layer: Any) -> None:
    """Refuses a layer that is not in the table, and arguments that many layers have."""
    _covered_class(layer)
    if layer.dtype_policy.name != "float32":
        raise not_covered(
            layer, f"dtype={layer.dtype_policy.name!r}", 'use dtype="float32", Keras\' default'
        )
    if layer.quantization_mode is not None:
        raise not_covered(layer, f"quantized to {layer.quantization_mode}", "do not call quantize")
    if layer.activity_regularizer is not None:
        raise not_covered(
            layer,
            f"activity_regularizer={type(layer.activity_regularizer).__name__}",
            "use kernel_regularizer",
        )
    if getattr(layer, "data_format", "channels_last") != "channels_last":
        raise not_covered(
            layer, f"data_format={layer.data_format!r}", 'use data_format="channels_last"'
        )
    if getattr(layer, "lora_enabled", False):
        raise not_covered(layer, f"lora_rank={layer.lora_rank}", "leave lora_rank out")
    if hasattr(layer, "activation"):
        _activation(layer)


def _regularizer(layer: Any, argument: str, regularizer: Any) -> ops.Regularizer | None:
    if regularizer is None:
        return None
    if type(regularizer) not in (regularizers.L1, regularizers.L2, regularizers.L1L2):
        raise not_covered(
            layer,
            f"{argument}_regularizer={type(regularizer).__name__}",
            "use keras.regularizers.L1, L2 or L1L2",
        )
    config = regularizer.get_config()
    return ops.Regularizer(l1=float(config.get("l1", 0.0)), l2=float(config.get("l2", 0.0)))


@dataclass(frozen=True)
class _Windows:
    """Where windows lie on an image: padding (top, bottom, left, right), rows and columns."""

    padding: tuple[int, int, int, int]
    rows: int
    columns: int


def _windows(
    layer: Any, shape: Shape, window: tuple[int, int], strides: tuple[int, int]
) -> _Windows:
    if len(shape) != 3:
        raise not_covered(layer, f"reads shape {shape}", "give it images (height, width, channels)")
    if min(strides) < 1:
        raise ValueError(
            f"strides of layer {layer.name!r} must be at least 1. Received: strides={strides}"
        )
    if layer.padding not in ("valid", "same"):
        raise not_covered(layer, f"padding={layer.padding!r}", 'use "valid" or "same"')
    pads = [(0, 0), (0, 0)]
    if layer.padding == "same":
        pads = [same_padding(*axis) for axis in zip(shape[:2], window, strides, strict=True)]
    counts = [
        (shape[axis] + sum(pads[axis]) - window[axis]) // strides[axis] + 1 for axis in (0, 1)
    ]
    if min(counts) < 1:
        raise ValueError(
            f"The window {window} of layer {layer.name!r} is larger than its image {shape[:2]}. "
            'Use a smaller one, or padding="same".'
        )
    return _Windows(pads[0] + pads[1], counts[0], counts[1])


# Activations -------------------------------------------------------------------------------------

_FUNCTIONS: dict[Any, Activation] = {
    activations.linear: LINEAR,
    activations.relu: Activation("relu"),
    activations.relu6: Activation("relu", ceiling=6.0),
    activations.leaky_relu: Activation("leaky_relu", slope=0.2),
    activations.sigmoid: Activation("sigmoid"),
    activations.tanh: Activation("tanh"),
    activations.softmax: Activation("softmax"),
    activations.elu: Activation("elu", slope=1.0),
    activations.gelu: Activation("gelu"),
}


def _activation(layer: Any) -> Activation:
    """The activation of a layer that has an ``activation`` argument."""
    function = layer.activation
    if isinstance(function, keras.Layer):
        _covered_class(function)
        return _activation_layer(function)
    for known, activation in _FUNCTIONS.items():
        if function is known:
            return activation
    name = getattr(function, "__name__", None) or type(function).__name__
    raise not_covered(
        layer,
        f"activation={name}",
        "use linear, relu, leaky_relu, sigmoid, tanh, softmax, elu or gelu",
    )


def _activation_layer(layer: Any) -> Activation:
    """The activation that a ReLU, LeakyReLU, ELU, Softmax or Activation layer computes."""
    if isinstance(layer, layers.ReLU):
        if layer.threshold:
            raise not_covered(layer, f"threshold={layer.threshold}", "leave threshold out")
        ceiling = None if layer.max_value is None else float(layer.max_value)
        return Activation("relu", slope=float(layer.negative_slope), ceiling=ceiling)
    if isinstance(layer, layers.LeakyReLU):
        return Activation("leaky_relu", slope=float(layer.negative_slope))
    if isinstance(layer, layers.ELU):
        return Activation("elu", slope=float(layer.alpha))
    if isinstance(layer, layers.Softmax):
        axes = layer.axis if isinstance(layer.axis, (list, tuple)) else [layer.axis]
        if list(axes) != [-1]:
            raise not_covered(layer, f"axis={layer.axis}", "use axis=-1")
        return Activation("softmax")
    if isinstance(layer, layers.Activation):
        return _activation(layer)
    raise not_covered(layer, "is no activation", "use an activation of keras.activations")


# Operations: (reader, layer, shape read) -> (operation, shape written) ---------------------------

_Read = tuple[ops.Operation, Shape]


def _rescale(reader: _Reader, layer: Any, shape: Shape) -> _Read:
    for argument in ("scale", "offset"):
        value = np.asarray(getattr(layer, argument))
        if value.ndim:
            raise not_covered(
                layer, f"{argument} of shape {value.shape}", f"use one number as {argument}"
            )
        if not np.isfinite(value):
            raise ValueError(
                f"{argument} of layer {layer.name!r} must be finite. Received: {argument}={value}"
            )
    return ops.Rescale(float(layer.scale), float(layer.offset)), shape


def _convolution(reader: _Reader, layer: Any, shape: Shape) -> _Read:
    if max(layer.dilation_rate) > 1:
        raise not_covered(layer, f"dilation_rate={layer.dilation_rate}", "use dilation_rate=1")
    if layer.groups != 1:
        raise not_covered(layer, f"groups={layer.groups}", "use groups=1")
    kernel_size, strides = tuple(layer.kernel_size), tuple(layer.strides)
    windows = _windows(layer, shape, kernel_size, strides)
    operation = ops.Convolution(
        filters=layer.filters,
        kernel_size=kernel_size,
        strides=strides,
        padding=windows.padding,
        activation=_activation(layer),
        kernel=reader.parameter(layer, "kernel"),
        bias=reader.parameter(layer, "bias") if layer.use_bias else None,
    )
    return operation, (windows.rows, windows.columns, layer.filters)


def _pooling(reader: _Reader, layer: Any, shape: Shape) -> _Read:
    kind: Literal["max", "average"] = "max" if isinstance(layer, layers.MaxPooling2D) else "average"
    pool_size, strides = tuple(layer.pool_size), tuple(layer.strides)
    windows = _windows(layer, shape, pool_size, strides)
    operation = ops.Pooling(kind, pool_size, strides, windows.padding)
    return operation, (windows.rows, windows.columns, shape[2])


def _global_pooling(reader: _Reader, layer: Any, shape: Shape) -> _Read:
    """Pooling over the whole image; without keepdims the shape written is (channels,)."""
    kind: Literal["max", "average"] = (
        "max" if isinstance(layer, layers.GlobalMaxPooling2D) else "average"
    )
    whole = (shape[0], shape[1])
    written = (1, 1, shape[2]) if layer.keepdims else (shape[2],)
    ties: Literal["first", "share"] = "share" if kind == "max" else "first"
    return ops.Pooling(kind, whole, whole, (0, 0, 0, 0), ties), written


def _flatten(reader: _Reader, layer: Any, shape: Shape) -> _Read:
    return ops.Flatten(), (math.prod(shape),)


def _dense(reader: _Reader, layer: Any, shape: Shape) -> _Read:
    if len(shape) != 1:
        raise not_covered(
            layer,
            f"reads shape {shape}",
            "put Flatten before it, or use Conv2D with kernel_size=1",
        )
    operation = ops.Dense(
        units=layer.units,
        activation=_activation(layer),
        kernel=reader.parameter(layer, "kernel"),
        bias=reader.parameter(layer, "bias") if layer.use_bias else None,
    )
    return operation, (layer.units,)


def _dropout(reader: _Reader, layer: Any, shape: Shape) -> _Read:
    if layer.noise_shape is not None:
        raise not_covered(layer, f"noise_shape={layer.noise_shape}", "leave noise_shape out")
    if layer.rate == 0:  # does nothing, and Keras gives it no seed
        return ops.Activate(LINEAR), shape
    reader.dropouts.append(layer)
    return ops.Dropout(float(layer.rate), len(reader.dropouts) - 1), shape


def _activate(reader: _Reader, layer: Any, shape: Shape) -> _Read:
    return ops.Activate(_activation_layer(layer)), shape


_OPERATIONS: dict[type, Callable[[_Reader, Any, Shape], _Read]] = {
    layers.Rescaling: _rescale,
    layers.Conv2D: _convolution,
    layers.MaxPooling2D: _pooling,
    layers.AveragePooling2D: _pooling,
    layers.GlobalMaxPooling2D: _global_pooling,
    layers.GlobalAveragePooling2D: _global_pooling,
    layers.Flatten: _flatten,
    layers.Dense: _dense,
    layers.Dropout: _dropout,
    layers.Activation: _activate,
    layers.ReLU: _activate,
    layers.LeakyReLU: _activate,
    layers.ELU: _activate,
    layers.Softmax: _activate,
}
