"""The optimizer's state, from Keras' variables and back: slots, iterations, Nadam's product."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from convmill.plan.read import Reading
from convmill.plan.recipe import Recipe
from convmill.train import late


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
        for slot, variables in slot_variables(optimizer, reading, recipe).items()
    }


def write_slots(
    slots: Mapping[str, Sequence[Any]], values: Mapping[str, Sequence[np.ndarray]]
) -> None:
    """Assigns what ``read_slots`` returns to ``slot_variables``; ValueError before the first write
    if shapes differ."""
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
        late.assign(variable, value)


def slot_variables(optimizer: Any, reading: Reading, recipe: Recipe) -> dict[str, list[Any]]:
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
    """How many batches the optimizer has seen; where it gathers them, steps are fewer."""
    # ``optimizer.iterations`` counts steps; LossScaleOptimizer has those of another one counted.
    counting = getattr(optimizer, "inner_optimizer", optimizer)
    return int(keras.ops.convert_to_numpy(counting._iterations))


def iterations_variable(optimizer: Any) -> Any:
    """The variable that ``write_iterations`` sets."""
    return optimizer._iterations


def write_iterations(optimizer: Any, iterations: int) -> None:
    """Sets how many batches the optimizer has seen."""
    late.assign(optimizer._iterations, iterations)


def take_averages(optimizer: Any, weights: Sequence[Any]) -> None:
    """Puts the moving averages of ``weights`` in their places, if the optimizer keeps any; not
    before its first step, when they are zeros."""
    if optimizer.built and read_iterations(optimizer):
        optimizer.finalize_variable_values(weights)


def read_product(optimizer: Any) -> float | None:
    """What Nadam has multiplied its momenta to; None for any other optimizer, which keeps none."""
    # Keras has no public way to ask this.
    variable = getattr(optimizer, "_u_product", None)
    return None if variable is None else float(keras.ops.convert_to_numpy(variable))


def write_product(optimizer: Any, product: float) -> None:
    """Sets what ``read_product`` returns."""
    optimizer._u_product.assign(product)
