"""What is compiled: each layer and each activation of Keras, told by trying it.

Of each public class there is an example, made with few arguments; ``plan.read`` says whether a
model of it is compiled. What is written here by hand are those arguments, and in a few words why
Keras keeps what it keeps.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import keras
from keras import layers

from convmill.plan.covered import NO_KERNELS
from convmill.plan.read import read
from convmill.plan.refusals import NotCovered

Where = Literal["compiled", "bridged", "fed", "Keras' own"]
KERAS: Where = "Keras' own"

_VOLUME, _IMAGE, _STEPS, _ROW = (4, 8, 8, 3), (8, 8, 3), (8, 3), (8,)
_MERGES = ("Add", "Average", "Concatenate", "Maximum", "Minimum", "Multiply", "Subtract")
_ATTENTION = ("AdditiveAttention", "Attention", "GroupQueryAttention", "MultiHeadAttention")
_RECURRENT = ("Bidirectional", "ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D", "GRU", "LSTM", "RNN")

# What an example reads, where its name does not say it: one input each.
_INPUTS: dict[str, tuple[tuple[int, ...], ...]] = {
    **dict.fromkeys(_MERGES, (_IMAGE, _IMAGE)),
    **dict.fromkeys(_ATTENTION, (_STEPS, _STEPS)),
    **dict.fromkeys(("Bidirectional", "GRU", "LSTM", "RNN", "SimpleRNN", "Masking"), (_STEPS,)),
    **dict.fromkeys(("Dense", "RepeatVector", "Embedding", "Pipeline"), (_ROW,)),
    **dict.fromkeys(("CategoryEncoding", "Discretization", "ReversibleEmbedding"), (_ROW,)),
    **dict.fromkeys(("MelSpectrogram",), ((2048,),)),
    "ConvLSTM1D": ((4, 8, 3),),
    "ConvLSTM2D": (_VOLUME,),
    "ConvLSTM3D": ((2, *_VOLUME),),
    "Dot": (_STEPS, _STEPS),
    "STFTSpectrogram": ((2048, 1),),
}
_CONVOLUTIONS = tuple(
    f"{kind}{axes}D{transposed}"
    for kind in ("Conv", "SeparableConv", "ConvLSTM")
    for axes in "123"
    for transposed in ("", "Transpose")
)
# What a constructor wants.
_ARGUMENTS: dict[str, tuple[Any, ...]] = {
    **dict.fromkeys(_CONVOLUTIONS, (2, 3)),
    **dict.fromkeys(("DepthwiseConv1D", "DepthwiseConv2D"), (3,)),
    **{f"AveragePooling{axes}D": (2,) for axes in "123"},
    **{f"Adaptive{kind}Pooling{axes}D": (2,) for kind in ("Average", "Max") for axes in "123"},
    **{f"SpatialDropout{axes}D": (0.5,) for axes in "123"},
    **dict.fromkeys(("AlphaDropout", "Dropout", "GaussianDropout", "GaussianNoise"), (0.5,)),
    **dict.fromkeys(("RandomBrightness", "RandomContrast", "RandomHue", "RandomRotation"), (0.2,)),
    **dict.fromkeys(("RandomColorDegeneration", "RandomSaturation", "RandomSharpness"), (0.2,)),
    **dict.fromkeys(("RandomTranslation", "RandomZoom"), (0.2, 0.2)),
    **dict.fromkeys(("CenterCrop", "RandomCrop", "Resizing"), (5, 6)),
    **dict.fromkeys(("GRU", "LSTM", "SimpleRNN", "Dense"), (2,)),
    **dict.fromkeys(("Embedding", "ReversibleEmbedding"), (5, 3)),
    "Activation": ("relu",),
    "CategoryEncoding": (4,),
    "Discretization": ([0.25, 0.5],),
    "Dot": (2,),
    "EinsumDense": ("abcd,de->abce", (8, 8, 4)),
    "GroupNormalization": (3,),
    "GroupQueryAttention": (2, 2, 1),
    "MaxNumBoundingBoxes": (4,),
    "MultiHeadAttention": (2, 2),
    "Permute": ((2, 1, 3),),
    "RandomPosterization": (4,),
    "RepeatVector": (3,),
    "Rescaling": (0.5,),
    "Reshape": ((4, 16, 3),),
}
# Examples that hold other layers.
_AROUND: dict[str, Callable[[], Any]] = {
    "Bidirectional": lambda: layers.Bidirectional(layers.LSTM(2)),
    "Lambda": lambda: layers.Lambda(lambda x: x * 2.0),
    "Pipeline": lambda: layers.Pipeline([layers.Dense(2)]),
    "RNN": lambda: layers.RNN(layers.LSTMCell(2)),
    "SpectralNormalization": lambda: layers.SpectralNormalization(layers.Conv2D(2, 3)),
    "TimeDistributed": lambda: layers.TimeDistributed(layers.Dense(2)),
}
# What stands behind an example: Flatten alone computes nothing, and RandomCrop alone writes images
# of another size in training than otherwise.
_BEHIND: dict[str, Callable[[], Any]] = {
    "Flatten": layers.ReLU,
    "RandomCrop": lambda: layers.CenterCrop(5, 6),
}
# No model can be made of these, or only where other packages are: never compiled.
_APART = {
    "Equalization": "counts values of a whole image",
    **dict.fromkeys(("Hashing", "HashedCrossing", "IntegerLookup"), "reads integers or text"),
    **dict.fromkeys(("StringLookup", "TextVectorization"), "reads text"),
    **dict.fromkeys(("FlaxLayer", "JaxLayer", "TFSMLayer"), "code of another framework"),
    "TorchModuleWrapper": "code of another framework",
    **dict.fromkeys(
        ("GRUCell", "LSTMCell", "SimpleRNNCell", "StackedRNNCells"), "a step of a recurrent layer"
    ),
    "MaxNumBoundingBoxes": "boxes, not images",
}
# Arguments with which a layer is Keras' own.
_DECLINED: tuple[tuple[str, tuple[Any, ...], dict[str, Any]], ...] = (
    ("BatchNormalization", (), {"axis": 1}),
    ("BatchNormalization", (), {"renorm": True}),
    ("Conv2D", (2, 3), {"activation": "sparsemax"}),
    ("Conv2D", (2, 3), {"activity_regularizer": "orthogonal_regularizer"}),
    ("Conv2D", (2, 3), {"data_format": "channels_first"}),
    ("Conv2D", (2, 3), {"dtype": "mixed_float16"}),
    ("Dense", (2,), {"lora_rank": 1}),
    ("Dropout", (0.5,), {"noise_shape": (2, 1, 1, 3)}),
    ("GroupNormalization", (2,), {"axis": 1}),
    ("Resizing", (9, 5), {"pad_to_aspect_ratio": True}),
    ("Softmax", (), {"axis": 0}),
)
# Bases, and what every model has.
_NONE = ("Layer", "Wrapper", "InputLayer")
# Why Keras keeps a layer, by what is in its name.
_WHY = {
    "3D": "volumes",
    "Attention": "attention",
    **dict.fromkeys(_RECURRENT, "recurrent"),
    "SimpleRNN": "recurrent",
    "Spectrogram": "sound",
    "Embedding": "a table of vectors",
    "CategoryEncoding": "reads integers",
    "Discretization": "writes integers",
    "Masking": "leaves steps of a sequence out",
    "Mix": "mixes images of a batch",
}
_NONE_YET = "no kernels yet"


@dataclass(frozen=True)
class Coverage:
    """One class or function of Keras by its name, ``example`` made of it, where it runs, and why
    not in native code ("" where it does)."""

    name: str
    example: Any
    where: Where
    why: str = ""


def classes(module: Any, base: type) -> Iterator[tuple[str, type]]:
    """The classes that a module of Keras offers under ``base``, each once: its own name where the
    module offers that, else the first."""
    found: dict[type, str] = {}
    for name, made in sorted(vars(module).items()):
        if not inspect.isclass(made) or not issubclass(made, base) or made is base:
            continue
        if made not in found or name == made.__name__:
            found[made] = name
    yield from sorted((name, made) for made, name in found.items())


def layers_of_keras() -> list[Coverage]:
    """Every layer of ``keras.layers``, as its example says."""
    return [_layer(name, made) for name, made in classes(layers, layers.Layer) if name not in _NONE]


def activations() -> list[Coverage]:
    """Every activation of ``keras.activations``, as the Activation of an image."""
    found = []
    for name, function in sorted(vars(keras.activations).items()):
        if inspect.isfunction(function) and name not in ("serialize", "deserialize", "get"):
            said = refused(layers.Activation(function), (_IMAGE,))
            where = KERAS if said else "compiled"
            found.append(Coverage(name, function, where, _NONE_YET if said else ""))
    return found


def declined() -> list[Coverage]:
    """Arguments with which a layer that is compiled is Keras' own; "compiled" where it is not."""
    found = []
    for name, given, options in _DECLINED:
        example = getattr(layers, name)(*given, **options)
        _start_at_zero(example)
        said = refused(example, (_IMAGE,))
        written = ", ".join([*map(repr, given), *(f"{key}={options[key]!r}" for key in options)])
        found.append(
            Coverage(f"{name}({written})", example, KERAS if said else "compiled", _said(said))
        )
    return found


