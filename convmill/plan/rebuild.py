"""A model with the sizes that are asked for, made without touching the user's own."""

from __future__ import annotations

from typing import Any

import keras

from convmill.plan.chain import is_keras_class
from convmill.plan.graph import Shape
from convmill.plan.outline import DeadEnd


def check_graph(model: Any) -> None:
    """Raises unless ``model`` is a Keras model whose graph of layers can be known.

    Raises:
        TypeError: it is no Keras model.
        ValueError: its ``call`` is written in Python.
    """
    if not isinstance(model, keras.Model):
        raise TypeError(f"model must be a Keras model. Received: {type(model).__name__}")
    writer = next(base for base in type(model).__mro__ if "call" in vars(base))
    if "call" in vars(model) or not is_keras_class(writer):
        raise ValueError(
            f"model {model.name!r} ({type(model).__name__}) defines call in Python, so that its "
            "graph cannot be known. Build it from layers with keras.Sequential or "
            "keras.Model(inputs, outputs)."
        )


def rebuild(model: Any, input_shape: Shape | None) -> tuple[Any, DeadEnd | None]:
    """``model`` itself where it is built for ``input_shape`` (None: its own), else a copy of its
    layers for that shape; and the layer at which the shapes end, where they do.

    Raises:
        ValueError: the sizes are not known, or the model cannot be copied.
    """
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
    if isinstance(model, keras.Sequential):
        return _chain(model, input_shape)
    return _copy(model, input_shape), None


def _checked(shape: Any) -> Shape:
    sizes = tuple(shape)
    if not sizes or any(not isinstance(size, int) or size < 1 for size in sizes):
        raise ValueError(
            "input_shape must be the sizes of one image, such as (28, 28, 1). "
            f"Received: input_shape={shape}"
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
        before = tuple(tensor.shape[1:])
        try:
            tensor = type(layer).from_config(layer.get_config())(tensor)
        except Exception as error:  # whatever Keras or a user's layer raises
            dead_end = DeadEnd(layer.name, _why(layer, before, error))
            break
    return keras.Model(image, tensor, name=model.name), dead_end


def _copy(model: Any, input_shape: Shape) -> Any:
    try:
        return keras.models.clone_model(model, input_tensors=keras.Input(input_shape))
    except Exception as error:  # whatever Keras or a user's layer raises
        raise ValueError(
            f"model {model.name!r} cannot be built for input_shape={input_shape}: "
            f"{_first_line(error)}"
        ) from error


def _why(layer: Any, read: Shape, error: Exception) -> str:
    """Why a layer cannot be applied to a map of shape ``read``."""
    size = getattr(layer, "kernel_size", None) or getattr(layer, "pool_size", None)
    if size and len(read) == 3 and any(size[axis] > read[axis] for axis in (0, 1)):
        return f"its window of {_text(size)} is larger than the {_text(read[:2])} map that it reads"
    return f"it reads {_text(read)}: {_first_line(error)}"


def _text(shape: Shape) -> str:
    return "x".join(map(str, shape))


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
