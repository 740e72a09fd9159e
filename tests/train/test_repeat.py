"""Calls that are like one before take a shorter way, and give what the long one gives."""

import functools
import gc
import sys

import keras
import numpy as np
import pytest
from keras import layers

import convmill
from convmill import models
from tests.threads import together
from tests.train.test_changes import CHANGES, X, Y, net

pytestmark = pytest.mark.usefixtures("strict")

needs_jax = pytest.mark.skipif(
    keras.backend.backend() != "jax", reason="elsewhere values are copied each time"
)


def nested():
    """A model inside a model, with a normalization and an activation that is a layer."""
    keras.utils.set_random_seed(4)
    inner = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(4, 3, name="see"),
            layers.BatchNormalization(name="norm"),
            layers.LeakyReLU(0.1, name="leak"),
        ],
        name="inner",
    )
    return models.Sequential([keras.Input((8, 8, 1)), inner, layers.Flatten(), layers.Dense(3)])


NESTED = {
    "slope": lambda inner: setattr(inner.get_layer("leak"), "negative_slope", 0.7),
    "weights": lambda inner: inner.set_weights([one + 0.5 for one in inner.get_weights()]),
    "statistics": lambda inner: inner.get_layer("norm").moving_mean.assign(np.ones(4)),
    "epsilon": lambda inner: setattr(inner.get_layer("norm"), "epsilon", 0.9),
}


def test_the_second_call_is_short(short):
    model = net()
    first = model.predict_on_batch(X)
    assert short == [0]
    for count in (1, 2):
        found = model.predict_on_batch(X)
        assert short == [count]
        np.testing.assert_array_equal(found, first)
    np.testing.assert_array_equal(model.predict(X, verbose=0), first)


