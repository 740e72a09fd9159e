"""From the arrays that a user passes to those that a Program reads.

Images in uint8, float32 and float64 are read in place; other kinds of numbers become float32.
Errors name the argument, the place and the value; nothing here changes what the user passed.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from convmill.finite import check_finite
from convmill.plan.graph.nodes import Graph, Node
from convmill.plan.graph.operations import Input
from convmill.plan.graph.shapes import Shape, Sizes
from convmill.plan.recipe import Loss
from convmill.plan.refusals import DataNotCovered
from convmill.train import check
from convmill.train.arrays import ByOutput, Given, Interface, for_jax
from convmill.train.targets import check_squeezed, labels_of, weights_of

# So many bytes are brought into a Program's form at once, of arrays that are not read as they are:
# data larger than memory (``numpy.memmap``) is never copied whole.
AT_ONCE_BYTES = 1 << 26
IN_PLACE = (np.dtype(np.uint8), np.dtype(np.float32), np.dtype(np.float64))


@dataclass(frozen=True)
class Samples:
    """Images and what belongs to them, checked, and in the form that a Program reads.

    ``x`` has for each input (n, *input shape); ``y`` for each output float32 (n, *output shape) or
    int32 (n, *places), where places are the output's shape without its last axis; ``weight``
    float32 (n,), (n, *places) or None. ``given`` and ``given_weight`` are y and the weights as the
    user passed them: Keras' metrics see those, and losses that Keras computes. Outputs with such a
    loss, or without one, have None as ``y`` and ``weight``.
    """

    x: tuple[np.ndarray, ...]
    y: ByOutput | None = None
    weight: ByOutput | None = None
    given: ByOutput | None = None
    given_weight: ByOutput | None = None
    sizes: Sizes | None = None  # for which the model is read, where it takes several

    def __len__(self) -> int:
        return len(self.x[0])

    @property
    def seen(self) -> Given:
        """What Keras sees."""
        return Given(self.x, self.given, self.given_weight)


@dataclass(frozen=True)
class Target:
    """What arrays must fit: the model's graph and how it takes them, and the losses of its outputs
    unless only x is wanted. ``sizes`` are those of the graph, of a model that takes several."""

    graph: Graph
    interface: Interface
    losses: tuple[Loss | None, ...] | None
    sizes: Sizes | None = None


def prepare(
    given: Given, target: Target, class_weight: Mapping[int, float] | None = None
) -> Samples:
    """Checks arrays and brings them into a Program's form.

    Raises:
        ValueError: wrong shapes, kinds, labels or numbers; the message says where.
        NotCovered: what Keras may understand and the Program does not.
    """
    return samples(checked(given, target, class_weight), target)


class Arrays:
    """Arrays that are gone through again and again, and converted when Keras would convert them.

    Callbacks may change numbers in place, in arrays of any dtype. Keras on JAX takes the numbers of
    a batch when the batch is due; only floats that are not float32 it converts at the beginning of
    an epoch, all together. Mapped files, which may be larger than memory, are never converted so.
    Numbers alone may change: shapes and dtypes stay those that were checked.
    """

    def __init__(
        self,
        given: Given,
        target: Callable[[], Target],
        class_weight: Mapping[int, float] | None = None,
    ) -> None:
        self.given = checked(given, target(), class_weight).each(np.ndarray.view)
        self.target = target
        self.current = self.given
        _check_measured_by(self.given, target())  # what is wrong raises before the run

    def __len__(self) -> int:
        return len(self.given)

    def over(self, x: tuple[np.ndarray, ...]) -> Arrays:
        """The same labels and weights beside other images, which nobody looks through."""
        other = copy(self)
        other.given = other.current = replace(self.given, x=x)
        return other

    def renew(self, convert: bool) -> None:
        """Begins anew. ``convert`` is False where no callback can run before all is read."""
        self.current = self.given
        if convert:
            self.current = self.given.each(_as_keras_converts)

    def at_once(self, current: Given) -> int:
        """How many images to ``read`` together: all of them, unless much were copied for it."""
        labels = replace(current, x=())
        few = not labels.arrays or labels.rows_within(AT_ONCE_BYTES) >= len(current)
        if few and all(map(_is_in_place, current.x)):
            return len(current)
        return current.rows_within(AT_ONCE_BYTES)

    def read(
        self, current: Given, order: np.ndarray, *, gather: bool
    ) -> tuple[Samples, np.ndarray]:
        """The images that ``order``, int64 (m,), picks, as samples and the order to read them in.

        ``gather`` copies those images alone; without it the arrays are read in place if they can.
        Raises ValueError for labels and weights that make no sense.
        """
        if gather or (len(order) < len(current) and not all(map(_is_in_place, current.x))):
            current, order = current.rows(order), np.arange(len(order), dtype=np.int64)
        return samples(current, self.target()), order


def checked(given: Given, target: Target, class_weight: Mapping[int, float] | None = None) -> Given:
    """``given`` with x in the model's shapes, and class weights in the place of sample weights.

    Labels and weights are checked by ``samples``, which looks at them each time.
    """
    inputs, outputs = target.interface.inputs, target.interface.outputs
    x = tuple(
        _input(one, target.graph.node(name), inputs.title("x", number))
        for number, (one, name) in enumerate(zip(given.x, target.graph.inputs, strict=True))
    )
    if target.losses is None:
        return Given(x)
    for number, one in enumerate(x):
        check_finite(one, inputs.title("x", number))
    for number in target.interface.asked:
        if given.y is None or given.y[number] is None:
            title = outputs.title("y", number)
            raise ValueError(f"{title}, the targets, is missing. Received: {title}=None")
    if class_weight is None:
        return replace(given, x=x)
    return Given(x, given.y, _class_weights(given, class_weight))


def _class_weights(given: Given, class_weight: Mapping[int, float]) -> ByOutput:
    """The weights of images, by their class. ValueError where Keras takes none."""
    assert given.y is not None
    y, *others = given.y
    if others or y is None:
        raise ValueError(
            "class_weight is for models with one output. Give each image its weight, with "
            f"sample_weight. Received: class_weight={class_weight!r}"
        )
    if given.weight is not None:
        raise ValueError(
            "class_weight and sample_weight cannot both be given: multiply them into "
            f"sample_weight. Received: class_weight={class_weight!r}"
        )
    return (check.class_weights(y, class_weight),)


def samples(given: Given, target: Target) -> Samples:
    """What ``checked`` returned, in the form that a Program reads."""
    x = tuple(map(in_place, given.x))
    if target.losses is None or given.y is None:
        return Samples(x, sizes=target.sizes)
    y, weight = _measured_by(given, target)
    seen = Given((), given.y, given.weight).each(_as_keras_sees)
    return Samples(x, y, weight, seen.y, seen.weight, target.sizes)


def _input(x: np.ndarray, node: Node, argument: str) -> np.ndarray:
    """``x`` in the shape and of the dtype of an input. NotCovered for fractions where that has
    whole numbers: Keras would round them, and each backend in its way."""
    assert isinstance(node.operation, Input)
    dtype = node.operation.dtype
    if dtype != "float32" and x.dtype != dtype:
        if x.dtype.kind not in "bui":
            raise DataNotCovered(
                f"{argument} of dtype {x.dtype} for an input of dtype {dtype}",
                f"give {argument} as {dtype}",
            )
        x = x.astype(dtype)
    return _shaped(x, node.shape, argument)


def _shaped(x: np.ndarray, shape: Shape, argument: str) -> np.ndarray:
    """``x`` as (n, *shape): a last axis of length 1 may be missing, or be one too many."""
    if x.shape[1:] == shape:
        return x
    if shape[-1] == 1 and x.shape[1:] == shape[:-1]:
        return x[..., np.newaxis]
    if x.shape[1:] == (*shape, 1):
        return x[..., 0]
    wanted = ", ".join(["n", *map(str, shape)])
    raise ValueError(
        f"{argument} must have the shape of the model's input, ({wanted}). "
        f"Received: {argument} of shape {x.shape}"
    )


def _is_in_place(x: np.ndarray) -> bool:
    """Whether a Program reads ``x`` as it is: any stride from image to image, none within one."""
    return x.dtype in IN_PLACE and x[0].flags.c_contiguous and x.flags.aligned


def in_place(x: np.ndarray) -> np.ndarray:
    """``x`` as a Program reads it: itself, or a copy."""
    if _is_in_place(x):
        return x
    return np.ascontiguousarray(x, dtype=x.dtype if x.dtype in IN_PLACE else np.float32)


def _check_measured_by(given: Given, target: Target) -> None:
    """Raises what ``_measured_by`` does, which is tried on piece after piece."""
    labels = replace(given, x=())
    rows = labels.rows_within(AT_ONCE_BYTES) if labels.arrays else len(given)
    for first in range(0, len(given), rows):
        _measured_by(labels.part(first, first + rows), target, first)


def _measured_by(
    given: Given, target: Target, first: int = 0
) -> tuple[ByOutput | None, ByOutput | None]:
    """Labels and weights in the form that a Program reads: of those outputs that have a loss.

    ``first`` is the number of the first image among all, for errors to name.
    """
    if target.losses is None or given.y is None:
        return None, None
    outputs = target.interface.outputs
    labels: list[np.ndarray | None] = []
    weights: list[np.ndarray | None] = []
    given_weights = given.weight or (None,) * len(outputs)
    for number, (loss, y, weight) in enumerate(
        zip(target.losses, given.y, given_weights, strict=True)
    ):
        if weight is not None:
            check_finite(weight, outputs.title("sample_weight", number), first)
        if loss is None or loss.bridged or y is None:
            labels.append(None)
            weights.append(None)
            continue
        shape = target.graph.node(target.graph.outputs[number]).shape
        labels.append(labels_of(y, shape, loss, outputs.title("y", number), first))
        check_squeezed(y, weight, shape, loss)
        weights.append(weights_of(weight, shape[:-1], outputs.title("sample_weight", number)))
    return tuple(labels), None if given.weight is None else tuple(weights)


def _as_keras_converts(array: np.ndarray) -> np.ndarray:
    """Keras makes float32 of all floats of other widths when it begins to go through arrays."""
    if array.dtype.kind != "f" or array.dtype.itemsize == 4 or _is_mapped(array):
        return array
    return array.astype(np.float32)


def _is_mapped(array: np.ndarray) -> bool:
    """Whether the numbers lie in a file that is mapped into memory."""
    base: Any = array
    while isinstance(base, np.ndarray):
        base = base.base
    return isinstance(base, mmap.mmap)


def _as_keras_sees(y: np.ndarray) -> np.ndarray:
    """``y`` for a metric: floats as float32, all else as JAX reads it."""
    return y.astype(np.float32, copy=False) if y.dtype.kind == "f" else for_jax(y)
