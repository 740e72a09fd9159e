"""Which layer a picture is of: layers found by their names, and the models that end at them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from difflib import get_close_matches
from typing import Any

import keras

from convmill.plan.calls import Call
from convmill.plan.operations.layout import is_channels_last
from convmill.plan.rebuild import check_graph
from convmill.plan.walk import walk

MOST_NAMED = 30
CONVOLUTION = "2-D convolution"  # what ``is_convolution`` finds


def calls(model: Any) -> dict[str, Call]:
    """Every call of a layer in ``model``, by name; layers of inner models are "inner/layer".

    Raises:
        TypeError: ``model`` is no Keras model.
        ValueError: its graph is not known.
    """
    check_graph(model)
    if not getattr(model, "inputs", None):
        raise ValueError(
            f"model {model.name!r} is not built, so that its layers have no weights and no shapes. "
            "Begin it with keras.Input(shape), or call model.build((None, *image_shape))."
        )
    return {call.name: call for call in walk(model).calls}


def check_one_input(model: Any) -> None:
    """ValueError for a model of several inputs: which of them an image is for is not known."""
    inputs = getattr(model, "inputs", None) or ()
    if len(inputs) > 1:
        raise ValueError(
            f"This picture is drawn of models that read one image. Received: model {model.name!r} "
            f"with {len(inputs)} inputs."
        )


def find(model: Any, layer: str | None, wanted: Callable[[Call], bool], what: str) -> Call:
    """The call named ``layer``, which must be a ``what``; the first such for None.

    Raises:
        ValueError: there is none, or ``layer`` names something else; those that would work and
            the nearest of them are named.
    """
    known = {name: call for name, call in calls(model).items() if wanted(call)}
    if not known:
        raise ValueError(f"model {model.name!r} has no {what}.")
    if layer is None:
        return next(iter(known.values()))
    if not isinstance(layer, str) or layer not in known:
        raise ValueError(
            f"layer must name a {what}. Received: layer={layer!r} of model {model.name!r}."
            f"{_nearest(layer, known)} Such layers are: {_listed(known)}."
        )
    return known[layer]


def _nearest(name: Any, known: Iterable[str]) -> str:
    near = get_close_matches(str(name), list(known), n=3)
    return f" Nearest: {', '.join(near)}." if near else ""


def _listed(names: Iterable[str]) -> str:
    every = list(names)
    left_out = len(every) - MOST_NAMED
    text = ", ".join(every[:MOST_NAMED])
    return f"{text} and {left_out} more" if left_out > 0 else text


# What a picture may be of -----------------------------------------------------------------------


def is_convolution(call: Call) -> bool:
    """Whether a layer slides a kernel over the rows and the columns of an image."""
    return len(getattr(call.layer, "kernel_size", ())) == 2


def is_map(call: Call) -> bool:
    """Whether a layer writes a feature map: (height, width, channels)."""
    return len(call.shape) == 3 and bool(call.inputs)


def has_units(call: Call) -> bool:
    """Whether a layer writes a feature map or a row of units."""
    return len(call.shape) in (1, 3) and bool(call.inputs)


def check_channels_last(call: Call) -> None:
    """ValueError for a layer that has its channels before rows and columns."""
    if not is_channels_last(call.layer):
        raise ValueError(
            f"Pictures are drawn of channels last, (height, width, channels). Received: layer "
            f"{call.name!r} with data_format='channels_first'."
        )


def image_shape(model: Any) -> tuple[int, ...]:
    """The shape of one image that a model reads: (height, width) or (height, width, channels).

    Raises:
        ValueError: it reads no images, or images of any size.
    """
    shape = tuple(model.inputs[0].shape[1:])
    if len(shape) not in (2, 3) or None in shape:
        raise ValueError(
            f"model {model.name!r} must read images (height, width, channels) of a size that it "
            f"says, as in keras.Input((28, 28, 1)). Received: a model that reads {shape}."
        )
    return shape


# Models that end at a layer ---------------------------------------------------------------------


def model_to(model: Any, layer: str) -> Any:
    """A model from the images to the output of ``layer``; it shares layers with ``model``, which
    is left as it is.

    Raises:
        ValueError: ``layer`` lies in an inner model that is used more than once, or that has
            several inputs.
    """
    return _helper(model, layer, _output(model, layer, calls(model)))


def model_before(model: Any, layer: str) -> Any:
    """A model from the images to what ``layer`` reads. Raises as ``model_to``; also ValueError for
    a layer that reads several outputs.
    """
    known = calls(model)
    source = _only_source(known[layer].inputs)
    return _helper(model, source, _output(model, source, known))


def _helper(model: Any, layer: str, output: Any) -> Any:
    """A model to ``output``, by a name of its own: Keras would count it among the user's models."""
    name = f"{model.name}_to_{layer}".replace("/", "_")
    return keras.Model(model.inputs[0], output, name=name)


def _output(model: Any, name: str, known: dict[str, Call]) -> Any:
    """The symbolic output of one call, as a function of the model's input."""
    call = known[name]
    if not call.inputs:
        return model.inputs[0]
    prefix = _inner_prefix(model, name)
    if not prefix:
        return call.output
    if sum(call.layer is other.layer for other in known.values()) > 1:
        raise ValueError(
            f"layer {name!r} lies in a model that is used more than once in model {model.name!r}, "
            "so that it has no one output. Name a layer before or after it."
        )
    inner = model.get_layer(prefix.rstrip("/"))
    entered = {
        source
        for other, one in known.items()
        if other.startswith(prefix)
        for source in one.inputs
        if not source.startswith(prefix)
    }
    read = _output(model, _only_source(tuple(entered)), known)
    return model_to(inner, name.removeprefix(prefix))(read)


def _inner_prefix(model: Any, name: str) -> str:
    """ "inner/" for a layer of a model inside ``model``, else nothing; names may hold slashes."""
    for layer in model.layers:
        if isinstance(layer, keras.Model) and name.startswith(f"{layer.name}/"):
            return f"{layer.name}/"
    return ""


def _only_source(sources: tuple[str, ...]) -> str:
    if len(sources) != 1:
        raise ValueError(
            "Pictures are drawn of layers that read one output. Received: one that reads "
            f"{', '.join(sources) or 'nothing'}."
        )
    return sources[0]
