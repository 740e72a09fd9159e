"""What only Keras' own optimizer can do: native gradients, Keras' steps, Keras' trajectory."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import constraints, layers, optimizers, regularizers

import convmill
from convmill import models
from convmill.train.keras_steps import value_and_slope
from tests.train.nets import SHAPE, assert_same_history, assert_same_state, images, seeded_fit

X, Y = images(40)

pytestmark = pytest.mark.long  # breadth: test_bridge, test_fit and test_optimizers have one of each


@keras.saving.register_keras_serializable("tests")
class Momentum(optimizers.Optimizer):
    """An optimizer of the user's own, with a slot."""

    def build(self, variables: Any) -> None:
        if not self.built:
            super().build(variables)
            self.speeds = self.add_optimizer_variables(variables, "speed")

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        speed = self.speeds[self._get_variable_index(variable)]
        self.assign(speed, 0.5 * speed + gradient)
        self.assign_sub(variable, learning_rate * speed)


@keras.saving.register_keras_serializable("tests")
class Halved(constraints.Constraint):
    """A constraint of the user's own."""

    def __call__(self, w: Any) -> Any:
        w = keras.ops.convert_to_tensor(w)
        return keras.ops.where(keras.ops.abs(w) > 0.3, w / 2, w)


@keras.saving.register_keras_serializable("tests")
class Cubed(regularizers.Regularizer):
    """A regularizer of the user's own."""

    def __call__(self, x: Any) -> Any:
        return 0.05 * keras.ops.sum(keras.ops.abs(x) ** 3)

    def get_config(self) -> dict[str, Any]:
        return {}


def several() -> Any:
    """Adam for kernels, SGD for what else there is."""
    rest = optimizers.SGD(0.05, momentum=0.5)
    kinds = {".*kernel": optimizers.Adam(0.01)}
    return optimizers.MultiOptimizer(optimizers.OptimizerMap(rest, kinds))


OPTIMIZERS: dict[str, Any] = {
    "lamb": lambda: optimizers.Lamb(0.01, weight_decay=0.1, clipnorm=0.3),
    "adafactor": lambda: optimizers.Adafactor(0.05),
    "muon": lambda: optimizers.Muon(0.01),
    "of one's own": lambda: Momentum(
        0.05, global_clipnorm=0.3, use_ema=True, ema_momentum=0.7, gradient_accumulation_steps=2
    ),
    "scaled": lambda: optimizers.LossScaleOptimizer(optimizers.Adam(0.01), initial_scale=64.0),
    "several": several,
}


def net(kind: Any, optimizer: Any, loss: Any = "categorical_crossentropy", **options: Any) -> Any:
    """A convnet of the same weights each time, compiled; ``options`` are the first layer's."""
    keras.utils.set_random_seed(3)
    stack = [
        keras.Input(SHAPE),
        layers.Conv2D(3, 3, activation="relu", **options),
        layers.Flatten(),
        layers.Dense(3, activation="softmax", kernel_regularizer=regularizers.L1L2(0.01, 0.02)),
    ]
    model = kind(stack, name="net")
    model.compile(optimizer, loss, metrics=["accuracy"])
    return model


def fit(model: Any, **arguments: Any) -> Any:
    """Two steps of 20 images."""
    return seeded_fit(model, X, Y, batch_size=20, **arguments)


