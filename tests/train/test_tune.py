"""``convmill.tune``: what is quicker on this machine is used from then on; times are made up."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

import convmill
from tests.engine.favour import favour, forgetful

__all__ = ["forgetful"]
pytestmark = pytest.mark.usefixtures("forgetful")


def made(loss="categorical_crossentropy", optimizer="adam"):
    model = keras.Sequential(
        [
            layers.Input((8, 8, 3)),
            layers.Conv2D(16, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(32, 2, activation="relu"),
            layers.Flatten(),
            layers.Dense(4, activation="softmax"),
        ]
    )
    model.compile(optimizer, loss)
    return convmill.accelerate(model)


def arrays(count=20):
    rng = np.random.default_rng(0)
    return rng.random((count, 8, 8, 3), np.float32), np.eye(4, dtype=np.float32)[
        rng.integers(0, 4, count)
    ]


def tiles(model):
    return [stage.tiles for stage in convmill.explain(model).stages]


def is_last(part, value):
    return part.field == "forward" and value == part.values[-1]


def test_a_model_goes_on_with_what_was_found(monkeypatch, tmp_path):
    monkeypatch.setenv("CONVMILL_CACHE", str(tmp_path))
    model, other = made(), made()
    x, y = arrays()
    model.fit(x, y, epochs=1, verbose=0)
    before, state = tiles(model), [np.array(one) for one in model.get_weights()]
    predicted = model.predict(x, verbose=0)
    favour(monkeypatch, is_last)
    told: list[str] = []
    tuned = convmill.tune(model, x, y, batch_size=8, tell=told.append)
    assert tuned.changed
    assert tuned.images == 8
    assert "taken" in str(tuned)
    assert any("training" in text for text in told)
    assert tiles(model) == tiles(other) != before
    for ours, kept in zip(model.get_weights(), state, strict=True):
        np.testing.assert_array_equal(ours, kept)
    np.testing.assert_allclose(model.predict(x, verbose=0), predicted, atol=1e-5)
    assert np.isfinite(model.fit(x, y, epochs=2, verbose=0).history["loss"]).all()


def test_what_cannot_be_kept_is_said(monkeypatch):
    favour(monkeypatch, is_last)
    model = made()
    before, (x, y) = tiles(model), arrays()
    tuned = convmill.tune(model, x, y)
    assert "No other process will know of it: CONVMILL_CACHE is empty" in str(tuned)
    assert tuned.changed
    assert tiles(model) != before


def test_a_model_that_has_not_trained_trains_as_if_nobody_had_tuned(monkeypatch):
    favour(monkeypatch, lambda part, value: False)
    x, y = arrays()
    losses = []
    for tuned in (False, True):
        keras.utils.set_random_seed(3)
        model = made()
        if tuned:
            convmill.tune(model, x, y)
        assert not model.optimizer.built
        losses.append(model.fit(x, y, batch_size=4, epochs=2, verbose=0).history["loss"])
    assert losses[0] == losses[1]


def test_where_there_is_one_way_only_nothing_is_measured():
    model = keras.Sequential(
        [layers.Input((8, 8, 3)), layers.Flatten(), layers.Dense(4, activation="softmax")]
    )
    model.compile("sgd", "categorical_crossentropy")
    tuned = convmill.tune(convmill.accelerate(model), *arrays())
    assert "There is one way only to compute the stages for training." in str(tuned)


def test_a_frozen_base_is_refused():
    model = made()
    model.layers[0].trainable = False
    model.compile("sgd", "categorical_crossentropy")
    with pytest.raises(convmill.NotCovered, match="frozen base"):
        convmill.tune(model, *arrays())


def test_where_nothing_is_quicker_nothing_is_changed(monkeypatch, tmp_path):
    monkeypatch.setenv("CONVMILL_CACHE", str(tmp_path))
    favour(monkeypatch, lambda part, value: False)
    x, y = arrays()
    tuned = convmill.tune(made(), x, y)
    assert not tuned.changed
    assert "Nothing is clearly quicker" in str(tuned)


def test_all_is_measured(monkeypatch, tmp_path):
    """With the real stopwatch; what it finds is the machine's affair."""
    monkeypatch.setenv("CONVMILL_CACHE", str(tmp_path))
    monkeypatch.setattr("convmill.runtime.tune.SECONDS", 1e-3)
    monkeypatch.setattr("convmill.runtime.tune.ROUND_SECONDS", 1e-3)
    x, y = arrays()
    tuned = convmill.tune(made(), x, y)
    for one in tuned.found:
        assert one.tried
        for tried in one.tried:
            assert all(0 < took < np.inf for took in tried.seconds)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"batch_size": 0}, ValueError, "batch_size must be a whole number"),
        ({"y": np.zeros((20, 3), np.float32)}, ValueError, "y"),
        ({"x": np.zeros((20, 9, 9, 3), np.float32)}, ValueError, "x"),
        ({"x": iter([np.zeros((20, 8, 8, 3), np.float32)]), "y": None}, ValueError, "arrays"),
    ],
)
def test_what_does_not_fit_is_refused(change, error, words):
    x, y = arrays()
    with pytest.raises(error, match=words):
        convmill.tune(made(), **({"x": x, "y": y} | change))


def test_a_model_that_is_not_compiled_or_not_ours_is_refused():
    x, y = arrays()
    plain = keras.Sequential([layers.Input((8, 8, 3)), layers.Flatten(), layers.Dense(4)])
    with pytest.raises(ValueError, match="compile"):
        convmill.tune(plain, x, y)

    def own(y_true, y_pred):
        return keras.ops.mean(keras.ops.square(y_true - y_pred), axis=-1)

    with pytest.raises(convmill.NotCovered, match="Keras"):
        convmill.tune(made(loss=own), x, y)
