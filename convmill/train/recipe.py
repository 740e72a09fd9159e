"""Reads what ``compile`` said into a Recipe, and moves the optimizer's state both ways.

What the Recipe cannot express raises ``NotCovered``; a number that makes no sense (a rate that is
NaN, a negative clipnorm) raises ``ValueError`` with what was received.
"""

from __future__ import annotations

import math
import weakref
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import keras
import numpy as np
from keras import losses, metrics, optimizers

from convmill.plan.graph import NotCovered, Shape
from convmill.plan.read import Reading
from convmill.plan.recipe import EPSILON, Clip, Loss, LossName, Optimizer, Recipe
from convmill.plan.written import is_keras_class

Accuracy = Literal["categorical", "sparse", "binary"]

# A learning rate above this is a slip of the pen, and the weights would be lost at once.
LARGEST_RATE = 1e6


def read_recipe(model: Any, reading: Reading) -> Recipe:
    """The Recipe of a compiled Keras model.

    Raises:
        NotCovered: a loss, an optimizer or an argument of theirs that the Recipe cannot express.
        ValueError: an unknown loss, or an argument outside its range.
    """
    if not model.compiled:
        raise NotCovered("the model is not compiled", "call model.compile first")
    if keras.config.epsilon() != EPSILON:
        raise NotCovered(
            f"keras.config.epsilon() is {keras.config.epsilon()}",
            f"call keras.config.set_epsilon({EPSILON}), Keras' default",
        )
    shape = reading.graph.output_shape
    loss = _read_loss(model, shape)
    optimizer = _read_optimizer(model.optimizer)
    _check_decay(model.optimizer, optimizer, reading)
    kinds = (accuracy_kind(metric, loss, shape) for metric in _compiled_metrics(model))
    accuracy = next((kind for kind in kinds if kind is not None), None)
    return Recipe(loss, optimizer, accuracy)


def _check(name: str, value: Any, lowest: float, highest: float = math.inf) -> float:
    """``value`` as a float; ValueError unless it is a finite number within the limits."""
    number = value if isinstance(value, (int, float, np.number)) else math.nan
    if not (lowest <= number <= highest and math.isfinite(number)):
        limits = f"at least {lowest:g}" if highest == math.inf else f"in [{lowest:g}, {highest:g}]"
        raise ValueError(f"{name} must be a finite number {limits}. Received: {name}={value!r}")
    return float(number)


# The loss ----------------------------------------------------------------------------------------

_LOSSES: dict[Any, LossName] = {
    losses.CategoricalCrossentropy: "categorical_crossentropy",
    losses.categorical_crossentropy: "categorical_crossentropy",
    losses.SparseCategoricalCrossentropy: "sparse_categorical_crossentropy",
    losses.sparse_categorical_crossentropy: "sparse_categorical_crossentropy",
    losses.BinaryCrossentropy: "binary_crossentropy",
    losses.binary_crossentropy: "binary_crossentropy",
    losses.MeanSquaredError: "mean_squared_error",
    losses.mean_squared_error: "mean_squared_error",
    losses.MeanAbsoluteError: "mean_absolute_error",
    losses.mean_absolute_error: "mean_absolute_error",
}

_LOSS_REMEDY = (
    "use categorical_crossentropy, sparse_categorical_crossentropy, binary_crossentropy, "
    "mean_squared_error or mean_absolute_error"
)


def _read_loss(model: Any, shape: Shape) -> Loss:
    if len(shape) != 1:
        raise NotCovered(
            f"an output of shape {shape} per image",
            "end the model with Flatten or global pooling, and Dense",
        )
    given = _given_loss(model, shape)
    name = _LOSSES.get(given if callable(given) and hasattr(given, "__name__") else type(given))
    if name is None:
        title = getattr(given, "__name__", type(given).__name__)
        raise NotCovered(f"the loss {title}", _LOSS_REMEDY)
    if name == "sparse_categorical_crossentropy" and shape[-1] == 1:
        raise NotCovered(
            f"{name} on an output of one unit", "use binary_crossentropy, or one unit for a class"
        )
    if not isinstance(given, losses.Loss):
        return Loss(name)
    return _loss_with_arguments(name, given)


