"""What a frozen base computes is computed once a fit, and nobody can tell by the numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

import convmill
from convmill.runtime.program import Program
from convmill.train import frozen, samples
from tests.train.nets import assert_same_history, assert_same_state, compiled, seeded_fit

pytestmark = pytest.mark.usefixtures("strict")

RANDOM = np.random.default_rng(7)
X = RANDOM.integers(0, 256, (80, 8, 8, 2), np.uint8)
Y = RANDOM.integers(0, 3, 80)
FIT: dict[str, Any] = {"epochs": 3, "validation_split": 0.4}


def net(dropout: float = 0.0, **options: Any) -> keras.Model:
    """A frozen convolution with its normalization, and a trained head; the same each time."""
    keras.utils.set_random_seed(5)
    stack = [
        keras.Input(X.shape[1:]),
        layers.Rescaling(1 / 255),
        layers.Conv2D(4, 3, use_bias=False, name="see"),
        layers.BatchNormalization(name="norm"),
        layers.ReLU(),
        layers.GlobalAveragePooling2D(),
        layers.Dropout(dropout, seed=1),
        layers.Dense(3, activation="softmax", kernel_regularizer="l2", name="say"),
    ]
    model = keras.Sequential(stack)
    norm = model.get_layer("norm")
    norm.set_weights([RANDOM_4 + 1, RANDOM_4, RANDOM_4, RANDOM_4 + 0.5])
    norm.trainable = model.get_layer("see").trainable = False
    return compiled(model, "adam", "sparse_categorical_crossentropy", **options)


RANDOM_4 = np.linspace(0.1, 0.4, 4)


class Ran:
    """What every net that ran did, and whether it has a convolution."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, bool]] = []

    def count(self, name: str, convolves: bool) -> int:
        return self.calls.count((name, convolves))


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> Ran:
    found = Ran()
    for name in ("train", "evaluate"):
        monkeypatch.setattr(Program, name, _spied(getattr(Program, name), name, found))
    return found


def _spied(original: Callable[..., Any], name: str, found: Ran) -> Callable[..., Any]:
    def spy(self: Program, *arguments: Any, **options: Any) -> Any:
        found.calls.append((name, any(node.layer == "Conv2D" for node in self.graph.nodes)))
        return original(self, *arguments, **options)

    return spy


def both(
    monkeypatch: pytest.MonkeyPatch, make: Callable[[], keras.Model], fit: Callable[[Any], Any]
) -> tuple[keras.Model, keras.Model]:
    """Models that were fitted with and without what is kept of their base, compared."""
    kept = convmill.accelerate(make())
    histories = [fit(kept)]
    monkeypatch.setattr(frozen, "KEPT_BYTES", 0)
    whole = convmill.accelerate(make())
    histories.append(fit(whole))
    assert_same_history(*histories, tolerance=1e-6)
    assert_same_state(kept, whole, tolerance=1e-6)
    return kept, whole


def test_as_keras_trains_it(ran: Ran) -> None:
    ours, theirs = convmill.accelerate(net()), net()
    weights = RANDOM.random(80).astype("float32")
    options = {"sample_weight": weights, "validation_data": (X[:30], Y[:30])}
    histories = [seeded_fit(one, X, Y, epochs=3, **options) for one in (ours, theirs)]
    assert_same_history(*histories)
    assert_same_state(ours, theirs)
    # the bases of training and validation, and three epochs of each
    assert ran.count("evaluate", convolves=True) == 2
    assert ran.count("train", convolves=False) == ran.count("evaluate", convolves=False) == 3
    assert ran.count("train", convolves=True) == 0


