"""The arrays in what a user passes as x, y and weights: unwrapped, numbers, equally many."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from convmill.plan.graph import NotCovered
from convmill.train import check


@dataclass(frozen=True)
class Given:
    """Arrays as the user passed them, unwrapped from lists and dicts of one."""

    x: np.ndarray
    y: np.ndarray | None = None
    weight: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.x)

    def part(self, start: int, stop: int) -> Given:
        """The images from ``start`` to ``stop``, as views."""
        return self.each(lambda array: array[start:stop])

    def rows(self, order: np.ndarray) -> Given:
        """Copies of the images that ``order``, int64 (m,), picks."""
        return self.each(lambda array: array[order])

    def each(self, change: Callable[[np.ndarray], np.ndarray]) -> Given:
        """``change`` done to every array that is there."""
        y, weight = (None if a is None else change(a) for a in (self.y, self.weight))
        return Given(change(self.x), y, weight)


@dataclass(frozen=True)
class Names:
    """Names by which a dict may hold the model's one input and one output."""

    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()


def take(x: Any, y: Any, sample_weight: Any, names: Names) -> Given:
    """The arrays in what the user passed.

    Raises:
        ValueError: nothing was passed, nothing is in it, or the lengths differ.
        NotCovered: it is no array of numbers that NumPy can hold.
    """
    if x is None:
        raise ValueError("x, the images, is missing. Received: x=None")
    given = Given(
        _array(_only(x, "x", names.inputs), "x"),
        _optional(_only(y, "y", names.outputs), "y"),
        _optional(_only(sample_weight, "sample_weight", names.outputs), "sample_weight"),
    )
    check.lengths(given.x, given.y, given.weight)
    return given


def _optional(value: Any, argument: str) -> np.ndarray | None:
    return None if value is None else _array(value, argument)


def _array(value: Any, argument: str) -> np.ndarray:
    """``value`` as an array of numbers, in any byte order."""
    try:
        on_device = type(value).__module__.split(".")[0] == "torch"
        array = np.asarray(value.detach().cpu() if on_device else value)
    except (TypeError, ValueError) as error:
        raise NotCovered(
            f"{argument} of type {type(value).__name__} ({error})", "pass a NumPy array"
        ) from error
    if array.dtype.kind == "O" and not isinstance(value, np.ndarray | list | tuple):  # sparse ones
        raise NotCovered(f"{argument} of type {type(value).__name__}", "pass a NumPy array")
    check.numbers(array, argument)
    if str(array.dtype) == "bfloat16":
        array = array.astype(np.float32)
    return array


def _only(value: Any, argument: str, names: Sequence[str]) -> Any:
    """The one array in a list, tuple or dict of one; other values as they are."""
    if isinstance(value, Mapping) and len(value) == 1 and next(iter(value)) in names:
        return next(iter(value.values()))
    if isinstance(value, list | tuple) and value and hasattr(value[0], "shape"):
        if len(value) == 1 and getattr(value[0], "ndim", 0) > 0:
            return value[0]
        if any(getattr(item, "ndim", 0) > 0 for item in value):
            raise NotCovered(f"{len(value)} arrays as {argument}", f"pass {argument} as one array")
    if isinstance(value, Mapping):
        raise NotCovered(
            f"a dict with {list(value)} as {argument}", f"pass {argument} as one array"
        )
    return value
