"""For images of which sizes a model is read: those of the data at hand, where it takes several."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from convmill.plan.graph.nodes import Graph
from convmill.plan.graph.shapes import Shape, Sizes
from convmill.plan.read import input_shapes

Open = tuple[tuple[int | None, ...], ...]  # a shape for each input, None for a size left open
# Sizes to read a model for before any image is seen: streams may say none, and are read once.
_TRIED = (32, 64, 224)


def open_shapes(model: Any) -> Open | None:
    """The shapes of a built model's inputs, where it leaves some sizes open; else None."""
    shapes = input_shapes(model)
    return shapes if any(None in shape for shape in shapes) else None


def sizes_of(x: Sequence[np.ndarray], shapes: Open) -> Sizes:
    """The sizes of arrays (n, *shape), one for each input of a graph with open ``shapes``; those
    that it does not leave open are its own.

    Raises ValueError where an array has other axes.
    """
    return tuple(_filled(one.shape[1:], shape) for one, shape in zip(x, shapes, strict=True))


def _filled(given: Shape, shape: tuple[int | None, ...]) -> Shape:
    """A last axis of length 1 may be missing, or be one too many."""
    if len(given) == len(shape) - 1 and shape[-1] == 1:
        given = (*given, 1)
    if len(given) == len(shape) + 1 and given[-1] == 1:
        given = given[:-1]
    if len(given) != len(shape):
        wanted = ", ".join(["n", *("any" if size is None else str(size) for size in shape)])
        raise ValueError(
            f"x must have the shape of the model's input, ({wanted}). "
            f"Received: x of shape (n, {', '.join(map(str, given))})"
        )
    return tuple(own if size is None else size for own, size in zip(given, shape, strict=True))


def sizes_called(x: Sequence[np.ndarray], graph: Graph) -> Sizes | None:
    """The sizes of arrays for a model that computes by a ``call`` of its own, where they are not
    those of the ``graph`` for which it was built; None where they are, or have other axes."""
    built = [graph.node(name).shape for name in graph.inputs]
    given = tuple(one.shape[1:] for one in x)
    same_axes = [len(one) for one in built] == [len(one) for one in given]
    return given if same_axes and list(given) != built else None


def tried(shapes: Open) -> list[Sizes]:
    """Sizes for a graph with open ``shapes``, of which nobody has seen images."""
    return [
        tuple(tuple(side if size is None else size for size in shape) for shape in shapes)
        for side in _TRIED
    ]
