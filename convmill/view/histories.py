"""What ``fit`` leaves of a training run, as curves over epochs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convmill.kinds import check_kind, check_texts

VALIDATION = "val_"
# What Keras' callbacks write beside the figures of merit.
EPOCH = "epoch"
RATES = ("learning_rate", "lr")
# The parts of a metric's name that say that more is better; of all else, loss too, less is.
HIGHER_IS_BETTER = (
    *("acc", "accuracy", "auc", "precision", "recall", "sensitivity", "specificity"),
    *("f1", "fbeta", "iou", "io_u", "dice", "r2", "similarity", "correlation"),
    *("true_positives", "true_negatives"),
)
LARGEST = 1e100  # no float32 is as large; gaps and logarithmic axes of larger ones would overflow

Values = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Curve:
    """A figure over epochs: ``epochs`` count from 1, both are float64 (n,), n may be 0."""

    epochs: Values
    values: Values

    @property
    def diverged_in(self) -> int | None:
        """The first epoch whose value is not finite, or None."""
        bad = np.flatnonzero(~np.isfinite(self.values))
        return int(self.epochs[bad[0]]) if bad.size else None

    def best(self, higher: bool) -> tuple[int, float] | None:
        """(epoch, value) of the best finite value, the earliest of equals; None without one."""
        finite = np.flatnonzero(np.isfinite(self.values))
        if not finite.size:
            return None
        values = self.values[finite]
        place = finite[int(np.argmax(values) if higher else np.argmin(values))]
        return int(self.epochs[place]), float(self.values[place])


NO_CURVE = Curve(np.empty(0), np.empty(0))


@dataclass(frozen=True, eq=False)
class Run:
    """One training run: the curves of each figure on training and on validation data.

    ``spread_evenly`` says that validation took place less often than once an epoch and that the
    history does not tell when: it is taken to have been in every k-th epoch.
    """

    training: dict[str, Curve]
    validation: dict[str, Curve]
    left_out: tuple[str, ...] = ()
    spread_evenly: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the figures, loss first; learning rates last."""
        every = dict.fromkeys([*self.training, *self.validation])
        return tuple(sorted(every, key=lambda name: (name in RATES, name != "loss")))

    @property
    def last_epoch(self) -> int:
        """The last epoch of all."""
        curves = [*self.training.values(), *self.validation.values()]
        return int(max(curve.epochs[-1] for curve in curves if curve.epochs.size))


Designs = dict[str, tuple[Run, ...]]  # runs by the name of their design


def higher_is_better(name: str) -> bool:
    """Whether more of a figure is better, by the words in its name: accuracy is, loss is not."""
    whole = f"_{name.lower()}_"
    return any(f"_{part}_" in whole for part in HIGHER_IS_BETTER) and "loss" not in whole


def common_epochs(first: Curve, second: Curve) -> tuple[Values, Values, Values]:
    """(epochs, values of the first, values of the second) for the epochs that both have; NaN and
    infinity are among the values.
    """
    epochs, here, there = np.intersect1d(first.epochs, second.epochs, return_indices=True)
    return epochs, first.values[here], second.values[there]


def mean_curve(curves: Sequence[Curve]) -> Curve:
    """The mean over runs, for the epochs that all of them have. NaN in one makes the mean NaN."""
    if not curves:
        return NO_CURVE
    epochs = curves[0].epochs
    for curve in curves[1:]:
        epochs = np.intersect1d(epochs, curve.epochs)
    rows = [curve.values[np.isin(curve.epochs, epochs)] for curve in curves]
    return Curve(epochs, np.mean(rows, axis=0))


def read_runs(history: Any) -> tuple[Run, ...]:
    """The runs in what ``fit`` returned, in its ``.history``, or in a list of several such.

    A history is a mapping from names to one number per epoch, None where it was not measured;
    those that begin with "val_" are on validation data. "epoch", if there, numbers the epochs
    from 0, as Keras' CSVLogger does.

    Raises:
        ValueError: it is none of these, it is empty, or its lists do not fit each other.
    """
    runs = tuple(map(_read_run, _histories(history)))
    if not runs:
        raise ValueError("history must hold at least one run. Received: an empty list.")
    return runs


def read_designs(history: Any, names: Sequence[str] | None = None) -> Designs:
    """The runs of ``read_runs``, those of one design together, by its name.

    ``names`` gives that of each run. Without it runs go together, but for those of models that are
    known to differ, as what ``fit`` returned knows its model: they go by the models' names.

    Raises:
        ValueError: as ``read_runs``; names are not as many as runs.
    """
    runs = read_runs(history)
    if names is not None:
        check_texts("names", names)
    if names is None:
        names = _model_names(_histories(history))
    elif len(names) != len(runs):
        raise ValueError(
            f"names must hold a name for each run, {len(runs)}. Received: names={names!r}"
        )
    designs: Designs = {}
    for name, run in zip(map(str, names), runs, strict=True):
        designs[name] = (*designs.get(name, ()), run)
    return designs


