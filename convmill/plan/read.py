"""Reads any Keras model into a Graph: the one reading, for what is compiled and what is not.

``operations/`` says what each layer computes, ``walk.py`` how layers are connected, ``covered.py``
which graphs are compiled.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import keras

from convmill.plan.beyond import (
    WHOLE,
    beyond,
    beyond_followed,
    beyond_input,
    beyond_model,
    beyond_whole,
    float32_for,
    is_mixed,
)
from convmill.plan.calls import Call, Penalty, Walk
from convmill.plan.channels import Channels, turned
from convmill.plan.covered import check_covered
from convmill.plan.drawn import Drawn
from convmill.plan.ends import Ends, ends_of
from convmill.plan.functional import given_ends
from convmill.plan.graph.nodes import DeadEnd, Graph, Node
from convmill.plan.graph.operations import Penalize
from convmill.plan.graph.shapes import Shape, Sizes
from convmill.plan.operations.layout import is_channels_last
from convmill.plan.operations.parameters import Parameters, regularizer_of
from convmill.plan.operations.table import operation_of
from convmill.plan.outside import walk_outside
from convmill.plan.rebuild import check_model, rebuild
from convmill.plan.refusals import NotCovered, Refusal
from convmill.plan.trace import built_shape, is_followed, trace_model
from convmill.plan.traced import Trace, Untraceable
from convmill.plan.walk import walk
from convmill.plan.written import own_call


@dataclass(frozen=True)
class Reading:
    """A Graph and the Keras objects that it was read from.

    ``variables`` are Keras variables in the order of ``graph.parameters``; ``dropouts`` are the
    layers with a seed, once for each call, in the order of their operations' ``seed``. ``inputs``
    and ``outputs`` are how the model takes and gives what the graph's have. ``notes`` say what
    is computed otherwise than asked for.
    """

    graph: Graph
    variables: tuple[Any, ...]
    dropouts: tuple[Any, ...]
    inputs: Ends
    outputs: Ends
    notes: tuple[str, ...] = ()


def read(model: Any, sizes: Sizes | None = None) -> Reading:
    """Reads a built Keras model that is compiled, for images of ``sizes``, where it takes several.

    Raises:
        TypeError: it is no Keras model.
        NotCovered: it is not compiled: a layer, an argument or a connection.
        ValueError: a size of zero, or a number that is not finite.
    """
    reading = _reading(model, _readable(model, sizes), sizes=sizes)
    check_covered(reading.graph)
    return reading


def input_shapes(model: Any) -> tuple[tuple[int | None, ...], ...]:
    """The shape of one image at each input of a built model, with None for a size that is left
    open."""
    if own_call(model) is None:
        return tuple(tuple(tensor.shape[1:]) for tensor in getattr(model, "inputs", None) or ())
    shape = built_shape(model)
    if shape is None or not is_followed(model):
        return ()
    found: list[tuple[int | None, ...]] = []
    keras.tree.map_shape_structure(lambda one: found.append(tuple(one[1:])), shape)
    return tuple(found)


def ends(model: Any) -> tuple[Ends, Ends]:
    """How a built graph of layers takes its inputs and gives its outputs."""
    taken, given = map(ends_of, given_ends(model))
    return taken, given


def describe(model: Any, input_shape: Shape | None = None) -> Graph:
    """The Graph of any Keras model, compiled or not; the model is not changed.

    Args:
        model: a Sequential or functional model, built, or any with ``input_shape``.
        input_shape: the shape of one image, (height, width, channels), where the model does not
            say it, or to see what another size would bring.

    Raises:
        TypeError: ``model`` is no Keras model.
        ValueError: its layers cannot be known, or its sizes are not.
    """
    built, dead_end = rebuild(model, input_shape)
    return _reading(model, built, dead_end).graph


def _readable(model: Any, sizes: Sizes | None) -> Any:
    """``model``, or the Trace of its own call: a graph of layers for images of one size. Raises
    NotCovered where there is none."""
    check_model(model)
    readable = _traced(model, sizes) if own_call(model) is not None else model
    if readable is None or not model.built or not hasattr(readable, "inputs"):
        raise NotCovered(
            f"model {model.name!r} is not built, so that its shapes are unknown",
            "begin it with keras.Input(shape), or call model.build((None, *image_shape))",
        )
    shapes = sizes or (tuple(tensor.shape[1:]) for tensor in readable.inputs)
    _check_sizes(model, shapes)
    return readable


def _traced(model: Any, sizes: Sizes | None) -> Trace | None:
    """The graph of a model that computes by a ``call`` of its own; None where it is not built."""
    says = f"model {model.name!r} ({type(model).__name__}) defines {own_call(model)} in Python"
    remedy = "build it from layers with keras.Sequential or keras.Model(inputs, outputs)"
    if not is_followed(model):
        raise NotCovered(says, remedy)
    try:
        return trace_model(model, sizes)
    except Untraceable as reason:
        raise NotCovered(f"{says}, which {reason}", remedy) from reason


def _check_sizes(model: Any, shapes: Iterable[tuple[int | None, ...]]) -> None:
    for shape in shapes:
        if any(size is None for size in shape) or not shape:
            raise NotCovered(
                f"model {model.name!r} reads images of shape {shape}",
                "give it images, or give keras.Input a shape without None, such as (28, 28, 1)",
            )
        if 0 in shape:
            raise ValueError(
                f"Every size in keras.Input(shape) must be at least 1. Received: shape={shape}"
            )


def _reading(
    original: Any, model: Any, dead_end: DeadEnd | None = None, sizes: Sizes | None = None
) -> Reading:
    """The Reading of ``model``, what ``rebuild`` made of ``original``, or the Trace of that one,
    which is of ``sizes`` already; ValueError for sizes that are not said."""
    sizes = None if isinstance(model, Trace) else sizes
    followed = walk(model, follow=True, sizes=sizes)
    own = original if isinstance(model, Trace) else model
    parameters = Parameters(own.trainable_variables)
    nodes, handed_out = _nodes(followed, parameters)
    held = _held(original, parameters if original is own else None)
    graph = Graph(
        nodes=nodes,
        parameters=(*parameters.found, *held.found),
        inputs=followed.inputs,
        outputs=handed_out,
        channels_last=all(is_channels_last(call.layer) for call in followed.calls),
        dead_end=dead_end,
        refusal=next(_of_model(model, followed), None),
    )
    outside = walk_outside(model, followed, sizes)
    if isinstance(outside, Refusal):
        graph = replace(graph, refusal=graph.refusal or outside)
    elif outside is not None:
        same = Parameters(own.trainable_variables)  # the same ones in the same order
        graph = replace(graph, inference=_nodes(outside, same)[0])
    variables = (*parameters.variables, *held.variables)
    notes = tuple(_notes(model, followed))
    return Reading(graph, variables, tuple(parameters.dropouts), *ends(model), notes)


def _nodes(followed: Walk, parameters: Parameters) -> tuple[tuple[Node, ...], tuple[str, ...]]:
    """What calls compute, and which of it is handed out; ``parameters`` collects the weights."""
    first: dict[int, str] = {}  # the first call of each layer
    shapes: dict[str, Shape] = {}
    channels = Channels()
    for call in followed.calls:
        other = call.read != tuple(shapes[name] for name in call.sources)
        here = turned(call)
        node = _node(here, parameters)
        repeats = first.get(id(call.layer))
        read = call.read if other else ()
        channels.add(replace(node, read=read, repeats=repeats), here.turned)
        first.setdefault(id(call.layer), call.name)
        shapes[call.name] = call.shape
    handed_out = tuple(map(channels.as_given, followed.outputs))
    return tuple(channels.nodes), handed_out


def _notes(model: Any, followed: Walk) -> Iterator[str]:
    """What people should know of how a model is computed."""
    inner = (each.model for each in followed.inner)
    called = (getattr(model, "layer", model), *inner, *(call.layer for call in followed.calls))
    mixed = dict.fromkeys(layer.dtype_policy.name for layer in called if is_mixed(layer))
    if mixed:
        yield f"layers of dtype {' and '.join(mixed)} are computed in float32"


def _node(call: Call, parameters: Parameters) -> Node:
    layer = call.layer
    if None in call.shape:
        raise ValueError(
            f"layer {call.name!r} ({type(layer).__name__}) does not say the sizes of what it "
            f"writes: {call.shape}. Give it a compute_output_shape."
        )
    operation = operation_of(call, parameters)
    weights = [layer] if isinstance(layer, keras.Variable) else ()
    if isinstance(layer, keras.Layer):
        weights = layer.weights
    if call.is_bare and isinstance(layer.activation, keras.Layer):  # a node of its own holds them
        apart = {id(variable) for variable in layer.activation.weights}
        weights = [variable for variable in weights if id(variable) not in apart]
    weights = [*weights, *(one for one in call.operands if isinstance(one, keras.Variable))]
    return Node(
        name=call.name,
        operation=operation,
        inputs=call.sources,
        shape=call.shape,
        layer=_layer_name(layer),
        parameters=tuple(map(parameters.index, weights)),
        refusal=beyond(call, operation),
    )


def _layer_name(layer: Any) -> str:
    if isinstance(layer, Drawn):
        return layer.kind
    if not isinstance(layer, Penalty):
        return type(layer).__name__
    return "ActivityRegularization" if isinstance(layer.operation, Penalize) else "add_loss"


def _held(model: Any, read: Parameters | None) -> Parameters:
    """Parameters that a model, or one inside it, holds itself, in none of its layers; ``read`` are
    those of its layers, None where a copy of the model was read."""
    if read is None:
        inside = _in_layers(model)
    else:
        inside = {id(variable) for variable in read.variables}
    held = Parameters(model.trainable_variables)
    for variable in model.weights:
        if id(variable) not in inside:
            held.index(variable)
    return held


def _in_layers(model: Any) -> set[int]:
    """The weights of a model's layers, and of those of models inside it; not its own."""
    if not getattr(model, "inputs", None):
        return {id(weight) for layer in model.layers for weight in layer.weights}
    called = [call.layer for call in walk(model).calls if isinstance(call.layer, keras.Layer)]
    return {id(weight) for layer in called for weight in layer.weights}


