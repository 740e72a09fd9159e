"""What a layer does that its operation does not say, and so is not compiled: by name, with what
would work.

Each check takes a call and says what stands in the way and the remedy, or None.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import keras
from keras import layers

from convmill.plan.calls import Call, Penalty
from convmill.plan.drawn import Drawn
from convmill.plan.graph.operations import Activate, Affine, Merge, Opaque, Operation, Rescale
from convmill.plan.operations.parameters import REGULARIZERS
from convmill.plan.operations.table import LAYERS
from convmill.plan.refusals import Refusal
from convmill.plan.written import is_keras_class, own_call

ONE_DTYPE = "leave dtype out of keras.Input: uint8 and float64 images are read as they are"
WHOLE = ("uint8", "int8", "uint16", "int16", "int32")  # of inputs that are cast to float32
MIXED = ("mixed_float16", "mixed_bfloat16")  # computed in float32
# What a subclass may define without changing what its layer computes.
HARMLESS = {
    "__module__",
    "__qualname__",
    "__doc__",
    "__init__",
    "__annotations__",
    "__firstlineno__",
    "__static_attributes__",
    "get_config",
    "from_config",
}
Said = tuple[str, str] | None  # what stands in the way, and the remedy


def beyond(call: Call, operation: Operation) -> Refusal | None:
    """What the call asks for and ``operation`` does not say; None where there is nothing."""
    layer = call.layer
    name = type(layer).__name__
    if isinstance(layer, keras.Variable | Penalty | Drawn):
        return None
    if not isinstance(layer, keras.Layer):
        return _of_operation(call, operation)
    if call.untraceable:
        return Refusal(
            f"layer {call.name!r} ({name}): {call.untraceable}",
            "make that of layers and operations of Keras alone",
        )
    if isinstance(layer, keras.Model):
        return _of_model(layer)
    if isinstance(layer, layers.InputLayer):
        return beyond_input(layer)
    says = f"layer {call.name!r} ({name})"
    for said in _said(call, operation):
        if said is not None:
            return Refusal(f"{says}: {said[0]}", said[1])
    return _of_weights(call, operation, says)


def _of_operation(call: Call, operation: Operation) -> Refusal | None:
    """What an operation of Keras is called with, beside what its own arguments say."""
    says = f"operation {call.name!r} ({type(call.layer).__name__})"
    if isinstance(operation, Opaque):
        return Refusal(f"{says} is not covered", "express it with a layer")
    if call.output.dtype not in ("float32", "float16", "bfloat16"):  # halves of mixed policies
        return Refusal(f"{says}: dtype={call.output.dtype}", float32_for(call.output.dtype))
    return _of_weights(call, operation, says)


def _of_weights(call: Call, operation: Operation, says: str) -> Refusal | None:
    """Axes of a weight are not those of an image: of such values alone are computed."""
    by_value = isinstance(operation, Activate | Affine | Rescale) or (
        isinstance(operation, Merge) and len(call.read) > 1
    )
    if isinstance(operation, Activate) and operation.activation.name in ("softmax", "log_softmax"):
        by_value = False
    if call.reads_weights and not by_value:
        return Refusal(f"{says} reads a weight", "compute such values one by one")
    return None


def beyond_followed(name: str, layer: Any) -> Refusal | None:
    """What a layer asks for beside its call, which was followed."""
    for said in (_dtype(layer), _quantized(layer), _activity(layer)):
        if said is not None:
            return Refusal(f"layer {name!r} ({type(layer).__name__}): {said[0]}", said[1])
    return None


def beyond_model(model: Any) -> Refusal | None:
    """What a model asks for beside its graph: one that is read, or of which a Penalty is none."""
    given = model.activity_regularizer
    if given is None:
        return None
    says = f"model {model.name!r} has activity_regularizer={type(given).__name__}"
    return Refusal(says, "give it to a layer, from keras.regularizers L1, L2 or L1L2")


def _of_model(model: Any) -> Refusal:
    """A model inside the model of which no graph is known."""
    method = own_call(model)
    says = f"defines {method} in Python" if method else "is no graph of layers"
    return Refusal(
        f"model {model.name!r} ({type(model).__name__}) {says}",
        "build it from layers with keras.Sequential or keras.Model(inputs, outputs)",
    )


def beyond_input(layer: Any) -> Refusal | None:
    """What a keras.Input asks for."""
    says = f"layer {layer.name!r} ({type(layer).__name__}): "
    if layer.dtype not in ("float32", *WHOLE):
        return Refusal(f"{says}dtype={layer.dtype!r}", float32_for(layer.dtype))
    if layer.sparse or layer.optional or layer.ragged:
        return Refusal(f"{says}is sparse, ragged or optional", "use a plain keras.Input")
    return None


def float32_for(dtype: str, otherwise: str = ONE_DTYPE) -> str:
    """What would help where something has ``dtype``, which may be what Keras is set to."""
    for name, default in (
        ("floatx", keras.config.floatx()),
        ("dtype_policy", keras.config.dtype_policy().name),
    ):
        if dtype == default:
            return f'call keras.config.set_{name}("float32") before the model is made'
    return otherwise


def _said(call: Call, operation: Operation) -> Iterator[Said]:
    for check in _CHECKS:
        yield check(call.layer)
    yield _data_format(call)
    if call.options:
        yield f"is called with {list(call.options)}", "call it with its input alone"


def beyond_whole(call: Call, dtype: str) -> Refusal | None:
    """What a call does with an input of whole numbers that it does not make float32 of."""
    if not isinstance(call.layer, keras.Layer):
        return None  # its output has a dtype that says so
    if isinstance(call.layer, layers.Rescaling | layers.Normalization | layers.Embedding):
        return None
    says = f"layer {call.name!r} ({type(call.layer).__name__}) reads dtype={dtype!r}"
    return Refusal(says, "begin with keras.layers.Rescaling, or leave dtype out of keras.Input")


def _own_class(layer: Any) -> Said:
    if "call" in vars(layer):
        return "its call was replaced", "use the layer as it is"
    for candidate in type(layer).__mro__:
        changed = sorted(set(vars(candidate)) - HARMLESS)
        if candidate in LAYERS or is_keras_class(candidate):
            return None
        if changed and isinstance(layer, tuple(LAYERS)):
            return (
                f"its class defines {', '.join(changed)}",
                "use the layer of keras.layers itself",
            )
    return None


def is_mixed(layer: Any) -> bool:
    """Whether Keras would compute a layer in halves, and keep its weights in float32."""
    return isinstance(layer, keras.Layer) and layer.dtype_policy.name in MIXED


def _dtype(layer: Any) -> Said:
    if layer.dtype_policy.name == "float32" or is_mixed(layer):
        return None
    name = layer.dtype_policy.name
    return f"dtype={name!r}", float32_for(name, 'use dtype="float32", Keras\' default')


def _quantized(layer: Any) -> Said:
    if layer.quantization_mode is None:
        return None
    return f"quantized to {layer.quantization_mode}", "do not call quantize"


def _activity(layer: Any) -> Said:
    given = layer.activity_regularizer
    if given is None or type(given) in REGULARIZERS:
        return None
    name = type(given).__name__
    return f"activity_regularizer={name}", "use keras.regularizers.L1, L2 or L1L2"


def _data_format(call: Call) -> Said:
    if call.channels_last:
        return None
    given = call.layer.data_format
    return f"data_format={given!r}", 'use data_format="channels_last"'


def _lora(layer: Any) -> Said:
    if not getattr(layer, "lora_enabled", False):
        return None
    return f"lora_rank={layer.lora_rank}", "leave lora_rank out"


def _mask(layer: Any) -> Said:
    if not getattr(layer, "mask_zero", False):
        return None
    return "mask_zero=True", "leave mask_zero out"


def _renorm(layer: Any) -> Said:
    return ("renorm=True", "leave renorm out") if getattr(layer, "renorm", False) else None


def _noise_shape(layer: Any) -> Said:
    """One mask for each image, or one for all of a batch."""
    given = getattr(layer, "noise_shape", None)
    if given is None or given[0] in (None, 1):
        return None
    return f"noise_shape={given}", "leave the batch open in noise_shape: (None, 1, 1, channels)"


_CHECKS: tuple[Callable[[Any], Said], ...] = (
    _own_class,
    _dtype,
    _quantized,
    _activity,
    _lora,
    _noise_shape,
    _mask,
    _renorm,
)
