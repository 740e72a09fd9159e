"""Every optimizer of Keras trains compiled, and its state goes on in a file, as in Keras."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import constraints, layers, optimizers, regularizers

import convmill
from convmill import models
from tests.train.nets import SHAPE, assert_same_history, assert_same_state, images, seeded_fit

X, Y = images(40)
Make = Callable[[], Any]

OPTIMIZERS: dict[str, Make] = {
    "sgd": lambda: optimizers.SGD(0.05, momentum=0.8, nesterov=True, clipvalue=0.05),
    "rmsprop": lambda: optimizers.RMSprop(
        0.003, rho=0.6, momentum=0.5, centered=True, weight_decay=0.1
    ),
    "adam": lambda: optimizers.Adam(0.01, beta_2=0.9, amsgrad=True, global_clipnorm=0.2),
    "adamw": lambda: optimizers.AdamW(0.01, weight_decay=0.2, clipnorm=0.1),
    "adadelta": lambda: optimizers.Adadelta(1.0, rho=0.7, epsilon=1e-4, weight_decay=0.02),
    "adagrad": lambda: optimizers.Adagrad(0.02, initial_accumulator_value=0.01, clipnorm=0.2),
    "adamax": lambda: optimizers.Adamax(0.01, beta_1=0.7, beta_2=0.9, weight_decay=0.1),
    "nadam": lambda: optimizers.Nadam(0.01, beta_1=0.7, beta_2=0.9, global_clipnorm=0.3),
    "ftrl": lambda: optimizers.Ftrl(
        0.05,
        learning_rate_power=-0.4,
        l1_regularization_strength=0.002,
        l2_regularization_strength=0.01,
        l2_shrinkage_regularization_strength=0.01,
        beta=0.05,
    ),
    "lion": lambda: optimizers.Lion(0.001, beta_1=0.7, beta_2=0.9, weight_decay=0.2),
    "average": lambda: optimizers.Adam(
        0.01, beta_2=0.9, use_ema=True, ema_momentum=0.6, ema_overwrite_frequency=2
    ),
    "gathers": lambda: optimizers.Nadam(
        0.01, gradient_accumulation_steps=2, global_clipnorm=0.2, use_ema=True, ema_momentum=0.6
    ),
    "schedule free": lambda: optimizers.ScheduleFreeAdamW(
        0.01, warmup_steps=4, weight_decay=0.1, clipvalue=0.1
    ),
}

pytestmark = pytest.mark.long


def net(kind: Any, make: Make) -> Any:
    """A convnet of the same weights each time, compiled."""
    keras.utils.set_random_seed(3)
    stack = [
        keras.Input(SHAPE),
        layers.Conv2D(3, 3, activation="relu", kernel_regularizer=regularizers.L2(0.01)),
        layers.Flatten(),
        layers.Dense(3, activation="softmax", bias_regularizer=regularizers.L1(0.01)),
    ]
    model = kind(stack, name="net")
    model.compile(make(), "categorical_crossentropy", metrics=["accuracy"], jit_compile=False)
    return model


def fit(model: Any, **arguments: Any) -> Any:
    """Three steps, of 16, 16 and 8 images."""
    return seeded_fit(model, X, Y, **arguments)


@pytest.fixture(autouse=True)
def strict(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing may fall back."""
    monkeypatch.setenv("CONVMILL_STRICT", "1")


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_follows_keras_across_a_file(name: str, tmp_path: Any) -> None:
    """Six steps, saved by each of us and loaded by the other, and three more."""
    theirs, ours = (net(kind, OPTIMIZERS[name]) for kind in (keras.Sequential, models.Sequential))
    assert_same_history(fit(ours, epochs=2), fit(theirs, epochs=2))
    assert_same_state(ours, theirs)
    for model, file in ((ours, "ours.keras"), (theirs, "theirs.keras")):
        model.save(tmp_path / file)
    keras_goes_on = keras.models.load_model(tmp_path / "ours.keras")
    we_go_on = convmill.accelerate(keras.models.load_model(tmp_path / "theirs.keras"))
    assert_same_history(fit(we_go_on), fit(keras_goes_on))
    assert_same_state(we_go_on, keras_goes_on)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_any_number_of_threads_gives_the_same_bits(name: str) -> None:
    found = []
    for threads in (1, 2, 3):
        model = net(models.Sequential, OPTIMIZERS[name])
        convmill.accelerate(model, threads=threads)
        fit(model, epochs=2)
        found.append([one.numpy() for one in (*model.weights, *model.optimizer.variables)])
    for other in found[1:]:
        for one, two in zip(found[0], other, strict=True):
            np.testing.assert_array_equal(one, two)


