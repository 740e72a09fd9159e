"""Images and labels in the form in which a given model takes them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from convmill.failure import Failure, as_failures

LARGEST_PIXEL = 255
Shape = tuple[int | None, ...]


def images_for(model: Any, images: np.ndarray, source: str, pixels: Any = None) -> np.ndarray:
    """``images``, (n, height, width) or (n, height, width, channels), as the model reads them.

    Whole numbers are taken for pixels 0..255 and brought to the range ``pixels`` of ``--pixels``;
    where it is None they are divided by 255, unless the model has a layer that does it. Fractions
    are taken as they are.

    Raises:
        Failure: the model reads images of another size, or of another number of channels than
            ``pixels`` has.
    """
    size = images.shape[1:]
    with_channels = size if len(size) == 3 else (*size, 1)
    without = size[:-1] if size[-1:] == (1,) else size
    wanted = input_shape(model)
    for shape in (with_channels, without, (math.prod(size),)):
        if _matches(shape, wanted):
            return _scaled(model, images, pixels).reshape(len(images), *shape)
    raise Failure(f"The model reads images of {_text(wanted)}. Received: {source}, {_text(size)}.")


def labels_for(model: Any, labels: np.ndarray, classes: int) -> np.ndarray:
    """Class indices (n,) in the form of the model's loss: indices, or one row per image.

    Raises:
        Failure: the model tells apart fewer classes.
    """
    outputs = output_size(model)
    known = max(outputs, 2)
    if classes > known:
        raise Failure(f"The model tells {known} classes apart. Received: data of {classes}.")
    if outputs == 1:
        return labels.astype(np.float32)[:, np.newaxis]
    if "sparse" in loss_name(model):
        return labels.astype(np.int32)
    return np.eye(outputs, dtype=np.float32)[labels]


def class_names_for(model: Any, names: Sequence[str]) -> tuple[str, ...]:
    """A name for each class of the model; it may tell more of them apart than the data has."""
    return (*names, *map(str, range(len(names), max(output_size(model), 2))))


def loss_name(model: Any) -> str:
    """The name of the loss that the model is compiled with, in snake case where Keras gives it."""
    from convmill.inspection.loss import given_loss

    loss = given_loss(model)
    if isinstance(loss, str):
        return loss.lower()
    name = getattr(loss, "name", None) or getattr(loss, "__name__", None)
    return str(name or type(loss).__name__).lower()


def input_shape(model: Any) -> Shape:
    """The shape of one image.

    Raises:
        Failure: the model has several inputs, or does not say what it reads.
    """
    return _shape(model, "input_shape")


def output_size(model: Any) -> int:
    """How many numbers the model gives for one image.

    Raises:
        Failure: it has several outputs, or one that is no row of numbers.
    """
    shape = _shape(model, "output_shape")
    if len(shape) != 1 or shape[0] is None:
        raise Failure(f"The model must give a row of numbers for an image. Received: {shape}.")
    return shape[0]


def _shape(model: Any, attribute: str) -> Shape:
    shape = getattr(model, attribute, None)
    if not isinstance(shape, tuple):
        raise Failure(
            "The command line takes models of one input and one output, Sequential or functional. "
            f"Received: {type(model).__name__} {model.name}."
        )
    return shape[1:]


def _scaled(model: Any, images: np.ndarray, pixels: Any) -> np.ndarray:
    from convmill.plan.pixels import pixel_range

    channels = images.shape[3] if images.ndim == 4 else 1
    with as_failures():
        read = pixel_range(model, pixels, channels)
    if images.dtype.kind == "f" or read.origin == "told":
        return images
    return read.scaled(images.astype(np.float32) / np.float32(LARGEST_PIXEL))


def _matches(shape: tuple[int, ...], wanted: Shape) -> bool:
    return len(shape) == len(wanted) and all(
        size is None or size == given for given, size in zip(shape, wanted, strict=True)
    )


def _text(shape: Shape) -> str:
    return "x".join("any" if size is None else str(size) for size in shape)
