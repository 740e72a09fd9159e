"""From the arrays that a user passes to those that a Program reads.

Images in uint8, float32 and float64 are read in place; other kinds of numbers become float32.
Errors name the argument, the place and the value; nothing here changes what the user passed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from convmill.plan.graph import Graph, NotCovered
from convmill.plan.recipe import Loss
from convmill.train import check
from convmill.train.arrays import Given

IN_PLACE = (np.dtype(np.uint8), np.dtype(np.float32), np.dtype(np.float64))


@dataclass(frozen=True)
class Samples:
    """Images and what belongs to them, checked, and in the form that a Program reads.

    ``x`` is (n, *input shape); ``y`` float32 (n, *output shape) or int32 (n, *places), where places
    are the output's shape without its last axis; ``weight`` float32 (n,), (n, *places) or None.
    ``given`` and ``given_weight`` are y and the weights as the user passed them: Keras' metrics see
    those, and a loss that Keras computes, for which there is no ``y`` and no ``weight``.
    """

    x: np.ndarray
    y: np.ndarray | None = None
    weight: np.ndarray | None = None
    given: np.ndarray | None = None
    given_weight: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.x)


@dataclass(frozen=True)
class Target:
    """What arrays must fit: the model's graph, and its loss unless only x is wanted."""

    graph: Graph
    loss: Loss | None


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
        if self.given.y is not None and (loss := target().loss) is not None:
            _measured_by(self.given, target().graph, loss)  # what is wrong raises before the run

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
        if gather or (len(order) < len(current) and not _is_in_place(current.x)):
            current, order = current.rows(order), np.arange(len(order), dtype=np.int64)
        return samples(current, self.target()), order


def checked(given: Given, target: Target, class_weight: Mapping[int, float] | None = None) -> Given:
    """``given`` with x in the model's shape, and class weights in the place of sample weights.

    Labels and weights are checked by ``samples``, which looks at them each time.
    """
    x = _shaped(given.x, target.graph)
    if target.loss is None:
        return Given(x)
    check.finite(x, "x")
    if given.y is None:
        raise ValueError("y, the targets, is missing. Received: y=None")
    if class_weight is None:
        return replace(given, x=x)
    if given.weight is not None:
        raise ValueError(
            "class_weight and sample_weight cannot both be given: multiply them into "
            f"sample_weight. Received: class_weight={class_weight!r}"
        )
    return Given(x, given.y, check.class_weights(given.y, class_weight))


def samples(given: Given, target: Target) -> Samples:
    """What ``checked`` returned, in the form that a Program reads."""
    x = _in_place(given.x)
    if target.loss is None or given.y is None:
        return Samples(x)
    y, weight = _measured_by(given, target.graph, target.loss)
    given_weight = None if given.weight is None else _as_keras_sees(given.weight)
    return Samples(x, y, weight, _as_keras_sees(given.y), given_weight)


def _shaped(x: np.ndarray, graph: Graph) -> np.ndarray:
    """``x`` as (n, *input shape): a last axis of length 1 may be missing, or be one too many."""
    shape = graph.input_shape
    if x.shape[1:] == shape:
        return x
    if shape[-1] == 1 and x.shape[1:] == shape[:-1]:
        return x[..., np.newaxis]
    if x.shape[1:] == (*shape, 1):
        return x[..., 0]
    wanted = ", ".join(["n", *map(str, shape)])
    raise ValueError(
        f"x must have the shape of the model's input, ({wanted}). Received: x of shape {x.shape}"
    )


def _is_in_place(x: np.ndarray) -> bool:
    """Whether a Program reads ``x`` as it is: any stride from image to image, none within one."""
    return x.dtype in IN_PLACE and x[0].flags.c_contiguous and x.flags.aligned


def _in_place(x: np.ndarray) -> np.ndarray:
    if _is_in_place(x):
        return x
    return np.ascontiguousarray(x, dtype=x.dtype if x.dtype in IN_PLACE else np.float32)


def _measured_by(
    given: Given, graph: Graph, loss: Loss
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Labels and weights in the form that a Program reads."""
    assert given.y is not None
    if loss.bridged:  # Keras reads them as they are
        return None, None
    y = labels(given.y, graph, loss)
    _check_squeezed(given, graph.output_shape, loss)
    return y, _weights(given.weight, graph.output_shape[:-1])


def labels(y: np.ndarray, graph: Graph, loss: Loss) -> np.ndarray:
    """``y`` as int32 (n, *places) for a sparse loss, else as float32 (n, *output shape)."""
    shape = graph.output_shape
    if loss.sparse:
        return _class_indices(y, shape, loss)
    if y.shape[1:] != shape:
        if shape[-1] == 1 and y.shape[1:] == shape[:-1]:
            y = y[..., np.newaxis]
        elif y.shape[1:] == (*shape, 1):
            y = y[..., 0]
        elif not loss.name.endswith("crossentropy"):  # else Keras may spread the labels out
            raise NotCovered(
                f"y of shape {y.shape} against outputs of shape (n, {_listed(shape)})",
                "give y the shape of the model's output",
            )
        else:
            raise ValueError(_shape_message(y, shape, loss))
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


def _class_indices(y: np.ndarray, shape: tuple[int, ...], loss: Loss) -> np.ndarray:
    if y.shape[1:] == (*shape[:-1], 1):
        y = y[..., 0]
    if y.shape[1:] != shape[:-1]:
        raise ValueError(_shape_message(y, shape, loss))
    check.class_indices(y, shape[-1])
    indices = np.array(y, dtype=np.int32, order="C")
    # A copy: what native code takes for the place of a number stays what was checked.
    check.class_indices(indices, shape[-1])
    return indices


def _check_squeezed(given: Given, shape: tuple[int, ...], loss: Loss) -> None:
    """NotCovered where Keras leaves out the output's last axis, of one, and takes its mean along
    another one: with weights, or where it sums, that is another loss."""
    y = given.y
    assert y is not None
    if len(shape) == 1 or y.ndim > len(shape) or loss.sparse:
        return
    if loss.reduction != "mean" or given.weight is not None:
        raise NotCovered(
            f"y of shape {y.shape} against outputs of shape (n, {_listed(shape)}), with weights or "
            "as a sum",
            "give y the shape of the model's output",
        )


def _shape_message(y: np.ndarray, shape: tuple[int, ...], loss: Loss) -> str:
    places = shape[:-1]
    if loss.sparse:
        each = f"place, (n, {_listed(places)})" if places else "image, (n,)"
        wanted = f"one class index for each {each}"
        other = "categorical_crossentropy"
    else:
        wanted, other = f"(n, {_listed(shape)})", "sparse_categorical_crossentropy"
    fits = y.shape[1:] == (shape if loss.sparse else places)
    hint = f" This y fits the loss {other}." if fits and "categorical" in loss.name else ""
    return f"y for the loss {loss.name} must be {wanted}.{hint} Received: y of shape {y.shape}"


def _weights(weight: np.ndarray | None, places: tuple[int, ...]) -> np.ndarray | None:
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
        raise NotCovered(f"sample_weight of shape {weight.shape}", _weights_wanted(places))
    check.finite(weight, "sample_weight")
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