def _layer(name: str, made: Callable[..., Any]) -> Coverage:
    if name in _APART:
        return Coverage(name, None, KERAS, _APART[name])
    example = _AROUND[name]() if name in _AROUND else made(*_ARGUMENTS.get(name, ()))
    _start_at_zero(example)
    said = refused(example, _INPUTS.get(name) or (_shape(name),))
    if not said:
        return Coverage(name, example, "compiled")
    why = next((why for part, why in _WHY.items() if part in name), _said(said))
    return Coverage(name, example, KERAS, why)


def _start_at_zero(layer: Any) -> None:
    """Random weights would be compiled for each shape, for minutes in all."""
    for each in layer._flatten_layers():
        for name in vars(each):
            if name.endswith("_initializer"):
                setattr(each, name, keras.initializers.Zeros())


def refused(layer: Any, shapes: tuple[tuple[int, ...], ...]) -> str:
    """Why a model of this layer alone is not compiled, without the layer's name; "" where it is."""
    inputs = [keras.Input(shape) for shape in shapes]
    outputs = layer(inputs[0]) if len(inputs) == 1 else layer(*_together(layer, inputs))
    if type(layer).__name__ in _BEHIND:
        outputs = _BEHIND[type(layer).__name__]()(outputs)
    try:
        read(keras.Model(inputs, outputs))
    except NotCovered as error:
        return error.reason.partition("): ")[2] or error.reason
    return ""


def _together(layer: Any, inputs: list[Any]) -> list[Any]:
    """Several inputs as a layer's call wants them: one by one where it names them."""
    named = list(inspect.signature(layer.call).parameters)[:2]
    return inputs if named == ["query", "value"] else [inputs]


def _shape(name: str) -> tuple[int, ...]:
    return _VOLUME if "3D" in name else _STEPS if "1D" in name else _IMAGE


def _said(refusal: str) -> str:
    return _NONE_YET if refusal == NO_KERNELS else refusal
