"""Draws one layer with its arguments, for what it is to read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

Shape = tuple[int, ...]
Drawn = tuple[str, dict[str, Any]]
Rng = np.random.Generator

ACTIVATIONS = (
    *("relu", "relu", "relu", "tanh", "sigmoid", "elu", "selu", "gelu", "silu", "softplus"),
    *("softsign", "leaky_relu", "relu6", "mish", "hard_sigmoid", "hard_silu", "softmax", "celu"),
    *("hard_tanh", "log_sigmoid", "linear", "linear", "linear"),
)


def some(rng: Rng, shape: Shape) -> Drawn | None:
    """Any layer that may read the shape; Keras refuses some of them."""
    makers = {3: _IMAGE, 2: _SEQUENCE, 1: _VECTOR}.get(len(shape))
    return None if makers is None else makers[rng.integers(len(makers))](rng, shape)


def keeping(rng: Rng, shape: Shape) -> Drawn:
    """A layer that writes the shape it reads."""
    if len(shape) not in (2, 3) or rng.random() < 0.4:
        return _of(rng, _SAME)(rng, shape) if rng.random() < 0.7 else _dense(rng, shape, shape[-1])
    kind = str(rng.choice(("Conv", "Conv", "SeparableConv", "DepthwiseConv")))
    axes = len(shape) - 1
    arguments = _window(rng, axes) | {"padding": "same", "activation": activation(rng)}
    if kind != "DepthwiseConv":
        arguments["filters"] = shape[-1]
    if rng.random() < 0.3:
        arguments["dilation_rate"] = _sizes(rng, axes, 1, 3)
    return f"{kind}{axes}D", arguments


def activation(rng: Rng) -> str:
    """The name of an activation."""
    return str(rng.choice(ACTIVATIONS))


def _of(rng: Rng, choices: Any) -> Any:
    return choices[rng.integers(len(choices))]


def _sizes(rng: Rng, axes: int, least: int, most: int) -> tuple[int, ...]:
    return tuple(int(one) for one in rng.integers(least, most + 1, axes))


def _window(rng: Rng, axes: int) -> dict[str, Any]:
    arguments = {"kernel_size": _sizes(rng, axes, 1, 4), "use_bias": bool(rng.random() < 0.7)}
    return arguments | _penalties(rng)


def _penalties(rng: Rng) -> dict[str, Any]:
    """Seldom a regularizer of the bias or of what comes out."""
    kind = rng.random()
    if kind < 0.05:
        return {"bias_regularizer": "l2"}
    return {"activity_regularizer": "l2"} if kind < 0.1 else {}


def _steps(rng: Rng, axes: int) -> dict[str, Any]:
    """Strides or dilation, or neither."""
    kind = rng.random()
    if kind < 0.3:
        return {"strides": _sizes(rng, axes, 1, 3)}
    return {"dilation_rate": _sizes(rng, axes, 1, 3)} if kind < 0.5 else {}


def _padding(rng: Rng) -> str:
    return str(rng.choice(("same", "valid")))


# Convolutions ------------------------------------------------------------------------------------


def _convolution(rng: Rng, shape: Shape) -> Drawn:
    axes, channels = len(shape) - 1, shape[-1]
    groups = int(_of(rng, [one for one in range(1, channels + 1) if channels % one == 0]))
    groups = groups if rng.random() < 0.4 else 1
    filters = groups * int(rng.integers(1, max(2, 10 // groups + 1)))
    arguments = _window(rng, axes) | _steps(rng, axes) | {"filters": filters}
    arguments |= {"padding": _padding(rng), "activation": activation(rng)}
    if groups > 1:
        arguments["groups"] = groups
    if axes == 1 and rng.random() < 0.2:
        arguments["padding"] = "causal"
    return f"Conv{axes}D", arguments


def _depthwise(rng: Rng, shape: Shape) -> Drawn:
    axes = len(shape) - 1
    arguments = _window(rng, axes) | _steps(rng, axes)
    arguments |= {"padding": _padding(rng), "activation": activation(rng)}
    arguments["depth_multiplier"] = int(rng.choice((1, 1, 2, 3)))
    if rng.random() < 0.5:
        return f"DepthwiseConv{axes}D", arguments
    return f"SeparableConv{axes}D", arguments | {"filters": int(rng.integers(1, 9))}


def _transposed(rng: Rng, shape: Shape) -> Drawn:
    axes = len(shape) - 1
    arguments = _window(rng, axes) | {"filters": int(rng.integers(1, 6))} | _steps(rng, axes)
    arguments |= {"padding": _padding(rng), "activation": activation(rng)}
    strides = arguments.get("strides", (1,) * axes)
    if rng.random() < 0.3 and min(strides) > 1:
        arguments["output_padding"] = tuple(int(rng.integers(one)) for one in strides)
    return f"Conv{axes}DTranspose", arguments


# Pools and shapes --------------------------------------------------------------------------------


def _pooling(rng: Rng, shape: Shape) -> Drawn:
    axes = len(shape) - 1
    kind = str(rng.choice(("MaxPooling", "MaxPooling", "AveragePooling")))
    arguments: dict[str, Any] = {"pool_size": _sizes(rng, axes, 1, 3), "padding": _padding(rng)}
    if rng.random() < 0.5:
        arguments["strides"] = _sizes(rng, axes, 1, 3)
    if axes == 1:  # whole numbers, not tuples
        arguments |= {name: arguments[name][0] for name in arguments if name != "padding"}
    return f"{kind}{axes}D", arguments


def _global(rng: Rng, shape: Shape) -> Drawn:
    kind = str(rng.choice(("GlobalMaxPooling", "GlobalAveragePooling")))
    return f"{kind}{len(shape) - 1}D", {"keepdims": bool(rng.random() < 0.6)}


def _adaptive(rng: Rng, shape: Shape) -> Drawn:
    size = tuple(int(rng.integers(1, most + 1)) for most in shape[:-1])
    return "AdaptiveAveragePooling2D", {"output_size": size}


def _upsampling(rng: Rng, shape: Shape) -> Drawn:
    if len(shape) == 2:
        return "UpSampling1D", {"size": int(rng.integers(1, 4))}
    kind = str(rng.choice(("nearest", "nearest", "bilinear")))
    return "UpSampling2D", {"size": _sizes(rng, 2, 1, 3), "interpolation": kind}


def _resizing(rng: Rng, shape: Shape) -> Drawn:
    kind = str(rng.choice(("nearest", "bilinear", "bicubic", "lanczos3")))
    height, width = _sizes(rng, 2, 1, 11)
    return "Resizing", {"height": height, "width": width, "interpolation": kind}


def _border(rng: Rng, shape: Shape, most: int) -> Any:
    pairs = tuple(_sizes(rng, 2, 0, most) for _ in shape[:-1])
    return pairs if len(pairs) > 1 else pairs[0]


def _pad(rng: Rng, shape: Shape) -> Drawn:
    return f"ZeroPadding{len(shape) - 1}D", {"padding": _border(rng, shape, 3)}


def _crop(rng: Rng, shape: Shape) -> Drawn:
    return f"Cropping{len(shape) - 1}D", {"cropping": _border(rng, shape, 2)}


def _permute(rng: Rng, shape: Shape) -> Drawn:
    return "Permute", {"dims": tuple(int(one) + 1 for one in rng.permutation(len(shape)))}


def _reshape(rng: Rng, shape: Shape) -> Drawn:
    """To another rank, or other sizes."""
    values = int(np.prod(shape))
    sizes: list[int] = []
    for _ in range(int(rng.integers(1, 4)) - 1):
        divisors = [one for one in range(1, values + 1) if values % one == 0]
        sizes.append(int(_of(rng, divisors)))
        values //= sizes[-1]
    return "Reshape", {"target_shape": (*sizes, values)}


def _flatten(rng: Rng, shape: Shape) -> Drawn:
    return "Flatten", {}


def _repeat(rng: Rng, shape: Shape) -> Drawn:
    return "RepeatVector", {"n": int(rng.integers(1, 5))}


# Layers that keep the shape ----------------------------------------------------------------------


def _batch_normalization(rng: Rng, shape: Shape) -> Drawn:
    arguments: dict[str, Any] = {"momentum": float(rng.choice((0.7, 0.9, 0.99)))}
    arguments["epsilon"] = float(rng.choice((1e-3, 1e-2)))
    if rng.random() < 0.3:
        arguments[str(rng.choice(("scale", "center")))] = False
    return "BatchNormalization", arguments


def _layer_normalization(rng: Rng, shape: Shape) -> Drawn:
    """Along some axes, mostly the last."""
    axes: Any = -1
    if rng.random() < 0.4:
        axes = [axis for axis in range(1, len(shape) + 1) if rng.random() < 0.6] or -1
    if rng.random() < 0.2:
        return "RMSNormalization", {"axis": -1, "epsilon": 1e-2}
    arguments: dict[str, Any] = {"axis": axes, "epsilon": 1e-2}
    if rng.random() < 0.3:
        arguments[str(rng.choice(("scale", "center")))] = False
    return "LayerNormalization", arguments


def _group_normalization(rng: Rng, shape: Shape) -> Drawn:
    groups = [one for one in range(1, shape[-1] + 1) if shape[-1] % one == 0]
    return "GroupNormalization", {"groups": int(_of(rng, groups)), "epsilon": 1e-2}


def _activate(rng: Rng, shape: Shape) -> Drawn:
    return "Activation", {"activation": activation(rng)}


def _kinked(rng: Rng, shape: Shape) -> Drawn:
    return _of(
        rng,
        (
            ("ReLU", {}),
            ("ReLU", {"max_value": 1.5, "negative_slope": 0.1, "threshold": 0.2}),
            ("LeakyReLU", {"negative_slope": 0.2}),
            ("ELU", {"alpha": 0.7}),
            ("Softmax", {}),
            ("Softmax", {"axis": 1}),
            ("PReLU", {}),
            ("PReLU", {"shared_axes": [1]}),
            ("PReLU", {"shared_axes": list(range(1, len(shape)))}),
        ),
    )


def _plain(rng: Rng, shape: Shape) -> Drawn:
    return _of(
        rng,
        (
            ("Identity", {}),
            ("Dropout", {"rate": 0.0}),
            ("GaussianNoise", {"stddev": 0.0}),
            ("ActivityRegularization", {"l2": 0.02}),
            ("UnitNormalization", {}),
            ("Rescaling", {"scale": 0.5, "offset": -0.25}),
            ("Rescaling", {"scale": -1.5}),
        ),
    )


def _dense(rng: Rng, shape: Shape, units: int | None = None) -> Drawn:
    units = units or int(rng.integers(1, 20 if len(shape) == 1 else 7))
    bias = bool(rng.random() < 0.7)
    arguments = {"units": units, "activation": activation(rng), "use_bias": bias}
    if rng.random() < 0.1:
        arguments["kernel_regularizer"] = "l2"
    return "Dense", arguments


Maker = Callable[[Rng, Shape], Drawn]
_SAME: tuple[Maker, ...] = (
    *(_batch_normalization, _batch_normalization, _layer_normalization, _group_normalization),
    *(_activate, _kinked, _plain),
)
_PLACES: tuple[Maker, ...] = (
    *(_convolution,) * 5,
    *(_depthwise, _depthwise, _transposed, _pooling, _pooling, _pooling, _global),
    *(_upsampling, _pad, _crop, _permute, _reshape, _flatten, _dense),
)
_IMAGE: tuple[Maker, ...] = (*_PLACES, *_SAME, _adaptive, _resizing)
_SEQUENCE: tuple[Maker, ...] = (*_PLACES, *_SAME)
_VECTOR: tuple[Maker, ...] = (_dense, _dense, _dense, _reshape, _reshape, _repeat, *_SAME)
