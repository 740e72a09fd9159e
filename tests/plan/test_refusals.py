"""What the Graph cannot express is refused by name; what makes no sense is an error."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from convmill.plan.read import read
from convmill.plan.refusals import NotCovered
from tests.plan.nets import IMAGE, sequential


class Doubled(layers.Conv2D):
    def call(self, inputs: Any) -> Any:
        return 2 * super().call(inputs)


class Custom(layers.Layer):
    def __init__(self, secret: object) -> None:  # no config can be made of it
        super().__init__()
        self.secret = secret

    def call(self, inputs: Any) -> Any:
        return keras.ops.cumsum(inputs, 1)


def replaced_call() -> Any:
    layer = layers.Flatten()
    layer.call = lambda inputs: inputs
    return layer


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (
            lambda: layers.Conv2D(2, 2, activity_regularizer="orthogonal_regularizer"),
            ["activity_regularizer=OrthogonalRegularizer"],
        ),
        (lambda: layers.Conv2D(2, 2, dtype="bfloat16"), ["dtype='bfloat16'"]),
        (lambda: layers.Conv2D(2, 2, dtype="float16"), ["dtype='float16'"]),
        (lambda: layers.Conv2D(2, 2, lora_rank=1), ["lora_rank=1"]),
        (lambda: layers.Conv2D(2, 2, activation="sparsemax"), ["activation=sparsemax"]),
        (
            lambda: layers.Conv2D(2, 2, activation=lambda x: keras.ops.cumsum(x, 1)),
            ["operation", "/activation'", "(Cumsum)", "not covered"],
        ),
        (
            lambda: layers.Conv2D(2, 2, activation=lambda x: x * np.random.default_rng().uniform()),
            ["its activation <lambda> computes other numbers"],
        ),
        (lambda: layers.Activation(lambda x: x[..., :1]), ["another shape than it reads"]),
        (
            lambda: layers.Activation(lambda x: x if keras.ops.sum(x) > 0 else -x),
            ["its activation <lambda> ends in"],
        ),
        (lambda: layers.Dropout(0.5, noise_shape=(4, 1, 1, 2)), ["noise_shape=(4, 1, 1, 2)"]),
        (
            lambda: layers.Resizing(9, 9, pad_to_aspect_ratio=True),
            ["Resizing", "not covered"],
        ),
        (lambda: layers.BatchNormalization(axis=2), ["BatchNormalization", "axes"]),
        (lambda: layers.BatchNormalization(renorm=True), ["renorm=True"]),
        (lambda: layers.RandomHue(0.5), ["RandomHue", "not covered"]),
        (lambda: layers.Softmax(axis=0), ["an axis that kernels do not know"]),
        (lambda: layers.GroupNormalization(groups=2, axis=1), ["an axis that kernels do not"]),
        (lambda: Doubled(2, 2), ["operation", "(Conv)", "not covered"]),
        (lambda: Custom(object()), ["operation", "(Cumsum)", "not covered"]),
        (replaced_call, ["call was replaced"]),
    ],
)
@pytest.mark.parametrize("functional", [False, True])
def test_layers_that_are_not_covered_are_named(
    make: Callable[[], Any], words: list[str], functional: bool
) -> None:
    layer = make()
    model = sequential(layer)
    if functional:
        image = keras.Input(IMAGE)
        model = keras.Model(image, layer(image))
    with pytest.raises(NotCovered) as refusal:
        read(model)
    named = f"layer {layer.name!r}" if "operation" not in words else layer.name
    assert named in refusal.value.reason
    for word in words:
        assert word in refusal.value.reason
    assert refusal.value.remedy


def test_quantized_layers_are_refused() -> None:
    layer = layers.Dense(2)
    model = sequential(layer, shape=(5,))
    layer.quantize("int8")
    with pytest.raises(NotCovered, match="int8"):
        read(model)


@pytest.mark.parametrize("dtype", ["float16", "float64", "bfloat16"])
@pytest.mark.parametrize("setting", ["floatx", "dtype_policy"])
def test_a_dtype_that_keras_is_set_to_is_told_by_its_setting(setting: str, dtype: str) -> None:
    change = getattr(keras.config, f"set_{setting}")
    change(dtype)
    try:
        model = keras.Sequential([keras.Input(IMAGE), layers.Flatten(), layers.Dense(2)])
        with pytest.raises(NotCovered, match=dtype) as refusal:
            read(model)
    finally:
        change("float32")
    assert f'keras.config.set_{setting}("float32")' in refusal.value.remedy


def an_operation() -> keras.Model:
    image = keras.Input(IMAGE)
    return keras.Model(image, layers.Flatten()(keras.ops.cumsum(image, 1)))


def masked() -> keras.Model:
    inputs, mask = keras.Input((4,)), keras.Input((4,), dtype="bool")
    return keras.Model([inputs, mask], layers.Softmax()(inputs, mask=mask))


def subclass() -> keras.Model:
    class Net(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.flatten = layers.Flatten()

        def call(self, inputs: Any) -> Any:
            return self.flatten(inputs * np.random.default_rng().uniform())

    model = Net()
    model(np.zeros((1, *IMAGE), np.float32))
    return model


def extra_weight() -> keras.Model:
    class Net(keras.Sequential):
        pass

    model = Net([keras.Input(IMAGE), layers.Flatten()])
    model.scale = keras.Variable(np.ones(()), name="scale")
    return model


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (an_operation, "Cumsum"),
        (masked, "reads dtype bool"),
        (subclass, "defines call in Python, which computes other numbers"),
        (extra_weight, "scale"),
        (lambda: keras.Sequential(), "is not built"),
        (lambda: sequential(layers.Conv2D(1, 1), shape=(None, 8, 1)), r"\(None, 8, 1\)"),
        (lambda: keras.Sequential([keras.Input((4, 4, 1), dtype="uint8"), layers.Flatten()]), "u"),
    ],
)
def test_models_that_are_no_chain_are_refused(make: Callable[[], keras.Model], words: str) -> None:
    with pytest.raises(NotCovered, match=words) as refusal:
        read(make())
    assert refusal.value.remedy


# Models that make no sense -----------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(0, 8, 1), (8, 0, 1), (8, 8, 0)])
def test_empty_images_are_an_error(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"at least 1. Received: shape=\("):
        read(sequential(layers.Flatten(), shape=shape))


@pytest.mark.parametrize(
    "make",
    [
        lambda: sequential(layers.Conv2D(1, 9)),
        lambda: sequential(layers.MaxPooling2D(9)),
        lambda: sequential(layers.AveragePooling2D((1, 10))),
        lambda: sequential(layers.Conv2D(0, 1)),
        lambda: sequential(layers.Conv2D(1, 0)),
        lambda: sequential(layers.Conv2D(1, 1, strides=0)),
        lambda: sequential(layers.MaxPooling2D(0)),
        lambda: sequential(layers.Conv2D(1, 2, strides=2, dilation_rate=2)),
        lambda: sequential(layers.Conv2D(3, 2, groups=2)),
        lambda: sequential(layers.Conv2D(1, 2, padding="full")),
        lambda: sequential(layers.MaxPooling2D(2, padding="full")),
        lambda: sequential(layers.Flatten(), shape=(-1, 8, 1)),
        lambda: sequential(layers.Flatten(), layers.Dense(1), shape=(None, 8, 1)),
        lambda: sequential(layers.Dropout(1.5)),
    ],
)
def test_keras_itself_refuses_impossible_layers(make: Callable[[], keras.Model]) -> None:
    """Held here so that a Keras release that lets one of them pass is noticed."""
    with pytest.raises(ValueError, match=r"(?i)received|cannot convert"):
        make()


def test_numbers_that_are_not_finite_are_an_error() -> None:
    with pytest.raises(ValueError, match=r"scale .* Received: scale=nan"):
        read(sequential(layers.Rescaling(math.nan)))
    with pytest.raises(ValueError, match=r"offset .* Received: offset=inf"):
        read(sequential(layers.Rescaling(1.0, offset=math.inf)))


def test_something_else_than_a_model_is_an_error() -> None:
    with pytest.raises(TypeError, match="Received: str"):
        read("model.keras")
