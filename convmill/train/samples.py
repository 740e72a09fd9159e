"""From the arrays that a user passes to those that a Program reads.

Images in uint8, float32 and float64 are read in place; other kinds of numbers become float32.
Errors name the argument, the place and the value; nothing here changes what the user passed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from convmill.plan.graph import Graph, NotCovered, Shape
from convmill.plan.recipe import Loss
from convmill.train import arrays, check
from convmill.train.arrays import Given, Interface

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
    y: arrays.Arrays | None = None
    weight: arrays.Arrays | None = None
    given: arrays.Arrays | None = None
    given_weight: arrays.Arrays | None = None

    def __len__(self) -> int:
        return len(self.x[0])

    @property
    def seen(self) -> Given:
        """What Keras sees."""
        return Given(self.x, self.given, self.given_weight)


@dataclass(frozen=True)
class Target:
    """What arrays must fit: the model's graph and how it takes them, and the losses of its outputs
    unless only x is wanted."""

    graph: Graph
    interface: Interface
    losses: tuple[Loss | None, ...] | None


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
    an epoch, all together.
    """

    def __init__(
        self,
        given: Given,
        target: Callable[[], Target],
        class_weight: Mapping[int, float] | None = None,
    ) -> None:
        self.given = checked(given, target(), class_weight)
        self.target = target
        self.current = self.given
        _measured_by(self.given, target())  # what is wrong raises before the run

    def __len__(self) -> int:
        return len(self.given)

    def renew(self, convert: bool) -> None:
        """Begins anew. ``convert`` is False where no callback can run before all is read."""
        self.current = self.given
        if convert:
            self.current = self.given.each(_as_keras_converts)

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
        _shaped(one, target.graph.node(name).shape, inputs.title("x", number))
        for number, (one, name) in enumerate(zip(given.x, target.graph.inputs, strict=True))
    )
    if target.losses is None:
        return Given(x)
    for number, one in enumerate(x):
        check.finite(one, inputs.title("x", number))
    for number in target.interface.asked:
        if given.y is None or given.y[number] is None:
            title = outputs.title("y", number)
            raise ValueError(f"{title}, the targets, is missing. Received: {title}=None")
    if class_weight is None:
        return replace(given, x=x)
    return Given(x, given.y, _class_weights(given, class_weight))


def _class_weights(given: Given, class_weight: Mapping[int, float]) -> arrays.Arrays:
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
    x = tuple(map(_in_place, given.x))
    if target.losses is None or given.y is None:
        return Samples(x)
    y, weight = _measured_by(given, target)
    seen = Given((), given.y, given.weight).each(_as_keras_sees)
    return Samples(x, y, weight, seen.y, seen.weight)


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


def _in_place(x: np.ndarray) -> np.ndarray:
    if _is_in_place(x):
        return x
    return np.ascontiguousarray(x, dtype=x.dtype if x.dtype in IN_PLACE else np.float32)


def _measured_by(given: Given, target: Target) -> tuple[arrays.Arrays | None, arrays.Arrays | None]:
    """Labels and weights in the form that a Program reads: of those outputs that have a loss."""
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
            check.finite(weight, outputs.title("sample_weight", number))
        if loss is None or loss.bridged or y is None:
            labels.append(None)
            weights.append(None)
            continue
        shape = target.graph.node(target.graph.outputs[number]).shape
        labels.append(labels_of(y, shape, loss, outputs.title("y", number)))
        _check_squeezed(y, weight, shape, loss)
        weights.append(_weights(weight, shape[:-1], outputs.title("sample_weight", number)))
    return tuple(labels), None if given.weight is None else tuple(weights)


def labels_of(y: np.ndarray, shape: Shape, loss: Loss, argument: str = "y") -> np.ndarray:
    """``y`` as int32 (n, *places) for a sparse loss, else as float32 (n, *output shape)."""
    if loss.sparse:
        return _class_indices(y, shape, loss, argument)
    if y.shape[1:] != shape:
        if shape[-1] == 1 and y.shape[1:] == shape[:-1]:
            y = y[..., np.newaxis]
        elif y.shape[1:] == (*shape, 1):
            y = y[..., 0]
        elif not loss.name.endswith("crossentropy"):  # else Keras may spread the labels out
            raise NotCovered(
                f"{argument} of shape {y.shape} against outputs of shape (n, {_listed(shape)})",
                "give y the shape of the model's output",
            )
        else:
            raise ValueError(_shape_message(y, shape, loss, argument))
    if loss.name in ("hinge", "squared_hinge"):
        y = _signs(y)
    # Targets that are not finite are for Keras' TerminateOnNaN to notice: no memory is at stake.
    return np.ascontiguousarray(y, dtype=np.float32)


