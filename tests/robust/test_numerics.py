"""Numbers at the ends of what they may be, through the doors: as in float64, or an error.

Kernels alone: ``tests/engine/test_extreme_*.py``, ``test_functions.py`` and ``test_modes.py``.
"""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers, losses, metrics, optimizers

from convmill import models
from tests.precision import precision

pytestmark = pytest.mark.usefixtures("strict")

MANY = 100_000  # classes


@pytest.fixture
def strict(monkeypatch):
    """A fallback to Keras is an error."""
    monkeypatch.setenv("CONVMILL_STRICT", "1")


def filled(model, seed=1):
    """The model with weights that do not depend on its precision."""
    rng = np.random.default_rng(seed)
    model.set_weights([(rng.standard_normal(one.shape) / 2).astype("f4") for one in model.weights])
    return model


def test_a_hundred_thousand_classes():
    """Losses of softmax and of logits, accuracy and the best thousand."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((6, 3)).astype("float32"), rng.integers(0, MANY, 6)
    model = filled(models.Sequential([keras.Input((3,)), layers.Dense(MANY)]))
    kernel, bias = (one.astype(np.float64) for one in model.get_weights())
    y[0] = np.argmax(x[0] @ kernel + bias)
    logits = x @ kernel + bias
    rows = np.arange(6)
    away = logits - logits.max(axis=1, keepdims=True)
    exact = np.log(np.exp(away).sum(axis=1)) - away[rows, y]
    best = ((logits > logits[rows, y][:, None]).sum(axis=1) < 1000).mean()
    top = metrics.SparseTopKCategoricalAccuracy(1000)
    loss = losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("sgd", loss, metrics=["accuracy", top])
    assert model.evaluate(x, y, verbose=0) == pytest.approx([exact.mean(), 1 / 6, best], rel=1e-5)
    ended = models.Sequential([keras.Input((3,)), layers.Dense(MANY, "softmax")])
    ended.set_weights(model.get_weights())
    ended.compile(optimizers.SGD(1.0), "sparse_categorical_crossentropy")
    assert ended.evaluate(x, y, verbose=0) == pytest.approx(exact.mean(), rel=1e-5)
    ended.fit(x, y, verbose=0)
    shares = np.exp(away) / np.exp(away).sum(axis=1, keepdims=True)
    shares[rows, y] -= 1
    np.testing.assert_allclose(ended.get_weights()[1], bias - shares.mean(axis=0), atol=1e-6)


@pytest.mark.parametrize("dtype", ["int64", "uint64", "float64"])
def test_labels_beyond_int32_are_refused(dtype):
    """And not taken for what is left of them in 32 bits, which would be a class."""
    model = models.Sequential([keras.Input((2,)), layers.Dense(3, "softmax")])
    model.compile("sgd", "sparse_categorical_crossentropy")
    before = model.get_weights()
    y = np.array([0, 1, 2**32 + 1], dtype)
    for work in (model.fit, model.evaluate, model.train_on_batch, model.test_on_batch):
        with pytest.raises(ValueError, match=r"Received: y\[2\] = 4294967297"):
            work(np.zeros((3, 2)), y)
    for one, other in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def trained(kind, make, given, steps, before=0, loss="mean_absolute_error", **arguments):
    """Weights and losses of a small convnet behind some steps on one batch."""
    stack = [keras.Input((1, 1, 2)), layers.Conv2D(3, 3, padding="same", activation="tanh")]
    stack += [layers.MaxPooling2D(1), layers.Flatten(), layers.Dense(2)]
    model = filled(kind(stack))
    model.compile(make(), loss, weighted_metrics=["mse"], jit_compile=False)
    model.optimizer.build(model.trainable_variables)
    model.optimizer.iterations.assign(before)
    told = [model.train_on_batch(*given, **arguments) for _ in range(steps)]
    return [*model.get_weights(), np.asarray(told)]


CASES = {
    "ten million steps": (lambda: optimizers.Adam(0.01), {"before": 10_000_000}),
    "huge gradients, clipped": (
        lambda: optimizers.Adam(0.01, global_clipnorm=1.0),
        {"sample_weight": np.full(3, 1e30)},
    ),
    "denormal numbers": (lambda: optimizers.SGD(0.1), {}),
    "weights of samples that are all zero": (
        lambda: optimizers.RMSprop(0.01), {"sample_weight": np.zeros(3)},
    ),
}  # fmt: skip


@pytest.mark.long  # the same in kernels alone is quicker
@pytest.mark.parametrize("case", CASES)
def test_training_follows_keras_in_float64(case):
    """On images of one pixel."""
    make, options = CASES[case]
    rng = np.random.default_rng(2)
    given = rng.standard_normal((3, 1, 1, 2)), rng.standard_normal((3, 2))
    if case == "denormal numbers":
        given = given[0] * 1e-40, given[1]
    ours = trained(models.Sequential, make, given, 3, **options)
    with precision("float64"):
        exact = trained(keras.Sequential, make, given, 3, **options)
    for one, other in zip(ours, exact, strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-5, atol=2e-6)
