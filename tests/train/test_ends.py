"""Models with several inputs and outputs, against plain Keras from the same seeds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

import convmill
from tests.train.nets import CLASSES, SHAPE, assert_same_history, assert_same_state, seeded_fit

COUNT = 40
RNG = np.random.default_rng(0)
LEFT = RNG.random((COUNT, *SHAPE)).astype("float32")
RIGHT = RNG.random((COUNT, 4)).astype("float32")
KIND = np.eye(CLASSES, dtype="float32")[RNG.integers(0, CLASSES, COUNT)]
SIZE = RNG.random((COUNT, 1)).astype("float32")
WEIGHT = RNG.random(COUNT).astype("float32")
IN = {"left": LEFT, "right": RIGHT}
OUT = {"kind": KIND, "size": SIZE}


def two_and_two(
    inputs: Callable[[Any, Any], Any] = lambda left, right: [left, right],
    outputs: Callable[[Any, Any], Any] = lambda kind, size: [kind, size],
) -> keras.Model:
    """An image and four numbers in, three classes and one number out, in any structure."""
    keras.utils.set_random_seed(3)
    left, right = keras.Input(SHAPE, name="left"), keras.Input((4,), name="right")
    seen = layers.Conv2D(2, 3, activation="relu", kernel_regularizer="l2")(left)
    both = layers.Concatenate()([layers.Flatten()(seen), layers.Dense(3)(right)])
    kind = layers.Dense(CLASSES, activation="softmax", name="kind")(both)
    size = layers.Dense(1, name="size")(both)
    return keras.Model(inputs(left, right), outputs(kind, size))


def named(a: Any, b: Any) -> dict[str, Any]:
    return {"left": a, "right": b}


def answered(a: Any, b: Any) -> dict[str, Any]:
    return {"kind": a, "size": b}


def prepared(make: Callable[[], Any], ours: bool, **options: Any) -> Any:
    """The model, compiled; ours raises where it would run on Keras' path."""
    model = make()
    if ours:
        convmill.accelerate(model, strict=True)
    options = {"optimizer": "rmsprop", "jit_compile": False} | options
    model.compile(**options)
    return model


def assert_same(found: Any, expected: Any, tolerance: float = 2e-5) -> None:
    """The same structure, and close numbers."""
    assert type(found) is type(expected)
    keras.tree.assert_same_structure(found, expected)
    for mine, other in zip(keras.tree.flatten(found), keras.tree.flatten(expected), strict=True):
        assert np.shape(mine) == np.shape(other)
        np.testing.assert_allclose(mine, other, atol=tolerance)


def compare(
    make: Callable[[], Any], x: Any, y: Any, options: dict[str, Any], **arguments: Any
) -> dict[str, Any]:
    """Fit, evaluate, predict and the methods for a batch, ours and Keras'; the history."""
    ours, theirs = (prepared(make, mine, **options) for mine in (True, False))
    arguments = {"epochs": 2} | arguments
    histories = [seeded_fit(model, x, y, **arguments) for model in (ours, theirs)]
    assert_same_history(*histories)
    assert_same_state(ours, theirs)
    for as_dict in (False, True):
        assert_same(
            ours.evaluate(x, y, batch_size=16, verbose=0, return_dict=as_dict),
            theirs.evaluate(x, y, batch_size=16, verbose=0, return_dict=as_dict),
        )
    assert_same(ours.predict(x, verbose=0), theirs.predict(x, verbose=0))
    assert_same(ours.predict_on_batch(x), theirs.predict_on_batch(x))
    assert_same(ours.test_on_batch(x, y), theirs.test_on_batch(x, y))
    assert_same(
        ours.train_on_batch(x, y, return_dict=True), theirs.train_on_batch(x, y, return_dict=True)
    )
    assert_same_state(ours, theirs)
    history: dict[str, Any] = histories[0].history
    return history


def test_dicts_with_weights_and_metrics_of_each_output() -> None:
    history = compare(
        lambda: two_and_two(named, answered),
        IN,
        OUT,
        {
            "optimizer": "adam",
            "loss": {"kind": "categorical_crossentropy", "size": "mse"},
            "loss_weights": {"kind": 1.0, "size": 0.3},
            "metrics": {"kind": ["accuracy", "top_k_categorical_accuracy"], "size": ["mae"]},
            "weighted_metrics": {"kind": ["accuracy"]},
        },
        validation_split=0.2,
    )
    assert {"loss", "kind_loss", "size_loss", "kind_accuracy", "size_mae"} <= set(history)


@pytest.mark.parametrize(
    ("x", "y"),
    [
        ([LEFT, RIGHT], [KIND, SIZE]),
        ((LEFT, RIGHT), (KIND, SIZE)),
        (IN, OUT),
    ],
    ids=["lists", "tuples", "dicts"],
)
def test_lists(x: Any, y: Any) -> None:
    options = {
        "loss": ["categorical_crossentropy", "mae"],
        "loss_weights": [0.5, 2.0],
        "metrics": [["accuracy"], None],
    }
    compare(two_and_two, x, y, options, validation_data=(x, y))