def _signs(y: np.ndarray) -> np.ndarray:
    """Labels of 0 and 1 as -1 and 1. Keras does so for each batch that has no others."""
    zeros = y == 0
    if (zeros | (y == 1)).all():
        return np.where(zeros, -1.0, 1.0)
    if zeros.any():
        raise NotCovered("labels of a hinge loss with 0 beside others than 1", "use -1 and 1")
    return y


def _class_indices(y: np.ndarray, shape: Shape, loss: Loss, argument: str) -> np.ndarray:
    if y.shape[1:] == (*shape[:-1], 1):
        y = y[..., 0]
    if y.shape[1:] != shape[:-1]:
        raise ValueError(_shape_message(y, shape, loss, argument))
    check.class_indices(y, shape[-1], argument)
    indices = np.array(y, dtype=np.int32, order="C")
    # A copy: what native code takes for the place of a number stays what was checked.
    check.class_indices(indices, shape[-1], argument)
    return indices


def _check_squeezed(y: np.ndarray, weight: np.ndarray | None, shape: Shape, loss: Loss) -> None:
    """NotCovered where Keras leaves out the output's last axis, of one, and takes its mean along
    another one: with weights, or where it sums, that is another loss."""
    if len(shape) == 1 or y.ndim > len(shape) or loss.sparse:
        return
    if loss.reduction != "mean" or weight is not None:
        raise NotCovered(
            f"y of shape {y.shape} against outputs of shape (n, {_listed(shape)}), with weights or "
            "as a sum",
            "give y the shape of the model's output",
        )


def _shape_message(y: np.ndarray, shape: Shape, loss: Loss, argument: str) -> str:
    places = shape[:-1]
    if loss.sparse:
        each = f"place, (n, {_listed(places)})" if places else "image, (n,)"
        wanted = f"one class index for each {each}"
        other = "categorical_crossentropy"
    else:
        wanted, other = f"(n, {_listed(shape)})", "sparse_categorical_crossentropy"
    fits = y.shape[1:] == (shape if loss.sparse else places)
    hint = f" This y fits the loss {other}." if fits and "categorical" in loss.name else ""
    return (
        f"{argument} for the loss {loss.name} must be {wanted}.{hint} "
        f"Received: {argument} of shape {y.shape}"
    )


def _weights(
    weight: np.ndarray | None, places: tuple[int, ...], argument: str
) -> np.ndarray | None:
    """``weight`` as float32 (n,), or (n, *places) where it has one for each place."""
    if weight is None:
        return None
    if weight.shape[1:] == (*places, 1) or weight.shape[1:] == (1,) * (len(places) + 1):
        weight = weight[..., 0]
    elif places and places[-1] == 1 and weight.ndim == len(places):
        weight = weight[..., np.newaxis]
    if weight.shape[1:] == (1,) * len(places):
        weight = weight.reshape(len(weight))
    elif weight.shape[1:] != places:
        raise NotCovered(f"{argument} of shape {weight.shape}", _weights_wanted(places))
    return np.ascontiguousarray(weight, dtype=np.float32)


def _weights_wanted(places: tuple[int, ...]) -> str:
    if not places:
        return "give one weight for each image, (n,)"
    ones, each = _listed((1,) * len(places)), _listed(places)
    return f"give one weight for each image, (n, {ones}), or for each place, (n, {each})"


def _as_keras_converts(array: np.ndarray) -> np.ndarray:
    """Keras makes float32 of all floats of other widths when it begins to go through arrays."""
    if array.dtype.kind != "f" or array.dtype.itemsize == 4:
        return array
    return array.astype(np.float32)


def _as_keras_sees(y: np.ndarray) -> np.ndarray:
    """``y`` for a metric: in this machine's byte order, and floats as float32."""
    dtype = np.dtype(np.float32) if y.dtype.kind == "f" else y.dtype.newbyteorder("=")
    return y.astype(dtype, copy=False)


def _listed(shape: tuple[int, ...]) -> str:
    return ", ".join(map(str, shape))