def _model_names(histories: Sequence[Any]) -> list[str]:
    """A name for each run: one for all unless their models are known, and differ."""
    models = [getattr(history, "model", None) for history in histories]
    layers = [_layers(model) if model is not None else None for model in models]
    if None in layers or len(set(layers)) == 1:
        return [""] * len(models)
    first: dict[Any, Any] = dict(zip(layers[::-1], models[::-1], strict=True))
    plain = [str(first[design].name) for design in layers]
    if len(set(plain)) == len(set(layers)):
        return plain
    numbers = {design: index for index, design in enumerate(dict.fromkeys(layers), 1)}
    return [f"{name} ({numbers[design]})" for name, design in zip(plain, layers, strict=True)]


def _layers(model: Any) -> tuple[Any, ...]:
    """What tells two designs apart: classes of layers, shapes of their weights, activations."""
    return tuple(
        (
            type(layer).__name__,
            tuple(tuple(weight.shape) for weight in layer.weights),
            getattr(getattr(layer, "activation", None), "__name__", ""),
        )
        for layer in model.layers
    )


def _histories(history: Any) -> Sequence[Any]:
    several = isinstance(history, Sequence) and not isinstance(history, str)
    return history if several else [history]


def chosen(runs: Sequence[Run], metric: str | None) -> tuple[str, ...]:
    """The figures to draw: all but learning rates, or ``metric`` alone.

    Raises:
        ValueError: no run has ``metric``; the nearest names are given.
    """
    names = tuple(dict.fromkeys(name for run in runs for name in run.names))
    if metric is None:
        return tuple(name for name in names if name not in RATES) or names
    check_kind("metric", metric, str, f"one of {', '.join(names)}")
    name = metric.removeprefix(VALIDATION)
    if name not in names:
        near = get_close_matches(name, names, n=1)
        hint = f" Did you mean '{near[0]}'?" if near else ""
        raise ValueError(f"metric must be one of {', '.join(names)}. Received: {metric!r}.{hint}")
    return (name,)


def _read_run(history: Any) -> Run:
    figures = getattr(history, "history", history)
    if not isinstance(figures, Mapping):
        raise ValueError(
            "history must be what fit returned, its .history, or a list of these. "
            f"Received: {type(history).__name__}."
        )
    lists = {str(name): _numbers(values) for name, values in figures.items()}
    left_out = tuple(name for name, values in lists.items() if values is None)
    columns = {name: values for name, values in lists.items() if values is not None}
    known = columns.pop(EPOCH, getattr(history, EPOCH, None))
    rows = max((len(values) for values in columns.values()), default=0)
    if rows == 0:
        raise ValueError(
            "history must hold a list of numbers, one for each epoch, for loss or a metric. "
            f"Received: {', '.join(map(str, figures)) or 'nothing'}."
        )
    epochs = _epoch_numbers(known, rows)
    training, validation = {}, {}
    for name, values in columns.items():
        curve = _curve(name, values, epochs)
        if name.startswith(VALIDATION):
            validation[name.removeprefix(VALIDATION)] = curve
        else:
            training[name] = curve
    fewer = any(len(values) < rows for values in columns.values())
    return Run(training, validation, left_out, spread_evenly=fewer)


def _numbers(values: Any) -> list[float | None] | None:
    """One number (or None) for each epoch; None where they are something else, or none at all."""
    try:
        numbers = [None if value is None else _number(value) for value in values]
    except (TypeError, ValueError):
        return None
    return numbers if any(number is not None for number in numbers) else None


def _number(value: Any) -> float:
    """NaN for what is not finite, or as good as that."""
    try:
        number = float(value)
    except OverflowError:  # a whole number of hundreds of digits
        return math.nan
    return number if abs(number) <= LARGEST else math.nan


def _epoch_numbers(known: Any, rows: int) -> Values:
    """Numbers from 1; those that are known (from 0) where they fit and rise."""
    if known is not None and len(known) == rows and None not in known:
        epochs = np.asarray(known, np.float64) + 1
        if np.all(np.diff(epochs) > 0):
            return epochs
    return np.arange(1, rows + 1, dtype=np.float64)


def _curve(name: str, values: list[float | None], epochs: Values) -> Curve:
    if len(values) < len(epochs):
        if not name.startswith(VALIDATION) or not values:
            raise ValueError(
                f"history must hold one value of {name} for each of {len(epochs)} epochs. "
                f"Received: {len(values)}."
            )
        epochs = _validated(epochs, len(values))
    there = [index for index, value in enumerate(values) if value is not None]
    return Curve(epochs[there], np.array([values[index] for index in there], np.float64))


def _validated(epochs: Values, count: int) -> Values:
    """In which ``epochs`` fit measured ``count`` values, fewer than there are epochs.

    ``validation_freq=k`` means those that k divides, whichever epoch comes first. Of several k
    that fit, the one nearest to the mean distance is taken; where none does, they lie evenly.
    """
    steps = range(2, len(epochs) // max(count - 1, 1) + 1)
    for step in sorted(steps, key=lambda step: abs(step * count - len(epochs))):
        measured = epochs[epochs % step == 0]
        if len(measured) == count:
            return measured
    return epochs[np.linspace(0, len(epochs) - 1, count).round().astype(int)]
