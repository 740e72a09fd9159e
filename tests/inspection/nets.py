"""Small nets, and what is known of them before training."""

from __future__ import annotations

from typing import Any

from convmill.design.costs import costs
from convmill.design.fields import fields
from convmill.design.steps import design_of
from convmill.inspection.findings import Facts, Finding, Rule, find
from convmill.inspection.loss import read_loss
from convmill.lower.machine import Machine

LANES = 16
MACHINE = Machine(LANES, registers=32)
IMAGE = (28, 28, 1)


def chain(*stack: Any, shape: tuple[int, ...] = IMAGE, loss: Any = None) -> Any:
    """A Sequential model of these layers, compiled where there is a loss."""
    import keras

    model = keras.Sequential([keras.Input(shape), *stack])
    if loss is not None:
        model.compile(loss=loss)
    return model


def notebook() -> Any:
    """The MNIST notebook's convnet."""
    from keras.layers import Conv2D, Dense, Flatten, MaxPooling2D

    return chain(
        Conv2D(32, 3, activation="relu"),
        MaxPooling2D(2),
        Conv2D(64, 3, activation="relu"),
        MaxPooling2D(2, name="second_pooling"),
        Conv2D(64, 3, activation="relu"),
        Flatten(),
        Dense(64, activation="relu"),
        Dense(10, activation="softmax"),
        loss="categorical_crossentropy",
    )


def unpooled() -> Any:
    """The notebook's control: the same convolutions, nothing pooled between them."""
    from keras.layers import Conv2D

    return chain(
        Conv2D(32, 3, activation="relu"),
        Conv2D(64, 3, activation="relu"),
        Conv2D(64, 3, activation="relu", name="last"),
    )


def facts(
    model: Any,
    images: int | None = 60_000,
    lanes: int = LANES,
    input_shape: tuple[int, ...] | None = None,
) -> Facts:
    """What the rules are given."""
    design = design_of(model, input_shape)
    return Facts(
        design,
        fields(design),
        costs(design, MACHINE),
        images,
        lanes,
        compiled=model.compiled,
        loss=read_loss(model),
    )


def said(rule: Rule, model: Any, **known: Any) -> tuple[Finding, ...]:
    """What one rule says of a model."""
    return find(facts(model, **known), (rule,))
