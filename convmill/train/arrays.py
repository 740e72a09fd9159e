"""The arrays in what a user passes as x, y and weights: unwrapped, numbers, equally many."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from convmill.plan.ends import ONE, Ends, Unfit
from convmill.plan.refusals import DataNotCovered
from convmill.train import check

ByOutput = tuple[np.ndarray | None, ...]  # an array for each output of a model that has one


def in_native_order(array: np.ndarray) -> np.ndarray:
    """In this machine's byte order; the array itself where that is its own."""
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def for_jax(array: np.ndarray) -> np.ndarray:
    """In this machine's byte order, and as float32 where it has whole numbers that no int32 holds:
    JAX would cut them to 32 bits without a word."""
    return array.astype(np.float32) if _beyond_int32(array) else in_native_order(array)


def _beyond_int32(array: np.ndarray) -> bool:
    if array.dtype.kind not in "iu" or np.can_cast(array.dtype, np.int32) or not array.size:
        return False
    most = np.iinfo(np.int32)
    return bool(array.min() < most.min or array.max() > most.max)


@dataclass(frozen=True)
class Given:
    """ByOutput as the user passed them: ``x`` one for each input of the model, ``y`` and ``weight``
    one for each output, None for those that have none."""

    x: tuple[np.ndarray, ...]
    y: ByOutput | None = None
    weight: ByOutput | None = None

    def __len__(self) -> int:
        return len(self.x[0])

    @property
    def arrays(self) -> list[np.ndarray]:
        """All that are there."""
        every = (*self.x, *(self.y or ()), *(self.weight or ()))
        return [one for one in every if one is not None]

    def rows_within(self, limit: int) -> int:
        """How many images take no more than ``limit`` bytes, with what belongs to them; at least
        one."""
        size = sum(one.nbytes for one in self.arrays)
        return max(1, limit * len(self.arrays[0]) // max(1, size))

    def part(self, start: int, stop: int) -> Given:
        """The images from ``start`` to ``stop``, as views."""
        return self.each(lambda array: array[start:stop])

    def rows(self, order: np.ndarray) -> Given:
        """Copies of the images that ``order``, int64 (m,), picks."""
        return self.each(lambda array: array[order])

    def each(self, change: Callable[[np.ndarray], np.ndarray]) -> Given:
        """``change`` done to every array that is there."""

        def changed(arrays: ByOutput | None) -> ByOutput | None:
            if arrays is None:
                return None
            return tuple(None if one is None else change(one) for one in arrays)

        return Given(tuple(map(change, self.x)), changed(self.y), changed(self.weight))

    def check_targets(self, numbers: Iterable[int], outputs: Ends) -> None:
        """ValueError where one of the outputs with these ``numbers``, at which metrics look, has no
        y."""
        for number in numbers:
            if self.y is None or self.y[number] is None:
                title = outputs.title("y", number)
                raise ValueError(
                    f"{title}, at which a metric looks, is missing. Received: {title}=None"
                )


@dataclass(frozen=True)
class Interface:
    """How a model takes x, y and weights; ``asked`` numbers the outputs that have a loss."""

    inputs: Ends = ONE
    outputs: Ends = ONE
    asked: tuple[int, ...] = (0,)

    def pack(self, given: Given) -> tuple[Any, Any, Any]:
        """x, y and weights in the model's own structures."""
        y, weight = (None if a is None else self.outputs.pack(a) for a in (given.y, given.weight))
        return self.inputs.pack(given.x), y, weight


def take(x: Any, y: Any, sample_weight: Any, interface: Interface) -> Given:
    """The arrays in what the user passed.

    Raises:
        ValueError: nothing was passed, nothing is in it, it is not what the model takes, or the
            lengths differ.
        NotCovered: it is no array of numbers that NumPy can hold.
    """
    if x is None:
        raise ValueError("x, the images, is missing. Received: x=None")
    if (plain := _plain(x, y, sample_weight, interface)) is not None:
        return plain
    outputs = interface.outputs
    images, labels, weights = _images(x, interface.inputs), None, None
    if y is not None:
        labels = _targets(y, "y", interface)
    if sample_weight is not None and (_is_several(sample_weight) or len(outputs) == 1):
        weights = _targets(sample_weight, "sample_weight", interface)
    elif sample_weight is not None:
        weights = (_array(sample_weight, "sample_weight"),) * len(outputs)
    named = {interface.inputs.title("x", number): one for number, one in enumerate(images)}
    for argument, arrays in (("y", labels), ("sample_weight", weights)):
        present = ((n, one) for n, one in enumerate(arrays or ()) if one is not None)
        named |= {outputs.title(argument, number): one for number, one in present}
    check.lengths(named)
    return Given(images, labels, weights)


def _plain(x: Any, y: Any, sample_weight: Any, interface: Interface) -> Given | None:
    """Arrays for one input and one output about which nothing need be said: what most batches of
    streams are, without a look at each of them from all sides. None for others."""
    given = [one for one in (x, y, sample_weight) if one is not None]
    plain = all(type(one) is np.ndarray and one.dtype.kind in "buif" and one.ndim for one in given)
    if not plain or len(interface.inputs) > 1 or len(interface.outputs) > 1:
        return None
    if len(x) == 0 or any(len(one) != len(x) for one in given):
        return None
    y, weight = (None if one is None else (one,) for one in (y, sample_weight))
    return Given((x,), y, weight)


def _images(x: Any, inputs: Ends) -> tuple[np.ndarray, ...]:
    if len(inputs) == 1:
        values = [_only(x, "x", inputs)]
    elif isinstance(x, Mapping) and all(key in x for key in inputs.keys):
        values = [x[key] for key in inputs.keys]
    elif isinstance(x, list | tuple) and isinstance(inputs.structure, Mapping):
        raise DataNotCovered(f"a {type(x).__name__} as x", f"pass x as {_wanted(inputs)}")
    else:
        values = _fitted(x, "x", inputs)
    pairs = enumerate(values)
    return tuple(_array(value, inputs.title("x", number)) for number, value in pairs)


def _targets(value: Any, argument: str, interface: Interface) -> ByOutput:
    """One array for each output, or for each that has a loss."""
    outputs, asked = interface.outputs, interface.asked
    values: Sequence[Any]
    if len(outputs) == 1:
        values = [_only(value, argument, outputs)]
    elif isinstance(value, Mapping) and _holds(value, outputs, asked):
        values = [value.get(key) for key in outputs.keys]
    elif len(asked) < len(outputs) and (few := _of_asked(value, len(asked))) is not None:
        by_number = dict(zip(asked, few, strict=True))
        values = [by_number.get(number) for number in range(len(outputs))]
    else:
        values = _fitted(value, argument, outputs)
    return tuple(
        None if one is None else _array(one, outputs.title(argument, number))
        for number, one in enumerate(values)
    )


def _holds(value: Mapping[Any, Any], outputs: Ends, asked: Sequence[int]) -> bool:
    """Whether a dict holds something for each output that has a loss, and nothing else."""
    keys = outputs.keys
    wanted = {keys[number] for number in asked}
    return len(set(keys)) == len(keys) and wanted <= set(value) <= set(keys)


def _of_asked(value: Any, count: int) -> list[Any] | None:
    """The ``count`` arrays in a list or alone; None where there are others than these."""
    if isinstance(value, list | tuple) and _is_several(value):
        return list(value) if len(value) == count else None
    return [value] if count == 1 and not isinstance(value, Mapping) else None


def _is_several(value: Any) -> bool:
    """Whether a value holds arrays, and is not one."""
    if isinstance(value, list | tuple):
        return bool(value) and not np.isscalar(value[0])
    return isinstance(value, Mapping)


def _fitted(value: Any, argument: str, ends: Ends) -> list[Any]:
    """What stands in ``value`` for each of several inputs or outputs."""
    try:
        return ends.flat(value)
    except Unfit:
        if isinstance(value, list | tuple) and len(value) == len(ends):
            return list(value)
        raise ValueError(
            f"{argument} must be {_wanted(ends)}. Received: {_described(value)}"
        ) from None


def _wanted(ends: Ends) -> str:
    """What holds an array for each of several inputs or outputs, in words."""
    keys = ", ".join(map(repr, ends.keys))
    if isinstance(ends.structure, Mapping):
        return f"a dict with {keys}"
    return f"a list of {len(ends)} arrays, or a dict with {keys}"


def _described(value: Any) -> str:
    """What was passed, in words."""
    if isinstance(value, Mapping):
        return f"a dict with {', '.join(map(repr, value)) or 'nothing in it'}"
    if isinstance(value, list | tuple):
        return f"a {type(value).__name__} of {len(value)}"
    shape = getattr(value, "shape", None)
    return type(value).__name__ if shape is None else f"one array of shape {tuple(shape)}"


def _array(value: Any, argument: str) -> np.ndarray:
    """``value`` as an array of numbers, in any byte order."""
    try:
        on_device = type(value).__module__.split(".")[0] == "torch"
        array = np.asarray(value.detach().cpu() if on_device else value)
    except (TypeError, ValueError) as error:
        raise DataNotCovered(
            f"{argument} of type {type(value).__name__} ({error})", "pass a NumPy array"
        ) from error
    if array.dtype.kind == "O" and not isinstance(value, np.ndarray | list | tuple):  # sparse ones
        raise DataNotCovered(f"{argument} of type {type(value).__name__}", "pass a NumPy array")
    check.numbers(array, argument)
    if array.dtype.kind not in "buif":  # bfloat16
        array = array.astype(np.float32)
    return array


def _only(value: Any, argument: str, ends: Ends) -> Any:
    """The array for the one input or output, alone or in a list, tuple or dict."""
    if isinstance(value, Mapping):
        if ends.keys[0] in value and (argument == "x" or len(value) == 1):
            return value[ends.keys[0]]
        raise DataNotCovered(
            f"a dict with {list(value)} as {argument}", f"pass {argument} as one array"
        )
    if isinstance(value, list | tuple) and value and hasattr(value[0], "shape"):
        if len(value) == 1 and getattr(value[0], "ndim", 0) > 0:
            return value[0]
        if any(getattr(item, "ndim", 0) > 0 for item in value):
            raise DataNotCovered(
                f"{len(value)} arrays as {argument}", f"pass {argument} as one array"
            )
    return value