def _given_loss(model: Any, shape: Shape) -> Any:
    """The loss object or function that ``compile`` was given, strings looked up."""
    given = getattr(model, "loss", None)
    if given is None:
        raise NotCovered("the model was compiled without a loss", _LOSS_REMEDY)
    if isinstance(given, (list, tuple, dict)):
        raise NotCovered(f"loss={given!r}", "pass one loss, not in a list or a dict")
    if not isinstance(given, str):
        return given
    if given.lower() in ("crossentropy", "ce"):
        if shape[-1] != 1:
            raise NotCovered(
                f"loss={given!r}, which depends on the shape of the labels",
                'use "categorical_crossentropy" or "sparse_categorical_crossentropy"',
            )
        return losses.binary_crossentropy
    try:
        return losses.get(given)
    except ValueError:
        raise ValueError(
            f"loss is not one that Keras knows: {_LOSS_REMEDY}. Received: loss={given!r}"
        ) from None


def _loss_with_arguments(name: LossName, given: Any) -> Loss:
    config = given.get_config()
    reductions: dict[str, Literal["mean", "sum"]] = {
        "sum_over_batch_size": "mean",
        "mean": "mean",
        "sum": "sum",
    }
    if given.reduction not in reductions:
        raise NotCovered(
            f"the loss {name} with reduction={given.reduction!r}",
            'use reduction="sum_over_batch_size" or "sum"',
        )
    if given.dtype != "float32":
        raise NotCovered(f"the loss {name} with dtype={given.dtype!r}", "leave dtype out")
    for argument, plain in (("axis", -1), ("ignore_class", None)):
        if config.get(argument, plain) != plain:
            raise NotCovered(
                f"the loss {name} with {argument}={config[argument]!r}", f"leave {argument} out"
            )
    return Loss(
        name,
        from_logits=bool(config.get("from_logits", False)),
        label_smoothing=_check("label_smoothing", config.get("label_smoothing", 0.0), 0, 1),
        reduction=reductions[given.reduction],
    )


# Metrics -----------------------------------------------------------------------------------------


def accuracy_kind(metric: Any, loss: Loss, shape: Shape) -> Accuracy | None:
    """Which accuracy ``metric`` is, if it is one that is counted together with the loss.

    ``metric`` is a string, a function or a Metric, as ``compile`` takes them; ``shape`` is the
    output's for one image. "accuracy" is resolved by the shapes, as Keras does: an output of one
    unit is binary, class indices are sparse, and all else is categorical (an output of several
    sigmoids too). None for any other metric, and for an accuracy that wants other labels than the
    loss reads: those are computed in Python from the outputs.
    """
    kind = _kind_by_shape(loss, shape) if str(metric).lower() in ("accuracy", "acc") else None
    if kind is None:
        if isinstance(metric, str):
            try:
                metric = metrics.get(metric)
            except ValueError:
                return None  # Keras names it when the metric is built
        kind = _kind_of_object(metric)
    if kind is None or (kind == "sparse") != loss.sparse:
        return None
    return kind


def _kind_by_shape(loss: Loss, shape: Shape) -> Accuracy:
    if shape[-1] == 1:
        return "binary"
    return "sparse" if loss.sparse else "categorical"


def _kind_of_object(metric: Any) -> Accuracy | None:
    if metric is metrics.categorical_accuracy:
        return "categorical"
    if metric is metrics.sparse_categorical_accuracy:
        return "sparse"
    if metric is metrics.binary_accuracy:
        return "binary"
    if not isinstance(metric, metrics.Metric) or metric.dtype != "float32":
        return None
    if type(metric) is metrics.MeanMetricWrapper:  # what Keras makes of a function
        return _kind_of_object(metric._fn) if not metric._fn_kwargs else None
    if type(metric) is metrics.CategoricalAccuracy:
        return "categorical"
    if type(metric) is metrics.SparseCategoricalAccuracy:
        return "sparse"
    if type(metric) is metrics.BinaryAccuracy and metric.threshold == 0.5:
        return "binary"
    return None


def _compiled_metrics(model: Any) -> Iterator[Any]:
    """What ``compile`` was given as ``metrics`` and ``weighted_metrics``, flat.

    The public ``get_compile_config`` would serialize them, which warns about every lambda and fails
    for objects that have no config; so the two lists are read where ``compile`` keeps them.
    """
    compiled = getattr(model, "_compile_metrics", None)
    for attribute in ("_user_metrics", "_user_weighted_metrics"):
        for metric in keras.tree.flatten(getattr(compiled, attribute, None)):
            if metric is not None:
                yield metric


# The optimizer -----------------------------------------------------------------------------------


