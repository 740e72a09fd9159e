"""Accuracy by where an image lies, or by how much of it is seen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convmill.study.errors import StudyError
from convmill.study.images import laid
from convmill.study.measures.trained import Measured, Trained
from convmill.study.result import Axis

SIDES = ((-1, 0), (1, 0), (0, -1), (0, 1))  # up, down, left, right
POSITIONS = 8  # along each axis
MOST_IMAGES = 1000  # at each position


def border_accuracy(trained: Trained) -> Measured:
    """Test images moved until what is bright in them touches a border; the mean of four sides."""
    x, labels = trained.x_test, trained.labels_test
    shares = [trained.told_right(to_border(x, *side), labels).mean() for side in SIDES]
    return Measured(float(np.mean(shares)))


def to_border(images: NDArray[np.float32], down: int, right: int) -> NDArray[np.float32]:
    """Images (n, height, width, channels), each moved by rows (``down`` is -1 or 1) or columns
    until its first pixel that is not zero lies at that border. Zeros come in behind."""
    axis, sign = (1, down) if down else (2, right)
    inked = (images != 0).any(axis=tuple({1, 2, 3} - {axis}))  # (n, height or width)
    size = inked.shape[1]
    room = inked.argmax(axis=1) if sign < 0 else inked[:, ::-1].argmax(axis=1)
    source = np.arange(size) - sign * room[:, np.newaxis]
    inside = (source >= 0) & (source < size)
    shape = [len(images), 1, 1, 1]
    shape[axis] = size
    index = np.clip(source, 0, size - 1).reshape(shape)
    moved = np.take_along_axis(images, index, axis=axis)
    return np.where(inside.reshape(shape), moved, np.float32(0))


def position_accuracy(trained: Trained) -> Measured:
    """Test images laid everywhere on the canvas: the mean over positions, and the map of them."""
    canvas = _canvas(trained.canvas)
    images = trained.stored_test[:MOST_IMAGES]
    labels = trained.labels_test[:MOST_IMAGES]
    scale = np.float32(trained.x_test.max() / max(float(trained.stored_test.max()), 1e-9))
    places = [
        np.linspace(0, canvas - images.shape[axis], POSITIONS).round().astype(int)
        for axis in (1, 2)
    ]
    shape = (len(images), *trained.x_test.shape[1:])
    rows = []
    for down in places[0]:
        row = []
        for right in places[1]:
            x = laid(images, canvas, down, right).astype(np.float32) * scale
            row.append(float(trained.told_right(x.reshape(shape), labels).mean()))
        rows.append(tuple(row))
    axes = (
        Axis("pixels from the top", tuple(map(float, places[0]))),
        Axis("pixels from the left", tuple(map(float, places[1]))),
    )
    return Measured(float(np.mean(rows)), tuple(rows), axes)


def check_canvas(model: Any, canvas: int | None, options: Mapping[str, Any]) -> None:
    """Raises StudyError where there is no canvas to lay images on."""
    _canvas(canvas)


def _canvas(size: int | None) -> int:
    if size is None:
        raise StudyError("the measure position_accuracy needs data with a canvas.")
    return size


def window_accuracy(trained: Trained) -> Measured:
    """The share of windows that tell the class alone, over all places of a net that averages what
    its windows say."""
    import keras  # here, for the list of measures needs none

    pooling = _global_pooling(trained.model)
    each = keras.Model(trained.model.inputs, pooling.input)
    said = np.asarray(each.predict(trained.x_test[:MOST_IMAGES], batch_size=256, verbose=0))
    right = said.argmax(axis=-1) == trained.labels_test[:MOST_IMAGES, np.newaxis, np.newaxis]
    rows = tuple(tuple(map(float, row)) for row in right.mean(axis=0))
    axes = tuple(
        Axis(f"pixels from the {side}", tuple(map(float, range(size))))
        for side, size in zip(("top", "left"), right.shape[1:], strict=True)
    )
    return Measured(float(right.mean()), rows, (axes[0], axes[1]))


def check_pooling(model: Any, canvas: int | None, options: Mapping[str, Any]) -> None:
    """Raises StudyError where no layer averages what windows say."""
    _global_pooling(model)


def _global_pooling(model: Any) -> Any:
    found = next((layer for layer in model.layers if "global_average" in layer.name), None)
    if found is None:
        raise StudyError("the measure window_accuracy needs a net with global average pooling.")
    return found
