"""A model with the sizes that are asked for, made without touching the user's own."""

from __future__ import annotations

import operator
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras

from convmill.plan.graph.nodes import DeadEnd
from convmill.plan.graph.shapes import Shape
from convmill.plan.written import own_call
from convmill.reasons import keras_reason
from convmill.whole import is_whole


def check_model(model: Any) -> None:
    """Raises TypeError unless ``model`` is a Keras model."""
    if not isinstance(model, keras.Model):
        raise TypeError(f"model must be a Keras model. Received: {type(model).__name__}")


def check_graph(model: Any) -> None:
    """Raises unless ``model`` is a Keras model whose graph of layers can be known.

    Raises:
        TypeError: it is no Keras model.
        ValueError: its ``call``, or ``__call__``, is written in Python.
    """
    check_model(model)
    method = own_call(model)
    if method is not None:
        raise ValueError(
            f"model {model.name!r} ({type(model).__name__}) defines {method} in Python, so that "
            "its graph cannot be known. Build it from layers with keras.Sequential or "
            "keras.Model(inputs, outputs)."
        )


def rebuild(model: Any, input_shape: Shape | None) -> tuple[Any, DeadEnd | None]:
    """``model`` itself where it is built for ``input_shape`` (None: its own), else a copy of its
    layers for that shape; and the layer at which the shapes end, where they do.

    Raises:
        TypeError: ``model`` is no Keras model.
        ValueError: its layers or sizes are not known, or it cannot be copied.
    """
    check_graph(model)
    built = bool(getattr(model, "inputs", None))
    if isinstance(model, keras.Sequential) and not model.layers:
        raise ValueError(f"model {model.name!r} has no layers. Add some with model.add(layer).")
    if input_shape is None:
        _check_sizes(model, built)
        return model, None
    input_shape = _checked(input_shape)
    if built and len(model.inputs) != 1:
        raise ValueError(
            f"input_shape is for models with one input. Received: {len(model.inputs)} inputs in "
            f"model {model.name!r}."
        )
    if built and tuple(model.inputs[0].shape[1:]) == input_shape:
        return model, None
    with same_random_state():
        if isinstance(model, keras.Sequential):
            return _chain(model, input_shape)
        return _copy(model, input_shape)


@contextmanager
def same_random_state() -> Iterator[None]:
    """Leaves Python's random numbers as they were: initializers draw their seeds from there."""
    state = random.getstate()
    try:
        yield
    finally:
        random.setstate(state)


def _checked(shape: Any) -> Shape:
    whole = isinstance(shape, (list, tuple)) and all(map(is_whole, shape))
    sizes = tuple(map(operator.index, shape)) if whole else ()
    if not sizes or min(sizes) < 1:
        raise ValueError(
            "input_shape must be the sizes of one image, such as (28, 28, 1). "
            f"Received: input_shape={shape!r}"
        )
    return sizes


def _check_sizes(model: Any, built: bool) -> None:
    if not built:
        raise ValueError(
            f"model {model.name!r} is not built, so that its shapes are unknown. "
            "Give input_shape=(height, width, channels), or begin it with keras.Input(shape)."
        )
    for tensor in model.inputs:
        shape = tuple(tensor.shape[1:])
        if any(size == 0 for size in shape):
            raise ValueError(
                f"Every size in keras.Input(shape) must be at least 1. Received: shape={shape}"
            )
        if any(size is None for size in shape):
            raise ValueError(
                f"model {model.name!r} reads images of any size, {shape}. "
                "Give input_shape=(height, width, channels) to say which one."
            )


def _chain(model: Any, input_shape: Shape) -> tuple[Any, DeadEnd | None]:
    """Copies of a Sequential's layers, one after another as far as shapes allow."""
    tensor = image = keras.Input(input_shape)
    dead_end = None
    for layer in model.layers:
        before, copy = tuple(tensor.shape[1:]), _copied(layer)
        try:
            tensor = copy(tensor)
        except Exception as error:  # whatever Keras or a user's layer raises
            dead_end = DeadEnd(layer.name, _why(layer, before, error))
            break
    return keras.Model(image, tensor, name=model.name), dead_end


def _copied(layer: Any) -> Any:
    """A layer of the same configuration and name; ValueError where it has none."""
    # a Lambda that came from a file was loaded only where its user allowed that
    options = {"safe_mode": False} if isinstance(layer, keras.layers.Lambda) else {}
    try:
        copy = type(layer).from_config(layer.get_config(), **options)
    except Exception as error:  # whatever a user's layer raises
        raise ValueError(
            f"layer {layer.name!r} ({type(layer).__name__}) cannot be copied to look at another "
            f"size ({type(error).__name__}). Give it a get_config, or begin the model with "
            "keras.Input."
        ) from error
    copy.name = layer.name
    return copy


def _copy(model: Any, input_shape: Shape) -> tuple[Any, DeadEnd | None]:
    """A copy of a functional model; where shapes end, of what leads to that layer."""
    image = keras.Input(input_shape)
    # of the same tensors, not compiled: what it was compiled with need not be copied
    graph = keras.Model(model.inputs[0], model.outputs, name=model.name)
    dead_ends: list[tuple[Any, DeadEnd]] = []

    def called(layer: Any, *arguments: Any, **options: Any) -> Any:
        try:
            return layer(*arguments, **options)
        except Exception as error:  # whatever Keras or a user's layer raises
            given = keras.tree.flatten((arguments, options))
            read = next(each for each in given if isinstance(each, keras.KerasTensor))
            dead_end = DeadEnd(layer.name, _why(layer, tuple(read.shape[1:]), error))
            dead_ends.append((read, dead_end))
            raise

    try:
        copy = keras.models.clone_model(graph, image, clone_function=_copied, call_function=called)
        return copy, None
    except Exception as error:  # also of layers that cannot be copied
        if dead_ends:
            read, dead_end = dead_ends[0]
            return keras.Model(image, read, name=model.name), dead_end
        raise ValueError(
            f"model {model.name!r} cannot be built for input_shape={input_shape}: "
            f"{keras_reason(error)}"
        ) from error


def _why(layer: Any, read: Shape, error: Exception) -> str:
    """Why a layer cannot be applied to a map of shape ``read``."""
    size = getattr(layer, "kernel_size", None) or getattr(layer, "pool_size", None)
    if size and len(read) == 3 and any(size[axis] > read[axis] for axis in (0, 1)):
        return f"its window of {_text(size)} is larger than the {_text(read[:2])} map that it reads"
    return f"it reads {_text(read)}: {keras_reason(error)}"


def _text(shape: Shape) -> str:
    return "x".join(map(str, shape))