def _read_optimizer(optimizer: Any) -> Optimizer:
    if optimizer is None:
        raise NotCovered("the model was compiled without an optimizer", "name one in compile")
    title = type(optimizer).__name__
    for argument in ("use_ema", "gradient_accumulation_steps", "loss_scale_factor"):
        value = getattr(optimizer, argument, None)
        if value:
            raise NotCovered(f"the optimizer {title} with {argument}={value}", "leave it out")
    decay = 0.0
    if optimizer.weight_decay is not None:
        decay = _check("weight_decay", optimizer.weight_decay, 0)
    common: dict[str, Any] = {"weight_decay": decay, "clip": _read_clip(optimizer)}
    if _is(optimizer, optimizers.SGD):
        momentum = _check("momentum", optimizer.momentum, 0, 1)
        return Optimizer("sgd", momentum=momentum, nesterov=bool(optimizer.nesterov), **common)
    if _is(optimizer, optimizers.RMSprop):
        return Optimizer(
            "rmsprop",
            rho=_check("rho", optimizer.rho, 0, 1),
            momentum=_check("momentum", optimizer.momentum, 0, 1),
            epsilon=_check("epsilon", optimizer.epsilon, 0),
            centered=bool(optimizer.centered),
            **common,
        )
    if _is(optimizer, optimizers.Adam) or _is(optimizer, optimizers.AdamW):
        below_one = math.nextafter(1.0, 0.0)
        return Optimizer(
            "adam",
            beta_1=_check("beta_1", optimizer.beta_1, 0, below_one),
            beta_2=_check("beta_2", optimizer.beta_2, 0, below_one),
            epsilon=_check("epsilon", optimizer.epsilon, 0),
            amsgrad=bool(optimizer.amsgrad),
            **common,
        )
    raise NotCovered(f"the optimizer {title}", "use SGD, RMSprop, Adam or AdamW")


def _is(optimizer: Any, kind: type) -> bool:
    """Whether this is Keras' own ``kind``; on PyTorch Keras derives a class of the same name."""
    found = type(optimizer)
    return issubclass(found, kind) and is_keras_class(found) and found.__name__ == kind.__name__


def _read_clip(optimizer: Any) -> Clip | None:
    """As in Keras, at most one is set (its constructor checks that), and 0 does not clip."""
    kinds: dict[str, Literal["norm", "global_norm", "value"]] = {
        "clipnorm": "norm",
        "global_clipnorm": "global_norm",
        "clipvalue": "value",
    }
    for argument, kind in kinds.items():
        value = getattr(optimizer, argument)
        if value is not None and _check(argument, value, 0) > 0:
            return Clip(kind, float(value))
    return None


def mark_decay(optimizer: Any, reading: Reading) -> Reading:
    """``reading`` with ``decays`` False for what ``exclude_from_weight_decay`` names."""
    parameters = tuple(
        # Keras has no public way to ask this.
        replace(parameter, decays=bool(optimizer._use_weight_decay(variable)))
        for parameter, variable in zip(reading.graph.parameters, reading.variables, strict=True)
    )
    return replace(reading, graph=replace(reading.graph, parameters=parameters))


def _check_decay(optimizer: Any, read: Optimizer, reading: Reading) -> None:
    if read.weight_decay and mark_decay(optimizer, reading).graph != reading.graph:
        raise NotCovered(
            "weights that exclude_from_weight_decay names", "decay all weights, or none"
        )


# The optimizer's state ---------------------------------------------------------------------------


def _copy(variable: Any) -> np.ndarray:
    return np.array(keras.ops.convert_to_numpy(variable))


def read_slots(
    optimizer: Any, reading: Reading, recipe: Recipe, take: Callable[[Any], Any] = _copy
) -> dict[str, list[Any]]:
    """The optimizer's slots: slot name -> one float32 array per trainable parameter.

    ``take`` makes a variable's value of it, by default a copy. Builds the optimizer on the
    trainable variables if it is not built. ValueError where it was built on other variables.
    """
    return {
        slot: [take(variable) for variable in variables]
        for slot, variables in _slot_variables(optimizer, reading, recipe).items()
    }


def write_slots(
    optimizer: Any,
    reading: Reading,
    recipe: Recipe,
    values: Mapping[str, Sequence[np.ndarray]],
) -> None:
    """Assigns what ``read_slots`` returns; ValueError before the first write if shapes differ."""
    slots = _slot_variables(optimizer, reading, recipe)
    pairs = []
    for slot, variables in slots.items():
        for variable, value in zip(variables, values[slot], strict=True):
            if tuple(variable.shape) != value.shape:
                raise ValueError(
                    f"slot {variable.path!r} has shape {tuple(variable.shape)}. "
                    f"Received: an array of shape {value.shape}"
                )
            pairs.append((variable, value))
    for variable, value in pairs:
        variable.assign(value)


