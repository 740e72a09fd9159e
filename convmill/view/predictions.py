"""What a classifier says of labelled images: probabilities, labels, names of the classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from convmill.inspection.loss import given_loss
from convmill.kinds import check_texts
from convmill.plan.ends import last_activation
from convmill.plan.rebuild import check_graph
from convmill.train import check
from convmill.view.activations import outputs
from convmill.view.images import check_finite, many_images, real_array

# How far a row of float32 probabilities may be from a sum of 1.
SUM_TOLERANCE = 1e-3
# Last activations that give probabilities by themselves.
PROBABILITY_ACTIVATIONS = {"softmax", "sigmoid", "hard_sigmoid"}


@dataclass(frozen=True, eq=False)
class Predictions:
    """A model's predictions for n images.

    Attributes:
        probabilities: float64 (n, classes), the probability of each class.
        labels: int64 (n,), the true classes.
        class_names: one for each class.
    """

    probabilities: NDArray[np.float64]
    labels: NDArray[np.int64]
    class_names: tuple[str, ...]

    @property
    def predicted(self) -> NDArray[np.int64]:
        """(n,): the likeliest class, the first of equals."""
        return np.argmax(self.probabilities, axis=1)

    @property
    def confidence(self) -> NDArray[np.float64]:
        """(n,): the probability of the predicted class."""
        return np.max(self.probabilities, axis=1)

    @property
    def correct(self) -> NDArray[np.bool_]:
        """(n,): whether the predicted class is the true one."""
        return self.predicted == self.labels

    @property
    def accuracy(self) -> float:
        """Share of the images whose predicted class is the true one."""
        return float(np.mean(self.correct))


def classify(
    model: Any, x: Any, y: Any, class_names: Sequence[str] | None = None
) -> tuple[Predictions, NDArray[Any]]:
    """What ``model`` says of the images ``x``, whose classes are ``y``.

    Args:
        model: a Keras classifier with one input and one output, (batch, classes) or, for two
            classes, (batch, 1). It is not changed, and runs compiled where that is covered.
            ``class_probabilities`` says how its outputs are read.
        x: images as the model reads them, (n, height, width, channels), or (n, height, width)
            where it reads one channel.
        y: class indices (n,) or (n, 1), or one-hot rows (n, classes).
        class_names: one for each class; None names them by their indices.

    Returns:
        The predictions, and ``x`` in the shape that the model reads.

    Raises:
        TypeError: ``model`` is no Keras model.
        ValueError: x, y or class_names fit neither the model nor each other, or the outputs are
            no probabilities.
    """
    x, y = real_array(x, "x"), real_array(y, "y")
    check.lengths({"x": x, "y": y})
    copy = wiring(model)
    if copy is None:
        values, activation = model.predict(x, verbose=0), ""
    else:
        x = many_images(copy, x, "x")
        values, activation = outputs(copy, x), last_activation(copy)
    probabilities = class_probabilities(model, np.asarray(values), activation)
    classes = probabilities.shape[1]
    names = names_for(class_names, classes)
    return Predictions(probabilities, labels_for(y, classes), names), x


def wiring(model: Any) -> Any:
    """A second model of the same layers, to be accelerated in its stead: ``model`` stays as it is.

    None where the model's ``call`` is written in Python; only the model itself can run that.

    Raises:
        TypeError: ``model`` is no Keras model.
        ValueError: it is not built, or has several inputs or outputs.
    """
    try:
        check_graph(model)
    except ValueError:
        return None
    read, given = getattr(model, "inputs", None), getattr(model, "outputs", None)
    if not read or not given:
        raise ValueError(
            "model must be built: begin it with keras.Input(shape). "
            f"Received: model {model.name!r}, which has no weights yet."
        )
    if len(read) != 1 or len(given) != 1:
        raise ValueError(
            "model must have one input and one output. "
            f"Received: model {model.name!r} with {len(read)} inputs and {len(given)} outputs."
        )
    return keras.Model(read[0], given[0], name=model.name)


def class_probabilities(model: Any, given: NDArray[Any], activation: str) -> NDArray[np.float64]:
    """The probability of each class, (n, classes), from a model's outputs (n, classes) or (n, 1).

    Rows that sum to 1 are probabilities, and so are the outputs of a sigmoid. Others are logits
    where the model's loss says ``from_logits=True``, or, in a model that is not compiled, where
    its last activation is linear or they leave 0..1; they go through a softmax, or through a
    sigmoid where there is one unit. What is left counts as probabilities if it lies in 0..1. One
    unit gives the probability of class 1 of two. The rows of several sigmoids need not sum to 1.

    Raises:
        ValueError: not such a shape, not finite, or neither probabilities nor logits.
    """
    if given.ndim != 2 or given.size == 0:
        raise ValueError(
            "model must give one row of numbers for an image, (n, classes). "
            f"Received: outputs of shape {given.shape}."
        )
    check_finite(given, "model must give finite numbers")
    values = given.astype(np.float64)
    if _are_logits(model, values, activation):
        # a sigmoid is the softmax of 0 and the logit
        return _softmax(values if values.shape[1] > 1 else np.pad(values, ((0, 0), (1, 0))))
    if values.min() < 0 or values.max() > 1 + SUM_TOLERANCE:
        raise ValueError(_neither(model, values, activation))
    return values if values.shape[1] > 1 else np.concatenate([1 - values, values], axis=1)


def _are_logits(model: Any, values: NDArray[np.float64], activation: str) -> bool:
    inside = bool(values.min() >= 0 and values.max() <= 1 + SUM_TOLERANCE)
    sums = values.sum(axis=1)
    if values.shape[1] > 1 and inside and np.allclose(sums, 1, rtol=0, atol=SUM_TOLERANCE):
        return False
    if activation in PROBABILITY_ACTIVATIONS:
        return False
    loss = given_loss(model)
    if model.compiled and loss is not None:
        return bool(getattr(loss, "from_logits", False))
    return activation == "linear" or not inside


def _softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def _neither(model: Any, values: NDArray[np.float64], activation: str) -> str:
    loss = given_loss(model)
    name = loss if isinstance(loss, str) else type(loss).__name__
    return (
        "model must give probabilities, or logits with a loss that has from_logits=True: end it "
        "with a softmax (one unit: a sigmoid), or compile it so. "
        f"Received: outputs from {values.min():.3g} to {values.max():.3g}, last activation "
        f"{activation or 'unknown'}, loss {name}."
    )


def labels_for(y: NDArray[Any], classes: int) -> NDArray[np.int64]:
    """Class indices, int64 (n,), from indices (n,) or (n, 1) or from one-hot rows (n, classes).

    Raises:
        ValueError: another shape; no whole numbers in 0..classes-1; rows that are not one-hot.
    """
    if y.ndim == 2 and y.shape[1] == classes and classes > 1:
        rows = np.sum(y != 0, axis=1)
        if not (np.all(rows == 1) and np.all(y.max(axis=1) == 1)):
            bad = int(np.argmax((rows != 1) | (y.max(axis=1) != 1)))
            raise ValueError(
                f"y must hold one-hot rows, a single 1 in each. Received: y[{bad}] = {y[bad]}"
            )
        return np.argmax(y, axis=1)
    if y.ndim != 1 and y.shape[1:] != (1,):
        raise ValueError(
            f"y must hold class indices (n,) or one-hot rows (n, {classes}), as the model tells "
            f"{classes} classes apart. Received: y of shape {y.shape}"
        )
    y = y.reshape(-1)
    check.class_indices(y, classes)
    return y.astype(np.int64)


def names_for(class_names: Sequence[str] | None, classes: int) -> tuple[str, ...]:
    """A name for each class; its index where ``class_names`` is None.

    Raises:
        TypeError: ``class_names`` is no list.
        ValueError: there are more or fewer names than classes.
    """
    if class_names is None:
        return tuple(str(index) for index in range(classes))
    check_texts("class_names", class_names)
    if len(class_names) != classes:
        raise ValueError(
            f"class_names must hold {classes} names, one for each class of the model. "
            f"Received: {class_names!r}"
        )
    return tuple(str(name) for name in class_names)
