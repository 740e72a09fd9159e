"""Follows a Keras model from its input to its output: the layers of a chain, in order.

What a layer computes is the subject of ``read.py``; here only how layers are connected.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras

from convmill.plan.graph import NotCovered, Shape
from convmill.plan.walk import nodes
from convmill.plan.written import own_call

_ONE_DTYPE = "leave dtype out of keras.Input: uint8 and float64 images are read as they are"


def not_covered(layer: Any, what: str, remedy: str) -> NotCovered:
    """The refusal of ``layer``: its name, its class and what stands in the way."""
    return NotCovered(f"layer {layer.name!r} ({type(layer).__name__}): {what}", remedy)


def check_model(model: Any) -> None:
    """Raises NotCovered unless ``model`` is built from layers and has one input and one output."""
    if not isinstance(model, keras.Model):
        raise TypeError(f"model must be a Keras model. Received: {type(model).__name__}")
    method = own_call(model)
    if method is not None:
        raise NotCovered(
            f"model {model.name!r} ({type(model).__name__}) defines {method} in Python",
            "build it from layers with keras.Sequential or keras.Model(inputs, outputs)",
        )
    if not model.built or not hasattr(model, "inputs"):
        raise NotCovered(
            f"model {model.name!r} is not built, so that its shapes are unknown",
            "begin it with keras.Input(shape), or call model.build((None, *image_shape))",
        )
    inputs, outputs = len(model.inputs), len(model.outputs)
    written = model.outputs[0] if isinstance(model, keras.Sequential) else model.output
    if inputs != 1 or outputs != 1:
        raise NotCovered(
            f"model {model.name!r} has {_counted(inputs, 'input')} and "
            f"{_counted(outputs, 'output')}",
            "make a model of one input and one output",
        )
    if not isinstance(written, keras.KerasTensor):
        raise NotCovered(
            f"model {model.name!r} has its output in a {type(written).__name__}",
            "give keras.Model the output tensor itself, not in a list or a dict",
        )


def _counted(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"


def input_shape(model: Any) -> Shape:
    """Shape of one image that ``model`` reads; ValueError where it is empty."""
    tensor = model.inputs[0]
    shape = tuple(tensor.shape[1:])
    if any(size is None for size in shape) or not shape:
        raise NotCovered(
            f"model {model.name!r} reads images of shape {shape}",
            "give keras.Input a shape without None, such as (28, 28, 1)",
        )
    if min(shape) < 1:
        raise ValueError(
            f"Every size in keras.Input(shape) must be at least 1. Received: shape={shape}"
        )
    if tensor.dtype != "float32":
        raise NotCovered(f"model {model.name!r} reads dtype {tensor.dtype}", _ONE_DTYPE)
    return shape


def all_layers(model: Any) -> Iterator[Any]:
    """Every layer of ``model`` and of the models inside it, Input aside, in no certain order."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            check_model(layer)
            yield from all_layers(layer)
        elif not isinstance(layer, keras.layers.InputLayer):
            yield layer


def chain(model: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yields (unique name, layer) from input to output; models inside ``model`` are flattened."""
    for tensor in model.inputs:
        _check_input(tensor._keras_history.operation)
    for node in nodes(model):
        layer = node.operation
        _check_call(layer, node)
        if isinstance(layer, keras.Model):
            yield from chain(layer, f"{prefix}{layer.name}/")
        else:
            yield prefix + layer.name, layer


def _check_call(layer: Any, node: Any) -> None:
    """Raises NotCovered unless ``layer`` is one, called with one tensor and nothing else."""
    if not isinstance(layer, keras.Layer):
        raise NotCovered(
            f"operation {layer.name!r} ({type(layer).__name__}) is no layer",
            "express it with a layer, for example keras.layers.Rescaling",
        )
    if len(node.input_tensors) != 1:
        raise not_covered(layer, "reads several tensors", "build a chain of layers")
    # fit and predict set ``training`` themselves, whatever the call said
    options = {name: value for name, value in node.arguments.kwargs.items() if name != "training"}
    given = keras.tree.flatten((node.arguments.args, options))
    others = [each for each in given if each is not None and each is not node.input_tensors[0]]
    if others:
        raise not_covered(layer, f"is called with {others}", "call it with its input alone")


def _check_input(layer: Any) -> None:
    if layer.dtype != "float32":
        raise not_covered(layer, f"dtype={layer.dtype!r}", _ONE_DTYPE)
    if layer.sparse or layer.optional or layer.ragged:
        raise not_covered(layer, "is sparse, ragged or optional", "use a plain keras.Input")