def _slot_variables(optimizer: Any, reading: Reading, recipe: Recipe) -> dict[str, list[Any]]:
    """The optimizer's variables by slot, in the order of the trainable parameters."""
    weights = [
        variable
        for parameter, variable in zip(reading.graph.parameters, reading.variables, strict=True)
        if parameter.trainable
    ]
    if not optimizer.built:
        optimizer.build(weights)
    by_name: dict[str, list[Any]] = defaultdict(list)
    for variable in optimizer.variables:
        by_name[variable.name].append(variable)
    found: dict[str, list[Any]] = {}
    for slot in recipe.optimizer.slots:
        found[slot] = []
        for weight in weights:
            named = by_name[f"{weight.path.replace('/', '_')}_{slot}"]
            if not named or tuple(named[0].shape) != tuple(weight.shape):
                raise ValueError(
                    "The optimizer was built on other variables than the model trains now. "
                    "Compile the model again after freezing or adding layers. "
                    f"Received: no {slot} for {weight.path!r}"
                )
            # weights of one name keep the order in which the optimizer was built
            found[slot].append(named.pop(0))
    return found


def read_iterations(optimizer: Any) -> int:
    """How many steps the optimizer has made."""
    return int(keras.ops.convert_to_numpy(optimizer.iterations))


def write_iterations(optimizer: Any, iterations: int) -> None:
    """Sets how many steps the optimizer has made."""
    optimizer.iterations.assign(iterations)


# The learning rate -------------------------------------------------------------------------------


def rates(optimizer: Any, steps: int, first: int | None = None) -> np.ndarray:
    """Learning rates of the next ``steps`` steps: float64 (steps,).

    ``first`` is how many steps there were before, None for as many as the optimizer says.

    Raises:
        NotCovered: the learning rate is a function.
        ValueError: a rate is NaN, negative or above ``LARGEST_RATE``.
    """
    # The property ``learning_rate`` gives a schedule's value, not the schedule.
    schedule = optimizer._learning_rate
    if isinstance(schedule, optimizers.schedules.LearningRateSchedule):
        first = read_iterations(optimizer) if first is None else first
        values = _scheduled(schedule, np.arange(first, first + steps, dtype=np.int32))
    elif isinstance(schedule, keras.Variable):
        values = np.full(steps, float(keras.ops.convert_to_numpy(schedule)))
    else:
        raise NotCovered(
            "a learning_rate that is a function", "use a keras.optimizers.schedules schedule"
        )
    wrong = np.flatnonzero(~((values >= 0) & (values <= LARGEST_RATE)))
    if len(wrong):
        raise ValueError(
            f"learning_rate must be a number in [0, {LARGEST_RATE:g}]. "
            f"Received: learning_rate={values[wrong[0]]:g}"
        )
    return values


# By id, the schedules seen to give the same values for a vector of steps as for single steps.
_VECTORIZE: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()


def _scheduled(schedule: Any, steps: np.ndarray) -> np.ndarray:
    """Values of ``schedule`` at ``steps``: in one call where that agrees with single calls.

    A call takes from one millisecond to hundreds (schedules that branch), whether for one step or
    for a thousand. A schedule written in plain Python cannot take a vector; it is called for each
    step, and is fast.
    """
    if not len(steps):
        return np.zeros(0)

    def at(step: Any) -> float:
        return float(keras.ops.convert_to_numpy(schedule(keras.ops.convert_to_tensor(step))))

    try:
        mapped = keras.ops.vectorized_map(schedule, keras.ops.convert_to_tensor(steps))
        values = np.array(keras.ops.convert_to_numpy(mapped), dtype=np.float64)
    except Exception:  # whatever the schedule's operations raise for a vector
        return np.array([at(step) for step in steps])
    if _VECTORIZE.get(id(schedule)) is not schedule:
        probes = np.unique([0, len(steps) // 2, len(steps) - 1])
        if not np.allclose(values[probes], [at(steps[probe]) for probe in probes], rtol=1e-6):
            return np.array([at(step) for step in steps])
        _VECTORIZE[id(schedule)] = schedule
    return values
