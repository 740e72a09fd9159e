"""Random small convnets for hypothesis: chains of the covered layers, and how to build them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
from hypothesis import strategies as st
from keras import layers

Spec = tuple[str, dict[str, Any]]
ACTIVATIONS = (
    None,
    "linear",
    "relu",
    "relu6",
    "leaky_relu",
    "sigmoid",
    "tanh",
    "softmax",
    "elu",
    "gelu",
)


@dataclass(frozen=True)
class Chain:
    """The shape of one image, and (layer class, its arguments) from input to output."""

    shape: tuple[int, ...]
    specs: tuple[Spec, ...]

    def build(self, dtype: str = "float32") -> keras.Sequential:
        """The Sequential model, of ``dtype`` throughout."""
        return keras.Sequential(
            [keras.Input(self.shape, dtype=dtype)]
            + [getattr(layers, name)(**arguments, dtype=dtype) for name, arguments in self.specs]
        )


@st.composite
def chains(draw: st.DrawFn, *, dropout: bool = True) -> Chain:
    """Up to four layers on images, then a head that ends in one axis."""
    shape = (draw(_sizes(9)), draw(_sizes(9)), draw(_sizes(4)))
    specs: list[Spec] = []
    kinds: list[Callable[..., Spec]] = [_convolution, _pooling, _activation, _rescaling]
    kinds += [_dropout] if dropout else []
    current: tuple[int, ...] = shape
    for kind in draw(st.lists(st.sampled_from(kinds), max_size=4)):
        specs.append(kind(draw, current))
        current = _shape_after(specs[-1], current)
    head = draw(st.sampled_from(("Flatten", "GlobalMaxPooling2D", "GlobalAveragePooling2D")))
    specs.append((head, {}))
    least = 1 if head == "Flatten" and len(specs) == 1 else 0  # else it would compute nothing
    specs.extend(_dense(draw) for _ in range(draw(st.integers(least, 2))))
    return Chain(shape, tuple(specs))


def _sizes(highest: int) -> st.SearchStrategy[int]:
    return st.integers(1, highest)


def _shape_after(spec: Spec, shape: tuple[int, ...]) -> tuple[int, ...]:
    arguments = spec[1]
    window = arguments.get("kernel_size") or arguments.get("pool_size")
    if window is None:
        return shape
    rows, columns = (
        (size - width) // stride + 1 if arguments["padding"] == "valid" else -(-size // stride)
        for size, width, stride in zip(shape, window, arguments["strides"], strict=False)
    )
    return rows, columns, arguments.get("filters", shape[2])


def _window(draw: st.DrawFn, shape: tuple[int, ...], name: str) -> dict[str, Any]:
    padding = draw(st.sampled_from(("valid", "same")))
    limits = [min(size, 4) if padding == "valid" else 4 for size in shape[:2]]
    return {
        name: tuple(draw(_sizes(limit)) for limit in limits),
        "strides": (draw(_sizes(3)), draw(_sizes(3))),
        "padding": padding,
    }


def _weights(draw: st.DrawFn) -> dict[str, Any]:
    return {
        "use_bias": draw(st.booleans()),
        "kernel_initializer": "zeros",  # the tests set weights; drawing them here takes seconds
        "kernel_regularizer": draw(st.sampled_from((None, "l1", "l2", "L1L2"))),
        "activation": draw(st.sampled_from(ACTIVATIONS)),
    }


def _convolution(draw: st.DrawFn, shape: tuple[int, ...]) -> Spec:
    window = _window(draw, shape, "kernel_size")
    return "Conv2D", {"filters": draw(_sizes(5)), **window, **_weights(draw)}


def _pooling(draw: st.DrawFn, shape: tuple[int, ...]) -> Spec:
    name = draw(st.sampled_from(("MaxPooling2D", "AveragePooling2D")))
    return name, _window(draw, shape, "pool_size")


def _dense(draw: st.DrawFn) -> Spec:
    return "Dense", {"units": draw(_sizes(5)), **_weights(draw)}


def _activation(draw: st.DrawFn, _: tuple[int, ...]) -> Spec:
    choices: tuple[Spec, ...] = (
        ("Activation", {"activation": "tanh"}),
        ("ReLU", {}),
        ("ReLU", {"max_value": 0.5}),
        ("ReLU", {"negative_slope": 0.25}),
        ("ReLU", {"negative_slope": 0.25, "max_value": 6.0}),
        ("LeakyReLU", {}),
        ("ELU", {"alpha": 0.5}),
        ("Softmax", {}),
    )
    return draw(st.sampled_from(choices))


def _rescaling(draw: st.DrawFn, _: tuple[int, ...]) -> Spec:
    return "Rescaling", {"scale": draw(st.sampled_from((0.5, -2.0))), "offset": 0.25}


def _dropout(draw: st.DrawFn, _: tuple[int, ...]) -> Spec:
    return "Dropout", {"rate": draw(st.sampled_from((0.0, 0.25, 0.5)))}
