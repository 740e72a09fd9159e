"""The stand-in on which a layer's own code runs, and what that code finds around it: symbols in the
places of weights, variables without values, layers that forget the calls."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import keras

from convmill.plan.added import Term, Unadded, terms_of
from convmill.plan.traced import Untraceable


def stand_in(layer: Any, symbols: dict[int, tuple[Any, Any]], added: list[Term]) -> Any:
    """An object like ``layer`` in which symbols stand for its own weights; ``added`` collects what
    it adds to the loss."""
    made = object.__new__(type(layer))
    for name, value in vars(layer).items():
        vars(made)[name] = _with_symbols(value, symbols)

    def add_loss(loss: Any) -> None:
        try:
            for one in keras.tree.flatten(loss):
                added.extend(terms_of(one))
        except Unadded as reason:
            raise Untraceable(f"adds a loss {reason}") from reason

    vars(made)["add_loss"] = add_loss
    return made


def _with_symbols(value: Any, symbols: dict[int, tuple[Any, Any]]) -> Any:
    """Lists and dicts of weights, too."""
    if isinstance(value, keras.Variable):
        if id(value) not in symbols:
            symbol = keras.KerasTensor(tuple(value.shape), value.dtype, name=value.name)
            symbols[id(value)] = value, symbol
        return symbols[id(value)][1]
    if isinstance(value, dict) and any(isinstance(v, keras.Variable) for v in value.values()):
        return {key: _with_symbols(each, symbols) for key, each in value.items()}
    if isinstance(value, list | tuple) and any(isinstance(v, keras.Variable) for v in value):
        return [_with_symbols(each, symbols) for each in value]
    return copy.copy(value) if type(value) in (list, dict, set) else value


class Unwritten(keras.StatelessScope):
    """While a call is followed its variables have no values, and none is written."""

    def __init__(self) -> None:
        super().__init__(initialize_variables=False)

    def get_current_value(self, variable: Any) -> Any:
        raise Untraceable(f"computes from {variable.path!r} in a way that no graph tells")

    def add_update(self, update: Any) -> None:
        raise Untraceable(f"assigns to {update[0].path!r}")

    def add_loss(self, loss: Any) -> None:
        raise Untraceable("adds a loss of its own")


@contextmanager
def undisturbed(layer: Any) -> Iterator[None]:
    """Leaves layers without the calls that Keras notes on them when a symbol goes through, and the
    losses that they add to a trial."""
    every = layer._flatten_layers()
    lists = ((each._inbound_nodes, each._outbound_nodes) for each in every)
    noted = [(calls, len(calls)) for both in lists for calls in both]
    losses = [(each._loss_ids, set(each._loss_ids)) for each in every]
    try:
        yield
    finally:
        for calls, count in noted:
            del calls[count:]
        for identities, before in losses:
            identities.intersection_update(before)


class _Caller(keras.Layer):
    """Calls something as Keras does inside the call of a layer."""

    def __init__(self, body: Callable[[], None]) -> None:
        super().__init__(name="caller", dtype="float32")
        self.body = body

    def call(self, symbol: Any, training: Any = None) -> Any:
        return symbol

    def compute_output_spec(self, symbol: Any, training: Any = None) -> Any:
        self.body()
        return symbol


def inside_a_call(training: bool | None, body: Callable[[], Any]) -> Any:
    """What ``body`` gives. Layers that it calls without a ``training`` of their own have this one;
    that of their own call where it is None. What ``body`` raises Keras would wrap up."""
    if training is None:
        return body()
    given: list[tuple[Any, Exception | None]] = []

    def run() -> None:
        try:
            given.append((body(), None))
        except Exception as error:
            given.append((None, error))

    _Caller(run)(keras.KerasTensor((None, 1)), training=training)
    found, raised = given[0]
    if raised is not None:
        raise raised
    return found