def test_a_rate_that_is_a_function_follows_keras() -> None:
    def make() -> Any:
        optimizer = optimizers.SGD(lambda: 0.2 / (1 + optimizer.iterations))
        return optimizer

    theirs, ours = (net(kind, make) for kind in (keras.Sequential, models.Sequential))
    assert_same_history(fit(ours, epochs=2), fit(theirs, epochs=2))
    assert_same_state(ours, theirs)


def test_weights_that_do_not_decay_follow_keras() -> None:
    def make() -> Any:
        optimizer = optimizers.AdamW(0.01, weight_decay=0.5)
        optimizer.exclude_from_weight_decay(var_names=["bias"])
        return optimizer

    theirs, ours = (net(kind, make) for kind in (keras.Sequential, models.Sequential))
    assert_same_history(fit(ours, epochs=2), fit(theirs, epochs=2))
    assert_same_state(ours, theirs)


def test_averages_in_the_midst_of_a_run_follow_keras() -> None:
    """Validated with averages, which Keras' callback swaps in, from the first epoch on."""

    def make() -> Any:
        return optimizers.SGD(0.1, use_ema=True, ema_momentum=0.8)

    theirs, ours = (net(kind, make) for kind in (keras.Sequential, models.Sequential))
    histories = [
        fit(
            model,
            epochs=2,
            validation_data=(X, Y),
            callbacks=[keras.callbacks.SwapEMAWeights(swap_on_epoch=True)],
        )
        for model in (ours, theirs)
    ]
    assert_same_history(*histories)
    assert_same_state(ours, theirs)
    for model in (ours, theirs):
        model.train_on_batch(X[:16], Y[:16])
    assert_same_state(ours, theirs)


def test_weights_stay_where_no_step_was_made() -> None:
    """Moving averages are zeros then."""
    model = net(models.Sequential, OPTIMIZERS["average"])
    before = model.get_weights()

    def fail(*_: Any) -> None:
        raise RuntimeError("before the first step")

    with pytest.raises(RuntimeError, match="before the first step"):
        fit(model, callbacks=[keras.callbacks.LambdaCallback(on_epoch_begin=fail)])
    for one, other in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("accumulate", [None, 2])
def test_constraints_follow_keras(accumulate: int | None) -> None:
    def make(kind: Any) -> Any:
        keras.utils.set_random_seed(3)
        bounds = constraints.MinMaxNorm(0.2, 0.5, rate=0.7, axis=[0, 1, 2])
        stack = [
            keras.Input(SHAPE),
            layers.Conv2D(3, 3, kernel_constraint=bounds, bias_constraint="non_neg"),
            layers.Flatten(),
            layers.Dense(5, kernel_constraint="unit_norm", bias_constraint="non_neg"),
            layers.Dense(3, activation="softmax", kernel_constraint=constraints.MaxNorm(0.9)),
        ]
        model = kind(stack, name="net")
        optimizer = optimizers.Adam(0.02, gradient_accumulation_steps=accumulate)
        model.compile(optimizer, "categorical_crossentropy", metrics=["accuracy"])
        return model

    theirs, ours = make(keras.Sequential), make(models.Sequential)
    assert_same_history(fit(ours, epochs=2), fit(theirs, epochs=2))
    assert_same_state(ours, theirs)
    assert "Bridged" not in str(convmill.explain(ours))