def test_masks_and_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Dropout draws as in the whole net, and any number of threads gives the same bits."""
    both(monkeypatch, lambda: net(dropout=0.4), lambda model: seeded_fit(model, X, Y, **FIT))
    monkeypatch.undo()
    one, three = (convmill.accelerate(net(dropout=0.4), threads=count) for count in (1, 3))
    histories = [seeded_fit(model, X, Y, **FIT) for model in (one, three)]
    assert_same_history(*histories, tolerance=0)
    assert_same_state(one, three, tolerance=0)


CHANGES: dict[str, tuple[Callable[[keras.Model, np.ndarray], Any], int]] = {
    # what a callback does at the end of the first epoch; how often a base is then computed anew
    "weights": (lambda model, x: model.get_layer("see").set_weights([np.ones((3, 3, 2, 4))]), 2),
    "statistics": (lambda model, x: model.get_layer("norm").moving_mean.assign(RANDOM_4 * 2), 2),
    "images": (lambda model, x: x.__setitem__(3, 200), 1),
    "order": (lambda model, x: x.__setitem__(slice(0, 2), x[1::-1].copy()), 1),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_a_callback_changes_counts(
    name: str, monkeypatch: pytest.MonkeyPatch, ran: Ran
) -> None:
    change, anew = CHANGES[name]

    def fit(model: keras.Model) -> Any:
        x = X.copy()

        def changed(epoch: int, logs: Any) -> None:
            if epoch == 0:
                change(model, x)

        callback = keras.callbacks.LambdaCallback(on_epoch_end=changed)
        return seeded_fit(model, x, Y, callbacks=[callback], **FIT)

    both(monkeypatch, net, fit)
    # both bases once, then those that changed; then, in the other fit, the whole three times
    assert ran.count("evaluate", convolves=True) == 2 + anew + 3


def test_layers_that_thaw_and_freeze(monkeypatch: pytest.MonkeyPatch, ran: Ran) -> None:
    def fit(model: keras.Model) -> Any:
        def changed(epoch: int, logs: Any) -> None:
            if epoch in (1, 2):
                model.get_layer("see").trainable = epoch == 1
                model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])

        callback = keras.callbacks.LambdaCallback(on_epoch_end=changed)
        return seeded_fit(model, X, Y, callbacks=[callback], **FIT | {"epochs": 5})

    both(monkeypatch, lambda: net(jit_compile=True), fit)
    # in the epoch behind ``compile`` Keras builds its metrics on images
    assert ran.count("train", convolves=False) == 3


def test_a_callback_that_hears_of_batches(monkeypatch: pytest.MonkeyPatch, ran: Ran) -> None:
    """It may change images while an epoch runs: the whole net is trained."""

    def fit(model: keras.Model) -> Any:
        x = X.copy()
        callback = keras.callbacks.LambdaCallback(
            on_train_batch_end=lambda batch, logs: x.__setitem__(slice(40), x[1])
        )
        return seeded_fit(model, x, Y, callbacks=[callback], shuffle=False, **FIT)

    both(monkeypatch, net, fit)
    assert ran.count("train", convolves=False) == 0


def towers() -> keras.Model:
    """Two inputs, one of which the head reads too, and two outputs."""
    keras.utils.set_random_seed(2)
    image, other = keras.Input((8, 8, 2), name="image"), keras.Input((8, 8, 1), name="other")
    see = layers.Conv2D(3, 3, padding="same", activation="relu")
    see.trainable = False
    x = layers.Concatenate()([see(image), other, image])
    maps = layers.Conv2D(1, 1, name="map")(x)
    say = layers.Dense(3, name="say", activation="softmax")(layers.GlobalMaxPooling2D()(x))
    model = keras.Model([image, other], [maps, say])
    losses = {"map": "mse", "say": "sparse_categorical_crossentropy"}
    return compiled(model, "sgd", losses, metrics=None)


def test_several_inputs_and_outputs_in_pieces(monkeypatch: pytest.MonkeyPatch, ran: Ran) -> None:
    """Images that are not read in place are taken over piece by piece."""
    monkeypatch.setattr(samples, "AT_ONCE_BYTES", 10_000)
    monkeypatch.setattr(frozen, "AT_ONCE_BYTES", 4 * 8 * 8 * 2 * 30)
    x = [X.astype("int32"), RANDOM.random((80, 8, 8, 1))]
    y = [RANDOM.random((80, 8, 8, 1)), Y]
    both(monkeypatch, towers, lambda model: seeded_fit(model, x, y, epochs=2))
    assert ran.count("evaluate", convolves=True) == 3  # pieces of 30 images


def test_explain_tells_of_it() -> None:
    told = "the frozen base, 5 layers, is computed once a fit"
    assert told in convmill.explain(net(dropout=0.5)).notes