def _of_model(model: Any, followed: Walk) -> Iterator[Refusal]:
    """What a model, or one inside it, asks for as a whole."""
    yield from _of_class(getattr(model, "layer", model), isinstance(model, Trace))
    models = (inner.model for inner in followed.inner if isinstance(inner.model, keras.Model))
    for each in (model, *models):
        yield from _of_ends(each)
        for tensor in each.inputs:
            found = beyond_input(tensor._keras_history.operation)
            if found is not None:
                yield found
    whole = {call.name: call.layer.dtype for call in followed.calls if _is_whole(call.layer)}
    for call in followed.calls:
        for source in call.sources:
            found = beyond_whole(call, whole[source]) if source in whole else None
            if found is not None:
                yield found
    for inner in followed.inner:
        found = None
        if not isinstance(inner.model, keras.Model):
            found = beyond_followed(inner.name, inner.model)
        elif regularizer_of(inner.model.activity_regularizer) is None:
            found = beyond_model(inner.model)
        if found is not None:
            yield found
        if inner.options:
            yield Refusal(
                f"model {inner.model.name!r} is called with {list(inner.options)}",
                "call it with its input alone",
            )


def _of_class(model: Any, is_followed: bool) -> Iterator[Refusal]:
    """What the model that is read asks for beside its graph, or its call that was followed."""
    followed = beyond_followed(model.name, model) if is_followed else None
    for found in (followed, beyond_model(model)):
        if found is not None:
            yield found


def _is_whole(layer: Any) -> bool:
    return isinstance(layer, keras.layers.InputLayer) and layer.dtype in WHOLE


def _of_ends(model: Any) -> Iterator[Refusal]:
    for tensor in model.inputs:
        if tensor.dtype not in ("float32", *WHOLE):
            says = f"model {model.name!r} reads dtype {tensor.dtype}"
            yield Refusal(says, float32_for(tensor.dtype))