@pytest.fixture(autouse=True)
def strict(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing may fall back."""
    monkeypatch.setenv("CONVMILL_STRICT", "1")


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_steps_of_keras_follow_keras_across_a_file(name: str, tmp_path: Any) -> None:
    make = OPTIMIZERS[name]
    theirs, ours = (net(kind, make()) for kind in (keras.Sequential, models.Sequential))
    arguments = {"epochs": 2, "validation_data": (X, Y)}
    assert_same_history(fit(ours, **arguments), fit(theirs, **arguments))
    assert_same_state(ours, theirs)
    ours.save(tmp_path / "net.keras")
    keras_goes_on = keras.models.load_model(tmp_path / "net.keras")
    we_go_on = convmill.accelerate(keras.models.load_model(tmp_path / "net.keras"))
    assert_same_history(fit(we_go_on), fit(keras_goes_on))
    assert_same_state(we_go_on, keras_goes_on)


WEIGHTS: dict[str, dict[str, Any]] = {
    "constraint": {"kernel_constraint": Halved(), "bias_constraint": constraints.NonNeg()},
    "regularizer": {"kernel_regularizer": Cubed(), "bias_regularizer": regularizers.L2(0.1)},
}


@pytest.mark.parametrize("name", WEIGHTS)
def test_what_is_asked_of_weights_follows_keras(name: str) -> None:
    theirs, ours = (
        net(kind, optimizers.SGD(0.1, momentum=0.9, clipnorm=0.5), **WEIGHTS[name])
        for kind in (keras.Sequential, models.Sequential)
    )
    arguments = {"epochs": 2, "validation_data": (X, Y)}
    assert_same_history(fit(ours, **arguments), fit(theirs, **arguments))
    assert_same_state(ours, theirs)
    assert ours.train_on_batch(X[:20], Y[:20]) == pytest.approx(
        theirs.train_on_batch(X[:20], Y[:20]), abs=2e-5
    )
    assert_same_state(ours, theirs)


def own_loss(y_true: Any, y_pred: Any) -> Any:
    """Of the whole batch at once."""
    return keras.ops.mean(keras.ops.square(y_true - y_pred)) ** 0.5


def test_a_loss_and_an_optimizer_of_one_s_own() -> None:
    theirs, ours = (
        net(kind, Momentum(0.1), own_loss) for kind in (keras.Sequential, models.Sequential)
    )
    assert_same_history(fit(ours, epochs=2), fit(theirs, epochs=2))
    assert_same_state(ours, theirs)
    assert convmill.explain(ours).bridged == ("the loss own_loss", "the optimizer Momentum")


def test_a_matrix_kept_orthogonal() -> None:
    def make(kind: Any) -> Any:
        keras.utils.set_random_seed(3)
        dense = layers.Dense(3, kernel_regularizer=regularizers.OrthogonalRegularizer(0.1))
        model = kind([keras.Input((4,)), dense])
        model.compile(optimizers.Adam(0.05), "mse")
        return model

    theirs, ours = make(keras.Sequential), make(models.Sequential)
    x = np.random.default_rng(0).random((20, 4), np.float32)
    histories = [model.fit(x, Y[:20], epochs=3, verbose=0) for model in (ours, theirs)]
    assert_same_history(*histories)
    assert_same_state(ours, theirs)


def test_it_is_told() -> None:
    text = str(convmill.explain(net(models.Sequential, Momentum(0.1), kernel_constraint=Halved())))
    assert "Bridged, done by Keras in each step of training: the optimizer Momentum" in text
    assert "kernel_constraint=Halved" in text
    assert "Bridged" not in str(convmill.explain(net(models.Sequential, "adam")))


def test_any_number_of_threads_gives_the_same_bits() -> None:
    found = []
    for threads in (1, 2, 3):
        model = net(models.Sequential, optimizers.Lamb(0.01))
        convmill.accelerate(model, threads=threads)
        fit(model, epochs=2)
        found.append(model.get_weights())
    for other in found[1:]:
        for one, two in zip(found[0], other, strict=True):
            np.testing.assert_array_equal(one, two)


def test_an_optimizer_of_other_weights_is_told() -> None:
    model = net(models.Sequential, optimizers.Lamb(0.01))
    fit(model)
    model.layers[0].trainable = False
    with pytest.raises(ValueError, match="built on other variables"):
        fit(model)


def test_the_slope_of_a_regularizer() -> None:
    variable = keras.Variable(np.array([[1.0, -2.0]], np.float32))
    value, slope = value_and_slope(regularizers.L1L2(0.5, 0.25), variable)
    assert value == pytest.approx(0.5 * 3 + 0.25 * 5)
    np.testing.assert_allclose(slope, [[1.0, -1.5]])
    assert slope.dtype == np.float32


def test_branches_dropout_and_moving_statistics() -> None:
    """Two outputs, a shared layer, batch normalization: what steps write beside weights is kept."""

    def make(kind: Any) -> Any:
        keras.utils.set_random_seed(3)
        image = keras.Input(SHAPE)
        y = layers.BatchNormalization(momentum=0.5)(layers.Conv2D(4, 3, use_bias=False)(image))
        shared = layers.Conv2D(4, 3, padding="same", activation="relu", kernel_regularizer="l2")
        flat = layers.Flatten()(layers.Add()([y, shared(shared(y))]))
        outputs = [layers.Dense(3, "softmax", name="one")(flat), layers.Dense(2, name="two")(flat)]
        model = kind(image, outputs)
        model.compile(optimizers.Lamb(0.02), ["categorical_crossentropy", "mse"])
        return model

    theirs, ours = make(keras.Model), make(models.Model)
    target = [Y, np.stack([X.mean(axis=(1, 2, 3)), X.std(axis=(1, 2, 3))], axis=1)]
    arguments = {"batch_size": 20, "epochs": 2, "validation_data": (X, target)}
    histories = [seeded_fit(model, X, target, **arguments) for model in (ours, theirs)]
    assert_same_history(*histories)
    assert_same_state(ours, theirs)
