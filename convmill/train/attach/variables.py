"""What Keras holds: variables, the weights of layers, the state of its global generator."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import repeat
from operator import attrgetter, is_
from typing import Any

from keras.src.backend.common import global_state
from keras.src.backend.common.stateless_scope import in_stateless_scope
from keras.src.backend.common.variables import get_autocast_scope
from keras.src.random import seed_generator

# What a variable holds; None where Keras has taken it away.
held = attrgetter("_value")


def held_values(variables: Sequence[Any]) -> list[Any] | None:
    """What variables hold, without asking each of them for its value; None where that would be
    another one: within scopes of Keras', and before there is one."""
    if in_stateless_scope() or get_autocast_scope() is not None:
        return None
    values = list(map(held, variables))
    return None if any(map(is_, values, repeat(None))) else values


def weights_by_layer(model: Any) -> Iterator[tuple[str, list[Any]]]:
    """The name of each layer, and the weights that it has itself."""
    for layer in model._flatten_layers(include_self=False):
        yield layer.name, [*layer._trainable_variables, *layer._non_trainable_variables]


def global_seed(make: bool = False) -> Any:
    """The state of the generator that draws for whoever has none; None where nobody has asked for
    it yet, unless it is to be made."""
    found = global_state.get_global_attribute(seed_generator.GLOBAL_SEED_GENERATOR)
    if found is None and make:
        found = seed_generator.global_seed_generator()
    return None if found is None else found.state
