"""What is known of each of Keras' layers: how it reads places, and its arithmetic for one image.

Multiply-adds are those with the values of a kernel, as the literature counts them. Everything else
that is computed is one operation for each value: comparisons, additions, activations, scales.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
from keras import layers

from convmill.plan.graph import Kind
from convmill.plan.outline import Flat, Reads, Same, Spans, Unknown, Whole, Windows
from convmill.plan.walk import Call
from convmill.plan.windows import adaptive_spans, resampled_spans, same_padding, transposed_spans
from convmill.plan.written import is_keras_class


@dataclass(frozen=True)
class Known:
    """What is known of a layer."""

    kind: Kind
    reads: Reads
    multiply_adds: int = 0
    operations: int = 0
    pool: Any = None


def known(call: Call) -> Known | None:
    """What the call computes; None for a layer that we do not know."""
    if not isinstance(call.layer, keras.Layer):
        return _operation(call)
    for candidate in type(call.layer).__mro__:
        if candidate in _LAYERS:
            return _LAYERS[candidate](call)
        if "call" in vars(candidate):
            scales = candidate.__name__ in _SCALES and is_keras_class(candidate)
            return _same("normalization", 1)(call) if scales else None
    return None


def _values(call: Call) -> int:
    return math.prod(call.shape)


def is_channels_last(layer: Any) -> bool:
    """Whether a layer counts channels last, as far as it says so."""
    return getattr(layer, "data_format", "channels_last") == "channels_last"


def _input(call: Call) -> Known:
    return Known("input", Same())


def _same(kind: Kind, work: int = 0) -> Callable[[Call], Known]:
    """Each place by itself, with so many operations a value."""
    return lambda call: Known(kind, Same(), operations=work * _values(call))


def _normalization(call: Call) -> Known:
    """One operation a value: with its statistics at hand a normalization is scale and shift."""
    batch = isinstance(call.layer, (layers.BatchNormalization, layers.Normalization))
    reads = Same() if batch else _along(call, getattr(call.layer, "axis", -1))
    return Known("normalization", reads, operations=_values(call))


def _along(call: Call, axis: Any) -> Reads:
    """What each value depends on that shares a sum with others along an axis: on a map along
    channels those of its place, in a vector all; other axes are not looked into."""
    axes = axis if isinstance(axis, (list, tuple)) else (axis,)
    rank = len(call.shape)
    if None in axes or {one % (rank + 1) for one in axes} != {rank}:
        return Unknown()
    if rank == 1:
        return Whole()
    return Same() if rank == 3 else Unknown()


def _group_normalization(call: Call) -> Known:
    """Statistics over rows, columns and the channels of a group."""
    last = call.layer.axis in (-1, len(call.shape))
    return Known("normalization", Whole() if last else Unknown(), operations=_values(call))


def _softmax(call: Call) -> Known:
    return Known("activation", _along(call, call.layer.axis), operations=_values(call))


def _activation(call: Call) -> Known:
    sums = getattr(call.layer.activation, "__name__", "") in ("softmax", "log_softmax")
    reads = _along(call, -1) if sums else Same()
    return Known("activation", reads, operations=_values(call))


def _convolution(call: Call) -> Known:
    """Every output place reads the whole kernel once; groups and depth are in its shape."""
    layer = call.layer
    places = _values(call) // math.prod(_written(layer))
    kernel = _kernel(layer)
    return Known("convolution", _windows(call, layer.kernel_size), places * kernel)


def _written(layer: Any) -> tuple[int, ...]:
    """Channels that a convolution writes."""
    if isinstance(layer, (layers.DepthwiseConv1D, layers.DepthwiseConv2D)):
        return tuple(layer.kernel.shape[-2:])
    return (layer.filters,)


def _kernel(layer: Any) -> int:
    """Weights that one place of the output reads, biases aside."""
    if isinstance(layer, (layers.SeparableConv1D, layers.SeparableConv2D)):
        return math.prod(layer.depthwise_kernel.shape) + math.prod(layer.pointwise_kernel.shape)
    return math.prod(layer.kernel.shape)


def _transposed(call: Call) -> Known:
    """Every input place meets the whole kernel once."""
    layer, read = call.layer, call.read[0]
    places = math.prod(read) // layer.kernel.shape[-1]
    work = places * math.prod(layer.kernel.shape)
    if len(read) != 3:
        return Known("convolution", Unknown(), work)
    plain = layer.output_padding in (None, (None, None)) and max(layer.dilation_rate) == 1
    if not plain or not is_channels_last(layer):
        return Known("convolution", Unknown(), work)
    axes = zip(read[:2], call.shape[:2], layer.kernel_size, layer.strides, strict=True)
    spans = [transposed_spans(*axis, layer.padding) for axis in axes]
    return Known("convolution", Spans(*spans), work)


def _windows(call: Call, size: tuple[int, ...]) -> Reads:
    """Windows of a convolution or a pooling layer over images; along one axis, or in space, they
    are not looked into."""
    layer = call.layer
    if len(size) != 2 or not is_channels_last(layer) or layer.padding not in ("valid", "same"):
        return Unknown()
    strides = tuple(layer.strides)
    dilation = tuple(getattr(layer, "dilation_rate", (1, 1)))
    padding: tuple[int, ...] = (0, 0, 0, 0)
    if layer.padding == "same":
        extents = [(size[axis] - 1) * dilation[axis] + 1 for axis in (0, 1)]
        axes = zip(call.read[0][:2], extents, strides, strict=True)
        padding = sum((same_padding(*axis) for axis in axes), ())
    return Windows(tuple(size), strides, dilation, padding)  # type: ignore[arg-type]


def _pooling(call: Call) -> Known:
    """One operation for each value that a window reads."""
    size = tuple(call.layer.pool_size)
    kind = "max" if isinstance(call.layer, _MAX_POOLING) else "average"
    operations = _values(call) * math.prod(size)
    return Known("pooling", _windows(call, size), operations=operations, pool=kind)


def _global_pooling(call: Call) -> Known:
    kind = "max" if isinstance(call.layer, _GLOBAL_MAX_POOLING) else "average"
    return Known("pooling", Whole(), operations=math.prod(call.read[0]), pool=kind)


def _adaptive_pooling(call: Call) -> Known:
    """Windows of unlike sizes, as many as are asked for."""
    layer = call.layer
    kind = "max" if isinstance(layer, _ADAPTIVE_MAX_POOLING) else "average"
    last = is_channels_last(layer)
    read, written = (shape[:-1] if last else shape[1:] for shape in (call.read[0], call.shape))
    spans = [adaptive_spans(*axis) for axis in zip(read, written, strict=True)]
    lengths = [sum(end - first + 1 for first, end in filter(None, axis)) for axis in spans]
    operations = call.shape[-1 if last else 0] * math.prod(lengths)
    reads: Reads = Unknown()
    if max(written) == 1:
        reads = Whole()
    elif last and len(spans) == 2:
        reads = Spans(*spans)
    return Known("pooling", reads, operations=operations, pool=kind)


def _dense(call: Call) -> Known:
    """On images a dense layer is a 1x1 convolution; on anything else a unit reads all of it."""
    places = _values(call) // call.layer.units
    work = places * math.prod(call.layer.kernel.shape)
    if len(call.shape) == 1:
        return Known("dense", Whole(), work)
    return Known("dense", Same() if len(call.shape) == 3 else Unknown(), work)


def _einsum_dense(call: Call) -> Known:
    """Every value that is written sums over the letters of the equation that it does not have."""
    operands, written = call.layer.equation.replace(" ", "").split("->")
    read, weights = operands.split(",")
    kernel = dict(zip(weights.replace(".", ""), call.layer.kernel.shape, strict=True))
    # from the end, since the batch, or what dots stand for, is at the front
    sizes = dict(zip(reversed(read.replace(".", "")), reversed(call.read[0]), strict=False))
    summed = [size for letter, size in {**sizes, **kernel}.items() if letter not in written]
    return Known("dense", Unknown(), _values(call) * math.prod(summed))


def _moved_unseen(call: Call) -> Known:
    """Values are moved, or copied, in a way not looked into."""
    return Known("shape", Unknown())


def _looked_up(call: Call) -> Known:
    """Rows of a table: nothing is computed."""
    return Known("other", Unknown())


def _reshape(call: Call) -> Known:
    """Places stay where they are, or lie in one axis, or are mixed in a way not looked into."""
    before, after = call.read[0], call.shape
    if math.prod(before) != math.prod(after):  # images are mixed with one another
        return Known("shape", Unknown())
    if len(after) == 1:
        return Known("shape", Flat())
    kept = before[:2] == after[:2] and len(before) > 1
    return Known("shape", Same() if kept else Unknown())


def _moved(call: Call) -> Known:
    """Zero padding, or cropping, which is padding by less than nothing."""
    if not is_channels_last(call.layer):
        return Known("shape", Unknown())
    sign = 1 if isinstance(call.layer, layers.ZeroPadding2D) else -1
    pairs = call.layer.padding if sign > 0 else call.layer.cropping
    padding = tuple(sign * count for pair in pairs for count in pair)
    return Known("shape", Windows((1, 1), (1, 1), (1, 1), padding))


def _upsampling(call: Call) -> Known:
    layer = call.layer
    if not is_channels_last(layer) or layer.interpolation not in ("nearest", "bilinear"):
        return Known("shape", Unknown())
    axes = zip(call.read[0][:2], layer.size, strict=True)
    spans = [resampled_spans(*axis, layer.interpolation) for axis in axes]
    # of a bilinear one each value is a mean of four
    work = 4 * _values(call) if layer.interpolation == "bilinear" else 0
    return Known("shape", Spans(*spans), operations=work)


def _merge(call: Call) -> Known:
    """One operation for each value of each further input."""
    operations = _values(call) * max(len(call.read) - 1, 1)
    return Known("merge", Same(), operations=operations)


def _concatenate(call: Call) -> Known:
    channels = call.layer.axis in (-1, len(call.shape))
    return Known("merge", Same() if channels else Unknown())


# Operations that Keras makes of ``x + y`` and its like; they have classes, and no public ones.
_MERGES = {"Add", "Subtract", "Multiply", "Divide", "TrueDivide", "Maximum", "Minimum"}
_ELEMENTWISE = {
    *("Relu", "Relu6", "LeakyRelu", "Elu", "Selu", "Gelu", "Silu", "HardSilu", "Softplus"),
    *("Sigmoid", "HardSigmoid", "Tanh", "HardTanh", "Softsign", "Clip"),
    *("Exp", "Log", "Square", "Sqrt", "Power", "Absolute", "Negative"),
}
# Operations that read what the layers of the same name read, and have their arguments.
_LIKE_LAYERS: dict[str, Callable[[Call], Known]] = {
    "Softmax": _softmax,
    "LogSoftmax": _softmax,
    "Concatenate": _concatenate,
    "Reshape": _reshape,
}
_MOVES = {"ExpandDims", "Squeeze", "Transpose", "Flip", "Roll", "GetItem", "Split", "Stack"}
_REDUCTIONS = {"Mean": "average", "Max": "max"}
# Layers that keras.applications defines for itself: a factor for each channel.
_SCALES = {"LayerScale", "CustomScaleLayer"}


def _operation(call: Call) -> Known | None:
    name = type(call.layer).__name__
    if not is_keras_class(type(call.layer)):
        return None
    if name in _MOVES:
        return _moved_unseen(call)
    if name in _MERGES:
        return _merge(call)
    if name in _ELEMENTWISE:
        return _same("activation", 1)(call)
    if name in _LIKE_LAYERS:
        return _LIKE_LAYERS[name](call)
    if name in _REDUCTIONS and _is_over_places(call):
        operations = math.prod(call.read[0])
        return Known("pooling", Whole(), operations=operations, pool=_REDUCTIONS[name])
    return None


def _is_over_places(call: Call) -> bool:
    """Whether an operation takes all rows and columns of a map together."""
    axis = call.layer.axis
    axes = axis if isinstance(axis, (list, tuple)) else (axis,)
    return len(call.read[0]) == 3 and {one and one % 4 for one in axes} == {1, 2}


_MAX_POOLING = (layers.MaxPooling1D, layers.MaxPooling2D, layers.MaxPooling3D)
_ADAPTIVE_MAX_POOLING = (
    layers.AdaptiveMaxPooling1D,
    layers.AdaptiveMaxPooling2D,
    layers.AdaptiveMaxPooling3D,
)
_GLOBAL_MAX_POOLING = (
    layers.GlobalMaxPooling1D,
    layers.GlobalMaxPooling2D,
    layers.GlobalMaxPooling3D,
)

_LAYERS: dict[type, Callable[[Call], Known]] = {
    layers.InputLayer: _input,
    layers.Conv1D: _convolution,
    layers.Conv2D: _convolution,
    layers.Conv3D: _convolution,
    layers.DepthwiseConv1D: _convolution,
    layers.DepthwiseConv2D: _convolution,
    layers.SeparableConv1D: _convolution,
    layers.SeparableConv2D: _convolution,
    layers.Conv1DTranspose: _transposed,
    layers.Conv2DTranspose: _transposed,
    layers.Conv3DTranspose: _transposed,
    layers.Dense: _dense,
    layers.EinsumDense: _einsum_dense,
    layers.Embedding: _looked_up,
    layers.MaxPooling1D: _pooling,
    layers.MaxPooling2D: _pooling,
    layers.MaxPooling3D: _pooling,
    layers.AveragePooling1D: _pooling,
    layers.AveragePooling2D: _pooling,
    layers.AveragePooling3D: _pooling,
    layers.GlobalMaxPooling1D: _global_pooling,
    layers.GlobalMaxPooling2D: _global_pooling,
    layers.GlobalMaxPooling3D: _global_pooling,
    layers.GlobalAveragePooling1D: _global_pooling,
    layers.GlobalAveragePooling2D: _global_pooling,
    layers.GlobalAveragePooling3D: _global_pooling,
    layers.AdaptiveMaxPooling1D: _adaptive_pooling,
    layers.AdaptiveMaxPooling2D: _adaptive_pooling,
    layers.AdaptiveMaxPooling3D: _adaptive_pooling,
    layers.AdaptiveAveragePooling1D: _adaptive_pooling,
    layers.AdaptiveAveragePooling2D: _adaptive_pooling,
    layers.AdaptiveAveragePooling3D: _adaptive_pooling,
    layers.Flatten: _reshape,
    layers.Reshape: _reshape,
    layers.Permute: _moved_unseen,
    layers.RepeatVector: _moved_unseen,
    layers.ZeroPadding1D: _moved_unseen,
    layers.ZeroPadding2D: _moved,
    layers.ZeroPadding3D: _moved_unseen,
    layers.Cropping1D: _moved_unseen,
    layers.Cropping3D: _moved_unseen,
    layers.UpSampling1D: _moved_unseen,
    layers.UpSampling3D: _moved_unseen,
    layers.Cropping2D: _moved,
    layers.UpSampling2D: _upsampling,
    layers.Activation: _activation,
    layers.ReLU: _same("activation", 1),
    layers.LeakyReLU: _same("activation", 1),
    layers.PReLU: _same("activation", 1),
    layers.ELU: _same("activation", 1),
    layers.Softmax: _softmax,
    layers.BatchNormalization: _normalization,
    layers.LayerNormalization: _normalization,
    layers.RMSNormalization: _normalization,
    layers.UnitNormalization: _normalization,
    layers.Normalization: _normalization,
    layers.GroupNormalization: _group_normalization,
    layers.Rescaling: _same("normalization", 1),
    layers.Dropout: _same("dropout", 1),
    layers.SpatialDropout1D: _same("dropout", 1),
    layers.SpatialDropout2D: _same("dropout", 1),
    layers.SpatialDropout3D: _same("dropout", 1),
    layers.GaussianNoise: _same("dropout", 1),
    layers.GaussianDropout: _same("dropout", 1),
    layers.AlphaDropout: _same("dropout", 1),
    layers.ActivityRegularization: _same("dropout"),
    # these change images in training alone
    layers.RandomFlip: _same("dropout"),
    layers.RandomRotation: _same("dropout"),
    layers.RandomTranslation: _same("dropout"),
    layers.RandomZoom: _same("dropout"),
    layers.RandomContrast: _same("dropout"),
    layers.RandomBrightness: _same("dropout"),
    layers.Identity: _same("shape"),
    layers.Add: _merge,
    layers.Subtract: _merge,
    layers.Multiply: _merge,
    layers.Average: _merge,
    layers.Maximum: _merge,
    layers.Minimum: _merge,
    layers.Concatenate: _concatenate,
}
