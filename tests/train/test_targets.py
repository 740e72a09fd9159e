"""CONVMILL_TARGET: nets train on each target as plain Keras trains them, and may change it."""

from functools import cache

import keras
import numpy as np
import pytest
from keras import layers

import convmill
from convmill.runtime import host
from tests.train.nets import X, Y, assert_same_state, compiled, seeded_fit

pytestmark = pytest.mark.usefixtures("strict")
STEPS = 4
FORCED = [[name] for name in ("avx2", "sse4", "neon") if name in host.targets()]


def net():
    """Direct, depthwise and Winograd convolutions, in front of pooling and not."""
    keras.utils.set_random_seed(5)
    stack = [
        keras.Input((6, 6, 1)),
        layers.Conv2D(9, 3, padding="same", activation="relu"),
        layers.DepthwiseConv2D(3, padding="same", activation="tanh"),
        layers.Conv2D(17, 3, padding="same"),
        layers.MaxPooling2D(2),
        layers.Flatten(),
        layers.Dense(3, activation="softmax"),
    ]
    return keras.Sequential(stack)


@cache
def by_keras():
    """Weights and predictions after STEPS steps of plain Keras."""
    model = compiled(net(), "adam", jit_compile=True)
    for _ in range(STEPS):
        model.train_on_batch(X, Y)
    return model, model.predict_on_batch(X)


@pytest.mark.parametrize("targets", [*FORCED, [*host.targets(), ""]], ids=" ".join)
def test_training_follows_keras(targets, monkeypatch):
    """On one target, and where it changes between two steps: state goes on."""
    plain, predicted = by_keras()
    ours = convmill.accelerate(compiled(net(), "adam"), threads=2)
    for step in range(STEPS):
        monkeypatch.setenv("CONVMILL_TARGET", targets[step % len(targets)])
        ours.train_on_batch(X, Y)
        machine = host.machine()
        vectors = f"Vectors of {machine.lanes} float32 ({machine.target}), 2 threads."
        assert vectors in str(convmill.explain(ours))
    assert_same_state(ours, plain)
    np.testing.assert_allclose(ours.predict_on_batch(X), predicted, atol=2e-5)


def test_a_target_that_is_not_there_costs_nothing(monkeypatch):
    model = convmill.accelerate(compiled(net()))
    before = model.get_weights()
    monkeypatch.setenv("CONVMILL_TARGET", "mmx")
    for call in (model.fit, model.evaluate, model.train_on_batch):
        with pytest.raises(ValueError, match=r"CONVMILL_TARGET must be .* Received"):
            call(X, Y)
    with pytest.raises(ValueError, match=r"CONVMILL_TARGET must be .* Received"):
        model.predict(X)
    monkeypatch.delenv("CONVMILL_TARGET")
    for value, weight in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(value, weight)
    seeded_fit(model, X, Y)
