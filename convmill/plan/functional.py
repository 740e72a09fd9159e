"""How Keras stores a functional graph, and the calls in it. The one file that knows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras

from convmill.plan.traced import Trace
from convmill.plan.written import own_call


def given_ends(model: Any) -> tuple[Any, Any]:
    """The tensors that a built model reads and writes, in lists and dicts as the user gave them."""
    functional = model if isinstance(model, Trace) else _functional(model)
    return functional.input, functional.output


def nodes(model: Any) -> Iterator[Any]:
    """Calls of layers inside a model, those that only feed tensors in left out, inputs first; none
    where it has no graph."""
    by_depth = getattr(_functional(model), "_nodes_by_depth", {})
    for depth in sorted(by_depth, reverse=True):
        for node in by_depth[depth]:
            if not node.is_input:
                yield node


def given_inputs(node: Any) -> list[Any]:
    """What a model inside a model is called with, in the order of its inputs."""
    arguments = node.arguments
    first = arguments.args[0] if arguments.args else next(iter(arguments.kwargs.values()))
    inputs = node.operation.inputs
    names = [tensor._keras_history.operation.name for tensor in inputs]
    by_name = not isinstance(given_ends(node.operation)[0], dict)
    if by_name and isinstance(first, dict) and set(names) <= set(first):
        return [first[name] for name in names]
    flat: list[Any] = keras.tree.flatten(first)
    return flat


def options(node: Any) -> tuple[Any, ...]:
    """What a layer is called with beside the tensors that it reads."""
    # fit and predict set ``training`` themselves, whatever the call said
    named = {name: value for name, value in node.arguments.kwargs.items() if name != "training"}
    given = keras.tree.flatten((node.arguments.args, named))
    tensors = {id(tensor) for tensor in node.input_tensors}
    return tuple(each for each in given if each is not None and id(each) not in tensors)


def is_graph(operation: Any) -> bool:
    """Whether what is called is a model that is a built graph of layers and nothing else."""
    if not isinstance(operation, keras.Model) or own_call(operation) is not None:
        return False
    return bool(getattr(_functional(operation), "_nodes_by_depth", None))


def _functional(model: Any) -> Any:
    """The functional graph behind a model; Sequential holds one inside."""
    if isinstance(model, Trace):
        return model.function
    return getattr(model, "_functional", None) or model
