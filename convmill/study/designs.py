"""Designs by name, which arms of a study may take: nets for small images, in plain Keras.

A design is a function of ``input_shape`` (height, width, channels) and ``classes``; what else it
takes are the ``arguments`` of an arm. Nothing here needs Keras before a design is built.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

Shape = tuple[int, ...]

POOLINGS = ("max", "average", "strided", "none")


def notebook(
    input_shape: Shape,
    classes: int,
    pooling: str = "max",
    padding: str = "valid",
    filters: Sequence[int] = (32, 64, 64),
    dense: int = 64,
    head: str = "flatten",
    kernel: int = 3,
) -> Any:
    """The notebook's net: convolutions of 3x3, pooled between them, and a dense layer.

    Args:
        pooling: between convolutions: "max" or "average" over 2x2; "strided": the convolution
            behind moves by two pixels instead; "none".
        filters: one number for each convolution.
        dense: units of the dense layer; 0 for none.
        head: "flatten", or "average" or "max" over all places of the last map.
        kernel: height and width of the first convolution's windows.
    """
    from keras import Sequential, layers

    _check("pooling", pooling, POOLINGS)
    _check("head", head, ("flatten", "average", "max"))
    model = Sequential([layers.Input(input_shape)])
    for number, count in enumerate(filters):
        strides = 2 if pooling == "strided" and number else 1
        size = 3 if number else kernel
        model.add(layers.Conv2D(count, size, strides, padding=padding, activation="relu"))
        last = number == len(filters) - 1
        if pooling in ("max", "average") and not last:
            pool = layers.MaxPooling2D if pooling == "max" else layers.AveragePooling2D
            model.add(pool(2))
    heads = {
        "flatten": layers.Flatten,
        "average": layers.GlobalAveragePooling2D,
        "max": layers.GlobalMaxPooling2D,
    }
    model.add(heads[head]())
    if dense:
        model.add(layers.Dense(dense, activation="relu"))
    model.add(layers.Dense(classes, activation="softmax"))
    return model


def dense(input_shape: Shape, classes: int, units: Sequence[int] = (512,)) -> Any:
    """Dense layers alone, one for each number of ``units``, before that of the classes."""
    from keras import Sequential, layers

    model = Sequential([layers.Input(input_shape), layers.Flatten()])
    for count in units:
        model.add(layers.Dense(count, activation="relu"))
    model.add(layers.Dense(classes, activation="softmax"))
    return model


def stack(
    input_shape: Shape, classes: int, filters: Sequence[int] = (32, 64, 64), dense: int = 64
) -> Any:
    """One convolution of 3x3 with max pooling behind it for each number of ``filters``; borders are
    filled with zeros, so that any depth fits."""
    from keras import Sequential, layers

    model = Sequential([layers.Input(input_shape)])
    for count in filters:
        model.add(layers.Conv2D(count, 3, padding="same", activation="relu"))
        model.add(layers.MaxPooling2D(2))
    model.add(layers.Flatten())
    model.add(layers.Dense(dense, activation="relu"))
    model.add(layers.Dense(classes, activation="softmax"))
    return model


def windows(
    input_shape: Shape, classes: int, window: int = 7, units: Sequence[int] = (64, 64)
) -> Any:
    """Every window of ``window`` x ``window`` pixels says by itself what it sees, by dense layers
    that all windows share; what they say is averaged. So nothing wider than a window is seen."""
    from keras import Sequential, layers

    first, *others = units
    model = Sequential([layers.Input(input_shape)])
    model.add(layers.Conv2D(first, window, activation="relu"))
    for count in others:
        model.add(layers.Conv2D(count, 1, activation="relu"))
    model.add(layers.Conv2D(classes, 1))
    model.add(layers.GlobalAveragePooling2D())
    model.add(layers.Softmax())
    return model


def _check(name: str, value: str, among: Sequence[str]) -> None:
    if value not in among:
        raise ValueError(f"{name} must be one of {', '.join(among)}. Received: {name}={value!r}")


DESIGNS: dict[str, Callable[..., Any]] = {
    "notebook": notebook,
    "dense": dense,
    "stack": stack,
    "windows": windows,
}
