"""From y and the weights of one output to what its loss reads in native code."""

from __future__ import annotations

import numpy as np

from convmill.plan.graph.shapes import Shape
from convmill.plan.recipe import Loss
from convmill.plan.refusals import DataNotCovered
from convmill.train import check


def labels_of(
    y: np.ndarray, shape: Shape, loss: Loss, argument: str = "y", first: int = 0
) -> np.ndarray:
    """``y`` as int32 (n, *places) for a sparse loss, else as float32 (n, *output shape).

    ``first`` is the number of the first image among all, for errors to name.
    """
    if loss.sparse:
        return _class_indices(y, shape, loss, argument, first)
    if y.shape[1:] != shape:
        if shape[-1] == 1 and y.shape[1:] == shape[:-1]:
            y = y[..., np.newaxis]
        elif y.shape[1:] == (*shape, 1):
            y = y[..., 0]
        elif not loss.name.endswith("crossentropy") and _spreads(y.shape[1:], shape):
            raise DataNotCovered(
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
        raise DataNotCovered("labels of a hinge loss with 0 beside others than 1", "use -1 and 1")
    return y


def _class_indices(
    y: np.ndarray, shape: Shape, loss: Loss, argument: str, first: int
) -> np.ndarray:
    if y.shape[1:] == (*shape[:-1], 1):
        y = y[..., 0]
    if y.shape[1:] != shape[:-1]:
        raise ValueError(_shape_message(y, shape, loss, argument))
    check.class_indices(y, shape[-1], argument, first)
    indices = np.array(y, dtype=np.int32, order="C")
    # A copy: what native code takes for the place of a number stays what was checked.
    check.class_indices(indices, shape[-1], argument, first)
    return indices


def check_squeezed(y: np.ndarray, weight: np.ndarray | None, shape: Shape, loss: Loss) -> None:
    """NotCovered where Keras leaves out the output's last axis, of one, and takes its mean along
    another one: with weights, or where it sums, that is another loss."""
    if len(shape) == 1 or y.ndim > len(shape) or loss.sparse:
        return
    if loss.reduction != "mean" or weight is not None:
        raise DataNotCovered(
            f"y of shape {y.shape} against outputs of shape (n, {_listed(shape)}), with weights or "
            "as a sum",
            "give y the shape of the model's output",
        )


def _shape_message(y: np.ndarray, shape: Shape, loss: Loss, argument: str) -> str:
    places = shape[:-1]
    if loss.sparse:
        each = f"place, (n, {_listed(places)})" if places else "image, (n,)"
        wanted = f"be one class index for each {each}"
        other = "categorical_crossentropy"
    else:
        wanted = f"have the same shape as the output, (n, {_listed(shape)})"
        other = "sparse_categorical_crossentropy"
    fits = y.shape[1:] == (shape if loss.sparse else places)
    hint = f" This y fits the loss {other}." if fits and "categorical" in loss.name else ""
    return (
        f"{argument} for the loss {loss.name} must {wanted}.{hint} "
        f"Received: {argument} of shape {y.shape}"
    )


def weights_of(
    weight: np.ndarray | None, places: tuple[int, ...], argument: str
) -> np.ndarray | None:
    """``weight`` as float32 (n,), or (n, *places) where it has one for each place.

    Raises:
        NotCovered: it has one for each row of places, say, which Keras spreads over them.
        ValueError: it has neither.
    """
    if weight is None:
        return None
    if weight.shape[1:] == (*places, 1) or weight.shape[1:] == (1,) * (len(places) + 1):
        weight = weight[..., 0]
    elif places and places[-1] == 1 and weight.ndim == len(places):
        weight = weight[..., np.newaxis]
    if weight.shape[1:] == (1,) * len(places):
        weight = weight.reshape(len(weight))
    elif weight.shape[1:] != places:
        wanted = _weights_wanted(places)
        if _spreads(weight.shape[1:], places):
            raise DataNotCovered(f"{argument} of shape {weight.shape}", f"give {wanted}")
        raise ValueError(
            f"{argument} must hold {wanted}. Received: {argument} of shape {weight.shape}"
        )
    return np.ascontiguousarray(weight, dtype=np.float32)


def _spreads(shape: Shape, other: Shape) -> bool:
    """Whether Keras spreads one over the other, image by image. Where there are other axes, it lays
    images along places if the sizes are equal, and fails in its backend's words if they are not."""
    return len(shape) == len(other) and all(
        size == wanted or 1 in (size, wanted) for size, wanted in zip(shape, other, strict=True)
    )


def _weights_wanted(places: tuple[int, ...]) -> str:
    if not places:
        return "one weight for each image, (n,)"
    ones, each = _listed((1,) * len(places)), _listed(places)
    return f"one weight for each image, (n, {ones}), or for each place, (n, {each})"


def _listed(shape: tuple[int, ...]) -> str:
    return ", ".join(map(str, shape))
