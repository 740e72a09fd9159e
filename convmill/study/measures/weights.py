"""Where in the image the units of the first layer have learned something: spatial extent."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convmill.study.errors import StudyError
from convmill.study.measures.trained import Measured, Trained, first_kernel
from convmill.study.result import Axis

HELD = 0.9  # the share of the squared change that counts as all of it


def extent(trained: Trained) -> Measured:
    """How many pixels hold 90 % of the squared change of a unit's weights, the mean over units; and
    the map of the mean squared change."""
    learned = _learned(trained)
    rows, columns, units = learned.shape
    sorted_shares = np.sort(_shares(learned).reshape(-1, units), axis=0)[::-1].cumsum(axis=0)
    pixels = (sorted_shares < HELD).sum(axis=0) + 1
    mean = learned.mean(axis=2)
    return Measured(
        float(pixels.mean()),
        tuple(tuple(map(float, row)) for row in mean),
        (
            Axis("row of the window", tuple(map(float, range(rows)))),
            Axis("column of the window", tuple(map(float, range(columns)))),
        ),
    )


def radius(trained: Trained) -> Measured:
    """The root of the mean squared distance of a unit's squared change from its own middle, in
    pixels; the mean over units."""
    shares = _shares(_learned(trained))
    total = 0.0
    for axis in (0, 1):
        along = shares.sum(axis=1 - axis)  # (rows or columns, units)
        place = np.arange(len(along))[:, np.newaxis]
        middle = (along * place).sum(axis=0)
        total = total + (along * (place - middle) ** 2).sum(axis=0)
    return Measured(float(np.sqrt(total).mean()))


def check_kernel(model: Any, canvas: int | None, options: Mapping[str, Any]) -> None:
    """Raises StudyError where the first kernel's weights do not lie over the image."""
    _check(first_kernel(model).shape, model.input_shape[1:])


def _check(kernel: tuple[int, ...], image: tuple[int, ...]) -> None:
    dense = len(kernel) == 2 and len(image) == 3 and kernel[0] == math.prod(image)
    if not dense and len(kernel) != 4:
        raise StudyError(
            "the measures extent and radius need a first layer that is dense or a convolution. "
            f"Received: a kernel of shape {kernel}."
        )


def _shares(learned: NDArray[Any]) -> NDArray[Any]:
    """Of each unit's squared change what each pixel has."""
    return np.asarray(learned / np.maximum(learned.sum(axis=(0, 1)), np.finfo(float).tiny))


def _learned(trained: Trained) -> NDArray[Any]:
    """Squared change of the first layer's weights by pixel and unit, (rows, columns, units); units
    that have learned nothing are left out."""
    change = (first_kernel(trained.model).astype(np.float64) - trained.first_kernel) ** 2
    shape = trained.x_test.shape[1:]
    _check(change.shape, shape)
    if change.ndim == 2:  # dense: a weight for each pixel
        change = change.reshape(*shape, -1)
    summed = change.sum(axis=2)  # over channels
    return np.asarray(summed[:, :, summed.sum(axis=(0, 1)) > 0])