def test_predict_is_short_where_it_shows_and_calls_nothing(short, capsys):
    model = net()
    expected = model.predict(X, verbose=0)
    count = 0
    for size in (None, 1, 5, 64):
        np.testing.assert_array_equal(model.predict(X, size, 0), expected)
        assert short == [count]
        np.testing.assert_array_equal(model.predict(X, verbose=0, batch_size=size), expected)
        count += 1
        assert short == [count]
    model.stop_predicting = True  # is heard by callbacks alone, and taken back
    np.testing.assert_array_equal(model.predict(X, verbose=0), expected)
    assert model.stop_predicting is False
    assert capsys.readouterr().out == ""
    heard = []
    hook = keras.callbacks.LambdaCallback()
    hook.on_predict_batch_end = lambda batch, logs=None: heard.append(batch)
    np.testing.assert_array_equal(
        model.predict(X, verbose=0, batch_size=6, callbacks=[hook]), expected
    )
    assert heard == [0, 1]
    np.testing.assert_array_equal(model.predict(X, verbose=1), expected)
    assert capsys.readouterr().out
    assert short == [count]
    for wrong in ({"batch_size": 0}, {"batch_size": "many"}, {"verbose": 7}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            model.predict(X, **{"verbose": 0, **wrong})


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_what_changed_is_seen_behind_short_calls(change):
    used, fresh = net(), net()
    for _ in range(3):
        used.predict_on_batch(X)
    for model in (used, fresh):
        change(model)
    for _ in range(3):
        np.testing.assert_array_equal(used.predict_on_batch(X), fresh.predict(X, verbose=0))


@pytest.mark.parametrize("change", NESTED.values(), ids=NESTED)
def test_what_changed_in_a_nested_model_is_seen(change):
    used, fresh = nested(), nested()
    before = [used.predict_on_batch(X) for _ in range(3)][-1]
    for model in (used, fresh):
        change(model.get_layer("inner"))
    found = used.predict_on_batch(X)
    np.testing.assert_array_equal(found, fresh.predict(X, verbose=0))
    assert not np.array_equal(found, before)


def test_weights_from_a_file_are_seen(tmp_path):
    model, other = net(), net()
    other.set_weights([one * 2 for one in other.get_weights()])
    other.save_weights(tmp_path / "other.weights.h5")
    for _ in range(3):
        model.predict_on_batch(X)
    model.load_weights(tmp_path / "other.weights.h5")
    np.testing.assert_array_equal(model.predict_on_batch(X), other.predict(X, verbose=0))


def test_a_variable_in_the_place_of_an_equal_one_is_seen():
    """Equal at first, and assigned later: one value alone, which Keras compares by value."""
    model = models.Sequential([keras.Input((2,)), layers.Dense(1, name="one")])
    x = np.ones((1, 2), np.float32)
    for _ in range(3):
        before = model.predict_on_batch(x)
    layer = model.get_layer("one")
    other = keras.Variable(np.zeros(1, np.float32), name="bias")
    vars(layer)["bias"] = layer._trainable_variables[1] = other
    np.testing.assert_array_equal(model.predict_on_batch(x), before)
    other.assign([5.0])
    np.testing.assert_allclose(model.predict_on_batch(x), before + 5.0)


def test_training_in_between_is_seen(short):
    model, other = net(), net()
    for step in range(3):
        for _ in range(2):
            found = model.predict_on_batch(X)
        expected = other.predict(X, verbose=0) if step else found
        np.testing.assert_array_equal(found, expected)
        for each in (model, other):
            each.fit(X, Y, batch_size=4, shuffle=False, verbose=0)
    assert short[0] >= 3


def test_other_arrays_go_the_whole_way():
    model = net()
    expected = model.predict(X, verbose=0)
    for x in (X, X[:5], X.astype(np.float64), X.astype(">f4"), X[..., 0], X[:, ::-1], X[::2]):
        for _ in range(3):
            found = model.predict_on_batch(x)
            plain = model.predict(np.ascontiguousarray(x, np.float32), verbose=0)
            np.testing.assert_array_equal(found, plain)
    np.testing.assert_array_equal(model.predict_on_batch(x=X), expected)
    with pytest.raises(ValueError, match="shape"):
        model.predict_on_batch(X[:, :4])
    bytes_ = (X * 255).astype(np.uint8)
    for _ in range(3):
        found = model.predict_on_batch(bytes_)
    np.testing.assert_array_equal(found, model.predict(bytes_, verbose=0))


def test_what_was_returned_stays_as_it_is():
    model = net()
    model.predict_on_batch(X)
    found = model.predict_on_batch(X)
    kept = found.copy()
    model.predict_on_batch(1 - X)
    np.testing.assert_array_equal(found, kept)


def test_several_outputs_keep_their_structure():
    image = keras.Input((4, 4, 1))
    flat = layers.Flatten()(image)
    model = models.Model(image, {"a": layers.Dense(2)(flat), "b": layers.Dense(3)(flat)})
    x = np.ones((2, 4, 4, 1), np.float32)
    expected = model.predict(x, verbose=0)
    for _ in range(3):
        found = model.predict_on_batch(x)
        assert found.keys() == {"a", "b"}
        for key, value in expected.items():
            np.testing.assert_array_equal(found[key], value)


@needs_jax
def test_values_of_a_scope_are_seen():
    """Keras gives variables other values within its scopes."""
    model = net()
    for _ in range(3):
        model.predict_on_batch(X)
    kernel = model.get_layer("say").kernel
    with keras.StatelessScope(state_mapping=[(kernel, keras.ops.zeros(kernel.shape))]):
        found = model.predict_on_batch(X)
    other = net()
    other.get_layer("say").kernel.assign(np.zeros(kernel.shape))
    np.testing.assert_array_equal(found, other.predict(X, verbose=0))


def test_restored_models_are_keras_own(runs):
    model = net()
    for _ in range(3):
        model.predict_on_batch(X)
    convmill.restore(model)
    before = len(runs)
    model.predict_on_batch(X)
    assert len(runs) == before


def test_threads_that_call_at_once():
    model = net()
    batches = [X[number : number + 1] for number in range(len(X))]
    expected = [model.predict_on_batch(one) for one in batches]
    wrong = []

    def call(own):
        found = [model.predict_on_batch(batches[own]) for _ in range(50)]
        wrong.extend(one for one in found if not np.array_equal(one, expected[own]))

    together(*(functools.partial(call, number) for number in range(4)))
    assert not wrong


@needs_jax
def test_calls_leave_nothing_behind():
    model = net()
    for _ in range(20):
        model.predict_on_batch(X)
    gc.collect()
    before = sys.getallocatedblocks()
    for _ in range(300):
        model.predict_on_batch(X)
    gc.collect()
    assert sys.getallocatedblocks() - before < 100
