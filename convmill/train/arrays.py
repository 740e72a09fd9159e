"""From what a user passes as x, y and weights to the arrays that a Program reads.

Images in uint8, float32 and float64 are read in place; other kinds of numbers become float32.
Errors name the argument, the place and the value; nothing here changes what the user passed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from convmill.plan.graph import Graph, NotCovered
from convmill.plan.recipe import Loss
from convmill.train import check

IN_PLACE = (np.dtype(np.uint8), np.dtype(np.float32), np.dtype(np.float64))


@dataclass(frozen=True)
class Samples:
    """Images and what belongs to them, checked, and in the form that a Program reads.

    ``x`` is (n, *input shape); ``y`` float32 (n, *output shape) or int32 (n,); ``weight``
    float32 (n,) or None. ``given`` is y as the user passed it: Keras' metrics see that one.
    """

    x: np.ndarray
    y: np.ndarray | None = None
    weight: np.ndarray | None = None
    given: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.x)


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
        y, weight = (None if a is None else a[start:stop] for a in (self.y, self.weight))
        return Given(self.x[start:stop], y, weight)


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


def prepare(
    given: Given,
    graph: Graph,
    loss: Loss | None,
    class_weight: Mapping[int, float] | None = None,
) -> Samples:
    """Checks arrays and brings them into a Program's form; ``loss`` None asks for x alone.

    Raises:
        ValueError: wrong shapes, kinds, labels or numbers; the message says where.
        NotCovered: what Keras may understand and the Program does not.
    """
    x = images(given.x, graph)
    if loss is None:
        return Samples(x)
    check.finite(x, "x")
    if given.y is None:
        raise ValueError("y, the targets, is missing. Received: y=None")
    y = labels(given.y, graph, loss)
    weight = _weights(given.weight)
    if class_weight is not None:
        if weight is not None:
            raise ValueError(
                "class_weight and sample_weight cannot both be given: multiply them into "
                f"sample_weight. Received: class_weight={dict(class_weight)}"
            )
        weight = check.class_weights(given.y, class_weight)
    return Samples(x, y, weight, _as_keras_sees(given.y))


def images(x: np.ndarray, graph: Graph) -> np.ndarray:
    """``x`` as (n, *input shape): a last axis of length 1 may be missing, or be one too many."""
    shape = graph.input_shape
    if x.shape[1:] != shape:
        if shape[-1] == 1 and x.shape[1:] == shape[:-1]:
            x = x[..., np.newaxis]
        elif x.shape[1:] == (*shape, 1):
            x = x[..., 0]
        else:
            wanted = ", ".join(["n", *map(str, shape)])
            raise ValueError(
                f"x must have the shape of the model's input, ({wanted}). "
                f"Received: x of shape {x.shape}"
            )
    if x.dtype not in IN_PLACE:
        return np.ascontiguousarray(x, dtype=np.float32)
    # A Program takes any stride from image to image, and none within one.
    if not x[0].flags.c_contiguous or not x.flags.aligned:
        return np.ascontiguousarray(x)
    return x


def labels(y: np.ndarray, graph: Graph, loss: Loss) -> np.ndarray:
    """``y`` as int32 (n,) for a sparse loss, else as float32 (n, *output shape)."""
    shape = graph.output_shape
    if loss.sparse:
        return _class_indices(y, shape, loss)
    if y.shape[1:] != shape:
        if shape == (1,) and y.ndim == 1:
            y = y[:, np.newaxis]
        elif y.shape[1:] == (*shape, 1):
            y = y[..., 0]
        elif loss.name in ("mean_squared_error", "mean_absolute_error"):
            raise NotCovered(
                f"y of shape {y.shape} against outputs of shape (n, {_listed(shape)})",
                "give y the shape of the model's output",
            )
        else:
            raise ValueError(_shape_message(y, shape, loss))
    # Targets that are not finite are for Keras' TerminateOnNaN to notice: no memory is at stake.
    return np.ascontiguousarray(y, dtype=np.float32)


def _class_indices(y: np.ndarray, shape: tuple[int, ...], loss: Loss) -> np.ndarray:
    if len(shape) != 1:
        raise NotCovered(
            f"loss {loss.name} on outputs of shape (n, {_listed(shape)})",
            "let the model end in one value for each class",
        )
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim != 1:
        raise ValueError(_shape_message(y, shape, loss))
    check.class_indices(y, shape[0])
    return np.ascontiguousarray(y, dtype=np.int32)


def _shape_message(y: np.ndarray, shape: tuple[int, ...], loss: Loss) -> str:
    if loss.sparse:
        wanted, other = "one class index for each image, (n,)", "categorical_crossentropy"
    else:
        wanted, other = f"(n, {_listed(shape)})", "sparse_categorical_crossentropy"
    fits = (y.ndim == 2 and y.shape[1:] == shape) if loss.sparse else y.ndim == 1
    hint = f" This y fits the loss {other}." if fits and "categorical" in loss.name else ""
    return f"y for the loss {loss.name} must be {wanted}.{hint} Received: y of shape {y.shape}"


def _weights(weight: np.ndarray | None) -> np.ndarray | None:
    if weight is None:
        return None
    if weight.ndim == 2 and weight.shape[1] == 1:
        weight = weight[:, 0]
    if weight.ndim != 1:
        raise NotCovered(
            f"sample_weight of shape {weight.shape}", "give one weight for each image, (n,)"
        )
    check.finite(weight, "sample_weight")
    return np.ascontiguousarray(weight, dtype=np.float32)


def _as_keras_sees(y: np.ndarray) -> np.ndarray:
    """Keras turns floats of other widths into float32 before a metric sees them."""
    return y.astype(np.float32) if y.dtype.kind == "f" and y.dtype != np.float32 else y


def _optional(value: Any, argument: str) -> np.ndarray | None:
    return None if value is None else _array(value, argument)


def _array(value: Any, argument: str) -> np.ndarray:
    """``value`` as an array of numbers in this machine's byte order."""
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


def _listed(shape: tuple[int, ...]) -> str:
    return ", ".join(map(str, shape))
