"""Follows any graph of Keras layers from its inputs to its outputs: who calls whom, in order.

The one file that knows how Keras stores a functional graph. What a layer computes is the subject of
``operations/``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import keras

from convmill.plan.graph import Shape
from convmill.plan.written import own_call


@dataclass(frozen=True)
class Call:
    """One call of a layer (or of an operation such as ``x + y``).

    ``name`` is unique in the graph; layers of models inside the model are called "inner/layer", and
    the second call of a shared layer "layer (2)". ``sources`` names the call that made each tensor
    which this one reads, ``read`` has their shapes, ``shape`` is that of the first output, all of
    one image. ``output`` is the tensor that Keras keeps for it, in the graph of the model that the
    layer lies in. ``options`` are what else it is called with, ``given`` all of it in Keras' order,
    tensors among the rest.
    """

    name: str
    layer: Any
    sources: tuple[str, ...]
    read: tuple[Shape, ...]
    shape: Shape
    output: Any
    options: tuple[Any, ...] = ()
    given: tuple[Any, ...] = ()

    @property
    def inputs(self) -> tuple[str, ...]:
        """The calls that this one reads, each once."""
        return tuple(dict.fromkeys(self.sources))


@dataclass(frozen=True)
class Inner:
    """One call of a model inside the model, and what it is called with beside its inputs."""

    model: Any
    options: tuple[Any, ...]


@dataclass(frozen=True)
class Walk:
    """Calls in an order in which every input precedes its readers; models inside the model stand
    in ``inner``, and the calls of their layers among the others. ``outputs`` may name one twice."""

    calls: tuple[Call, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    inner: tuple[Inner, ...]


def walk(model: Any) -> Walk:
    """The calls of a built Sequential or functional model, models inside it included."""
    walker = _Walker()
    made: _Made = {}
    for tensor in model.inputs:
        layer, shape = tensor._keras_history.operation, _shape_of(tensor)
        made[id(tensor)] = _Source(walker.add(layer, "", [], shape, tensor), shape)
    inputs = tuple(source.name for source in made.values())
    walker.enter(model, made, "")
    outputs = tuple(made[id(tensor)].name for tensor in model.outputs)
    return Walk(tuple(walker.calls), inputs, outputs, tuple(walker.inner))


def given_ends(model: Any) -> tuple[Any, Any]:
    """The tensors that a built model reads and writes, in lists and dicts as the user gave them."""
    functional = _functional(model)
    return functional.input, functional.output


def nodes(model: Any) -> Iterator[Any]:
    """Calls of layers inside a model, those that only feed tensors in left out, inputs first; none
    where it has no graph."""
    by_depth = getattr(_functional(model), "_nodes_by_depth", {})
    for depth in sorted(by_depth, reverse=True):
        for node in by_depth[depth]:
            if not node.is_input:
                yield node


@dataclass(frozen=True)
class _Source:
    """Who made a tensor, and its shape here: a model inside a model may leave sizes open."""

    name: str
    shape: Shape


_Made = dict[int, _Source]  # by the tensor's id


class _Walker:
    """Collects calls under unique names."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.inner: list[Inner] = []
        self.names: set[str] = set()

    def enter(self, model: Any, made: _Made, prefix: str) -> None:
        """Adds the calls inside ``model``; ``made`` tells where its inputs come from."""
        for node in nodes(model):
            if _is_graph(node.operation):
                self._enter_inner(node, made, prefix)
                continue
            # an optional input that was left out comes from nowhere
            read = [made[id(tensor)] for tensor in node.input_tensors if id(tensor) in made]
            shapes = _written(node, made)
            options = _options(node)
            name = self.add(
                node.operation,
                prefix,
                read,
                shapes[0],
                node.output_tensors[0],
                options,
                _given_to(node),
            )
            for tensor, shape in zip(node.output_tensors, shapes, strict=True):
                made[id(tensor)] = _Source(name, shape)

    def _enter_inner(self, node: Any, made: _Made, prefix: str) -> None:
        model = node.operation
        self.inner.append(Inner(model, _options(node)))
        inner = {
            id(inside): made[id(outside)]
            for inside, outside in zip(model.inputs, _given(node), strict=False)
            if id(outside) in made
        }
        self.enter(model, inner, f"{prefix}{model.name}/")
        for inside, outside in zip(model.outputs, node.output_tensors, strict=True):
            made[id(outside)] = inner[id(inside)]

    def add(
        self,
        layer: Any,
        prefix: str,
        read: list[_Source],
        shape: Shape,
        output: Any,
        options: tuple[Any, ...] = (),
        given: tuple[Any, ...] = (),
    ) -> str:
        """Adds one call; returns its name."""
        name, count = prefix + layer.name, 1
        while name in self.names:
            count += 1
            name = f"{prefix}{layer.name} ({count})"
        self.names.add(name)
        sources = tuple(source.name for source in read)
        shapes = tuple(source.shape for source in read)
        self.calls.append(Call(name, layer, sources, shapes, shape, output, options, given))
        return name


def _given_to(node: Any) -> tuple[Any, ...]:
    """What stands by itself in a call, then what is named."""
    return (*node.arguments.args, *node.arguments.kwargs.values())


def _options(node: Any) -> tuple[Any, ...]:
    """What a layer is called with beside the tensors that it reads."""
    # fit and predict set ``training`` themselves, whatever the call said
    named = {name: value for name, value in node.arguments.kwargs.items() if name != "training"}
    given = keras.tree.flatten((node.arguments.args, named))
    tensors = {id(tensor) for tensor in node.input_tensors}
    return tuple(each for each in given if each is not None and id(each) not in tensors)


def _shape_of(tensor: Any) -> Shape:
    """Shape of one image."""
    return tuple(tensor.shape[1:])


def _written(node: Any, made: _Made) -> list[Shape]:
    """Shapes of all that a call writes, computed anew where it reads other sizes here."""
    tensors = [tensor for tensor in node.input_tensors if id(tensor) in made]
    if all(made[id(tensor)].shape == _shape_of(tensor) for tensor in tensors):
        return [_shape_of(tensor) for tensor in node.output_tensors]
    here = {
        id(tensor): keras.KerasTensor((None, *made[id(tensor)].shape), dtype=tensor.dtype)
        for tensor in tensors
    }
    positional, named = node.arguments.fill_in(here)
    spec = node.operation.compute_output_spec(*positional, **named)
    return [_shape_of(tensor) for tensor in keras.tree.flatten(spec)]


def _given(node: Any) -> list[Any]:
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


def _is_graph(operation: Any) -> bool:
    """Whether what is called is a model that is a built graph of layers and nothing else."""
    if not isinstance(operation, keras.Model) or own_call(operation) is not None:
        return False
    return bool(getattr(_functional(operation), "_nodes_by_depth", None))


def _functional(model: Any) -> Any:
    """The functional graph behind a model; Sequential holds one inside."""
    return getattr(model, "_functional", None) or model
