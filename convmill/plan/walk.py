"""Follows any graph of Keras layers from its inputs to its outputs: who calls whom, in order.

What a layer computes is the subject of ``operations/``, and how Keras stores a graph that of
``functional.py``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np

from convmill.plan.calls import CONSTANT, Call, Inner, Penalty, Walk
from convmill.plan.compositions import composed
from convmill.plan.functional import given_inputs, is_graph, nodes, options
from convmill.plan.functions import own_activation, read_activation
from convmill.plan.graph.operations import AddedLoss, Penalize
from convmill.plan.graph.shapes import Shape, Sizes
from convmill.plan.operations.parameters import regularizer_of
from convmill.plan.trace import is_followed, trace, trace_activation
from convmill.plan.traced import Trace, Untraceable

_DIVISIONS = ("Divide", "TrueDivide")
# Operations that broadcast their operands: those whose numbers and arrays go into the operation,
# and those that read them as weights.
_OF_CONSTANTS = ("Add", "Subtract", "Multiply", *_DIVISIONS)
_WITH_CONSTANTS = ("Maximum", "Minimum", "Reciprocal")
_PRODUCTS = ("Matmul", "Dot")  # with weights that are no calls


def walk(
    model: Any, follow: bool = False, training: bool = True, sizes: Sizes | None = None
) -> Walk:
    """The calls of a built Sequential or functional model, or of a Trace of another one, models
    inside it included; those that the Python code of layers makes, too, where it is to ``follow``
    them. Shapes are those of ``training``, or those outside it, for images of ``sizes`` where the
    model leaves them open."""
    walker = _Walker(follow, training)
    made: _Made = {}
    shapes = sizes or tuple(map(_shape_of, model.inputs))
    for tensor, shape in zip(model.inputs, shapes, strict=True):
        layer = tensor._keras_history.operation
        name = walker.add(Call(layer.name, layer, (), (), shape, tensor))
        made[id(tensor)] = _Source(name, shape)
    inputs = tuple(source.name for source in made.values())
    if isinstance(model, Trace):
        made.update(model.weights)
        walker.add_draws(model, made, "")
    walker.enter(model, made, "")
    if isinstance(model, Trace):
        walker.add_losses(model, made, "loss")
    outputs = tuple(made[id(tensor)].name for tensor in model.outputs)
    return Walk(tuple(walker.calls), inputs, outputs, tuple(walker.inner))


def is_left_outside(layer: Any) -> bool:
    """Whether a layer leaves images as they are outside training, and cuts them in training
    (https://github.com/keras-team/keras/issues/21868)."""
    return isinstance(layer, keras.layers.RandomCrop)


@dataclass(frozen=True)
class _Source:
    """Who made a tensor, and its shape here: a model inside a model may leave sizes open. It is the
    same for all images where it is made ``of_weights`` alone."""

    name: str
    shape: Shape
    of_weights: bool = False


_Made = dict[int, Any]  # by the tensor's id: its _Source, or the Keras variable it stands for


class _Walker:
    """Collects calls under unique names."""

    def __init__(self, follow: bool, training: bool) -> None:
        self.follow, self.training = follow, training
        self.calls: list[Call] = []
        self.inner: list[Inner] = []
        self.names: set[str] = set()
        self.held: dict[tuple[int, Shape], _Source] = {}  # weights that operations read

    def enter(self, model: Any, made: _Made, prefix: str) -> None:
        """Adds the calls inside ``model``, or a Trace; ``made`` tells where its inputs come
        from."""
        for node in nodes(model):
            operation = node.operation
            if is_graph(operation):
                self._enter_inner(node, made, prefix)
                self._add_penalties(node, made, prefix)
            elif not isinstance(operation, keras.Layer):
                # Keras counts the names of what is made here on and on
                is_traced = not isinstance(model, keras.Model)
                name = type(operation).__name__.lower() if is_traced else operation.name
                self._add_operation(node, made, prefix, name)
            else:
                self._add_any_layer(node, made, prefix)
                self._add_penalties(node, made, prefix)

    def _add_any_layer(self, node: Any, made: _Made, prefix: str) -> None:
        layer = node.operation
        if self.follow and is_followed(layer):
            self._enter_trace(node, made, prefix)
        elif self.follow and own_activation(layer) is not None:
            self._add_activated(node, made, prefix)
        elif not self._add_composed(node, made, prefix, layer.name):
            self._add_layer(node, made, prefix, layer.name)

    def _add_penalties(self, node: Any, made: _Made, prefix: str) -> None:
        """Adds what a layer's activity_regularizer asks for, behind all that it writes."""
        regularizer = regularizer_of(node.operation.activity_regularizer)
        if not self.follow or regularizer is None or not (regularizer.l1 or regularizer.l2):
            return
        for tensor in node.output_tensors:
            source = made[id(tensor)]
            name = f"{prefix}{node.operation.name}/activity"
            read = (source.name,), (source.shape,)
            made_here = Call(name, Penalty(Penalize(regularizer)), *read, source.shape, tensor)
            made[id(tensor)] = replace(source, name=self.add(made_here))

    def _add_layer(self, node: Any, made: _Made, prefix: str, name: str, **more: Any) -> None:
        # an optional input that was left out comes from nowhere
        read = [made[id(tensor)] for tensor in node.input_tensors if id(tensor) in made]
        read = [self._source(source, prefix) for source in read]
        self._add(node, made, prefix + name, read, options=options(node), **more)

    def _add_composed(self, node: Any, made: _Made, prefix: str, name: str) -> bool:
        """Adds the calls that say the same as this one; False where there are none."""
        here = _symbols(node, made)
        positional, named = node.arguments.fill_in(here)
        written = composed(node.operation, *positional, **named) if self.follow else None
        if written is None:
            return False
        found = keras.tree.flatten(written)
        inner = {id(symbol): made[outside] for outside, symbol in here.items()}
        self.enter(keras.Function(list(here.values()), found), inner, f"{prefix}{name}/")
        pairs = zip(node.output_tensors, found, strict=True)
        made.update((id(outside), inner[id(inside)]) for outside, inside in pairs)
        return True

    def _add_operation(self, node: Any, made: _Made, prefix: str, name: str) -> None:
        if self._add_composed(node, made, prefix, name):
            return
        kind = type(node.operation).__name__
        given = keras.tree.flatten((node.arguments.args, node.arguments.kwargs))
        given = [made.get(id(each), each) for each in given if each is not None]
        rank = len(node.output_tensors[0].shape) - 1
        if kind in _DIVISIONS and not isinstance(given[0], _Source | keras.Variable):
            kind = "Reciprocal"
        operands = [self._operand(each, kind, rank, prefix) for each in given]
        read = [each for each in operands if isinstance(each, _Source)]
        told = tuple(each.name if isinstance(each, _Source) else each for each in operands)
        self._add(node, made, prefix + name, read, operands=told)

    def _operand(self, value: Any, kind: str, rank: int, prefix: str) -> Any:
        """What an operation of one ``kind`` reads: a source; a number, or a weight as such."""
        if isinstance(value, _Source):
            return value
        if not isinstance(value, keras.Variable):
            if kind == "Power" and _is_number(value):
                return float(value)
            if kind not in (*_WITH_CONSTANTS, *_PRODUCTS):
                return value
        variable = _as_variable(value)
        if variable is None or kind in _PRODUCTS:
            return variable
        if kind not in (*_OF_CONSTANTS, *_WITH_CONSTANTS):
            return self._source(variable, prefix)
        shape = tuple(variable.shape)
        if len(shape) == rank + 1 and shape[0] == 1:  # an axis for the batch
            shape = shape[1:]
        return self._source(variable, prefix, shape or (1,))

    def _source(self, found: Any, prefix: str, shape: Shape | None = None) -> _Source:
        """The call of a weight; what is a source already stays."""
        if isinstance(found, _Source):
            return found
        shape = tuple(found.shape) if shape is None else shape
        key = id(found), shape
        if key not in self.held:
            name = self.add(Call(prefix + found.name, found, (), (), shape, None, of_weights=True))
            self.held[key] = _Source(name, shape, of_weights=True)
        return self.held[key]

    def _add(self, node: Any, made: _Made, name: str, read: list[_Source], **told: Any) -> None:
        """Adds the call of a layer or an operation; notes who made what it writes."""
        of_weights = bool(read) and all(source.of_weights for source in read)
        shapes = [source.shape for source in read]
        if self.training or not is_left_outside(node.operation):
            shapes = _written(node, made, of_weights)
        call = Call(
            name=name,
            layer=node.operation,
            sources=tuple(source.name for source in read),
            read=tuple(source.shape for source in read),
            shape=shapes[0],
            output=node.output_tensors[0],
            given=(*node.arguments.args, *node.arguments.kwargs.values()),
            of_weights=of_weights,
            reads_weights=any(source.of_weights for source in read),
            training=self.training,
            **told,
        )
        added = self.add(call)
        for tensor, shape in zip(node.output_tensors, shapes, strict=True):
            made[id(tensor)] = _Source(added, shape, of_weights)

    def _enter_inner(self, node: Any, made: _Made, prefix: str) -> None:
        model = node.operation
        self.inner.append(Inner(prefix + model.name, model, options(node)))
        inner = {
            id(inside): made[id(outside)]
            for inside, outside in zip(model.inputs, given_inputs(node), strict=False)
            if id(outside) in made
        }
        self.enter(model, inner, f"{prefix}{model.name}/")
        for inside, outside in zip(model.outputs, node.output_tensors, strict=True):
            made[id(outside)] = inner[id(inside)]

    def _enter_trace(self, node: Any, made: _Made, prefix: str) -> None:
        """Adds the calls that a layer makes; the layer as one call where it cannot be followed."""
        here = _symbols(node, made)
        positional, named = node.arguments.fill_in(here)
        layer = node.operation
        try:
            found = trace(layer, *positional, **named)
        except Untraceable as reason:
            self._add_layer(node, made, prefix, layer.name, untraceable=f"its call {reason}")
            return
        self.inner.append(Inner(prefix + layer.name, layer, ()))
        inner = {id(symbol): made[outside] for outside, symbol in here.items()}
        written = self._enter_found(found, inner, prefix, layer.name)
        made.update(zip(map(id, node.output_tensors), written, strict=True))

    def _add_activated(self, node: Any, made: _Made, prefix: str) -> None:
        """Adds a layer without its activation, and the calls that this one makes; an Activation
        makes no others."""
        layer = node.operation
        name, (output,) = layer.name, node.output_tensors
        source = made[id(node.input_tensors[0])]
        is_apart = isinstance(layer, keras.layers.Activation)
        if not is_apart:
            self._add_layer(node, made, prefix, name, is_bare=True)
            source, name = made[id(output)], f"{name}/activation"
        symbol = keras.KerasTensor(_whole(source), dtype=output.dtype)
        try:
            found = trace_activation(layer, symbol)
            if [tuple(one.shape) for one in found.outputs] != [_whole(source)]:
                raise Untraceable("gives another shape than it reads")  # Keras does not look
        except Untraceable as reason:
            said = f"its activation {read_activation(layer.activation).name} {reason}"
            if is_apart:
                self._add_layer(node, made, prefix, name, untraceable=said)
            else:
                self.calls[-1] = replace(self.calls[-1], untraceable=said)
            return
        (made[id(output)],) = self._enter_found(found, {id(symbol): source}, prefix, name)

    def _enter_found(self, found: Trace, made: _Made, prefix: str, name: str) -> list[_Source]:
        """Adds the calls of a trace, under its ``name`` where it is one operation; returns what
        they write."""
        made |= found.weights
        self.add_draws(found, made, prefix + name)
        calls = list(nodes(found))
        first = calls[0].operation
        if len(calls) == 1 and not isinstance(first, keras.Layer):
            self._add_operation(calls[0], made, prefix, name)
        elif len(calls) == 1 and isinstance(first, keras.layers.Identity):
            self._add_layer(calls[0], made, prefix, name)
        else:
            self.enter(found, made, f"{prefix}{name}/")
        self.add_losses(found, made, f"{prefix}{name}/loss")
        return [self._source(made[id(inside)], prefix) for inside in found.outputs]

    def add_draws(self, found: Trace, made: _Made, name: str) -> None:
        """Adds the random numbers that a trace draws."""
        for symbol, one in found.draws:
            shape = _shape_of(symbol)
            call = Call(f"{name}/{one.kind}" if name else one.kind, one, (), (), shape, symbol)
            made[id(symbol)] = _Source(self.add(call), shape)

    def add_losses(self, found: Trace, made: _Made, name: str) -> None:
        """Adds what a trace adds to the loss."""
        for term in found.losses:
            source = made[id(term.symbol)]
            penalty = Penalty(AddedLoss(term.factor, term.over))
            self.add(Call(name, penalty, (source.name,), (source.shape,), (), term.symbol))

    def add(self, call: Call) -> str:
        """Adds one call, under a name that no other has; returns it."""
        name, count = call.name, 1
        while name in self.names:
            count += 1
            name = f"{call.name} ({count})"
        self.names.add(name)
        self.calls.append(replace(call, name=name))
        return name


def _shape_of(tensor: Any) -> Shape:
    """Shape of one image."""
    return tuple(tensor.shape[1:])


def _written(node: Any, made: _Made, of_weights: bool) -> list[Shape]:
    """Shapes of all that a call writes, computed anew where it reads other sizes here."""
    here = _symbols(node, made)
    given = {id(tensor): tensor for tensor in node.input_tensors}
    if all(given[each].shape == symbol.shape for each, symbol in here.items()):
        spec = node.output_tensors
    else:
        positional, named = node.arguments.fill_in(here)
        spec = keras.tree.flatten(node.operation.compute_output_spec(*positional, **named))
    return [tuple(tensor.shape) if of_weights else _shape_of(tensor) for tensor in spec]


def _symbols(node: Any, made: _Made) -> dict[int, Any]:
    """Symbols for the tensors that a call reads, by their ids, of the shapes that they have
    here."""
    return {
        id(tensor): keras.KerasTensor(_whole(made[id(tensor)]), dtype=tensor.dtype)
        for tensor in node.input_tensors
        if id(tensor) in made
    }


def _whole(found: Any) -> tuple[int | None, ...]:
    """The shape of a source, or of a weight, with the batch where it has one."""
    if isinstance(found, _Source) and not found.of_weights:
        return (None, *found.shape)
    return tuple(found.shape)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, np.number)) or getattr(value, "shape", None) == ()


def _as_variable(value: Any) -> Any:
    """A Keras variable for what an operation computes with; None where it is nothing of numbers."""
    if isinstance(value, keras.Variable):
        return value
    try:
        array = np.asarray(value, "float32")
    except (TypeError, ValueError):
        return None
    return keras.Variable(array, trainable=False, dtype="float32", name=CONSTANT)
